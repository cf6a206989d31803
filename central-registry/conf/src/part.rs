//! Reading the parts of a configuration (`registry-and-globalconf.md` 2): bytes to [`model`](crate::model), and back.
//!
//! The reader demands the schemas' order and resolves references as their `IDREF` does. It is one grammar for all
//! versions, that of version 6: what an older version lacks is simply absent.

use std::{collections::HashMap, time::Duration};

use jibek_protocol::id::{ClientId, IdError, MemberId, ServerId, xml::XmlParts};
use roxmltree::Node;

use crate::{
    model::{
        AcmeServer, AnchorContent, AnchorSource, CertificationAuthority, CertificationService,
        CsrFormat, Extension, GlobalGroup, Maintenance, ManagementService, Member, MemberClass,
        OcspResponder, PrivateParameters, SecurityServer, SharedParameters, SourceAddress,
        Subsystem, TimestampingService,
    },
    xml::{self, Children, IDENTIFIERS_NS},
};

mod error;
mod value;

use value::{
    bad_value, base64, boolean, certificate, cost_type, date_time, seconds, trimmed, utf8,
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
    let document = utf8(bytes)?;
    let document = xml::parse(document)?;
    let mut children = Children::of(xml::root(&document, "conf")?);
    let instance = xml::text(children.required("instanceIdentifier")?);
    let mut shared = SharedParameters::new(&instance);
    while let Some(node) = children.optional("source") {
        shared.sources.push(source_address(node)?);
    }
    if shared.sources.is_empty() && version > 2 {
        children.required("source")?;
    }
    while let Some(node) = children.optional("approvedCA") {
        shared
            .certification_services
            .push(certification_service(node)?);
    }
    while let Some(node) = children.optional("approvedTSA") {
        shared
            .timestamping_services
            .push(timestamping_service(node)?);
    }
    let mut ids = References::default();
    while let Some(node) = children.optional("member") {
        shared.members.push(member(node, &instance, &mut ids)?);
    }
    while let Some(node) = children.optional("securityServer") {
        shared.servers.push(security_server(node, &ids)?);
    }
    while let Some(node) = children.optional("globalGroup") {
        shared.groups.push(global_group(node)?);
    }
    while children.optional("centralService").is_some() {} // legacy, nobody uses it
    let settings = children.required("globalSettings")?;
    let mut settings = Children::of(settings);
    while let Some(node) = settings.optional("memberClass") {
        shared.member_classes.push(member_class(node)?);
    }
    shared.ocsp_freshness = seconds(settings.required("ocspFreshnessSeconds")?)?;
    settings.end()?;
    if version == 2 {
        children.end()?;
    } else {
        shared.extensions = extensions(children)?;
    }
    Ok(shared)
}

/// Reads private parameters (one content for all versions).
///
/// # Errors
/// [`PartError`] names the element and the line.
pub fn parse_private(bytes: &[u8]) -> Result<PrivateParameters, PartError> {
    let document = xml::parse(utf8(bytes)?)?;
    let mut children = Children::of(xml::root(&document, "conf")?);
    let instance = xml::text(children.required("instanceIdentifier")?);
    let mut anchors = Vec::new();
    while let Some(node) = children.optional("configurationAnchor") {
        anchors.push(anchor_content(node)?);
    }
    let mut management = Children::of(children.required("managementService")?);
    let registration_url = trimmed(management.required("authCertRegServiceAddress")?);
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
    Ok(PrivateParameters {
        instance,
        anchors,
        management,
        timestamping_interval,
        extensions: extensions(children)?,
    })
}

/// What is left at the end of a part; the schema lets anything follow there.
fn extensions(mut children: Children<'_, '_>) -> Result<Vec<Extension>, PartError> {
    let mut kept = Vec::new();
    while let Some(node) = children.any() {
        if kept.len() == EXTENSIONS_MAX {
            return Err(PartError::Unexpected {
                element: xml::shown(node.tag_name().name()),
                within: "conf".to_owned(),
                line: xml::line(node),
            });
        }
        kept.push(Extension {
            namespace: node.tag_name().namespace().map(str::to_owned),
            name: node.tag_name().name().to_owned(),
            xml: xml::source(node).to_owned(),
        });
    }
    Ok(kept)
}

