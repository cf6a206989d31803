//! Gives every logged message a time-stamp, many at a time.
//!
//! Every interval, and earlier when many records wait, the oldest unstamped records become the leaves of a hash
//! tree; one time-stamping authority stamps its root; token, tree result and each record's chain go into the log
//! (`signatures-and-log.md` 3). A single record is a batch of one, so signed bytes are never written again.
//! An authority that fails, or takes too long, is overtaken by the next; for some minutes it is then asked last.
//! While none answers, messages still flow: the [`Gate`] closes only when that
//! has lasted longer than the acceptable period, and it opens by itself with the next stamp.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use jibek_certs::{
    digest::{Digest, DigestAlgorithm, digest},
    time::{Clock, Timestamp},
    trust::Trust,
    tsp::{TimestampRequest, TimestampToken},
};
use jibek_conf::snapshot::Snapshot;
use jibek_evidence::timestamp::{StampPlan, batch_imprint};
use jibek_msglog::{LogError, MessageLog, RecordId, StampBatch, StampChains, fault_point};
use tokio::sync::{Mutex as AsyncMutex, Notify};

pub use self::{
    gate::{Gate, GateClosed, GateState},
    tsa::{Asking, HttpTsa, TsaClient, TsaError},
};
use self::{order::Order, worker::Worker};
use crate::{conf_watch::SharedSnapshot, drain::Drain, metrics::Metrics, outbound};

mod gate;
mod order;
mod tsa;
mod worker;

/// When and with whom to stamp.
#[derive(Clone, Debug)]
pub struct StampSettings {
    /// Overrides the configuration's interval and its clamp; for demonstrations and tests.
    pub interval: Option<Duration>,
    /// Wait after a failure, if shorter than the interval; 60 s.
    pub retry_delay: Duration,
    /// Records in one batch, and how many waiting records start a run before its time; 10,000. Each takes some 1 KB while
    /// its batch is stamped.
    pub records: usize,
    /// Failing longer than this closes the gate; zero never does; 14 400 s.
    pub acceptable_failure_period: Duration,
    /// An authority that took so long without an answer is overtaken by the next, if there is one; 5 s.
    pub overtaken_after: Duration,
    /// Authorities to ask, in order; empty means every one that the own instance approves.
    pub urls: Vec<String>,
    /// Deadline for reaching an authority; 20 s.
    pub connect_timeout: Duration,
    /// Deadline for its answer; 60 s.
    pub read_timeout: Duration,
}

impl Default for StampSettings {
    fn default() -> Self {
        Self {
            interval: None,
            retry_delay: Duration::from_secs(60),
            records: 10_000,
            acceptable_failure_period: Duration::from_secs(14_400),
            overtaken_after: Duration::from_secs(5),
            urls: Vec::new(),
            connect_timeout: Duration::from_secs(20),
            read_timeout: Duration::from_secs(60),
        }
    }
}

/// The task that stamps, and what others ask of it.
#[derive(Debug)]
pub struct Timestamper {
    log: MessageLog,
    conf: SharedSnapshot,
    tsa: Arc<dyn TsaClient>,
    settings: StampSettings,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    gate: Gate,
    /// Held during a run, so that no record is stamped twice at once.
    turn: AsyncMutex<()>,
    many_waiting: Notify,
    worker: Worker,
    order: Order,
}

