use std::io::{Cursor, Read};

use http::Request;
use http_body_util::BodyExt;
use jibek_certs::{
    digest::{DigestAlgorithm, digest},
    time::{SystemClock, TestClock},
};
use jibek_conf::ConfDir;
use jibek_evidence::container::{Container, ContainerLimits};
use jibek_msglog::{Direction, Kind, LogConfig, RecordHead, RecordParts, Side, fs::OsFs};
use jibek_protocol::id::ServiceId;
use tempfile::TempDir;
use zip::ZipArchive;

use super::*;
use crate::{
    clients::ClientFolder,
    conf_watch::empty_snapshot,
    metrics::Metrics,
    timestamper::{
        StampSettings,
        testing::{OpensslTsa, save, snapshot},
    },
};

struct Setup {
    evidence: Evidence,
    log: MessageLog,
    tsa: Arc<OpensslTsa>,
    dir: TempDir,
}

fn setup() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let clients = dir.path().join("clients");
    std::fs::create_dir(&clients).unwrap();
    save(
        &clients.join("open.toml"),
        b"client = \"DEV/GOV/1/open\"\nconnection = \"http\"\n",
    );
    save(
        &clients.join("tls.toml"),
        b"client = \"DEV/GOV/1/tls\"\nconnection = \"https\"\n",
    );
    let mutual = "client = \"DEV/GOV/1/mutual\"\nconnection = \"https-mutual\"\ncertificates = [\"is.pem\"]\n";
    save(&clients.join("mutual.toml"), mutual.as_bytes());
    let tsa = OpensslTsa::new();
    save(
        &clients.join("is.pem"),
        tsa.certificate().to_pem().as_bytes(),
    );
    let folder = ClientFolder::open(&clients).unwrap();
    let (log, _) =
        MessageLog::open(LogConfig::new(dir.path().join("log")), OsFs::shared()).unwrap();
    let conf = Arc::new(arc_swap::ArcSwap::from_pointee(snapshot(
        &tsa.certificate(),
        &["http://tsa/"],
    )));
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new(SystemClock.now()));
    let timestamper = Timestamper::new(
        log.clone(),
        Arc::clone(&conf),
        tsa.clone(),
        StampSettings::default(),
        Arc::clone(&clock),
        Metrics::new(),
    );
    let evidence = Evidence::new(EvidenceSettings {
        log: log.clone(),
        timestamper,
        conf,
        clients: folder.shared(),
        internal_certificate: Some(Bytes::from_static(b"own certificate")),
        clock,
        spool_dir: dir.path().join("spool"),
    });
    Setup {
        evidence,
        log,
        tsa,
        dir,
    }
}

/// Commits one message of an exchange of the client `DEV/GOV/1/open`.
async fn record(
    log: &MessageLog,
    message_id: &str,
    direction: Direction,
    body: Option<Bytes>,
) -> RecordId {
    let client = ClientId::new("DEV", "GOV", "1", Some("open")).unwrap();
    let message = Bytes::from(format!("message of {message_id}, {direction:?}"));
    let head = RecordHead {
        time_ms: 1_790_000_000_000,
        side: Side::Consumer,
        direction,
        kind: Kind::Rest,
        message_id: message_id.to_owned(),
        request_id: "request".to_owned(),
        client: client.clone(),
        service: ServiceId::new(
            ClientId::new("DEV", "GOV", "2", Some("register")).unwrap(),
            "service",
            None,
        )
        .unwrap(),
        local_party: client,
        status: None,
    };
    let parts = RecordParts {
        message_sha512: sha512(&message),
        message,
        signature: Bytes::from_static(b"<signature/>"),
        hash_chain_result: Some(Bytes::from_static(b"<result/>")),
        hash_chain: Some(Bytes::from_static(b"<chain/>")),
    };
    let mut draft = log.begin();
    if let Some(body) = body {
        for chunk in body.chunks(10_000) {
            draft
                .append_body(1, Bytes::from(chunk.to_vec()))
                .await
                .unwrap();
        }
        draft.finish_body(1, sha512(&body)).unwrap();
    }
    draft.commit(head, parts).await.unwrap().id()
}

