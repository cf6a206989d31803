//! The front door on 5500: reads the ClientHello and lets the stack answer that can.

use std::{io, pin::Pin, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use openssl::ssl::{Ssl, SslContext};
use rustls::{HandshakeKind, ServerConfig, server::ServerSessionMemoryCache};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::{
    Inner, ONCE, PeerStream, PeerTls, Stack,
    hello::{self, ClientHello, HelloError, Replay},
    identity, legacy, offered, presented, provider,
    verify::{LeafVerifier, Registered},
};
use crate::{
    config::PeerSettings,
    keys::{AuthKey, KeyRing},
    metrics::{Metrics, WayLabel},
};

/// Accepts TLS connections of other servers. Presents the authentication certificate that counts at the moment.
pub struct PeerAcceptor {
    keys: Arc<KeyRing>,
    registered: Registered,
    legacy: bool,
    deadline: Duration,
    built: ArcSwapOption<Built>,
    metrics: Option<Metrics>,
}

/// Why a connection was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The handshake took too long.
    #[error("TLS handshake was not finished within {}", seconds(*after))]
    Deadline {
        /// The limit.
        after: Duration,
    },
    /// The handshake failed: no certificate, an unregistered one, no common suite, a lost connection.
    #[error("TLS handshake failed ({stack:?} stack)")]
    Handshake {
        /// Which stack answered.
        stack: Stack,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There was no sound ClientHello.
    #[error("no TLS greeting")]
    Hello(#[source] HelloError),
    /// The client has nothing but the suites of the legacy endpoint, which the operator has switched off.
    #[error(
        "the client offers TLS 1.2 with CBC suites only, and the legacy endpoint is switched off"
    )]
    LegacyOff,
    /// There is no authentication key to present.
    #[error("no authentication key: {reason}")]
    NoAuthKey {
        /// Why not.
        reason: String,
    },
    /// The presented certificate cannot be read.
    #[error("the client's certificate cannot be read")]
    Unreadable,
    /// The session was begun with a certificate that is registered no more.
    #[error("the client's certificate is not registered")]
    Unregistered,
    /// The own key and certificate cannot be used for TLS.
    #[error("cannot prepare TLS with the authentication key")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl PeerAcceptor {
    /// An acceptor for the keys of `keys`; `registered` tells whether a leaf certificate belongs to a registered server.
    pub fn new(keys: Arc<KeyRing>, registered: Registered, settings: &PeerSettings) -> Self {
        Self {
            keys,
            registered,
            legacy: settings.legacy_tls,
            deadline: settings.handshake_timeout,
            built: ArcSwapOption::empty(),
            metrics: None,
        }
    }

    /// Counts handshakes in `metrics`.
    #[must_use]
    pub fn counting(self, metrics: Metrics) -> Self {
        Self {
            metrics: Some(metrics),
            ..self
        }
    }

    /// Carries out the handshake. Has its own deadline, so a client that never ends its greeting is dropped.
    ///
    /// With TLS 1.3 a client learns of a refusal only at its first read.
    ///
    /// # Errors
    /// [`AcceptError`]; the connection is closed.
    pub async fn accept(&self, stream: TcpStream) -> Result<(PeerStream, PeerTls), AcceptError> {
        let after = self.deadline;
        timeout(after, self.handshake(stream))
            .await
            .map_err(|_| AcceptError::Deadline { after })?
    }

    async fn handshake(&self, mut stream: TcpStream) -> Result<(PeerStream, PeerTls), AcceptError> {
        let built = self.built()?;
        let _ = stream.set_nodelay(true); // fails on a dead connection only, which the next read tells
        let (hello, bytes) = hello::read(&mut stream).await.map_err(AcceptError::Hello)?;
        let stream = Replay::new(bytes, stream);
        let (stream, tls) = match (built.choose(&hello), &built.legacy) {
            (Stack::Legacy, Some(context)) => legacy_handshake(context, stream).await?,
            (Stack::Legacy, None) => {
                let _ = modern_handshake(&built.modern, stream).await; // tells the client by an alert
                return Err(AcceptError::LegacyOff);
            }
            (Stack::Modern, _) => modern_handshake(&built.modern, stream).await?,
        };
        // A resumed session skips the verifier.
        let registered = tls
            .certificates
            .first()
            .is_some_and(|leaf| (self.registered)(leaf.der()));
        if registered {
            if let Some(metrics) = &self.metrics {
                metrics.handshake(WayLabel::Inbound, tls.resumed);
            }
            Ok((stream, tls))
        } else {
            Err(AcceptError::Unregistered)
        }
    }

    /// The contexts for the present authentication key. Sessions of an earlier key are forgotten with it.
    fn built(&self) -> Result<Arc<Built>, AcceptError> {
        let keys = self.keys.current();
        let auth = keys.auth().ok_or_else(|| AcceptError::NoAuthKey {
            reason: keys.auth_problem().unwrap_or_default().to_owned(),
        })?;
        if let Some(built) = self.built.load_full().filter(|built| built.is_for(auth)) {
            return Ok(built);
        }
        let built = Arc::new(Built::new(auth, &self.registered, self.legacy)?);
        self.built.store(Some(Arc::clone(&built)));
        Ok(built)
    }
}

