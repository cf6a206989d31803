//! Who sends a byte now and then holds a place no longer than a deadline, and no place that others need.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Response;
use jibek_conformance::{
    peer::{Peer, Tls},
    world::{CONSUMER, HAND_MADE, PROVIDER, World},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{
    liar::{OWN, call, code, listen, next, plain},
    scene::{STACKS, Scene},
};

/// Far more often than any stall is long.
const PAUSE: Duration = Duration::from_millis(100);
/// What a sender is given: the first second, then so long as ten thousand bytes a second earn it.
const PATIENCE: Duration = Duration::from_secs(20);

async fn scene() -> Arc<Scene> {
    let builder = World::builder()
        .setting("limits", "body_stall_seconds = 1")
        .setting("limits", "idle_timeout_seconds = 2")
        .setting("limits", "body_least_bytes_per_second = 10000");
    Arc::new(Scene::new(builder).await)
}

/// Sends `whole` at once up to `from`, then byte by byte; what came back when the other end had enough.
async fn trickle<S>(name: String, mut stream: S, whole: Vec<u8>, from: usize) -> (String, String)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    stream.write_all(&whole[..from]).await.unwrap();
    stream.flush().await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        for byte in &whole[from..] {
            if writer.write_all(&[*byte]).await.is_err() || writer.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    let mut answer = Vec::new();
    let begun = Instant::now();
    let ended = timeout(PATIENCE, reader.read_to_end(&mut answer)).await;
    assert!(
        ended.is_ok(),
        "{name}: still open after {:?}",
        begun.elapsed()
    );
    sending.abort();
    (name, String::from_utf8_lossy(&answer).into_owned())
}

/// While the senders are at work others are served; then each got its fault, or the end of its connection.
async fn given_up(scene: &Scene, tasks: Vec<JoinHandle<(String, String)>>, io_error: &str) {
    for _ in 0..3 {
        scene.works("slow senders at work").await;
        tokio::time::sleep(PAUSE).await;
    }
    for task in tasks {
        let (name, answer) = task.await.unwrap();
        if name.starts_with("head") {
            // There is nobody to talk to yet.
            assert!(!answer.contains("200 OK"), "{name}: {answer}");
        } else {
            assert!(answer.contains(io_error), "{name}: {answer}");
        }
    }
    scene.works("slow senders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_sends_byte_by_byte_is_given_up() {
    let scene = scene().await;
    let server = scene.world.running.server(0);
    let to: SocketAddr = server.addresses.consumer_http.unwrap();
    let before = scene.traces();
    let rest = format!(
        "POST /r1/{PROVIDER}/rest/x HTTP/1.1\r\nHost: x\r\nX-Road-Client: {CONSUMER}\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n"
    );
    let soap = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n";
    let body = "x".repeat(1000);
    let mut tasks = Vec::new();
    for (kind, head) in [("REST", rest.as_str()), ("SOAP", soap)] {
        for (place, from) in [("head", 1), ("body", head.len())] {
            let whole = format!("{head}{body}").into_bytes();
            let stream = TcpStream::connect(to).await.unwrap();
            let name = format!("{place} of {kind}");
            tasks.push(tokio::spawn(trickle(name, stream, whole, from)));
        }
    }
    given_up(&scene, tasks, "server.clientproxy.io_error").await;
    let after = scene.traces();
    // Four honest exchanges, and nothing else.
    assert_eq!(after.0, before.0 + 4, "acted on");
    assert_eq!((after.1, after.2), (before.1 + 8, before.2 + 8), "recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_sends_byte_by_byte_is_given_up() {
    let scene = scene().await;
    let post = scene.post(vec![b'x'; 1000]);
    let whole = post.to_http();
    let head = whole.len() - post.body().len();
    let before = scene.traces();
    let mut tasks = Vec::new();
    for tls in STACKS {
        for (place, from) in [
            ("head", 1),
            ("first part", head + 1),
            ("last part", whole.len() - 500),
        ] {
            let stream = scene.hand.connect(scene.provider(), tls).await.unwrap();
            let name = format!("{place} ({tls:?})");
            tasks.push(tokio::spawn(trickle(name, stream, whole.clone(), from)));
        }
    }
    given_up(&scene, tasks, "server.serverproxy.io_error").await;
    let after = scene.traces();
    assert_eq!(after.0, before.0 + 4, "acted on");
    assert_eq!((after.1, after.2), (before.1 + 8, before.2 + 8), "recorded");
}

/// A peer that lets an answer wait until every buffer on the way is full has it whole in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_reads_late_has_the_whole_answer() {
    const BYTES: usize = 8_000_000;
    let world = World::builder()
        .build(|_| Response::new(Bytes::from(vec![b'y'; BYTES])))
        .await;
    let server = world.running.prepared().plan().servers[2].id.clone();
    let hand = Peer::of(&world, &server).await;
    let path = format!("/r1/{PROVIDER}/rest/large");
    let message = hand.rest(HAND_MADE, "GET", &path, None, world.now());
    for tls in STACKS {
        let to = world.running.server(1).addresses.peer;
        let mut stream = hand.connect(to, tls).await.unwrap();
        stream.write_all(&message.to_http()).await.unwrap();
        let mut answer = Vec::new();
        let mut buffer = vec![0; 200_000];
        loop {
            let pause = if answer.len() < 2_000_000 { 3 } else { 0 };
            tokio::time::sleep(PAUSE * pause).await;
            let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap();
            match read.unwrap() {
                0 => break,
                read => answer.extend_from_slice(&buffer[..read]),
            }
        }
        let body = answer.iter().filter(|byte| **byte == b'y').count();
        assert!(body >= BYTES, "{tls:?}: {body} bytes");
        assert!(answer.ends_with(b"--\r\n\r\n0\r\n\r\n"), "{tls:?}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_reads_nothing_before_it_wrote_a_megabyte_sees_the_fault() {
    let scene = scene().await;
    let to = scene.world.running.server(0).addresses.consumer_http;
    let refused = format!("{OWN}.unknown_member");
    for length in [1_000_000, 8_000_000] {
        let mut stream = TcpStream::connect(to.unwrap()).await.unwrap();
        let head = format!(
            "POST /r1/TEST/GOV/2002/nobody/rest/x HTTP/1.1\r\nHost: x\r\nX-Road-Client: {CONSUMER}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut whole = head.into_bytes();
        whole.resize(whole.len() + length, b'x');
        timeout(PATIENCE, stream.write_all(&whole))
            .await
            .unwrap()
            .unwrap();
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        read.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains(&refused), "{length}: {answer}");
    }
    scene.works("large refusals").await;
}

/// The provider's server writes a megabyte before it reads more than the beginning of a request, and only then says no.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_writes_a_megabyte_before_it_reads_is_heard() {
    early_and_long(Tls::Modern).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_writes_a_megabyte_before_it_reads_is_heard_over_legacy_tls() {
    early_and_long(Tls::Legacy).await;
}

async fn early_and_long(tls: Tls) {
    let scene = Arc::new(Scene::new(World::builder()).await);
    let fault = "server.serverproxy.access_denied";
    let document = jibek_protocol::fault::Fault::new(fault, "no", "detail").to_soap();
    let document = String::from_utf8(document.to_vec()).unwrap();
    let long = "x".repeat(1_000_000);
    let multipart = format!(
        "--b\r\ncontent-type: application/x-road-rest-response\r\n\r\n{long}\r\n--b\r\ncontent-type: text/xml\r\n\r\n{document}\r\n--b--\r\n"
    );
    let bare = document.replacen("?>", &format!("?><!--{}-->", "x".repeat(60_000)), 1);
    let listening = listen(&scene, &scene.hand, tls).await;
    for (name, answer) in [
        (
            "multipart",
            plain("200 OK", "multipart/mixed; boundary=b", &multipart),
        ),
        ("bare", plain("200 OK", "text/xml", &bare)),
    ] {
        let before = scene.traces();
        let mut called = call(&scene, vec![b'x'; 8 << 20]);
        let mut stream = next(&listening, &mut called).await;
        // It is asked something, or it would have nothing to answer.
        let mut head = [0; 200];
        stream.read_exact(&mut head).await.unwrap();
        timeout(PATIENCE, stream.write_all(&answer))
            .await
            .unwrap()
            .unwrap();
        stream.flush().await.unwrap();
        let answered = timeout(PATIENCE, called).await.unwrap().unwrap();
        assert_eq!(code(&answered), fault, "{name} ({tls:?})");
        assert_eq!(scene.traces(), before, "{name} ({tls:?}): recorded");
        drop(stream);
    }
    scene.works("early answers").await;
}
