use std::{
    convert::Infallible,
    sync::atomic::{AtomicU64, Ordering},
};

use http::Response;
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use jibek_dev_pki::Service;
use tokio::{net::TcpListener, sync::Notify};

use super::*;
use crate::{
    body,
    certificates::Certificates,
    conf_watch::SharedSnapshot,
    metrics::Metrics,
    ocsp::{OcspKeeper, serve},
    random::SystemRandom,
    store::Store,
    testing::{Country, Server, settings},
    tls::{PeerAcceptor, Stack},
};

/// A provider's server that echoes over 5500 and tells its OCSP answers on 5577, and a consumer's that connects to it.
struct Pair {
    country: Country,
    provider: Server,
    snapshot: SharedSnapshot,
    peers: Arc<Peers>,
    /// Closes every connection of the provider's server.
    cut: Arc<Notify>,
    accepted: Arc<AtomicU64>,
}

const PROVIDER: &str = "KG/GOV/2/land";

async fn pair(more: &[&str]) -> Pair {
    let host = address();
    let country = Country::new().await;
    let consumer = country.server("KG/GOV/1/ss1", "127.0.0.1", &[]);
    let provider = country.server("KG/GOV/2/ss2", &host, &[PROVIDER]);
    let others: Vec<Server> = more
        .iter()
        .enumerate()
        .map(|(number, address)| {
            country.server(&format!("KG/GOV/2/ss{}", number + 3), address, &[PROVIDER])
        })
        .collect();
    let servers: Vec<&Server> = [&consumer, &provider].into_iter().chain(&others).collect();
    let snapshot = country.snapshot(&servers);
    let listener = TcpListener::bind((host.as_str(), 0)).await.unwrap();
    let ocsp = TcpListener::bind((host.as_str(), 0)).await.unwrap();
    let mut settings = settings();
    settings.port = listener.local_addr().unwrap().port();
    settings.ocsp_port = ocsp.local_addr().unwrap().port();
    settings.connect_timeout = Duration::from_secs(5);

    let store = Store::open(&country.directory.path().join("store")).unwrap();
    let keeper = OcspKeeper::new(
        store,
        Arc::clone(&provider.ring),
        Arc::clone(&snapshot),
        country.clock(),
    )
    .unwrap();
    assert!(keeper.refresh_once().await);
    tokio::spawn(serve(ocsp, keeper, std::future::pending()));

    let known = Arc::clone(&snapshot);
    let registered = Arc::new(move |leaf: &[u8]| {
        let certificate = jibek_certs::Certificate::from_der(leaf.to_vec()).unwrap();
        known
            .load()
            .server_by_auth_certificate(&certificate)
            .is_some()
    });
    let acceptor = Arc::new(PeerAcceptor::new(
        Arc::clone(&provider.ring),
        registered,
        &settings,
    ));
    let (cut, accepted) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
    let (cutter, counter) = (Arc::clone(&cut), Arc::clone(&accepted));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, cut, accepted) = (
                Arc::clone(&acceptor),
                Arc::clone(&cutter),
                Arc::clone(&counter),
            );
            tokio::spawn(async move {
                let Ok((stream, _)) = acceptor.accept(stream).await else {
                    return;
                };
                accepted.fetch_add(1, Ordering::SeqCst);
                let service = service_fn(|request: Request<Incoming>| async move {
                    let bytes = request.into_body().collect().await.unwrap().to_bytes();
                    Ok::<_, Infallible>(Response::new(body::full(bytes)))
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    _ = connection => {}
                    () = cut.notified() => {}
                }
            });
        }
    });
    let connector =
        PeerConnector::new(Arc::clone(&consumer.ring), None, country.clock(), &settings);
    let random = Arc::new(SystemRandom);
    let peers = Peers::new(
        connector,
        Arc::clone(&consumer.ring),
        country.clock(),
        random,
        &settings,
        Certificates::new(Metrics::new()),
    );
    Pair {
        country,
        provider,
        snapshot,
        peers,
        cut,
        accepted,
    }
}

impl Pair {
    async fn connection(&self, provider: &str) -> Result<PeerConnection, ConnectError> {
        let provider = ClientId::from_header(provider).unwrap();
        let snapshot = self.snapshot.load_full();
        let candidates = snapshot
            .servers_of(&ClientId::from_header(PROVIDER).unwrap())
            .to_vec();
        self.peers
            .connection(&candidates, &provider, &snapshot, self.country.clock.now())
            .await
    }

