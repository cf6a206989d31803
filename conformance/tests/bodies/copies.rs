//! How many bytes of a message are copied, server by server: none of a REST body but of the shortest, which go into the
//! log next to their frame's header.

use bytes::Bytes;
use http::Response;
use jibek_conformance::world::World;
use jibek_protocol::copied;

/// Bodies below this are copied into the log's next write, once on either server.
const SHORT: u64 = 1024;
/// Line ends at the end of a chunk may begin a boundary, so they are set aside until the next one: two bytes after the
/// REST block and the like, on each way.
const LINE_ENDS: u64 = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_bodies_are_never_copied_but_short_ones_into_the_log() {
    let _alone = super::alone().await;
    let world = World::builder()
        .build(|call| match call.uri.path() {
            "/rest/echo" => Response::new(call.body.clone()),
            _ => Response::new(Bytes::from_static(b"0123456789")),
        })
        .await;
    // Connections, OCSP answers, the first signature.
    let answer = world.send(world.rest("POST", "/echo"), "warm up").await;
    assert_eq!(answer.status(), 200);
    for length in [0, 10, 1000, 10_000, 200_000, 300_000, 5_000_000_u64] {
        let body = vec![b'b'; usize::try_from(length).unwrap()];
        let before = copied::total();
        let answer = world.send(world.rest("POST", "/x"), body).await;
        assert_eq!(answer.body(), "0123456789");
        // The answer of ten bytes goes into two logs, and so does a short request.
        let short = if length < SHORT { length } else { 0 };
        let (copied, wanted) = (copied::total() - before, 2 * (short + 10));
        assert!(
            (wanted..=wanted + LINE_ENDS).contains(&copied),
            "{copied} bytes copied of a request of {length} bytes, {wanted} are right"
        );
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_not_kept_are_not_copied_at_all() {
    let _alone = super::alone().await;
    let world = World::builder()
        .setting("message_log", "request_bodies = \"digest\"")
        .setting("message_log", "answer_bodies = \"digest\"")
        .build(|call| Response::new(call.body.clone()))
        .await;
    let answer = world.send(world.rest("POST", "/echo"), "warm up").await;
    assert_eq!(answer.status(), 200);
    for length in [1, 1000, 300_000] {
        let before = copied::total();
        let body = vec![b'b'; length];
        let answer = world.send(world.rest("POST", "/echo"), body.clone()).await;
        assert!(*answer.body() == body);
        let copied = copied::total() - before;
        assert!(
            copied <= LINE_ENDS,
            "{copied} bytes copied of a body of {length} bytes, there and back"
        );
    }
    world.finish().await;
}