fn sha512(bytes: &[u8]) -> [u8; 64] {
    digest(DigestAlgorithm::Sha512, bytes)
        .as_bytes()
        .try_into()
        .unwrap()
}

struct Answer {
    status: u16,
    content_type: String,
    disposition: String,
    body: Bytes,
}

async fn get_with(setup: &Setup, path: &str, connection: ConnectionInfo) -> Answer {
    let (parts, ()) = Request::builder().uri(path).body(()).unwrap().into_parts();
    let response = setup.evidence.handle(&parts, &connection).await;
    let header = |name| {
        response
            .headers()
            .get(name)
            .map_or_else(String::new, |value: &HeaderValue| {
                value.to_str().unwrap().to_owned()
            })
    };
    Answer {
        status: response.status().as_u16(),
        content_type: header(header::CONTENT_TYPE),
        disposition: header(header::CONTENT_DISPOSITION),
        body: response.into_body().collect().await.unwrap().to_bytes(),
    }
}

fn connection(tls: bool, certificate: Option<&'static [u8]>) -> ConnectionInfo {
    ConnectionInfo {
        tls,
        certificate: certificate.map(Bytes::from_static),
        remote: ([127, 0, 0, 1], 1).into(),
    }
}

async fn get(setup: &Setup, query: &str) -> Answer {
    let path =
        format!("/asic?xRoadInstance=DEV&memberClass=GOV&memberCode=1&subsystemCode=open&{query}");
    get_with(setup, &path, connection(false, None)).await
}

async fn refused(setup: &Setup, query: &str) -> (u16, String) {
    let answer = get(setup, query).await;
    assert_eq!(answer.content_type, "text/plain; charset=UTF-8");
    (
        answer.status,
        String::from_utf8(answer.body.to_vec()).unwrap(),
    )
}

/// Unpacks an archive: names and contents in order.
fn entries(zip: &Bytes) -> Vec<(String, Vec<u8>)> {
    let mut archive = ZipArchive::new(Cursor::new(zip.clone())).unwrap();
    (0..archive.len())
        .map(|at| {
            let mut entry = archive.by_index(at).unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.name().unwrap().into_owned(), content)
        })
        .collect()
}

#[tokio::test]
async fn both_containers_of_an_exchange_come_in_one_archive_after_stamping() {
    let setup = setup();
    let request = record(&setup.log, "id 1/ä", Direction::Request, None).await;
    let response = record(&setup.log, "id 1/ä", Direction::Response, None).await;
    record(&setup.log, "other", Direction::Request, None).await;

    let query = "queryId=id+1%2F%C3%A4";
    let early = refused(&setup, query).await;
    assert_eq!(
        early,
        (
            500,
            "Message signature has not been timestamped yet!".to_owned()
        )
    );

    let answer = get(&setup, &format!("{query}&force")).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(answer.content_type, "application/zip");
    assert_eq!(
        answer.disposition,
        "attachment; filename=\"id+1%2F%C3%A4.zip\""
    );
    assert_eq!(setup.tsa.calls().len(), 1);
    assert_eq!(
        setup.log.unstamped_count(),
        1,
        "the other message waits for its turn"
    );

    let found = entries(&answer.body);
    let names: Vec<_> = found.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(
        names,
        [
            format!("id+1%2F%C3%A4-request-{}.asice", base32(request)),
            format!("id+1%2F%C3%A4-response-{}.asice", base32(response)),
        ]
    );
    for ((_, container), direction) in found.iter().zip(["Request", "Response"]) {
        Container::read(container, &ContainerLimits::default()).unwrap();
        let inside = entries(&Bytes::from(container.clone()));
        let content = |name: &str| &inside.iter().find(|(entry, _)| entry == name).unwrap().1;
        assert_eq!(
            content("message.xml"),
            format!("message of id 1/ä, {direction}").as_bytes()
        );
        assert_eq!(content("META-INF/signatures.xml"), b"<signature/>");
        assert_eq!(content("sig-hashchain.xml"), b"<chain/>");
        assert!(!content("META-INF/timestamp.tst").is_empty());
    }

    // The stamps are in the log now: without force, and with one direction.
    assert_eq!(get(&setup, query).await.status, 200);
    let only = get(&setup, &format!("{query}&responseOnly")).await;
    assert_eq!(
        only.disposition,
        "attachment; filename=\"id+1%2F%C3%A4-response.zip\""
    );
    assert_eq!(entries(&only.body).len(), 1);
}