impl Timestamper {
    /// Makes a time-stamper; [`Timestamper::run`] sets it to work.
    #[must_use]
    pub fn new(
        log: MessageLog,
        conf: SharedSnapshot,
        tsa: Arc<dyn TsaClient>,
        settings: StampSettings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Arc<Self> {
        let gate = Gate::new(
            Arc::clone(&conf),
            settings.urls.len(),
            settings.acceptable_failure_period,
        );
        Arc::new(Self {
            log,
            conf,
            tsa,
            settings,
            clock,
            metrics,
            gate,
            turn: AsyncMutex::new(()),
            many_waiting: Notify::new(),
            worker: Worker::default(),
            order: Order::default(),
        })
    }

    /// The gate that every message passes before it is recorded.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Tells that a record was committed. Starts a run before its time when a full batch waits. Does not block.
    pub fn recorded(&self) {
        if self.log.unstamped_count() >= count(self.settings.records) {
            self.many_waiting.notify_one();
        }
    }

    /// Stamps everything that waits now; returns how many records got a stamp.
    ///
    /// # Errors
    /// When no authority gave a usable stamp, or the log could not keep it. The batches before it stay stamped.
    pub async fn stamp_waiting(&self) -> Result<usize, StampError> {
        let _turn = self.turn.lock().await;
        // What comes while we stamp waits for the next run: chasing it would make small batches.
        let waiting = self.log.unstamped_count();
        if waiting >= count(self.settings.records).saturating_mul(FAR_BEHIND) {
            tracing::warn!(
                waiting,
                batch = self.settings.records,
                "very many records wait for a time-stamp"
            );
        }
        let mut stamped = 0;
        while count(stamped) < waiting {
            let leaves = self.oldest_unstamped().await?;
            if leaves.is_empty() {
                break;
            }
            stamped += self.stamp(leaves).await?;
        }
        Ok(stamped)
    }

    /// Stamps these records now, those that have no stamp yet.
    ///
    /// # Errors
    /// As [`Timestamper::stamp_waiting`]; also when a record cannot be read.
    pub async fn stamp_now(&self, ids: &[RecordId]) -> Result<(), StampError> {
        let _turn = self.turn.lock().await;
        let leaves = self.unstamped_among(ids.to_vec()).await?;
        if !leaves.is_empty() {
            self.stamp(leaves).await?;
        }
        Ok(())
    }

    /// Stamps on schedule until the drain begins.
    pub async fn run(self: Arc<Self>, drain: Drain) {
        let mut pause = FIRST_RUN_AFTER;
        let mut failing = false;
        loop {
            tokio::select! {
                () = drain.requested() => return,
                () = self.clock.sleep(pause) => {}
                // While it fails, many waiting records are no reason to ask more often.
                () = self.many_waiting.notified(), if !failing => {}
            }
            // A run that has begun is finished: its stamp is paid for.
            let _under_way = drain.guard();
            failing = self.stamp_waiting().await.is_err();
            pause = if failing {
                self.settings
                    .retry_delay
                    .min(self.interval())
                    .max(SHORTEST_RETRY)
            } else {
                self.interval()
            };
        }
    }

    /// The time between runs: the override, else the configuration's, within X-Road's bounds.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.settings.interval.unwrap_or_else(|| {
            self.conf
                .load()
                .timestamping_interval()
                .clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
        })
    }

    /// One batch, with its outcome told to the gate, the metrics and the log of the program.
    async fn stamp(&self, leaves: Vec<Leaf>) -> Result<usize, StampError> {
        let count = leaves.len();
        let result = self.stamp_batch(leaves).await;
        let now = self.clock.now();
        self.metrics.stamp_batch(result.is_ok(), count);
        match &result {
            Ok(tsa) => {
                self.gate.succeeded(now);
                tracing::info!(records = count, tsa, "time-stamped");
            }
            Err(error) => {
                let text = outbound::chain(error);
                tracing::warn!(records = count, error = text, "not time-stamped");
                self.gate.failed(now, text);
            }
        }
        result.map(|_| count)
    }

    /// Returns the address of the authority that stamped.
    async fn stamp_batch(&self, leaves: Vec<Leaf>) -> Result<String, StampError> {
        let conf = self.conf.load_full();
        let now = self.clock.now();
        conf.check_valid(now)
            .map_err(|source| StampError::ConfigurationExpired { source })?;
        let urls = self.urls(&conf);
        if urls.is_empty() {
            return Err(StampError::NoProvider);
        }
        // Ten thousand leaves are many milliseconds of hashing and writing: not for a runtime thread.
        let planned = self.worker.run(move || {
            let (ids, digests): (Vec<_>, Vec<_>) = leaves.into_iter().unzip();
            batch_imprint(&digests).map(|plan| (ids, plan))
        });
        let (ids, plan) = planned
            .await
            .ok_or(StampError::Cancelled)?
            .map_err(|source| StampError::Plan { source })?;

        fault_point!("stamp:before-ask");
        let (url, token) = self.ask_in_turn(urls, &plan, &conf, now).await?;
        let packed = self.worker.run(move || {
            let chains: StampChains = ids.into_iter().zip(plan.chains()).collect();
            StampBatch {
                token,
                hash_chain_result: plan.imprint_data,
                chains,
            }
        });
        let batch = packed.await.ok_or(StampError::Cancelled)?;
        fault_point!("stamp:before-record");
        self.log
            .stamp(batch)
            .await
            .map_err(|source| StampError::Record { source })?;
        fault_point!("stamp:after-record");
        Ok(url)
    }

    /// Asks one authority after the other until one gives a good token. The next one's turn comes when one has failed, or
    /// has taken too long; who was asked before may still win.
    async fn ask_in_turn(
        &self,
        urls: Vec<String>,
        plan: &StampPlan,
        conf: &Snapshot,
        now: Timestamp,
    ) -> Result<(String, Bytes), StampError> {
        let request = TimestampRequest::new(&plan.imprint(), None);
        let mut waiting = self.order.of(urls, now).into_iter();
        let mut asked = FuturesUnordered::new();
        let mut under_way: Vec<String> = Vec::new();
        let mut failures = Vec::new();
        loop {
            if let Some(url) = waiting.next() {
                under_way.push(url.clone());
                let request = &request;
                asked.push(async move {
                    let token = self.ask(&url, request, plan, conf, now).await;
                    (url, token)
                });
            } else if asked.is_empty() {
                return Err(StampError::AllFailed {
                    failures: failures.join("; "),
                });
            }
            let alone = waiting.len() == 0;
            let answered = async {
                match asked.next().await {
                    Some(answered) => answered,
                    None => std::future::pending().await,
                }
            };
            let answered = tokio::select! {
                answered = answered => answered,
                () = tokio::time::sleep(self.settings.overtaken_after), if !alone => continue,
            };
            let (url, token) = answered;
            let place = under_way.iter().position(|it| *it == url);
            let place = place.unwrap_or_default();
            under_way.remove(place);
            match token {
                Ok(token) => {
                    // Those asked before it have said nothing yet.
                    self.order
                        .late(under_way.get(..place).unwrap_or_default(), now);
                    self.order.well(&url);
                    return Ok((url, token));
                }
                Err(error) => {
                    self.order.late(std::slice::from_ref(&url), now);
                    failures.push(outbound::chain(&error));
                }
            }
        }
    }

    /// Asks one authority; returns the token to keep, with the authority's certificate inside.
    async fn ask(
        &self,
        url: &str,
        request: &TimestampRequest,
        plan: &StampPlan,
        conf: &Snapshot,
        now: Timestamp,
    ) -> Result<Bytes, AskError> {
        let answer = self
            .tsa
            .request(url, request.der())
            .await
            .map_err(|source| AskError::Call {
                url: url.to_owned(),
                source,
            })?;
        let refused = |source| AskError::Refused {
            url: url.to_owned(),
            source,
        };
        let token = TimestampToken::from_response(&answer, request).map_err(refused)?;
        let stamp = token
            .verify(&plan.imprint_data, conf.timestamp_certificates())
            .map_err(refused)?;
        let difference = stamp.gen_time() - now;
        if difference.abs() > TOLERATED_DIFFERENCE {
            tracing::warn!(
                url,
                seconds = difference.whole_seconds(),
                "the time-stamping authority's clock and ours differ; evidence is judged at its time"
            );
        }
        token.with_certificate(stamp.tsa()).map_err(refused)
    }

    /// Reads the next batch and hashes it, one signature after the other: only digests stay in memory. Records that were
    /// signed together have one signature document, which is hashed once.
    async fn oldest_unstamped(&self) -> Result<Vec<Leaf>, StampError> {
        let (log, most) = (self.log.clone(), self.settings.records.max(1));
        let read = self.worker.run(move || {
            let mut leaves: Vec<Leaf> = Vec::new();
            let mut before: Option<(Bytes, Digest)> = None;
            log.each_unstamped(most, |record| {
                let digest = match &before {
                    Some((bytes, digest)) if is_same(bytes, &record.signature) => *digest,
                    _ => leaf_digest(&record.signature),
                };
                before = Some((record.signature, digest));
                leaves.push((record.id, digest));
            })
            .map_err(|source| StampError::Read { source })?;
            Ok(leaves)
        });
        read.await.ok_or(StampError::Cancelled)?
    }

    async fn unstamped_among(&self, mut ids: Vec<RecordId>) -> Result<Vec<Leaf>, StampError> {
        ids.sort_unstable();
        ids.dedup();
        let log = self.log.clone();
        let read = self.worker.run(move || {
            let mut leaves = Vec::with_capacity(ids.len());
            for id in ids {
                let record = log.read(id).map_err(|source| StampError::Read { source })?;
                if let Some(record) = record.filter(|record| record.stamp.is_none()) {
                    leaves.push((id, leaf_digest(&record.parts.signature)));
                }
            }
            Ok(leaves)
        });
        read.await.ok_or(StampError::Cancelled)?
    }

    fn urls(&self, conf: &Snapshot) -> Vec<String> {
        if self.settings.urls.is_empty() {
            conf.tsa_urls().iter().map(|tsa| tsa.url.clone()).collect()
        } else {
            self.settings.urls.clone()
        }
    }
}

