//! Bodies as they are read: small ones from memory, large ones from their file.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use tokio::task::JoinHandle;

use crate::append::BodyFile;
use crate::fs::{self, FsFile};
use crate::memory::{Memory, Room};
use crate::num::{narrow, wide};

/// The bytes of a body, to be read any number of times. Stays readable while it is held, also if the body is dropped
/// from the log meanwhile.
#[derive(Clone, Debug)]
pub struct BodySource {
    length: u64,
    bytes: Held,
    memory: Option<Memory>,
    /// CRC-32C of the whole, if it is to be held against what is read.
    crc: Option<u32>,
    /// What lasts as long as somebody may read.
    _guard: Option<Arc<dyn Guard>>,
}

/// Something to be dropped with the last reader.
trait Guard: fmt::Debug + Send + Sync {}

impl Guard for BodyFile {}
impl Guard for Room {}

#[derive(Clone, Debug)]
enum Held {
    File(Arc<dyn FsFile>),
    Memory(Arc<[Bytes]>),
}

impl BodySource {
    pub(crate) fn memory(chunks: Vec<Bytes>) -> Self {
        let length = chunks
            .iter()
            .fold(0_u64, |sum, chunk| sum.saturating_add(wide(chunk.len())));
        Self {
            length,
            bytes: Held::Memory(chunks.into()),
            memory: None,
            crc: None,
            _guard: None,
        }
    }

    /// Gives back the room of its chunks when nobody holds them here any more.
    pub(crate) fn with_room(mut self, room: Room) -> Self {
        self._guard = Some(Arc::new(room));
        self
    }

    /// Reads ahead as far as `memory` has room.
    pub(crate) fn file(file: Arc<dyn FsFile>, length: u64, memory: &Memory) -> Self {
        Self {
            length,
            bytes: Held::File(file),
            memory: Some(memory.clone()),
            crc: None,
            _guard: None,
        }
    }

    /// Holds what is read against this checksum: whoever reads to the end gets an error in place of the last bytes if
    /// the file is not what was written.
    pub(crate) fn checked(mut self, crc: u32) -> Self {
        self.crc = Some(crc);
        self
    }

    /// Judges the bytes that follow those with checksum `before`, once they reach the end; returns the checksum so far.
    fn judge(&self, before: u32, bytes: &[u8], end: u64) -> io::Result<u32> {
        let Some(expected) = self.crc else {
            return Ok(before);
        };
        let crc = crc32c::crc32c_append(before, bytes);
        if end >= self.length && crc != expected {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the body is not what was written",
            ));
        }
        Ok(crc)
    }

    /// A body that does not stay: its file goes with the last reader.
    pub(crate) fn passing(file: BodyFile, length: u64) -> Self {
        let mut source = Self::file(file.bytes(), length, file.memory());
        source._guard = Some(Arc::new(file));
        source
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether there is not a single byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The bytes as a stream of chunks: by reference from memory, or read ahead by one chunk from the file.
    ///
    /// A large body needs a tokio runtime when it is polled. A file that is shorter than its record says ends with
    /// [`io::ErrorKind::UnexpectedEof`], one with other bytes with [`io::ErrorKind::InvalidData`] in place of the last.
    #[must_use]
    pub fn into_stream(self) -> BodyStream {
        BodyStream {
            source: self,
            position: 0,
            chunk: 0,
            crc: 0,
            reading: None,
        }
    }

    /// The bytes for blocking code, from the start, with the same errors.
    #[must_use]
    pub fn into_reader(self) -> BodyReader {
        BodyReader {
            source: self,
            position: 0,
            crc: 0,
        }
    }
}

/// Stream of a body's chunks, from [`BodySource::into_stream`].
pub struct BodyStream {
    source: BodySource,
    position: u64,
    chunk: usize,
    crc: u32,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyStream")
            .field("length", &self.source.length)
            .field("position", &self.position)
            .finish()
    }
}

