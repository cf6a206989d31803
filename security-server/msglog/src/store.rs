//! What the committer, the readers and the drafts share: file names, the index, counters.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::LogError;
use crate::fs::{Access, Fs, FsFile, SyncSite};
use crate::index::SegmentIndex;
use crate::index::file::{self, SealedIndex};
use crate::layout::Layout;
use crate::memory::Memory;
use crate::num::wide;
use crate::runs::Runs;
use crate::segment::SegmentKey;
use crate::start::{self, LogStart};
use crate::{LogConfig, Stats};

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) config: LogConfig,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) layout: Layout,
    /// For bodies under way.
    pub(crate) memory: Memory,
    state: RwLock<State>,
    next_body: AtomicU64,
    chores: Mutex<Option<SyncSender<Chore>>>,
    lock: Mutex<Option<Box<dyn Debug + Send + Sync>>>,
    retiring: Mutex<()>,
    /// Open index files by segment: a look-up asks each for its filter, and opening costs more than that.
    indexes: Mutex<BTreeMap<u64, Arc<dyn FsFile>>>,
    pub(crate) counters: Counters,
}

/// What is known of the log's contents. Changed only after the change is durable.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By number; the last one is the active one.
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) unstamped: Runs,
    pub(crate) dropped: Runs,
    /// Where the log begins.
    pub(crate) start: LogStart,
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) key: SegmentKey,
    /// No record in it has a smaller id, none in an earlier segment one as large.
    pub(crate) first_id: u64,
    pub(crate) source: Source,
}

/// Where a segment's index is.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// In its own file.
    File(Arc<SealedIndex>),
    /// In memory: the active segment, and a sealed one whose index file is not written yet.
    Memory {
        index: LiveIndex,
        file: Arc<dyn FsFile>,
    },
}

/// An index that the committer adds to while others look things up in it. Shared, not copied: that of a full segment
/// has a dozen megabytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveIndex(Arc<RwLock<SegmentIndex>>);

impl LiveIndex {
    pub(crate) fn new(index: SegmentIndex) -> Self {
        Self(Arc::new(RwLock::new(index)))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, SegmentIndex> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, SegmentIndex> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work that nobody waits for.
#[derive(Debug)]
pub(crate) enum Chore {
    /// Overwrite a dropped body in a segment.
    Punch {
        segment: u64,
        offset: u64,
        length: u64,
    },
    /// Remove the file of a body that was dropped or never committed.
    RemoveBody { number: u64 },
    /// Write the index of a segment that has ended.
    WriteIndex {
        key: SegmentKey,
        length: u64,
        index: LiveIndex,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) batches: AtomicU64,
    pub(crate) body_bytes: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) stamped: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) waiting: AtomicU64,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

/// Takes one off a counter that never goes below zero.
pub(crate) fn subtract(counter: &AtomicU64) {
    let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1));
}

