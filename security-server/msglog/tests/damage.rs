//! Bytes that change under the log: torn ends go, damage is told and costs no more than what it hit.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use std::io::IoSlice;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use futures_util::StreamExt;
use jibek_msglog::fs::{Access, OsFs, SimFs};
use jibek_msglog::{LogError, MessageLog, RecordId, StampBatch, fsck};
use support::{Sample, read_all, runtime, small};

const SEGMENT: &str = "/log/0000000000000001.segment";

/// A log of one unsealed segment, with what is in it.
fn written() -> (SimFs, Vec<(RecordId, Sample)>) {
    let machine = SimFs::new();
    let (log, _) = MessageLog::open(small("/log"), machine.process()).unwrap();
    let samples: Vec<Sample> = (0..6)
        .map(|it| Sample::with_bodies(it, &[300, 2500][..if it % 2 == 1 { 2 } else { 0 }]))
        .collect();
    let ids: Vec<RecordId> = runtime().block_on(async {
        let mut ids = Vec::new();
        for sample in &samples {
            ids.push(sample.commit(&log).await.unwrap().id());
        }
        let chains = ids
            .iter()
            .take(2)
            .map(|id| (*id, Bytes::from_static(b"chain")))
            .collect();
        let batch = StampBatch {
            token: Bytes::from_static(b"t"),
            hash_chain_result: Bytes::from_static(b"r"),
            chains,
        };
        log.stamp(batch).await.unwrap();
        log.close().await;
        ids
    });
    (machine, ids.into_iter().zip(samples).collect())
}

/// Another machine with the same files.
fn copy(machine: &SimFs) -> SimFs {
    let other = SimFs::new();
    let (from, to) = (machine.process(), other.process());
    to.create_dir(Path::new("/log")).unwrap();
    to.create_dir(Path::new("/log/bodies")).unwrap();
    for dir in ["/log", "/log/bodies"] {
        for name in from.list(Path::new(dir)).unwrap() {
            let path = Path::new(dir).join(name);
            if let Ok(bytes) = machine.contents(&path) {
                to.create(&path)
                    .unwrap()
                    .write_at(0, &mut [IoSlice::new(&bytes)])
                    .unwrap();
            }
        }
    }
    other
}

fn close(log: &MessageLog) {
    runtime().block_on(log.close());
}

#[test]
fn damage_anywhere_is_told_and_costs_at_most_what_it_hit() {
    let (machine, samples) = written();
    let bytes = machine.contents(Path::new(SEGMENT)).unwrap();
    let used = bytes.iter().rposition(|it| *it != 0).unwrap() + 1;
    let last_batch = last_batch(&bytes[..used]);
    for offset in (0..used).step_by(5) {
        let machine = copy(&machine);
        machine
            .damage(Path::new(SEGMENT), u64::try_from(offset).unwrap())
            .unwrap();
        let report = fsck(Path::new("/log"), machine.process().as_ref());
        match report {
            Ok(report) if offset < last_batch => {
                assert!(!report.is_clean(), "byte {offset}: {report}")
            }
            // Nothing tells the last batch from one that nobody was told of.
            Ok(report) => assert!(
                !report.is_clean() || !report.notes.is_empty(),
                "byte {offset}: {report}"
            ),
            Err(error) => assert!(
                matches!(error, LogError::UnknownVersion { .. }),
                "byte {offset}: {error:?}"
            ),
        }
        let Ok((log, report)) = MessageLog::open(small("/log"), machine.process()) else {
            continue;
        };
        assert!(
            offset >= last_batch || !report.damage.is_empty(),
            "byte {offset}: {report:?}"
        );
        if (64..last_batch).contains(&offset) {
            // A record is gone if it was hit itself; a run that records share takes those parts from all of them.
            let gone = samples
                .iter()
                .filter(|(id, _)| matches!(log.read(*id), Ok(None)))
                .count();
            assert!(gone <= 1, "byte {offset}: {gone} records gone");
        }
        let bodies = machine.process().list(Path::new("/log/bodies")).unwrap();
        assert_eq!(
            bodies.len(),
            3,
            "byte {offset}: no body goes because its record does not read"
        );
        let next = runtime()
            .block_on(Sample::new(77).commit(&log))
            .unwrap()
            .id();
        assert!(
            offset >= last_batch || samples.iter().all(|(id, _)| *id < next),
            "byte {offset}: {next}"
        );
        close(&log);
    }
}

