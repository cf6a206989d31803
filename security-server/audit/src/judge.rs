//! From a container to a verdict.

use bytes::Bytes;
use jibek_certs::trust::Trust;
use jibek_evidence::{
    container::{Container, ContainerLimits},
    verify::{Outcome, Verdict, verify_container},
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};
use time::OffsetDateTime;

/// A container and what is to be thought of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Judged {
    /// The file that it is, or is in, as it was named.
    pub file: PathBuf,
    /// Its name in that file, when the file holds several: an archive, a log.
    pub entry: Option<String>,
    /// What is to be thought of it.
    pub verdict: Verdict,
    /// What the place where it was found says otherwise.
    pub notes: Vec<Note>,
    /// Since when the configuration that judged it was in force; `None` when there was no choice of configurations.
    pub configuration_since: Option<OffsetDateTime>,
}

/// Something that a court should know beside a verdict, found by this program and not by the container's judge.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// A stable word for programs.
    pub id: &'static str,
    /// A sentence for people.
    pub text: String,
}

impl Note {
    /// A note.
    pub fn new(id: &'static str, text: impl Into<String>) -> Self {
        Self {
            id,
            text: text.into(),
        }
    }
}

/// The three ways a file, or all files together, can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "exit codes depend on the three")]
pub enum Standing {
    /// Valid by X-Road's rules.
    Valid,
    /// Invalid.
    Invalid,
    /// Could not be judged.
    CannotJudge,
}

impl Standing {
    /// The exit status: 0, 1 or 2.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::CannotJudge => 2,
        }
    }

    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::CannotJudge => "cannot be judged",
        }
    }

    /// The word for programs.
    pub fn id(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::CannotJudge => "cannot_judge",
        }
    }
}

impl Judged {
    /// A container with its verdict.
    pub fn new(file: impl Into<PathBuf>, entry: Option<String>, verdict: Verdict) -> Self {
        Self {
            file: file.into(),
            entry,
            verdict,
            notes: Vec::new(),
            configuration_since: None,
        }
    }

    /// How it stands; when `strict`, whatever lies in it without being covered makes it invalid, and every note does.
    pub fn standing(&self, strict: bool) -> Standing {
        match &self.verdict.outcome {
            Outcome::Valid(_) if strict && self.first_note().is_some() => Standing::Invalid,
            Outcome::Valid(_) => Standing::Valid,
            Outcome::Invalid { .. } => Standing::Invalid,
            Outcome::CannotJudge { .. } => Standing::CannotJudge,
        }
    }

    /// Everything told beside the verdict: id and sentence.
    pub fn remarks(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let findings = self.verdict.findings.iter().map(|it| (it.id(), it.text()));
        let notes = self.notes.iter().map(|it| (it.id, it.text.as_str()));
        findings.chain(notes)
    }

    /// What makes it invalid when `strict`.
    pub(crate) fn first_note(&self) -> Option<(&'static str, &str)> {
        let findings = self.verdict.findings.iter();
        let uncovered = findings.filter(|it| it.kind().is_uncovered());
        let uncovered = uncovered.map(|it| (it.id(), it.text()));
        let notes = self.notes.iter().map(|it| (it.id, it.text.as_str()));
        uncovered.chain(notes).next()
    }
}

/// How all files together stand: one invalid file outweighs those that cannot be judged, and these the valid ones.
pub fn summary(standings: impl IntoIterator<Item = Standing>) -> Standing {
    standings
        .into_iter()
        .fold(Standing::Valid, |all, one| match (all, one) {
            (Standing::Invalid, _) | (_, Standing::Invalid) => Standing::Invalid,
            (Standing::CannotJudge, _) | (_, Standing::CannotJudge) => Standing::CannotJudge,
            (Standing::Valid, Standing::Valid) => Standing::Valid,
        })
}

/// Judges one container file by the configuration `trust`. A file that cannot be read cannot be judged.
pub fn judge_file(file: &Path, trust: &dyn Trust) -> Judged {
    let verdict = match read_file(file) {
        Err(reason) => cannot_judge(reason),
        Ok(bytes) => judge_bytes(&bytes, trust),
    };
    Judged::new(file, None, verdict)
}

/// Judges the bytes of a container by the configuration `trust`.
pub fn judge_bytes(bytes: &[u8], trust: &dyn Trust) -> Verdict {
    match open_container(bytes) {
        Ok(container) => verify_container(&container, trust),
        Err(verdict) => verdict,
    }
}

/// Reads a file, unless it is larger than any container.
///
/// # Errors
/// Why not, in words.
pub fn read_file(file: &Path) -> Result<Bytes, String> {
    let open = File::open(file).map_err(|error| refuse(&error))?;
    read_open(&open)
}

/// Reads what is left of an open file, unless it is larger than any container.
pub(crate) fn read_open(file: &File) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| refuse(&error))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err("the file is larger than 2 GiB".to_owned());
    }
    Ok(bytes.into())
}

fn refuse(error: &std::io::Error) -> String {
    format!("the file cannot be read: {error}")
}

/// Unpacks a container; one that cannot be is invalid.
pub(crate) fn open_container(bytes: &[u8]) -> Result<Container, Verdict> {
    Container::read(bytes, &ContainerLimits::default()).map_err(|error| Verdict {
        outcome: Outcome::Invalid {
            code: error.code().to_owned(),
            reason: error.to_string(),
        },
        findings: Vec::new(),
    })
}

/// The verdict on what could not even be looked at.
pub(crate) fn cannot_judge(reason: impl Into<String>) -> Verdict {
    Verdict {
        outcome: Outcome::CannotJudge {
            reason: reason.into(),
        },
        findings: Vec::new(),
    }
}

/// An error's text with those of its sources.
pub(crate) fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// What containers may unpack to as well.
const MAX_FILE_BYTES: u64 = 2 << 30;
