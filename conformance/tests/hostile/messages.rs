//! Transport messages that are not what they should be, from a server that is registered.

use bytes::Bytes;
use jibek_conformance::{
    peer::Message,
    world::{HAND_MADE, PROVIDER, World},
};

use crate::scene::{PROVIDER_SIDE, READING, STACKS, Scene};

const BLOCK: &str = "application/x-road-rest-request";
const REST_BODY: &str = "application/x-road-rest-body";

/// Content types and bytes.
type Parts = Vec<(String, Bytes)>;

/// A message with its HTTP head changed.
fn head(message: &Message, from: &str, to: &str) -> Vec<u8> {
    let body = message.body();
    let head = message.head(body.len());
    assert!(head.contains(from), "{from} is not in the head");
    let mut all = head.replacen(from, to, 1).into_bytes();
    all.extend_from_slice(&body);
    all
}

/// A message with another block, signed as if that were a block.
fn with_block(get: &Message, block: impl Into<Bytes>) -> Vec<u8> {
    let mut message = get.clone();
    *message.part_mut(BLOCK) = block.into();
    message.to_http()
}

fn block(lines: &[&str]) -> String {
    let mut text = format!("GET\r\n/r1/{PROVIDER}/rest/hostile\r\n");
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text
}

fn envelope(header: &str, body: &str) -> String {
    format!(
        "<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:x=\"http://x-road.eu/xsd/xroad.xsd\" \
         xmlns:i=\"http://x-road.eu/xsd/identifiers\"><soap:Header>{header}</soap:Header><soap:Body>{body}</soap:Body></soap:Envelope>"
    )
}

fn soap_header(service: &str) -> String {
    format!(
        "<x:client i:objectType=\"MEMBER\"><i:xRoadInstance>TEST</i:xRoadInstance><i:memberClass>GOV</i:memberClass>\
         <i:memberCode>3003</i:memberCode></x:client><x:service i:objectType=\"SERVICE\"><i:xRoadInstance>TEST</i:xRoadInstance>\
         <i:memberClass>GOV</i:memberClass><i:memberCode>2002</i:memberCode><i:subsystemCode>provider</i:subsystemCode>\
         <i:serviceCode>{service}</i:serviceCode></x:service><x:id>soap-1</x:id><x:protocolVersion>4.0</x:protocolVersion>"
    )
}

/// The header that asks for one server, and what stands before the next one.
fn security_server(code: &str) -> String {
    format!(
        "<x:securityServer i:objectType=\"SERVER\"><i:xRoadInstance>TEST</i:xRoadInstance><i:memberClass>GOV</i:memberClass>\
         <i:memberCode>2002</i:memberCode><i:serverCode>{code}</i:serverCode></x:securityServer><x:id>"
    )
}

