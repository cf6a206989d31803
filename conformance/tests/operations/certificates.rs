//! Certificates in a running server: its own, which end, and those of its peers, which it remembers.

use std::time::Duration;

use jibek_conf::files::atomic_write;
use jibek_conformance::{country::Timing, http::eventually, world::World};
use jibek_protocol::id::ClientId;

use crate::common::{PATIENCE, calm, check, fails, readyz, succeeds, tick, world};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_own_certificates_ended_says_so() {
    // Nothing else ends meanwhile.
    let world = world(Timing {
        validity: 5 * YEAR,
        ocsp_freshness: 5 * YEAR,
        acceptable_failure: 5 * YEAR,
        ..Timing::default()
    })
    .await;
    succeeds(&world).await;
    let calls = world.system.calls().len();
    world.clock.advance(2 * YEAR + Duration::from_secs(86_400));
    for server in [0, 1] {
        for key in ["authentication key", "sign keys"] {
            let state = eventually(PATIENCE, || async {
                let state = check(&world, server, key).await;
                if state["ready"] == false {
                    Ok(state)
                } else {
                    Err(state)
                }
            })
            .await
            .unwrap();
            assert!(state["reason"].is_string(), "{state}");
        }
        let state = check(&world, server, "authentication key").await;
        let reason = state["reason"].as_str().unwrap();
        assert!(reason.contains("is valid from"), "{reason}");
        let health = format!("{}/healthz", world.running.server(server).admin_url());
        assert_eq!(world.http.get(&health).await.unwrap().status(), 200);
        assert_eq!(readyz(&world, server).await["ready"], false);
    }
    assert_eq!(
        fails(&world).await,
        "server.clientproxy.ssl_authentication_failed"
    );
    assert_eq!(world.system.calls().len(), calls);
    world.finish().await;
}

/// Judgements on peers' certificates at a server, by outcome: verified, remembered.
async fn checks(world: &World, server: usize) -> [u32; 2] {
    let url = format!("{}/metrics", world.running.server(server).admin_url());
    let page = world.http.get(&url).await.unwrap();
    let page = String::from_utf8(page.body().to_vec()).unwrap();
    ["verified", "remembered"].map(|outcome| {
        let name = format!("jibek_peer_checks_total{{outcome=\"{outcome}\"}} ");
        page.lines()
            .find_map(|line| line.strip_prefix(&name)?.parse().ok())
            .unwrap_or_default()
    })
}

/// Chain and OCSP answers of a peer, and of the member that signs, are verified once in each role.
#[tokio::test(flavor = "multi_thread")]
async fn peers_are_verified_once_until_something_ends() {
    let world = world(calm()).await;
    succeeds(&world).await;
    for server in [0, 1] {
        assert_eq!(checks(&world, server).await[0], 2, "server {server}");
    }
    for _ in 0..10 {
        succeeds(&world).await;
    }
    for server in [0, 1] {
        let [verified, remembered] = checks(&world, server).await;
        assert_eq!(verified, 2, "server {server}");
        assert!(remembered >= 20, "server {server}: {remembered}");
    }

    // Another configuration.
    let file = world.running.prepared().registry_config();
    let text = std::fs::read_to_string(&file).unwrap();
    let more = "\n[[member]]\nclass = \"GOV\"\ncode = \"5005\"\nname = \"Newcomer\"\n";
    atomic_write(&file, format!("{text}{more}").as_bytes()).unwrap();
    let newcomer = ClientId::from_header("TEST/GOV/5005").unwrap();
    tick(&world, Duration::from_secs(30), || async {
        let known = [0, 1].map(|server| {
            let conf = world.running.server(server).inside.configuration();
            conf.knows_client(&newcomer)
        });
        if known == [true, true] {
            Ok(())
        } else {
            Err("not known".to_owned())
        }
    })
    .await;
    for _ in 0..3 {
        succeeds(&world).await;
    }
    // While the clock went on there may have been new OCSP answers, too.
    for server in [0, 1] {
        assert!(checks(&world, server).await[0] >= 4, "server {server}");
    }

    // Other OCSP answers: the consumer's server has new ones, for its connection and its signature.
    let before = checks(&world, 1).await[0];
    world.clock.advance(Duration::from_secs(1));
    world.running.server(0).inside.refresh_ocsp().await;
    for _ in 0..3 {
        succeeds(&world).await;
    }
    assert!(checks(&world, 1).await[0] >= before + 2);
    world.finish().await;
}
