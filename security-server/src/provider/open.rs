//! The rest of the message: body spooled and hashed, signature verified.

use bytes::Bytes;
use jibek_conf::Snapshot;
use jibek_evidence::open::SignedParts;
use jibek_msglog::{Direction, Draft, LogError};
use jibek_protocol::limits;
use time::OffsetDateTime;

use super::authorize::Permit;
use crate::{
    context::Context,
    message::RequestMessage,
    spool::{self, Spool, Spooled},
    transport::{Incoming, SignatureParts, TransportError, part},
};

/// A permitted request whose signature is right and covers every part: only [`request`] makes one.
#[derive(Debug)]
pub(crate) struct VerifiedRequest {
    pub(super) permit: Permit,
    pub(super) draft: Draft,
    pub(super) message_digest: jibek_certs::digest::Digest,
    pub(super) body: Option<Spooled>,
    pub(super) signature: SignatureParts,
}

impl VerifiedRequest {
    /// Length of what the consumer sent, in bytes.
    pub(crate) fn body_bytes(&self) -> u64 {
        let body = self.body.as_ref().map(|body| body.length);
        self.permit.message().body_bytes(body)
    }

    /// The hash of the request that its answer carries.
    pub(super) fn request_hash(&self) -> String {
        spool::request_hash(
            &self.permit.message().hashed(&self.message_digest),
            self.body.as_ref().map(|body| &body.digest),
        )
    }
}

/// Why a request was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// SOAP attachments: not in this release.
    #[error("SOAP messages with attachments are not supported by this server yet")]
    Attachments,
    /// A fault stands in the place of the signature: the sender gave up.
    #[error("a fault stands in the place of the signature")]
    Fault(Bytes),
    /// The body could not be spooled.
    #[error("the body could not be written to the message log")]
    Log(#[source] LogError),
    /// No signature part.
    #[error("the signature part is missing")]
    MissingSignature,
    /// The signature is wrong or does not cover the message.
    #[error("the signature was refused: {0}")]
    Signature(jibek_evidence::open::OpenError),
    /// The multipart could not be read.
    #[error("the message could not be read: {0}")]
    Transport(TransportError),
    /// A part that has no place here.
    #[error("content type {found:?} is not expected here")]
    UnexpectedPart {
        /// What came.
        found: String,
    },
}

/// Spools and hashes what follows the message part, then verifies the signature.
pub(crate) async fn request(
    context: &Context,
    permit: Permit,
    parts: &mut Incoming,
    conf: &Snapshot,
    now: OffsetDateTime,
) -> Result<VerifiedRequest, OpenError> {
    let keeping = permit.service().keeping().or(context.config.keeping);
    let mut draft = context.log.begin().keeping(keeping.of(Direction::Request));
    let message_digest = spool::digest(permit.message().bytes());
    let rest = matches!(permit.message(), RequestMessage::Rest(_));
    let (body, signature) = tail(parts, &mut draft, rest).await?;

    let attachments: Vec<_> = body.iter().map(|body| body.digest).collect();
    let signed = SignedParts {
        signature: &signature.signature,
        hash_chain_result: signature.hash_chain_result.as_ref(),
        hash_chain: signature.hash_chain.as_ref(),
        message: &message_digest,
        attachments: &attachments,
    };
    context
        .certificates
        .open(&signed, permit.message().client(), conf, now)
        .map_err(OpenError::Signature)?;
    Ok(VerifiedRequest {
        permit,
        draft,
        message_digest,
        body,
        signature,
    })
}

/// Reads what follows the message part, in the order of `message-path.md` 4.3: body, hash chain, signature, end.
/// Both sides read messages so; a fault in the place of the signature is given back as an unexpected part.
pub(crate) async fn tail(
    parts: &mut Incoming,
    draft: &mut Draft,
    rest: bool,
) -> Result<(Option<Spooled>, SignatureParts), OpenError> {
    let mut body = None;
    let mut hash_chain_result = None;
    let mut hash_chain = None;
    loop {
        let part = parts
            .next_part()
            .await
            .map_err(OpenError::Transport)?
            .ok_or(OpenError::MissingSignature)?;
        let nothing_after_body = hash_chain_result.is_none() && hash_chain.is_none();
        if part.is(part::SIGNATURE) {
            let signature = whole(parts, &part, limits::SIGNATURE_BYTES).await?;
            if let Some(extra) = parts.next_part().await.map_err(OpenError::Transport)? {
                return Err(OpenError::UnexpectedPart {
                    found: extra.content_type,
                });
            }
            return Ok((
                body,
                SignatureParts {
                    hash_chain_result,
                    hash_chain,
                    signature,
                },
            ));
        } else if rest && part.is(part::REST_BODY) && body.is_none() && nothing_after_body {
            let mut spool = Spool::start();
            while let Some(chunk) = parts.chunk().await.map_err(OpenError::Transport)? {
                spool.push(draft, &chunk).await.map_err(OpenError::Log)?;
            }
            body = Some(spool.finish(draft).map_err(OpenError::Log)?);
        } else if part.is(part::HASH_CHAIN_RESULT) && nothing_after_body {
            hash_chain_result = Some(whole(parts, &part, limits::HASH_CHAIN_BYTES).await?);
        } else if part.is(part::HASH_CHAIN) && hash_chain.is_none() {
            hash_chain = Some(whole(parts, &part, limits::HASH_CHAIN_BYTES).await?);
        } else if part.is(part::TEXT_XML) {
            let bytes = whole(parts, &part, limits::FAULT_BYTES).await?;
            return Err(OpenError::Fault(bytes));
        } else if !rest && part.is("multipart/mixed") {
            return Err(OpenError::Attachments);
        } else {
            return Err(OpenError::UnexpectedPart {
                found: part.content_type,
            });
        }
    }
}

async fn whole(
    parts: &mut Incoming,
    part: &crate::transport::Part,
    limit_bytes: usize,
) -> Result<Bytes, OpenError> {
    parts
        .whole(part, limit_bytes)
        .await
        .map_err(OpenError::Transport)
}
