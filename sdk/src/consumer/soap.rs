//! One SOAP call: the envelope around the body, and whether the answer belongs to it (`message-path.md` 2).

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};
use jibek_protocol::fault::Fault;
use jibek_protocol::header as names;
use jibek_protocol::id::{RepresentedParty, ServerId, ServiceId};
use jibek_protocol::limits::Limits;
use jibek_protocol::soap::{self, SoapError, SoapHeader};

use super::Consumer;
use super::evidence::content_type;
use super::reply::Reader;
use crate::body::Body;
use crate::error::{CallError, RequestError};
use crate::hash::sha512;
use crate::soap::{Heading, PROTOCOL_VERSION, envelope};
use crate::xml;

/// A SOAP call in the making; `send` makes it, of a [`Consumer`] or a [`blocking::Consumer`](crate::blocking::Consumer).
#[must_use = "a call is made by send"]
pub struct SoapCall<C = Consumer> {
    consumer: C,
    service: ServiceId,
    body_xml: String,
    message_id: Option<String>,
    user_id: Option<String>,
    issue: Option<String>,
    represented_party: Option<RepresentedParty>,
    security_server: Option<ServerId>,
}

impl<C> SoapCall<C> {
    pub(crate) fn new(consumer: C, service: ServiceId) -> Self {
        Self {
            consumer,
            service,
            body_xml: String::new(),
            message_id: None,
            user_id: None,
            issue: None,
            represented_party: None,
            security_server: None,
        }
    }

    /// Sets the body: one element of XML, with its namespace declarations, whose local name begins with the service code.
    /// Text from elsewhere goes through [`escape_xml`](crate::escape_xml) first.
    pub fn body_xml(mut self, element: impl Into<String>) -> Self {
        self.body_xml = element.into();
        self
    }

    /// Names the user on whose behalf the call is made, such as `KG10101199900001`: it is signed and logged.
    pub fn user_id(mut self, user: &str) -> Self {
        self.user_id = Some(user.to_owned());
        self
    }

    /// Names the case or document for which the call is made: it is signed and logged.
    pub fn issue(mut self, issue: &str) -> Self {
        self.issue = Some(issue.to_owned());
        self
    }

    /// Names whom the caller represents.
    pub fn represented_party(mut self, party: RepresentedParty) -> Self {
        self.represented_party = Some(party);
        self
    }

    /// Asks for one of several security servers that offer the service.
    pub fn security_server(mut self, server: ServerId) -> Self {
        self.security_server = Some(server);
        self
    }

    /// Sets the message id; without it `<instance>-<random UUID>` is taken.
    pub fn message_id(mut self, id: &str) -> Self {
        self.message_id = Some(id.to_owned());
        self
    }

    pub(crate) fn consumer(&self) -> &C {
        &self.consumer
    }

    /// Gives the same call to another consumer, and the consumer.
    pub(crate) fn exchange_consumer<D>(self, other: D) -> (SoapCall<D>, C) {
        let Self {
            consumer,
            service,
            body_xml,
            message_id,
            user_id,
            issue,
            represented_party,
            security_server,
        } = self;
        let call = SoapCall {
            consumer: other,
            service,
            body_xml,
            message_id,
            user_id,
            issue,
            represented_party,
            security_server,
        };
        (call, consumer)
    }
}

impl SoapCall {
    /// Sends the call and reads the reply, of at most 10 MiB.
    ///
    /// The reply's header must agree with the request's, and its request hash must be the SHA-512 of the very bytes that
    /// were sent.
    ///
    /// # Errors
    /// [`CallError::Fault`] for every SOAP fault, the service's own among them ([`CallError::blame`] tells); the other
    /// variants for what never became an exchange.
    pub async fn send(self) -> Result<SoapReply, CallError> {
        let Self {
            consumer,
            service,
            body_xml,
            message_id,
            user_id,
            issue,
            represented_party,
            security_server,
        } = self;
        let message_id = message_id.unwrap_or_else(|| consumer.new_message_id());
        let heading = Heading {
            client: consumer.identity(),
            service: &service,
            security_server: security_server.as_ref(),
            message_id: &message_id,
            user_id: user_id.as_deref(),
            issue: issue.as_deref(),
            represented_party: represented_party.as_ref(),
            protocol_version: PROTOCOL_VERSION,
        };
        let sent = Bytes::from(envelope(&heading, body_xml.trim()));
        let asked = Message::read(&sent).map_err(RequestError::Soap)?;
        let Some(asked) = asked.ok().filter(|asked| asked.body == body_xml.trim()) else {
            return Err(RequestError::Body.into());
        };

        let hash = sha512(&sent).to_base64();
        let (upload, watch) = Body::from_bytes(sent).watched();
        let mut request = Request::new(upload);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = consumer.address("/")?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(names::TEXT_XML_UTF8));
        headers.insert(
            HeaderName::from_static("soapaction"),
            HeaderValue::from_static("\"\""),
        );
        let response = consumer.exchange(request, &watch, false).await?;

