//! SOAP messages: one pass over the original bytes, without a tree (`message-path.md` 2).
//!
//! The bytes are what is kept, hashed, signed and sent on. The scan tells who asks whom for what, whether the body is a
//! fault, and where the request hash of an answer goes.

use std::borrow::Cow;

use bytes::Bytes;

use crate::fault::{Fault, codes};
use crate::id::{ClientId, IdError, RepresentedParty, ServerId, ServiceId};
use crate::limits::{self, Limits};
use crate::message::Mismatch;
use crate::xml::{self, XmlBudget, XmlError, XmlReader};

mod action;
mod hash;
mod scan;

pub use action::soap_action_is_valid;
pub use hash::with_request_hash;

use hash::HashPlace;

/// X-Road header of a SOAP message (`message-path.md` 2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SoapHeader {
    /// Who asks.
    pub client: ClientId,
    /// What is asked for.
    pub service: ServiceId,
    /// Message id, may be empty.
    pub id: String,
    /// Protocol version, starts with `4.`.
    pub protocol_version: String,
    /// User on whose behalf the consumer asks.
    pub user_id: Option<String>,
    /// Case or document for which the consumer asks.
    pub issue: Option<String>,
    /// Server that should answer.
    pub security_server: Option<ServerId>,
    /// Whom the consumer represents.
    pub represented_party: Option<RepresentedParty>,
    /// Hash of the request, in answers.
    pub request_hash: Option<String>,
}

/// What a scan found.
#[derive(Clone, Debug)]
pub struct ScannedSoap {
    header: Option<SoapHeader>,
    fault: Option<Fault>,
    body_element: String,
    hash_place: Option<HashPlace>,
}

impl ScannedSoap {
    /// The X-Road header; there always is one unless the message is a fault.
    #[must_use]
    pub fn header(&self) -> Option<&SoapHeader> {
        self.header.as_ref()
    }

    /// The fault, if the body holds one.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Local name of the body's child.
    #[must_use]
    pub fn body_element(&self) -> &str {
        &self.body_element
    }

    /// Tells whether this is an answer, by the suffix of the body's child (`message-path.md` 7.5).
    #[must_use]
    pub fn is_response(&self) -> bool {
        self.body_element.ends_with("Response")
    }
}

/// Why a SOAP message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SoapError {
    /// A known header element or a part of one occurs twice.
    #[error("{field} occurs twice in the SOAP header")]
    DuplicateHeaderField {
        /// Its name.
        field: &'static str,
    },
    /// The hash to be written is not base64.
    #[error("request hash is not base64")]
    Hash,
    /// A header element is not an identifier.
    #[error("{field} in the SOAP header is not an identifier")]
    Identifier {
        /// Its name.
        field: &'static str,
        /// What is wrong.
        #[source]
        source: IdError,
    },
    /// The body's child is not named after the service.
    #[error("body element {body_element:?} does not start with the service code {service_code:?}")]
    InconsistentHeaders {
        /// Local name of the body's child.
        body_element: String,
        /// Service code in the header.
        service_code: String,
    },
    /// The body has no child or several.
    #[error("SOAP body has {children} child elements, not 1")]
    InvalidBody {
        /// How many.
        children: usize,
    },
    /// The body is missing.
    #[error("SOAP envelope has no body")]
    MissingBody,
    /// The header is missing.
    #[error("SOAP envelope has no header")]
    MissingHeader,
    /// A mandatory header element is missing.
    #[error("{field} is missing from the SOAP header")]
    MissingHeaderField {
        /// Its name.
        field: &'static str,
    },
    /// The root is not a SOAP 1.1 envelope, or has two headers or bodies.
    #[error("not a SOAP 1.1 envelope")]
    NotEnvelope,
    /// `objectType` is missing or not the element's.
    #[error("objectType of {field} is {found:?}")]
    ObjectType {
        /// Name of the element.
        field: &'static str,
        /// What there is.
        found: Option<String>,
    },
    /// The protocol version is not 4.
    #[error("protocol version is {found:?}, not 4.x")]
    ProtocolVersion {
        /// What there is.
        found: String,
    },
    /// More than allowed.
    #[error("{what} has more than {max} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit in bytes.
        max: usize,
    },
    /// The XML is refused.
    #[error("SOAP message is not acceptable XML")]
    Xml(#[source] XmlError),
}

