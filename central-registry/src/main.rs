//! The program `jibek-registry`.

mod commands;

use std::{
    io::{IsTerminal as _, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use commands::{AnchorCommand, KeysCommand};
use jibek_certs::time::SystemClock;
use jibek_registry::{Config, Registry};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The central registry: signs and publishes the configuration of an instance.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows an anchor's instance, hash and sources, or tries it out.
    #[command(subcommand)]
    Anchor(AnchorCommand),
    /// Reads the file and says whether it would be published.
    Check {
        /// The registry's file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Says in words what changed from one configuration to another.
    ///
    /// Each of A and B is a folder with a configuration (a server's globalconf, an unpacked /verificationconf, a folder of the
    /// history) or a time such as 2026-11-23T08:00:00Z: what was in force then, by the history. Ends with 0 when nothing
    /// changed, 1 when something did, 2 on errors.
    Diff {
        /// Before: a folder or a time.
        a: String,
        /// After: a folder or a time.
        b: String,
        /// The registry's file, whose history times are looked up in.
        #[arg(long, conflicts_with = "history")]
        config: Option<PathBuf>,
        /// The folder of the history.
        #[arg(long)]
        history: Option<PathBuf>,
    },
    /// Lists, adds, activates and removes signing keys, also of a registry that runs.
    ///
    /// To roll a key over: `add`, wait (10 minutes, one validity period), `activate`, wait again, `remove`; then hand out the
    /// new anchor. Servers lose nothing meanwhile. A registry that runs follows with its next publication.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Publishes until it is stopped.
    Serve {
        /// The registry's file.
        #[arg(long)]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let command = Arguments::parse().command;
    let failure = match command {
        Command::Diff { .. } => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    };
    let outcome = match command {
        Command::Anchor(command) => commands::anchor(&command),
        Command::Check { config } => check(&config),
        Command::Diff {
            a,
            b,
            config,
            history,
        } => match commands::diff(&a, &b, config.as_deref(), history) {
            Ok(true) => return ExitCode::from(1),
            outcome => outcome.map(drop),
        },
        Command::Keys(command) => commands::keys(&command),
        Command::Serve { config } => serve(config),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "jibek-registry: {error:#}");
            failure
        }
    }
}

fn check(path: &std::path::Path) -> anyhow::Result<()> {
    let config = Config::read(path)?;
    let shared = config.shared(&[], &[]);
    writeln!(
        std::io::stdout(),
        "{}: instance {}, {} members, {} servers, {} certification services, {} time-stamping services",
        path.display(),
        config.instance,
        shared.members.len(),
        shared.servers.len(),
        shared.certification_services.len(),
        shared.timestamping_services.len(),
    )?;
    Ok(())
}

fn serve(config: PathBuf) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let bound = Registry::open(config, Arc::new(SystemClock))?
            .bind()
            .await?;
        let address = bound.address();
        writeln!(
            std::io::stdout(),
            "internal anchor  http://{address}/anchor/internal  {}",
            bound.internal_anchor().hash()
        )?;
        writeln!(
            std::io::stdout(),
            "external anchor  http://{address}/anchor/external  {}",
            bound.external_anchor().hash()
        )?;
        bound
            .run(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
            })
            .await;
        Ok(())
    })
}
