//! Reading the parts of a configuration (`registry-and-globalconf.md` 2): bytes to [`model`](crate::model), and back.
//!
//! The reader demands the schemas' order and resolves references as their `IDREF` does. It is one grammar for all
//! versions, that of version 6: what an older version lacks is simply absent.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jibek_protocol::id::{ClientId, IdError, MemberId, ServerId, SubsystemId, xml::XmlParts};

use crate::{
    model::{
        AcmeServer, AnchorContent, AnchorSource, CertificationAuthority, CertificationService,
        CsrFormat, Extension, GlobalGroup, Maintenance, ManagementService, Member, MemberClass,
        OcspResponder, PrivateParameters, SecurityServer, SharedParameters, SourceAddress,
        Subsystem, TimestampingService,
    },
    xml::{self, Children, IDENTIFIERS_NS, Node, Part},
};

mod error;
mod value;

use value::{
    bad_value, base64, boolean, certificate, cost_type, date_time, kept, seconds, trimmed, utf8,
    verification_certificate,
};

pub use error::PartError;
pub(crate) use value::{decode_base64, parse_date_time};

pub use crate::render::{RenderError, render_anchor, render_private, render_shared};

/// Content identifier of shared parameters in a signed directory.
pub const SHARED_PARAMETERS: &str = "SHARED-PARAMETERS";
/// Content identifier of private parameters.
pub const PRIVATE_PARAMETERS: &str = "PRIVATE-PARAMETERS";
/// Content identifier of the monitoring client.
pub const MONITORING: &str = "MONITORING";
/// Content identifier of the OCSP fetch interval.
pub const FETCH_INTERVAL: &str = "FETCHINTERVAL";
/// Content identifier of the OCSP next-update switch.
pub const NEXT_UPDATE: &str = "NEXTUPDATE";

/// Reads shared parameters of versions 2 to 6.
///
/// # Errors
/// [`PartError`] names the element and the line.
pub fn parse_shared(bytes: &[u8], version: u8) -> Result<SharedParameters, PartError> {
    if !(2..=crate::model::NEWEST_VERSION).contains(&version) {
        return Err(PartError::Version { version });
    }
    let mut part = Part::open(utf8(bytes)?, "conf")?;
    let instance = part.required("instanceIdentifier")?.text().to_owned();
    let mut shared = SharedParameters::new(&instance);
    while let Some(node) = part.optional("source")? {
        shared.sources.push(source_address(node)?);
    }
    if shared.sources.is_empty() && version > 2 {
        part.required("source")?;
    }
    while let Some(node) = part.optional("approvedCA")? {
        shared
            .certification_services
            .push(certification_service(node)?);
    }
    while let Some(node) = part.optional("approvedTSA")? {
        shared
            .timestamping_services
            .push(timestamping_service(node)?);
    }
    let mut ids = References::new();
    while let Some(node) = part.optional("member")? {
        shared.members.push(member(node, &instance, &mut ids)?);
    }
    while part.enter("securityServer")? {
        shared.servers.push(security_server(&mut part, &ids)?);
        part.leave()?;
    }
    while part.enter("globalGroup")? {
        shared.groups.push(global_group(&mut part, &ids)?);
        part.leave()?;
    }
    while part.optional("centralService")?.is_some() {} // legacy, nobody uses it
    part.enter_required("globalSettings")?;
    while let Some(node) = part.optional("memberClass")? {
        shared.member_classes.push(member_class(node)?);
    }
    shared.ocsp_freshness = seconds(part.required("ocspFreshnessSeconds")?)?;
    part.leave()?;
    if version > 2 {
        while let Some(node) = part.any()? {
            keep(&mut shared.extensions, node)?;
        }
    }
    part.finish()?;
    Ok(shared)
}

/// Reads private parameters (one content for all versions).
///
/// # Errors
/// [`PartError`] names the element and the line.
pub fn parse_private(bytes: &[u8]) -> Result<PrivateParameters, PartError> {
    let document = xml::parse(utf8(bytes)?, "conf")?;
    let mut children = Children::of(xml::root(&document)?);
    let instance = children.required("instanceIdentifier")?.text().to_owned();
    let mut anchors = Vec::new();
    while let Some(node) = children.optional("configurationAnchor") {
        anchors.push(anchor_content(node)?);
    }
    let mut management = Children::of(children.required("managementService")?);
    let registration_url = kept(management.required("authCertRegServiceAddress")?);
    let registration_certificate = management
        .optional("authCertRegServiceCert")
        .map(certificate)
        .transpose()?;
    let provider = client_id(management.required("managementRequestServiceProviderId")?)?;
    management.end()?;
    let timestamping_interval = seconds(children.required("timeStampingIntervalSeconds")?)?;
    let management = ManagementService {
        registration_url,
        registration_certificate,
        provider,
    };
    let mut extensions = Vec::new();
    while let Some(node) = children.any() {
        keep(&mut extensions, node)?;
    }
    Ok(PrivateParameters {
        instance,
        anchors,
        management,
        timestamping_interval,
        extensions,
    })
}

