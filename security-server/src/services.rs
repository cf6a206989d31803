//! Calling the systems of providers: pooled connections, TLS pinned to the provider's certificates (`message-path.md` 6.6).

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use jibek_certs::{Digest, DigestAlgorithm, digest::Hasher};
use rustls::ClientConfig;
use tokio::{sync::watch, time::Instant};

use crate::{
    body::{Body, BodyError},
    clients::{Client, Service},
    outbound::chain,
    tls::{InternalTls, LeafVerifier, Registered, provider},
};

/// Calls providers' systems. Follows no redirects, keeps no cookies, repeats nothing that was sent. Clones share connections.
#[derive(Clone)]
pub struct ServiceClient {
    inner: Arc<Inner>,
}

/// Why a provider's system gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceCallError {
    /// The TLS client cannot be prepared.
    #[error("cannot prepare TLS with the service at {url}")]
    Setup {
        /// The service's address.
        url: String,
        /// The reason.
        source: rustls::Error,
    },
    /// The body that we were to send broke off.
    #[error("the body for the service at {url} broke off")]
    RequestBody {
        /// The service's address.
        url: String,
        /// The reason.
        source: legacy::Error,
    },
    /// Nothing came within the service's timeout.
    #[error("the service at {url} did not answer within {} s", after.as_secs_f32())]
    TimedOut {
        /// The service's address.
        url: String,
        /// The limit.
        after: Duration,
    },
    /// The provider's certificate is not one of those registered for it.
    #[error("the certificate of the service at {url} is not registered for the provider")]
    UnknownCertificate {
        /// The service's address.
        url: String,
    },
    /// No connection, or it broke, or the answer is not HTTP.
    #[error("the call to the service at {url} failed: {}", chain(source))]
    Unreachable {
        /// The service's address.
        url: String,
        /// The reason.
        source: legacy::Error,
    },
}

impl ServiceCallError {
    /// Returns X-Road's code (7.8 spelling), without the prefix of a side.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownCertificate { .. } => "ssl_authentication_failed",
            Self::Setup { .. } => "internal_error",
            Self::Unreachable { source, .. } if source.is_connect() => "network_error",
            Self::RequestBody { .. } | Self::TimedOut { .. } | Self::Unreachable { .. } => {
                "io_error"
            }
        }
    }
}

impl ServiceClient {
    /// A client that offers the `internal` certificate and connects within `connect`.
    pub fn new(internal: Arc<InternalTls>, connect: Duration) -> Self {
        Self {
            inner: Arc::new(Inner {
                internal,
                connect,
                clients: Mutex::default(),
            }),
        }
    }

    /// Sends `request`, whose URI is absolute, to `service` of `client`. Resolves with the head of the answer; the service's timeout
    /// counts from the last byte of the request's body that was taken, so a long upload does not use it up.
    ///
    /// # Errors
    /// [`ServiceCallError`]. The service may have acted on the request.
    pub async fn call(
        &self,
        service: &Service,
        client: &Client,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, ServiceCallError> {
        let url = || service.url().to_string();
        let pooled = self
            .inner
            .client(service, client)
            .map_err(|source| ServiceCallError::Setup { url: url(), source })?;
        let (progress, moved) = watch::channel(Instant::now());
        let request = request.map(|inner| Watched { inner, progress }.boxed_unsync());
        let after = service.timeout();
        let mut call = pooled.request(request);
        loop {
            let last = *moved.borrow();
            tokio::select! {
                answered = &mut call => return answered.map_err(|source| failed(url(), source)),
                () = tokio::time::sleep_until(last + after) => {
                    if *moved.borrow() == last {
                        return Err(ServiceCallError::TimedOut { url: url(), after });
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for ServiceClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ServiceClient")
            .finish_non_exhaustive()
    }
}

struct Inner {
    internal: Arc<InternalTls>,
    connect: Duration,
    /// One pool for each way to judge the provider's certificate: connections judged in one way never serve another.
    clients: Mutex<HashMap<Option<Digest>, Pooled>>,
}

type Pooled = legacy::Client<HttpsConnector<HttpConnector>, Body>;

impl Inner {
    fn client(&self, service: &Service, client: &Client) -> Result<Pooled, rustls::Error> {
        let pinned = (service.verify_tls() && service.url().scheme_str() == Some("https"))
            .then(|| pins(client));
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pooled) = clients.get(&pinned) {
            return Ok(pooled.clone());
        }
        let pooled = self.build(pinned.is_some().then(|| known(client)))?;
        if clients.len() >= MOST_POOLS {
            clients.clear(); // pins of documents changed long ago; calls under way keep theirs
        }
        clients.insert(pinned, pooled.clone());
        Ok(pooled)
    }

    fn build(&self, known: Option<Registered>) -> Result<Pooled, rustls::Error> {
        let (chain, key) = self.internal.identity();
        let verifier = known.map_or_else(
            || LeafVerifier::any(false),
            |known| LeafVerifier::new(known, false),
        );
        let tls = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain, key)?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(self.connect));
        http.set_keepalive(Some(Duration::from_secs(60)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .http1_max_buf_size(BUFFER_BYTES)
            .build(connector))
    }
}

fn failed(url: String, source: legacy::Error) -> ServiceCallError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&source);
    while let Some(error) = cause {
        if error.downcast_ref::<BodyFailed>().is_some() {
            return ServiceCallError::RequestBody { url, source };
        }
        let tls = error.downcast_ref::<rustls::Error>();
        if let Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::ApplicationVerificationFailure,
        )) = tls
        {
            return ServiceCallError::UnknownCertificate { url };
        }
        // An I/O error passes over what it wraps when it is asked for its source.
        cause = match error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    ServiceCallError::Unreachable { url, source }
}

/// What names a client's set of certificates.
fn pins(client: &Client) -> Digest {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    for certificate in client.certificates() {
        hasher.update(&certificate.sha256());
    }
    hasher.finish()
}

fn known(client: &Client) -> Registered {
    let pinned: Vec<Bytes> = client
        .certificates()
        .iter()
        .map(|certificate| certificate.der().clone())
        .collect();
    Arc::new(move |leaf| pinned.iter().any(|pin| pin == leaf))
}

/// A body that tells when it was last asked for more.
struct Watched {
    inner: Body,
    progress: watch::Sender<Instant>,
}

/// Marks an error as the request body's own.
#[derive(Debug, thiserror::Error)]
#[error("the request body broke off")]
struct BodyFailed(#[source] BodyError);

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        self.progress.send_replace(Instant::now());
        polled.map_err(|error| BodyFailed(error).into())
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Providers behind a firewall forget connections after a minute or so.
const IDLE: Duration = Duration::from_secs(30);
const MOST_IDLE: usize = 256;
const MOST_POOLS: usize = 256;
/// Largest chunk of an answer: some wait for the peer, and left to itself hyper lets each grow to 400 KiB.
const BUFFER_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests;
