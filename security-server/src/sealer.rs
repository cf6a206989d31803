//! One task per signing key: it takes whatever waits, signs once, hands each message its chain.
//!
//! Idle, a batch is one message and nothing waits. Loaded, the batch grows by itself (`signatures-and-log.md` 2.6): the next
//! signature waits for company (`pace.rs`).

mod pace;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use jibek_certs::time::Clock;
use jibek_evidence::seal::{self, PartDigests, Sealed, SealingIdentity};
use jibek_protocol::id::MemberId;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    conf_watch::ConfWatch,
    config::Sealing,
    keys::{KeyRing, SignKey},
    metrics::Metrics,
    ocsp::OcspKeeper,
};
use pace::Pace;

/// Messages that may wait for one key.
const QUEUE: usize = 4096;

/// Why nothing could be signed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// No sign key with a certificate is active for the member.
    #[error("no active sign key with a certificate for member {member}")]
    NoKey {
        /// Whose message it is.
        member: MemberId,
    },
    /// A certificate of the chain has no fresh OCSP answer.
    #[error("no fresh OCSP answer for the sign certificate of {member}: {reason}")]
    NoOcsp {
        /// Whose message it is.
        member: MemberId,
        /// Which certificate, and since when.
        reason: String,
    },
    /// The key refused.
    #[error("signing failed: {reason}")]
    Failed {
        /// What the token said.
        reason: String,
    },
    /// Too many messages wait for this key.
    #[error("more than {QUEUE} messages wait for one signing key")]
    Overloaded,
    /// The server stops.
    #[error("the server is stopping")]
    Stopping,
}

/// Seals messages of all members that have a key on this server.
#[derive(Debug)]
pub(crate) struct Sealer {
    keys: Arc<KeyRing>,
    ocsp: Arc<OcspKeeper>,
    conf: Arc<ConfWatch>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    settings: Sealing,
    queues: Mutex<HashMap<[u8; 32], mpsc::Sender<Job>>>,
}

#[derive(Debug)]
struct Job {
    member: MemberId,
    key: Arc<SignKey>,
    parts: PartDigests,
    done: oneshot::Sender<Result<Sealed, SealError>>,
}

/// An identity and what it was rendered from.
struct Prepared {
    ocsp: Vec<Bytes>,
    identity: Arc<SealingIdentity>,
}

impl Sealer {
    pub(crate) fn new(
        keys: Arc<KeyRing>,
        ocsp: Arc<OcspKeeper>,
        conf: Arc<ConfWatch>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        settings: Sealing,
    ) -> Arc<Self> {
        Arc::new(Self {
            keys,
            ocsp,
            conf,
            clock,
            metrics,
            settings,
            queues: Mutex::default(),
        })
    }

    /// Tells whether a message of `member` could be sealed now: key, certificate, fresh OCSP answers.
    pub(crate) fn ready(&self, member: &MemberId) -> Result<(), SealError> {
        let key = self.key(member)?;
        self.ocsp_chain(member, &key).map(|_| ())
    }

