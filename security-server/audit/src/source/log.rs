//! The log of one of our servers, live or copied: each record is judged as the container that would be made of it.

use bytes::Bytes;
use jibek_evidence::{
    container::{Container, ContainerParts, Direction, container_name, write_container},
    verify::{Outcome, Report},
};
use jibek_msglog::{LogError, LogReader, Record, RecordId, fs::OsFs};
use serde_json::json;
use std::{
    io::{ErrorKind, Read},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};
use time::OffsetDateTime;

use super::{Job, LARGE_BYTES, SharedReader, Sink, judge_container, unseen};
use crate::{
    configuration::Configuration,
    judge::{Judged, MAX_FILE_BYTES, Note, cannot_judge, explain, open_container},
    whole::{Fault, Whole, WholeKind},
};

/// A record of a log.
#[derive(Debug)]
pub(crate) struct RecordJob {
    dir: PathBuf,
    reader: SharedReader,
    id: RecordId,
}

/// Finds all records of the log in `dir`, and tells last how the log stands as a whole.
pub(super) fn log(dir: &Path, sink: &mut Sink<'_>) -> ControlFlow<()> {
    let (reader, report) = match LogReader::open(dir, OsFs::shared()) {
        Ok(opened) => opened,
        Err(error) => {
            let mut whole = Whole::new(WholeKind::Log, vec![dir.to_owned()]);
            whole.lacking = vec![Fault::new("log_unreadable", explain(&error))];
            return sink(whole.into());
        }
    };
    let reader = Arc::new(reader);
    let mut whole = Whole::new(WholeKind::Log, vec![dir.to_owned()]);
    for id in reader.ids() {
        let job = match id {
            Ok(id) => Job::Record(RecordJob {
                dir: dir.to_owned(),
                reader: Arc::clone(&reader),
                id,
            }),
            Err(error) => {
                whole.lacking = vec![Fault::new("log_unreadable", explain(&error))];
                break;
            }
        };
        sink(job)?;
    }
    whole.containers = report.records;
    whole.faults = report
        .damage
        .iter()
        .take(MOST_FAULTS)
        .map(|damage| {
            let path = damage.path.strip_prefix(dir).unwrap_or(&damage.path);
            let place = format!("{} at byte {}", path.display(), damage.offset);
            Fault::new("log_damaged", format!("{place}: {}", damage.what))
        })
        .collect();
    whole.sentence = format!(
        "{} records in {} segments, {} not stamped yet{}",
        report.records,
        report.segments,
        report.unstamped,
        if report.unfinished {
            ", the last segment is being written"
        } else {
            ""
        }
    );
    whole.facts.extend([
        ("segments".to_owned(), json!(report.segments)),
        ("unstamped".to_owned(), json!(report.unstamped)),
        ("unfinished".to_owned(), json!(report.unfinished)),
        ("damaged_places".to_owned(), json!(report.damage.len())),
    ]);
    sink(whole.into())
}

impl RecordJob {
    pub(super) fn name(&self) -> (PathBuf, Option<String>) {
        (self.dir.clone(), Some(format!("record {}", self.id)))
    }

    pub(super) fn is_large(&self) -> bool {
        let bodies = self.reader.read(self.id).ok().flatten();
        let bodies = bodies.iter().flat_map(|record| &record.bodies);
        bodies
            .filter(|body| body.kept)
            .map(|body| body.len)
            .sum::<u64>()
            > LARGE_BYTES
    }

    pub(super) fn judge(self, configuration: &Configuration) -> Judged {
        let (dir, mut entry) = self.name();
        let record = match self.reader.read(self.id) {
            Ok(Some(record)) => record,
            Ok(None) => return Judged::new(dir, entry, cannot_judge("the record is gone")),
            Err(error) => return Judged::new(dir, entry, cannot_judge(explain(&error))),
        };
        entry = Some(container_name(
            &record.head.message_id,
            direction(&record),
            self.id.get(),
        ));
        let mut notes = Vec::new();
        let container = match self.container(&record, &mut notes) {
            Ok(container) => container,
            Err(reason) => return Judged::new(dir, entry, cannot_judge(reason)),
        };
        let mut judged = match container {
            None => Judged::new(dir, entry, cannot_judge("the record has no time-stamp yet")),
            Some(Err(verdict)) => Judged::new(dir, entry, verdict),
            Some(Ok(container)) => judge_container(dir, entry, &container, configuration),
        };
        if let Outcome::Valid(report) = &judged.verdict.outcome {
            notes.extend(index_differs(&record, report));
        }
        judged.notes = notes;
        judged
    }

