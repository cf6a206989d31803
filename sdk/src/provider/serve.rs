//! A small HTTP server for services: bounded, with deadlines, drained at the end.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::Service;

use crate::body::BoxError;

/// Serves `service` over HTTP/1.1 on `listener` until `shutdown` resolves; then takes no more requests and gives those
/// under way 10 s.
///
/// At most 1024 connections at once; more wait to be accepted. A request's head must arrive within 60 s, which is also
/// how long an idle connection lives.
///
/// # Errors
/// Only what makes serving impossible; errors of single connections end those alone.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots)
                .acquire_owned()
                .await
                .map_err(io::Error::other)?;
            Ok::<_, io::Error>((slot, listener.accept().await))
        };
        let (slot, accepted) = tokio::select! {
            () = &mut shutdown => break,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accepted => accepted?,
        };
        let stream = match accepted {
            Ok((stream, _peer)) => stream,
            Err(_transient) => {
                sleep(ACCEPT_PAUSE).await; // out of descriptors, or the peer is gone already
                continue;
            }
        };
        let service = TowerToHyperService::new(service.clone());
        let mut stopping = stopping.clone();
        connections.spawn(async move {
            let _slot = slot;
            let _ = stream.set_nodelay(true);
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WAIT)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ended = &mut connection => return,
                _stop = stopping.changed() => connection.as_mut().graceful_shutdown(),
            }
            let _ended = connection.await;
        });
    }
    drop(listener);
    drop(stop);
    let drained = timeout(DRAIN, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
    if drained.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

const CONNECTIONS: usize = 1024;
const HEAD_WAIT: Duration = Duration::from_secs(60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const DRAIN: Duration = Duration::from_secs(10);
