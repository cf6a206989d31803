//! One row: load over the bus, and what it costs every process meanwhile.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    counts::PerExchange,
    load::{Job, Outcome},
    plan::{Case, PROVIDER, Shape},
    servers::Servers,
};
use crate::processes::{Process, Usage};

/// What a row over the bus gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What its messages' ids begin with.
    pub mark: String,
    /// What the consumer found.
    pub outcome: Outcome,
    /// Exchanges a second.
    pub rate: f64,
    /// Bytes of the bodies that count a second, in MB.
    pub mb_per_second: f64,
    /// Processor time an exchange, in microseconds: consumer, its server, the provider's server, provider.
    pub cpu_us: [f64; 4],
    /// Resident memory of either server before the row, in MiB.
    pub before_mib: [f64; 2],
    /// The most that it was during the row, in MiB.
    pub peak_mib: [f64; 2],
    /// Counts of both servers together.
    pub counts: PerExchange,
    /// Bytes written to one server's log an exchange, stamps with them.
    pub disk_bytes: f64,
}

/// Measures a row.
///
/// # Errors
///
/// When the load generator cannot be run or a server does not tell what it counted.
pub async fn row(
    bench: &Path,
    consumer_server: SocketAddr,
    case: &Case,
    mark: String,
    servers: &Servers,
    provider: &Process,
) -> anyhow::Result<Row> {
    servers.stamped().await?;
    servers.forget_peaks().context("cannot begin a new peak")?;
    let job = Job {
        address: consumer_server,
        tls: None,
        path: bus_path(case),
        kind: case.shape.into(),
        bytes: case.bytes,
        at_once: case.at_once,
        warm_ms: if case.most.is_some() { 0 } else { WARM_MS },
        period_ms: u64::try_from(case.period.as_millis()).unwrap_or(u64::MAX),
        most: case.most,
        mark: mark.clone(),
    };
    let page = servers.page().await?;
    let (usage, of_provider) = (servers.usage(), provider.usage());
    let outcome = load(bench, &job).await?;
    let (later, of_provider_later) = (servers.usage(), provider.usage());
    let gained = servers.page().await?.since(&page);
    servers.stamped().await?;
    let with_stamps = servers.page().await?.since(&page);
    let exchanges = as_f64(outcome.answered).max(1.0);
    let micros = |from: Usage, to: Usage| (to.cpu_seconds - from.cpu_seconds) * 1e6 / exchanges;
    let server = |index: usize, of: fn(Usage, Usage) -> f64| {
        let pair = usage.get(index).zip(later.get(index));
        pair.map_or(0.0, |(from, to)| of(*from, *to))
    };
    let server_us = |index: usize| {
        let pair = usage.get(index).zip(later.get(index));
        pair.map_or(0.0, |(from, to)| micros(*from, *to))
    };
    Ok(Row {
        rate: outcome.rate(),
        mb_per_second: outcome.rate() * as_f64(case.bytes) / 1e6,
        cpu_us: [
            outcome.cpu_seconds * 1e6 / exchanges,
            server_us(0),
            server_us(1),
            micros(of_provider, of_provider_later),
        ],
        before_mib: [0, 1].map(|index| server(index, |from, _| mib(from.resident_kib))),
        peak_mib: [0, 1].map(|index| server(index, |_, to| mib(to.peak_kib))),
        counts: PerExchange::of(&gained, exchanges),
        disk_bytes: with_stamps.sum("jibek_log_bytes_total", "") / exchanges / 2.0,
        mark,
        outcome,
    })
}

/// Runs the load generator as a process of its own.
///
/// # Errors
///
/// When it cannot be run or ends with an error.
pub async fn load(bench: &Path, job: &Job) -> anyhow::Result<Outcome> {
    let mut command = Command::new(bench);
    command
        .arg("load")
        .arg(serde_json::to_string(job)?)
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await?
        .with_context(|| format!("cannot run {}", bench.display()))?;
    anyhow::ensure!(
        output.status.success(),
        "the load generator failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("what the load generator said")
}

/// The path at which the provider is called directly.
#[must_use]
pub fn direct_path(case: &Case) -> String {
    match case.shape {
        Shape::RestDown => format!("/rest/{}", case.bytes),
        Shape::RestUp => "/rest/0".to_owned(),
        Shape::Soap => "/soap".to_owned(),
    }
}

fn bus_path(case: &Case) -> String {
    match case.shape {
        Shape::RestDown | Shape::RestUp => format!("/r1/{PROVIDER}{}", direct_path(case)),
        Shape::Soap => "/".to_owned(),
    }
}

/// KiB as MiB.
#[expect(clippy::cast_precision_loss, reason = "memory of a process in KiB")]
#[must_use]
pub fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// A count for a division.
#[expect(clippy::cast_precision_loss, reason = "counts of a bench are small")]
#[must_use]
pub fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Connections are opened and caches warmed so long before a row counts.
const WARM_MS: u64 = 500;
