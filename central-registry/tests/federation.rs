//! Two instances that trust each other, over real HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic and say what it skips"
)]

#[path = "common/world.rs"]
mod world;

use std::time::Duration;

use jibek_certs::{parse::Certificate, signer::KeyKind, time::Clock, trust::Trust};
use jibek_conf::{
    Anchor, ConfDir, FetchOptions, Fetcher, Snapshot, atomic_write,
    fetch::{Federations, HttpsUse},
};
use jibek_protocol::id::ClientId;
use jibek_registry::{
    Config,
    keys::{self, Kind},
};
use world::{Running, START, World, base};

const MINUTE: Duration = Duration::from_secs(60);

/// The instance EE with its own members, CA and server.
fn partner() -> World {
    let world = World::new("p256");
    world.write(
        &base("p256")
            .replace("\"KG\"", "\"EE\"")
            .replace("127.0.0.2", "127.0.0.9"),
    );
    world
}

async fn external_anchor(registry: &Running) -> Anchor {
    Anchor::parse(registry.get("/anchor/external").await.1).unwrap()
}

fn trust(world: &World, anchor: &Anchor) {
    atomic_write(world.folder.path().join("partner.xml"), anchor.bytes()).unwrap();
    world.append(&format!(
        "\n[[partner]]\nanchor = \"partner.xml\"\nhash = \"{}\"\n",
        anchor.hash()
    ));
}

fn server(world: &World, anchor: &Anchor, federations: Federations) -> Fetcher {
    let mut options = FetchOptions::default();
    options.https = HttpsUse::Never;
    options.federations = federations;
    let folder = world.folder.path().join("globalconf");
    Fetcher::new(anchor.clone(), ConfDir::new(folder), options).unwrap()
}

fn instances(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.instances().collect()
}

#[tokio::test]
async fn a_partners_configuration_comes_with_the_own_one_where_both_wish_it() {
    let (own, other) = (World::new("p256"), partner());
    let theirs = other.start().await;
    trust(&own, &external_anchor(&theirs).await);
    let ours = own.start().await;
    assert_eq!(ours.handle.status().partners[0].instance, "EE");

    let only = |name: &str| Federations::Only(vec![name.to_owned()]);
    for (federations, expected) in [
        (Federations::None, vec!["KG"]),
        (only("FI"), vec!["KG"]),
        (only("ee"), vec!["KG", "EE"]),
        (Federations::All, vec!["KG", "EE"]),
    ] {
        let mut fetcher = server(&own, &ours.anchor, federations.clone());
        let snapshot = fetcher.refresh(START).await.unwrap();
        assert_eq!(instances(&snapshot), expected, "{federations:?}");
        assert!(snapshot.warnings().is_empty(), "{:?}", snapshot.warnings());
        snapshot.check_valid(START).unwrap();
        let tree = std::fs::read_dir(own.folder.path().join("globalconf"))
            .unwrap()
            .count();
        assert_eq!(
            tree,
            expected.len() + 1,
            "what is not wished is not kept either"
        );
    }
    let mut fetcher = server(&own, &ours.anchor, Federations::All);
    let snapshot = fetcher.refresh(START).await.unwrap();
    let member = ClientId::new("EE", "GOV", "1000", None).unwrap();
    assert_eq!(snapshot.servers_of(&member)[0].address, "127.0.0.9");
    let authorities = snapshot.authorities("EE").unwrap().all();
    assert_ne!(
        authorities[0].certificate,
        snapshot.authorities("KG").unwrap().all()[0].certificate
    );
    assert_eq!(snapshot.tsa_urls().len(), 1, "own ones only");
    assert_eq!(snapshot.timestamp_certificates().len(), 2);
    assert_eq!(snapshot.private().unwrap().anchors.len(), 1);
    let kept = own.folder.path().join("globalconf/EE");
    let mut names: Vec<_> = std::fs::read_dir(kept)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["shared-params.xml", "shared-params.xml.metadata"]);

    // Their external directory says nothing of partners, so nothing is handed on.
    let external = ours.get("/externalconf?version=6").await.1;
    assert!(!String::from_utf8_lossy(&external).contains("PRIVATE"));
    ours.finish().await;
    theirs.finish().await;
}

