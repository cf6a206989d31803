//! Commits at the same time, a full disk, a disk that fails.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use std::path::Path;

use bytes::Bytes;
use jibek_msglog::fs::{SimFs, SyncSite};
use jibek_msglog::{LogConfig, LogError, MessageLog, Query, RecordId, fsck};
use support::{Sample, small, stream_all};
use tokio::task::JoinHandle;

type Commit = JoinHandle<Result<RecordId, LogError>>;

fn start(log: &MessageLog, number: u64) -> Commit {
    let log = log.clone();
    tokio::spawn(async move { Sample::new(number).commit(&log).await.map(|it| it.id()) })
}

/// Waits until something is so.
async fn until(is: impl Fn() -> bool) {
    while !is() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn commits_that_wait_share_one_sync() {
    let machine = SimFs::new();
    let config = LogConfig {
        segment_bytes: 8 << 20,
        ..small("/log")
    };
    let (log, _) = MessageLog::open(config, machine.process()).unwrap();
    Sample::new(0).commit(&log).await.unwrap();
    let before = machine.syncs(SyncSite::Batch);

    machine.hold_syncs();
    let mut commits = vec![start(&log, 1)];
    until(|| machine.holds_sync()).await;
    commits.extend((2..1002).map(|number| start(&log, number)));
    until(|| log.stats().waiting == 1000).await;
    assert!(
        commits.iter().all(|it| !it.is_finished()),
        "nobody is told before the sync"
    );
    assert_eq!(
        log.find(&Query::message_id("message-1")).unwrap(),
        [],
        "nobody sees it before the sync"
    );
    machine.release_syncs();
    for commit in commits {
        commit.await.unwrap().unwrap();
    }
    // One for the first, and 512 at most with each other.
    assert_eq!(machine.syncs(SyncSite::Batch) - before, 3);
    assert_eq!(log.stats().batches, 4);
    assert_eq!(log.stats().commits, 1002);
    log.close().await;
}

#[tokio::test]
async fn a_full_disk_is_told_and_passes() {
    let machine = SimFs::new();
    let (log, _) = MessageLog::open(
        LogConfig {
            min_free_bytes: 1000,
            ..small("/log")
        },
        machine.process(),
    )
    .unwrap();
    let mut kept = Vec::new();
    machine.set_capacity(Some(40_000));
    let refused = loop {
        let number = u64::try_from(kept.len()).unwrap();
        match Sample::with_bodies(number, &[1500]).commit(&log).await {
            Ok(committed) => kept.push(committed.id()),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, LogError::Full { .. }), "{refused:?}");
    assert!(kept.len() > 5, "{kept:?}");
    assert!(matches!(log.writable().await, Err(LogError::Full { .. })));
    let mut draft = log.begin();
    let large = draft.append_body(1, Bytes::from(vec![7; 3 << 20])).await;
    draft.finish_body(1, [0; 64]).unwrap();
    let large = match large {
        Ok(()) => draft
            .commit(Sample::new(1).head(), Sample::new(1).parts())
            .await
            .map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(large, Err(LogError::Full { .. })), "{large:?}");
    assert_eq!(
        machine.process().list(Path::new("/log/bodies")).unwrap(),
        [""; 0]
    );

    machine.set_capacity(None);
    log.writable().await.unwrap();
    let committed = Sample::with_bodies(500, &[9000])
        .commit(&log)
        .await
        .unwrap();
    assert_eq!(stream_all(committed.body(1).unwrap()).await.len(), 9000);
    for (number, id) in kept.iter().enumerate() {
        Sample::with_bodies(u64::try_from(number).unwrap(), &[1500])
            .check(&log, *id, true)
            .unwrap();
    }
    log.close().await;
    let report = fsck(Path::new("/log"), machine.process().as_ref()).unwrap();
    assert!(
        report.is_clean() && report.records == u64::try_from(kept.len()).unwrap() + 1,
        "{report}"
    );
}

#[tokio::test]
async fn a_log_opens_on_a_full_disk() {
    let machine = SimFs::new();
    let (log, _) = MessageLog::open(small("/log"), machine.process()).unwrap();
    let id = Sample::new(1).commit(&log).await.unwrap().id();
    log.close().await;
    machine.set_capacity(Some(10));
    let (log, _) = MessageLog::open(small("/log"), machine.process()).unwrap();
    Sample::new(1).check(&log, id, true).unwrap();
    assert!(matches!(
        Sample::new(2).commit(&log).await,
        Err(LogError::Full { .. })
    ));
    machine.set_capacity(None);
    Sample::new(3).commit(&log).await.unwrap();
    log.close().await;
}

#[tokio::test]
async fn a_failed_sync_refuses_its_batch_and_no_other() {
    let machine = SimFs::new();
    let (log, _) = MessageLog::open(small("/log"), machine.process()).unwrap();
    let first = Sample::with_bodies(1, &[5000])
        .commit(&log)
        .await
        .unwrap()
        .id();
    machine.fail_next(SyncSite::Batch);
    let failed = Sample::with_bodies(2, &[5000]).commit(&log).await;
    assert!(
        matches!(
            failed,
            Err(LogError::Io {
                operation: "sync",
                ..
            })
        ),
        "{failed:?}"
    );
    assert_eq!(log.find(&Query::message_id("message-2")).unwrap(), []);
    log.writable().await.unwrap();
    let third = Sample::with_bodies(3, &[5000])
        .commit(&log)
        .await
        .unwrap()
        .id();
    assert!(third > first);
    machine.power_cut(1);

    let (log, report) = MessageLog::open(small("/log"), machine.process()).unwrap();
    assert_eq!((report.records, report.damage.len()), (2, 0));
    Sample::with_bodies(1, &[5000])
        .check(&log, first, true)
        .unwrap();
    Sample::with_bodies(3, &[5000])
        .check(&log, third, true)
        .unwrap();
    log.close().await;
}

#[tokio::test]
async fn a_commit_larger_than_a_segment_has_one_to_itself() {
    let machine = SimFs::new();
    let (log, _) = MessageLog::open(small("/log"), machine.process()).unwrap();
    let mut ids = Vec::new();
    for number in 0..6 {
        let mut parts = Sample::new(number).parts();
        parts.message = Bytes::from(support::body(number, 30_000));
        ids.push(
            log.begin()
                .commit(Sample::new(number).head(), parts)
                .await
                .unwrap()
                .id(),
        );
    }
    log.close().await;
    let (log, report) = MessageLog::open(small("/log"), machine.process()).unwrap();
    assert_eq!((report.records, report.segments), (6, 6));
    for (number, id) in (0..).zip(&ids) {
        assert_eq!(
            log.read(*id).unwrap().unwrap().parts.message,
            support::body(number, 30_000)
        );
    }
    log.close().await;
}
