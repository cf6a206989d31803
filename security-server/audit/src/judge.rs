//! From a file to a verdict.

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

/// A file and what is to be thought of it.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a file and its verdict")]
pub struct Judged {
    /// As it was named.
    pub file: PathBuf,
    /// What is to be thought of it.
    pub verdict: Verdict,
}

/// The three ways a file, or all files together, can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::CannotJudge => "cannot be judged",
        }
    }
}

impl Judged {
    /// How the file stands; when `strict`, a finding counts as invalid.
    pub fn standing(&self, strict: bool) -> Standing {
        match &self.verdict.outcome {
            Outcome::Valid(_) if strict && !self.verdict.findings.is_empty() => Standing::Invalid,
            Outcome::Valid(_) => Standing::Valid,
            Outcome::Invalid { .. } => Standing::Invalid,
            Outcome::CannotJudge { .. } => Standing::CannotJudge,
        }
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
        Err(reason) => Verdict {
            outcome: Outcome::CannotJudge { reason },
            findings: Vec::new(),
        },
        Ok(bytes) => match Container::read(&bytes, &ContainerLimits::default()) {
            Ok(container) => verify_container(&container, trust),
            Err(error) => {
                let outcome = Outcome::Invalid {
                    code: error.code().to_owned(),
                    reason: error.to_string(),
                };
                Verdict {
                    outcome,
                    findings: Vec::new(),
                }
            }
        },
    };
    Judged {
        file: file.to_owned(),
        verdict,
    }
}

/// Reads a whole file of at most 2 GiB.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn read_file(file: &Path) -> Result<Vec<u8>, String> {
    let refuse = |error: std::io::Error| format!("the file cannot be read: {error}");
    let open = File::open(file).map_err(refuse)?;
    let mut bytes = Vec::new();
    open.take(MAX_FILE_BYTES.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(refuse)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err("the file is larger than 2 GiB".to_owned());
    }
    Ok(bytes)
}

/// What containers may unpack to as well.
const MAX_FILE_BYTES: u64 = 2 << 30;