impl std::fmt::Debug for PeerAcceptor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PeerAcceptor")
            .field("legacy", &self.legacy)
            .finish_non_exhaustive()
    }
}

struct Built {
    auth: Arc<AuthKey>,
    rsa: bool,
    modern: Arc<ServerConfig>,
    legacy: Option<SslContext>,
}

impl Built {
    fn new(
        auth: &Arc<AuthKey>,
        registered: &Registered,
        legacy: bool,
    ) -> Result<Self, AcceptError> {
        let (chain, key) = identity(auth);
        let mut modern = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| AcceptError::Setup(error.into()))?
            .with_client_cert_verifier(LeafVerifier::new(Arc::clone(registered), true))
            .with_single_cert(chain, key)
            .map_err(|error| AcceptError::Setup(error.into()))?;
        modern.alpn_protocols = offered();
        modern.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        let legacy = legacy
            .then(|| legacy::server_context(auth, Arc::clone(registered)))
            .transpose()
            .map_err(|error| AcceptError::Setup(error.into()))?;
        let rsa = !jibek_certs::Signer::algorithm(auth.key()).is_ecdsa();
        Ok(Self {
            auth: Arc::clone(auth),
            rsa,
            modern: Arc::new(modern),
            legacy,
        })
    }

    fn is_for(&self, auth: &AuthKey) -> bool {
        self.auth.certificate() == auth.certificate() && self.auth.chain() == auth.chain()
    }

    /// rustls when the client offers TLS 1.3 or a suite of rustls that fits our key, else OpenSSL.
    fn choose(&self, hello: &ClientHello) -> Stack {
        let fitting = if self.rsa { MODERN_RSA } else { MODERN_ECDSA };
        if hello.tls13 || hello.suites.iter().any(|suite| fitting.contains(suite)) {
            Stack::Modern
        } else {
            Stack::Legacy
        }
    }
}

async fn modern_handshake(
    config: &Arc<ServerConfig>,
    stream: Replay<TcpStream>,
) -> Result<(PeerStream, PeerTls), AcceptError> {
    let failed = |error: io::Error| AcceptError::Handshake {
        stack: Stack::Modern,
        source: error.into(),
    };
    let stream = TlsAcceptor::from(Arc::clone(config))
        .accept(stream)
        .await
        .map_err(failed)?;
    let connection = stream.get_ref().1;
    let tls = PeerTls {
        certificates: presented(connection.peer_certificates()).ok_or(AcceptError::Unreadable)?,
        stack: Stack::Modern,
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        once: connection.alpn_protocol() == Some(ONCE),
    };
    Ok((PeerStream(Inner::ModernInbound(Box::new(stream))), tls))
}

async fn legacy_handshake(
    context: &SslContext,
    stream: Replay<TcpStream>,
) -> Result<(PeerStream, PeerTls), AcceptError> {
    let ssl = Ssl::new(context).map_err(|error| AcceptError::Setup(error.into()))?;
    let mut stream = tokio_openssl::SslStream::new(ssl, stream)
        .map_err(|error| AcceptError::Setup(error.into()))?;
    Pin::new(&mut stream)
        .accept()
        .await
        .map_err(|error| AcceptError::Handshake {
            stack: Stack::Legacy,
            source: error.into(),
        })?;
    let tls = PeerTls {
        certificates: legacy::presented(stream.ssl()).ok_or(AcceptError::Unreadable)?,
        stack: Stack::Legacy,
        resumed: stream.ssl().session_reused(),
        once: false,
    };
    Ok((PeerStream(Inner::LegacyInbound(Box::new(stream))), tls))
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f32())
}

/// TLS 1.2 suites that rustls has, for RSA certificates.
const MODERN_RSA: &[u16] = &[0xc02f, 0xc030, 0xcca8];
/// TLS 1.2 suites that rustls has, for EC certificates.
const MODERN_ECDSA: &[u16] = &[0xc02b, 0xc02c, 0xcca9];
const SESSIONS: usize = 4096;
