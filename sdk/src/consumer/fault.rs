//! Reading what a security server answers instead of a reply (`message-path.md` 3.7, 2.7).

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName};
use http::{StatusCode, header};
use jibek_protocol::fault::Fault;
use jibek_protocol::{header as names, limits};
use serde::Deserialize;

use super::evidence::content_type;
use super::last_header;
use super::reply::Reader;
use crate::error::CallError;
use crate::xml;

/// Reads the fault of a REST call. The header alone decides that it is one and has the code; a document that is
/// missing, cut off, too large or nonsense only costs the text.
pub(crate) async fn read(status: StatusCode, headers: &HeaderMap, mut reader: Reader) -> CallError {
    let code = last_header(headers, &HeaderName::from_static(names::X_ROAD_ERROR));
    let Some(code) = code.filter(|code| !code.is_empty()) else {
        return CallError::NotFromServer {
            status,
            content_type: content_type(headers),
        };
    };
    let document = reader.bytes(limits::FAULT_BYTES).await.unwrap_or_default();
    let is_xml = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| contains(kind.as_bytes(), b"xml"));
    let Document { message, detail } = if is_xml {
        of_xml(&document)
    } else {
        of_json(&document)
    };
    let detail = Some(detail).filter(|detail| !detail.is_empty());
    CallError::Fault(Box::new(Fault::read(code, message, String::new(), detail)))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    message: String,
    detail: String,
}

fn of_json(document: &Bytes) -> Document {
    serde_json::from_slice(document).unwrap_or_default()
}

fn of_xml(document: &Bytes) -> Document {
    let part = |name| xml::text_of(document, name).unwrap_or_default();
    Document {
        message: part("message"),
        detail: part("detail"),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len())
        .any(|window| window.eq_ignore_ascii_case(part))
}
