//! Both services over HTTP/1.1.

use std::{convert::Infallible, future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE,
    server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jibek_certs::Clock;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tracing::{debug, warn};

use crate::{
    authority::DevPki,
    faults::{Fault, Faults, Service},
};

/// Serves `POST /ocsp` and `POST /tsa` on `listener` until `shutdown` ends; then closes its connections.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    pki: Arc<DevPki>,
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    faults: Arc<Faults>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        let (stream, slot) = match stream {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the peer left already: neither ends the service.
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (pki, clock, faults) = (Arc::clone(&pki), Arc::clone(&clock), Arc::clone(&faults));
        connections.spawn(async move {
            let _slot = slot;
            let service = service_fn(|request| answer(&pki, &*clock, &faults, request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_DEADLINE)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                debug!(%error, "connection ended");
            }
        });
    }
    connections.shutdown().await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, slot))
}

/// Closes the connection when it is returned.
#[derive(Debug, thiserror::Error)]
#[error("closed on purpose")]
struct Closed;

impl From<Infallible> for Closed {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

async fn answer(
    pki: &DevPki,
    clock: &dyn Clock,
    faults: &Faults,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Closed> {
    let service = match (request.method(), request.uri().path()) {
        (&Method::POST, "/ocsp") => Service::Ocsp,
        (&Method::POST, "/tsa") => Service::Tsa,
        (_, "/ocsp" | "/tsa") => return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "POST only\n")),
        _ => return Ok(plain(StatusCode::NOT_FOUND, "POST /ocsp or POST /tsa\n")),
    };
    let body = Limited::new(request.into_body(), LONGEST_REQUEST).collect();
    let body = match tokio::time::timeout(BODY_DEADLINE, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            return Ok(plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                "unreadable or too long\n",
            ));
        }
        Err(_) => return Ok(plain(StatusCode::REQUEST_TIMEOUT, "too slow\n")),
    };
    let fault = faults.record(service, clock.now(), &body);
    match fault {
        Fault::CloseConnection => return Err(Closed),
        Fault::Delay(by) => tokio::time::sleep(by).await,
        Fault::Hold => faults.let_go(service).await,
        Fault::Garbage => return Ok(reply(service, b"\x30\x03no\n".to_vec())),
        Fault::Refuse => {
            return Ok(plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "refused on purpose\n",
            ));
        }
        _ => {}
    }
    Ok(match service {
        Service::Ocsp => reply(service, pki.answer_ocsp(&body, clock.now(), fault)),
        Service::Tsa => reply(service, pki.answer_tsa(&body, clock.now(), fault)),
    })
}

fn reply(service: Service, body: Vec<u8>) -> Response<Full<Bytes>> {
    let kind = match service {
        Service::Ocsp => "application/ocsp-response",
        Service::Tsa => "application/timestamp-reply",
    };
    with_type(StatusCode::OK, kind, body)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    with_type(
        status,
        "text/plain; charset=utf-8",
        text.as_bytes().to_vec(),
    )
}

fn with_type(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

const MOST_CONNECTIONS: usize = 256;
const LONGEST_REQUEST: usize = 64 * 1024;
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
const BODY_DEADLINE: Duration = Duration::from_secs(10);
