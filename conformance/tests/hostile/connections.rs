//! Connections that break, stall, never end, or come from nobody.

use std::time::Duration;

use bytes::Bytes;
use jibek_conformance::{
    peer::{connect, read_answer},
    world::{CONSUMER, PROVIDER, World},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use crate::scene::{READING, STACKS, Scene, said};

const REST_BODY: &str = "application/x-road-rest-body";

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
