//! Signing keys rolled over, several registries of one instance: servers never lose their configuration.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic and say what it skips"
)]

#[path = "common/world.rs"]
mod world;

use std::time::Duration;

use jibek_certs::{signer::KeyKind, time::Clock};
use jibek_conf::{ConfDir, FetchOptions, Fetcher, atomic_write, fetch::HttpsUse};
use jibek_registry::keys::{self, Keys, KeysError, Kind};
use world::{Running, START, World};

const VALIDITY: Duration = Duration::from_secs(600);
const KEY: KeyKind = KeyKind::EcP256;

fn signing_digest(fetched: &bytes::Bytes) -> String {
    let text = String::from_utf8_lossy(fetched);
    let line = text
        .lines()
        .find(|line| line.starts_with("Verification-certificate-hash"));
    line.unwrap().to_owned()
}

async fn publish(world: &World, registry: &Running, fetcher: &mut Fetcher) {
    world.clock.advance(Duration::from_secs(60));
    registry.handle.publish_now().await.unwrap();
    let now = world.clock.now();
    fetcher
        .refresh(now)
        .await
        .unwrap()
        .check_valid(now)
        .unwrap();
}

#[tokio::test]
async fn keys_are_rolled_over_and_no_server_loses_its_configuration() {
    let world = World::new("p256");
    let registry = world.start().await;
    let folder = world.folder.path().join("state/keys");
    let first_anchor = registry.anchor.clone();
    let mut server = world.fetcher(first_anchor.clone());
    server.refresh(START).await.unwrap();
    let first = signing_digest(&registry.get("/internalconf?version=6").await.1);

    for kind in [Kind::Internal, Kind::External] {
        assert_eq!(keys::add(&folder, kind, KEY).unwrap(), 2);
    }
    let at = |force| {
        let now = (world.clock.now(), VALIDITY);
        keys::activate(&folder, (Kind::Internal, 2), KEY, now, force)
    };
    assert!(
        matches!(at(false), Err(KeysError::TooSoon { after: None, .. })),
        "not announced yet"
    );
    publish(&world, &registry, &mut server).await;
    let announced = world.clock.now();
    assert_eq!(
        signing_digest(&registry.get("/internalconf?version=6").await.1),
        first,
        "announced, but it does not sign"
    );
    let status = registry.handle.status();
    let flags: Vec<_> = status
        .keys
        .iter()
        .map(|key| (key.kind, key.number, key.signs))
        .collect();
    assert_eq!(
        flags,
        [
            ("internal", 1, true),
            ("internal", 2, false),
            ("external", 1, true),
            ("external", 2, false)
        ]
    );
    assert_ne!(
        status.internal_anchor_hash,
        first_anchor.hash(),
        "the anchor announces it, too"
    );
    let source = server.snapshot().unwrap().shared("KG").unwrap().sources[0].clone();
    assert_eq!(
        (
            source.internal_certificates.len(),
            source.external_certificates.len()
        ),
        (2, 2)
    );

    assert!(matches!(
        at(false),
        Err(KeysError::TooSoon { after: Some(_), .. })
    ));
    while world.clock.now() < announced + VALIDITY {
        publish(&world, &registry, &mut server).await;
    }
    at(false).unwrap();
    publish(&world, &registry, &mut server).await;
    let second = signing_digest(&registry.get("/internalconf?version=6").await.1);
    assert_ne!(second, first);
    let old = |force| {
        let now = (world.clock.now(), VALIDITY);
        keys::remove(&folder, (Kind::Internal, 1), KEY, now, force)
    };
    assert!(matches!(
        old(false),
        Err(KeysError::TooSoon { after: Some(_), .. })
    ));
    let now = (world.clock.now(), VALIDITY);
    assert!(matches!(
        keys::remove(&folder, (Kind::Internal, 2), KEY, now, true),
        Err(KeysError::Active { number: 2, .. })
    ));
    for _ in 0..10 {
        publish(&world, &registry, &mut server).await;
    }
    old(false).unwrap();
    publish(&world, &registry, &mut server).await;
    assert_eq!(
        server.snapshot().unwrap().shared("KG").unwrap().sources[0]
            .internal_certificates
            .len(),
        1
    );

    // A server that was installed with the first anchor and kept its files goes on after a restart; a new one needs the new anchor.
    let mut restarted = world.fetcher(first_anchor.clone());
    restarted.refresh(world.clock.now()).await.unwrap();
    let empty = tempfile::tempdir().unwrap();
    let mut options = FetchOptions::default();
    options.https = HttpsUse::Never;
    let fresh = |anchor| Fetcher::new(anchor, ConfDir::new(empty.path()), options.clone()).unwrap();
    fresh(first_anchor)
        .refresh(world.clock.now())
        .await
        .unwrap_err();
    let bytes = registry.get("/anchor/internal").await.1;
    let anchor = jibek_conf::Anchor::parse(bytes).unwrap();
    fresh(anchor).refresh(world.clock.now()).await.unwrap();

    // The registry comes back with the same keys.
    registry.finish().await;
    let registry = world.start().await;
    assert_eq!(
        signing_digest(&registry.get("/internalconf?version=6").await.1),
        second
    );
    registry.finish().await;
}

