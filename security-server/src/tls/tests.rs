//! Both stacks against OpenSSL's own programs, against each other, and against clients that behave badly.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use jibek_certs::{Clock, KeyKind, SoftKey, SystemClock, TestClock};
use jibek_conf::files::atomic_write;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::Command,
    time::timeout,
};

use super::*;
use crate::{
    config::{Config, PeerSettings},
    keys::KeyRing,
};

/// A self-signed certificate: who it is counts, not who issued it.
struct Identity {
    key: SoftKey,
    certificate: Certificate,
}

impl Identity {
    fn new(name: &str, kind: KeyKind) -> Self {
        let key = SoftKey::generate(kind).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key.for_rcgen()).unwrap();
        let certificate = Certificate::from_der(certificate.der().to_vec()).unwrap();
        Self { key, certificate }
    }

    fn ring(&self) -> Arc<KeyRing> {
        let key = SoftKey::from_pkcs8_der(&self.key.to_pkcs8_der()).unwrap();
        KeyRing::for_test(Some(AuthKey::for_test(
            self.certificate.clone(),
            Vec::new(),
            key,
        )))
    }

    fn files(&self, directory: &tempfile::TempDir, name: &str) -> (PathBuf, PathBuf) {
        let certificate = directory.path().join(format!("{name}.crt"));
        let key = directory.path().join(format!("{name}.key"));
        atomic_write(&certificate, self.certificate.to_pem().as_bytes()).unwrap();
        atomic_write(&key, self.key.to_pkcs8_pem().as_bytes()).unwrap();
        (certificate, key)
    }
}

fn settings() -> PeerSettings {
    let mut settings = Config::parse("server = \"KG/GOV/1/ss1\"", std::path::Path::new("x"))
        .unwrap()
        .peers;
    settings.handshake_timeout = Duration::from_secs(5);
    settings
}

fn knows(certificate: &Certificate) -> Registered {
    let known = certificate.der().clone();
    Arc::new(move |leaf| known == leaf)
}

/// A server that accepts for ever, counts what it accepted, and echoes.
struct Door {
    address: std::net::SocketAddr,
    acceptor: Arc<arc_swap::ArcSwap<PeerAcceptor>>,
    outcomes: Arc<std::sync::Mutex<Vec<Result<PeerTls, String>>>>,
}

impl Door {
    async fn open(server: &Identity, registered: Registered, settings: &PeerSettings) -> Self {
        let acceptor = PeerAcceptor::new(server.ring(), registered, settings);
        let acceptor = Arc::new(arc_swap::ArcSwap::from_pointee(acceptor));
        let current = Arc::clone(&acceptor);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let outcomes = Arc::new(std::sync::Mutex::new(Vec::new()));
        let noted = Arc::clone(&outcomes);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, noted) = (current.load_full(), Arc::clone(&noted));
                tokio::spawn(async move {
                    match acceptor.accept(stream).await {
                        Ok((mut stream, tls)) => {
                            noted.lock().unwrap().push(Ok(tls));
                            let mut buffer = [0; 1024];
                            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                                if stream.write_all(&buffer[..read]).await.is_err()
                                    || stream.flush().await.is_err()
                                {
                                    break;
                                }
                            }
                        }
                        Err(error) => {
                            let source = std::error::Error::source(&error).map(ToString::to_string);
                            noted
                                .lock()
                                .unwrap()
                                .push(Err(format!("{error}: {}", source.unwrap_or_default())));
                        }
                    }
                });
            }
        });
        Self {
            address,
            acceptor,
            outcomes,
        }
    }

    /// As if the server had been started again.
    fn begin_again(&self, server: &Identity, registered: Registered, settings: &PeerSettings) {
        let acceptor = PeerAcceptor::new(server.ring(), registered, settings);
        self.acceptor.store(Arc::new(acceptor));
    }

    fn outcomes(&self) -> Vec<Result<PeerTls, String>> {
        self.outcomes.lock().unwrap().clone()
    }

    async fn settled(&self, count: usize) -> Vec<Result<PeerTls, String>> {
        for _ in 0..500 {
            if self.outcomes().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.outcomes()
    }

    async fn s_client(&self, client: (PathBuf, PathBuf), more: &[&str]) -> (bool, String) {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &self.address.to_string(), "-cert"])
            .arg(client.0)
            .arg("-key")
            .arg(client.1)
            .args(more)
            .stdin(Stdio::null())
            .output();
        told(
            &timeout(Duration::from_secs(20), output)
                .await
                .unwrap()
                .unwrap(),
        )
    }
}

