//! A connection to one of the provider's servers, which has proved to be that (`message-path.md` 5.5, 6.3).

use std::sync::Arc;

use jibek_conf::Snapshot;

use super::{identify::Identified, resolve::Resolved};
use crate::{
    context::Context,
    metrics::WayLabel,
    peers::{self, PeerConnection},
};

/// A request and the connection that will carry it.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(super) identified: Identified,
    pub(super) connection: PeerConnection,
}

/// Why no server of the provider could be reached.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConnectError(pub(crate) peers::ConnectError);

/// Connects, or takes a connection that is open already. The peer is judged either way.
pub(crate) async fn peer(
    context: &Context,
    resolved: Resolved,
    conf: &Arc<Snapshot>,
) -> Result<Connected, ConnectError> {
    let provider = resolved.identified.message().service().provider();
    let connection = context
        .peers
        .connection(&resolved.candidates, provider, conf, context.clock.now())
        .await
        .map_err(ConnectError)?;
    if let Some(stack) = connection.stack() {
        let reused = connection.reused();
        context
            .metrics
            .peer_connection(stack.into(), WayLabel::Outbound, reused);
    }
    Ok(Connected {
        identified: resolved.identified,
        connection,
    })
}
