//! Once only: a signed request is executed once, however often it arrives (`architecture.md`, "Where we differ").
//!
//! A request is known by its client, its `x-road-request-id` and the digests of all its signed parts. Whoever comes
//! first with a request whose signature is right takes its [`Turn`]; who comes with the same one later waits for what
//! becomes of it. A turn that is dropped before its request was recorded leaves nothing behind: the next in the row
//! takes it. From the record on nobody else executes it, also not after a restart: what was recorded lately is read
//! from the log at start.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use jibek_certs::digest::{DigestAlgorithm, Hasher};
use jibek_msglog::{LogError, MessageLog, RecordId};
use jibek_protocol::id::ClientId;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::open::VerifiedRequest;
use crate::{config::PeerSettings, spool};

/// What a request is known by: 128 bits of a SHA-256 over client, request id and the SHA-512 of message and bodies.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Key([u8; 16]);

impl Key {
    /// The key of a request with these signed parts.
    pub(crate) fn of<'a>(
        client: &ClientId,
        request_id: &str,
        message: &[u8],
        bodies: impl IntoIterator<Item = &'a [u8]>,
    ) -> Self {
        let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
        let member = client.member();
        let texts = [
            member.instance(),
            member.class(),
            member.code(),
            client.subsystem().unwrap_or_default(),
            request_id,
        ];
        for text in texts {
            hasher.update(&text.len().to_le_bytes());
            hasher.update(text.as_bytes());
        }
        // A member is not its subsystem without a name.
        hasher.update(&[u8::from(client.subsystem().is_some())]);
        hasher.update(message);
        for body in bodies {
            hasher.update(body);
        }
        let digest = hasher.finish();
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(digest.as_bytes()) {
            *to = *from;
        }
        Self(key)
    }

    /// The key of a request that was opened; `None` if it has no request id, so that nothing tells it from another.
    fn of_request(request: &VerifiedRequest) -> Option<Self> {
        let id = Some(request.permit.request_id()).filter(|id| !id.is_empty())?;
        let body = request
            .body
            .as_ref()
            .map(|body| spool::sha512(&body.digest));
        Some(Self::of(
            request.permit.message().client(),
            id,
            request.message_digest.as_bytes(),
            body.iter().map(<[u8; 64]>::as_slice),
        ))
    }
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Its answer is this record.
    Answered(RecordId),
    /// Somebody got this fault in place of an answer.
    Fault(Bytes),
    /// It was recorded; nothing else is known here, but the log may know.
    Recorded,
}

/// Where a request is that somebody has the turn of.
#[derive(Clone, Debug)]
enum Stage {
    /// Not on disk yet: perhaps nothing comes of it.
    Claimed,
    /// On disk.
    Recorded,
    Ended(Outcome),
}

/// Whose turn it is.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one a message, and mostly the large one"
)]
pub(crate) enum Claim {
    /// The caller's.
    First(VerifiedRequest, Turn),
    /// Somebody had it before.
    Again(Again, Outcome),
}

/// A request that had its turn before; what it takes to find the answer that belongs to it.
#[derive(Debug)]
pub(crate) struct Again {
    pub(super) permit: super::authorize::Permit,
    pub(super) request_hash: String,
}

/// Who executes the same request takes longer than anybody may wait.
#[derive(Debug, thiserror::Error)]
#[error("the same request came before and is still being executed after {} s", after.as_secs())]
pub(crate) struct StillUnderWay {
    after: Duration,
}

/// The requests that are executed now, and those that were lately.
#[derive(Debug)]
pub(crate) struct Once {
    state: Mutex<State>,
    window: Duration,
    most: usize,
}

#[derive(Debug)]
struct State {
    under_way: HashMap<Key, watch::Receiver<Stage>>,
    /// Recorded since `turned`.
    young: HashSet<Key>,
    /// Recorded in the window before.
    old: HashSet<Key>,
    turned: Instant,
    faults: Faults,
}

impl Once {
    /// Reads from `log` which requests were recorded lately. Waits for the disk.
    ///
    /// # Errors
    ///
    /// The log cannot be read: then nobody knows what was executed.
    pub(crate) fn of_log(log: &MessageLog, settings: &PeerSettings) -> Result<Arc<Self>, LogError> {
        let window_ms = i64::try_from(settings.once_for.as_millis()).unwrap_or(i64::MAX);
        let marks = log.recent_requests(window_ms, settings.once_requests)?;
        let keys = marks.iter().filter(|mark| !mark.request_id.is_empty());
        let young = keys
            .map(|mark| {
                let bodies = mark.body_sha512.iter().map(<[u8; 64]>::as_slice);
                Key::of(&mark.client, &mark.request_id, &mark.message_sha512, bodies)
            })
            .collect();
        Ok(Self::new(young, settings.once_for, settings.once_requests))
    }

