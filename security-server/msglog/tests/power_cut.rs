//! Random histories of a log whose process dies and whose power is cut, with what must hold after each.
//!
//! The same histories show that no sync is superfluous: with any one kind left out, one of them loses something.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use jibek_msglog::fs::{SimFs, SyncSite};
use jibek_msglog::{LogError, MessageLog, Query, RecordId, StampBatch, fsck};
use support::{Random, Sample, runtime, small};

#[test]
fn no_history_loses_what_was_acknowledged() {
    for seed in OLD_SEEDS.into_iter().chain(0..histories()) {
        if let Err(what) = history(seed, None) {
            panic!("history {seed}: {what}");
        }
    }
}

#[test]
fn each_sync_is_needed() {
    let mut shown = Vec::new();
    for site in SyncSite::ALL {
        let failing = (0..histories().max(400))
            .find_map(|seed| Some((seed, history(seed, Some(site)).err()?)));
        let Some((seed, what)) = failing else {
            panic!("nothing is lost without {site:?}")
        };
        println!("without {site:?}, history {seed}: {what}");
        shown.push(site);
    }
    assert_eq!(shown, SyncSite::ALL);
}

/// What the log must hold.
#[derive(Default)]
struct Expected {
    records: BTreeMap<RecordId, Known>,
    /// Commits without an answer: may be there or not, but once seen they stay.
    open: Vec<Sample>,
    next: u64,
    /// Records that were removed with their segments.
    removed: BTreeSet<RecordId>,
}

struct Known {
    sample: Sample,
    stamped: Truth,
    dropped: Truth,
    removed: Truth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    No,
    Yes,
    /// Asked for and never answered.
    Perhaps,
}

fn history(seed: u64, ignored: Option<SyncSite>) -> Result<(), String> {
    let fs = SimFs::new();
    ignored.into_iter().for_each(|site| fs.ignore(site));
    let mut random = Random::new(seed);
    let mut removals = Random::new(!seed);
    let mut expected = Expected::default();
    let runtime = runtime();
    for round in 0..ROUNDS {
        if random.below(3) == 0 {
            fs.die_after(random.below(if round == 0 { 12 } else { 40 }));
        }
        let opened = MessageLog::open(small("/log"), fs.process());
        match opened {
            Ok((log, report)) => {
                if fs.is_dead() {
                    runtime.block_on(log.close());
                } else {
                    if !report.damage.is_empty() {
                        return Err(format!("round {round}: damage {:?}", report.damage));
                    }
                    expected
                        .check(&log, report.records)
                        .map_err(|what| format!("round {round}: {what}"))?;
                    runtime.block_on(events(&log, &fs, &mut random, &mut expected))?;
                    if removals.below(3) == 0 && !fs.is_dead() {
                        runtime.block_on(retire(&log, &fs, &mut removals, &mut expected))?;
                    }
                    if random.below(3) == 0 {
                        runtime.block_on(log.close());
                    }
                }
            }
            Err(_) if fs.is_dead() => {}
            Err(error) => {
                return Err(format!(
                    "round {round}: does not open: {error}: {:?}",
                    std::error::Error::source(&error)
                ));
            }
        }
        // A log that was not closed loses its file system here, as its process would.
        if random.below(3) == 0 {
            fs.kill();
        } else {
            fs.power_cut(random.next());
        }
    }
    let (log, report) = MessageLog::open(small("/log"), fs.process())
        .map_err(|error| format!("at last: {error}"))?;
    expected
        .check(&log, report.records)
        .map_err(|what| format!("at last: {what}"))?;
    runtime.block_on(log.close());
    let report =
        fsck(Path::new("/log"), fs.process().as_ref()).map_err(|error| format!("fsck: {error}"))?;
    if !report.is_clean()
        || !report.notes.is_empty()
        || report.records != count(expected.records.len())
    {
        return Err(format!("fsck: {report}"));
    }
    Ok(())
}

