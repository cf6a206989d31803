//! Facts from outside: recordings of real servers and messages of X-Road's own tests.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;

use crate::fault::{Blame, Fault};
use crate::header;
use crate::id::xml::{Identifier, write_identifier_xml};
use crate::id::{ClientId, ServerId, ServiceId};
use crate::limits::Limits;
use crate::media_type::MediaType;
use crate::message::{RestRequestBlock, RestResponseBlock};
use crate::multipart::{
    MultipartError, MultipartEvent, MultipartLimits, MultipartReader, MultipartWriter, PartHeaders,
};
use crate::soap;

/// The folder of fixtures, or nothing with a word about it; in CI they must be there.
fn fixtures(test: &str) -> Option<PathBuf> {
    let root = std::env::var_os("JIBEK_XROAD_FIXTURES")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/xroad")
        });
    if root.is_dir() {
        return Some(root);
    }
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "no fixtures at {}",
        root.display()
    );
    println!("SKIPPED {test}: fixtures absent");
    None
}

/// An HTTP message taken apart, chunks joined.
struct Http {
    head: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Http {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let head: Vec<_> = head
            .lines()
            .skip(1)
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| {
                (
                    name.to_owned(),
                    value.strip_prefix(' ').unwrap_or(value).to_owned(),
                )
            })
            .collect();
        let chunked = head
            .iter()
            .any(|(name, value)| name == "Transfer-Encoding" && value == "chunked");
        let rest = &bytes[end + 4..];
        Self {
            head,
            body: if chunked {
                dechunk(rest)
            } else {
                rest.to_vec()
            },
        }
    }

    fn header(&self, name: &str) -> &str {
        &self.head.iter().find(|(known, _)| known == name).unwrap().1
    }

    fn parts(&self) -> Vec<(PartHeaders, Vec<u8>)> {
        let media_type = MediaType::parse(self.header("Content-Type")).unwrap();
        parts(media_type.param("boundary").unwrap(), &self.body, 1_000).unwrap()
    }
}

fn dechunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
}

type Parts = Vec<(PartHeaders, Vec<u8>)>;

fn parts(boundary: &str, data: &[u8], chunk: usize) -> Result<Parts, MultipartError> {
    let mut reader = MultipartReader::new(boundary.as_bytes(), MultipartLimits::default())?;
    for chunk in data.chunks(chunk) {
        reader.push(Bytes::from(chunk.to_vec()))?;
    }
    reader.finish()?;
    let mut parts: Parts = Vec::new();
    while let Some(event) = reader.poll_event() {
        match event {
            MultipartEvent::PartStart(headers) => parts.push((headers, Vec::new())),
            MultipartEvent::Data(data) => parts.last_mut().unwrap().1.extend_from_slice(&data),
            MultipartEvent::PartEnd | MultipartEvent::End => {}
        }
    }
    Ok(parts)
}

fn types(parts: &Parts) -> Vec<&str> {
    parts
        .iter()
        .map(|(headers, _)| headers.content_type().unwrap())
        .collect()
}

#[test]
fn recorded_rest_exchanges_are_understood() {
    let Some(root) = fixtures("recorded_rest_exchanges_are_understood") else {
        return;
    };
    let wire = root.join("wire");
    for (name, request_types, response_body) in [
        (
            "rest-get",
            vec![
                header::OCSP_RESPONSE,
                header::REST_REQUEST,
                header::SIGNATURE,
            ],
            "{\"method\":\"GET\",\"uri\":\"/hello?x=1&y=%20z\",\"n\":0}",
        ),
        (
            "rest-post",
            vec![
                header::OCSP_RESPONSE,
                header::REST_REQUEST,
                header::REST_BODY,
                header::HASH_CHAIN_RESULT,
                header::HASH_CHAIN,
                header::SIGNATURE,
            ],
            "{\"method\":\"POST\",\"uri\":\"/items\",\"n\":7}",
        ),
    ] {
        let request = Http::read(&wire.join(format!("{name}.req")));
        let request_parts = request.parts();
        assert_eq!(types(&request_parts), request_types);
        assert_eq!(
            request.header(header::X_ROAD_MESSAGE_TYPE),
            header::MESSAGE_TYPE_REST
        );
        assert_eq!(
            request.header(header::X_HASH_ALGORITHM),
            header::HASH_ALGORITHM
        );
        let block = RestRequestBlock::parse(request_parts[1].1.clone().into()).unwrap();
        assert_eq!(block.canonical(), block.bytes());
        assert_eq!(
            block.request_id(),
            Some(request.header(header::X_ROAD_REQUEST_ID))
        );
        assert_eq!(block.message_id(), format!("h1-{name}"));
        assert_eq!(
            block.client().to_string(),
            "SUBSYSTEM:DEV/COM/1111/Consumer"
        );
        assert_eq!(
            block.target().service().to_string(),
            "SERVICE:DEV/COM/2222/Provider/rest"
        );

        let response = Http::read(&wire.join(format!("{name}.resp")));
        let response_parts = response.parts();
        assert_eq!(
            types(&response_parts),
            [
                header::REST_RESPONSE,
                header::REST_BODY,
                header::HASH_CHAIN_RESULT,
                header::HASH_CHAIN,
                header::SIGNATURE
            ]
        );
        assert_eq!(response_parts[1].1, response_body.as_bytes());
        let answer = RestResponseBlock::parse(response_parts[0].1.clone().into()).unwrap();
        assert_eq!((answer.status(), answer.reason()), (200, "OK"));
        answer.check_answers(&block, answer.request_hash()).unwrap();
    }
}

