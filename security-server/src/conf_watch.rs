//! Keeps the global configuration current: one immutable snapshot behind an atomic pointer.
//!
//! A message takes one [`Snapshot`] and keeps it. The watcher asks its source on schedule, with some jitter so that
//! the servers of a country do not all ask in the same second, and swaps the pointer when something new was
//! verified. A failed download changes nothing: the snapshot in force stays until it expires by itself
//! (`registry-and-globalconf.md` 1.8), and what failed is shown in words. A federated instance that expires goes out of
//! force at that moment, by itself.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use jibek_certs::time::{Clock, Timestamp};
use jibek_conf::{
    fetch::Fetcher,
    model::{
        ManagementService, NEWEST_VERSION, PrivateParameters, SharedParameters, SourceAddress,
    },
    part::{render_private, render_shared},
    snapshot::{InstanceParts, Snapshot},
};
use jibek_protocol::id::ClientId;
use tokio::sync::{Mutex as AsyncMutex, Notify, watch};

use crate::{drain::Drain, metrics::Metrics, outbound};

/// The snapshot in force; load it once per message.
pub type SharedSnapshot = Arc<ArcSwap<Snapshot>>;

/// The future of [`ConfSource::refresh`].
pub type Refreshing<'a> =
    Pin<Box<dyn Future<Output = Result<Arc<Snapshot>, ConfSourceError>> + Send + 'a>>;

/// Makes the snapshot of a server that has not downloaded anything yet: it knows its instance's name and is expired.
///
/// # Errors
/// When `own_instance` is not a name that an instance can have.
pub fn empty_snapshot(own_instance: &str) -> Result<Arc<Snapshot>, EmptySnapshotError> {
    let failed = |source| EmptySnapshotError {
        instance: own_instance.to_owned(),
        source,
    };
    let mut shared = SharedParameters::new(own_instance);
    // The format wants a source; nobody ever asks this one.
    shared.sources.push(SourceAddress {
        address: "unknown.invalid".to_owned(),
        internal_certificates: Vec::new(),
        external_certificates: Vec::new(),
    });
    let shared = render_shared(&shared, NEWEST_VERSION).map_err(|source| failed(source.into()))?;
    let provider = ClientId::new(own_instance, "NONE", "none", None)
        .map_err(|source| failed(source.into()))?;
    let private = PrivateParameters::new(
        own_instance,
        ManagementService {
            registration_url: "https://unknown.invalid".to_owned(),
            registration_certificate: None,
            provider,
        },
    );
    let mut parts = InstanceParts::new(own_instance, NEWEST_VERSION, shared);
    parts.private = Some(render_private(&private).into());
    let snapshot =
        Snapshot::from_parts(own_instance, vec![parts]).map_err(|source| failed(source.into()))?;
    Ok(Arc::new(snapshot.with_expiry(
        Some(Timestamp::UNIX_EPOCH),
        Some(Timestamp::UNIX_EPOCH),
    )))
}

/// Why there is no empty snapshot.
#[derive(Debug, thiserror::Error)]
#[error("no configuration can be made for instance {instance}")]
pub struct EmptySnapshotError {
    /// The name.
    pub instance: String,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Where configuration comes from: the anchor's sources, or a test's.
pub trait ConfSource: Send {
    /// Downloads and verifies at `now`; returns the snapshot that is then valid, which may be the same as before.
    fn refresh(&mut self, now: Timestamp) -> Refreshing<'_>;

    /// How long to wait after a failed download; `interval` unless the source knows better.
    fn pause_after_failure(&self, interval: Duration) -> Duration {
        interval
    }
}

impl ConfSource for Fetcher {
    fn refresh(&mut self, now: Timestamp) -> Refreshing<'_> {
        Box::pin(async move {
            Self::refresh(self, now)
                .await
                .map_err(|source| ConfSourceError {
                    source: Box::new(source),
                })
        })
    }

    fn pause_after_failure(&self, interval: Duration) -> Duration {
        self.next_refresh_in().min(interval)
    }
}

/// Why a download of the configuration failed.
#[derive(Debug, thiserror::Error)]
#[error("the global configuration could not be downloaded")]
pub struct ConfSourceError {
    /// What went wrong, from the source.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// When to ask.
#[derive(Clone, Copy, Debug)]
pub struct ConfWatchSettings {
    /// Time between the end of one download and the start of the next; 60 s.
    pub interval: Duration,
    /// Each wait is stretched or shortened by up to this part of the interval; 0.1.
    pub jitter: f64,
    /// Seed of the jitter, different on each server.
    pub jitter_seed: u64,
}

impl Default for ConfWatchSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            jitter: 0.1,
            jitter_seed: 0,
        }
    }
}

/// How the downloads went.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ConfStatus {
    /// When a download last succeeded; none since the start if absent.
    pub last_success: Option<Timestamp>,
    /// The last failure and its words, if nothing succeeded after it.
    pub last_error: Option<(Timestamp, String)>,
    /// Downloads that succeeded.
    pub refreshes: u64,
    /// Downloads that failed.
    pub failures: u64,
}

