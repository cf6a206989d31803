//! Getting configurations from their sources (`registry-and-globalconf.md` 1.2 to 1.8, 6).
//!
//! A [`Fetcher`] knows an anchor and a directory on disk. Each [`Fetcher::refresh`] asks the own instance's sources until one
//! gives a directory that verifies and all parts that it names; then, where that is wished, the partners' whose anchors stand in
//! the private parameters. The result is kept on disk and handed out as a snapshot. Nothing that a source says is believed before
//! its signature has been checked, nothing that it sends is unbounded, and a source that lies, stalls or floods costs
//! nothing but itself: what was in force stays until it expires.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use time::OffsetDateTime;
use tokio::{task::JoinSet, time::timeout};
use tracing::{info, warn};

use crate::{
    anchor::Anchor,
    files::{ConfDir, FilesError, StoredInstance, StoredPart, chain, directory_name},
    part::parse_shared,
    snapshot::{InstanceParts, Snapshot, left_out},
};

mod attempt;
mod error;
mod federation;
mod http;
mod location;
mod options;
mod source;

use attempt::{Errand, Generation, Role};
use http::HttpClient;
use source::Sources;

pub use error::{FetchError, SourceError};
pub use http::HttpError;
pub use options::{Federations, FetchOptions, HttpsUse, PrivatePart};

/// Fetches the configuration of an anchor's instance, and of its partners, and keeps them in a directory.
#[derive(Debug)]
pub struct Fetcher {
    dir: ConfDir,
    options: Arc<FetchOptions>,
    client: HttpClient,
    own: Sources,
    foreign: BTreeMap<String, Partner>,
    snapshot: Option<Arc<Snapshot>>,
    store_error: Option<String>,
}

/// A federated instance.
#[derive(Debug)]
struct Partner {
    sources: Sources,
    /// What is in force of it: fetched, or found on disk at the start.
    kept: Option<StoredInstance>,
    /// Not asked before this.
    next: Option<OffsetDateTime>,
}

impl Partner {
    fn shared(&self) -> Option<&StoredPart> {
        self.kept.as_ref()?.parts.first()
    }

    fn in_force(&self, now: OffsetDateTime) -> Option<&StoredPart> {
        let fresh = |part: &&StoredPart| part.expires.is_none_or(|expires| now <= expires);
        self.shared().filter(fresh)
    }

    /// When it expired, when so.
    fn expired(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.shared()?.expires.filter(|expires| now > *expires)
    }
}

