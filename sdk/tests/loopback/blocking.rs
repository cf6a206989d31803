//! The consumer without a runtime.

use std::io::Read as _;

use jibek_sdk::{Body, CallError, Consumer, Credentials, HashCheck, Method, ReadError, blocking};

use super::support::{Raw, Read, answer, notary, raw, service, write};

/// A server on a runtime of its own, and a blocking consumer for it.
fn pair(body: &'static [u8]) -> (tokio::runtime::Runtime, Raw, blocking::Consumer) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(raw(Read::All, move |seen| {
        vec![write(answer(seen, "200 OK", "", body))]
    }));
    let builder = Consumer::builder()
        .server(&server.address)
        .unwrap()
        .identity(notary());
    let consumer = builder
        .credentials(Credentials::None)
        .unwrap()
        .build_blocking()
        .unwrap();
    (runtime, server, consumer)
}

#[test]
fn calls_block_and_replies_are_readers() {
    let (_runtime, server, consumer) = pair(br#"{"n":7}"#);
    for _ in 0..3 {
        let mut reply = consumer
            .rest(&service("persons"))
            .path("/1")
            .user_id("u")
            .send()
            .unwrap();
        let mut text = String::new();
        reply.read_to_string(&mut text).unwrap();
        assert_eq!(text, r#"{"n":7}"#);
        assert_eq!(reply.read(&mut [0; 4]).unwrap(), 0);
        assert_eq!(server.last().header("x-road-userid"), Some("u"));
    }
    let value: serde_json::Value = consumer
        .rest(&service("persons"))
        .send()
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(value["n"], 7);
}

#[test]
fn bodies_stream_from_readers() {
    let (_runtime, server, consumer) = pair(b"");
    let deed = std::io::repeat(9).take(3_000_001);
    let call = consumer
        .rest(&service("deeds"))
        .method(Method::POST)
        .body(Body::from_reader(deed).with_length(3_000_001));
    let reply = call.send().unwrap();
    assert_eq!(reply.head().hash_check(), HashCheck::Confirmed);
    assert_eq!(server.last().body.len(), 3_000_001);
}

#[test]
fn threads_share_a_consumer() {
    let (_runtime, server, consumer) = pair(b"x");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(
                        consumer
                            .rest(&service("persons"))
                            .send()
                            .unwrap()
                            .whole(1)
                            .unwrap(),
                        "x"
                    );
                }
            });
        }
    });
    assert_eq!(server.seen.lock().unwrap().len(), 80);
}

#[test]
fn inside_a_runtime_it_refuses_instead_of_stalling() {
    let (runtime, _server, consumer) = pair(b"x");
    let mut reply = consumer.rest(&service("persons")).send().unwrap();
    runtime.block_on(async {
        assert!(matches!(
            consumer.rest(&service("persons")).send(),
            Err(CallError::Runtime)
        ));
        assert!(matches!(reply.whole(1), Err(ReadError::Runtime)));
        drop((reply, consumer)); // the last of them, and with it the runtime: no panic
    });
}
