//! Peers that know nothing of `jibek-once/1`, as X-Road's: what is lost before its signature is sent again, what is lost after
//! it never.

use std::sync::Arc;

use jibek_conformance::{
    peer::Listening,
    world::{CONSUMER, HAND_MADE_SERVICE, World},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_openssl::SslStream;

use crate::{
    liar::{answer, call, code, http, listen, next, position, read_request},
    scene::{STACKS, Scene},
};

async fn accept(listening: &Listening) -> SslStream<TcpStream> {
    loop {
        // A handshake that is given up for another stack does not count.
        if let Ok(stream) = listening.accept().await {
            return stream;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_before_its_signature_is_sent_again() {
    for tls in STACKS {
        let scene = Arc::new(Scene::new(World::builder()).await);
        // In memory, and in a file of its own.
        for length in [1000, 600_000] {
            let listening = listen(&scene, &scene.hand, tls).await;
            let door = scene.world.running.server(0).addresses.consumer_http;
            let mut client = TcpStream::connect(door.unwrap()).await.unwrap();
            let body = vec![b'x'; length];
            let (first, second) = body.split_at(length / 2);
            let mut head = format!(
                "POST /r1/{HAND_MADE_SERVICE}/any/thing HTTP/1.1\r\nHost: x\r\nX-Road-Client: {CONSUMER}\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n"
            )
            .into_bytes();
            head.extend_from_slice(first);
            client.write_all(&head).await.unwrap();
            for _ in 0..2 {
                let mut stream = accept(&listening).await;
                let mut bytes = Vec::new();
                let mut buffer = vec![0; 16 * 1024];
                while position(&bytes, b"xxxx").is_none() {
                    let read = stream.read(&mut buffer).await.unwrap();
                    assert_ne!(read, 0);
                    bytes.extend_from_slice(&buffer[..read]);
                }
                drop(stream);
            }
            let mut stream = accept(&listening).await;
            client.write_all(second).await.unwrap();
            let asked = read_request(&mut stream).await;
            let answer = answer(&scene, &asked, |text| text);
            stream.write_all(&http(&answer)).await.unwrap();
            let mut answered = String::new();
            client.read_to_string(&mut answered).await.unwrap();
            assert!(
                answered.ends_with("the attacker's answer"),
                "{tls:?} {length}: {answered}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_after_its_signature_is_not_sent_again() {
    for tls in STACKS {
        let scene = Arc::new(Scene::new(World::builder()).await);
        let listening = listen(&scene, &scene.hand, tls).await;
        let mut called = call(&scene, "lost");
        let mut stream = next(&listening, &mut called).await;
        let lost = read_request(&mut stream).await;
        drop(stream);
        let answered = called.await.unwrap();
        assert_eq!(code(&answered), "server.clientproxy.io_error");
        let text = String::from_utf8_lossy(answered.body()).into_owned();
        assert!(text.contains("may have acted"), "{text}");

        // The next that comes is the next message; its connection is kept, and dead when the one after it wants it.
        for _ in 0..2 {
            let mut called = call(&scene, "next");
            let mut stream = next(&listening, &mut called).await;
            let asked = read_request(&mut stream).await;
            assert_ne!(asked.block.request_id(), lost.block.request_id());
            let whole = http(&answer(&scene, &asked, |text| text));
            let kept = String::from_utf8(whole).unwrap();
            let kept = kept.replacen("Connection: close\r\n", "", 1);
            stream.write_all(kept.as_bytes()).await.unwrap();
            let answered = called.await.unwrap();
            assert_eq!(answered.body(), "the attacker's answer");
            drop(stream);
        }
    }
}
