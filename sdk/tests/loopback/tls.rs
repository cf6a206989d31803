//! HTTPS to a security server: pins, authorities, client certificates. Certificates are OpenSSL's.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use jibek_sdk::{BuildError, CallError, Consumer, Credentials, ServerTrust, TlsCredentials};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::support::{notary, service};

/// Makes a self-signed certificate; `None` where there is no OpenSSL.
fn certificate(folder: &Path, name: &str, extension: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (key, certificate) = (
        folder.join(format!("{name}.key")),
        folder.join(format!("{name}.pem")),
    );
    let form = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\nbasicConstraints=CA:FALSE\n{extension}\n"
    );
    form.as_file().write_all(text.as_bytes()).unwrap();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
        ])
        .args([&format!("/CN={name}"), "-config"])
        .args([
            form.path().as_os_str(),
            "-keyout".as_ref(),
            key.as_os_str(),
            "-out".as_ref(),
            certificate.as_os_str(),
        ])
        .output()
        .ok()?;
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    Some((
        std::fs::read(certificate).unwrap(),
        std::fs::read(key).unwrap(),
    ))
}

/// Starts a server that answers any request with a fault naming how many certificates the client showed.
async fn start(pem: &(Vec<u8>, Vec<u8>), client: &[u8]) -> u16 {
    let certificate = |pem: &[u8]| CertificateDer::from_pem_slice(pem).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate(client)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        .with_single_cert(
            vec![certificate(&pem.0)],
            PrivateKeyDer::from_pem_slice(&pem.1).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let shown = stream.get_ref().1.peer_certificates().map_or(0, <[_]>::len);
                let _ = stream.read(&mut [0; 4096]).await?;
                let answer = format!(
                    "HTTP/1.1 500 X\r\nX-Road-Error: client.shown{shown}\r\nContent-Length: 0\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await
            });
        }
    });
    port
}

async fn ask(address: String, tls: TlsCredentials) -> CallError {
    let builder = Consumer::builder()
        .server(&address)
        .unwrap()
        .identity(notary());
    let consumer = builder
        .credentials(Credentials::Tls(tls))
        .unwrap()
        .build()
        .unwrap();
    consumer.rest(&service("persons")).send().await.unwrap_err()
}

#[tokio::test]
async fn the_server_is_pinned_or_issued_and_we_show_who_we_are() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name, extension| certificate(folder.path(), name, extension);
    let Some(own) = make("own", "subjectAltName=DNS:nobody.example") else {
        return super::support::skipped("the_server_is_pinned_or_issued_and_we_show_who_we_are");
    };
    let other = make("other", "subjectAltName=DNS:nobody.example").unwrap();
    let client = make("client", "extendedKeyUsage=clientAuth").unwrap();
    let port = start(&own, &client.0).await;
    let address = || format!("https://127.0.0.1:{port}");

    // A pin looks at nothing but the certificate: the name does not fit.
    let error = ask(
        address(),
        TlsCredentials::new(ServerTrust::Pinned(own.0.clone())),
    )
    .await;
    assert_eq!(
        error.fault().unwrap_or_else(|| panic!("{error:?}")).code(),
        "client.shown0"
    );
    let tls = TlsCredentials::new(ServerTrust::Pinned(own.0.clone()))
        .with_identity(client.0.clone(), client.1.clone());
    assert_eq!(
        ask(address(), tls).await.fault().unwrap().code(),
        "client.shown1"
    );
    let error = ask(
        address(),
        TlsCredentials::new(ServerTrust::Pinned(other.0.clone())),
    )
    .await;
    assert!(matches!(error, CallError::Connect { .. }), "{error:?}");
    // An authority looks at the name as well.
    let error = ask(
        address(),
        TlsCredentials::new(ServerTrust::Authorities(own.0.clone())),
    )
    .await;
    assert!(matches!(error, CallError::Connect { .. }), "{error:?}");

    let builder = || {
        Consumer::builder()
            .server(&address())
            .unwrap()
            .identity(notary())
    };
    let broken = TlsCredentials::new(ServerTrust::Pinned(b"no pem".to_vec()));
    let error = builder()
        .credentials(Credentials::Tls(broken))
        .unwrap()
        .build()
        .unwrap_err();
    assert!(
        matches!(
            error,
            BuildError::Pem {
                what: "certificate"
            }
        ),
        "{error:?}"
    );
    let mixed = TlsCredentials::new(ServerTrust::Pinned(own.0.clone()))
        .with_identity(client.0.clone(), other.1);
    let error = builder()
        .credentials(Credentials::Tls(mixed))
        .unwrap()
        .build()
        .unwrap_err();
    assert!(matches!(error, BuildError::Identity(_)), "{error:?}");
    let shown = format!(
        "{:?}",
        TlsCredentials::new(ServerTrust::Pinned(own.0)).with_identity(client.0, client.1)
    );
    assert!(!shown.contains("key_pem"), "{shown}");
}

#[test]
fn addresses_and_credentials_must_fit() {
    for (address, reason) in [
        ("127.0.0.1:8080", "it starts with neither"),
        ("ftp://a", "it starts with neither"),
        ("http://", "it is no address"),
        ("http://a b", "it is no address"),
        ("http://a/r1", "it has a path"),
        ("http://a?b", "it has a path"),
        ("http://u:p@a", "it holds a user name"),
    ] {
        let error = Consumer::builder().server(address).unwrap_err();
        assert!(error.to_string().contains(reason), "{address}: {error}");
    }
    let plain = Consumer::builder()
        .server("http://a")
        .unwrap()
        .identity(notary());
    let tls = Credentials::Tls(TlsCredentials::new(ServerTrust::Authorities(Vec::new())));
    assert!(plain.credentials(tls).is_err());
    assert!(
        Consumer::builder()
            .server("https://a")
            .unwrap()
            .identity(notary())
            .credentials(Credentials::None)
            .is_err()
    );
}

#[tokio::test]
async fn a_server_that_never_finishes_the_handshake_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let Some(own) = certificate(folder.path(), "own", "subjectAltName=IP:127.0.0.1") else {
        return super::support::skipped("a_server_that_never_finishes_the_handshake_is_given_up");
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut deadlines = jibek_sdk::Deadlines::default();
    deadlines.connect = std::time::Duration::from_millis(200);
    let builder = Consumer::builder()
        .server(&format!("https://{}", listener.local_addr().unwrap()))
        .unwrap();
    let builder = builder
        .identity(notary())
        .credentials(Credentials::Tls(TlsCredentials::new(ServerTrust::Pinned(
            own.0,
        ))));
    let consumer = builder.unwrap().deadlines(deadlines).build().unwrap();
    let error = consumer.rest(&service("persons")).send().await.unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }), "{error:?}");
}
