use jibek_dev_pki::{Fault, Service};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::testing::{Country, Server};

struct Kept {
    country: Country,
    server: Server,
    snapshot: SharedSnapshot,
    keeper: Arc<OcspKeeper>,
}

async fn kept() -> Kept {
    let country = Country::new().await;
    let server = country.server("KG/GOV/1/ss1", "127.0.0.1", &[]);
    let snapshot = country.snapshot(&[&server]);
    let keeper = keeper(&country, &server, &snapshot);
    Kept {
        country,
        server,
        snapshot,
        keeper,
    }
}

fn keeper(country: &Country, server: &Server, snapshot: &SharedSnapshot) -> Arc<OcspKeeper> {
    let store = Store::open(&country.directory.path().join("store")).unwrap();
    OcspKeeper::new(
        store,
        Arc::clone(&server.ring),
        Arc::clone(snapshot),
        country.clock(),
    )
    .unwrap()
}

impl Kept {
    fn leaf(&self) -> Certificate {
        self.server
            .ring
            .current()
            .auth()
            .unwrap()
            .certificate()
            .clone()
    }

    fn chain(&self) -> Result<Vec<Bytes>, MissingOcsp> {
        self.keeper.fresh_chain(
            &self.leaf(),
            &self.snapshot.load(),
            self.country.clock.now(),
        )
    }
}

#[tokio::test]
async fn answers_are_fetched_kept_over_restarts_and_aged() {
    let mut kept = kept().await;
    assert!(
        kept.chain()
            .unwrap_err()
            .to_string()
            .contains("not fetched yet")
    );
    assert!(kept.keeper.refresh_once().await);
    let chain = kept.chain().unwrap();
    assert_eq!(chain.len(), 2, "leaf and intermediate, without the top CA");
    let first = OcspResponse::parse(chain[0].clone()).unwrap();
    let keys = kept.server.ring.current();
    let issuing = &keys.auth().unwrap().chain()[0];
    assert!(first.matches(&kept.leaf(), issuing));
    assert_eq!(keys.sign_keys().count(), 1);
    let calls = kept.country.faults.count(Service::Ocsp);
    assert_eq!(calls, 3, "two leaves and one intermediate");

    let (country, server, snapshot) = (kept.country, kept.server, kept.snapshot);
    drop(kept.keeper);
    let again = keeper(&country, &server, &snapshot);
    kept = Kept {
        keeper: again,
        country,
        server,
        snapshot,
    };
    assert_eq!(kept.chain().unwrap(), chain, "without a question");

    kept.country.faults.set_ocsp(Fault::Refuse);
    kept.country.clock.advance(Duration::from_secs(1800));
    assert!(!kept.keeper.refresh_once().await);
    assert_eq!(
        kept.chain().unwrap(),
        chain,
        "the old answer serves while it is fresh"
    );
    assert!(
        kept.keeper.status()[0]
            .problem
            .as_ref()
            .unwrap()
            .contains("500")
    );
    kept.country.clock.advance(Duration::from_secs(1801));
    let error = kept.chain().unwrap_err();
    assert!(error.reason.contains("older than 3600 s"), "{error}");
    kept.country.faults.set_ocsp(Fault::None);
    assert!(kept.keeper.refresh_once().await);
    assert!(kept.chain().is_ok());
    assert!(
        kept.keeper
            .status()
            .iter()
            .all(|status| status.problem.is_none() && status.this_update.is_some())
    );
}

#[tokio::test]
async fn wrong_answers_are_not_taken_and_a_revocation_counts_at_once() {
    let kept = kept().await;
    for fault in [
        Fault::Garbage,
        Fault::Unsigned,
        Fault::WrongCertificate,
        Fault::CloseConnection,
        Fault::Stale(Duration::from_secs(7200)),
    ] {
        kept.country.faults.set_ocsp(fault);
        assert!(!kept.keeper.refresh_once().await, "{fault:?}");
        assert!(kept.chain().is_err());
    }
    kept.country
        .faults
        .set_ocsp(Fault::Ahead(Duration::from_secs(600)));
    assert!(kept.keeper.refresh_once().await);
    assert!(
        kept.chain().is_ok(),
        "an answer from the near future counts"
    );
    kept.country.faults.set_ocsp(Fault::Revoked);
    assert!(!kept.keeper.refresh_once().await);
    let error = kept.chain().unwrap_err();
    assert!(error.reason.contains("revoked"), "{error}");
}

