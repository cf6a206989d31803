//! `jibek-audit report`: one page for a court.

use anyhow::Context;
use clap::Args;
use jibek_audit::{explain::Case, extract::write_new, page::page, speech::tame, summary};
use jibek_certs::time::{Clock, SystemClock};
use std::{io::Write, path::PathBuf, process::ExitCode};

use super::{explain::SpeechOptions, options::ConfigurationOptions};

/// Options of `jibek-audit report`.
#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(flatten)]
    configuration: ConfigurationOptions,
    #[command(flatten)]
    speech: SpeechOptions,
    /// The page to write. A file that is there already is not overwritten.
    #[arg(short, long, value_name = "PAGE")]
    output: PathBuf,
    /// The containers.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Report {
    /// Judges every file, and writes the page.
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let configuration = self.configuration.configuration()?;
        let cases: Vec<Case> = self
            .files
            .iter()
            .map(|file| Case::open(file, &configuration))
            .collect();
        let speech = self.speech.speech();
        let made = SystemClock.now();
        let html = page(&cases, &speech, &self.speech.moments(), made);
        write_new(&self.output, html.as_bytes())?;
        let shown = tame(&self.output.to_string_lossy());
        writeln!(std::io::stdout(), "{shown}").context("cannot write")?;
        let standings = cases.iter().map(Case::standing);
        Ok(ExitCode::from(summary(standings).exit_code()))
    }
}
