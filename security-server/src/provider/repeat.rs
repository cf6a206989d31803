//! A request that came again gets the recorded answer: the signed bytes as they stand in the log.

use futures_util::StreamExt;
use http::Response;
use jibek_msglog::{
    BodySource, Direction, Kind, LogError, MessageLog, Query, Record, RecordId, Side,
};
use jibek_protocol::{
    limits::Limits,
    message::RestResponseBlock,
    soap::{self},
};
use tokio::sync::oneshot;

use super::{
    once::{Again, Outcome},
    release,
};
use crate::{
    body::Body,
    context::Context,
    message::RequestMessage,
    spool,
    transport::{Outgoing, PeerGone, SignatureParts, part},
};

/// Why a request that came again has no answer. It is not executed again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepeatError {
    /// The log could not be read.
    #[error("the same request came before, and its answer could not be read from the message log")]
    Log(#[source] LogError),
    /// Policy or archiving took the answer.
    #[error(
        "the same request came before and was answered; the answer is no longer kept, and the request is not executed again"
    )]
    NotKept,
    /// It was recorded, and the server ended before there was an answer, or the answer was a fault.
    #[error(
        "the same request came before and has no recorded answer; whether the service acted on it is not known, and it is not executed again"
    )]
    Unknown,
}

/// An answer as it stands in the log.
#[derive(Debug)]
pub(crate) struct Found {
    record: Record,
    body: Option<BodySource>,
}

impl Found {
    /// Length of the answer's body, in bytes.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.body.as_ref().map_or(0, BodySource::len)
    }
}

/// Finds the answer that belongs to the request.
///
/// # Errors
///
/// [`RepeatError`]: there is none.
pub(crate) async fn answer(
    context: &Context,
    again: Again,
    outcome: &Outcome,
) -> Result<Found, RepeatError> {
    let known = match outcome {
        Outcome::Answered(id) => Some(*id),
        Outcome::Fault(_) | Outcome::Recorded => None,
    };
    let log = context.log.clone();
    tokio::task::spawn_blocking(move || find(&log, &again, known))
        .await
        .unwrap_or(Err(RepeatError::Unknown))
}

fn find(log: &MessageLog, again: &Again, known: Option<RecordId>) -> Result<Found, RepeatError> {
    let message = again.permit.message();
    let candidates = match known {
        Some(id) => vec![id],
        None => log
            .find(&Query {
                client: Some(message.client().clone()),
                direction: Some(Direction::Response),
                ..Query::request_id(again.permit.request_id())
            })
            .map_err(RepeatError::Log)?,
    };
    for id in candidates {
        let Some(record) = log.read(id).map_err(RepeatError::Log)? else {
            continue;
        };
        if record.head.side != Side::Provider || !belongs(&record, again) {
            continue;
        }
        let body = if record.bodies.is_empty() {
            None
        } else {
            let body = log.body(id, spool::BODY).map_err(RepeatError::Log)?;
            Some(body.ok_or(RepeatError::NotKept)?)
        };
        return Ok(Found { record, body });
    }
    Err(RepeatError::Unknown)
}

/// Tells whether the record answers the request, by the hash of the request that the answer carries.
fn belongs(record: &Record, again: &Again) -> bool {
    let bytes = record.parts.message.clone();
    match (again.permit.message(), record.head.kind) {
        (RequestMessage::Rest(request), Kind::Rest) => RestResponseBlock::parse(bytes)
            .is_ok_and(|response| response.check_answers(request, &again.request_hash).is_ok()),
        (RequestMessage::Soap(_), Kind::Soap) => {
            soap::scan(&bytes, &Limits::default()).is_ok_and(|scanned| {
                let header = scanned.header();
                let hash = header.and_then(|header| header.request_hash.as_deref());
                hash.is_some_and(|hash| hash.trim() == again.request_hash)
            })
        }
        _ => false,
    }
}

/// Sends the answer as it was sent before: message, body, hash chain, signature.
///
/// # Errors
///
/// The peer is gone, or the body could not be read from the log: then the answer breaks off.
pub(crate) async fn send(
    context: &Context,
    found: Found,
    head: oneshot::Sender<Response<Body>>,
) -> Result<(), PeerGone> {
    let Found { record, body } = found;
    let (mut outgoing, content) =
        Outgoing::start(&*context.random, context.config.limits.body_stall);
    let soap = record.head.kind == Kind::Soap;
    let original = soap.then_some(part::TEXT_XML);
    head.send(release::multipart_head(
        context, &outgoing, original, content,
    ))
    .map_err(|_| PeerGone)?;
    let kind = if soap {
        part::SOAP
    } else {
        part::REST_RESPONSE
    };
    outgoing.whole_part(kind, record.parts.message).await?;
    if let Some(body) = body {
        outgoing.part(part::REST_BODY).await?;
        let mut chunks = body.into_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                tracing::warn!(%error, "a recorded body could not be read");
                PeerGone
            })?;
            outgoing.data(chunk).await?;
        }
    }
    let signature = SignatureParts {
        hash_chain_result: record.parts.hash_chain_result,
        hash_chain: record.parts.hash_chain,
        signature: record.parts.signature,
    };
    outgoing.signature(&signature).await?;
    outgoing.close().await
}
