use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

fn refused(text: &str) -> XmlError {
    check(text.as_bytes(), &XmlBudget::default()).expect_err(text)
}

#[test]
fn good_documents_pass() {
    for good in GOOD {
        check(good.as_bytes(), &XmlBudget::default()).expect(good);
    }
}

#[test]
fn malformed_documents_are_refused() {
    for bad in MALFORMED {
        assert!(
            matches!(refused(bad), XmlError::Malformed { .. }),
            "{bad}: {:?}",
            refused(bad)
        );
    }
    assert_eq!(refused("<!DOCTYPE a><a/>"), XmlError::Doctype);
    assert_eq!(
        refused("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>"),
        XmlError::Doctype
    );
    assert_eq!(
        refused("<?xml version='1.0' encoding='iso-8859-1'?><a/>"),
        XmlError::Encoding
    );
    assert_eq!(
        check(b"<a>\xff</a>", &XmlBudget::default()),
        Err(XmlError::NotUtf8)
    );
    assert!(check(b"<\0a\0/\0>\0", &XmlBudget::default()).is_err());
}

#[test]
fn hostile_documents_exceed_the_budget() {
    let nested = |open: &str, count: usize| open.repeat(count);
    let budget = |text: &str, expected: &str| match refused(text) {
        XmlError::Budget { what, .. } => assert_eq!(what, expected),
        other => panic!("{other:?}"),
    };
    budget(&nested("<a>", 200_000), "levels");
    let declarations: String = (0..3_000)
        .map(|n| format!("<a xmlns:p{n}='u{n}'>"))
        .collect();
    budget(&declarations, "namespaces in scope");
    let attributes: String = (0..50_000).map(|n| format!(" a{n}=''")).collect();
    budget(&format!("<a{attributes}/>"), "attributes in one element");
    budget(
        &format!("<{}/>", "a".repeat(1_000_000)),
        "bytes in one name",
    );
    budget(
        &format!("<a b='{}'/>", "x".repeat(limits::XML_MARKUP_BYTES)),
        "bytes in one tag",
    );
    budget(
        &format!("<!--{}--><a/>", "x".repeat(limits::XML_MARKUP_BYTES)),
        "bytes in one tag",
    );
    let small = XmlBudget {
        bytes: 3,
        ..XmlBudget::default()
    };
    assert_eq!(
        check(b"<a/>", &small),
        Err(XmlError::Budget {
            what: "bytes",
            max: 3
        })
    );
    let text = format!("<a>{}</a>", "x".repeat(2 * limits::XML_MARKUP_BYTES));
    check(text.as_bytes(), &XmlBudget::default()).unwrap();
}

#[test]
fn names_values_and_places_are_given() {
    let source = "<p:a xmlns:p='u' p:b=' &quot;\n'>x&lt;<c/></p:a>";
    let mut reader = XmlReader::new(source, XmlBudget::default());
    let Some(XmlEvent::Start(tag)) = reader.next_event().unwrap() else {
        panic!()
    };
    assert!(tag.is("u", "a"));
    assert_eq!(tag.attribute(Some("u"), "b"), Some(" \" "));
    assert_eq!(tag.attribute(None, "b"), None);
    assert_eq!(tag.range, 0..32);
    assert_eq!(reader.next_event().unwrap(), Some(XmlEvent::Text("x")));
    assert_eq!(reader.next_event().unwrap(), Some(XmlEvent::Reference('<')));
    let Some(XmlEvent::Start(tag)) = reader.next_event().unwrap() else {
        panic!()
    };
    assert_eq!(
        (tag.local, tag.namespace, &source[tag.range]),
        ("c", None, "<c/>")
    );
    assert_eq!(
        reader.next_event().unwrap(),
        Some(XmlEvent::End { range: 37..41 })
    );
    assert_eq!(reader.depth(), 1);
    assert_eq!(
        reader.next_event().unwrap(),
        Some(XmlEvent::End { range: 41..47 })
    );
    assert_eq!(reader.next_event().unwrap(), None);
}

