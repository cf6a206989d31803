//! Transport messages that are not what they should be, from a server that is registered.

use std::time::Duration;

use bytes::Bytes;
use jibek_conformance::{
    peer::{Message, connect, read_answer},
    world::{CONSUMER, HAND_MADE, PROVIDER, World},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use crate::scene::{PROVIDER_SIDE, READING, STACKS, Scene, said};

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
fn with_block(scene: &Scene, block: impl Into<Bytes>) -> Vec<u8> {
    let mut message = scene.get();
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

/// Head, order and syntax of transport messages, and what stands in the parts.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_none_are_refused() {
    let scene = Scene::new(World::builder()).await;
    let (get, post) = (scene.get(), scene.post("the body"));
    scene.accepted("as it should be", STACKS[0], &get).await;
    let own = |code: &str| format!("{PROVIDER_SIDE}.{code}");
    let reading = |code: &str| format!("{READING}.{code}");
    let mut cases: Vec<(&str, Vec<u8>, String)> = Vec::new();

    // The head. Weakness 5: the id of the exchange is what was signed.
    let id = "x-road-request-id: 7b1c2a44-5a3d-4c37-9d5f-0d1c4a6f3e21\r\n";
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
    let tail = [
        "x-road-id:a",
        "x-road-request-id:7b1c2a44-5a3d-4c37-9d5f-0d1c4a6f3e21",
    ];
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
        cases.push((name, with_block(&scene, text), code));
    }
    cases.push((
        "not UTF-8",
        with_block(&scene, vec![0xff; 100]),
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

/// The connection ends within each part, between the parts, within the head, and instead of the closing boundary.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_anywhere_leaves_nothing_behind() {
    let scene = Scene::new(World::builder()).await;
    let post = scene.post(vec![b'x'; 100_000]);
    let whole = post.to_http();
    let head = whole.len() - post.body().len();
    let mut cuts = vec![0, 10, head - 1, head, whole.len() - 1, whole.len() - 4];
    let mut at = head;
    for (content_type, bytes) in &post.parts {
        // Head of the part, its middle, its end.
        at += content_type.len() + 55;
        cuts.extend([at, at + bytes.len() / 2, at + bytes.len()]);
        at += bytes.len() + 4;
    }
    cuts.retain(|cut| *cut < whole.len());
    let before = scene.traces();
    for tls in STACKS {
        for (index, cut) in cuts.iter().enumerate() {
            let mut stream = scene.hand.connect(scene.provider(), tls).await.unwrap();
            stream.write_all(&whole[..*cut]).await.unwrap();
            stream.flush().await.unwrap();
            if index % 2 == 0 {
                let _ = timeout(Duration::from_secs(1), stream.shutdown()).await;
            }
            drop(stream);
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(scene.traces(), before, "acted on or recorded");
    scene.works("lost connections").await;
    scene.accepted("the whole", STACKS[0], &post).await;
}

/// A refused peer that reads nothing before it has written everything, and one that never ends: both get the fault.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_peer_reads_its_fault_however_much_it_writes() {
    let scene = Scene::new(World::builder()).await;
    let path = format!("/r1/{PROVIDER}/rest/hostile");
    let code = format!("{READING}.ssl_authentication_failed");
    for tls in STACKS {
        for megabytes in [1_usize, 8] {
            let body = Some(Bytes::from(vec![b'x'; megabytes << 20]));
            // Registered, but not for this client.
            let message = scene
                .hand
                .rest(CONSUMER, "POST", &path, body, scene.world.now());
            let refused = scene.refused(tls, &message.to_http(), &code).await;
            assert_eq!(refused, Ok(()), "{megabytes} MB, {tls:?}");
        }
        // Without end: the fault comes while it is still writing.
        let mut message = scene.hand.rest(
            CONSUMER,
            "POST",
            &path,
            Some(Bytes::new()),
            scene.world.now(),
        );
        let body_at = message
            .parts
            .iter()
            .position(|(name, _)| name == REST_BODY)
            .unwrap();
        message.parts.truncate(body_at + 1);
        message.closed = false;
        let start = message.body();
        let stream = scene.hand.connect(scene.provider(), tls).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(stream);
        writer
            .write_all(message.head(1 << 40).as_bytes())
            .await
            .unwrap();
        writer.write_all(&start).await.unwrap();
        let endless = tokio::spawn(async move {
            let chunk = vec![b'x'; 64 * 1024];
            while writer.write_all(&chunk).await.is_ok() {}
        });
        let begun = Instant::now();
        let answer = timeout(Duration::from_secs(20), read_answer(&mut reader))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            answer.fault_code().as_deref(),
            Some(code.as_str()),
            "{}",
            said(&answer)
        );
        assert!(begun.elapsed() < Duration::from_secs(15));
        timeout(Duration::from_secs(15), endless)
            .await
            .unwrap()
            .unwrap();
    }
    scene.works("writers without end").await;
}

/// A peer that stalls is given up, in the head and in every part.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_writer_is_given_up() {
    let builder = World::builder()
        .setting("limits", "body_stall_seconds = 1")
        .setting("limits", "idle_timeout_seconds = 2");
    let scene = Scene::new(builder).await;
    let post = scene.post(vec![b'x'; 10_000]);
    let whole = post.to_http();
    let head = whole.len() - post.body().len();
    let before = scene.traces();
    let mut waiting = Vec::new();
    for tls in STACKS {
        for (cut, code) in [
            (head + 10, Some("server.serverproxy.io_error")),
            (whole.len() - 9_000, Some("server.serverproxy.io_error")),
            (whole.len() - 1, Some("server.serverproxy.io_error")),
            // Within the head there is nobody to talk to: the connection is closed.
            (head - 5, None),
            (1, None),
            (0, None),
        ] {
            let mut stream = scene.hand.connect(scene.provider(), tls).await.unwrap();
            stream.write_all(&whole[..cut]).await.unwrap();
            stream.flush().await.unwrap();
            waiting.push(tokio::spawn(async move {
                let mut bytes = Vec::new();
                let ended = timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await;
                assert!(ended.is_ok(), "{tls:?}, {cut}: still open");
                let text = String::from_utf8_lossy(&bytes);
                match code {
                    Some(code) => assert!(text.contains(code), "{tls:?}, {cut}: {text}"),
                    None => assert!(!text.contains("200 OK"), "{tls:?}, {cut}: {text}"),
                }
            }));
        }
    }
    for task in waiting {
        task.await.unwrap();
    }
    assert_eq!(scene.traces(), before, "acted on or recorded");
    scene.works("slow writers").await;
}

/// Nobody, a stranger with a certificate of the country's own CA, and a certificate that is not for authentication.
#[tokio::test(flavor = "multi_thread")]
async fn only_registered_certificates_get_through_tls() {
    let scene = Scene::new(World::builder()).await;
    let stranger = crate::scene::unregistered(&scene);
    let good = scene.get().to_http();
    for tls in STACKS {
        for (name, identity) in [("nobody", None), ("stranger", Some(&stranger))] {
            let before = scene.traces();
            // With TLS 1.3 the refusal shows at the first read.
            let answer = async {
                let mut stream = connect(identity, scene.provider(), tls).await?;
                stream.write_all(&good).await?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(read_answer(&mut stream).await?)
            };
            let answer = timeout(Duration::from_secs(20), answer).await.unwrap();
            assert!(
                answer.is_err(),
                "{name} ({tls:?}): {}",
                said(&answer.unwrap())
            );
            assert_eq!(scene.traces(), before, "{name} ({tls:?})");
        }
    }
    scene.works("strangers").await;
}
