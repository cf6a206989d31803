//! A run from its first key to its closing lines.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use jibek_certs::{
    KeyKind,
    time::{Clock, SystemClock},
};
use jibek_conf::files::{atomic_write, create_dir_durably};
use tokio::{net::TcpStream, time::Instant};

use super::{
    costs::{self, Costs},
    evidence::{self, Proof},
    floor::{Work, floor},
    measure::{self, as_f64},
    plan::{self, Case, Chapter, Form, Part, Shape},
    plots,
    report::{Audit, Entry, Machine, Report, heading},
    servers::{self, Servers},
    tls,
    yardsticks::Yardsticks,
};
use crate::{
    country::{Net, Prepared},
    http::eventually,
    processes::{Process, Programs},
};

/// What a run is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Quick or full.
    pub form: Form,
    /// Only rows whose description contains this.
    pub only: Option<String>,
    /// Where keys, logs and everything else lie meanwhile; should be the kind of disk that logs are kept on.
    pub state: PathBuf,
    /// Where the JSON goes.
    pub json: Option<PathBuf>,
    /// Directory for the plots.
    pub svg: Option<PathBuf>,
}

/// Measures, proves and prints; returns whether every row is sound.
///
/// # Errors
///
/// When something cannot be started or measured at all.
pub async fn run(request: &Request) -> anyhow::Result<bool> {
    let begun = Instant::now();
    create_dir_durably(&request.state).context("no place for the bench")?;
    let dir = tempfile::tempdir_in(&request.state).context("no place for the bench")?;
    let mut bench = Bench::start(dir.path()).await?;
    bench.report.machine = machine(&request.state);
    bench.introduce(request.form);
    let mut parts = plan::parts(request.form);
    if let Some(only) = &request.only {
        keep(&mut parts, only);
    }
    for (index, part) in parts.iter().enumerate() {
        bench.part(index, part).await?;
    }
    bench.report.seconds = begun.elapsed().as_secs_f64();
    let report = bench.report;
    close(&report);
    if let Some(path) = &request.json {
        let text = format!("{:#}\n", report.as_json());
        atomic_write(path, text.as_bytes()).context("cannot write the JSON")?;
    }
    if let Some(dir) = &request.svg {
        create_dir_durably(dir).context("no place for the plots")?;
        for (name, svg) in plots::plots(&report) {
            atomic_write(dir.join(name), svg.as_bytes()).context("cannot write a plot")?;
        }
    }
    Ok(report.sound())
}

/// What lasts through a run.
struct Bench {
    dir: PathBuf,
    programs: Programs,
    program: PathBuf,
    provider: Process,
    yardsticks: Yardsticks,
    report: Report,
    marks: usize,
}

impl Bench {
    async fn start(dir: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find myself")?;
        let key = dir.join("tls");
        tls::make(&key, SystemClock.now())?;
        let provider = Process::start(
            "provider",
            &program,
            &[
                "provider",
                &PLAIN.to_string(),
                &SECURE.to_string(),
                &key.display().to_string(),
            ],
            &dir.join("provider.log"),
        )?;
        eventually(Duration::from_secs(10), || TcpStream::connect(PLAIN))
            .await
            .context("the provider does not listen")?;
        Ok(Self {
            dir: dir.to_owned(),
            programs: Programs::beside()?,
            yardsticks: Yardsticks::new(program.clone(), PLAIN, SECURE, key),
            program,
            provider,
            report: Report::default(),
            marks: 0,
        })
    }

    fn introduce(&self, form: Form) {
        let machine = &self.report.machine;
        say(&format!(
            "{} on {} cores, {}; logs on {}.\n\
             Consumer, its server, the provider's server and the provider are processes of one machine, with CA, OCSP, TSA and registry \
             beside them.\nREST: GET without a body, the answer has the size; REST up: POST of the size, an empty answer; SOAP: an \
             envelope of 1.1 KB, an answer with text of the size.\nTLS 1.3 between the servers, plain HTTP at either end; every message \
             signed, logged, synced, stamped within a second or two, and proved.\n\
             ÷: exchanges a second of the same calls made directly, by the same consumer and provider, and of the floor.",
            machine.processor, machine.cores, machine.kernel, machine.disk
        ));
        if form == Form::Full {
            for what in plan::left_out() {
                say(&format!("left out: {what}"));
            }
        }
        say(&format!("\n{}", heading()));
    }

