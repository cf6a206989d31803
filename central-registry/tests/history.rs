//! What a registry keeps of what it published.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic and say what it skips"
)]

#[path = "common/world.rs"]
mod world;

use std::{os::unix::fs::MetadataExt, path::Path, time::Duration};

use jibek_certs::{parse::Certificate, time::Clock};
use jibek_conf::{ConfDir, History, diff::diff, history::change_name, verify::verify_directory};
use jibek_protocol::id::ClientId;
use world::{NEW_MEMBER, START, World};

const MINUTE: Duration = Duration::from_secs(60);

fn inode(path: impl AsRef<Path>) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

#[tokio::test]
async fn an_auditor_has_the_configuration_of_any_past_minute() {
    let world = World::new("p256");
    let registry = world.start().await;
    let cadastre = ClientId::new("KG", "GOV", "2000", Some("ownership")).unwrap();
    world.clock.advance(MINUTE * 5);
    registry.handle.publish_now().await.unwrap();
    world.append(NEW_MEMBER);
    world.clock.advance(MINUTE * 5);
    let second = world.clock.now();
    registry.handle.publish_now().await.unwrap();
    let stamp = registry.handle.status().stamp;
    // A restart publishes the same content again, at the same address: that is no change.
    let address = registry.url.strip_prefix("http://").unwrap().to_owned();
    registry.finish().await;
    let text = std::fs::read_to_string(world.config()).unwrap();
    world.write(&text.replace("127.0.0.1:0", &address));
    world.clock.advance(MINUTE * 5);
    let registry = world.start().await;

    let folder = world.folder.path().join("state/history");
    let history = History::open(&folder).unwrap();
    assert_eq!(history.changes(), [START, second]);
    let mut before = None;
    for minute in 0..=20_u32 {
        let moment = START + MINUTE * minute;
        let (since, directory) = history.at(moment).unwrap();
        assert_eq!(since, if minute < 10 { START } else { second });
        let snapshot = directory.read().unwrap();
        assert_eq!(
            snapshot.knows_client(&cadastre),
            minute >= 10,
            "minute {minute}"
        );
        assert_eq!(
            snapshot.expires_at(),
            None,
            "what was in force once can be read ever after"
        );
        if minute == 0 {
            before = Some(snapshot);
        }
    }
    assert!(history.at(START - Duration::from_nanos(1)).is_none());
    let (_, directory) = history.at(second).unwrap();
    let published = world
        .folder
        .path()
        .join(format!("state/public/V6/{stamp}/shared-params.xml"));
    let kept = directory.path().join("KG/shared-params.xml");
    assert_eq!(
        std::fs::read(&kept).unwrap(),
        std::fs::read(published).unwrap()
    );
    let metadata = std::fs::read_to_string(directory.path().join("KG/shared-params.xml.metadata"));
    assert_eq!(
        metadata.unwrap(),
        "{\"configurationVersion\":\"6\"}",
        "as X-Road writes it"
    );
    let lines: Vec<String> = diff(&before.unwrap(), &directory.read().unwrap())
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        lines,
        [
            "KG: member MEMBER:KG/GOV/2000 added",
            "KG: subsystem SUBSYSTEM:KG/GOV/2000/ownership added"
        ]
    );

    // What was signed proves it, and equal bytes lie there once.
    let signed = |change| folder.join("signed").join(change_name(change));
    let key = std::fs::read(
        world
            .folder
            .path()
            .join("state/keys/internal-signing-certificate.pem"),
    );
    let keys = [Certificate::from_pem(&key.unwrap()).unwrap()];
    for change in [START, second] {
        for version in 3..=6u8 {
            let directory =
                std::fs::read(signed(change).join(format!("V{version}/internalconf"))).unwrap();
            let directory = verify_directory(&directory, &keys, change).unwrap();
            assert_eq!(directory.version(), version);
            for part in directory.parts() {
                let bytes =
                    std::fs::read(signed(change).join(format!("V{version}/{}", part.file_name)));
                let found = jibek_certs::digest::digest(part.digest.algorithm(), &bytes.unwrap());
                assert_eq!(found, part.digest);
            }
        }
    }
    assert_eq!(
        inode(&kept),
        inode(signed(second).join("V6/shared-params.xml"))
    );
    let private =
        |change, version: u8| inode(signed(change).join(format!("V{version}/private-params.xml")));
    for version in 3..=6 {
        assert_eq!(
            private(START, 3),
            private(second, version),
            "private parameters never changed"
        );
    }
    registry.finish().await;
}

#[tokio::test]
async fn the_history_is_bounded_but_covers_the_whole_period() {
    let world = World::new("p256");
    let text = std::fs::read_to_string(world.config()).unwrap();
    let day = Duration::from_secs(86_400);
    let mut changes = Vec::new();
    let named = |number: u32| {
        text.replace("\"Tunduk\"", &format!("\"Tunduk {number}\""))
            .replace("key = ", "history_days = 3\nkey = ")
    };
    world.write(&named(0));
    let registry = world.start().await;
    for number in 1..=6_u32 {
        changes.push(world.clock.now());
        world.clock.advance(day);
        world.write(&named(number));
        registry.handle.publish_now().await.unwrap();
    }
    changes.push(world.clock.now());
    let history = History::open(world.folder.path().join("state/history")).unwrap();
    // Day 6 now; day 3 is the horizon, and what was in force then came on day 3.
    assert_eq!(history.changes(), &changes[3..]);
    let signed = std::fs::read_dir(world.folder.path().join("state/history/signed")).unwrap();
    assert_eq!(signed.count(), 4);
    world.clock.advance(day / 2);
    registry.handle.publish_now().await.unwrap();
    let history = History::open(history.path()).unwrap();
    assert_eq!(
        history.changes(),
        &changes[3..],
        "the one of day 3 was in force at the horizon"
    );
    for change in history.changes() {
        ConfDir::new(history.path().join(change_name(*change)))
            .read()
            .unwrap();
    }
    registry.finish().await;
}
