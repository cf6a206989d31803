//! Bounded GET requests.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, StatusCode, Uri,
    body::{Body, Incoming},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use super::FetchOptions;

/// Why a document could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The address is not one.
    #[error("not a usable address")]
    Address {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection ended in the middle.
    #[error("the answer broke off")]
    Body {
        /// Why.
        source: hyper::Error,
    },
    /// No connection, or no answer over it.
    #[error("no answer")]
    Request {
        /// Why.
        source: hyper_util::client::legacy::Error,
    },
    /// Another status than 200. Redirections are not followed.
    #[error("status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// No usable cryptography.
    #[error("TLS cannot be set up")]
    Tls {
        /// Why.
        source: rustls::Error,
    },
    /// A deadline passed.
    #[error("nothing came for {waited:?} while waiting for {what}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// The deadline.
        waited: Duration,
    },
    /// Larger than allowed.
    #[error("more than {max_bytes} bytes")]
    TooLarge {
        /// The bound.
        max_bytes: usize,
    },
}

/// Outcome of a GET: 404 is an answer, every other status but 200 an error.
#[derive(Debug)]
pub(super) enum Fetched {
    Found(Bytes),
    NotFound,
}

#[derive(Clone, Debug)]
pub(super) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    connect_timeout: Duration,
    read_timeout: Duration,
    total_timeout: Duration,
}

impl HttpClient {
    pub(super) fn new(options: &FetchOptions) -> Result<Self, HttpError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(options.connect_timeout));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(provider)
            .map_err(|source| HttpError::Tls { source })?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        // The parts are fetched over the connection that brought the directory; nothing is kept until the next refresh.
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(5))
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(connector);
        let FetchOptions {
            connect_timeout,
            read_timeout,
            total_timeout,
            ..
        } = *options;
        Ok(Self {
            client,
            connect_timeout,
            read_timeout,
            total_timeout,
        })
    }

    /// Fetches a document of at most `max_bytes`, within the deadlines.
    pub(super) async fn get(&self, url: &str, max_bytes: usize) -> Result<Fetched, HttpError> {
        let address =
            |source: Box<dyn std::error::Error + Send + Sync>| HttpError::Address { source };
        let uri: Uri = url.parse().map_err(|error| address(Box::new(error)))?;
        let request = Request::get(uri)
            .body(Empty::new())
            .map_err(|error| address(Box::new(error)))?;
        let whole = self.fetch(request, max_bytes);
        match timeout(self.total_timeout, whole).await {
            Ok(outcome) => outcome,
            Err(_) => Err(HttpError::Timeout {
                what: "the whole document",
                waited: self.total_timeout,
            }),
        }
    }

    async fn fetch(
        &self,
        request: Request<Empty<Bytes>>,
        max_bytes: usize,
    ) -> Result<Fetched, HttpError> {
        let first = self.connect_timeout.saturating_add(self.read_timeout);
        let response = timeout(first, self.client.request(request))
            .await
            .map_err(|_| HttpError::Timeout {
                what: "an answer",
                waited: first,
            })?
            .map_err(|source| HttpError::Request { source })?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(Fetched::NotFound),
            other => {
                return Err(HttpError::Status {
                    status: other.as_u16(),
                });
            }
        }
        self.read(response.into_body(), max_bytes)
            .await
            .map(Fetched::Found)
    }

    async fn read(&self, mut body: Incoming, max_bytes: usize) -> Result<Bytes, HttpError> {
        // Grown by doubling, a large document would take twice its room.
        let announced = body.size_hint().exact().unwrap_or_default();
        let announced = usize::try_from(announced).unwrap_or(usize::MAX);
        if announced > max_bytes {
            return Err(HttpError::TooLarge { max_bytes });
        }
        let mut bytes = BytesMut::with_capacity(announced);
        loop {
            let frame = timeout(self.read_timeout, body.frame())
                .await
                .map_err(|_| HttpError::Timeout {
                    what: "the next piece",
                    waited: self.read_timeout,
                })?;
            let Some(frame) = frame else {
                return Ok(bytes.freeze());
            };
            let Ok(data) = frame
                .map_err(|source| HttpError::Body { source })?
                .into_data()
            else {
                continue;
            };
            if bytes.len().saturating_add(data.len()) > max_bytes {
                return Err(HttpError::TooLarge { max_bytes });
            }
            bytes.extend_from_slice(&data);
        }
    }
}
