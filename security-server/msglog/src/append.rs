//! A record while it is being written: bodies come in chunks, the commit closes it.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::body::BodySource;
use crate::codec::MAX_TEXT;
use crate::committer::{CommitJob, Job};
use crate::error::LogError;
use crate::fs::{FsFile, SyncSite};
use crate::keep::Keep;
use crate::memory::{Memory, Room};
use crate::num::wide;
use crate::record::{RecordHead, RecordId, RecordParts};
use crate::store::{Chore, Store, add};
use crate::{LogConfig, MessageLog};

/// A record being written, from [`MessageLog::begin`].
///
/// Small bodies wait in memory, by reference, and are written together with the commit. A body over
/// [`LogConfig::inline_body_bytes`] goes to a file of its own as it comes. A draft that is dropped leaves nothing.
#[derive(Debug)]
pub struct Draft {
    log: MessageLog,
    bodies: Vec<OpenBody>,
    keep: Keep,
    relayed: bool,
}

#[derive(Debug)]
struct OpenBody {
    index: u32,
    length: u64,
    crc: u32,
    sha512: Option<[u8; 64]>,
    held: Held,
}

/// Where the bytes of a body wait for the commit.
#[derive(Debug)]
enum Held {
    File(FileWriter),
    Memory(Room, Vec<Bytes>),
    /// Nobody will ask for them.
    Nowhere,
}

/// A record that is durable.
#[derive(Debug)]
pub struct Committed {
    id: RecordId,
    bodies: Vec<(u32, BodySource)>,
}

impl Committed {
    /// The record's number.
    #[must_use]
    pub fn id(&self) -> RecordId {
        self.id
    }

    /// Body number `index`, to be sent on: small ones from memory, large ones from the log. `None` if there is none, or it
    /// was [relayed](Draft::relayed), is not kept and did not fit the memory.
    ///
    /// Where a large body is not kept, this value and what it gave hold its file: it goes with the last of them.
    #[must_use]
    pub fn body(&self, index: u32) -> Option<BodySource> {
        self.bodies
            .iter()
            .find(|(it, _)| *it == index)
            .map(|(_, source)| source.clone())
    }
}

impl Draft {
    pub(crate) fn new(log: MessageLog) -> Self {
        Self {
            log,
            bodies: Vec::new(),
            keep: Keep::All,
            relayed: false,
        }
    }

