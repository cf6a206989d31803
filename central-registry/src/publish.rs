//! From a checked [`Config`] to what clients fetch: rendered, read back, written to disk, signed, and only then served.
//!
//! All versions are published or none. An unchanged content keeps its files and only gets a new expiry date and signature.
//! A superseded generation stays fetchable for ten minutes, and what was published is kept in the history (`history.rs`).

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use jibek_certs::{
    digest::{Digest, DigestAlgorithm, Hasher, digest},
    signer::SignError,
};
use jibek_conf::{
    files::{FilesError, PRIVATE_FILE, SHARED_FILE, atomic_write, create_dir_durably},
    model::{NEWEST_VERSION, OLDEST_PUBLISHED_VERSION},
    part::{PRIVATE_PARAMETERS, RenderError, SHARED_PARAMETERS, render_private, render_shared},
    snapshot::{InstanceParts, Snapshot, SnapshotError},
};
use time::{OffsetDateTime, UtcOffset};
use tracing::{info, warn};

use crate::{
    config::{Config, explained},
    directory::{self, Boundaries, Entry},
    history::{Keeper, Kept},
    keys::{Keys, Kind},
};

/// Why nothing was published; what was published before stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Files could not be written.
    #[error("the publication cannot be written")]
    Files {
        /// Why.
        source: FilesError,
    },
    /// No randomness for boundaries.
    #[error("there is no randomness")]
    Random,
    /// The state cannot be rendered.
    #[error("version {version} cannot be rendered")]
    Render {
        /// The version.
        version: u8,
        /// Why.
        source: RenderError,
    },
    /// A signing key refused.
    #[error("the {kind} directory of version {version} cannot be signed")]
    Sign {
        /// `internal` or `external`.
        kind: &'static str,
        /// The version.
        version: u8,
        /// Why.
        source: SignError,
    },
    /// We could not read ourselves what we are about to publish.
    #[error("version {version} cannot be read back")]
    Unreadable {
        /// The version.
        version: u8,
        /// Why.
        source: Box<SnapshotError>,
    },
}

/// A publication in force.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Publication {
    /// Name of its generation: UTC with nanoseconds, digits only.
    pub stamp: String,
    /// When it was signed.
    pub published_at: OffsetDateTime,
    /// Until when it is valid.
    pub expires: OffsetDateTime,
    /// Digest of the parts of all versions.
    pub content: Digest,
    directories: Vec<(u8, Kind, Bytes)>,
}

impl Publication {
    /// The signed directory of a version.
    #[must_use]
    pub fn directory(&self, version: u8, kind: Kind) -> Option<&Bytes> {
        let found = self
            .directories
            .iter()
            .find(|(known, of, _)| (*known, *of) == (version, kind));
        found.map(|(_, _, bytes)| bytes)
    }
}

/// Publishes into a state directory.
#[derive(Debug)]
pub struct Publisher {
    public: PathBuf,
    history: Keeper,
    current: Option<Arc<Publication>>,
    /// Generations that are no longer named by a directory, and since when.
    superseded: Vec<(String, OffsetDateTime)>,
}

/// Rendered parts of one version.
struct Parts {
    version: u8,
    shared: Bytes,
    private: Bytes,
}

/// What of a publication was not there before.
struct New<'a> {
    generation: bool,
    /// How readers understand the newest version, and the time.
    content: Option<(&'a Snapshot, OffsetDateTime)>,
}

impl Publisher {
    /// A publisher over a state directory. Generations of an earlier process stay fetchable for ten minutes from `now`.
    ///
    /// # Errors
    /// [`PublishError::Files`].
    pub fn open(state_dir: &Path, now: OffsetDateTime) -> Result<Self, PublishError> {
        let files = |source| PublishError::Files { source };
        let public = state_dir.join("public");
        create_dir_durably(&public).map_err(files)?;
        let history = Keeper::open(state_dir).map_err(files)?;
        let superseded = stamps(&public)
            .into_iter()
            .map(|stamp| (stamp, now))
            .collect();
        Ok(Self {
            public,
            history,
            current: None,
            superseded,
        })
    }

    /// Where the parts lie that are served: `V<version>/<stamp>/<file>`.
    #[must_use]
    pub fn public(&self) -> &Path {
        &self.public
    }

