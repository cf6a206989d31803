//! A registry on loopback, read by the fetcher that servers use, over real HTTP, on a clock of our own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic and say what it skips"
)]

#[path = "common/world.rs"]
mod world;

use std::time::Duration;

use jibek_certs::{parse::Certificate, time::Clock};
use jibek_conf::{
    Anchor, ConfDir, FetchError, atomic_write, fetch::SourceError, history::change_name,
    verify::DirectoryError,
};
use jibek_protocol::id::ClientId;
use jibek_registry::{OpenError, Registry};
use tokio::sync::oneshot;
use world::{NEW_MEMBER, START, World, base, validate};

#[tokio::test]
async fn servers_fetch_what_the_registry_publishes() {
    for key in ["rsa2048", "p256"] {
        let world = World::new(key);
        let registry = world.start().await;
        let mut fetcher = world.fetcher(registry.anchor.clone());
        let snapshot = fetcher.refresh(world.clock.now()).await.unwrap();
        assert_eq!(
            (snapshot.own_instance(), snapshot.version("KG")),
            ("KG", Some(6))
        );
        assert_eq!(
            snapshot.expires_at(),
            Some(START + Duration::from_secs(600))
        );
        assert_eq!(snapshot.tsa_urls().len(), 1);
        let auth = std::fs::read(world.folder.path().join("auth.pem")).unwrap();
        let auth = Certificate::from_pem(&auth).unwrap();
        let client = ClientId::new("KG", "GOV", "1000", Some("management")).unwrap();
        let server = snapshot.auth_cert_serves(&auth, &client).unwrap();
        assert_eq!(server.address(), Some("127.0.0.2"));
        assert_eq!(server.maintenance(), Some("back at noon"));
        assert_eq!(snapshot.private().unwrap().management.provider, client);
        let stored = ConfDir::new(world.folder.path().join("globalconf"))
            .read()
            .unwrap();
        assert_eq!(stored.content_id(), snapshot.content_id());
        registry.finish().await;
    }
}

#[tokio::test]
async fn a_member_added_to_the_file_comes_with_the_next_publication() {
    let world = World::new("p256");
    let registry = world.start().await;
    let mut fetcher = world.fetcher(registry.anchor.clone());
    let before = fetcher.refresh(world.clock.now()).await.unwrap();
    let cadastre = ClientId::new("KG", "GOV", "2000", Some("ownership")).unwrap();
    assert!(!before.knows_client(&cadastre));
    let first_stamp = registry.handle.status().stamp;
    validate(
        "a_member_added_to_the_file_comes_with_the_next_publication",
        &world.folder.path().join("state/public"),
        &first_stamp,
    );

    world.append(NEW_MEMBER);
    assert!(
        !fetcher
            .refresh(world.clock.now())
            .await
            .unwrap()
            .knows_client(&cadastre),
        "not before its time"
    );
    world.clock.advance(Duration::from_secs(60));
    registry.published_at(START + Duration::from_secs(60)).await;
    let after = fetcher.refresh(world.clock.now()).await.unwrap();
    assert!(after.knows_client(&cadastre));
    assert_eq!(after.expires_at(), Some(START + Duration::from_secs(660)));
    let second_stamp = registry.handle.status().stamp;
    assert_ne!(first_stamp, second_stamp);
    validate(
        "a_member_added_to_the_file_comes_with_the_next_publication",
        &world.folder.path().join("state/public"),
        &second_stamp,
    );

    // A directory fetched before still finds its parts, for ten minutes.
    let old_part = format!("/V6/{first_stamp}/shared-params.xml");
    assert_eq!(registry.get(&old_part).await.0, 200);
    for minute in 2..=12 {
        world.clock.advance(Duration::from_secs(60));
        registry
            .published_at(START + Duration::from_secs(60 * minute))
            .await;
        let expected = if minute <= 11 { 200 } else { 404 };
        assert_eq!(registry.get(&old_part).await.0, expected, "minute {minute}");
    }
    assert_eq!(
        registry.handle.status().stamp,
        second_stamp,
        "an unchanged content keeps its generation"
    );
    assert_eq!(
        registry
            .get(&format!("/V6/{second_stamp}/shared-params.xml"))
            .await
            .0,
        200
    );
    let history = world.folder.path().join("state/history");
    let kept = jibek_conf::History::open(&history).unwrap();
    assert_eq!(
        kept.changes().len(),
        2,
        "history stays, by change of content"
    );
    for change in kept.changes() {
        let signed = history.join("signed").join(change_name(*change));
        assert!(signed.join("V3/internalconf").is_file());
    }
    registry.finish().await;
}

