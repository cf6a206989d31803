//! What X-Road accepts and should not be relied on for long.

use super::SignatureAlgorithm;
use crate::digest::DigestAlgorithm;

/// A weakness that X-Road's verifiers accept (`observed.md` 3 number 4): it changes no verdict, an auditor reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Weakness {
    /// SHA-1, for which collisions can be made.
    Sha1,
    /// An RSA key of fewer than 2048 bits.
    ShortRsa {
        /// Length of its modulus in bits.
        bits: usize,
    },
}

impl std::fmt::Display for Weakness {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sha1 => formatter.write_str("SHA-1 is used, for which collisions can be made"),
            Self::ShortRsa { bits } => {
                write!(formatter, "an RSA key of {bits} bits, 2048 are the least")
            }
        }
    }
}

impl DigestAlgorithm {
    /// What is weak about it: SHA-1.
    pub const fn weakness(self) -> Option<Weakness> {
        match self {
            Self::Sha1 => Some(Weakness::Sha1),
            _ => None,
        }
    }
}

impl SignatureAlgorithm {
    /// What is weak about it: SHA-1.
    pub const fn weakness(self) -> Option<Weakness> {
        self.digest().weakness()
    }
}
