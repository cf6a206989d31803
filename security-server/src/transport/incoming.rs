//! Reading a transport message part by part.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use hyper::body::Incoming as HttpIncoming;
use jibek_protocol::{
    copied,
    media_type::MediaType,
    multipart::{MultipartError, MultipartEvent, MultipartReader},
};
use tokio::time::timeout;

use super::part;
use crate::chunks::{ChunkError, Pace};

/// Why a transport message could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// The connection broke or is too slow, or the HTTP framing is wrong.
    #[error("the message could not be read to its end: {0}")]
    Body(ChunkError),
    /// The message ended without its closing boundary.
    #[error("the message ends before its closing boundary")]
    Truncated,
    /// The multipart syntax is wrong or a limit was passed.
    #[error("the message is not the multipart it should be: {0}")]
    Multipart(MultipartError),
    /// A part is larger than this server reads into memory.
    #[error("part {content_type} is larger than {limit_bytes} bytes")]
    PartTooLarge {
        /// Media type of the part.
        content_type: String,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
}

/// The head of a part.
#[derive(Debug)]
pub(crate) struct Part {
    /// Content type as written, empty when there was none.
    pub(crate) content_type: String,
}

impl Part {
    /// Tells whether the part has this media type; parameters and case do not matter.
    pub(crate) fn is(&self, essence: &str) -> bool {
        MediaType::parse(&self.content_type).is_ok_and(|media_type| media_type.is(essence))
    }
}

/// A transport message being read.
pub(crate) struct Incoming {
    body: HttpIncoming,
    reader: MultipartReader,
    pace: Pace,
    ended: bool,
    body_ended: bool,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Incoming")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Incoming {
    /// Starts to read `body`; `pace` says how long it is waited for.
    pub(crate) fn new(body: HttpIncoming, reader: MultipartReader, pace: Pace) -> Self {
        Self {
            body,
            reader,
            pace,
            ended: false,
            body_ended: false,
        }
    }

    /// Returns the next part, or `None` after the closing boundary. What was left of the part before is skipped.
    ///
    /// Cancel safe: a cancelled call loses no event.
    pub(crate) async fn next_part(&mut self) -> Result<Option<Part>, TransportError> {
        loop {
            match self.event().await? {
                Some(MultipartEvent::PartStart(headers)) => {
                    return Ok(Some(Part {
                        content_type: headers.content_type().unwrap_or_default().to_owned(),
                    }));
                }
                Some(MultipartEvent::End) | None => return Ok(None),
                Some(_) => {}
            }
        }
    }

    /// Returns the next chunk of the part, or `None` at its end.
    ///
    /// Cancel safe: a cancelled call loses no chunk.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        match self.event().await? {
            Some(MultipartEvent::Data(chunk)) => Ok(Some(chunk)),
            _ => Ok(None),
        }
    }

    /// Reads the rest of the part into memory.
    pub(crate) async fn whole(
        &mut self,
        part: &Part,
        limit_bytes: usize,
    ) -> Result<Bytes, TransportError> {
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        let too_large = || TransportError::PartTooLarge {
            content_type: part.content_type.clone(),
            limit_bytes,
        };
        if first.len() > limit_bytes {
            return Err(too_large());
        }
        let Some(second) = self.chunk().await? else {
            return Ok(first);
        };
        // An envelope is a body, too; what else is read whole only belongs to one.
        let is_body = part.is(part::TEXT_XML) || part.is(part::XOP);
        let add = |all: &mut Vec<u8>, chunk: &Bytes| {
            if is_body {
                copied::append(all, chunk);
            } else {
                all.extend_from_slice(chunk);
            }
        };
        let mut all = Vec::with_capacity((first.len() + second.len()) * 2);
        add(&mut all, &first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            if all.len() + chunk.len() > limit_bytes {
                return Err(too_large());
            }
            add(&mut all, &chunk);
            next = self.chunk().await?;
        }
        Ok(all.into())
    }

    async fn event(&mut self) -> Result<Option<MultipartEvent>, TransportError> {
        loop {
            if let Some(event) = self.reader.poll_event() {
                if matches!(event, MultipartEvent::End) {
                    self.ended = true;
                }
                return Ok(Some(event));
            }
            if self.ended || self.body_ended {
                return Ok(None);
            }
            let chunk = self.pace.next(&mut self.body).await;
            match chunk.map_err(TransportError::Body)? {
                Some(chunk) => self.reader.push(chunk).map_err(TransportError::Multipart)?,
                None => {
                    self.body_ended = true;
                    if !self.reader.closed() {
                        return Err(TransportError::Truncated);
                    }
                }
            }
        }
    }

    /// Reads and drops what is left, within the bounds: a peer that is still writing must be able to finish before it
    /// looks at our answer (`observed.md` 1, question 1).
    pub(crate) async fn drain(mut self, limit_bytes: u64, limit_time: Duration) {
        drain_body(&mut self.body, limit_bytes, limit_time).await;
    }

    /// Tells whether the HTTP body was read to its end, so that the connection can carry another message.
    ///
    /// Reads what follows the closing boundary, at most `limit_bytes`.
    pub(crate) async fn finish(mut self, limit_bytes: u64, limit_time: Duration) -> bool {
        if self.body_ended || self.body.is_end_stream() {
            return true;
        }
        drain_body(&mut self.body, limit_bytes, limit_time).await
    }
}

/// Reads and drops a body within the bounds; tells whether its end was seen.
pub(crate) async fn drain_body(
    body: &mut HttpIncoming,
    limit_bytes: u64,
    limit_time: Duration,
) -> bool {
    let drained = timeout(limit_time, async {
        let mut seen: u64 = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let length = frame.data_ref().map_or(0, Bytes::len);
            seen = seen.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
            if seen > limit_bytes {
                return false;
            }
        }
        true
    });
    drained.await.unwrap_or(false)
}
