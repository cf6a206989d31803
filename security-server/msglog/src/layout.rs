//! Names of the log's files. Nothing in a name comes from a message.

use std::path::{Path, PathBuf};

/// The log's directory and the names in it.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
    bodies: PathBuf,
}

/// What a name in the log's directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// Index of the segment with this number.
    Index(u64),
    /// An index that never got its name.
    IndexDraft,
    /// The segment with this number.
    Segment(u64),
    /// A file about the log's beginning that never got its name.
    StartDraft,
}

impl Layout {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            bodies: dir.join("bodies"),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn bodies(&self) -> &Path {
        &self.bodies
    }

    pub(crate) fn segment(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:016}.{SEGMENT}"))
    }

    pub(crate) fn index(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:016}.{INDEX}"))
    }

    pub(crate) fn index_draft(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:016}.{INDEX_DRAFT}"))
    }

    pub(crate) fn start(&self) -> PathBuf {
        self.dir.join(START)
    }

    pub(crate) fn start_draft(&self) -> PathBuf {
        self.dir.join(START_DRAFT)
    }

    pub(crate) fn body(&self, number: u64) -> PathBuf {
        self.bodies.join(format!("{number:016}.{BODY}"))
    }

    /// What a name in the log's directory stands for; `None` for what is not ours.
    pub(crate) fn parse(name: &str) -> Option<Named> {
        if name == START_DRAFT {
            return Some(Named::StartDraft);
        }
        let (number, ending) = numbered(name)?;
        match ending {
            INDEX => Some(Named::Index(number)),
            INDEX_DRAFT => Some(Named::IndexDraft),
            SEGMENT => Some(Named::Segment(number)),
            _ => None,
        }
    }

    /// Number of the body file with this name.
    pub(crate) fn parse_body(name: &str) -> Option<u64> {
        numbered(name)
            .filter(|(_, ending)| *ending == BODY)
            .map(|(number, _)| number)
    }
}

fn numbered(name: &str) -> Option<(u64, &str)> {
    let (digits, ending) = name.split_once('.')?;
    let plain = digits.len() == 16 && digits.bytes().all(|it| it.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| plain)?, ending))
}

const BODY: &str = "body";
const INDEX: &str = "index";
const INDEX_DRAFT: &str = "index.new";
const SEGMENT: &str = "segment";
const START: &str = "log.start";
const START_DRAFT: &str = "log.start.new";
