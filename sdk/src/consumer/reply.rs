//! The reply to a REST call, its body as a stream.

use std::fmt;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jibek_certs::digest::Digest;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Duration, timeout};

use crate::error::ReadError;
use crate::hash;

/// The reply of a service to a REST call, whatever its status; faults of security servers are errors instead.
///
/// Message id, client and service are those of the request; that was checked. The body has not been read yet.
pub struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) message_id: String,
    pub(crate) request_id: Option<String>,
    pub(crate) request_hash: String,
    pub(crate) hash_check: HashCheck,
    pub(crate) sent: Option<Digest>,
    pub(crate) reader: Reader,
}

/// Whether the request hash in a reply is that of the request as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it either is or is not")]
pub enum HashCheck {
    /// It is: the service answered exactly this request.
    Confirmed,
    /// It cannot be said from here: the security server signed the request in another form, for example with a header
    /// spelled otherwise. [`Reply::verify_request_hash`] decides with the `message.xml` of the container.
    Unconfirmed,
}

impl Reply {
    /// Gives the HTTP status of the service's answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Gives the headers of the answer, those of the protocol among them.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Gives the message id, with which [`Consumer::container`](crate::Consumer::container) fetches the evidence.
    #[must_use]
    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    /// Gives the id that the security server gave to this exchange, where it tells.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Gives the request hash that the other side signed, in base64.
    #[must_use]
    pub fn request_hash(&self) -> &str {
        &self.request_hash
    }

    /// Tells whether that is the hash of the request as it was sent.
    #[must_use]
    pub fn hash_check(&self) -> HashCheck {
        self.hash_check
    }

    /// Tells whether the request hash is that of a request block, the `message.xml` of the request's container, with the
    /// body that was sent by this call.
    #[must_use]
    pub fn verify_request_hash(&self, message_xml: &[u8]) -> bool {
        hash::request_hash_of(message_xml, self.sent.as_ref()) == self.request_hash
    }

    /// Gives the SHA-512 of the body that this call sent; `None` if it sent no byte.
    #[must_use]
    pub fn sent_digest(&self) -> Option<&Digest> {
        self.sent.as_ref()
    }

    /// Gives the next chunk of the body, `None` at its end. Cancel safe.
    ///
    /// # Errors
    /// [`ReadError`] if it does not come in time or the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        self.reader.chunk().await
    }

    /// Turns the reply into the stream of its body.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, ReadError>> + Send {
        stream::try_unfold(self.reader, |mut reader| async move {
            Ok(reader.chunk().await?.map(|chunk| (chunk, reader)))
        })
    }

    /// Reads the body whole.
    ///
    /// # Errors
    /// [`ReadError::TooLarge`] beyond `limit_bytes`, otherwise as [`Reply::chunk`].
    pub async fn bytes(&mut self, limit_bytes: usize) -> Result<Bytes, ReadError> {
        self.reader.bytes(limit_bytes).await
    }

    /// Reads the body as JSON of at most 16 MiB.
    ///
    /// # Errors
    /// [`ReadError::Json`] if it is not the expected JSON, otherwise as [`Reply::bytes`].
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, ReadError> {
        serde_json::from_slice(&self.bytes(JSON_BYTES).await?).map_err(ReadError::Json)
    }

    /// Writes the body on as it comes and tells how many bytes there were. The writer is not closed.
    ///
    /// # Errors
    /// [`ReadError::Write`] if writing fails, otherwise as [`Reply::chunk`].
    pub async fn copy_to(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, ReadError> {
        self.reader.copy_to(writer).await
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Reply")
            .field("status", &self.status)
            .field("message_id", &self.message_id)
            .finish_non_exhaustive()
    }
}

/// Reads a response body with a deadline between chunks.
pub(crate) struct Reader {
    body: Incoming,
    wait: Duration,
}

impl Reader {
    pub(crate) fn new(body: Incoming, wait: Duration) -> Self {
        Self { body, wait }
    }

    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            let frame = timeout(self.wait, self.body.frame())
                .await
                .map_err(|_elapsed| ReadError::Deadline { waited: self.wait })?
                .transpose()
                .map_err(|error| ReadError::Truncated(error.into()))?;
            match frame.map(http_body::Frame::into_data) {
                None => return Ok(None),
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => return Ok(Some(chunk)),
                Some(Err(_trailers)) => {}
            }
        }
    }

    pub(crate) async fn bytes(&mut self, limit_bytes: usize) -> Result<Bytes, ReadError> {
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        let too_large = ReadError::TooLarge { limit_bytes };
        if first.len() > limit_bytes {
            return Err(too_large);
        }
        let Some(mut chunk) = self.chunk().await? else {
            return Ok(first);
        };
        let mut all = BytesMut::from(first);
        loop {
            if all.len().saturating_add(chunk.len()) > limit_bytes {
                return Err(too_large);
            }
            all.extend_from_slice(&chunk);
            chunk = match self.chunk().await? {
                Some(chunk) => chunk,
                None => return Ok(all.freeze()),
            };
        }
    }

    pub(crate) async fn copy_to(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, ReadError> {
        let mut written: u64 = 0;
        while let Some(chunk) = self.chunk().await? {
            writer.write_all(&chunk).await.map_err(ReadError::Write)?;
            written = written.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        }
        writer.flush().await.map_err(ReadError::Write)?;
        Ok(written)
    }
}

const JSON_BYTES: usize = 16 * 1024 * 1024;
