//! Whether messages may be recorded although stamps are missing (`signatures-and-log.md` 3.4).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jibek_certs::time::Timestamp;

use crate::conf_watch::SharedSnapshot;

/// The gate of the message path; cheap to clone, asked once per message.
#[derive(Clone, Debug)]
pub struct Gate {
    inner: Arc<Inner>,
}

impl Gate {
    /// Makes an open gate. `own_urls` counts the authorities that the operator named; if none, the
    /// configuration's count. A `period` of zero never closes it for failing.
    pub(crate) fn new(conf: SharedSnapshot, own_urls: usize, period: Duration) -> Self {
        Self {
            inner: Arc::new(Inner {
                conf,
                own_urls,
                period,
                state: Mutex::default(),
            }),
        }
    }

    /// Tells whether a message may be recorded at `now`.
    ///
    /// # Errors
    /// When no authority is configured, or stamping has been failing for longer than the acceptable period.
    pub fn check(&self, now: Timestamp) -> Result<(), GateClosed> {
        if self.providers() == 0 {
            return Err(GateClosed::NoProvider);
        }
        let since = self.lock().failing_since;
        match since {
            Some(since)
                if !self.inner.period.is_zero() && now > closing(since, self.inner.period) =>
            {
                Err(GateClosed::Failing {
                    since,
                    period: self.inner.period,
                    now,
                })
            }
            _ => Ok(()),
        }
    }

    /// What stands behind [`Gate::check`], for those who watch.
    #[must_use]
    pub fn state(&self) -> GateState {
        let state = self.lock();
        GateState {
            providers: self.providers(),
            failing_since: state.failing_since,
            closes_at: state
                .failing_since
                .filter(|_| !self.inner.period.is_zero())
                .map(|since| closing(since, self.inner.period)),
            last_success: state.last_success,
            last_error: state.last_error.clone(),
        }
    }

    /// A batch was stamped: whatever failed before is over.
    pub(crate) fn succeeded(&self, now: Timestamp) {
        let mut state = self.lock();
        state.failing_since = None;
        state.last_error = None;
        state.last_success = Some(now);
    }

    /// A batch with at least one record was not stamped.
    pub(crate) fn failed(&self, now: Timestamp, error: String) {
        let mut state = self.lock();
        state.failing_since.get_or_insert(now);
        state.last_error = Some(error);
    }

    fn providers(&self) -> usize {
        match self.inner.own_urls {
            0 => self.inner.conf.load().tsa_urls().len(),
            own => own,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why no message may be recorded.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GateClosed {
    /// Stamping has been failing for too long.
    #[error("time-stamping has been failing since {since}, longer than the acceptable {} s", period.as_secs())]
    Failing {
        /// The first failure of the stretch.
        since: Timestamp,
        /// The acceptable period.
        period: Duration,
        /// The moment of the question.
        now: Timestamp,
    },
    /// Nobody is there to stamp.
    #[error("no time-stamping authority is configured")]
    NoProvider,
}

impl GateClosed {
    /// The base code of the fault (`message-path.md` 2.7), without the prefixes of side and `logging_failed`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Failing { .. } => "timestamping_failed",
            Self::NoProvider => "mlog.no_timestamping_provider_found",
        }
    }
}

/// The state of time-stamping.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GateState {
    /// Authorities that would be asked.
    pub providers: usize,
    /// The first failure of the present stretch of failures.
    pub failing_since: Option<Timestamp>,
    /// When the gate closes, or closed, unless a stamp comes.
    pub closes_at: Option<Timestamp>,
    /// The last stamp since the start.
    pub last_success: Option<Timestamp>,
    /// The last failure in words, if no stamp came after it.
    pub last_error: Option<String>,
}

#[derive(Debug)]
struct Inner {
    conf: SharedSnapshot,
    own_urls: usize,
    period: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failing_since: Option<Timestamp>,
    last_success: Option<Timestamp>,
    last_error: Option<String>,
}

fn closing(since: Timestamp, period: Duration) -> Timestamp {
    since.saturating_add(time::Duration::try_from(period).unwrap_or(time::Duration::MAX))
}
