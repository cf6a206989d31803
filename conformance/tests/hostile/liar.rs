//! The attacker in the place of the provider's server: how it listens, reads what it is asked, and answers.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Response;
use jibek_certs::{DigestAlgorithm, digest::digest};
use jibek_conformance::{
    country::Net,
    http::eventually,
    peer::{Listening, Message, Peer, Tls},
    world::{CONSUMER, HAND_MADE_SERVICE},
};
use jibek_evidence::seal::PartDigests;
use jibek_protocol::message::{RestRequestBlock, RestResponseBlock};
use openssl::hash::{MessageDigest, hash};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tokio_openssl::SslStream;

use crate::scene::Scene;

pub(crate) const BLOCK: &str = "application/x-road-rest-response";
pub(crate) const REST_BODY: &str = "application/x-road-rest-body";
pub(crate) const SIGNATURE_PART: &str = "signature/bdoc-1.0/ts";
pub(crate) const BOUNDARY: &str = "boundary=";
pub(crate) const OWN: &str = "server.clientproxy";

/// What the attacker was asked.
pub(crate) struct Asked {
    pub(crate) block: RestRequestBlock,
    pub(crate) hash: String,
}

/// Where the attacker listens.
pub(crate) fn places(scene: &Scene) -> (SocketAddr, SocketAddr) {
    let host = scene.world.running.prepared().plan().net.server(2);
    (
        SocketAddr::new(host, Net::PEER_PORT),
        SocketAddr::new(host, Net::OCSP_PORT),
    )
}

pub(crate) async fn listen(scene: &Scene, peer: &Peer, tls: Tls) -> Listening {
    let (messages, ocsp) = places(scene);
    // Who listened there before may still be about to end.
    let listening = eventually(Duration::from_secs(5), || async {
        let listening = peer.listen_as(messages, ocsp, tls).await;
        listening.map_err(|error| error.to_string())
    });
    listening.await.unwrap()
}

pub(crate) type Called = tokio::task::JoinHandle<Response<Bytes>>;

/// Takes the connection of a call; handshakes that the consumer's server gives up for another stack do not count.
pub(crate) async fn next(listening: &Listening, called: &mut Called) -> SslStream<TcpStream> {
    let accepted = async {
        loop {
            if let Ok(stream) = listening.accept().await {
                return stream;
            }
        }
    };
    tokio::select! {
        stream = accepted => stream,
        answered = called => panic!("not called: {}", code(&answered.unwrap())),
    }
}

pub(crate) fn position(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes
        .windows(pattern.len())
        .position(|window| window == pattern)
}

pub(crate) async fn read_until(stream: &mut SslStream<TcpStream>, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while !bytes.ends_with(end) {
        let read = timeout(Duration::from_secs(20), stream.read(&mut buffer)).await;
        let read = read.unwrap().unwrap();
        assert_ne!(read, 0, "the request broke off");
        bytes.extend_from_slice(&buffer[..read]);
    }
    bytes
}

/// Reads a request whole: the head of each part, and its bytes.
pub(crate) async fn read_parts(stream: &mut SslStream<TcpStream>) -> Vec<(String, Bytes)> {
    let bytes = read_until(stream, b"--\r\n\r\n0\r\n\r\n").await;
    let head_end = position(&bytes, b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let (_, boundary) = head.split_once(BOUNDARY).unwrap();
    let boundary = boundary.split("\r\n").next().unwrap();
    let mut body = Vec::new();
    let mut rest = &bytes[head_end..];
    loop {
        let line = position(rest, b"\r\n").unwrap();
        let length =
            usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            break;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 4 + length..];
    }
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut rest = body.as_slice();
    while let Some(start) = position(rest, delimiter.as_bytes()) {
        rest = &rest[start + delimiter.len()..];
        let Some(head_end) = position(rest, b"\r\n\r\n") else {
            break;
        };
        let head = String::from_utf8_lossy(&rest[..head_end]).into_owned();
        let end = position(rest, format!("\r\n{delimiter}").as_bytes()).unwrap_or(rest.len());
        let bytes = Bytes::copy_from_slice(&rest[(head_end + 4).min(end)..end]);
        parts.push((head, bytes));
    }
    parts
}

