//! `jibek-large`: bodies of gigabytes through two servers, and what their memory does meanwhile.

use std::{io::Write as _, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::Parser;
use jibek_certs::KeyKind;
use jibek_conformance::large::{Large, Phase};

/// Sends large bodies through two servers that keep only digests; fails when a bound is passed, a byte is not the one that
/// was sent, or a record of either log does not hold.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Transfers at once.
    #[arg(long, default_value_t = 16)]
    at_once: usize,
    /// Size of each, in MiB.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// Size of a body that goes alone, each way, in MiB.
    #[arg(long, default_value_t = 4096)]
    alone_mib: u64,
    /// Most that resident memory of a server may grow, in MiB.
    #[arg(long, default_value_t = 64)]
    growth_mib: u64,
    /// Most that it may be with a body that goes alone, in MiB.
    #[arg(long, default_value_t = 128)]
    peak_mib: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(run(&arguments)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let failed = |error: String| anyhow::anyhow!(error);
    say("REST bodies, RSA-2048, policy digest only; resident memory of each server, MiB\n");
    say(&format!(
        "{:<32} {:>7} {:>8} {:>7}  {}",
        "what", "at once", "MiB each", "MB/s", "server: before, peak, growth"
    ));
    let mut large = Large::start(KeyKind::Rsa2048, arguments.at_once)
        .await
        .map_err(failed)?;
    let (at_once, each) = (arguments.at_once, arguments.mib << 20);
    let mut phases = Vec::new();
    for phase in [
        large.up(at_once, each).await,
        large.down(at_once, each).await,
    ] {
        let phase = phase.map_err(failed)?;
        row(&phase);
        phases.push(phase);
    }
    let alone = arguments.alone_mib << 20;
    let mut single = Vec::new();
    for phase in [large.up(1, alone).await, large.down(1, alone).await] {
        let phase = phase.map_err(failed)?;
        row(&phase);
        single.push(phase);
    }
    let beside = large
        .down_beside_a_stopped_reader(at_once, 64 << 20)
        .await
        .map_err(failed)?;
    row(&beside);
    phases.push(beside);
    let proved = large.prove().await.map_err(failed)?;
    say(&format!(
        "\n{proved} records in two logs proved by the auditor's program; no body is left"
    ));
    judge(arguments, &phases, &single)
}

fn judge(arguments: &Arguments, many: &[Phase], single: &[Phase]) -> anyhow::Result<()> {
    let mut misses = 0;
    for cost in many.iter().chain(single).flat_map(|phase| &phase.costs) {
        for file in &cost.strange_files {
            say(&format!("{} had {file} open", cost.server));
            misses += 1;
        }
    }
    let grown = many.iter().flat_map(|phase| &phase.costs);
    let grown = grown.map(jibek_conformance::large::Cost::grown_mib).max();
    let peak = single.iter().flat_map(|phase| &phase.costs);
    let peak = peak.map(jibek_conformance::large::Cost::peak_mib).max();
    for (name, value, bound) in [
        ("large_growth_mib", grown, arguments.growth_mib),
        ("large_alone_peak_mib", peak, arguments.peak_mib),
    ] {
        let value = value.unwrap_or_default();
        let met = value <= bound;
        misses += usize::from(!met);
        say(&format!(
            "bar {name} {value} bar {bound} {}",
            if met { "met" } else { "missed" }
        ));
    }
    if misses > 0 {
        bail!("{misses} bounds were passed");
    }
    Ok(())
}

fn row(phase: &Phase) {
    let costs: Vec<_> = phase
        .costs
        .iter()
        .map(|cost| {
            format!(
                "{}: {}, {}, {}",
                cost.server,
                cost.before_kib.div_ceil(1024),
                cost.peak_mib(),
                cost.grown_mib()
            )
        })
        .collect();
    say(&format!(
        "{:<32} {:>7} {:>8} {:>7.0}  {}",
        phase.name,
        phase.at_once,
        phase.bytes >> 20,
        phase.rate(),
        costs.join("; ")
    ));
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
