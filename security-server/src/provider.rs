//! The provider's side: another server calls one of our services.
//!
//! `identify` runs once per connection and yields the peer; then each line of [`serve`], [`first`] and [`answer`] is one
//! step. A request that came before takes the way of [`once_more`].

mod authorize;
mod dispatch;
mod identify;
mod once;
mod open;
mod record;
mod release;
mod repeat;
mod seal;

pub(crate) use authorize::AuthorizeError;
pub(crate) use dispatch::DispatchError;
pub(crate) use identify::{IdentifyError, Peer};
pub(crate) use once::{Once, StillUnderWay};
pub(crate) use open::{OpenError, tail};
pub(crate) use repeat::RepeatError;
pub(crate) use seal::SealReplyError;

use std::sync::{Arc, atomic::Ordering};

use http::{Request, Response};
use hyper::body::Incoming as HttpIncoming;
use jibek_msglog::fault_point;
use tokio::sync::oneshot;

use crate::{
    body::Body,
    context::Context,
    exchange::Exchange,
    fault::{self, Refusal},
    metrics::{RepeatLabel, SideLabel, WayLabel},
    transport::{Incoming, Outgoing},
};
use once::{Again, Claim, Outcome, Turn};
use open::VerifiedRequest;
use record::RecordedRequest;

/// Serves one message of a peer.
pub(crate) async fn handle(
    context: Arc<Context>,
    peer: Arc<Peer>,
    request: Request<HttpIncoming>,
) -> Response<Body> {
    let mut exchange = Exchange::start(&context, SideLabel::Provider).placed(request.extensions());
    let reused = peer.used.swap(true, Ordering::Relaxed);
    context
        .metrics
        .peer_connection(peer.stack.into(), WayLabel::Inbound, reused);
    let (head, body) = request.into_parts();
    let refusal = match identify::message(&context, &head) {
        Err(error) => {
            tokio::spawn(drain(Arc::clone(&context), body));
            Refusal::provider(&error)
        }
        Ok(head) => match head.reader(&context, body) {
            Err((error, body)) => {
                tokio::spawn(drain(Arc::clone(&context), body));
                Refusal::provider(&error)
            }
            Ok(mut parts) => match serve(&context, &peer, &head, &mut parts, &mut exchange).await {
                Ok(claim) => return finish(context, &peer, claim, exchange).await,
                Err(refusal) => {
                    let limits = &context.config.limits;
                    tokio::spawn(parts.drain(limits.drain_bytes, limits.drain_time));
                    refusal
                }
            },
        },
    };
    let foreign = refusal.is_foreign();
    let fault = refusal.into_fault(&*context.random);
    exchange.refused(&context, &fault, foreign);
    fault::transport_response(&fault)
}

/// From the header part to the signed request, and whose turn it is. Until its end the peer may go away and nothing has
/// happened.
async fn serve(
    context: &Context,
    peer: &Peer,
    head: &identify::Head,
    parts: &mut Incoming,
    exchange: &mut Exchange,
) -> Result<Claim, Refusal> {
    let now = context.clock.now();
    let conf = context.conf.snapshot(); // one configuration for the whole message
    let permit = authorize::request(context, head, peer, parts, &conf, now)
        .await
        .map_err(|error| Refusal::provider(&error))?;
    exchange.names(permit.message());
    record::room(context).map_err(|error| Refusal::provider(&error))?;
    let request = open::request(context, permit, parts, &conf, now)
        .await
        .map_err(|error| Refusal::provider(&error))?;
    exchange.received(context, request.body_bytes());
    context
        .once
        .claim(request, context.config.peers.answer_timeout)
        .await
        .map_err(|error| Refusal::provider(&error))
}

/// Who has the turn goes on in a task of its own, which no longer depends on the peer's patience.
async fn finish(
    context: Arc<Context>,
    peer: &Peer,
    claim: Claim,
    exchange: Exchange,
) -> Response<Body> {
    let (head, response) = oneshot::channel();
    let guard = context.drain.guard();
    let task_context = Arc::clone(&context);
    let may_repeat = peer.may_repeat;
    tokio::spawn(async move {
        match claim {
            Claim::First(request, turn) => {
                first(task_context, request, turn, head, may_repeat, exchange).await;
            }
            Claim::Again(again, outcome) => {
                once_more(task_context, again, outcome, head, exchange).await;
            }
        }
        drop(guard);
    });
    match response.await {
        Ok(response) => response,
        Err(_) => fault::transport_response(
            &Refusal::internal("the exchange ended without an answer").into_fault(&*context.random),
        ),
    }
}

