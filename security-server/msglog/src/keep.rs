//! What is kept of a body.

use std::fmt;

/// What is to stay of a record's bodies once they have been delivered. Length and SHA-512 always do.
///
/// The log stands by it from the commit on: bytes that are not to stay are never named by the record, so that neither a
/// crash nor a mistake leaves them behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "who decides about a body has to know every choice"
)]
pub enum Keep {
    /// Every byte.
    #[default]
    All,
    /// Nothing.
    Digest,
    /// Bodies of at most so many bytes, and nothing of longer ones.
    UpTo(u64),
}

impl Keep {
    /// Whether a body of this length stays.
    #[must_use]
    pub fn keeps(self, length: u64) -> bool {
        match self {
            Self::All => true,
            Self::Digest => false,
            Self::UpTo(most) => length <= most,
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Digest => f.write_str("digest"),
            Self::UpTo(most) => write!(f, "up to {most} bytes"),
        }
    }
}
