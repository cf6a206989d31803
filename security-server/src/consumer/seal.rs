//! The request: relayed to the peer while it is hashed and spooled, then signed. The signature stays here.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming as HttpIncoming;
use jibek_certs::digest::Digest;
use jibek_conf::Snapshot;
use jibek_evidence::seal::PartDigests;
use jibek_msglog::{Direction, Draft, LogError};

use super::{
    connect::{Connected, Way},
    identify::Identified,
    send::{Sending, Stopped},
};
use crate::{
    chunks::{ChunkError, Pace},
    context::Context,
    fault::Foreign,
    message::RequestMessage,
    sealer,
    spool::{self, Spool, Spooled},
    transport::SignatureParts,
};

/// A request that was relayed and signed. Its signature has not left.
#[derive(Debug)]
pub(crate) struct SealedRequest {
    pub(super) identified: Identified,
    pub(super) draft: Draft,
    pub(super) message_digest: Digest,
    pub(super) body: Option<Spooled>,
    pub(super) signature: SignatureParts,
    pub(super) sending: Sending,
    pub(super) way: Way,
}

impl SealedRequest {
    /// Length of what the consumer sent, in bytes.
    pub(crate) fn body_bytes(&self) -> u64 {
        let body = self.body.as_ref().map(|body| body.length);
        self.identified.message.body_bytes(body)
    }
}

/// Why a request was not signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// The consumer broke off or stalled.
    #[error("the request body could not be read: {0}")]
    Broken(ChunkError),
    /// The peer refused while the request was still on its way.
    #[error("the provider's security server refused the request")]
    EarlyFault(Foreign),
    /// The peer answered, but with no fault, before it could have verified anything.
    #[error("the provider's security server answered before the request was complete")]
    EarlyAnswer,
    /// The body could not be spooled.
    #[error("the body could not be written to the message log")]
    Log(#[source] LogError),
    /// No OCSP answer for this server's own certificates.
    #[error("no fresh OCSP answer for the authentication certificate of this server: {reason}")]
    NoOcsp {
        /// Which certificate, and since when.
        reason: String,
    },
    /// The peer went away without a word.
    #[error("the provider's security server closed the connection while the request was sent")]
    PeerGone,
    /// No signature.
    #[error("the request could not be signed: {0}")]
    Seal(sealer::SealError),
    /// The body was to be sent again.
    #[error("the body could not be read back from the message log")]
    Unreadable(#[source] std::io::Error),
}

/// Relays the request to the peer and signs it. A connection that is lost meanwhile is replaced by another, and what came of
/// the body so far is sent again: nobody can have acted on it.
///
/// Until this returns, a drop aborts the transport message: the peer sees it break off.
pub(crate) async fn request(
    context: &Context,
    connected: Connected,
    body: &mut HttpIncoming,
    conf: &Arc<Snapshot>,
) -> Result<SealedRequest, SealError> {
    let Connected {
        identified,
        connection,
        mut way,
    } = connected;
    let keep = identified.keeping.of(Direction::Request);
    let mut upload = Upload {
        body,
        pace: Pace::of_request(&context.config.limits),
        draft: context.log.begin().keeping(keep).relayed(),
        spool: None,
    };
    let mut sending = Sending::start(context, &identified, connection);
    loop {
        let ocsp = own_ocsp(context, conf)?;
        let stopped = match relay(&mut sending, &identified, &ocsp, &mut upload).await {
            Ok(()) => break,
            Err(Failed::Here(error)) => return Err(error),
            Err(Failed::Sending(stopped)) => stopped,
        };
        if let Some(error) = sending.last_words(context, stopped).await {
            return Err(error);
        }
        let connection = way
            .another(context, &identified, conf)
            .await
            .ok_or(SealError::PeerGone)?;
        sending = Sending::start(context, &identified, connection);
    }
    let Upload {
        mut draft, spool, ..
    } = upload;
    let body = spool
        .map(|spool| spool.finish(&mut draft))
        .transpose()
        .map_err(SealError::Log)?;
    let message_digest = spool::digest(identified.message.bytes());
    let parts = PartDigests {
        message: message_digest,
        attachments: body.iter().map(|body| body.digest).collect(),
    };
    let sealed = context
        .sealer
        .seal(identified.message.client().member(), parts)
        .await
        .map_err(SealError::Seal)?;
    Ok(SealedRequest {
        identified,
        draft,
        message_digest,
        body,
        signature: SignatureParts {
            hash_chain_result: sealed.hash_chain_result,
            hash_chain: sealed.hash_chain,
            signature: sealed.signature,
        },
        sending,
        way,
    })
}

/// The OCSP answers for our own authentication chain, which go first.
pub(super) fn own_ocsp(context: &Context, conf: &Snapshot) -> Result<Vec<Bytes>, SealError> {
    let auth = context
        .keys
        .current()
        .auth()
        .cloned()
        .ok_or_else(|| SealError::NoOcsp {
            reason: "there is no authentication key".to_owned(),
        })?;
    context
        .ocsp
        .fresh_chain(auth.certificate(), conf, context.clock.now())
        .map_err(|missing| SealError::NoOcsp {
            reason: missing.to_string(),
        })
}

/// The consumer's body, as far as it has come.
struct Upload<'a> {
    body: &'a mut HttpIncoming,
    pace: Pace,
    draft: Draft,
    /// From the first byte on.
    spool: Option<Spool>,
}

/// Why the relay stopped before its end.
enum Failed {
    /// Not for the peer's sake.
    Here(SealError),
    Sending(Stopped),
}

impl From<Stopped> for Failed {
    fn from(stopped: Stopped) -> Self {
        Self::Sending(stopped)
    }
}

/// OCSP parts, message, body as it arrives (`message-path.md` 4.3); first what arrived before a connection was lost.
async fn relay(
    sending: &mut Sending,
    identified: &Identified,
    ocsp: &[Bytes],
    upload: &mut Upload<'_>,
) -> Result<(), Failed> {
    let logged = |error| Failed::Here(SealError::Log(error));
    sending.message(identified, ocsp).await?;
    if matches!(identified.message, RequestMessage::Soap(_)) {
        return Ok(());
    }
    if upload.spool.is_some() {
        let body = upload.draft.so_far(spool::BODY).await.map_err(logged)?;
        let body = body.ok_or(Failed::Here(SealError::PeerGone))?;
        sending.body_again(body).await?;
    }
    loop {
        let chunk = sending.meanwhile(upload.pace.next(upload.body)).await?;
        let chunk = chunk.map_err(|error| Failed::Here(SealError::Broken(error)))?;
        let Some(chunk) = chunk else { return Ok(()) };
        // Spooled first: should it be lost on its way, it is sent again from there.
        let first = upload.spool.is_none();
        upload
            .spool
            .get_or_insert_with(Spool::start)
            .push(&mut upload.draft, &chunk)
            .await
            .map_err(logged)?;
        // The part exists only if a byte was read (`message-path.md` 3.5).
        if first {
            sending.body_part().await?;
        }
        sending.data(chunk).await?;
    }
}
