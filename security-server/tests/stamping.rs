//! Time-stamping over HTTP against authorities that misbehave in every way they can.

#![expect(clippy::unwrap_used, reason = "a test says what it met by failing")]

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use jibek_certs::{
    KeyKind, TestClock,
    digest::{DigestAlgorithm, digest},
};
use jibek_conf::{
    model::{
        ManagementService, NEWEST_VERSION, PrivateParameters, SharedParameters, SourceAddress,
        TimestampingService,
    },
    part::{render_private, render_shared},
    snapshot::{InstanceParts, Snapshot},
};
use jibek_dev_pki::{DevPki, Fault, Faults, Service, serve};
use jibek_msglog::{
    Direction, Kind, LogConfig, MessageLog, RecordHead, RecordId, RecordParts, Side, fs::OsFs,
};
use jibek_protocol::id::{ClientId, ServiceId};
use jibek_server::{
    metrics::Metrics,
    timestamper::{HttpTsa, StampSettings, Timestamper},
};
use tempfile::TempDir;
use time::macros::datetime;
use tokio::net::TcpListener;

/// An authority behind a port.
struct Authority {
    url: String,
    faults: Arc<Faults>,
    pki: Arc<DevPki>,
    _dir: TempDir,
}

impl Authority {
    async fn start(clock: &TestClock) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = jibek_certs::Clock::now(clock);
        let pki = Arc::new(DevPki::create(&dir.path().join("pki"), KeyKind::EcP256, now).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/tsa", listener.local_addr().unwrap());
        let faults = Arc::new(Faults::new());
        let clock = Arc::new(clock.clone());
        tokio::spawn(serve(
            Arc::clone(&pki),
            listener,
            clock,
            Arc::clone(&faults),
            std::future::pending(),
        ));
        Self {
            url,
            faults,
            pki,
            _dir: dir,
        }
    }
}

struct Setup {
    clock: TestClock,
    authorities: Vec<Authority>,
    log: MessageLog,
    stamper: Arc<Timestamper>,
    _dir: TempDir,
}

async fn setup(authorities: usize) -> Setup {
    let clock = TestClock::new(datetime!(2026-11-23 05:00 UTC));
    let mut started = Vec::new();
    for _ in 0..authorities {
        started.push(Authority::start(&clock).await);
    }
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = MessageLog::open(LogConfig::new(dir.path()), OsFs::shared()).unwrap();
    let settings = StampSettings {
        connect_timeout: Duration::from_millis(300),
        read_timeout: Duration::from_millis(300),
        ..StampSettings::default()
    };
    let stamper = Timestamper::new(
        log.clone(),
        Arc::new(ArcSwap::from_pointee(configuration(&started))),
        Arc::new(HttpTsa::new(&settings).unwrap()),
        settings,
        Arc::new(clock.clone()),
        Metrics::new(),
    );
    Setup {
        clock,
        authorities: started,
        log,
        stamper,
        _dir: dir,
    }
}

fn configuration(authorities: &[Authority]) -> Snapshot {
    let mut shared = SharedParameters::new("DEV");
    shared.sources.push(SourceAddress {
        address: "127.0.0.1".to_owned(),
        internal_certificates: Vec::new(),
        external_certificates: Vec::new(),
    });
    for authority in authorities {
        shared.timestamping_services.push(TimestampingService {
            name: authority.url.clone(),
            url: authority.url.clone(),
            certificate: authority.pki.tsa_certificate().der().clone(),
            cost: None,
        });
    }
    let shared = render_shared(&shared, NEWEST_VERSION).unwrap();
    let provider = ClientId::new("DEV", "GOV", "management", None).unwrap();
    let management = ManagementService {
        registration_url: "https://127.0.0.1".to_owned(),
        registration_certificate: None,
        provider,
    };
    let mut parts = InstanceParts::new("DEV", NEWEST_VERSION, shared);
    parts.private = Some(render_private(&PrivateParameters::new("DEV", management)).into());
    Snapshot::from_parts("DEV", vec![parts]).unwrap()
}

async fn record(log: &MessageLog) -> RecordId {
    record_with(log, Bytes::from_static(b"<signature/>")).await
}

async fn record_with(log: &MessageLog, signature: Bytes) -> RecordId {
    let client = ClientId::new("DEV", "GOV", "1", Some("sub")).unwrap();
    let message = Bytes::from_static(b"message");
    let head = RecordHead {
        time_ms: 1_790_000_000_000,
        side: Side::Provider,
        direction: Direction::Response,
        kind: Kind::Rest,
        message_id: "id".to_owned(),
        request_id: "request".to_owned(),
        client: client.clone(),
        service: ServiceId::new(client.clone(), "service", None).unwrap(),
        local_party: client,
        status: Some(200),
    };
    let digest = digest(DigestAlgorithm::Sha512, &message);
    let parts = RecordParts {
        message,
        message_sha512: digest.as_bytes().try_into().unwrap(),
        signature,
        hash_chain_result: None,
        hash_chain: None,
    };
    log.begin().commit(head, parts).await.unwrap().id()
}

