//! Multipart messages between servers: a push reader that copies no body bytes, and a writer (`message-path.md` 4.3, 4.6).
//!
//! The reader takes what Java peers take: CRLF or LF, preamble and epilogue, blanks after a boundary, folded, malformed
//! or missing part headers, and body lines that only begin like the boundary. Unlike them it tells whether the closing
//! boundary came.

use bytes::Bytes;

use crate::fault::codes;
use crate::limits;

mod delimiter;
mod part;
mod reader;
mod writer;

pub use part::PartHeaders;
pub use reader::MultipartReader;
pub use writer::{MultipartWriter, boundary};

/// What a multipart may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultipartLimits {
    /// Most parts; default [`limits::PARTS`].
    pub parts: usize,
    /// Longest header line of a part, in bytes; default [`limits::PART_HEADER_LINE_BYTES`].
    pub header_line_bytes: usize,
    /// Largest header block of a part, in bytes; default [`limits::PART_HEADERS_BYTES`].
    pub headers_bytes: usize,
    /// Most header lines of a part; default [`limits::PART_HEADER_LINES`].
    pub header_lines: usize,
    /// What is skipped before the first boundary and after the last, in bytes each; default [`limits::PREAMBLE_BYTES`].
    pub preamble_bytes: usize,
}

impl Default for MultipartLimits {
    fn default() -> Self {
        Self {
            parts: limits::PARTS,
            header_line_bytes: limits::PART_HEADER_LINE_BYTES,
            headers_bytes: limits::PART_HEADERS_BYTES,
            header_lines: limits::PART_HEADER_LINES,
            preamble_bytes: limits::PREAMBLE_BYTES,
        }
    }
}

/// What the reader found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MultipartEvent {
    /// A part begins.
    PartStart(PartHeaders),
    /// Bytes of the part, as they came: slices of what was pushed, except where a chunk ended inside what looked like a
    /// boundary.
    Data(Bytes),
    /// The part is complete.
    PartEnd,
    /// The closing boundary came.
    End,
}

/// Why a multipart is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MultipartError {
    /// The boundary is empty, too long or holds a line break.
    #[error("unfit boundary")]
    Boundary,
    /// The data ended without the closing boundary: cut off on the way.
    #[error("multipart ends without its closing boundary")]
    NotClosed,
    /// More than the limits allow.
    #[error("multipart has more than {max} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
}

impl MultipartError {
    /// Base code of the fault that this becomes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Boundary => codes::INVALID_CONTENT_TYPE,
            Self::NotClosed | Self::TooLarge { .. } => codes::MIME_PARSING_FAILED,
        }
    }
}

#[cfg(test)]
mod tests;
