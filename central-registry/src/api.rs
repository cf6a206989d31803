//! The HTTP side (`registry-and-globalconf.md` 1.3): directories by version, parts by generation, anchors, health.

use std::{convert::Infallible, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jibek_conf::{
    Anchor,
    files::{PRIVATE_FILE, SHARED_FILE, read_bounded},
};
use time::UtcOffset;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use crate::{
    app::{DRAIN, Published},
    keys::Kind,
    publish::is_stamp,
};

/// What answers requests.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) published: watch::Receiver<Arc<Published>>,
    pub(crate) public: Arc<Path>,
}

/// Accepts connections until `stopped` becomes true, then lets those under way finish.
pub(crate) async fn serve(listener: TcpListener, service: Service, stopped: watch::Receiver<bool>) {
    let mut stop = stopped.clone();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            break;
        };
        tokio::select! {
            () = told(&mut stop) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, service.clone(), stopped.clone(), place));
                }
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN, all).await.is_err() {
        debug!("connections were cut at the end");
    }
}

/// Ends when `stop` becomes true, or nobody is left to say so.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn connection(
    stream: TcpStream,
    service: Service,
    mut stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    let answer = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    let served = async {
        tokio::select! {
            served = connection.as_mut() => return served,
            () = told(&mut stopped) => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    match timeout(CONNECTION_LONGEST, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection ended early"),
        Err(_) => debug!("a connection lasted too long"),
    }
}

impl Service {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response
                .headers_mut()
                .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let published = Arc::clone(&self.published.borrow());
        let segments: Vec<&str> = request.uri().path().split('/').skip(1).collect();
        match segments.as_slice() {
            ["internalconf"] => directory(&published, Kind::Internal, request.uri().query()),
            ["externalconf"] => directory(&published, Kind::External, request.uri().query()),
            ["anchor", "internal"] => anchor(&published.anchors.internal, Kind::Internal),
            ["anchor", "external"] => anchor(&published.anchors.external, Kind::External),
            ["anchor", "internal", "hash"] => {
                plain(StatusCode::OK, &published.anchors.internal.hash())
            }
            ["anchor", "external", "hash"] => {
                plain(StatusCode::OK, &published.anchors.external.hash())
            }
            ["healthz"] => plain(StatusCode::OK, "alive\n"),
            ["status"] => match serde_json::to_vec(&published.status()) {
                Ok(json) => found("application/json", json.into()),
                Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "status unknown\n"),
            },
            [version, stamp, name] => self.part(version, stamp, name).await,
            _ => not_found(),
        }
    }

    /// A part of a generation. Nothing but these exact names ever reaches the disk.
    async fn part(&self, version: &str, stamp: &str, name: &str) -> Response<Full<Bytes>> {
        if !matches!(version, "V3" | "V4" | "V5" | "V6")
            || !is_stamp(stamp)
            || ![SHARED_FILE, PRIVATE_FILE].contains(&name)
        {
            return not_found();
        }
        let path = self.public.join(version).join(stamp).join(name);
        match tokio::task::spawn_blocking(move || read_bounded(&path)).await {
            Ok(Ok(bytes)) => found("text/xml", bytes.into()),
            _ => not_found(),
        }
    }
}

/// A signed directory. A version that is not published must be answered 404, and without one version 2 is meant.
fn directory(published: &Published, kind: Kind, query: Option<&str>) -> Response<Full<Bytes>> {
    let version = query.and_then(|query| {
        query
            .split('&')
            .find_map(|parameter| parameter.strip_prefix("version="))
    });
    let version = version
        .and_then(|version| version.parse().ok())
        .unwrap_or(VERSION_WHEN_NOT_ASKED);
    match published.publication.directory(version, kind) {
        Some(bytes) => found("application/octet-stream", bytes.clone()),
        None => not_found(),
    }
}

fn anchor(anchor: &Anchor, kind: Kind) -> Response<Full<Bytes>> {
    let mut response = found("application/xml", anchor.bytes().clone());
    if let Some(at) = anchor.generated_at() {
        let at = at.to_offset(UtcOffset::UTC);
        let (date, (hour, minute, second)) = (at.date(), at.to_hms());
        let name = format!(
            "configuration_anchor_{}_{}_UTC_{date}_{hour:02}_{minute:02}_{second:02}.xml",
            anchor.instance(),
            kind.name()
        );
        if let Ok(value) = format!("attachment; filename=\"{name}\"").parse() {
            response.headers_mut().insert(CONTENT_DISPOSITION, value);
        }
    }
    response
}

fn found(content_type: &'static str, bytes: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    headers.insert(
        CACHE_CONTROL,
        hyper::header::HeaderValue::from_static("no-cache"),
    );
    response
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = found(
        "text/plain; charset=utf-8",
        Bytes::copy_from_slice(text.as_bytes()),
    );
    *response.status_mut() = status;
    response
}

fn not_found() -> Response<Full<Bytes>> {
    plain(StatusCode::NOT_FOUND, "not found\n")
}

const VERSION_WHEN_NOT_ASKED: u8 = 2;
const CONNECTIONS_MAX: usize = 1024;
const HEADER_READ: Duration = Duration::from_secs(30);
/// Bounds slow readers too; clients come back with a new connection.
const CONNECTION_LONGEST: Duration = Duration::from_secs(300);
