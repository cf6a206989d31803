//! Getting the configuration of the own instance from its sources (`registry-and-globalconf.md` 1.2 to 1.8).
//!
//! A [`Fetcher`] knows an anchor and a directory on disk. Each [`Fetcher::refresh`] tries the sources until one gives a
//! directory that verifies and all parts that it names; then these are kept on disk and handed out as a snapshot. Nothing that
//! a source says is believed before its signature has been checked, and nothing that it sends is unbounded.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use jibek_certs::digest::{Digest, digest};
use time::OffsetDateTime;
use tracing::{info, warn};

use crate::{
    anchor::Anchor,
    files::{
        ConfDir, FilesError, StoredInstance, StoredPart, chain, checked_file_name, read_bounded,
    },
    part::{PRIVATE_PARAMETERS, SHARED_PARAMETERS},
    snapshot::{InstanceParts, Snapshot},
    verify::{PartRef, VerifiedDirectory, verify_directory},
};

mod error;
mod http;
mod location;
mod options;

use http::{Fetched, HttpClient};
use location::Location;

pub use error::{FetchError, SourceError};
pub use http::HttpError;
pub use options::{FetchOptions, HttpsUse, PrivatePart};

/// Fetches the configuration of an anchor's instance and keeps it in a directory.
#[derive(Debug)]
pub struct Fetcher {
    anchor: Anchor,
    dir: ConfDir,
    options: FetchOptions,
    client: HttpClient,
    snapshot: Option<Arc<Snapshot>>,
    fetched: Option<Generation>,
    memory: HashMap<String, Memory>,
    worked: Option<String>,
    failures: u32,
    store_error: Option<String>,
}

/// What the present snapshot was made of.
#[derive(Debug, PartialEq, Eq)]
struct Generation {
    version: u8,
    parts: Vec<PartRef>,
    expires: OffsetDateTime,
}

/// What is remembered of a location.
#[derive(Debug, Default)]
struct Memory {
    version: Option<u8>,
    failures: u32,
    avoid_until: Option<OffsetDateTime>,
}

impl Fetcher {
    /// Sets up a fetcher. What the directory holds of the anchor's instance is read, not judged: ask
    /// [`Snapshot::check_valid`].
    ///
    /// # Errors
    /// [`FetchError::Client`].
    pub fn new(anchor: Anchor, dir: ConfDir, options: FetchOptions) -> Result<Self, FetchError> {
        let client = HttpClient::new(&options).map_err(|source| FetchError::Client { source })?;
        let stored = match dir.read() {
            Ok(snapshot) if snapshot.own_instance() == anchor.instance() => {
                Some(Arc::new(snapshot))
            }
            Ok(snapshot) => {
                warn!(
                    stored = snapshot.own_instance(),
                    anchor = anchor.instance(),
                    "stored configuration is of another instance"
                );
                None
            }
            Err(error) => {
                info!(reason = chain(&error), "no stored configuration");
                None
            }
        };
        Ok(Self {
            anchor,
            dir,
            options,
            client,
            snapshot: stored,
            fetched: None,
            memory: HashMap::new(),
            worked: None,
            failures: 0,
            store_error: None,
        })
    }

    /// The anchor.
    #[must_use]
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// The newest snapshot: the last one fetched, before that what the directory held.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// The same as [`Fetcher::snapshot`]: at start, what the directory held.
    #[must_use]
    pub fn stored(&self) -> Option<Arc<Snapshot>> {
        self.snapshot()
    }

    /// How long to wait before the next [`Fetcher::refresh`]: the interval after a success, 5, 10, 20, 40, … seconds up to the
    /// interval after failures.
    #[must_use]
    pub fn next_refresh_in(&self) -> Duration {
        match self.failures {
            0 => self.options.interval,
            failures => backed_off(FIRST_RETRY, failures, self.options.interval),
        }
    }

    /// Why the last configuration could not be written to disk, when so; it is in force all the same.
    #[must_use]
    pub fn store_error(&self) -> Option<&str> {
        self.store_error.as_deref()
    }

