//! What is not to be kept of bodies is delivered and then gone, whatever happens; what memory has no room for goes
//! through files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use std::path::Path;

use bytes::Bytes;
use jibek_msglog::fs::OsFs;
use jibek_msglog::{Draft, Keep, LogConfig, LogReader, MessageLog, fsck};
use support::{Sample, body, read_all, small, stream_all};

/// Longer than what goes into a segment.
const LARGE: usize = 700_000;
const SMALL: usize = 900;

fn open(dir: &Path) -> MessageLog {
    MessageLog::open(small(dir), OsFs::shared()).unwrap().0
}

/// Files of bodies there are now.
fn files(dir: &Path) -> usize {
    OsFs::shared().list(&dir.join("bodies")).unwrap().len()
}

/// Whether a run of a body's bytes stands anywhere in the log's directory.
fn leaves_bytes(dir: &Path, bytes: &[u8]) -> bool {
    let needle = &bytes[100..164];
    let found = |path: &Path| {
        let content = std::fs::read(path).unwrap();
        content.windows(needle.len()).any(|it| it == needle)
    };
    let names = |dir: &Path| OsFs::shared().list(dir).unwrap();
    let bodies = dir.join("bodies");
    let in_log = names(dir)
        .iter()
        .map(|name| dir.join(name))
        .any(|path| path.is_file() && found(&path));
    in_log || names(&bodies).iter().any(|name| found(&bodies.join(name)))
}

async fn pour(draft: &mut Draft, bytes: &[u8]) {
    for chunk in bytes.chunks(10_007) {
        draft
            .append_body(1, Bytes::from(chunk.to_vec()))
            .await
            .unwrap();
    }
    draft.finish_body(1, [7; 64]).unwrap();
}

#[tokio::test]
async fn what_is_not_kept_is_delivered_and_then_gone() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for (number, length) in [(0, SMALL), (1, LARGE)] {
        let sample = Sample {
            keep: Keep::Digest,
            ..Sample::with_bodies(number, &[length])
        };
        let committed = sample.commit(&log).await.unwrap();
        let id = committed.id();
        assert_eq!(files(dir.path()), usize::from(length == LARGE));
        let source = committed.body(1).unwrap();
        drop(committed);
        // To be read as long as somebody holds it, and more than once.
        assert_eq!(source.len(), u64::try_from(length).unwrap());
        assert_eq!(read_all(source.clone()).unwrap(), sample.body(0));
        let mut stream = source.clone().into_stream();
        drop(source);
        assert_eq!(stream_all_of(&mut stream).await, sample.body(0));
        assert_eq!(files(dir.path()), usize::from(length == LARGE));
        drop(stream);
        assert_eq!(files(dir.path()), 0, "{length}");
        assert!(!leaves_bytes(dir.path(), &sample.body(0)), "{length}");
        sample.check(&log, id, true).unwrap();
        assert!(log.body(id, 1).unwrap().is_none());
        let (reader, report) = LogReader::open(dir.path(), OsFs::shared()).unwrap();
        assert!(report.damage.is_empty() && reader.body(id, 1).unwrap().is_none());
        assert!(reader.read(id).unwrap().unwrap().bodies[0].digest_only);
    }
    log.close().await;
    let report = fsck(dir.path(), OsFs::shared().as_ref()).unwrap();
    assert!(report.is_clean() && report.notes.is_empty(), "{report}");
}

async fn stream_all_of(stream: &mut jibek_msglog::BodyStream) -> Vec<u8> {
    use futures_util::StreamExt as _;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    bytes
}

#[tokio::test]
async fn a_log_that_ended_in_the_middle_of_a_delivery_forgets_the_body() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample {
        keep: Keep::Digest,
        ..Sample::with_bodies(3, &[LARGE])
    };
    let (log, committed) = {
        let log = open(dir.path());
        let committed = sample.commit(&log).await.unwrap();
        (log, committed)
    };
    log.close().await;
    assert_eq!(files(dir.path()), 1, "under way");
    // As a new process would find it: nothing of the old one runs any more.
    let (again, report) = MessageLog::open(small(dir.path()), OsFs::shared()).unwrap();
    assert_eq!((report.orphan_bodies, report.records), (1, 1));
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(files(dir.path()), 0);
    sample.check(&again, committed.id(), true).unwrap();
    again.close().await;
}

#[tokio::test]
async fn a_length_decides_when_it_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let most = 300_000;
    for (number, length, stays) in [
        (0, 200_000, true),
        (1, 300_000, true),
        (2, 300_001, false),
        (3, 1000, true),
    ] {
        let sample = Sample {
            keep: Keep::UpTo(most),
            ..Sample::with_bodies(number, &[length])
        };
        let committed = sample.commit(&log).await.unwrap();
        assert_eq!(
            stream_all(committed.body(1).unwrap()).await,
            sample.body(0),
            "{length} bytes are delivered"
        );
        let id = committed.id();
        drop(committed);
        sample.check(&log, id, true).unwrap();
        assert_eq!(log.body(id, 1).unwrap().is_some(), stays, "{length}");
    }
    assert_eq!(files(dir.path()), 2);
    log.close().await;
}

#[tokio::test]
async fn what_was_relayed_and_is_not_kept_is_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let bytes = body(5, LARGE);
    for keep in [Keep::Digest, Keep::UpTo(500_000)] {
        let sample = Sample::new(5);
        let mut draft = log.begin().keeping(keep).relayed();
        pour(&mut draft, &bytes).await;
        assert_eq!(files(dir.path()), 0, "{keep}");
        let committed = draft.commit(sample.head(), sample.parts()).await.unwrap();
        assert!(committed.body(1).is_none());
        let info = log.read(committed.id()).unwrap().unwrap().bodies.remove(0);
        assert!(info.digest_only && !info.kept);
        assert_eq!((info.len, info.sha512), (700_000, [7; 64]));
        assert!(!leaves_bytes(dir.path(), &bytes), "{keep}");
    }
    // A small one can be sent again while it is held.
    let sample = Sample::new(6);
    let mut draft = log.begin().keeping(Keep::Digest).relayed();
    pour(&mut draft, &bytes[..SMALL]).await;
    let committed = draft.commit(sample.head(), sample.parts()).await.unwrap();
    assert_eq!(
        read_all(committed.body(1).unwrap()).unwrap(),
        bytes[..SMALL]
    );
    assert!(!leaves_bytes(dir.path(), &bytes));
    log.close().await;
}

#[tokio::test]
async fn where_memory_is_short_bodies_go_through_files_and_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        memory_bytes: 10_000,
        inline_body_bytes: 9000,
        ..small(dir.path())
    };
    let (log, _) = MessageLog::open(config, OsFs::shared()).unwrap();
    let mut held = Vec::new();
    for number in 0..8 {
        let sample = Sample::with_bodies(number, &[4000]);
        let committed = sample.commit(&log).await.unwrap();
        assert!(log.stats().memory_bytes <= 10_000);
        held.push((sample, committed));
    }
    assert_eq!(files(dir.path()), 6, "two fitted");
    for (sample, committed) in &held {
        assert_eq!(stream_all(committed.body(1).unwrap()).await, sample.body(0));
        sample.check(&log, committed.id(), true).unwrap();
    }
    drop(held);
    assert_eq!(log.stats().memory_bytes, 0);
    // A large one with hardly any memory at all.
    let sample = Sample::with_bodies(20, &[LARGE]);
    let committed = sample.commit(&log).await.unwrap();
    assert_eq!(stream_all(committed.body(1).unwrap()).await, sample.body(0));
    assert_eq!(log.stats().memory_bytes, 0);
    log.close().await;
}
