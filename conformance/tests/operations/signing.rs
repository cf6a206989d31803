//! A signing key in a slow device.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use jibek_conformance::world::World;

use crate::common::calm;

/// A counter of a server, from its metrics.
async fn counter(world: &World, server: usize, name: &str) -> u64 {
    let url = format!("{}/metrics", world.running.server(server).admin_url());
    let answer = world.http.get(&url).await.unwrap();
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .trim()
        .parse()
        .unwrap()
}

/// At 20 signatures a second 1,000 messages a second need 50 messages under each signature. The key is ten times slower
/// still, so that it is the key that messages wait for and not this machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_key_signs_for_all_that_wait() {
    const AT_ONCE: u64 = 1000;
    if open_files() < 8 * AT_ONCE {
        println!(
            "SKIPPED a_slow_key_signs_for_all_that_wait: ulimit -n is below {}",
            8 * AT_ONCE
        );
        return;
    }
    let world = World::builder()
        .timing(calm())
        .service_timeout(Duration::from_secs(3600))
        .setting("token", "slow_signature_ms = 500")
        .build(|_| Response::new(Bytes::from_static(b"ok")))
        .await;
    let calls = (0..AT_ONCE).map(|_| async {
        let answer = world.send(world.rest("POST", "/x"), "question").await;
        assert_eq!(answer.status(), 200, "{answer:?}");
    });
    let all = futures_util::future::join_all(calls);
    tokio::time::timeout(Duration::from_secs(300), all)
        .await
        .unwrap();
    for server in [0, 1] {
        let signatures = counter(&world, server, "jibek_signatures_total").await;
        let sealed = counter(&world, server, "jibek_sealed_messages_total").await;
        println!("server {server}: {sealed} messages under {signatures} signatures");
        assert_eq!(sealed, AT_ONCE);
        assert!(sealed >= 50 * signatures, "{sealed} under {signatures}");
    }
    world.finish().await;
}

/// How many files this process may have open: each message has a connection with two ends in it at every hop.
fn open_files() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.unwrap().split_whitespace().next().unwrap();
    soft.parse().unwrap_or(u64::MAX)
}