    /// Asks the sources until one gives a whole configuration.
    ///
    /// Cancel safe: a dropped refresh changes nothing in memory, and on disk each file stays whole.
    ///
    /// # Errors
    /// [`FetchError::AllFailed`] with every attempt; the snapshot of before stays.
    pub async fn refresh(&mut self, now: OffsetDateTime) -> Result<Arc<Snapshot>, FetchError> {
        let mut attempts = Vec::new();
        for location in self.locations(now) {
            match self.try_location(&location, now).await {
                Ok((generation, version, snapshot, stored)) => {
                    self.memory.insert(
                        location.key.clone(),
                        Memory {
                            version,
                            ..Memory::default()
                        },
                    );
                    self.worked = Some(location.key);
                    self.failures = 0;
                    if let Some(stored) = stored {
                        self.store(stored).await;
                    }
                    self.warn_of_step_back(&generation);
                    self.fetched = Some(generation);
                    self.snapshot = Some(Arc::clone(&snapshot));
                    return Ok(snapshot);
                }
                Err(error) => {
                    warn!(
                        url = location.url,
                        reason = chain(&error),
                        "configuration source failed"
                    );
                    let memory = self.memory.entry(location.key).or_default();
                    memory.version = None;
                    memory.failures += 1;
                    memory.avoid_until =
                        Some(now + backed_off(FIRST_AVOIDANCE, memory.failures, LONGEST_AVOIDANCE));
                    attempts.push((location.url, error));
                }
            }
        }
        self.failures = self.failures.saturating_add(1);
        Err(FetchError::AllFailed { attempts })
    }

