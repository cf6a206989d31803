//! The program `jibek-registry`.

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context;
use clap::{Parser, Subcommand};
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
    /// Reads the file and says whether it would be published.
    Check {
        /// The registry's file.
        #[arg(long)]
        config: PathBuf,
    },
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
        .init();
    let outcome = match Arguments::parse().command {
        Command::Check { config } => check(&config),
        Command::Serve { config } => serve(config),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "jibek-registry: {error:#}");
            ExitCode::FAILURE
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
