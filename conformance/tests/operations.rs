//! What an operator sees: authorities that fail and come back, files changed by hand, restarts.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests may panic and tell, their helpers too"
)]

mod common {
    use std::time::Duration;

    use bytes::Bytes;
    use http::Response;
    use jibek_conformance::{country::Timing, http::eventually, world::World};
    use serde_json::Value;

    /// Longer than any test runs, on either clock.
    pub(crate) const LONG: Duration = Duration::from_secs(86_400);
    pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

    /// Periods under which nothing ends unless a test says so.
    pub(crate) fn calm() -> Timing {
        Timing {
            validity: LONG,
            ocsp_freshness: LONG,
            acceptable_failure: LONG,
            ..Timing::default()
        }
    }

    /// A world whose information system says `ok`.
    pub(crate) async fn world(timing: Timing) -> World {
        World::builder()
            .timing(timing)
            .build(|_| Response::new(Bytes::from_static(b"ok")))
            .await
    }

    /// The document at `/readyz`, whether it says yes or no.
    pub(crate) async fn readyz(world: &World, server: usize) -> Value {
        let url = format!("{}/readyz", world.running.server(server).admin_url());
        let answer = world.http.get(&url).await.unwrap();
        let report: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(report["ready"], answer.status() == 200, "{report}");
        report
    }

    /// One check of `/readyz`.
    pub(crate) async fn check(world: &World, server: usize, name: &str) -> Value {
        let report = readyz(world, server).await;
        let checks = report["checks"].as_array().unwrap();
        checks
            .iter()
            .find(|check| check["name"] == name)
            .unwrap_or_else(|| panic!("no check {name} in {report}"))
            .clone()
    }

    /// Moves the clock by `step` again and again until `condition` gives something.
    pub(crate) async fn tick<T, F>(
        world: &World,
        step: Duration,
        mut condition: impl FnMut() -> F,
    ) -> T
    where
        F: Future<Output = Result<T, String>>,
    {
        eventually(PATIENCE, || {
            world.clock.advance(step);
            condition()
        })
        .await
        .unwrap_or_else(|last| panic!("not even after a while: {last}"))
    }

    /// Moves the clock until every server is ready.
    pub(crate) async fn tick_until_ready(world: &World, step: Duration) {
        tick(world, step, || async {
            for server in [0, 1] {
                let report = readyz(world, server).await;
                if report["ready"] != true {
                    return Err(report.to_string());
                }
            }
            Ok(())
        })
        .await;
    }

    /// One exchange that must succeed.
    pub(crate) async fn succeeds(world: &World) {
        let answer = world.send(world.rest("POST", "/x"), "question").await;
        assert_eq!(
            answer.status(),
            200,
            "{}",
            String::from_utf8_lossy(answer.body())
        );
    }

    /// One exchange that must fail; its code.
    pub(crate) async fn fails(world: &World) -> String {
        let answer = world.send(world.rest("POST", "/x"), "question").await;
        assert_eq!(answer.status(), 500, "{answer:?}");
        let fault: Value = serde_json::from_slice(answer.body()).unwrap();
        let code = fault["type"].as_str().unwrap().to_owned();
        assert_eq!(answer.headers()["x-road-error"], code.as_str());
        code
    }
}

#[path = "operations/archive.rs"]
mod archive;
#[path = "operations/authorities.rs"]
mod authorities;
#[path = "operations/certificates.rs"]
mod certificates;
#[path = "operations/clients.rs"]
mod clients;
#[path = "operations/disk.rs"]
mod disk;
#[path = "operations/registry.rs"]
mod registry;
#[path = "operations/restart.rs"]
mod restart;
#[path = "operations/signing.rs"]
mod signing;
#[path = "operations/stamping.rs"]
mod stamping;