/// Why a batch of records got no stamp.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StampError {
    /// No authority gave a usable stamp.
    #[error("no time-stamping authority answered well: {failures}")]
    AllFailed {
        /// What each one did, in order.
        failures: String,
    },
    /// The server is ending.
    #[error("the work was cut off")]
    Cancelled,
    /// Without a valid configuration nobody can be believed.
    #[error("the global configuration is not valid")]
    ConfigurationExpired {
        /// Which part, and since when.
        source: jibek_conf::snapshot::ConfExpired,
    },
    /// Neither the configuration nor the operator names an authority.
    #[error("no time-stamping authority is configured")]
    NoProvider,
    /// The hash tree could not be built.
    #[error("the hash tree over the records cannot be built")]
    Plan {
        /// Why.
        source: jibek_evidence::hash_chain::BuildError,
    },
    /// A record to be stamped could not be read.
    #[error("the records cannot be read")]
    Read {
        /// Why.
        source: LogError,
    },
    /// The log could not keep the stamp.
    #[error("the time-stamp cannot be recorded")]
    Record {
        /// Why.
        source: LogError,
    },
}

/// Why one authority gave no usable stamp.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("{url}")]
    Call { url: String, source: TsaError },
    #[error("{url}: the time-stamp cannot be used")]
    Refused {
        url: String,
        source: jibek_certs::tsp::TspError,
    },
}

/// A record and the digest of its signature document.
type Leaf = (RecordId, Digest);

fn leaf_digest(signature: &[u8]) -> Digest {
    digest(DigestAlgorithm::Sha512, signature)
}

/// Whether two are the same bytes in memory.
fn is_same(one: &Bytes, other: &Bytes) -> bool {
    one.as_ptr() == other.as_ptr() && one.len() == other.len()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// X-Road's bounds of the interval (`signatures-and-log.md` 3.3).
const SHORTEST_INTERVAL: Duration = Duration::from_secs(60);
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);
const FIRST_RUN_AFTER: Duration = Duration::from_secs(1);
/// Even an override of zero must not spin.
const SHORTEST_RETRY: Duration = Duration::from_millis(100);
/// Batches that wait when something is to be said about it.
const FAR_BEHIND: u64 = 10;
const TOLERATED_DIFFERENCE: time::Duration = time::Duration::minutes(5);

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