#[test]
fn recorded_blocks_are_written_again_byte_for_byte() {
    let Some(root) = fixtures("recorded_blocks_are_written_again_byte_for_byte") else {
        return;
    };
    let wire = root.join("wire");
    for name in ["rest-get", "rest-post", "rest-denied"] {
        let request = Http::read(&wire.join(format!("{name}.req")));
        let recorded = RestRequestBlock::parse(request.parts()[1].1.clone().into()).unwrap();
        let headers: Vec<(&[u8], &[u8])> = recorded
            .headers()
            .map(|line| (line.name.as_bytes(), line.value.as_bytes()))
            .collect();
        let more: [(&[u8], &[u8]); 2] = [(b"Host", b"localhost:8080"), (b"User-Agent", b"curl/8")];
        let written = RestRequestBlock::seal(
            recorded.method().as_str(),
            recorded.path_and_query(),
            more.into_iter().chain(headers),
            recorded.request_id().unwrap(),
            || unreachable!("the consumer sent an id"),
        )
        .unwrap();
        assert_eq!(written.bytes(), recorded.bytes());
        if name == "rest-denied" {
            continue;
        }

        let response = Http::read(&wire.join(format!("{name}.resp")));
        let answer = RestResponseBlock::parse(response.parts()[0].1.clone().into()).unwrap();
        let from_provider: [(&[u8], &[u8]); 4] = [
            (b"Server", b"x"),
            (b"Content-Type", b"application/json"),
            (b"Date", answer.header("date").unwrap().as_bytes()),
            (b"Content-Length", b"9"),
        ];
        let id = recorded.request_id().unwrap();
        let written = RestResponseBlock::seal(
            200,
            "OK",
            from_provider,
            &recorded,
            id,
            answer.request_hash(),
        );
        assert_eq!(written.unwrap().bytes(), answer.bytes());
    }
}

#[test]
fn recorded_multiparts_are_written_again_byte_for_byte() {
    let Some(root) = fixtures("recorded_multiparts_are_written_again_byte_for_byte") else {
        return;
    };
    for name in [
        "rest-get.req",
        "rest-get.resp",
        "rest-post.req",
        "rest-post.resp",
        "soap-plain.req",
        "soap-plain.resp",
    ] {
        let message = Http::read(&root.join("wire").join(name));
        let media_type = MediaType::parse(message.header("Content-Type")).unwrap();
        assert!(media_type.is(header::MULTIPART_MIXED));
        let mut writer = MultipartWriter::new(media_type.param("boundary").unwrap());
        assert_eq!(writer.content_type(), message.header("Content-Type"));
        let mut out = Vec::new();
        let recorded = message.parts();
        for (headers, body) in &recorded {
            out.extend_from_slice(
                &writer.part(headers.content_type().unwrap(), headers.iter().skip(1)),
            );
            out.extend_from_slice(body);
        }
        let boundary = writer.boundary().to_owned();
        out.extend_from_slice(&writer.close());
        assert_eq!(out, message.body, "{name}");
        for chunk in [1, 2, 3, 17, 4_096, out.len()] {
            assert_eq!(
                parts(&boundary, &out, chunk).unwrap(),
                recorded,
                "{name} in chunks of {chunk}"
            );
        }
        for length in [0, 1, out.len() / 2, out.len() - 5] {
            assert_eq!(
                parts(&boundary, &out[..length], 64),
                Err(MultipartError::NotClosed)
            );
        }
    }
}

