use std::collections::VecDeque;

use jibek_certs::time::TestClock;
use time::macros::datetime;

use super::*;

/// Gives what it was told to give, in order; then fails.
struct Told {
    answers: Arc<Mutex<VecDeque<Option<Arc<Snapshot>>>>>,
    asked: watch::Sender<usize>,
}

impl ConfSource for Told {
    fn refresh(&mut self, _now: Timestamp) -> Refreshing<'_> {
        Box::pin(async move {
            let answer = self.answers.lock().unwrap().pop_front().flatten();
            self.asked.send_modify(|count| *count += 1);
            answer.ok_or_else(|| ConfSourceError {
                source: "the registry is off".into(),
            })
        })
    }
}

struct Setup {
    watch: Arc<ConfWatch>,
    clock: TestClock,
    asked: watch::Receiver<usize>,
}

fn empty() -> Arc<Snapshot> {
    empty_snapshot("DEV").unwrap()
}

fn setup(
    initial: Arc<Snapshot>,
    answers: impl IntoIterator<Item = Option<Arc<Snapshot>>>,
) -> Setup {
    let clock = TestClock::new(datetime!(2026-11-23 05:00 UTC));
    let sender = watch::Sender::new(0);
    let asked = sender.subscribe();
    let source = Told {
        answers: Arc::new(Mutex::new(answers.into_iter().collect())),
        asked: sender,
    };
    let watch = ConfWatch::new(
        Box::new(source),
        initial,
        ConfWatchSettings::default(),
        Arc::new(clock.clone()),
        Metrics::new(),
    );
    Setup {
        watch,
        clock,
        asked,
    }
}

#[test]
fn a_server_without_configuration_knows_only_that_it_is_not_valid() {
    let snapshot = empty();
    assert_eq!(snapshot.own_instance(), "DEV");
    snapshot
        .check_valid(datetime!(1970-01-02 00:00 UTC))
        .unwrap_err();
    assert_eq!(snapshot.tsa_urls().len(), 0);
}

#[tokio::test]
async fn a_new_snapshot_is_put_in_force_and_told_if_its_content_is_new() {
    let first = empty();
    let renewed = Arc::new(first.with_expiry(None, None));
    let other = empty_snapshot("OTHER").unwrap();
    let setup = setup(
        first,
        [Some(Arc::clone(&renewed)), Some(Arc::clone(&other))],
    );
    let mut changes = setup.watch.changes();
    setup.watch.refresh().await.unwrap();
    assert!(Arc::ptr_eq(&setup.watch.snapshot(), &renewed));
    assert!(
        !changes.has_changed().unwrap(),
        "the same content is no change"
    );
    setup.watch.refresh().await.unwrap();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert!(Arc::ptr_eq(&setup.watch.snapshot(), &other));
    assert!(Arc::ptr_eq(&setup.watch.shared().load_full(), &other));
    assert_eq!(setup.watch.status().refreshes, 2);
}

#[tokio::test]
async fn a_failed_download_keeps_the_old_one_and_is_told_in_words() {
    let first = empty();
    let setup = setup(Arc::clone(&first), [None, Some(Arc::clone(&first))]);
    setup.watch.refresh().await.unwrap_err();
    assert!(Arc::ptr_eq(&setup.watch.snapshot(), &first));
    let status = setup.watch.status();
    assert_eq!(
        (status.refreshes, status.failures, status.last_success),
        (0, 1, None)
    );
    let (at, words) = status.last_error.unwrap();
    assert_eq!(at, setup.clock.now());
    assert_eq!(
        words,
        "the global configuration could not be downloaded: the registry is off"
    );
    setup.watch.refresh().await.unwrap();
    assert_eq!(setup.watch.status().last_error, None);
    assert_eq!(setup.watch.status().last_success, Some(setup.clock.now()));
}

