//! Values that `/metrics` reads from the server's parts at the moment of a scrape.

use std::sync::Arc;

use jibek_certs::time::Clock;
use jibek_msglog::MessageLog;
use prometheus_client::registry::Unit;

use super::checks::seconds_until;
use crate::{
    conf_watch::ConfWatch,
    metrics::{Metrics, Sample, Sampled},
    timestamper::Gate,
};

/// Shows what waits for a time-stamp, what the log has done, and how long configuration and stamping still hold.
pub fn register(
    metrics: &Metrics,
    log: &MessageLog,
    gate: &Gate,
    conf: &Arc<ConfWatch>,
    clock: &Arc<dyn Clock>,
) {
    let add = |sampled| metrics.register_collector(Box::new(sampled));
    add(Sampled::gauge(
        "unstamped_records",
        "Records that wait for a time-stamp",
        None,
        {
            let log = log.clone();
            move || Some(Sample::from(log.unstamped_count()))
        },
    ));
    add(Sampled::counter(
        "log_commits",
        "Messages recorded",
        None,
        {
            let log = log.clone();
            move || Some(Sample::from(log.stats().commits))
        },
    ));
    add(Sampled::counter(
        "log_syncs",
        "Times the log waited for the disk",
        None,
        {
            let log = log.clone();
            move || Some(Sample::from(log.stats().syncs))
        },
    ));
    add(Sampled::counter(
        "log_written",
        "Bytes written to the log",
        Some(Unit::Bytes),
        {
            let log = log.clone();
            move || Some(Sample::from(log.stats().bytes))
        },
    ));
    add(Sampled::gauge(
        "stamping_gate_open",
        "1 while messages may be recorded",
        None,
        {
            let (gate, clock) = (gate.clone(), Arc::clone(clock));
            move || Some(Sample::from(u64::from(gate.check(clock.now()).is_ok())))
        },
    ));
    add(Sampled::gauge(
        "stamping_left",
        "Time until messages are refused because no time-stamp can be had; absent while stamping works",
        Some(Unit::Seconds),
        {
            let (gate, clock) = (gate.clone(), Arc::clone(clock));
            move || {
                Some(seconds(
                    gate.state()
                        .closes_at
                        .map(|closes| seconds_until(closes, clock.now()))?,
                ))
            }
        },
    ));
    add(Sampled::gauge(
        "configuration_left",
        "Time until the global configuration in force expires",
        Some(Unit::Seconds),
        {
            let (conf, clock) = (Arc::clone(conf), Arc::clone(clock));
            move || {
                Some(seconds(seconds_until(
                    conf.snapshot().expires_at()?,
                    clock.now(),
                )))
            }
        },
    ));
}

fn seconds(left: i64) -> Sample {
    Sample::from(u64::try_from(left).unwrap_or_default())
}