    fn new(young: HashSet<Key>, window: Duration, most: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                under_way: HashMap::new(),
                young,
                old: HashSet::new(),
                turned: Instant::now(),
                faults: Faults::default(),
            }),
            window,
            most,
        })
    }

    /// Waits until it is clear whose turn `request` is: nobody's before, or what became of the one before.
    ///
    /// Cancel safe: a cancelled wait gives up its place and nothing else.
    ///
    /// # Errors
    ///
    /// The same request is under way for longer than `patience`.
    pub(crate) async fn claim(
        self: &Arc<Self>,
        request: VerifiedRequest,
        patience: Duration,
    ) -> Result<Claim, StillUnderWay> {
        let Some(key) = Key::of_request(&request) else {
            return Ok(Claim::First(request, Turn::of_nobody()));
        };
        let late = |_| StillUnderWay { after: patience };
        loop {
            let mut stage = match self.look(key) {
                Look::Mine(turn) => return Ok(Claim::First(request, turn)),
                Look::Known(outcome) => return Ok(Claim::Again(Again::of(request), outcome)),
                Look::UnderWay(stage) => stage,
            };
            let recorded = stage.wait_for(|stage| !matches!(stage, Stage::Claimed));
            let recorded = timeout(patience, recorded).await.map_err(late)?.is_ok();
            if !recorded {
                continue; // nothing came of it
            }
            // What was spooled of this copy is not needed any more.
            let again = Again::of(request);
            let ended = stage.wait_for(|stage| matches!(stage, Stage::Ended(_)));
            let outcome = match timeout(patience, ended).await.map_err(late)? {
                Ok(stage) => match &*stage {
                    Stage::Ended(outcome) => outcome.clone(),
                    Stage::Claimed | Stage::Recorded => Outcome::Recorded,
                },
                Err(_) => Outcome::Recorded,
            };
            return Ok(Claim::Again(again, outcome));
        }
    }

    fn look(self: &Arc<Self>, key: Key) -> Look {
        let mut state = self.state();
        if let Some(stage) = state.under_way.get(&key) {
            return Look::UnderWay(stage.clone());
        }
        if state.young.contains(&key) || state.old.contains(&key) {
            let fault = state.faults.get(key);
            return Look::Known(fault.map_or(Outcome::Recorded, Outcome::Fault));
        }
        let (sender, stage) = watch::channel(Stage::Claimed);
        state.under_way.insert(key, stage);
        Look::Mine(Turn {
            place: Some((Arc::clone(self), key)),
            stage: sender,
        })
    }

    /// Notes that a request is on disk, and forgets what is older than the window and beyond the number.
    fn recorded(&self, key: Key) {
        let mut state = self.state();
        if state.turned.elapsed() >= self.window || state.young.len() >= self.most {
            state.old = std::mem::take(&mut state.young);
            state.turned = Instant::now();
        }
        state.young.insert(key);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Look {
    Known(Outcome),
    Mine(Turn),
    UnderWay(watch::Receiver<Stage>),
}

impl Again {
    fn of(request: VerifiedRequest) -> Self {
        Self {
            request_hash: request.request_hash(),
            permit: request.permit,
        }
    }
}

/// The right to execute a request, and the duty to tell what became of it.
///
/// Dropped before [`Turn::recorded`], it goes to the next; dropped after it, nobody knows what became of the request.
#[derive(Debug)]
pub(crate) struct Turn {
    place: Option<(Arc<Once>, Key)>,
    stage: watch::Sender<Stage>,
}

impl Turn {
    /// For a request that nothing tells from another.
    fn of_nobody() -> Self {
        Self {
            place: None,
            stage: watch::Sender::new(Stage::Claimed),
        }
    }

    /// The request is on disk: from here on nobody else executes it.
    pub(crate) fn recorded(&self) {
        if let Some((once, key)) = &self.place {
            once.recorded(*key);
        }
        self.stage.send_replace(Stage::Recorded);
    }

    /// The answer is on disk.
    pub(crate) fn answered(self, answer: RecordId) {
        self.stage
            .send_replace(Stage::Ended(Outcome::Answered(answer)));
    }

    /// A fault goes out in place of an answer. Small ones are kept for those who come again.
    pub(crate) fn refused(self, fault: &Bytes) {
        if let Some((once, key)) = &self.place {
            once.state().faults.put(*key, fault);
        }
        self.stage
            .send_replace(Stage::Ended(Outcome::Fault(fault.clone())));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((once, key)) = &self.place {
            once.state().under_way.remove(key);
        }
        // Who waits sees the sender go, and what stands there last.
    }
}

/// Faults given lately: they are not signed and so not in the log. Bounded in number and size.
#[derive(Debug, Default)]
struct Faults {
    documents: HashMap<Key, Bytes>,
    order: VecDeque<Key>,
}

impl Faults {
    fn get(&self, key: Key) -> Option<Bytes> {
        self.documents.get(&key).cloned()
    }

    fn put(&mut self, key: Key, document: &Bytes) {
        if document.len() > MOST_FAULT_BYTES {
            return;
        }
        // A copy of its own: a slice would keep all of a larger buffer alive.
        let document = Bytes::from(document.to_vec());
        if self.documents.insert(key, document).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MOST_FAULTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.documents.remove(&oldest);
        }
    }
}

/// Faults kept for those who come again; most are under a kilobyte.
const MOST_FAULTS: usize = 1024;
/// A larger fault is not kept, in bytes.
const MOST_FAULT_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
