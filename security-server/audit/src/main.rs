//! `jibek-audit`: judges containers, offline, with the configuration of the time.

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use jibek_audit::{as_json, as_line, fetch_configuration, judge_file, read_configuration, summary};
use jibek_certs::time::{Clock, SystemClock};
use std::{io::Write, path::PathBuf, process::ExitCode};

/// Proves who asked what of whom and what was answered, from files alone.
#[derive(Debug, Parser)]
#[command(name = "jibek-audit", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge containers: one line a file.
    ///
    /// Exit status 0: all valid by X-Road's rules; 1: something is invalid; 2: something could not be judged. 1 outweighs 2.
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Verify {
    /// Directory with the configuration to judge by, as unpacked from a security server's /verificationconf.
    #[arg(long, value_name = "DIR", default_value = "verificationconf")]
    conf: PathBuf,
    /// Configuration anchor whose sources give the configuration of today instead.
    #[arg(long, value_name = "FILE", conflicts_with = "conf")]
    anchor: Option<PathBuf>,
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
    let Command::Verify(verify) = arguments.command;
    match run(&verify) {
        Ok(status) => status,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "jibek-audit: {error:#}");
            ExitCode::from(CANNOT_JUDGE)
        }
    }
}

fn run(verify: &Verify) -> anyhow::Result<ExitCode> {
    let configuration = match &verify.anchor {
        None => read_configuration(&verify.conf)?,
        Some(anchor) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("cannot start")?;
            runtime.block_on(fetch_configuration(anchor, SystemClock.now()))?
        }
    };
    for warning in configuration.warnings() {
        writeln!(std::io::stderr(), "jibek-audit: {warning}").context("cannot write")?;
    }
    let mut out = std::io::stdout().lock();
    let mut standings = Vec::with_capacity(verify.files.len());
    for file in &verify.files {
        let judged = judge_file(file, &configuration);
        standings.push(judged.standing(verify.strict));
        match verify.json {
            true => writeln!(out, "{}", as_json(&judged, verify.strict)),
            false => writeln!(out, "{}", as_line(&judged, verify.strict)),
        }
        .context("cannot write")?;
    }
    out.flush().context("cannot write")?;
    Ok(ExitCode::from(summary(standings).exit_code()))
}

const CANNOT_JUDGE: u8 = 2;
/// `EX_USAGE` of sysexits.h: a wrong command line is no verdict.
const USAGE: u8 = 64;