/// Reads the part `MONITORING`: who may query monitoring data of all servers; `None` is nobody.
///
/// # Errors
/// [`PartError`] names the element and the line.
pub fn parse_monitoring(bytes: &[u8]) -> Result<Option<ClientId>, PartError> {
    let document = xml::parse(utf8(bytes)?)?;
    let mut children = Children::of(xml::root(&document, "conf")?);
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
    let document = xml::parse(utf8(bytes)?)?;
    let mut children = Children::of(xml::root(&document, "conf")?);
    let interval = seconds(children.required("ocspFetchInterval")?)?;
    children.end()?;
    Ok(interval)
}

/// Reads the part `NEXTUPDATE`: whether `nextUpdate` of OCSP responses is checked.
///
/// # Errors
/// [`PartError`] names the element and the line.
pub fn parse_next_update(bytes: &[u8]) -> Result<bool, PartError> {
    let document = xml::parse(utf8(bytes)?)?;
    let mut children = Children::of(xml::root(&document, "conf")?);
    let check = boolean(children.required("verifyNextUpdate")?)?;
    children.end()?;
    Ok(check)
}

/// Reads a configuration anchor; [`Anchor`](crate::Anchor) keeps its bytes too.
///
/// # Errors
/// [`PartError`] names the element and the line.
pub fn parse_anchor(bytes: &[u8]) -> Result<AnchorContent, PartError> {
    let document = xml::parse(utf8(bytes)?)?;
    anchor_content(xml::root(&document, "configurationAnchor")?)
}

