//! Port 5577: other servers ask for the OCSP answers of our certificates (`message-path.md` 5.5).

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use jibek_certs::{Certificate, DigestAlgorithm, digest::digest};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

use super::{OcspKeeper, unhex};
use crate::body::{self, Body};

/// Answers on `listener` until `shutdown` resolves. Connections are few, short and bounded: the answers are small and signed.
pub async fn serve(
    listener: TcpListener,
    keeper: Arc<OcspKeeper>,
    shutdown: impl Future<Output = ()>,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for OCSP answers");
                tokio::time::sleep(Duration::from_millis(50)).await; // out of file descriptors: let some close
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            continue;
        };
        let keeper = Arc::clone(&keeper);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&request, &keeper);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MOST_HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = timeout(CONNECTION_TIME, connection).await {
                tracing::debug!(%error, "a connection for OCSP answers broke");
            }
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, keeper: &OcspKeeper) -> Response<Body> {
    match *request.method() {
        Method::HEAD => Response::new(body::empty()),
        Method::GET => match answers(request.uri().query().unwrap_or_default(), keeper) {
            Ok(found) => multipart(&found),
            Err(reason) => {
                tracing::info!(%reason, "a peer's question for OCSP answers cannot be answered");
                failure(&reason)
            }
        },
        _ => failure("only GET and HEAD are answered"),
    }
}

/// All answers in the order asked, or none.
fn answers(query: &str, keeper: &OcspKeeper) -> Result<Vec<Bytes>, String> {
    let snapshot = keeper.snapshots.load_full();
    let now = keeper.clock.now();
    asked(query)?
        .iter()
        .map(|hash| {
            let certificate = hash
                .find(keeper)
                .ok_or("one of the certificates is not known here")?;
            keeper
                .judged(&certificate, &snapshot, now)
                .map_err(|_| "there is no fresh OCSP answer for one of the certificates".to_owned())
        })
        .collect()
}

enum Hash {
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

impl Hash {
    fn find(&self, keeper: &OcspKeeper) -> Option<Certificate> {
        match self {
            Self::Sha1(hash) => keeper.own(hash),
            Self::Sha256(hash) => keeper.own(hash),
        }
    }
}

/// The certificates asked for: `cert` (SHA-1), or `cert_hash` (SHA-256) when no `cert` is there.
fn asked(query: &str) -> Result<Vec<Hash>, String> {
    let values = |name: &'static str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .filter(move |(key, _)| *key == name)
            .map(|(_, value)| value)
            .take(MOST_ASKED + 1)
    };
    let malformed = || "a certificate hash is malformed".to_owned();
    let by_sha1 = values("cert").map(|value| unhex(value).map(Hash::Sha1).ok_or_else(malformed));
    let mut hashes = by_sha1.collect::<Result<Vec<_>, _>>()?;
    if hashes.is_empty() {
        let by_sha256 =
            values("cert_hash").map(|value| unhex(value).map(Hash::Sha256).ok_or_else(malformed));
        hashes = by_sha256.collect::<Result<Vec<_>, _>>()?;
    }
    match hashes.len() {
        0 => Err("no certificate hash is given".to_owned()),
        1..=MOST_ASKED => Ok(hashes),
        _ => Err(format!("more than {MOST_ASKED} certificates are asked for")),
    }
}

/// Parts as a Java server writes them; the boundary is `jetty`, digits and base 36 (`observed.md` 6), the body chunked.
fn multipart(answers: &[Bytes]) -> Response<Body> {
    let boundary = boundary(answers);
    let mut bytes = BytesMut::with_capacity(
        256 + answers
            .iter()
            .map(|answer| answer.len() + 128)
            .sum::<usize>(),
    );
    for answer in answers {
        if !bytes.is_empty() {
            bytes.put_slice(b"\r\n");
        }
        bytes.put_slice(
            format!("--{boundary}\r\nContent-Type: application/ocsp-response\r\n\r\n").as_bytes(),
        );
        bytes.put_slice(answer);
    }
    bytes.put_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let frames = stream::iter([Ok::<_, Infallible>(Frame::data(bytes.freeze()))]);
    let body = StreamBody::new(frames)
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = Response::new(body);
    let content_type = format!(
        "multipart/related; type=\"application/ocsp-response\"; charset=UTF-8; boundary={boundary}"
    );
    if let Ok(value) = content_type.try_into() {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

/// A boundary that no answer holds: it is made of a digest of them.
fn boundary(answers: &[Bytes]) -> String {
    let hash = digest(DigestAlgorithm::Sha256, &answers.concat());
    let (digits, letters) = hash.as_bytes().split_at(4);
    let digits = digits
        .iter()
        .fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    let letters: String = letters
        .iter()
        .take(8)
        .map(|byte| char::from(BASE_36[usize::from(byte % 36)]))
        .collect();
    format!("jetty{digits}{letters}")
}

fn failure(reason: &str) -> Response<Body> {
    let mut response = Response::new(body::full(reason.to_owned()));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let text = header::HeaderValue::from_static("text/plain;charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

const BASE_36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const CONNECTIONS: usize = 512;
const CONNECTION_TIME: Duration = Duration::from_secs(60);
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const MOST_HEADER_BYTES: usize = 16 * 1024;
/// A chain has two or three certificates.
const MOST_ASKED: usize = 16;
