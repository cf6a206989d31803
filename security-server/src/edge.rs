//! The doors: connections come in here, and the tower stack around both sides stands here.
//!
//! From the outside in: errors of the stack become answers, a full house sheds load at once instead of queueing
//! without end, a limit on messages under way. Steps whose types change are plain functions behind it
//! ([`crate::consumer`], [`crate::provider`]).

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt as _, limit::GlobalConcurrencyLimitLayer,
};

use crate::{
    body::{self, Body},
    clients::ConnectionInfo,
    consumer,
    context::Context,
    provider::{self, Peer},
    stall::Stall,
    tls::{ConsumerAcceptor, PeerAcceptor},
};

/// What bounds the work of all doors together.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    connections: Arc<Semaphore>,
    messages: GlobalConcurrencyLimitLayer,
}

impl Bounds {
    pub(crate) fn new(context: &Context) -> Self {
        let limits = &context.config.limits;
        Self {
            connections: Arc::new(Semaphore::new(limits.connections)),
            messages: GlobalConcurrencyLimitLayer::new(limits.messages),
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
    accept(&context, &bounds, &listener, "consumer", {
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
                        consumer_connection(context, &bounds, connection, stream).await;
                    }
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok((stream, connection)) => {
                            consumer_connection(context, &bounds, connection, stream).await;
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
    accept(&context, &bounds, &listener, "peer", {
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
                serve(&context, &bounds, stream, move |request| {
                    provider::handle(Arc::clone(&handler), Arc::clone(&peer), request)
                })
                .await;
            }
        }
    })
    .await;
}

async fn consumer_connection<S>(
    context: Arc<Context>,
    bounds: &Bounds,
    connection: ConnectionInfo,
    stream: S,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Arc::new(connection);
    let handler = Arc::clone(&context);
    serve(&context, bounds, stream, move |request| {
        consumer::handle(Arc::clone(&handler), Arc::clone(&connection), request)
    })
    .await;
}

/// Takes connections until the server drains, each in a task of its own.
async fn accept<F>(
    context: &Arc<Context>,
    bounds: &Bounds,
    listener: &TcpListener,
    door: &'static str,
    connection: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let permit = tokio::select! {
            () = context.drain.requested() => return,
            permit = Arc::clone(&bounds.connections).acquire_owned() => permit,
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
async fn serve<S, H, F>(context: &Arc<Context>, bounds: &Bounds, stream: S, handler: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let limits = &context.config.limits;
    // An answer is under way until its reader has it, not just until it is at hand. What is idle ends with the drain.
    let _under_way = context.drain.guard();
    let stack = stack(bounds, handler);
    // Errors of the stack are answers, too.
    let service = service_fn(move |request| {
        let stack = stack.clone();
        async move {
            Ok::<_, Infallible>(
                stack
                    .oneshot(request)
                    .await
                    .unwrap_or_else(|_| overloaded()),
            )
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(limits.header_bytes.max(8192))
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

/// The stack around a side; read it top-down.
fn stack<H, F>(
    bounds: &Bounds,
    handler: H,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = BoxError, Future: Send>
+ Clone
+ Send
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    ServiceBuilder::new()
        // A full house says so at once.
        .load_shed()
        // Messages under way in the whole server.
        .layer(bounds.messages.clone())
        .service_fn(move |request| {
            let answer = handler(request);
            async move { Ok::<_, Infallible>(answer.await) }
        })
}

fn overloaded() -> Response<Body> {
    let mut response = Response::new(body::full("the server is overloaded, try again later\n"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
