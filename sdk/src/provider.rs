//! Offering services: a tower layer that tells a service who calls, and a small server to run it.
//!
//! The security server has authenticated and authorised the caller and keeps the evidence; the service only learns whose
//! call it is. So it must listen where nobody but its security server can reach it: the headers are believed.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Either, Full};
use jibek_protocol::header as names;
use jibek_protocol::id::{ClientId, IdError, RepresentedParty, ServiceId};
use serde::Serialize;
use tokio::time::{Duration, timeout};
use tower::Service;

use crate::body::BoxError;
use crate::error::ReadError;

mod serve;
pub(crate) mod soap;

pub use serve::serve;
pub use soap::{SoapLayer, SoapRequest, SoapService};
pub use tower::{Layer, service_fn};

/// Who calls, as the security server tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// The member or subsystem that calls: authenticated and authorised by the security servers.
    pub client: ClientId,
    /// The service that is called; known in SOAP only, REST tells it by the address alone.
    pub service: Option<ServiceId>,
    /// The message id, under which the evidence is found.
    pub message_id: String,
    /// The id of this one exchange, where the security server tells it.
    pub request_id: Option<String>,
    /// The user on whose behalf the client calls, as the client says.
    pub user_id: Option<String>,
    /// The case or document for which it calls, as the client says.
    pub issue: Option<String>,
    /// Whom the client represents, as the client says.
    pub represented_party: Option<RepresentedParty>,
}

impl Caller {
    /// Gives the caller that [`ProviderLayer`] put into a request.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<&Self> {
        request.extensions().get()
    }

    /// Reads the caller from the headers of a REST request.
    ///
    /// # Errors
    /// [`CallerError`] if client or message id are missing or one of the headers is malformed.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, CallerError> {
        let text = |name: &'static str| {
            crate::consumer::last_header(headers, &HeaderName::from_static(name))
        };
        let malformed = |name| move |source| CallerError::Malformed { name, source };
        let client = text(names::X_ROAD_CLIENT).ok_or(CallerError::Missing {
            name: names::X_ROAD_CLIENT,
        })?;
        let message_id = text(names::X_ROAD_ID).ok_or(CallerError::Missing {
            name: names::X_ROAD_ID,
        })?;
        Ok(Self {
            client: ClientId::from_header(&client).map_err(malformed(names::X_ROAD_CLIENT))?,
            service: None,
            message_id,
            request_id: text(names::X_ROAD_REQUEST_ID),
            user_id: text(names::X_ROAD_USER_ID),
            issue: text(names::X_ROAD_ISSUE),
            represented_party: text(names::X_ROAD_REPRESENTED_PARTY)
                .map(|party| RepresentedParty::from_header(&party))
                .transpose()
                .map_err(malformed(names::X_ROAD_REPRESENTED_PARTY))?,
        })
    }
}

/// Why a request does not tell who calls: it did not come through a security server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallerError {
    /// A header is not what it should be.
    #[error("header {name} is malformed")]
    Malformed {
        /// Name of the header.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: IdError,
    },
    /// A header is missing.
    #[error("header {name} is missing")]
    Missing {
        /// Name of the header.
        name: &'static str,
    },
}

/// Puts the [`Caller`] of a REST request into its extensions, and answers 400 to requests without one.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProviderLayer(());

impl ProviderLayer {
    /// Makes the layer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for ProviderLayer {
    type Service = Provider<S>;

    fn layer(&self, inner: S) -> Provider<S> {
        Provider { inner }
    }
}

/// A service behind [`ProviderLayer`].
#[derive(Clone, Debug)]
pub struct Provider<S> {
    inner: S,
}

/// The future of a [`Provider`]'s answer.
pub type Answering<B, E> =
    Pin<Box<dyn Future<Output = Result<Response<Either<B, Full<Bytes>>>, E>> + Send>>;

impl<S, A, B> Service<Request<A>> for Provider<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Either<B, Full<Bytes>>>;
    type Error = S::Error;
    type Future = Answering<B, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        match Caller::from_headers(request.headers()) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                let answer = self.inner.call(request);
                Box::pin(async move { answer.await.map(|response| response.map(Either::Left)) })
            }
            Err(error) => {
                let refusal = json(
                    StatusCode::BAD_REQUEST,
                    &serde_json::json!({ "error": error.to_string() }),
                );
                Box::pin(std::future::ready(Ok(refusal.map(Either::Right))))
            }
        }
    }
}

/// Reads the next chunk of a request's body, `None` at its end, for services that take streams.
///
/// # Errors
/// [`ReadError::Deadline`] if nothing comes for 60 s, [`ReadError::Truncated`] if the body breaks off.
pub async fn chunk<B>(body: &mut B) -> Result<Option<Bytes>, ReadError>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    loop {
        let frame = timeout(CHUNK_WAIT, body.frame())
            .await
            .map_err(|_elapsed| ReadError::Deadline { waited: CHUNK_WAIT })?
            .transpose()
            .map_err(|error| ReadError::Truncated(error.into()))?;
        match frame.map(Frame::into_data) {
            None => return Ok(None),
            Some(Ok(chunk)) => return Ok(Some(chunk)),
            Some(Err(_trailers)) => {}
        }
    }
}

/// Makes a JSON answer. What cannot be written as JSON becomes status 500.
#[must_use]
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let (status, text) = match serde_json::to_vec(value) {
        Ok(text) => (status, text),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            br#"{"error":"the answer is no JSON"}"#.to_vec(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

const CHUNK_WAIT: Duration = Duration::from_secs(60);
