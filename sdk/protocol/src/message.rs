//! REST request and response blocks: the bytes that are hashed, signed and logged (`message-path.md` 3).
//!
//! A block is kept as it came or as it was written; headers are ranges of it. What a receiver hashes for the answer is
//! the canonical form, which equals the bytes of every well-formed block.

use std::fmt;

use crate::fault::codes;
use crate::id::IdError;
use crate::limits;

mod lines;
mod request;
mod response;
mod target;

pub use request::RestRequestBlock;
pub use response::RestResponseBlock;
pub use target::RestTarget;

/// An HTTP method that X-Road carries (`message-path.md` 3.1), upper-case only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the protocol knows exactly these")]
pub enum RestMethod {
    /// `DELETE`
    Delete,
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `OPTIONS`
    Options,
    /// `PATCH`
    Patch,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `TRACE`
    Trace,
}

impl RestMethod {
    /// Reads a method; only the exact upper-case names are known.
    #[must_use]
    pub fn parse(method: &str) -> Option<Self> {
        Some(match method {
            "DELETE" => Self::Delete,
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "PATCH" => Self::Patch,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "TRACE" => Self::Trace,
            _ => return None,
        })
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Trace => "TRACE",
        }
    }

    /// Tells whether a body is delivered to the provider. X-Road delivers those of POST, PUT and PATCH; with us DELETE
    /// too, because what was signed and logged should be what the service got.
    #[must_use]
    pub fn delivers_body(self) -> bool {
        matches!(self, Self::Delete | Self::Patch | Self::Post | Self::Put)
    }
}

impl fmt::Display for RestMethod {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One header of a block: name as written, value untrimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a header is a name and a value")]
pub struct HeaderLine<'a> {
    /// Name in the case in which it was sent.
    pub name: &'a str,
    /// Everything after the colon.
    pub value: &'a str,
}

impl HeaderLine<'_> {
    /// The value as HTTP carries it: Latin-1, other characters as `?` (`message-path.md` 3.2).
    #[must_use]
    pub fn latin1_value(&self) -> Vec<u8> {
        self.value
            .chars()
            .map(|c| u8::try_from(c).unwrap_or(b'?'))
            .collect()
    }
}

/// Why a REST block cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestBlockError {
    /// Line is empty where a header is due.
    #[error("empty line in the block")]
    EmptyLine,
    /// The header must not be in a block.
    #[error("header {name} must not be in a block")]
    ForbiddenHeader {
        /// Its name.
        name: String,
    },
    /// A header line has no colon, or its name is not a token.
    #[error("malformed header line {number}")]
    HeaderName {
        /// Number of the header line, from 1.
        number: usize,
    },
    /// A header value holds a control character.
    #[error("value of header {name} holds a control character")]
    HeaderValue {
        /// Name of the header.
        name: String,
    },
    /// An identifier is malformed.
    #[error("{place} is not an identifier")]
    Identifier {
        /// Header or path in which it stands.
        place: &'static str,
        /// What is wrong.
        #[source]
        source: IdError,
    },
    /// The method is unknown.
    #[error("method is not one that is carried")]
    Method,
    /// `X-Road-Client` is missing.
    #[error("no X-Road-Client header")]
    MissingClient,
    /// A header is missing or empty.
    #[error("header {name} is missing or empty")]
    MissingHeader {
        /// Its name.
        name: &'static str,
    },
    /// `x-road-id` is missing or empty.
    #[error("no x-road-id header")]
    MissingId,
    /// The block ends before it should.
    #[error("block ends before line {line}")]
    MissingLine {
        /// Number of the missing line, from 1.
        line: usize,
    },
    /// The block is not UTF-8.
    #[error("block is not UTF-8")]
    NotUtf8,
    /// The path or query is not one of X-Road's, or holds a character that no URI may hold.
    #[error("malformed path: {reason}")]
    Path {
        /// What is wrong.
        reason: &'static str,
    },
    /// The status is not a number of three digits.
    #[error("malformed status")]
    Status,
    /// The block is larger than allowed.
    #[error("block has more than {max} bytes or {lines} header lines", lines = limits::REST_HEADER_LINES)]
    TooLarge {
        /// Limit in bytes.
        max: usize,
    },
    /// The message id is longer than allowed.
    #[error("message id has {length} bytes")]
    TooLongId {
        /// Its length in bytes.
        length: usize,
    },
}

impl RestBlockError {
    /// Base code of the fault that this becomes (`message-path.md` 2.7, 3.1).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingClient => codes::INVALID_CLIENT_IDENTIFIER,
            _ => codes::INTERNAL_ERROR,
        }
    }
}

/// An answer does not belong to its request (`message-path.md` 2.2, 3.4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} of the answer differs from the request's: expected {expected:?}, found {found:?}")]
pub struct Mismatch {
    /// What differs.
    pub field: &'static str,
    /// The request's value.
    pub expected: String,
    /// The answer's value.
    pub found: String,
}

impl Mismatch {
    /// Base code of the fault that this becomes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        codes::INCONSISTENT_RESPONSE
    }

    pub(crate) fn check(
        field: &'static str,
        expected: Option<&str>,
        found: Option<&str>,
    ) -> Result<(), Self> {
        if expected == found {
            return Ok(());
        }
        let text = |value: Option<&str>| value.unwrap_or("(none)").to_owned();
        Err(Self {
            field,
            expected: text(expected),
            found: text(found),
        })
    }
}

#[cfg(test)]
mod tests;
