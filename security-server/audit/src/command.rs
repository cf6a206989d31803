//! The commands, one file each: its options, and what it does with them.

mod options;
mod verify;

use clap::Subcommand;
use std::process::ExitCode;

/// What `jibek-audit` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge containers: one line a file.
    ///
    /// Exit status 0: all valid by X-Road's rules; 1: something is invalid; 2: something could not be judged. 1 outweighs 2.
    Verify(verify::Verify),
}

impl Command {
    /// Does it, and says with which status to leave.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Verify(verify) => verify.run(),
        }
    }
}