        let (head, incoming) = response.into_parts();
        let not_from_server = || CallError::NotFromServer {
            status: head.status,
            content_type: content_type(&head.headers),
        };
        if !is_xml(&head.headers) {
            return Err(not_from_server());
        }
        let envelope = Reader::new(incoming, consumer.deadlines().chunk)
            .bytes(Limits::default().soap_part_bytes)
            .await?;
        let answer = match Message::read(&envelope).map_err(CallError::Soap)? {
            Ok(answer) => answer,
            Err(fault) => return Err(CallError::Fault(Box::new(fault))),
        };
        let found = answer.header.request_hash.clone().unwrap_or_default();
        if found != hash {
            return Err(CallError::Mismatch {
                field: "request hash",
                expected: hash,
                found,
            });
        }
        soap::check_answers(&asked.header, &answer.header).map_err(|mismatch| {
            CallError::Mismatch {
                field: mismatch.field,
                expected: mismatch.expected,
                found: mismatch.found,
            }
        })?;
        Ok(SoapReply {
            message_id,
            header: answer.header,
            envelope,
            body: answer.body,
            request_hash: hash,
        })
    }
}

impl<C> fmt::Debug for SoapCall<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SoapCall")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

/// The reply of a SOAP service. Its header agrees with the request's, and it answers exactly the request that was sent.
pub struct SoapReply {
    message_id: String,
    header: SoapHeader,
    envelope: Bytes,
    body: Bytes,
    request_hash: String,
}

impl SoapReply {
    /// Gives the message id, with which [`Consumer::container`] fetches the evidence.
    #[must_use]
    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    /// Gives the header.
    #[must_use]
    pub fn header(&self) -> &SoapHeader {
        &self.header
    }

    /// Gives the whole message, byte for byte as it was signed.
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

    /// Gives the request hash: base64 of the SHA-512 of the request as it was sent.
    #[must_use]
    pub fn request_hash(&self) -> &str {
        &self.request_hash
    }
}

impl fmt::Debug for SoapReply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SoapReply")
            .field("message_id", &self.message_id)
            .finish_non_exhaustive()
    }
}

/// A scanned message that is no fault.
pub(crate) struct Message {
    pub(crate) header: SoapHeader,
    /// The element in the body, in UTF-8.
    pub(crate) body: Bytes,
}

impl Message {
    /// Scans a message; a fault is the inner error.
    pub(crate) fn read(envelope: &Bytes) -> Result<Result<Self, Fault>, SoapError> {
        let scanned = soap::scan(envelope, &Limits::default())?;
        if let Some(fault) = scanned.fault() {
            return Ok(Err(fault.clone()));
        }
        let header = scanned.header().ok_or(SoapError::MissingHeader)?.clone();
        let body = match std::str::from_utf8(envelope) {
            Ok(text) => xml::payload(text).map(|span| envelope.slice(span)),
            // The scan has accepted it, so it is in Latin-1, where every byte is the character of that number.
            Err(_) => {
                let text: String = envelope.iter().copied().map(char::from).collect();
                xml::payload(&text).map(|span| Bytes::from(text).slice(span))
            }
        };
        Ok(Ok(Self {
            header,
            body: body.ok_or(SoapError::InvalidBody { children: 0 })?,
        }))
    }
}

fn is_xml(headers: &HeaderMap) -> bool {
    let kind = content_type(headers);
    let essence = kind.split(';').next().unwrap_or_default().trim();
    [names::TEXT_XML, names::XOP_XML]
        .iter()
        .any(|xml| essence.eq_ignore_ascii_case(xml))
}
