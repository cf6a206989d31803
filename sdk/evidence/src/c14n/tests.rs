use roxmltree::Document;
use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::*;

fn element<'a>(document: &'a Document<'a>, name: &str) -> Node<'a, 'a> {
    document
        .descendants()
        .find(|node| node.has_tag_name(name) || node.tag_name().name() == name)
        .unwrap()
}

fn written(xml: &str, name: &str, how: &Canonicalization) -> String {
    let document = Document::parse(xml).unwrap();
    String::from_utf8(canonicalize(element(&document, name), how)).unwrap()
}

fn exclusive() -> Canonicalization {
    Canonicalization::Exclusive {
        inclusive_prefixes: vec![],
    }
}

const EXAMPLE: &str = "<?xml version=\"1.0\"?>\n<a:r xmlns:a=\"urn:a\" xmlns=\"urn:d\" xmlns:b=\"urn:b\" xml:lang=\"en\" b:z='1' a:y=\"2\" \
    x=\"&#13;&#10;&#9;'&quot;&lt;>\n\ttab\"><b:c xmlns:a=\"urn:a\" xmlns:b=\"urn:b2\"   b:q = \"1\"/><d xmlns=\"\"><e xmlns=\"urn:d\"/><f/></d>\
    <?pi  data x?><?pi2?>text &amp; &lt; &gt; &#13; <![CDATA[<x>&]]>\u{e9}<!-- gone -->\n<a:g xmlns:c=\"urn:a\" c:m=\"1\" a:n=\"2\"/></a:r>";

#[test]
fn inclusive_form_carries_everything_in_scope() {
    assert_eq!(
        written(EXAMPLE, "r", &Canonicalization::Inclusive),
        "<a:r xmlns=\"urn:d\" xmlns:a=\"urn:a\" xmlns:b=\"urn:b\" x=\"&#xD;&#xA;&#x9;'&quot;&lt;>  tab\" xml:lang=\"en\" a:y=\"2\" b:z=\"1\">\
         <b:c xmlns:b=\"urn:b2\" b:q=\"1\"></b:c><d xmlns=\"\"><e xmlns=\"urn:d\"></e><f></f></d><?pi data x?><?pi2?>text &amp; &lt; &gt; &#xD; \
         &lt;x&gt;&amp;\u{e9}\n<a:g xmlns:c=\"urn:a\" c:m=\"1\" a:n=\"2\"></a:g></a:r>"
    );
    assert_eq!(
        written(EXAMPLE, "f", &Canonicalization::Inclusive),
        "<f xmlns:a=\"urn:a\" xmlns:b=\"urn:b\" xml:lang=\"en\"></f>"
    );
}

#[test]
fn exclusive_form_carries_what_is_used() {
    assert_eq!(written(EXAMPLE, "f", &exclusive()), "<f></f>");
    assert_eq!(
        written(EXAMPLE, "g", &exclusive()),
        "<a:g xmlns:a=\"urn:a\" xmlns:c=\"urn:a\" c:m=\"1\" a:n=\"2\"></a:g>"
    );
    let listed = Canonicalization::Exclusive {
        inclusive_prefixes: vec!["b".to_owned(), String::new()],
    };
    assert_eq!(
        written(EXAMPLE, "g", &listed),
        "<a:g xmlns=\"urn:d\" xmlns:a=\"urn:a\" xmlns:b=\"urn:b\" xmlns:c=\"urn:a\" c:m=\"1\" a:n=\"2\"></a:g>"
    );
}

/// Whole documents against libxml2, where it is installed.
#[test]
fn documents_equal_libxml2_s() {
    let fixed = [
        EXAMPLE.to_owned(),
        "<r xmlns=\"\" a=\"\u{1F511}\">]]&gt;</r>".to_owned(),
        "<n1:a xmlns:n1=\"urn:u\"><n2:b xmlns:n2=\"urn:u\" n1:x=\"1\" n2:y=\"2\"/></n1:a>"
            .to_owned(),
    ];
    for xml in fixed.into_iter().chain((0..60).map(random)) {
        let without_comments = xml.replace("<!-- gone -->", "");
        for (flag, how) in [
            ("--c14n", Canonicalization::Inclusive),
            ("--exc-c14n", exclusive()),
        ] {
            let Ok(mut xmllint) = Command::new("xmllint")
                .args([flag, "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
            else {
                assert!(
                    std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                    "no xmllint"
                );
                println!("SKIPPED documents_equal_libxml2_s: no xmllint");
                return;
            };
            xmllint
                .stdin
                .take()
                .unwrap()
                .write_all(without_comments.as_bytes())
                .unwrap();
            let expected = xmllint.wait_with_output().unwrap().stdout;
            let document = Document::parse(&xml).unwrap();
            let found = canonicalize(document.root_element(), &how);
            assert_eq!(
                String::from_utf8_lossy(&found),
                String::from_utf8_lossy(&expected),
                "{xml}"
            );
        }
    }
}

/// A document that redeclares prefixes at will, from a small generator so that a failure can be repeated.
fn random(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    let mut xml = String::from("<r xmlns:a=\"urn:1\" xmlns:b=\"urn:2\">");
    let mut open = Vec::new();
    for _ in 0..20 {
        let prefix = ["", "a:", "b:"][usize::try_from(draw(3)).unwrap()];
        match draw(4) {
            0 if !open.is_empty() => {
                let name: String = open.pop().unwrap();
                xml.push_str(&format!("</{name}>"));
            }
            1 => xml.push_str("text &amp; \t\n&#13;"),
            _ => {
                xml.push_str(&format!("<{prefix}e"));
                for declared in ["xmlns", "xmlns:a", "xmlns:b"] {
                    if draw(3) == 0 {
                        xml.push_str(&format!(" {declared}=\"urn:{}\"", draw(3)));
                    }
                }
                if draw(2) == 0 {
                    xml.push_str(&format!(
                        " z=\"{}\" {prefix}y=\"&#10;\" xml:space=\"preserve\"",
                        draw(9)
                    ));
                }
                xml.push('>');
                open.push(format!("{prefix}e"));
            }
        }
    }
    for name in open.into_iter().rev() {
        xml.push_str(&format!("</{name}>"));
    }
    xml.push_str("</r>");
    xml
}

#[test]
fn depth_costs_no_stack() {
    let depth = 100_000;
    let xml = format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    let document = Document::parse(&xml).unwrap();
    assert_eq!(
        canonicalize(document.root_element(), &exclusive()).len(),
        xml.len()
    );
}

#[test]
fn other_algorithms_are_unknown() {
    for uri in [
        "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments",
        "http://www.w3.org/2006/12/xml-c14n11",
        "http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
        "",
    ] {
        assert_eq!(Canonicalization::from_uri(uri), None);
    }
    assert_eq!(
        Canonicalization::from_uri(exclusive().uri()),
        Some(exclusive())
    );
}