async fn events(
    log: &MessageLog,
    fs: &SimFs,
    random: &mut Random,
    expected: &mut Expected,
) -> Result<(), String> {
    if random.below(2) == 0 {
        fs.die_after(random.below(60));
    }
    for _ in 0..random.below(14) {
        if random.below(12) == 0 {
            fs.fail_next(SyncSite::Batch);
        }
        let result = match random.below(10) {
            0 => stamp(log, fs, random, expected).await,
            1 => drop_bodies(log, fs, random, expected).await,
            2 => abandon(log, random, expected).await,
            3 => commit_together(log, fs, random, expected).await,
            _ => {
                let sample = expected.sample(random);
                let result = sample.commit(log).await.map(|it| it.id());
                expected.committed(sample, result, fs)
            }
        };
        if fs.is_dead() {
            return Ok(());
        }
        result?;
    }
    Ok(())
}

/// Several at once, which share a sync or do not.
async fn commit_together(
    log: &MessageLog,
    fs: &SimFs,
    random: &mut Random,
    expected: &mut Expected,
) -> Result<(), String> {
    let samples: Vec<Sample> = (0..4).map(|_| expected.sample(random)).collect();
    let commits = samples.into_iter().map(|sample| async {
        let result = sample.commit(log).await.map(|it| it.id());
        (sample, result)
    });
    for (sample, result) in futures_util::future::join_all(commits).await {
        expected.committed(sample, result, fs)?;
    }
    Ok(())
}

async fn stamp(
    log: &MessageLog,
    fs: &SimFs,
    random: &mut Random,
    expected: &mut Expected,
) -> Result<(), String> {
    let unstamped: Vec<RecordId> = expected
        .records
        .iter()
        .filter(|(_, it)| it.stamped == Truth::No)
        .map(|(id, _)| *id)
        .collect();
    let chosen: Vec<RecordId> = unstamped
        .into_iter()
        .filter(|_| random.below(3) > 0)
        .collect();
    if chosen.is_empty() {
        return Ok(());
    }
    let result = log.stamp(stamp_over(&chosen)).await;
    let truth = answered(result.map(drop), fs)?;
    for id in chosen {
        if let (Some(known), Some(truth)) = (expected.records.get_mut(&id), truth) {
            known.stamped = truth;
        }
    }
    Ok(())
}

async fn drop_bodies(
    log: &MessageLog,
    fs: &SimFs,
    random: &mut Random,
    expected: &mut Expected,
) -> Result<(), String> {
    let with_bodies: Vec<RecordId> = expected
        .records
        .iter()
        .filter(|(_, it)| it.dropped == Truth::No)
        .map(|(id, _)| *id)
        .collect();
    let Some(id) = with_bodies.get(usize::try_from(random.below(8)).unwrap()) else {
        return Ok(());
    };
    let truth = answered(log.drop_bodies(*id).await, fs)?;
    if let (Some(known), Some(truth)) = (expected.records.get_mut(id), truth) {
        known.dropped = truth;
    }
    Ok(())
}

/// Stamps everything, and removes some of the full segments.
async fn retire(
    log: &MessageLog,
    fs: &SimFs,
    random: &mut Random,
    expected: &mut Expected,
) -> Result<(), String> {
    let unstamped: Vec<RecordId> = expected
        .records
        .iter()
        .filter(|(_, it)| it.stamped == Truth::No)
        .map(|(id, _)| *id)
        .collect();
    if !unstamped.is_empty() {
        let truth = answered(log.stamp(stamp_over(&unstamped)).await.map(drop), fs)?;
        for id in unstamped {
            if let (Some(known), Some(truth)) = (expected.records.get_mut(&id), truth) {
                known.stamped = truth;
            }
        }
    }
    if fs.is_dead() {
        return Ok(());
    }
    if random.below(2) == 0 {
        fs.die_after(random.below(12));
    }
    let sealed = log.sealed_segments();
    let chosen = usize::try_from(random.below(4)).unwrap();
    let Some(segment) = sealed.get(chosen) else {
        return Ok(());
    };
    let truth = answered(log.retire(segment.number).map(drop), fs)?;
    for (_, known) in expected.records.range_mut(..=segment.last) {
        // It is removed when it is written down; what is left of the files goes sooner or later.
        known.removed = match truth {
            Some(truth) if !fs.is_dead() => truth,
            _ => Truth::Perhaps,
        };
    }
    Ok(())
}

