//! What a record holds, as callers give and get it.

use std::fmt;

use bytes::Bytes;
use jibek_protocol::id::{ClientId, ServiceId};

use crate::chains::StampChains;

/// Number of a record: unique in a log, growing in the order of commits, never used twice. Gaps are normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(u64);

impl RecordId {
    /// The record with this number, for example one that came in a request of an operator.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a stamp, from the same row of numbers as [`RecordId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StampId(u64);

impl StampId {
    pub(crate) fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for StampId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// On which side of the exchange this server stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "an exchange has two sides")]
pub enum Side {
    /// The server of who asks.
    Consumer,
    /// The server of who answers.
    Provider,
}

/// Which of the two messages of an exchange it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "an exchange has two messages")]
pub enum Direction {
    /// The question.
    Request,
    /// The answer.
    Response,
}

/// Which protocol the message is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a third protocol would be a new format version"
)]
pub enum Kind {
    /// A REST block.
    Rest,
    /// A SOAP envelope.
    Soap,
}

/// What a message is found by (`signatures-and-log.md` 4.1). Texts have at most 65535 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the caller fills in all of it; a new field must be looked at"
)]
pub struct RecordHead {
    /// Time of the record in milliseconds since 1970, UTC.
    pub time_ms: i64,
    /// Side of the exchange.
    pub side: Side,
    /// Request or response.
    pub direction: Direction,
    /// REST or SOAP.
    pub kind: Kind,
    /// `X-Road-Id` or SOAP `id`: the consumer's, not unique.
    pub message_id: String,
    /// `x-road-request-id`: one per exchange.
    pub request_id: String,
    /// Who asks.
    pub client: ClientId,
    /// What is asked.
    pub service: ServiceId,
    /// Whose record it is: the client on the consumer's side, the service's owner on the provider's.
    pub local_party: ClientId,
    /// HTTP status of a REST response.
    pub status: Option<u16>,
}

/// The signed message and what proves it, byte for byte as sent or received. Together at most
/// [`LogConfig::part_bytes`](crate::LogConfig::part_bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the caller fills in all of it; a new field must be looked at"
)]
pub struct RecordParts {
    /// REST block or SOAP envelope.
    pub message: Bytes,
    /// SHA-512 of `message`.
    pub message_sha512: [u8; 64],
    /// Signature document.
    pub signature: Bytes,
    /// Hash chain result, if the signature covers it.
    pub hash_chain_result: Option<Bytes>,
    /// Hash chain of this message.
    pub hash_chain: Option<Bytes>,
}

/// A record as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its number.
    pub id: RecordId,
    /// What it is found by.
    pub head: RecordHead,
    /// Message and signature.
    pub parts: RecordParts,
    /// Its bodies, in the order they were begun.
    pub bodies: Vec<BodyInfo>,
    /// Its stamp, once it has one.
    pub stamp: Option<Stamp>,
}

/// What is known of a body without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyInfo {
    /// Number of the attachment, from 1.
    pub index: u32,
    /// Length in bytes.
    pub len: u64,
    /// SHA-512 of the body, as the writer gave it.
    pub sha512: [u8; 64],
    /// Whether the bytes are still there (see [`MessageLog::drop_bodies`](crate::MessageLog::drop_bodies)).
    pub kept: bool,
    /// Whether only the digest was to be kept when the record was written ([`Keep`](crate::Keep)): the bytes were never
    /// part of it.
    pub digest_only: bool,
}

/// By what a request is recognised when it comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestMark {
    /// Who asks.
    pub client: ClientId,
    /// `x-road-request-id`.
    pub request_id: String,
    /// SHA-512 of the message.
    pub message_sha512: [u8; 64],
    /// SHA-512 of its bodies, in the order they were begun.
    pub body_sha512: Vec<[u8; 64]>,
}

/// The time-stamp over a record, opaque to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stamp {
    /// Number of the stamp.
    pub id: StampId,
    /// Token, DER.
    pub token: Bytes,
    /// Hash chain result that the token covers.
    pub hash_chain_result: Bytes,
    /// This record's chain.
    pub hash_chain: Bytes,
}

/// A time-stamp over several records, to be written by [`MessageLog::stamp`](crate::MessageLog::stamp).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the caller fills in all of it; a new field must be looked at"
)]
pub struct StampBatch {
    /// Token, DER.
    pub token: Bytes,
    /// Hash chain result that the token covers.
    pub hash_chain_result: Bytes,
    /// The records it stamps, each with its chain.
    pub chains: StampChains,
}

/// A record that has no stamp yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unstamped {
    /// The record.
    pub id: RecordId,
    /// Its time in milliseconds since 1970, UTC.
    pub time_ms: i64,
    /// Its signature document, of which the stamp covers the digest.
    pub signature: Bytes,
}
