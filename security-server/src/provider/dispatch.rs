//! The only call to the service.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use hyper::body::Incoming as HttpIncoming;
use jibek_protocol::{
    header as names,
    limits::{self, Limits},
    media_type::MediaType,
    message::RestRequestBlock,
    soap::{self, ScannedSoap},
};

use super::record::RecordedRequest;
use crate::{
    body,
    chunks::{ChunkError, Pace},
    context::Context,
    message::RequestMessage,
    services::ServiceCallError,
    transport::MessageType,
};

/// What the service answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(super) request: RecordedRequest,
    pub(super) answer: Answer,
}

/// An answer of either kind.
#[derive(Debug)]
pub(super) enum Answer {
    /// Head and a body yet to be read.
    Rest(Box<Response<HttpIncoming>>),
    /// The whole envelope.
    Soap(Box<Envelope>),
}

/// A SOAP answer.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) bytes: Bytes,
    pub(super) scanned: ScannedSoap,
    pub(super) content_type: String,
}

impl Reply {
    /// Value of `x-original-content-type`, for SOAP.
    pub(crate) fn original_content_type(&self) -> Option<&str> {
        match &self.answer {
            Answer::Rest(_) => None,
            Answer::Soap(envelope) => Some(&envelope.content_type),
        }
    }
}

/// Why there is no answer of the service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DispatchError {
    /// The call failed.
    #[error("the service could not be called: {0}")]
    Call(ServiceCallError),
    /// The call of a SOAP service failed, whose faults have another prefix.
    #[error("the service could not be called: {0}")]
    SoapCall(ServiceCallError),
    /// A SOAP service answered with another media type.
    #[error("the service answered with content type {found:?}")]
    ContentType {
        /// What came.
        found: String,
    },
    /// The service answered with a SOAP fault, which goes on as it is.
    #[error("the service answered with a fault")]
    Fault(Bytes),
    /// A SOAP service answered with another status than 200 and 500.
    #[error("the service answered with HTTP status {status}")]
    Status {
        /// What came.
        status: u16,
    },
    /// The answer broke off, stalled or is larger than what this server reads into memory.
    #[error("the answer of the service could not be read: {0}")]
    Broken(ChunkError),
    /// The answer is not the SOAP message it should be.
    #[error("the answer of the service is not a SOAP message: {0}")]
    Soap(soap::SoapError),
    /// The address of the service and the path called make no URL.
    #[error("the address of service {service} with the path of the call is no URL")]
    Url {
        /// What was called.
        service: jibek_protocol::id::ServiceId,
    },
}

/// Calls the service.
///
/// # Errors
///
/// The error, and the kind of message, which decides how the fault travels (`message-path.md` 4.5).
pub(crate) async fn call(
    context: &Context,
    request: RecordedRequest,
) -> Result<Reply, (DispatchError, MessageType)> {
    match request.permit.message() {
        RequestMessage::Rest(_) => rest(context, request)
            .await
            .map_err(|error| (error, MessageType::Rest)),
        RequestMessage::Soap(_) => soap(context, request)
            .await
            .map_err(|error| (error, MessageType::Soap)),
    }
}

async fn rest(context: &Context, mut request: RecordedRequest) -> Result<Reply, DispatchError> {
    let source = request.body.take();
    let permit = &request.permit;
    let RequestMessage::Rest(block) = permit.message() else {
        return Err(DispatchError::Url {
            service: permit.message().service().clone(),
        });
    };
    let service = permit.service();
    let method = Method::from_bytes(block.method().as_str().as_bytes()).unwrap_or(Method::GET);
    let uri = target(service.url(), block).ok_or_else(|| DispatchError::Url {
        service: block.target().service().clone(),
    })?;
    let body = match source {
        Some(source) if block.method().delivers_body() => {
            let length = source.len();
            body::sized(source.into_stream(), length)
        }
        _ => body::empty(),
    };
    let mut call = Request::new(body);
    *call.method_mut() = method;
    *call.uri_mut() = uri;
    for line in block.headers() {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let value = HeaderValue::from_bytes(&line.latin1_value());
        let (Ok(name), Ok(value)) = (name, value) else {
            continue;
        };
        if name.as_str() == names::X_ROAD_CLIENT {
            // Of several the last was authorised: a service that reads the first must not see another caller.
            call.headers_mut().insert(name, value);
        } else {
            call.headers_mut().append(name, value);
        }
    }
    let answer = context
        .services
        .call(service, permit.provider(), call)
        .await
        .map_err(DispatchError::Call)?;
    Ok(Reply {
        request,
        answer: Answer::Rest(Box::new(answer)),
    })
}

async fn soap(context: &Context, request: RecordedRequest) -> Result<Reply, DispatchError> {
    let permit = &request.permit;
    let service = permit.service();
    let mut call = Request::new(body::full(permit.message().bytes().clone()));
    *call.method_mut() = Method::POST;
    *call.uri_mut() = service.url().clone();
    let headers = call.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/xml; charset=UTF-8"),
    );
    headers.insert(
        "soapaction",
        HeaderValue::from_bytes(permit.soap_action()).unwrap_or(HeaderValue::from_static("")),
    );
    let answer = context
        .services
        .call(service, permit.provider(), call)
        .await
        .map_err(DispatchError::SoapCall)?;
    let status = answer.status().as_u16();
    if status != 200 && status != 500 {
        return Err(DispatchError::Status { status });
    }
    let content_type = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default();
    let is_xml = MediaType::parse(&content_type)
        .is_ok_and(|media_type| media_type.is("text/xml") || media_type.is("application/xop+xml"));
    if !is_xml {
        return Err(DispatchError::ContentType {
            found: content_type,
        });
    }
    // Whole: its header decides what happens, and it may stand anywhere in it.
    let bytes = Pace::of_answer(&context.config.limits)
        .whole(&mut answer.into_body(), limits::SOAP_PART_BYTES)
        .await
        .map_err(DispatchError::Broken)?;
    let scanned = soap::scan(&bytes, &Limits::default()).map_err(DispatchError::Soap)?;
    if scanned.fault().is_some() {
        return Err(DispatchError::Fault(bytes));
    }
    Ok(Reply {
        request,
        answer: Answer::Soap(Box::new(Envelope {
            bytes,
            scanned,
            content_type,
        })),
    })
}

/// Service URL, path of the call (one `/` is dropped if both have it), query: byte for byte as signed
/// (`message-path.md` 3.6).
fn target(url: &Uri, block: &RestRequestBlock) -> Option<Uri> {
    let path = block.target().path();
    let base = url.path();
    let base = if base.ends_with('/') && (path.starts_with('/') || path.is_empty()) {
        base.strip_suffix('/').unwrap_or(base)
    } else {
        base
    };
    let mut path_and_query = format!("{base}{path}");
    if path_and_query.is_empty() {
        path_and_query.push('/');
    }
    if let Some(query) = block.target().query() {
        path_and_query.push('?');
        path_and_query.push_str(query);
    }
    let mut parts = url.clone().into_parts();
    parts.path_and_query = Some(path_and_query.parse().ok()?);
    Uri::from_parts(parts).ok()
}