#[tokio::test]
async fn a_silent_partner_costs_its_own_instance_only() {
    let (own, other) = (World::new("p256"), partner());
    let theirs = other.start().await;
    trust(&own, &external_anchor(&theirs).await);
    let ours = own.start().await;
    let keys_dir = other.folder.path().join("state/keys");
    keys::add(&keys_dir, Kind::External, KeyKind::EcP256).unwrap();
    theirs.handle.publish_now().await.unwrap();
    let mut fetcher = server(&own, &ours.anchor, Federations::All);
    fetcher.refresh(START).await.unwrap();
    let theirs_at = theirs.url.clone();
    theirs.finish().await;

    let mut last = None;
    for minute in 1..=11_u32 {
        own.clock.advance(MINUTE);
        let now = own.clock.now();
        ours.handle.publish_now().await.unwrap();
        let snapshot = fetcher.refresh(now).await.unwrap();
        snapshot.check_valid(now).unwrap();
        let known = minute <= 10;
        assert_eq!(snapshot.knows_instance("EE"), known, "minute {minute}");
        let all = snapshot.warnings().join("\n");
        assert!(
            all.contains("the sources of the partner EE give nothing"),
            "minute {minute}: {all}"
        );
        assert_eq!(
            all.contains("EE expired at"),
            !known,
            "minute {minute}: {all}"
        );
        if minute == 10 {
            // A server that starts now finds it on disk, and loses it a moment later.
            let stored = server(&own, &ours.anchor, Federations::All)
                .stored()
                .unwrap();
            assert!(stored.without_expired(now).is_none());
            let late = stored
                .without_expired(now + Duration::from_millis(1))
                .unwrap();
            assert_eq!(instances(&late), ["KG"]);
            late.check_valid(now).unwrap();
        }
        last = Some(now);
    }
    // It comes back with a key that it had announced before it fell silent: what it said last is believed of its keys.
    let key = (Kind::External, 2);
    let keys_dir = other.folder.path().join("state/keys");
    let when = (last.unwrap(), MINUTE);
    keys::activate(&keys_dir, key, KeyKind::EcP256, when, true).unwrap();
    keys::remove(&keys_dir, (Kind::External, 1), KeyKind::EcP256, when, true).unwrap();
    let address = theirs_at.strip_prefix("http://").unwrap();
    let text = std::fs::read_to_string(other.config()).unwrap();
    other.write(&text.replace("127.0.0.1:0", address));
    other.clock.set(last.unwrap());
    let theirs = other.start().await;
    let later = last.unwrap() + MINUTE * 11;
    own.clock.set(later);
    other.clock.set(later);
    ours.handle.publish_now().await.unwrap();
    theirs.handle.publish_now().await.unwrap();
    let snapshot = fetcher.refresh(later).await.unwrap();
    assert_eq!(
        instances(&snapshot),
        ["KG", "EE"],
        "{:?}",
        snapshot.warnings()
    );
    theirs.finish().await;
    let last = later + MINUTE * 11;
    own.clock.set(last);
    ours.handle.publish_now().await.unwrap();

    // A restart in which the partner is silent, too: what is on disk stays on disk, out of force.
    let mut restarted = server(&own, &ours.anchor, Federations::All);
    let snapshot = restarted.refresh(last).await.unwrap();
    assert_eq!(instances(&snapshot), ["KG"]);
    assert!(
        own.folder
            .path()
            .join("globalconf/EE/shared-params.xml")
            .exists()
    );
    ours.finish().await;
}

#[tokio::test]
async fn anchors_are_taken_with_their_hash_only_and_never_of_the_own_instance() {
    let (own, other) = (World::new("p256"), partner());
    let theirs = other.start().await;
    let anchor = external_anchor(&theirs).await;
    theirs.finish().await;
    atomic_write(own.folder.path().join("partner.xml"), anchor.bytes()).unwrap();
    let text = std::fs::read_to_string(own.config()).unwrap();
    let with = |file: &str, hash: &str| {
        own.write(&format!(
            "{text}\n[[partner]]\nanchor = \"{file}\"\nhash = \"{hash}\"\n"
        ));
        Config::read(&own.config())
    };
    assert_eq!(
        with("partner.xml", &anchor.hash())
            .unwrap()
            .private()
            .anchors
            .len(),
        1
    );
    let wrong = with("partner.xml", &anchor.hash().replace("A", "B")).unwrap_err();
    assert!(
        wrong.reason.contains(&anchor.hash()) && wrong.line.is_some(),
        "{wrong}"
    );
    let own_anchor = {
        own.write(&text);
        let registry = own.start().await;
        let anchor = registry.anchor.clone();
        registry.finish().await;
        anchor
    };
    atomic_write(own.folder.path().join("own.xml"), own_anchor.bytes()).unwrap();
    let refused = with("own.xml", &own_anchor.hash()).unwrap_err();
    assert!(refused.reason.contains("own instance"), "{refused}");
    let hash = anchor.hash();
    own.write(&format!(
        "{text}\n[[partner]]\nanchor = \"partner.xml\"\nhash = \"{hash}\"\n[[partner]]\nanchor = \"partner.xml\"\nhash = \"{hash}\"\n"
    ));
    let refused = Config::read(&own.config()).unwrap_err();
    assert!(refused.reason.contains("two anchors of EE"), "{refused}");
}

#[tokio::test]
async fn what_a_partner_claims_never_hides_what_the_own_instance_says() {
    let (own, other) = (World::new("p256"), partner());
    // An instance whose name sorts first, and which says that our server's certificate is its server's.
    other.write(
        &base("p256")
            .replace("\"KG\"", "\"AA\"")
            .replace("127.0.0.2", "127.0.0.9"),
    );
    std::fs::copy(
        own.folder.path().join("auth.pem"),
        other.folder.path().join("auth.pem"),
    )
    .unwrap();
    let theirs = other.start().await;
    trust(&own, &external_anchor(&theirs).await);
    let ours = own.start().await;
    let mut fetcher = server(&own, &ours.anchor, Federations::All);
    let fetched = fetcher.refresh(START).await.unwrap();
    let read = ConfDir::new(own.folder.path().join("globalconf"))
        .read()
        .unwrap();
    assert_eq!(read.content_id(), fetched.content_id());
    let auth = std::fs::read(own.folder.path().join("auth.pem")).unwrap();
    let auth = Certificate::from_pem(&auth).unwrap();
    for snapshot in [&*fetched, &read] {
        assert_eq!(instances(snapshot), ["KG", "AA"]);
        let found = snapshot.server_by_auth_certificate(&auth).unwrap();
        assert_eq!(found.id().owner().instance(), "KG");
        let client = ClientId::new("KG", "GOV", "1000", Some("management")).unwrap();
        assert_eq!(
            snapshot.auth_cert_serves(&auth, &client).unwrap().address(),
            Some("127.0.0.2")
        );
    }
    ours.finish().await;
    theirs.finish().await;
}
