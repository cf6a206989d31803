//! The configuration's sources under a trickle of messages: the registry is restarted, its keys are rolled over, one of two
//! sources dies, then the other; servers lose no message.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests may panic and tell, their helpers too"
)]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use jibek_certs::{KeyKind, time::TestClock};
use jibek_conf::{Snapshot, files::atomic_write};
use jibek_conformance::{
    country::Timing,
    http::{Http, eventually},
    world::{CONSUMER, INSTANCE, PROVIDER, World},
};
use jibek_registry::{
    Registry,
    keys::{self, Keys, KeysError, Kind},
};
use serde_json::Value;
use tokio::{sync::oneshot, task::JoinHandle};

const PATIENCE: Duration = Duration::from_secs(60);
const MINUTE: Duration = Duration::from_secs(60);
const VALIDITY: Duration = Duration::from_secs(600);

/// Messages, one after the other, until it is told to stop.
struct Trickle {
    sent: Arc<AtomicUsize>,
    lost: Arc<std::sync::Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Trickle {
    fn start(world: &World) -> Self {
        let url = format!("{}/r1/{PROVIDER}/rest/x", world.running.server(0).url());
        let (sent, lost, stop) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(std::sync::Mutex::new(Vec::new())),
            Arc::new(AtomicBool::new(false)),
        );
        let shared = (Arc::clone(&sent), Arc::clone(&lost), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let (sent, lost, stop) = shared;
            let http = Http::default();
            while !stop.load(Ordering::Relaxed) {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                let request = Request::post(&url)
                    .header("X-Road-Client", CONSUMER)
                    .body(Full::from(format!("question {number}")))
                    .unwrap();
                match http.send(request).await {
                    Ok(answer) if answer.status() == 200 => {}
                    Ok(answer) => lost.lock().unwrap().push(format!(
                        "{number}: {} {}",
                        answer.status(),
                        String::from_utf8_lossy(answer.body())
                    )),
                    Err(error) => lost.lock().unwrap().push(format!("{number}: {error}")),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self {
            sent,
            lost,
            stop,
            task,
        }
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    fn tell(&self, world: &World, what: &str) {
        let lost = self.lost.lock().unwrap();
        println!(
            "{}  {:>4} messages, {} lost  {what}",
            world.now().time(),
            self.sent(),
            lost.len()
        );
        assert!(lost.is_empty(), "{what}: {lost:#?}");
    }

    async fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        assert!(
            self.lost.lock().unwrap().is_empty(),
            "{:#?}",
            self.lost.lock().unwrap()
        );
        self.sent.load(Ordering::Relaxed)
    }
}

/// A second registry of the same instance, with keys of its own.
struct Second {
    folder: PathBuf,
    clock: TestClock,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Second {
    async fn start(&mut self) {
        let bound = Registry::open(
            self.folder.join("registry.toml"),
            Arc::new(self.clock.clone()),
        )
        .unwrap()
        .bind()
        .await
        .unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(bound.run(async move {
            let _ = stopped.await;
        }));
        self.running = Some((stop, task));
    }

    async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.send(()).unwrap();
        task.await.unwrap();
    }
}

fn keys_of(folder: &Path) -> PathBuf {
    folder.join("state/keys")
}

/// Hands the certificates of a registry's keys to another one, as an operator does after `keys export`.
fn export(from: &Path, to: &Path, name: &str) {
    let keys = Keys::open(&keys_of(from), KeyKind::EcP256).unwrap();
    for kind in [Kind::Internal, Kind::External] {
        let all = keys.all(kind).into_iter();
        let pem: String = all.map(|key| key.certificate().to_pem()).collect();
        atomic_write(
            to.join(format!("{name}-{}.pem", kind.name())),
            pem.as_bytes(),
        )
        .unwrap();
    }
}

fn introduce(file: &Path, name: &str, address: SocketAddr) {
    let text = std::fs::read_to_string(file).unwrap();
    let section = format!(
        "\n[[registry]]\naddress = \"{address}\"\ninternal_certificates = [\"{name}-internal.pem\"]\n\
         external_certificates = [\"{name}-external.pem\"]\n"
    );
    atomic_write(file, (text + &section).as_bytes()).unwrap();
}

/// A registry beside the world's own: the same file, another address, other keys; each knows the other.
fn second_registry(world: &World) -> Second {
    let first_file = world.running.prepared().registry_config();
    let first = first_file.parent().unwrap().to_owned();
    let folder = world.running.prepared().dir().join("registry2");
    jibek_conf::files::create_dir_durably(&folder).unwrap();
    for entry in std::fs::read_dir(&first).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
    let net = &world.running.prepared().plan().net;
    let (address, own) = (
        net.registry(),
        SocketAddr::new(net.host(3), net.registry().port()),
    );
    let file = folder.join("registry.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    atomic_write(
        &file,
        text.replace(&address.to_string(), &own.to_string())
            .as_bytes(),
    )
    .unwrap();
    Keys::open(&keys_of(&folder), KeyKind::EcP256).unwrap();
    export(&folder, &first, "second");
    export(&first, &folder, "first");
    introduce(&first_file, "second", own);
    introduce(&file, "first", address);
    Second {
        folder,
        clock: world.clock.clone(),
        running: None,
    }
}

fn configuration(world: &World, server: usize) -> Arc<Snapshot> {
    world.running.server(server).inside.configuration()
}

/// Lets `minutes` pass. After each the servers have asked their sources, and their configuration holds for more than half of
/// its validity again if any source lives.
async fn pass(world: &World, minutes: u32, some_source_lives: bool) {
    for _ in 0..minutes {
        world.clock.advance(MINUTE);
        for server in [0, 1] {
            let inside = &world.running.server(server).inside;
            if some_source_lives {
                eventually(PATIENCE, || async {
                    inside.refresh_configuration().await?;
                    let left = configuration(world, server).expires_at().unwrap() - world.now();
                    (left > VALIDITY / 2)
                        .then_some(())
                        .ok_or(format!("{left} left"))
                })
                .await
                .unwrap();
            } else {
                inside.refresh_configuration().await.unwrap_err();
            }
            inside.refresh_ocsp().await;
        }
    }
}

/// Lets time pass until both servers know something.
async fn until(world: &World, what: &str, known: impl Fn(&Snapshot) -> bool) {
    for _ in 0..20 {
        pass(world, 1, true).await;
        if [0, 1]
            .iter()
            .all(|server| known(&configuration(world, *server)))
        {
            return;
        }
    }
    panic!("the servers never learned: {what}");
}

/// Lets time pass until the registry no longer calls a step with its keys too soon, as an operator would.
async fn when_due(world: &World, step: impl Fn() -> Result<(), KeysError>) {
    for _ in 0..20 {
        match step() {
            Ok(()) => return,
            Err(KeysError::TooSoon { .. }) => pass(world, 1, true).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("still too soon after 20 minutes");
}

async fn note(world: &World) -> (bool, String, i64) {
    let url = format!("{}/readyz", world.running.server(0).admin_url());
    let answer = world.http.get(&url).await.unwrap();
    let report: Value = serde_json::from_slice(answer.body()).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["name"] == "configuration")
        .unwrap();
    (
        check["ready"] == true,
        check["note"].as_str().unwrap_or_default().to_owned(),
        check["seconds_left"].as_i64().unwrap_or_default(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_come_and_go_keys_roll_and_no_message_is_lost() {
    let long = Duration::from_secs(86_400);
    let timing = Timing {
        ocsp_freshness: long,
        acceptable_failure: long,
        ..Timing::default()
    };
    let mut world = World::builder()
        .timing(timing)
        .build(|_| Response::new(Bytes::from_static(b"ok")))
        .await;
    let trickle = Trickle::start(&world);
    pass(&world, 1, true).await;
    trickle.tell(&world, "a registry, two servers");

    world.running.stop_registry().await;
    pass(&world, 6, false).await;
    let (ready, why, left) = note(&world).await;
    assert!(
        ready && why.contains("no source gave a configuration"),
        "{why}"
    );
    assert!((1..=240).contains(&left), "{left}");
    trickle.tell(
        &world,
        &format!("the registry was off for 6 minutes; /readyz: ready for {left} s more"),
    );
    world.running.start_registry().await.unwrap();
    pass(&world, 1, true).await;
    assert_eq!(note(&world).await.1, "");
    trickle.tell(&world, "the registry was restarted");

    let mut second = second_registry(&world);
    second.start().await;
    let sources = |snapshot: &Snapshot| snapshot.shared(INSTANCE).unwrap().sources.clone();
    until(&world, "the second source", |snapshot| {
        sources(snapshot).len() == 2
    })
    .await;
    trickle.tell(
        &world,
        "a second registry publishes the same instance with keys of its own",
    );

    let first = world
        .running
        .prepared()
        .registry_config()
        .parent()
        .unwrap()
        .to_owned();
    let announced = |snapshot: &Snapshot, number: usize| {
        let keys: usize = sources(snapshot)
            .iter()
            .map(|source| source.internal_certificates.len())
            .sum();
        keys == number
    };
    let number = keys::add(&keys_of(&first), Kind::Internal, KeyKind::EcP256).unwrap();
    export(&first, &second.folder, "first");
    until(&world, "the new key", |snapshot| announced(snapshot, 3)).await;
    when_due(&world, || {
        let (key, times) = ((Kind::Internal, number), (world.now(), VALIDITY));
        keys::activate(&keys_of(&first), key, KeyKind::EcP256, times, false)
    })
    .await;
    trickle.tell(
        &world,
        "a new key was announced for a validity period, and now signs",
    );
    when_due(&world, || {
        let (old, times) = ((Kind::Internal, 1), (world.now(), VALIDITY));
        keys::remove(&keys_of(&first), old, KeyKind::EcP256, times, false)
    })
    .await;
    export(&first, &second.folder, "first");
    until(&world, "that the old key is gone", |snapshot| {
        announced(snapshot, 2)
    })
    .await;
    trickle.tell(&world, "the old key was removed");

    world.running.stop_registry().await;
    pass(&world, 12, true).await;
    trickle.tell(
        &world,
        "the first source has been dead for longer than a configuration is valid",
    );
    world.running.start_registry().await.unwrap();
    second.stop().await;
    pass(&world, 12, true).await;
    trickle.tell(
        &world,
        "the first is back, the second has been dead as long",
    );

    // Servers restarted with the anchor of the first day, whose key is gone: what they learned carries them.
    eventually(PATIENCE, || async {
        let sent = trickle.sent();
        (sent > 20).then_some(()).ok_or(format!("{sent} sent"))
    })
    .await
    .unwrap();
    let sent = trickle.finish().await;
    for server in [0, 1] {
        world.running.restart_server(server).await.unwrap();
    }
    world.running.ready(PATIENCE).await.unwrap();
    let trickle = Trickle::start(&world);
    pass(&world, 3, true).await;
    trickle.tell(
        &world,
        "the servers were restarted with the anchor of the first day",
    );
    let last = trickle.finish().await;
    println!("{} messages, none lost", sent + last);
    world.finish().await;
}
