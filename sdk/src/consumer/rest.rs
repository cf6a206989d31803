//! One REST call: what is asked, how it is sent, and whether the answer belongs to it (`message-path.md` 3).

use http::header::{HeaderMap, HeaderName};
use http::{Method, Request};
use jibek_protocol::header as names;
use jibek_protocol::id::{ClientId, RepresentedParty, ServerId, ServiceId, encode_part};
use jibek_protocol::message::RestRequestBlock;

use super::reply::{HashCheck, Reader, Reply};
use super::{Consumer, fault, header_value, last_header};
use crate::body::Body;
use crate::error::{CallError, RequestError};
use crate::hash;

/// A REST call in the making; `send` makes it, of a [`Consumer`] or a [`blocking::Consumer`](crate::blocking::Consumer).
#[derive(Debug)]
#[must_use = "a call is made by send"]
pub struct RestCall<C = Consumer> {
    consumer: C,
    service: ServiceId,
    method: Method,
    path: String,
    query: Option<String>,
    message_id: Option<String>,
    protocol: HeaderMap,
    headers: HeaderMap,
    body: Body,
    refused: Option<RequestError>,
}

impl<C> RestCall<C> {
    pub(crate) fn new(consumer: C, service: ServiceId) -> Self {
        Self {
            consumer,
            service,
            method: Method::GET,
            path: String::new(),
            query: None,
            message_id: None,
            protocol: HeaderMap::new(),
            headers: HeaderMap::new(),
            body: Body::empty(),
            refused: None,
        }
    }

    /// Sets the method; `GET` if not called. The protocol has `DELETE GET HEAD OPTIONS PATCH POST PUT TRACE`.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets the path below the service, such as `/persons/10101199900001`: already percent-encoded, sent byte for byte.
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Adds one segment to the path, percent-encoded: no text can leave its segment. A slash becomes `%2F`, which a
    /// security server lets through only to callers who may use every path of the service.
    pub fn segment(mut self, segment: &str) -> Self {
        if segment.is_empty() || segment == "." || segment == ".." {
            self.refuse(RequestError::Path {
                target: segment.to_owned(),
                reason: "it is no segment of a path",
            });
        }
        self.path.push('/');
        self.path.push_str(&encode_part(segment));
        self
    }

    /// Adds a parameter to the query, percent-encoded.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let query = self.query.get_or_insert_default();
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(&encode_parameter(name));
        query.push('=');
        query.push_str(&encode_parameter(value));
        self
    }

    /// Sets the whole query, already percent-encoded, sent byte for byte.
    pub fn raw_query(mut self, query: &str) -> Self {
        self.query = Some(query.to_owned());
        self
    }

    /// Adds a header. Those of the protocol have methods of their own; those of the connection cannot be set.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match free_header(name).and_then(|header| Ok((header, header_value(name, value)?))) {
            Ok((header, value)) => drop(self.headers.append(header, value)),
            Err(error) => self.refuse(error),
        }
        self
    }

    /// Names the user on whose behalf the call is made, such as `KG10101199900001`: it is signed and logged.
    pub fn user_id(self, user: &str) -> Self {
        self.protocol_header(names::X_ROAD_USER_ID, user)
    }

    /// Names the case or document for which the call is made: it is signed and logged.
    pub fn issue(self, issue: &str) -> Self {
        self.protocol_header(names::X_ROAD_ISSUE, issue)
    }

    /// Names whom the caller represents.
    pub fn represented_party(self, party: &RepresentedParty) -> Self {
        self.protocol_header(names::X_ROAD_REPRESENTED_PARTY, &party.to_header())
    }

    /// Asks for one of several security servers that offer the service.
    pub fn security_server(self, server: &ServerId) -> Self {
        self.protocol_header(names::X_ROAD_SECURITY_SERVER, &server.to_header())
    }

    /// Sets the message id; without it `<instance>-<random UUID>` is taken.
    pub fn message_id(mut self, id: &str) -> Self {
        self.message_id = Some(id.to_owned());
        self
    }

    /// Sets the body: bytes, text or a stream ([`Body`]).
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn consumer(&self) -> &C {
        &self.consumer
    }

    /// Gives the same call to another consumer, and the consumer.
    pub(crate) fn exchange_consumer<D>(self, other: D) -> (RestCall<D>, C) {
        let Self {
            consumer,
            service,
            method,
            path,
            query,
            message_id,
            protocol,
            headers,
            body,
            refused,
        } = self;
        (
            RestCall {
                consumer: other,
                service,
                method,
                path,
                query,
                message_id,
                protocol,
                headers,
                body,
                refused,
            },
            consumer,
        )
    }

    fn protocol_header(mut self, name: &'static str, value: &str) -> Self {
        match header_value(name, value) {
            Ok(value) => drop(self.protocol.insert(HeaderName::from_static(name), value)),
            Err(error) => self.refuse(error),
        }
        self
    }

    fn refuse(&mut self, error: RequestError) {
        self.refused.get_or_insert(error);
    }
}

