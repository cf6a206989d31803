//! The consumer's side: a local information system calls out.
//!
//! Each line of [`serve`] and [`conclude`] is one step, one file, one error, one type that the next step demands.

mod answer;
mod connect;
mod identify;
mod open;
mod record;
mod release;
mod resolve;
mod seal;
mod send;

pub(crate) use connect::ConnectError;
pub(crate) use identify::IdentifyError;
pub(crate) use open::OpenError;
pub(crate) use resolve::ResolveError;
pub(crate) use seal::SealError;

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming as HttpIncoming;
use jibek_conf::Snapshot;
use jibek_msglog::fault_point;

use crate::{
    body::Body,
    clients::ConnectionInfo,
    context::Context,
    exchange::Exchange,
    fault::{self, Refusal},
    metrics::{RepeatLabel, SideLabel},
};
pub(crate) use answer::AnswerForm;
use connect::Way;
use open::VerifiedReply;
use record::{Asked, RecordedRequest};
use send::Sending;

/// Serves one request of an information system.
pub(crate) async fn handle(
    context: Arc<Context>,
    connection: Arc<ConnectionInfo>,
    request: Request<HttpIncoming>,
) -> Response<Body> {
    let (head, mut body) = request.into_parts();
    if context.evidence.handles(&head.method, head.uri.path()) {
        return context.evidence.handle(&head, &connection).await;
    }
    let form = AnswerForm::of(&head);
    let mut exchange = Exchange::start(&context, SideLabel::Consumer).placed(&head.extensions);
    let served = serve(&context, &connection, &head, &mut body, &mut exchange).await;
    let refusal = match served {
        Ok((recorded, conf)) => {
            // On disk: the rest no longer depends on the consumer's patience.
            let guard = context.drain.guard();
            let task_context = Arc::clone(&context);
            let task = tokio::spawn(async move {
                let reply = conclude(&task_context, recorded, &conf).await;
                drop(guard);
                reply
            });
            match task.await {
                Ok(Ok(reply)) => {
                    fault_point!("consumer:before-answer");
                    exchange.answered(&context, reply.body_bytes());
                    return answer::reply(&reply);
                }
                Ok(Err(refusal)) => refusal,
                Err(_) => Refusal::internal("the exchange ended without an answer"),
            }
        }
        Err(refusal) => {
            let limits = context.config.limits.clone();
            tokio::spawn(async move {
                crate::transport::drain_body(&mut body, limits.drain_bytes, limits.drain_time).await
            });
            refusal
        }
    };
    let foreign = refusal.is_foreign();
    let document = refusal.document();
    let fault = refusal.into_fault(&*context.random);
    exchange.refused(&context, &fault, foreign);
    fault::consumer_response(&fault, document, form)
}

/// From the consumer's request to the request on disk. Until its end the consumer may go away: the peer then sees a
/// message that breaks off without a signature, and nothing has happened.
async fn serve(
    context: &Arc<Context>,
    connection: &ConnectionInfo,
    head: &http::request::Parts,
    body: &mut HttpIncoming,
    exchange: &mut Exchange,
) -> Result<(RecordedRequest, Arc<Snapshot>), Refusal> {
    let conf = context.conf.snapshot(); // one configuration for the whole message
    let identified = identify::request(context, connection, head, body, &conf)
        .await
        .map_err(|error| Refusal::consumer(&error))?;
    exchange.names(identified.message());
    record::room(context).map_err(|error| Refusal::consumer(&error))?;
    let resolved =
        resolve::provider(identified, &conf).map_err(|error| Refusal::consumer(&error))?;
    let connected = connect::peer(context, resolved, &conf)
        .await
        .map_err(|error| Refusal::consumer(&error))?;
    let sealed = seal::request(context, connected, body, &conf)
        .await
        .map_err(|error| Refusal::consumer(&error))?;
    exchange.received(context, sealed.body_bytes());
    fault_point!("consumer:before-record");
    let recorded = record::request(context, sealed)
        .await
        .map_err(|error| Refusal::consumer(&error))?;
    Ok((recorded, conf))
}

/// From the request on disk to the answer on disk. What is lost with a connection is sent again where nobody can act on it
/// twice.
async fn conclude(
    context: &Context,
    recorded: RecordedRequest,
    conf: &Arc<Snapshot>,
) -> Result<record::RecordedReply, Refusal> {
    let RecordedRequest {
        mut asked,
        sending,
        mut way,
    } = recorded;
    let outcome = until_answered(context, &mut asked, sending, &mut way, conf).await;
    if way.was_repeated() {
        let outcome = match &outcome {
            Ok(_) => RepeatLabel::Answered,
            Err(refusal) if refusal.is_foreign() => RepeatLabel::Fault,
            Err(_) => RepeatLabel::GivenUp,
        };
        context.metrics.repeat(SideLabel::Consumer, outcome);
    }
    let outcome = outcome?;
    fault_point!("consumer:before-record-answer");
    record::reply(context, &asked.identified, outcome)
        .await
        .map_err(|error| Refusal::consumer(&error))
}

async fn until_answered(
    context: &Context,
    asked: &mut Asked,
    mut sending: Sending,
    way: &mut Way,
    conf: &Arc<Snapshot>,
) -> Result<VerifiedReply, Refusal> {
    let mut lost = None;
    loop {
        fault_point!("consumer:before-release");
        let released = match release::request(context, asked, sending, way, conf).await {
            Ok(released) => released,
            Err(error) => return Err(more_telling(&error, lost)),
        };
        fault_point!("consumer:after-release");
        if !way.goes_on() {
            asked.body = None;
        }
        let error = match open::reply(context, asked, released, conf).await {
            Ok(verified) => return Ok(verified),
            Err(error) if error.is_lost() => error,
            Err(error) => return Err(Refusal::consumer(&error)),
        };
        tracing::info!(%error, "an answer was lost");
        sending = match release::again(context, asked, way, conf).await {
            Ok(sending) => sending,
            Err(other) => return Err(more_telling(&other, Some(error))),
        };
        lost = Some(error);
    }
}

/// Of a request that the peer may have acted on, that counts, and not why it could not be sent again.
fn more_telling(error: &SealError, lost: Option<OpenError>) -> Refusal {
    match lost {
        Some(lost) if matches!(error, SealError::PeerGone) => Refusal::consumer(&lost),
        _ => Refusal::consumer(error),
    }
}
