//! Configurations that a registry kept: which was in force at a moment.

use jibek_conf::{
    files::{ConfDir, FilesError},
    history::History,
    snapshot::Snapshot,
};
use jibek_evidence::{
    container::Container,
    verify::{StampTimes, stamp_time_with},
};
use jibek_protocol::profile::Profiles;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};
use time::OffsetDateTime;

use crate::{configuration::Chosen, judge::explain, words::written};

/// What one or several registries of an instance kept of what they published. Configurations are read when they are needed.
#[derive(Debug)]
pub struct KeptHistory {
    histories: Vec<History>,
    profiles: Profiles,
    read: Mutex<BTreeMap<OffsetDateTime, Result<Chosen, String>>>,
    times: StampTimes,
}

impl KeptHistory {
    /// Lists what was kept in these directories; `profiles` are what certificates are read by beside X-Road's own.
    ///
    /// # Errors
    /// [`FilesError::Os`] when one cannot be listed.
    pub fn open(dirs: &[PathBuf], profiles: Profiles) -> Result<Self, FilesError> {
        let histories = dirs.iter().map(History::open).collect::<Result<_, _>>()?;
        Ok(Self {
            histories,
            profiles,
            read: Mutex::default(),
            times: StampTimes::default(),
        })
    }

    /// The configuration that was in force at a moment, and since when.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn at(&self, moment: OffsetDateTime) -> Result<(Snapshot, OffsetDateTime), String> {
        let (since, dir) = self.find(moment)?;
        Ok((self.read(&dir)?, since))
    }

    /// When the container was stamped, by its own word.
    pub(crate) fn stamp_time(&self, container: &Container) -> Option<OffsetDateTime> {
        stamp_time_with(container, &self.times)
    }

    /// The configuration for a container that was stamped at `moment`. One without a stamp is invalid by any: the newest will do.
    pub(crate) fn of(&self, moment: Option<OffsetDateTime>) -> Result<Chosen, String> {
        let newest = || {
            self.histories
                .iter()
                .flat_map(History::changes)
                .max()
                .copied()
        };
        let moment = moment.or_else(newest).ok_or(NOTHING_KEPT)?;
        let (since, dir) = self.find(moment)?;
        // who comes second waits for the first instead of reading it, too
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.get(&since) {
            return known.clone();
        }
        let chosen = self
            .read(&dir)
            .map(|snapshot| Chosen::new(snapshot, Some(since)));
        while read.len() >= MOST_HELD {
            read.pop_first();
        }
        read.insert(since, chosen.clone());
        chosen
    }

    /// Of several histories the one that changed last before the moment.
    fn find(&self, moment: OffsetDateTime) -> Result<(OffsetDateTime, ConfDir), String> {
        let found = self.histories.iter().filter_map(|it| it.at(moment));
        if let Some(found) = found.max_by_key(|(since, _)| *since) {
            return Ok(found);
        }
        let first = self.histories.iter().flat_map(History::changes).min();
        Err(first.map_or_else(
            || NOTHING_KEPT.to_owned(),
            |first| {
                format!(
                    "no configuration of {} was kept: the first is of {}",
                    written(moment),
                    written(*first)
                )
            },
        ))
    }

    fn read(&self, dir: &ConfDir) -> Result<Snapshot, String> {
        let snapshot = dir.read().map_err(|error| explain(&error))?;
        Ok(snapshot.with_profiles(&self.profiles))
    }
}

const NOTHING_KEPT: &str = "no configuration was kept";
/// Configurations that are held at the same time.
const MOST_HELD: usize = 64;
