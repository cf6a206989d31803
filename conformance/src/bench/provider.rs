//! The provider's information system, in a process of its own: answers of the length that it is asked for.

use std::{convert::Infallible, path::Path};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

use super::{tls, wire::FILLER};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Answers over plain HTTP on `plain` and over mutual TLS on `secure`, with the key in `dir`, until the process is ended.
///
/// # Errors
///
/// When connections are no longer taken, or the key for TLS is not at hand.
pub async fn serve(plain: TcpListener, secure: TcpListener, dir: &Path) -> anyhow::Result<()> {
    let acceptor = tls::server(dir)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = secure.accept().await {
            let acceptor = acceptor.clone();
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    connection(stream).await;
                }
            });
        }
    });
    loop {
        let (stream, _) = plain.accept().await?;
        let _ = stream.set_nodelay(true);
        tokio::spawn(connection(stream));
    }
}

async fn connection<S>(stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // What is amiss on a connection, the other end sees and counts.
    let _ended = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let length = request
        .uri()
        .path()
        .rsplit('/')
        .next()
        .and_then(|number| number.parse().ok());
    match length {
        Some(length) => {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                frame?;
            }
            Ok(filler(length))
        }
        None => {
            let envelope = request.into_body().collect().await?.to_bytes();
            Ok(soap(&envelope))
        }
    }
}

fn filler(length: u64) -> Response<Body> {
    static PIECE: [u8; 256 * 1024] = [FILLER; 256 * 1024];
    let whole = usize::try_from(length).unwrap_or(usize::MAX);
    let body = match PIECE.get(..whole) {
        Some(bytes) => Full::new(Bytes::from_static(bytes)).boxed_unsync(),
        None => {
            let pieces = stream::unfold(whole, |left| async move {
                let bytes = PIECE
                    .get(..left.min(PIECE.len()))
                    .filter(|it| !it.is_empty())?;
                let frame = Ok(Frame::data(Bytes::from_static(bytes)));
                Some((frame, left.saturating_sub(bytes.len())))
            });
            StreamBody::new(pieces).boxed_unsync()
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    response
}

fn soap(request: &[u8]) -> Response<Body> {
    let answer = std::str::from_utf8(request).ok().and_then(soap_answer);
    let (status, text) = match answer {
        Some(text) => (StatusCode::OK, text),
        None => (
            StatusCode::BAD_REQUEST,
            "no envelope of the bench".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/xml; charset=utf-8"),
    );
    response
}

/// The same header; in the body the element with `Response` to its name, and text of the length asked for.
fn soap_answer(request: &str) -> Option<String> {
    let (head, rest) = request.split_once("<m:soap ")?;
    let (namespace, rest) = rest.split_once("><size>")?;
    let (length, rest) = rest.split_once("</size></m:soap>")?;
    let length: usize = length.parse().ok().filter(|length| *length <= MOST)?;
    let mut answer = String::with_capacity(request.len() + length + 64);
    for part in [head, "<m:soapResponse ", namespace, "><data>"] {
        answer.push_str(part);
    }
    answer.extend(std::iter::repeat_n(char::from(FILLER), length));
    answer.push_str("</data></m:soapResponse>");
    answer.push_str(rest);
    Some(answer)
}

/// The longest text of a SOAP answer, in bytes.
const MOST: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use jibek_certs::time::{Clock as _, SystemClock};

    use super::*;
    use crate::{
        bench::load::{self, Job, Kind},
        envelope,
    };

    #[test]
    fn a_soap_answer_carries_the_header_and_the_length_asked_for() {
        let request = envelope::request("A/B/C/D", "A/B/E/F", "soap", "id-1", "<size>5</size>");
        let answer = soap_answer(&request).unwrap();
        assert!(
            answer.contains("<data>xxxxx</data></m:soapResponse>"),
            "{answer}"
        );
        assert!(answer.contains("<xro:id>id-1</xro:id>"));
        assert!(soap_answer("<a/>").is_none());
    }

    #[tokio::test]
    async fn the_load_generator_gets_what_it_asks_for_over_http_and_mutual_tls() {
        let dir = tempfile::tempdir().unwrap();
        tls::make(dir.path(), SystemClock.now()).unwrap();
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0"));
        let [plain, secure] = listeners;
        let (plain, secure) = (plain.await.unwrap(), secure.await.unwrap());
        let addresses = [plain.local_addr().unwrap(), secure.local_addr().unwrap()];
        let key = dir.path().to_owned();
        let provider = tokio::spawn({
            let key = key.clone();
            async move { serve(plain, secure, &key).await }
        });
        for (address, tls) in addresses.into_iter().zip([None, Some(key)]) {
            for (kind, path) in [
                (Kind::Down, "/rest/300000"),
                (Kind::Up, "/rest/0"),
                (Kind::Soap, "/soap"),
            ] {
                let job = Job {
                    address,
                    tls: tls.clone(),
                    path: path.to_owned(),
                    kind,
                    bytes: 300_000,
                    at_once: 3,
                    warm_ms: 0,
                    period_ms: 0,
                    most: Some(10),
                    mark: "t".to_owned(),
                };
                let outcome = load::run(job.clone()).await.unwrap();
                assert_eq!(
                    (outcome.answered, outcome.counted, outcome.failed),
                    (10, 10, 0),
                    "{outcome:?}"
                );
                // Another length is another answer.
                let wrong = Job {
                    path: "/rest/17".to_owned(),
                    most: Some(3),
                    ..job
                };
                let outcome = load::run(wrong).await.unwrap();
                assert_eq!((outcome.answered, outcome.failed), (0, 3), "{outcome:?}");
            }
        }
        provider.abort();
    }
}
