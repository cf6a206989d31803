//! Fetching the evidence of an exchange from the own security server (`signatures-and-log.md` 5.3).

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};

use super::Consumer;
use super::reply::Reader;
use crate::body::Body;
use crate::error::{CallError, EvidenceError, ReadError};

/// A question for evidence in the making; `send` asks it, of a [`Consumer`] or a
/// [`blocking::Consumer`](crate::blocking::Consumer).
#[derive(Debug)]
#[must_use = "the evidence is asked for by send"]
pub struct EvidenceCall<C = Consumer> {
    consumer: C,
    message_id: String,
    part: Part,
    unique: bool,
    force: bool,
}

/// Which half of an exchange is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Both,
    Request,
    Response,
}

impl<C> EvidenceCall<C> {
    pub(crate) fn new(consumer: C, message_id: &str) -> Self {
        Self {
            consumer,
            message_id: message_id.to_owned(),
            part: Part::Both,
            unique: false,
            force: false,
        }
    }

    /// Asks for the one request with this message id: an ASiC-E container instead of a zip of containers.
    pub fn request(mut self) -> Self {
        self.part = Part::Request;
        self.unique = true;
        self
    }

    /// Asks for the one response with this message id: an ASiC-E container instead of a zip of containers.
    pub fn response(mut self) -> Self {
        self.part = Part::Response;
        self.unique = true;
        self
    }

    /// Asks for all matches of one half, in a zip, should the message id have been used more than once.
    pub fn all(mut self) -> Self {
        self.unique = false;
        self
    }

    /// Has the security server time-stamp the exchange now if it is not yet.
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    pub(crate) fn consumer(&self) -> &C {
        &self.consumer
    }

    /// Gives the same question to another consumer, and the consumer.
    pub(crate) fn exchange_consumer<D>(self, other: D) -> (EvidenceCall<D>, C) {
        let Self {
            consumer,
            message_id,
            part,
            unique,
            force,
        } = self;
        (
            EvidenceCall {
                consumer: other,
                message_id,
                part,
                unique,
                force,
            },
            consumer,
        )
    }
}

impl EvidenceCall {
    /// Asks, and waits for the head of the answer.
    ///
    /// # Errors
    /// [`EvidenceError`], where [`EvidenceError::NotStamped`] passes by itself.
    pub async fn send(self) -> Result<Container, EvidenceError> {
        let consumer = &self.consumer;
        let member = consumer.identity().member();
        let mut target = format!(
            "/asic?queryId={}&xRoadInstance={}&memberClass={}&memberCode={}",
            parameter(&self.message_id),
            parameter(member.instance()),
            parameter(member.class()),
            parameter(member.code()),
        );
        if let Some(subsystem) = consumer.identity().subsystem() {
            target.push_str("&subsystemCode=");
            target.push_str(&parameter(subsystem));
        }
        target.push_str(match self.part {
            Part::Both => "",
            Part::Request => "&requestOnly",
            Part::Response => "&responseOnly",
        });
        if self.unique {
            target.push_str("&unique");
        }
        if self.force {
            target.push_str("&force");
        }
        let (upload, watch) = Body::empty().watched();
        let mut request = Request::new(upload);
        *request.method_mut() = Method::GET;
        *request.uri_mut() = consumer
            .address(&target)
            .map_err(|error| EvidenceError::Call(error.into()))?;
        let response = consumer
            .exchange(request, &watch, true)
            .await
            .map_err(EvidenceError::Call)?;
        let (head, incoming) = response.into_parts();
        let mut reader = Reader::new(incoming, consumer.deadlines().chunk);
        if head.status == StatusCode::OK {
            return Ok(Container {
                headers: head.headers,
                reader,
            });
        }
        let text = reader.bytes(MESSAGE_BYTES).await.unwrap_or_default();
        let message = String::from_utf8_lossy(&text).trim().to_owned();
        Err(match head.status {
            StatusCode::NOT_FOUND => EvidenceError::NotFound,
            StatusCode::UNAUTHORIZED => EvidenceError::NotAllowed { message },
            StatusCode::INTERNAL_SERVER_ERROR if message.contains("not been timestamped") => {
                EvidenceError::NotStamped
            }
            status
                if head
                    .headers
                    .get(header::CONTENT_TYPE)
                    .is_none_or(|kind| !kind.as_bytes().starts_with(b"text/plain")) =>
            {
                EvidenceError::Call(CallError::NotFromServer {
                    status,
                    content_type: content_type(&head.headers),
                })
            }
            status => EvidenceError::Refused { status, message },
        })
    }
}

/// Evidence on its way: a zip of ASiC-E containers, or one container.
pub struct Container {
    headers: HeaderMap,
    reader: Reader,
}

impl Container {
    /// Gives the content type: `application/zip`, `application/vnd.etsi.asic-e+zip`, or `application/octet-stream` where
    /// the security server encrypts what it gives out.
    #[must_use]
    pub fn content_type(&self) -> String {
        content_type(&self.headers)
    }

    /// Gives the next chunk, `None` at the end. Cancel safe.
    ///
    /// # Errors
    /// [`ReadError`] if it does not come in time or the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        self.reader.chunk().await
    }

    /// Reads it whole.
    ///
    /// # Errors
    /// [`ReadError::TooLarge`] beyond `limit_bytes`, otherwise as [`Container::chunk`].
    pub async fn bytes(&mut self, limit_bytes: usize) -> Result<Bytes, ReadError> {
        self.reader.bytes(limit_bytes).await
    }

    /// Writes it on as it comes and tells how many bytes there were. The writer is not closed.
    ///
    /// # Errors
    /// [`ReadError::Write`] if writing fails, otherwise as [`Container::chunk`].
    pub async fn copy_to(
        &mut self,
        writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    ) -> Result<u64, ReadError> {
        self.reader.copy_to(writer).await
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Container")
            .field("content_type", &self.content_type())
            .finish_non_exhaustive()
    }
}

pub(crate) fn content_type(headers: &HeaderMap) -> String {
    headers
        .get(header::CONTENT_TYPE)
        .map_or_else(String::new, |kind| {
            String::from_utf8_lossy(kind.as_bytes()).into_owned()
        })
}

fn parameter(text: &str) -> String {
    super::rest::encode_parameter(text)
}

const MESSAGE_BYTES: usize = 64 * 1024;
