//! Servers that end and begin again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use jibek_conf::files::atomic_write;
use jibek_conformance::{
    asic::{self, Half},
    http::eventually,
    world::{CONSUMER, PROVIDER},
};
use jibek_dev_pki::Fault;
use jibek_protocol::id::ClientId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::common::{PATIENCE, calm, readyz, succeeds, tick, world};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_keys_answers_configuration_and_log() {
    let mut world = world(calm()).await;
    let id = "before the restart";
    let answer = world
        .send(world.rest("POST", "/x").header("X-Road-Id", id), "question")
        .await;
    assert_eq!(answer.status(), 200);

    // Nobody is there to give it anything anew: neither certificates' answers nor a configuration.
    world.running.faults().set_ocsp(Fault::Refuse);
    world.running.stop_registry().await;
    for server in [0, 1] {
        world.running.restart_server(server).await.unwrap();
    }
    world.running.ready(PATIENCE).await.unwrap();
    succeeds(&world).await;

    for (server, client) in [(0, CONSUMER), (1, PROVIDER)] {
        let client = ClientId::from_header(client).unwrap();
        let url = world.running.server(server).url();
        for (half, body) in [(Half::Request, "question"), (Half::Response, "ok")] {
            let container = asic::fetch(&world.http, &url, &client, id, half)
                .await
                .unwrap();
            assert_eq!(asic::body(&container).unwrap(), body);
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_valid_configuration_does_not_hang_on_its_sources() {
    let mut world = world(calm()).await;
    world.running.faults().set_ocsp(Fault::Refuse);
    world.running.stop_registry().await;
    // In the registry's place somebody who takes calls and never answers.
    let registry = world.running.prepared().plan().net.registry();
    let silent = eventually(PATIENCE, || TcpListener::bind(registry)).await;
    let silent = silent.unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = silent.accept().await.unwrap();
        let mut question = vec![0; 4096];
        assert_ne!(stream.read(&mut question).await.unwrap(), 0);
        (silent, stream)
    });
    world.running.restart_server(0).await.unwrap();
    world.running.ready(PATIENCE).await.unwrap();
    let (_silent, stream) = asked.await.unwrap();
    let still = stream.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(
        still.kind(),
        std::io::ErrorKind::WouldBlock,
        "the server is ready while it still waits for the registry"
    );
    succeeds(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_finishes_what_is_under_way_and_takes_nothing_new() {
    for ending in [0, 1] {
        drain(ending).await;
    }
}

async fn drain(ending: usize) {
    let mut world = world(calm()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = listener.local_addr().unwrap();
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let provider = {
        let (asked, go) = (Arc::clone(&asked), Arc::clone(&go));
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 4096];
            assert_ne!(stream.read(&mut buffer).await.unwrap(), 0);
            asked.notify_one();
            go.notified().await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
                .await
                .unwrap();
        })
    };
    let document = world.server_dir(1).join("clients/provider.toml");
    let text = std::fs::read_to_string(&document).unwrap();
    let text = format!(
        "{text}\n[[service]]\ncode = \"slow\"\nkind = \"rest\"\nurl = \"http://{slow}/\"\n\
         [[service.allow]]\nsubject = {CONSUMER:?}\nmethod = \"*\"\npath = \"**\"\n"
    );
    atomic_write(&document, text.as_bytes()).unwrap();
    let url = format!("{}/r1/{PROVIDER}/slow/x", world.running.server(0).url());
    let http = world.http.clone();
    // Until the document is read, there is no such service.
    let exchange = tokio::spawn(async move {
        eventually(PATIENCE, || async {
            let request = Request::get(&url)
                .header("X-Road-Client", CONSUMER)
                .body(Full::default())
                .unwrap();
            let answer = http.send(request).await?;
            match answer.status().as_u16() {
                200 => Ok(answer),
                status => Err(format!("{status} {:?}", answer.body())),
            }
        })
        .await
    });
    let under_way = asked.notified();
    tokio::pin!(under_way);
    loop {
        tokio::select! {
            () = &mut under_way => break,
            () = tick(&world, Duration::from_secs(3), || async {
                readyz(&world, ending).await;
                Ok(())
            }) => {}
        }
    }

    let server = world.running.server(ending);
    server.stop();
    let door = server.addresses.consumer_http.unwrap();
    let peers = server.addresses.peer;
    eventually(PATIENCE, || async {
        for address in [door, peers] {
            if TcpStream::connect(address).await.is_ok() {
                return Err(format!("{address} still takes connections"));
            }
        }
        Ok(())
    })
    .await
    .unwrap();
    let report = readyz(&world, ending).await;
    assert_eq!(report["ready"], false);
    assert_eq!(report["checks"][0]["reason"], "the server is shutting down");
    assert!(!server.has_ended(), "an exchange is under way");
    go.notify_one();
    let answer = exchange.await.unwrap().unwrap();
    assert_eq!(answer.body(), &Bytes::from_static(b"late"));
    provider.await.unwrap();

    world.running.restart_server(ending).await.unwrap();
    world.running.ready(PATIENCE).await.unwrap();
    succeeds(&world).await;
    world.finish().await;
}