impl Fetcher {
    /// Sets up a fetcher. What the directory holds of the anchor's instance is read, not judged: ask
    /// [`Snapshot::check_valid`] and [`Snapshot::without_expired`].
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
            dir,
            options: Arc::new(options),
            client,
            own: Sources::new(anchor),
            foreign: BTreeMap::new(),
            snapshot: stored,
            store_error: None,
        })
    }

    /// The anchor.
    #[must_use]
    pub fn anchor(&self) -> &Anchor {
        &self.own.anchor
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
        match self.own.failures {
            0 => self.options.interval,
            failures => backed_off(FIRST_RETRY, failures, self.options.interval),
        }
    }

    /// Why the last configuration could not be written to disk, when so; it is in force all the same.
    #[must_use]
    pub fn store_error(&self) -> Option<&str> {
        self.store_error.as_deref()
    }

    /// Asks the own sources until one gives a whole configuration, then the partners'. A partner that does not answer only
    /// leaves a warning in the snapshot: what was known of it stays until it expires.
    ///
    /// Cancel safe: a dropped refresh changes no snapshot, and on disk each file stays whole; what was learned about partners'
    /// addresses may be forgotten.
    ///
    /// # Errors
    /// [`FetchError::AllFailed`] with every attempt at the own sources; the snapshot of before stays, without foreign
    /// instances that have expired.
    pub async fn refresh(&mut self, now: OffsetDateTime) -> Result<Arc<Snapshot>, FetchError> {
        let own = self.own.anchor.instance().to_owned();
        let before = self.own.generation.clone();
        let errand = self.errand(&own, Role::Own, now);
        let known = self.snapshot.clone();
        let shared = known.as_ref().and_then(|known| known.shared(&own));
        let generation = match self.own.fetch(errand, shared).await {
            Ok(generation) => generation,
            Err(attempts) => {
                if let Some(rest) = known.and_then(|known| known.without_expired(now)) {
                    self.snapshot = Some(Arc::new(rest));
                }
                return Err(FetchError::AllFailed { attempts });
            }
        };
        let unchanged = before.is_some_and(|before| before.same_content(&generation));
        let mut warnings = self.own.notes(now, self.options.interval);
        let partners_changed = self.refresh_partners(&generation, now, &mut warnings).await;
        let snapshot = match &self.snapshot {
            Some(snapshot) if unchanged && !partners_changed => self.renewed(snapshot, &generation),
            _ => self.assembled(&own, &generation, now).await?,
        };
        self.store(&own, &generation).await;
        warnings.extend(self.store_error.as_ref().map(|reason| {
            format!("the configuration is in force but could not be written to disk: {reason}")
        }));
        for warning in &warnings {
            warn!(warning, "the configuration needs attention");
        }
        let snapshot = Arc::new(snapshot.with_warnings(warnings));
        self.snapshot = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    fn errand(&self, instance: &str, role: Role, now: OffsetDateTime) -> Errand {
        Errand {
            instance: instance.into(),
            role,
            client: self.client.clone(),
            options: Arc::clone(&self.options),
            folder: self.dir.path().join(directory_name(instance)),
            known: None,
            now,
        }
    }

    /// Asks the partners' sources side by side, all within one bound of time. Whether anything but expiry changed.
    async fn refresh_partners(
        &mut self,
        own: &Generation,
        now: OffsetDateTime,
        warnings: &mut Vec<String>,
    ) -> bool {
        let wanted = federation::partners(own, self.own.anchor.instance(), &self.options);
        warnings.extend(wanted.warnings);
        let before: Vec<_> = self.foreign.keys().cloned().collect();
        let mut changed = false;
        self.foreign
            .retain(|instance, _| wanted.anchors.contains_key(instance));
        for (instance, anchor) in wanted.anchors {
            match self.foreign.get_mut(&instance) {
                Some(partner) if partner.sources.anchor.bytes() == anchor.bytes() => {}
                // Another anchor, perhaps with other keys: nothing of the old one's sources counts. What is in force stays.
                Some(partner) => {
                    partner.sources = Sources::new(anchor);
                    partner.next = None;
                }
                None => {
                    let kept = self.kept_on_disk(&instance);
                    let (sources, next) = (Sources::new(anchor), None);
                    let partner = Partner {
                        sources,
                        kept,
                        next,
                    };
                    self.foreign.insert(instance, partner);
                }
            }
        }
        changed |= before.len() != self.foreign.len()
            || before.iter().any(|name| !self.foreign.contains_key(name));

        let mut asked = JoinSet::new();
        let due = |partner: &Partner| partner.next.is_none_or(|next| next <= now);
        for (instance, partner) in self.foreign.iter().filter(|(_, partner)| due(partner)) {
            let errand = self.errand(instance, Role::Foreign, now);
            let known = self.snapshot.clone();
            let (instance, mut sources) = (instance.clone(), partner.sources.clone());
            // One that expired is out of the snapshot; the keys that it named last are its keys all the same.
            let last = partner.shared().filter(|_| partner.expired(now).is_some());
            let last = last.map(|part| (part.bytes.clone(), part.version));
            let limit = self.options.federation_timeout;
            asked.spawn(async move {
                let last = last.and_then(|(bytes, version)| parse_shared(&bytes, version).ok());
                let shared = known.as_ref().and_then(|known| known.shared(&instance));
                let shared = shared.or(last.as_ref());
                let outcome = match timeout(limit, sources.fetch(errand, shared)).await {
                    Ok(Ok(generation)) => Some(generation),
                    Ok(Err(_)) => None,
                    Err(_) => {
                        sources.overdue(now, limit);
                        None
                    }
                };
                (instance, sources, outcome)
            });
        }
        while let Some(done) = asked.join_next().await {
            let Ok((instance, sources, outcome)) = done else {
                continue;
            };
            let Some(partner) = self.foreign.get_mut(&instance) else {
                continue;
            };
            partner.sources = sources;
            match outcome {
                Some(generation) => {
                    let stored = stored(&instance, &generation);
                    changed |= !partner
                        .kept
                        .as_ref()
                        .is_some_and(|kept| same_bytes(kept, &stored));
                    partner.kept = Some(stored);
                    partner.next = None;
                }
                None => {
                    let failures = partner.sources.failures;
                    partner.next = Some(now + backed_off(FIRST_RETRY, failures, LONGEST_SILENCE));
                }
            }
        }
        for (instance, partner) in &self.foreign {
            warnings.extend(partner.sources.notes(now, self.options.interval));
            if let Some((at, why)) = &partner.sources.last_failure {
                warnings.push(format!(
                    "the sources of the partner {instance} give nothing ({} times, last asked at {at}): {why}",
                    partner.sources.failures
                ));
            }
            // One that expired goes, and comes back with its next publication.
            let known = self.snapshot.as_ref();
            let known = known.is_some_and(|known| known.knows_instance(instance));
            changed |= known != partner.in_force(now).is_some();
            if let Some(expired) = partner.expired(now) {
                warnings.push(left_out(instance, expired));
            }
        }
        changed
    }

    /// What the stored configuration has of a partner, so that it survives a restart in which the partner does not answer.
    fn kept_on_disk(&self, instance: &str) -> Option<StoredInstance> {
        let snapshot = self.snapshot.as_ref()?;
        let part = snapshot.parts().find(|part| part.instance == instance)?;
        let mut shared = StoredPart::new(
            Some(crate::part::SHARED_PARAMETERS.to_owned()),
            crate::files::SHARED_FILE,
            part.version,
            part.shared.clone(),
        );
        shared.expires = snapshot.expires_of(instance);
        Some(StoredInstance::new(instance, vec![shared]))
    }

    /// The snapshot in force with new expiry dates.
    fn renewed(&self, snapshot: &Snapshot, own: &Generation) -> Snapshot {
        let expires = Some(own.expires);
        let private = snapshot.private().and(expires);
        let mut renewed = snapshot.with_expiry(expires, private);
        for (instance, partner) in &self.foreign {
            if let Some(part) = partner.shared() {
                renewed = renewed.with_foreign_expiry(instance, part.expires);
            }
        }
        renewed
    }

    /// A snapshot of everything that is in force, made anew off the runtime's threads.
    async fn assembled(
        &self,
        own: &str,
        generation: &Generation,
        now: OffsetDateTime,
    ) -> Result<Snapshot, FetchError> {
        let mut parts = vec![generation.instance_parts(own)];
        for (instance, partner) in &self.foreign {
            if let Some(part) = partner.in_force(now) {
                let mut one =
                    InstanceParts::new(instance.as_str(), part.version, part.bytes.clone());
                one.shared_expires = part.expires;
                parts.push(one);
            }
        }
        let own = own.to_owned();
        let made = tokio::task::spawn_blocking(move || Snapshot::from_parts(&own, parts)).await;
        match made {
            Ok(Ok(snapshot)) => Ok(snapshot.with_profiles(self.dir.profiles())),
            // Each part was understood by itself when it came, so nothing is expected here.
            Ok(Err(source)) => Err(FetchError::Assembled {
                source: Box::new(source),
            }),
            Err(source) => Err(FetchError::Broken { source }),
        }
    }

    /// Keeps everything on disk. A disk that refuses does not keep servers from using what they have verified.
    async fn store(&mut self, own: &str, generation: &Generation) {
        let mut instances = vec![stored(own, generation)];
        let foreign = self.foreign.values();
        instances.extend(foreign.filter_map(|partner| partner.kept.clone()));
        let (dir, own) = (self.dir.clone(), own.to_owned());
        let written = tokio::task::spawn_blocking(move || -> Result<(), FilesError> {
            dir.store(&own, &instances)
        });
        self.store_error = match written.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(chain(&error)),
            Err(error) => Some(error.to_string()),
        };
    }
}

/// An instance as it is to be written.
fn stored(instance: &str, generation: &Generation) -> StoredInstance {
    let parts = generation.parts.iter().map(|(part, bytes)| {
        let mut stored = StoredPart::new(
            part.content_identifier.clone(),
            part.file_name.as_str(),
            generation.version,
            bytes.clone(),
        );
        stored.location.clone_from(&part.location);
        stored.expires = Some(generation.expires);
        stored
    });
    StoredInstance::new(instance, parts.collect())
}

fn same_bytes(one: &StoredInstance, other: &StoredInstance) -> bool {
    let content = |instance: &StoredInstance| -> Vec<_> {
        let parts = instance.parts.iter();
        parts
            .map(|part| (part.version, part.bytes.clone()))
            .collect()
    };
    content(one) == content(other)
}

/// `first`, doubled with each failure after the first, at most `longest`.
fn backed_off(first: Duration, failures: u32, longest: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    first.saturating_mul(1_u32 << doublings).min(longest)
}

const FIRST_RETRY: Duration = Duration::from_secs(5);
/// A partner that does not answer is asked at least so often.
const LONGEST_SILENCE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
