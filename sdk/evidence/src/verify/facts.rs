//! What a message says of itself: who, to whom, about what.

use bytes::Bytes;
use jibek_protocol::{
    id::{ClientId, ServiceId},
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
}

/// A message that cannot be read.
pub(super) struct Unread {
    pub(super) code: String,
    pub(super) reason: String,
}

impl MessageFacts {
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
                    .map_err(|error| unread(error.code(), &error))?;
                Ok(Self {
                    kind: MessageKind::Rest,
                    direction: Direction::Response,
                    client: block.client().clone(),
                    service: block.service().clone(),
                    message_id: block.message_id().to_owned(),
                })
            }
            _ => {
                let block = RestRequestBlock::parse(message.clone())
                    .map_err(|error| unread(error.code(), &error))?;
                Ok(Self {
                    kind: MessageKind::Rest,
                    direction: Direction::Request,
                    client: block.client().clone(),
                    service: block.target().service().clone(),
                    message_id: block.message_id().to_owned(),
                })
            }
        }
    }

    fn soap(message: &Bytes) -> Result<Self, Unread> {
        let mut limits = Limits::default();
        // it was carried and signed once: size is no reason to refuse it now
        limits.soap_part_bytes = usize::MAX;
        let scanned = soap::scan(message, &limits).map_err(|error| unread(error.code(), &error))?;
        let header = scanned.header().ok_or_else(|| Unread {
            code: "missing_header".to_owned(),
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

    /// Whose signature it must bear: the client's on a request, the provider's on a response.
    pub fn sender(&self) -> &ClientId {
        match self.direction {
            Direction::Request => &self.client,
            Direction::Response => self.service.provider(),
        }
    }
}

fn unread(code: &str, error: &dyn std::error::Error) -> Unread {
    Unread {
        code: code.to_owned(),
        reason: format!("the message cannot be read: {}", explain(error)),
    }
}
