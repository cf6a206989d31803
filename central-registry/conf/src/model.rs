//! What the parts of a configuration say (`registry-and-globalconf.md` 2).
//!
//! One model for all versions: what a version lacks is absent. Identifiers are checked, references are resolved,
//! certificates are DER (a configuration may carry them as DER or PEM).

use std::time::Duration;

use bytes::Bytes;
use jibek_protocol::id::{ClientId, MemberId, ServerId};
use time::OffsetDateTime;

/// The newest version of the configuration format that we read and write.
pub const NEWEST_VERSION: u8 = 6;
/// The oldest version that we write; version 2 can be read.
pub const OLDEST_PUBLISHED_VERSION: u8 = 3;

/// Content of `shared-params.xml`: the directory of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedParameters {
    /// The instance that is described.
    pub instance: String,
    /// Where the configuration can be fetched; empty in version 2.
    pub sources: Vec<SourceAddress>,
    /// Approved certification services.
    pub certification_services: Vec<CertificationService>,
    /// Approved time-stamping services.
    pub timestamping_services: Vec<TimestampingService>,
    /// Members with their subsystems.
    pub members: Vec<Member>,
    /// Security servers.
    pub servers: Vec<SecurityServer>,
    /// Global groups.
    pub groups: Vec<GlobalGroup>,
    /// Member classes in use.
    pub member_classes: Vec<MemberClass>,
    /// How old an OCSP response may be.
    pub ocsp_freshness: Duration,
    /// What follows the known elements (from version 3): kept, not understood, not written again.
    pub extensions: Vec<Extension>,
}

impl SharedParameters {
    /// An instance without members, with OCSP freshness of an hour.
    #[must_use]
    pub fn new(instance: &str) -> Self {
        Self {
            instance: instance.to_owned(),
            sources: Vec::new(),
            certification_services: Vec::new(),
            timestamping_services: Vec::new(),
            members: Vec::new(),
            servers: Vec::new(),
            groups: Vec::new(),
            member_classes: Vec::new(),
            ocsp_freshness: DEFAULT_OCSP_FRESHNESS,
            extensions: Vec::new(),
        }
    }
}

/// An element at the end of a part that the schema leaves to others (`registry-and-globalconf.md` 2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extension {
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its local name.
    pub name: String,
    /// Its text as it stands in the file; prefixes may be bound outside of it.
    pub xml: String,
}

/// A host that publishes this configuration, and the keys it signs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAddress {
    /// Host name or address; X-Road writes no port, our reader accepts one.
    pub address: String,
    /// DER certificates of keys that sign the internal directory.
    pub internal_certificates: Vec<Bytes>,
    /// DER certificates of keys that sign the external directory.
    pub external_certificates: Vec<Bytes>,
}

/// An approved certification service: a top CA and its intermediates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificationService {
    /// Name for people.
    pub name: String,
    /// True when its certificates may not sign messages.
    pub authentication_only: bool,
    /// The trust anchor.
    pub top: CertificationAuthority,
    /// Authorities below it.
    pub intermediates: Vec<CertificationAuthority>,
    /// Java class name of the certificate profile; unknown ones are kept as they are.
    pub profile_class: String,
    /// Preferred format of signing requests (version 6).
    pub default_csr_format: Option<CsrFormat>,
    /// ACME settings (from version 3).
    pub acme: Option<AcmeServer>,
}

/// A certificate of a CA and where its certificates' status is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificationAuthority {
    /// DER certificate.
    pub certificate: Bytes,
    /// OCSP responders in listed order.
    pub ocsp: Vec<OcspResponder>,
}

/// An OCSP responder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspResponder {
    /// Its URL.
    pub url: String,
    /// DER certificate that is trusted for this CA.
    pub certificate: Option<Bytes>,
    /// Cost (version 6).
    pub cost: Option<CostType>,
}

/// Format of a certificate signing request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "mirrors the schema")]
pub enum CsrFormat {
    /// Binary.
    Der,
    /// Text.
    Pem,
}

/// Whether a service costs money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "mirrors the schema")]
pub enum CostType {
    /// Free of charge.
    Free,
    /// Paid.
    Paid,
    /// Not known.
    Undefined,
}

