//! `jibek-audit extract`: the parts of a container as files.

use anyhow::Context;
use clap::Args;
use jibek_audit::{
    explain::Case,
    extract::{Part, parts, write_parts},
    speech::{Speech, number, tame, text},
};
use std::{io::Write, path::PathBuf, process::ExitCode};

use super::{explain::SpeechOptions, options::ConfigurationOptions};

/// Options of `jibek-audit extract`.
#[derive(Debug, Args)]
pub(crate) struct Extract {
    #[command(flatten)]
    configuration: ConfigurationOptions,
    #[command(flatten)]
    speech: SpeechOptions,
    /// Directory to put the files into; made when it is not there. Nothing in it is overwritten.
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    to: Option<PathBuf>,
    /// Only say what would be extracted.
    #[arg(long, conflicts_with = "to")]
    list: bool,
    /// The container.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Extract {
    /// Judges the file, writes its parts, and says of each what is to be thought of it.
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let configuration = self.configuration.configuration()?;
        let speech = self.speech.speech();
        let case = Case::open(&self.file, &configuration);
        let parts = parts(&case);
        let mut out = std::io::stdout().lock();
        if parts.is_empty() {
            anyhow::bail!("{} has no parts that could be read", case.name());
        }
        if let Some(directory) = &self.to {
            write_parts(directory, &parts)?;
            let shown = tame(&directory.to_string_lossy());
            let line = speech.tell("extract-to", [text("directory", shown)]);
            writeln!(out, "{line}").context("cannot write")?;
        }
        for part in &parts {
            writeln!(out, "{}", line(&speech, part)).context("cannot write")?;
        }
        out.flush().context("cannot write")?;
        Ok(ExitCode::from(case.standing().exit_code()))
    }
}

fn line(speech: &Speech, part: &Part) -> String {
    let key = match part.entry {
        Some(_) => "extract-from",
        None => "extract-list",
    };
    speech.tell(
        key,
        [
            text("name", part.name.as_str()),
            number(
                "bytes",
                u64::try_from(part.content.len()).unwrap_or(u64::MAX),
            ),
            text("entry", part.entry.as_deref().map(tame).unwrap_or_default()),
            text("standing", speech.say(part.standing.key())),
        ],
    )
}
