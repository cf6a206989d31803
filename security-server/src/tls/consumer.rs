//! TLS with information systems: the server's internal key, and the listener for consumers.

use std::{
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use jibek_certs::{Certificate, KeyKind, SoftKey, Timestamp};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::{AcceptError, Stack, provider, verify::LeafVerifier};
use crate::clients::ConnectionInfo;

/// The key by which information systems know this server: shown to consumers, offered to providers (`message-path.md` 6.6).
#[derive(Debug)]
pub struct InternalTls {
    certificate: Certificate,
    key: SoftKey,
}

/// A TLS connection with a consumer.
pub type ConsumerStream = tokio_rustls::server::TlsStream<TcpStream>;

/// Why there is no internal key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InternalTlsError {
    /// A file could not be read or written.
    #[error("cannot {what} {path}", path = path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A key or certificate could not be made or used.
    #[error("cannot {what}")]
    Key {
        /// What was tried.
        what: &'static str,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl InternalTls {
    /// Opens `internal.key` and `internal.crt` in `directory`; makes them, self-signed for `name`, when they are absent. An operator
    /// may put others there. The folder is readable by its owner only.
    ///
    /// # Errors
    /// The folder cannot be written, or what lies there is no key and certificate.
    pub fn open_or_create(
        directory: &Path,
        name: &str,
        now: Timestamp,
    ) -> Result<Self, InternalTlsError> {
        let key_path = directory.join("internal.key");
        let certificate_path = directory.join("internal.crt");
        let file = |what, path: &Path| {
            let path = path.to_owned();
            move |source: Box<dyn std::error::Error + Send + Sync>| InternalTlsError::File {
                what,
                path,
                source,
            }
        };
        if !key_path.exists() || !certificate_path.exists() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(|error| file("create", directory)(error.into()))?;
            let (certificate, key) = Self::generate(name, now)?;
            jibek_conf::files::atomic_write(&key_path, key.to_pkcs8_pem().as_bytes())
                .map_err(|error| file("write", &key_path)(error.into()))?;
            jibek_conf::files::atomic_write(&certificate_path, certificate.as_bytes())
                .map_err(|error| file("write", &certificate_path)(error.into()))?;
        }
        let pem =
            std::fs::read(&key_path).map_err(|error| file("read", &key_path)(error.into()))?;
        let key = SoftKey::from_pem(&pem).map_err(|error| file("read", &key_path)(error.into()))?;
        let pem = std::fs::read(&certificate_path)
            .map_err(|error| file("read", &certificate_path)(error.into()))?;
        let certificate = Certificate::from_pem(&pem)
            .map_err(|error| file("read", &certificate_path)(error.into()))?;
        Ok(Self { certificate, key })
    }

    /// Returns the certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn identity(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivatePkcs8KeyDer::from(self.key.to_pkcs8_der().to_vec());
        (
            vec![CertificateDer::from(self.certificate.der().to_vec())],
            key.into(),
        )
    }

    fn generate(name: &str, now: Timestamp) -> Result<(String, SoftKey), InternalTlsError> {
        // RSA: consumers may be older than curves.
        let key = SoftKey::generate(KeyKind::Rsa2048).map_err(|error| InternalTlsError::Key {
            what: "generate the internal TLS key",
            source: error.into(),
        })?;
        let failed = |error: rcgen::Error| InternalTlsError::Key {
            what: "make the internal TLS certificate",
            source: error.into(),
        };
        let names = vec![
            name.to_owned(),
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
        ];
        let mut params = rcgen::CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.not_before = now - time::Duration::days(1);
        params.not_after = now + time::Duration::days(20 * 365);
        let certificate = params.self_signed(&key.for_rcgen()).map_err(failed)?;
        Ok((certificate.pem(), key))
    }
}

/// Accepts HTTPS connections of consumers. A client certificate is asked for, not demanded, and any is taken: the client's document
/// says which counts.
#[derive(Debug)]
pub struct ConsumerAcceptor {
    config: Arc<ServerConfig>,
    deadline: Duration,
}

impl ConsumerAcceptor {
    /// An acceptor that shows the internal certificate.
    ///
    /// # Errors
    /// The key does not fit the certificate.
    pub fn new(
        internal: &InternalTls,
        handshake_timeout: Duration,
    ) -> Result<Self, InternalTlsError> {
        let (chain, key) = internal.identity();
        let failed = |error: rustls::Error| InternalTlsError::Key {
            what: "use the internal TLS key",
            source: error.into(),
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_client_cert_verifier(LeafVerifier::any(false))
            .with_single_cert(chain, key)
            .map_err(failed)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            deadline: handshake_timeout,
        })
    }

    /// Carries out the handshake and tells how the consumer connected.
    ///
    /// # Errors
    /// The handshake failed or took too long; the connection is closed.
    pub async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(ConsumerStream, ConnectionInfo), AcceptError> {
        let failed = |error: std::io::Error| AcceptError::Handshake {
            stack: Stack::Modern,
            source: error.into(),
        };
        let remote = stream.peer_addr().map_err(failed)?;
        let _ = stream.set_nodelay(true); // fails on a dead connection only, which the next read tells
        let after = self.deadline;
        let stream = timeout(
            after,
            TlsAcceptor::from(Arc::clone(&self.config)).accept(stream),
        )
        .await
        .map_err(|_| AcceptError::Deadline { after })?
        .map_err(failed)?;
        let leaf = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first);
        let certificate = leaf.map(|leaf| Bytes::from(leaf.to_vec()));
        Ok((
            stream,
            ConnectionInfo {
                tls: true,
                certificate,
                remote,
            },
        ))
    }
}