    /// Publishes a configuration in all versions.
    ///
    /// Everything is durable on disk when this returns.
    ///
    /// # Errors
    /// [`PublishError`]; then nothing is published, and what is on disk of it is not named by any directory.
    pub fn publish(
        &mut self,
        config: &Config,
        keys: &Keys,
        now: OffsetDateTime,
    ) -> Result<Arc<Publication>, PublishError> {
        let (parts, newest) = render(config, keys)?;
        let content = content_of(&parts);
        let unchanged = self
            .current
            .as_ref()
            .filter(|current| current.content == content);
        let reused = unchanged
            .map(|current| current.stamp.clone())
            .filter(|stamp| self.is_complete(stamp));
        let stamp = match &reused {
            Some(stamp) => stamp.clone(),
            None => self.new_stamp(now),
        };
        let expires = now + config.validity;
        let new = New {
            generation: reused.is_none(),
            content: unchanged.is_none().then_some((&newest, now)),
        };
        let written = self.write(config, keys, &parts, (&stamp, expires), &new);
        let directories = match written {
            Ok(directories) => directories,
            Err(error) => {
                if reused.is_none() {
                    self.superseded.push((stamp, now)); // to be removed in time
                }
                return Err(error);
            }
        };
        let publication = Arc::new(Publication {
            stamp: stamp.clone(),
            published_at: now,
            expires,
            content,
            directories,
        });
        if let Some(before) = self
            .current
            .replace(Arc::clone(&publication))
            .filter(|before| before.stamp != stamp)
        {
            self.superseded.push((before.stamp.clone(), now));
            info!(
                stamp,
                instance = config.instance,
                "a new configuration is published"
            );
        }
        self.prune(now);
        self.history.prune(now - config.history);
        Ok(publication)
    }

    /// Writes a generation's parts and, last, the directories that name them.
    fn write(
        &self,
        config: &Config,
        keys: &Keys,
        parts: &[Parts],
        (stamp, expires): (&str, OffsetDateTime),
        new: &New<'_>,
    ) -> Result<Vec<(u8, Kind, Bytes)>, PublishError> {
        if new.generation {
            for part in parts {
                write_parts(
                    &self.public.join(format!("V{}/{stamp}", part.version)),
                    part,
                )?;
            }
        }
        let directories = sign(config, keys, parts, (stamp, expires))?;
        if let Some((newest, now)) = new.content {
            self.keep(newest, parts, &directories, now)?;
        }
        for (version, kind, bytes) in &directories {
            let path = self.public.join(format!("V{version}")).join(kind.path());
            atomic_write(&path, bytes).map_err(|source| PublishError::Files { source })?;
        }
        Ok(directories)
    }

    /// Keeps a changed content with its first signatures, so that later it can be proved what was in force.
    fn keep(
        &self,
        newest: &Snapshot,
        parts: &[Parts],
        directories: &[(u8, Kind, Bytes)],
        now: OffsetDateTime,
    ) -> Result<(), PublishError> {
        let kept = parts.iter().map(|part| {
            let of_version = directories
                .iter()
                .filter(|(version, ..)| *version == part.version);
            Kept {
                version: part.version,
                shared: &part.shared,
                private: &part.private,
                directories: of_version
                    .map(|(_, kind, bytes)| (kind.path(), bytes))
                    .collect(),
            }
        });
        let kept: Vec<_> = kept.collect();
        let files = |source| PublishError::Files { source };
        // After a restart the content may be the one of before.
        if self.history.has(&kept).map_err(files)? {
            return Ok(());
        }
        self.history.keep(newest, &kept, now).map_err(files)
    }

    fn is_complete(&self, stamp: &str) -> bool {
        (OLDEST_PUBLISHED_VERSION..=NEWEST_VERSION).all(|version| {
            let folder = self.public.join(format!("V{version}/{stamp}"));
            [SHARED_FILE, PRIVATE_FILE]
                .into_iter()
                .all(|name| folder.join(name).is_file())
        })
    }

    /// UTC as 14 digits and 9 of nanoseconds, never one that was used.
    fn new_stamp(&self, now: OffsetDateTime) -> String {
        let mut at = now.to_offset(UtcOffset::UTC);
        loop {
            let (date, (hour, minute, second)) = (at.date(), at.to_hms());
            let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
            let stamp = format!(
                "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{:09}",
                at.nanosecond()
            );
            let folder = self.public.join(format!("V{NEWEST_VERSION}/{stamp}"));
            if !folder.exists() {
                return stamp;
            }
            at += Duration::from_nanos(1);
        }
    }

