//! The little XML that the SDK reads itself: the text of one element, and where the payload of an envelope stands.

use std::ops::Range;

use jibek_protocol::header::NS_SOAP;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::{NsReader, Reader};

/// Gives the text inside the first element with this local name, entity references resolved, children's text included.
/// `None` if there is no such element or what leads to its end is not XML.
pub(crate) fn text_of(xml: &[u8], name: &str) -> Option<String> {
    let mut reader = Reader::from_reader(xml);
    let mut text = String::new();
    let mut depth: usize = 0;
    loop {
        match reader.read_event().ok()? {
            Event::Start(_) if depth > 0 => depth = depth.checked_add(1)?,
            Event::Start(start) if start.local_name().as_ref() == name => depth = 1,
            Event::Empty(empty) if depth == 0 && empty.local_name().as_ref() == name => {
                return Some(text);
            }
            Event::End(_) if depth == 1 => return Some(text),
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Text(part) if depth > 0 => text.push_str(&part.xml10_content()),
            Event::CData(part) if depth > 0 => text.push_str(&part.xml10_content()),
            Event::GeneralRef(reference) if depth > 0 => match reference.resolve_char_ref().ok()? {
                Some(character) => text.push(character),
                None => text.push_str(resolve_predefined_entity(&reference.xml10_content())?),
            },
            Event::Eof | Event::DocType(_) => return None,
            _ => {}
        }
    }
}

/// Gives the bytes of the first element inside the body of a SOAP envelope that has been scanned already.
pub(crate) fn payload(envelope: &str) -> Option<Range<usize>> {
    // quick-xml does not count a byte order mark in its positions.
    let Some(unmarked) = envelope.strip_prefix('\u{feff}') else {
        return payload_at(envelope);
    };
    let mark = envelope.len().checked_sub(unmarked.len())?;
    let span = payload_at(unmarked)?;
    Some(span.start.checked_add(mark)?..span.end.checked_add(mark)?)
}

fn payload_at(envelope: &str) -> Option<Range<usize>> {
    let mut reader = NsReader::from_str(envelope);
    let mut depth: usize = 0;
    let mut in_body = false;
    let mut start = None;
    loop {
        let at = usize::try_from(reader.buffer_position()).ok()?;
        let (namespace, event) = reader.read_resolved_event().ok()?;
        let after = |reader: &NsReader<&[u8]>| usize::try_from(reader.buffer_position()).ok();
        match event {
            Event::Start(element) => {
                depth = depth.checked_add(1)?;
                if depth == 2 {
                    let soap = namespace == ResolveResult::Bound(Namespace(NS_SOAP));
                    in_body = soap && element.local_name().as_ref() == "Body";
                } else if depth == 3 && in_body {
                    start = Some(at);
                }
            }
            Event::Empty(_) if depth == 2 && in_body => return Some(at..after(&reader)?),
            Event::End(_) => {
                if let (3, Some(start)) = (depth, start) {
                    return Some(start..after(&reader)?);
                }
                depth = depth.checked_sub(1)?;
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{payload, text_of};

    #[test]
    fn the_payload_is_found_as_it_stands() {
        let soap = r#"xmlns:s="http://schemas.xmlsoap.org/soap/envelope/""#;
        for (xml, expected) in [
            (
                format!(
                    "<?xml version='1.0'?>\n<s:Envelope {soap}><s:Header><Body><x/></Body></s:Header>\n<s:Body> <a b='>'>\u{451}<a/></a>\n</s:Body></s:Envelope>"
                ),
                "<a b='>'>\u{451}<a/></a>",
            ),
            (
                format!(
                    "<s:Envelope {soap}><Body xmlns='other'><x/></Body><s:Body><!-- <y/> --><a /></s:Body></s:Envelope>"
                ),
                "<a />",
            ),
            (
                format!("\u{feff}<s:Envelope {soap}><s:Body><a></a></s:Body></s:Envelope>"),
                "<a></a>",
            ),
        ] {
            assert_eq!(
                payload(&xml).map(|span| &xml[span]),
                Some(expected),
                "{xml}"
            );
        }
        assert_eq!(
            payload(&format!("<s:Envelope {soap}><s:Body/></s:Envelope>")),
            None
        );
    }

    #[test]
    fn the_first_element_with_the_name_gives_its_text() {
        let xml = br#"<?xml version="1.0"?><e xmlns:p="u"><p:a/><b> x &amp; y &#1041;<![CDATA[<z>]]><i>!</i></b><b>2</b></e>"#;
        assert_eq!(text_of(xml, "a").as_deref(), Some(""));
        assert_eq!(text_of(xml, "b").as_deref(), Some(" x & y \u{411}<z>!"));
        assert_eq!(text_of(xml, "c"), None);
    }

    #[test]
    fn broken_xml_gives_nothing() {
        for xml in [
            "",
            "<a",
            "<a>x",
            "<a>&nope;</a>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
            "text",
            "<a></b>",
        ] {
            assert_eq!(text_of(xml.as_bytes(), "a"), None, "{xml}");
        }
    }
}
