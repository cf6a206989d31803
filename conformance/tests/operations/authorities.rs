//! The time-stamping authority, the OCSP responder, the registry: each goes away and comes back.

use std::time::Duration;

use jibek_conformance::{country::Timing, world::World};
use jibek_dev_pki::{Fault, Service};

use crate::common::{calm, check, fails, readyz, succeeds, tick, tick_until_ready, world};

const STAMPING: Duration = Duration::from_secs(10);
const PERIOD: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn without_time_stamps_messages_flow_for_the_acceptable_period() {
    let world = world(Timing {
        stamping: Some(STAMPING),
        acceptable_failure: PERIOD,
        ..calm()
    })
    .await;
    let faults = world.running.faults();
    succeeds(&world).await;
    faults.set_tsa(Fault::Refuse);
    succeeds(&world).await;

    // Both servers notice, say why, and count down.
    let mut left = Vec::new();
    for server in [0, 1] {
        let stamping = tick(&world, STAMPING, || async {
            let stamping = check(&world, server, "stamping").await;
            match stamping["seconds_left"] {
                serde_json::Value::Null => Err(stamping.to_string()),
                _ => Ok(stamping),
            }
        })
        .await;
        assert_eq!(stamping["ready"], true);
        let note = stamping["note"].as_str().unwrap();
        assert!(note.contains("/tsa") && note.contains("500"), "{note}");
        left.push(stamping["seconds_left"].as_i64().unwrap());
    }
    assert!(
        left.iter().all(|left| (100..=300).contains(left)),
        "{left:?}"
    );
    left[0] = check(&world, 0, "stamping").await["seconds_left"]
        .as_i64()
        .unwrap();
    world.clock.advance(Duration::from_secs(60));
    for server in [0, 1] {
        let stamping = check(&world, server, "stamping").await;
        assert_eq!(stamping["seconds_left"], left[server] - 60, "{stamping}");
    }
    succeeds(&world).await;

    // The period is over: refused, and said so.
    let asked = faults.count(Service::Tsa);
    world.clock.advance(PERIOD);
    for server in [0, 1] {
        let stamping = check(&world, server, "stamping").await;
        assert_eq!(stamping["ready"], false);
        let reason = stamping["reason"].as_str().unwrap();
        assert!(
            reason.contains("longer than the acceptable 300 s"),
            "{reason}"
        );
    }
    let calls = world.system.calls().len();
    assert_eq!(
        fails(&world).await,
        "server.clientproxy.logging_failed.timestamping_failed"
    );

    // Only the provider's server has no stamps: the consumer sees its words.
    tick(&world, Duration::ZERO, || async {
        let now = faults.count(Service::Tsa);
        if now >= asked + 2 {
            Ok(())
        } else {
            Err(format!("{now} calls"))
        }
    })
    .await;
    world.running.server(1).inside.stamp().await.unwrap_err();
    faults.set_tsa(Fault::None);
    world.running.server(0).inside.stamp().await.unwrap();
    faults.set_tsa(Fault::Refuse);
    assert_eq!(check(&world, 0, "stamping").await["ready"], true);
    assert_eq!(
        fails(&world).await,
        "server.serverproxy.logging_failed.timestamping_failed"
    );
    assert_eq!(
        world.system.calls().len(),
        calls,
        "a message that is not recorded must not reach the service"
    );

    // The authority is back: everything is stamped and taken again, without anybody's help.
    faults.set_tsa(Fault::None);
    tick_until_ready(&world, STAMPING).await;
    all_stamped(&world).await;
    succeeds(&world).await;
    all_stamped(&world).await;
    world.finish().await;
}

