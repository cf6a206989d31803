//! `jibek-protocol`: what stands in headers, messages and their frames.

use bytes::Bytes;
use jibek_protocol::{
    id::{
        ClientId, GlobalGroupId, RepresentedParty, ServerId, ServiceId, decode_part, encode_part,
    },
    limits::Limits,
    media_type::MediaType,
    message::{RestRequestBlock, RestResponseBlock, RestTarget},
    multipart::{MultipartLimits, MultipartReader},
    path::{PathPattern, normalise_for_access},
    soap::{self, SoapScanner},
    version::Version,
    xml::{XmlBudget, check},
};

use crate::seeds;

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub fn identifier(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(id) = ClientId::from_header(text) {
        assert_eq!(ClientId::from_header(&id.to_header()).as_ref(), Ok(&id));
    }
    if let Ok(id) = ServiceId::parse_service_header(text) {
        assert_eq!(
            ServiceId::parse_service_header(&id.to_header()).as_ref(),
            Ok(&id)
        );
    }
    if let Ok(part) = decode_part(text) {
        assert_eq!(decode_part(&encode_part(&part)), Ok(part));
    }
    let _ = (
        text.parse::<ClientId>(),
        text.parse::<ServiceId>(),
        text.parse::<ServerId>(),
    );
    let _ = (
        text.parse::<GlobalGroupId>(),
        RepresentedParty::from_header(text),
    );
    let _ = (ServiceId::from_header(text), Version::parse(text));
}

pub fn identifier_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "EE/GOV/70000001/sub",
        "EE/GOV/7%2F1/sub/service/v1",
        "SUBSYSTEM:EE/GOV/1/s",
        "SERVICE:EE/GOV/1/s/c/v1",
        "SERVER:EE/GOV/1/ss",
        "7.8.1-SNAPSHOT-20260101000000git0123456",
    ])
}

pub fn media_type(data: &[u8]) {
    if let Ok(read) = MediaType::parse(&String::from_utf8_lossy(data)) {
        let _ = (
            read.essence().len(),
            read.param("boundary"),
            read.param("charset"),
        );
    }
}

pub fn media_type_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "multipart/mixed; boundary=\"a b\\\"c\"; charset=UTF-8",
        "multipart/related;start=\"<root>\";type=text/xml; boundary=x",
        "signature/bdoc-1.0/ts",
    ])
}

/// First line: the boundary. The parts must not depend on how the bytes are cut.
pub fn multipart(data: &[u8]) {
    let (boundary, body) = match data.iter().position(|byte| *byte == b'\n') {
        Some(place) => (&data[..place], &data[place + 1..]),
        None => (&b"b"[..], data),
    };
    let read = |chunk: usize| {
        let mut reader = MultipartReader::new(boundary, MultipartLimits::default()).ok()?;
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for piece in body.chunks(chunk) {
            reader.push(Bytes::copy_from_slice(piece)).ok()?;
            while let Some(event) = reader.poll_event() {
                use jibek_protocol::multipart::MultipartEvent::{Data, PartStart};
                match event {
                    PartStart(headers) => {
                        let _ = headers.content_type();
                        parts.push(Vec::new());
                    }
                    Data(bytes) => parts.last_mut().expect("data within a part").extend(bytes),
                    _ => {}
                }
            }
        }
        reader.finish().ok()?;
        Some(parts)
    };
    let whole = read(body.len().max(1));
    assert_eq!(read(1), whole);
    assert_eq!(read(7), whole);
}

pub fn multipart_seeds() -> Vec<Vec<u8>> {
    let mut seeds = seeds::bodies();
    for seed in &mut seeds {
        if seed.starts_with(b"--") {
            // the first line is the boundary with its dashes
            let first = seed.split(|byte| *byte == b'\r').next().unwrap_or_default();
            *seed = [&first[2..], b"\n", seed].concat();
        }
    }
    seeds.push(b"b\n--b\r\na: b\r\n\r\nx\r\n--b--\r\n".to_vec());
    seeds
}

pub fn path(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = normalise_for_access(&text);
    let _ = RestTarget::parse_path_and_query(&text);
    if let Some((pattern, path)) = text.split_once(' ')
        && let (Ok(pattern), Ok(path)) = (PathPattern::parse(pattern), normalise_for_access(path))
    {
        let _ = pattern.matches(path.as_str());
    }
}

pub fn path_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "/r1/EE/GOV/1/s/c/a%2Fb;p=1?q",
        "/a/*/b/** /a/x/b/c/d",
        "/%2e%2e/x",
    ])
}

pub fn rest_block(data: &[u8]) {
    if let Ok(block) = RestRequestBlock::parse(Bytes::copy_from_slice(data)) {
        let again = RestRequestBlock::parse(block.canonical()).expect("the canonical form is one");
        assert_eq!(again.canonical(), block.canonical());
        let _ = (
            block.represented_party(),
            block.target_server(),
            block.headers().count(),
        );
    }
    if let Ok(block) = RestResponseBlock::parse(Bytes::copy_from_slice(data)) {
        let _ = (
            block.status(),
            block.service().to_header(),
            block.headers().count(),
        );
    }
}

pub fn rest_block_seeds() -> Vec<Vec<u8>> {
    let mut seeds = seeds::entries("message.xml");
    seeds.push(
        b"GET\r\n/r1/DEV/COM/1/s/c/x?y\r\nX-Road-Client:DEV/COM/2/t\r\nX-Road-Id:1\r\n".to_vec(),
    );
    seeds
}

pub fn soap(data: &[u8]) {
    let limits = Limits::default();
    let whole = soap::scan(data, &limits).is_ok();
    let mut scanner = SoapScanner::new(&limits);
    let pushed = data
        .chunks(5)
        .all(|chunk| scanner.push(&Bytes::copy_from_slice(chunk)).is_ok());
    assert_eq!(pushed && scanner.finish().is_ok(), whole);
}

pub fn soap_seeds() -> Vec<Vec<u8>> {
    [
        seeds::entries("message.xml"),
        seeds::files("messages", &[""]),
        seeds::files("wire", &["-consumer"]),
    ]
    .concat()
    .into_iter()
    .filter_map(|seed| {
        let start = seed
            .windows(2)
            .position(|window| window == b"<?" || window[0] == b'<')?;
        Some(seed[start..].to_vec())
    })
    .collect()
}

pub fn xml(data: &[u8]) {
    let _ = check(data, &XmlBudget::default());
}