/// What libxml2 says of a document: well-formed with namespaces and not a word of complaint.
fn xmllint_accepts(document: &str) -> Option<bool> {
    let mut lint = Command::new("xmllint")
        .args(["--noout", "--nonet", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    lint.stdin
        .take()
        .unwrap()
        .write_all(document.as_bytes())
        .unwrap();
    let output = lint.wait_with_output().unwrap();
    Some(output.status.success() && output.stderr.is_empty())
}

#[test]
fn xmllint_agrees_on_what_is_well_formed() {
    if xmllint_accepts("<a/>").is_none() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "no xmllint"
        );
        println!("SKIPPED xmllint_agrees_on_what_is_well_formed: xmllint absent");
        return;
    }
    for good in GOOD {
        assert_eq!(xmllint_accepts(good), Some(true), "{good}");
    }
    for bad in MALFORMED {
        assert_eq!(xmllint_accepts(bad), Some(false), "{bad}");
    }
}

const GOOD: &[&str] = &[
    "<a/>",
    "\u{feff}<?xml version=\"1.0\"?><a/>",
    "<?xml version='1.0' encoding='utf-8' standalone='no' ?>\r\n<!-- c --><?p i?>\n<a b = 'c'\n d=\"'\"/>\n<!---->",
    "<a xmlns='urn:u' xmlns:p='urn:v'><p:b p:c='1' c='2'>&amp;&#x41;&#65;<![CDATA[<&]]]]>]]&gt;</p:b></a>",
    "<a xmlns='urn:u'><b xmlns=''/></a>",
    "<ä.-1 xml:lang='et'>\u{10000}</ä.-1>",
    "<a b='&lt;\u{9}'></a  >",
    "<a>></a>",
];

const MALFORMED: &[&str] = &[
    "",
    " ",
    "text",
    "<a>",
    "<a></b>",
    "</a>",
    "<a/><b/>",
    "<a/>text",
    "text<a/>",
    "<a/>&amp;",
    "<a/><![CDATA[x]]>",
    "<a>&#0;</a>",
    "<a>&#x1F;</a>",
    "<a>&#xD800;</a>",
    "<a>&#xFFFE;</a>",
    "<a>&#;</a>",
    "<a>&#x;</a>",
    "<a>&#+65;</a>",
    "<a>&x;</a>",
    "<a>&amp</a>",
    "<a>& b</a>",
    "<a>\u{1}</a>",
    "<a>\u{ffff}</a>",
    "<a>]]></a>",
    "<a b='\u{0}'/>",
    "<a b='<'/>",
    "<a b='&x;'/>",
    "<a b='&amp'/>",
    "<a b=1/>",
    "<a b/>",
    "<a b='1'c='2'/>",
    "<a b='1' b='2'/>",
    "<a xmlns:p='urn:u' xmlns:q='urn:u' p:b='1' q:b='2'/>",
    "<a b='1/>",
    "<1a/>",
    "< a/>",
    "<a:/>",
    "<:a/>",
    "<a:b:c/>",
    "<p:a/>",
    "<a p:b='1'/>",
    "<a xmlns:p=''/>",
    "<a xmlns:xmlns='urn:u'/>",
    "<a xmlns:xml='urn:u'/>",
    "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
    "<a xmlns='http://www.w3.org/2000/xmlns/'/>",
    "<xmlns:a/>",
    "<b><a xmlns:p='urn:u'/><p:c/></b>",
    "<!-- a -- b --><a/>",
    "<!-- a ---><a/>",
    "<a><!-- ",
    "<a><?xml version='1.0'?></a>",
    " <?xml version='1.0'?><a/>",
    "<?xml?><a/>",
    "<?xml encoding='utf-8'?><a/>",
    "<?xml version='2.0'?><a/>",
    "<?xml version='1.0' standalone='maybe'?><a/>",
    "<?xml version='1.0' standalone='no' encoding='utf-8'?><a/>",
    "<?XML version='1.0'?><a/>",
    "<? p?><a/>",
    "<?1p?><a/>",
    "<?p:i?><a/>",
    "<a><![CDATA[x</a>",
    "<a></a b='1'>",
    "<!ELEMENT a ANY><a/>",
    "<![CDATA[x]]><a/>",
    "<a",
    "<a/",
    "<",
];
