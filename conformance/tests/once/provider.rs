//! The provider's side: the same request again, from a peer that sends what it likes.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use jibek_conformance::{
    disk::DiskFault,
    envelope,
    http::eventually,
    peer::{Answer, Message, Peer, Tls},
    system::Call,
    world::{HAND_MADE, PROVIDER, World, WorldBuilder},
};
use jibek_msglog::{Direction, Query, Side};

const PATIENCE: Duration = Duration::from_secs(30);
const STACKS: [Tls; 2] = [Tls::Legacy, Tls::Modern];

/// A world with a caller made by hand, and a service that counts.
struct Scene {
    world: World,
    hand: Peer,
}

impl Scene {
    async fn new(
        builder: WorldBuilder,
        script: impl Fn(&Call) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        let world = builder.build(script).await;
        let hand = hand(&world).await;
        Self { world, hand }
    }

    async fn counting() -> Self {
        let count = AtomicUsize::new(0);
        Self::new(World::builder(), move |call| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let body = String::from_utf8_lossy(&call.body).into_owned();
            if call.uri.path() == "/soap" {
                return xml(if body.contains("<bad/>") {
                    envelope::fault("own.words", "жок")
                } else {
                    envelope::answer(&body, "soap").replace("content", &number.to_string())
                });
            }
            Response::new(Bytes::from(format!("answer {number} to {body}")))
        })
        .await
    }

    fn to(&self) -> SocketAddr {
        self.world.running.server(1).addresses.peer
    }

    fn post(&self, body: impl Into<Bytes>) -> Message {
        let path = format!("/r1/{PROVIDER}/rest/x");
        let body = Some(body.into());
        self.hand
            .rest(HAND_MADE, "POST", &path, body, self.world.now())
    }

    async fn send(&self, tls: Tls, message: &Message) -> Answer {
        self.hand.call(self.to(), tls, message).await.unwrap()
    }

    fn calls(&self) -> usize {
        self.world.system.calls().len()
    }

    /// Requests and answers in the provider's log.
    fn commits(&self) -> u64 {
        self.world.running.server(1).inside.log().stats().commits
    }

    async fn metric(&self, line: &str) -> Option<u64> {
        let url = format!("{}/metrics", self.world.running.server(1).admin_url());
        let text = self.world.http.get(&url).await.unwrap();
        let text = String::from_utf8_lossy(text.body()).into_owned();
        let value = text.lines().find_map(|found| found.strip_prefix(line))?;
        value.trim().parse().ok()
    }
}

async fn hand(world: &World) -> Peer {
    let id = world.running.prepared().plan().servers[2].id.clone();
    Peer::of(world, &id).await
}

fn xml(text: String) -> Response<Bytes> {
    Response::builder()
        .header("Content-Type", "text/xml;charset=utf-8")
        .body(Bytes::from(text))
        .unwrap()
}