/// A message that never got its signature.
async fn abandon(
    log: &MessageLog,
    random: &mut Random,
    expected: &mut Expected,
) -> Result<(), String> {
    let sample = expected.sample(random);
    let mut draft = log.begin();
    for index in 0..sample.bodies.len() {
        let bytes = Bytes::from(sample.body(index));
        let appended = draft
            .append_body(u32::try_from(index + 1).unwrap(), bytes)
            .await;
        drop(appended);
    }
    Ok(())
}

/// What an answer means: done, not done (`None`), or nobody knows.
fn answered(result: Result<(), LogError>, fs: &SimFs) -> Result<Option<Truth>, String> {
    match result {
        Ok(()) => Ok(Some(Truth::Yes)),
        Err(_) if fs.is_dead() => Ok(Some(Truth::Perhaps)),
        Err(LogError::Io {
            operation: "sync", ..
        }) => Ok(None),
        Err(error) => Err(format!("unexpected: {error:?}")),
    }
}

impl Expected {
    fn sample(&mut self, random: &mut Random) -> Sample {
        self.next += 1;
        let bodies: &[usize] = match random.below(6) {
            0 => &[1500],
            1 => &[5000],
            2 => &[0, 700, 9000],
            _ => &[],
        };
        let mut sample = Sample::with_bodies(self.next, bodies);
        sample.batch = (random.below(3) == 0).then_some(self.next / 4);
        sample
    }

    fn committed(
        &mut self,
        sample: Sample,
        result: Result<RecordId, LogError>,
        fs: &SimFs,
    ) -> Result<(), String> {
        match result {
            Ok(id) => {
                let known = Known {
                    sample,
                    stamped: Truth::No,
                    dropped: Truth::No,
                    removed: Truth::No,
                };
                if self.records.insert(id, known).is_some() {
                    return Err(format!("two records have the number {id}"));
                }
            }
            Err(error) => {
                if answered(Err(error), fs)? == Some(Truth::Perhaps) {
                    self.open.push(sample);
                }
            }
        }
        Ok(())
    }

    /// Everything acknowledged is there and as it was; nothing else is, but perhaps what was never answered.
    fn check(&mut self, log: &MessageLog, count_of_log: u64) -> Result<(), String> {
        for sample in std::mem::take(&mut self.open) {
            let found = log
                .find(&Query::message_id(&sample.message_id()))
                .map_err(|error| format!("find: {error}"))?;
            if let [id] = found[..] {
                sample
                    .check(log, id, true)
                    .map_err(|what| format!("unanswered {what}"))?;
                self.records.insert(
                    id,
                    Known {
                        sample,
                        stamped: Truth::No,
                        dropped: Truth::No,
                        removed: Truth::No,
                    },
                );
            }
        }
        let before = log.starts_at();
        for (id, known) in &mut self.records {
            settle(&mut known.removed, *id < before)
                .map_err(|()| format!("record {id} of a log that begins with {before}"))?;
        }
        self.removed
            .extend(self.records.range(..before).map(|it| *it.0));
        self.records.retain(|_, known| known.removed == Truth::No);
        for id in &self.removed {
            let read = log
                .read(*id)
                .map_err(|error| format!("removed {id}: {error}"))?;
            if *id >= before || read.is_some() {
                return Err(format!("removed record {id} is there again: {read:?}"));
            }
        }
        for (id, known) in &mut self.records {
            let record = log
                .read(*id)
                .map_err(|error| format!("record {id}: {error}"))?;
            let record = record.ok_or_else(|| format!("record {id} is gone"))?;
            if let Some(body) = record.bodies.first() {
                settle(&mut known.dropped, !body.kept)
                    .map_err(|()| format!("bodies of record {id}: {body:?}"))?;
            }
            let kept = known.dropped != Truth::Yes;
            known.sample.check(log, *id, kept)?;
            settle(&mut known.stamped, record.stamp.is_some())
                .map_err(|()| format!("stamp of record {id}"))?;
            if let Some(stamp) = &record.stamp
                && stamp.hash_chain != format!("chain {id}")
            {
                return Err(format!("stamp of record {id}: {stamp:?}"));
            }
            let found = log
                .find(&Query::message_id(&known.sample.message_id()))
                .map_err(|error| format!("{error}"))?;
            if found != [*id] {
                return Err(format!("record {id} is found as {found:?}"));
            }
        }
        if count_of_log != count(self.records.len()) {
            return Err(format!(
                "{count_of_log} records where {} are known",
                self.records.len()
            ));
        }
        let unstamped: Vec<RecordId> = self
            .records
            .iter()
            .filter(|(_, it)| it.stamped == Truth::No)
            .map(|(id, _)| *id)
            .collect();
        let listed = log
            .unstamped(usize::MAX)
            .map_err(|error| format!("unstamped: {error}"))?;
        if !listed.iter().map(|it| it.id).eq(unstamped.iter().copied())
            || log.unstamped_count() != count(unstamped.len())
        {
            return Err(format!("unstamped are {listed:?}, not {unstamped:?}"));
        }
        Ok(())
    }
}

