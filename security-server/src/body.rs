//! The one body type of every HTTP message that this server sends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};

/// What can go wrong while a body is produced.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body of any origin: bytes at hand, chunks relayed from a socket, a stream from the message log.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Returns a body without bytes.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Returns a body of bytes at hand.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Returns a body of `length` bytes that arrive as chunks.
///
/// The length is announced as `Content-Length`, so the stream must yield exactly that many bytes.
pub fn sized(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static, length: u64) -> Body {
    Sized {
        stream: Box::pin(stream),
        left: length,
    }
    .map_err(BodyError::from)
    .boxed_unsync()
}

/// A stream whose length is known.
struct Sized {
    stream: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    left: u64,
}

impl http_body::Body for Sized {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.stream.as_mut().poll_next(context) {
            Poll::Ready(Some(Ok(chunk))) => {
                let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                self.left = self.left.saturating_sub(length);
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
