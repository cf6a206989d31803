//! The sources of one instance: which is asked first, which is left in peace for a while, and what they last said.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::{task::JoinSet, time::sleep};
use tracing::warn;

use super::{
    FetchOptions, SourceError,
    attempt::{Errand, Generation, Outcome},
    backed_off,
    location::{self, Location},
};
use crate::{anchor::Anchor, files::chain, model::SharedParameters};

/// What is known of an instance's sources.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    pub(super) anchor: Anchor,
    /// What is in force, when it was fetched by this process.
    pub(super) generation: Option<Arc<Generation>>,
    /// What the locations are like.
    memory: HashMap<String, Memory>,
    worked: Option<String>,
    /// Refreshes since one succeeded.
    pub(super) failures: u32,
    /// When the last refresh failed, and why.
    pub(super) last_failure: Option<(OffsetDateTime, String)>,
    /// The latest expiry that was ever seen, and when it was seen first.
    newest: Option<(OffsetDateTime, OffsetDateTime)>,
}

/// What is remembered of a location.
#[derive(Clone, Debug, Default)]
struct Memory {
    version: Option<u8>,
    failures: u32,
    avoid_until: Option<OffsetDateTime>,
}

type Attempts = Vec<(String, SourceError)>;

impl Sources {
    pub(super) fn new(anchor: Anchor) -> Self {
        Self {
            anchor,
            generation: None,
            memory: HashMap::new(),
            worked: None,
            failures: 0,
            last_failure: None,
            newest: None,
        }
    }

    /// Asks the locations until one gives everything. One that takes its time is not cut, but the next is asked beside it.
    pub(super) async fn fetch(
        &mut self,
        mut errand: Errand,
        shared: Option<&SharedParameters>,
    ) -> Result<Arc<Generation>, Attempts> {
        errand.known.clone_from(&self.generation);
        let (now, options) = (errand.now, Arc::clone(&errand.options));
        let mut waiting = self.locations(shared, &options, now).into_iter();
        let mut running: JoinSet<(Location, Outcome)> = JoinSet::new();
        let mut attempts = Attempts::new();
        loop {
            if running.is_empty() {
                let Some(next) = waiting.next() else {
                    self.failed(now, &attempts);
                    return Err(attempts);
                };
                self.start(&mut running, &errand, next);
            }
            let more = waiting.len() > 0 && running.len() < AT_ONCE;
            let finished = tokio::select! {
                finished = running.join_next() => finished,
                () = sleep(options.patience), if more => {
                    // One that has come whole and is being read is no reason to ask another.
                    if errand.reading.load(Ordering::Relaxed) == 0
                        && let Some(next) = waiting.next()
                    {
                        self.start(&mut running, &errand, next);
                    }
                    continue;
                }
            };
            let Some(finished) = finished else { continue };
            let Ok((location, outcome)) = finished else {
                // Which one it was is not known any more; it is not asked again in this refresh.
                attempts.push((String::new(), SourceError::Broken));
                continue;
            };
            match outcome {
                Ok((version, generation)) => {
                    self.succeeded(location, version, &generation, now);
                    return Ok(generation);
                }
                Err(error) => {
                    warn!(
                        url = location.url,
                        reason = chain(&error),
                        "configuration source failed"
                    );
                    self.avoid(&location.key, now);
                    attempts.push((location.url, error));
                }
            }
        }
    }

    fn start(&self, running: &mut JoinSet<(Location, Outcome)>, errand: &Errand, to: Location) {
        let version = self.memory.get(&to.key).and_then(|memory| memory.version);
        let errand = errand.clone();
        running.spawn(async move {
            let outcome = errand.run(to.clone(), version).await;
            (to, outcome)
        });
    }

    /// Where to ask, best first: what worked last, then those that did not fail of late, each in the order of 1.2.
    fn locations(
        &self,
        shared: Option<&SharedParameters>,
        options: &FetchOptions,
        now: OffsetDateTime,
    ) -> Vec<Location> {
        let mut locations = location::candidates(&self.anchor, shared, options);
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

    fn succeeded(
        &mut self,
        location: Location,
        version: Option<u8>,
        generation: &Arc<Generation>,
        now: OffsetDateTime,
    ) {
        let memory = Memory {
            version,
            ..Memory::default()
        };
        self.memory.insert(location.key.clone(), memory);
        self.worked = Some(location.key);
        self.failures = 0;
        self.last_failure = None;
        match self.newest {
            Some((newest, _)) if newest >= generation.expires => {}
            _ => self.newest = Some((generation.expires, now)),
        }
        self.generation = Some(Arc::clone(generation));
    }

    fn failed(&mut self, now: OffsetDateTime, attempts: &[(String, SourceError)]) {
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some((now, super::error::summary(attempts)));
    }

    fn avoid(&mut self, key: &str, now: OffsetDateTime) {
        let memory = self.memory.entry(key.to_owned()).or_default();
        memory.version = None;
        memory.failures = memory.failures.saturating_add(1);
        memory.avoid_until =
            Some(now + backed_off(FIRST_AVOIDANCE, memory.failures, LONGEST_AVOIDANCE));
        if self.memory.len() > MEMORY_MAX {
            self.memory.clear(); // addresses come from signed parts, but they may change without end
        }
    }

    /// The refresh was given up before an outcome.
    pub(super) fn overdue(&mut self, now: OffsetDateTime, waited: Duration) {
        let slow = SourceError::Slow { waited };
        let urls: Vec<_> = self
            .anchor
            .sources()
            .iter()
            .map(|source| source.url.as_str())
            .collect();
        self.failed(now, &[(urls.join(", "), slow)]);
    }

    /// What an operator should know although there is a configuration.
    ///
    /// A step back is no attack by itself: sources of one instance publish at different moments. A source that gives the
    /// same directory again and again may have been frozen by whoever stands between; it ends by expiry.
    pub(super) fn notes(&self, now: OffsetDateTime, interval: Duration) -> Vec<String> {
        let (instance, mut notes) = (self.anchor.instance(), Vec::new());
        let (Some(generation), Some((newest, since))) = (&self.generation, self.newest) else {
            return notes;
        };
        let expires = generation.expires;
        if expires < newest {
            notes.push(format!(
                "a source of {instance} stepped back: what it gives expires at {expires}, another that was seen before at {newest}"
            ));
        }
        let still = now - since;
        let frozen = still > interval * 2 && expires - now < (newest - since) / 2;
        if frozen && self.failures == 0 {
            notes.push(format!(
                "the sources of {instance} answer, but have given nothing newer for {} s; the configuration expires at {expires}",
                still.whole_seconds()
            ));
        }
        notes
    }
}

/// Sources that are asked side by side, when the first ones take their time.
const AT_ONCE: usize = 4;
const MEMORY_MAX: usize = 1024;
const FIRST_AVOIDANCE: Duration = Duration::from_secs(30);
const LONGEST_AVOIDANCE: Duration = Duration::from_secs(600);
