//! One try at one location: the signed directory, then every part that it names. It owns what it needs, so that several can
//! run side by side and be dropped at any point.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use jibek_certs::digest::digest;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout};

use super::{
    FetchOptions, HttpError, PrivatePart, SourceError,
    http::{Fetched, HttpClient},
    location::{self, Location},
};
use crate::{
    aside::aside,
    files::{checked_file_name, read_bounded},
    part::{PRIVATE_PARAMETERS, SHARED_PARAMETERS},
    snapshot::{InForce, Instance, InstanceParts},
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
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub(super) version: u8,
    pub(super) expires: OffsetDateTime,
    pub(super) parts: Vec<(PartRef, Bytes)>,
    /// What the parts say.
    pub(super) instance: Arc<Instance>,
    /// How long it took to read them.
    pub(super) took: Duration,
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
    /// What is in force, when it was fetched by this process.
    pub(super) known: Option<Arc<Generation>>,
    /// What is in force, also when it was found on disk at the start.
    pub(super) read: Option<Arc<Instance>>,
    /// Attempts that have everything and only read it now.
    pub(super) reading: Arc<AtomicUsize>,
    pub(super) now: OffsetDateTime,
}

/// The outcome: the version that was asked for, and what came.
pub(super) type Outcome = Result<(Option<u8>, Arc<Generation>), SourceError>;

impl Generation {
    /// Whether these are its parts: their digests, which every byte was checked against, and what the directory says of them.
    fn has(&self, version: u8, parts: &[(PartRef, Bytes)]) -> bool {
        let own = self.parts.iter().map(|(part, _)| part);
        self.version == version && own.eq(parts.iter().map(|(part, _)| part))
    }

    /// The instance as a snapshot takes it.
    pub(super) fn in_force(&self) -> InForce {
        InForce {
            instance: Arc::clone(&self.instance),
            shared_expires: Some(self.expires),
            private_expires: Some(self.expires),
        }
    }
}

/// The parts of an instance, by what they are.
fn instance_parts(instance: &str, version: u8, all: &[(PartRef, Bytes)]) -> InstanceParts {
    let mut parts = InstanceParts::new(instance, version, Bytes::new());
    for (part, bytes) in all {
        let bytes = bytes.clone();
        match part.content_identifier.as_deref() {
            Some(SHARED_PARAMETERS) => parts.shared = bytes,
            Some(PRIVATE_PARAMETERS) => parts.private = Some(bytes),
            Some(other) => parts.optional.push((other.to_owned(), bytes)),
            None => {}
        }
    }
    parts.optional.sort();
    parts
}

/// Counts an attempt that reads, for as long as it does.
struct Reading(Arc<AtomicUsize>);

impl Reading {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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
        let begun = Instant::now();
        let instance = self.understood(directory.version(), &parts).await?;
        let generation = Generation {
            version: directory.version(),
            expires: directory.expires(),
            parts,
            instance,
            took: begun.elapsed(),
        };
        Ok((version, Arc::new(generation)))
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
        let found_at_start = self.read.as_ref().and_then(|read| {
            let parts = &read.parts;
            match part.content_identifier.as_deref()? {
                SHARED_PARAMETERS => Some(parts.shared.clone()),
                PRIVATE_PARAMETERS => parts.private.clone(),
                other => {
                    let found = parts.optional.iter().find(|(name, _)| name == other);
                    found.map(|(_, bytes)| bytes.clone())
                }
            }
        });
        let (path, wanted) = (self.folder.join(&part.file_name), part.digest);
        let fits = move |bytes: &Bytes| digest(wanted.algorithm(), bytes) == wanted;
        let look = move || {
            let on_disk = || read_bounded(&path).ok().map(Bytes::from);
            found_at_start
                .filter(|bytes| fits(bytes))
                .or_else(|| on_disk().filter(|bytes| fits(bytes)))
        };
        aside(look).await.ok().flatten()
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
        let (algorithm, whole) = (part.digest.algorithm(), bytes.clone());
        let found = aside(move || digest(algorithm, &whole)).await;
        let found = found.map_err(|_| SourceError::Broken)?;
        if found != part.digest {
            return Err(SourceError::Digest {
                location: part.location.clone(),
                expected: part.digest.to_base64(),
                found: found.to_base64(),
            });
        }
        Ok(bytes)
    }

    /// What the parts say, read once however often they come. A source that signs nonsense is a source that failed.
    async fn understood(
        &self,
        version: u8,
        parts: &[(PartRef, Bytes)],
    ) -> Result<Arc<Instance>, SourceError> {
        if let Some(known) = self
            .known
            .as_ref()
            .filter(|known| known.has(version, parts))
        {
            return Ok(Arc::clone(&known.instance));
        }
        let _reading = Reading::begin(&self.reading);
        let parts = instance_parts(&self.instance, version, parts);
        let (known, instance, role) = (self.read.clone(), Arc::clone(&self.instance), self.role);
        let read = aside(move || match known {
            Some(known) if known.was_read_of(&parts) => Ok(known),
            _ => {
                // A partner's private parameters are nobody's business; none came.
                let own = if role == Role::Own { &*instance } else { "" };
                Instance::read(own, parts).map(Arc::new)
            }
        });
        match read.await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(source)) => Err(SourceError::Snapshot {
                source: Box::new(source),
            }),
            Err(_) => Err(SourceError::Broken),
        }
    }
}

const VERSIONS: [u8; 4] = [6, 5, 4, 3];
const PARTS_MAX: usize = 100;
