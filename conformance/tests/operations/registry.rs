//! The registry's file, edited: the next publication has it, in every version, and so have the servers.

use std::{path::Path, process::Command, time::Duration};

use jibek_conf::files::atomic_write;
use jibek_conformance::{
    country::Timing,
    world::{INSTANCE, World, fixtures},
};
use jibek_protocol::id::{ClientId, MemberId};

use crate::common::{succeeds, tick, world};

#[tokio::test(flavor = "multi_thread")]
async fn a_member_added_to_the_file_is_published_validly_and_known_to_the_servers() {
    let test = "a_member_added_to_the_file_is_published_validly_and_known_to_the_servers";
    let world = world(Timing::default()).await;
    let client = ClientId::from_header("TEST/COM/4004/newcomer").unwrap();
    let knows = |server: usize| {
        let conf = world.running.server(server).inside.configuration();
        conf.knows_client(&client)
    };
    assert!(!knows(0) && !knows(1));
    assert_eq!(published(&world, test).await, 8);

    let file = world.running.prepared().registry_config();
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str(
        "\n[[member_class]]\ncode = \"COM\"\ndescription = \"Companies\"\n\n[[member]]\nclass = \"COM\"\ncode = \"4004\"\n\
         name = \"Жибек & Söhne <Ltd>\"\nsubsystems = [{ code = \"newcomer\" }]\n",
    );
    atomic_write(&file, text.as_bytes()).unwrap();
    // A minute for the registry, a minute for the servers.
    tick(&world, Duration::from_secs(30), || async {
        if knows(0) && knows(1) {
            Ok(())
        } else {
            Err("not known".to_owned())
        }
    })
    .await;
    let conf = world.running.server(1).inside.configuration();
    let member = MemberId::new(INSTANCE, "COM", "4004").unwrap();
    assert_eq!(conf.member_name(&member), Some("Жибек & Söhne <Ltd>"));
    assert_eq!(published(&world, test).await, 8);
    succeeds(&world).await;

    // A file that is wrong changes nothing.
    atomic_write(
        &file,
        format!("{text}\n[[member]]\nclass = \"NOWHERE\"\n").as_bytes(),
    )
    .unwrap();
    world.clock.advance(Duration::from_secs(61));
    let before = *conf.content_id();
    tick(&world, Duration::from_secs(10), || async {
        let expires = world
            .running
            .server(0)
            .inside
            .configuration()
            .expires_at()
            .unwrap();
        if expires > world.now() {
            Ok(())
        } else {
            Err("expired".to_owned())
        }
    })
    .await;
    for server in [0, 1] {
        world
            .running
            .server(server)
            .inside
            .refresh_configuration()
            .await
            .unwrap();
        assert_eq!(
            *world
                .running
                .server(server)
                .inside
                .configuration()
                .content_id(),
            before
        );
    }
    succeeds(&world).await;
    world.finish().await;
}

/// Downloads what is published in every version and has xmllint judge it; how many parts there were.
async fn published(world: &World, test: &str) -> usize {
    let registry = world.running.prepared().plan().net.registry();
    let dir = tempfile::tempdir().unwrap();
    let schemas = fixtures(test).map(|root| root.join("xsd/globalconf"));
    let mut parts = 0;
    for version in 3..=6 {
        let listing = world
            .http
            .get(&format!("http://{registry}/internalconf?version={version}"))
            .await
            .unwrap();
        let listing = String::from_utf8(listing.body().to_vec()).unwrap();
        let locations = listing
            .lines()
            .filter_map(|line| line.strip_prefix("Content-location: "))
            .map(str::trim);
        for location in locations {
            let part = world
                .http
                .get(&format!("http://{registry}{location}"))
                .await
                .unwrap();
            assert_eq!(part.status(), 200, "{location}");
            let schema = if location.ends_with("shared-params.xml") {
                format!("v{version}/shared-parameters.xsd")
            } else if location.ends_with("private-params.xml") {
                "v3/private-parameters.xsd".to_owned()
            } else {
                continue; // the fetch interval has no schema in the test data
            };
            parts += 1;
            let file = dir.path().join("part.xml");
            atomic_write(&file, part.body()).unwrap();
            if let Some(schemas) = &schemas {
                lint(&schemas.join(schema), &file, test);
            }
        }
    }
    parts
}

fn lint(schema: &Path, file: &Path, test: &str) {
    let outcome = Command::new("xmllint")
        .args(["--noout", "--nonet", "--schema"])
        .args([schema, file])
        .output();
    match outcome {
        Ok(output) => assert!(
            output.status.success(),
            "{}: {}",
            schema.display(),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(_) => println!("SKIPPED {test}: xmllint absent"),
    }
}
