//! `jibek-audit`: judges containers, offline, with the configuration of the time.

mod command;

use clap::Parser;
use std::{io::Write, process::ExitCode};

use command::Command;

/// Proves who asked what of whom and what was answered, from files alone.
#[derive(Debug, Parser)]
#[command(name = "jibek-audit", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let wanted = !error.use_stderr();
            // where even that cannot be printed there is nothing left to say
            let _ = error.print();
            return if wanted {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(USAGE)
            };
        }
    };
    match arguments.command.run() {
        Ok(status) => status,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "jibek-audit: {error:#}");
            ExitCode::from(CANNOT_JUDGE)
        }
    }
}

/// Nothing could be judged: no configuration, nowhere to write.
const CANNOT_JUDGE: u8 = 2;
/// `EX_USAGE` of sysexits.h: a wrong command line is no verdict.
const USAGE: u8 = 64;
