//! Why there is no snapshot, or not one that may be used.

use time::OffsetDateTime;

use crate::part::PartError;

/// Why parts do not make a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The parts are of another instance than they are said to be.
    #[error("the {part} parameters said to be of instance {expected} are of {found}")]
    OtherInstance {
        /// `shared` or `private`.
        part: &'static str,
        /// What was said.
        expected: String,
        /// What the part says.
        found: String,
    },
    /// There are no shared parameters of the own instance.
    #[error("there is no configuration of the own instance {instance}")]
    OwnInstanceMissing {
        /// The own instance.
        instance: String,
    },
    /// A part cannot be read.
    #[error("the {part} parameters of {instance} cannot be read")]
    Part {
        /// The instance.
        instance: String,
        /// `shared` or `private`.
        part: &'static str,
        /// Why.
        source: PartError,
    },
    /// An instance is given twice.
    #[error("instance {instance} is given twice")]
    Twice {
        /// The instance.
        instance: String,
    },
}

/// The own configuration may not be used, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfExpired {
    /// A part is too old.
    #[error("the configuration part {part} expired at {expired_at}, it is {now}")]
    Expired {
        /// The part's content identifier.
        part: String,
        /// When it expired.
        expired_at: OffsetDateTime,
        /// The time that was asked about.
        now: OffsetDateTime,
    },
    /// A part that servers need is not there; X-Road's take that as expired, too (`observed.md` 6).
    #[error("the configuration has no part {part}")]
    Missing {
        /// The part's content identifier.
        part: String,
    },
}

/// A certificate profile that we do not know; only what needs this profile fails (`signatures-and-log.md` 6.1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no certificate profile is known for this authority (class {class:?})")]
#[non_exhaustive]
pub struct UnknownProfile {
    /// The configured class name; empty when the certificate is no approved authority of the instance.
    pub class: String,
}
