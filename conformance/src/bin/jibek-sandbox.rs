//! `jibek-sandbox`: a whole country in one process, for the first day.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use clap::{Parser, Subcommand};
use jibek_certs::{
    KeyKind,
    time::{Clock, SystemClock},
};
use jibek_conformance::{
    country::{Net, PIN, Prepared, Running, Surroundings},
    demo::{self, Agencies, Step},
    disk::Disks,
};
use jibek_protocol::id::ClientId;
use jibek_server::{drain::termination, random::SystemRandom};
use tokio::time::Instant;

/// A whole country in one process: certification, registry, three security servers, four agencies.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Keeps everything in this directory; keys of an earlier start are used again.
    #[arg(long, global = true, default_value = "state")]
    state: PathBuf,
    /// Ends after the story, with the exit status, instead of staying up.
    #[arg(long)]
    once: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes everything with which each program runs as a process of its own, and ends.
    Prepare {
        /// Where to.
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.command.is_none()
        && let Err(error) = log_to(&arguments.state)
    {
        say(&format!("failed: {error:#}"));
        return ExitCode::FAILURE;
    }
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("\nfailed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The log of the servers, which would only disturb the story on the terminal.
fn log_to(state: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(state).with_context(|| format!("cannot make {}", state.display()))?;
    let path = state.join("servers.log");
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(std::sync::Mutex::new(file))
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .init();
    Ok(())
}

/// Prints a line for the person at the terminal.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let plan = demo::plan(Net::SANDBOX, KeyKind::Rsa2048)?;
    if let Some(Command::Prepare { dir }) = arguments.command {
        let prepared = Prepared::make(plan, &absolute(&dir)?, &clock)?;
        say(&commands(&prepared));
        return Ok(());
    }
    let state = absolute(&arguments.state)?;
    let started = Instant::now();
    let prepared = Prepared::make(plan, &state, &clock)?;
    let agencies = Agencies::start(Net::SANDBOX)
        .await
        .map_err(|(address, error)| {
            anyhow!("cannot listen on {address}: {error}; is another sandbox running?")
        })?;
    let outside = Surroundings {
        clock,
        random: Arc::new(SystemRandom),
        disks: Disks::default(),
    };
    let running = Running::start(prepared, outside).await?;
    running.ready(Duration::from_secs(20)).await?;
    say(&format!(
        "A country on this machine, ready after {:.1} s. Everything lies in {}.\n",
        started.elapsed().as_secs_f64(),
        state.display()
    ));
    say(&addresses(&running));

    let told = story(&running, &state).await;
    if arguments.once {
        running.finish().await?;
        agencies.finish().await;
        return told;
    }
    told?;
    say(&curl(&running));
    say("\nThe country stays up. Ctrl-C ends it.");
    termination().await?;
    running.finish().await?;
    agencies.finish().await;
    Ok(())
}

/// The story, its proof, and a forgery that is caught.
async fn story(running: &Running, state: &Path) -> anyhow::Result<()> {
    let home = running.server(2);
    say("Property re-registration from a phone\n");
    say(&format!(
        "  {:<20} {:<47} {:<26} {:>9} {:>8}  {}",
        "who", "what", "answer", "bytes", "ms", "evidence id"
    ));
    let steps = demo::tell(&home.url(), |step| say(&row(step))).await?;

    for server in running.servers() {
        let stamped = server
            .inside
            .stamp()
            .await
            .map_err(|reason| anyhow!("server {}: {reason}", server.id.code()))?;
        tracing::info!(server = server.id.code(), stamped, "time-stamped");
    }
    let portal = ClientId::from_header(demo::PORTAL)?;
    let snapshot = home.inside.configuration();
    let dir = state.join("evidence");
    let exported = demo::export(&home.url(), &portal, &steps, &snapshot, &dir).await?;
    running.keep_configuration(&snapshot)?;
    say(&format!(
        "\nEvidence: {} containers in {}, the configuration beside them.\n",
        exported.containers.len(),
        dir.display()
    ));

    let auditor = beside("jibek-audit")?;
    say(&format!(
        "$ jibek-audit verify --conf {} {}/*.asice",
        exported.configuration.display(),
        dir.display()
    ));
    let (text, valid) = demo::prove(&auditor, &exported.configuration, &exported.containers)?;
    say(text.trim_end());
    if !valid {
        return Err(anyhow!("the auditor does not accept the evidence"));
    }

    let forged_dir = state.join("forged");
    let original = exported
        .containers
        .first()
        .context("there is no container")?;
    std::fs::create_dir_all(&forged_dir)?;
    let forged = forged_dir.join("1-request.asice");
    demo::tamper(original, &forged)?;
    say(&format!(
        "\nOne byte of one message changed:\n$ jibek-audit verify --conf {} {}",
        exported.configuration.display(),
        forged.display()
    ));
    let (text, valid) = demo::prove(&auditor, &exported.configuration, &[forged])?;
    say(text.trim_end());
    if valid {
        return Err(anyhow!("the forgery was not caught"));
    }
    say("\nThe story is told, its evidence stands, the forgery is caught.");
    Ok(())
}

fn row(step: &Step) -> String {
    format!(
        "  {:<20} {:<47} {:<26} {:>9} {:>8.1}  {}",
        step.agency, step.what, step.outcome, step.bytes, step.milliseconds, step.message_id
    )
}

fn addresses(running: &Running) -> String {
    let net = running.prepared().plan().net;
    let mut text = format!(
        "  registry          http://{}/internalconf\n  OCSP, time-stamps http://{}/\n",
        net.registry(),
        net.pki()
    );
    for server in running.servers() {
        text.push_str(&format!(
            "  server {:<10} {}  (health {}/readyz)\n",
            server.id.code(),
            server.url(),
            server.admin_url()
        ));
    }
    text
}

fn curl(running: &Running) -> String {
    let home = running.server(2);
    format!(
        "\nCall by hand:\n\n  curl -H 'X-Road-Client: {portal}' {url}/r1/KG/GOV/70000001/population/population/persons/19999199000002\n\
         \n  curl -H 'X-Road-Client: {portal}' {url}/r1/KG/GOV/70000002/cadastre/cadastre/properties/99-02-0003-0018\n\
         \n  curl {admin}/readyz\n",
        portal = demo::PORTAL,
        url = home.url(),
        admin = home.admin_url(),
    )
}

/// How to run each program by itself.
fn commands(prepared: &Prepared) -> String {
    let net = prepared.plan().net;
    let dir = prepared.dir().display();
    let mut text = format!(
        "Everything is written. Each program runs by itself:\n\n\
         jibek-dev-pki serve {dir}/pki --listen {}\n\
         jibek-registry serve --config {}\n",
        net.pki(),
        prepared.registry_config().display()
    );
    for server in &prepared.plan().servers {
        text.push_str(&format!(
            "JIBEK_PIN={PIN} jibek-server run --config {}\n",
            prepared
                .server_dir(server)
                .join("jibek-server.toml")
                .display()
        ));
    }
    text
}

/// A program that was built together with this one.
fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program lies")?;
    let path = own.with_file_name(name);
    if path.exists() {
        Ok(path)
    } else {
        Err(anyhow!("{} is not there; build it first", path.display()))
    }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot resolve {}", path.display()))
}