/// The servers stamp on their own schedule: each is waited for, while the clock goes on.
async fn all_stamped(world: &World) {
    tick(world, STAMPING, || async {
        let waiting: u64 = world
            .running
            .servers()
            .iter()
            .map(|one| one.inside.log().unstamped_count())
            .sum();
        if waiting == 0 {
            Ok(())
        } else {
            Err(format!("{waiting} records wait"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ocsp_answers_messages_flow_while_the_old_ones_are_fresh() {
    let freshness = Duration::from_secs(600);
    let world = world(Timing {
        ocsp_freshness: freshness,
        ..calm()
    })
    .await;
    let faults = world.running.faults();
    for fault in [Fault::Refuse, Fault::Stale(Duration::from_secs(7200))] {
        for server in world.running.servers() {
            server.inside.refresh_ocsp().await;
        }
        faults.set_ocsp(fault);
        // Fetches are due meanwhile; they fail and change nothing.
        let asked = faults.count(Service::Ocsp);
        world.clock.advance(Duration::from_secs(590));
        tick(&world, Duration::ZERO, || async {
            if faults.count(Service::Ocsp) > asked {
                Ok(())
            } else {
                Err("nobody asked".to_owned())
            }
        })
        .await;
        succeeds(&world).await;
        assert_eq!(readyz(&world, 0).await["ready"], true);

        // Over at the consumer's server. What cannot be proved is not sent.
        faults.set_ocsp(Fault::None);
        world.running.server(1).inside.refresh_ocsp().await;
        faults.set_ocsp(fault);
        world.clock.advance(Duration::from_secs(11));
        assert_eq!(
            fails(&world).await,
            "server.clientproxy.cannot_create_signature"
        );
        assert_eq!(readyz(&world, 1).await["ready"], true);

        // Over at the provider's, too: now it is not who it says it is.
        world.clock.advance(freshness);
        assert_eq!(
            fails(&world).await,
            "server.clientproxy.ssl_authentication_failed.internal_error"
        );
        for server in [0, 1] {
            for name in ["authentication key", "sign keys"] {
                let check = check(&world, server, name).await;
                assert_eq!(check["ready"], false, "{fault:?}");
                let reason = check["reason"].as_str().unwrap();
                assert!(reason.contains("no fresh OCSP answer"), "{reason}");
            }
        }

        faults.set_ocsp(Fault::None);
        tick_until_ready(&world, Duration::from_secs(10)).await;
        succeeds(&world).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ocsp_answers_are_fetched_on_schedule_and_not_more_often() {
    let world = world(calm()).await;
    let faults = world.running.faults();
    for server in world.running.servers() {
        server.inside.refresh_ocsp().await;
    }
    let every = world
        .running
        .server(0)
        .inside
        .configuration()
        .ocsp_fetch_interval();
    let asked = faults.count(Service::Ocsp);
    // As minutes pass, other chores have their turn.
    let minute = Duration::from_secs(60);
    let mut passed = minute;
    while passed < every {
        world.clock.advance(minute);
        passed += minute;
        for server in [0, 1] {
            world
                .running
                .server(server)
                .inside
                .refresh_configuration()
                .await
                .unwrap();
            readyz(&world, server).await;
        }
    }
    assert_eq!(faults.count(Service::Ocsp), asked);
    tick(&world, minute, || async {
        if faults.count(Service::Ocsp) > asked {
            Ok(())
        } else {
            Err("not fetched again".to_owned())
        }
    })
    .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_registry_messages_flow_until_the_configuration_expires() {
    let mut world = world(Timing::default()).await;
    succeeds(&world).await;
    world.running.stop_registry().await;
    let expires = world
        .running
        .server(0)
        .inside
        .configuration()
        .expires_at()
        .unwrap();
    assert_eq!(
        expires,
        world
            .running
            .server(1)
            .inside
            .configuration()
            .expires_at()
            .unwrap()
    );

    let mut before = i64::MAX;
    for seconds in [400, 200, 60, 1] {
        world.clock.set(expires - time::Duration::seconds(seconds));
        for server in [0, 1] {
            // The registry was asked meanwhile: the note says what came of it.
            let check = tick(&world, Duration::ZERO, || async {
                let check = check(&world, server, "configuration").await;
                if check["note"].is_string() {
                    Ok(check)
                } else {
                    Err(check.to_string())
                }
            })
            .await;
            assert_eq!(check["ready"], true);
            assert_eq!(check["seconds_left"], seconds);
            let note = check["note"].as_str().unwrap();
            assert!(note.contains("could not be downloaded"), "{note}");
        }
        assert!(seconds < before);
        before = seconds;
        succeeds(&world).await;
    }

    world.clock.set(expires + time::Duration::seconds(1));
    assert_eq!(
        fails(&world).await,
        "server.clientproxy.global_conf_outdated"
    );
    for server in [0, 1] {
        let check = check(&world, server, "configuration").await;
        assert_eq!(check["ready"], false);
        let reason = check["reason"].as_str().unwrap();
        assert!(
            reason.contains("expired") && reason.contains("could not be downloaded"),
            "{reason}"
        );
    }

    // A minute later nothing is better; then the registry is back, and so are the servers.
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(
        fails(&world).await,
        "server.clientproxy.global_conf_outdated"
    );
    world.running.start_registry().await.unwrap();
    tick_until_ready(&world, Duration::from_secs(5)).await;
    succeeds(&world).await;
    world.finish().await;
}
