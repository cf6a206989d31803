//! Speaking TLS to another server's 5500: rustls first, OpenSSL for those who refuse it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use jibek_certs::Clock;
use rustls::{
    AlertDescription, ClientConfig, HandshakeKind, client::Resumption, pki_types::ServerName,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    Inner, ONCE, PeerStream, PeerTls, Stack,
    hello::Replay,
    identity, legacy,
    memory::{Mark, Memory},
    offered, presented, provider,
    resume::LegacyClient,
    verify::LeafVerifier,
};
use crate::{
    config::PeerSettings,
    keys::{AuthKey, KeyRing},
    metrics::{Metrics, WayLabel},
    store::Store,
};

/// Makes TLS connections to other servers. Presents the authentication certificate that counts at the moment.
pub struct PeerConnector {
    keys: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    legacy: bool,
    connect_timeout: Duration,
    handshake_timeout: Duration,
    pub(super) memory: Memory,
    built: ArcSwapOption<Built>,
    metrics: Option<Metrics>,
}

/// Why TLS with a peer failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The second TCP connection, for the legacy stack, failed.
    #[error("cannot connect again to {address} for legacy TLS")]
    Connect {
        /// The peer.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// The handshake took too long.
    #[error("TLS handshake with {address} was not finished within {} s", after.as_secs_f32())]
    Deadline {
        /// The peer.
        address: SocketAddr,
        /// The limit.
        after: Duration,
    },
    /// A peer that spoke modern TLS before refuses it now. Legacy TLS is not tried: somebody between us may want just that.
    #[error("{address} spoke modern TLS before and refuses it now")]
    Downgrade {
        /// The peer.
        address: SocketAddr,
    },
    /// The handshake failed.
    #[error("TLS handshake with {address} failed ({stack:?} stack)")]
    Handshake {
        /// The peer.
        address: SocketAddr,
        /// Which stack was tried.
        stack: Stack,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The peer has nothing but legacy TLS, which the operator has switched off.
    #[error("{address} refuses modern TLS, and legacy TLS is switched off")]
    LegacyOff {
        /// The peer.
        address: SocketAddr,
    },
    /// There is no authentication key to present.
    #[error("no authentication key: {reason}")]
    NoAuthKey {
        /// Why not.
        reason: String,
    },
    /// The peer's address is no host name.
    #[error("`{host}` is no host name")]
    Name {
        /// The address.
        host: String,
    },
    /// The own key and certificate cannot be used for TLS.
    #[error("cannot prepare TLS with the authentication key")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The peer's certificate cannot be read.
    #[error("the certificate of {address} cannot be read")]
    Unreadable {
        /// The peer.
        address: SocketAddr,
    },
}

impl PeerConnector {
    /// A connector for the keys of `keys`. Which peers speak modern TLS is remembered in `store`.
    pub fn new(
        keys: Arc<KeyRing>,
        store: Option<Store>,
        clock: Arc<dyn Clock>,
        settings: &PeerSettings,
    ) -> Self {
        Self {
            keys,
            clock,
            legacy: settings.legacy_tls,
            connect_timeout: settings.connect_timeout,
            handshake_timeout: settings.handshake_timeout,
            memory: Memory::new(store),
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

    /// Carries out the handshake over `stream`, which is connected to `address` of the peer named `host`. A peer that refuses rustls
    /// before its ServerHello (alert 40 or 70) is connected a second time and gets OpenSSL, for the next hour at once.
    ///
    /// # Errors
    /// [`TlsError`].
    pub async fn secure(
        &self,
        stream: TcpStream,
        host: &str,
        address: SocketAddr,
    ) -> Result<(PeerStream, PeerTls), TlsError> {
        let secured = self.handshake(stream, host, address).await?;
        if let Some(metrics) = &self.metrics {
            metrics.handshake(WayLabel::Outbound, secured.1.resumed);
        }
        Ok(secured)
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        host: &str,
        address: SocketAddr,
    ) -> Result<(PeerStream, PeerTls), TlsError> {
        let built = self.built()?;
        let peer = format!("{host}:{}", address.port());
        let _ = stream.set_nodelay(true); // fails on a dead connection only, which the next read tells
        let mark = self.memory.get(&peer, self.clock.now());
        if let (Some(Mark::Refused { .. }), Some(context)) = (mark, &built.legacy) {
            return self
                .within(address, legacy_handshake(context, stream, address))
                .await;
        }
        match self
            .within(
                address,
                modern_handshake(&built.modern, stream, host, address),
            )
            .await
        {
            Ok(connected) => {
                self.memory.reached(&peer).await;
                Ok(connected)
            }
            Err(Failed::Other(error)) => Err(error),
            Err(Failed::Refused) if mark == Some(Mark::Modern) => {
                Err(TlsError::Downgrade { address })
            }
            Err(Failed::Refused) => {
                self.memory.refused(&peer, self.clock.now());
                let context = built
                    .legacy
                    .as_ref()
                    .ok_or(TlsError::LegacyOff { address })?;
                tracing::info!(%address, "peer refuses modern TLS; using legacy TLS");
                let stream = timeout(self.connect_timeout, TcpStream::connect(address))
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                    .map_err(|source| TlsError::Connect { address, source })?;
                let _ = stream.set_nodelay(true);
                self.within(address, legacy_handshake(context, stream, address))
                    .await
            }
        }
    }

    async fn within<T, E: From<TlsError>>(
        &self,
        address: SocketAddr,
        handshake: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let after = self.handshake_timeout;
        timeout(after, handshake)
            .await
            .unwrap_or_else(|_| Err(TlsError::Deadline { address, after }.into()))
    }

    fn built(&self) -> Result<Arc<Built>, TlsError> {
        let keys = self.keys.current();
        let auth = keys.auth().ok_or_else(|| TlsError::NoAuthKey {
            reason: keys.auth_problem().unwrap_or_default().to_owned(),
        })?;
        let same = |built: &Arc<Built>| {
            built.auth.certificate() == auth.certificate() && built.auth.chain() == auth.chain()
        };
        if let Some(built) = self.built.load_full().filter(same) {
            return Ok(built);
        }
        let built = Arc::new(Built::new(auth, self.legacy)?);
        self.built.store(Some(Arc::clone(&built)));
        Ok(built)
    }
}

impl std::fmt::Debug for PeerConnector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PeerConnector")
            .field("legacy", &self.legacy)
            .finish_non_exhaustive()
    }
}

struct Built {
    auth: Arc<AuthKey>,
    modern: Arc<ClientConfig>,
    legacy: Option<LegacyClient>,
}

impl Built {
    fn new(auth: &Arc<AuthKey>, legacy: bool) -> Result<Self, TlsError> {
        let (chain, key) = identity(auth);
        let mut modern = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Setup(error.into()))?
            .dangerous()
            .with_custom_certificate_verifier(LeafVerifier::any(true))
            .with_client_auth_cert(chain, key)
            .map_err(|error| TlsError::Setup(error.into()))?;
        modern.alpn_protocols = offered();
        modern.resumption = Resumption::in_memory_sessions(SESSIONS);
        let legacy = legacy
            .then(|| LegacyClient::new(auth))
            .transpose()
            .map_err(|error| TlsError::Setup(error.into()))?;
        Ok(Self {
            auth: Arc::clone(auth),
            modern: Arc::new(modern),
            legacy,
        })
    }
}

