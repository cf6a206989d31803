//! The authority in these tests is OpenSSL's, so a stamp that passes was understood by somebody else.

use std::sync::atomic::Ordering;

use jibek_certs::time::{SystemClock, TestClock};
use jibek_msglog::{Direction, Kind, LogConfig, RecordHead, RecordParts, Side, fs::OsFs};
use jibek_protocol::id::{ClientId, ServiceId};
use tempfile::TempDir;

use super::{
    testing::{OpensslTsa, openssl, save, snapshot},
    *,
};
use crate::{
    admin::{Check, CheckState, checks},
    conf_watch::empty_snapshot,
};

struct Setup {
    tsa: Arc<OpensslTsa>,
    clock: TestClock,
    log: MessageLog,
    stamper: Arc<Timestamper>,
    _dir: TempDir,
}

fn setup(settings: StampSettings, urls: &[&str]) -> Setup {
    let tsa = OpensslTsa::new();
    let dir = tempfile::tempdir().unwrap();
    let (log, _report) =
        MessageLog::open(LogConfig::new(dir.path()), Arc::new(OsFs::default())).unwrap();
    let clock = TestClock::new(SystemClock.now());
    let conf = Arc::new(arc_swap::ArcSwap::from_pointee(snapshot(
        &tsa.certificate(),
        urls,
    )));
    let client: Arc<dyn TsaClient> = tsa.clone();
    let stamper = Timestamper::new(
        log.clone(),
        conf,
        client,
        settings,
        Arc::new(clock.clone()),
        Metrics::new(),
    );
    Setup {
        tsa,
        clock,
        log,
        stamper,
        _dir: dir,
    }
}

/// Commits a message with this signature document.
async fn record(log: &MessageLog, number: usize) -> RecordId {
    let client = ClientId::new("DEV", "GOV", "1", Some("sub")).unwrap();
    let service = ServiceId::new(client.clone(), "service", None).unwrap();
    let message = Bytes::from(format!("message {number}"));
    let head = RecordHead {
        time_ms: 1_790_000_000_000,
        side: Side::Consumer,
        direction: Direction::Request,
        kind: Kind::Rest,
        message_id: format!("id-{number}"),
        request_id: format!("request-{number}"),
        client: client.clone(),
        service,
        local_party: client,
        status: None,
    };
    let parts = RecordParts {
        message_sha512: digest(DigestAlgorithm::Sha512, &message)
            .as_bytes()
            .try_into()
            .unwrap(),
        message,
        signature: Bytes::from(format!("<signature number=\"{number}\"/>")),
        hash_chain_result: None,
        hash_chain: None,
    };
    log.begin().commit(head, parts).await.unwrap().id()
}

/// What the log kept of a record's stamp is one that OpenSSL accepts over the chain's result.
fn check_stamp(setup: &Setup, id: RecordId) -> Bytes {
    let record = setup.log.read(id).unwrap().unwrap();
    let stamp = record.stamp.expect("a stamp");
    let dir = setup.tsa.dir.path();
    save(&dir.join("token.tst"), &stamp.token);
    save(&dir.join("result.xml"), &stamp.hash_chain_result);
    assert!(
        openssl(
            dir,
            &[
                "ts",
                "-verify",
                "-token_in",
                "-in",
                "token.tst",
                "-data",
                "result.xml",
                "-CAfile",
                "tsa.pem",
            ]
        ),
        "openssl refuses the token"
    );
    // Third parties find the authority's certificate inside, although it was not asked for.
    let token = TimestampToken::parse(&stamp.token).unwrap();
    assert_eq!(token.certificates().first(), Some(&setup.tsa.certificate()));
    let leaf = digest(DigestAlgorithm::Sha512, &record.parts.signature).to_base64();
    let chain = String::from_utf8(stamp.hash_chain.to_vec()).unwrap();
    assert!(
        chain.contains(&leaf) || chain.contains("/META-INF/signatures.xml"),
        "{chain}"
    );
    stamp.hash_chain_result
}

