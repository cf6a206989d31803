//! The doors: connections come in here, and the tower stack around both sides stands here.
//!
//! A message that comes waits for a place in its side's room, so long and no longer; then it is told that there was none.
//! Steps whose types change are plain functions behind it ([`crate::consumer`], [`crate::provider`]).

mod place;

pub(crate) use place::{NoPlace, Place};

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
};

use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::{
    body::{self, Body},
    clients::ConnectionInfo,
    consumer,
    context::Context,
    exchange::Exchange,
    fault::{self, Refusal},
    metrics::SideLabel,
    provider::{self, Peer},
    stall::Stall,
    tls::{ConsumerAcceptor, PeerAcceptor},
    transport,
};
use place::Room;

/// What bounds the work of all doors together: places for messages, of each side its own. A provider's side never waits for
/// the consumer's of the same server, so two servers that call each other do not wait for each other.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    consumers: Room,
    peers: Room,
}

impl Bounds {
    pub(crate) fn new(context: &Context) -> Self {
        let limits = &context.config.limits;
        let room = || Room::new(limits.messages, limits.place_wait);
        Self {
            consumers: room(),
            peers: room(),
        }
    }
}

/// Serves information systems over plain HTTP, or over TLS with an acceptor. Returns when the server drains.
pub(crate) async fn serve_consumers(
    context: Arc<Context>,
    bounds: Bounds,
    listener: TcpListener,
    tls: Option<Arc<ConsumerAcceptor>>,
) {
    accept(&context, &listener, "consumer", {
        let context = Arc::clone(&context);
        let bounds = bounds.clone();
        move |stream, remote| {
            let context = Arc::clone(&context);
            let bounds = bounds.clone();
            let tls = tls.clone();
            async move {
                match tls {
                    None => {
                        let connection = ConnectionInfo {
                            tls: false,
                            certificate: None,
                            remote,
                        };
                        consumer_connection(context, &bounds.consumers, connection, stream).await;
                    }
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok((stream, connection)) => {
                            consumer_connection(context, &bounds.consumers, connection, stream)
                                .await;
                        }
                        Err(error) => {
                            tracing::info!(%remote, %error, "TLS handshake of a consumer failed");
                        }
                    },
                }
            }
        }
    })
    .await;
}

/// Serves other security servers on 5500. Returns when the server drains.
pub(crate) async fn serve_peers(
    context: Arc<Context>,
    bounds: Bounds,
    listener: TcpListener,
    acceptor: Arc<PeerAcceptor>,
) {
    accept(&context, &listener, "peer", {
        let context = Arc::clone(&context);
        let bounds = bounds.clone();
        move |stream, remote| {
            let context = Arc::clone(&context);
            let bounds = bounds.clone();
            let acceptor = Arc::clone(&acceptor);
            async move {
                let (stream, tls) = match acceptor.accept(stream).await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::info!(%remote, %error, "TLS handshake of a peer failed");
                        return;
                    }
                };
                let peer = Arc::new(Peer {
                    certificates: tls.certificates,
                    remote,
                    stack: tls.stack,
                    used: AtomicBool::new(false),
                    may_repeat: tls.once,
                });
                let handler = Arc::clone(&context);
                serve(
                    &context,
                    SideLabel::Provider,
                    &bounds.peers,
                    stream,
                    move |request| {
                        provider::handle(Arc::clone(&handler), Arc::clone(&peer), request)
                    },
                )
                .await;
            }
        }
    })
    .await;
}

async fn consumer_connection<S>(
    context: Arc<Context>,
    room: &Room,
    connection: ConnectionInfo,
    stream: S,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Arc::new(connection);
    let handler = Arc::clone(&context);
    serve(
        &context,
        SideLabel::Consumer,
        room,
        stream,
        move |request| consumer::handle(Arc::clone(&handler), Arc::clone(&connection), request),
    )
    .await;
}

/// Takes connections until the server drains, each in a task of its own.
async fn accept<F>(
    context: &Arc<Context>,
    listener: &TcpListener,
    door: &'static str,
    connection: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let connections = Arc::new(Semaphore::new(context.config.limits.connections));
    loop {
        let permit = tokio::select! {
            () = context.drain.requested() => return,
            permit = Arc::clone(&connections).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = context.drain.requested() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => {
                let _ = stream.set_nodelay(true);
                let task = connection(stream, remote);
                tokio::spawn(async move {
                    task.await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, mostly: give the connections that are open a moment to end.
                tracing::warn!(door, %error, "no connection could be taken");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

/// Serves the HTTP messages of one connection.
async fn serve<S, H, F>(context: &Arc<Context>, side: SideLabel, room: &Room, stream: S, handler: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let limits = &context.config.limits;
    // An answer is under way until its reader has it, not just until it is at hand. What is idle ends with the drain.
    let _under_way = context.drain.guard();
    let (handler, room, for_service) = (Arc::new(handler), room.clone(), Arc::clone(context));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (handler, room, context) =
            (Arc::clone(&handler), room.clone(), Arc::clone(&for_service));
        async move {
            if head_bytes(&request) > context.config.limits.header_bytes {
                let mut answer = Response::new(body::empty());
                *answer.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                return Ok(answer);
            }
            // Until there is a place nothing of the body is read: its sender waits, too.
            let answer = match room.enter().await {
                Ok(place) => {
                    request.extensions_mut().insert(place);
                    handler(request).await
                }
                Err(error) => turn_away(&context, side, request, &error),
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(limits.header_bytes.max(BUFFER_BYTES))
        .max_headers(200)
        .serve_connection(TokioIo::new(Stall::new(stream, limits.body_stall)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = context.drain.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// Length of a request's line and headers, near enough: hyper bounds its buffer, which is also that of bodies.
fn head_bytes(request: &Request<Incoming>) -> usize {
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |it| it.as_str().len());
    request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .fold(target, usize::saturating_add)
}

/// Tells the sender in its own form that there was no place, and reads on as after every early fault.
fn turn_away(
    context: &Arc<Context>,
    side: SideLabel,
    request: Request<Incoming>,
    error: &NoPlace,
) -> Response<Body> {
    let (head, mut body) = request.into_parts();
    let limits = context.config.limits.clone();
    tokio::spawn(async move {
        transport::drain_body(&mut body, limits.drain_bytes, limits.drain_time).await
    });
    let exchange = Exchange::start(context, side);
    let refusal = match side {
        SideLabel::Consumer => Refusal::consumer(error),
        SideLabel::Provider => Refusal::provider(error),
    };
    let fault = refusal.into_fault(&*context.random);
    exchange.refused(context, &fault, false);
    match side {
        SideLabel::Consumer => fault::overloaded_response(&fault, consumer::AnswerForm::of(&head)),
        SideLabel::Provider => fault::transport_response(&fault),
    }
}

/// Longest read at once: bodies of gigabytes come in chunks of up to this size.
const BUFFER_BYTES: usize = 64 * 1024;
