//! Finding containers: in files, archives, directories and logs. What a file is, its first bytes and its directory say, not its name.

mod archive;
mod encrypted;
mod log;
mod walk;

use bytes::Bytes;
use jibek_evidence::verify::Verdict;
use jibek_msglog::Scan;
use std::{fs, ops::ControlFlow, path::PathBuf, sync::Arc};

use crate::{
    configuration::Configuration,
    judge::{Judged, Note, cannot_judge, open_container, read_file},
    whole::{Line, Whole},
};

pub use encrypted::{Decryptor, DecryptorError};
pub use walk::Walk;
pub(crate) use walk::walk;

/// What counts as a source of containers, and how to open it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SourceOptions {
    /// How deep directories are looked into.
    pub depth: usize,
    /// Most files that are looked at in directories.
    pub files: usize,
    /// Opens encrypted files; without it they cannot be judged.
    pub decryptor: Option<Arc<Decryptor>>,
}

impl Default for SourceOptions {
    /// 64 directories deep, a million files, no key.
    fn default() -> Self {
        Self {
            depth: 64,
            files: 1_000_000,
            decryptor: None,
        }
    }
}

/// Who takes what was found; it may have had enough.
pub(crate) type Sink<'a> = dyn FnMut(Job) -> ControlFlow<()> + 'a;

/// A container that was found, to be opened and judged by whoever has time.
#[derive(Debug)]
pub(crate) enum Job {
    /// The bytes of a container in another file.
    Bytes {
        file: PathBuf,
        entry: Option<String>,
        bytes: Bytes,
        notes: Vec<Note>,
    },
    /// A result that needs no judging.
    Done(Line),
    /// A file that is a container.
    File(PathBuf),
    /// A record of a log.
    Record(log::RecordJob),
}

impl Job {
    /// What it is called.
    pub(crate) fn name(&self) -> (PathBuf, Option<String>) {
        match self {
            Self::Bytes { file, entry, .. } => (file.clone(), entry.clone()),
            Self::File(file) => (file.clone(), None),
            Self::Record(job) => job.name(),
            Self::Done(Line::Container(judged)) => (judged.file.clone(), judged.entry.clone()),
            Self::Done(Line::Whole(whole)) => {
                (whole.files.first().cloned().unwrap_or_default(), None)
            }
        }
    }

    /// Whether it is one of very many, each done in a moment.
    pub(crate) fn is_small(&self) -> bool {
        matches!(self, Self::Record(_))
    }

    /// Whether it may take so much memory that no other such may be judged at the same time.
    pub(crate) fn is_large(&self) -> bool {
        match self {
            Self::Bytes { .. } | Self::Done(_) | Self::Record(_) => false,
            Self::File(file) => fs::metadata(file).is_ok_and(|it| it.len() > LARGE_BYTES),
        }
    }

    /// Opens and judges it.
    pub(crate) fn judge(self, configuration: &Configuration, worker: &mut Worker) -> Line {
        let judged = match self {
            Self::Done(line) => return line,
            Self::Bytes {
                file,
                entry,
                bytes,
                notes,
            } => {
                let mut judged = judge_bytes(file, entry, Ok(bytes), configuration);
                judged.notes = notes;
                judged
            }
            Self::File(file) => {
                let bytes = read_file(&file);
                judge_bytes(file, None, bytes, configuration)
            }
            Self::Record(job) => job.judge(configuration, worker),
        };
        Line::Container(Box::new(judged))
    }
}

/// What one thread keeps from one job to the next.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    scan: Option<Scan>,
}

impl Worker {
    /// A reader of the records of this log.
    fn scan(&mut self, reader: &SharedReader) -> &mut Scan {
        if let Some(scan) = &self.scan
            && !Arc::ptr_eq(scan.reader(), reader)
        {
            self.scan = None;
        }
        self.scan
            .get_or_insert_with(|| Scan::new(Arc::clone(reader)))
    }
}

impl From<Whole> for Job {
    fn from(whole: Whole) -> Self {
        Self::Done(Line::Whole(Box::new(whole)))
    }
}

/// A container that cannot even be looked at.
pub(crate) fn unseen(file: PathBuf, entry: Option<String>, verdict: Verdict) -> Job {
    Job::Done(Line::Container(Box::new(Judged::new(file, entry, verdict))))
}

fn judge_bytes(
    file: PathBuf,
    entry: Option<String>,
    bytes: Result<Bytes, String>,
    configuration: &Configuration,
) -> Judged {
    let container = match bytes {
        Err(reason) => Err(cannot_judge(reason)),
        Ok(bytes) => open_container(&bytes),
    };
    match container {
        Err(verdict) => Judged::new(file, entry, verdict),
        Ok(container) => judge_container(file, entry, &container, configuration),
    }
}

/// Judges a container by the configuration of its time.
fn judge_container(
    file: PathBuf,
    entry: Option<String>,
    container: &jibek_evidence::container::Container,
    configuration: &Configuration,
) -> Judged {
    match configuration.of(container) {
        Err(reason) => Judged::new(file, entry, cannot_judge(reason)),
        Ok(chosen) => {
            let mut judged = Judged::new(file, entry, chosen.judge(container));
            judged.configuration_since = chosen.since;
            judged
        }
    }
}

/// From this size on, in bytes, only one is judged at a time.
const LARGE_BYTES: u64 = 64 << 20;

type SharedReader = Arc<jibek_msglog::LogReader>;
