//! What a provider's security server answers and must not, by a server made by hand.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use jibek_conformance::{
    country::Net,
    peer::{Listening, Peer},
    world::World,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::support::{code, echo, member_soap, still_up};

struct Setup {
    world: World,
    listening: Listening,
}

impl Setup {
    async fn new() -> Self {
        let world = World::builder().build(echo).await;
        let plan = world.running.prepared().plan();
        let peer = Peer::of(&world, &plan.servers[2].id).await;
        let host = plan.net.server(2);
        let listening = peer
            .listen(
                SocketAddr::new(host, Net::PEER_PORT),
                SocketAddr::new(host, Net::OCSP_PORT),
            )
            .await
            .unwrap();
        Self { world, listening }
    }

    /// Calls the hand-made server, which reads `read` bytes, writes `answer`, and then closes or holds on.
    async fn call(&self, size: usize, read: usize, answer: &[u8], hold: bool) -> Response<Bytes> {
        let request =
            Request::post(self.world.running.server(0).url()).header("Content-Type", "text/xml");
        let filler = format!("<soap>{}</soap>", "x".repeat(size));
        let called = self.world.send(request, member_soap("1", &filler));
        let answering = async {
            let mut stream = self
                .listening
                .accept()
                .await
                .expect("the consumer's server connects");
            let mut seen = Vec::new();
            let mut chunk = vec![0; 16 * 1024];
            // To the end of the request, unless it is enough before.
            while seen.len() < read && !seen.ends_with(b"0\r\n\r\n") {
                match timeout(Duration::from_secs(20), stream.read(&mut chunk))
                    .await
                    .unwrap()
                {
                    Ok(0) | Err(_) => break,
                    Ok(count) => seen.extend_from_slice(&chunk[..count]),
                }
            }
            let _written = stream.write_all(answer).await;
            let _flushed = stream.flush().await;
            hold.then_some(stream)
        };
        let (answer, _held) = timeout(Duration::from_secs(50), async {
            tokio::join!(called, answering)
        })
        .await
        .expect("there is an end");
        answer
    }
}

const FAULT: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><SOAP-ENV:Envelope xmlns:SOAP-ENV=\"http://schemas.xmlsoap.org/soap/envelope/\"><SOAP-ENV:Body><SOAP-ENV:Fault><faultcode>server.serverproxy.of_its_own</faultcode><faultstring>because</faultstring><faultactor></faultactor><detail><faultDetail xmlns=\"\">id</faultDetail></detail></SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>";

fn http(content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn multipart(parts: &[(&str, &str)], closed: bool) -> Vec<u8> {
    let mut body = String::new();
    for (kind, content) in parts {
        body.push_str(&format!("--b\r\ncontent-type:{kind}\r\n\r\n{content}\r\n"));
    }
    if closed {
        body.push_str("--b--\r\n");
    }
    http("multipart/mixed; boundary=b", &body)
}

#[tokio::test]
async fn a_fault_is_relayed_from_wherever_it_stands() {
    let setup = Setup::new().await;
    let fault = ("text/xml; charset=utf-8", FAULT);
    for answer in [
        http("text/xml;charset=utf-8", FAULT),
        multipart(&[fault], true),
        multipart(&[("application/x-road-unknown", "x"), fault], true),
    ] {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        let got = setup.call(10, 1000, &answer, true).await;
        println!("{}", code(&got));
        if !shown.contains("x-road-unknown") {
            assert_eq!(code(&got), "server.serverproxy.of_its_own", "{shown}");
        }
    }
    still_up(&setup.world).await;
    setup.world.finish().await;
}

#[tokio::test]
async fn a_peer_that_answers_and_stops_reading_is_heard() {
    let setup = Setup::new().await;
    let answer = http("text/xml;charset=utf-8", FAULT);
    let got = setup.call(5_000_000, 1000, &answer, true).await;
    assert_eq!(code(&got), "server.serverproxy.of_its_own");
    still_up(&setup.world).await;
    setup.world.finish().await;
}

#[tokio::test]
async fn answers_that_are_none_become_faults() {
    let setup = Setup::new().await;
    for (what, answer) in [
        ("nothing", Vec::new()),
        ("no HTTP", b"220 mail.example.org\r\n".to_vec()),
        ("a head cut off", b"HTTP/1.1 200 OK\r\nContent-".to_vec()),
        (
            "another status",
            b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        ("another type", http("text/html", "<html/>")),
        (
            "no multipart",
            http("multipart/mixed; boundary=b", "nothing"),
        ),
        ("no parts", multipart(&[], true)),
        ("no signature", multipart(&[("text/xml", "<a/>")], true)),
        ("a message cut off", multipart(&[("text/xml", "<a")], false)),
        (
            "no closing boundary",
            multipart(
                &[("text/xml", "<a/>"), ("signature/bdoc-1.0/ts", "<a/>")],
                false,
            ),
        ),
        (
            "nonsense for a signature",
            multipart(
                &[("text/xml", "<a/>"), ("signature/bdoc-1.0/ts", "<a/>")],
                true,
            ),
        ),
    ] {
        let got = setup.call(10, usize::MAX, &answer, false).await;
        let code = code(&got);
        println!("{what}: {code}");
        assert!(code.starts_with("server.clientproxy."), "{what}: {code}");
    }
    still_up(&setup.world).await;
    setup.world.finish().await;
}