    /// What of this record's bodies is to stay in the log; without this call all of it. Counts for chunks from now on.
    #[must_use]
    pub fn keeping(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Bodies have been sent on already when the record is committed. What is not to be kept is then not written at all.
    #[must_use]
    pub fn relayed(mut self) -> Self {
        self.relayed = true;
        self
    }

    /// Adds a chunk to body number `index` (from 1), without copying it. Waits only when a large body comes faster
    /// than the disk takes it; then at most 512 KiB of it are in memory.
    ///
    /// Not cancel safe: a draft whose append was dropped half way must be dropped too.
    ///
    /// # Errors
    /// [`LogError::Full`] or [`LogError::Io`] for a large body, perhaps of an earlier chunk; [`LogError::BodyFinished`]
    /// after [`Draft::finish_body`].
    pub async fn append_body(&mut self, index: u32, chunk: Bytes) -> Result<(), LogError> {
        let inline_limit = wide(self.log.config().inline_body_bytes);
        let store = Arc::clone(self.log.store());
        let (keep, relayed) = (self.keep, self.relayed);
        let body = self.body(index)?;
        body.length = body.length.saturating_add(wide(chunk.len()));
        add(&store.counters.body_bytes, wide(chunk.len()));
        let kept = keep.keeps(body.length);
        if kept || !relayed {
            // What goes through a file is held against it, kept or not.
            body.crc = crc32c::crc32c_append(body.crc, &chunk);
        }
        match &mut body.held {
            Held::File(_) if relayed && !kept => body.held = Held::Nowhere,
            Held::File(file) => file.push(chunk).await?,
            Held::Memory(room, chunks) => {
                let fits = body.length <= inline_limit && room.take(chunk.len());
                chunks.push(chunk);
                if !fits && relayed && !kept {
                    body.held = Held::Nowhere;
                } else if !fits {
                    let chunks = std::mem::take(chunks);
                    let mut file = FileWriter::create(store).await?;
                    for chunk in chunks {
                        file.push(chunk).await?;
                    }
                    body.held = Held::File(file);
                }
            }
            Held::Nowhere => {}
        }
        Ok(())
    }

    /// Closes body number `index` with its SHA-512, which the log stores and does not check. A body without any chunk
    /// is an empty one.
    ///
    /// # Errors
    /// [`LogError::BodyFinished`] if it is closed already.
    pub fn finish_body(&mut self, index: u32, sha512: [u8; 64]) -> Result<(), LogError> {
        self.body(index)?.sha512 = Some(sha512);
        Ok(())
    }

    /// What has come of body number `index` so far, to be read again before the next chunk; `None` if it was not held. A
    /// large body's chunks are written to its file first.
    ///
    /// Not cancel safe, as [`Draft::append_body`].
    ///
    /// # Errors
    /// [`LogError::Full`] or [`LogError::Io`] for a large body.
    pub async fn so_far(&mut self, index: u32) -> Result<Option<BodySource>, LogError> {
        let memory = self.log.store().memory.clone();
        let body = self.bodies.iter_mut().find(|body| body.index == index);
        Ok(match body.map(|body| &mut body.held) {
            None | Some(Held::Nowhere) => None,
            Some(Held::Memory(_, chunks)) => Some(BodySource::memory(chunks.clone())),
            Some(Held::File(file)) => {
                file.write().await?;
                file.wait().await?;
                Some(BodySource::file(file.body.bytes(), file.position, &memory))
            }
        })
    }

    /// Length so far of body number `index` in bytes.
    #[must_use]
    pub fn body_len(&self, index: u32) -> u64 {
        self.bodies
            .iter()
            .find(|body| body.index == index)
            .map(|body| body.length)
            .unwrap_or_default()
    }

    /// Makes the record durable: resolves after `fdatasync`, which all commits that wait share.
    ///
    /// Dropped before it resolves, the record may or may not be in the log.
    ///
    /// # Errors
    /// The record is not in the log, except that after [`LogError::Io`] and a crash right then it may be found again;
    /// nobody was told of it. [`LogError::BodyUnfinished`], [`LogError::TooLarge`] and [`LogError::Closed`] name the
    /// caller's mistake.
    pub async fn commit(self, head: RecordHead, parts: RecordParts) -> Result<Committed, LogError> {
        check_sizes(&head, &parts, self.log.config())?;
        let mut bodies = Vec::with_capacity(self.bodies.len());
        for body in self.bodies {
            let sha512 = body
                .sha512
                .ok_or(LogError::BodyUnfinished { index: body.index })?;
            let kept = self.keep.keeps(body.length);
            let (index, length, crc) = (body.index, body.length, body.crc);
            let held = match body.held {
                Held::File(writer) if kept => Finished::File(writer.finish(length).await?),
                Held::File(writer) => Finished::File(writer.flush().await?),
                Held::Memory(room, chunks) => Finished::Memory(room, chunks),
                Held::Nowhere => Finished::Nowhere,
            };
            bodies.push(FinishedBody {
                index,
                length,
                sha512,
                crc,
                kept,
                held,
            });
        }
        let (reply, answer) = oneshot::channel();
        self.log
            .send(Job::Commit(Box::new(CommitJob {
                head,
                parts,
                bodies,
                reply,
            })))
            .await?;
        let (id, bodies) = answer.await.map_err(|_| LogError::Closed)??;
        let bodies = bodies
            .into_iter()
            .filter_map(|body| Some((body.index, body.into_source()?)))
            .collect();
        Ok(Committed { id, bodies })
    }

    fn body(&mut self, index: u32) -> Result<&mut OpenBody, LogError> {
        let store = self.log.store();
        let position = match self.bodies.iter().position(|body| body.index == index) {
            Some(position) => position,
            None => {
                let held = Held::Memory(store.memory.room(), Vec::new());
                self.bodies.push(OpenBody {
                    index,
                    length: 0,
                    crc: 0,
                    sha512: None,
                    held,
                });
                self.bodies.len().saturating_sub(1)
            }
        };
        let open = self
            .bodies
            .get_mut(position)
            .filter(|body| body.sha512.is_none());
        open.ok_or(LogError::BodyFinished { index })
    }
}

fn check_sizes(head: &RecordHead, parts: &RecordParts, config: &LogConfig) -> Result<(), LogError> {
    let refuse = |part, length, max| {
        Err(LogError::TooLarge {
            part,
            length: wide(length),
            max: wide(max),
        })
    };
    for (part, text) in [
        ("message id", &head.message_id),
        ("request id", &head.request_id),
    ] {
        if text.len() > MAX_TEXT {
            return refuse(part, text.len(), MAX_TEXT);
        }
    }
    let chains = [&parts.hash_chain_result, &parts.hash_chain];
    let all = [&parts.message, &parts.signature]
        .into_iter()
        .chain(chains.into_iter().flatten());
    let length = all.fold(0_usize, |sum, part| sum.saturating_add(part.len()));
    if length > config.part_bytes {
        return refuse("message with its signature", length, config.part_bytes);
    }
    Ok(())
}

/// A body as the committer gets it.
#[derive(Debug)]
pub(crate) struct FinishedBody {
    pub(crate) index: u32,
    pub(crate) length: u64,
    pub(crate) sha512: [u8; 64],
    pub(crate) crc: u32,
    /// Whether its bytes are to stay.
    kept: bool,
    held: Finished,
}

/// Where the bytes of a whole body are.
#[derive(Debug)]
enum Finished {
    File(BodyFile),
    Memory(Room, Vec<Bytes>),
    Nowhere,
}

/// What the log keeps of a body.
#[derive(Debug)]
pub(crate) enum Stays<'a> {
    /// Nothing but its digest.
    Digest,
    /// The file with this number.
    File(u64),
    /// These chunks, in the segment.
    Inline(&'a [Bytes]),
}

impl FinishedBody {
    /// What the log keeps of it.
    pub(crate) fn stays(&self) -> Stays<'_> {
        match &self.held {
            Finished::File(file) if self.kept => Stays::File(file.number),
            Finished::Memory(_, chunks) if self.kept => Stays::Inline(chunks),
            _ => Stays::Digest,
        }
    }

