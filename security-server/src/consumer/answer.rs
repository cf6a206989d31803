//! A recorded answer, told to the consumer.

use http::{HeaderName, HeaderValue, Response, StatusCode, header, request};
use jibek_protocol::fault::RestFaultForm;

use super::{open::ReplyMessage, record::RecordedReply};
use crate::{body, body::Body, spool};

/// How this consumer reads faults.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AnswerForm {
    /// A JSON or XML document and a status (`message-path.md` 3.7).
    Rest(RestFaultForm),
    /// A SOAP fault with status 200 (`message-path.md` 2.7).
    Soap,
}

impl AnswerForm {
    /// Reads it from the request.
    pub(crate) fn of(head: &request::Parts) -> Self {
        if !head.uri.path().starts_with("/r1/") {
            return Self::Soap;
        }
        let accept = head
            .headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok());
        Self::Rest(RestFaultForm::choose(accept))
    }
}

/// Makes the HTTP answer: status, headers and body of the provider, byte for byte.
pub(crate) fn reply(recorded: &RecordedReply) -> Response<Body> {
    match &recorded.message {
        ReplyMessage::Soap(bytes) => {
            let mut response = Response::new(body::full(bytes.clone()));
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/xml; charset=UTF-8"),
            );
            response
        }
        ReplyMessage::Rest(block) => {
            let content = match recorded.committed.body(spool::BODY) {
                Some(source) if recorded.has_body() => {
                    let length = source.len();
                    body::sized(source.into_stream(), length)
                }
                _ => body::empty(),
            };
            let mut response = Response::new(content);
            *response.status_mut() =
                StatusCode::from_u16(block.status()).unwrap_or(StatusCode::BAD_GATEWAY);
            for line in block.headers() {
                let name = HeaderName::from_bytes(line.name.as_bytes());
                let value = HeaderValue::from_bytes(&line.latin1_value());
                if let (Ok(name), Ok(value)) = (name, value) {
                    response.headers_mut().append(name, value);
                }
            }
            response
        }
    }
}