#[tokio::test]
async fn a_wrong_file_is_refused_and_the_old_state_stays_in_force() {
    let world = World::new("p256");
    let registry = world.start().await;
    let mut fetcher = world.fetcher(registry.anchor.clone());
    let before = fetcher.refresh(world.clock.now()).await.unwrap();
    world.append("[[member]]\nclass = \"COM\"\ncode = \"1\"\nname = \"x\"\n");
    let reason = registry.handle.publish_now().await.unwrap_err();
    assert!(
        reason.contains("line 31") && reason.contains("no member class"),
        "{reason}"
    );
    world.clock.advance(Duration::from_secs(60));
    registry.published_at(START + Duration::from_secs(60)).await;
    let after = fetcher.refresh(world.clock.now()).await.unwrap();
    assert_eq!(after.content_id(), before.content_id());
    assert_eq!(
        after.expires_at(),
        Some(START + Duration::from_secs(660)),
        "it stays alive"
    );
    let (_, status) = registry.get("/status").await;
    assert!(
        String::from_utf8_lossy(&status).contains("no member class"),
        "shown"
    );

    world.write(&(base("p256") + NEW_MEMBER));
    registry.handle.publish_now().await.unwrap();
    assert!(registry.handle.status().config_error.is_none());
    let healed = fetcher.refresh(world.clock.now()).await.unwrap();
    assert_ne!(healed.content_id(), before.content_id());

    world.write(&base("p256").replace("\"KG\"", "\"UZ\""));
    let reason = registry.handle.publish_now().await.unwrap_err();
    assert!(reason.contains("instance cannot change"), "{reason}");
    registry.finish().await;
}

#[tokio::test]
async fn what_is_served_follows_the_rules_of_central_servers() {
    let world = World::new("p256");
    let registry = world.start().await;
    for kind in ["internalconf", "externalconf"] {
        for (query, expected) in [
            ("?version=3", 200),
            ("?version=4", 200),
            ("?version=5", 200),
            ("?version=6&other=1", 200),
            ("?a=b&version=6", 200),
            ("?version=2", 404),
            ("?version=7", 404),
            ("?version=", 404),
            ("?version=six", 404),
            ("", 404),
            ("/x?version=6", 404),
        ] {
            assert_eq!(
                registry.get(&format!("/{kind}{query}")).await.0,
                expected,
                "{kind}{query}"
            );
        }
        let (_, directory) = registry.get(&format!("/{kind}?version=3")).await;
        let text = String::from_utf8(directory.to_vec()).unwrap();
        assert!(
            text.starts_with("Content-Type: multipart/related; charset=UTF-8; boundary="),
            "{text}"
        );
        assert!(!text.replace("\r\n", "").contains('\n'), "CRLF throughout");
        assert_eq!(text.contains("PRIVATE-PARAMETERS"), kind == "internalconf");
    }
    let stamp = registry.handle.status().stamp;
    for path in [
        format!("/V6/{stamp}/internalconf"),
        format!("/V7/{stamp}/shared-params.xml"),
        format!("/V6/{stamp}/../../../keys/internal-signing-key.pem"),
        "/V6/..%2f..%2fkeys/internal-signing-key.pem".to_owned(),
        "/V6/00000000000000000000000/shared-params.xml".to_owned(),
        "/".to_owned(),
        "/state/keys/internal-signing-key.pem".to_owned(),
    ] {
        assert_eq!(registry.get(&path).await.0, 404, "{path}");
    }
    assert_eq!(registry.get("/healthz").await.0, 200);
    let (_, anchor) = registry.get("/anchor/internal").await;
    assert_eq!(anchor, registry.anchor.bytes());
    let (_, hash) = registry.get("/anchor/internal/hash").await;
    assert_eq!(hash, registry.anchor.hash());
    registry.finish().await;
}

