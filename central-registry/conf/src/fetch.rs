//! Getting configurations from their sources (`registry-and-globalconf.md` 1.2 to 1.8, 6).
//!
//! A [`Fetcher`] knows an anchor and a directory on disk. Each [`Fetcher::refresh`] asks the own instance's sources until one
//! gives a directory that verifies and all parts that it names; then, where that is wished, the partners' whose anchors stand in
//! the private parameters. The result is kept on disk and handed out as a snapshot. Nothing that a source says is believed before
//! its signature has been checked, nothing that it sends is unbounded, and a source that lies, stalls or floods costs
//! nothing but itself: what was in force stays until it expires.

use std::{collections::BTreeMap, mem::take, sync::Arc, time::Duration};

use time::OffsetDateTime;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tracing::{info, warn};

use crate::{
    anchor::Anchor,
    aside::aside,
    files::{ConfDir, StoredInstance, StoredPart, chain, directory_name},
    snapshot::{InForce, Instance, Snapshot, left_out},
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

pub use crate::aside::BrokenDown;
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
    /// What lies on disk, since this process wrote or compared it.
    written: Vec<StoredInstance>,
    store_error: Option<String>,
}

/// A federated instance.
#[derive(Debug)]
struct Partner {
    sources: Sources,
    /// What is in force of it: fetched, or found on disk at the start.
    kept: Option<Kept>,
    /// Not asked before this.
    next: Option<OffsetDateTime>,
}

/// An instance as it is to be written, and as it was read.
#[derive(Clone, Debug)]
struct Kept {
    stored: StoredInstance,
    instance: Arc<Instance>,
}

impl Partner {
    fn expires(&self) -> Option<OffsetDateTime> {
        self.kept.as_ref()?.stored.parts.first()?.expires
    }

    fn in_force(&self, now: OffsetDateTime) -> Option<InForce> {
        let kept = self.kept.as_ref()?;
        let expires = self.expires();
        expires
            .is_none_or(|expires| now <= expires)
            .then(|| InForce {
                instance: Arc::clone(&kept.instance),
                shared_expires: expires,
                private_expires: None,
            })
    }

    /// When it expired, when so.
    fn expired(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.expires().filter(|expires| now > *expires)
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
            written: Vec::new(),
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
        let errand = self.errand(&own, Role::Own, now);
        let begun = Instant::now();
        let known = self.snapshot.clone();
        let shared = known.as_ref().and_then(|known| known.shared(&own));
        let generation = match self.own.fetch(errand, shared).await {
            Ok(generation) => generation,
            Err(attempts) => {
                let rest = aside(move || known?.without_expired(now)).await;
                if let Ok(Some(rest)) = rest {
                    self.snapshot = Some(Arc::new(rest));
                }
                return Err(FetchError::AllFailed { attempts });
            }
        };
        let mut warnings = self.own.notes(now, self.options.interval);
        self.refresh_partners(&generation, now, &mut warnings).await;
        let mut all = vec![generation.in_force()];
        let partners = self.foreign.values();
        all.extend(partners.filter_map(|partner| partner.in_force(now)));
        let snapshot = match &self.snapshot {
            Some(snapshot) if snapshot.is_made_of(&all) => self.renewed(snapshot, &generation),
            _ => {
                let (fetched, begun) = (begun.elapsed(), Instant::now());
                let snapshot = self.assembled(&own, all).await?;
                let shared = &generation.instance.shared;
                info!(
                    members = shared.members.len(),
                    servers = shared.servers.len(),
                    bytes = generation.instance.parts.shared.len(),
                    fetched = ?fetched,
                    read = ?generation.took,
                    indexed = ?begun.elapsed(),
                    "a new configuration was read"
                );
                snapshot
            }
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
            read: self.read(instance),
            reading: Arc::default(),
            now,
        }
    }

    /// An instance as it was read last, also one that has expired.
    fn read(&self, instance: &str) -> Option<Arc<Instance>> {
        let partner = self.foreign.get(instance);
        let kept = partner.and_then(|partner| partner.kept.as_ref());
        let in_force = || self.snapshot.as_ref()?.instance_read(instance);
        kept.map(|kept| &kept.instance)
            .or_else(in_force)
            .map(Arc::clone)
    }

    /// Asks the partners' sources side by side, all within one bound of time.
    async fn refresh_partners(
        &mut self,
        own: &Generation,
        now: OffsetDateTime,
        warnings: &mut Vec<String>,
    ) {
        let private = own.instance.private.as_ref();
        let wanted = federation::partners(private, self.own.anchor.instance(), &self.options);
        warnings.extend(wanted.warnings);
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

        let mut asked = JoinSet::new();
        let due = |partner: &Partner| partner.next.is_none_or(|next| next <= now);
        for (instance, partner) in self.foreign.iter().filter(|(_, partner)| due(partner)) {
            let errand = self.errand(instance, Role::Foreign, now);
            let (instance, mut sources) = (instance.clone(), partner.sources.clone());
            let limit = self.options.federation_timeout;
            asked.spawn(async move {
                // One that expired is out of the snapshot; the keys that it named last are its keys all the same.
                let read = errand.read.clone();
                let shared = read.as_ref().map(|read| &read.shared);
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
                    partner.kept = Some(Kept {
                        stored: stored(&instance, &generation),
                        instance: Arc::clone(&generation.instance),
                    });
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
            if let Some(expired) = partner.expired(now) {
                warnings.push(left_out(instance, expired));
            }
        }
    }

    /// What the stored configuration has of a partner, so that it survives a restart in which the partner does not answer.
    fn kept_on_disk(&self, instance: &str) -> Option<Kept> {
        let snapshot = self.snapshot.as_ref()?;
        let read = snapshot.instance_read(instance)?;
        let part = &read.parts;
        let mut shared = StoredPart::new(
            Some(crate::part::SHARED_PARAMETERS.to_owned()),
            crate::files::SHARED_FILE,
            part.version,
            part.shared.clone(),
        );
        shared.expires = snapshot.expires_of(instance);
        Some(Kept {
            stored: StoredInstance::new(instance, vec![shared]),
            instance: Arc::clone(read),
        })
    }

    /// The snapshot in force with new expiry dates.
    fn renewed(&self, snapshot: &Snapshot, own: &Generation) -> Snapshot {
        let expires = Some(own.expires);
        let private = snapshot.private().and(expires);
        let mut renewed = snapshot.with_expiry(expires, private);
        for (instance, partner) in &self.foreign {
            renewed = renewed.with_foreign_expiry(instance, partner.expires());
        }
        renewed
    }

    /// A snapshot of everything that is in force.
    async fn assembled(&self, own: &str, all: Vec<InForce>) -> Result<Snapshot, FetchError> {
        let (own, profiles) = (own.to_owned(), self.dir.profiles().clone());
        let made = aside(move || Ok(Snapshot::of(&own, all)?.with_profiles(&profiles)));
        match made.await {
            Ok(Ok(snapshot)) => Ok(snapshot),
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
        let kept = self.foreign.values().filter_map(|it| it.kept.as_ref());
        instances.extend(kept.map(|kept| kept.stored.clone()));
        let (dir, own, before) = (self.dir.clone(), own.to_owned(), take(&mut self.written));
        let written = aside(move || {
            dir.store_over(&own, &instances, &before)
                .map(|()| instances)
        });
        self.store_error = match written.await {
            Ok(Ok(instances)) => {
                self.written = instances;
                None
            }
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
