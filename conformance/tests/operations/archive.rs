//! Archives that running servers wrote: every record of their logs, each container valid, one chain.

use std::{io::Cursor, path::Path};

use bytes::Bytes;
use http::Response;
use jibek_conf::ConfDir;
use jibek_conformance::world::World;
use jibek_evidence::{
    archive::{Archive, ArchiveLimits, Start, VerifiedArchive, join},
    container::{Container, ContainerLimits},
    verify::{Outcome, verify_container},
};
use jibek_msglog::Query;

use crate::common::calm;

/// The archives go to `$JIBEK_ARCHIVES`, too, if it is set, with the configuration that other verifiers need.
#[tokio::test(flavor = "multi_thread")]
async fn archives_of_running_servers_prove_every_record() {
    let large = Bytes::from(vec![b'7'; 700_000]);
    let world = World::builder()
        .timing(calm())
        .setting("archive", "max_file_bytes = 60000")
        .build({
            let large = large.clone();
            move |call| match call.uri.path().ends_with("large") {
                true => Response::new(large.clone()),
                false => Response::new(Bytes::from_static(b"{\"ok\":true}")),
            }
        })
        .await;
    for round in 0..3 {
        for number in 0..4 {
            let get = world.rest("GET", &format!("/person?id={round}{number}"));
            assert_eq!(world.send(get, "").await.status(), 200);
        }
        let post = world.rest("POST", "/deeds/large");
        assert_eq!(world.send(post, large.clone()).await.status(), 200);
        world.stamp().await;
        for server in world.running.servers() {
            server.inside.archive().await.unwrap();
        }
    }
    for (index, server) in world.running.servers().iter().enumerate() {
        let directory = world.server_dir(index).join("archive");
        let snapshot = server.inside.configuration();
        let mut archives: Vec<(String, VerifiedArchive)> = Vec::new();
        let mut proved = 0;
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let mut archive =
                Archive::open(Cursor::new(bytes.as_slice()), &ArchiveLimits::default()).unwrap();
            while let Some(container) = archive.next_container() {
                let read = Container::read(container.bytes().unwrap(), &ContainerLimits::default());
                let verdict = verify_container(&read.unwrap(), &*snapshot);
                assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);
                assert!(
                    matches!(verdict.outcome, Outcome::Valid(_)),
                    "{:?}",
                    verdict.outcome
                );
                proved += 1;
            }
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            archives.push((name, archive.finish().unwrap()));
            if let Some(export) = std::env::var_os("JIBEK_ARCHIVES") {
                let export = Path::new(&export).join(format!("server{index}"));
                std::fs::create_dir_all(&export).unwrap();
                std::fs::copy(&path, export.join(path.file_name().unwrap())).unwrap();
                ConfDir::new(export.join("verificationconf"))
                    .store_verification(&snapshot)
                    .unwrap();
            }
        }
        // A large container each time, and more than one archive in each round.
        assert!(archives.len() >= 6, "{}", archives.len());
        let history = join(&archives);
        assert!(history.faults().is_empty(), "{:?}", history.faults());
        let [chain] = history.chains() else {
            panic!("{:?}", history.chains());
        };
        assert_eq!(chain.start(), &Start::First);
        let records = server.inside.log().find(&Query::default()).unwrap();
        assert_eq!((records.len(), proved), (30, 30));
    }
    world.finish().await;
}
