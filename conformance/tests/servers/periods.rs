//! What the country needs goes off and on again, by the test's clock: time-stamping, OCSP, the registry.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use jibek_conformance::{http::eventually, world::World};
use jibek_dev_pki::Fault;

use crate::support::{code, echo, still_up};

/// `/readyz` of a server: the status, and the check with this name.
async fn readiness(world: &World, server: usize, check: &str) -> (u16, serde_json::Value) {
    let url = format!("{}/readyz", world.running.server(server).admin_url());
    let answer = world.http.get(&url).await.unwrap();
    let report: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    let found = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == check);
    (answer.status().as_u16(), found.cloned().unwrap_or_default())
}

async fn call(world: &World) -> Response<Bytes> {
    world.send(world.rest("GET", "/x"), "").await
}

/// Waits until a call has this code, or succeeds.
async fn until(world: &World, expected: Option<&str>) {
    let last = eventually(Duration::from_secs(20), || async {
        let answer = call(world).await;
        let seen = if answer.status() == 200 {
            None
        } else {
            Some(code(&answer))
        };
        if seen.as_deref() == expected {
            Ok(())
        } else {
            Err(seen)
        }
    })
    .await;
    assert_eq!(last, Ok(()), "expected {expected:?}");
}

#[tokio::test]
async fn messages_flow_without_time_stamps_for_the_acceptable_period() {
    let world = World::builder().build(echo).await;
    world.running.faults().set_tsa(Fault::Refuse);
    still_up(&world).await;
    // The first run that fails starts the clock.
    for server in [0, 1] {
        assert!(world.running.server(server).inside.stamp().await.is_err());
        let (status, stamping) = readiness(&world, server, "stamping").await;
        assert_eq!(
            (status, stamping["seconds_left"].as_i64()),
            (200, Some(14_400)),
            "{stamping}"
        );
    }
    for _ in 0..3 {
        advance_within_validity(&world, 3600).await;
        still_up(&world).await;
    }
    let (status, stamping) = readiness(&world, 0, "stamping").await;
    assert_eq!(
        (status, stamping["seconds_left"].as_i64()),
        (200, Some(3600)),
        "it counts down: {stamping}"
    );
    advance_within_validity(&world, 3601).await;
    // The consumer's side hides its own: the message could not be logged.
    let refused = call(&world).await;
    let code = code(&refused);
    assert!(code.starts_with("server.clientproxy."), "{code}");
    let (status, stamping) = readiness(&world, 0, "stamping").await;
    assert_eq!((status, stamping["ready"].as_bool()), (503, Some(false)));
    assert!(
        stamping["reason"]
            .as_str()
            .unwrap()
            .contains("failing since"),
        "{stamping}"
    );
    let calls = world.system.calls().len();

    world.running.faults().set_tsa(Fault::None);
    for server in [0, 1] {
        eventually(Duration::from_secs(20), || async {
            world.running.server(server).inside.stamp().await
        })
        .await
        .unwrap();
        assert_eq!(
            world.running.server(server).inside.log().unstamped_count(),
            0
        );
    }
    still_up(&world).await;
    assert_eq!(
        world.system.calls().len(),
        calls + 1,
        "what was refused did not reach the service"
    );
    assert_eq!(readiness(&world, 0, "stamping").await.0, 200);
    world.finish().await;
}

/// Moves the clock, with configuration and OCSP answers renewed on the way.
async fn advance_within_validity(world: &World, seconds: u64) {
    let mut left = seconds;
    while left > 0 {
        let step = left.min(300);
        world.clock.advance(Duration::from_secs(step));
        left -= step;
        renew(world).await;
    }
}

async fn renew(world: &World) {
    let fresh = |server: usize| async move {
        let inside = &world.running.server(server).inside;
        eventually(Duration::from_secs(20), || async {
            inside.refresh_configuration().await?;
            let now = world.now();
            inside
                .configuration()
                .check_valid(now)
                .map_err(|error| error.to_string())?;
            match inside.configuration().expires_at() {
                Some(expires) if expires - now > time::Duration::seconds(400) => Ok(()),
                other => Err(format!("expires at {other:?}, now {now}")),
            }
        })
        .await
        .unwrap();
        inside.refresh_ocsp().await;
    };
    fresh(0).await;
    fresh(1).await;
}

#[tokio::test]
async fn messages_flow_while_ocsp_answers_are_fresh() {
    let world = World::builder().build(echo).await;
    still_up(&world).await;
    world.running.faults().set_ocsp(Fault::Refuse);
    advance_within_validity(&world, 3000).await;
    still_up(&world).await;
    advance_within_validity(&world, 900).await;
    // The peer has none to give either, and that comes first.
    assert_eq!(
        code(&call(&world).await),
        "server.clientproxy.ssl_authentication_failed.internal_error"
    );
    assert_eq!(readiness(&world, 0, "sign keys").await.0, 503);
    world.running.faults().set_ocsp(Fault::None);
    renew(&world).await;
    until(&world, None).await;
    assert_eq!(readiness(&world, 0, "sign keys").await.0, 200);
    world.finish().await;
}

#[tokio::test]
async fn messages_flow_while_the_configuration_is_valid() {
    let mut world = World::builder().build(echo).await;
    still_up(&world).await;
    world.running.stop_registry().await;
    world.clock.advance(Duration::from_secs(500));
    still_up(&world).await;
    let (status, configuration) = readiness(&world, 0, "configuration").await;
    assert_eq!(status, 200);
    assert!(
        configuration["seconds_left"].as_i64().unwrap() <= 100,
        "{configuration}"
    );
    world.clock.advance(Duration::from_secs(101));
    assert_eq!(
        code(&call(&world).await),
        "server.clientproxy.global_conf_outdated"
    );
    let (status, configuration) = readiness(&world, 0, "configuration").await;
    assert_eq!(status, 503);
    assert!(
        configuration["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("expired")),
        "{configuration}"
    );
    world.running.start_registry().await.unwrap();
    renew(&world).await;
    until(&world, None).await;
    assert_eq!(readiness(&world, 0, "configuration").await.0, 200);
    world.finish().await;
}
