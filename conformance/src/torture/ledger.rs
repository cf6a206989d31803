//! What is in the logs, held against what was acknowledged.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use jibek_msglog::{Direction, LogReader, RecordId, fs::OsFs};

use super::load::Acknowledged;

/// What was seen in one log so far.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    ids: Vec<RecordId>,
    messages: HashMap<String, Halves>,
    stamped: Vec<RecordId>,
}

/// SHA-512 of the bodies of question and answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Halves {
    question: Option<Vec<u8>>,
    answer: Option<Vec<u8>>,
}

impl Ledger {
    /// Nothing was seen yet in the log at `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            ids: Vec::new(),
            messages: HashMap::new(),
            stamped: Vec::new(),
        }
    }

    /// Records seen.
    #[must_use]
    pub fn records(&self) -> usize {
        self.ids.len()
    }

    /// Looks again: what was seen before must still be there, and is not read again; what is new is read.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    pub fn look(&mut self) -> Result<(), String> {
        let (log, report) = LogReader::open(&self.dir, OsFs::shared())
            .map_err(|error| format!("{}: {error}", self.dir.display()))?;
        if !report.damage.is_empty() {
            return Err(format!("damage: {:?}", report.damage));
        }
        let ids: Vec<RecordId> = log
            .ids()
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        if !ids.starts_with(&self.ids) {
            let gone = self.ids.iter().find(|id| ids.binary_search(id).is_err());
            return Err(format!("record {gone:?} was there and is not any more"));
        }
        for id in ids.get(self.ids.len()..).unwrap_or_default() {
            let record = log
                .read(*id)
                .map_err(|error| format!("record {id}: {error}"))?
                .ok_or_else(|| format!("record {id} is listed and cannot be read"))?;
            let body = record.bodies.first().map(|body| body.sha512.to_vec());
            let body = body.unwrap_or_default();
            let halves = self.messages.entry(record.head.message_id).or_default();
            match record.head.direction {
                Direction::Request => halves.question = Some(body),
                Direction::Response => halves.answer = Some(body),
            }
        }
        // Stamped once, stamped for ever; a sample, since each look would read all.
        for id in self.stamped.iter().rev().take(STAMPS_READ_AGAIN) {
            let record = log.read(*id).map_err(|error| error.to_string())?;
            if record.is_none_or(|record| record.stamp.is_none()) {
                return Err(format!("record {id} has lost its stamp"));
            }
        }
        let newly = ids.iter().rev().step_by(7).take(STAMPS_READ_AGAIN);
        for id in newly {
            let record = log.read(*id).map_err(|error| error.to_string())?;
            if record.is_some_and(|record| record.stamp.is_some()) {
                self.stamped.push(*id);
            }
        }
        self.ids = ids;
        Ok(())
    }

    /// Those of the list that are not there whole: question and answer with the digests that their sender knows.
    #[must_use]
    pub fn lost<'a>(&self, list: &'a [Acknowledged]) -> Vec<&'a Acknowledged> {
        let whole = |it: &Acknowledged| {
            self.messages.get(&it.id).is_some_and(|halves| {
                halves.question.as_ref() == Some(&it.question)
                    && halves.answer.as_ref() == Some(&it.answer)
            })
        };
        list.iter().filter(|it| !whole(it)).collect()
    }
}

const STAMPS_READ_AGAIN: usize = 20;
