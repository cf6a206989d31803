use jibek_protocol::xml::{XmlBudget, XmlEvent, XmlReader};
use proptest::prelude::*;

use super::{Children, Part, parse, root};
use crate::part::PartError;

fn document(inside: &str) -> String {
    format!(
        "<!--before--><x:conf xmlns:x=\"http://x-road.eu/xsd/xroad.xsd\">{inside}</x:conf>\n<!--after-->"
    )
}

#[test]
fn text_is_what_a_reader_of_xml_sees() {
    let text = document(
        "<a id='1'> one<!-- two --> &amp;\r\n<![CDATA[<three>]]><b>four</b><?five?> six</a>",
    );
    let tree = parse(&text, "conf").unwrap();
    let mut children = Children::of(root(&tree).unwrap());
    let a = children.required("a").unwrap();
    assert_eq!(a.text(), " one &\n<three> six");
    assert_eq!(a.attribute("id"), Some("1"));
    assert_eq!(a.first_child().unwrap().text(), "four");
    assert!(a.source().starts_with("<a id='1'>") && a.source().ends_with(" six</a>"));
    children.end().unwrap();
}

#[test]
fn a_stream_goes_in_and_out_of_elements() {
    let text = document("\n<a><b>1</b><b>2</b><c/></a>\n<a/>\n<d>3</d>");
    let mut part = Part::open(&text, "conf").unwrap();
    let mut found = Vec::new();
    while part.enter("a").unwrap() {
        while let Some(b) = part.optional("b").unwrap() {
            found.push(b.text().to_owned());
        }
        part.optional("c").unwrap();
        part.leave().unwrap();
        found.push("end".to_owned());
    }
    assert_eq!(found, ["1", "2", "end", "end"]);
    assert!(matches!(
        part.required("e").unwrap_err(),
        PartError::Missing {
            element: "e",
            line: 4,
            ..
        }
    ));
    assert_eq!(part.required("d").unwrap().text(), "3");
    part.finish().unwrap();
}

#[test]
fn what_is_left_is_refused_with_its_place() {
    let text = document("<a>\n<b/>\n<c/></a><d/>");
    let mut part = Part::open(&text, "conf").unwrap();
    assert!(part.enter("a").unwrap());
    part.required("b").unwrap();
    let left = part.leave().unwrap_err();
    assert!(
        matches!(&left, PartError::Unexpected { element, within, line: 3 } if element == "c" && within == "a"),
        "{left:?}"
    );
    part.required("c").unwrap();
    part.leave().unwrap();
    assert!(matches!(part.finish(), Err(PartError::Unexpected { .. })));
}

#[test]
fn a_document_is_judged_to_its_last_byte() {
    for bad in [
        "<a/></x:conf><more/>",
        "<a>",
        "<a/></x:conf>text",
        "<!DOCTYPE a><a/>",
    ] {
        let text = format!("<x:conf xmlns:x=\"http://x-road.eu/xsd/xroad.xsd\">{bad}");
        let whole = || -> Result<(), PartError> {
            let mut part = Part::open(&text, "conf")?;
            part.optional("a")?;
            part.finish()
        };
        assert!(matches!(whole(), Err(PartError::Malformed { .. })), "{bad}");
        assert!(parse(&text, "conf").is_err(), "{bad}");
    }
}

/// Elements as nested text, of any shape.
fn element() -> impl Strategy<Value = String> {
    let leaf = "[a-c]{0,3}".prop_map(|text| format!("<e>{text}</e>"));
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(|all| format!("<e>x{}y</e>", all.concat()))
    })
}

fn walked(node: super::Node<'_, '_>, out: &mut String) {
    out.push('(');
    out.push_str(node.text());
    node.children().for_each(|child| walked(child, out));
    out.push(')');
}

/// The same by counting brackets: each element's own text, then its children.
fn expected(text: &str) -> String {
    let mut reader = XmlReader::new(text, XmlBudget::default());
    let mut open: Vec<(String, String)> = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        match event {
            XmlEvent::Start(_) => open.push(Default::default()),
            XmlEvent::Text(text) => open.last_mut().unwrap().0.push_str(text),
            XmlEvent::End { .. } => {
                let (own, children) = open.pop().unwrap();
                let whole = format!("({own}{children})");
                match open.last_mut() {
                    Some((_, siblings)) => siblings.push_str(&whole),
                    None => return whole,
                }
            }
            _ => {}
        }
    }
    unreachable!("a document ends with its root")
}

proptest! {
    #[test]
    fn a_tree_is_linked_as_the_document_nests(inside in prop::collection::vec(element(), 0..5)) {
        let text = document(&inside.concat());
        let tree = parse(&text, "conf").unwrap();
        let mut found = String::new();
        walked(root(&tree).unwrap(), &mut found);
        prop_assert_eq!(found, expected(&text));
    }
}