#[tokio::test]
async fn an_expired_publication_is_refused_and_recovers() {
    let world = World::new("p256");
    let bound = world.bind().await;
    let anchor = bound.internal_anchor();
    let (stop, stopped) = oneshot::channel::<()>();
    // The registry's own clock stands still; the client's does not.
    let task = tokio::spawn(bound.run(async move {
        let _ = stopped.await;
    }));
    let mut fetcher = world.fetcher(anchor);
    let snapshot = fetcher.refresh(START).await.unwrap();
    let late = START + Duration::from_secs(601);
    let FetchError::AllFailed { attempts } = fetcher.refresh(late).await.unwrap_err() else {
        panic!("other error")
    };
    assert!(
        matches!(
            &attempts[0].1,
            SourceError::Directory {
                source: DirectoryError::Expired { .. }
            }
        ),
        "{attempts:?}"
    );
    assert!(snapshot.check_valid(late).is_err());
    world.clock.set(late);
    for _ in 0..3000 {
        if let Ok(snapshot) = fetcher.refresh(late).await {
            snapshot.check_valid(late).unwrap();
            stop.send(()).unwrap();
            task.await.unwrap();
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the registry published nothing new");
}

#[tokio::test]
async fn keys_and_anchors_outlive_a_restart() {
    let world = World::new("p256");
    let first = world.start().await;
    let (port, anchor) = (
        first.url.rsplit(':').next().unwrap().to_owned(),
        first.anchor.clone(),
    );
    let old_stamp = first.handle.status().stamp;
    let mut fetcher = world.fetcher(anchor.clone());
    fetcher.refresh(START).await.unwrap();
    first.finish().await;
    assert!(fetcher.refresh(START).await.is_err(), "stopped");

    let fixed = base("p256").replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    world.write(&fixed);
    world.clock.advance(Duration::from_secs(5));
    let second = world.start().await;
    assert_eq!(second.anchor.hash(), anchor.hash());
    let snapshot = fetcher.refresh(world.clock.now()).await.unwrap();
    snapshot.check_valid(world.clock.now()).unwrap();
    assert_eq!(
        second
            .get(&format!("/V5/{old_stamp}/shared-params.xml"))
            .await
            .0,
        200,
        "of the earlier process"
    );
    second.finish().await;
}

#[tokio::test]
async fn of_two_registries_addresses_one_may_be_dead() {
    let world = World::new("p256");
    let registry = world.start().await;
    let mut content = jibek_conf::part::parse_anchor(registry.anchor.bytes()).unwrap();
    let mut dead = content.sources[0].clone();
    dead.url = "http://127.0.0.1:1/internalconf".to_owned();
    content.sources.insert(0, dead);
    let mut fetcher = world.fetcher(Anchor::render(&content).unwrap());
    fetcher.refresh(START).await.unwrap();
    registry.finish().await;
}

#[tokio::test]
async fn all_versions_are_published_or_none() {
    let world = World::new("p256");
    let registry = world.start().await;
    let before = registry.handle.status();
    let mut served = Vec::new();
    for version in 3..=6 {
        served.push(
            registry
                .get(&format!("/internalconf?version={version}"))
                .await,
        );
    }
    // One version cannot be written.
    let public = world.folder.path().join("state/public");
    std::fs::remove_dir_all(public.join("V5")).unwrap();
    atomic_write(public.join("V5"), b"in the way").unwrap();
    world.append(NEW_MEMBER);
    let reason = registry.handle.publish_now().await.unwrap_err();
    assert!(reason.contains("cannot be written"), "{reason}");
    let after = registry.handle.status();
    assert_eq!(
        (&after.stamp, after.expires_at),
        (&before.stamp, before.expires_at)
    );
    assert!(after.publish_error.is_some() && after.config_error.is_none());
    for (version, before) in (3..=6).zip(served) {
        assert_eq!(
            registry
                .get(&format!("/internalconf?version={version}"))
                .await,
            before
        );
    }
    std::fs::remove_file(public.join("V5")).unwrap();
    registry.handle.publish_now().await.unwrap();
    let healed = registry.handle.status();
    assert_ne!(healed.stamp, before.stamp);
    assert!(healed.publish_error.is_none());
    let mut fetcher = world.fetcher(registry.anchor.clone());
    let cadastre = ClientId::new("KG", "GOV", "2000", Some("ownership")).unwrap();
    assert!(
        fetcher
            .refresh(START)
            .await
            .unwrap()
            .knows_client(&cadastre)
    );
    registry.finish().await;
}

#[tokio::test]
async fn nothing_is_published_without_provider_or_keys() {
    let world = World::new("p256");
    let clock = || std::sync::Arc::new(world.clock.clone());
    let text = base("p256");
    world.write(&text.replace("[management]\nprovider = \"GOV/1000/management\"\n", ""));
    let error = Registry::open(world.config(), clock()).unwrap_err();
    assert!(
        matches!(&error, OpenError::Config { source } if source.to_string().contains("management")),
        "{error:?}"
    );
    world.write(&text);
    drop(world.bind().await);
    let key = world
        .folder
        .path()
        .join("state/keys/internal-signing-key.pem");
    let kept = std::fs::read(&key).unwrap();
    atomic_write(&key, b"damaged").unwrap();
    let error = Registry::open(world.config(), clock()).unwrap_err();
    assert!(matches!(error, OpenError::Keys { .. }), "{error:?}");
    assert_eq!(
        std::fs::read(&key).unwrap(),
        b"damaged",
        "a key is never replaced"
    );
    let other = world
        .folder
        .path()
        .join("state/keys/external-signing-key.pem");
    std::fs::copy(other, &key).unwrap();
    let error = Registry::open(world.config(), clock()).unwrap_err();
    assert!(matches!(error, OpenError::Keys { .. }), "{error:?}");
    atomic_write(&key, &kept).unwrap();
    drop(world.bind().await);
}

#[tokio::test]
async fn keys_can_only_be_read_by_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new("p256");
    drop(world.bind().await);
    for kind in ["internal", "external"] {
        let path = world
            .folder
            .path()
            .join(format!("state/keys/{kind}-signing-key.pem"));
        assert_eq!(
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[tokio::test]
async fn another_registry_at_the_same_address_is_not_believed() {
    let world = World::new("p256");
    let first = world.start().await;
    let port = first.url.rsplit(':').next().unwrap().to_owned();
    let mut fetcher = world.fetcher(first.anchor.clone());
    let before = fetcher.refresh(START).await.unwrap();
    first.finish().await;
    let impostor = World::new("p256");
    impostor.write(&base("p256").replace("127.0.0.1:0", &format!("127.0.0.1:{port}")));
    let second = impostor.start().await;
    let FetchError::AllFailed { attempts } = fetcher.refresh(START).await.unwrap_err() else {
        panic!("other error")
    };
    assert!(!attempts.is_empty());
    for (_, error) in attempts {
        let refused = matches!(
            error,
            SourceError::Directory {
                source: DirectoryError::UnknownCertificate { .. }
            }
        );
        assert!(refused, "{error:?}");
    }
    assert_eq!(
        fetcher.snapshot().unwrap().content_id(),
        before.content_id(),
        "what was known stays"
    );
    second.finish().await;
}

#[tokio::test]
async fn keys_learned_from_shared_parameters_outlive_the_anchors() {
    let world = World::new("p256");
    let registry = world.start().await;
    let mut fetcher = world.fetcher(registry.anchor.clone());
    fetcher.refresh(START).await.unwrap();
    // An anchor of old: its address is dead. What the directory taught before the restart still leads to the registry.
    let mut content = jibek_conf::part::parse_anchor(registry.anchor.bytes()).unwrap();
    content.sources[0].url = "http://127.0.0.1:1/internalconf".to_owned();
    let mut restarted = world.fetcher(Anchor::render(&content).unwrap());
    restarted.refresh(START).await.unwrap();
    registry.finish().await;
}

#[tokio::test]
async fn odd_requests_get_an_answer_and_leave_the_registry_up() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new("p256");
    let registry = world.start().await;
    let address = registry.url.strip_prefix("http://").unwrap().to_owned();
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    for (request, status) in [
        (
            "POST /internalconf?version=6 HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
            "405",
        ),
        (
            "HEAD /internalconf?version=6 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            "200",
        ),
        ("nonsense\r\n\r\n", "400"),
        (
            "GET /internalconf?version=6 HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
            "400",
        ),
        (long.as_str(), "414"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        let start = String::from_utf8_lossy(&start).into_owned();
        assert!(
            start.ends_with(status),
            "{start}: {}",
            request.chars().take(60).collect::<String>()
        );
    }
    // One that says nothing does not keep the registry from stopping.
    let silent = tokio::net::TcpStream::connect(&address).await.unwrap();
    assert_eq!(registry.get("/healthz").await.0, 200);
    tokio::time::timeout(Duration::from_secs(20), registry.finish())
        .await
        .unwrap();
    drop(silent);
}
