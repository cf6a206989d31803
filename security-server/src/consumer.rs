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

pub(crate) use connect::ConnectError;
pub(crate) use identify::IdentifyError;
pub(crate) use open::OpenError;
pub(crate) use resolve::ResolveError;
pub(crate) use seal::SealError;

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming as HttpIncoming;
use jibek_conf::Snapshot;

use crate::{
    body::Body,
    clients::ConnectionInfo,
    context::Context,
    exchange::Exchange,
    fault::{self, Refusal},
    metrics::SideLabel,
};
pub(crate) use answer::AnswerForm;
use open::VerifiedReply;
use record::RecordedRequest;

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
    let mut exchange = Exchange::start(&context, SideLabel::Consumer);
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
    let resolved =
        resolve::provider(identified, &conf).map_err(|error| Refusal::consumer(&error))?;
    let connected = connect::peer(context, resolved, &conf)
        .await
        .map_err(|error| Refusal::consumer(&error))?;
    let sealed = seal::request(context, connected, body, &conf)
        .await
        .map_err(|error| Refusal::consumer(&error))?;
    exchange.received(context, sealed.body_bytes());
    let recorded = record::request(context, sealed)
        .await
        .map_err(|error| Refusal::consumer(&error))?;
    Ok((recorded, conf))
}

/// From the request on disk to the answer on disk.
async fn conclude(
    context: &Context,
    recorded: RecordedRequest,
    conf: &Snapshot,
) -> Result<record::RecordedReply, Refusal> {
    let released = release::request(recorded).await;
    let verified: VerifiedReply = open::reply(context, released, conf)
        .await
        .map_err(|error| Refusal::consumer(&error))?;
    record::reply(context, verified)
        .await
        .map_err(|error| Refusal::consumer(&error))
}