    /// Number of the file that stays.
    pub(crate) fn file_number(&self) -> Option<u64> {
        match self.stays() {
            Stays::File(number) => Some(number),
            Stays::Digest | Stays::Inline(_) => None,
        }
    }

    /// Bytes it will take in the segment.
    pub(crate) fn inline_bytes(&self) -> u64 {
        match self.stays() {
            Stays::Inline(_) => self.length.saturating_add(256),
            Stays::Digest | Stays::File(_) => 256,
        }
    }

    /// From now on a file that stays outlives this value.
    pub(crate) fn keep(&mut self) {
        if let (Finished::File(file), true) = (&mut self.held, self.kept) {
            file.keep = true;
        }
    }

    fn into_source(self) -> Option<BodySource> {
        match self.held {
            Finished::File(file) if self.kept => {
                let source = BodySource::file(file.bytes(), self.length, file.memory());
                Some(source.checked(self.crc))
            }
            Finished::File(file) => Some(BodySource::passing(file, self.length).checked(self.crc)),
            Finished::Memory(room, chunks) => Some(BodySource::memory(chunks).with_room(room)),
            Finished::Nowhere => None,
        }
    }
}

/// A body's own file, removed when this is dropped unless it was committed as one that stays.
#[derive(Debug)]
pub(crate) struct BodyFile {
    store: Arc<Store>,
    number: u64,
    file: Arc<dyn FsFile>,
    keep: bool,
}

impl BodyFile {
    /// Its contents.
    pub(crate) fn bytes(&self) -> Arc<dyn FsFile> {
        Arc::clone(&self.file)
    }

    /// What bounds reading ahead.
    pub(crate) fn memory(&self) -> &Memory {
        &self.store.memory
    }
}