#[tokio::test]
async fn a_batch_gets_one_token_and_each_record_its_chain() {
    let setup = setup(StampSettings::default(), &["http://tsa/"]);
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(record(&setup.log, number).await);
    }
    assert_eq!(setup.stamper.stamp_waiting().await.unwrap(), 5);
    assert_eq!(setup.tsa.calls().len(), 1);
    let results: Vec<_> = ids.iter().map(|id| check_stamp(&setup, *id)).collect();
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(setup.stamper.stamp_waiting().await.unwrap(), 0);
    assert_eq!(setup.tsa.calls().len(), 0, "nothing waits, nobody is asked");
}

#[tokio::test]
async fn a_single_record_is_a_batch_of_one() {
    let setup = setup(StampSettings::default(), &["http://tsa/"]);
    let id = record(&setup.log, 1).await;
    let before = setup.log.read(id).unwrap().unwrap().parts.signature;
    setup.stamper.stamp_waiting().await.unwrap();
    check_stamp(&setup, id);
    assert_eq!(
        setup.log.read(id).unwrap().unwrap().parts.signature,
        before,
        "signed bytes stay"
    );
}

#[tokio::test]
async fn full_batches_follow_each_other_at_once() {
    let settings = StampSettings {
        records: 2,
        ..StampSettings::default()
    };
    let setup = setup(settings, &["http://tsa/"]);
    for number in 0..5 {
        record(&setup.log, number).await;
    }
    assert_eq!(setup.stamper.stamp_waiting().await.unwrap(), 5);
    assert_eq!(setup.tsa.calls().len(), 3);
}

#[tokio::test]
async fn authorities_are_tried_in_order() {
    let setup = setup(
        StampSettings::default(),
        &["http://broken/", "http://tsa/", "http://third/"],
    );
    let id = record(&setup.log, 1).await;
    setup.stamper.stamp_waiting().await.unwrap();
    assert_eq!(setup.tsa.calls(), ["http://broken/", "http://tsa/"]);
    check_stamp(&setup, id);
}

#[tokio::test]
async fn who_failed_is_asked_last_for_some_minutes() {
    let setup = setup(StampSettings::default(), &["http://broken/", "http://tsa/"]);
    for (number, advance, expected) in [
        (1, 0, &["http://broken/", "http://tsa/"][..]),
        (2, 60, &["http://tsa/"]),
        (3, 600, &["http://broken/", "http://tsa/"]),
    ] {
        setup.clock.advance(Duration::from_secs(advance));
        let id = record(&setup.log, number).await;
        setup.stamper.stamp_waiting().await.unwrap();
        assert_eq!(setup.tsa.calls(), expected, "after {advance} s");
        check_stamp(&setup, id);
    }
}

#[tokio::test]
async fn who_says_nothing_is_overtaken() {
    let settings = StampSettings {
        overtaken_after: Duration::from_millis(10),
        ..StampSettings::default()
    };
    let setup = setup(
        settings,
        &["http://silent/", "http://broken/", "http://tsa/"],
    );
    let id = record(&setup.log, 1).await;
    setup.stamper.stamp_waiting().await.unwrap();
    assert_eq!(
        setup.tsa.calls(),
        ["http://silent/", "http://broken/", "http://tsa/"]
    );
    check_stamp(&setup, id);
    let id = record(&setup.log, 2).await;
    setup.stamper.stamp_waiting().await.unwrap();
    assert_eq!(
        setup.tsa.calls(),
        ["http://tsa/"],
        "nobody waits for it again"
    );
    check_stamp(&setup, id);
}

#[tokio::test]
async fn a_token_for_something_else_is_refused() {
    let setup = setup(StampSettings::default(), &["http://tsa/"]);
    let first = record(&setup.log, 1).await;
    setup.stamper.stamp_waiting().await.unwrap();
    setup.tsa.replays.store(true, Ordering::Relaxed);
    let second = record(&setup.log, 2).await;
    let error = setup.stamper.stamp_waiting().await.unwrap_err();
    assert!(matches!(error, StampError::AllFailed { .. }), "{error:?}");
    assert!(setup.log.read(second).unwrap().unwrap().stamp.is_none());
    check_stamp(&setup, first);
}

