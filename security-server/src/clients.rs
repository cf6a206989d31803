//! The clients of this server: who they are, how they connect, what they offer and to whom.
//!
//! The truth are documents, one TOML file a client in the folder `clients/`. [`ClientFolder`] reads them and looks for changes; a
//! message takes one [`Clients`] snapshot and keeps it.

mod document;
mod folder;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Uri;
use jibek_certs::Certificate;
use jibek_conf::Snapshot;
use jibek_protocol::{
    id::{ClientId, GlobalGroupId, MemberId},
    path::{AccessPath, PathPattern},
};

use crate::config::Keeping;
pub use document::ClientsError;
pub use folder::{ClientFolder, ClientsStatus, PollOutcome};

/// The present clients, replaced as a whole when a document changes.
pub type SharedClients = Arc<ArcSwap<Clients>>;

/// All clients of this server at one moment.
#[derive(Debug, Clone, Default)]
pub struct Clients {
    by_id: BTreeMap<ClientId, Arc<Client>>,
}

/// A member or subsystem that is registered at this server.
#[derive(Debug)]
pub struct Client {
    id: ClientId,
    connection: ConnectionType,
    certificates: Vec<Certificate>,
    services: Vec<Arc<Service>>,
    groups: Vec<LocalGroup>,
    keeping: Keeping,
}

/// How a client's information system must connect (`message-path.md` 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "X-Road knows these three")]
pub enum ConnectionType {
    /// Plain HTTP or HTTPS, certificates not looked at (X-Road: NOSSL).
    Http,
    /// HTTPS, certificates not looked at (X-Road: SSLNOAUTH).
    Https,
    /// HTTPS with one of the client's certificates, byte for byte (X-Road: SSLAUTH).
    HttpsMutual,
}

/// How an information system did connect.
#[derive(Debug, Clone)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by the listeners and by tests"
)]
pub struct ConnectionInfo {
    /// Whether the connection is TLS.
    pub tls: bool,
    /// The leaf certificate as the other end presented it (DER); it need not be one that we can parse.
    pub certificate: Option<Bytes>,
    /// The other end.
    pub remote: SocketAddr,
}

/// The connection is not what the client's document asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionRefused {
    /// A certificate is needed and none was presented.
    #[error("client must present an information system certificate and presented none")]
    NoCertificate,
    /// TLS is needed.
    #[error("client must use HTTPS and used plain HTTP")]
    PlainHttp,
    /// The certificate presented is none of the client's.
    #[error("the information system certificate presented is not registered for the client")]
    UnknownCertificate,
}

/// A service that a client offers.
#[derive(Debug)]
pub struct Service {
    code: String,
    version: Option<String>,
    kind: ServiceKind,
    url: Uri,
    timeout: Duration,
    verify_tls: bool,
    disabled: Option<String>,
    rights: Vec<Right>,
    keeping: Keeping,
}

/// What a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "X-Road knows these two")]
pub enum ServiceKind {
    /// Any HTTP method below `/r1/`.
    Rest,
    /// SOAP 1.1.
    Soap,
}

/// A group of callers that counts for one client's services only.
#[derive(Debug)]
pub struct LocalGroup {
    code: String,
    members: BTreeSet<ClientId>,
}

/// Who may call an endpoint of a service.
#[derive(Debug)]
struct Right {
    subject: Subject,
    /// Upper case; `None` is any method.
    method: Option<String>,
    pattern: PathPattern,
}

#[derive(Debug)]
enum Subject {
    Client(ClientId),
    Global(GlobalGroupId),
    Local(String),
}

impl Clients {
    /// Returns the client with exactly this identifier: a member is not its subsystems, nor the reverse. A message keeps it while the
    /// folder changes.
    pub fn client(&self, id: &ClientId) -> Option<&Arc<Client>> {
        self.by_id.get(id)
    }

    /// Returns all clients in the order of their identifiers.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.by_id.values()
    }

    /// Returns the members that the clients belong to.
    pub fn members(&self) -> BTreeSet<MemberId> {
        self.by_id.keys().map(|id| id.member().clone()).collect()
    }
}

impl Client {
    /// Returns the client's identifier.
    pub fn id(&self) -> &ClientId {
        &self.id
    }

