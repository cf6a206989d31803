//! A log in use: many writers and readers with the checker beside them, and a process that is killed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use jibek_msglog::fs::OsFs;
use jibek_msglog::{LogConfig, MessageLog, Query, RecordId, StampBatch, StampChains, fsck};
use support::{Sample, small};

const WRITERS: u64 = 8;
const EACH: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_readers_stamps_and_the_checker_go_together() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        chores_thread: true,
        queue: 4,
        segment_bytes: 64 << 10,
        ..small(dir.path())
    };
    let (log, _) = MessageLog::open(config.clone(), OsFs::shared()).unwrap();
    let done = Arc::new(AtomicBool::new(false));

    let checker = std::thread::spawn({
        let (done, dir) = (Arc::clone(&done), dir.path().to_path_buf());
        move || {
            let mut times = 0;
            while !done.load(Ordering::Relaxed) {
                let report = fsck(&dir, OsFs::shared().as_ref()).unwrap();
                assert!(report.is_clean(), "beside its writers: {report}");
                times += 1;
            }
            times
        }
    });
    let stamper = tokio::spawn({
        let (done, log) = (Arc::clone(&done), log.clone());
        async move {
            loop {
                let last = done.load(Ordering::Relaxed);
                let chains: StampChains = log
                    .unstamped(50)
                    .unwrap()
                    .into_iter()
                    .map(|it| (it.id, Bytes::from_static(b"chain")))
                    .collect();
                if !chains.ids().is_empty() {
                    let (token, hash_chain_result) =
                        (Bytes::from_static(b"token"), Bytes::from_static(b"result"));
                    log.stamp(StampBatch {
                        token,
                        hash_chain_result,
                        chains,
                    })
                    .await
                    .unwrap();
                } else if last {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let log = log.clone();
            tokio::spawn(async move {
                let mut written = Vec::new();
                for number in writer * 1000..writer * 1000 + EACH {
                    let bodies: &[usize] = if number.is_multiple_of(8) {
                        &[400, 40_000]
                    } else {
                        &[400]
                    };
                    let sample = Sample::with_bodies(number, bodies);
                    let id = sample.commit(&log).await.unwrap().id();
                    assert_eq!(
                        log.find(&Query::message_id(&sample.message_id())).unwrap(),
                        [id]
                    );
                    let kept = !number.is_multiple_of(10);
                    if !kept {
                        log.drop_bodies(id).await.unwrap();
                    }
                    sample.check(&log, id, kept).unwrap();
                    written.push((id, sample, kept));
                }
                written
            })
        })
        .collect();
    let mut written = Vec::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    done.store(true, Ordering::Relaxed);
    stamper.await.unwrap();
    assert!(checker.join().unwrap() > 0);
    log.close().await;

    let (log, report) = MessageLog::open(config, OsFs::shared()).unwrap();
    assert_eq!(
        (report.records, report.damage.len(), report.indexes_rebuilt),
        (WRITERS * EACH, 0, 0)
    );
    assert_eq!(log.unstamped_count(), 0);
    for (id, sample, kept) in &written {
        sample.check(&log, *id, *kept).unwrap();
        assert_eq!(
            log.read(*id).unwrap().unwrap().stamp.unwrap().hash_chain,
            "chain"
        );
    }
    log.close().await;
    let report = fsck(dir.path(), OsFs::shared().as_ref()).unwrap();
    assert!(report.is_clean() && report.notes.is_empty(), "{report}");
}

#[test]
fn a_killed_process_loses_nothing_it_told_of() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_until_it_is_killed", "--nocapture"])
            .env(CHILD, dir.path())
            .env("FIRST", (round * 100_000).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = Vec::new();
        while told.len() < 30 {
            told.extend(acknowledged(&lines.next().unwrap().unwrap()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had told before it died and nobody had read yet counts too.
        told.extend(
            lines
                .map_while(Result::ok)
                .filter_map(|line| acknowledged(&line)),
        );

        let report = fsck(dir.path(), OsFs::shared().as_ref()).unwrap();
        assert!(report.is_clean(), "before recovery: {report}");
        let (log, report) = MessageLog::open(small(dir.path()), OsFs::shared()).unwrap();
        assert_eq!(report.damage, []);
        for (id, number) in told {
            sample(number).check(&log, RecordId::new(id), true).unwrap();
        }
        support::runtime().block_on(log.close());
        let report = fsck(dir.path(), OsFs::shared().as_ref()).unwrap();
        assert!(
            report.is_clean() && report.notes.is_empty(),
            "after recovery: {report}"
        );
    }
}

/// The other process of the test above; by itself it does nothing.
#[test]
fn writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let first: u64 = std::env::var_os("FIRST")
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let (log, _) = MessageLog::open(small(Path::new(&dir)), OsFs::shared()).unwrap();
    support::runtime().block_on(async {
        for number in first.. {
            let id = sample(number).commit(&log).await.unwrap().id();
            writeln!(std::io::stdout(), "acknowledged {id} {number}").unwrap();
        }
    });
}

fn sample(number: u64) -> Sample {
    let bodies: &[usize] = if number.is_multiple_of(3) {
        &[200, 7000]
    } else {
        &[]
    };
    Sample::with_bodies(number, bodies)
}

fn acknowledged(line: &str) -> Option<(u64, u64)> {
    let (id, number) = line.split_once("acknowledged ")?.1.split_once(' ')?;
    Some((id.parse().ok()?, number.parse().ok()?))
}

const CHILD: &str = "JIBEK_MSGLOG_KILLED";