/// Reads a REST request whole.
pub(crate) async fn read_request(stream: &mut SslStream<TcpStream>) -> Asked {
    let parts = read_parts(stream).await;
    let part = |kind: &str| {
        let mut parts = parts.iter();
        let found = parts.find(|(head, _)| head.contains(kind));
        found.map(|(_, bytes)| bytes.clone())
    };
    let block = part("x-road-rest-request");
    let content = part("x-road-rest-body");
    let block = block.unwrap();
    let sha512 = |bytes: &[u8]| hash(MessageDigest::sha512(), bytes).unwrap().to_vec();
    let mut digests = sha512(&block);
    if let Some(content) = content {
        digests = sha512(&[digests, sha512(&content)].concat());
    }
    Asked {
        block: RestRequestBlock::parse(block).unwrap(),
        hash: openssl::base64::encode_block(&digests),
    }
}

/// The answer that should come, over a block that was changed before it was signed.
pub(crate) fn answer(
    scene: &Scene,
    asked: &Asked,
    change: impl FnOnce(String) -> String,
) -> Message {
    answer_of(&scene.hand, scene, asked, change)
}

/// The same, signed by another peer.
pub(crate) fn answer_of(
    peer: &Peer,
    scene: &Scene,
    asked: &Asked,
    change: impl FnOnce(String) -> String,
) -> Message {
    let block = RestResponseBlock::seal(
        200,
        "OK",
        [(b"content-type".as_slice(), b"text/plain".as_slice())],
        &asked.block,
        asked.block.request_id().unwrap(),
        &asked.hash,
    )
    .unwrap();
    let block = change(String::from_utf8(block.bytes().to_vec()).unwrap());
    let body = Bytes::from_static(b"the attacker's answer");
    let sha512 = |bytes: &[u8]| digest(DigestAlgorithm::Sha512, bytes);
    let mut message = scene.get();
    message.headers = vec![("x-hash-algorithm".to_owned(), "SHA-512".to_owned())];
    message.parts.clear();
    let digests = PartDigests {
        message: sha512(block.as_bytes()),
        attachments: vec![sha512(&body)],
    };
    message.parts.push((BLOCK.to_owned(), block.into()));
    message.parts.push((REST_BODY.to_owned(), body));
    message.sealed(&peer.seal(digests, scene.world.now()));
    message
}

/// A message as an HTTP answer.
pub(crate) fn http(message: &Message) -> Vec<u8> {
    let body = message.body();
    let mut all = head(message, body.len()).into_bytes();
    all.extend_from_slice(&body);
    all
}

pub(crate) fn head(message: &Message, length: usize) -> String {
    message.head(length).replacen(
        "POST / HTTP/1.1\r\nHost: peer\r\n",
        "HTTP/1.1 200 OK\r\n",
        1,
    )
}

pub(crate) fn plain(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends a request of the consumer in a task of its own.
pub(crate) fn call(scene: &Arc<Scene>, body: impl Into<Bytes>) -> Called {
    let scene = Arc::clone(scene);
    let body = body.into();
    tokio::spawn(async move {
        let url = scene.world.running.server(0).url();
        let request = http::Request::post(format!("{url}/r1/{HAND_MADE_SERVICE}/any/thing"))
            .header("X-Road-Client", CONSUMER);
        scene.world.send(request, body).await
    })
}

pub(crate) fn code(answer: &Response<Bytes>) -> String {
    match answer.headers().get("x-road-error") {
        Some(code) => code.to_str().unwrap().to_owned(),
        None => format!("{}: {:?}", answer.status(), answer.body()),
    }
}
