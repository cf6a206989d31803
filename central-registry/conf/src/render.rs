//! Writing parts so that every release's schema accepts them (`registry-and-globalconf.md` 2): fixed order, local elements in
//! no namespace, nothing of a later version in an earlier one, ids `id0`, `id1`, … in document order.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jibek_protocol::id::{
    ClientId,
    xml::{push_escaped, write_identifier_xml},
};
use time::{OffsetDateTime, UtcOffset};

use crate::model::{
    AnchorContent, CertificationAuthority, CertificationService, CostType, CsrFormat, Member,
    MemberClass, NEWEST_VERSION, OLDEST_PUBLISHED_VERSION, PrivateParameters, SecurityServer,
    SharedParameters,
};

/// Why shared parameters cannot be written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RenderError {
    /// From version 3 a configuration names at least one source.
    #[error("shared parameters need at least one source")]
    NoSource,
    /// A server has an owner or client that is no listed member or subsystem; peers would reject the whole file.
    #[error("server {server} refers to {client}, which is not a listed member or subsystem")]
    UnknownClient {
        /// The server.
        server: String,
        /// What it refers to.
        client: String,
    },
    /// We write versions 3 to 6.
    #[error("configuration version {version} cannot be written")]
    Version {
        /// The version.
        version: u8,
    },
}

/// Writes `shared-params.xml` of a version, 3 to 6.
///
/// # Errors
/// [`RenderError`].
pub fn render_shared(shared: &SharedParameters, version: u8) -> Result<String, RenderError> {
    if !(OLDEST_PUBLISHED_VERSION..=NEWEST_VERSION).contains(&version) {
        return Err(RenderError::Version { version });
    }
    if shared.sources.is_empty() {
        return Err(RenderError::NoSource);
    }
    let mut out = Writer::new("conf", version);
    out.text("instanceIdentifier", &shared.instance);
    for source in &shared.sources {
        out.open("source");
        out.text("address", &source.address);
        out.binaries("internalVerificationCert", &source.internal_certificates);
        out.binaries("externalVerificationCert", &source.external_certificates);
        out.close("source");
    }
    for service in &shared.certification_services {
        out.certification_service(service);
    }
    for service in &shared.timestamping_services {
        out.open("approvedTSA");
        out.text("name", &service.name);
        out.text("url", &service.url);
        out.binary("cert", &service.certificate);
        out.cost(service.cost);
        out.close("approvedTSA");
    }
    let mut ids = HashMap::new();
    for member in &shared.members {
        out.member(member, &mut ids);
    }
    for server in &shared.servers {
        out.server(server, &ids)?;
    }
    for group in &shared.groups {
        out.open("globalGroup");
        out.text("groupCode", &group.code);
        out.text("description", &group.description);
        for member in &group.members {
            out.identifier("groupMember", member);
        }
        out.close("globalGroup");
    }
    out.open("globalSettings");
    for class in &shared.member_classes {
        out.member_class(class);
    }
    out.text(
        "ocspFreshnessSeconds",
        &shared.ocsp_freshness.as_secs().to_string(),
    );
    out.close("globalSettings");
    Ok(out.finish("conf"))
}

/// Writes `private-params.xml`, one form for versions 3 to 6.
#[must_use]
pub fn render_private(private: &PrivateParameters) -> String {
    let mut out = Writer::new("conf", NEWEST_VERSION);
    out.text("instanceIdentifier", &private.instance);
    for anchor in &private.anchors {
        out.open("configurationAnchor");
        out.anchor(anchor);
        out.close("configurationAnchor");
    }
    out.open("managementService");
    out.text(
        "authCertRegServiceAddress",
        &private.management.registration_url,
    );
    out.binaries(
        "authCertRegServiceCert",
        private.management.registration_certificate.as_slice(),
    );
    out.identifier(
        "managementRequestServiceProviderId",
        &private.management.provider,
    );
    out.close("managementService");
    out.text(
        "timeStampingIntervalSeconds",
        &private.timestamping_interval.as_secs().to_string(),
    );
    out.finish("conf")
}

/// Writes a configuration anchor.
#[must_use]
pub fn render_anchor(anchor: &AnchorContent) -> String {
    let mut out = Writer::new("configurationAnchor", NEWEST_VERSION);
    out.anchor(anchor);
    out.finish("configurationAnchor")
}

struct Writer {
    out: String,
    version: u8,
    depth: usize,
}

impl Writer {
    fn new(root: &str, version: u8) -> Self {
        let mut out = String::with_capacity(16 * 1024);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<ns3:");
        out.push_str(root);
        out.push_str(" xmlns:ns2=\"http://x-road.eu/xsd/identifiers\" xmlns:ns3=\"http://x-road.eu/xsd/xroad.xsd\">\n");
        Self {
            out,
            version,
            depth: 1,
        }
    }

    fn finish(mut self, root: &str) -> String {
        self.out.push_str(&format!("</ns3:{root}>\n"));
        self.out
    }

    fn indent(&mut self) {
        self.out.extend(std::iter::repeat_n("    ", self.depth));
    }

    fn open(&mut self, name: &str) {
        self.open_with_id(name, None);
    }

    fn open_with_id(&mut self, name: &str, id: Option<&str>) {
        self.indent();
        match id {
            None => self.out.push_str(&format!("<{name}>\n")),
            Some(id) => self.out.push_str(&format!("<{name} id=\"{id}\">\n")),
        }
        self.depth += 1;
    }

    fn close(&mut self, name: &str) {
        self.depth -= 1;
        self.indent();
        self.out.push_str(&format!("</{name}>\n"));
    }