/// Keeps what stands at the end of a part; the schema lets anything follow there.
fn keep(kept: &mut Vec<Extension>, node: Node<'_, '_>) -> Result<(), PartError> {
    if kept.len() == EXTENSIONS_MAX {
        return Err(PartError::Unexpected {
            element: xml::shown(node.name()),
            within: "conf".to_owned(),
            line: node.line(),
        });
    }
    kept.push(Extension {
        namespace: node.namespace().map(str::to_owned),
        name: node.name().to_owned(),
        xml: node.source().to_owned(),
    });
    Ok(())
}

/// Reads the part `MONITORING`: who may query monitoring data of all servers; `None` is nobody.
///
/// # Errors
/// [`PartError`] names the element and the line.
pub fn parse_monitoring(bytes: &[u8]) -> Result<Option<ClientId>, PartError> {
    let document = xml::parse(utf8(bytes)?, "conf")?;
    let mut children = Children::of(xml::root(&document)?);
    let mut client = Children::of(children.required("monitoringClient")?);
    let id = client
        .optional("monitoringClientId")
        .map(client_id)
        .transpose()?;
    client.end()?;
    children.end()?;
    Ok(id)
}

/// Reads the part `FETCHINTERVAL`: how often OCSP responses are fetched.
///
/// # Errors
/// [`PartError`] names the element and the line.
pub fn parse_fetch_interval(bytes: &[u8]) -> Result<Duration, PartError> {
    let document = xml::parse(utf8(bytes)?, "conf")?;
    let mut children = Children::of(xml::root(&document)?);
    let interval = seconds(children.required("ocspFetchInterval")?)?;
    children.end()?;
    Ok(interval)
}

/// Reads the part `NEXTUPDATE`: whether `nextUpdate` of OCSP responses is checked.
///
/// # Errors
/// [`PartError`] names the element and the line.
pub fn parse_next_update(bytes: &[u8]) -> Result<bool, PartError> {
    let document = xml::parse(utf8(bytes)?, "conf")?;
    let mut children = Children::of(xml::root(&document)?);
    let check = boolean(children.required("verifyNextUpdate")?)?;
    children.end()?;
    Ok(check)
}

/// Reads a configuration anchor; [`Anchor`](crate::Anchor) keeps its bytes too.
///
/// # Errors
/// [`PartError`] names the element and the line.
pub fn parse_anchor(bytes: &[u8]) -> Result<AnchorContent, PartError> {
    let document = xml::parse(utf8(bytes)?, "configurationAnchor")?;
    anchor_content(xml::root(&document)?)
}

fn anchor_content(node: Node<'_, '_>) -> Result<AnchorContent, PartError> {
    let mut children = Children::of(node);
    let generated_at = children
        .optional("generatedAt")
        .map(date_time)
        .transpose()?;
    let instance = children.required("instanceIdentifier")?.text().to_owned();
    let mut sources = Vec::new();
    let mut next = Some(children.required("source")?);
    while let Some(node) = next {
        let mut source = Children::of(node);
        let url = kept(source.required("downloadURL")?);
        let mut certificates = vec![verification_certificate(
            source.required("verificationCert")?,
        )?];
        while let Some(node) = source.optional("verificationCert") {
            certificates.push(verification_certificate(node)?);
        }
        source.end()?;
        sources.push(AnchorSource { url, certificates });
        next = children.optional("source");
    }
    children.end()?;
    Ok(AnchorContent {
        generated_at,
        instance,
        sources,
    })
}

fn source_address(node: Node<'_, '_>) -> Result<SourceAddress, PartError> {
    let mut children = Children::of(node);
    let address = kept(children.required("address")?);
    let mut source = SourceAddress {
        address,
        internal_certificates: Vec::new(),
        external_certificates: Vec::new(),
    };
    while let Some(node) = children.optional("internalVerificationCert") {
        source
            .internal_certificates
            .push(verification_certificate(node)?);
    }
    while let Some(node) = children.optional("externalVerificationCert") {
        source
            .external_certificates
            .push(verification_certificate(node)?);
    }
    children.end()?;
    Ok(source)
}

