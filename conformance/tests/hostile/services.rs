//! Information systems that are down, slow, or speak nonsense: the consumer gets a fault that says so.

use std::{net::SocketAddr, time::Duration};

use http::Request;
use jibek_conformance::{
    envelope,
    system::System,
    world::{CONSUMER, PROVIDER, World},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use crate::scene::{echo, fault_code, works};

/// Takes the place of the information system: reads a request's head, writes these bytes, closes or holds.
async fn speak(address: SocketAddr, answer: Vec<u8>, hold: bool) -> JoinHandle<()> {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            let mut chunk = [0; 4096];
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut chunk).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => head.extend_from_slice(&chunk[..count]),
                }
            }
            let _gone = stream.write_all(&answer).await;
            if hold {
                held.push(stream);
            }
        }
    })
}

/// Removes the information system and leaves its address free.
async fn without_system(world: &mut World) -> SocketAddr {
    let address = world.system.address();
    let spare = System::start(
        SocketAddr::new(address.ip(), 0),
        std::sync::Arc::new(|_| echo()),
    )
    .await
    .unwrap();
    drop(std::mem::replace(&mut world.system, spare));
    // The listener is closed when its task has ended.
    for _ in 0..200 {
        if TcpListener::bind(address).await.is_ok() {
            return address;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the address is still taken");
}

async fn both(world: &World) -> [String; 2] {
    let rest = world.send(world.rest("POST", "/x"), "body").await;
    let request = Request::post(world.running.server(0).url()).header("Content-Type", "text/xml");
    let soap = world
        .send(
            request,
            envelope::request(CONSUMER, PROVIDER, "soap", "1", ""),
        )
        .await;
    [fault_code(&rest), fault_code(&soap)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_is_said_to_be() {
    let mut world = World::builder().build(|_| echo()).await;
    let address = without_system(&mut world).await;
    assert_eq!(
        both(&world).await,
        [
            "server.serverproxy.network_error",
            "server.serverproxy.service_failed.network_error"
        ]
    );
    world.system = System::start(address, std::sync::Arc::new(|_| echo()))
        .await
        .unwrap();
    works(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_speaks_nonsense_is_said_to() {
    let mut world = World::builder().build(|_| echo()).await;
    let address = without_system(&mut world).await;
    for nonsense in [
        &b"\x16\x03\x01 this is not HTTP\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n",
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 1000\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nonl",
    ] {
        let speaking = speak(address, nonsense.to_vec(), false).await;
        for code in both(&world).await {
            assert!(
                code.starts_with("server.serverproxy."),
                "{code} for {nonsense:?}"
            );
        }
        speaking.abort();
        let _ended = speaking.await;
    }
    // What is HTTP but no SOAP concerns SOAP alone.
    let speaking = speak(
        address,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 7\r\n\r\n<html/>".to_vec(),
        false,
    )
    .await;
    let request = Request::post(world.running.server(0).url()).header("Content-Type", "text/xml");
    let found = fault_code(
        &world
            .send(
                request,
                envelope::request(CONSUMER, PROVIDER, "soap", "1", ""),
            )
            .await,
    );
    assert!(
        found.starts_with("server.serverproxy.service_failed."),
        "{found}"
    );
    let rest = world.send(world.rest("GET", "/x"), "").await;
    assert_eq!(&rest.body()[..], b"<html/>");
    speaking.abort();
    let _ended = speaking.await;
    world.system = System::start(address, std::sync::Arc::new(|_| echo()))
        .await
        .unwrap();
    works(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_provider_is_given_up() {
    let mut world = World::builder().build(|_| echo()).await;
    let address = without_system(&mut world).await;
    let speaking = speak(address, Vec::new(), true).await;
    let codes = both(&world).await;
    assert_eq!(
        codes,
        [
            "server.serverproxy.io_error",
            "server.serverproxy.service_failed.io_error"
        ]
    );
    speaking.abort();
    let _ended = speaking.await;
    world.system = System::start(address, std::sync::Arc::new(|_| echo()))
        .await
        .unwrap();
    works(&world).await;
    world.finish().await;
}
