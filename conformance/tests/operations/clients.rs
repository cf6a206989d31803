//! Files in `clients/`, changed by hand while messages flow.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use jibek_conf::files::atomic_write;
use jibek_conformance::{
    load,
    world::{CONSUMER, PROVIDER, STRANGER, World},
};

use crate::common::{calm, check, succeeds, tick, world};

/// Longer than the folder waits between two looks.
const LOOK: Duration = Duration::from_secs(3);

fn document(world: &World) -> PathBuf {
    world.server_dir(1).join("clients/provider.toml")
}

async fn status(world: &World, client: &str, service: &str) -> (u16, String) {
    let request = Request::get(format!(
        "{}/r1/{PROVIDER}/{service}/x",
        world.running.server(0).url()
    ))
    .header("X-Road-Client", client);
    let answer = world.send(request, "").await;
    let code = answer
        .headers()
        .get("x-road-error")
        .map(|code| code.to_str().unwrap().to_owned());
    (answer.status().as_u16(), code.unwrap_or_default())
}

async fn until(world: &World, client: &str, service: &str, wanted: (u16, &str)) {
    tick(world, LOOK, || async {
        let (status, code) = status(world, client, service).await;
        if (status, code.as_str()) == wanted {
            Ok(())
        } else {
            Err(format!("{status} {code} instead of {wanted:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_changed_under_load_fails_no_request() {
    let world = world(calm()).await;
    let original = std::fs::read_to_string(document(&world)).unwrap();
    let url = format!("{}/r1/{PROVIDER}/rest/x", world.running.server(0).url());
    let load = tokio::spawn(load::run(8, Duration::from_millis(2500), move || {
        Request::post(&url)
            .header("X-Road-Client", CONSUMER)
            .body(Full::new(Bytes::from_static(b"question")))
            .unwrap()
    }));

    let denied = (500, "server.serverproxy.access_denied");
    let unknown = (500, "server.serverproxy.unknown_service");
    assert_eq!(
        status(&world, STRANGER, "rest").await,
        (denied.0, denied.1.to_owned())
    );
    assert_eq!(
        status(&world, CONSUMER, "more").await,
        (unknown.0, unknown.1.to_owned())
    );
    let mut changes = 0;
    while !load.is_finished() {
        // A right, and a service, given and taken away.
        let given = format!(
            "{}\n[[service]]\ncode = \"more\"\nkind = \"rest\"\nurl = \"http://{}/more\"\n\
             [[service.allow]]\nsubject = {CONSUMER:?}\nmethod = \"*\"\npath = \"**\"\n",
            original.replacen(
                "[[service.allow]]",
                &format!("[[service.allow]]\nsubject = {STRANGER:?}\nmethod = \"*\"\npath = \"**\"\n\n[[service.allow]]"),
                1,
            ),
            world.system.address(),
        );
        atomic_write(document(&world), given.as_bytes()).unwrap();
        until(&world, STRANGER, "rest", (200, "")).await;
        until(&world, CONSUMER, "more", (200, "")).await;
        atomic_write(document(&world), original.as_bytes()).unwrap();
        until(&world, STRANGER, "rest", denied).await;
        until(&world, CONSUMER, "more", unknown).await;
        changes += 2;
    }
    let outcome = load.await.unwrap();
    println!("{changes} changes under {} requests", outcome.answered);
    assert_eq!(outcome.failed, 0, "{:?}", outcome.first_failure);
    assert!(outcome.answered > 20 && changes >= 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_is_refused_with_line_and_reason_and_the_old_one_stays() {
    let world = world(calm()).await;
    let original = std::fs::read_to_string(document(&world)).unwrap();
    let broken = original.replace("kind = \"soap\"", "kind = \"morse\"");
    let line = 1 + broken
        .lines()
        .position(|line| line.contains("morse"))
        .unwrap();
    for (text, line, words) in [
        (broken.as_str(), line, "morse"),
        (
            &format!("{original}\ncolour = \"red\"\n"),
            original.lines().count() + 2,
            "colour",
        ),
    ] {
        atomic_write(document(&world), text.as_bytes()).unwrap();
        let place = format!("provider.toml:{line}");
        tick(&world, LOOK, || async {
            let check = check(&world, 1, "clients").await;
            assert_eq!(check["ready"], true, "the old one is in force");
            let note = check["note"].as_str().unwrap_or_default().to_owned();
            if note.contains(&place) && note.contains(words) {
                Ok(())
            } else {
                Err(format!("{note:?} names not {place} and {words}"))
            }
        })
        .await;
        succeeds(&world).await;
    }
    atomic_write(document(&world), original.as_bytes()).unwrap();
    tick(&world, LOOK, || async {
        let check = check(&world, 1, "clients").await;
        if check["note"].is_null() {
            Ok(())
        } else {
            Err(check.to_string())
        }
    })
    .await;
    succeeds(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_file_is_gone_is_served_no_more() {
    let world = world(calm()).await;
    succeeds(&world).await;
    let files = [
        (
            document(&world),
            "server.serverproxy.service_failed.unknown_member",
        ),
        (
            world.server_dir(0).join("clients/consumer.toml"),
            "server.clientproxy.unknown_member",
        ),
    ];
    for (path, code) in files {
        let text = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        until(&world, CONSUMER, "rest", (500, code)).await;
        atomic_write(&path, &text).unwrap();
        until(&world, CONSUMER, "rest", (200, "")).await;
    }
    world.finish().await;
}