/// ACME settings of a certification service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeServer {
    /// Directory URL.
    pub directory_url: String,
    /// Addresses to let through a firewall, separated by commas.
    pub ip_address: Option<String>,
    /// Profile for authentication certificates (from version 4).
    pub authentication_profile: Option<String>,
    /// Profile for signing certificates (from version 4).
    pub signing_profile: Option<String>,
}

/// An approved time-stamping service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampingService {
    /// Name for people.
    pub name: String,
    /// Its URL, which is its key.
    pub url: String,
    /// DER certificate that verifies its tokens.
    pub certificate: Bytes,
    /// Cost (version 6).
    pub cost: Option<CostType>,
}

/// A member class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberClass {
    /// Code, for example `GOV`.
    pub code: String,
    /// For people.
    pub description: String,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Identifier.
    pub id: MemberId,
    /// Description of its class as the file repeats it.
    pub class_description: String,
    /// Full name.
    pub name: String,
    /// Its subsystems.
    pub subsystems: Vec<Subsystem>,
}

/// A subsystem of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subsystem {
    /// Code.
    pub code: String,
    /// Name for people (from version 5).
    pub name: Option<String>,
}

/// A security server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityServer {
    /// Identifier; its owner is a client of it without being listed.
    pub id: ServerId,
    /// Host name or address without port.
    pub address: Option<String>,
    /// Digests of its authentication certificates: SHA-256 of the DER from version 3, SHA-1 in version 2.
    pub auth_certificate_hashes: Vec<Bytes>,
    /// Registered clients.
    pub clients: Vec<ClientId>,
    /// Present when the server is in maintenance (from version 5).
    pub maintenance: Option<Maintenance>,
}

/// A server is in maintenance.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Maintenance {
    /// What its administrator tells consumers.
    pub message: Option<String>,
}

/// A global group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalGroup {
    /// Code.
    pub code: String,
    /// For people.
    pub description: String,
    /// Members and subsystems in it.
    pub members: Vec<ClientId>,
}

/// Content of `private-params.xml`: what only servers of the own instance are told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrivateParameters {
    /// The instance that is described.
    pub instance: String,
    /// Trusted anchors of federation partners.
    pub anchors: Vec<AnchorContent>,
    /// Where servers register.
    pub management: ManagementService,
    /// How often servers time-stamp their log.
    pub timestamping_interval: Duration,
    /// What follows the known elements: kept, not understood, not written again.
    pub extensions: Vec<Extension>,
}

impl PrivateParameters {
    /// Private parameters without partners, with a time-stamping interval of a minute.
    #[must_use]
    pub fn new(instance: &str, management: ManagementService) -> Self {
        Self {
            instance: instance.to_owned(),
            anchors: Vec::new(),
            management,
            timestamping_interval: DEFAULT_TIMESTAMPING_INTERVAL,
            extensions: Vec::new(),
        }
    }
}

/// Where servers register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementService {
    /// URL of the registration of authentication certificates.
    pub registration_url: String,
    /// DER certificate that this URL's server must present, bit for bit.
    pub registration_certificate: Option<Bytes>,
    /// Who receives management requests.
    pub provider: ClientId,
}

/// Content of a configuration anchor (`registry-and-globalconf.md` 1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorContent {
    /// When it was written; mandatory in practice where it is uploaded.
    pub generated_at: Option<OffsetDateTime>,
    /// The instance whose configuration the sources publish.
    pub instance: String,
    /// Where to fetch it.
    pub sources: Vec<AnchorSource>,
}

/// One download address of an anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorSource {
    /// URL of the signed directory.
    pub url: String,
    /// DER certificates of keys that sign it; only their keys count.
    pub certificates: Vec<Bytes>,
}

/// Used where a configuration does not say otherwise.
pub const DEFAULT_OCSP_FRESHNESS: Duration = Duration::from_secs(3600);
/// OCSP fetch interval where the optional part is absent (`registry-and-globalconf.md` 2.3).
pub const DEFAULT_OCSP_FETCH_INTERVAL: Duration = Duration::from_secs(1200);
/// Time-stamping interval where there are no private parameters.
pub const DEFAULT_TIMESTAMPING_INTERVAL: Duration = Duration::from_secs(60);
