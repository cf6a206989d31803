//! Request bodies: bytes, streams and readers, sent as they come and hashed on the way.

use std::error::Error as StdError;
use std::fmt;
use std::io::Read;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use jibek_certs::digest::{Digest, DigestAlgorithm, Hasher};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Whatever a stream of the caller's fails with.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What is sent: nothing, bytes, or a stream of any size that is never held whole.
pub struct Body {
    frames: UnsyncBoxBody<Bytes, BoxError>,
    length_bytes: Option<u64>,
}

impl Body {
    /// Makes a body of nothing: the request has no body.
    #[must_use]
    pub fn empty() -> Self {
        Self::from_bytes(Bytes::new())
    }

    /// Makes a body of bytes in memory.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let length_bytes = u64::try_from(bytes.len()).ok();
        Self {
            frames: Full::new(bytes)
                .map_err(|never| match never {})
                .boxed_unsync(),
            length_bytes,
        }
    }

    /// Makes a body of a stream of chunks. Without [`Body::with_length`] it travels chunked.
    #[must_use]
    pub fn from_stream<S, E>(chunks: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self {
            frames: StreamBody::new(chunks.map_ok(Frame::data).map_err(Into::into)).boxed_unsync(),
            length_bytes: None,
        }
    }

    /// Makes a body of an asynchronous reader, such as an open `tokio::fs::File`, in chunks of 64 KiB.
    #[must_use]
    pub fn from_async_reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Self::from_stream(stream::try_unfold(
            Box::pin(reader),
            |mut reader| async move {
                let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
                let read = reader.read_buf(&mut chunk).await?;
                Ok::<_, std::io::Error>((read > 0).then(|| (chunk.freeze(), reader)))
            },
        ))
    }

    /// Makes a body of a blocking reader, such as an open `std::fs::File`, read on tokio's blocking pool in chunks of
    /// 64 KiB, at most two ahead of the network.
    #[must_use]
    pub fn from_reader(reader: impl Read + Send + 'static) -> Self {
        let begin = stream::once(async move {
            let (sender, receiver) = mpsc::channel(2);
            drop(tokio::task::spawn_blocking(move || pump(reader, &sender)));
            stream::unfold(receiver, |mut receiver| async move {
                receiver.recv().await.map(|chunk| (chunk, receiver))
            })
        });
        Self::from_stream(begin.flatten())
    }

    /// Announces the length. The call fails if the stream ends earlier or a chunk goes beyond it; what would follow an
    /// exact fit is not read.
    #[must_use]
    pub fn with_length(mut self, length_bytes: u64) -> Self {
        self.length_bytes = Some(length_bytes);
        self
    }

    /// Turns the body into what goes over the wire, and into the watch over it.
    pub(crate) fn watched(self) -> (Upload, Arc<Watch>) {
        let watch = Arc::new(Watch(Mutex::new(Watched {
            moved_at: Instant::now(),
            hasher: Hasher::new(DigestAlgorithm::Sha512),
            sent_bytes: 0,
            failure: None,
        })));
        (
            Upload {
                body: self,
                watch: Arc::clone(&watch),
            },
            watch,
        )
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Body")
            .field("length_bytes", &self.length_bytes)
            .finish_non_exhaustive()
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::from_bytes(bytes)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from_bytes(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::from_bytes(text)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::from_bytes(text)
    }
}

/// Why a request body could not be sent whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The stream gave another number of bytes than [`Body::with_length`] announced.
    #[error("the body has {found} bytes or more where {announced} were announced")]
    Length {
        /// Bytes announced.
        announced: u64,
        /// Bytes given when the difference showed.
        found: u64,
    },
    /// The caller's stream or reader failed.
    #[error("the stream of the request body failed")]
    Source(#[source] BoxError),
}

/// Tells hyper to give up: the caller's stream broke.
#[derive(Debug, thiserror::Error)]
#[error("the stream of the request body failed")]
pub(crate) struct Broken;

/// What is known of a body under way: when it last moved, what has passed, why the caller's stream broke.
#[derive(Debug)]
pub(crate) struct Watch(Mutex<Watched>);

#[derive(Debug)]
struct Watched {
    moved_at: Instant,
    hasher: Hasher,
    sent_bytes: u64,
    failure: Option<BodyError>,
}

impl Watch {
    /// Tells when the network last took a chunk.
    pub(crate) fn moved_at(&self) -> Instant {
        self.lock().moved_at
    }

    /// Gives, once, why the caller's stream broke, as opposed to the network.
    pub(crate) fn take_failure(&self) -> Option<BodyError> {
        self.lock().failure.take()
    }

    /// Gives the SHA-512 of what was sent; `None` when not one byte was, which is a request without body.
    pub(crate) fn digest(&self) -> Option<Digest> {
        let watched = self.lock();
        (watched.sent_bytes > 0).then(|| watched.hasher.clone().finish())
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body as hyper polls it.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Body,
    watch: Arc<Watch>,
}

impl Upload {
    /// Keeps the failure for the caller; hyper only learns that there was one.
    fn fail(&self, failure: BodyError) -> Broken {
        self.watch.lock().failure = Some(failure);
        Broken
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            let frame = ready!(Pin::new(&mut self.body.frames).poll_frame(context));
            let announced = self.body.length_bytes;
            let chunk = match frame {
                None => {
                    let found = self.watch.lock().sent_bytes;
                    return Poll::Ready(match announced {
                        Some(announced) if announced != found => {
                            Some(Err(self.fail(BodyError::Length { announced, found })))
                        }
                        _ => None,
                    });
                }
                Some(Err(error)) => {
                    return Poll::Ready(Some(Err(self.fail(BodyError::Source(error)))));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => chunk,
                    Err(_trailers) => continue,
                },
            };
            let found = {
                let mut watched = self.watch.lock();
                watched.moved_at = Instant::now();
                watched.hasher.update(&chunk);
                watched.sent_bytes = watched
                    .sent_bytes
                    .saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
                watched.sent_bytes
            };
            return Poll::Ready(Some(match announced {
                Some(announced) if found > announced => {
                    Err(self.fail(BodyError::Length { announced, found }))
                }
                _ => Ok(Frame::data(chunk)),
            }));
        }
    }

    fn is_end_stream(&self) -> bool {
        // Only an empty body may end before it is polled: otherwise its end is where a wrong length shows.
        self.body.length_bytes == Some(0) && self.body.frames.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.body.length_bytes {
            Some(length) => {
                SizeHint::with_exact(length.saturating_sub(self.watch.lock().sent_bytes))
            }
            None => SizeHint::default(),
        }
    }
}

/// Reads the blocking reader until its end, an error, or until nobody listens.
fn pump(mut reader: impl Read, sender: &mpsc::Sender<std::io::Result<Bytes>>) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let item = match reader.read(&mut chunk) {
            Ok(0) => return,
            Ok(read) => {
                chunk.truncate(read);
                Ok(Bytes::from(chunk))
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let broken = item.is_err();
        if sender.blocking_send(item).is_err() || broken {
            return;
        }
    }
}

const CHUNK_BYTES: usize = 64 * 1024;
