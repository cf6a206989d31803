//! `jibek-bench`: how fast, how large, at what cost, next to the same calls made directly.

use std::{io::Write as _, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Parser, Subcommand};
use http::{Request, Response};
use http_body_util::Full;
use jibek_certs::{
    KeyKind,
    time::{Clock, SystemClock},
};
use jibek_conformance::{
    country::{
        Allow, Net, Plan, PlannedClient, PlannedMember, PlannedServer, PlannedService, Prepared,
        Timing,
    },
    load::{self, Outcome},
    processes::{Process, Programs, Usage},
    system::System,
};
use jibek_protocol::id::{ClientId, MemberId, ServerId};

/// Measures two security servers, next to the same calls made directly.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Seconds each row is measured.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Calls at once, one row each.
    #[arg(long, value_delimiter = ',', default_value = "1,16,128")]
    at_once: Vec<usize>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The provider's information system, in a process of its own.
    #[command(hide = true)]
    Provider {
        /// Where to listen.
        address: SocketAddr,
    },
}

const CONSUMER: &str = "BENCH/GOV/1/consumer";
const PROVIDER: &str = "BENCH/GOV/2/provider";
const NET: (u8, u8) = (71, 0);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| match arguments.command {
            Some(Command::Provider { address }) => runtime.block_on(provider(address)),
            None => runtime.block_on(bench(&arguments)),
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

async fn provider(address: SocketAddr) -> anyhow::Result<()> {
    let body = Bytes::from(vec![b'x'; 1024]);
    let _system = System::start(address, Arc::new(move |_| Response::new(body.clone()))).await?;
    std::future::pending().await
}

fn plan(net: Net) -> anyhow::Result<Plan> {
    let consumer = ClientId::from_header(CONSUMER)?;
    let provider = ClientId::from_header(PROVIDER)?;
    let member = |code: &str| MemberId::new("BENCH", "GOV", code);
    let planned = |code: &str, subsystem: &str| -> anyhow::Result<PlannedMember> {
        Ok(PlannedMember {
            id: member(code)?,
            name: subsystem.to_owned(),
            subsystems: vec![subsystem.to_owned()],
        })
    };
    let server =
        |owner: &str, code: &str, client: PlannedClient| -> anyhow::Result<PlannedServer> {
            Ok(PlannedServer {
                id: ServerId::new(member(owner)?, code)?,
                clients: vec![client],
                started: true,
            })
        };
    Ok(Plan {
        instance: "BENCH".to_owned(),
        net,
        key: KeyKind::Rsa2048,
        members: vec![planned("1", "consumer")?, planned("2", "provider")?],
        servers: vec![
            server(
                "1",
                "ss1",
                PlannedClient {
                    id: consumer.clone(),
                    connection: "http".to_owned(),
                    services: Vec::new(),
                },
            )?,
            server(
                "2",
                "ss2",
                PlannedClient {
                    id: provider,
                    connection: "http".to_owned(),
                    services: vec![PlannedService {
                        code: "rest".to_owned(),
                        kind: "rest".to_owned(),
                        url: format!("http://{}/", net.system(0)),
                        allow: vec![Allow::everything(&consumer)],
                        timeout: Duration::from_secs(30),
                    }],
                },
            )?,
        ],
        timing: Timing::default(),
        legacy_tls: true,
    })
}

async fn bench(arguments: &Arguments) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let net = Net::new(NET.0, NET.1);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let prepared = Prepared::make(plan(net)?, dir.path(), &clock)?;
    let programs = Programs::beside()?;
    let _authorities = programs.authorities(&prepared).await?;
    let provider = Process::start(
        "provider",
        &std::env::current_exe()?,
        &["provider", &net.system(0).to_string()],
        &dir.path().join("provider.log"),
    )?;
    let mut servers = Vec::new();
    for (index, server) in prepared.plan().servers.iter().enumerate() {
        servers.push(programs.server(&prepared, index, server).await?);
    }
    say(
        "REST, 1 KB answers, RSA-2048, TLS 1.3 between servers, every message logged and synced; all processes on one machine.\n",
    );
    for server in &servers {
        say(&format!(
            "idle {}: {:.1} MB resident",
            server.name(),
            mega(server.usage().resident_kib)
        ));
    }
    say(&format!(
        "\n{:>8} {:>7} {:>11} {:>9} {:>9} {:>10} {:>10} {:>9} {:>9}  {}",
        "path",
        "at once",
        "exchanges/s",
        "p50 ms",
        "p99 ms",
        "ss1 CPU us",
        "ss2 CPU us",
        "ss1 MB",
        "ss2 MB",
        "ratio"
    ));
    let direct_url = format!("http://{}/hello", net.system(0));
    let bus_url = format!(
        "http://{}:{}/r1/{PROVIDER}/rest/hello",
        net.server(0),
        Net::HTTP_PORT
    );
    let period = Duration::from_secs(arguments.seconds);
    // Warm up: connections, caches, branch predictors.
    measure(&bus_url, 16, Duration::from_secs(2)).await;
    for at_once in &arguments.at_once {
        let direct = measure(&direct_url, *at_once, period.min(Duration::from_secs(3))).await;
        row("direct", *at_once, &direct, &[], &[], None);
        let before: Vec<_> = servers.iter().map(Process::usage).collect();
        let bus = measure(&bus_url, *at_once, period).await;
        let after: Vec<_> = servers.iter().map(Process::usage).collect();
        row("bus", *at_once, &bus, &before, &after, Some(direct.rate()));
    }
    drop(servers);
    drop(provider);
    Ok(())
}

async fn measure(url: &str, at_once: usize, period: Duration) -> Outcome {
    let url = url.to_owned();
    load::run(at_once, period, move || {
        #[expect(clippy::expect_used, reason = "the bench's own URL is well-formed")]
        Request::get(&url)
            .header("X-Road-Client", CONSUMER)
            .body(Full::default())
            .expect("the request is well-formed")
    })
    .await
}

fn row(
    path: &str,
    at_once: usize,
    outcome: &Outcome,
    before: &[Usage],
    after: &[Usage],
    direct: Option<f64>,
) {
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench are small")]
    let answered = (outcome.answered as f64).max(1.0);
    let cpu: Vec<_> = before
        .iter()
        .zip(after)
        .map(|(before, after)| (after.cpu_seconds - before.cpu_seconds) * 1e6 / answered)
        .collect();
    let text = |values: &[f64], index: usize| {
        values
            .get(index)
            .map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
    };
    let memory: Vec<_> = after.iter().map(|usage| mega(usage.peak_kib)).collect();
    say(&format!(
        "{path:>8} {at_once:>7} {:>11.0} {:>9.2} {:>9.2} {:>10} {:>10} {:>9} {:>9}  {}",
        outcome.rate(),
        outcome.percentile(0.5),
        outcome.percentile(0.99),
        text(&cpu, 0),
        text(&cpu, 1),
        text(&memory, 0),
        text(&memory, 1),
        direct.map_or_else(String::new, |direct| format!(
            "{:.3} of direct",
            outcome.rate() / direct
        )),
    ));
    if outcome.failed > 0 {
        say(&format!(
            "         {} calls failed, the first: {}",
            outcome.failed,
            outcome.first_failure.as_deref().unwrap_or_default()
        ));
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory of a process in KiB")]
fn mega(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
