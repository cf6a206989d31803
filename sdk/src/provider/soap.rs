//! SOAP services: a layer that reads the envelope, tells who calls, and writes the answer (`message-path.md` 2.6).

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::Full;
use jibek_protocol::fault::Fault;
use jibek_protocol::header::{FAULT_CONTENT_TYPE, TEXT_XML_UTF8};
use jibek_protocol::limits::Limits;
use jibek_protocol::soap::SoapHeader;
use tower::{Layer, Service};

use super::{Caller, chunk};
use crate::body::BoxError;
use crate::consumer::soap::Message;
use crate::soap::{Heading, envelope};
use crate::xml;

/// Turns a service from [`SoapRequest`] to the element of its answer, or a [`Fault`], into one of HTTP.
///
/// Requests without attachments, of at most 10 MiB. What is no SOAP request is answered with a fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoapLayer(());

impl SoapLayer {
    /// Makes the layer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for SoapLayer {
    type Service = SoapService<S>;

    fn layer(&self, inner: S) -> SoapService<S> {
        SoapService { inner }
    }
}

/// A service behind [`SoapLayer`].
#[derive(Clone, Debug)]
pub struct SoapService<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for SoapService<S>
where
    S: Service<SoapRequest, Response = String, Error = Fault> + Clone + Send + 'static,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // a service is asked when its request has been read
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.inner.clone();
        Box::pin(async move {
            Ok(match answer(service, request.into_body()).await {
                Ok(envelope) => xml_response(StatusCode::OK, TEXT_XML_UTF8, envelope),
                Err(fault) => xml_response(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    FAULT_CONTENT_TYPE,
                    fault.to_soap(),
                ),
            })
        })
    }
}

/// A SOAP request, read.
pub struct SoapRequest {
    caller: Caller,
    header: SoapHeader,
    envelope: Bytes,
    body: Bytes,
}

impl SoapRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// A [`Fault`] to answer with, if it is none.
    pub fn read(envelope: Bytes) -> Result<Self, Fault> {
        let refuse = |reason: String| Fault::new("Client", reason, "");
        let message = Message::read(&envelope).map_err(|error| refuse(error.to_string()))?;
        let Message { header, body } =
            message.map_err(|_fault| refuse("a fault is no request".to_owned()))?;
        let caller = Caller {
            client: header.client.clone(),
            service: Some(header.service.clone()),
            message_id: header.id.clone(),
            request_id: None,
            user_id: header.user_id.clone(),
            issue: header.issue.clone(),
            represented_party: header.represented_party.clone(),
        };
        Ok(Self {
            caller,
            header,
            envelope,
            body,
        })
    }

    /// Tells who calls which service.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Gives the header.
    #[must_use]
    pub fn header(&self) -> &SoapHeader {
        &self.header
    }

    /// Gives the whole message, byte for byte as it came.
    #[must_use]
    pub fn envelope(&self) -> &Bytes {
        &self.envelope
    }

    /// Gives the element in the body, in UTF-8. It may use prefixes that the envelope declares.
    #[must_use]
    pub fn body_xml(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }

    /// Gives the text of the first element in the body with this local name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<String> {
        xml::text_of(&self.body, name)
    }

    /// Writes the answer: the request's header, and in the body `element`, whose local name begins with the service code.
    #[must_use]
    pub fn respond(&self, element: &str) -> Bytes {
        respond(&self.header, element)
    }
}

impl fmt::Debug for SoapRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SoapRequest")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

async fn answer<S, B>(mut service: S, body: B) -> Result<Bytes, Fault>
where
    S: Service<SoapRequest, Response = String, Error = Fault>,
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let request = SoapRequest::read(collect(body).await?)?;
    let header = request.header.clone();
    std::future::poll_fn(|context| service.poll_ready(context)).await?;
    let element = service.call(request).await?;
    Ok(respond(&header, &element))
}

fn respond(header: &SoapHeader, element: &str) -> Bytes {
    let heading = Heading {
        client: &header.client,
        service: &header.service,
        security_server: header.security_server.as_ref(),
        message_id: &header.id,
        user_id: header.user_id.as_deref(),
        issue: header.issue.as_deref(),
        represented_party: header.represented_party.as_ref(),
        protocol_version: &header.protocol_version,
    };
    envelope(&heading, element).into()
}

/// Reads a body of bounded size that keeps moving.
async fn collect<B>(body: B) -> Result<Bytes, Fault>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let refuse = |reason: String| Fault::new("Client", reason, "");
    let limit_bytes = Limits::default().soap_part_bytes;
    let mut body = std::pin::pin!(body);
    let mut all = BytesMut::new();
    while let Some(chunk) = chunk(&mut body)
        .await
        .map_err(|error| refuse(error.to_string()))?
    {
        if all.len().saturating_add(chunk.len()) > limit_bytes {
            return Err(refuse("the request is too large".to_owned()));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}

fn xml_response(status: StatusCode, kind: &'static str, document: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(document));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
