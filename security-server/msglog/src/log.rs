//! The log as its users hold it.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::append::Draft;
use crate::body::BodySource;
use crate::committer::{Committer, Job};
use crate::error::LogError;
use crate::fs::Fs;
use crate::read::{self, Query};
use crate::record::{Record, RecordId, RequestMark, StampBatch, StampId, Unstamped};
use crate::recover::{Recovered, RecoveryReport, recover};
use crate::store::{Store, add};

/// Where the log lives and how large its pieces are. The defaults are right for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made with struct update syntax from LogConfig::new"
)]
pub struct LogConfig {
    /// Directory of the log; made if its parent exists. Nothing else may use it.
    pub dir: PathBuf,
    /// Length of a segment in bytes, reserved when it is made: 64 MiB. A batch larger than that makes it longer.
    pub segment_bytes: u64,
    /// Largest body that is written into the segment, in bytes: 256 KiB. Larger ones get a file of their own.
    pub inline_body_bytes: usize,
    /// Largest message with its signature and chains, in bytes: 64 MiB.
    pub part_bytes: usize,
    /// Commits that may wait before callers do: 1024.
    pub queue: usize,
    /// Most commits written at once: 512.
    pub batch_records: usize,
    /// Bytes after which a batch takes no more commits: 8 MiB.
    pub batch_bytes: usize,
    /// Memory for bodies under way, all together, in bytes: 64 MiB. Where it is short they go through files of their own,
    /// however small they are.
    pub memory_bytes: usize,
    /// Free space below which [`MessageLog::writable`] says no, in bytes: 64 MiB.
    pub min_free_bytes: u64,
    /// Whether a thread of its own writes indexes and removes files; without it the committer does. Default yes; no
    /// makes the order of file operations the same in each run of a test.
    pub chores_thread: bool,
}

impl LogConfig {
    /// The defaults, in this directory.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        #[cfg(feature = "fault-points")]
        let segment_bytes = crate::points::segment_bytes().unwrap_or(SEGMENT_BYTES);
        #[cfg(not(feature = "fault-points"))]
        let segment_bytes = SEGMENT_BYTES;
        Self {
            dir: dir.into(),
            segment_bytes,
            inline_body_bytes: 256 << 10,
            part_bytes: 64 << 20,
            queue: 1024,
            batch_records: 512,
            batch_bytes: 8 << 20,
            memory_bytes: 64 << 20,
            min_free_bytes: 64 << 20,
            chores_thread: true,
        }
    }
}

/// Counters since the log was opened, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Batches written.
    pub batches: u64,
    /// Bytes of bodies taken, in segments and in files.
    pub body_bytes: u64,
    /// Bytes written to segments and indexes.
    pub bytes: u64,
    /// Records committed.
    pub commits: u64,
    /// Batches that failed.
    pub failures: u64,
    /// Bytes of bodies under way that are in memory now.
    pub memory_bytes: u64,
    /// Segments there are now.
    pub segments: u64,
    /// Records stamped.
    pub stamped: u64,
    /// Times anything was synced.
    pub syncs: u64,
    /// Jobs that wait for the committer now.
    pub waiting: u64,
}

/// The message log. Cheap to clone; all clones are the same log. It ends when the last clone and draft are gone, or
/// with [`MessageLog::close`].
///
/// Reading ([`find`](Self::find), [`read`](Self::read), [`body`](Self::body), [`unstamped`](Self::unstamped)) waits for
/// the disk: where that matters, call it on the blocking pool.
#[derive(Clone, Debug)]
pub struct MessageLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<Store>,
    queue: mpsc::Sender<Job>,
}

impl MessageLog {
    /// Opens the log in `config.dir`, recovering what is there, and starts its threads.
    ///
    /// # Errors
    /// [`LogError::Locked`] if somebody else has it open, [`LogError::UnknownVersion`] if a newer program wrote it,
    /// [`LogError::Io`] and [`LogError::Full`] from the file system. Damage is not an error: it is in the report, and
    /// what is not damaged can be read.
    pub fn open(config: LogConfig, fs: Arc<dyn Fs>) -> Result<(Self, RecoveryReport), LogError> {
        let Recovered {
            store,
            tail,
            next_id,
            report,
        } = recover(config, fs)?;
        let store = Arc::new(store);
        let (queue, jobs) = mpsc::channel(store.config.queue.max(1));
        Committer::spawn(Arc::clone(&store), jobs, tail, next_id)
            .map_err(LogError::at("start a thread for", &store.config.dir))?;
        Ok((Self(Arc::new(Inner { store, queue })), report))
    }

    /// Starts a record.
    #[must_use]
    pub fn begin(&self) -> Draft {
        Draft::new(self.clone())
    }

    /// Ids of the records that fit, in ascending order; no more than [`Query::limit`].
    ///
    /// # Errors
    /// [`LogError::Io`] or [`LogError::Damaged`] if a record that may fit cannot be read.
    pub fn find(&self, query: &Query) -> Result<Vec<RecordId>, LogError> {
        read::find(&self.0.store, query)
    }

    /// A record with its stamp, if there is one with this id.
    ///
    /// # Errors
    /// [`LogError::Io`] or [`LogError::Damaged`] if it cannot be read.
    pub fn read(&self, id: RecordId) -> Result<Option<Record>, LogError> {
        read::record(&self.0.store, id)
    }