fn certification_service(node: Node<'_, '_>) -> Result<CertificationService, PartError> {
    let mut children = Children::of(node);
    let name = children.required("name")?.text().to_owned();
    let authentication_only = children
        .optional("authenticationOnly")
        .map(boolean)
        .transpose()?
        .unwrap_or(false);
    let top = certification_authority(children.required("topCA")?)?;
    let mut intermediates = Vec::new();
    while let Some(node) = children.optional("intermediateCA") {
        intermediates.push(certification_authority(node)?);
    }
    let profile_class = kept(children.required("certificateProfileInfo")?);
    let default_csr_format = children
        .optional("defaultCsrFormat")
        .map(|node| match trimmed(node) {
            "PEM" => Ok(CsrFormat::Pem),
            "DER" => Ok(CsrFormat::Der),
            _ => Err(bad_value(node, "PEM or DER")),
        })
        .transpose()?;
    let acme = children
        .optional("acmeServer")
        .map(acme_server)
        .transpose()?;
    children.end()?;
    Ok(CertificationService {
        name,
        authentication_only,
        top,
        intermediates,
        profile_class,
        default_csr_format,
        acme,
    })
}

fn certification_authority(node: Node<'_, '_>) -> Result<CertificationAuthority, PartError> {
    let mut children = Children::of(node);
    let own = certificate(children.required("cert")?)?;
    let mut ocsp = Vec::new();
    while let Some(node) = children.optional("ocsp") {
        let mut responder = Children::of(node);
        let url = kept(responder.required("url")?);
        let certificate = responder.optional("cert").map(certificate).transpose()?;
        let cost = responder.optional("costType").map(cost_type).transpose()?;
        responder.end()?;
        ocsp.push(OcspResponder {
            url,
            certificate,
            cost,
        });
    }
    children.end()?;
    Ok(CertificationAuthority {
        certificate: own,
        ocsp,
    })
}

fn acme_server(node: Node<'_, '_>) -> Result<AcmeServer, PartError> {
    let mut children = Children::of(node);
    let acme = AcmeServer {
        directory_url: kept(children.required("directoryURL")?),
        ip_address: children.optional("ipAddress").map(kept),
        authentication_profile: children
            .optional("authenticationCertificateProfileId")
            .map(kept),
        signing_profile: children.optional("signingCertificateProfileId").map(kept),
    };
    children.end()?;
    Ok(acme)
}

fn timestamping_service(node: Node<'_, '_>) -> Result<TimestampingService, PartError> {
    let mut children = Children::of(node);
    let service = TimestampingService {
        name: children.required("name")?.text().to_owned(),
        url: kept(children.required("url")?),
        certificate: certificate(children.required("cert")?)?,
        cost: children.optional("costType").map(cost_type).transpose()?,
    };
    children.end()?;
    Ok(service)
}

fn member_class(node: Node<'_, '_>) -> Result<MemberClass, PartError> {
    let mut children = Children::of(node);
    let class = MemberClass {
        code: children.required("code")?.text().to_owned(),
        description: children.required("description")?.text().to_owned(),
    };
    children.end()?;
    Ok(class)
}

fn member(node: Node<'_, '_>, instance: &str, ids: &mut References) -> Result<Member, PartError> {
    let mut children = Children::of(node);
    let class = member_class(children.required("memberClass")?)?;
    let code = children.required("memberCode")?.text();
    let id =
        MemberId::new(instance, &class.code, code).map_err(|source| identifier(node, source))?;
    ids.add(node, ClientId::from(id.clone()))?;
    let name = children.required("name")?.text().to_owned();
    let mut subsystems = Vec::new();
    while let Some(node) = children.optional("subsystem") {
        let mut subsystem = Children::of(node);
        let code = subsystem.required("subsystemCode")?.text();
        let name = subsystem
            .optional("subsystemName")
            .map(|name| name.text().to_owned());
        subsystem.end()?;
        let client = SubsystemId::new(id.clone(), code);
        let client = client.map_err(|source| identifier(node, source))?;
        ids.add(node, ClientId::from(client))?;
        subsystems.push(Subsystem {
            code: code.to_owned(),
            name,
        });
    }
    children.end()?;
    subsystems.shrink_to_fit();
    Ok(Member {
        id,
        class_description: class.description,
        name,
        subsystems,
    })
}