#[tokio::test]
async fn the_schedule_follows_the_clock_and_the_keys() {
    let kept = kept().await;
    let task = tokio::spawn(Arc::clone(&kept.keeper).run());
    let calls = |least: usize| {
        let faults = Arc::clone(&kept.country.faults);
        async move {
            for _ in 0..500 {
                if faults.count(Service::Ocsp) >= least {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            faults.count(Service::Ocsp)
        }
    };
    assert_eq!(calls(3).await, 3);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut minutes = 0;
    while kept.country.faults.count(Service::Ocsp) < 6 {
        minutes += 1;
        assert!(minutes < 300, "the next fetch never came");
        kept.country.clock.advance(Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        minutes >= 19,
        "the interval is 1200 s, not {minutes} minutes"
    );
    assert_eq!(calls(6).await, 6);
    kept.keeper.poke();
    assert_eq!(calls(9).await, 9);
    task.abort();
}

#[tokio::test]
async fn peers_get_all_answers_in_order_or_none() {
    let kept = kept().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(serve(listener, Arc::clone(&kept.keeper), async move {
        drop(stopped.await)
    }));
    let leaf = kept.leaf();
    let issuing = kept.country.pki.issuing_ca().clone();
    let second = Duration::from_secs(5);
    let early = fetch_from_peer("127.0.0.1", port, std::slice::from_ref(&leaf), second)
        .await
        .unwrap_err();
    assert!(
        matches!(early, PeerOcspError::Status { status: 500, .. }),
        "{early}"
    );

    kept.keeper.refresh_once().await;
    let chain = kept.chain().unwrap();
    let answers = fetch_from_peer("127.0.0.1", port, &[issuing.clone(), leaf.clone()], second)
        .await
        .unwrap();
    assert_eq!([answers[0].der(), answers[1].der()], [&chain[1], &chain[0]]);
    let unknown = kept.country.pki.tsa_certificate().clone();
    let partial = fetch_from_peer("127.0.0.1", port, &[leaf.clone(), unknown], second).await;
    assert!(matches!(
        partial,
        Err(PeerOcspError::Status { status: 500, .. })
    ));

    let sha256 = leaf.digest(DigestAlgorithm::Sha256).to_hex();
    let sha1 = leaf.digest(DigestAlgorithm::Sha1).to_hex().to_uppercase();
    for (request, status) in [
        (format!("GET /?cert_hash={sha256}"), "200"),
        (format!("GET /?cert={sha1}"), "200"),
        ("GET /".to_owned(), "500"),
        ("GET /?cert=xyz".to_owned(), "500"),
        (format!("GET /?{}", "cert=0&".repeat(100)), "500"),
        ("HEAD /".to_owned(), "200"),
        (format!("POST /?cert={sha1}"), "500"),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let text = format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{request}: {answer}"
        );
        if status == "200" && request.starts_with("GET") {
            let type_ = "content-type: multipart/related; type=\"application/ocsp-response\"; charset=UTF-8; boundary=jetty";
            assert!(
                answer.contains(type_) && answer.contains("transfer-encoding: chunked"),
                "{answer}"
            );
        }
    }
    drop(stop);
    served.await.unwrap();
}

#[tokio::test]
async fn a_peer_that_is_slow_or_speaks_nonsense_is_given_up() {
    let kept = kept().await;
    let leaf = kept.leaf();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let short = Duration::from_millis(300);
    let silent = fetch_from_peer("127.0.0.1", port, std::slice::from_ref(&leaf), short).await;
    assert!(matches!(silent, Err(PeerOcspError::Deadline { .. })));
    drop(listener.accept().await.unwrap());
    let answers: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=b\r\nContent-Length: 8\r\n\r\n--b--\r\n\r\n",
        b"nonsense\r\n\r\n",
    ];
    for answer in answers {
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 2048];
            let _ = stream.read(&mut buffer).await.unwrap();
            stream.write_all(answer).await.unwrap();
        };
        let (_, fetched) = tokio::join!(
            serve,
            fetch_from_peer(
                "127.0.0.1",
                port,
                std::slice::from_ref(&leaf),
                Duration::from_secs(5)
            )
        );
        assert!(fetched.is_err());
    }
}