    /// A body of a record; `None` if there is no such record or body, or the bodies were dropped.
    ///
    /// # Errors
    /// [`LogError::Io`] or [`LogError::Damaged`] if it cannot be read.
    pub fn body(&self, id: RecordId, index: u32) -> Result<Option<BodySource>, LogError> {
        read::body(&self.0.store, id, index)
    }

    /// Requests that this server recorded on the provider's side, newest first, at most `limit`: at least those of the
    /// last `window_ms` milliseconds before the newest record, and those that were answered in it; some thousands
    /// whatever their times. Whole segments are taken, so there may be older ones, too. The clock of the machine plays
    /// no part. A damaged request is left out.
    ///
    /// # Errors
    /// [`LogError::Io`] if the log cannot be read.
    pub fn recent_requests(
        &self,
        window_ms: i64,
        limit: usize,
    ) -> Result<Vec<RequestMark>, LogError> {
        crate::recent::requests(
            &self.0.store,
            |newest_ms| newest_ms.saturating_sub(window_ms),
            limit,
        )
    }

    /// The oldest records without a stamp, in the order of ids, at most `limit`, all in memory at once.
    ///
    /// # Errors
    /// [`LogError::Io`] or [`LogError::Damaged`] if one cannot be read.
    pub fn unstamped(&self, limit: usize) -> Result<Vec<Unstamped>, LogError> {
        let mut found = Vec::new();
        self.each_unstamped(limit, |it| found.push(it))?;
        Ok(found)
    }

    /// Shows the oldest records without a stamp, in the order of ids, at most `limit`, one in memory at a time. Records
    /// with one signature document show the same bytes: whoever hashes them need not do it again.
    ///
    /// # Errors
    /// [`LogError::Io`] or [`LogError::Damaged`] if one cannot be read.
    pub fn each_unstamped(
        &self,
        limit: usize,
        show: impl FnMut(Unstamped),
    ) -> Result<(), LogError> {
        read::each_unstamped(&self.0.store, limit, show)
    }

    /// How many records have no stamp.
    #[must_use]
    pub fn unstamped_count(&self) -> u64 {
        self.0.store.state().unstamped.count()
    }

    /// Time of the oldest record without a stamp, in milliseconds since 1970, UTC.
    ///
    /// # Errors
    /// [`LogError::Io`] if the index cannot be read.
    pub fn oldest_unstamped_ms(&self) -> Result<Option<i64>, LogError> {
        read::oldest_unstamped_ms(&self.0.store)
    }

    /// Writes a stamp over one or more records. Resolves after `fdatasync`; all of it is in the log then, or nothing.
    ///
    /// # Errors
    /// [`LogError::AlreadyStamped`], [`LogError::UnknownRecord`], [`LogError::EmptyStamp`], [`LogError::TooLarge`] for
    /// a stamp that cannot be; [`LogError::Full`], [`LogError::Io`] or [`LogError::Closed`] otherwise.
    pub async fn stamp(&self, batch: StampBatch) -> Result<StampId, LogError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Stamp {
            batch: Box::new(batch),
            reply,
        })
        .await?;
        answer.await.map_err(|_| LogError::Closed)?
    }

    /// Drops the bodies of a record, which policy says are not to be kept: their bytes go, their digests stay.
    /// Resolves when that is durable; dropping twice is fine. Who reads a large body just now can read on.
    ///
    /// # Errors
    /// [`LogError::UnknownRecord`], [`LogError::Damaged`], [`LogError::Full`], [`LogError::Io`] or
    /// [`LogError::Closed`].
    pub async fn drop_bodies(&self, id: RecordId) -> Result<(), LogError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Drop { id, reply }).await?;
        answer.await.map_err(|_| LogError::Closed)?
    }

    /// Whether a record could be committed now; mends what an earlier failure left, if it can.
    ///
    /// # Errors
    /// What a commit would meet: [`LogError::Full`] already when less than [`LogConfig::min_free_bytes`] are left.
    pub async fn writable(&self) -> Result<(), LogError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Probe(reply)).await?;
        answer.await.map_err(|_| LogError::Closed)??;
        self.has_room()
    }

    /// Whether a new message should be begun at all: there must be room for it and for what is under way, its answer among
    /// it. One question to the system, so it may be asked for each message.
    ///
    /// # Errors
    /// [`LogError::Full`] when less than [`LogConfig::min_free_bytes`] is free, [`LogError::Io`] when that cannot be told.
    pub fn has_room(&self) -> Result<(), LogError> {
        let config = &self.0.store.config;
        let free = self.0.store.fs.free_bytes(&config.dir);
        if free.map_err(LogError::at("measure", &config.dir))? < config.min_free_bytes {
            return Err(LogError::io(
                "write to",
                &config.dir,
                std::io::ErrorKind::StorageFull.into(),
            ));
        }
        Ok(())
    }

    /// Counters, for metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.store.stats()
    }

    /// The configuration it was opened with.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.0.store.config
    }

    /// Writes what waits, ends the threads and lets go of the directory. Later commits get [`LogError::Closed`];
    /// reading still works.
    pub async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.send(Job::Close(reply)).await.is_ok() {
            // An error means that somebody else closes it right now.
            let _ = answer.await;
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.queue.is_closed()
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.0.store
    }

    pub(crate) async fn send(&self, job: Job) -> Result<(), LogError> {
        add(&self.0.store.counters.waiting, 1);
        let sent = self.0.queue.send(job).await;
        if sent.is_err() {
            crate::store::subtract(&self.0.store.counters.waiting);
        }
        sent.map_err(|_| LogError::Closed)
    }
}

const SEGMENT_BYTES: u64 = 64 << 20;
