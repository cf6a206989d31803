//! The client's side of the OpenSSL endpoint, which resumes sessions.
//!
//! `openssl` lets a session be set by an unsafe function only. `hyper-openssl`, by the same authors, wraps that: it keeps the
//! sessions of each host beside the one context that they belong to. It makes connections from addresses; here it gets the
//! connection that is open already.

use std::{
    collections::HashMap,
    future::{Ready, ready},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use http::Uri;
use hyper_openssl::{
    SslStream,
    client::legacy::{HttpsLayer, MaybeHttpsStream},
};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use openssl::error::ErrorStack;
use tokio::net::TcpStream;
use tower::{Layer, Service};

use super::{connect::TlsError, hello::Replay, legacy};
use crate::keys::AuthKey;

/// A connection that was made by [`LegacyClient::connect`].
pub(super) type Stream = SslStream<TokioIo<Replay<TcpStream>>>;

/// Makes TLS connections with one authentication key, and keeps their sessions.
pub(super) struct LegacyClient {
    auth: Arc<AuthKey>,
    layer: ArcSwap<HttpsLayer>,
    /// How often in a row a peer's session was not taken up again.
    misses: Mutex<HashMap<SocketAddr, u8>>,
}

impl LegacyClient {
    pub(super) fn new(auth: &Arc<AuthKey>) -> Result<Self, ErrorStack> {
        Ok(Self {
            auth: Arc::clone(auth),
            layer: ArcSwap::from_pointee(layer(auth)?),
            misses: Mutex::default(),
        })
    }

    /// Carries out the handshake with the server at `address`.
    pub(super) async fn connect(
        &self,
        stream: Replay<TcpStream>,
        address: SocketAddr,
    ) -> Result<Box<Stream>, TlsError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| TlsError::Handshake {
            address,
            stack: super::Stack::Legacy,
            source,
        };
        // Sessions are kept by this name.
        let uri: Uri = format!("https://{address}/")
            .parse()
            .map_err(|_| TlsError::Name {
                host: address.to_string(),
            })?;
        let open = Open(Some(TokioIo::new(stream)));
        let connecting = self.layer.load().layer(open).call(uri);
        match connecting.await.map_err(failed)? {
            MaybeHttpsStream::Https(stream) => {
                self.judge(address, stream.ssl().session_reused());
                Ok(Box::new(stream))
            }
            MaybeHttpsStream::Http(_) => Err(failed("a connection without TLS".into())),
        }
    }

    /// Of several sessions with a peer the oldest is offered. When the peer has forgotten it, all are forgotten here, so that
    /// the newest gets its turn; for a peer that never resumes only once.
    fn judge(&self, address: SocketAddr, resumed: bool) {
        let mut misses = self.misses.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(missed) = misses.get_mut(&address) else {
            if misses.len() >= MOST_PEERS {
                misses.clear();
            }
            misses.insert(address, 0); // the first session
            return;
        };
        if resumed {
            *missed = 0;
            return;
        }
        *missed = missed.saturating_add(1);
        if *missed == 1 {
            match layer(&self.auth) {
                Ok(layer) => self.layer.store(Arc::new(layer)),
                Err(error) => tracing::warn!(%error, "cannot forget old TLS sessions"),
            }
        }
    }
}

fn layer(auth: &AuthKey) -> Result<HttpsLayer, ErrorStack> {
    let mut layer = HttpsLayer::with_connector(legacy::client_context(auth)?)?;
    layer.set_callback(|connection, _| {
        // Names are not judged here, and not told: a peer is known by its certificate.
        connection.set_verify_hostname(false);
        connection.set_use_server_name_indication(false);
        Ok(())
    });
    Ok(layer)
}

/// Gives a connection away that is open already.
struct Open(Option<TokioIo<Replay<TcpStream>>>);

impl Service<Uri> for Open {
    type Response = TokioIo<Replay<TcpStream>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(
            self.0
                .take()
                .ok_or_else(|| io::ErrorKind::NotConnected.into()),
        )
    }
}

impl Connection for Replay<TcpStream> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

const MOST_PEERS: usize = 10_000;