fn told(output: &Output) -> (bool, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

const LEGACY: [&str; 3] = ["-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384"];

#[tokio::test]
async fn openssl_clients_with_a_registered_certificate_connect_and_reconnect() {
    let directory = tempfile::tempdir().unwrap();
    for kind in [KeyKind::Rsa2048, KeyKind::EcP256] {
        let (server, client) = (
            Identity::new("ss1", KeyKind::Rsa2048),
            Identity::new("ss2", kind),
        );
        let door = Door::open(&server, knows(&client.certificate), &settings()).await;
        let files = client.files(&directory, "client");
        let (right, text) = door
            .s_client(files.clone(), &[&LEGACY[..], &["-reconnect"]].concat())
            .await;
        assert!(
            right && text.matches("Cipher is ECDHE-RSA-AES256-SHA384").count() >= 6,
            "{text}"
        );
        assert_eq!(text.matches("Reused, TLSv1.2").count(), 5, "{text}");
        let outcomes = door.settled(6).await;
        let resumed = |outcome: &Result<PeerTls, String>| outcome.as_ref().unwrap().resumed;
        assert_eq!(
            outcomes.iter().map(resumed).collect::<Vec<_>>(),
            [false, true, true, true, true, true]
        );
        for outcome in outcomes {
            let tls = outcome.unwrap();
            assert_eq!(tls.stack, Stack::Legacy);
            assert_eq!(tls.certificates, std::slice::from_ref(&client.certificate));
        }

        let door = Door::open(&server, knows(&client.certificate), &settings()).await;
        let (right, text) = door.s_client(files.clone(), &["-reconnect"]).await;
        assert!(right && text.contains("TLSv1.3"), "{text}");
        let outcomes = door.settled(6).await;
        assert!(
            outcomes
                .iter()
                .all(|outcome| outcome.as_ref().is_ok_and(|tls| tls.stack == Stack::Modern)),
            "{outcomes:?}"
        );

        let (right, text) = door
            .s_client(
                files.clone(),
                &["-tls1_2", "-cipher", "DHE-RSA-AES256-SHA256"],
            )
            .await;
        assert!(right && text.contains("DHE-RSA-AES256-SHA256"), "{text}");
        let (right, text) = door.s_client(files, &["-tls1_2"]).await;
        assert!(
            right && text.contains("GCM") || text.contains("CHACHA20"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn openssl_clients_that_are_not_registered_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (server, client) = (
        Identity::new("ss1", KeyKind::Rsa2048),
        Identity::new("ss2", KeyKind::Rsa2048),
    );
    let door = Door::open(&server, knows(&server.certificate), &settings()).await;
    let files = client.files(&directory, "client");
    let (right, text) = door.s_client(files.clone(), &LEGACY).await;
    assert!(!right && text.contains("alert"), "{text}");
    // With TLS 1.3 the client is done before the server has judged: the refusal comes with the first read.
    let (_, text) = door.s_client(files.clone(), &["-ign_eof"]).await;
    assert!(text.contains("alert"), "{text}");
    let (right, text) = door.s_client(files, &["-tls1_2"]).await;
    assert!(!right && text.contains("alert"), "{text}");
    for nobody in [&LEGACY[..], &["-tls1_2"]] {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &door.address.to_string()])
            .args(nobody)
            .stdin(Stdio::null())
            .output();
        let (right, text) = told(&output.await.unwrap());
        assert!(!right && text.contains("alert"), "{text}");
    }
    let outcomes = door.settled(5).await;
    assert!(
        outcomes.iter().all(Result::is_err) && outcomes.len() == 5,
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn a_session_dies_with_the_registration() {
    let (server, client) = (
        Identity::new("ss1", KeyKind::EcP256),
        Identity::new("ss2", KeyKind::EcP256),
    );
    let known = Arc::new(AtomicUsize::new(1));
    let asked = Arc::clone(&known);
    let door = Door::open(
        &server,
        Arc::new(move |_| asked.load(Ordering::SeqCst) == 1),
        &settings(),
    )
    .await;
    let connector = connector(&client, &settings());
    let (mut stream, tls) = connect(&connector, &door).await.unwrap();
    echo(&mut stream).await.unwrap();
    assert!(!tls.resumed && tls.stack == Stack::Modern);
    assert_eq!(tls.certificates, std::slice::from_ref(&server.certificate));
    let (mut stream, tls) = connect(&connector, &door).await.unwrap();
    echo(&mut stream).await.unwrap();
    assert!(tls.resumed);
    assert_eq!(tls.certificates, [server.certificate]);
    known.store(0, Ordering::SeqCst);
    let refused = match connect(&connector, &door).await {
        Ok((mut stream, _)) => echo(&mut stream).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    assert!(
        door.settled(3).await[2]
            .as_ref()
            .unwrap_err()
            .contains("not registered")
    );
}

#[tokio::test]
async fn a_greeting_in_single_bytes_is_understood_by_both_stacks() {
    let directory = tempfile::tempdir().unwrap();
    let (server, client) = (
        Identity::new("ss1", KeyKind::Rsa2048),
        Identity::new("ss2", KeyKind::Rsa2048),
    );
    let door = Door::open(&server, knows(&client.certificate), &settings()).await;
    let behind = door.address;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = Door {
        acceptor: Arc::clone(&door.acceptor),
        address: listener.local_addr().unwrap(),
        outcomes: Arc::default(),
    };
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let to = TcpStream::connect(behind).await.unwrap();
            to.set_nodelay(true).unwrap();
            let (mut from_read, mut from_write) = from.into_split();
            let (mut to_read, mut to_write) = to.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut to_read, &mut from_write).await });
            tokio::spawn(async move {
                while let Ok(byte) = from_read.read_u8().await {
                    if to_write.write_all(&[byte]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let connector = connector(&client, &settings());
    let (mut stream, tls) = connect(&connector, &slow).await.unwrap();
    assert_eq!(tls.stack, Stack::Modern);
    echo(&mut stream).await.unwrap();
    let (right, text) = slow
        .s_client(client.files(&directory, "client"), &LEGACY)
        .await;
    assert!(right && text.contains("ECDHE-RSA-AES256-SHA384"), "{text}");
}

#[tokio::test]
async fn garbage_and_silence_are_dropped() {
    let server = Identity::new("ss1", KeyKind::EcP256);
    let mut settings = settings();
    settings.handshake_timeout = Duration::from_millis(300);
    let door = Door::open(&server, Arc::new(|_| true), &settings).await;
    let mut all = Vec::new();
    for bytes in [
        &b"POST / HTTP/1.1\r\n\r\n"[..],
        &[22, 3, 1, 2, 0, 1, 0, 1, 0xfc],
        &[],
        &[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff],
    ] {
        let mut stream = TcpStream::connect(door.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer))
            .await
            .unwrap();
        assert!(read.is_err() || answer.is_empty());
        all = door.settled(all.len() + 1).await;
    }
    let reasons: Vec<_> = all.into_iter().map(Result::unwrap_err).collect();
    assert!(reasons[0].contains("not a TLS greeting"), "{reasons:?}");
    assert!(
        reasons[1].contains("not finished") && reasons[2].contains("not finished"),
        "{reasons:?}"
    );
    assert!(reasons[3].contains("longer than"), "{reasons:?}");
}

#[tokio::test]
async fn a_client_that_never_ends_its_greeting_is_dropped() {
    let server = Identity::new("ss1", KeyKind::EcP256);
    let mut settings = settings();
    settings.handshake_timeout = Duration::from_millis(400);
    let door = Door::open(&server, Arc::new(|_| true), &settings).await;
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    let mut head = vec![22, 3, 1, 0x30, 0, 1, 0, 0x2f, 0xfc];
    head.extend([0; 100]);
    stream.write_all(&head).await.unwrap();
    let trickle = async {
        while stream.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), trickle).await.unwrap();
    assert!(
        door.settled(1).await[0]
            .as_ref()
            .unwrap_err()
            .contains("not finished")
    );
}

#[tokio::test]
async fn without_a_key_or_with_the_legacy_endpoint_off_the_reason_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (server, client) = (
        Identity::new("ss1", KeyKind::Rsa2048),
        Identity::new("ss2", KeyKind::Rsa2048),
    );
    let mut settings = settings();
    settings.legacy_tls = false;
    let door = Door::open(&server, knows(&client.certificate), &settings).await;
    let (right, text) = door
        .s_client(client.files(&directory, "client"), &LEGACY)
        .await;
    assert!(!right && text.contains("alert handshake failure"), "{text}");
    assert!(
        door.settled(1).await[0]
            .as_ref()
            .unwrap_err()
            .contains("switched off")
    );

    let acceptor = PeerAcceptor::new(
        KeyRing::for_test(None),
        knows(&client.certificate),
        &settings,
    );
    let stream = TcpStream::connect(door.address).await.unwrap();
    assert!(matches!(
        acceptor.accept(stream).await,
        Err(AcceptError::NoAuthKey { .. })
    ));
}

#[tokio::test]
async fn a_peer_that_is_silent_in_the_handshake_is_given_up() {
    let client = Identity::new("ss2", KeyKind::EcP256);
    let mut settings = settings();
    settings.handshake_timeout = Duration::from_millis(200);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connector = connector(&client, &settings);
    let stream = TcpStream::connect(address).await.unwrap();
    let error = connector
        .secure(stream, "127.0.0.1", address)
        .await
        .unwrap_err();
    assert!(matches!(error, TlsError::Deadline { .. }));
}

#[tokio::test]
async fn consumers_may_show_any_certificate_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let internal =
        InternalTls::open_or_create(&directory.path().join("tls"), "ss1", SystemClock.now())
            .unwrap();
    let again =
        InternalTls::open_or_create(&directory.path().join("tls"), "ss1", SystemClock.now())
            .unwrap();
    assert_eq!(internal.certificate(), again.certificate());
    let acceptor = ConsumerAcceptor::new(&internal, Duration::from_secs(5)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let client = Identity::new("an information system", KeyKind::Rsa2048);
    let files = client.files(&directory, "is");
    for shown in [false, true] {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-tls1_2", "-connect", &address])
            .stdin(Stdio::null());
        if shown {
            command.arg("-cert").arg(&files.0).arg("-key").arg(&files.1);
        }
        let run = command.output();
        let accept = async {
            let (stream, _) = listener.accept().await.unwrap();
            acceptor.accept(stream).await.unwrap()
        };
        let (output, (_, info)) = tokio::join!(run, async {
            let (stream, info) = accept.await;
            drop(stream);
            ((), info)
        });
        output.unwrap();
        assert!(info.tls);
        assert_eq!(info.certificate.is_some(), shown);
        if shown {
            assert_eq!(info.certificate.as_ref(), Some(client.certificate.der()));
        }
    }
}

fn connector(client: &Identity, settings: &PeerSettings) -> PeerConnector {
    PeerConnector::new(client.ring(), None, Arc::new(SystemClock), settings)
}

async fn connect(
    connector: &PeerConnector,
    door: &Door,
) -> Result<(PeerStream, PeerTls), TlsError> {
    let stream = TcpStream::connect(door.address).await.unwrap();
    connector.secure(stream, "127.0.0.1", door.address).await
}

async fn echo(stream: &mut PeerStream) -> io::Result<()> {
    stream.write_all(b"hello").await?;
    stream.flush().await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"hello");
    Ok(())
}

async fn reach(address: std::net::SocketAddr) -> TcpStream {
    for _ in 0..300 {
        if let Ok(stream) = TcpStream::connect(address).await {
            return stream;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody listens on {address}");
}

mod legacy;