    /// Returns how its information systems must connect.
    pub fn connection(&self) -> ConnectionType {
        self.connection
    }

    /// Returns the certificates of its information systems: consumers present them, providers are pinned to them.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Returns what its document says of bodies: of its calls, and of its services that say nothing themselves.
    pub fn keeping(&self) -> Keeping {
        self.keeping
    }

    /// Returns its services in the order of the document.
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// Returns the service with this code and version. REST services have no version in their identifiers.
    pub fn service(&self, code: &str, version: Option<&str>) -> Option<&Arc<Service>> {
        self.services
            .iter()
            .find(|service| service.code == code && service.version.as_deref() == version)
    }

    /// Returns the local group with this code.
    pub fn local_group(&self, code: &str) -> Option<&LocalGroup> {
        self.groups.iter().find(|group| group.code == code)
    }

    /// Judges how an information system connected (`message-path.md` 6.2). `internal` is the server's own internal TLS certificate
    /// (DER), which counts for every client.
    ///
    /// # Errors
    /// The connection is less than the client's document asks for.
    pub fn admits(
        &self,
        connection: &ConnectionInfo,
        internal: Option<&[u8]>,
    ) -> Result<(), ConnectionRefused> {
        match self.connection {
            ConnectionType::Http => Ok(()),
            _ if !connection.tls => Err(ConnectionRefused::PlainHttp),
            ConnectionType::Https => Ok(()),
            ConnectionType::HttpsMutual => {
                let presented = connection
                    .certificate
                    .as_deref()
                    .ok_or(ConnectionRefused::NoCertificate)?;
                let known = self
                    .certificates
                    .iter()
                    .any(|certificate| certificate.der() == presented);
                if known || internal == Some(presented) {
                    Ok(())
                } else {
                    Err(ConnectionRefused::UnknownCertificate)
                }
            }
        }
    }

    /// Tells whether `caller` may call `service` (`message-path.md` 6.5). SOAP gives neither method nor path and needs a right on
    /// every method and path. A path that different readers could read differently is given as `None` and needs a right on every
    /// path.
    pub fn allows(
        &self,
        service: &Service,
        caller: &ClientId,
        snapshot: &Snapshot,
        method: Option<&str>,
        path: Option<&AccessPath>,
    ) -> bool {
        service.rights.iter().any(|right| {
            right.covers(method, path) && self.is_subject(&right.subject, caller, snapshot)
        })
    }

    fn is_subject(&self, subject: &Subject, caller: &ClientId, snapshot: &Snapshot) -> bool {
        match subject {
            Subject::Client(id) => id == caller,
            Subject::Global(group) => snapshot.in_global_group(group, caller),
            Subject::Local(code) => self
                .local_group(code)
                .is_some_and(|group| group.members.contains(caller)),
        }
    }
}

impl Service {
    /// Returns its code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns its version, when it has one.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Returns what it speaks.
    pub fn kind(&self) -> ServiceKind {
        self.kind
    }

    /// Returns where the provider's system is: `http` or `https`, with a host.
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// Returns the longest wait for the first byte of an answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Tells whether the provider's certificate must be one of the client's (`message-path.md` 6.6).
    pub fn verify_tls(&self) -> bool {
        self.verify_tls
    }

    /// Returns what its document says of bodies of its requests and answers, for this service or else for its client.
    pub fn keeping(&self) -> Keeping {
        self.keeping
    }

    /// Returns the notice for callers while the service is disabled.
    pub fn disabled(&self) -> Option<&str> {
        self.disabled.as_deref()
    }
}

impl LocalGroup {
    /// Returns its code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns its members.
    pub fn members(&self) -> &BTreeSet<ClientId> {
        &self.members
    }
}

impl Right {
    fn covers(&self, method: Option<&str>, path: Option<&AccessPath>) -> bool {
        let method_fits = match (&self.method, method) {
            (None, _) => true,
            (Some(right), Some(method)) => right.eq_ignore_ascii_case(method),
            (Some(_), None) => false,
        };
        method_fits
            && (self.pattern.covers_every_path()
                || match path {
                    Some(path) => self.pattern.matches(path.as_str()),
                    None => false,
                })
    }
}

#[cfg(test)]
mod tests;