    async fn exchange(&self) -> bool {
        let mut connection = self.connection(PROVIDER).await.unwrap();
        let reused = connection.reused();
        echo(&mut connection).await;
        connection.recycle();
        reused
    }
}

async fn echo(connection: &mut PeerConnection) {
    let request = Request::post("/")
        .header("host", connection.address())
        .body(body::full("hello"))
        .unwrap();
    let response = connection.send(request).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
}

/// A loopback address of one's own, since the configuration has no ports.
fn address() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(2);
    let process = std::process::id();
    format!(
        "127.{}.{}.{}",
        1 + process % 200,
        process / 200 % 250,
        NEXT.fetch_add(1, Ordering::SeqCst)
    )
}

#[tokio::test]
async fn connections_are_kept_judged_and_replaced_when_dead() {
    let pair = pair(&[]).await;
    assert!(!pair.exchange().await);
    assert!(pair.exchange().await && pair.exchange().await);
    assert_eq!(pair.accepted.load(Ordering::SeqCst), 1);
    let connection = pair.connection(PROVIDER).await.unwrap();
    assert_eq!(connection.stack(), Some(Stack::Modern));
    let auth = pair
        .provider
        .ring
        .current()
        .auth()
        .unwrap()
        .certificate()
        .clone();
    assert_eq!(connection.certificates()[0], auth);
    connection.recycle();

    // Dead while it waited: noticed, a new one is opened.
    pair.cut.notify_waiters();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!pair.exchange().await);
    // Dead between hand-out and send: replaced silently.
    let mut connection = pair.connection(PROVIDER).await.unwrap();
    assert!(connection.reused());
    pair.cut.notify_waiters();
    tokio::time::sleep(Duration::from_millis(50)).await;
    echo(&mut connection).await;
    connection.recycle();
    assert_eq!(pair.accepted.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn every_message_is_judged_on_open_connections_too() {
    let pair = pair(&[]).await;
    pair.exchange().await;
    let stranger = pair.connection("KG/GOV/1").await.unwrap_err();
    assert_eq!(stranger.code(), "ssl_authentication_failed");
    assert!(
        stranger.to_string().contains("not registered"),
        "{stranger}"
    );
    let unknown = pair.connection("EE/GOV/1").await.unwrap_err();
    assert_eq!(unknown.code(), "internal_error");
    assert!(pair.exchange().await || pair.exchange().await);

    // The OCSP answers age: new ones are fetched from the peer, which has none.
    let calls = pair.country.faults.count(Service::Ocsp);
    pair.country.clock.advance(Duration::from_secs(3700));
    let stale = pair.connection(PROVIDER).await.unwrap_err();
    assert_eq!(
        stale.code(),
        "ssl_authentication_failed.internal_error",
        "{stale}"
    );
    assert_eq!(
        pair.country.faults.count(Service::Ocsp),
        calls,
        "only the peer is asked"
    );
}

#[tokio::test]
async fn another_address_serves_when_one_is_dead() {
    let dead = address();
    let pair = pair(&[&dead]).await;
    for _ in 0..5 {
        pair.exchange().await;
    }
    assert_eq!(pair.accepted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn dead_and_silent_addresses_are_told() {
    let pair = pair(&[]).await;
    let snapshot = pair.snapshot.load_full();
    let provider = ClientId::from_header(PROVIDER).unwrap();
    let mut candidates = snapshot.servers_of(&provider).to_vec();
    let (dead, other) = (address(), address());
    candidates[0].address = dead.clone();
    candidates.push(candidates[0].clone());
    candidates[1].address = other;
    let now = pair.country.clock.now();
    let error = pair
        .peers
        .connection(&candidates, &provider, &snapshot, now)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "network_error");
    assert!(
        error
            .to_string()
            .starts_with("Could not connect to any target host ([https://127."),
        "{error}"
    );
    assert!(error.to_string().contains(&dead));

    candidates.truncate(1);
    candidates[0].address = "no-such-host.invalid".to_owned();
    let error = pair
        .peers
        .connection(&candidates, &provider, &snapshot, now)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "network_error");
    assert_eq!(pair.accepted.load(Ordering::SeqCst), 0);
}