impl SoapError {
    /// Base code of the fault that this becomes (`message-path.md` 2.3, 2.7).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::DuplicateHeaderField { .. } => codes::DUPLICATE_HEADER_FIELD,
            Self::Hash | Self::Identifier { .. } => codes::INTERNAL_ERROR,
            Self::InconsistentHeaders { .. } => codes::INCONSISTENT_HEADERS,
            Self::InvalidBody { .. } => codes::INVALID_BODY,
            Self::MissingBody => codes::MISSING_BODY,
            Self::MissingHeader => codes::MISSING_HEADER,
            Self::MissingHeaderField { .. } => codes::MISSING_HEADER_FIELD,
            Self::NotEnvelope | Self::TooLarge { .. } | Self::Xml(_) => codes::INVALID_SOAP,
            Self::ObjectType { .. } => codes::INVALID_XML,
            Self::ProtocolVersion { .. } => codes::INVALID_PROTOCOL_VERSION,
        }
    }
}

/// Takes a SOAP part as it arrives and scans it at its end.
#[derive(Debug)]
pub struct SoapScanner {
    chunks: Vec<Bytes>,
    length: usize,
    max: usize,
}

impl SoapScanner {
    /// A scanner that takes up to `limits.soap_part_bytes`.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            chunks: Vec::new(),
            length: 0,
            max: limits.soap_part_bytes,
        }
    }

    /// Takes the next chunk, by reference.
    ///
    /// # Errors
    /// [`SoapError::TooLarge`].
    pub fn push(&mut self, chunk: &Bytes) -> Result<(), SoapError> {
        self.length = self.length.saturating_add(chunk.len());
        if self.length > self.max {
            return Err(SoapError::TooLarge {
                what: "SOAP part",
                max: self.max,
            });
        }
        if !chunk.is_empty() {
            self.chunks.push(chunk.clone());
        }
        Ok(())
    }

    /// Scans what came.
    ///
    /// # Errors
    /// [`SoapError`].
    pub fn finish(self) -> Result<ScannedSoap, SoapError> {
        match self.chunks.as_slice() {
            [chunk] => scan_bytes(chunk, self.max),
            chunks => scan_bytes(&chunks.concat(), self.max),
        }
    }
}

/// Scans a whole SOAP part.
///
/// # Errors
/// [`SoapError`].
pub fn scan(bytes: &[u8], limits: &Limits) -> Result<ScannedSoap, SoapError> {
    scan_bytes(bytes, limits.soap_part_bytes)
}

/// Checks that an answer belongs to a request: client, service, id, user, issue and represented party are equal, absent
/// and empty being different (`message-path.md` 2.2). The request hash is the caller's to compare.
///
/// # Errors
/// [`Mismatch`] with the first field that differs.
pub fn check_answers(request: &SoapHeader, response: &SoapHeader) -> Result<(), Mismatch> {
    if request.client != response.client {
        Mismatch::check(
            "client",
            Some(&request.client.to_string()),
            Some(&response.client.to_string()),
        )?;
    }
    if request.service != response.service {
        Mismatch::check(
            "service",
            Some(&request.service.to_string()),
            Some(&response.service.to_string()),
        )?;
    }
    Mismatch::check("id", Some(&request.id), Some(&response.id))?;
    Mismatch::check(
        "userId",
        request.user_id.as_deref(),
        response.user_id.as_deref(),
    )?;
    Mismatch::check("issue", request.issue.as_deref(), response.issue.as_deref())?;
    let party = |header: &SoapHeader| {
        header
            .represented_party
            .as_ref()
            .map(RepresentedParty::to_header)
    };
    Mismatch::check(
        "representedParty",
        party(request).as_deref(),
        party(response).as_deref(),
    )
}

fn scan_bytes(bytes: &[u8], max: usize) -> Result<ScannedSoap, SoapError> {
    if bytes.len() > max {
        return Err(SoapError::TooLarge {
            what: "SOAP part",
            max,
        });
    }
    let budget = XmlBudget {
        bytes: max,
        ..XmlBudget::default()
    };
    let encoding = xml::declared_encoding(bytes);
    if encoding.is_some_and(|encoding| xml::is_latin1(&encoding)) {
        // every byte is the character of that number
        let text: Cow<'_, str> = bytes.iter().map(|byte| char::from(*byte)).collect();
        let reader = XmlReader::new(&text, budget).transcoded_from_latin1();
        let mut scanned = scan::envelope(reader, &text)?;
        if let Some(place) = &mut scanned.hash_place {
            place.transcode_to_latin1(&text);
        }
        return Ok(scanned);
    }
    let text = xml::utf8(bytes, &budget).map_err(SoapError::Xml)?;
    scan::envelope(XmlReader::new(text, budget), text)
}

/// Longest message id; the log and its index hold it.
const ID_BYTES: usize = limits::MESSAGE_ID_BYTES;

#[cfg(test)]
mod tests;