/// One test of the memory of this process, which no other may use meanwhile.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const FAULTS: [Fault; 9] = [
    Fault::CloseConnection,
    Fault::Delay(Duration::from_secs(60)),
    Fault::Garbage,
    Fault::Refuse,
    Fault::Revoked,
    Fault::Unknown,
    Fault::Unsigned,
    Fault::WrongCertificate,
    Fault::WrongImprint,
];

#[tokio::test]
async fn no_misbehaviour_of_an_authority_becomes_a_stamp() {
    let _alone = ALONE.lock().await;
    let setup = setup(1).await;
    let id = record(&setup.log).await;
    for fault in FAULTS {
        setup.authorities[0].faults.set_tsa(fault);
        let error = setup.stamper.stamp_waiting().await.unwrap_err();
        let words = jibek_server::outbound::chain(&error);
        assert!(
            words.contains(&setup.authorities[0].url),
            "{fault:?}: {words}"
        );
        assert!(
            setup.log.read(id).unwrap().unwrap().stamp.is_none(),
            "{fault:?}"
        );
        assert!(
            setup.stamper.gate().state().failing_since.is_some(),
            "{fault:?}"
        );
    }
    setup.authorities[0].faults.set_tsa(Fault::None);
    assert_eq!(setup.stamper.stamp_waiting().await.unwrap(), 1);
    assert!(setup.log.read(id).unwrap().unwrap().stamp.is_some());
    setup
        .stamper
        .gate()
        .check(jibek_certs::Clock::now(&setup.clock))
        .unwrap();
}

#[tokio::test]
async fn the_next_authority_stamps_whatever_the_first_one_does() {
    let _alone = ALONE.lock().await;
    let setup = setup(2).await;
    for fault in FAULTS {
        // The one that failed before is asked first again.
        setup.clock.advance(Duration::from_secs(601));
        setup.authorities[0].faults.set_tsa(fault);
        let id = record(&setup.log).await;
        assert_eq!(setup.stamper.stamp_waiting().await.unwrap(), 1, "{fault:?}");
        assert!(
            setup.log.read(id).unwrap().unwrap().stamp.is_some(),
            "{fault:?}"
        );
        assert_eq!(
            setup.stamper.gate().state().failing_since,
            None,
            "{fault:?}"
        );
    }
}

/// 12,000 records of 6 KB of signature each; `JIBEK_BACKLOG=30000` for more.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_backlog_is_stamped_in_order_and_in_little_memory() {
    let _alone = ALONE.lock().await;
    let count = std::env::var_os("JIBEK_BACKLOG").and_then(|it| it.to_str()?.parse().ok());
    let count: usize = count.unwrap_or(12_000);
    let setup = setup(1).await;
    let mut ids = Vec::new();
    while ids.len() < count {
        let some = (ids.len()..count.min(ids.len() + 300)).map(|number| {
            let signature = format!("<signature number=\"{number:6000}\"/>");
            record_with(&setup.log, Bytes::from(signature))
        });
        ids.extend(futures_util::future::join_all(some).await);
    }

    // The authority is away, then back: from where it stopped.
    setup.authorities[0].faults.set_tsa(Fault::Refuse);
    setup.stamper.stamp_waiting().await.unwrap_err();
    assert_eq!(setup.log.unstamped_count(), u64::try_from(count).unwrap());
    setup.authorities[0].faults.set_tsa(Fault::None);
    let asked = setup.authorities[0].faults.count(Service::Tsa);
    forget_peak();
    let before = memory("VmRSS:");
    assert_eq!(setup.stamper.stamp_waiting().await.unwrap(), count);
    let grown = memory("VmHWM:").saturating_sub(before);
    println!("{count} records stamped, {grown} KiB more memory at most");
    assert!(grown < 32 << 10, "{grown} KiB");
    let asked = setup.authorities[0].faults.count(Service::Tsa) - asked;
    assert_eq!(asked, count.div_ceil(10_000));

    ids.sort_unstable();
    let mut last = None;
    for id in ids.iter().step_by(97) {
        let stamp = setup.log.read(*id).unwrap().unwrap().stamp.unwrap();
        assert!(last <= Some(stamp.id), "stamped in order");
        last = Some(stamp.id);
    }
}

/// A figure of this process in KiB.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

/// Lets the peak of this process's memory begin anew.
#[expect(clippy::disallowed_methods, reason = "a switch of the system")]
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}
