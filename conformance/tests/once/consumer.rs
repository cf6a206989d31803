//! The consumer's side: what is lost with a connection is sent again, and executed once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use jibek_conformance::{
    envelope,
    system::Call,
    world::{CONSUMER, PROVIDER, World},
};

use crate::proxy::{Proxy, Way, lead_through_proxy};

const PATIENCE: Duration = Duration::from_secs(30);

/// Turns the question round; the length of the answer is that of the question.
fn turned(call: &Call) -> Response<Bytes> {
    let mut body = call.body.to_vec();
    if call.uri.path() == "/soap" {
        let text = String::from_utf8(body).unwrap();
        return Response::builder()
            .header("Content-Type", "text/xml;charset=utf-8")
            .body(Bytes::from(envelope::answer(&text, "soap")))
            .unwrap();
    }
    body.reverse();
    Response::new(Bytes::from(body))
}

fn question(number: u64, length: usize) -> Vec<u8> {
    let mut text = format!("question {number} ").into_bytes();
    text.resize(length.max(text.len()), b'.');
    text.extend(number.to_be_bytes());
    text
}

struct Scene {
    world: World,
    proxy: Proxy,
    numbers: AtomicU64,
}

impl Scene {
    async fn new() -> Self {
        let world = World::builder()
            .before(|prepared, _| lead_through_proxy(prepared))
            .build(turned)
            .await;
        let proxy = Proxy::start(world.running.prepared()).await;
        Self {
            world,
            proxy,
            numbers: AtomicU64::new(0),
        }
    }

    /// One exchange, which must be answered and executed once.
    async fn exchange(&self, length: usize, case: &str) {
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        let sent = question(number, length);
        let answer = self
            .world
            .send(self.world.rest("POST", "/x"), sent.clone())
            .await;
        assert_eq!(
            answer.status(),
            200,
            "{case}: {}",
            String::from_utf8_lossy(answer.body())
        );
        let mut turned = answer.body().to_vec();
        turned.reverse();
        assert_eq!(turned, sent, "{case}");
        let calls = self.world.system.calls();
        let executed = calls.iter().filter(|call| call.body == sent).count();
        assert_eq!(executed, 1, "{case}");
    }

    async fn metric(&self, line: &str) -> u64 {
        let url = format!("{}/metrics", self.world.running.server(0).admin_url());
        let text = self.world.http.get(&url).await.unwrap();
        let text = String::from_utf8_lossy(text.body()).into_owned();
        let value = text.lines().find_map(|found| found.strip_prefix(line));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }
}

/// A small generator of numbers, the same on each run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

/// At any byte of the exchange, either way, in the handshake, the message, the signature, the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_at_any_byte_loses_nothing_and_repeats_nothing() {
    let scene = Scene::new().await;
    let mut dice = Dice::new(20_261_123);
    for (length, rounds) in [(100, 24), (700_000, 4)] {
        // What an exchange on a new connection and one on an open connection take.
        scene.proxy.cut_all();
        let mut most = [0, 0];
        for _ in 0..2 {
            let before = [Way::Up, Way::Down].map(|way| scene.proxy.passed(way));
            scene.exchange(length, "undisturbed").await;
            for (index, way) in [Way::Up, Way::Down].into_iter().enumerate() {
                most[index] = most[index].max(scene.proxy.passed(way) - before[index]);
            }
        }
        for round in 0..rounds {
            let way = if round % 2 == 0 { Way::Up } else { Way::Down };
            let at = dice.below(most[way as usize]);
            scene.proxy.cut_after(way, at);
            let case = format!("{length} bytes, {way:?} cut after {at} of {most:?}");
            scene.exchange(length, &case).await;
            scene.proxy.calm();
        }
    }
    let cuts = scene.proxy.cuts();
    let answered = "jibek_repeats_total{side=\"consumer\",outcome=\"answered\"}";
    println!(
        "{cuts} cuts, {} after release",
        scene.metric(answered).await
    );
    assert!(cuts > 10, "{cuts}");
    assert!(scene.metric(answered).await > 0);
    scene.world.finish().await;
}

/// SOAP goes the same ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envelopes_are_sent_again_too() {
    let scene = Scene::new().await;
    let url = scene.world.running.server(0).url();
    let mut dice = Dice::new(7);
    let mut most = [9000, 6000];
    for round in 0..10 {
        let way = if round % 2 == 0 { Way::Up } else { Way::Down };
        if round > 0 {
            scene.proxy.cut_after(way, dice.below(most[way as usize]));
        }
        let before = scene.proxy.passed(way);
        let sent = envelope::request(CONSUMER, PROVIDER, "soap", &format!("{round}"), "hello");
        let request = http::Request::post(&url).header("Content-Type", "text/xml");
        let answer = scene.world.send(request, sent).await;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        assert!(text.contains("soapResponse"), "{round}: {text}");
        scene.proxy.calm();
        most[way as usize] = (scene.proxy.passed(way) - before).min(20_000);
    }
    assert_eq!(scene.world.system.calls().len(), 10);
    scene.world.finish().await;
}

/// Connections are kept, and dead ones among them cost nobody a message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_reused_until_they_are_cut() {
    let scene = Scene::new().await;
    for _ in 0..5 {
        scene.exchange(100, "kept").await;
    }
    assert_eq!(scene.proxy.connections(), 1);
    scene.proxy.cut_all();
    scene.exchange(100, "after the cut").await;
    scene.exchange(100, "kept again").await;
    assert_eq!(scene.proxy.connections(), 2);
    scene.world.finish().await;
}

/// The provider's server stops and starts again under load, twice: every message is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peers_restart_fails_no_message() {
    let mut scene = Scene::new().await;
    let stop = Arc::new(AtomicBool::new(false));
    let (http, url) = (
        scene.world.http.clone(),
        format!(
            "{}/r1/{PROVIDER}/rest/x",
            scene.world.running.server(0).url()
        ),
    );
    scene.exchange(100, "before").await;
    let answered = Arc::new(AtomicU64::new(0));
    let mut callers = Vec::new();
    for caller in 0..4_u64 {
        let (stop, http, url) = (Arc::clone(&stop), http.clone(), url.clone());
        let answered = Arc::clone(&answered);
        callers.push(tokio::spawn(async move {
            let mut number = 1000 * (caller + 1);
            while !stop.load(Ordering::SeqCst) {
                number += 1;
                let request = http::Request::post(&url)
                    .header("X-Road-Client", CONSUMER)
                    .body(http_body_util::Full::new(question(number, 200).into()))
                    .unwrap();
                let answer = http.send(request).await.unwrap();
                let text = String::from_utf8_lossy(answer.body()).into_owned();
                assert_eq!(answer.status(), 200, "{number}: {text}");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    for _ in 0..2 {
        more(&answered, 10).await;
        scene.world.running.restart_server(1).await.unwrap();
        more(&answered, 10).await;
    }
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    let mut executed = BTreeMap::<Bytes, usize>::new();
    for call in scene.world.system.calls() {
        *executed.entry(call.body).or_default() += 1;
    }
    assert!(executed.values().all(|count| *count == 1));
    scene.world.finish().await;
}

/// Waits until so many more are answered.
async fn more(answered: &AtomicU64, count: u64) {
    let wanted = answered.load(Ordering::SeqCst) + count;
    jibek_conformance::http::eventually(PATIENCE, || async {
        let now = answered.load(Ordering::SeqCst);
        if now >= wanted { Ok(()) } else { Err(now) }
    })
    .await
    .unwrap();
}
