//! One try at one location: the signed directory, then every part that it names. It owns what it needs, so that several can
//! run side by side and be dropped at any point.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use jibek_certs::digest::digest;
use time::OffsetDateTime;
use tokio::time::timeout;

use super::{
    FetchOptions, HttpError, PrivatePart, SourceError,
    http::{Fetched, HttpClient},
    location::{self, Location},
};
use crate::{
    files::{checked_file_name, read_bounded},
    part::{self, PRIVATE_PARAMETERS, SHARED_PARAMETERS},
    snapshot::{InstanceParts, Snapshot, SnapshotError},
    verify::{PartRef, VerifiedDirectory, verify_directory},
};

/// What is wanted of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A partner's: shared parameters and nothing else, whatever its directory names.
    Foreign,
    /// The own one: everything.
    Own,
}

/// What a source gave, whole and as signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) version: u8,
    pub(super) expires: OffsetDateTime,
    pub(super) parts: Vec<(PartRef, Bytes)>,
}

/// What every attempt of one refresh shares.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) instance: Arc<str>,
    pub(super) role: Role,
    pub(super) client: HttpClient,
    pub(super) options: Arc<FetchOptions>,
    /// Where parts of this instance are kept on disk.
    pub(super) folder: PathBuf,
    /// What is in force.
    pub(super) known: Option<Arc<Generation>>,
    pub(super) now: OffsetDateTime,
}

/// The outcome: the version that was asked for, and what came.
pub(super) type Outcome = Result<(Option<u8>, Arc<Generation>), SourceError>;

impl Generation {
    /// Whether both say the same, however long they hold.
    pub(super) fn same_content(&self, other: &Self) -> bool {
        self.version == other.version && self.parts == other.parts
    }

    /// The parts as a snapshot takes them.
    pub(super) fn instance_parts(&self, instance: &str) -> InstanceParts {
        let mut parts = InstanceParts::new(instance, self.version, Bytes::new());
        for (part, bytes) in &self.parts {
            let bytes = bytes.clone();
            match part.content_identifier.as_deref() {
                Some(SHARED_PARAMETERS) => {
                    parts.shared = bytes;
                    parts.shared_expires = Some(self.expires);
                }
                Some(PRIVATE_PARAMETERS) => {
                    parts.private = Some(bytes);
                    parts.private_expires = Some(self.expires);
                }
                Some(other) => parts.optional.push((other.to_owned(), bytes)),
                None => {}
            }
        }
        parts
    }
}

impl Errand {
    /// Fetches everything from one location, within the bounds of time and size.
    pub(super) async fn run(self, location: Location, version: Option<u8>) -> Outcome {
        let waited = self.options.source_timeout;
        match timeout(waited, self.fetch(&location, version)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(SourceError::Slow { waited }),
        }
    }

    async fn fetch(&self, location: &Location, known_version: Option<u8>) -> Outcome {
        let (url, version, raw) = self.directory(location, known_version).await?;
        let directory = verify_directory(&raw, &location.certificates, self.now)
            .map_err(|source| SourceError::Directory { source })?;
        let mut parts = Vec::new();
        let mut left = self.options.generation_bytes;
        for wanted in self.wanted(&directory)? {
            let bytes = match self.at_hand(&wanted).await {
                Some(bytes) => bytes,
                None => self.part(&url, &wanted, left).await?,
            };
            left = left.checked_sub(bytes.len()).ok_or(SourceError::TooLarge {
                max_bytes: self.options.generation_bytes,
            })?;
            parts.push((wanted, bytes));
        }
        let generation = Arc::new(Generation {
            version: directory.version(),
            expires: directory.expires(),
            parts,
        });
        self.understood(Arc::clone(&generation)).await?;
        Ok((version, generation))
    }

    /// Fetches the signed directory in the newest version that the source has. One request when it is known from before or
    /// the newest is there: the answer to the question is the directory itself.
    async fn directory(
        &self,
        location: &Location,
        known: Option<u8>,
    ) -> Result<(String, Option<u8>, Bytes), SourceError> {
        let mut versions: Vec<Option<u8>> = if location::has_version(&location.url) {
            vec![None]
        } else {
            VERSIONS.map(Some).to_vec()
        };
        if let Some(known) = known {
            versions.insert(0, Some(known));
        }
        for version in versions {
            let url = match version {
                None => location.url.clone(),
                Some(version) => location::with_version(&location.url, version),
            };
            match self.client.get(&url, self.options.directory_bytes).await {
                Ok(Fetched::Found(bytes)) => return Ok((url, version, bytes)),
                Ok(Fetched::NotFound) => {}
                Err(source) => return Err(SourceError::Http { url, source }),
            }
        }
        Err(SourceError::NoVersion)
    }