#[test]
fn recorded_soap_is_understood_and_the_hash_goes_where_it_went() {
    let Some(root) = fixtures("recorded_soap_is_understood_and_the_hash_goes_where_it_went") else {
        return;
    };
    let limits = Limits::default();
    let request = Http::read(&root.join("wire/soap-plain.req")).parts();
    assert_eq!(
        types(&request),
        [
            header::OCSP_RESPONSE,
            header::TEXT_XML_UTF8,
            header::SIGNATURE
        ]
    );
    assert_eq!(
        request[1].1,
        std::fs::read(root.join("wire/soap-plain.from-consumer")).unwrap()
    );
    let asked = soap::scan(&request[1].1, &limits).unwrap();
    assert!(!asked.is_response());
    assert!(soap::soap_action_is_valid(b"\"urn:echo\""));

    let response = Http::read(&root.join("wire/soap-plain.resp")).parts();
    let recorded = Bytes::from(response[0].1.clone());
    let answered = soap::scan(&recorded, &limits).unwrap();
    assert!(answered.is_response());
    let (asked, answer) = (asked.header().unwrap(), answered.header().unwrap());
    soap::check_answers(asked, answer).unwrap();
    assert_eq!(asked.client.to_string(), "SUBSYSTEM:DEV/COM/1111/Consumer");
    assert_eq!(
        asked.service.to_string(),
        "SERVICE:DEV/COM/2222/Provider/echo/v1"
    );

    let hash = answer.request_hash.as_deref().unwrap();
    let line = format!(
        "\n    <xro:requestHash algorithmId=\"http://www.w3.org/2001/04/xmlenc#sha512\">{hash}</xro:requestHash>"
    );
    let text = String::from_utf8(recorded.to_vec()).unwrap();
    assert!(text.contains(&line));
    let provider = Bytes::from(text.replace(&line, ""));
    let scanned = soap::scan(&provider, &limits).unwrap();
    assert_eq!(
        soap::with_request_hash(&provider, &scanned, hash).unwrap(),
        recorded
    );
}

#[test]
fn recorded_fault_is_read_and_written() {
    let Some(root) = fixtures("recorded_fault_is_read_and_written") else {
        return;
    };
    let recorded = Http::read(&root.join("wire/rest-denied.resp"));
    assert_eq!(recorded.header("Content-Type"), header::FAULT_CONTENT_TYPE);
    let scanned = soap::scan(&recorded.body, &Limits::default()).unwrap();
    let fault: &Fault = scanned.fault().unwrap();
    assert_eq!(*fault.code(), "Server.ServerProxy.AccessDenied");
    assert_eq!(fault.blame(), Blame::Consumer);
    assert_eq!(fault.to_soap(), recorded.body);
    // this recording has its chunks joined
    let consumer = std::fs::read(root.join("wire/rest-denied.to-consumer")).unwrap();
    assert!(consumer.ends_with(&fault.to_rest_json()));
    assert!(consumer.starts_with(b"HTTP/1.1 500 "));
    assert_eq!(fault.rest_status(), 500);
}

#[test]
fn recorded_ocsp_answer_is_a_multipart() {
    let Some(root) = fixtures("recorded_ocsp_answer_is_a_multipart") else {
        return;
    };
    let parts = Http::read(&root.join("wire/port5577.resp")).parts();
    assert_eq!(types(&parts), [header::OCSP_RESPONSE]);
    assert_eq!(parts[0].1.len(), 0x5ff);
}

