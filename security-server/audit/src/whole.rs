//! What holds several containers, and whether nothing is missing from it.

use jibek_evidence::verify::Outcome;
use serde_json::{Map, Value};
use std::path::PathBuf;

use crate::judge::{Judged, Note, Standing};

/// An archive, a chain of archives or a log, judged as a whole. Its containers are judged one by one beside it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Whole {
    /// What it is.
    pub kind: WholeKind,
    /// Its file or directory; of a chain, all of them, oldest first.
    pub files: Vec<PathBuf>,
    /// How many containers it holds.
    pub containers: u64,
    /// What contradicts itself: it is invalid.
    pub faults: Vec<Fault>,
    /// Why it cannot be judged as a whole.
    pub lacking: Vec<Fault>,
    /// What a court should know beside that.
    pub notes: Vec<Note>,
    /// What is known of it, for people, as words after the verdict.
    pub sentence: String,
    /// What is known of it, for programs.
    pub facts: Map<String, Value>,
}

/// What holds containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WholeKind {
    /// An archive of X-Road's message log, with links.
    Archive,
    /// A ZIP file of containers without links, as `/asic` gives it.
    Bundle,
    /// Archives that continue each other.
    Chain,
    /// A message log of ours.
    Log,
}

impl WholeKind {
    /// The word for programs.
    pub fn id(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Bundle => "bundle",
            Self::Chain => "chain",
            Self::Log => "log",
        }
    }
}

/// A contradiction, or what is lacking.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// A stable word for programs.
    pub code: String,
    /// A sentence for people.
    pub text: String,
}

impl Fault {
    /// A fault.
    pub fn new(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            text: text.into(),
        }
    }
}

impl Whole {
    /// One of which nothing is known yet.
    pub fn new(kind: WholeKind, files: Vec<PathBuf>) -> Self {
        Self {
            kind,
            files,
            containers: 0,
            faults: Vec::new(),
            lacking: Vec::new(),
            notes: Vec::new(),
            sentence: String::new(),
            facts: Map::new(),
        }
    }

    /// How it stands; when `strict`, a note counts as invalid.
    pub fn standing(&self, strict: bool) -> Standing {
        if !self.faults.is_empty() || (strict && !self.notes.is_empty()) {
            Standing::Invalid
        } else if self.lacking.is_empty() {
            Standing::Valid
        } else {
            Standing::CannotJudge
        }
    }
}

/// One result: of a container, or of what holds several.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever writes results must know all kinds"
)]
pub enum Line {
    /// Of a container.
    Container(Box<Judged>),
    /// Of what holds several.
    Whole(Box<Whole>),
}

impl Line {
    /// How it stands.
    pub fn standing(&self, strict: bool) -> Standing {
        match self {
            Self::Container(judged) => judged.standing(strict),
            Self::Whole(whole) => whole.standing(strict),
        }
    }

    /// Code and reason, where it is not valid: X-Road's code where it has one, or a note's id when `strict` makes the
    /// difference.
    pub(crate) fn reason(&self, strict: bool) -> (Option<String>, Option<String>) {
        match self {
            Self::Container(judged) => match &judged.verdict.outcome {
                Outcome::Valid(_) => {
                    let first = judged.first_note().filter(|_| strict).unzip();
                    (first.0.map(str::to_owned), first.1.map(str::to_owned))
                }
                Outcome::Invalid { code, reason } => (Some(code.clone()), Some(reason.clone())),
                Outcome::CannotJudge { reason } => (None, Some(reason.clone())),
            },
            Self::Whole(whole) => {
                let noted = whole.notes.first().filter(|_| strict);
                match (whole.faults.iter().chain(&whole.lacking).next(), noted) {
                    (Some(fault), _) => (Some(fault.code.clone()), Some(fault.text.clone())),
                    (None, Some(note)) => (Some(note.id.to_owned()), Some(note.text.clone())),
                    (None, None) => (None, None),
                }
            }
        }
    }

    /// Everything told beside the verdict: id and sentence.
    pub(crate) fn remarks(&self) -> Vec<(String, String)> {
        let owned = |(id, text): (&str, &str)| (id.to_owned(), text.to_owned());
        match self {
            Self::Container(judged) => judged.remarks().map(owned).collect(),
            Self::Whole(whole) => {
                // the first one is the reason
                let said = whole.faults.iter().chain(&whole.lacking).skip(1);
                let said = said.map(|it| (it.code.as_str(), it.text.as_str()));
                let noted = whole.notes.iter().map(|it| (it.id, it.text.as_str()));
                said.chain(noted).map(owned).collect()
            }
        }
    }
}
