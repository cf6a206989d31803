//! The links of the chain.

use jibek_certs::digest::{Digest, DigestAlgorithm, Hasher, hex};
use std::str::FromStr;

/// One link: a digest over the link before and a container, in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkDigest(String);

/// Not a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a digest of an archive's chain in lower-case hexadecimal digits")]
#[non_exhaustive]
pub struct NoLinkDigest;

impl LinkDigest {
    /// The link that follows `previous`, or begins the chain, for a container with the digest `container`
    /// (`signatures-and-log.md` 4.7): a digest over the digits of both.
    pub fn follow(previous: Option<&Self>, container: &Digest) -> Self {
        let mut hasher = Hasher::new(container.algorithm());
        if let Some(previous) = previous {
            hasher.update(previous.0.as_bytes());
        }
        hasher.update(container.to_hex().as_bytes());
        Self(hex(hasher.finish().as_bytes()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LinkDigest {
    type Err = NoLinkDigest;

    fn from_str(text: &str) -> Result<Self, NoLinkDigest> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if LENGTHS.contains(&text.len()) && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoLinkDigest)
        }
    }
}

impl std::fmt::Display for LinkDigest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The algorithms that X-Road's archive verifier takes (`signatures-and-log.md` 4.5).
pub(super) const ALGORITHMS: [DigestAlgorithm; 3] = [
    DigestAlgorithm::Sha256,
    DigestAlgorithm::Sha384,
    DigestAlgorithm::Sha512,
];
/// Digits of their digests.
const LENGTHS: [usize; 3] = [64, 96, 128];