#[tokio::test]
async fn a_token_of_an_authority_that_is_not_approved_is_refused() {
    let setup = setup(StampSettings::default(), &["http://tsa/"]);
    let stranger = OpensslTsa::new();
    let conf = Arc::new(arc_swap::ArcSwap::from_pointee(snapshot(
        &setup.tsa.certificate(),
        &["http://tsa/"],
    )));
    let stamper = Timestamper::new(
        setup.log.clone(),
        conf,
        stranger,
        StampSettings::default(),
        Arc::new(setup.clock.clone()),
        Metrics::new(),
    );
    record(&setup.log, 1).await;
    assert!(matches!(
        stamper.stamp_waiting().await,
        Err(StampError::AllFailed { .. })
    ));
    assert_eq!(setup.log.unstamped_count(), 1);
}

#[tokio::test]
async fn messages_flow_for_the_acceptable_period_and_again_by_themselves() {
    let hour = Duration::from_secs(3600);
    let settings = StampSettings {
        acceptable_failure_period: hour,
        ..StampSettings::default()
    };
    let setup = setup(settings, &["http://tsa/"]);
    let gate = setup.stamper.gate();
    setup.tsa.works.store(false, Ordering::Relaxed);

    // A failure with an empty queue does not start the clock.
    assert_eq!(setup.stamper.stamp_waiting().await.unwrap(), 0);
    assert_eq!(gate.state().failing_since, None);

    let waiting = record(&setup.log, 1).await;
    setup.stamper.stamp_waiting().await.unwrap_err();
    let since = setup.clock.now();
    let state = gate.state();
    assert_eq!(state.failing_since, Some(since));
    assert_eq!(state.closes_at, Some(since + time::Duration::HOUR));
    assert!(state.last_error.unwrap().contains("connection refused"));
    gate.check(setup.clock.now()).unwrap();
    let readiness = checks::stamping(gate.clone());
    let left = |state| match state {
        CheckState::Ready { seconds_left, note } => (seconds_left, note.is_some()),
        CheckState::NotReady { .. } => (None, true),
    };
    assert_eq!(
        left(readiness.state(setup.clock.now()).await),
        (Some(3600), true)
    );
    setup.clock.advance(Duration::from_secs(600));
    assert_eq!(
        left(readiness.state(setup.clock.now()).await),
        (Some(3000), true)
    );

    setup.clock.advance(Duration::from_secs(3000));
    setup.stamper.stamp_waiting().await.unwrap_err();
    gate.check(setup.clock.now()).unwrap();
    assert_eq!(
        gate.state().failing_since,
        Some(since),
        "the first failure of the stretch counts"
    );

    setup.clock.advance(Duration::from_secs(1));
    let closed = gate.check(setup.clock.now()).unwrap_err();
    assert_eq!(closed.code(), "timestamping_failed");
    assert!(matches!(closed, GateClosed::Failing { period, .. } if period == hour));
    match readiness.state(setup.clock.now()).await {
        CheckState::NotReady { reason } => {
            assert!(reason.contains("connection refused"), "{reason}")
        }
        ready => panic!("{ready:?}"),
    }

    setup.tsa.works.store(true, Ordering::Relaxed);
    setup.stamper.stamp_waiting().await.unwrap();
    gate.check(setup.clock.now()).unwrap();
    assert_eq!(gate.state().failing_since, None);
    assert_eq!(gate.state().last_error, None);
    assert_eq!(
        readiness.state(setup.clock.now()).await,
        CheckState::ready()
    );
    check_stamp(&setup, waiting);
}

#[tokio::test]
async fn a_period_of_zero_never_closes_and_no_authority_always_does() {
    let settings = StampSettings {
        acceptable_failure_period: Duration::ZERO,
        ..StampSettings::default()
    };
    let setup = setup(settings.clone(), &["http://broken/"]);
    record(&setup.log, 1).await;
    setup.stamper.stamp_waiting().await.unwrap_err();
    setup.clock.advance(Duration::from_secs(10_000_000));
    setup.stamper.gate().check(setup.clock.now()).unwrap();
    assert_eq!(setup.stamper.gate().state().closes_at, None);

    let nobody = self::setup(settings, &[]);
    assert_eq!(
        nobody.stamper.gate().check(nobody.clock.now()),
        Err(GateClosed::NoProvider)
    );
    assert_eq!(
        GateClosed::NoProvider.code(),
        "mlog.no_timestamping_provider_found"
    );
    record(&nobody.log, 1).await;
    assert!(matches!(
        nobody.stamper.stamp_waiting().await,
        Err(StampError::NoProvider)
    ));
}