/// The watcher.
pub struct ConfWatch {
    current: SharedSnapshot,
    source: AsyncMutex<Box<dyn ConfSource>>,
    settings: ConfWatchSettings,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    status: Mutex<ConfStatus>,
    changes: watch::Sender<u64>,
    asked: Notify,
}

impl ConfWatch {
    /// Makes a watcher that shows `initial` until its source gives something else.
    ///
    /// `initial` is what lies on disk, or an empty snapshot: it is not valid, so messages are refused, but the
    /// server may start before its registry.
    #[must_use]
    pub fn new(
        source: Box<dyn ConfSource>,
        initial: Arc<Snapshot>,
        settings: ConfWatchSettings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Arc<Self> {
        let initial = match initial.without_expired(clock.now()) {
            Some(rest) => Arc::new(rest),
            None => initial,
        };
        Arc::new(Self {
            current: Arc::new(ArcSwap::new(initial)),
            source: AsyncMutex::new(source),
            settings,
            clock,
            metrics,
            status: Mutex::new(ConfStatus::default()),
            changes: watch::Sender::new(0),
            asked: Notify::new(),
        })
    }

    /// The snapshot in force now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The pointer itself, for those who load it once per message.
    #[must_use]
    pub fn shared(&self) -> SharedSnapshot {
        Arc::clone(&self.current)
    }

    /// How the downloads went.
    #[must_use]
    pub fn status(&self) -> ConfStatus {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Counts up whenever the content in force has changed: then open connections are judged again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Asks for a download now instead of at the next turn.
    pub fn ask(&self) {
        self.asked.notify_one();
    }

    /// Downloads once and puts the result in force.
    ///
    /// # Errors
    /// What the source says; the snapshot in force stays. Cancel safe, except that the download starts anew.
    pub async fn refresh(&self) -> Result<Arc<Snapshot>, ConfSourceError> {
        let mut source = self.source.lock().await;
        let result = source.refresh(self.clock.now()).await;
        self.drop_expired().await;
        let now = self.clock.now();
        self.metrics.configuration_refresh(result.is_ok());
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(snapshot) => {
                status.last_success = Some(now);
                status.last_error = None;
                status.refreshes += 1;
                let before = self.current.swap(Arc::clone(snapshot));
                // A renewed expiry alone is no change for those who judge by content.
                if before.content_id() != snapshot.content_id() {
                    self.changes.send_modify(|count| *count += 1);
                }
            }
            Err(error) => {
                let text = outbound::chain(error);
                tracing::warn!(error = text, "global configuration not downloaded");
                status.last_error = Some((now, text));
                status.failures += 1;
            }
        }
        result
    }

    /// Takes expired foreign instances out of force.
    async fn drop_expired(&self) {
        let before = self.snapshot();
        let now = self.clock.now();
        if before.next_foreign_expiry().is_none_or(|next| now <= next) {
            return;
        }
        // What is left gets new indexes, which takes its time in a large country.
        let whole = Arc::clone(&before);
        let rest = tokio::task::spawn_blocking(move || whole.without_expired(now));
        if let Ok(Some(rest)) = rest.await {
            for warning in rest.warnings() {
                tracing::warn!(warning, "a federated instance is out of force");
            }
            // Unless a download has put something newer in force meanwhile.
            let found = self.current.compare_and_swap(&before, Arc::new(rest));
            if Arc::ptr_eq(&found, &before) {
                self.changes.send_modify(|count| *count += 1);
            }
        }
    }

    /// Downloads on schedule until the drain begins. The first wait comes first: call [`ConfWatch::refresh`]
    /// before, if the start shall wait for it.
    pub async fn run(self: Arc<Self>, drain: Drain) {
        let mut jitter = Jitter::new(self.settings.jitter_seed);
        loop {
            let failing = self.status().last_error.is_some();
            let pause = if failing {
                self.source
                    .lock()
                    .await
                    .pause_after_failure(self.settings.interval)
            } else {
                self.settings.interval
            };
            let pause = jitter.stretch(pause, self.settings.jitter);
            let next = self.clock.now() + pause;
            loop {
                let expiry = self.snapshot().next_foreign_expiry();
                // Valid still at that very moment.
                let expiry = expiry.map(|expiry| expiry + Duration::from_millis(1));
                tokio::select! {
                    () = drain.requested() => return,
                    () = self.clock.sleep_until(expiry.map_or(next, |expiry| next.min(expiry))) => {}
                    () = self.asked.notified() => break,
                }
                self.drop_expired().await;
                if self.clock.now() >= next {
                    break;
                }
            }
            tokio::select! {
                () = drain.requested() => return,
                // What failed has been recorded by `refresh`.
                _recorded = self.refresh() => {}
            }
        }
    }
}

impl fmt::Debug for ConfWatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ConfWatch")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// A small generator (SplitMix64) for spreading moments; nothing secret hangs on it.
#[derive(Clone, Debug)]
pub(crate) struct Jitter {
    state: u64,
}

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns `duration` times a factor between 1 - `part` and 1 + `part`.
    pub(crate) fn stretch(&mut self, duration: Duration, part: f64) -> Duration {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let unit = f64::from(u32::try_from(mixed >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        let part = part.clamp(0.0, 1.0);
        duration.mul_f64(1.0 - part + 2.0 * part * unit)
    }
}

#[cfg(test)]
mod tests;
