//! What two of our servers say to each other on 5500, beside recordings of two real X-Road 7.8.0 servers: the same parts,
//! header names, order and layout of the block.

use std::{net::SocketAddr, path::Path, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use jibek_conformance::{
    country::{Allow, Net},
    peer::{Peer, Tls},
    world::{CONSUMER, HAND_MADE, World, fixtures},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::support::member_soap;

/// One HTTP message on the wire, taken apart.
#[derive(Debug)]
struct Wire {
    first: String,
    headers: Vec<(String, String)>,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Wire {
    fn of(bytes: &[u8]) -> Self {
        let end = find(bytes, b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap().to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                line.split_once(':')
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .unwrap()
            })
            .collect();
        let mut wire = Self {
            first,
            headers,
            parts: Vec::new(),
        };
        let body = if wire.value("transfer-encoding").is_some() {
            unchunked(&bytes[end + 4..])
        } else {
            bytes[end + 4..].to_vec()
        };
        if let Some((_, boundary)) = wire.value("content-type").unwrap().split_once("boundary=") {
            wire.parts = parts(&body, boundary);
        }
        wire
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// Header names as the protocol knows them, without those that belong to one HTTP library or another.
    fn names(&self) -> Vec<String> {
        const OF_THE_LIBRARY: [&str; 4] = ["accept-encoding", "connection", "user-agent", "host"];
        self.headers
            .iter()
            .map(|(name, _)| name.to_ascii_lowercase())
            .filter(|name| !OF_THE_LIBRARY.contains(&name.as_str()))
            .collect()
    }

    /// The header lines of each part; several OCSP answers count as one.
    fn layout(&self) -> Vec<Vec<String>> {
        let mut layout: Vec<_> = self.parts.iter().map(|part| part.headers.clone()).collect();
        layout.dedup_by(|one, other| one == other && one[0].contains("ocsp-response"));
        layout
    }

    fn part(&self, kind: &str) -> &Part {
        self.parts
            .iter()
            .find(|part| part.headers[0].contains(kind))
            .unwrap()
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = find(bytes, b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
}

fn parts(body: &[u8], boundary: &str) -> Vec<Part> {
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut rest = body;
    loop {
        let start = find(rest, delimiter.as_bytes()).expect("a delimiter") + delimiter.len();
        if rest[start..].starts_with(b"--") {
            return parts;
        }
        let head_end = start + find(&rest[start..], b"\r\n\r\n").unwrap();
        let next = head_end
            + 4
            + find(&rest[head_end + 4..], format!("\r\n{delimiter}").as_bytes()).unwrap();
        let headers = String::from_utf8(rest[start + 2..head_end].to_vec()).unwrap();
        parts.push(Part {
            headers: headers.split("\r\n").map(str::to_owned).collect(),
            body: rest[head_end + 4..next].to_vec(),
        });
        rest = &rest[next..];
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn recorded(root: &Path, name: &str) -> Wire {
    Wire::of(&std::fs::read(root.join("wire").join(name)).unwrap())
}

/// The X-Road lines of a block, by name and in order, and how each line is written.
fn block_names(part: &Part) -> Vec<String> {
    let text = String::from_utf8(part.body.clone()).unwrap();
    assert!(
        !text.ends_with("\r\n\r\n") && !text.replace("\r\n", "").contains('\n'),
        "{text:?}"
    );
    text.split("\r\n")
        .skip(2)
        .filter(|line| !line.is_empty())
        .map(|line| line.split_once(':').expect(line))
        .inspect(|(name, value)| assert!(!value.starts_with(' '), "{name}: {value}"))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.to_ascii_lowercase().starts_with("x-road-"))
        .collect()
}

/// What our consumer's server sends to a server that is made by hand.
async fn sent(world: &World, request: http::request::Builder, body: Bytes) -> Wire {
    let plan = world.running.prepared().plan();
    let peer = Peer::of(world, &plan.servers[2].id).await;
    let host = plan.net.server(2);
    let listening = peer
        .listen(
            SocketAddr::new(host, Net::PEER_PORT),
            SocketAddr::new(host, Net::OCSP_PORT),
        )
        .await
        .unwrap();
    let hear = async {
        let mut stream = listening.accept().await.unwrap();
        let mut seen = Vec::new();
        let mut chunk = vec![0; 16 * 1024];
        while !seen.ends_with(b"\r\n0\r\n\r\n") {
            let count = timeout(Duration::from_secs(20), stream.read(&mut chunk))
                .await
                .unwrap()
                .unwrap();
            assert_ne!(count, 0, "{}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&chunk[..count]);
        }
        stream
            .write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        seen
    };
    let (_, seen) = tokio::join!(world.send(request, body), hear);
    Wire::of(&seen)
}

#[tokio::test]
async fn a_soap_request_is_laid_out_as_recorded() {
    let Some(root) = fixtures("a_soap_request_is_laid_out_as_recorded") else {
        return;
    };
    let recorded = recorded(&root, "soap-plain.req");
    let world = World::builder().build(|_| Response::default()).await;
    let message = member_soap("1", "<soap/>");
    let request = Request::post(world.running.server(0).url())
        .header("Content-Type", "text/xml; charset=UTF-8")
        .header("SOAPAction", "\"urn:echo\"");
    let ours = sent(&world, request, Bytes::from(message.clone())).await;
    assert_eq!(ours.first, recorded.first);
    assert_eq!(ours.names(), recorded.names());
    for name in [
        "x-hash-algorithm",
        "x-original-content-type",
        "x-proxy-version",
        "x-original-soapaction",
        "transfer-encoding",
    ] {
        assert_eq!(ours.value(name), recorded.value(name), "{name}");
    }
    assert_eq!(ours.layout(), recorded.layout());
    assert_eq!(
        ours.parts
            .iter()
            .filter(|part| part.headers[0].contains("ocsp"))
            .count(),
        2,
        "leaf and issuing CA"
    );
    assert!(
        ours.part("text/xml").body == message.as_bytes(),
        "the consumer's bytes"
    );
    world.finish().await;
}

#[tokio::test]
async fn a_rest_request_is_laid_out_as_recorded() {
    let Some(root) = fixtures("a_rest_request_is_laid_out_as_recorded") else {
        return;
    };
    for (name, method, body) in [
        ("rest-get.req", "GET", ""),
        ("rest-post.req", "POST", "{\"n\": 7}"),
    ] {
        let recorded = recorded(&root, name);
        let world = World::builder().build(|_| Response::default()).await;
        let request = Request::builder()
            .method(method)
            .uri(format!(
                "{}/r1/TEST/GOV/3003/service/rest/x?y=%20z",
                world.running.server(0).url()
            ))
            .header("X-Road-Client", CONSUMER)
            .header("X-Road-Id", "an-id");
        let request = match method {
            "GET" => request.header("X-Road-UserId", "EE1"),
            _ => request,
        };
        let ours = sent(&world, request, Bytes::from_static(body.as_bytes())).await;
        assert_eq!(ours.names(), recorded.names(), "{name}");
        for header in [
            "x-road-message-type",
            "x-hash-algorithm",
            "x-proxy-version",
            "transfer-encoding",
        ] {
            assert_eq!(
                ours.value(header),
                recorded.value(header),
                "{name} {header}"
            );
        }
        assert_eq!(ours.layout(), recorded.layout(), "{name}");
        let (block, other) = (ours.part("rest-request"), recorded.part("rest-request"));
        let lower = |names: Vec<String>| {
            names
                .iter()
                .map(|name| name.to_ascii_lowercase())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            lower(block_names(block)),
            lower(block_names(other)),
            "{name}"
        );
        let text = String::from_utf8(block.body.clone()).unwrap();
        assert!(
            text.starts_with(&format!(
                "{method}\r\n/r1/TEST/GOV/3003/service/rest/x?y=%20z\r\n"
            )),
            "{text}"
        );
        let id = ours.value("x-road-request-id").unwrap();
        assert!(
            text.contains(&format!("x-road-request-id:{id}\r\n")),
            "the id travels twice: {text}"
        );
        world.finish().await;
    }
}

#[tokio::test]
async fn answers_are_laid_out_as_recorded() {
    let Some(root) = fixtures("answers_are_laid_out_as_recorded") else {
        return;
    };
    let world = World::builder()
        .build(|_| {
            Response::builder()
                .header("Content-Type", "application/json")
                .body(Bytes::from_static(b"{}"))
                .unwrap()
        })
        .await;
    let plan = world.running.prepared().plan();
    let peer = Peer::of(&world, &plan.servers[2].id).await;
    let to = SocketAddr::new(plan.net.server(1), Net::PEER_PORT);
    let message = peer.rest(
        HAND_MADE,
        "POST",
        "/r1/TEST/GOV/2002/provider/rest/x",
        Some(Bytes::from_static(b"{}")),
        world.now(),
    );
    let recorded = recorded(&root, "rest-post.resp");
    for tls in [Tls::Legacy, Tls::Modern] {
        let ours = Wire::of(&peer.call(to, tls, &message).await.unwrap().bytes);
        assert_eq!(ours.first, recorded.first);
        // Our answers are chunked, since their length is not known when they begin.
        let names: Vec<_> = ours
            .names()
            .into_iter()
            .filter(|name| name != "transfer-encoding")
            .collect();
        let mut sorted = (names.clone(), recorded.names());
        sorted.0.sort_unstable();
        sorted.1.sort_unstable();
        assert_eq!(sorted.0, sorted.1);
        // A Java peer looks these two up as they are written here.
        assert!(
            ours.headers
                .iter()
                .any(|(name, _)| name == "x-hash-algorithm"),
            "{ours:?}"
        );
        assert_eq!(ours.layout(), recorded.layout());
        assert_eq!(
            block_names(ours.part("rest-response")),
            block_names(recorded.part("rest-response"))
        );
    }
    world.finish().await;
}

#[tokio::test]
async fn an_early_fault_is_laid_out_as_recorded() {
    let Some(root) = fixtures("an_early_fault_is_laid_out_as_recorded") else {
        return;
    };
    let only_consumer = Allow {
        subject: CONSUMER.to_owned(),
        method: "*".to_owned(),
        path: "**".to_owned(),
    };
    let world = World::builder()
        .rights(vec![only_consumer])
        .build(|_| Response::default())
        .await;
    let plan = world.running.prepared().plan();
    let peer = Peer::of(&world, &plan.servers[2].id).await;
    let to = SocketAddr::new(plan.net.server(1), Net::PEER_PORT);
    let message = peer.rest(
        HAND_MADE,
        "GET",
        "/r1/TEST/GOV/2002/provider/rest/x",
        None,
        world.now(),
    );
    let recorded = recorded(&root, "rest-denied.resp");
    let answer = peer.call(to, Tls::Legacy, &message).await.unwrap();
    let ours = Wire::of(&answer.bytes);
    assert_eq!(ours.first, recorded.first);
    let sorted = |wire: &Wire| {
        let mut names = wire.names();
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(&ours), sorted(&recorded));
    assert_eq!(ours.value("content-type"), recorded.value("content-type"));
    assert_eq!(ours.value("soapaction"), Some(""));
    assert_eq!(
        answer.fault_code().as_deref(),
        Some("server.serverproxy.access_denied")
    );
    world.finish().await;
}
