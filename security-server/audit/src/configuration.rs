//! The configuration to judge by.

use jibek_conf::{
    anchor::{Anchor, AnchorError},
    fetch::{FetchError, FetchOptions, Fetcher, PrivatePart},
    files::{ConfDir, FilesError, read_bounded},
    snapshot::Snapshot,
};
use jibek_evidence::{
    container::Container,
    verify::{Memory, Verdict, verify_container_with},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use time::OffsetDateTime;

use crate::kept::KeptHistory;

/// By which configuration containers are judged.
#[derive(Debug)]
#[non_exhaustive]
pub enum Configuration {
    /// All by one.
    Fixed(Chosen),
    /// Each by the one that was in force when it was stamped.
    Kept(KeptHistory),
}

/// The configuration for one container, and what was found with it before.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Chosen {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// Since when it was in force, when there was a choice.
    pub since: Option<OffsetDateTime>,
    memory: Arc<Memory>,
}

impl Chosen {
    pub(crate) fn new(snapshot: Snapshot, since: Option<OffsetDateTime>) -> Self {
        Self {
            snapshot: Arc::new(snapshot),
            since,
            memory: Arc::default(),
        }
    }

    /// Judges a container.
    pub fn judge(&self, container: &Container) -> Verdict {
        verify_container_with(container, self.snapshot.as_ref(), &self.memory)
    }
}

impl Configuration {
    /// One configuration for all.
    pub fn fixed(snapshot: Snapshot) -> Self {
        Self::Fixed(Chosen::new(snapshot, None))
    }

    /// The configuration, when all are judged by one.
    pub(crate) fn only(&self) -> Option<&Chosen> {
        match self {
            Self::Fixed(chosen) => Some(chosen),
            Self::Kept(_) => None,
        }
    }

    /// The configuration to judge this container by.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn of(&self, container: &Container) -> Result<Chosen, String> {
        match self {
            Self::Fixed(chosen) => Ok(chosen.clone()),
            Self::Kept(history) => history.of(history.stamp_time(container)),
        }
    }
}

/// Why there is no configuration to judge by.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// The anchor cannot be understood.
    #[error("{} is no configuration anchor", path.display())]
    Anchor {
        /// The anchor's file.
        path: PathBuf,
        /// Why.
        source: AnchorError,
    },
    /// The directory holds no configuration of its own instance.
    #[error("no usable configuration in {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: FilesError,
    },
    /// The anchor's sources gave none.
    #[error("the sources of {} gave no configuration", path.display())]
    Fetch {
        /// The anchor's file.
        path: PathBuf,
        /// Why.
        source: Box<FetchError>,
    },
    /// The anchor's file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The anchor's file.
        path: PathBuf,
        /// Why.
        source: FilesError,
    },
    /// There is no place to put a fetched configuration.
    #[error("no temporary directory can be made")]
    Temporary(#[source] std::io::Error),
}

/// Reads the configuration from a directory: what a security server gives under `/verificationconf`, unpacked, or a server's own
/// configuration directory. Expiry does not matter: what was published then is what counts (`signatures-and-log.md` 5.4).
///
/// # Errors
/// [`ConfigurationError::Directory`].
pub fn read_configuration(path: &Path) -> Result<Snapshot, ConfigurationError> {
    let unpacked = path.join("verificationconf");
    let is_outside = !path.join(IDENTIFIER).exists() && unpacked.join(IDENTIFIER).exists();
    let folder = if is_outside {
        unpacked
    } else {
        path.to_owned()
    };
    ConfDir::new(folder)
        .read()
        .map_err(|source| ConfigurationError::Directory {
            path: path.to_owned(),
            source,
        })
}

/// Fetches today's configuration from the sources that an anchor file names. It is kept nowhere.
///
/// # Errors
/// [`ConfigurationError`].
pub async fn fetch_configuration(
    anchor: &Path,
    now: OffsetDateTime,
) -> Result<Snapshot, ConfigurationError> {
    let path = || anchor.to_owned();
    let bytes = read_bounded(anchor).map_err(|source| ConfigurationError::Read {
        path: path(),
        source,
    })?;
    let parsed = Anchor::parse(bytes).map_err(|source| ConfigurationError::Anchor {
        path: path(),
        source,
    })?;
    let folder = tempfile::tempdir().map_err(ConfigurationError::Temporary)?;
    let mut options = FetchOptions::default();
    options.private = PrivatePart::Optional;
    let failed = |source| ConfigurationError::Fetch {
        path: path(),
        source: Box::new(source),
    };
    let mut fetcher = Fetcher::new(parsed, ConfDir::new(folder.path()), options).map_err(failed)?;
    let snapshot = fetcher.refresh(now).await.map_err(failed)?;
    Ok(Snapshot::clone(&snapshot))
}

const IDENTIFIER: &str = "instance-identifier";
