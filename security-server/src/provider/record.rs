//! On disk, with everything that proves it. Nothing is acted on before.

use jibek_msglog::{BodySource, Direction, RecordHead, RecordId, Side};
use jibek_protocol::id::{ClientId, ServiceId};

use super::{authorize::Permit, open::VerifiedRequest, seal::SealedReply};
use crate::{
    context::Context,
    recording::{RecordError, millis, record_parts},
    spool,
    transport::SignatureParts,
};

/// A request that is on disk: only now may the service be called.
#[derive(Debug)]
pub(crate) struct RecordedRequest {
    pub(super) permit: Permit,
    /// To be sent on. Held no longer than needed: where policy keeps no body, its bytes go with this.
    pub(super) body: Option<BodySource>,
    pub(super) request_hash: String,
}

/// An answer that is on disk: only now may its signature leave.
#[derive(Debug)]
pub(crate) struct RecordedReply {
    pub(super) signature: SignatureParts,
    id: RecordId,
    body_bytes: u64,
}

impl RecordedReply {
    /// Its record.
    pub(crate) fn id(&self) -> RecordId {
        self.id
    }

    /// Length of the answer's body, in bytes.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }
}

/// Whether there is room for one more message: refused now it is acted on nowhere, refused later perhaps it was.
pub(crate) fn room(context: &Context) -> Result<(), RecordError> {
    context.log.has_room().map_err(RecordError::Log)
}

/// Writes a request to the log.
pub(crate) async fn request(
    context: &Context,
    request: VerifiedRequest,
) -> Result<RecordedRequest, RecordError> {
    let now = context.clock.now();
    context.gate.check(now).map_err(RecordError::Gate)?;
    let request_hash = request.request_hash();
    let VerifiedRequest {
        permit,
        draft,
        message_digest,
        body,
        signature,
    } = request;
    let message = permit.message();
    let head = RecordHead {
        time_ms: millis(now),
        side: Side::Provider,
        direction: Direction::Request,
        kind: message.kind(),
        message_id: message.message_id().to_owned(),
        request_id: permit.request_id().to_owned(),
        client: message.client().clone(),
        service: message.service().clone(),
        local_party: message.service().provider().clone(),
        status: None,
    };
    let parts = record_parts(message.bytes().clone(), &message_digest, &signature);
    let committed = draft.commit(head, parts).await.map_err(RecordError::Log)?;
    context.timestamper.recorded();
    Ok(RecordedRequest {
        body: body.and_then(|_| committed.body(spool::BODY)),
        permit,
        request_hash,
    })
}

/// Writes an answer to the log.
pub(crate) async fn reply(
    context: &Context,
    sealed: SealedReply,
) -> Result<RecordedReply, RecordError> {
    let now = context.clock.now();
    context.gate.check(now).map_err(RecordError::Gate)?;
    let names = sealed.names;
    let head = RecordHead {
        time_ms: millis(now),
        side: Side::Provider,
        direction: Direction::Response,
        kind: names.kind,
        message_id: names.message_id,
        request_id: names.request_id,
        client: names.client,
        local_party: names.service.provider().clone(),
        service: names.service,
        status: names.status,
    };
    let parts = record_parts(sealed.message, &sealed.message_digest, &sealed.signature);
    let committed = sealed
        .draft
        .commit(head, parts)
        .await
        .map_err(RecordError::Log)?;
    context.timestamper.recorded();
    Ok(RecordedReply {
        signature: sealed.signature,
        id: committed.id(),
        body_bytes: sealed.body.map_or(0, |body| body.length),
    })
}

/// What a record is found by.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) kind: jibek_msglog::Kind,
    pub(crate) message_id: String,
    pub(crate) request_id: String,
    pub(crate) client: ClientId,
    pub(crate) service: ServiceId,
    /// HTTP status of a REST answer.
    pub(crate) status: Option<u16>,
}
