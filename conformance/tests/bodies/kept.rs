//! What policy says of bodies: each server by its own, a service before its client and that before the server; always
//! proved, and gone when it was delivered.

use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use jibek_audit::{Configuration, Line, VerifyOptions, verify};
use jibek_certs::KeyKind;
use jibek_conf::{Snapshot, files::atomic_write};
use jibek_conformance::{
    asic::{self, Half},
    http::eventually,
    process_world::ProcessWorld,
    world::{CONSUMER, PROVIDER, World},
};
use jibek_evidence::verify::{Outcome, verify_container};
use jibek_msglog::{BodyInfo, Direction, Query};
use jibek_protocol::id::ClientId;
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(60);

/// The body of one record of a server's log.
fn body_of(world: &World, server: usize, id: &str, direction: Direction) -> BodyInfo {
    let log = world.running.server(server).inside.log();
    let query = Query {
        direction: Some(direction),
        ..Query::message_id(id)
    };
    let [record] = *log.find(&query).unwrap() else {
        panic!("{id}: one record is wanted");
    };
    log.read(record).unwrap().unwrap().bodies.remove(0)
}

fn files(world: &World, server: usize) -> usize {
    let dir = world.server_dir(server).join("log/bodies");
    std::fs::read_dir(dir).unwrap().count()
}

/// How many records of both logs are valid, and how many tell of a body that was not kept.
fn audited(world: &World, snapshot: &Snapshot) -> (usize, usize) {
    let logs = [0, 1].map(|server| world.server_dir(server).join("log"));
    let configuration = Configuration::fixed(snapshot.clone());
    let (mut valid, mut not_kept) = (0, 0);
    verify(&logs, &VerifyOptions::default(), &configuration, |line| {
        if let Line::Container(judged) = &line {
            assert_eq!(judged.standing(true).exit_code(), 0, "{judged:?}");
            let ids: Vec<_> = judged.remarks().map(|(id, _)| id).collect();
            assert!(
                ids.is_empty() || ids == ["body_not_kept"],
                "{ids:?}: {judged:?}"
            );
            valid += 1;
            not_kept += ids.len();
        }
        Ok(())
    })
    .unwrap();
    (valid, not_kept)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_client_and_server_decide_in_this_order() {
    let _alone = super::alone().await;
    let world = World::builder()
        .setting("message_log", "request_bodies = 10000")
        .setting("message_log", "answer_bodies = \"digest\"")
        .before(|prepared, _| {
            let server = &prepared.plan().servers[1];
            let file = prepared.server_dir(server).join("clients/provider.toml");
            let text = std::fs::read_to_string(&file).unwrap();
            let text = text.replacen("\n[[service]]", "answer_bodies = \"all\"\n\n[[service]]", 1);
            let service = "code = \"rest\"\n";
            let text = text.replacen(
                service,
                &format!("{service}request_bodies = \"digest\"\n"),
                1,
            );
            atomic_write(file, text.as_bytes()).unwrap();
        })
        .build(|call| Response::new(call.body.clone()))
        .await;
    let lengths = [500, 10_000, 10_001, 700_000];
    for length in lengths {
        let id = format!("kept-{length}");
        let body = vec![b'k'; length];
        let request = world.rest("POST", "/echo").header("X-Road-Id", &id);
        let answer = world.send(request, body.clone()).await;
        assert!(*answer.body() == body, "{id}");
        for (server, direction, kept) in [
            (0, Direction::Request, length <= 10_000),
            (0, Direction::Response, false),
            (1, Direction::Request, false),
            (1, Direction::Response, true),
        ] {
            let info = body_of(&world, server, &id, direction);
            assert_eq!(
                (info.kept, info.digest_only),
                (kept, !kept),
                "{id} at {server}, {direction:?}"
            );
            assert_eq!(info.len, u64::try_from(length).unwrap());
            assert_eq!(info.sha512, openssl::sha::sha512(&body));
        }
    }
    // Of the large one only the answer at the provider's server stays.
    eventually(PATIENCE, || async {
        match [0, 1].map(|server| files(&world, server)) {
            [0, 1] => Ok(()),
            found => Err(found),
        }
    })
    .await
    .unwrap();

    world.stamp().await;
    let snapshot = world.running.server(0).inside.configuration();
    let digests_only = 2 + lengths.len() * 2;
    assert_eq!(
        audited(&world, &snapshot),
        (lengths.len() * 4, digests_only)
    );

    // Containers: with the body, or a proof of what it was without it.
    for (server, party, half, is_kept) in [
        (0, CONSUMER, Half::Response, false),
        (1, PROVIDER, Half::Response, true),
        (1, PROVIDER, Half::Request, false),
    ] {
        let party = ClientId::from_header(party).unwrap();
        let url = world.running.server(server).url();
        let container = asic::fetch(&world.http, &url, &party, "kept-500", half)
            .await
            .unwrap();
        let verdict = verify_container(&container, &*snapshot);
        let Outcome::Valid(report) = &verdict.outcome else {
            panic!("{verdict:?}");
        };
        assert_eq!(report.attachments().len(), 1);
        let ids: Vec<_> = verdict.findings.iter().map(|it| it.id()).collect();
        let wanted: &[&str] = if is_kept { &[] } else { &["body_removed"] };
        assert_eq!(ids, wanted, "{half:?} at {server}");
        assert_eq!(asic::body(&container).is_some(), is_kept);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_while_it_delivers_forgets_the_body_at_its_next_start() {
    let _alone = super::alone().await;
    // It takes connections and reads nothing: the body is under way for ever.
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("url = \"http://{}/\"", service.local_addr().unwrap());
    let mut world = ProcessWorld::start(
        KeyKind::EcP256,
        |call| Response::new(call.body.clone()),
        |prepared| {
            let server = &prepared.plan().servers[1];
            let file = prepared.server_dir(server).join("clients/provider.toml");
            let text = std::fs::read_to_string(&file).unwrap();
            let (before, rest) = text.split_once("url = ").unwrap();
            let (_, after) = rest.split_once('\n').unwrap();
            let text = format!("{before}{url}\nrequest_bodies = \"digest\"\n{after}");
            atomic_write(file, text.as_bytes()).unwrap();
        },
    )
    .await;
    let request = Request::post(format!("{}/r1/{PROVIDER}/rest/x", world.url(0)))
        .header("X-Road-Client", CONSUMER)
        .header("X-Road-Id", "forgotten")
        .body(Full::new(vec![b'f'; 20 << 20].into()))
        .unwrap();
    let http = world.http.clone();
    let call = tokio::spawn(async move { http.send(request).await });
    let (_connection, _) = service.accept().await.unwrap();
    let bodies = world.server_dir(1).join("log/bodies");
    let count = || std::fs::read_dir(&bodies).unwrap().count();
    assert_eq!(count(), 1, "it is being delivered");
    world.kill(1);
    assert_eq!(count(), 1, "nobody had time to remove it");
    world.fsck(1).unwrap();
    world.start_server(1).await.unwrap();
    call.abort();
    // What the consumer's server sends again meanwhile goes, too.
    let none = || async {
        match count() {
            0 => Ok(()),
            left => Err(left),
        }
    };
    eventually(PATIENCE, none).await.unwrap();
    world.fsck(1).unwrap();
    let party = ClientId::from_header(PROVIDER).unwrap();
    let container = asic::fetch(
        &world.http,
        &world.url(1),
        &party,
        "forgotten",
        Half::Request,
    )
    .await
    .unwrap();
    assert!(container.entry("message.xml").is_some() && asic::body(&container).is_none());
}
