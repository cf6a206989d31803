//! A connection in the hands of one message.

use std::sync::{Arc, Mutex, PoisonError};

use http::Response;
use hyper::body::Incoming;
use jibek_certs::{Certificate, Timestamp};
use jibek_conf::Snapshot;
use jibek_protocol::id::{ClientId, ServerId};
use tokio::time::Instant;

use super::{ConnectError, PeerRequest, Peers, Sender};
use crate::tls::{PeerTls, Stack};

/// A connection that may carry a message to a provider's server. Dropping it closes it; [`Self::recycle`] keeps it.
#[derive(Debug)]
pub struct PeerConnection {
    peers: Arc<Peers>,
    link: Arc<Mutex<Option<Link>>>,
    errand: Arc<Errand>,
    host: String,
    reused: bool,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection was given away by an earlier send that was dropped.
    #[error("the connection to the peer is gone")]
    Gone,
    /// The exchange failed.
    #[error("the exchange with the peer failed")]
    Http(#[source] hyper::Error),
    /// A dead connection could not be replaced.
    #[error("the connection to the peer had died and could not be replaced")]
    Replace(#[source] ConnectError),
}

/// An HTTP connection and what is known of its other end.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) sender: Sender,
    pub(super) tls: Arc<PeerTls>,
    pub(super) host: String,
    /// SHA-256 of our certificate that it was made with.
    pub(super) auth: [u8; 32],
    /// When it was opened.
    pub(super) opened: Instant,
}

/// For whom a connection is wanted, under which configuration, when.
#[derive(Debug, Clone)]
pub(super) struct Errand {
    pub(super) provider: ClientId,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) now: Timestamp,
    /// Whether connections that were open before will not do.
    pub(super) fresh: bool,
}

impl PeerConnection {
    pub(super) fn new(peers: Arc<Peers>, link: Link, errand: Errand, reused: bool) -> Self {
        let host = link.host.clone();
        Self {
            peers,
            link: Arc::new(Mutex::new(Some(link))),
            errand: Arc::new(errand),
            host,
            reused,
        }
    }

    /// Sends a request. The returned future does not borrow, so the body can be fed while it is polled. When a reused connection
    /// turns out to have died before anything was sent, a new one takes its place, judged like the first.
    pub fn send(
        &mut self,
        request: PeerRequest,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> + Send + 'static {
        let (peers, slot, errand) = (
            Arc::clone(&self.peers),
            Arc::clone(&self.link),
            Arc::clone(&self.errand),
        );
        let (host, reused) = (self.host.clone(), self.reused);
        async move {
            let sending = {
                let mut link = slot.lock().unwrap_or_else(PoisonError::into_inner);
                link.as_mut()
                    .ok_or(SendError::Gone)?
                    .sender
                    .try_send_request(request)
            };
            let mut failed = match sending.await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            let Some(request) = failed.take_message().filter(|_| reused) else {
                return Err(SendError::Http(failed.into_error()));
            };
            tracing::debug!(peer = %host, "a reused connection had died; replacing it");
            let errand = Errand {
                now: peers.now(),
                ..(*errand).clone()
            };
            let mut link = Box::pin(peers.replace(&host, &errand))
                .await
                .map_err(SendError::Replace)?;
            let sending = link.sender.send_request(request);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
            sending.await.map_err(SendError::Http)
        }
    }

    /// Returns the peer's address as the configuration has it (host name or IP address), without a port.
    pub fn address(&self) -> &str {
        &self.host
    }

    /// Tells whether the peer executes a signed request once, however often it arrives, so that a message may be sent again after
    /// its signature left.
    pub fn once(&self) -> bool {
        self.tls().is_some_and(|tls| tls.once)
    }

    /// Tells whether the peer proved to be `server`.
    pub fn is_to(&self, server: &ServerId) -> bool {
        let tls = self.tls();
        let leaf = tls.as_ref().and_then(|tls| tls.certificates.first());
        leaf.is_some_and(|leaf| {
            let (snapshot, provider) = (&self.errand.snapshot, &self.errand.provider);
            let entry = snapshot.auth_cert_serves(leaf, provider);
            entry.is_ok_and(|entry| entry.id() == server)
        })
    }

    /// Returns the certificates that the peer presented, leaf first.
    pub fn certificates(&self) -> Vec<Certificate> {
        self.tls()
            .map(|tls| tls.certificates.clone())
            .unwrap_or_default()
    }

    /// Tells which TLS stack carries the connection.
    pub fn stack(&self) -> Option<Stack> {
        self.tls().map(|tls| tls.stack)
    }

    /// Tells whether the connection carried a message before.
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Keeps the connection for the next message. To be called after the answer's body was read to its end; a connection that the
    /// peer closes is dropped.
    pub fn recycle(self) {
        if let Some(link) = self
            .link
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            self.peers.pool.put(link);
        }
    }

    /// Returns what is known of the connection.
    pub fn tls(&self) -> Option<Arc<PeerTls>> {
        self.link
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(|link| Arc::clone(&link.tls))
    }
}
