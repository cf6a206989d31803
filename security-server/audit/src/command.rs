//! The commands, one file each: its options, and what it does with them.

mod bench;
mod explain;
mod extract;
mod options;
mod progress;
mod report;
mod verify;

use clap::Subcommand;
use std::process::ExitCode;

/// What `jibek-audit` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Explain containers in sentences for people who know no cryptography: who asked what of whom, what is proved, what is not.
    ///
    /// The exit status is that of verify.
    Explain(explain::Explain),
    /// Take the parts of a container out of it: message, attachments, signature, certificates, status responses, time-stamp.
    ///
    /// The files get names of our making, and nothing is overwritten. The exit status is that of verify.
    Extract(extract::Extract),
    /// Write one page about containers, for a court: self-contained HTML, to be read in a browser or printed.
    ///
    /// The exit status is that of verify.
    Report(report::Report),
    /// Judge containers, archives and logs: one line each.
    ///
    /// Exit status 0: all valid by X-Road's rules; 1: something is invalid; 2: something could not be judged. 1 outweighs 2.
    Verify(verify::Verify),
}

impl Command {
    /// Does it, and says with which status to leave.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Explain(explain) => explain.run(),
            Self::Extract(extract) => extract.run(),
            Self::Report(report) => report.run(),
            Self::Verify(verify) => verify.run(),
        }
    }
}