/// Head, order and syntax of transport messages, and what stands in the parts.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_none_are_refused() {
    let scene = Scene::new(World::builder()).await;
    let (get, post) = (scene.get(), scene.post("the body"));
    scene.accepted("as it should be", STACKS[0], &get).await;
    let ours =
        envelope(&soap_header("soap"), "<soap1/>").replacen("<x:id>", &security_server("ss2"), 1);
    let ours = scene.hand.soap(ours.into(), scene.world.now());
    let answer = scene.hand.call(scene.provider(), STACKS[0], &ours).await;
    // The system answers with no SOAP: it was called, by the server that was asked for.
    let code = answer.unwrap().fault_code();
    assert_eq!(
        code.as_deref(),
        Some("server.serverproxy.service_failed.invalid_content_type")
    );
    let own = |code: &str| format!("{PROVIDER_SIDE}.{code}");
    let reading = |code: &str| format!("{READING}.{code}");
    let mut cases: Vec<(&str, Vec<u8>, String)> = Vec::new();

    // The head. Weakness 5: the id of the exchange is what was signed.
    let id = format!("x-road-request-id: {}\r\n", get.request_id());
    let id = id.as_str();
    let hash = "x-hash-algorithm: SHA-512\r\n";
    for (name, from, to, code) in [
        (
            "another request id",
            id,
            "x-road-request-id: other\r\n",
            reading("invalid_message"),
        ),
        ("no request id", id, "", reading("invalid_message")),
        (
            "empty request id",
            id,
            "x-road-request-id:\r\n",
            reading("invalid_message"),
        ),
        ("no hash algorithm", hash, "", own("internal_error")),
        (
            "SHA-256",
            hash,
            "x-hash-algorithm: SHA-256\r\n",
            own("internal_error"),
        ),
        ("GET", "POST / ", "GET / ", own("invalid_http_method")),
        ("PUT", "POST / ", "PUT / ", own("invalid_http_method")),
        (
            "no message type",
            "x-road-message-type: REST\r\n",
            "",
            reading("invalid_content_type"),
        ),
        (
            "another message type",
            "x-road-message-type: REST",
            "x-road-message-type: rest",
            reading("invalid_content_type"),
        ),
        (
            "no boundary",
            "; boundary=xtophandmadehandmadehandmadehandma",
            "",
            reading("invalid_content_type"),
        ),
        (
            "another boundary",
            "boundary=xtop",
            "boundary=ytop",
            own("mime_parsing_failed"),
        ),
        (
            "a boundary too long",
            "boundary=",
            &format!("boundary={}", "x".repeat(300)),
            reading("invalid_content_type"),
        ),
        (
            "text/xml",
            "multipart/mixed",
            "text/xml",
            reading("invalid_content_type"),
        ),
        (
            "multipart/related",
            "multipart/mixed",
            "multipart/related",
            reading("invalid_content_type"),
        ),
        (
            "no content type",
            "Content-Type: multipart/mixed",
            "X: multipart/mixed",
            reading("invalid_content_type"),
        ),
        (
            "nonsense as content type",
            "Content-Type: multipart/mixed",
            "Content-Type: \u{7f}\u{ff}",
            reading("invalid_content_type"),
        ),
    ] {
        // What HTTP itself forbids is refused by HTTP.
        if to.contains('\u{7f}') {
            continue;
        }
        cases.push((name, head(&get, from, to), code));
    }

    // The parts and their order.
    let parts = |change: &dyn Fn(&mut Parts)| {
        let mut message = post.clone();
        change(&mut message.parts);
        message.to_http()
    };
    let last = post.parts.len() - 1;
    cases.push((
        "message part first",
        parts(&|parts| parts.rotate_left(1)),
        reading("ssl_authentication_failed"),
    ));
    cases.push((
        "signature first",
        parts(&|parts| parts.rotate_right(1)),
        reading("invalid_content_type"),
    ));
    cases.push((
        "a part after the signature",
        parts(&|parts| parts.push(parts[last].clone())),
        reading("invalid_content_type"),
    ));
    cases.push((
        "body after the hash chain",
        parts(&|parts| {
            let at = parts
                .iter()
                .position(|(name, _)| name == REST_BODY)
                .unwrap();
            let body = parts.remove(at);
            parts.insert(last - 1, body);
        }),
        reading("invalid_content_type"),
    ));
    cases.push((
        "two bodies",
        parts(&|parts| {
            let at = parts
                .iter()
                .position(|(name, _)| name == REST_BODY)
                .unwrap();
            parts.insert(at, parts[at].clone());
        }),
        reading("invalid_content_type"),
    ));
    cases.push((
        "two blocks",
        parts(&|parts| {
            let at = parts.iter().position(|(name, _)| name == BLOCK).unwrap();
            parts.insert(at, parts[at].clone());
        }),
        reading("invalid_content_type"),
    ));
    cases.push((
        "a fault in the place of the signature",
        parts(&|parts| {
            parts[last] = ("text/xml".to_owned(), Bytes::from_static(b"<fault/>"));
        }),
        own("invalid_message"),
    ));
    cases.push((
        "a part of no known type",
        parts(&|parts| {
            parts[last].0 = "application/zip".to_owned();
        }),
        reading("invalid_content_type"),
    ));
    cases.push((
        "OCSP part without end",
        parts(&|parts| {
            parts[0].1 = vec![0; 1024 * 1024].into();
        }),
        own("mime_parsing_failed"),
    ));
    cases.push((
        "a megabyte of part header",
        parts(&|parts| {
            parts[0].0 = "x".repeat(1024 * 1024);
        }),
        own("mime_parsing_failed"),
    ));
    cases.push((
        "a thousand parts",
        parts(&|parts| {
            let one = parts[0].clone();
            parts.splice(0..0, std::iter::repeat_n(one, 1000));
        }),
        reading("invalid_content_type"),
    ));

    // Whole in HTTP's eyes, truncated in ours.
    let truncated = |keep: usize| {
        let mut message = post.clone();
        message.parts.truncate(keep);
        message.closed = false;
        message.to_http()
    };
    let at = post
        .parts
        .iter()
        .position(|(name, _)| name == BLOCK)
        .unwrap();
    for keep in 0..=post.parts.len() {
        let code = if keep <= at + 1 {
            own("mime_parsing_failed")
        } else {
            own("missing_signature")
        };
        cases.push(("truncated", truncated(keep), code));
    }
    let mut garbage = get.clone();
    garbage.parts.clear();
    cases.push(("an empty multipart", garbage.to_http(), own("missing_rest")));

    // The block.
    let client = format!("x-road-client:{HAND_MADE}");
    let request_id = format!("x-road-request-id:{}", get.request_id());
    let tail = ["x-road-id:a", request_id.as_str()];
    let block_of = |extra: &[&str]| {
        let mut lines = extra.to_vec();
        lines.extend(tail);
        block(&lines)
    };
    for (name, text, code) in [
        (
            "no client",
            block_of(&[]),
            reading("invalid_client_identifier"),
        ),
        (
            "a client of two parts",
            block_of(&["x-road-client:TEST/GOV"]),
            reading("internal_error"),
        ),
        (
            "an empty client",
            block_of(&["x-road-client:"]),
            reading("internal_error"),
        ),
        (
            "a client with a control character",
            block_of(&["x-road-client:TEST/GOV/3003\u{1}"]),
            reading("internal_error"),
        ),
        (
            "an unknown client",
            block_of(&["x-road-client:TEST/GOV/9999"]),
            reading("ssl_authentication_failed"),
        ),
        (
            "a client of another instance",
            block_of(&["x-road-client:MARS/GOV/3003"]),
            reading("ssl_authentication_failed"),
        ),
        (
            "a length of its own",
            block_of(&[&client, "content-length:1000"]),
            reading("internal_error"),
        ),
        (
            "a transfer coding of its own",
            block_of(&[&client, "Transfer-Encoding:chunked"]),
            reading("internal_error"),
        ),
        (
            "a host of its own",
            block_of(&[&client, "host:elsewhere"]),
            reading("internal_error"),
        ),
        (
            "a header without name",
            block_of(&[&client, ":value"]),
            reading("internal_error"),
        ),
        (
            "a header without colon",
            block_of(&[&client, "name"]),
            reading("internal_error"),
        ),
        (
            "an empty line",
            block_of(&[&client, "", "a:b"]),
            reading("internal_error"),
        ),
        (
            "a method that is none",
            block_of(&[&client]).replacen("GET", "CONNECT", 1),
            reading("internal_error"),
        ),
        (
            "a path that is none",
            block_of(&[&client]).replacen("/r1/", "/r2/", 1),
            reading("internal_error"),
        ),
        (
            "a service nobody has",
            block_of(&[&client]).replacen("/rest/", "/none/", 1),
            own("unknown_service"),
        ),
        (
            "a SOAP service",
            block_of(&[&client]).replacen("/rest/", "/soap/", 1),
            own("service_type"),
        ),
        (
            "a provider nobody knows",
            block_of(&[&client]).replacen("/2002/", "/2003/", 1),
            reading("unknown_member"),
        ),
        ("one line", "GET\r\n".to_owned(), reading("internal_error")),
        ("nothing", String::new(), reading("internal_error")),
        (
            "a block without end",
            block_of(&[&client, &format!("a:{}", "b".repeat(70_000))]),
            own("mime_parsing_failed"),
        ),
        (
            "as many headers as fit",
            block_of(&[&client, &"a:b\r\n".repeat(2000)]),
            reading("internal_error"),
        ),
    ] {
        cases.push((name, with_block(&get, text), code));
    }
    cases.push((
        "not UTF-8",
        with_block(&get, vec![0xff; 100]),
        reading("internal_error"),
    ));

    // SOAP.
    let now = scene.world.now();
    let good = envelope(&soap_header("soap"), "<soap1/>");
    let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let soap = vec![
        (
            "DOCTYPE",
            format!("<!DOCTYPE a [<!ENTITY b \"c\">]>{good}"),
            reading("invalid_soap"),
        ),
        (
            "deep",
            envelope(&soap_header("soap"), &deep),
            reading("invalid_soap"),
        ),
        (
            "a megabyte as name",
            envelope(&soap_header("soap"), &format!("<{}/>", "a".repeat(1 << 20))),
            reading("invalid_soap"),
        ),
        (
            "attributes without number",
            envelope(
                &soap_header("soap"),
                &format!(
                    "<soap {}/>",
                    (0..10_000)
                        .map(|n| format!("a{n}=\"\" "))
                        .collect::<String>()
                ),
            ),
            reading("invalid_soap"),
        ),
        (
            "an entity",
            good.replace("<x:id>soap-1", "<x:id>&b;"),
            reading("invalid_soap"),
        ),
        (
            "a REST service",
            envelope(&soap_header("rest"), "<rest/>"),
            own("service_type"),
        ),
        (
            "no header",
            envelope("", "<soap/>"),
            reading("missing_header_field"),
        ),
        (
            "cut off",
            good[..good.len() - 20].to_owned(),
            reading("invalid_soap"),
        ),
        (
            "another server's",
            good.replacen("<x:id>", &security_server("ss1"), 1),
            reading("invalid_security_server"),
        ),
        (
            "a server of another owner, with our code",
            good.replacen(
                "<x:id>",
                &security_server("ss2").replace(">2002<", ">1001<"),
                1,
            ),
            reading("invalid_security_server"),
        ),
        ("no XML", "hello".to_owned(), reading("invalid_soap")),
        ("nothing at all", String::new(), reading("invalid_soap")),
    ];
    for (name, text, code) in soap {
        cases.push((name, scene.hand.soap(text.into(), now).to_http(), code));
    }
    let mut huge = scene.hand.soap(good.clone().into(), now);
    let end = huge.part_mut("text/xml; charset=UTF-8");
    *end = [good.as_bytes(), &vec![b' '; 11 << 20]].concat().into();
    cases.push((
        "eleven megabytes",
        huge.to_http(),
        own("mime_parsing_failed"),
    ));
    let action = head(
        &scene.hand.soap(good.into(), now),
        "x-original-soapaction: \"\"",
        "x-original-soapaction: nonsense",
    );
    cases.push((
        "a SOAPAction without quotes",
        action,
        own("invalid_soap_action"),
    ));
    scene.run(cases).await;

    // HTTP's own refusals: not ours to word, and no message at all.
    let before = scene.traces();
    let flood = "a: b\r\n".repeat(300);
    let long = format!("a: {}\r\n", "b".repeat(64 * 1024));
    for tls in STACKS {
        for (name, extra) in [("many headers", &flood), ("a long header", &long)] {
            let bytes = head(&get, "Host: peer\r\n", &format!("Host: peer\r\n{extra}"));
            let answer = scene.hand.send(scene.provider(), tls, &bytes).await;
            if let Ok(answer) = answer {
                assert!(
                    answer.text().starts_with("HTTP/1.1 431"),
                    "{name}: {}",
                    answer.text()
                );
            }
        }
    }
    assert_eq!(scene.traces(), before);
    scene.works("header floods").await;
}