    /// Keys, certificates, registry of a kind of key; then its chapters.
    async fn part(&mut self, index: usize, part: &Part) -> anyhow::Result<()> {
        let net = Net::new(71, u8::try_from(index).unwrap_or(u8::MAX));
        let dir = self.dir.join(format!("country{index}"));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut country = plan::country(net, part.key)?;
        for service in country
            .servers
            .iter_mut()
            .flat_map(|server| &mut server.clients)
            .flat_map(|client| &mut client.services)
        {
            service.url = format!("http://{PLAIN}/{}", service.code);
        }
        let prepared = Prepared::make(country, &dir, &clock)?;
        let _authorities = self.programs.authorities(&prepared).await?;
        for chapter in &part.chapters {
            self.chapter(part.key, chapter, &prepared).await?;
        }
        Ok(())
    }

    async fn chapter(
        &mut self,
        key: KeyKind,
        chapter: &Chapter,
        prepared: &Prepared,
    ) -> anyhow::Result<()> {
        let program = if chapter.counting { COUNTING } else { SERVER };
        if !self.programs.path(program).exists() {
            say(&format!(
                "{}: not measured: no program {program} beside this one; `make bench` builds it",
                chapter.name
            ));
            return Ok(());
        }
        keep_bodies(prepared, !chapter.digest_only)?;
        let costs = costs::measure(key, &self.dir)?;
        let servers = Servers::start(&self.programs, program, prepared).await?;
        if !chapter.counting {
            self.report.starts_ms.extend(servers.ready_ms.first());
        }
        if self.report.idle_mib.is_empty() {
            let usage = servers.usage();
            self.report.idle_mib = usage
                .iter()
                .map(|it| measure::mib(it.resident_kib))
                .collect();
        }
        let mut entries = Vec::new();
        for case in &chapter.cases {
            entries.push(
                self.entry(case, chapter.counting, costs, &servers, prepared)
                    .await?,
            );
        }
        let logs = servers.finish().await?;
        let history = prepared.dir().join("registry/state/history");
        let auditor = self.programs.path("jibek-audit");
        let proof = {
            let logs = logs.clone();
            tokio::task::spawn_blocking(move || evidence::prove(&auditor, &history, &logs))
                .await??
        };
        servers::remove(&logs)?;
        self.judge(key, chapter, &proof, entries)
    }

    async fn entry(
        &mut self,
        case: &Case,
        counting: bool,
        mut costs: Costs,
        servers: &Servers,
        prepared: &Prepared,
    ) -> anyhow::Result<Entry> {
        let mark = format!("r{}", self.marks);
        self.marks += 1;
        let direct = self.yardsticks.of(case, &self.provider).await?;
        // The disk changes from minute to minute: before and after the row, where it is told from the rest by its syncs.
        let before = costs::append(&self.dir)?;
        let address = SocketAddr::new(prepared.plan().net.server(0), Net::HTTP_PORT);
        let row = measure::row(&self.program, address, case, mark, servers, &self.provider).await?;
        costs.append_us = f64::midpoint(before, costs::append(&self.dir)?);
        let envelope = if case.shape == Shape::Soap {
            2.0 * ENVELOPE
        } else {
            0.0
        };
        let work = Work {
            counts: row.counts,
            body_bytes: as_f64(case.bytes) + envelope,
            hop_us: direct.http.cpu_us,
            at_once: case.at_once,
            cores: self.report.machine.cores,
        };
        let proved = match &row.outcome.first_failure {
            None => Ok(0),
            Some(first) => Err(format!(
                "{} calls failed, the first: {first}",
                row.outcome.failed
            )),
        };
        Ok(Entry {
            case: *case,
            counting,
            floor: floor(&costs, &work),
            row,
            direct,
            costs,
            proved,
        })
    }

