//! The log of one of our servers, live or copied: each record is judged as the container that would be made of it.

use bytes::Bytes;
use jibek_certs::digest::{Digest, DigestAlgorithm, Hasher};
use jibek_evidence::{
    container::{Container, Direction, ReadError, container_name},
    names::CONTAINER_TYPE,
    verify::{Outcome, Report},
};
use jibek_msglog::{LogError, LogReader, Record, RecordId, Scan, fs::OsFs};
use serde_json::json;
use std::{
    io::{ErrorKind, Read},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Job, SharedReader, Sink, Worker, judge_container, unseen};
use crate::{
    configuration::Configuration,
    judge::{Judged, Note, cannot_judge, explain},
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

    pub(super) fn judge(self, configuration: &Configuration, worker: &mut Worker) -> Judged {
        let (dir, mut entry) = self.name();
        let scan = worker.scan(&self.reader);
        let record = match scan.read(self.id) {
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
        let container = match self.container(scan, &record, &mut notes) {
            Ok(container) => container,
            Err(reason) => return Judged::new(dir, entry, cannot_judge(reason)),
        };
        let mut judged = match container {
            None => Judged::new(dir, entry, cannot_judge("the record has no time-stamp yet")),
            Some(container) => judge_container(dir, entry, &container, configuration),
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
        scan: &Scan,
        record: &Record,
        notes: &mut Vec<Note>,
    ) -> Result<Option<Container>, String> {
        let Some(stamp) = &record.stamp else {
            return Ok(None);
        };
        let entry = |name: &str, bytes: &Bytes| Some((name.to_owned(), bytes.clone()));
        let (parts, optional) = (&record.parts, |name: &str, bytes: &Option<Bytes>| {
            bytes.as_ref().map(|it| (name.to_owned(), it.clone()))
        });
        let entries = [
            Some((
                "mimetype".to_owned(),
                Bytes::from_static(CONTAINER_TYPE.as_bytes()),
            )),
            entry("message.xml", &parts.message),
            entry("META-INF/signatures.xml", &parts.signature),
            optional("sig-hashchainresult.xml", &parts.hash_chain_result),
            optional("sig-hashchain.xml", &parts.hash_chain),
            entry("ts-hashchainresult.xml", &stamp.hash_chain_result),
            entry("ts-hashchain.xml", &stamp.hash_chain),
            entry("META-INF/timestamp.tst", &stamp.token),
        ];
        let refused = |error: ReadError| explain(&error);
        let mut container =
            Container::from_entries(entries.into_iter().flatten()).map_err(refused)?;
        for body in &record.bodies {
            let name = format!("attachment{}", body.index);
            if body.digest_only {
                let digest = Digest::from_bytes(DigestAlgorithm::Sha512, &body.sha512);
                if let Some(digest) = digest {
                    container = container.with_not_kept(&name, digest).map_err(refused)?;
                }
                continue;
            }
            if !body.kept {
                continue;
            }
            match self.body(scan, body.index) {
                Ok(Some(digest)) => {
                    container = container.with_digest(&name, digest).map_err(refused)?;
                }
                Ok(None) => {}
                Err(Missing::Gone(text)) => notes.push(Note::new("body_missing", text)),
                Err(Missing::Unreadable(reason)) => return Err(reason),
            }
        }
        Ok(Some(container))
    }

    /// The digest of a body, which is read as a stream: size costs no memory.
    fn body(&self, scan: &Scan, index: u32) -> Result<Option<Digest>, Missing> {
        let body = scan.body(self.id, index).map_err(|error| {
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
        let body_length = body.len();
        let (mut reader, mut hasher) = (body.into_reader(), Hasher::new(DigestAlgorithm::Sha512));
        let small = usize::try_from(body_length).unwrap_or(CHUNK_BYTES);
        // one more byte than there should be, so that the end is seen at once
        let mut chunk = vec![0; small.saturating_add(1).min(CHUNK_BYTES)];
        loop {
            let read = reader
                .read(&mut chunk)
                .map_err(|error| match error.kind() {
                    ErrorKind::UnexpectedEof => {
                        Missing::Gone(format!("body {index} is shorter than it was"))
                    }
                    _ => Missing::Unreadable(format!("body {index} cannot be read: {error}")),
                })?;
            match chunk.get(..read) {
                None | Some([]) => return Ok(Some(hasher.finish())),
                Some(bytes) => hasher.update(bytes),
            }
        }
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

/// What is read of a body at once.
const CHUNK_BYTES: usize = 256 << 10;
/// Damaged places that are told one by one.
const MOST_FAULTS: usize = 100;

/// Names what cannot be looked at.
pub(super) fn not_a_log(dir: &Path, error: &LogError) -> Job {
    unseen(dir.to_owned(), None, cannot_judge(explain(error)))
}
