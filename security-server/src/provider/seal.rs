//! The answer: relayed to the peer while it is hashed and spooled, then signed.

use bytes::Bytes;
use futures_util::FutureExt;
use hyper::body::Incoming as HttpIncoming;
use jibek_certs::digest::Digest;
use jibek_evidence::seal::PartDigests;
use jibek_msglog::{Direction, Draft, LogError};
use jibek_protocol::{
    message::{RestBlockError, RestResponseBlock},
    soap,
};

use super::{
    dispatch::{Answer, Reply},
    record::Names,
};
use crate::{
    chunks::{ChunkError, Pace},
    context::Context,
    message::RequestMessage,
    sealer::SealError,
    spool::{self, Spool, Spooled},
    transport::{Outgoing, PeerGone, SignatureParts, part},
};

/// An answer that was relayed and signed. Its signature has not left.
#[derive(Debug)]
pub(crate) struct SealedReply {
    pub(super) draft: Draft,
    pub(super) names: Names,
    pub(super) message: Bytes,
    pub(super) message_digest: Digest,
    pub(super) body: Option<Spooled>,
    pub(super) signature: SignatureParts,
}

/// Why an answer was not signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealReplyError {
    /// The service's headers make no REST block.
    #[error("the answer of the service makes no REST response: {0}")]
    Block(RestBlockError),
    /// The service broke off.
    #[error("the answer of the service could not be read: {0}")]
    Broken(ChunkError),
    /// The body could not be spooled.
    #[error("the body could not be written to the message log")]
    Log(#[source] LogError),
    /// The peer went away.
    #[error("{0}")]
    PeerGone(PeerGone),
    /// No signature.
    #[error("the answer could not be signed: {0}")]
    Seal(SealError),
    /// No request hash could be put in.
    #[error("the request hash could not be put into the answer: {0}")]
    Soap(soap::SoapError),
}

/// Relays the answer of the service to the peer and signs it.
pub(crate) async fn reply(
    context: &Context,
    reply: Reply,
    outgoing: &mut Outgoing,
) -> Result<SealedReply, SealReplyError> {
    let Reply { request, answer } = reply;
    let permit = &request.permit;
    let keeping = permit.service().keeping().or(context.config.keeping);
    let keep = keeping.of(Direction::Response);
    let mut draft = context.log.begin().keeping(keep).relayed();
    let (message, status, body) = match (answer, permit.message()) {
        (Answer::Rest(answer), RequestMessage::Rest(block)) => {
            let (head, incoming) = answer.into_parts();
            let status = head.status.as_u16();
            let reason = head
                .extensions
                .get::<hyper::ext::ReasonPhrase>()
                .and_then(|reason| std::str::from_utf8(reason.as_bytes()).ok())
                .or(head.status.canonical_reason())
                .unwrap_or_default();
            let headers = head
                .headers
                .iter()
                .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
            let response = RestResponseBlock::seal(
                status,
                reason,
                headers,
                block,
                permit.request_id(),
                &request.request_hash,
            )
            .map_err(SealReplyError::Block)?;
            let message = response.bytes().clone();
            outgoing
                .whole_part(part::REST_RESPONSE, message.clone())
                .await
                .map_err(SealReplyError::PeerGone)?;
            let has_entity = block.method().as_str() != "HEAD"
                && status >= 200
                && !matches!(status, 204 | 205 | 304);
            let body = if has_entity {
                outgoing
                    .part(part::REST_BODY)
                    .await
                    .map_err(SealReplyError::PeerGone)?;
                Some(relay(context, incoming, &mut draft, outgoing).await?)
            } else {
                None
            };
            (message, Some(status), body)
        }
        (Answer::Soap(envelope), _) => {
            let message =
                soap::with_request_hash(&envelope.bytes, &envelope.scanned, &request.request_hash)
                    .map_err(SealReplyError::Soap)?;
            outgoing
                .whole_part(
                    part::soap(envelope.content_type.as_bytes()),
                    message.clone(),
                )
                .await
                .map_err(SealReplyError::PeerGone)?;
            (message, None, None)
        }
        (Answer::Rest(_), RequestMessage::Soap(_)) => {
            return Err(SealReplyError::Broken(ChunkError::Broken {
                reason: "a SOAP call has a REST answer".to_owned(),
            }));
        }
    };
    let message_digest = spool::digest(&message);
    let parts = PartDigests {
        message: message_digest,
        attachments: body.iter().map(|body| body.digest).collect(),
    };
    let provider = permit.message().service().provider().member();
    let sealed = context
        .sealer
        .seal(provider, parts)
        .await
        .map_err(SealReplyError::Seal)?;
    Ok(SealedReply {
        draft,
        names: Names {
            kind: permit.message().kind(),
            message_id: permit.message().message_id().to_owned(),
            request_id: permit.request_id().to_owned(),
            client: permit.message().client().clone(),
            service: permit.message().service().clone(),
            status,
        },
        message,
        message_digest,
        body,
        signature: SignatureParts {
            hash_chain_result: sealed.hash_chain_result,
            hash_chain: sealed.hash_chain,
            signature: sealed.signature,
        },
    })
}

/// A body byte is read once, hashed, put into the log and written to the next socket by reference.
async fn relay(
    context: &Context,
    mut incoming: HttpIncoming,
    draft: &mut Draft,
    outgoing: &mut Outgoing,
) -> Result<Spooled, SealReplyError> {
    let mut pace = Pace::of_answer(&context.config.limits);
    let mut spool = Spool::start();
    loop {
        let next = match pace.next(&mut incoming).now_or_never() {
            Some(next) => next,
            None => {
                // The service is slow: the peer shall see that something comes.
                outgoing.flush().await.map_err(SealReplyError::PeerGone)?;
                pace.next(&mut incoming).await
            }
        };
        let Some(chunk) = next.map_err(SealReplyError::Broken)? else {
            break;
        };
        spool
            .push(draft, &chunk)
            .await
            .map_err(SealReplyError::Log)?;
        outgoing
            .data(chunk)
            .await
            .map_err(SealReplyError::PeerGone)?;
    }
    spool.finish(draft).map_err(SealReplyError::Log)
}