    fn judge(
        &mut self,
        key: KeyKind,
        chapter: &Chapter,
        proof: &Proof,
        entries: Vec<Entry>,
    ) -> anyhow::Result<()> {
        for mut entry in entries {
            if entry.proved.is_ok() {
                entry.proved = proof.of_row(&entry.row.mark, entry.row.outcome.answered);
            }
            say(entry.lines().trim_end());
            self.report.entries.push(entry);
        }
        say(&format!(
            "         {} records proved in {:.1} s",
            proof.valid, proof.seconds
        ));
        let small = chapter.cases.iter().all(|case| case.bytes <= plan::KB);
        if key == KeyKind::Rsa2048 && small && !chapter.counting && self.report.audit.is_none() {
            self.report.audit = Some(Audit {
                records: proof.valid,
                seconds: proof.seconds,
                per_core_second: as_f64(proof.valid) / proof.cpu_seconds.max(0.01),
                verifications_per_second: 1e6 / costs::rsa_2048_verification_us()?,
            });
        }
        Ok(())
    }
}

/// Has the servers keep bodies, or their digests alone.
fn keep_bodies(prepared: &Prepared, keep: bool) -> anyhow::Result<()> {
    for server in &prepared.plan().servers {
        let path = prepared.server_dir(server).join("jibek-server.toml");
        let text = std::fs::read_to_string(&path).context("a server's file")?;
        let own = text.strip_suffix(DIGESTS).unwrap_or(&text);
        let wanted = format!("{own}{}", if keep { "" } else { DIGESTS });
        if wanted != text {
            atomic_write(&path, wanted.as_bytes()).context("a server's file")?;
        }
    }
    Ok(())
}

fn close(report: &Report) {
    let costs: Vec<_> = report.entries.iter().map(|entry| entry.costs).collect();
    if let Some(costs) = costs.first() {
        say(&format!(
            "\none core: RSA-2048 signature {:.0} us, verification {:.1} us, SHA-512 {:.0} MB/s, AES-GCM {:.0} MB/s; one append {:.0} us",
            costs.sign_us,
            costs.verify_us,
            costs.sha512_bytes_per_us,
            costs.aes_gcm_bytes_per_us,
            costs.append_us
        ));
    }
    let failed = report
        .entries
        .iter()
        .filter(|entry| entry.proved.is_err())
        .count();
    let sent: u64 = report
        .entries
        .iter()
        .map(|entry| entry.row.outcome.answered * 4)
        .sum();
    let proved: u64 = report
        .entries
        .iter()
        .filter_map(|entry| entry.proved.as_ref().ok())
        .sum();
    say(&format!(
        "{} rows, {failed} failed; messages sent {sent}, proved {proved}; {:.0} s",
        report.entries.len(),
        report.seconds
    ));
    for bar in report.bars() {
        say(&bar.line());
    }
}

fn keep(parts: &mut Vec<Part>, only: &str) {
    for part in parts.iter_mut() {
        for chapter in &mut part.chapters {
            let counting = chapter.counting;
            chapter.cases.retain(|case| {
                format!("{case}{}", if counting { " counting" } else { "" }).contains(only)
            });
        }
        part.chapters.retain(|chapter| !chapter.cases.is_empty());
    }
    parts.retain(|part| !part.chapters.is_empty());
}

fn machine(state: &Path) -> Machine {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processor = text("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or_else(
            || "an unnamed processor".to_owned(),
            |(_, name)| name.to_owned(),
        );
    let state = state.canonicalize().unwrap_or_default();
    // The longest mount point that the path lies under.
    let disk = text("/proc/mounts")
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (at, kind) = (fields.next()?, fields.next()?);
            state.starts_with(at).then(|| (at.len(), kind.to_owned()))
        })
        .max()
        .map_or_else(|| "an unknown disk".to_owned(), |(_, kind)| kind);
    Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        processor,
        kernel: format!("Linux {}", text("/proc/sys/kernel/osrelease").trim()),
        disk,
    }
}

/// Says a line at once: a run takes minutes.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

const DIGESTS: &str = "\n[message_log]\nrequest_bodies = \"digest\"\nanswer_bodies = \"digest\"\n";
const SERVER: &str = "jibek-server";
const COUNTING: &str = "jibek-server-counting";
/// The provider: plain HTTP, for the servers and for direct calls.
const PLAIN: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 71, 200, 1)),
    9000,
);
/// The provider: mutual TLS.
const SECURE: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 71, 200, 1)),
    9001,
);
/// An envelope without what its body carries, in bytes.
const ENVELOPE: f64 = 1100.0;
