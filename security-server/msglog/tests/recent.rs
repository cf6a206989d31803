//! The requests that a server recorded lately, by which it recognises those that come again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use bytes::Bytes;
use jibek_msglog::fs::OsFs;
use jibek_msglog::{Direction, LogConfig, MessageLog, RecordHead, Side};
use support::{Sample, small};
use tokio::task::JoinSet;

const HOUR_MS: i64 = 3_600_000;

/// Writes one message of an exchange; the client follows from `number`.
async fn write(log: MessageLog, number: u64, way: (Side, Direction), id: String, time_ms: i64) {
    let sample = Sample::with_bodies(number, &[10]);
    let head = RecordHead {
        time_ms,
        side: way.0,
        direction: way.1,
        request_id: id,
        ..sample.head()
    };
    let mut draft = log.begin();
    draft
        .append_body(1, Bytes::from(sample.body(0)))
        .await
        .unwrap();
    draft.finish_body(1, sample.digest(0)).unwrap();
    draft.commit(head, sample.parts()).await.unwrap();
}

fn found(log: &MessageLog, limit: usize) -> Vec<String> {
    let marks = log.recent_requests(HOUR_MS, limit).unwrap();
    marks.into_iter().map(|mark| mark.request_id).collect()
}

#[tokio::test]
async fn only_requests_of_the_providers_side_are_found_and_the_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = MessageLog::open(small(dir.path()), OsFs::shared()).unwrap();
    let asked = (Side::Provider, Direction::Request);
    for number in 1..=40 {
        let way = match number % 4 {
            0 => (Side::Consumer, Direction::Request),
            1 => (Side::Provider, Direction::Response),
            _ => asked,
        };
        write(log.clone(), number, way, format!("id-{number}"), 1000).await;
    }
    let wanted: Vec<_> = (1..=40)
        .rev()
        .filter(|number| number % 4 > 1)
        .map(|number| format!("id-{number}"))
        .collect();
    assert_eq!(found(&log, 1000), wanted);
    assert_eq!(found(&log, 7), wanted[..7]);
    let marks = log.recent_requests(HOUR_MS, 1).unwrap();
    let newest = Sample::with_bodies(39, &[10]);
    assert_eq!(marks[0].client, newest.head().client);
    assert_eq!(marks[0].message_sha512, newest.parts().message_sha512);
    assert_eq!(marks[0].body_sha512, [newest.digest(0)]);
    log.close().await;
    drop(log);
    let (log, _) = MessageLog::open(small(dir.path()), OsFs::shared()).unwrap();
    assert_eq!(found(&log, 1000), wanted, "after a restart");
    log.close().await;
}

#[tokio::test]
async fn an_old_request_counts_if_its_answer_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        segment_bytes: 128 << 10,
        ..small(dir.path())
    };
    let (log, _) = MessageLog::open(config, OsFs::shared()).unwrap();
    let (asked, answered) = (
        (Side::Provider, Direction::Request),
        (Side::Provider, Direction::Response),
    );
    for (number, id) in [(1, "slow"), (2, "forgotten")] {
        write(log.clone(), number, asked, id.to_owned(), 0).await;
    }
    // Enough of both times for segments of their own.
    for (time_ms, count) in [(0, 1000), (10 * HOUR_MS, 6000)] {
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let id = format!("{time_ms}-{number}");
            tasks.spawn(write(log.clone(), number, asked, id, time_ms));
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    }
    write(log.clone(), 1, answered, "slow".to_owned(), 10 * HOUR_MS).await;
    assert!(log.stats().segments > 3, "{:?}", log.stats());
    let found = found(&log, 100_000);
    assert!(found.contains(&"slow".to_owned()));
    assert!(!found.contains(&"forgotten".to_owned()));
    assert!(found.len() >= 6001);
    log.close().await;
}