/// Where the last batch begins: the frame of kind 1 with eight bytes of payload that stands last.
fn last_batch(bytes: &[u8]) -> usize {
    bytes
        .windows(8)
        .rposition(|it| it == [8, 0, 0, 0, 1, 0, 0, 0])
        .unwrap()
}

#[test]
fn a_body_with_other_bytes_is_not_served_to_its_end() {
    let (machine, samples) = written();
    machine
        .damage(Path::new("/log/bodies/0000000000000001.body"), 1700)
        .unwrap();
    let (log, _) = MessageLog::open(small("/log"), machine.process()).unwrap();
    let mut refused = 0;
    for (id, sample) in &samples {
        for index in 0..sample.bodies.len() {
            let number = u32::try_from(index + 1).unwrap();
            let source = log.body(*id, number).unwrap().unwrap();
            let streamed: Vec<_> = runtime().block_on(source.clone().into_stream().collect());
            let streamed: std::io::Result<Vec<Bytes>> = streamed.into_iter().collect();
            match read_all(source) {
                Ok(bytes) => {
                    assert_eq!(bytes, sample.body(index));
                    assert_eq!(streamed.unwrap().concat(), bytes);
                }
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
                    let error = streamed.unwrap_err();
                    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
                    refused += 1;
                }
            }
        }
    }
    assert_eq!(refused, 1);
    close(&log);
}

#[test]
fn a_segment_cut_anywhere_keeps_what_stands_before() {
    let (machine, samples) = written();
    let bytes = machine.contents(Path::new(SEGMENT)).unwrap();
    let used = bytes.iter().rposition(|it| *it != 0).unwrap() + 1;
    let mut counts = Vec::new();
    for length in (64..used).step_by(31) {
        let machine = copy(&machine);
        let file = machine
            .process()
            .open(Path::new(SEGMENT), Access::ReadWrite)
            .unwrap();
        file.set_len(u64::try_from(length).unwrap()).unwrap();
        let (log, report) = MessageLog::open(small("/log"), machine.process()).unwrap();
        assert_eq!(report.damage, [], "cut at {length}");
        assert!(report.orphan_bodies <= 3);
        let there = usize::try_from(report.records).unwrap();
        for (id, sample) in &samples[..there] {
            sample.check(&log, *id, true).unwrap();
        }
        counts.push(there);
        let id = runtime()
            .block_on(Sample::new(99).commit(&log))
            .unwrap()
            .id();
        Sample::new(99).check(&log, id, true).unwrap();
        close(&log);
        let report = fsck(Path::new("/log"), machine.process().as_ref()).unwrap();
        assert!(
            report.is_clean() && report.notes.is_empty(),
            "cut at {length}: {report}"
        );
    }
    assert!(
        counts.is_sorted() && counts.first() == Some(&0) && counts.last() == Some(&6),
        "{counts:?}"
    );
}

#[test]
fn a_body_cannot_imitate_frames() {
    // The attacker sends what stands in the log, batches and commits included, and the power fails in the middle.
    let (machine, _) = written();
    let frames = machine.contents(Path::new(SEGMENT)).unwrap();
    let target = SimFs::new();
    let (log, _) = MessageLog::open(small("/log"), target.process()).unwrap();
    let id = runtime().block_on(async {
        let mut draft = log.begin();
        draft
            .append_body(1, Bytes::from(frames[64..1900].to_vec()))
            .await
            .unwrap();
        draft.finish_body(1, [0; 64]).unwrap();
        draft
            .commit(Sample::new(1).head(), Sample::new(1).parts())
            .await
            .unwrap()
            .id()
    });
    close(&log);
    let body = 64 + 16 + 8 + 16;
    target.damage(Path::new(SEGMENT), body + 1000).unwrap();
    let (log, report) = MessageLog::open(small("/log"), target.process()).unwrap();
    assert_eq!(
        (report.records, report.torn, report.damage.len()),
        (0, true, 0)
    );
    assert_eq!(log.read(id).unwrap(), None);
    close(&log);
}