impl BodyStream {
    /// Bytes not handed out yet.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.source.length.saturating_sub(self.position)
    }
}

impl Stream for BodyStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let file = match &this.source.bytes {
            Held::File(file) => file,
            Held::Memory(chunks) => {
                let next = chunks.get(this.chunk).cloned();
                this.chunk = this.chunk.saturating_add(1);
                this.position = this
                    .position
                    .saturating_add(next.as_ref().map(|it| wide(it.len())).unwrap_or_default());
                return Poll::Ready(next.map(Ok));
            }
        };
        if this.position >= this.source.length {
            return Poll::Ready(None);
        }
        let reading = this.reading.get_or_insert_with(|| {
            read_chunk(
                file,
                this.position,
                this.source.length,
                this.source.memory.as_ref(),
            )
        });
        let read = ready!(Pin::new(reading).poll(context))
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        this.reading = None;
        let read = read.and_then(|bytes| {
            let end = this.position.saturating_add(wide(bytes.len()));
            this.crc = this.source.judge(this.crc, &bytes, end)?;
            Ok(bytes)
        });
        match &read {
            Ok(bytes) => {
                this.position = this.position.saturating_add(wide(bytes.len()));
                if this.position < this.source.length {
                    this.reading = Some(read_chunk(
                        file,
                        this.position,
                        this.source.length,
                        this.source.memory.as_ref(),
                    ));
                }
            }
            Err(_) => this.position = this.source.length,
        }
        Poll::Ready(Some(read))
    }
}

/// Blocking reader of a body, from [`BodySource::into_reader`].
#[derive(Clone, Debug)]
pub struct BodyReader {
    source: BodySource,
    position: u64,
    crc: u32,
}

impl io::Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = narrow(self.source.length.saturating_sub(self.position));
        let want = buffer.len().min(left);
        let buffer = buffer.get_mut(..want).unwrap_or_default();
        let count = match &self.source.bytes {
            Held::File(file) => file.read_at(self.position, buffer)?,
            Held::Memory(chunks) => copy_from(chunks, self.position, buffer),
        };
        if count == 0 && want > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = self.position.saturating_add(wide(count));
        let read = buffer.get(..count).unwrap_or_default();
        self.crc = self.source.judge(self.crc, read, end)?;
        self.position = end;
        Ok(count)
    }
}

fn copy_from(chunks: &[Bytes], position: u64, buffer: &mut [u8]) -> usize {
    let mut skip = narrow(position);
    for chunk in chunks {
        if let Some(rest) = chunk.get(skip..).filter(|it| !it.is_empty()) {
            let count = rest.len().min(buffer.len());
            buffer
                .iter_mut()
                .zip(rest)
                .for_each(|(place, byte)| *place = *byte);
            return count;
        }
        skip = skip.saturating_sub(chunk.len());
    }
    0
}

/// Reads the next chunk: a long one if there is room for it, which goes back when the chunk has been sent on.
fn read_chunk(
    file: &Arc<dyn FsFile>,
    position: u64,
    length: u64,
    memory: Option<&Memory>,
) -> JoinHandle<io::Result<Bytes>> {
    let file = Arc::clone(file);
    let left = length.saturating_sub(position);
    let count = narrow(left.min(CHUNK_BYTES));
    let room = memory
        .map(Memory::room)
        .and_then(|mut room| room.take(count).then_some(room));
    let count = if room.is_some() {
        count
    } else {
        narrow(left.min(SHORT_CHUNK_BYTES))
    };
    tokio::task::spawn_blocking(move || {
        let bytes = fs::read_bytes_at(file.as_ref(), position, count)?;
        Ok(Bytes::from_owner(Chunk { bytes, _room: room }))
    })
}

/// A chunk, and the room that it takes.
struct Chunk {
    bytes: Bytes,
    _room: Option<Room>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What is read from a body's file at once.
const CHUNK_BYTES: u64 = 256 << 10;
/// What is read at once where memory is short.
const SHORT_CHUNK_BYTES: u64 = 16 << 10;