/// Reads the server that was entered.
fn security_server(part: &mut Part<'_>, ids: &References) -> Result<SecurityServer, PartError> {
    let owner = ids.member(part.required("owner")?)?;
    let code = part.required("serverCode")?;
    let id = ServerId::new(owner, code.text()).map_err(|source| identifier(code, source))?;
    let address = part
        .optional("address")?
        .map(kept)
        .filter(|address| !address.is_empty());
    let mut auth_certificate_hashes = Vec::new();
    while let Some(node) = part.optional("authCertHash")? {
        auth_certificate_hashes.push(base64(node, "a digest")?);
    }
    let mut clients = Vec::new();
    while let Some(node) = part.optional("client")? {
        clients.push(ids.client(node)?);
    }
    clients.shrink_to_fit();
    let maintenance = match part.optional("inMaintenanceMode")? {
        None => None,
        Some(node) => {
            let mut inner = Children::of(node);
            let message = inner
                .optional("message")
                .map(|message| message.text().to_owned());
            inner.end()?;
            Some(Maintenance { message })
        }
    };
    Ok(SecurityServer {
        id,
        address,
        auth_certificate_hashes,
        clients,
        maintenance,
    })
}

/// Reads the group that was entered.
fn global_group(part: &mut Part<'_>, ids: &References) -> Result<GlobalGroup, PartError> {
    let code = part.required("groupCode")?.text().to_owned();
    let description = part.required("description")?.text().to_owned();
    let mut members = Vec::new();
    while let Some(node) = part.optional("groupMember")? {
        members.push(ids.shared(client_id(node)?));
    }
    members.shrink_to_fit();
    Ok(GlobalGroup {
        code,
        description,
        members,
    })
}

fn client_id(node: Node<'_, '_>) -> Result<ClientId, PartError> {
    let mut parts = XmlParts::new();
    for child in node.children() {
        if child.namespace() != Some(IDENTIFIERS_NS)
            || !CLIENT_PARTS.contains(&child.name())
            || parts.set(child.name(), child.text().to_owned()).is_err()
        {
            return Err(PartError::Unexpected {
                element: xml::shown(child.name()),
                within: xml::shown(node.name()),
                line: child.line(),
            });
        }
    }
    parts.client().map_err(|source| identifier(node, source))
}

const CLIENT_PARTS: [&str; 4] = [
    "xRoadInstance",
    "memberClass",
    "memberCode",
    "subsystemCode",
];
/// Far more than anybody appends to a configuration.
const EXTENSIONS_MAX: usize = 1000;

/// What `id` attributes stand for; they live within one document.
#[derive(Default)]
struct References {
    clients: HashMap<String, ClientId>,
    /// Members and subsystems, so that each identifier is kept once however often it is named.
    known: HashSet<ClientId>,
}

impl References {
    fn new() -> Self {
        Self::default()
    }

    fn add(&mut self, node: Node<'_, '_>, client: ClientId) -> Result<(), PartError> {
        self.known.insert(client.clone());
        let Some(id) = node.attribute("id") else {
            return Ok(());
        };
        match self.clients.insert(id.trim().to_owned(), client) {
            None => Ok(()),
            Some(_) => Err(PartError::DuplicateId {
                id: xml::shown(id),
                line: node.line(),
            }),
        }
    }

    /// The identifier as it is kept already, when it is.
    fn shared(&self, client: ClientId) -> ClientId {
        self.known.get(&client).cloned().unwrap_or(client)
    }

    fn client(&self, node: Node<'_, '_>) -> Result<ClientId, PartError> {
        let reference = trimmed(node);
        self.clients
            .get(reference)
            .cloned()
            .ok_or_else(|| dangling(node, reference, "member or subsystem"))
    }

    fn member(&self, node: Node<'_, '_>) -> Result<MemberId, PartError> {
        match self.client(node)? {
            ClientId::Member(member) => Ok(member),
            _ => Err(dangling(node, trimmed(node), "member")),
        }
    }
}

fn dangling(node: Node<'_, '_>, reference: &str, expected: &'static str) -> PartError {
    PartError::Reference {
        element: xml::shown(node.name()),
        reference: xml::shown(reference),
        expected,
        line: node.line(),
    }
}

fn identifier(node: Node<'_, '_>, source: IdError) -> PartError {
    PartError::Identifier {
        element: xml::shown(node.name()),
        line: node.line(),
        source,
    }
}
