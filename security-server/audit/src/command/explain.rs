//! `jibek-audit explain`: a container told in sentences.

use anyhow::Context;
use clap::Args;
use jibek_audit::{
    explain::{Case, explain},
    speech::{Language, Moments, Speech},
    summary,
};
use std::{io::Write, path::PathBuf, process::ExitCode};
use time::UtcOffset;

use super::options::ConfigurationOptions;

/// In which words to speak.
#[derive(Debug, Args)]
pub(super) struct SpeechOptions {
    /// Language: en, ky or ru; else that of LC_ALL, LC_MESSAGES or LANG.
    #[arg(long, value_name = "LANGUAGE", value_parser = language)]
    lang: Option<Language>,
    /// Write every moment with this offset from UTC too, as +06:00.
    #[arg(long, value_name = "OFFSET", value_parser = offset, allow_hyphen_values = true)]
    offset: Option<UtcOffset>,
}

impl SpeechOptions {
    pub(super) fn speech(&self) -> Speech {
        Speech::new(self.lang.unwrap_or_else(language_of_environment))
    }

    pub(super) fn moments(&self) -> Moments {
        Moments::new(self.offset)
    }
}

/// Options of `jibek-audit explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    configuration: ConfigurationOptions,
    #[command(flatten)]
    speech: SpeechOptions,
    /// The containers.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Explain {
    /// Judges every file in turn, and tells what it found.
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let configuration = self.configuration.configuration()?;
        let speech = self.speech.speech();
        let moments = self.speech.moments();
        let mut out = std::io::stdout().lock();
        let mut standings = Vec::with_capacity(self.files.len());
        for (number, file) in self.files.iter().enumerate() {
            let case = Case::open(file, &configuration);
            standings.push(case.standing());
            let text = explain(&case, &speech, &moments).as_text(&speech, WIDTH);
            let separator = if number > 0 { "\n\n" } else { "" };
            write!(out, "{separator}{text}").context("cannot write")?;
        }
        out.flush().context("cannot write")?;
        Ok(ExitCode::from(summary(standings).exit_code()))
    }
}

fn language(tag: &str) -> Result<Language, String> {
    Language::from_locale(tag).ok_or_else(|| "one of en, ky, ru".to_owned())
}

fn offset(text: &str) -> Result<UtcOffset, String> {
    Moments::parse_offset(text).ok_or_else(|| "an offset such as +06:00".to_owned())
}

/// The language of the first of the locale's variables that is set, as for other programs.
fn language_of_environment() -> Language {
    ["LC_ALL", "LC_MESSAGES", "LANG"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty())
        .and_then(|value| Language::from_locale(&value.to_string_lossy()))
        .unwrap_or(Language::English)
}

/// Lines are this long, in characters.
const WIDTH: usize = 100;
