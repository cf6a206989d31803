//! Asking a peer's port 5577 for the OCSP answers of its certificates (`message-path.md` 5.5).

use std::{fmt::Write, io, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jibek_certs::{
    Certificate, DigestAlgorithm,
    ocsp::{OcspError, OcspResponse},
};
use jibek_protocol::{
    media_type::MediaType,
    multipart::{MultipartError, MultipartEvent, MultipartLimits, MultipartReader},
};
use tokio::{net::TcpStream, time::timeout};

use crate::body;

/// Why a peer's OCSP answers are not at hand. Each names the peer asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerOcspError {
    /// The body of the answer broke off or is too long.
    #[error("the OCSP answer of {peer} broke off or is too long")]
    Body {
        /// Whom we asked.
        peer: String,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection.
    #[error("cannot connect to {peer} for OCSP answers")]
    Connect {
        /// Whom we asked.
        peer: String,
        /// The reason.
        source: io::Error,
    },
    /// Another number of answers than asked for.
    #[error("{peer} gave {found} OCSP answers where {asked} were asked for")]
    Count {
        /// Whom we asked.
        peer: String,
        /// How many we asked for.
        asked: usize,
        /// How many came.
        found: usize,
    },
    /// It took too long.
    #[error("{peer} did not give its OCSP answers within {} s", after.as_secs_f32())]
    Deadline {
        /// Whom we asked.
        peer: String,
        /// The limit.
        after: Duration,
    },
    /// The exchange over HTTP failed.
    #[error("the exchange for OCSP answers with {peer} failed")]
    Http {
        /// Whom we asked.
        peer: String,
        /// The reason.
        source: hyper::Error,
    },
    /// The multipart is malformed.
    #[error("the OCSP answer of {peer} is malformed")]
    Multipart {
        /// Whom we asked.
        peer: String,
        /// The reason.
        source: MultipartError,
    },
    /// The answer is no multipart.
    #[error("the OCSP answer of {peer} is no multipart")]
    NotMultipart {
        /// Whom we asked.
        peer: String,
    },
    /// The request cannot be made: the address is no host name.
    #[error("`{peer}` cannot be asked for OCSP answers")]
    Request {
        /// Whom we wanted to ask.
        peer: String,
        /// The reason.
        source: http::Error,
    },
    /// One of the answers cannot be read.
    #[error("an OCSP response of {peer} cannot be read")]
    Response {
        /// Whom we asked.
        peer: String,
        /// The reason.
        source: OcspError,
    },
    /// The peer says that it has not got them.
    #[error("{peer} refused to give OCSP answers: HTTP status {status}")]
    Status {
        /// Whom we asked.
        peer: String,
        /// The status.
        status: u16,
    },
}

/// Fetches the answers for `certificates` from `host`, in one request; they come in the same order.
///
/// # Errors
/// [`PeerOcspError`]: all or nothing. `deadline` bounds everything, connecting included.
pub async fn fetch_from_peer(
    host: &str,
    port: u16,
    certificates: &[Certificate],
    deadline: Duration,
) -> Result<Vec<OcspResponse>, PeerOcspError> {
    let peer = format!("{host}:{port}");
    timeout(deadline, exchange(&peer, host, port, certificates))
        .await
        .unwrap_or_else(|_| {
            Err(PeerOcspError::Deadline {
                peer: peer.clone(),
                after: deadline,
            })
        })
}

async fn exchange(
    peer: &str,
    host: &str,
    port: u16,
    certificates: &[Certificate],
) -> Result<Vec<OcspResponse>, PeerOcspError> {
    let whom = || peer.to_owned();
    let http = |source| PeerOcspError::Http {
        peer: whom(),
        source,
    };
    let request = Request::get(path(certificates))
        .header(header::HOST, peer)
        .header(header::ACCEPT, "multipart/related")
        .header(header::CONNECTION, "close")
        .body(body::empty())
        .map_err(|source| PeerOcspError::Request {
            peer: whom(),
            source,
        })?;
    let stream =
        TcpStream::connect((host, port))
            .await
            .map_err(|source| PeerOcspError::Connect {
                peer: whom(),
                source,
            })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(http)?;
        let status = response.status().as_u16();
        if !matches!(status, 200..=208 | 226) {
            return Err(PeerOcspError::Status {
                peer: whom(),
                status,
            });
        }
        let content_type = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let boundary = content_type
            .and_then(|value| MediaType::parse(value).ok())
            .filter(|media| media.essence().starts_with("multipart/"))
            .and_then(|media| media.param("boundary").map(str::to_owned))
            .ok_or_else(|| PeerOcspError::NotMultipart { peer: whom() })?;
        let body = Limited::new(response.into_body(), MOST_BYTES)
            .collect()
            .await
            .map_err(|source| PeerOcspError::Body {
                peer: whom(),
                source,
            })?;
        Ok((boundary, body.to_bytes()))
    };
    // The connection is driven beside the exchange and dropped with it: nothing outlives the deadline.
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    let (boundary, body) = tokio::select! {
        done = &mut exchange => done?,
        _ = &mut connection => exchange.await?, // its error is told by the exchange too
    };
    let parts = parts(&boundary, body).map_err(|source| PeerOcspError::Multipart {
        peer: whom(),
        source,
    })?;
    if parts.len() != certificates.len() {
        return Err(PeerOcspError::Count {
            peer: whom(),
            asked: certificates.len(),
            found: parts.len(),
        });
    }
    parts
        .into_iter()
        .map(|part| {
            OcspResponse::parse(part).map_err(|source| PeerOcspError::Response {
                peer: whom(),
                source,
            })
        })
        .collect()
}

/// `/?cert=SHA1&cert=…&cert_hash=SHA256&…`, as releases from 7.4 on ask.
fn path(certificates: &[Certificate]) -> String {
    let mut path = "/".to_owned();
    for (name, algorithm) in [
        ("cert", DigestAlgorithm::Sha1),
        ("cert_hash", DigestAlgorithm::Sha256),
    ] {
        for certificate in certificates {
            let before = if path.len() == 1 { '?' } else { '&' };
            let _ = write!(
                path,
                "{before}{name}={}",
                certificate.digest(algorithm).to_hex()
            ); // a String takes it
        }
    }
    path
}

/// The parts that are OCSP responses; others are passed over.
fn parts(boundary: &str, body: Bytes) -> Result<Vec<Bytes>, MultipartError> {
    let mut reader = MultipartReader::new(boundary.as_bytes(), MultipartLimits::default())?;
    reader.push(body)?;
    reader.finish()?;
    let mut parts = Vec::new();
    let mut part: Option<Vec<u8>> = None;
    while let Some(event) = reader.poll_event() {
        match event {
            MultipartEvent::PartStart(headers) => {
                let media = headers
                    .content_type()
                    .and_then(|value| MediaType::parse(value).ok());
                part = media
                    .is_some_and(|media| media.is("application/ocsp-response"))
                    .then(Vec::new);
            }
            MultipartEvent::Data(bytes) => {
                if let Some(part) = &mut part {
                    part.extend_from_slice(&bytes);
                }
            }
            MultipartEvent::PartEnd => parts.extend(part.take().map(Bytes::from)),
            _ => {}
        }
    }
    Ok(parts)
}

const MOST_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_other_types_are_passed_over() {
        let body: &[u8] = b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: application/ocsp-response\r\n\r\nDER\r\n--b--\r\n";
        assert_eq!(parts("b", Bytes::from_static(body)).unwrap(), ["DER"]);
        assert!(parts("b", body[..body.len() - 9].to_vec().into()).is_err());
    }
}
