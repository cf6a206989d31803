//! Which servers serve the provider (`message-path.md` 6.3, 1–3).

use jibek_conf::{ServerAddress, Snapshot};
use jibek_protocol::id::{ClientId, ServerId};

use super::identify::Identified;
use crate::message::RequestMessage;

/// A request and the servers that may take it.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(super) identified: Identified,
    pub(super) candidates: Vec<ServerAddress>,
}

/// Why no server can take the request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// Every server that could take it is in maintenance.
    #[error(
        "Security server with address \"{address}\" is in maintenance mode. Message from \"{address}\" administrator: {notice}"
    )]
    Maintenance {
        /// One of them.
        address: String,
        /// Its administrator's text.
        notice: String,
    },
    /// The server named in the message does not serve the provider.
    #[error("security server {server} does not serve {provider}")]
    InvalidSecurityServer {
        /// Named in the message.
        server: ServerId,
        /// Whose service is called.
        provider: ClientId,
    },
    /// The instance is not known here.
    #[error("instance {instance} is not known to this server")]
    UnknownInstance {
        /// Named in the message.
        instance: String,
    },
    /// No server serves the provider.
    #[error("Could not find addresses for service provider \"{provider}\"")]
    UnknownMember {
        /// Whose service is called.
        provider: ClientId,
    },
}

/// Finds the servers of the provider.
pub(crate) fn provider(identified: Identified, conf: &Snapshot) -> Result<Resolved, ResolveError> {
    let provider = identified.message().service().provider().clone();
    if !conf.knows_instance(provider.instance()) {
        return Err(ResolveError::UnknownInstance {
            instance: provider.instance().to_owned(),
        });
    }
    let target = match identified.message() {
        RequestMessage::Rest(block) => block.target_server().cloned(),
        RequestMessage::Soap(soap) => soap.header.security_server.clone(),
    };
    let mut candidates: Vec<_> = conf.servers_of(&provider).to_vec();
    if candidates.is_empty() {
        return Err(ResolveError::UnknownMember { provider });
    }
    if let Some(server) = target {
        candidates.retain(|candidate| candidate.server == server);
        if candidates.is_empty() {
            return Err(ResolveError::InvalidSecurityServer { server, provider });
        }
    }
    let in_maintenance = candidates.iter().find_map(|candidate| {
        let notice = candidate.maintenance.clone()?;
        Some((candidate.address.clone(), notice))
    });
    candidates.retain(|candidate| candidate.maintenance.is_none());
    match (candidates.is_empty(), in_maintenance) {
        (true, Some((address, notice))) => Err(ResolveError::Maintenance { address, notice }),
        _ => Ok(Resolved {
            identified,
            candidates,
        }),
    }
}
