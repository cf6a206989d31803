//! Faults: codes in both spellings, SOAP and REST documents, whose fault it is and whether to repeat
//! (`message-path.md` 2.7, 3.7).
//!
//! We write the spelling of X-Road 7.8 (`server.serverproxy.access_denied`), read both, and never compare codes
//! case-sensitively.

use std::fmt;

use bytes::Bytes;

use crate::id::xml::push_escaped;

pub mod codes;

pub use codes::{compose, same};

/// What went wrong, as one party of an exchange tells it to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    code: FaultCode,
    message: String,
    actor: String,
    detail: Option<String>,
}

impl Fault {
    /// Makes a fault. `detail` is a random UUID under which the log has the rest; a stranger learns no more.
    #[must_use]
    pub fn new(
        code: impl Into<FaultCode>,
        message: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            actor: String::new(),
            detail: Some(detail.into()),
        }
    }

    /// A fault as it was read from a document or answer.
    #[must_use]
    pub fn read(code: String, message: String, actor: String, detail: Option<String>) -> Self {
        Self {
            code: code.into(),
            message,
            actor,
            detail,
        }
    }

    /// The code with all its prefixes.
    #[must_use]
    pub fn code(&self) -> &FaultCode {
        &self.code
    }

    /// What happened, for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// `faultactor`; empty in faults of servers.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// UUID that finds the matter in the log of the server which made the fault.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        codes::judge(self.code.as_str()).0
    }

    /// Whether to repeat the exchange.
    #[must_use]
    pub fn repeat(&self) -> Repeat {
        codes::judge(self.code.as_str()).1
    }

    /// The SOAP document, byte for byte as X-Road writes it.
    #[must_use]
    pub fn to_soap(&self) -> Bytes {
        let mut out = String::with_capacity(512);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
        out.push_str("<SOAP-ENV:Envelope xmlns:SOAP-ENV=\"http://schemas.xmlsoap.org/soap/envelope/\"><SOAP-ENV:Body><SOAP-ENV:Fault>");
        out.push_str("<faultcode>");
        push_escaped(&mut out, self.code.as_str());
        out.push_str("</faultcode><faultstring>");
        push_escaped(&mut out, &self.message);
        out.push_str("</faultstring><faultactor>");
        push_escaped(&mut out, &self.actor);
        out.push_str("</faultactor><detail><faultDetail xmlns=\"\">");
        push_escaped(&mut out, self.detail.as_deref().unwrap_or_default());
        out.push_str(
            "</faultDetail></detail></SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>",
        );
        out.into()
    }

    /// The JSON document for REST consumers: members `type`, `message` and `detail`, compact.
    #[must_use]
    pub fn to_rest_json(&self) -> Bytes {
        let mut out = String::with_capacity(256);
        for (start, value) in [
            ("{\"type\":\"", self.code.as_str()),
            ("\",\"message\":\"", &self.message),
            (
                "\",\"detail\":\"",
                self.detail.as_deref().unwrap_or_default(),
            ),
        ] {
            out.push_str(start);
            push_json(&mut out, value);
        }
        out.push_str("\"}");
        out.into()
    }

    /// The XML document for REST consumers that accept XML.
    #[must_use]
    pub fn to_rest_xml(&self) -> Bytes {
        let mut out = String::with_capacity(256);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?><error>");
        for (name, value) in [
            ("type", self.code.as_str()),
            ("message", &self.message),
            ("detail", self.detail.as_deref().unwrap_or_default()),
        ] {
            out.push_str(&format!("<{name}>"));
            push_escaped(&mut out, value);
            out.push_str(&format!("</{name}>"));
        }
        out.push_str("</error>");
        out.into()
    }

    /// HTTP status of the REST answer: 500 if the code starts with `server.` in any case, else 400.
    #[must_use]
    pub fn rest_status(&self) -> u16 {
        if codes::has_prefix(self.code.as_str(), "server.") {
            500
        } else {
            400
        }
    }
}

/// Form of a REST error document, by what the consumer accepts (`message-path.md` 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol knows exactly these")]
pub enum RestFaultForm {
    /// `application/json`, for whoever asks for nothing else.
    Json,
    /// `application/xml`.
    ApplicationXml,
    /// `text/xml`, also for `text/*`.
    TextXml,
}

impl RestFaultForm {
    /// Chooses by the values of all `Accept` headers: the first XML type in them, whatever its quality.
    #[must_use]
    pub fn choose<'a>(accept: impl IntoIterator<Item = &'a str>) -> Self {
        let entries = accept.into_iter().flat_map(|value| value.split(','));
        for entry in entries {
            let media_type = entry
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            match media_type.as_str() {
                "text/xml" | "text/*" => return Self::TextXml,
                "application/xml" => return Self::ApplicationXml,
                _ => {}
            }
        }
        Self::Json
    }

    /// Value of the answer's `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::ApplicationXml => "application/xml;charset=utf-8",
            Self::TextXml => "text/xml;charset=utf-8",
        }
    }

    /// The document in this form.
    #[must_use]
    pub fn render(self, fault: &Fault) -> Bytes {
        match self {
            Self::Json => fault.to_rest_json(),
            Self::ApplicationXml | Self::TextXml => fault.to_rest_xml(),
        }
    }
}

/// A dotted fault code. Equality is [`same`]: case and underscores do not matter.
#[derive(Clone, Eq)]
pub struct FaultCode(Box<str>);

impl FaultCode {
    /// The code as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part, which says what happened.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or_default()
    }

    /// Tells whether some part of the code is `part`, in either spelling.
    #[must_use]
    pub fn contains(&self, part: &str) -> bool {
        self.0.split('.').any(|own| same(own, part))
    }
}

impl PartialEq for FaultCode {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

impl PartialEq<str> for FaultCode {
    fn eq(&self, other: &str) -> bool {
        same(&self.0, other)
    }
}

impl PartialEq<&str> for FaultCode {
    fn eq(&self, other: &&str) -> bool {
        same(&self.0, other)
    }
}

impl From<String> for FaultCode {
    fn from(code: String) -> Self {
        Self(code.into())
    }
}

impl From<&str> for FaultCode {
    fn from(code: &str) -> Self {
        Self(code.into())
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for FaultCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, formatter)
    }
}

/// Whose fault it is, seen by the consumer's system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a fifth party would change every judgement"
)]
pub enum Blame {
    /// The calling system: its message is wrong or it asks for what it may not have.
    Consumer,
    /// The consumer's own security server.
    Us,
    /// The provider's security server, or the way to it.
    Peer,
    /// The provider's service.
    Service,
}

/// Whether to repeat an exchange after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the three answers a caller can act on"
)]
pub enum Repeat {
    /// The service has not acted; a repeat may succeed at once.
    Yes,
    /// The service has not acted; a repeat can succeed after some time or an operator's help.
    Later,
    /// A repeat would fail again, or the service may have acted already.
    No,
}

/// Appends the inside of a JSON string.
fn push_json(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests;