/// Compares what is with what is known. Who never got an answer learns it now.
fn settle(known: &mut Truth, is: bool) -> Result<(), ()> {
    match (*known, is) {
        (Truth::Perhaps, _) => *known = if is { Truth::Yes } else { Truth::No },
        (Truth::Yes, true) | (Truth::No, false) => {}
        (Truth::Yes, false) | (Truth::No, true) => return Err(()),
    }
    Ok(())
}

fn stamp_over(ids: &[RecordId]) -> StampBatch {
    let chains = ids
        .iter()
        .map(|id| (*id, Bytes::from(format!("chain {id}"))))
        .collect();
    StampBatch {
        token: Bytes::from("token"),
        hash_chain_result: Bytes::from("result"),
        chains,
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap()
}

#[test]
fn the_simulation_loses_what_is_not_synced_and_keeps_what_is() {
    let (mut lost, mut torn, mut kept) = (0, 0, 0);
    for seed in 0..60 {
        let machine = SimFs::new();
        let fs = machine.process();
        let file = fs.create(Path::new("/a")).unwrap();
        file.write_at(0, &mut [std::io::IoSlice::new(&[1; 4096])])
            .unwrap();
        file.sync_data(SyncSite::Batch).unwrap();
        fs.sync_dir(Path::new("/"), SyncSite::SegmentDir).unwrap();
        file.write_at(0, &mut [std::io::IoSlice::new(&[2; 4096])])
            .unwrap();
        let unnamed = fs.create(Path::new("/b")).unwrap();
        unnamed.sync_data(SyncSite::Batch).unwrap();
        machine.power_cut(seed);
        assert!(
            file.length().is_err(),
            "handles of the old process are dead"
        );
        let bytes = machine.contents(Path::new("/a")).unwrap();
        let new = bytes.iter().filter(|it| **it == 2).count();
        assert!(
            bytes.len() == 4096 && bytes.iter().all(|it| [1, 2].contains(it)) && new % 512 == 0
        );
        match new {
            0 => lost += 1,
            4096 => kept += 1,
            _ => torn += 1,
        }
        lost += i32::from(machine.contents(Path::new("/b")).is_err());
    }
    assert!(lost > 10 && torn > 10 && kept > 5, "{lost} {torn} {kept}");
}

/// Histories of each run; more of them with `JIBEK_HISTORIES=2000`.
fn histories() -> u64 {
    let wanted = std::env::var_os("JIBEK_HISTORIES").and_then(|it| it.to_str()?.parse().ok());
    wanted.unwrap_or(120)
}

/// Histories that once found a fault, beyond those.
const OLD_SEEDS: [u64; 2] = [46, 223];
const ROUNDS: u64 = 7;