    fn text(&mut self, name: &str, value: &str) {
        self.indent();
        self.out.push_str(&format!("<{name}>"));
        push_escaped(&mut self.out, value);
        self.out.push_str(&format!("</{name}>\n"));
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn binary(&mut self, name: &str, bytes: &Bytes) {
        self.text(name, &STANDARD.encode(bytes));
    }

    fn binaries(&mut self, name: &str, all: &[Bytes]) {
        for bytes in all {
            self.binary(name, bytes);
        }
    }

    fn identifier(&mut self, name: &str, client: &ClientId) {
        self.indent();
        write_identifier_xml(&mut self.out, name, "ns2", client);
        self.out.push('\n');
    }

    fn cost(&mut self, cost: Option<CostType>) {
        if self.version < 6 {
            return;
        }
        let word = cost.map(|cost| match cost {
            CostType::Free => "FREE",
            CostType::Paid => "PAID",
            CostType::Undefined => "UNDEFINED",
        });
        self.optional("costType", word);
    }

    fn certification_service(&mut self, service: &CertificationService) {
        self.open("approvedCA");
        self.text("name", &service.name);
        self.text(
            "authenticationOnly",
            if service.authentication_only {
                "true"
            } else {
                "false"
            },
        );
        self.authority("topCA", &service.top);
        for intermediate in &service.intermediates {
            self.authority("intermediateCA", intermediate);
        }
        self.text("certificateProfileInfo", &service.profile_class);
        if self.version >= 6 {
            let format = service.default_csr_format.map(|format| match format {
                CsrFormat::Der => "DER",
                CsrFormat::Pem => "PEM",
            });
            self.optional("defaultCsrFormat", format);
        }
        if let Some(acme) = &service.acme {
            self.open("acmeServer");
            self.text("directoryURL", &acme.directory_url);
            self.optional("ipAddress", acme.ip_address.as_deref());
            if self.version >= 4 {
                self.optional(
                    "authenticationCertificateProfileId",
                    acme.authentication_profile.as_deref(),
                );
                self.optional(
                    "signingCertificateProfileId",
                    acme.signing_profile.as_deref(),
                );
            }
            self.close("acmeServer");
        }
        self.close("approvedCA");
    }

    fn authority(&mut self, name: &str, authority: &CertificationAuthority) {
        self.open(name);
        self.binary("cert", &authority.certificate);
        for responder in &authority.ocsp {
            self.open("ocsp");
            self.text("url", &responder.url);
            self.binaries("cert", responder.certificate.as_slice());
            self.cost(responder.cost);
            self.close("ocsp");
        }
        self.close(name);
    }

    fn member_class(&mut self, class: &MemberClass) {
        self.open("memberClass");
        self.text("code", &class.code);
        self.text("description", &class.description);
        self.close("memberClass");
    }

    fn member(&mut self, member: &Member, ids: &mut HashMap<ClientId, String>) {
        let id = format!("id{}", ids.len());
        self.open_with_id("member", Some(&id));
        ids.insert(ClientId::from(member.id.clone()), id);
        self.member_class(&MemberClass {
            code: member.id.class().to_owned(),
            description: member.class_description.clone(),
        });
        self.text("memberCode", member.id.code());
        self.text("name", &member.name);
        for subsystem in &member.subsystems {
            let (instance, class, code) =
                (member.id.instance(), member.id.class(), member.id.code());
            let Ok(client) = ClientId::new(instance, class, code, Some(&subsystem.code)) else {
                continue;
            };
            let id = format!("id{}", ids.len());
            self.open_with_id("subsystem", Some(&id));
            ids.insert(client, id);
            self.text("subsystemCode", &subsystem.code);
            if self.version >= 5 {
                self.optional("subsystemName", subsystem.name.as_deref());
            }
            self.close("subsystem");
        }
        self.close("member");
    }

    fn server(
        &mut self,
        server: &SecurityServer,
        ids: &HashMap<ClientId, String>,
    ) -> Result<(), RenderError> {
        let reference = |client: &ClientId| {
            ids.get(client).ok_or_else(|| RenderError::UnknownClient {
                server: server.id.to_string(),
                client: client.to_string(),
            })
        };
        self.open("securityServer");
        self.text(
            "owner",
            reference(&ClientId::from(server.id.owner().clone()))?,
        );
        self.text("serverCode", server.id.code());
        self.optional("address", server.address.as_deref());
        self.binaries("authCertHash", &server.auth_certificate_hashes);
        // There is no maintenance before version 5: then such a server loses its subsystems, so that nobody calls them.
        let hidden = self.version < 5 && server.maintenance.is_some();
        for client in &server.clients {
            let reference = reference(client)?;
            if !(hidden && client.subsystem().is_some()) {
                self.text("client", reference);
            }
        }
        if let Some(maintenance) = server.maintenance.as_ref().filter(|_| self.version >= 5) {
            self.open("inMaintenanceMode");
            self.optional("message", maintenance.message.as_deref());
            self.close("inMaintenanceMode");
        }
        self.close("securityServer");
        Ok(())
    }

    fn anchor(&mut self, anchor: &AnchorContent) {
        self.optional(
            "generatedAt",
            anchor.generated_at.map(milliseconds).as_deref(),
        );
        self.text("instanceIdentifier", &anchor.instance);
        for source in &anchor.sources {
            self.open("source");
            self.text("downloadURL", &source.url);
            self.binaries("verificationCert", &source.certificates);
            self.close("source");
        }
    }
}

/// UTC with milliseconds, as central servers write it.
fn milliseconds(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    let (date, (hour, minute, second)) = (at.date(), at.to_hms());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        at.millisecond()
    )
}

#[cfg(test)]
mod tests;
