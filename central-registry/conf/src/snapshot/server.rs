//! Security servers in a snapshot.

use std::collections::HashSet;

use bytes::Bytes;
use jibek_protocol::id::{ClientId, MemberId, ServerId};

/// A security server of any instance.
#[derive(Clone, Debug)]
pub struct ServerEntry {
    pub(super) id: ServerId,
    pub(super) address: Option<String>,
    pub(super) clients: Vec<ClientId>,
    pub(super) served: HashSet<ClientId>,
    pub(super) maintenance: Option<String>,
    pub(super) hashes: Vec<Bytes>,
}

impl ServerEntry {
    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> &ServerId {
        &self.id
    }

    /// The member that owns it, which is a client of it without being listed.
    #[must_use]
    pub fn owner(&self) -> &MemberId {
        self.id.owner()
    }

    /// Host name or address, without port.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Registered clients as listed, without the owner.
    #[must_use]
    pub fn clients(&self) -> &[ClientId] {
        &self.clients
    }

    /// Whether exactly this client is registered here or owns the server.
    #[must_use]
    pub fn serves(&self, client: &ClientId) -> bool {
        self.served.contains(client)
    }

    /// What its administrator says while it is in maintenance; empty when nothing.
    #[must_use]
    pub fn maintenance(&self) -> Option<&str> {
        self.maintenance.as_deref()
    }

    /// Digests of its authentication certificates as listed.
    #[must_use]
    pub fn auth_certificate_hashes(&self) -> &[Bytes] {
        &self.hashes
    }
}

/// Where a provider can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerAddress {
    /// The server.
    pub server: ServerId,
    /// Host name or address, without port.
    pub address: String,
    /// Present while the server is in maintenance; what its administrator says, possibly empty.
    pub maintenance: Option<String>,
}

/// A server may not act for a client (`message-path.md` 5.4 step 4). Displayed in X-Road's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthCertError {
    /// No server has this certificate.
    #[error("Authentication certificate {subject} is not associated with any security server")]
    NotAssociated {
        /// Subject of the certificate.
        subject: String,
    },
    /// The certificate's server does not have this client.
    #[error("Client '{client}' is not registered at security server {server}")]
    NotRegistered {
        /// The client.
        client: ClientId,
        /// The server that has the certificate.
        server: ServerId,
    },
}
