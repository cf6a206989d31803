//! SOAP envelopes as the SDK writes them: requests of consumers, answers of providers (`message-path.md` 2).

use jibek_protocol::header::{NS_IDENTIFIERS, NS_REPRESENTATION, NS_SOAP, NS_XROAD};
use jibek_protocol::id::xml::{push_escaped, write_identifier_xml};
use jibek_protocol::id::{ClientId, RepresentedParty, ServerId, ServiceId};

/// What the header of a message says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heading<'a> {
    pub(crate) client: &'a ClientId,
    pub(crate) service: &'a ServiceId,
    pub(crate) security_server: Option<&'a ServerId>,
    pub(crate) message_id: &'a str,
    pub(crate) user_id: Option<&'a str>,
    pub(crate) issue: Option<&'a str>,
    pub(crate) represented_party: Option<&'a RepresentedParty>,
    pub(crate) protocol_version: &'a str,
}

/// Writes an envelope around `body_xml`, which is one element.
pub(crate) fn envelope(heading: &Heading<'_>, body_xml: &str) -> String {
    let mut out = String::with_capacity(body_xml.len().saturating_add(1_600));
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soap:Envelope");
    for (prefix, namespace) in [("soap", NS_SOAP), ("xrd", NS_XROAD), ("id", NS_IDENTIFIERS)] {
        out.push_str(&format!(" xmlns:{prefix}=\"{namespace}\""));
    }
    out.push_str("><soap:Header>");
    write_identifier_xml(&mut out, "xrd:client", "id", heading.client);
    write_identifier_xml(&mut out, "xrd:service", "id", heading.service);
    if let Some(server) = heading.security_server {
        write_identifier_xml(&mut out, "xrd:securityServer", "id", server);
    }
    if let Some(party) = heading.represented_party {
        out.push_str(&format!(
            "<repr:representedParty xmlns:repr=\"{NS_REPRESENTATION}\">"
        ));
        if let Some(class) = party.class() {
            element(&mut out, "repr:partyClass", class);
        }
        element(&mut out, "repr:partyCode", party.code());
        out.push_str("</repr:representedParty>");
    }
    if let Some(user) = heading.user_id {
        element(&mut out, "xrd:userId", user);
    }
    if let Some(issue) = heading.issue {
        element(&mut out, "xrd:issue", issue);
    }
    element(&mut out, "xrd:id", heading.message_id);
    element(&mut out, "xrd:protocolVersion", heading.protocol_version);
    out.push_str("</soap:Header><soap:Body>");
    out.push_str(body_xml);
    out.push_str("</soap:Body></soap:Envelope>");
    out
}

/// Escapes text for XML, as content of an element or value of an attribute.
///
/// Characters that XML 1.0 cannot hold are left out.
///
/// ```
/// assert_eq!(jibek_sdk::escape_xml("Bishkek & Osh"), "Bishkek &amp; Osh");
/// ```
#[must_use]
pub fn escape_xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_escaped(&mut out, text);
    out
}

fn element(out: &mut String, name: &str, text: &str) {
    out.push_str(&format!("<{name}>"));
    push_escaped(out, text);
    out.push_str(&format!("</{name}>"));
}

pub(crate) const PROTOCOL_VERSION: &str = "4.0";
