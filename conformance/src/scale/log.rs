//! A message log of many records: what opening, appending and looking up cost at each size.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use jibek_msglog::{
    Direction, Kind, LogConfig, MessageLog, Query, RecordHead, RecordId, RecordParts, Side,
    fs::OsFs,
};
use jibek_protocol::id::{ClientId, ServiceId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{memory_mib, ms, percentile};

/// What a log costs at one size, measured in a process that just opened it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cost {
    /// Records when it was opened.
    pub records: u64,
    /// Segments.
    pub segments: u64,
    /// Opening, in ms.
    pub open_ms: f64,
    /// Resident after it was opened, in MiB.
    pub opened_mib: f64,
    /// Records appended a second.
    pub appended_per_second: f64,
    /// 99th percentile of an append, in ms.
    pub append_p99_ms: f64,
    /// Median of a look-up by message id, the whole record read, in µs.
    pub by_message_p50_us: f64,
    /// 99th percentile of it.
    pub by_message_p99_us: f64,
    /// Median of reading a record by its number, in µs.
    pub by_number_p50_us: f64,
    /// The most memory it ever had, in MiB: appends and look-ups included.
    pub peak_mib: f64,
}

impl Cost {
    /// Names of the columns of [`Cost::row`].
    #[must_use]
    pub fn head() -> Vec<String> {
        [
            "records",
            "segments",
            "open ms",
            "MiB then",
            "append/s",
            "p99 ms",
            "by id p50 us",
            "p99 us",
            "by number us",
            "MiB peak",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// As a row of a table.
    #[must_use]
    pub fn row(&self) -> Vec<String> {
        vec![
            self.records.to_string(),
            self.segments.to_string(),
            format!("{:.1}", self.open_ms),
            format!("{:.1}", self.opened_mib),
            format!("{:.0}", self.appended_per_second),
            format!("{:.2}", self.append_p99_ms),
            format!("{:.0}", self.by_message_p50_us),
            format!("{:.0}", self.by_message_p99_us),
            format!("{:.0}", self.by_number_p50_us),
            format!("{:.1}", self.peak_mib),
        ]
    }
}

/// Appends records until there are `size`.
///
/// # Errors
/// What the log said.
pub async fn grow(dir: &Path, size: u64) -> anyhow::Result<()> {
    let (log, report) = MessageLog::open(LogConfig::new(dir), OsFs::shared())?;
    append(&log, report.records, size).await?;
    log.close().await;
    Ok(())
}

/// [`look`] in a process of its own, so that its memory is its own: `program log-look DIR`.
///
/// # Errors
/// When the program cannot be run or fails.
pub fn look_in_process(program: &Path, dir: &Path) -> anyhow::Result<Cost> {
    let output = Command::new(program).arg("log-look").arg(dir).output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "it failed: {told}");
    serde_json::from_slice(&output.stdout).context("it did not say what it measured")
}

/// Opens the log, looks records up and appends some.
///
/// # Errors
/// What the log said, or that a record is not what was written.
pub async fn look(dir: &Path) -> anyhow::Result<Cost> {
    let started = Instant::now();
    let (log, report) = MessageLog::open(LogConfig::new(dir), OsFs::shared())?;
    let open_ms = ms(started.elapsed());
    let opened_mib = memory_mib("self", "VmRSS");
    let count = report.records;
    let (mut by_message, mut by_number) = (Vec::new(), Vec::new());
    for turn in 0..LOOKED_UP {
        let number = mixed(turn) % count.max(1);
        let started = Instant::now();
        let found = log.find(&Query::message_id(&message_id(number)))?;
        let [id] = found.as_slice() else {
            anyhow::bail!("{} records for one message id", found.len());
        };
        let record = log.read(*id)?.context("a found record is not there")?;
        by_message.push(started.elapsed());
        anyhow::ensure!(record.parts.message == message(number), "another message");

        let started = Instant::now();
        let record = log.read(RecordId::new(id.get()))?;
        by_number.push(started.elapsed());
        anyhow::ensure!(record.is_some(), "a record is not there");
    }
    by_message.sort_unstable();
    by_number.sort_unstable();
    let appended = append(&log, count, count + APPENDED).await?;
    let segments = log.stats().segments;
    log.close().await;
    let us = |times: &[Duration], share| percentile(times, share).as_secs_f64() * 1e6;
    Ok(Cost {
        records: count,
        segments,
        open_ms,
        opened_mib,
        appended_per_second: appended.rate,
        append_p99_ms: ms(percentile(&appended.times, 0.99)),
        by_message_p50_us: us(&by_message, 0.5),
        by_message_p99_us: us(&by_message, 0.99),
        by_number_p50_us: us(&by_number, 0.5),
        peak_mib: memory_mib("self", "VmHWM"),
    })
}

struct Appended {
    rate: f64,
    /// Of the last ones, ascending.
    times: Vec<Duration>,
}

/// Appends records `from..to`, many at once, each waited for.
async fn append(log: &MessageLog, from: u64, to: u64) -> anyhow::Result<Appended> {
    let next = Arc::new(AtomicU64::new(from));
    let client = ClientId::from_header("KG/GOV/70000004/portal")?;
    let service = ServiceId::new(
        ClientId::from_header("KG/GOV/70000001/population")?,
        "population",
        None,
    )?;
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..AT_ONCE {
        let (log, next) = (log.clone(), Arc::clone(&next));
        let (client, service) = (client.clone(), service.clone());
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= to {
                    return Ok::<_, jibek_msglog::LogError>(times);
                }
                let head = head(number, &client, &service);
                let begun = Instant::now();
                log.begin().commit(head, parts(number)).await?;
                if to - number <= TIMED {
                    times.push(begun.elapsed());
                }
            }
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    times.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench are small")]
    let count = to.saturating_sub(from) as f64;
    let rate = count / started.elapsed().as_secs_f64();
    Ok(Appended { rate, times })
}

fn head(number: u64, client: &ClientId, service: &ServiceId) -> RecordHead {
    RecordHead {
        time_ms: 1_800_000_000_000 + i64::try_from(number).unwrap_or(i64::MAX) / 4,
        side: Side::Consumer,
        direction: Direction::Request,
        kind: Kind::Rest,
        message_id: message_id(number),
        request_id: format!("{:032x}", mixed(number ^ 1 << 60)),
        client: client.clone(),
        service: service.clone(),
        local_party: client.clone(),
        status: None,
    }
}

/// 512 bytes of message and signature, nothing shared.
fn parts(number: u64) -> RecordParts {
    RecordParts {
        message: message(number),
        message_sha512: [7; 64],
        signature: filled(number ^ 1 << 61),
        hash_chain_result: None,
        hash_chain: None,
    }
}

fn message(number: u64) -> Bytes {
    filled(number)
}

/// 256 bytes that no other number has.
fn filled(number: u64) -> Bytes {
    let words = (0..32).map(|word| mixed(number.wrapping_mul(64).wrapping_add(word)));
    words.flat_map(u64::to_le_bytes).collect()
}

fn message_id(number: u64) -> String {
    format!("{:016x}-{number:x}", mixed(number))
}

/// SplitMix64's finisher: a number that looks drawn.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// As many as wait for one sync.
const AT_ONCE: u64 = 256;
const APPENDED: u64 = 20_000;
const TIMED: u64 = 20_000;
const LOOKED_UP: u64 = 2000;
