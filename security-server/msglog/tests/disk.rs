//! The log on the machine's own file system.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use bytes::Bytes;
use jibek_msglog::fs::OsFs;
use jibek_msglog::{Direction, LogConfig, LogError, MessageLog, Query, RecordId, StampBatch};
use jibek_protocol::id::ClientId;
use support::{Sample, small, stream_all};

#[tokio::test]
async fn what_was_committed_reads_back_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        chores_thread: true,
        ..small(dir.path().join("log"))
    };
    let (log, report) = MessageLog::open(config.clone(), OsFs::shared()).unwrap();
    assert_eq!((report.records, report.damage.len()), (0, 0));
    let mut samples = Vec::new();
    for number in 0..60 {
        let bodies: &[usize] = match number % 4 {
            0 => &[],
            1 => &[1500],
            2 => &[0, 5000],
            _ => &[3 << 20],
        };
        let mut sample = Sample::with_bodies(number, bodies);
        sample.batch = (u64::is_multiple_of(number, 5)).then_some(number / 10);
        let committed = sample.commit(&log).await.unwrap();
        for (index, length) in bodies.iter().enumerate() {
            let source = committed.body(u32::try_from(index + 1).unwrap()).unwrap();
            assert_eq!(source.len(), u64::try_from(*length).unwrap());
            assert_eq!(stream_all(source).await, sample.body(index));
        }
        assert!(committed.body(9).is_none());
        samples.push((committed.id(), sample));
    }
    let stamped: Vec<RecordId> = samples.iter().take(20).map(|(id, _)| *id).collect();
    let chains = stamped
        .iter()
        .map(|id| (*id, Bytes::from(format!("chain {id}"))))
        .collect();
    let batch = StampBatch {
        token: Bytes::from("token"),
        hash_chain_result: Bytes::from("result"),
        chains,
    };
    let stamp = log.stamp(batch.clone()).await.unwrap();
    assert!(matches!(
        log.stamp(batch).await,
        Err(LogError::AlreadyStamped { .. })
    ));
    log.drop_bodies(samples[1].0).await.unwrap();
    log.drop_bodies(samples[3].0).await.unwrap();
    log.drop_bodies(samples[3].0).await.unwrap();
    assert!(matches!(
        MessageLog::open(config.clone(), OsFs::shared()),
        Err(LogError::Locked { .. })
    ));
    assert!(log.stats().segments > 3, "{:?}", log.stats());

    let check = |log: &MessageLog| {
        for (number, (id, sample)) in samples.iter().enumerate() {
            sample.check(log, *id, number != 1 && number != 3).unwrap();
            assert_eq!(
                log.find(&Query::message_id(&sample.message_id())).unwrap(),
                [*id]
            );
        }
        assert_eq!(log.unstamped_count(), 40);
        let unstamped = log.unstamped(15).unwrap();
        assert_eq!(unstamped.len(), 15);
        assert_eq!(unstamped[0].id, samples[20].0);
        assert_eq!(unstamped[0].signature, samples[20].1.parts().signature);
        assert_eq!(
            log.oldest_unstamped_ms().unwrap(),
            Some(samples[20].1.head().time_ms)
        );
        let record = log.read(samples[7].0).unwrap().unwrap();
        let found = record.stamp.unwrap();
        assert_eq!(
            (found.id, &found.token[..], &found.hash_chain_result[..]),
            (stamp, &b"token"[..], &b"result"[..])
        );
        assert_eq!(found.hash_chain, format!("chain {}", samples[7].0));
        assert_eq!(log.read(samples[30].0).unwrap().unwrap().stamp, None);
        assert_eq!(log.read(RecordId::new(100_000)).unwrap(), None);
    };
    check(&log);
    log.close().await;
    assert!(matches!(
        Sample::new(1).commit(&log).await,
        Err(LogError::Closed)
    ));
    check(&log);

    let (log, report) = MessageLog::open(config, OsFs::shared()).unwrap();
    assert_eq!(
        (report.records, report.orphan_bodies, report.torn),
        (60, 0, false)
    );
    assert_eq!(report.damage, []);
    check(&log);
    let next = Sample::new(1000).commit(&log).await.unwrap();
    assert!(next.id() > samples.last().unwrap().0);
    log.close().await;
}