#[test]
fn keys_are_bounded_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(folder.path(), KEY).unwrap();
    assert_eq!(keys.of(Kind::External).number(), 1);
    for number in 2..=4 {
        assert_eq!(
            keys::add(folder.path(), Kind::External, KEY).unwrap(),
            number
        );
    }
    assert!(matches!(
        keys::add(folder.path(), Kind::External, KEY),
        Err(KeysError::TooMany { most: 4, .. })
    ));
    let now = (START, VALIDITY);
    assert!(matches!(
        keys::activate(folder.path(), (Kind::External, 9), KEY, now, true),
        Err(KeysError::NoSuchKey { number: 9, .. })
    ));
    // One that never signed can go at once.
    keys::remove(folder.path(), (Kind::External, 3), KEY, now, false).unwrap();
    let keys = Keys::open(folder.path(), KEY).unwrap();
    let numbers: Vec<_> = keys
        .all(Kind::External)
        .iter()
        .map(|key| key.number())
        .collect();
    assert_eq!(numbers, [1, 2, 4]);
    assert_eq!(keys.all(Kind::Internal).len(), 1);
    // A key that is said to sign and is not there is no reason to sign with another one.
    atomic_write(folder.path().join("external-active"), b"3").unwrap();
    assert!(matches!(
        Keys::open(folder.path(), KEY),
        Err(KeysError::NoSuchKey { number: 3, .. })
    ));
}

/// Lets each of two registries know the other, with keys of its own.
fn introduce(one: &World, other: &World, ports: [u16; 2]) {
    for (at, (world, peer)) in [(one, other), (other, one)].into_iter().enumerate() {
        for kind in ["internal", "external"] {
            let from = peer
                .folder
                .path()
                .join(format!("state/keys/{kind}-signing-certificate.pem"));
            std::fs::copy(from, world.folder.path().join(format!("peer-{kind}.pem"))).unwrap();
        }
        for name in ["ca.pem", "tsa.pem", "auth.pem"] {
            std::fs::copy(one.folder.path().join(name), other.folder.path().join(name)).ok();
        }
        let [own, peer] = [ports[at], ports[1 - at]];
        let text = world::base("p256").replace("127.0.0.1:0", &format!("127.0.0.1:{own}"));
        world.write(&format!(
            "{text}\n[[registry]]\naddress = \"127.0.0.1:{peer}\"\n\
             internal_certificates = [\"peer-internal.pem\"]\nexternal_certificates = [\"peer-external.pem\"]\n"
        ));
    }
}

fn free_ports() -> [u16; 2] {
    let listeners = [0, 1].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

#[tokio::test]
async fn of_two_registries_of_one_instance_either_may_die() {
    let (one, other) = (World::new("p256"), World::new("p256"));
    for world in [&one, &other] {
        drop(world.bind().await); // makes its keys
    }
    introduce(&one, &other, free_ports());
    let (first, second) = (one.start().await, other.start().await);
    assert_eq!(first.anchor.sources().len(), 2);
    let parts = |running: &Running| running.handle.status().sources;
    assert_eq!(parts(&first), parts(&second));
    let shared = |running: &Running| {
        let stamp = running.handle.status().stamp;
        let url = format!("/V6/{stamp}/shared-params.xml");
        async move { (url, ()) }
    };
    let (path, ()) = shared(&first).await;
    let (other_path, ()) = shared(&second).await;
    assert_eq!(
        first.get(&path).await.1,
        second.get(&other_path).await.1,
        "both publish the same, byte for byte"
    );

    let mut server = one.fetcher(first.anchor.clone());
    let before = server.refresh(START).await.unwrap();
    first.finish().await;
    one.clock.advance(Duration::from_secs(60));
    other.clock.advance(Duration::from_secs(60));
    second.handle.publish_now().await.unwrap();
    let now = other.clock.now();
    let after = server.refresh(now).await.unwrap();
    assert_eq!(after.content_id(), before.content_id());
    assert_eq!(after.expires_at(), Some(now + VALIDITY));
    let first = one.start().await;
    second.finish().await;
    let now = now + Duration::from_secs(60);
    one.clock.set(now);
    first.handle.publish_now().await.unwrap();
    let last = server.refresh(now).await.unwrap();
    assert_eq!(last.expires_at(), Some(now + VALIDITY));
    first.finish().await;
}