    /// Signs one message, together with all that wait for the same key.
    ///
    /// Cancel safe: a cancelled call leaves its message in the batch; the signature is dropped.
    pub(crate) async fn seal(
        self: &Arc<Self>,
        member: &MemberId,
        parts: PartDigests,
    ) -> Result<Sealed, SealError> {
        let key = self.key(member)?;
        let (done, result) = oneshot::channel();
        let job = Job {
            member: member.clone(),
            key: Arc::clone(&key),
            parts,
            done,
        };
        self.queue(&key)
            .try_send(job)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SealError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => SealError::Stopping,
            })?;
        result.await.map_err(|_| SealError::Stopping)?
    }

    fn key(&self, member: &MemberId) -> Result<Arc<SignKey>, SealError> {
        self.keys
            .current()
            .sign_for(member)
            .cloned()
            .ok_or_else(|| SealError::NoKey {
                member: member.clone(),
            })
    }

    fn queue(self: &Arc<Self>, key: &SignKey) -> mpsc::Sender<Job> {
        let id = key.certificate().sha256();
        let mut queues = self
            .queues
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        queues.retain(|_, queue| !queue.is_closed());
        queues
            .entry(id)
            .or_insert_with(|| {
                let (sender, receiver) = mpsc::channel(QUEUE);
                let queue = Queue {
                    receiver,
                    pace: Pace::new(self.settings),
                    metrics: self.metrics.clone(),
                };
                tokio::spawn(run(Arc::downgrade(self), queue));
                sender
            })
            .clone()
    }

    fn ocsp_chain(&self, member: &MemberId, key: &SignKey) -> Result<Vec<Bytes>, SealError> {
        self.ocsp
            .fresh_chain(key.certificate(), &self.conf.snapshot(), self.clock.now())
            .map_err(|missing| SealError::NoOcsp {
                member: member.clone(),
                reason: missing.to_string(),
            })
    }

    fn prepare(
        &self,
        job: &Job,
        prepared: &mut Option<Prepared>,
    ) -> Result<Arc<SealingIdentity>, SealError> {
        let ocsp = self.ocsp_chain(&job.member, &job.key)?;
        if let Some(ready) = prepared.as_ref().filter(|ready| ready.ocsp == ocsp) {
            return Ok(Arc::clone(&ready.identity));
        }
        let identity = SealingIdentity::new(
            job.key.certificate().clone(),
            job.key.chain().to_vec(),
            ocsp.clone(),
            job.key.signer(),
        )
        .map_err(|error| SealError::Failed {
            reason: error.to_string(),
        })?;
        let identity = Arc::new(identity);
        *prepared = Some(Prepared {
            ocsp,
            identity: Arc::clone(&identity),
        });
        Ok(identity)
    }
}

/// What waits for one key.
struct Queue {
    receiver: mpsc::Receiver<Job>,
    pace: Pace,
    metrics: Metrics,
}

impl Queue {
    /// Waits for a message, and then for others as long as [`Pace`] has it; leaves `jobs` empty when there will be none any more.
    async fn gather(&mut self, jobs: &mut Vec<Job>) {
        let most = self.pace.most();
        self.receiver.recv_many(jobs, most).await;
        let start = self.pace.earliest_start();
        while !jobs.is_empty() && jobs.len() < most && jobs.len() < self.metrics.under_way() {
            let room = most.saturating_sub(jobs.len());
            match timeout_at(start, self.receiver.recv_many(jobs, room)).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

async fn run(sealer: std::sync::Weak<Sealer>, mut queue: Queue) {
    let mut prepared = None;
    let mut jobs = Vec::new();
    loop {
        jobs.clear();
        queue.gather(&mut jobs).await;
        if jobs.is_empty() {
            return;
        }
        let Some(sealer) = sealer.upgrade() else {
            return;
        };
        let Some(first) = jobs.first() else { continue };
        let identity = match sealer.prepare(first, &mut prepared) {
            Ok(identity) => identity,
            Err(error) => {
                for job in jobs.drain(..) {
                    let _ = job.done.send(Err(error.clone()));
                }
                continue;
            }
        };
        let parts: Vec<_> = jobs.iter().map(|job| job.parts.clone()).collect();
        let now = sealer.clock.now();
        drop(sealer);
        let started = Instant::now();
        let signed = tokio::task::spawn_blocking(move || seal::seal(&identity, &parts, now)).await;
        queue.pace.signed(started, started.elapsed());
        match signed {
            Ok(Ok(sealed)) => {
                queue.metrics.signature(sealed.len());
                for (job, sealed) in jobs.drain(..).zip(sealed) {
                    let _ = job.done.send(Ok(sealed));
                }
            }
            Ok(Err(error)) => fail(&mut jobs, &error.to_string()),
            Err(_) => fail(&mut jobs, "the signing task ended"),
        }
    }
}

fn fail(jobs: &mut Vec<Job>, reason: &str) {
    for job in jobs.drain(..) {
        let _ = job.done.send(Err(SealError::Failed {
            reason: reason.to_owned(),
        }));
    }
}
