//! What must hold for a message to succeed now (`message-path.md` 7.4, and more than X-Road asks of itself).

use std::sync::Arc;

use jibek_certs::time::Timestamp;
use jibek_conf::snapshot::Snapshot;
use jibek_msglog::MessageLog;

use super::{Check, CheckState, Judging};
use crate::{conf_watch::ConfWatch, outbound, timestamper::Gate};

/// The global configuration is valid.
#[must_use]
pub fn configuration(watch: Arc<ConfWatch>) -> impl Check {
    ConfigurationCheck { watch }
}

/// Records get their time-stamps, or have not been without for too long.
#[must_use]
pub fn stamping(gate: Gate) -> impl Check {
    StampingCheck { gate }
}

/// The log can take another message.
#[must_use]
pub fn log(log: MessageLog) -> impl Check {
    LogCheck { log }
}

/// The global configuration is valid; says when it expires and why it is not renewed.
#[derive(Debug)]
struct ConfigurationCheck {
    watch: Arc<ConfWatch>,
}

impl Check for ConfigurationCheck {
    fn name(&self) -> &'static str {
        "configuration"
    }

    fn state(&self, now: Timestamp) -> Judging<'_> {
        let state = self.judge(now);
        Box::pin(async move { state })
    }
}

impl ConfigurationCheck {
    fn judge(&self, now: Timestamp) -> CheckState {
        let snapshot: Arc<Snapshot> = self.watch.snapshot();
        let failure = self.watch.status().last_error.map(|(_, words)| words);
        match (snapshot.check_valid(now), failure) {
            (Ok(()), failure) => CheckState::Ready {
                note: notes(failure, snapshot.warnings()),
                seconds_left: snapshot
                    .expires_at()
                    .map(|expires| seconds_until(expires, now)),
            },
            (Err(expired), Some(failure)) => CheckState::not_ready(format!(
                "{}; last download: {failure}",
                outbound::chain(&expired)
            )),
            (Err(expired), None) => CheckState::not_ready(outbound::chain(&expired)),
        }
    }
}

/// Why the configuration is not renewed, and what else is amiss with it.
fn notes(failure: Option<String>, warnings: &[String]) -> Option<String> {
    let warnings = warnings.iter().take(MOST_WARNINGS).cloned();
    let all: Vec<_> = failure.into_iter().chain(warnings).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Records get their time-stamps, or have not been without for too long; counts down while they do not.
#[derive(Debug)]
struct StampingCheck {
    gate: Gate,
}

impl Check for StampingCheck {
    fn name(&self) -> &'static str {
        "stamping"
    }

    fn state(&self, now: Timestamp) -> Judging<'_> {
        let state = self.judge(now);
        Box::pin(async move { state })
    }
}

impl StampingCheck {
    fn judge(&self, now: Timestamp) -> CheckState {
        let state = self.gate.state();
        if let Err(closed) = self.gate.check(now) {
            return CheckState::not_ready(match state.last_error {
                Some(words) => format!("{closed}; last try: {words}"),
                None => closed.to_string(),
            });
        }
        CheckState::Ready {
            note: state.last_error,
            seconds_left: state.closes_at.map(|closes| seconds_until(closes, now)),
        }
    }
}

/// The log can take another message.
#[derive(Debug)]
struct LogCheck {
    log: MessageLog,
}

impl Check for LogCheck {
    fn name(&self) -> &'static str {
        "log"
    }

    fn state(&self, _now: Timestamp) -> Judging<'_> {
        Box::pin(async move {
            match self.log.writable().await {
                Ok(()) => CheckState::ready(),
                Err(error) => CheckState::not_ready(outbound::chain(&error)),
            }
        })
    }
}

/// More would hide the first ones.
const MOST_WARNINGS: usize = 20;

/// Whole seconds from `now` until `moment`, not below zero.
#[must_use]
pub fn seconds_until(moment: Timestamp, now: Timestamp) -> i64 {
    (moment - now).whole_seconds().max(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jibek_certs::time::{Clock, TestClock};
    use jibek_msglog::{LogConfig, fs::OsFs};
    use time::macros::datetime;

    use super::*;
    use crate::{
        conf_watch::{ConfSource, ConfSourceError, ConfWatchSettings, Refreshing, empty_snapshot},
        metrics::Metrics,
    };

    struct Off;

    impl ConfSource for Off {
        fn refresh(&mut self, _now: Timestamp) -> Refreshing<'_> {
            Box::pin(async {
                Err(ConfSourceError {
                    source: "the registry is off".into(),
                })
            })
        }
    }

    #[tokio::test]
    async fn the_configuration_counts_down_and_says_why_it_is_not_renewed() {
        let clock = TestClock::new(datetime!(2026-11-23 05:00 UTC));
        let expires = clock.now() + time::Duration::minutes(10);
        let snapshot = empty_snapshot("DEV")
            .unwrap()
            .with_expiry(Some(expires), Some(expires));
        let watch = ConfWatch::new(
            Box::new(Off),
            Arc::new(snapshot),
            ConfWatchSettings::default(),
            Arc::new(clock.clone()),
            Metrics::new(),
        );
        let check = configuration(Arc::clone(&watch));
        let ready = |note: Option<&str>, seconds_left| CheckState::Ready {
            note: note.map(str::to_owned),
            seconds_left: Some(seconds_left),
        };
        assert_eq!(check.state(clock.now()).await, ready(None, 600));

        watch.refresh().await.unwrap_err();
        clock.advance(std::time::Duration::from_secs(590));
        let why = "the global configuration could not be downloaded: the registry is off";
        assert_eq!(check.state(clock.now()).await, ready(Some(why), 10));

        clock.advance(std::time::Duration::from_secs(11));
        match check.state(clock.now()).await {
            CheckState::NotReady { reason } => {
                assert!(reason.contains("SHARED-PARAMETERS"), "{reason}");
                assert!(reason.ends_with("the registry is off"), "{reason}");
            }
            ready => panic!("{ready:?}"),
        }
    }

    #[tokio::test]
    async fn a_log_that_was_closed_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (open, _) = MessageLog::open(LogConfig::new(dir.path()), OsFs::shared()).unwrap();
        let check = log(open.clone());
        let now = datetime!(2026-11-23 05:00 UTC);
        assert_eq!(check.state(now).await, CheckState::ready());
        open.close().await;
        assert!(matches!(
            check.state(now).await,
            CheckState::NotReady { .. }
        ));
    }
}
