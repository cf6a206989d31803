//! Who there is in a country, and where they listen.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use jibek_certs::KeyKind;
use jibek_protocol::id::{ClientId, MemberId, ServerId};

/// The loopback addresses of one country: the first three bytes of all of them.
///
/// The global configuration has no ports, so servers share their pair of ports and each has an address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    prefix: [u8; 3],
}

impl Net {
    /// The sandbox's addresses: `127.70.0.*`.
    pub const SANDBOX: Self = Self {
        prefix: [127, 70, 0],
    };
    /// Port of other security servers.
    pub const PEER_PORT: u16 = 5500;
    /// Port of OCSP answers.
    pub const OCSP_PORT: u16 = 5577;
    /// Port of plain HTTP for information systems.
    pub const HTTP_PORT: u16 = 8080;
    /// Port of HTTPS for information systems.
    pub const HTTPS_PORT: u16 = 8443;
    /// Port of health, readiness and metrics.
    pub const ADMIN_PORT: u16 = 9090;

    /// Addresses below `127.x.y`.
    #[must_use]
    pub fn new(x: u8, y: u8) -> Self {
        Self {
            prefix: [127, x, y],
        }
    }

    /// The address with this last byte.
    #[must_use]
    pub fn host(&self, last: u8) -> IpAddr {
        let [a, b, c] = self.prefix;
        IpAddr::V4(Ipv4Addr::new(a, b, c, last))
    }

    /// Where the registry publishes.
    #[must_use]
    pub fn registry(&self) -> SocketAddr {
        SocketAddr::new(self.host(1), 4080)
    }

    /// Where the OCSP responder and the time-stamping authority answer.
    #[must_use]
    pub fn pki(&self) -> SocketAddr {
        SocketAddr::new(self.host(2), 8888)
    }

    /// Address of the `index`th server.
    #[must_use]
    pub fn server(&self, index: usize) -> IpAddr {
        self.host(u8::try_from(index).unwrap_or(80).saturating_add(11))
    }

    /// Where the `index`th information system listens.
    #[must_use]
    pub fn system(&self, index: usize) -> SocketAddr {
        SocketAddr::new(
            self.host(u8::try_from(index).unwrap_or(80).saturating_add(101)),
            9000,
        )
    }
}

/// Periods of the country.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The registry publishes so often.
    pub publish: Duration,
    /// What it publishes is valid so long.
    pub validity: Duration,
    /// OCSP answers may be so old.
    pub ocsp_freshness: Duration,
    /// Servers stamp so often, whatever the configuration says.
    pub stamping: Option<Duration>,
    /// Messages go on so long without a stamp.
    pub acceptable_failure: Duration,
    /// Servers fetch the configuration so often.
    pub fetch: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            publish: Duration::from_secs(60),
            validity: Duration::from_secs(600),
            ocsp_freshness: Duration::from_secs(3600),
            stamping: None,
            acceptable_failure: Duration::from_secs(14_400),
            fetch: Duration::from_secs(60),
        }
    }
}

/// A country to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its instance identifier.
    pub instance: String,
    /// Where everybody listens.
    pub net: Net,
    /// Kind of every authentication and sign key.
    pub key: KeyKind,
    /// Its members.
    pub members: Vec<PlannedMember>,
    /// Its security servers. The first one's owner provides the management services.
    pub servers: Vec<PlannedServer>,
    /// Its periods.
    pub timing: Timing,
    /// Whether servers talk to peers that offer only what X-Road 7 offers by default.
    pub legacy_tls: bool,
}

/// A member with its subsystems.
#[derive(Clone, Debug)]
pub struct PlannedMember {
    /// Identifier.
    pub id: MemberId,
    /// Name, for people.
    pub name: String,
    /// Codes of its subsystems.
    pub subsystems: Vec<String>,
}

/// A security server with its clients.
#[derive(Clone, Debug)]
pub struct PlannedServer {
    /// Identifier; its owner is a member of the plan.
    pub id: ServerId,
    /// Clients.
    pub clients: Vec<PlannedClient>,
    /// Whether it is started with the country; one that is not has its keys and certificates all the same.
    pub started: bool,
}

/// A client of a server with its services.
#[derive(Clone, Debug)]
pub struct PlannedClient {
    /// Identifier.
    pub id: ClientId,
    /// `http`, `https` or `https-mutual`.
    pub connection: String,
    /// Services.
    pub services: Vec<PlannedService>,
}

/// A service with the rights to it.
#[derive(Clone, Debug)]
pub struct PlannedService {
    /// Code.
    pub code: String,
    /// `rest` or `soap`.
    pub kind: String,
    /// Where the information system answers.
    pub url: String,
    /// Who may call what.
    pub allow: Vec<Allow>,
    /// The longest wait for its answer.
    pub timeout: Duration,
}

/// A right.
#[derive(Clone, Debug)]
pub struct Allow {
    /// A client, `group:INSTANCE/CODE` or `local:CODE`.
    pub subject: String,
    /// HTTP method, or `*`.
    pub method: String,
    /// Path pattern, or `**`.
    pub path: String,
}

impl Allow {
    /// The right of `client` to everything of a service.
    #[must_use]
    pub fn everything(client: &ClientId) -> Self {
        Self {
            subject: client.to_header(),
            method: "*".to_owned(),
            path: "**".to_owned(),
        }
    }
}