fn anchor_content(node: Node<'_, '_>) -> Result<AnchorContent, PartError> {
    let mut children = Children::of(node);
    let generated_at = children
        .optional("generatedAt")
        .map(date_time)
        .transpose()?;
    let instance = xml::text(children.required("instanceIdentifier")?);
    let mut sources = Vec::new();
    let mut next = Some(children.required("source")?);
    while let Some(node) = next {
        let mut source = Children::of(node);
        let url = trimmed(source.required("downloadURL")?);
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
    let address = trimmed(children.required("address")?);
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
    let name = xml::text(children.required("name")?);
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
    let profile_class = trimmed(children.required("certificateProfileInfo")?);
    let default_csr_format = children
        .optional("defaultCsrFormat")
        .map(|node| match trimmed(node).as_str() {
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
        let url = trimmed(responder.required("url")?);
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
        directory_url: trimmed(children.required("directoryURL")?),
        ip_address: children.optional("ipAddress").map(trimmed),
        authentication_profile: children
            .optional("authenticationCertificateProfileId")
            .map(trimmed),
        signing_profile: children
            .optional("signingCertificateProfileId")
            .map(trimmed),
    };
    children.end()?;
    Ok(acme)
}

fn timestamping_service(node: Node<'_, '_>) -> Result<TimestampingService, PartError> {
    let mut children = Children::of(node);
    let service = TimestampingService {
        name: xml::text(children.required("name")?),
        url: trimmed(children.required("url")?),
        certificate: certificate(children.required("cert")?)?,
        cost: children.optional("costType").map(cost_type).transpose()?,
    };
    children.end()?;
    Ok(service)
}

fn member_class(node: Node<'_, '_>) -> Result<MemberClass, PartError> {
    let mut children = Children::of(node);
    let class = MemberClass {
        code: xml::text(children.required("code")?),
        description: xml::text(children.required("description")?),
    };
    children.end()?;
    Ok(class)
}

fn member(node: Node<'_, '_>, instance: &str, ids: &mut References) -> Result<Member, PartError> {
    let mut children = Children::of(node);
    let class = member_class(children.required("memberClass")?)?;
    let code = xml::text(children.required("memberCode")?);
    let id =
        MemberId::new(instance, &class.code, &code).map_err(|source| identifier(node, source))?;
    ids.add(node, ClientId::from(id.clone()))?;
    let name = xml::text(children.required("name")?);
    let mut subsystems = Vec::new();
    while let Some(node) = children.optional("subsystem") {
        let mut subsystem = Children::of(node);
        let code = xml::text(subsystem.required("subsystemCode")?);
        let name = subsystem.optional("subsystemName").map(xml::text);
        subsystem.end()?;
        let client = ClientId::new(instance, id.class(), id.code(), Some(&code));
        ids.add(node, client.map_err(|source| identifier(node, source))?)?;
        subsystems.push(Subsystem { code, name });
    }
    children.end()?;
    Ok(Member {
        id,
        class_description: class.description,
        name,
        subsystems,
    })
}

fn security_server(node: Node<'_, '_>, ids: &References) -> Result<SecurityServer, PartError> {
    let mut children = Children::of(node);
    let owner = ids.member(children.required("owner")?)?;
    let code = xml::text(children.required("serverCode")?);
    let id = ServerId::new(owner, &code).map_err(|source| identifier(node, source))?;
    let address = children
        .optional("address")
        .map(trimmed)
        .filter(|address| !address.is_empty());
    let mut auth_certificate_hashes = Vec::new();
    while let Some(node) = children.optional("authCertHash") {
        auth_certificate_hashes.push(base64(node, "a digest")?);
    }
    let mut clients = Vec::new();
    while let Some(node) = children.optional("client") {
        clients.push(ids.client(node)?);
    }
    let maintenance = match children.optional("inMaintenanceMode") {
        None => None,
        Some(node) => {
            let mut inner = Children::of(node);
            let message = inner.optional("message").map(xml::text);
            inner.end()?;
            Some(Maintenance { message })
        }
    };
    children.end()?;
    Ok(SecurityServer {
        id,
        address,
        auth_certificate_hashes,
        clients,
        maintenance,
    })
}

fn global_group(node: Node<'_, '_>) -> Result<GlobalGroup, PartError> {
    let mut children = Children::of(node);
    let code = xml::text(children.required("groupCode")?);
    let description = xml::text(children.required("description")?);
    let mut members = Vec::new();
    while let Some(node) = children.optional("groupMember") {
        members.push(client_id(node)?);
    }
    children.end()?;
    Ok(GlobalGroup {
        code,
        description,
        members,
    })
}

fn client_id(node: Node<'_, '_>) -> Result<ClientId, PartError> {
    let mut parts = XmlParts::new();
    for child in node.children().filter(Node::is_element) {
        if child.tag_name().namespace() != Some(IDENTIFIERS_NS)
            || !CLIENT_PARTS.contains(&child.tag_name().name())
            || parts
                .set(child.tag_name().name(), xml::text(child))
                .is_err()
        {
            return Err(PartError::Unexpected {
                element: xml::shown(child.tag_name().name()),
                within: xml::shown(node.tag_name().name()),
                line: xml::line(child),
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
}

impl References {
    fn add(&mut self, node: Node<'_, '_>, client: ClientId) -> Result<(), PartError> {
        let Some(id) = xml::attribute(node, "id") else {
            return Ok(());
        };
        match self.clients.insert(id.trim().to_owned(), client) {
            None => Ok(()),
            Some(_) => Err(PartError::DuplicateId {
                id: xml::shown(id),
                line: xml::line(node),
            }),
        }
    }

    fn client(&self, node: Node<'_, '_>) -> Result<ClientId, PartError> {
        let reference = trimmed(node);
        self.clients
            .get(&reference)
            .cloned()
            .ok_or_else(|| dangling(node, &reference, "member or subsystem"))
    }

    fn member(&self, node: Node<'_, '_>) -> Result<MemberId, PartError> {
        match self.client(node)? {
            ClientId::Member(member) => Ok(member),
            _ => Err(dangling(node, &trimmed(node), "member")),
        }
    }
}

fn dangling(node: Node<'_, '_>, reference: &str, expected: &'static str) -> PartError {
    PartError::Reference {
        element: xml::shown(node.tag_name().name()),
        reference: xml::shown(reference),
        expected,
        line: xml::line(node),
    }
}

fn identifier(node: Node<'_, '_>, source: IdError) -> PartError {
    PartError::Identifier {
        element: xml::shown(node.tag_name().name()),
        line: xml::line(node),
        source,
    }
}