impl Drop for BodyFile {
    fn drop(&mut self) {
        if !self.keep {
            self.store.chore(Chore::RemoveBody {
                number: self.number,
            });
        }
    }
}

/// Writes a body's file on the blocking pool: one write under way, one being gathered.
#[derive(Debug)]
struct FileWriter {
    body: BodyFile,
    room: Room,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    position: u64,
    reserved: u64,
    under_way: Option<JoinHandle<io::Result<()>>>,
}

impl FileWriter {
    async fn create(store: Arc<Store>) -> Result<Self, LogError> {
        let number = store.next_body();
        let path = store.layout.body(number);
        // The value is made on the pool: if nobody waits for it any more, dropping it removes the file.
        let task = spawn_blocking(move || {
            let file = store.fs.create(&store.layout.body(number))?;
            Ok(BodyFile {
                store,
                number,
                file,
                keep: false,
            })
        });
        let body = task
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        let body = body.map_err(LogError::at("create", &path))?;
        let room = body.store.memory.room();
        Ok(Self {
            body,
            room,
            gathered: Vec::new(),
            gathered_bytes: 0,
            position: 0,
            reserved: 0,
            under_way: None,
        })
    }

    async fn push(&mut self, chunk: Bytes) -> Result<(), LogError> {
        let fits = self.room.take(chunk.len());
        self.gathered_bytes = self.gathered_bytes.saturating_add(chunk.len());
        self.gathered.push(chunk);
        if self.gathered_bytes >= WRITE_BYTES || !fits {
            self.write().await?;
        }
        Ok(())
    }

    /// Waits for the write under way and starts the next.
    async fn write(&mut self) -> Result<(), LogError> {
        self.wait().await?;
        let (chunks, count) = (
            std::mem::take(&mut self.gathered),
            std::mem::take(&mut self.gathered_bytes),
        );
        let (file, position) = (Arc::clone(&self.body.file), self.position);
        let room = std::mem::replace(&mut self.room, self.body.store.memory.room());
        let end = position.saturating_add(wide(count));
        let reserve = (end > self.reserved)
            .then(|| end.saturating_add(end.clamp(RESERVE_LEAST, RESERVE_MOST)));
        self.reserved = reserve.unwrap_or(self.reserved);
        self.position = end;
        self.under_way = Some(spawn_blocking(move || {
            if let Some(length) = reserve
                && file.allocate(length).is_err()
            {
                // No room to be generous; perhaps there is for what has come.
                file.allocate(end)?;
            }
            let mut slices: Vec<IoSlice<'_>> =
                chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
            file.write_at(position, &mut slices)?;
            file.start_writing(position, wide(count));
            drop(room);
            Ok(())
        }));
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), LogError> {
        let Some(task) = self.under_way.as_mut() else {
            return Ok(());
        };
        let result = task
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        self.under_way = None;
        result.map_err(|error| self.failed("write", error))
    }

    /// Writes what is left of a body that does not stay, for who reads it now.
    async fn flush(mut self) -> Result<BodyFile, LogError> {
        self.write().await?;
        self.wait().await?;
        Ok(self.body)
    }

    /// Writes what is left, gives back what was reserved too much and makes it durable.
    async fn finish(mut self, length: u64) -> Result<BodyFile, LogError> {
        self.write().await?;
        self.wait().await?;
        let file = Arc::clone(&self.body.file);
        let task = spawn_blocking(move || {
            file.set_len(length)?;
            file.sync_data(SyncSite::BodyData)
        });
        let result = task
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        result.map_err(|error| self.failed("sync", error))?;
        add(&self.body.store.counters.syncs, 1);
        Ok(self.body)
    }

    fn failed(&self, operation: &'static str, error: io::Error) -> LogError {
        LogError::io(
            operation,
            &self.body.store.layout.body(self.body.number),
            error,
        )
    }
}

/// What is gathered before it is written.
const WRITE_BYTES: usize = 256 << 10;
/// Space is reserved ahead by as much as there is already, within these bounds.
const RESERVE_LEAST: u64 = 256 << 10;
const RESERVE_MOST: u64 = 64 << 20;
