//! More messages than there are places: they wait, and are told when it was too long; none is lost, and no side waits for
//! the other one's places.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::Response;
use jibek_conformance::{
    system::Call,
    world::{World, WorldBuilder},
};
use serde_json::Value;
use tokio::sync::watch::{self, Sender};

/// A service that answers when it may, and counts how many calls it has at once.
#[derive(Clone, Debug)]
struct Slow {
    open: Sender<bool>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Slow {
    fn new() -> Self {
        Self {
            open: watch::channel(false).0,
            now: Arc::default(),
            most: Arc::default(),
        }
    }

    async fn world(&self, builder: WorldBuilder) -> World {
        let slow = self.clone();
        builder.build(move |call| slow.answer(call)).await
    }

    fn answer(&self, call: &Call) -> Response<Bytes> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let mut open = self.open.subscribe();
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            runtime.block_on(async { open.wait_for(|open| *open).await.unwrap().to_owned() })
        });
        self.now.fetch_sub(1, Ordering::SeqCst);
        Response::new(call.body.clone())
    }

    /// Waits until so many calls are at the service.
    async fn has(&self, calls: usize) {
        while self.now.load(Ordering::SeqCst) < calls {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_finds_no_place_waits_for_one() {
    let _alone = super::alone().await;
    let slow = Slow::new();
    let builder = World::builder()
        .setting("limits", "messages = 2")
        // Next to no memory for bodies, too: it changes nothing but the way they take.
        .setting("limits", "body_memory_bytes = 1000");
    let world = Arc::new(slow.world(builder).await);
    let calls: Vec<_> = (0..12)
        .map(|number| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let body = Bytes::from(vec![b'c'; 5000 + number]);
                let answer = world.send(world.rest("POST", "/x"), body.clone()).await;
                (answer.status().as_u16(), *answer.body() == body)
            })
        })
        .collect();
    slow.has(2).await;
    slow.open.send_replace(true);
    for call in calls {
        assert_eq!(call.await.unwrap(), (200, true));
    }
    assert_eq!(world.system.calls().len(), 12);
    assert!(slow.most.load(Ordering::SeqCst) <= 2);
    for server in [0, 1] {
        let stats = world.running.server(server).inside.log().stats();
        assert_eq!((stats.commits, stats.memory_bytes), (24, 0));
    }
    Arc::into_inner(world).unwrap().finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_waits_too_long_is_told_so() {
    let _alone = super::alone().await;
    let slow = Slow::new();
    let builder = World::builder()
        .setting("limits", "messages = 1")
        .setting("limits", "place_wait_seconds = 1");
    let world = Arc::new(slow.world(builder).await);
    let first = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.send(world.rest("GET", "/x"), "").await.status() }
    });
    slow.has(1).await;
    let answer = world.send(world.rest("POST", "/x"), "second").await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    let fault: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(fault["type"], "server.clientproxy.overloaded", "{fault}");
    assert_eq!(world.system.calls().len(), 0, "the first has no answer yet");
    slow.open.send_replace(true);
    assert_eq!(first.await.unwrap(), 200);
    let again = world.send(world.rest("POST", "/x"), "second").await;
    assert_eq!(again.status(), 200);
    Arc::into_inner(world).unwrap().finish().await;
}
