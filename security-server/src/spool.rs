//! A body on its way: hashed and put into the message log while it is relayed.

use bytes::Bytes;
use jibek_certs::digest::{Digest, DigestAlgorithm, Hasher};
use jibek_msglog::{Draft, LogError};

/// Number of the part that carries a REST body: `/attachment1` (`message-path.md` 3.5).
pub(crate) const BODY: u32 = 1;

/// The hash and length of a body, known once it has passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spooled {
    /// SHA-512 of the bytes.
    pub(crate) digest: Digest,
    /// Length, in bytes.
    pub(crate) length: u64,
}

/// Hashes a body and hands its chunks to the log by reference.
#[derive(Debug)]
pub(crate) struct Spool {
    hasher: Hasher,
    length: u64,
}

impl Spool {
    /// Starts a body.
    pub(crate) fn start() -> Self {
        Self {
            hasher: Hasher::new(DigestAlgorithm::Sha512),
            length: 0,
        }
    }

    /// Takes one chunk. Waits while the log has no room.
    pub(crate) async fn push(&mut self, draft: &mut Draft, chunk: &Bytes) -> Result<(), LogError> {
        self.hasher.update(chunk);
        self.length = self
            .length
            .saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        draft.append_body(BODY, chunk.clone()).await
    }

    /// Ends the body.
    pub(crate) fn finish(self, draft: &mut Draft) -> Result<Spooled, LogError> {
        let digest = self.hasher.finish();
        draft.finish_body(BODY, sha512(&digest))?;
        Ok(Spooled {
            digest,
            length: self.length,
        })
    }
}

/// Returns the 64 bytes of a SHA-512 digest.
pub(crate) fn sha512(digest: &Digest) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (to, from) in bytes.iter_mut().zip(digest.as_bytes()) {
        *to = *from;
    }
    bytes
}

/// Returns the request hash of a message: of its bytes alone, or, with a body, of both digests one after the other
/// (`message-path.md` 3.5).
pub(crate) fn request_hash(message: &Digest, body: Option<&Digest>) -> String {
    match body {
        None => message.to_base64(),
        Some(body) => {
            let mut hasher = Hasher::new(DigestAlgorithm::Sha512);
            hasher.update(message.as_bytes());
            hasher.update(body.as_bytes());
            hasher.finish().to_base64()
        }
    }
}

/// Returns the SHA-512 digest of a message at hand.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    jibek_certs::digest::digest(DigestAlgorithm::Sha512, bytes)
}
