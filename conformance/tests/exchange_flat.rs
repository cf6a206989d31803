//! A large body passes through two servers, both ways, and none of them holds it.
//!
//! Alone in its process, because what is measured is the process's memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it met by failing, its helpers too"
)]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jibek_conf::files::atomic_write;
use jibek_conformance::world::{CONSUMER, PROVIDER, World};
use openssl::sha::Sha512;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

const BLOCK: usize = 32 * 1024;

/// Writes `length` bytes of which no two blocks are alike; returns their hash.
async fn pour(to: &mut (impl AsyncWrite + Unpin), length: usize) -> [u8; 64] {
    let mut hash = Sha512::new();
    let mut block = vec![0x5a; BLOCK];
    for number in 0..length / BLOCK {
        block[..8].copy_from_slice(&number.to_le_bytes());
        hash.update(&block);
        to.write_all(&block).await.unwrap();
    }
    hash.finish()
}

/// Reads `length` bytes; returns their hash.
async fn drink(from: &mut (impl AsyncRead + Unpin), length: usize) -> [u8; 64] {
    let mut hash = Sha512::new();
    let mut left = length;
    let mut buffer = vec![0; BLOCK];
    while left > 0 {
        let most = left.min(BLOCK);
        let read = from.read(&mut buffer[..most]).await.unwrap();
        assert!(read > 0, "{left} bytes are missing");
        hash.update(&buffer[..read]);
        left -= read;
    }
    hash.finish()
}

/// Reads a head; returns its text.
async fn head(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

fn length(head: &str) -> usize {
    let (_, rest) = head.split_once("\r\ncontent-length: ").expect("a length");
    rest.lines().next().unwrap().parse().unwrap()
}

/// A system that takes a body and answers with one of the same length; gives the hash of each body that it took.
async fn system(listener: TcpListener, taken: tokio::sync::mpsc::Sender<[u8; 64]>) {
    while let Ok((stream, _)) = listener.accept().await {
        let taken = taken.clone();
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let length = length(&head(&mut stream).await);
            taken.send(drink(&mut stream, length).await).await.unwrap();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            pour(&mut stream, length).await;
        });
    }
}

/// Sends a body and takes one of the same length; returns the hashes of both.
async fn exchange(to: SocketAddr, id: &str, length: usize) -> ([u8; 64], [u8; 64]) {
    let mut stream = BufReader::new(TcpStream::connect(to).await.unwrap());
    let request = format!(
        "POST /r1/{PROVIDER}/rest/x HTTP/1.1\r\nHost: x\r\nX-Road-Client: {CONSUMER}\r\nX-Road-Id: {id}\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let sent = pour(&mut stream, length).await;
    let head = head(&mut stream).await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert_eq!(self::length(&head), length);
    (sent, drink(&mut stream, length).await)
}

fn resident_kibibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_under_a_large_body() {
    let mut world = World::builder()
        .build(|_| http::Response::new(bytes::Bytes::new()))
        .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let document = format!(
        "client = \"{PROVIDER}\"\n[[service]]\ncode = \"rest\"\nkind = \"rest\"\nurl = \"http://{}/\"\n\
         [[service.allow]]\nsubject = \"{CONSUMER}\"\n",
        listener.local_addr().unwrap()
    );
    let file = world.server_dir(1).join("clients/provider.toml");
    atomic_write(file, document.as_bytes()).unwrap();
    world.running.restart_server(1).await.unwrap();
    world.running.ready(Duration::from_secs(30)).await.unwrap();
    let (taken, mut took) = tokio::sync::mpsc::channel(1);
    let system = tokio::spawn(system(listener, taken));
    let to = world.running.server(0).addresses.consumer_http.unwrap();

    // What a first exchange needs and later ones use again.
    exchange(to, "small", 4 << 20).await;
    took.recv().await.unwrap();
    let before = resident_kibibytes();
    let (peak, done) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let watch = {
        let (peak, done) = (Arc::clone(&peak), Arc::clone(&done));
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(resident_kibibytes(), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    };
    let (sent, answered) = exchange(to, "large", 96 << 20).await;
    done.store(true, Ordering::Relaxed);
    watch.await.unwrap();
    assert!(took.recv().await.unwrap() == sent, "the request's body");
    assert!(answered == sent, "the answer's body");
    let grown = peak.load(Ordering::Relaxed).saturating_sub(before);
    assert!(
        grown < 32 * 1024,
        "two servers grew by {grown} KiB over a body of 96 MiB"
    );
    system.abort();
    world.finish().await;
}
