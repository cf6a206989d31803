//! `jibek-dev-pki`: a CA, an OCSP responder and a time-stamping authority for tests and demos.

use std::{
    fs::{self, OpenOptions},
    future::Future,
    io::{self, IsTerminal as _, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use jibek_certs::{Clock, KeyKind, SystemClock};
use jibek_dev_pki::{DevPki, Fault, Faults, Subject, Usage, Validity, serve};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

/// A CA with an intermediate, an OCSP responder and a time-stamping authority, for tests and demos only.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes an authority in a directory.
    Init {
        /// Where its keys and certificates will lie, unencrypted.
        dir: PathBuf,
        /// Kind of its keys: p256, p384, p521, rsa2048, rsa3072, rsa4096.
        #[arg(long, default_value = "rsa2048", value_parser = key_kind)]
        key: KeyKind,
    },
    /// Issues a certificate for a request.
    Issue {
        /// The authority's directory.
        dir: PathBuf,
        /// What the certificate is for.
        #[arg(long, value_enum)]
        usage: For,
        /// The request: PEM or DER.
        #[arg(long)]
        csr: PathBuf,
        /// The file to write the certificate to, PEM; must not be there yet.
        #[arg(long)]
        out: PathBuf,
        /// The subject, as C=FI,O=Org,serialNumber=DEV/ss1/COM,CN=1111; the request's when absent.
        #[arg(long)]
        subject: Option<Subject>,
        /// From when it is valid, as 2026-11-23T05:00:00Z; an hour ago when absent.
        #[arg(long, value_parser = moment)]
        not_before: Option<OffsetDateTime>,
        /// Until when it is valid; two years from now when absent.
        #[arg(long, value_parser = moment)]
        not_after: Option<OffsetDateTime>,
    },
    /// Revokes a certificate; a running responder says so at once.
    Revoke {
        /// The authority's directory.
        dir: PathBuf,
        /// The certificate's serial number, decimal.
        serial: u64,
    },
    /// Answers POST /ocsp and POST /tsa over HTTP until it is told to stop.
    Serve {
        /// The authority's directory.
        dir: PathBuf,
        /// Address and port.
        #[arg(long, default_value = "127.0.0.1:8888")]
        listen: SocketAddr,
        /// What the OCSP responder does wrong: none, ahead:SECONDS, close, delay:MILLISECONDS, garbage, refuse, revoked,
        /// stale:SECONDS, unknown, unsigned, wrong-certificate.
        #[arg(long, default_value = "none")]
        ocsp_fault: Fault,
        /// What the time-stamping authority does wrong: as above, or wrong-imprint.
        #[arg(long, default_value = "none")]
        tsa_fault: Fault,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum For {
    Auth,
    Sign,
}

#[tokio::main]
async fn main() -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let now = SystemClock.now();
    match Arguments::parse().command {
        Command::Init { dir, key } => {
            DevPki::create(&dir, key, now)
                .with_context(|| format!("no authority made in {}", dir.display()))?;
            say(&format!("made an authority in {}", dir.display()))
        }
        Command::Issue {
            dir,
            usage,
            csr,
            out,
            subject,
            not_before,
            not_after,
        } => {
            let pki = open(&dir)?;
            let request =
                fs::read(&csr).with_context(|| format!("cannot read {}", csr.display()))?;
            let attributes = subject.as_ref().map(Subject::attributes);
            let usual = Validity::from_now(now);
            let validity = Validity {
                not_before: not_before.unwrap_or(usual.not_before),
                not_after: not_after.unwrap_or(usual.not_after),
            };
            let usage = match usage {
                For::Auth => Usage::Authentication,
                For::Sign => Usage::Signing,
            };
            let certificate = pki.issue(usage, &request, attributes.as_deref(), validity)?;
            let written = OpenOptions::new().write(true).create_new(true).open(&out);
            written
                .and_then(|mut file| file.write_all(certificate.to_pem().as_bytes()))
                .with_context(|| format!("cannot write {}", out.display()))?;
            say(&format!(
                "issued {} with serial number {}",
                certificate.subject(),
                certificate.serial_decimal()
            ))
        }
        Command::Revoke { dir, serial } => {
            open(&dir)?.revoke(serial, now)?;
            say(&format!("revoked {serial}"))
        }
        Command::Serve {
            dir,
            listen,
            ocsp_fault,
            tsa_fault,
        } => {
            let pki = Arc::new(open(&dir)?);
            let faults = Arc::new(Faults::new());
            faults.set_ocsp(ocsp_fault);
            faults.set_tsa(tsa_fault);
            let stop = stopped()?;
            let listener = TcpListener::bind(listen)
                .await
                .with_context(|| format!("cannot listen on {listen}"))?;
            let address = listener.local_addr()?;
            say(&format!("http://{address}/ocsp\nhttp://{address}/tsa"))?;
            serve(pki, listener, Arc::new(SystemClock), faults, stop)
                .await
                .context("cannot serve")
        }
    }
}

fn moment(text: &str) -> Result<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).with_context(|| format!("{text:?} is no time"))
}

fn key_kind(name: &str) -> Result<KeyKind> {
    KeyKind::from_name(name).with_context(|| format!("unknown kind of key {name:?}"))
}

fn open(dir: &std::path::Path) -> Result<DevPki> {
    DevPki::open(dir).with_context(|| {
        format!(
            "no authority in {}; `jibek-dev-pki init` makes one",
            dir.display()
        )
    })
}

/// Ends with the first SIGINT or SIGTERM.
fn stopped() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}