/// What is signed, and the signature, must be there and equal.
fn assert_same(one: &Answer, other: &Answer, case: &str) {
    let (one, other) = (one.parts(), other.parts());
    assert!(
        one.iter().any(|(kind, _)| kind == "signature/bdoc-1.0/ts"),
        "{case}: {one:?}"
    );
    let bytes = |parts: &[(String, Bytes)]| -> Vec<Bytes> {
        parts.iter().map(|(_, bytes)| bytes.clone()).collect()
    };
    assert_eq!(bytes(&one), bytes(&other), "{case}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_again_gets_the_recorded_answer() {
    let mut scene = Scene::counting().await;
    // The last has a file of its own in the log.
    let mut sent = Vec::new();
    for body in [vec![b'x'; 10], Vec::new(), vec![b'y'; 600_000]] {
        let message = scene.post(body);
        let first = scene.send(Tls::Modern, &message).await;
        sent.push((message, first));
    }
    let envelope = envelope::request(HAND_MADE, PROVIDER, "soap", "again", "content");
    let soap = scene.hand.soap(envelope.into(), scene.world.now());
    let first = scene.send(Tls::Modern, &soap).await;
    sent.push((soap, first));
    let (calls, commits) = (scene.calls(), scene.commits());
    assert_eq!(calls, 4);

    for restarted in [false, true] {
        if restarted {
            // Nothing but the log knows of it now.
            scene.world.running.restart_server(1).await.unwrap();
            scene.world.running.ready(PATIENCE).await.unwrap();
        }
        for tls in STACKS {
            for (index, (message, first)) in sent.iter().enumerate() {
                let again = scene.send(tls, message).await;
                let case = format!("{index} {tls:?} {restarted}");
                assert_same(first, &again, &case);
                assert_eq!(scene.calls(), calls, "{case}");
            }
        }
    }
    assert_eq!(scene.commits(), 0, "nothing was recorded since the start");
    assert!(commits > 0);
    let line = "jibek_repeats_total{side=\"provider\",outcome=\"answered\"}";
    assert_eq!(scene.metric(line).await, Some(8));
    scene.world.finish().await;
}

/// The digests of all signed parts, the id and the client make the request, and not its signature or its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_same_request_is_the_same() {
    let scene = Scene::counting().await;
    let message = scene.post("one body");
    let first = scene.send(Tls::Modern, &message).await;
    assert_eq!(scene.calls(), 1);

    // Another body under the same id: executed as any other, and so is its answer found.
    let other = {
        let mut other = message.clone();
        *other.part_mut("application/x-road-rest-body") = Bytes::from_static(b"another body");
        resigned(&scene, other)
    };
    let second = scene.send(Tls::Modern, &other).await;
    assert_eq!(scene.calls(), 2);
    assert_ne!(first.parts(), second.parts());
    assert_same(&first, &scene.send(Tls::Legacy, &message).await, "one");
    assert_same(&second, &scene.send(Tls::Legacy, &other).await, "another");

    // Signed anew: the same request.
    let again = resigned(&scene, message.clone());
    assert_ne!(again.parts.last(), message.parts.last());
    assert_same(
        &first,
        &scene.send(Tls::Modern, &again).await,
        "signed again",
    );
    assert_eq!(scene.calls(), 2);

    // With a wrong signature it is nobody's.
    let mut forged = message.clone();
    *forged.part_mut("application/x-road-rest-body") = Bytes::from_static(b"forged");
    let refused = scene.send(Tls::Modern, &forged).await;
    assert!(
        refused
            .fault_code()
            .unwrap()
            .contains("signature_verification")
    );

    // An envelope under another request id is another request: a consumer may send it as often as it likes.
    let envelope = envelope::request(HAND_MADE, PROVIDER, "soap", "twice", "content");
    for _ in 0..2 {
        let soap = scene.hand.soap(envelope.clone().into(), scene.world.now());
        assert_eq!(scene.send(Tls::Modern, &soap).await.fault_code(), None);
    }
    assert_eq!(scene.calls(), 4);
    scene.world.finish().await;
}

