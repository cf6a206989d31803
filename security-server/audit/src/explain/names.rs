//! Who somebody is: identifiers, with the names that the configuration gives them.

use jibek_certs::parse::{Certificate, Name};
use jibek_conf::{model::SharedParameters, snapshot::Snapshot};
use jibek_protocol::id::{ClientId, MemberId, RepresentedParty};

use crate::speech::{Speech, tame, text};

/// Looks up names in a configuration.
#[derive(Debug)]
pub(crate) struct Names<'n> {
    configuration: Option<&'n Snapshot>,
    speech: &'n Speech,
}

impl<'n> Names<'n> {
    pub(crate) fn new(configuration: Option<&'n Snapshot>, speech: &'n Speech) -> Self {
        Self {
            configuration,
            speech,
        }
    }

    /// A member, by name where there is one.
    pub(crate) fn member(&self, member: &MemberId) -> String {
        let id = identifier(member);
        let name = self
            .configuration
            .and_then(|known| known.member_name(member));
        match name {
            Some(name) if !name.trim().is_empty() => self
                .speech
                .tell("party-member", [text("name", tame(name)), text("id", id)]),
            _ => self.speech.tell("party-member-unnamed", [text("id", id)]),
        }
    }

    /// A member, and which of its information systems.
    pub(crate) fn client(&self, client: &ClientId) -> String {
        let member = self.member(client.member());
        let Some(code) = client.subsystem() else {
            return member;
        };
        let code_shown = tame(code);
        let system = match self.subsystem_name(client.member(), code) {
            Some(name) if name != code => format!("{} ({code_shown})", tame(name)),
            _ => code_shown,
        };
        self.speech.tell(
            "party-system",
            [text("member", member), text("system", system)],
        )
    }

    /// Whom somebody represents.
    pub(crate) fn party(&self, party: &RepresentedParty) -> String {
        match party.class() {
            Some(class) => tame(&format!("{class}/{}", party.code())),
            None => tame(party.code()),
        }
    }

    /// The name under which the configuration approves a certification authority.
    pub(crate) fn authority(&self, certificate: &Certificate) -> Option<String> {
        self.shared()
            .flat_map(|shared| &shared.certification_services)
            .find(|service| {
                std::iter::once(&service.top)
                    .chain(&service.intermediates)
                    .any(|ca| is(&ca.certificate, certificate))
            })
            .map(|service| tame(&service.name))
    }

    /// The name under which the configuration approves a time-stamping authority.
    pub(crate) fn stamper(&self, certificate: &Certificate) -> Option<String> {
        self.shared()
            .flat_map(|shared| &shared.timestamping_services)
            .find(|service| is(&service.certificate, certificate))
            .map(|service| tame(&service.name))
    }

    /// Shared parameters of every instance.
    fn shared(&self) -> impl Iterator<Item = &SharedParameters> {
        self.configuration.into_iter().flat_map(|known| {
            known
                .instances()
                .filter_map(|instance| known.shared(instance))
        })
    }

    fn subsystem_name(&self, member: &MemberId, code: &str) -> Option<&str> {
        self.configuration?
            .shared(member.instance())?
            .members
            .iter()
            .find(|found| found.id == *member)?
            .subsystems
            .iter()
            .find(|subsystem| subsystem.code == code)?
            .name
            .as_deref()
            .filter(|name| !name.trim().is_empty())
    }
}

/// A certificate's name as people read it, in the certificate's own order: `C=KG, O=Agency, serialNumber=KG/GOV/1`.
pub(crate) fn name_of(name: &Name) -> String {
    let mut shown = String::new();
    for (oid, value) in name.attributes() {
        if !shown.is_empty() {
            shown.push_str(", ");
        }
        let keyword = KEYWORDS
            .iter()
            .find(|(known, _)| known == oid)
            .map_or(oid.as_str(), |(_, keyword)| keyword);
        // a value must not look like further attributes
        let is_plain = !value.contains([',', '=', '"', '+']);
        let value = match is_plain {
            true => value.clone(),
            false => format!("\"{}\"", value.replace('"', "'")),
        };
        shown.push_str(&format!("{keyword}={value}"));
    }
    tame(&shown)
}

/// A member's identifier as people write it.
fn identifier(member: &MemberId) -> String {
    tame(&format!(
        "{}/{}/{}",
        member.instance(),
        member.class(),
        member.code()
    ))
}

/// The configuration holds certificates in DER or in PEM.
fn is(configured: &[u8], certificate: &Certificate) -> bool {
    Certificate::from_der_or_pem(configured).is_ok_and(|configured| configured == *certificate)
}

/// Attributes that certificates of members and authorities have.
const KEYWORDS: [(&str, &str); 16] = [
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.42", "GN"),
    ("2.5.4.97", "organizationIdentifier"),
];
