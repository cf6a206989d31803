//! A message of either kind, as far as the path must understand it.

use bytes::Bytes;
use jibek_certs::digest::Digest;
use jibek_msglog::Kind;
use jibek_protocol::{
    id::{ClientId, ServiceId},
    message::RestRequestBlock,
    soap::SoapHeader,
};

/// A request that names its client and its service.
#[derive(Debug)]
pub(crate) enum RequestMessage {
    /// A REST block; its body, if any, is a part of its own.
    Rest(RestRequestBlock),
    /// A SOAP envelope.
    Soap(SoapRequest),
}

/// A SOAP envelope that is a request.
#[derive(Debug)]
pub(crate) struct SoapRequest {
    /// The original bytes.
    pub(crate) bytes: Bytes,
    /// The header: only messages that have one become a [`SoapRequest`].
    pub(crate) header: SoapHeader,
}

impl RequestMessage {
    /// Returns the bytes that are hashed and signed as `/message.xml`.
    pub(crate) fn bytes(&self) -> &Bytes {
        match self {
            Self::Rest(block) => block.bytes(),
            Self::Soap(soap) => &soap.bytes,
        }
    }

    /// Returns who calls.
    pub(crate) fn client(&self) -> &ClientId {
        match self {
            Self::Rest(block) => block.client(),
            Self::Soap(soap) => &soap.header.client,
        }
    }

    /// Returns what is called.
    pub(crate) fn service(&self) -> &ServiceId {
        match self {
            Self::Rest(block) => block.target().service(),
            Self::Soap(soap) => &soap.header.service,
        }
    }

    /// Returns the consumer's message id.
    pub(crate) fn message_id(&self) -> &str {
        match self {
            Self::Rest(block) => block.message_id(),
            Self::Soap(soap) => &soap.header.id,
        }
    }

    /// Returns how many bytes the consumer sent: the envelope, or the REST body of this length.
    pub(crate) fn body_bytes(&self, rest_body: Option<u64>) -> u64 {
        match self {
            Self::Rest(_) => rest_body.unwrap_or(0),
            Self::Soap(soap) => u64::try_from(soap.bytes.len()).unwrap_or(u64::MAX),
        }
    }

    /// Returns the kind under which it is recorded.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Rest(_) => Kind::Rest,
            Self::Soap(_) => Kind::Soap,
        }
    }

    /// Returns the digest that goes into the request hash: for REST, of the block as a receiver re-serialises it
    /// (`message-path.md` 3.3).
    pub(crate) fn hashed(&self, message: &Digest) -> Digest {
        match self {
            Self::Rest(block) if block.canonical() != *block.bytes() => {
                crate::spool::digest(&block.canonical())
            }
            Self::Rest(_) | Self::Soap(_) => *message,
        }
    }
}