fn resigned(scene: &Scene, mut message: Message) -> Message {
    use jibek_certs::{DigestAlgorithm, digest::digest};
    let sha512 = |bytes: &[u8]| digest(DigestAlgorithm::Sha512, bytes);
    let parts = jibek_evidence::seal::PartDigests {
        message: sha512(message.part_mut("application/x-road-rest-request")),
        attachments: vec![sha512(message.part_mut("application/x-road-rest-body"))],
    };
    message.sealed(&scene.hand.seal(parts, scene.world.now()));
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn copies_that_come_while_the_first_is_executed_wait_for_its_answer() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let scene = Scene::new(World::builder(), move |call| {
        if call.uri.path() == "/rest/x" {
            tokio::task::block_in_place(|| gone.lock().unwrap().recv().unwrap());
        }
        Response::new(Bytes::from_static(b"late"))
    })
    .await;
    let scene = Arc::new(scene);
    let message = scene.post("question");
    let mut copies = Vec::new();
    for index in 0..6 {
        let (scene, message) = (Arc::clone(&scene), message.clone());
        copies.push(tokio::spawn(async move {
            scene.send(STACKS[index % 2], &message).await
        }));
    }
    let in_flight = "jibek_in_flight{side=\"provider\"}";
    eventually(PATIENCE, || async {
        match scene.metric(in_flight).await {
            Some(6) => Ok(()),
            other => Err(format!("{other:?} under way")),
        }
    })
    .await
    .unwrap();
    // Who waits holds up nobody else.
    let path = format!("/r1/{PROVIDER}/rest/other");
    let other = scene
        .hand
        .rest(HAND_MADE, "GET", &path, None, scene.world.now());
    assert!(
        scene
            .send(Tls::Modern, &other)
            .await
            .text()
            .contains("late")
    );
    go.send(()).unwrap();
    let mut answers = Vec::new();
    for copy in copies {
        answers.push(copy.await.unwrap());
    }
    for answer in &answers {
        assert_same(&answers[0], answer, "copies");
    }
    let executed = scene.world.system.calls();
    let executed = executed.iter().filter(|call| call.uri.path() == "/rest/x");
    assert_eq!(executed.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_not_recorded_leaves_the_turn_to_the_next() {
    let scene = Scene::counting().await;
    let message = scene.post("question");
    scene.world.disks.set("ss2", DiskFault::Unsynced);
    for tls in STACKS {
        let refused = scene.send(tls, &message).await;
        assert_eq!(
            refused.fault_code().as_deref(),
            Some("server.serverproxy.logging_failed")
        );
    }
    assert_eq!(scene.calls(), 0);
    scene.world.disks.set("ss2", DiskFault::None);
    let answer = eventually(PATIENCE, || async {
        let answer = scene.send(Tls::Modern, &message).await;
        match answer.fault_code() {
            None => Ok(answer),
            Some(code) => Err(code),
        }
    })
    .await
    .unwrap();
    assert_same(&answer, &scene.send(Tls::Modern, &message).await, "again");
    assert_eq!(scene.calls(), 1);
    scene.world.finish().await;
}

/// The request is on disk and its answer is not: the same fault again, and after a restart one that says that nobody
/// knows. Never a second execution.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_answer_gets_a_fault_and_is_not_executed_again() {
    let disks = Arc::new(Mutex::new(None::<jibek_conformance::disk::Disks>));
    let breaks = Arc::clone(&disks);
    let mut scene = Scene::new(World::builder(), move |call| {
        if call.body == "break".as_bytes()
            && let Some(disks) = &*breaks.lock().unwrap()
        {
            disks.set("ss2", DiskFault::Unsynced);
        }
        if call.uri.path() == "/soap" {
            return xml(envelope::fault("own.words", "жок"));
        }
        Response::new(Bytes::from_static(b"done"))
    })
    .await;
    *disks.lock().unwrap() = Some(scene.world.disks.clone());
    let message = scene.post("break");
    let first = scene.send(Tls::Modern, &message).await;
    let code = "server.serverproxy.logging_failed";
    assert_eq!(first.fault_code().as_deref(), Some(code));
    scene.world.disks.set("ss2", DiskFault::None);
    let again = scene.send(Tls::Legacy, &message).await;
    assert_eq!(again.fault_code().as_deref(), Some(code));
    // A service's own fault comes again in its own words.
    let envelope = envelope::request(HAND_MADE, PROVIDER, "soap", "bad", "<bad/>");
    let soap = scene.hand.soap(envelope.into(), scene.world.now());
    for tls in STACKS {
        let fault = eventually(PATIENCE, || async {
            let fault = scene.send(tls, &soap).await;
            match fault.fault_code() {
                Some(code) if code == "own.words" => Ok(fault),
                other => Err(format!("{other:?}")),
            }
        });
        assert!(fault.await.unwrap().text().contains("жок"));
    }
    let calls = scene.calls();
    assert_eq!(calls, 2);

    scene.world.running.restart_server(1).await.unwrap();
    scene.world.running.ready(PATIENCE).await.unwrap();
    for message in [&message, &soap] {
        let unknown = scene.send(Tls::Modern, message).await;
        assert_eq!(
            unknown.fault_code().as_deref(),
            Some("server.serverproxy.repeated_request.outcome_unknown"),
            "{}",
            unknown.text()
        );
    }
    assert_eq!(scene.calls(), calls);
    scene.world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_kept_is_told_so() {
    let scene = Scene::counting().await;
    let message = scene.post("question");
    scene.send(Tls::Modern, &message).await;
    let log = scene.world.running.server(1).inside.log();
    let query = Query {
        direction: Some(Direction::Response),
        ..Query::request_id(message.request_id())
    };
    let [answer] = log.find(&query).unwrap()[..] else {
        panic!("one answer");
    };
    assert_eq!(log.read(answer).unwrap().unwrap().head.side, Side::Provider);
    log.drop_bodies(answer).await.unwrap();
    let refused = scene.send(Tls::Modern, &message).await;
    assert_eq!(
        refused.fault_code().as_deref(),
        Some("server.serverproxy.repeated_request.answer_not_kept")
    );
    assert_eq!(scene.calls(), 1);
    scene.world.finish().await;
}