    /// Where to ask, best first: what worked last, then those that did not fail of late, each in the order of 1.2.
    fn locations(&self, now: OffsetDateTime) -> Vec<Location> {
        let shared = self
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.shared(self.anchor.instance()));
        let mut locations = location::candidates(&self.anchor, shared, &self.options);
        locations.sort_by_key(|location| {
            let avoid = self
                .memory
                .get(&location.key)
                .and_then(|memory| memory.avoid_until)
                .is_some_and(|until| now < until);
            (avoid, self.worked.as_ref() != Some(&location.key))
        });
        locations
    }

    async fn try_location(
        &self,
        location: &Location,
        now: OffsetDateTime,
    ) -> Result<
        (
            Generation,
            Option<u8>,
            Arc<Snapshot>,
            Option<StoredInstance>,
        ),
        SourceError,
    > {
        let (url, version, raw) = self.directory(location).await?;
        let directory = verify_directory(&raw, &location.certificates, now)
            .map_err(|source| SourceError::Directory { source })?;
        let wanted = self.wanted(&directory)?;
        let generation = Generation {
            version: directory.version(),
            parts: wanted,
            expires: directory.expires(),
        };
        let expires = Some(generation.expires);
        let local = self.local_parts(&generation.parts);
        if let (Some(snapshot), Some(fetched)) = (&self.snapshot, &self.fetched)
            && (fetched.version, &fetched.parts) == (generation.version, &generation.parts)
            && local.iter().all(Option::is_some)
        {
            let private = snapshot.private().and(expires);
            let snapshot = Arc::new(snapshot.with_expiry(expires, private));
            let stored = self.stored_parts(&generation, local);
            return Ok((generation, version, snapshot, stored));
        }
        let mut bytes = Vec::new();
        for (part, local) in generation.parts.iter().zip(local) {
            bytes.push(match local {
                Some(local) => local,
                None => self.part(&url, part).await?,
            });
        }
        let snapshot = self.understood(&generation, &bytes)?;
        let stored = self.stored_parts(&generation, bytes.into_iter().map(Some).collect());
        Ok((generation, version, Arc::new(snapshot), stored))
    }

    /// Fetches the signed directory in the newest version that the source has. One request when it is known from before or
    /// the newest is there: the answer to the question is the directory itself.
    async fn directory(
        &self,
        location: &Location,
    ) -> Result<(String, Option<u8>, Bytes), SourceError> {
        let known = self
            .memory
            .get(&location.key)
            .and_then(|memory| memory.version);
        let fixed = location::has_version(&location.url);
        let mut versions: Vec<Option<u8>> = if fixed {
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

    /// The parts of the own instance, checked for what can be checked before they are fetched.
    fn wanted(&self, directory: &VerifiedDirectory) -> Result<Vec<PartRef>, SourceError> {
        let instance = self.anchor.instance();
        if directory.parts().len() > PARTS_MAX {
            return Err(SourceError::TooManyParts {
                parts: directory.parts().len(),
            });
        }
        let mut wanted: Vec<PartRef> = Vec::new();
        for part in directory.parts() {
            let main = [SHARED_PARAMETERS, PRIVATE_PARAMETERS]
                .map(Some)
                .contains(&part.content_identifier.as_deref());
            let ours = match part.instance.as_deref() {
                Some(named) => named == instance,
                None => !main,
            };
            if !ours {
                continue;
            }
            let taken = wanted.iter().any(|known| known.file_name == part.file_name);
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
            instance: instance.to_owned(),
        };
        if !has(SHARED_PARAMETERS) {
            return Err(missing(SHARED_PARAMETERS));
        }
        if !has(PRIVATE_PARAMETERS) && self.options.private == PrivatePart::Required {
            return Err(missing(PRIVATE_PARAMETERS));
        }
        Ok(wanted)
    }

    /// What the directory on disk already has of these parts.
    fn local_parts(&self, parts: &[PartRef]) -> Vec<Option<Bytes>> {
        let directory = self
            .dir
            .path()
            .join(crate::files::directory_name(self.anchor.instance()));
        let local = |part: &PartRef| {
            let bytes = read_bounded(&directory.join(&part.file_name)).ok()?;
            (digest(part.digest.algorithm(), &bytes) == part.digest).then(|| Bytes::from(bytes))
        };
        parts.iter().map(local).collect()
    }

    async fn part(&self, directory_url: &str, part: &PartRef) -> Result<Bytes, SourceError> {
        let elsewhere = || SourceError::Elsewhere {
            location: part.location.clone(),
        };
        let url = location::resolve(directory_url, &part.location).ok_or_else(elsewhere)?;
        let bytes = match self.client.get(&url, self.options.part_bytes).await {
            Ok(Fetched::Found(bytes)) => bytes,
            Ok(Fetched::NotFound) => {
                return Err(SourceError::Http {
                    url,
                    source: HttpError::Status { status: 404 },
                });
            }
            Err(source) => return Err(SourceError::Http { url, source }),
        };
        let found: Digest = digest(part.digest.algorithm(), &bytes);
        if found != part.digest {
            return Err(SourceError::Digest {
                location: part.location.clone(),
                expected: part.digest.to_base64(),
                found: found.to_base64(),
            });
        }
        Ok(bytes)
    }

    fn understood(
        &self,
        generation: &Generation,
        bytes: &[Bytes],
    ) -> Result<Snapshot, SourceError> {
        let mut parts =
            InstanceParts::new(self.anchor.instance(), generation.version, Bytes::new());
        for (part, bytes) in generation.parts.iter().zip(bytes) {
            let bytes = bytes.clone();
            match part.content_identifier.as_deref() {
                Some(SHARED_PARAMETERS) => {
                    parts.shared = bytes;
                    parts.shared_expires = Some(generation.expires);
                }
                Some(PRIVATE_PARAMETERS) => {
                    parts.private = Some(bytes);
                    parts.private_expires = Some(generation.expires);
                }
                Some(other) => parts.optional.push((other.to_owned(), bytes)),
                None => {}
            }
        }
        Snapshot::from_parts(self.anchor.instance(), vec![parts]).map_err(|source| {
            SourceError::Snapshot {
                source: Box::new(source),
            }
        })
    }

    /// The instance as it is to be written; `None` when a part is not at hand.
    fn stored_parts(
        &self,
        generation: &Generation,
        bytes: Vec<Option<Bytes>>,
    ) -> Option<StoredInstance> {
        let mut parts = Vec::new();
        for (part, bytes) in generation.parts.iter().zip(bytes) {
            let mut stored = StoredPart::new(
                part.content_identifier.clone(),
                part.file_name.as_str(),
                generation.version,
                bytes?,
            );
            stored.location.clone_from(&part.location);
            stored.expires = Some(generation.expires);
            parts.push(stored);
        }
        Some(StoredInstance::new(self.anchor.instance(), parts))
    }

    /// Keeps a configuration on disk. A disk that refuses does not keep servers from using what they have verified.
    async fn store(&mut self, instance: StoredInstance) {
        let dir = self.dir.clone();
        let written = tokio::task::spawn_blocking(move || -> Result<(), FilesError> {
            let own = instance.instance.clone();
            dir.store(&own, &[instance])
        });
        self.store_error = match written.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(chain(&error)),
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = &self.store_error {
            warn!(
                reason,
                "the configuration is in force but could not be written to disk"
            );
        }
    }

    /// Sources of one instance publish at different moments, so a step back is no attack by itself; it is shown.
    fn warn_of_step_back(&self, generation: &Generation) {
        if let Some(before) = self
            .fetched
            .as_ref()
            .filter(|before| before.expires > generation.expires)
        {
            warn!(before = %before.expires, now = %generation.expires, "the configuration source stepped back");
        }
    }
}

/// `first`, doubled with each failure after the first, at most `longest`.
fn backed_off(first: Duration, failures: u32, longest: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    first.saturating_mul(1_u32 << doublings).min(longest)
}

const VERSIONS: [u8; 4] = [6, 5, 4, 3];
const PARTS_MAX: usize = 100;
const FIRST_RETRY: Duration = Duration::from_secs(5);
const FIRST_AVOIDANCE: Duration = Duration::from_secs(30);
const LONGEST_AVOIDANCE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
