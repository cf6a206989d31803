//! What can go wrong with sources.

use std::time::Duration;

use super::http::HttpError;
use crate::{aside::BrokenDown, files::chain, snapshot::SnapshotError, verify::DirectoryError};

/// Why a source gave no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The signed directory is refused.
    #[error("the signed directory is refused")]
    Directory {
        /// Why.
        source: DirectoryError,
    },
    /// A part's bytes are not those that were signed.
    #[error(
        "{location} is not what the directory names: digest {found} where {expected} is signed"
    )]
    Digest {
        /// The part.
        location: String,
        /// What was signed, in base64.
        expected: String,
        /// What came, in base64.
        found: String,
    },
    /// A part is to be fetched from another host.
    #[error("the directory sends us elsewhere: {location:?}")]
    Elsewhere {
        /// The location.
        location: String,
    },
    /// A document could not be fetched.
    #[error("cannot fetch {url}")]
    Http {
        /// The document.
        url: String,
        /// Why.
        source: HttpError,
    },
    /// The attempt ended in a panic.
    #[error("the attempt broke down")]
    Broken,
    /// The source publishes none of the versions that we read.
    #[error("the source publishes none of the versions 6, 5, 4, 3")]
    NoVersion,
    /// The directory does not name a part that we need.
    #[error("the directory names no {part} of {instance}")]
    PartMissing {
        /// Content identifier.
        part: &'static str,
        /// The instance.
        instance: String,
    },
    /// The parts are as signed, but they make no configuration.
    #[error("the parts make no configuration")]
    Snapshot {
        /// Why.
        source: Box<SnapshotError>,
    },
    /// Everything together took too long.
    #[error("not everything came within {waited:?}")]
    Slow {
        /// The bound.
        waited: Duration,
    },
    /// The parts together are larger than allowed.
    #[error("the parts together have more than {max_bytes} bytes")]
    TooLarge {
        /// The bound.
        max_bytes: usize,
    },
    /// The directory names more parts than any.
    #[error("the directory names {parts} parts")]
    TooManyParts {
        /// How many.
        parts: usize,
    },
    /// Two parts would be stored under one name, or one under an impossible name.
    #[error("a part cannot be stored as {name:?}")]
    UnusableName {
        /// The name.
        name: String,
    },
}

/// Why a refresh brought nothing; what was known before stays in force until it expires.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No source gave a configuration.
    #[error("no source gave a configuration: {}", summary(attempts))]
    AllFailed {
        /// Each address that was tried, and what was wrong.
        attempts: Vec<(String, SourceError)>,
    },
    /// Parts that are right one by one make no configuration together.
    #[error("the parts make no configuration together")]
    Assembled {
        /// Why.
        source: Box<SnapshotError>,
    },
    /// The work ended in a panic.
    #[error("the configuration could not be put together")]
    Broken {
        /// Why.
        source: BrokenDown,
    },
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Client {
        /// Why.
        source: HttpError,
    },
}

pub(super) fn summary(attempts: &[(String, SourceError)]) -> String {
    let each = attempts
        .iter()
        .map(|(url, error)| format!("{url}: {}", chain(error)));
    each.collect::<Vec<_>>().join("; ")
}
