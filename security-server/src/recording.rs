//! What both sides share when they write a message to the log.

use jibek_msglog::{LogError, RecordParts};

use crate::{spool, timestamper::GateClosed, transport::SignatureParts};

/// Why a message was not recorded, so that it must not have an effect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// Nothing was time-stamped for too long.
    #[error("messages are refused until they can be time-stamped again: {0}")]
    Gate(GateClosed),
    /// The log refused it.
    #[error("the message could not be recorded")]
    Log(#[source] LogError),
}

/// Returns the parts of a record as the log takes them.
pub(crate) fn record_parts(
    message: bytes::Bytes,
    digest: &jibek_certs::digest::Digest,
    signature: &SignatureParts,
) -> RecordParts {
    RecordParts {
        message,
        message_sha512: spool::sha512(digest),
        signature: signature.signature.clone(),
        hash_chain_result: signature.hash_chain_result.clone(),
        hash_chain: signature.hash_chain.clone(),
    }
}

/// Returns milliseconds since 1970.
pub(crate) fn millis(time: time::OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}
