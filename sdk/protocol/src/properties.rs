//! Properties of the forms: what is written is read again, order agrees with equality, hostile bytes are refused or
//! accepted but never break anything.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::fault::{Fault, FaultCode, codes};
use crate::id::xml::{Identifier, XmlParts, write_identifier_xml};
use crate::id::*;
use crate::limits::Limits;
use crate::media_type::MediaType;
use crate::message::{RestRequestBlock, RestResponseBlock, RestTarget};
use crate::multipart::{
    MultipartError, MultipartEvent, MultipartLimits, MultipartReader, MultipartWriter,
};
use crate::path::{AmbiguousPath, PathPattern, normalise_for_access};
use crate::soap;
use crate::version::Version;
use crate::xml::{XmlBudget, XmlEvent, XmlReader, check};

/// A part of an identifier: anything that is not blank.
fn part() -> impl Strategy<Value = String> {
    "\\PC{1,12}".prop_filter("not blank", |part| !part.trim().is_empty())
}

/// A part that the display form can carry, which has no escaping.
fn plain() -> impl Strategy<Value = String> {
    "[A-Za-z0-9äöõü.:_ -]{1,8}".prop_filter("not blank", |part| !part.trim().is_empty())
}

fn client() -> impl Strategy<Value = ClientId> {
    (part(), part(), part(), option::of(part()))
        .prop_map(|(i, c, m, s)| ClientId::new(&i, &c, &m, s.as_deref()).unwrap())
}

fn service() -> impl Strategy<Value = ServiceId> {
    (client(), part(), option::of(part())).prop_map(|(client, code, version)| {
        ServiceId::new(client, &code, version.as_deref()).unwrap()
    })
}

/// Reads the XML form back.
fn xml_parts(xml: &str) -> (String, XmlParts) {
    let mut reader = XmlReader::new(xml, XmlBudget::default());
    let Some(XmlEvent::Start(root)) = reader.next_event().unwrap() else {
        panic!()
    };
    let object_type = root
        .attribute(Some(crate::header::NS_IDENTIFIERS), "objectType")
        .unwrap()
        .to_owned();
    let mut parts = XmlParts::new();
    let mut name = String::new();
    let mut text = String::new();
    while let Some(event) = reader.next_event().unwrap() {
        match event {
            XmlEvent::Start(tag) => tag.local.clone_into(&mut name),
            XmlEvent::Text(raw) => text.push_str(raw),
            XmlEvent::Reference(c) => text.push(c),
            XmlEvent::End { .. } => parts
                .set(&name, std::mem::take(&mut text))
                .unwrap_or_default(),
        }
    }
    (object_type, parts)
}

