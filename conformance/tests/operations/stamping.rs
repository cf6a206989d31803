//! Time-stamping authorities that are dead, slow, away for an hour: messages do not wait for them, and everything is
//! stamped in order once they answer.

use std::{net::TcpListener, path::Path, time::Duration};

use bytes::Bytes;
use http::Response;
use jibek_conf::files::atomic_write;
use jibek_conformance::{country::Timing, world::World};
use jibek_dev_pki::{Fault, Service};
use jibek_msglog::{Query, StampId};

use crate::common::{calm, succeeds, tick};

const STAMPING: Duration = Duration::from_secs(10);

/// Puts an authority before the one that the registry's file names.
fn put_before(path: &Path, url: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    let dead =
        format!("[[tsa]]\nname = \"Dead TSA\"\nurl = \"{url}\"\ncertificate = \"root-ca.pem\"\n\n");
    let text = text.replacen("[[tsa]]", &format!("{dead}[[tsa]]"), 1);
    atomic_write(path, text.as_bytes()).unwrap();
}

/// A world with two authorities, of which the first accepts connections and says nothing.
async fn world_with_a_dead_authority() -> (World, TcpListener) {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/tsa", dead.local_addr().unwrap());
    let world = World::builder()
        .timing(Timing {
            stamping: Some(STAMPING),
            ..calm()
        })
        .setting("timestamping", "overtake_seconds = 1")
        .setting("timestamping", "records = 25")
        .before(move |prepared, _| put_before(&prepared.registry_config(), &url))
        .build(|_| Response::new(Bytes::from_static(b"ok")))
        .await;
    (world, dead)
}

fn unstamped(world: &World) -> Vec<u64> {
    let servers = world.running.servers().iter();
    servers
        .map(|one| one.inside.log().unstamped_count())
        .collect()
}

async fn all_stamped(world: &World) {
    tick(world, STAMPING, || async {
        let waiting = unstamped(world);
        if waiting.iter().all(|it| *it == 0) {
            Ok(())
        } else {
            Err(format!("{waiting:?} records wait"))
        }
    })
    .await;
}

/// The stamps of a server's records: each has one, and they grow with the records.
fn stamps_in_order(world: &World, server: usize) -> Vec<StampId> {
    let log = world.running.server(server).inside.log();
    let ids = log.find(&Query::default()).unwrap();
    let stamps: Vec<StampId> = ids
        .into_iter()
        .map(|id| log.read(id).unwrap().unwrap().stamp.unwrap().id)
        .collect();
    assert!(stamps.is_sorted(), "{stamps:?}");
    stamps
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_authority_dead_and_the_other_slow_no_message_waits() {
    let (world, _dead) = world_with_a_dead_authority().await;
    let faults = world.running.faults();
    faults.set_tsa(Fault::Hold);
    succeeds(&world).await;
    // Both servers have turned to the second authority, which keeps its answers.
    tick(&world, STAMPING, || async {
        match faults.count(Service::Tsa) {
            0 | 1 => Err("they still wait for the first one".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    // Load: batches fill up behind the one that is held, and every message is answered all the same.
    let asked = faults.count(Service::Tsa);
    for _ in 0..10 {
        futures_util::future::join_all((0..10).map(|_| succeeds(&world))).await;
    }
    assert_eq!(faults.count(Service::Tsa), asked, "one question at a time");
    assert_eq!(unstamped(&world), [202, 202]);

    faults.set_tsa(Fault::None);
    all_stamped(&world).await;
    for server in [0, 1] {
        assert_eq!(stamps_in_order(&world, server).len(), 202);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_hour_without_any_authority_everything_is_stamped_in_order() {
    let (world, dead) = world_with_a_dead_authority().await;
    // From now on it refuses connections, which is told at once.
    drop(dead);
    let faults = world.running.faults();
    succeeds(&world).await;
    all_stamped(&world).await;
    faults.set_tsa(Fault::Refuse);
    for _ in 0..12 {
        for _ in 0..5 {
            succeeds(&world).await;
        }
        world.clock.advance(Duration::from_secs(300));
    }
    assert_eq!(unstamped(&world), [120, 120]);
    let asked = faults.count(Service::Tsa);
    tick(&world, Duration::from_secs(60), || async {
        if faults.count(Service::Tsa) > asked {
            Ok(())
        } else {
            Err("nobody asks any more".to_owned())
        }
    })
    .await;

    faults.set_tsa(Fault::None);
    all_stamped(&world).await;
    for server in [0, 1] {
        let mut stamps = stamps_in_order(&world, server);
        assert_eq!(stamps.len(), 122);
        stamps.dedup();
        // The first exchange, and the hour's 120 records, 25 at a time.
        assert!((6..=7).contains(&stamps.len()), "{stamps:?}");
    }
    world.finish().await;
}