#[tokio::test]
async fn nobody_is_believed_under_an_expired_configuration() {
    let setup = setup(StampSettings::default(), &["http://tsa/"]);
    record(&setup.log, 1).await;
    let conf = Arc::new(arc_swap::ArcSwap::new(empty_snapshot("DEV").unwrap()));
    let stamper = Timestamper::new(
        setup.log.clone(),
        conf,
        setup.tsa.clone(),
        StampSettings::default(),
        Arc::new(setup.clock.clone()),
        Metrics::new(),
    );
    assert!(matches!(
        stamper.stamp_waiting().await,
        Err(StampError::ConfigurationExpired { .. })
    ));
    assert!(setup.tsa.calls().is_empty());
}

#[tokio::test]
async fn a_client_gets_its_own_records_stamped_at_once() {
    let setup = setup(StampSettings::default(), &["http://tsa/"]);
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(record(&setup.log, number).await);
    }
    setup.stamper.stamp_now(&[ids[1], ids[1]]).await.unwrap();
    check_stamp(&setup, ids[1]);
    assert_eq!(setup.log.unstamped_count(), 2);
    setup.tsa.calls();
    setup.stamper.stamp_now(&[ids[1]]).await.unwrap();
    assert!(setup.tsa.calls().is_empty(), "it has its stamp");
}

#[tokio::test]
async fn runs_follow_the_schedule_and_a_full_batch_does_not_wait() {
    let settings = StampSettings {
        interval: Some(Duration::from_secs(600)),
        records: 3,
        ..StampSettings::default()
    };
    let setup = setup(settings, &["http://tsa/"]);
    let drain = Drain::new();
    let running = tokio::spawn(Arc::clone(&setup.stamper).run(drain.clone()));
    record(&setup.log, 0).await;
    setup.stamper.recorded();
    setup.clock.advance(Duration::from_secs(1));
    stamped(&setup, 0).await;

    for number in 1..3 {
        record(&setup.log, number).await;
        setup.stamper.recorded();
    }
    tokio::task::yield_now().await;
    assert_eq!(setup.log.unstamped_count(), 2, "two wait for the interval");
    record(&setup.log, 3).await;
    setup.stamper.recorded();
    stamped(&setup, 0).await;

    record(&setup.log, 4).await;
    setup.clock.advance(Duration::from_secs(601));
    stamped(&setup, 0).await;
    assert_eq!(setup.tsa.calls().len(), 3);
    drain.begin();
    running.await.unwrap();
}

#[tokio::test]
async fn a_failing_authority_is_not_asked_more_often_because_many_wait() {
    let settings = StampSettings {
        records: 2,
        ..StampSettings::default()
    };
    let setup = setup(settings, &["http://tsa/"]);
    setup.tsa.works.store(false, Ordering::Relaxed);
    let drain = Drain::new();
    let running = tokio::spawn(Arc::clone(&setup.stamper).run(drain.clone()));
    for number in 0..20 {
        record(&setup.log, number).await;
        setup.stamper.recorded();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(setup.tsa.calls().len(), 1);
    setup.tsa.works.store(true, Ordering::Relaxed);
    setup.clock.advance(Duration::from_secs(61));
    stamped(&setup, 0).await;
    drain.begin();
    running.await.unwrap();
}

#[test]
fn the_interval_is_the_configurations_within_bounds_unless_overridden() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let ruled = setup(StampSettings::default(), &[]);
    // No private parameters: X-Road's default.
    assert_eq!(ruled.stamper.interval(), Duration::from_secs(60));
    let settings = StampSettings {
        interval: Some(Duration::from_secs(2)),
        ..StampSettings::default()
    };
    assert_eq!(
        setup(settings, &[]).stamper.interval(),
        Duration::from_secs(2)
    );
}

/// Waits until this many records are without a stamp.
async fn stamped(setup: &Setup, left: u64) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while setup.log.unstamped_count() != left {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.expect("the records did not get their stamps");
}
