//! What a log must hold after traffic that may have been cut off, and that traffic.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jibek_msglog::fs::{SimFs, SyncSite};
use jibek_msglog::{LogError, MessageLog, Query, RecordId, StampBatch};

use super::{Random, Sample};

/// What the log must hold.
#[derive(Default)]
pub struct Expected {
    pub records: BTreeMap<RecordId, Known>,
    /// Commits without an answer: may be there or not, but once seen they stay.
    open: Vec<Sample>,
    /// The change of the disk at which it fails, if one does: what was refused with an error may be there after a restart.
    pub fails_at: Option<u64>,
    next: u64,
    /// Records that were removed with their segments.
    pub removed: BTreeSet<RecordId>,
}

pub struct Known {
    sample: Sample,
    stamped: Truth,
    dropped: Truth,
    removed: Truth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    No,
    Yes,
    /// Asked for and never answered.
    Perhaps,
}

/// Some traffic, of all kinds. Ends early when the process has died.
pub async fn events(
    log: &MessageLog,
    fs: &SimFs,
    random: &mut Random,
    expected: &mut Expected,
) -> Result<(), String> {
    if random.below(2) == 0 {
        fs.die_after(random.below(60));
    }
    let count = random.below(14);
    traffic(log, fs, random, expected, count).await
}

/// So many acts of all kinds, or until the process has died.
pub async fn traffic(
    log: &MessageLog,
    fs: &SimFs,
    random: &mut Random,
    expected: &mut Expected,
    count: u64,
) -> Result<(), String> {
    for _ in 0..count {
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
pub async fn commit_together(
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

pub async fn stamp(
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
    let truth = answered(result.map(drop), fs, expected.fails_at.is_some())?;
    for id in chosen {
        if let (Some(known), Some(truth)) = (expected.records.get_mut(&id), truth) {
            known.stamped = truth;
        }
    }
    Ok(())
}

pub async fn drop_bodies(
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
    let truth = answered(log.drop_bodies(*id).await, fs, expected.fails_at.is_some())?;
    if let (Some(known), Some(truth)) = (expected.records.get_mut(id), truth) {
        known.dropped = truth;
    }
    Ok(())
}

/// Stamps everything, and removes some of the full segments.
pub async fn retire(
    log: &MessageLog,
    fs: &SimFs,
    random: &mut Random,
    expected: &mut Expected,
    dies: bool,
) -> Result<(), String> {
    let unstamped: Vec<RecordId> = expected
        .records
        .iter()
        .filter(|(_, it)| it.stamped == Truth::No)
        .map(|(id, _)| *id)
        .collect();
    if !unstamped.is_empty() {
        let truth = answered(
            log.stamp(stamp_over(&unstamped)).await.map(drop),
            fs,
            expected.fails_at.is_some(),
        )?;
        for id in unstamped {
            if let (Some(known), Some(truth)) = (expected.records.get_mut(&id), truth) {
                known.stamped = truth;
            }
        }
    }
    if fs.is_dead() {
        return Ok(());
    }
    if dies && random.below(2) == 0 {
        fs.die_after(random.below(12));
    }
    let sealed = log.sealed_segments();
    let chosen = usize::try_from(random.below(4)).unwrap();
    let Some(segment) = sealed.get(chosen) else {
        return Ok(());
    };
    let truth = answered(
        log.retire(segment.number).map(drop),
        fs,
        expected.fails_at.is_some(),
    )?;
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
pub async fn abandon(
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
fn answered(
    result: Result<(), LogError>,
    fs: &SimFs,
    disk_fails: bool,
) -> Result<Option<Truth>, String> {
    match result {
        Ok(()) => Ok(Some(Truth::Yes)),
        Err(LogError::Io { .. } | LogError::Full { .. }) if disk_fails => Ok(Some(Truth::Perhaps)),
        Err(_) if fs.is_dead() => Ok(Some(Truth::Perhaps)),
        Err(LogError::Io {
            operation: "sync", ..
        }) => Ok(None),
        Err(error) => Err(format!("unexpected: {error:?}")),
    }
}

impl Expected {
    /// How many records must be there now.
    pub fn left(&self) -> u64 {
        let left = self.records.values();
        count(left.filter(|it| it.removed == Truth::No).count())
    }

    pub fn sample(&mut self, random: &mut Random) -> Sample {
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

    pub fn committed(
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
                if answered(Err(error), fs, self.fails_at.is_some())? == Some(Truth::Perhaps) {
                    self.open.push(sample);
                }
            }
        }
        Ok(())
    }

    /// Everything acknowledged is there and as it was; nothing else is, but perhaps what was never answered.
    pub fn check(&mut self, log: &MessageLog, count_of_log: u64) -> Result<(), String> {
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

pub fn stamp_over(ids: &[RecordId]) -> StampBatch {
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

pub fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap()
}
