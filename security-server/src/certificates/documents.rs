//! Signature documents whose value, signer and certificate were found right, remembered until the certificate has to be judged
//! anew.
//!
//! A document is known by its bytes, the member that should have signed it, and the content of the configuration that it was
//! judged by. Bounded: what came lately is kept, since the messages of one batch come within moments of each other.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use jibek_certs::{
    Timestamp,
    digest::{Digest, DigestAlgorithm, Hasher},
};
use jibek_evidence::open::VerifiedSignature;
use jibek_protocol::id::MemberId;

/// A document, and all that the judgement of it depends on but the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a> {
    /// The content of the configuration.
    pub(super) content: &'a Digest,
    /// Who should have signed.
    pub(super) signer: &'a MemberId,
    /// The document.
    pub(super) bytes: &'a Bytes,
}

/// The memory, in two halves: when the new one is full it becomes the old one, and what was the old one goes.
#[derive(Debug, Default)]
pub(super) struct Documents {
    halves: Mutex<Halves>,
    /// Held while a document is judged: which one is decided by the document.
    judging: [Mutex<()>; LANES],
}

#[derive(Debug, Default)]
struct Halves {
    new: HashMap<Key, Arc<Known>>,
    old: HashMap<Key, Arc<Known>>,
}

type Key = [u8; 32];

#[derive(Debug)]
struct Known {
    signature: VerifiedSignature,
    from: Timestamp,
}

impl Documents {
    /// Hands what was found of the document to `then`, if that still holds at `now`.
    pub(super) fn with<T>(
        &self,
        document: &Document<'_>,
        now: Timestamp,
        then: impl FnOnce(&VerifiedSignature) -> T,
    ) -> Option<T> {
        let key = document.key();
        let known = {
            let halves = self.halves();
            let known = halves.new.get(&key).or_else(|| halves.old.get(&key))?;
            Arc::clone(known)
        };
        let holds = known.from..known.signature.valid_until();
        holds.contains(&now).then(|| then(&known.signature))
    }

    /// Waits until nobody else judges this document, and keeps others from it.
    pub(super) fn alone(&self, document: &Document<'_>) -> Option<MutexGuard<'_, ()>> {
        let [first, ..] = document.key();
        let lane = self.judging.get(usize::from(first) % LANES)?;
        Some(lane.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps what was found at `now`.
    pub(super) fn remember(
        &self,
        document: &Document<'_>,
        signature: VerifiedSignature,
        now: Timestamp,
    ) {
        let known = Arc::new(Known {
            signature,
            from: now,
        });
        let key = document.key();
        let mut halves = self.halves();
        if halves.new.len() >= HALF {
            halves.old = mem::take(&mut halves.new);
        }
        halves.new.insert(key, known);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let halves = self.halves();
        halves.new.len() + halves.old.len()
    }

    fn halves(&self) -> MutexGuard<'_, Halves> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Document<'_> {
    fn key(&self) -> Key {
        let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
        hasher.update(self.content.as_bytes());
        // Each text has its length before it, so that no two documents look alike.
        for text in [
            self.signer.instance(),
            self.signer.class(),
            self.signer.code(),
        ] {
            hasher.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(self.bytes);
        let mut key = [0; 32];
        key.copy_from_slice(hasher.finish().as_bytes());
        key
    }
}

/// Documents in each half. A batch lives for milliseconds; each takes a few kilobytes.
pub(super) const HALF: usize = 512;
/// Documents that are judged at once.
const LANES: usize = 16;