#[tokio::test]
async fn records_are_found_by_each_of_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = MessageLog::open(small(dir.path()), OsFs::shared()).unwrap();
    let mut samples = Vec::new();
    for number in 0..80 {
        let sample = Sample::new(number);
        samples.push((sample.commit(&log).await.unwrap().id(), sample.head()));
    }
    assert!(log.stats().segments > 2);
    let expect = |query: Query, fits: &dyn Fn(&jibek_msglog::RecordHead) -> bool| {
        let expected: Vec<RecordId> = samples
            .iter()
            .filter(|(_, head)| fits(head))
            .map(|(id, _)| *id)
            .collect();
        assert_eq!(log.find(&query).unwrap(), expected, "{query:?}");
        assert!(!expected.is_empty(), "{query:?} finds something");
    };
    let head = &samples[41].1;
    expect(Query::message_id(&head.message_id), &|it| {
        it.message_id == head.message_id
    });
    expect(Query::request_id(&head.request_id), &|it| {
        it.request_id == head.request_id
    });
    expect(
        Query {
            client: Some(head.client.clone()),
            ..Query::default()
        },
        &|it| it.client == head.client,
    );
    expect(
        Query {
            service: Some(head.service.clone()),
            ..Query::default()
        },
        &|it| it.service == head.service,
    );
    let times = Query {
        from_ms: Some(samples[10].1.time_ms),
        to_ms: Some(samples[50].1.time_ms),
        ..Query::default()
    };
    expect(times, &|it| {
        samples[10].1.time_ms <= it.time_ms && it.time_ms < samples[50].1.time_ms
    });
    let both = Query {
        direction: Some(Direction::Request),
        party: Some(head.client.clone()),
        ..Query::default()
    };
    expect(both, &|it| {
        it.direction == Direction::Request && it.local_party == head.client
    });
    expect(Query::default(), &|_| true);

    let other = ClientId::new("KG", "GOV", "7000", None).unwrap();
    assert_eq!(
        log.find(&Query {
            party: Some(other),
            ..Query::default()
        })
        .unwrap(),
        []
    );
    assert_eq!(log.find(&Query::message_id("message-4")).unwrap().len(), 1);
    assert_eq!(log.find(&Query::message_id("message-none")).unwrap(), []);
    let page = Query {
        after: Some(samples[5].0),
        limit: 3,
        ..Query::default()
    };
    assert_eq!(
        log.find(&page).unwrap(),
        [samples[6].0, samples[7].0, samples[8].0]
    );
    log.close().await;
}

#[tokio::test]
async fn a_draft_that_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = MessageLog::open(small(dir.path()), OsFs::shared()).unwrap();
    let mut draft = log.begin();
    draft
        .append_body(1, Bytes::from(vec![1; 3 << 20]))
        .await
        .unwrap();
    assert_eq!(draft.body_len(1), 3 << 20);
    let unfinished = draft
        .commit(Sample::new(1).head(), Sample::new(1).parts())
        .await;
    assert!(matches!(
        unfinished,
        Err(LogError::BodyUnfinished { index: 1 })
    ));
    assert_eq!(
        std::fs::read_dir(dir.path().join("bodies"))
            .unwrap()
            .count(),
        0
    );
    let mut draft = log.begin();
    draft.finish_body(1, [0; 64]).unwrap();
    assert!(matches!(
        draft.finish_body(1, [0; 64]),
        Err(LogError::BodyFinished { index: 1 })
    ));
    assert_eq!(log.stats().commits, 0);
    log.close().await;
}

#[tokio::test]
async fn too_large_a_message_is_refused_before_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        part_bytes: 10_000,
        ..small(dir.path())
    };
    let (log, _) = MessageLog::open(config, OsFs::shared()).unwrap();
    let mut parts = Sample::new(1).parts();
    parts.message = Bytes::from(vec![0; 10_000]);
    let refused = log.begin().commit(Sample::new(1).head(), parts).await;
    assert!(
        matches!(refused, Err(LogError::TooLarge { .. })),
        "{refused:?}"
    );
    Sample::new(1).commit(&log).await.unwrap();
    log.close().await;
}
