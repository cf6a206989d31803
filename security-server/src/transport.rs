//! Messages between servers as they stand on hop 5500: one multipart each way (`message-path.md` 4).
//!
//! [`Outgoing`] writes parts while they are made, [`Incoming`] reads them as they come. Neither holds a body whole.

mod handed;
mod incoming;
mod outgoing;

pub(crate) use incoming::{Incoming, Part, TransportError, drain_body};
pub(crate) use outgoing::{Outgoing, PeerGone};

use bytes::Bytes;
use http::{HeaderMap, header};
use jibek_protocol::media_type::MediaType;

/// Media types of the parts (`message-path.md` 4.3).
pub(crate) mod part {
    pub(crate) const OCSP_RESPONSE: &str = "application/ocsp-response";
    pub(crate) const REST_REQUEST: &str = "application/x-road-rest-request";
    pub(crate) const REST_RESPONSE: &str = "application/x-road-rest-response";
    pub(crate) const REST_BODY: &str = "application/x-road-rest-body";
    pub(crate) const HASH_CHAIN_RESULT: &str = "application/hash-chain-result";
    pub(crate) const HASH_CHAIN: &str = "application/hash-chain";
    pub(crate) const SIGNATURE: &str = "signature/bdoc-1.0/ts";
    pub(crate) const SOAP: &str = "text/xml; charset=UTF-8";
    pub(crate) const TEXT_XML: &str = "text/xml";
    pub(crate) const XOP: &str = "application/xop+xml";

    /// Returns the content type of a SOAP part: the information system's own, as real servers give it
    /// (`message-path.md` 4.3).
    pub(crate) fn soap(original: &[u8]) -> &str {
        std::str::from_utf8(original)
            .ok()
            .filter(|original| super::MediaType::parse(original).is_ok())
            .unwrap_or(SOAP)
    }
}

/// What the sender announces in the header of the transport message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MessageType {
    /// `x-road-message-type: REST`, compared by case (`message-path.md` 4.1).
    Rest,
    /// Anything else.
    Soap,
}

impl std::fmt::Display for MessageType {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Rest => "REST",
            Self::Soap => "SOAP",
        })
    }
}

impl MessageType {
    /// Reads the type from the transport headers.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.get(jibek_protocol::header::X_ROAD_MESSAGE_TYPE) {
            Some(value) if value.as_bytes() == b"REST" => Self::Rest,
            _ => Self::Soap,
        }
    }
}

/// Returns the content type of a transport message, if it has one that can be read.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<MediaType> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    MediaType::parse(value).ok()
}

/// The parts that carry a signature, last in every message.
#[derive(Clone, Debug)]
pub(crate) struct SignatureParts {
    pub(crate) hash_chain_result: Option<Bytes>,
    pub(crate) hash_chain: Option<Bytes>,
    pub(crate) signature: Bytes,
}