#[test]
fn written_identifiers_are_valid_by_the_schema() {
    let test = "written_identifiers_are_valid_by_the_schema";
    let Some(root) = fixtures(test) else { return };
    if Command::new("xmllint")
        .arg("--version")
        .stderr(Stdio::null())
        .status()
        .is_err()
    {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "no xmllint"
        );
        println!("SKIPPED {test}: xmllint absent");
        return;
    }
    let schema = format!(
        "<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema' xmlns:id='{ns}' targetNamespace='urn:t'>\
         <xs:import namespace='{ns}' schemaLocation='{}'/>\
         <xs:element name='client' type='id:XRoadClientIdentifierType'/>\
         <xs:element name='service' type='id:XRoadServiceIdentifierType'/>\
         <xs:element name='server' type='id:XRoadSecurityServerIdentifierType'/></xs:schema>",
        root.join("xsd/identifiers.xsd").display(),
        ns = header::NS_IDENTIFIERS
    );
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(schema.as_bytes()).unwrap();
    let member = ClientId::new("EE", "GOV", "<1 & 2>", None).unwrap();
    let subsystem = ClientId::new("EE", "GOV", "õ", Some("s \"'")).unwrap();
    let service = ServiceId::new(subsystem.clone(), "c", Some("v1")).unwrap();
    let server = ServerId::new(member.member().clone(), "ss1").unwrap();
    let identifiers: [(&str, &dyn Identifier); 4] = [
        ("t:client", &member),
        ("t:client", &subsystem),
        ("t:service", &service),
        ("t:server", &server),
    ];
    for (element, id) in identifiers {
        let mut xml = String::new();
        write_identifier_xml(&mut xml, element, "i", id);
        let declared = format!(
            "<{element} xmlns:t='urn:t' xmlns:i='{}'",
            header::NS_IDENTIFIERS
        );
        let xml = xml.replacen(&format!("<{element}"), &declared, 1);
        let mut lint = Command::new("xmllint")
            .args(["--noout", "--nonet", "--schema"])
            .arg(file.path())
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        lint.stdin
            .take()
            .unwrap()
            .write_all(xml.as_bytes())
            .unwrap();
        let output = lint.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Messages of X-Road's own tests: what the rules of its reader say of each (`message-path.md` 2.3).
#[test]
fn x_roads_test_messages_get_their_verdict() {
    let Some(root) = fixtures("x_roads_test_messages_get_their_verdict") else {
        return;
    };
    let mut seen = 0;
    let mut files: Vec<_> = std::fs::read_dir(root.join("messages"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.ends_with(".query") && !name.ends_with(".answer") {
            continue;
        }
        seen += 1;
        let expected = VERDICTS
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("ok", |(_, verdict)| verdict);
        assert_eq!(verdict(&std::fs::read(&path).unwrap()), expected, "{name}");
    }
    assert_eq!(seen, 79);
}

/// `ok`, `fault`, or the code of what is wrong with the SOAP part.
fn verdict(bytes: &[u8]) -> &'static str {
    let mut soap = bytes.to_vec();
    if let Some(rest) = bytes.strip_prefix(b"--") {
        let boundary = str::from_utf8(rest).unwrap().lines().next().unwrap();
        match parts(boundary, bytes, 100) {
            Ok(parts) if parts.is_empty() => return "no part",
            Ok(parts) => soap = parts[0].1.clone(),
            Err(_) => return "cut off",
        }
    }
    match soap::scan(&soap, &Limits::default()) {
        Ok(scanned) if scanned.fault().is_some() => "fault",
        Ok(_) => "ok",
        Err(error) => error.code(),
    }
}

/// All that is not accepted. Java's multipart reader does not see that the two cut-off ones are.
const VERDICTS: &[(&str, &str)] = &[
    ("attach-error-withsoap.query", "inconsistent_headers"),
    ("attachm-faulty-soap.query", "missing_header_field"),
    ("attachm-no-soap.query", "invalid_soap"),
    ("customfault.answer", "fault"),
    ("customsoapenv.answer", "fault"),
    ("empty.query", "invalid_soap"),
    ("fault.query", "fault"),
    ("faulty-fault.answer", "fault"),
    ("faulty-header.query", "missing_header_field"),
    ("faulty-header2.query", "duplicate_header_field"),
    ("faulty-multipart.query", "cut off"),
    ("inconsistent-headers.query", "inconsistent_headers"),
    ("malformed-body1.query", "invalid_body"),
    ("malformed-body2.query", "invalid_body"),
    ("malformed-body3.query", "inconsistent_headers"),
    (
        "malformed-protocolVersion.query",
        "invalid_protocol_version",
    ),
    ("missing-body.query", "missing_body"),
    ("missing-protocolVersion.query", "missing_header_field"),
    ("missingobjecttype.query", "invalid_xml"),
    ("no-header.query", "missing_header"),
    ("no-soap.query", "invalid_soap"),
    ("soapfault-mtom.answer", "cut off"),
    ("soapfaulterror.query", "fault"),
    ("wrong-protocolVersion.query", "invalid_protocol_version"),
    ("wrong-version.query", "invalid_protocol_version"),
];
