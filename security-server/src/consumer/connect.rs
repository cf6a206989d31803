//! A connection to one of the provider's servers, which has proved to be that (`message-path.md` 5.5, 6.3).

use std::{sync::Arc, time::Duration};

use jibek_conf::{ServerAddress, Snapshot};
use tokio::time::{Instant, timeout_at};

use super::{identify::Identified, resolve::Resolved};
use crate::{
    context::Context,
    metrics::WayLabel,
    peers::{self, PeerConnection},
    tls::PeerTls,
};

/// A request, the connection that will carry it, and how to come by another.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(super) identified: Identified,
    pub(super) connection: PeerConnection,
    pub(super) way: Way,
}

/// Why no server of the provider could be reached.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConnectError(pub(crate) peers::ConnectError);

/// Connects, or takes a connection that is open already. The peer is judged either way. One that was there a moment ago
/// and may just be starting again is waited for.
pub(crate) async fn peer(
    context: &Context,
    resolved: Resolved,
    conf: &Arc<Snapshot>,
) -> Result<Connected, ConnectError> {
    let Resolved {
        identified,
        candidates,
    } = resolved;
    let provider = identified.message().service().provider();
    let mut pauses = Pauses::default();
    let until = Instant::now() + context.config.peers.repeat_for;
    let mut waiting = None;
    let connection = loop {
        let connected = context
            .peers
            .connection(&candidates, provider, conf, context.clock.now())
            .await;
        match connected {
            Ok(connection) => break connection,
            Err(error)
                if is_away(&error)
                    && context.peers.may_return(&candidates)
                    && Instant::now() < until =>
            {
                if waiting.is_none() {
                    waiting = context.waiting_for_peers.try_acquire().ok();
                }
                if waiting.is_none() {
                    return Err(ConnectError(error)); // enough wait already: others must get through
                }
                pauses.wait().await;
            }
            Err(error) => return Err(ConnectError(error)),
        }
    };
    count(context, &connection);
    Ok(Connected {
        identified,
        connection,
        way: Way {
            candidates,
            reach: Reach::Any,
            repeats: 0,
            lost: None,
            released: None,
        },
    })
}

/// How to come by another connection when one is lost, as often and as long as the operator allows.
#[derive(Debug)]
pub(crate) struct Way {
    candidates: Vec<ServerAddress>,
    reach: Reach,
    repeats: usize,
    /// When the first connection was lost.
    lost: Option<Instant>,
    /// When the signature left first.
    released: Option<Instant>,
}

impl Way {
    /// Tells whether a message was sent more than once.
    pub(super) fn was_repeated(&self) -> bool {
        self.repeats > 0
    }

    /// Tells whether the message may still be sent again.
    pub(super) fn goes_on(&self) -> bool {
        !matches!(self.reach, Reach::Nobody)
    }

    /// The signature leaves over `connection`.
    pub(super) fn released(&mut self, connection: &PeerConnection) {
        self.released.get_or_insert_with(Instant::now);
        let peer = connection.tls().filter(|peer| peer.once);
        self.reach = peer.map_or(Reach::Nobody, Reach::Same);
    }

    /// Another connection: to any server of the provider as long as no peer can have acted on the message, then to the one that
    /// may have, because only there it is known. `None`: enough was tried, or that server says no more that it executes a request
    /// once.
    ///
    /// Cancel safe: a cancelled call uses up one of the repeats.
    pub(super) async fn another(
        &mut self,
        context: &Context,
        identified: &Identified,
        conf: &Arc<Snapshot>,
    ) -> Option<PeerConnection> {
        let settings = &context.config.peers;
        let until = *self.lost.get_or_insert_with(Instant::now) + settings.repeat_for;
        let forgotten = self
            .released
            .is_some_and(|since| since.elapsed() >= RECOGNISED);
        if self.repeats >= settings.repeats || forgotten {
            return None;
        }
        let provider = identified.message().service().provider();
        let mut candidates = self.candidates.clone();
        let server = match &self.reach {
            Reach::Any => None,
            Reach::Nobody => return None,
            Reach::Same(peer) => {
                let server = conf.auth_cert_serves(peer.certificates.first()?, provider);
                Some(server.ok()?.id())
            }
        };
        candidates.retain(|candidate| server.is_none_or(|server| candidate.server == *server));
        let fits = |connection: &PeerConnection| {
            server.is_none_or(|server| connection.once() && connection.is_to(server))
        };
        let mut pauses = Pauses::after(self.repeats);
        self.repeats += 1;
        loop {
            pauses.wait().await;
            let connecting = context.peers.fresh_connection(&candidates, provider, conf);
            match timeout_at(until, connecting).await {
                Ok(Ok(connection)) => {
                    count(context, &connection);
                    return Some(connection).filter(fits);
                }
                Ok(Err(error)) => {
                    tracing::info!(%error, "a lost message waits for another connection");
                }
                Err(_) => return None,
            }
        }
    }
}

/// Who may be sent a message again.
#[derive(Debug)]
enum Reach {
    /// Any server of the provider: the signature has not left.
    Any,
    /// It left for a peer that might execute it twice.
    Nobody,
    /// It left for this peer, which executes it once.
    Same(Arc<PeerTls>),
}

/// Pauses that double: none at first, then from 25 ms to 2 s.
#[derive(Debug, Default)]
struct Pauses {
    next: Duration,
}

impl Pauses {
    /// After so many pauses.
    fn after(count: usize) -> Self {
        let mut pauses = Self::default();
        for _ in 0..count.min(10) {
            pauses.grow();
        }
        pauses
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.next).await;
        self.grow();
    }

    fn grow(&mut self) {
        self.next = (self.next * 2).clamp(Duration::from_millis(25), Duration::from_secs(2));
    }
}

/// Whether nobody was there, which a server that starts again cannot help.
fn is_away(error: &peers::ConnectError) -> bool {
    matches!(
        error,
        peers::ConnectError::Network { .. } | peers::ConnectError::TlsRefused { .. }
    )
}

fn count(context: &Context, connection: &PeerConnection) {
    if let Some(stack) = connection.stack() {
        let reused = connection.reused();
        context
            .metrics
            .peer_connection(stack.into(), WayLabel::Outbound, reused);
    }
}

/// After that a message is not sent again: its server may have forgotten it. Half of what `once_seconds` is by default.
const RECOGNISED: Duration = Duration::from_secs(1800);
