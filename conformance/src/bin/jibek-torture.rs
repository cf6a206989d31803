//! `jibek-torture`: two servers under load, killed and starved by name of the fault, and what is left of their logs.

use std::{io::Write as _, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use jibek_conformance::{
    processes::Programs,
    torture::{self, Settings},
};

/// Tortures two security servers and counts what is lost.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How long, in seconds. Every fault is injected at least once, however long that takes.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// The order of faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kills at random moments, at least.
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Places of faults that are tried each round, drawn by the seed.
    #[arg(long, default_value_t = usize::MAX)]
    places: usize,
    /// Callers at once.
    #[arg(long, default_value_t = 16)]
    callers: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(run(&arguments)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let settings = Settings {
        seed: arguments.seed,
        period: Duration::from_secs(arguments.seconds),
        kills: arguments.kills,
        places: arguments.places,
        callers: arguments.callers,
    };
    let programs = Programs::beside()?;
    let table = torture::run(programs, &settings, say)
        .await
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    say(&table.to_string());
    anyhow::ensure!(table.lost == 0, "{} messages are lost", table.lost);
    Ok(())
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
