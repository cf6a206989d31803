//! Small HTTP questions to trust services: one POST, one bounded answer, no waiting without a deadline.
//!
//! Time-stamping authorities and OCSP responders are asked this way (`signatures-and-log.md` 3.1,
//! `message-path.md` 7.5): unauthenticated, HTTP 200 only, redirects are not followed. Trust does not come from
//! the connection but from the signature in the answer.

use std::time::Duration;

use bytes::Bytes;
use http::{
    Method, Request, StatusCode, Uri,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::crypto::aws_lc_rs;
use tokio::time;

/// A client for short questions; every call opens its own connection.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    connect_timeout: Duration,
    read_timeout: Duration,
    most_bytes: usize,
}

impl Outbound {
    /// Makes a client.
    ///
    /// `connect_timeout` bounds reaching the service, `read_timeout` both the wait for the head of the answer and
    /// the time for its body, `most_bytes` the body's size.
    ///
    /// # Errors
    /// When the TLS library refuses its own defaults.
    pub fn new(
        connect_timeout: Duration,
        read_timeout: Duration,
        most_bytes: usize,
    ) -> Result<Self, OutboundError> {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(connect_timeout));
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(aws_lc_rs::default_provider())
            .map_err(|source| OutboundError::Tls { source })?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Ok(Self {
            client,
            connect_timeout,
            read_timeout,
            most_bytes,
        })
    }

    /// Posts `body` to `url` and returns the body of the answer.
    ///
    /// # Errors
    /// Anything but an answer with status 200 within the deadlines and the size. Cancel safe.
    pub async fn post(
        &self,
        url: &str,
        content_type: &'static str,
        accept: Option<&'static str>,
        body: impl Into<Bytes>,
    ) -> Result<Bytes, OutboundError> {
        let uri: Uri = url.parse().map_err(|source| OutboundError::Url {
            url: url.to_owned(),
            source,
        })?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(OutboundError::Scheme {
                url: url.to_owned(),
            });
        }
        let body: Bytes = body.into();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(CONTENT_TYPE, HeaderValue::from_static(content_type))
            .header(CONTENT_LENGTH, body.len());
        if let Some(accept) = accept {
            request = request.header(ACCEPT, HeaderValue::from_static(accept));
        }
        let request = request
            .body(Full::new(body))
            .map_err(|source| OutboundError::Request {
                url: url.to_owned(),
                source,
            })?;

        let head_deadline = self.connect_timeout.saturating_add(self.read_timeout);
        let answer = time::timeout(head_deadline, self.client.request(request))
            .await
            .map_err(|_| OutboundError::TimedOut {
                url: url.to_owned(),
                after: head_deadline,
            })?
            .map_err(|source| OutboundError::Unreachable {
                url: url.to_owned(),
                source,
            })?;
        if answer.status() != StatusCode::OK {
            return Err(OutboundError::Status {
                url: url.to_owned(),
                status: answer.status().as_u16(),
            });
        }
        let collected = time::timeout(
            self.read_timeout,
            Limited::new(answer.into_body(), self.most_bytes).collect(),
        )
        .await
        .map_err(|_| OutboundError::TimedOut {
            url: url.to_owned(),
            after: self.read_timeout,
        })?;
        match collected {
            Ok(body) => Ok(body.to_bytes()),
            Err(source) if source.is::<LengthLimitError>() => Err(OutboundError::TooLong {
                url: url.to_owned(),
                most_bytes: self.most_bytes,
            }),
            Err(source) => Err(OutboundError::Body {
                url: url.to_owned(),
                source,
            }),
        }
    }
}

/// Why a question to a trust service got no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboundError {
    /// The body of the answer broke off.
    #[error("the answer of {url} broke off")]
    Body {
        /// Whom we asked.
        url: String,
        /// What the connection said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request could not be put together.
    #[error("no request can be made for {url}")]
    Request {
        /// Whom we wanted to ask.
        url: String,
        /// Why.
        source: http::Error,
    },
    /// The address is neither `http` nor `https`.
    #[error("{url} is neither an http nor an https address")]
    Scheme {
        /// The address.
        url: String,
    },
    /// The service answered with another status than 200.
    #[error("{url} answered with HTTP status {status}")]
    Status {
        /// Whom we asked.
        url: String,
        /// The status.
        status: u16,
    },
    /// The deadline passed.
    #[error("{url} did not answer within {} s", after.as_secs_f32())]
    TimedOut {
        /// Whom we asked.
        url: String,
        /// The deadline that passed.
        after: Duration,
    },
    /// The TLS library cannot be set up.
    #[error("the TLS client cannot be set up")]
    Tls {
        /// Why.
        source: rustls::Error,
    },
    /// The answer is longer than anything such a service has to say.
    #[error("the answer of {url} is longer than {most_bytes} bytes")]
    TooLong {
        /// Whom we asked.
        url: String,
        /// The bound.
        most_bytes: usize,
    },
    /// No connection, or it broke before the answer's head.
    #[error("{url} cannot be reached")]
    Unreachable {
        /// Whom we asked.
        url: String,
        /// What the connection said.
        source: hyper_util::client::legacy::Error,
    },
    /// The address does not parse.
    #[error("{url} is not an address")]
    Url {
        /// The text.
        url: String,
        /// Why not.
        source: http::uri::InvalidUri,
    },
}

/// Writes an error with everything that led to it, for logs and status pages.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(inner) = next {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        next = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