impl Store {
    pub(crate) fn new(
        config: LogConfig,
        fs: Arc<dyn Fs>,
        state: State,
        next_body: u64,
        lock: Box<dyn Debug + Send + Sync>,
    ) -> Self {
        let layout = Layout::new(&config.dir);
        let memory = Memory::new(config.memory_bytes);
        Self {
            memory,
            config,
            fs,
            layout,
            state: RwLock::new(state),
            next_body: AtomicU64::new(next_body),
            chores: Mutex::new(None),
            lock: Mutex::new(Some(lock)),
            retiring: Mutex::new(()),
            indexes: Mutex::default(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn next_body(&self) -> u64 {
        self.next_body.fetch_add(1, Ordering::Relaxed)
    }

    /// The number that the next body file gets.
    pub(crate) fn peek_next_body(&self) -> u64 {
        self.next_body.load(Ordering::Relaxed)
    }

    /// Held while segments are removed.
    pub(crate) fn retiring(&self) -> MutexGuard<'_, ()> {
        self.retiring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the log begins now: a server may have removed segments since a reader opened it.
    pub(crate) fn start_now(&self) -> LogStart {
        let mut start = self.state().start;
        if let Ok(start::Found::Start(now)) = LogStart::read(&self.layout, self.fs.as_ref())
            && now.segment > start.segment
        {
            start = now;
            self.state_mut().start = now;
        }
        start
    }

    /// The index file of a sealed segment. Those of the newest segments stay open.
    pub(crate) fn index_file(&self, number: u64) -> Result<Arc<dyn FsFile>, LogError> {
        let mut open = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&number) {
            return Ok(Arc::clone(file));
        }
        let path = self.layout.index(number);
        let file = self.fs.open(&path, Access::Read);
        let file = file.map_err(LogError::at("open", &path))?;
        if open.len() >= OPEN_INDEXES && open.keys().next().is_some_and(|oldest| *oldest < number) {
            open.pop_first();
        }
        if open.len() < OPEN_INDEXES {
            open.insert(number, Arc::clone(&file));
        }
        Ok(file)
    }

    /// Closes the index files of segments before `first`, which have left.
    pub(crate) fn close_indexes(&self, first: u64) {
        let mut open = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        *open = open.split_off(&first);
    }

    /// Hands a chore to its thread; does it here if there is none or it is behind.
    pub(crate) fn chore(&self, chore: Chore) {
        let sender = self
            .chores
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let chore = match sender {
            None => chore,
            Some(sender) => match sender.try_send(chore) {
                Ok(()) => return,
                Err(TrySendError::Full(chore) | TrySendError::Disconnected(chore)) => chore,
            },
        };
        self.do_chore(chore);
    }

    pub(crate) fn set_chores(&self, sender: Option<SyncSender<Chore>>) {
        *self.chores.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    }

    /// Lets another process, or another log of this one, open the directory.
    pub(crate) fn unlock(&self) {
        self.lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Does a chore. A failure costs space or time at the next start, nothing else, and recovery does it again.
    pub(crate) fn do_chore(&self, chore: Chore) {
        let (what, result) = match chore {
            Chore::Punch {
                segment,
                offset,
                length,
            } => (
                "overwrite a dropped body",
                self.punch(segment, offset, length),
            ),
            Chore::RemoveBody { number } => {
                let path = self.layout.body(number);
                let result = self.fs.remove(&path).map_err(LogError::at("remove", &path));
                ("remove a body file", result)
            }
            Chore::WriteIndex { key, length, index } => (
                "write an index",
                self.write_index(key, length, &index.read()),
            ),
        };
        if let Err(error) = result {
            tracing::warn!(%error, what, "message log housekeeping failed");
        }
    }

    /// Writes the index of a segment under another name, makes it durable and only then gives it its own.
    fn write_index(
        &self,
        key: SegmentKey,
        length: u64,
        index: &SegmentIndex,
    ) -> Result<(), LogError> {
        let bytes = file::encode(key, length, index);
        let (draft, path) = (
            self.layout.index_draft(key.number),
            self.layout.index(key.number),
        );
        let _ = self.fs.remove(&draft);
        let written = self
            .fs
            .create(&draft)
            .map_err(LogError::at("create", &draft))?;
        written
            .write_at(0, &mut [IoSlice::new(&bytes)])
            .map_err(LogError::at("write", &draft))?;
        written
            .sync_data(SyncSite::IndexData)
            .map_err(LogError::at("sync", &draft))?;
        self.fs
            .rename(&draft, &path)
            .map_err(LogError::at("rename", &draft))?;
        let summary = SealedIndex::open(written.as_ref()).map_err(LogError::at("read", &path))?;
        if let Some(summary) = summary
            && let Some(segment) = self.state_mut().segments.get_mut(&key.number)
        {
            segment.source = Source::File(Arc::new(summary.index));
        }
        add(&self.counters.bytes, wide(bytes.len()));
        Ok(())
    }

    fn punch(&self, segment: u64, offset: u64, length: u64) -> Result<(), LogError> {
        let path = self.layout.segment(segment);
        let file = self
            .fs
            .open(&path, Access::ReadWrite)
            .map_err(LogError::at("open", &path))?;
        file.punch(offset, length)
            .map_err(LogError::at("overwrite in", &path))
    }

    pub(crate) fn stats(&self) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            batches: load(&self.counters.batches),
            body_bytes: load(&self.counters.body_bytes),
            bytes: load(&self.counters.bytes),
            commits: load(&self.counters.commits),
            failures: load(&self.counters.failures),
            memory_bytes: wide(self.memory.taken()),
            segments: wide(self.state().segments.len()),
            stamped: load(&self.counters.stamped),
            syncs: load(&self.counters.syncs),
            waiting: load(&self.counters.waiting),
        }
    }
}

impl Source {
    /// Number of records.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::File(index) => index.count(),
            Self::Memory { index, .. } => wide(index.read().entries.len()),
        }
    }

    /// Number of its last record, if it has any.
    pub(crate) fn last_id(&self) -> Option<u64> {
        match self {
            Self::File(index) => (index.count() > 0).then_some(index.last_id),
            Self::Memory { index, .. } => index.read().entries.last().map(|it| it.id),
        }
    }
}

impl State {
    /// The segment in which a record with this id would stand.
    pub(crate) fn segment_of(&self, id: u64) -> Option<&Segment> {
        self.segments
            .values()
            .rev()
            .find(|segment| segment.first_id <= id)
    }
}

/// Index files that stay open, of 64 MiB of log each: enough for ten million records of half a kilobyte.
const OPEN_INDEXES: usize = 192;