fn xml(id: &dyn Identifier) -> String {
    let mut out = String::new();
    write_identifier_xml(&mut out, "x:id", "i", id);
    out.replacen(
        "<x:id",
        "<x:id xmlns:x=\"http://x-road.eu/xsd/xroad.xsd\" xmlns:i=\"http://x-road.eu/xsd/identifiers\"",
        1,
    )
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_survive_percent_encoding(part in ".{0,40}") {
        let encoded = encode_part(&part);
        let safe = encoded.bytes().all(|byte| byte.is_ascii_graphic() && !b"/\"#<>?[]\\^`{|}".contains(&byte));
        prop_assert!(safe);
        prop_assert_eq!(decode_part(&encoded).unwrap(), part);
    }

    #[test]
    fn decoding_refuses_or_gives_what_encoding_gives_back(text in "[ -~äõ]{0,12}") {
        if let Ok(decoded) = decode_part(&text) {
            prop_assert!(!text.contains([' ', '"', '?', '#', '[', ']', '/', '\\', 'ä']));
            prop_assert_eq!(decode_part(&encode_part(&decoded)).unwrap(), decoded);
        }
    }

    #[test]
    fn clients_survive_their_header_and_xml_forms(id in client()) {
        prop_assert_eq!(&ClientId::from_header(&id.to_header()).unwrap(), &id);
        let (object_type, parts) = xml_parts(&xml(&id));
        prop_assert_eq!(object_type, id.object_type());
        prop_assert_eq!(&parts.client().unwrap(), &id);
        prop_assert_eq!(id.is_suspicious(), id.xml_parts().iter().any(|(_, part)| suspicious_characters(part)));
    }

    #[test]
    fn services_survive_their_header_and_xml_forms(id in service()) {
        let (object_type, parts) = xml_parts(&xml(&id));
        prop_assert_eq!(object_type, "SERVICE");
        prop_assert_eq!(&parts.service().unwrap(), &id);
        if id.provider().subsystem().is_some() || id.version().is_none() {
            prop_assert_eq!(&ServiceId::from_header(&id.to_header()).unwrap(), &id);
        }
        let five = id.provider().subsystem().is_some() && id.version().is_none();
        prop_assert_eq!(ServiceId::parse_service_header(&id.to_header()).is_ok_and(|read| read == id), five);
    }

    #[test]
    fn display_forms_are_read_again(
        (i, c, m, s) in (plain(), plain(), plain(), option::of(plain())), code in plain(), version in plain(),
    ) {
        let id = ClientId::new(&i, &c, &m, s.as_deref()).unwrap();
        prop_assert_eq!(&id.to_string().parse::<ClientId>().unwrap(), &id);
        let service = ServiceId::new(id.clone(), &code, None).unwrap();
        prop_assert_eq!(&service.to_string().parse::<ServiceId>().unwrap(), &service);
        let server = ServerId::new(id.member().clone(), &code).unwrap();
        prop_assert_eq!(&server.to_string().parse::<ServerId>().unwrap(), &server);
        prop_assert!(server.to_string().parse::<ClientId>().is_err());
        let group = GlobalGroupId::new(&i, &version).unwrap();
        prop_assert_eq!(&group.to_string().parse::<GlobalGroupId>().unwrap(), &group);
        let group = LocalGroupId::new(&version).unwrap();
        prop_assert_eq!(&group.to_string().parse::<LocalGroupId>().unwrap(), &group);
        let party = RepresentedParty::new(s.as_deref(), &code).unwrap();
        prop_assert_eq!(&RepresentedParty::from_header(&party.to_header()).unwrap(), &party);
    }

    #[test]
    fn order_and_hash_agree_with_equality(one in client(), other in client(), third in client()) {
        prop_assert_eq!(one == other, one.cmp(&other).is_eq());
        prop_assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
        if one <= other && other <= third {
            prop_assert!(one <= third);
        }
        let copy = ClientId::from_header(&one.to_header()).unwrap();
        prop_assert_eq!(hash(&one), hash(&copy));
    }

    #[test]
    fn a_blank_part_makes_no_identifier(blank in "[ \t\n\u{a0}\u{2003}]{0,3}", at in 0..4_usize) {
        let mut parts = ["EE", "GOV", "1", "s"];
        parts[at] = &blank;
        let [i, c, m, s] = parts;
        prop_assert!(ClientId::new(i, c, m, Some(s)).is_err());
    }

    #[test]
    fn any_text_is_an_identifier_or_refused(text in ".{0,60}") {
        for header in [&text, &text.replace(' ', "/")] {
            if let Ok(id) = ClientId::from_header(header) {
                prop_assert_eq!(ClientId::from_header(&id.to_header()).unwrap(), id);
            }
            if let Ok(id) = ServiceId::parse_service_header(header) {
                prop_assert_eq!(ServiceId::parse_service_header(&id.to_header()).unwrap(), id);
            }
        }
        let _ = (text.parse::<ClientId>(), MediaType::parse(&text), Version::parse(&text));
    }

    #[test]
    fn sealed_requests_are_read_again(
        id in client(), path in "(/[a-z0-9%-]{0,6}){0,3}", names in vec("[A-Za-z][a-z-]{0,8}", 0..6),
        values in vec(vec(0x20_u8..=0xff, 0..12), 6), message_id in "[!-~]{1,20}",
    ) {
        let header = id.to_header();
        let mut headers = vec![(&b"X-Road-Client"[..], header.as_bytes()), (b"X-Road-Id", message_id.as_bytes())];
        headers.extend(names.iter().map(String::as_bytes).zip(values.iter().map(Vec::as_slice)));
        let target = format!("/r1/EE/GOV/1/s/c{path}");
        let Ok(block) = RestRequestBlock::seal("PUT", &target, headers, "uuid", || unreachable!()) else {
            let bad_path = RestTarget::parse_path_and_query(&target).is_err();
            prop_assert!(bad_path || values.iter().flatten().any(|byte| *byte == 0x7f));
            return Ok(());
        };
        let again = RestRequestBlock::parse(block.bytes().clone()).unwrap();
        prop_assert_eq!(&again.canonical(), block.bytes());
        prop_assert_eq!(again.client(), &id);
        prop_assert_eq!(again.target().path(), path);
        prop_assert_eq!(again.message_id(), message_id);
        prop_assert_eq!(again.request_id(), Some("uuid"));
        let answer = RestResponseBlock::seal(204, "", [], &again, "uuid", "aGFzaA==");
        if let Ok(answer) = answer {
            answer.check_answers(&again, "aGFzaA==").unwrap();
        }
    }

    #[test]
    fn any_bytes_are_a_block_or_refused(bytes in vec(any::<u8>(), 0..200), lines in vec("[ -~\r\n]{0,20}", 0..8)) {
        let text = format!("GET\n/r1/E/G/1/s/c\nx-road-client:E/G/1\nx-road-id:1\n{}", lines.join("\n"));
        for bytes in [Bytes::from(bytes), Bytes::from(text)] {
            if let Ok(block) = RestRequestBlock::parse(bytes.clone()) {
                let canonical = block.canonical();
                let again = RestRequestBlock::parse(canonical.clone()).unwrap();
                prop_assert_eq!(again.canonical(), canonical);
                prop_assert!(again.headers().eq(block.headers()));
            }
            let _ = RestResponseBlock::parse(bytes);
        }
    }

    #[test]
    fn parts_survive_a_multipart(bodies in vec(vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'B'), any::<u8>()], 0..40), 0..5), chunk in 1..50_usize) {
        let mut writer = MultipartWriter::new("Boundary");
        let mut out = Vec::new();
        for body in &bodies {
            out.extend_from_slice(&writer.part("a/b", []));
            out.extend_from_slice(body);
        }
        out.extend_from_slice(&writer.close());
        let (read, end) = multipart(b"Boundary", &out, chunk);
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(read, bodies);
    }

    #[test]
    fn chunks_do_not_change_what_a_multipart_holds(data in "(--B|--|B|\r\n|\n|\r| |x|a: b){0,30}", chunk in 1..10_usize) {
        prop_assert_eq!(multipart(b"B", data.as_bytes(), chunk), multipart(b"B", data.as_bytes(), 1_000));
    }

    #[test]
    fn any_xml_is_read_or_refused(text in "(<a|<p:b|>|/>|</a>|</p:b>| xmlns='u'| xmlns:p='v'| p:c='1'|&lt;|&#0;|<!--|-->|<!\\[CDATA\\[|\\]\\]>|<\\?p|\\?>|<!DOCTYPE|x|é|\u{1}){0,14}") {
        let verdict = check(text.as_bytes(), &XmlBudget::default());
        if verdict.is_ok() {
            prop_assert!(!text.contains("DOCTYPE") || text.contains("<!--") || text.contains("CDATA") || text.contains("<?p"));
            let (two_roots, inside) = (format!("{text}<a/>"), format!("<r>{text}</r>"));
            prop_assert!(check(two_roots.as_bytes(), &XmlBudget::default()).is_err());
            prop_assert!(check(inside.as_bytes(), &XmlBudget::default()).is_ok());
        }
        let _ = soap::scan(text.as_bytes(), &Limits::default());
    }

    #[test]
    fn faults_survive_their_document(code in "[a-z._]{1,20}", message in "\\PC{0,40}", detail in "[a-f0-9-]{1,36}") {
        let fault = Fault::new(code.as_str(), message.as_str(), detail);
        let scanned = soap::scan(&fault.to_soap(), &Limits::default()).unwrap();
        prop_assert_eq!(scanned.fault(), Some(&fault));
        prop_assert!(check(&fault.to_rest_xml(), &XmlBudget::default()).is_ok());
    }

    #[test]
    fn codes_are_compared_without_case_and_underscores(parts in vec("[a-z]{1,6}(_[a-z]{1,6}){0,2}", 1..4)) {
        let new = parts.join(".");
        let old = new.split(['_']).map(|word| word[..1].to_uppercase() + &word[1..]).collect::<String>();
        prop_assert!(codes::same(&new, &old));
        prop_assert_eq!(FaultCode::from(new.as_str()), FaultCode::from(old));
        let longer = format!("{new}.x");
        prop_assert!(!codes::same(&new, &longer));
    }

    #[test]
    fn what_is_authorised_has_one_reading(raw in "(/|a|\\.|%2e|%2F|%25|2e|;|\\\\|%5C|%C3%A9|%|\\?|é){0,12}") {
        let path = format!("/{raw}");
        match normalise_for_access(&path) {
            Ok(path) => {
                let path = path.as_str();
                prop_assert!(!path.contains("//") && !path.contains(['\\', ';']));
                prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert!(PathPattern::parse("**").unwrap().matches(path));
                let literal = path.replace('*', "\\*");
                prop_assert!(PathPattern::parse(&literal).unwrap().matches(path));
            }
            Err(AmbiguousPath::BadEscape) => prop_assert!(path.contains('%')),
            Err(_) => {}
        }
    }

    #[test]
    fn patterns_agree_with_a_plain_matcher(pattern in "(a|b|/|\\*|\\*\\*){0,8}", path in "[ab/]{0,8}") {
        prop_assert_eq!(PathPattern::parse(&pattern).unwrap().matches(&path), plain_match(&pattern, &path), "{} {}", pattern, path);
    }
}

