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
use jibek_dev_pki::{DevPki, Fault, Faults, serve};
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
        signature: Bytes::from_static(b"<signature/>"),
        hash_chain_result: None,
        hash_chain: None,
    };
    log.begin().commit(head, parts).await.unwrap().id()
}

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
    let setup = setup(2).await;
    for fault in FAULTS {
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
