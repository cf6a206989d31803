//! The last parts: the signature of a recorded answer, or a fault in its place.

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use jibek_protocol::header as names;
use tokio::sync::oneshot;

use super::{dispatch::Reply, record::RecordedReply};
use crate::{
    body::Body,
    context::Context,
    fault,
    transport::{MessageType, Outgoing, PeerGone, part},
};

/// The head of a multipart answer; header names and order are those of X-Road (`message-path.md` 4.1).
pub(crate) fn response_head(
    context: &Context,
    outgoing: &Outgoing,
    reply: &Reply,
    body: Body,
) -> Response<Body> {
    multipart_head(context, outgoing, reply.original_content_type(), body)
}

/// The head of a multipart answer.
pub(super) fn multipart_head(
    context: &Context,
    outgoing: &Outgoing,
    original_content_type: Option<&str>,
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::DATE, fault::http_date(context.clock.now()));
    if let Ok(value) = HeaderValue::from_str(&outgoing.content_type()) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers.insert(names::X_HASH_ALGORITHM, HeaderValue::from_static("SHA-512"));
    if let Some(value) =
        original_content_type.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok())
    {
        headers.insert(names::X_ORIGINAL_CONTENT_TYPE, value);
    }
    response
}

/// Sends the signature part, without which nobody acts.
pub(crate) async fn reply(recorded: RecordedReply, mut outgoing: Outgoing) -> Result<(), PeerGone> {
    outgoing.signature(&recorded.signature).await?;
    outgoing.close().await
}

/// Sends a fault as the last part.
pub(crate) async fn refusal(fault: Bytes, mut outgoing: Outgoing) {
    let sent = async {
        outgoing.whole_part(part::SOAP, fault).await?;
        outgoing.close().await
    };
    if sent.await.is_err() {
        tracing::info!("the peer went away before the fault was sent");
    }
}

/// Sends the fault document of a service as the only part.
pub(crate) async fn service_fault(
    context: &Context,
    document: Bytes,
    head: oneshot::Sender<Response<Body>>,
) {
    let (mut outgoing, body) = Outgoing::start(&*context.random, context.config.limits.body_stall);
    let response = multipart_head(context, &outgoing, Some(part::TEXT_XML), body);
    if head.send(response).is_err() {
        return;
    }
    let sent = async {
        outgoing.whole_part(part::SOAP, document).await?;
        outgoing.close().await
    };
    if sent.await.is_err() {
        tracing::info!("the peer went away before the fault was sent");
    }
}

/// Sends a fault in place of an answer: for REST as the only part of a multipart, for SOAP as the whole body
/// (`message-path.md` 4.5).
pub(crate) async fn refusal_before_answer(
    context: &Context,
    kind: &MessageType,
    fault: Bytes,
    head: oneshot::Sender<Response<Body>>,
) {
    match kind {
        MessageType::Soap => {
            let _ = head.send(fault::transport_document(fault));
        }
        MessageType::Rest => {
            let (outgoing, body) =
                Outgoing::start(&*context.random, context.config.limits.body_stall);
            if head
                .send(multipart_head(context, &outgoing, None, body))
                .is_ok()
            {
                refusal(fault, outgoing).await;
            }
        }
    }
}
