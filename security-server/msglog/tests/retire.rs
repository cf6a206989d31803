//! Old segments leave on purpose, and only then.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use std::path::Path;

use bytes::Bytes;
use jibek_msglog::fs::SimFs;
use jibek_msglog::{LogReader, MessageLog, Query, RecordId, StampBatch, fsck};
use support::{Sample, read_all, runtime, small};

const LOG: &str = "/log";

/// A log of forty records in many segments, some with body files, some without stored bodies; all stamped but the last
/// `unstamped`.
fn filled(machine: &SimFs, unstamped: usize) -> (MessageLog, Vec<(RecordId, Sample)>) {
    let (log, _) = MessageLog::open(small(LOG), machine.process()).unwrap();
    let records = runtime().block_on(async {
        let mut records = Vec::new();
        for number in 0..40 {
            let sample = Sample::with_bodies(number, &[300, 2500]);
            let id = sample.commit(&log).await.unwrap().id();
            records.push((id, sample));
        }
        let stamped = records.len() - unstamped;
        let ids: Vec<RecordId> = records.iter().take(stamped).map(|it| it.0).collect();
        log.stamp(stamp(&ids)).await.unwrap();
        records
    });
    (log, records)
}

fn stamp(ids: &[RecordId]) -> StampBatch {
    StampBatch {
        token: Bytes::from_static(b"token"),
        hash_chain_result: Bytes::from_static(b"<result/>"),
        chains: ids
            .iter()
            .map(|id| (*id, Bytes::from(format!("chain {id}"))))
            .collect(),
    }
}

/// Every record after `last` is whole, none up to it is there, and all programs agree.
fn check(machine: &SimFs, log: &MessageLog, records: &[(RecordId, Sample)], last: RecordId) {
    for (id, sample) in records {
        let found = log.find(&Query::message_id(&sample.message_id())).unwrap();
        if *id <= last {
            assert_eq!(log.read(*id).unwrap(), None);
            assert!(log.body(*id, 2).unwrap().is_none());
            assert!(found.is_empty());
        } else {
            sample.check(log, *id, true).unwrap();
            assert_eq!(found, [*id]);
            assert!(log.read(*id).unwrap().unwrap().stamp.is_some());
        }
    }
    let kept = records.iter().filter(|(id, _)| *id > last).count();
    let (reader, report) = LogReader::open(Path::new(LOG), machine.process()).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(reader.ids().count(), kept);
    let report = fsck(Path::new(LOG), machine.process().as_ref()).unwrap();
    assert!(report.is_clean() && report.notes.is_empty(), "{report}");
    assert_eq!(
        (report.records, report.removed, report.unstamped),
        (count(kept), count(records.len() - kept), 0),
        "{report}"
    );
    let bodies = machine.process().list(&Path::new(LOG).join("bodies"));
    assert_eq!(bodies.unwrap().len(), kept);
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap()
}

#[test]
fn full_stamped_segments_leave_with_all_their_files() {
    let machine = SimFs::new();
    let (log, records) = filled(&machine, 0);
    let sealed = log.sealed_segments();
    assert!(sealed.len() > 3, "{sealed:?}");
    let (first, third) = (sealed[0], sealed[2]);
    assert!(first.records > 0 && first.newest_ms >= first.oldest_ms && first.bytes > 0);
    assert_eq!(
        third.last,
        RecordId::new(sealed[..3].iter().map(|it| it.records).sum())
    );
    // Somebody reads a body while it goes.
    let reading = log.body(records[0].0, 2).unwrap().unwrap();
    let retired = log.retire(third.number).unwrap();
    assert_eq!(
        (retired.segments, retired.records),
        (3, sealed[..3].iter().map(|it| it.records).sum())
    );
    assert_eq!(log.starts_at().get(), third.last.get() + 1);
    assert_eq!(read_all(reading).unwrap(), records[0].1.body(1));
    check(&machine, &log, &records, third.last);
    assert_eq!(log.retire(third.number).unwrap().segments, 0, "only once");
    // The last one stays, whatever is asked for.
    let last = log.sealed_segments().last().copied().unwrap();
    log.retire(u64::MAX).unwrap();
    check(&machine, &log, &records, last.last);
    let id = runtime().block_on(async {
        let id = Sample::new(99).commit(&log).await.unwrap().id();
        log.close().await;
        id
    });
    assert!(id > records[39].0, "numbers go on");
    assert!(log.retire(u64::MAX).is_err(), "a closed log is left alone");
    let (log, report) = MessageLog::open(small(LOG), machine.process()).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(report.removed, last.last.get());
    assert_eq!(report.records, 41 - report.removed);
    assert_eq!(log.starts_at().get(), last.last.get() + 1);
}

#[test]
fn a_record_without_a_stamp_keeps_its_segment_and_all_after_it() {
    let machine = SimFs::new();
    let (log, records) = filled(&machine, 25);
    let first_unstamped = records[15].0;
    assert_eq!(log.stamped_through().get() + 1, first_unstamped.get());
    let sealed = log.sealed_segments();
    assert!(!sealed.is_empty() && sealed.iter().all(|it| it.last < first_unstamped));
    log.retire(u64::MAX).unwrap();
    assert!(log.starts_at() <= first_unstamped);
    assert_eq!(log.unstamped_count(), 25);
    let rest: Vec<RecordId> = records[15..].iter().map(|it| it.0).collect();
    runtime().block_on(log.stamp(stamp(&rest))).unwrap();
    assert_eq!(log.stamped_through(), log.last_id());
    check(&machine, &log, &records, sealed.last().unwrap().last);
}

