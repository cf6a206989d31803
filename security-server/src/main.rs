//! `jibek-server`: arguments, configuration, app, run; nothing else.

use std::{io::IsTerminal as _, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::Parser;
use jibek_certs::time::SystemClock;
use jibek_msglog::fs::OsFs;
use jibek_server::{
    app::{App, Listeners, Outside},
    cli::{self, Cli, Command},
    config::Config,
    drain::termination,
    random::SystemRandom,
};

pub(crate) fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the last word of a program that ends")]
            {
                eprintln!("jibek-server: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    let arguments = Cli::parse();
    let Command::Run(place) = &arguments.command else {
        return Ok(cli::run(&arguments.command, &mut std::io::stdout())?);
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .init();
    let config = Config::load(&place.config)?;
    let pin = config.token.pin.read()?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(async {
            let listeners = Listeners::open(&config.listen).await?;
            let outside = Outside {
                clock: Arc::new(SystemClock),
                random: Arc::new(SystemRandom),
                disk: OsFs::shared(),
                pin,
            };
            let bound = App::build(config, outside, listeners).await?;
            tracing::info!(addresses = ?bound.addresses(), "running");
            bound
                .run(async {
                    if let Err(error) = termination().await {
                        tracing::error!(%error, "cannot listen for SIGTERM");
                    }
                })
                .await;
            anyhow::Ok(())
        })
}