impl RestCall {
    /// Sends the call and waits for the head of the reply, whose body can then be read or streamed.
    ///
    /// Any status that the service chose is a reply. The reply's message id, client and service must be those of the
    /// request; its request hash is compared ([`Reply::hash_check`]).
    ///
    /// Cancel safe in that nothing leaks; a request cancelled on its way may or may not have reached the service.
    ///
    /// # Errors
    /// [`CallError::Fault`] for what a security server refused, the other variants for what never became an exchange.
    pub async fn send(self) -> Result<Reply, CallError> {
        let Self {
            consumer,
            service,
            method,
            path,
            query,
            message_id,
            protocol,
            headers,
            body,
            refused,
        } = self;
        if let Some(error) = refused {
            return Err(error.into());
        }
        let target = target(&service, &path, query.as_deref())?;
        let message_id = message_id.unwrap_or_else(|| consumer.new_message_id());
        let safe = method.is_idempotent();

        let client = consumer.identity().to_header();
        let mut all = HeaderMap::with_capacity(headers.len().saturating_add(8));
        all.insert(
            HeaderName::from_static(names::X_ROAD_CLIENT),
            header_value(names::X_ROAD_CLIENT, &client)?,
        );
        all.insert(
            HeaderName::from_static(names::X_ROAD_ID),
            header_value(names::X_ROAD_ID, &message_id)?,
        );
        all.extend(protocol);
        all.extend(headers);

        let (upload, watch) = body.watched();
        let mut request = Request::new(upload);
        *request.method_mut() = method.clone();
        *request.uri_mut() = consumer.address(&target)?;
        *request.headers_mut() = all.clone();
        let response = consumer.exchange(request, &watch, safe).await?;

        let (head, incoming) = response.into_parts();
        let reader = Reader::new(incoming, consumer.deadlines().chunk);
        let Some(request_hash) =
            header(&head.headers, names::X_ROAD_REQUEST_HASH).filter(|hash| !hash.is_empty())
        else {
            return Err(fault::read(head.status, &head.headers, reader).await);
        };
        same_exchange(&head.headers, &message_id, consumer.identity(), &service)?;
        let request_id = header(&head.headers, names::X_ROAD_REQUEST_ID);
        let sent = watch.digest();
        let expected = request_id.as_deref().and_then(|request_id| {
            let lines = all
                .iter()
                .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
            let block =
                RestRequestBlock::seal(method.as_str(), &target, lines, request_id, String::new)
                    .ok()?;
            Some(hash::request_hash_of(block.bytes(), sent.as_ref()))
        });
        let hash_check = match expected {
            Some(expected) if expected == request_hash => HashCheck::Confirmed,
            _ => HashCheck::Unconfirmed,
        };
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            message_id,
            request_id,
            request_hash,
            hash_check,
            sent,
            reader,
        })
    }
}

