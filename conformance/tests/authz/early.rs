//! Who has no right is refused before the body is taken.

use std::time::Duration;

use http::Response;
use jibek_conformance::{
    country::Net,
    peer::{Peer, Tls},
    world::{HAND_MADE_SERVICE, PROVIDER, STRANGER, World},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const CHUNK: usize = 64 * 1024;

/// Writes chunks without end until an answer comes; returns the answer and how many bytes of body were written before it.
async fn pour<S>(mut stream: S, head: &str) -> (String, usize)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let mut poured = 0;
    let pour = async {
        let mut chunk = format!("{CHUNK:x}\r\n").into_bytes();
        chunk.resize(chunk.len() + CHUNK, b'x');
        chunk.extend_from_slice(b"\r\n");
        while writer.write_all(&chunk).await.is_ok() {
            poured += CHUNK;
            tokio::task::yield_now().await;
        }
        std::future::pending::<()>().await;
    };
    let read = async {
        let mut answer = Vec::new();
        let mut buffer = vec![0; 4096];
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if text.contains("access_denied\",") || text.contains("</SOAP-ENV:Envelope>") {
                return text;
            }
            let read = reader.read(&mut buffer).await.unwrap();
            assert!(read > 0, "no fault: {text}");
            answer.extend_from_slice(&buffer[..read]);
        }
    };
    let answer = timeout(Duration::from_secs(20), async {
        tokio::select! {
            answer = read => answer,
            () = pour => unreachable!("pouring has no end"),
        }
    })
    .await
    .expect("a fault while the body still comes");
    (answer, poured)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_with_an_endless_body_gets_the_fault_at_once() {
    let world = World::builder()
        .build(|_| Response::new(bytes::Bytes::new()))
        .await;
    let size = |server: usize| -> u64 {
        let log = world.server_dir(server).join("log");
        let files = std::fs::read_dir(log).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap())
            .map(|data| std::os::unix::fs::MetadataExt::blocks(&data) * 512)
            .sum()
    };
    let before = size(1);

    // A consumer at its own server.
    let to = world.running.server(0).addresses.consumer_http.unwrap();
    let stream = TcpStream::connect(to).await.unwrap();
    let head = format!(
        "POST /r1/{PROVIDER}/rest/x HTTP/1.1\r\nHost: x\r\nX-Road-Client: {STRANGER}\r\nX-Road-Id: endless\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let (answer, poured) = pour(stream, &head).await;
    assert!(
        answer.contains("\r\nx-road-error: server.serverproxy.access_denied\r\n"),
        "{answer}"
    );
    assert!(poured < 32 << 20, "{poured} bytes before the fault");

    // A server that goes on sending whatever it is told, on both TLS stacks.
    let hand = world.running.prepared().plan().servers[2].id.clone();
    let hand = Peer::of(&world, &hand).await;
    let path = format!("/r1/{PROVIDER}/rest/x");
    let mut message = hand.rest(
        HAND_MADE_SERVICE,
        "POST",
        &path,
        Some("".into()),
        world.now(),
    );
    message.parts.truncate(message.parts.len() - 3); // the signature, and the hash chain before it
    message.closed = false;
    assert_eq!(
        message.parts.last().unwrap().0,
        "application/x-road-rest-body"
    );
    let first = message.body();
    let mut head = message.head(0).replace(
        "Content-Length: 0\r\nConnection: close",
        "Transfer-Encoding: chunked",
    );
    assert!(head.contains("chunked"));
    head.push_str(&format!("{:x}\r\n", first.len()));
    let address = (
        world.running.prepared().plan().net.server(1),
        Net::PEER_PORT,
    )
        .into();
    for tls in [Tls::Modern, Tls::Legacy] {
        let mut stream = hand.connect(address, tls).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&first).await.unwrap();
        let (answer, poured) = pour(stream, "\r\n").await;
        assert!(
            answer.contains("<faultcode>server.serverproxy.access_denied</faultcode>"),
            "{tls:?}: {answer}"
        );
        assert!(
            poured < 32 << 20,
            "{tls:?}: {poured} bytes before the fault"
        );
    }
    assert!(world.system.calls().is_empty());
    let grown = size(1).saturating_sub(before);
    assert!(
        grown < 64 * 1024,
        "the provider's log grew by {grown} bytes"
    );
    world.finish().await;
}