    /// The container that the server would make of the record; `None` while it has no stamp.
    fn container(
        &self,
        record: &Record,
        notes: &mut Vec<Note>,
    ) -> Result<Option<Result<Container, jibek_evidence::verify::Verdict>>, String> {
        let Some(stamp) = &record.stamp else {
            return Ok(None);
        };
        let mut attachments = Vec::new();
        for body in record.bodies.iter().filter(|body| body.kept) {
            if body.len > MAX_FILE_BYTES {
                return Err(format!("body {} is larger than 2 GiB", body.index));
            }
            match self.body(body.index) {
                Ok(Some(bytes)) => attachments.push(bytes),
                Ok(None) => {}
                Err(Missing::Gone(text)) => notes.push(Note::new("body_missing", text)),
                Err(Missing::Unreadable(reason)) => return Err(reason),
            }
        }
        let nanoseconds = i128::from(record.head.time_ms).saturating_mul(1_000_000);
        let parts = ContainerParts {
            message: record.parts.message.clone(),
            signature: record.parts.signature.clone(),
            hash_chain_result: record.parts.hash_chain_result.clone(),
            hash_chain: record.parts.hash_chain.clone(),
            ts_token: Some(stamp.token.clone()),
            ts_hash_chain_result: Some(stamp.hash_chain_result.clone()),
            ts_hash_chain: Some(stamp.hash_chain.clone()),
            attachments,
            time: OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
                .unwrap_or(OffsetDateTime::UNIX_EPOCH),
        };
        let bytes = write_container(&parts).map_err(|error| explain(&error))?;
        Ok(Some(open_container(&bytes)))
    }

    fn body(&self, index: u32) -> Result<Option<Bytes>, Missing> {
        let body = self.reader.body(self.id, index).map_err(|error| {
            let text = format!("body {index} is not there: {}", explain(&error));
            match error {
                LogError::Damaged { .. } => Missing::Gone(text),
                LogError::Io { ref source, .. } if source.kind() == ErrorKind::NotFound => {
                    Missing::Gone(text)
                }
                _ => Missing::Unreadable(text),
            }
        })?;
        let Some(body) = body else { return Ok(None) };
        let mut bytes = Vec::new();
        body.into_reader()
            .read_to_end(&mut bytes)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => {
                    Missing::Gone(format!("body {index} is shorter than it was"))
                }
                _ => Missing::Unreadable(format!("body {index} cannot be read: {error}")),
            })?;
        Ok(Some(bytes.into()))
    }
}

/// Why a body that was kept is not at hand.
enum Missing {
    /// It is not there, or not what was written: the container is judged without it.
    Gone(String),
    /// Nothing can be said of it.
    Unreadable(String),
}

/// What the log says of a record and its message says otherwise: who searches the log would not find it.
fn index_differs(record: &Record, report: &Report) -> Option<Note> {
    let (head, facts) = (&record.head, report.message());
    let differs = if head.message_id != facts.message_id() {
        "message id"
    } else if head.client != *facts.client() {
        "client"
    } else if head.service != *facts.service() {
        "service"
    } else if direction(record) != facts.direction() {
        "direction"
    } else {
        return None;
    };
    let text = format!("the log has the record under another {differs} than the message says");
    Some(Note::new("record_differs", text))
}

fn direction(record: &Record) -> Direction {
    match record.head.direction {
        jibek_msglog::Direction::Request => Direction::Request,
        jibek_msglog::Direction::Response => Direction::Response,
    }
}

/// Damaged places that are told one by one.
const MOST_FAULTS: usize = 100;

/// Names what cannot be looked at.
pub(super) fn not_a_log(dir: &Path, error: &LogError) -> Job {
    unseen(dir.to_owned(), None, cannot_judge(explain(error)))
}
