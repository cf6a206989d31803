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
                note: failure,
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

/// Whole seconds from `now` until `moment`, not below zero.
#[must_use]
pub fn seconds_until(moment: Timestamp, now: Timestamp) -> i64 {
    (moment - now).whole_seconds().max(0)
}
