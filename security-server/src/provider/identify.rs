//! Who is on the other end, and what kind of message the transport header announces (`message-path.md` 6.4, 1–6).

use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use http::{Method, request};
use hyper::body::Incoming as HttpIncoming;
use jibek_certs::parse::Certificate;
use jibek_protocol::{
    header as names,
    multipart::{MultipartLimits, MultipartReader},
    soap,
    version::Version,
};

use crate::{
    chunks::Pace,
    context::Context,
    tls::Stack,
    transport::{self, Incoming, MessageType},
};

/// The server on the other end of a connection, as its TLS handshake proved it.
#[derive(Debug)]
pub(crate) struct Peer {
    /// What it sent, its own certificate first.
    pub(crate) certificates: Vec<Certificate>,
    /// Where it calls from.
    pub(crate) remote: std::net::SocketAddr,
    /// What carries the connection.
    pub(crate) stack: Stack,
    /// Whether a message came on it already.
    pub(crate) used: AtomicBool,
    /// Whether it knows that we execute a request once, and so may send one again.
    pub(crate) may_repeat: bool,
}

/// Why a transport message was refused by its header alone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentifyError {
    /// Not a POST.
    #[error("method {method} is not POST")]
    Method {
        /// What came instead.
        method: Method,
    },
    /// The global configuration has expired.
    #[error("{0}")]
    OutdatedConf(jibek_conf::snapshot::ConfExpired),
    /// The peer runs a release that this server no longer talks to.
    #[error("version {found} of the peer is older than {minimum}")]
    OldPeer {
        /// The version of the peer.
        found: String,
        /// The lowest accepted.
        minimum: String,
    },
    /// A version is demanded and the peer's cannot be read.
    #[error("version {found:?} of the peer cannot be read")]
    UnreadableVersion {
        /// What came.
        found: String,
    },
    /// `x-original-soapaction` is not a quoted URI.
    #[error("SOAPAction is neither empty nor a quoted URI")]
    SoapAction,
    /// No `x-hash-algorithm`.
    #[error("header x-hash-algorithm is missing")]
    NoHashAlgorithm,
    /// Another algorithm than SHA-512: only that one interoperates (`message-path.md` 4.4).
    #[error("hash algorithm {found:?} is not SHA-512")]
    HashAlgorithm {
        /// What came.
        found: String,
    },
    /// Not a multipart message.
    #[error("content type {found:?} is not multipart/mixed with a boundary")]
    ContentType {
        /// What came.
        found: String,
    },
}

/// The transport header, checked.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) message_type: MessageType,
    boundary: String,
    /// `x-road-request-id`, empty when absent.
    pub(crate) request_id: String,
    /// `x-original-soapaction`, as it came.
    pub(crate) soap_action: Bytes,
}

impl Head {
    /// Starts to read the parts.
    ///
    /// # Errors
    ///
    /// The body comes back when the boundary is unfit.
    pub(crate) fn reader(
        &self,
        context: &Context,
        body: HttpIncoming,
    ) -> Result<Incoming, (IdentifyError, HttpIncoming)> {
        match MultipartReader::new(self.boundary.as_bytes(), MultipartLimits::default()) {
            Ok(reader) => Ok(Incoming::new(
                body,
                reader,
                Pace::of_request(&context.config.limits),
            )),
            Err(_) => Err((
                IdentifyError::ContentType {
                    found: format!("multipart/mixed; boundary={}", self.boundary),
                },
                body,
            )),
        }
    }
}

/// Checks the transport header.
pub(crate) fn message(context: &Context, head: &request::Parts) -> Result<Head, IdentifyError> {
    if head.method != Method::POST {
        return Err(IdentifyError::Method {
            method: head.method.clone(),
        });
    }
    context
        .conf
        .snapshot()
        .check_valid(context.clock.now())
        .map_err(IdentifyError::OutdatedConf)?;
    let text = |name: &str| -> String {
        head.headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default()
    };
    if let Some(minimum) = &context.config.peers.minimum_version {
        let found = text(names::X_PROXY_VERSION);
        let version = Version::parse(&found).map_err(|_| IdentifyError::UnreadableVersion {
            found: found.clone(),
        })?;
        if version < *minimum {
            return Err(IdentifyError::OldPeer {
                found,
                minimum: minimum.to_string(),
            });
        }
    }
    let message_type = MessageType::of(&head.headers);
    let soap_action = head
        .headers
        .get(names::X_ORIGINAL_SOAP_ACTION)
        .map(|value| Bytes::from_owner(value.clone()))
        .unwrap_or_default();
    if message_type == MessageType::Soap && !soap::soap_action_is_valid(&soap_action) {
        return Err(IdentifyError::SoapAction);
    }
    let algorithm = head
        .headers
        .get(names::X_HASH_ALGORITHM)
        .ok_or(IdentifyError::NoHashAlgorithm)?;
    if !algorithm.as_bytes().eq_ignore_ascii_case(b"SHA-512") {
        return Err(IdentifyError::HashAlgorithm {
            found: String::from_utf8_lossy(algorithm.as_bytes()).into_owned(),
        });
    }
    let media_type = transport::content_type(&head.headers);
    let boundary = media_type
        .as_ref()
        .filter(|media_type| media_type.is("multipart/mixed"))
        .and_then(|media_type| media_type.param("boundary"))
        .ok_or_else(|| IdentifyError::ContentType {
            found: text("content-type"),
        })?
        .to_owned();
    Ok(Head {
        message_type,
        boundary,
        request_id: text(names::X_ROAD_REQUEST_ID),
        soap_action,
    })
}
