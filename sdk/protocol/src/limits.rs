//! Caps on what hostile input may cost, each with its origin.
//!
//! The protocol itself has no maximum (`message-path.md` 7.3); real traffic is far below these.

/// Longest part of an identifier, in bytes of its decoded form (X-Road stores 255 characters, at most 4 bytes each).
pub const ID_PART_BYTES: usize = 1_024;

/// Longest message id, in bytes (255 characters in X-Road's message log, `message-path.md` 7.5).
pub const MESSAGE_ID_BYTES: usize = 1_024;

/// Largest REST block, in bytes. HTTP header blocks are 8 KiB at X-Road's doors (`message-path.md` 7.3); Latin-1 doubles.
pub const REST_BLOCK_BYTES: usize = 64 * 1_024;

/// Most header lines in a REST block (hyper stops at 100 by default; mime parts allow 1000, `message-path.md` 4.6).
pub const REST_HEADER_LINES: usize = 1_000;

/// Largest OCSP part, in bytes (`message-path.md` 7.3).
pub const OCSP_PART_BYTES: usize = 64 * 1_024;

/// Most OCSP parts in a request: one per certificate of the chain.
pub const OCSP_PARTS: usize = 8;

/// Largest SOAP part, in bytes (`message-path.md` 7.3; attachments are not counted).
pub const SOAP_PART_BYTES: usize = 10 * 1_024 * 1_024;

/// Largest hash chain or hash chain result, in bytes (a batch of 2^20 messages needs 20 steps, under 8 KiB).
pub const HASH_CHAIN_BYTES: usize = 256 * 1_024;

/// Largest signature part, in bytes (real ones are 6 to 12 KiB, with certificates and OCSP responses).
pub const SIGNATURE_BYTES: usize = 512 * 1_024;

/// Largest fault document, in bytes.
pub const FAULT_BYTES: usize = 64 * 1_024;

/// Most parts on the top level of a transport multipart.
pub const PARTS: usize = 16;

/// Longest line in the headers of a multipart part, in bytes (mime4j, `message-path.md` 4.6).
pub const PART_HEADER_LINE_BYTES: usize = 1_000;

/// Largest header block of a multipart part, in bytes (mime4j, `message-path.md` 4.6).
pub const PART_HEADERS_BYTES: usize = 10_000;

/// Most header lines of a multipart part (mime4j, `message-path.md` 4.6).
pub const PART_HEADER_LINES: usize = 1_000;

/// Longest boundary of a multipart, in bytes (RFC 2046 says 70; Java peers take more).
pub const BOUNDARY_BYTES: usize = 200;

/// What is read before the first boundary, in bytes; X-Road writes none.
pub const PREAMBLE_BYTES: usize = 64 * 1_024;

/// Deepest nesting of XML elements. Real envelopes stay under 40.
pub const XML_DEPTH: usize = 256;

/// Most attributes of one XML element.
pub const XML_ATTRIBUTES: usize = 128;

/// Most namespace declarations in scope at once: 3000 nested ones cost a tree parser 14 s (`dependencies.md` 5).
pub const XML_NAMESPACES: usize = 128;

/// Longest name or attribute of an XML element, in bytes.
pub const XML_NAME_BYTES: usize = 4_096;

/// Largest start tag, comment, processing instruction or other markup of an XML document, in bytes.
pub const XML_MARKUP_BYTES: usize = 1_024 * 1_024;

/// Longest value of a header element in a SOAP envelope, in bytes.
pub const SOAP_HEADER_VALUE_BYTES: usize = 64 * 1_024;

/// Caps that an operator may move; the constants of this module are their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest OCSP part, in bytes; default [`OCSP_PART_BYTES`].
    pub ocsp_part_bytes: usize,
    /// Largest SOAP part, in bytes; default [`SOAP_PART_BYTES`].
    pub soap_part_bytes: usize,
    /// Largest REST block, in bytes; default [`REST_BLOCK_BYTES`].
    pub rest_block_bytes: usize,
    /// Largest hash chain or hash chain result, in bytes; default [`HASH_CHAIN_BYTES`].
    pub hash_chain_bytes: usize,
    /// Largest signature, in bytes; default [`SIGNATURE_BYTES`].
    pub signature_bytes: usize,
    /// Largest fault document, in bytes; default [`FAULT_BYTES`].
    pub fault_bytes: usize,
    /// Most parts of a transport multipart; default [`PARTS`].
    pub parts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ocsp_part_bytes: OCSP_PART_BYTES,
            soap_part_bytes: SOAP_PART_BYTES,
            rest_block_bytes: REST_BLOCK_BYTES,
            hash_chain_bytes: HASH_CHAIN_BYTES,
            signature_bytes: SIGNATURE_BYTES,
            fault_bytes: FAULT_BYTES,
            parts: PARTS,
        }
    }
}
