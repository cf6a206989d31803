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
        "log",
        "Bytes written to the log's segments and indexes",
        Some(Unit::Bytes),
        {
            let log = log.clone();
            move || Some(Sample::from(log.stats().bytes))
        },
    ));
    add(Sampled::counter(
        "log_body",
        "Bytes of bodies that the log took, in segments and in files of their own",
        Some(Unit::Bytes),
        {
            let log = log.clone();
            move || Some(Sample::from(log.stats().body_bytes))
        },
    ));
    add(Sampled::counter(
        "log_batches",
        "Batches that the log wrote, each of one or more messages",
        None,
        {
            let log = log.clone();
            move || Some(Sample::from(log.stats().batches))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jibek_certs::time::TestClock;
    use jibek_msglog::{LogConfig, fs::OsFs};
    use time::macros::datetime;

    use super::*;
    use crate::conf_watch::{
        ConfSource, ConfSourceError, ConfWatchSettings, Refreshing, empty_snapshot,
    };

    struct Off;

    impl ConfSource for Off {
        fn refresh(&mut self, _now: jibek_certs::time::Timestamp) -> Refreshing<'_> {
            Box::pin(async {
                Err(ConfSourceError {
                    source: "off".into(),
                })
            })
        }
    }

    #[tokio::test]
    async fn the_page_shows_what_waits_and_how_long_things_hold() {
        let clock = TestClock::new(datetime!(2026-11-23 05:00 UTC));
        let expires = clock.now() + time::Duration::minutes(10);
        let snapshot = empty_snapshot("DEV")
            .unwrap()
            .with_expiry(Some(expires), None);
        let metrics = Metrics::new();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let watch = ConfWatch::new(
            Box::new(Off),
            Arc::new(snapshot),
            ConfWatchSettings::default(),
            Arc::clone(&shared),
            metrics.clone(),
        );
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = MessageLog::open(LogConfig::new(dir.path()), OsFs::shared()).unwrap();
        let gate = Gate::new(watch.shared(), 1, Duration::from_secs(3600));
        register(&metrics, &log, &gate, &watch, &shared);
        let has = |line: &str| {
            let page = metrics.render();
            assert!(page.lines().any(|one| one == line), "{line}\n{page}");
        };
        has("jibek_unstamped_records 0.0");
        for count in ["commits", "syncs", "bytes", "body_bytes", "batches"] {
            let family = format!("jibek_log_{count}_total ");
            assert!(metrics.render().contains(&family), "{family}");
        }
        has("jibek_log_commits_total 0");
        has("jibek_stamping_gate_open 1.0");
        has("jibek_configuration_left_seconds 600.0");
        assert!(!metrics.render().contains("jibek_stamping_left_seconds"));

        gate.failed(clock.now(), "refused".to_owned());
        clock.advance(Duration::from_secs(60));
        has("jibek_stamping_left_seconds 3540.0");
        has("jibek_configuration_left_seconds 540.0");
        clock.advance(Duration::from_secs(3541));
        has("jibek_stamping_gate_open 0.0");
        has("jibek_configuration_left_seconds 0.0");
    }
}
