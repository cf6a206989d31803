//! Our messages on hop 5500 beside recordings of real X-Road 7.8 servers: same header names, same parts, same order, same
//! bytes around and in the blocks.
//!
//! What differs is listed where it is taken out of the comparison: values that are made anew for every message, and the
//! framing of answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it met by failing, its helpers too"
)]

use std::path::Path;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use jibek_conformance::{
    country::Net,
    envelope,
    peer::{Listening, Peer, Tls},
    world::{CONSUMER, HAND_MADE, HAND_MADE_SERVICE, PROVIDER, World, fixtures},
};
use jibek_protocol::{
    fault::Fault,
    media_type::MediaType,
    multipart::{MultipartEvent, MultipartLimits, MultipartReader},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A transport message, taken apart.
#[derive(Debug)]
struct Recorded {
    start: String,
    headers: Vec<(String, String)>,
    /// Content type and bytes.
    parts: Vec<(String, Bytes)>,
    /// The multipart, framing of HTTP taken off.
    body: Bytes,
    boundary: String,
}

impl Recorded {
    fn read(bytes: &[u8]) -> Self {
        let end = position(bytes, b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap().to_owned();
        let headers: Vec<_> = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap();
                (name.to_owned(), value.trim().to_owned())
            })
            .collect();
        let value = |wanted: &str| {
            let found = headers
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let rest = &bytes[end + 4..];
        let body = match value("transfer-encoding").as_str() {
            "chunked" => unchunk(rest),
            _ => Bytes::copy_from_slice(rest),
        };
        let content_type = MediaType::parse(&value("content-type")).unwrap();
        assert!(content_type.is("multipart/mixed"));
        assert_eq!(content_type.param("charset"), Some("UTF-8"));
        let boundary = content_type.param("boundary").unwrap().to_owned();
        let mut reader =
            MultipartReader::new(boundary.as_bytes(), MultipartLimits::default()).unwrap();
        reader.push(body.clone()).unwrap();
        reader.finish().unwrap();
        let mut parts: Vec<(String, Bytes)> = Vec::new();
        while let Some(event) = reader.poll_event() {
            match event {
                MultipartEvent::PartStart(headers) => {
                    let content_type = headers.content_type().unwrap_or_default();
                    parts.push((content_type.to_owned(), Bytes::new()));
                }
                MultipartEvent::Data(data) => {
                    let (_, bytes) = parts.last_mut().unwrap();
                    *bytes = [&bytes[..], &data[..]].concat().into();
                }
                _ => {}
            }
        }
        Self {
            start,
            headers,
            parts,
            body,
            boundary,
        }
    }

    fn fixture(dir: &Path, name: &str) -> Self {
        Self::read(&std::fs::read(dir.join("wire").join(name)).unwrap())
    }

    /// Names in order, without case.
    fn names(&self) -> Vec<String> {
        let names = self.headers.iter();
        names.map(|(name, _)| name.to_ascii_lowercase()).collect()
    }

    fn value(&self, wanted: &str) -> &str {
        let found = self
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        &found.unwrap_or_else(|| panic!("no {wanted}")).1
    }

    /// Content types in order. There is one OCSP part for each certificate of the sender's chain but the top one, so
    /// their number is the country's and not the protocol's.
    fn types(&self) -> Vec<&str> {
        let mut types: Vec<_> = self.parts.iter().map(|(kind, _)| kind.as_str()).collect();
        types.dedup_by(|a, b| a == b && *a == "application/ocsp-response");
        types
    }

    fn part(&self, wanted: &str) -> &Bytes {
        let found = self.parts.iter().find(|(kind, _)| kind == wanted);
        &found.unwrap_or_else(|| panic!("no part {wanted}")).1
    }

    /// Writes the multipart again as X-Road does; must give the very same bytes.
    fn assert_framing(&self) {
        let boundary = &self.boundary;
        assert_eq!(boundary.len(), 34, "{boundary}");
        let random = boundary.strip_prefix("xtop").expect("xtop");
        assert!(random.bytes().all(|byte| byte.is_ascii_alphabetic()));
        let mut body = Vec::new();
        for (number, (kind, bytes)) in self.parts.iter().enumerate() {
            if number > 0 {
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(
                format!("--{boundary}\r\ncontent-type: {kind}\r\n\r\n").as_bytes(),
            );
            body.extend_from_slice(bytes);
        }
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert!(body == self.body, "the bytes between the parts");
    }
}

/// A block's lines; names of headers without case, the values that are made anew taken out.
fn lines(block: &Bytes, own_lines: usize) -> Vec<String> {
    let text = std::str::from_utf8(block).unwrap();
    assert!(text.ends_with("\r\n") && !text.ends_with("\r\n\r\n"));
    let lines = text.trim_end_matches("\r\n").split("\r\n");
    let lines = lines.enumerate().map(|(number, line)| {
        assert!(!line.contains(['\r', '\n']));
        if number < own_lines {
            return line.to_owned();
        }
        let (name, value) = line.split_once(':').unwrap();
        assert!(!value.starts_with(' '), "{line}");
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "x-road-request-id" => {
                assert_eq!(uuid::Uuid::parse_str(value).unwrap().get_version_num(), 4);
                name + ":UUID"
            }
            "x-road-request-hash" => {
                assert_eq!(openssl::base64::decode_block(value).unwrap().len(), 64);
                name + ":HASH"
            }
            "date" => {
                assert!(value.ends_with(" GMT") && value.len() == 29, "{value}");
                name + ":DATE"
            }
            _ => format!("{name}:{value}"),
        }
    });
    lines.collect()
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn unchunk(mut bytes: &[u8]) -> Bytes {
    let mut all = Vec::new();
    loop {
        let end = position(bytes, b"\r\n").expect("a chunk's length");
        let length = std::str::from_utf8(&bytes[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        let chunk = &bytes[end + 2..];
        if length == 0 {
            assert_eq!(chunk, b"\r\n");
            return all.into();
        }
        all.extend_from_slice(&chunk[..length]);
        bytes = &chunk[length + 2..];
    }
}

/// From the names of the recorded country to those of ours.
fn ours(text: &str, provider: &str) -> String {
    let provider: Vec<_> = provider.split('/').collect();
    text.replace("DEV/COM/1111/Consumer", CONSUMER)
        .replace("DEV/COM/2222/Provider", &provider.join("/"))
        .replace("DEV", "TEST")
        .replace("COM", "GOV")
        .replace(">1111<", ">1001<")
        .replace(">Consumer<", ">consumer<")
        .replace(">2222<", &format!(">{}<", provider[2]))
        .replace(">Provider<", &format!(">{}<", provider[3]))
}

/// A country in which the third server is a recorder.
async fn world() -> World {
    World::builder()
        .build(|call| {
            let text = String::from_utf8_lossy(&call.body).into_owned();
            let (kind, body) = match call.uri.path() {
                "/soap" => ("text/xml;charset=utf-8", envelope::answer(&text, "soap")),
                "/rest/empty" => ("text/plain", String::new()),
                "/rest/none" => {
                    let mut response = Response::new(Bytes::new());
                    *response.status_mut() = StatusCode::NO_CONTENT;
                    return response;
                }
                _ => ("application/json", "{\"n\":0}".to_owned()),
            };
            Response::builder()
                .header("Content-Type", kind)
                .body(Bytes::from(body))
                .unwrap()
        })
        .await
}

async fn hand(world: &World) -> Peer {
    let id = world.running.prepared().plan().servers[2].id.clone();
    Peer::of(world, &id).await
}

/// Listens in the third server's place.
async fn listen(world: &World, hand: &Peer) -> Listening {
    let address = world.running.prepared().plan().net.server(2);
    let (peer, ocsp) = (Net::PEER_PORT, Net::OCSP_PORT);
    hand.listen((address, peer).into(), (address, ocsp).into())
        .await
        .unwrap()
}

/// Sends `request` through our first server to the recorder and returns what came over the wire.
async fn record(world: &World, listening: &Listening, request: Request<Bytes>) -> Recorded {
    let recorder = async {
        let mut stream = listening.accept().await.unwrap();
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        while !bytes.ends_with(b"--\r\n\r\n0\r\n\r\n") {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&buffer[..read]);
        }
        let fault = Fault::new("server.serverproxy.recorded", "recorded", "7").to_soap();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/xml;charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            fault.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&fault).await.unwrap();
        let _ = stream.shutdown().await;
        bytes
    };
    let (parts, body) = request.into_parts();
    let mut builder = Request::builder().method(parts.method).uri(parts.uri);
    for (name, value) in &parts.headers {
        builder = builder.header(name, value);
    }
    let (bytes, answer) = tokio::join!(recorder, world.send(builder, body));
    assert!(
        String::from_utf8_lossy(answer.body()).contains("server.serverproxy.recorded"),
        "{answer:?}"
    );
    Recorded::read(&bytes)
}

/// Compares two requests but for their blocks.
fn assert_same_request(ours: &Recorded, theirs: &Recorded) {
    assert_eq!(ours.start, theirs.start);
    assert_eq!(ours.names(), theirs.names());
    for (name, value) in &theirs.headers {
        let own = ours.value(name);
        match name.to_ascii_lowercase().as_str() {
            "x-road-request-id" => {
                assert_eq!(uuid::Uuid::parse_str(own).unwrap().get_version_num(), 4);
            }
            "content-type" => assert_eq!(
                own.replace(&ours.boundary, ""),
                value.replace(&theirs.boundary, "")
            ),
            "host" => assert!(own.ends_with(":5500"), "{own}"),
            "user-agent" => assert!(own.starts_with("Jibek/"), "{own}"),
            // Answers are never compressed between servers.
            "accept-encoding" => assert_eq!(own, "identity"),
            "connection" => assert!(own.eq_ignore_ascii_case(value)),
            _ => assert_eq!(own, value, "{name}"),
        }
    }
    assert_eq!(ours.types(), theirs.types());
    // The leaf and the issuing authority; the top one is not asked about.
    let ocsp = |(kind, _): &&(String, Bytes)| kind == "application/ocsp-response";
    assert_eq!(ours.parts.iter().filter(ocsp).count(), 2);
    assert_eq!(theirs.parts.iter().filter(ocsp).count(), 1);
    ours.assert_framing();
    theirs.assert_framing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_requests_are_those_of_real_servers() {
    let Some(dir) = fixtures("our_requests_are_those_of_real_servers") else {
        return;
    };
    let world = world().await;
    let listening = listen(&world, &hand(&world).await).await;
    let url = world.running.server(0).url();
    for name in ["rest-get.req", "rest-post.req", "rest-denied.req"] {
        let theirs = Recorded::fixture(&dir, name);
        let kind = "application/x-road-rest-request";
        let expected = lines(theirs.part(kind), 2);
        // The consumer's request as it was, from the recorded block.
        let block = String::from_utf8(theirs.part(kind).to_vec()).unwrap();
        let mut block = block.trim_end().split("\r\n");
        let mut request = Request::builder()
            .method(block.next().unwrap())
            .uri(url.clone() + &ours(block.next().unwrap(), HAND_MADE_SERVICE));
        for line in block {
            let (header, value) = line.split_once(':').unwrap();
            if header != "x-road-request-id" {
                request = request.header(header, ours(value, HAND_MADE_SERVICE));
            }
        }
        let body = theirs
            .parts
            .iter()
            .find(|(kind, _)| kind == "application/x-road-rest-body")
            .map(|(_, bytes)| bytes.clone())
            .unwrap_or_default();
        let own = record(&world, &listening, request.body(body.clone()).unwrap()).await;
        assert_same_request(&own, &theirs);
        let expected: Vec<_> = expected
            .iter()
            .map(|line| ours(line, HAND_MADE_SERVICE))
            .collect();
        assert_eq!(lines(own.part(kind), 2), expected, "{name}");
        let block = String::from_utf8(own.part(kind).to_vec()).unwrap();
        let id = own.value("x-road-request-id");
        assert!(
            block.ends_with(&format!("\r\nx-road-request-id:{id}\r\n")),
            "{block}"
        );
        if !body.is_empty() {
            assert_eq!(own.part("application/x-road-rest-body"), &body);
        }
    }
    let theirs = Recorded::fixture(&dir, "soap-plain.req");
    let kind = "text/xml; charset=UTF-8";
    let text = String::from_utf8(theirs.part(kind).to_vec()).unwrap();
    let text = ours(&text, HAND_MADE_SERVICE);
    let request = Request::post(url)
        .header("Content-Type", kind)
        .header("SOAPAction", theirs.value("x-original-soapaction"))
        .body(Bytes::from(text.clone()))
        .unwrap();
    let own = record(&world, &listening, request).await;
    assert_same_request(&own, &theirs);
    assert_eq!(own.part(kind), text.as_bytes());
    world.finish().await;
}

/// Compares two answers but for their blocks.
///
/// Real servers end an answer by closing the connection, as their default settings do; ours is chunked, with which the
/// reader can tell a whole answer from a torn one, and the connection can be used again. X-Road reads both.
fn assert_same_answer(ours: &Recorded, theirs: &Recorded) {
    assert_eq!(ours.start, theirs.start);
    let framing = |name: &String| name != "transfer-encoding" && name != "connection";
    let names =
        |message: &Recorded| -> Vec<_> { message.names().into_iter().filter(framing).collect() };
    assert_eq!(names(ours), names(theirs));
    assert_eq!(ours.value("transfer-encoding"), "chunked");
    // X-Road looks for these in this spelling only.
    for name in ["x-hash-algorithm", "x-original-content-type"] {
        let exactly = |message: &Recorded| {
            let mut headers = message.headers.iter();
            headers.find(|(found, _)| found == name).cloned()
        };
        assert_eq!(exactly(ours), exactly(theirs), "{name}");
    }
    assert_eq!(
        ours.value("content-type").replace(&ours.boundary, ""),
        theirs.value("content-type").replace(&theirs.boundary, "")
    );
    assert!(ours.value("date").ends_with(" GMT"));
    assert_eq!(ours.types(), theirs.types());
    ours.assert_framing();
    theirs.assert_framing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_answers_are_those_of_real_servers() {
    let Some(dir) = fixtures("our_answers_are_those_of_real_servers") else {
        return;
    };
    let world = world().await;
    let hand = hand(&world).await;
    let to = world.running.server(1).addresses.peer;
    let now = world.now();
    for (name, method, body) in [
        ("rest-get.resp", "GET", None),
        (
            "rest-post.resp",
            "POST",
            Some(Bytes::from_static(b"{\"a\": 1}\n")),
        ),
    ] {
        let theirs = Recorded::fixture(&dir, name);
        let path = format!("/r1/{PROVIDER}/rest/items");
        for tls in [Tls::Modern, Tls::Legacy] {
            let message = hand.rest(HAND_MADE, method, &path, body.clone(), now);
            let answer = hand.call(to, tls, &message).await.unwrap();
            let own = Recorded::read(&answer.bytes);
            assert_same_answer(&own, &theirs);
            let kind = "application/x-road-rest-response";
            let named = |message: &Recorded| -> Vec<_> {
                let lines = lines(message.part(kind), 2);
                lines
                    .into_iter()
                    .filter(|line| {
                        !["x-road-id:", "x-road-client:", "x-road-service:"]
                            .iter()
                            .any(|name| line.starts_with(name))
                    })
                    .collect()
            };
            assert_eq!(named(&own), named(&theirs), "{name}");
            let order = |message: &Recorded| -> Vec<_> {
                let lines = lines(message.part(kind), 2);
                lines
                    .iter()
                    .map(|line| line.split(':').next().unwrap().to_owned())
                    .collect()
            };
            assert_eq!(order(&own), order(&theirs), "{name}");
        }
    }
    let theirs = Recorded::fixture(&dir, "soap-plain.resp");
    let envelope = envelope::request(HAND_MADE, PROVIDER, "soap", "wire", "");
    let message = hand.soap(envelope.into(), now);
    let answer = hand.call(to, Tls::Legacy, &message).await.unwrap();
    assert_same_answer(&Recorded::read(&answer.bytes), &theirs);
    world.finish().await;
}

/// An empty body is a part, as a full one is, and signed as such; no body is no part (`message-path.md` 3.5).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_answers_have_the_parts_of_recorded_ones() {
    let Some(dir) = fixtures("empty_answers_have_the_parts_of_recorded_ones") else {
        return;
    };
    let theirs = Recorded::fixture(&dir, "rest-get.resp");
    let body = "application/x-road-rest-body";
    assert!(!theirs.part(body).is_empty());
    let world = world().await;
    let hand = hand(&world).await;
    let to = world.running.server(1).addresses.peer;
    for tls in [Tls::Modern, Tls::Legacy] {
        let ask = async |name: &str| {
            let path = format!("/r1/{PROVIDER}/rest/{name}");
            let message = hand.rest(HAND_MADE, "GET", &path, None, world.now());
            Recorded::read(&hand.call(to, tls, &message).await.unwrap().bytes)
        };
        let empty = ask("empty").await;
        assert_same_answer(&empty, &theirs);
        assert_eq!(empty.part(body), "");
        let none = ask("none").await;
        none.assert_framing();
        let unsigned_body = |kind: &&str| *kind != body && !kind.contains("hash-chain");
        let expected: Vec<_> = theirs.types().into_iter().filter(unsigned_body).collect();
        assert_eq!(none.types(), expected);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_early_faults_are_those_of_real_servers() {
    let Some(dir) = fixtures("our_early_faults_are_those_of_real_servers") else {
        return;
    };
    let world = world().await;
    let hand = hand(&world).await;
    let theirs = std::fs::read(dir.join("wire/rest-denied.resp")).unwrap();
    // A client of the caller's server that has no right.
    let path = format!("/r1/{PROVIDER}/rest/x");
    let message = hand.rest(HAND_MADE_SERVICE, "GET", &path, None, world.now());
    let to = world.running.server(1).addresses.peer;
    let own = hand.call(to, Tls::Legacy, &message).await.unwrap().bytes;
    let split = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut head: Vec<_> = head
            .split("\r\n")
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap_or((line, ""));
                let name = name.to_ascii_lowercase();
                match name.as_str() {
                    "date" | "content-length" => name,
                    _ => format!("{name}: {value}"),
                }
            })
            .collect();
        head.sort();
        (head, body.to_owned())
    };
    let ((own_head, own_body), (their_head, their_body)) = (split(&own), split(&theirs));
    assert_eq!(own_head, their_head);
    let their_body = their_body.replace("DEV/COM/2222/Provider/noacl", &format!("{PROVIDER}/rest"));
    let without_detail = |body: &str| {
        let (before, rest) = body.split_once("<faultDetail xmlns=\"\">").unwrap();
        let (detail, after) = rest.split_once('<').unwrap();
        uuid::Uuid::parse_str(detail).unwrap();
        format!("{before}|{after}")
    };
    assert_eq!(without_detail(&own_body), without_detail(&their_body));
    world.finish().await;
}
