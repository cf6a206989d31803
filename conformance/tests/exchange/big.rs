//! Large bodies, both ways.

use bytes::Bytes;
use openssl::sha::sha512;

use super::{Left, proved, world};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_and_forty_megabytes_arrive_whole_both_ways() {
    let world = world().await;
    for (id, megabytes) in [("ten", 10_usize), ("forty", 40)] {
        // No two blocks alike, and lines that look like boundaries.
        let length = megabytes << 20;
        let mut body = Vec::with_capacity(length + 64);
        let mut number = 0_u32;
        while body.len() < length {
            body.extend_from_slice(format!("\r\n--xtop{number:030}--\r\n").as_bytes());
            body.extend_from_slice(&number.to_le_bytes());
            number += 1;
        }
        body.truncate(length);
        let body = Bytes::from(body);
        let request = world.rest("POST", "/echo").header("X-Road-Id", id);
        let answer = world.send(request, body.clone()).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.body().len(), body.len());
        let seen = world.system.calls().pop().unwrap();
        let sent = sha512(&body);
        assert!(sha512(&seen.body) == sent, "{id} MB at the provider");
        assert!(sha512(answer.body()) == sent, "{id} MB back");
        world.stamp().await;
        let left = Left {
            id,
            request_body: Some(&body),
            answer_body: Some(&body),
        };
        proved(&world, &left).await;
    }
    world.finish().await;
}