#[tokio::test]
async fn downloads_follow_the_schedule_and_end_with_the_drain() {
    let mut setup = setup(empty(), []);
    let drain = Drain::new();
    let running = tokio::spawn(Arc::clone(&setup.watch).run(drain.clone()));
    tokio::task::yield_now().await;
    setup.clock.advance(Duration::from_secs(53));
    tokio::task::yield_now().await;
    assert_eq!(
        *setup.asked.borrow(),
        0,
        "not before nine tenths of the interval"
    );
    setup.clock.advance(Duration::from_secs(14));
    setup.asked.wait_for(|count| *count == 1).await.unwrap();
    setup.watch.ask();
    setup.asked.wait_for(|count| *count == 2).await.unwrap();
    drain.begin();
    running.await.unwrap();
}

#[test]
fn jitter_stays_within_its_part_and_differs_by_seed() {
    let minute = Duration::from_secs(60);
    let mut one = Jitter::new(1);
    let mut two = Jitter::new(2);
    let mut seen = Vec::new();
    for _ in 0..1000 {
        let pause = one.stretch(minute, 0.1);
        assert!(
            pause >= Duration::from_secs(54) && pause <= Duration::from_secs(66),
            "{pause:?}"
        );
        seen.push(pause);
    }
    assert!(seen.iter().min().unwrap() < &Duration::from_secs(55));
    assert!(seen.iter().max().unwrap() > &Duration::from_secs(65));
    assert_ne!(
        Jitter::new(1).stretch(minute, 0.1),
        two.stretch(minute, 0.1)
    );
    assert_eq!(two.stretch(minute, 0.0), minute);
}

/// The own instance, and a partner that is known until `expires`.
fn federated(expires: Timestamp) -> Arc<Snapshot> {
    let own = empty_snapshot("DEV").unwrap();
    let partner = empty_snapshot("PARTNER").unwrap();
    let mut parts = Vec::new();
    for part in own.parts().chain(partner.parts()) {
        let mut one = InstanceParts::new(part.instance, part.version, part.shared.clone());
        one.shared_expires = (part.instance == "PARTNER").then_some(expires);
        parts.push(one);
    }
    Arc::new(Snapshot::from_parts("DEV", parts).unwrap())
}

#[tokio::test]
async fn a_partner_that_expires_goes_out_of_force_at_that_moment_and_nothing_else_does() {
    let start = datetime!(2026-11-23 05:00 UTC);
    let expires = start + Duration::from_secs(20);
    let setup = setup(federated(expires), []);
    let mut changes = setup.watch.changes();
    let drain = Drain::new();
    let running = tokio::spawn(Arc::clone(&setup.watch).run(drain.clone()));
    setup.clock.advance(Duration::from_secs(20));
    tokio::task::yield_now().await;
    assert!(
        setup.watch.snapshot().knows_instance("PARTNER"),
        "the last moment counts"
    );
    for _ in 0..1000 {
        setup.clock.advance(Duration::from_millis(2));
        let changed = tokio::time::timeout(Duration::from_millis(50), changes.changed());
        if changed.await.is_ok() {
            break;
        }
    }
    let snapshot = setup.watch.snapshot();
    assert!(!snapshot.knows_instance("PARTNER") && snapshot.knows_instance("DEV"));
    assert!(
        setup.clock.now() < expires + Duration::from_secs(10),
        "{}",
        setup.clock.now()
    );
    assert_eq!(*setup.asked.borrow(), 0, "no download was waited for");
    assert_eq!(*changes.borrow(), 1);
    let [warning] = snapshot.warnings() else {
        panic!("{:?}", snapshot.warnings())
    };
    assert!(warning.contains("PARTNER expired at"), "{warning}");
    drain.begin();
    running.await.unwrap();

    // One that lies on disk since long ago is not in force at the start.
    let late = self::setup(federated(start - Duration::from_secs(1)), []);
    assert!(!late.watch.snapshot().knows_instance("PARTNER"));
}
