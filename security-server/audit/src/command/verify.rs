//! `jibek-audit verify`: a verdict a container.

use anyhow::Context;
use clap::Args;
use jibek_audit::{as_json, as_line, judge_file, summary};
use std::{io::Write, path::PathBuf, process::ExitCode};

use super::options::ConfigurationOptions;

/// Options of `jibek-audit verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    configuration: ConfigurationOptions,
    /// Print one JSON object a file instead.
    #[arg(long)]
    json: bool,
    /// Count every note beside a verdict as invalid.
    #[arg(long)]
    strict: bool,
    /// The containers.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Verify {
    /// Judges every file in turn, and prints what it found.
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let configuration = self.configuration.load()?;
        let mut out = std::io::stdout().lock();
        let mut standings = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let judged = judge_file(file, &configuration);
            standings.push(judged.standing(self.strict));
            match self.json {
                true => writeln!(out, "{}", as_json(&judged, self.strict)),
                false => writeln!(out, "{}", as_line(&judged, self.strict)),
            }
            .context("cannot write")?;
        }
        out.flush().context("cannot write")?;
        Ok(ExitCode::from(summary(standings).exit_code()))
    }
}
