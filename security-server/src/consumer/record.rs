//! On disk, with everything that proves it: the request before its signature leaves, the answer before it is told.

use jibek_msglog::{BodySource, Committed, Direction, RecordHead, Side};
use jibek_protocol::message::RestResponseBlock;

use super::{
    connect::Way,
    identify::Identified,
    open::{ReplyMessage, VerifiedReply},
    seal::SealedRequest,
    send::Sending,
};
use crate::{
    context::Context,
    recording::{RecordError, millis, record_parts},
    spool,
    transport::SignatureParts,
};

/// A request that is on disk: only now may its signature leave.
#[derive(Debug)]
pub(crate) struct RecordedRequest {
    pub(super) asked: Asked,
    pub(super) sending: Sending,
    pub(super) way: Way,
}

/// What stays the same however often a recorded request is sent.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(super) identified: Identified,
    pub(super) signature: SignatureParts,
    pub(super) request_hash: String,
    pub(super) has_body: bool,
    /// Held as long as it may have to be sent again.
    pub(super) body: Option<BodySource>,
}

/// An answer that is on disk: only now may the consumer see it.
#[derive(Debug)]
pub(crate) struct RecordedReply {
    pub(super) message: ReplyMessage,
    pub(super) committed: Committed,
    body_bytes: Option<u64>,
}

impl RecordedReply {
    /// Length of the body, in bytes.
    pub(crate) fn body_bytes(&self) -> u64 {
        match &self.message {
            ReplyMessage::Rest(_) => self.body_bytes.unwrap_or(0),
            ReplyMessage::Soap(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        }
    }

    /// Tells whether there is a body, even an empty one.
    pub(crate) fn has_body(&self) -> bool {
        self.body_bytes.is_some()
    }
}

/// Whether there is room for one more message: refused now it is acted on nowhere, refused later perhaps it was.
pub(crate) fn room(context: &Context) -> Result<(), RecordError> {
    context.log.has_room().map_err(RecordError::Log)
}

/// Writes a request to the log.
pub(crate) async fn request(
    context: &Context,
    sealed: SealedRequest,
) -> Result<RecordedRequest, RecordError> {
    let now = context.clock.now();
    context.gate.check(now).map_err(RecordError::Gate)?;
    let SealedRequest {
        identified,
        draft,
        message_digest,
        body,
        signature,
        sending,
        way,
    } = sealed;
    let head = head(&identified, now, Direction::Request, None);
    let message = identified.message.bytes().clone();
    let parts = record_parts(message, &message_digest, &signature);
    let committed = draft.commit(head, parts).await.map_err(RecordError::Log)?;
    context.timestamper.recorded();
    let request_hash = spool::request_hash(&message_digest, body.as_ref().map(|body| &body.digest));
    Ok(RecordedRequest {
        asked: Asked {
            identified,
            signature,
            request_hash,
            has_body: body.is_some(),
            body: body.and_then(|_| committed.body(spool::BODY)),
        },
        sending,
        way,
    })
}

/// Writes an answer to the log.
pub(crate) async fn reply(
    context: &Context,
    identified: &Identified,
    verified: VerifiedReply,
) -> Result<RecordedReply, RecordError> {
    let now = context.clock.now();
    context.gate.check(now).map_err(RecordError::Gate)?;
    let VerifiedReply {
        draft,
        message,
        message_digest,
        body,
        signature,
    } = verified;
    let status = match &message {
        ReplyMessage::Rest(block) => Some(RestResponseBlock::status(block)),
        ReplyMessage::Soap(_) => None,
    };
    let head = head(identified, now, Direction::Response, status);
    let parts = record_parts(message.bytes().clone(), &message_digest, &signature);
    let committed = draft.commit(head, parts).await.map_err(RecordError::Log)?;
    context.timestamper.recorded();
    Ok(RecordedReply {
        message,
        committed,
        body_bytes: body.map(|body| body.length),
    })
}

fn head(
    identified: &Identified,
    now: time::OffsetDateTime,
    direction: Direction,
    status: Option<u16>,
) -> RecordHead {
    let message = &identified.message;
    RecordHead {
        time_ms: millis(now),
        side: Side::Consumer,
        direction,
        kind: message.kind(),
        message_id: message.message_id().to_owned(),
        request_id: identified.request_id.clone(),
        client: message.client().clone(),
        service: message.service().clone(),
        local_party: message.client().clone(),
        status,
    }
}
