//! `jibek-bench`: how fast, how large, at what cost, next to the same calls made directly; and every message proved.

use std::{io::Write as _, net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use jibek_conformance::bench::{
    load,
    plan::Form,
    provider,
    run::{self, Request},
};
use tokio::{net::TcpListener, runtime::Builder};

/// Measures two security servers, next to the same calls made directly, and proves every message. Exit status 1 when a row fails.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The whole matrix: about half an hour.
    #[arg(long)]
    full: bool,
    /// Only rows whose description contains this, as "REST 1 KB RSA-2048 at 128".
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Where logs and keys lie meanwhile; should be the kind of disk that logs are kept on. Default: beside this program.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Write everything as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write plots as SVG into this directory, too.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The consumer's information system.
    #[command(hide = true)]
    Load {
        /// What to do, as JSON.
        job: String,
    },
    /// The provider's information system.
    #[command(hide = true)]
    Provider {
        /// Where to listen for plain HTTP.
        plain: SocketAddr,
        /// Where to listen for mutual TLS.
        secure: SocketAddr,
        /// Where the key for TLS is.
        key: PathBuf,
    },
}

fn main() -> ExitCode {
    match start(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            run::say(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<bool> {
    match arguments.command {
        Some(Command::Load { job }) => {
            let job = serde_json::from_str(&job).context("the job is not what it should be")?;
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let outcome = runtime.block_on(load::run(job))?;
            serde_json::to_writer(std::io::stdout().lock(), &outcome)?;
            std::io::stdout().flush()?;
            Ok(true)
        }
        Some(Command::Provider { plain, secure, key }) => {
            let runtime = Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(async {
                let plain = TcpListener::bind(plain).await?;
                let secure = TcpListener::bind(secure).await?;
                provider::serve(plain, secure, &key).await
            })?;
            Ok(true)
        }
        None => {
            let state = match arguments.state {
                Some(state) => state,
                None => std::env::current_exe()?.with_file_name("bench"),
            };
            let request = Request {
                form: if arguments.full {
                    Form::Full
                } else {
                    Form::Quick
                },
                only: arguments.only,
                state,
                json: arguments.json,
                svg: arguments.svg,
            };
            let runtime = Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(run::run(&request))
        }
    }
}