/// Why rustls did not get through.
enum Failed {
    /// Alert 40 or 70 before ServerHello: the peer has nothing in common with rustls.
    Refused,
    Other(TlsError),
}

impl From<TlsError> for Failed {
    fn from(error: TlsError) -> Self {
        Self::Other(error)
    }
}

async fn modern_handshake(
    config: &Arc<ClientConfig>,
    stream: TcpStream,
    host: &str,
    address: SocketAddr,
) -> Result<(PeerStream, PeerTls), Failed> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name {
        host: host.to_owned(),
    })?;
    let connect =
        TlsConnector::from(Arc::clone(config)).connect(name, Replay::new(Bytes::new(), stream));
    let stream = connect.into_fallible().await.map_err(|(error, stream)| {
        if stream.first_byte() == Some(ALERT) && is_refusal(&error) {
            Failed::Refused
        } else {
            Failed::Other(TlsError::Handshake {
                address,
                stack: Stack::Modern,
                source: error.into(),
            })
        }
    })?;
    let connection = stream.get_ref().1;
    let tls = PeerTls {
        certificates: presented(connection.peer_certificates())
            .ok_or(TlsError::Unreadable { address })?,
        stack: Stack::Modern,
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        once: connection.alpn_protocol() == Some(ONCE),
    };
    Ok((PeerStream(Inner::ModernOutbound(Box::new(stream))), tls))
}

async fn legacy_handshake(
    client: &LegacyClient,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<(PeerStream, PeerTls), TlsError> {
    let stream = client
        .connect(Replay::new(Bytes::new(), stream), address)
        .await?;
    let tls = PeerTls {
        certificates: legacy::presented(stream.ssl()).ok_or(TlsError::Unreadable { address })?,
        stack: Stack::Legacy,
        resumed: stream.ssl().session_reused(),
        once: false,
    };
    Ok((PeerStream(Inner::LegacyOutbound(TokioIo::new(stream))), tls))
}

fn is_refusal(error: &io::Error) -> bool {
    let error = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(
        error,
        Some(rustls::Error::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion
        ))
    )
}

const ALERT: u8 = 21;
const SESSIONS: usize = 1024;
