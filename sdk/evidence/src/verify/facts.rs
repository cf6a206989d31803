//! What a message says of itself: who, to whom, about what.

mod rest;

use bytes::Bytes;
use jibek_protocol::{
    id::{ClientId, RepresentedParty, ServiceId},
    limits::Limits,
    message::{RestRequestBlock, RestResponseBlock},
    soap,
};

use super::explain;
use crate::container::Direction;

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has two")]
pub enum MessageKind {
    /// A REST block.
    Rest,
    /// A SOAP envelope.
    Soap,
}

impl std::fmt::Display for MessageKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Rest => "REST",
            Self::Soap => "SOAP",
        })
    }
}

/// A message's own words about itself. They are proved by the signature, not by this.
#[derive(Debug, Clone)]
pub struct MessageFacts {
    kind: MessageKind,
    direction: Direction,
    client: ClientId,
    service: ServiceId,
    message_id: String,
    issue: Option<String>,
    operation: Option<String>,
    represented_party: Option<RepresentedParty>,
    request_id: Option<String>,
    status: Option<u16>,
    user_id: Option<String>,
}

/// A message that cannot be read.
pub(super) struct Unread {
    /// Neither SOAP nor REST, rather than SOAP that lacks something.
    pub(super) is_no_message: bool,
    pub(super) reason: String,
}

impl MessageFacts {
    /// What `message.xml` says of itself, proved or not; `None` when it cannot be read.
    pub fn of(message: &Bytes) -> Option<Self> {
        Self::read_leniently(message).ok()
    }

    /// Reads what X-Road's verifier reads, which keeps messages as text and asks for little in REST blocks.
    pub(super) fn read_leniently(message: &Bytes) -> Result<Self, Unread> {
        Self::read(message).or_else(|unread| {
            let text = String::from_utf8_lossy(message);
            if text
                .trim_start_matches('\u{feff}')
                .trim_start()
                .starts_with('<')
            {
                Self::read(&Bytes::from(text.into_owned()))
            } else {
                rest::read(&text).ok_or(unread)
            }
        })
    }

    /// Reads `message.xml`: SOAP, else a REST block, in which a digit comes first in responses (`signatures-and-log.md` 5.1).
    pub(super) fn read(message: &Bytes) -> Result<Self, Unread> {
        let text = message
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(message)
            .trim_ascii_start();
        match text.first() {
            Some(b'<') => Self::soap(message),
            Some(b'1'..=b'9') => {
                let block = RestResponseBlock::parse(message.clone())
                    .map_err(|error| unread(true, &error))?;
                Ok(Self {
                    kind: MessageKind::Rest,
                    direction: Direction::Response,
                    client: block.client().clone(),
                    service: block.service().clone(),
                    message_id: block.message_id().to_owned(),
                    issue: None,
                    operation: None,
                    represented_party: None,
                    request_id: block.request_id().map(str::to_owned),
                    status: Some(block.status()),
                    user_id: None,
                })
            }
            _ => {
                let block = RestRequestBlock::parse(message.clone())
                    .map_err(|error| unread(true, &error))?;
                Ok(Self {
                    kind: MessageKind::Rest,
                    direction: Direction::Request,
                    client: block.client().clone(),
                    service: block.target().service().clone(),
                    message_id: block.message_id().to_owned(),
                    issue: block.issue().map(str::to_owned),
                    operation: Some(format!(
                        "{} {}",
                        block.method().as_str(),
                        block.path_and_query()
                    )),
                    represented_party: block.represented_party().cloned(),
                    request_id: block.request_id().map(str::to_owned),
                    status: None,
                    user_id: block.user_id().map(str::to_owned),
                })
            }
        }
    }

    fn soap(message: &Bytes) -> Result<Self, Unread> {
        let mut limits = Limits::default();
        // it was carried and signed once: size is no reason to refuse it now
        limits.soap_part_bytes = usize::MAX;
        let scanned = soap::scan(message, &limits)
            .map_err(|error| unread(error.code() == "invalid_soap", &error))?;
        let header = scanned.header().ok_or_else(|| Unread {
            is_no_message: false,
            reason: "the message has no X-Road header".to_owned(),
        })?;
        Ok(Self {
            kind: MessageKind::Soap,
            direction: if scanned.is_response() {
                Direction::Response
            } else {
                Direction::Request
            },
            client: header.client.clone(),
            service: header.service.clone(),
            message_id: header.id.clone(),
            issue: header.issue.clone(),
            operation: Some(scanned.body_element().to_owned()).filter(|name| !name.is_empty()),
            represented_party: header.represented_party.clone(),
            request_id: None,
            status: None,
            user_id: header.user_id.clone(),
        })
    }

    /// How it is written.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Request or response.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Who called.
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// What was called.
    pub fn service(&self) -> &ServiceId {
        &self.service
    }

    /// The consumer's id of the message.
    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    /// The case or document for which the consumer asks.
    pub fn issue(&self) -> Option<&str> {
        self.issue.as_deref()
    }

    /// What was asked for: method, path and query of a REST request, the element in the body of a SOAP envelope.
    pub fn operation(&self) -> Option<&str> {
        self.operation.as_deref()
    }

    /// Whom the consumer represents.
    pub fn represented_party(&self) -> Option<&RepresentedParty> {
        self.represented_party.as_ref()
    }

    /// The consumer's server's id of the exchange, in REST messages.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// The HTTP status of a REST response.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The person for whom the consumer says it asks. Personal data; no signature proves that this person acted.
    pub fn user_id(&self) -> Option<&str> {
        self.user_id.as_deref()
    }

    /// Whose signature it must bear: the client's on a request, the provider's on a response.
    pub fn sender(&self) -> &ClientId {
        match self.direction {
            Direction::Request => &self.client,
            Direction::Response => self.service.provider(),
        }
    }
}

fn unread(is_no_message: bool, error: &dyn std::error::Error) -> Unread {
    Unread {
        is_no_message,
        reason: format!("the message cannot be read: {}", explain(error)),
    }
}