#[tokio::test]
async fn one_container_comes_bare() {
    let setup = setup();
    let id = record(&setup.log, "x", Direction::Request, None).await;
    let answer = get(&setup, "queryId=x&unique&requestOnly&force").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.content_type, "application/vnd.etsi.asic-e+zip");
    assert_eq!(
        answer.disposition,
        format!("attachment; filename=\"x-request-{}.asice\"", base32(id))
    );
    assert_eq!(entries(&answer.body)[0].0, "mimetype");
}

#[tokio::test]
async fn a_large_body_comes_whole_from_a_file_without_name() {
    let setup = setup();
    let body: Bytes = (0..3_000_000_u32)
        .map(|number| u8::try_from(number % 251).unwrap())
        .collect::<Vec<_>>()
        .into();
    record(&setup.log, "x", Direction::Request, Some(body.clone())).await;
    let answer = get(&setup, "queryId=x&force").await;
    assert_eq!(answer.status, 200);
    let inside = entries(&Bytes::from(entries(&answer.body).remove(0).1));
    let attachment = &inside
        .iter()
        .find(|(name, _)| name == "attachment1")
        .unwrap()
        .1;
    assert!(attachment == &body);
    let spool = std::fs::read_dir(setup.dir.path().join("spool")).unwrap();
    assert_eq!(spool.count(), 0, "nothing is left to clean");
}

#[tokio::test]
async fn refusals_come_in_order_with_the_texts_that_clients_know() {
    let setup = setup();
    record(&setup.log, "x", Direction::Request, None).await;
    for (path, status, text) in [
        (
            "/asic",
            400,
            "Parameter \"xRoadInstance\"  must be specified.",
        ),
        (
            "/asic?xRoadInstance=DEV",
            400,
            "Parameter \"memberClass\"  must be specified.",
        ),
        (
            "/asic?xRoadInstance=DEV&memberClass=GOV",
            400,
            "Parameter \"memberCode\"  must be specified.",
        ),
        (
            "/asic?xRoadInstance=DEV&memberClass=GOV&memberCode=1&subsystemCode=nobody",
            401,
            "Client 'SUBSYSTEM:DEV/GOV/1/nobody' not found",
        ),
        (
            "/asic?xRoadInstance=DEV&memberClass=GOV&memberCode=1&subsystemCode=open",
            400,
            "Parameter \"queryId\"  must be specified.",
        ),
    ] {
        let answer = get_with(&setup, path, connection(false, None)).await;
        assert_eq!(
            (answer.status, std::str::from_utf8(&answer.body).unwrap()),
            (status, text),
            "{path}"
        );
    }
    let both = "Parameters \"requestOnly\" and \"responseOnly\" cannot be used at the same time.";
    assert_eq!(
        refused(&setup, "queryId=x&requestOnly&responseOnly").await,
        (400, both.to_owned())
    );
    assert_eq!(
        refused(&setup, "queryId=y").await,
        (404, "No signed documents found".to_owned())
    );
    assert_eq!(refused(&setup, "queryId=x&responseOnly").await.0, 404);
    // Not stamped comes before unique alone.
    assert_eq!(refused(&setup, "queryId=x&unique").await.0, 500);
    let (status, text) = refused(&setup, "queryId=x&unique&force").await;
    assert_eq!(status, 400);
    assert!(
        text.starts_with("Parameter \"unique\" not applicable"),
        "{text}"
    );
    assert!(setup.evidence.handles(&Method::GET, "/asic"));
    assert!(setup.evidence.handles(&Method::GET, "/verificationconf"));
    assert!(
        !setup.evidence.handles(&Method::POST, "/asic"),
        "that is a SOAP request"
    );
}