/// Bodies of the parts, the last one perhaps cut off.
fn multipart(
    boundary: &[u8],
    data: &[u8],
    chunk: usize,
) -> (Vec<Vec<u8>>, Result<(), MultipartError>) {
    let mut reader = MultipartReader::new(boundary, MultipartLimits::default()).unwrap();
    let mut end = Ok(());
    for chunk in data.chunks(chunk) {
        end = end.and_then(|()| reader.push(Bytes::from(chunk.to_vec())));
    }
    end = end.and_then(|()| reader.finish());
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    while let Some(event) = reader.poll_event() {
        match event {
            MultipartEvent::PartStart(_) => bodies.push(Vec::new()),
            MultipartEvent::Data(data) => bodies.last_mut().unwrap().extend_from_slice(&data),
            MultipartEvent::PartEnd | MultipartEvent::End => {}
        }
    }
    (bodies, end)
}

/// The same rules, written as a recursion.
fn plain_match(pattern: &str, path: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix("**") {
        return (0..=path.len()).any(|skip| plain_match(rest, &path[skip..]));
    }
    if let Some(rest) = pattern.strip_prefix('*') {
        let run = path.find('/').unwrap_or(path.len());
        return (0..=run).any(|skip| plain_match(rest, &path[skip..]));
    }
    match (pattern.chars().next(), path.chars().next()) {
        (None, None) => true,
        (Some(wanted), Some(found)) => wanted == found && plain_match(&pattern[1..], &path[1..]),
        _ => false,
    }
}
