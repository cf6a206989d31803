//! Servers as processes, killed and starved: what a client got an answer for is on disk on both sides.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests may panic and tell, their helpers too"
)]

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use jibek_certs::{DigestAlgorithm, KeyKind, digest::digest};
use jibek_conformance::{
    asic::{self, Half},
    http::{Http, eventually, until_ok},
    process_world::ProcessWorld,
    system::Call,
    world::{CONSUMER, PROVIDER},
};
use jibek_protocol::id::ClientId;
use tempfile::TempDir;
use tokio::sync::Mutex;

const PATIENCE: Duration = Duration::from_secs(30);
/// Systems that call at the same time.
const CALLERS: u64 = 6;

/// The service turns its question round.
fn answer(call: &Call) -> Response<Bytes> {
    let mut body = call.body.to_vec();
    body.reverse();
    Response::new(Bytes::from(body))
}

/// Bodies of different lengths, none like another.
fn question(number: u64) -> Bytes {
    let length = match number % 7 {
        0 => 300_000, // a file of its own in the log
        1 => 0,
        other => other * 1000,
    };
    let mut text = format!("question {number} ").into_bytes();
    text.resize(text.len() + usize::try_from(length).unwrap(), b'.');
    text.extend(number.to_be_bytes());
    Bytes::from(text)
}

fn sha512(bytes: &[u8]) -> String {
    digest(DigestAlgorithm::Sha512, bytes).to_hex()
}

/// What clients got an answer for: message id, and the digests of question and answer.
type Answered = BTreeMap<String, (String, String)>;

/// Calls until told to stop; failures are what the test makes happen.
async fn call(
    url: String,
    numbers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    answered: Arc<Mutex<Answered>>,
) {
    let http = Http::default();
    while !stop.load(Ordering::Relaxed) {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let id = format!("crash-{number}");
        let body = question(number);
        let request = Request::post(format!("{url}/r1/{PROVIDER}/rest/x"))
            .header("X-Road-Client", CONSUMER)
            .header("X-Road-Id", &id)
            .body(Full::new(body.clone()))
            .unwrap();
        match http.send(request).await {
            Ok(response) if response.status() == 200 => {
                let digests = (sha512(&body), sha512(response.body()));
                answered.lock().await.insert(id, digests);
            }
            // The server is down or just dying: not too fast now.
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_got_an_answer_for_survives_kill_9() {
    let mut world = ProcessWorld::start(KeyKind::EcP256, answer, |_| ()).await;
    let numbers = Arc::new(AtomicU64::new(1));
    let answered = Arc::new(Mutex::new(Answered::new()));
    // The provider's side, the consumer's, both.
    for victims in [&[1][..], &[0], &[0, 1]] {
        let stop = Arc::new(AtomicBool::new(false));
        let before = answered.lock().await.len();
        let more = |wanted: usize| {
            let answered = Arc::clone(&answered);
            async move {
                eventually(PATIENCE, || async {
                    let found = answered.lock().await.len();
                    if found >= wanted {
                        Ok(found)
                    } else {
                        Err(found)
                    }
                })
                .await
                .unwrap()
            }
        };
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                tokio::spawn(call(
                    world.url(0),
                    Arc::clone(&numbers),
                    Arc::clone(&stop),
                    Arc::clone(&answered),
                ))
            })
            .collect();
        more(before + 20).await;
        for victim in victims {
            world.kill(*victim);
        }
        for victim in victims {
            world.fsck(*victim).unwrap();
            world.start_server(*victim).await.unwrap();
        }
        let reached = answered.lock().await.len();
        more(reached + 5).await;
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.unwrap();
        }
        for server in [0, 1] {
            world.fsck(server).unwrap();
        }
    }

    let answered = answered.lock().await;
    println!(
        "{} of {} calls answered",
        answered.len(),
        numbers.load(Ordering::Relaxed)
    );
    for (server, client) in [(0, CONSUMER), (1, PROVIDER)] {
        let client = ClientId::from_header(client).unwrap();
        for (id, (question, answer)) in answered.iter() {
            for (half, wanted) in [(Half::Request, question), (Half::Response, answer)] {
                let url = world.url(server);
                let container = asic::fetch(&world.http, &url, &client, id, half)
                    .await
                    .unwrap_or_else(|error| panic!("{id} {half:?} at {server}: {error}"));
                let body = asic::body(&container).unwrap();
                assert_eq!(sha512(body), *wanted, "{id} {half:?} at {server}");
            }
        }
    }
}

/// A small file system for a log, gone at the end.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None` where this is not allowed.
    fn mount(dir: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(dir).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "jibek-test"])
            .arg(dir)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(dir))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_clearly_and_recovers_when_there_is_room() {
    let place = TempDir::new().unwrap();
    let Some(disk) = SmallDisk::mount(place.path(), "160m") else {
        println!(
            "SKIPPED a_full_disk_refuses_clearly_and_recovers_when_there_is_room: a small file system cannot be mounted here"
        );
        return;
    };
    let log = place.path().join("log");
    let mut world = ProcessWorld::start(KeyKind::EcP256, answer, |prepared| {
        let server = prepared.server_dir(&prepared.plan().servers[1]);
        std::os::unix::fs::symlink(&log, server.join("log")).unwrap();
        std::fs::create_dir(&log).unwrap();
    })
    .await;
    let http = world.http.clone();
    let url = world.url(0);
    let send = async |number: u64| {
        let request = Request::post(format!("{url}/r1/{PROVIDER}/rest/x"))
            .header("X-Road-Client", CONSUMER)
            .header("X-Road-Id", format!("full-{number}"))
            .body(Full::new(question(number)))
            .unwrap();
        http.send(request).await.unwrap()
    };
    assert_eq!(send(7).await.status(), 200);

    // All space gone: told before anything reaches the service.
    let ballast = place.path().join("ballast");
    let _ = Command::new("dd")
        .args(["if=/dev/zero", "bs=64k"])
        .arg(format!("of={}", ballast.display()))
        .output()
        .unwrap();
    let calls = world.system.calls().len();
    let refused = send(8).await;
    assert_eq!(refused.status(), 500);
    assert_eq!(
        refused.headers()["x-road-error"],
        "server.serverproxy.logging_failed"
    );
    for number in 9..20 {
        assert_eq!(send(number).await.status(), 500);
    }
    assert_eq!(world.system.calls().len(), calls, "nobody acted on them");
    let ready = format!("{}/readyz", world.admin_url(1));
    let report = http.get(&ready).await.unwrap();
    assert_eq!(report.status(), 503);
    let report = String::from_utf8_lossy(report.body()).into_owned();
    assert!(
        report.contains("\"log\"") && report.contains("space"),
        "{report}"
    );

    // Room again: nothing needs to be restarted.
    std::fs::remove_file(&ballast).unwrap();
    eventually(PATIENCE, || async {
        let answer = send(1000).await;
        if answer.status() == 200 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await
    .unwrap();
    until_ok(&ready, PATIENCE).await.unwrap();
    let client = ClientId::from_header(PROVIDER).unwrap();
    let container = asic::fetch(&http, &world.url(1), &client, "full-7", Half::Request)
        .await
        .unwrap();
    assert_eq!(asic::body(&container).unwrap(), &question(7));
    world.kill(1);
    world.fsck(1).unwrap();
    drop(world);
    drop(disk);
}