#[tokio::test]
async fn a_client_authenticates_as_its_connections_do() {
    let setup = setup();
    let ask = |subsystem: &'static str, connection| {
        let path = format!(
            "/asic?xRoadInstance=DEV&memberClass=GOV&memberCode=1&subsystemCode={subsystem}&queryId=x"
        );
        let setup = &setup;
        async move { get_with(setup, &path, connection).await.status }
    };
    // 404 is behind the authentication: there is no such message.
    assert_eq!(ask("open", connection(false, None)).await, 404);
    assert_eq!(ask("tls", connection(false, None)).await, 401);
    assert_eq!(ask("tls", connection(true, None)).await, 404);
    assert_eq!(ask("mutual", connection(true, None)).await, 401);
    assert_eq!(
        ask("mutual", connection(true, Some(b"somebody's certificate"))).await,
        401
    );
    assert_eq!(
        ask("mutual", connection(true, Some(b"own certificate"))).await,
        404
    );
    let registered = ConnectionInfo {
        certificate: Some(setup.tsa.certificate().der().clone()),
        ..connection(true, None)
    };
    assert_eq!(ask("mutual", registered).await, 404);
}

#[tokio::test]
async fn a_stamp_that_cannot_be_had_is_said() {
    let setup = setup();
    record(&setup.log, "x", Direction::Request, None).await;
    setup
        .tsa
        .works
        .store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(
        refused(&setup, "queryId=x&force").await,
        (500, "Could not create missing timestamp!".to_owned())
    );
}

#[tokio::test]
async fn the_configuration_for_verifiers_is_one_that_they_can_read() {
    let setup = setup();
    let answer = get_with(&setup, "/verificationconf", connection(false, None)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.content_type, "application/zip");
    assert_eq!(answer.disposition, "filename=\"verificationconf.zip\"");
    let found = entries(&answer.body);
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "verificationconf/DEV/shared-params.xml",
            "verificationconf/DEV/shared-params.xml.metadata",
            "verificationconf/instance-identifier",
        ]
    );
    let unpacked = setup.dir.path().join("unpacked");
    for (name, content) in &found {
        let path = unpacked.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        save(&path, content);
    }
    let read = ConfDir::new(unpacked.join("verificationconf"))
        .read()
        .unwrap();
    assert_eq!(read.own_instance(), "DEV");
    assert_eq!(read.tsa_urls().len(), 1);
    assert_eq!(read.expires_at(), None);
}

#[tokio::test]
async fn an_expired_configuration_stops_both_services() {
    let setup = setup();
    setup
        .evidence
        .settings
        .conf
        .store(empty_snapshot("DEV").unwrap());
    for path in ["/asic?queryId=x", "/verificationconf"] {
        let answer = get_with(&setup, path, connection(false, None)).await;
        assert_eq!(
            (answer.status, answer.content_type.as_str()),
            (500, "text/plain; charset=UTF-8"),
            "{path}"
        );
    }
}

/// The record's number as file names have it.
fn base32(id: RecordId) -> String {
    let mut digits = Vec::new();
    let mut number = id.get();
    while number > 0 || digits.is_empty() {
        digits.push(char::from_digit(u32::try_from(number % 32).unwrap(), 32).unwrap());
        number /= 32;
    }
    digits.iter().rev().collect()
}
