//! The same calls without the bus: same consumer, same provider, plain HTTP and mutual TLS.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf};

use serde::Serialize;

use super::{
    load::{Job, Outcome},
    measure,
    plan::{Case, Shape},
};
use crate::processes::Process;

/// How a row's calls do without the bus.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Yardstick {
    /// Over plain HTTP with keep-alive.
    pub http: Direct,
    /// Over mutual TLS.
    pub tls: Direct,
}

/// Direct calls of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Direct {
    /// What the consumer found.
    pub outcome: Outcome,
    /// Calls a second.
    pub rate: f64,
    /// Processor time of consumer and provider a call, in microseconds.
    pub cpu_us: f64,
}

/// Where the provider is, and what was measured already: calls of the same shape, size and number are measured once.
#[derive(Debug)]
pub struct Yardsticks {
    bench: PathBuf,
    plain: SocketAddr,
    secure: SocketAddr,
    key: PathBuf,
    known: HashMap<(Shape, u64, usize), Yardstick>,
}

impl Yardsticks {
    /// With the provider listening on `plain` and `secure`, the key for TLS in `key`, and this program at `bench`.
    #[must_use]
    pub fn new(bench: PathBuf, plain: SocketAddr, secure: SocketAddr, key: PathBuf) -> Self {
        Self {
            bench,
            plain,
            secure,
            key,
            known: HashMap::new(),
        }
    }

    /// Measures the calls of a row directly.
    ///
    /// # Errors
    ///
    /// When the load generator cannot be run.
    pub async fn of(&mut self, case: &Case, provider: &Process) -> anyhow::Result<Yardstick> {
        let key = (case.shape, case.bytes, case.at_once);
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let mut job = Job {
            address: self.plain,
            tls: None,
            path: measure::direct_path(case),
            kind: case.shape.into(),
            bytes: case.bytes,
            at_once: case.at_once,
            warm_ms: 200,
            period_ms: 1000,
            most: case.most,
            mark: "direct".to_owned(),
        };
        let http = self.direct(&job, provider).await?;
        job.address = self.secure;
        job.tls = Some(self.key.clone());
        let tls = self.direct(&job, provider).await?;
        let yardstick = Yardstick { http, tls };
        self.known.insert(key, yardstick.clone());
        Ok(yardstick)
    }

    async fn direct(&self, job: &Job, provider: &Process) -> anyhow::Result<Direct> {
        let before = provider.usage();
        let outcome = measure::load(&self.bench, job).await?;
        let after = provider.usage();
        let calls = measure::as_f64(outcome.answered).max(1.0);
        let cpu = outcome.cpu_seconds + after.cpu_seconds - before.cpu_seconds;
        Ok(Direct {
            rate: outcome.rate(),
            cpu_us: cpu * 1e6 / calls,
            outcome,
        })
    }
}
