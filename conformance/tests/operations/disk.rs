//! The disk under a message log goes wrong at each side and at each step: callers are told, nobody acts on what is not
//! recorded, and service goes on when the disk does.

use bytes::Bytes;
use http::Response;
use jibek_conformance::{
    disk::{DiskFault, Disks},
    http::eventually,
    world::World,
};
use serde_json::Value;

use crate::common::{PATIENCE, check, succeeds};

const CONSUMER_SIDE: &str = "ss1";
const PROVIDER_SIDE: &str = "ss2";
/// Waits for its commit in memory.
const SMALL: usize = 1000;
/// Has a file of its own in the log.
const LARGE: usize = 3_000_000;

/// How many requests and answers are in each log.
fn recorded(world: &World) -> [u64; 2] {
    [0, 1].map(|server| world.running.server(server).inside.log().stats().commits)
}

async fn post(world: &World, bytes: usize) -> Result<(), String> {
    let answer = world
        .send(world.rest("POST", "/x"), vec![b'x'; bytes])
        .await;
    if answer.status() == 200 {
        return Ok(());
    }
    let fault: Value = serde_json::from_slice(answer.body()).unwrap();
    let text = fault.to_string();
    assert!(!text.contains("/tmp") && !text.contains("log/"), "{text}");
    Err(fault["type"].as_str().unwrap().to_owned())
}

/// The next exchange succeeds, perhaps after a moment in which the log looks at its disk again.
async fn goes_on(world: &World) {
    eventually(PATIENCE, || post(world, SMALL)).await.unwrap();
    for server in [0, 1] {
        eventually(PATIENCE, || async {
            let log = check(world, server, "log").await;
            if log["ready"] == true {
                Ok(())
            } else {
                Err(log)
            }
        })
        .await
        .unwrap();
    }
    succeeds(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_recorded_is_refused_and_never_acted_on() {
    let world = World::builder()
        .build(|_| Response::new(Bytes::from_static(b"ok")))
        .await;
    succeeds(&world).await;
    for (server, code) in [
        (CONSUMER_SIDE, "server.clientproxy.logging_failed"),
        (PROVIDER_SIDE, "server.serverproxy.logging_failed"),
    ] {
        for fault in [DiskFault::Full, DiskFault::Broken, DiskFault::Unsynced] {
            for bytes in [SMALL, LARGE] {
                let calls = world.system.calls().len();
                let before = recorded(&world);
                world.disks.set(server, fault);
                let refused = post(&world, bytes).await;
                assert_eq!(
                    refused,
                    Err(code.to_owned()),
                    "{server} {fault:?} {bytes} bytes"
                );
                assert_eq!(world.system.calls().len(), calls, "nothing was acted on");
                let after = recorded(&world);
                assert_eq!(after[1], before[1], "{server} {fault:?}");
                // What the consumer's side sent and the provider's side refused is in its log: it was signed.
                let sent = u64::from(server == PROVIDER_SIDE);
                let whole = after[0] - before[0];
                assert!(whole <= sent, "{server} {fault:?}: {whole}");
                world.disks.set(server, DiskFault::None);
                goes_on(&world).await;
            }
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_recorded_is_not_told() {
    for (server, code) in [
        (CONSUMER_SIDE, "server.clientproxy.logging_failed"),
        (PROVIDER_SIDE, "server.serverproxy.logging_failed"),
    ] {
        // The disk goes wrong while the service works: its answer is relayed, hashed and spooled, and not recorded.
        let disks = std::sync::Arc::new(std::sync::OnceLock::<Disks>::new());
        let world = {
            let disks = std::sync::Arc::clone(&disks);
            World::builder()
                .build(move |call| {
                    let fault = match call.uri.path() {
                        "/rest/full" => DiskFault::Full,
                        "/rest/unsynced" => DiskFault::Unsynced,
                        _ => DiskFault::None,
                    };
                    if let Some(disks) = disks.get() {
                        disks.set(server, fault);
                    }
                    Response::new(Bytes::from(vec![b'x'; LARGE]))
                })
                .await
        };
        disks.set(world.disks.clone()).unwrap();
        for path in ["/full", "/unsynced"] {
            let before = recorded(&world);
            let calls = world.system.calls().len();
            let answer = world.send(world.rest("GET", path), "").await;
            assert_eq!(answer.status(), 500, "{server} {path}");
            assert_eq!(answer.headers()["x-road-error"], code, "{server} {path}");
            assert!(answer.body().len() < 2000, "nothing of the answer is told");
            // It was called once, and that is in both logs; the answer is in none that failed.
            assert_eq!(world.system.calls().len(), calls + 1);
            let after = recorded(&world);
            let grown = [0, 1].map(|side| after[side] - before[side]);
            assert_eq!(grown[0], 1, "{server} {path}");
            match (server, path) {
                // The consumer's side had the answer whole, so the provider's side could record it.
                (CONSUMER_SIDE, "/unsynced") => assert_eq!(grown[1], 2),
                (CONSUMER_SIDE, _) => assert!((1..=2).contains(&grown[1]), "{grown:?}"),
                _ => assert_eq!(grown[1], 1, "{server} {path}"),
            }
            world.disks.set(server, DiskFault::None);
            goes_on(&world).await;
        }
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_shows_before_a_message_meets_it() {
    let world = World::builder()
        .build(|_| Response::new(Bytes::from_static(b"ok")))
        .await;
    world.disks.set(PROVIDER_SIDE, DiskFault::Full);
    let shown = eventually(PATIENCE, || async {
        let log = check(&world, 1, "log").await;
        if log["ready"] == false {
            Ok(log)
        } else {
            Err(log)
        }
    })
    .await
    .unwrap();
    assert!(shown["reason"].is_string(), "{shown}");
    world.disks.set(PROVIDER_SIDE, DiskFault::None);
    goes_on(&world).await;
    world.finish().await;
}