/// Compares what the reply says of the exchange with the request (`message-path.md` 3.4).
fn same_exchange(
    headers: &HeaderMap,
    message_id: &str,
    client: &ClientId,
    service: &ServiceId,
) -> Result<(), CallError> {
    let differs = |field, expected: String, found: Option<String>| CallError::Mismatch {
        field,
        expected,
        found: found.unwrap_or_default(),
    };
    let found = header(headers, names::X_ROAD_ID);
    if found.as_deref() != Some(message_id) {
        return Err(differs("message id", message_id.to_owned(), found));
    }
    let found = header(headers, names::X_ROAD_CLIENT);
    if found
        .as_deref()
        .and_then(|found| ClientId::from_header(found).ok())
        .as_ref()
        != Some(client)
    {
        return Err(differs("client", client.to_header(), found));
    }
    let found = header(headers, names::X_ROAD_SERVICE);
    if found
        .as_deref()
        .and_then(|found| ServiceId::parse_service_header(found).ok())
        .as_ref()
        != Some(service)
    {
        return Err(differs("service", service.to_header(), found));
    }
    Ok(())
}

fn header(headers: &HeaderMap, name: &'static str) -> Option<String> {
    last_header(headers, &HeaderName::from_static(name))
}

/// Writes path and query as they go into the request line (`message-path.md` 3.1).
fn target(service: &ServiceId, path: &str, query: Option<&str>) -> Result<String, RequestError> {
    if service.version().is_some() || service.provider().subsystem().is_none() {
        return Err(RequestError::Service {
            service: service.to_string(),
        });
    }
    let refuse = |target: &str, reason| RequestError::Path {
        target: target.to_owned(),
        reason,
    };
    if !path.is_empty() && !path.starts_with('/') {
        return Err(refuse(path, "a path begins with a slash"));
    }
    valid(path, b"/").map_err(|reason| refuse(path, reason))?;
    let mut target = format!("/r1/{}{path}", service.to_header());
    if let Some(query) = query {
        valid(query, b"/?[]").map_err(|reason| refuse(query, reason))?;
        target.push('?');
        target.push_str(query);
    }
    Ok(target)
}

/// Refuses what a security server would (`message-path.md` 3.3): characters outside RFC 3986, broken escapes.
fn valid(text: &str, also: &[u8]) -> Result<(), &'static str> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        if byte == b'%' {
            if !hex(bytes.next()) || !hex(bytes.next()) {
                return Err("a percent sign is not followed by two hexadecimal digits");
            }
        } else if !byte.is_ascii_alphanumeric()
            && !b"-._~!$&'()*+,;=:@".contains(&byte)
            && !also.contains(&byte)
        {
            return Err("it has a character that must be percent-encoded");
        }
    }
    Ok(())
}

/// Encodes what stands before or after `=` in a query: `&`, `=`, `+` and `;` also, which separate there.
pub(crate) fn encode_parameter(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in encode_part(text).chars() {
        match character {
            '&' => encoded.push_str("%26"),
            '=' => encoded.push_str("%3D"),
            '+' => encoded.push_str("%2B"),
            ';' => encoded.push_str("%3B"),
            other => encoded.push(other),
        }
    }
    encoded
}

/// Reads the name of a header that callers may set.
fn free_header(name: &str) -> Result<HeaderName, RequestError> {
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| RequestError::Header {
        name: name.to_owned(),
        reason: "it is no header name",
    })?;
    if names::is_dropped(header.as_str()) || RESERVED.contains(&header.as_str()) {
        return Err(RequestError::Reserved {
            name: name.to_owned(),
        });
    }
    Ok(header)
}

const RESERVED: [&str; 9] = [
    names::X_ROAD_CLIENT,
    names::X_ROAD_SERVICE,
    names::X_ROAD_ID,
    names::X_ROAD_REQUEST_ID,
    names::X_ROAD_REQUEST_HASH,
    names::X_ROAD_SECURITY_SERVER,
    names::X_ROAD_REPRESENTED_PARTY,
    names::X_ROAD_USER_ID,
    names::X_ROAD_ISSUE,
];
