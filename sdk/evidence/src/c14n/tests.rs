use roxmltree::Document;

use super::*;

mod generated;

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

/// A tree may leave the line ends of instructions and comments as they were; no form has a carriage return there.
#[test]
fn line_ends_are_one_letter() {
    let xml = "<a><?p b\r\nc\rd?><!--e\r\nf\rg--></a>";
    let document = Document::parse(xml).unwrap();
    for how in [Canonicalization::Inclusive, exclusive()] {
        let form = canonicalize_with_comments(document.root(), &how);
        assert_eq!(form, b"<a><?p b\nc\nd?><!--e\nf\ng--></a>");
    }
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

/// The forms of a real server's signature, as measured by another program (`signatures-and-log.md` 7.2).
#[test]
fn forms_of_a_real_signature() {
    use crate::container::{Container, ContainerLimits};
    use jibek_certs::digest::{DigestAlgorithm, digest};

    let path = "asic/valid-signed-hashchain.asice";
    let Some(file) = crate::fixtures::read("forms_of_a_real_signature", path) else {
        return;
    };
    let container = Container::read(&file, &ContainerLimits::default()).unwrap();
    let text = std::str::from_utf8(container.entry("META-INF/signatures.xml").unwrap()).unwrap();
    let signed_info = written(text, "SignedInfo", &Canonicalization::Inclusive);
    assert_eq!(signed_info.len(), 1101);
    let hex = digest(DigestAlgorithm::Sha512, signed_info.as_bytes()).to_hex();
    assert!(
        hex.starts_with("ad568562489cf0352b38a953ba6831f0") && hex.ends_with("0ece"),
        "{hex}"
    );
    let properties = written(text, "SignedProperties", &Canonicalization::Inclusive);
    assert_eq!(properties.len(), 1855);
    assert!(
        text.contains(&digest(DigestAlgorithm::Sha512, properties.as_bytes()).to_base64()[..76])
    );
}

/// The examples of both recommendations that need no DTD and no node set (`w3c/README.md`).
#[test]
fn examples_of_the_recommendations() {
    let whole =
        |xml: &str, how: &Canonicalization| canonicalize(Document::parse(xml).unwrap().root(), how);
    let comments = |xml: &str, how: &Canonicalization| {
        canonicalize_with_comments(Document::parse(xml).unwrap().root(), how)
    };
    let elem1 = |xml: &str, how: &Canonicalization| written(xml, "elem1", how).into_bytes();
    let elem2 = |xml: &str, how: &Canonicalization| written(xml, "elem2", how).into_bytes();
    let (inclusive, exclusive) = (Canonicalization::Inclusive, exclusive());
    type Write<'a> = &'a dyn Fn(&str, &Canonicalization) -> Vec<u8>;
    macro_rules! example {
        ($xml:literal, $out:literal) => {
            (
                $out,
                include_str!(concat!("w3c/", $xml)),
                include_str!(concat!("w3c/", $out)),
            )
        };
    }
    let examples: [((&str, &str, &str), Write<'_>, &Canonicalization); 12] = [
        (example!("c14n-3.1.xml", "c14n-3.1.out"), &whole, &inclusive),
        (
            example!("c14n-3.1.xml", "c14n-3.1-comments.out"),
            &comments,
            &inclusive,
        ),
        (example!("c14n-3.2.xml", "c14n-3.2.out"), &whole, &inclusive),
        (example!("c14n-3.6.xml", "c14n-3.6.out"), &whole, &inclusive),
        (
            example!("exclusive-2.1.xml", "exclusive-2.1.out"),
            &whole,
            &inclusive,
        ),
        (
            example!("exclusive-2.1.xml", "exclusive-2.1.out"),
            &whole,
            &exclusive,
        ),
        (
            example!(
                "exclusive-2.1-enveloped.xml",
                "exclusive-2.1-enveloped-inclusive.out"
            ),
            &elem1,
            &inclusive,
        ),
        (
            example!(
                "exclusive-2.1-enveloped.xml",
                "exclusive-2.1-enveloped-exclusive.out"
            ),
            &elem1,
            &exclusive,
        ),
        (
            example!(
                "exclusive-2.2-local.xml",
                "exclusive-2.2-local-inclusive.out"
            ),
            &elem2,
            &inclusive,
        ),
        (
            example!("exclusive-2.2-local.xml", "exclusive-2.2-exclusive.out"),
            &elem2,
            &exclusive,
        ),
        (
            example!("exclusive-2.2-pdu.xml", "exclusive-2.2-pdu-inclusive.out"),
            &elem2,
            &inclusive,
        ),
        (
            example!("exclusive-2.2-pdu.xml", "exclusive-2.2-exclusive.out"),
            &elem2,
            &exclusive,
        ),
    ];
    let reduced: [((&str, &str, &str), Write<'_>, &Canonicalization); 2] = [
        (
            example!("c14n-3.3-reduced.xml", "c14n-3.3-reduced.out"),
            &whole,
            &inclusive,
        ),
        (
            example!("c14n-3.4-reduced.xml", "c14n-3.4-reduced.out"),
            &whole,
            &inclusive,
        ),
    ];
    for ((name, xml, expected), write, how) in examples.iter().chain(&reduced) {
        let found = String::from_utf8(write(xml, how)).unwrap();
        assert_eq!(&found, expected, "{name}");
    }
    println!(
        "VECTORS w3c {} tried, 4 left out: Canonical XML 1.0 examples 3.3, 3.4 and 3.5 need a DTD, 3.7 a node set",
        examples.len()
    );
}