    /// Removes generations that nobody can be fetching any more.
    fn prune(&mut self, now: OffsetDateTime) {
        let (kept, old): (Vec<_>, Vec<_>) = self
            .superseded
            .drain(..)
            .partition(|(_, since)| now - *since <= SUPERSEDED_KEPT);
        self.superseded = kept;
        for (stamp, _) in old {
            for version in OLDEST_PUBLISHED_VERSION..=NEWEST_VERSION {
                let folder = self.public.join(format!("V{version}/{stamp}"));
                if let Err(error) = fs::remove_dir_all(&folder)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    warn!(folder = %folder.display(), reason = explained(&error), "an old generation cannot be removed");
                }
            }
        }
    }
}

/// All versions, and the newest as its readers understand it.
fn render(config: &Config, keys: &Keys) -> Result<(Vec<Parts>, Snapshot), PublishError> {
    let shared = config.shared(
        &keys.certificates(Kind::Internal),
        &keys.certificates(Kind::External),
    );
    let private = Bytes::from(render_private(config.private()));
    let one = |version: u8| -> Result<(Parts, Snapshot), PublishError> {
        let shared = render_shared(&shared, version)
            .map_err(|source| PublishError::Render { version, source })?;
        let mut parts = InstanceParts::new(config.instance.as_str(), version, shared);
        parts.private = Some(private.clone());
        let rendered = Parts {
            version,
            shared: parts.shared.clone(),
            private: private.clone(),
        };
        match Snapshot::from_parts(&config.instance, vec![parts]) {
            Ok(read) => Ok((rendered, read)),
            Err(source) => Err(PublishError::Unreadable {
                version,
                source: Box::new(source),
            }),
        }
    };
    let (oldest, mut newest) = one(OLDEST_PUBLISHED_VERSION)?;
    let mut all = vec![oldest];
    for version in OLDEST_PUBLISHED_VERSION + 1..=NEWEST_VERSION {
        let (rendered, read) = one(version)?;
        all.push(rendered);
        newest = read;
    }
    Ok((all, newest))
}

fn sign(
    config: &Config,
    keys: &Keys,
    parts: &[Parts],
    (stamp, expires): (&str, OffsetDateTime),
) -> Result<Vec<(u8, Kind, Bytes)>, PublishError> {
    let mut directories = Vec::new();
    for part in parts {
        let version = part.version;
        let entry = |identifier, name: &str, bytes: &[u8]| {
            Entry::new(
                identifier,
                format!("/V{version}/{stamp}/{name}"),
                digest(DigestAlgorithm::Sha512, bytes),
            )
        };
        let shared = entry(SHARED_PARAMETERS, SHARED_FILE, &part.shared);
        let private = entry(PRIVATE_PARAMETERS, PRIVATE_FILE, &part.private);
        for (kind, entries) in [
            (Kind::Internal, vec![shared.clone(), private]),
            (Kind::External, vec![shared]),
        ] {
            let mut random = [0; 40];
            aws_lc_rs::rand::fill(&mut random).map_err(|_| PublishError::Random)?;
            let boundaries = Boundaries::new(&random);
            let key = keys.of(kind);
            let bytes = directory::signed(
                &config.instance,
                version,
                expires,
                &entries,
                key,
                &boundaries,
            )
            .map_err(|source| PublishError::Sign {
                kind: kind.name(),
                version,
                source,
            })?;
            directories.push((version, kind, Bytes::from(bytes)));
        }
    }
    Ok(directories)
}

fn write_parts(folder: &Path, parts: &Parts) -> Result<(), PublishError> {
    let files = |source| PublishError::Files { source };
    create_dir_durably(folder).map_err(files)?;
    atomic_write(folder.join(SHARED_FILE), &parts.shared).map_err(files)?;
    atomic_write(folder.join(PRIVATE_FILE), &parts.private).map_err(files)
}

fn content_of(parts: &[Parts]) -> Digest {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    for part in parts {
        for bytes in [&part.shared, &part.private] {
            hasher.update(digest(DigestAlgorithm::Sha256, bytes).as_bytes());
        }
    }
    hasher.finish()
}

/// Generations found on disk.
fn stamps(public: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for version in OLDEST_PUBLISHED_VERSION..=NEWEST_VERSION {
        let Ok(entries) = fs::read_dir(public.join(format!("V{version}"))) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_stamp(&name) && !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
}

/// Whether a name is that of a generation.
pub(crate) fn is_stamp(name: &str) -> bool {
    name.len() == 23 && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// How long parts stay fetchable after no directory names them any more.
const SUPERSEDED_KEPT: Duration = Duration::from_secs(600);