#[test]
fn a_quiet_log_ends_its_segment_when_it_is_told() {
    let machine = SimFs::new();
    let (log, _) = MessageLog::open(small(LOG), machine.process()).unwrap();
    runtime().block_on(async {
        log.seal().await.unwrap();
        let first = Sample::new(1).commit(&log).await.unwrap().id();
        log.stamp(stamp(&[first])).await.unwrap();
        log.seal().await.unwrap();
        log.seal().await.unwrap();
        assert!(log.sealed_segments().is_empty(), "the last one");
        let second = Sample::new(2).commit(&log).await.unwrap().id();
        assert_eq!(log.sealed_segments().len(), 1);
        assert_eq!(log.retire(u64::MAX).unwrap().records, 1);
        assert_eq!(log.read(first).unwrap(), None);
        Sample::new(2).check(&log, second, true).unwrap();
        log.close().await;
    });
    let report = fsck(Path::new(LOG), machine.process().as_ref()).unwrap();
    assert!(report.is_clean() && report.notes.is_empty(), "{report}");
}

/// The process dies at each of its changes in turn, and the power goes or does not.
#[test]
fn a_removal_is_cut_off_anywhere() {
    let mut undone = 0;
    for seed in 0..2 {
        for steps in 0.. {
            let machine = SimFs::new();
            let (log, records) = filled(&machine, 0);
            let through = log.sealed_segments()[2];
            machine.die_after(steps);
            let told = log.retire(through.number).is_ok();
            let finished = !machine.is_dead();
            drop(log);
            if seed == 0 {
                machine.kill();
            } else {
                machine.power_cut(seed * 1000 + steps);
            }
            let (log, report) = MessageLog::open(small(LOG), machine.process()).unwrap();
            assert!(report.damage.is_empty(), "step {steps}: {report:?}");
            let removed = log.starts_at() > through.last;
            assert!(removed || !told, "step {steps}: told and undone");
            undone += i32::from(!removed);
            let last = if removed {
                through.last
            } else {
                RecordId::new(0)
            };
            check(&machine, &log, &records, last);
            runtime().block_on(log.close());
            if finished {
                break;
            }
        }
    }
    assert!(undone >= 6, "{undone}");
}

/// A drop in a later segment names the body file of a removed record; that number is nobody else's.
#[test]
fn numbers_of_removed_bodies_are_not_given_again() {
    let machine = SimFs::new();
    let (log, records) = filled(&machine, 0);
    runtime().block_on(async {
        for (id, _) in &records {
            log.drop_bodies(*id).await.unwrap();
        }
        log.retire(u64::MAX).unwrap();
        log.close().await;
    });
    let (log, _) = MessageLog::open(small(LOG), machine.process()).unwrap();
    let sample = Sample::with_bodies(77, &[2500]);
    let id = runtime().block_on(async {
        let id = sample.commit(&log).await.unwrap().id();
        log.close().await;
        id
    });
    let (log, report) = MessageLog::open(small(LOG), machine.process()).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    sample.check(&log, id, true).unwrap();
}

#[test]
fn segments_that_are_missing_at_the_front_are_damage_unless_they_were_removed() {
    let told = |change: &dyn Fn(&SimFs)| {
        let machine = SimFs::new();
        let (log, _) = filled(&machine, 0);
        let third = log.sealed_segments()[2].number;
        log.retire(third).unwrap();
        runtime().block_on(log.close());
        change(&machine);
        let fsck = fsck(Path::new(LOG), machine.process().as_ref()).unwrap();
        let (_, reader) = LogReader::open(Path::new(LOG), machine.process()).unwrap();
        let (log, opened) = MessageLog::open(small(LOG), machine.process()).unwrap();
        runtime().block_on(log.close());
        let has =
            |damage: &[jibek_msglog::Damage], what: &str| damage.iter().any(|it| it.what == what);
        move |what: &str| {
            let found = [&fsck.damage, &reader.damage, &opened.damage];
            let found = found.map(|it| has(it, what));
            assert!(
                found[0] == found[1] && found[1] == found[2],
                "{what}: {found:?}"
            );
            found[0]
        }
    };
    let missing = "a segment is missing";
    let torn = "where the log begins is not what was written";
    let remove = |machine: &SimFs, name: &str| {
        machine
            .process()
            .remove(&Path::new(LOG).join(name))
            .unwrap();
    };
    let intact = told(&|_| {});
    assert!(!intact(missing) && !intact(torn));
    assert!(told(&|it| remove(it, "0000000000000004.segment"))(missing));
    assert!(told(&|it| remove(it, "log.start"))(missing));
    assert!(told(&|it| it
        .damage(&Path::new(LOG).join("log.start"), 20)
        .unwrap())(torn));
    // All of it.
    let all = told(&|it| {
        for name in it.process().list(Path::new(LOG)).unwrap() {
            if name.ends_with(".segment") {
                remove(it, &name);
            }
        }
    });
    assert!(all(missing));
}
