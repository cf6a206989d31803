//! `jibek-scale`: a country's configuration replaced under load, a log of millions of records, and starts.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints what it measured"
)]

use std::{io::Write as _, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Parser, Subcommand};
use http::Response;
use jibek_certs::{
    KeyKind,
    time::{Clock, SystemClock},
};
use jibek_conformance::{
    country::{Prepared, Timing},
    processes::Programs,
    scale::{configuration, log, ms, start, table},
    world::World,
};

/// Measures what grows with a country.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Where to leave files while it runs; a folder of its own in it is removed at the end.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A configuration replaced under load.
    Configuration {
        /// Members, with three subsystems each; one run for each number.
        #[arg(long, value_delimiter = ',', default_value = "10000,100000")]
        members: Vec<usize>,
        /// Security servers.
        #[arg(long, default_value_t = 2000)]
        servers: usize,
        /// Calls at once.
        #[arg(long, default_value_t = 4)]
        at_once: usize,
        /// Replacements.
        #[arg(long, default_value_t = 3)]
        swaps: usize,
    },
    /// A message log that grows; 10 million records take 10 GB.
    Log {
        /// Records at which it is measured.
        #[arg(long, value_delimiter = ',', default_value = "10000,1000000,10000000")]
        records: Vec<u64>,
    },
    /// A log that is there, measured in a process that just opened it.
    #[command(hide = true)]
    LogLook {
        /// The log.
        log: PathBuf,
    },
    /// Starts of a server, to the first `/readyz` that says yes.
    Start {
        /// How often.
        #[arg(long, default_value_t = 10)]
        times: usize,
        /// Clients of the large server, with 20 services each.
        #[arg(long, default_value_t = 1000)]
        clients: usize,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jibek-scale: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let dir = match &arguments.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    match arguments.command {
        Command::Configuration {
            members,
            servers,
            at_once,
            swaps,
        } => {
            let programs = Programs::beside()?;
            for members in members {
                let size = configuration::Size {
                    members,
                    servers,
                    at_once,
                    swaps,
                };
                let dir = dir.path().join(members.to_string());
                let told = configuration::measure(&programs, &dir, size).await?;
                println!("{told}");
            }
            Ok(())
        }
        Command::Log { records } => {
            let program = std::env::current_exe()?;
            let log = dir.path().join("log");
            let mut rows = vec![log::Cost::head()];
            for size in records {
                log::grow(&log, size).await?;
                rows.push(log::look_in_process(&program, &log)?.row());
                eprintln!("measured at {size} records");
            }
            println!("{}", table(&rows));
            Ok(())
        }
        Command::LogLook { log } => {
            let cost = log::look(&log).await?;
            serde_json::to_writer(std::io::stdout(), &cost)?;
            std::io::stdout().flush()?;
            Ok(())
        }
        Command::Start { times, clients } => starts(dir.path(), times, clients).await,
    }
}

async fn starts(dir: &std::path::Path, times: usize, clients: usize) -> anyhow::Result<()> {
    let programs = Programs::beside()?;
    let builder = World::builder()
        .key(KeyKind::Rsa2048)
        .timing(Timing::default());
    let planned = builder
        .plan_for_processes(|_| Response::new(bytes::Bytes::new()))
        .await;
    let (plan, _system) = planned.map_err(|error| anyhow::anyhow!("{error}"))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let prepared = Prepared::make(plan, dir, &clock)?;
    let _authorities = programs.authorities(&prepared).await?;
    let mut rows = vec![
        [
            "",
            "first ms",
            "fastest ms",
            "median ms",
            "slowest ms",
            "MiB",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for (index, more) in [(1, 0), (0, clients)] {
        start::add_clients(&prepared, index, more, SERVICES)?;
        let name = match more {
            0 => "1 client".to_owned(),
            more => format!("{more} clients, {} services", more * SERVICES),
        };
        let (first, mut memory) = start::once(&programs, &prepared, index).await?;
        let mut took: Vec<Duration> = Vec::new();
        for _ in 1..times.max(2) {
            let (time, peak) = start::once(&programs, &prepared, index).await?;
            took.push(time);
            memory = memory.max(peak);
        }
        took.sort_unstable();
        let at = |index: usize| took.get(index).map_or(0.0, |time| ms(*time));
        rows.push(vec![
            name,
            format!("{:.0}", ms(first)),
            format!("{:.0}", at(0)),
            format!("{:.0}", at(took.len() / 2)),
            format!("{:.0}", at(took.len().saturating_sub(1))),
            format!("{memory:.1}"),
        ]);
    }
    println!("{}", table(&rows));
    Ok(())
}

const SERVICES: usize = 20;