#[test]
fn a_missing_or_torn_index_is_made_again() {
    let machine = SimFs::new();
    let (log, _) = MessageLog::open(small("/log"), machine.process()).unwrap();
    let mut ids = Vec::new();
    runtime().block_on(async {
        for number in 0..40 {
            ids.push(
                Sample::with_bodies(number, &[1000])
                    .commit(&log)
                    .await
                    .unwrap()
                    .id(),
            );
        }
        log.close().await;
    });
    let fs = machine.process();
    let names = fs.list(Path::new("/log")).unwrap();
    let indexes: Vec<&String> = names.iter().filter(|it| it.ends_with(".index")).collect();
    assert!(indexes.len() >= 3, "{names:?}");
    fs.remove(&Path::new("/log").join(indexes[0])).unwrap();
    machine
        .damage(&Path::new("/log").join(indexes[1]), 40)
        .unwrap();
    let report = fsck(Path::new("/log"), fs.as_ref()).unwrap();
    assert_eq!(
        (report.is_clean(), report.notes.len()),
        (true, 2),
        "{report}"
    );
    let (log, report) = MessageLog::open(small("/log"), machine.process()).unwrap();
    assert_eq!(
        (report.records, report.indexes_rebuilt, report.damage.len()),
        (40, 2, 0)
    );
    for (number, id) in (0..).zip(&ids) {
        Sample::with_bodies(number, &[1000])
            .check(&log, *id, true)
            .unwrap();
    }
    close(&log);
    let report = fsck(Path::new("/log"), machine.process().as_ref()).unwrap();
    assert!(report.is_clean() && report.notes.is_empty(), "{report}");
    let path = Path::new("/log").join(indexes[2]);
    let length = u64::try_from(machine.contents(&path).unwrap().len()).unwrap();
    machine.damage(&path, length - 100).unwrap();
    let report = fsck(Path::new("/log"), machine.process().as_ref()).unwrap();
    assert_eq!(report.damage.len(), 1, "{report}");

    fs.remove(Path::new("/log/0000000000000002.segment"))
        .unwrap();
    let report = fsck(Path::new("/log"), fs.as_ref()).unwrap();
    assert!(
        report
            .damage
            .iter()
            .any(|it| it.what == "a segment is missing"),
        "{report}"
    );
    let (log, report) = MessageLog::open(small("/log"), machine.process()).unwrap();
    assert!(
        report
            .damage
            .iter()
            .any(|it| it.what == "a segment is missing"),
        "{report:?}"
    );
    close(&log);
}

#[test]
fn the_program_tells_clean_from_damaged_from_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let run = |dir: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_msglog-fsck"))
            .arg(dir)
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (log, _) = MessageLog::open(small(dir.path()), OsFs::shared()).unwrap();
    let runtime = runtime();
    for number in 0..20 {
        runtime
            .block_on(Sample::with_bodies(number, &[100, 5000]).commit(&log))
            .unwrap();
        let (code, text) = run(dir.path());
        assert_eq!(code, 0, "beside a log in use: {text}");
    }
    runtime.block_on(log.close());
    let (code, text) = run(dir.path());
    assert_eq!(code, 0);
    assert!(
        text.contains("20 records (20 unstamped), 40 bodies, 0 stamps: clean"),
        "{text}"
    );

    let body = dir.path().join("bodies/0000000000000007.body");
    let mut bytes = std::fs::read(&body).unwrap();
    bytes[4000] ^= 1;
    #[expect(clippy::disallowed_methods, reason = "this is the damage")]
    std::fs::write(&body, bytes).unwrap();
    let (code, text) = run(dir.path());
    assert_eq!(code, 1);
    assert!(
        text.contains("0000000000000007.body: byte 0: a body is missing or not what was written"),
        "{text}"
    );
    assert_eq!(run(&dir.path().join("nothing")).0, 2);
}