/// From the signed request to the signed answer.
async fn first(
    context: Arc<Context>,
    request: VerifiedRequest,
    turn: Turn,
    head: oneshot::Sender<Response<Body>>,
    may_repeat: bool,
    exchange: Exchange,
) {
    fault_point!("provider:before-record");
    match record::request(&context, request).await {
        Ok(recorded) => {
            turn.recorded();
            answer(context, recorded, turn, head, may_repeat, exchange).await;
        }
        Err(error) => {
            drop(turn); // nothing happened: who comes again is the first
            let fault = Refusal::provider(&error).into_fault(&*context.random);
            exchange.refused(&context, &fault, false);
            let _ = head.send(fault::transport_response(&fault));
        }
    }
}

/// From the request on disk to the signed answer.
async fn answer(
    context: Arc<Context>,
    recorded: RecordedRequest,
    turn: Turn,
    head: oneshot::Sender<Response<Body>>,
    may_repeat: bool,
    exchange: Exchange,
) {
    fault_point!("provider:before-dispatch");
    let reply = match dispatch::call(&context, recorded).await {
        Ok(reply) => reply,
        Err((DispatchError::Fault(document), _)) => {
            // The service's own words: they go on as they are, unsigned and unlogged (`message-path.md` 2.6).
            turn.refused(&document);
            exchange.answered(&context, 0);
            release::service_fault(&context, document, head).await;
            return;
        }
        Err((error, message)) => {
            let fault = Refusal::provider(&error).into_fault(&*context.random);
            exchange.refused(&context, &fault, false);
            let document = fault.to_soap();
            turn.refused(&document);
            release::refusal_before_answer(&context, &message, document, head).await;
            return;
        }
    };
    let (mut outgoing, body) = Outgoing::start(&*context.random, context.config.limits.body_stall);
    if may_repeat {
        outgoing.outlive_peer();
    }
    let response = release::response_head(&context, &outgoing, &reply, body);
    outgoing.head(head, response);
    let outcome = async {
        fault_point!("provider:after-dispatch");
        let sealed = seal::reply(&context, reply, &mut outgoing)
            .await
            .map_err(|error| Refusal::provider(&error))?;
        fault_point!("provider:before-record-answer");
        record::reply(&context, sealed)
            .await
            .map_err(|error| Refusal::provider(&error))
    };
    match outcome.await {
        Ok(recorded) => {
            turn.answered(recorded.id());
            let bytes = recorded.body_bytes();
            fault_point!("provider:before-release");
            let released = release::reply(recorded, outgoing).await;
            fault_point!("provider:after-release");
            match released {
                Ok(()) => exchange.answered(&context, bytes),
                Err(gone) => exchange.lost(&context, &gone),
            }
        }
        Err(refusal) => {
            let fault = refusal.into_fault(&*context.random);
            exchange.refused(&context, &fault, false);
            let document = fault.to_soap();
            turn.refused(&document);
            release::refusal(document, outgoing).await;
        }
    }
}

/// A request that came before: it gets what the first one got, and is not executed.
async fn once_more(
    context: Arc<Context>,
    again: Again,
    outcome: Outcome,
    head: oneshot::Sender<Response<Body>>,
    exchange: Exchange,
) {
    let count = |outcome| context.metrics.repeat(SideLabel::Provider, outcome);
    if let Outcome::Fault(document) = outcome {
        count(RepeatLabel::Fault);
        exchange.answered(&context, 0);
        let _ = head.send(fault::transport_document(document));
        return;
    }
    match repeat::answer(&context, again, &outcome).await {
        Ok(found) => {
            count(RepeatLabel::Answered);
            let bytes = found.body_bytes();
            match repeat::send(&context, found, head).await {
                Ok(()) => exchange.answered(&context, bytes),
                Err(gone) => exchange.lost(&context, &gone),
            }
        }
        Err(error) => {
            count(RepeatLabel::Refused);
            let fault = Refusal::provider(&error).into_fault(&*context.random);
            exchange.refused(&context, &fault, false);
            let _ = head.send(fault::transport_response(&fault));
        }
    }
}

async fn drain(context: Arc<Context>, mut body: HttpIncoming) {
    let limits = &context.config.limits;
    crate::transport::drain_body(&mut body, limits.drain_bytes, limits.drain_time).await;
}
