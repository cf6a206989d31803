//! Connections cut and servers killed at random moments: nothing is executed twice, and every consumer has its answer or
//! a fault that says why not.
//!
//! Short with a fixed seed; `JIBEK_TORN_SECONDS=600 JIBEK_TORN_SEED=7` makes it longer and another.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use jibek_certs::KeyKind;
use jibek_conformance::{
    http::Http,
    process_world::ProcessWorld,
    world::{CONSUMER, PROVIDER},
};
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    consumer::Dice,
    proxy::{Proxy, Way, lead_through_proxy},
};

const CALLERS: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(300);

/// What consumers saw, by the number of their call.
#[derive(Default)]
struct Seen {
    answered: Vec<u64>,
    /// By code.
    faults: BTreeMap<String, u64>,
    /// Their own server went away.
    broken: u64,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var_os(name)
        .and_then(|value| value.to_str()?.parse().ok())
        .unwrap_or(default)
}

async fn call(url: String, numbers: Arc<AtomicU64>, stop: Arc<AtomicBool>, seen: Arc<Mutex<Seen>>) {
    let http = Http::default();
    while !stop.load(Ordering::SeqCst) {
        let number = numbers.fetch_add(1, Ordering::SeqCst);
        // Some have a file of their own in the log.
        let length = if number.is_multiple_of(9) {
            300_000
        } else {
            300
        };
        let mut body = format!("{number}\n").into_bytes();
        body.resize(length, b'.');
        let request = Request::post(format!("{url}/r1/{PROVIDER}/rest/x"))
            .header("X-Road-Client", CONSUMER)
            .header("X-Road-Id", format!("torn-{number}"))
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let answer = http.send(request).await;
        let mut seen = seen.lock().await;
        match answer {
            Ok(answer) if answer.status() == 200 => {
                let said = String::from_utf8_lossy(answer.body()).into_owned();
                assert_eq!(said, format!("answer to {number}"));
                seen.answered.push(number);
            }
            Ok(answer) => {
                let fault: Value = serde_json::from_slice(answer.body())
                    .unwrap_or_else(|_| panic!("{number}: no fault: {answer:?}"));
                let (code, words) = (fault["type"].as_str(), fault["message"].as_str());
                assert!(words.is_some_and(|words| !words.is_empty()), "{fault}");
                *seen.faults.entry(code.unwrap().to_owned()).or_default() += 1;
            }
            Err(_) => {
                seen.broken += 1;
                drop(seen);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_executed_twice_whatever_is_cut_and_killed() {
    let seed = setting("JIBEK_TORN_SEED", 1);
    let period = Duration::from_secs(setting("JIBEK_TORN_SECONDS", 8));
    let mut world = ProcessWorld::start(
        KeyKind::EcP256,
        |call| {
            let number: Vec<u8> = call
                .body
                .iter()
                .copied()
                .take_while(|it| *it != b'\n')
                .collect();
            let number = String::from_utf8_lossy(&number).into_owned();
            Response::new(Bytes::from(format!("answer to {number}")))
        },
        lead_through_proxy,
    )
    .await;
    let proxy = Proxy::start(&world.prepared).await;
    let (numbers, stop) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let seen = Arc::new(Mutex::new(Seen::default()));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (numbers, stop) = (Arc::clone(&numbers), Arc::clone(&stop));
            tokio::spawn(call(world.url(0), numbers, stop, Arc::clone(&seen)))
        })
        .collect();

    let mut dice = Dice::new(seed);
    let mut kills = [0_u32; 2];
    let begun = Instant::now();
    // However slow the machine is, something of everything has to happen.
    while begun.elapsed() < period
        || kills.contains(&0)
        || proxy.cuts() == 0
        || seen.lock().await.answered.len() <= 20
    {
        assert!(
            begun.elapsed() < period + PATIENCE,
            "hardly anything happens"
        );
        // Within some messages' time, now and then within a connection's.
        let pause = Duration::from_millis(20 + dice.below(200));
        match dice.below(10) {
            0 => proxy.cut_all(),
            1..=6 => {
                let way = if dice.below(2) == 0 {
                    Way::Up
                } else {
                    Way::Down
                };
                proxy.cut_after(way, dice.below(60_000));
            }
            server @ 7..=9 => {
                // The provider's server twice as often.
                let server = usize::from(server > 7);
                world.kill(server);
                kills[server] += 1;
                world.start_server(server).await.unwrap();
            }
            _ => {}
        }
        tokio::time::sleep(pause).await;
    }
    proxy.calm();
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }

    let mut executed = BTreeMap::<u64, u64>::new();
    for call in world.system.calls() {
        let id = call.headers["x-road-id"].to_str().unwrap();
        let number = id.strip_prefix("torn-").unwrap().parse().unwrap();
        *executed.entry(number).or_default() += 1;
    }
    let seen = seen.lock().await;
    println!(
        "seed {seed}: {} calls, {} answered, faults {:?}, {} broken with the own server; {} cuts, {kills:?} kills",
        numbers.load(Ordering::SeqCst),
        seen.answered.len(),
        seen.faults,
        seen.broken,
        proxy.cuts(),
    );
    let twice: Vec<_> = executed.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "executed more than once: {twice:?}");
    for number in &seen.answered {
        assert_eq!(executed.get(number), Some(&1), "{number} is answered");
    }
    for server in [0, 1] {
        world.kill(server);
        world.fsck(server).unwrap();
    }
}