    /// The parts of the instance, checked for what can be checked before they are fetched.
    fn wanted(&self, directory: &VerifiedDirectory) -> Result<Vec<PartRef>, SourceError> {
        if directory.parts().len() > PARTS_MAX {
            return Err(SourceError::TooManyParts {
                parts: directory.parts().len(),
            });
        }
        let mut wanted: Vec<PartRef> = Vec::new();
        for part in directory.parts().iter().filter(|part| self.is_ours(part)) {
            let taken = wanted.iter().any(|known| {
                known.file_name == part.file_name
                    || (known.content_identifier.is_some()
                        && known.content_identifier == part.content_identifier)
            });
            if taken
                || checked_file_name(&part.file_name).is_err()
                || part.file_name.ends_with(".metadata")
            {
                return Err(SourceError::UnusableName {
                    name: part.file_name.clone(),
                });
            }
            wanted.push(part.clone());
        }
        let has = |identifier| {
            wanted
                .iter()
                .any(|part| part.content_identifier.as_deref() == Some(identifier))
        };
        let missing = |part| SourceError::PartMissing {
            part,
            instance: self.instance.to_string(),
        };
        if !has(SHARED_PARAMETERS) {
            return Err(missing(SHARED_PARAMETERS));
        }
        let private_needed =
            self.role == Role::Own && self.options.private == PrivatePart::Required;
        if private_needed && !has(PRIVATE_PARAMETERS) {
            return Err(missing(PRIVATE_PARAMETERS));
        }
        Ok(wanted)
    }

    fn is_ours(&self, part: &PartRef) -> bool {
        let identifier = part.content_identifier.as_deref();
        let main = [SHARED_PARAMETERS, PRIVATE_PARAMETERS]
            .map(Some)
            .contains(&identifier);
        let of_instance = match part.instance.as_deref() {
            Some(named) => *named == *self.instance,
            None => !main,
        };
        of_instance && (self.role == Role::Own || identifier == Some(SHARED_PARAMETERS))
    }

    /// What is in force or on disk with this very digest.
    async fn at_hand(&self, part: &PartRef) -> Option<Bytes> {
        let in_force = self.known.iter().flat_map(|known| &known.parts);
        let mut in_force = in_force.filter(|(known, _)| known.digest == part.digest);
        if let Some((_, bytes)) = in_force.next() {
            return Some(bytes.clone());
        }
        let (path, wanted) = (self.folder.join(&part.file_name), part.digest);
        let read = tokio::task::spawn_blocking(move || {
            let bytes = read_bounded(&path).ok()?;
            (digest(wanted.algorithm(), &bytes) == wanted).then(|| Bytes::from(bytes))
        });
        read.await.ok().flatten()
    }

    async fn part(
        &self,
        directory_url: &str,
        part: &PartRef,
        left: usize,
    ) -> Result<Bytes, SourceError> {
        let elsewhere = || SourceError::Elsewhere {
            location: part.location.clone(),
        };
        let url = location::resolve(directory_url, &part.location).ok_or_else(elsewhere)?;
        let most = self.options.part_bytes.min(left);
        let bytes = match self.client.get(&url, most).await {
            Ok(Fetched::Found(bytes)) => bytes,
            Ok(Fetched::NotFound) => {
                return Err(SourceError::Http {
                    url,
                    source: HttpError::Status { status: 404 },
                });
            }
            Err(source) => return Err(SourceError::Http { url, source }),
        };
        let found = digest(part.digest.algorithm(), &bytes);
        if found != part.digest {
            return Err(SourceError::Digest {
                location: part.location.clone(),
                expected: part.digest.to_base64(),
                found: found.to_base64(),
            });
        }
        Ok(bytes)
    }

    /// Whether the parts can be used at all: a source that signs nonsense is a source that failed.
    async fn understood(&self, generation: Arc<Generation>) -> Result<(), SourceError> {
        let known = self.known.as_ref();
        if known.is_some_and(|known| known.same_content(&generation)) {
            return Ok(());
        }
        let (instance, role) = (Arc::clone(&self.instance), self.role);
        let judged = tokio::task::spawn_blocking(move || judge(&instance, role, &generation));
        match judged.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(SourceError::Snapshot {
                source: Box::new(source),
            }),
            Err(_) => Err(SourceError::Broken),
        }
    }
}

fn judge(instance: &str, role: Role, generation: &Generation) -> Result<(), SnapshotError> {
    let parts = generation.instance_parts(instance);
    match role {
        Role::Own => Snapshot::from_parts(instance, vec![parts]).map(drop),
        Role::Foreign => {
            let shared = part::parse_shared(&parts.shared, parts.version).map_err(|source| {
                SnapshotError::Part {
                    instance: instance.to_owned(),
                    part: "shared",
                    source,
                }
            })?;
            if shared.instance == instance {
                return Ok(());
            }
            Err(SnapshotError::OtherInstance {
                part: "shared",
                expected: instance.to_owned(),
                found: shared.instance,
            })
        }
    }
}

const VERSIONS: [u8; 4] = [6, 5, 4, 3];
const PARTS_MAX: usize = 100;
