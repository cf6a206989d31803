//! Old segments leave: whole, the oldest first, and written down before the first file goes.
//!
//! Segments do not need each other: runs of bytes are shared within one segment only, and a stamp stands in the segment
//! of its records or in a later one, so it never leaves before them. What a later segment says of removed records
//! (stamps, drops) is about nothing then, and is no damage, because `log.start` says where the log begins.
//!
//! The order: `log.start` is durable; readers no longer see the segments; bodies, segment and index go. A process that
//! ends in between leaves files that the next opening removes. A power cut may bring files back; they go the same way.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use tokio::sync::oneshot;

use crate::MessageLog;
use crate::collect::collect;
use crate::committer::Job;
use crate::error::LogError;
use crate::fs::{Access, Fs};
use crate::index::file::SealedIndex;
use crate::layout::{Layout, Named};
use crate::record::RecordId;
use crate::recover::read_header;
use crate::runs::Runs;
use crate::start::LogStart;
use crate::store::{Source, Store};

/// A segment that takes no more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealedSegment {
    /// Its number.
    pub number: u64,
    /// Records in it.
    pub records: u64,
    /// Its last record; the one before the segment if it holds none.
    pub last: RecordId,
    /// Time of its earliest record in milliseconds since 1970, UTC; 0 without records.
    pub oldest_ms: i64,
    /// Time of its latest record in milliseconds since 1970, UTC; 0 without records.
    pub newest_ms: i64,
    /// Length of the segment in bytes, without large bodies.
    pub bytes: u64,
}

/// What [`MessageLog::retire`] has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retired {
    /// Segments.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
}

impl MessageLog {
    /// The oldest segments that could be removed now, oldest first: full, with an index, and all records in them and
    /// before them stamped. The last segment of a log is never among them.
    #[must_use]
    pub fn sealed_segments(&self) -> Vec<SealedSegment> {
        sealed(self.store())
    }

    /// Removes segments for good, up to the one with this number, of those that [`MessageLog::sealed_segments`] tells.
    /// Their records are no longer found. Who reads one of their bodies just now can read on. Waits for the disk.
    ///
    /// # Errors
    /// [`LogError::Full`] or [`LogError::Io`] if it cannot be written down that they go: nothing is removed then.
    /// [`LogError::Closed`].
    pub fn retire(&self, through: u64) -> Result<Retired, LogError> {
        if self.is_closed() {
            return Err(LogError::Closed);
        }
        retire(self.store(), through)
    }

    /// Ends the segment that is being written, if there is a record in it, so that it can leave: the next record
    /// begins another one. Resolves when that is durable.
    ///
    /// # Errors
    /// [`LogError::Full`], [`LogError::Io`] or [`LogError::Closed`].
    pub async fn seal(&self) -> Result<(), LogError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Seal(reply)).await?;
        answer.await.map_err(|_| LogError::Closed)?
    }

    /// Time of the first record in the segment that is being written, in milliseconds since 1970, UTC; `None` if there
    /// is no record in it.
    #[must_use]
    pub fn active_since_ms(&self) -> Option<i64> {
        let state = self.store().state();
        match &state.segments.values().next_back()?.source {
            Source::Memory { index, .. } => {
                let index = index.read();
                index.entries.first().map(|it| it.time_ms)
            }
            Source::File(_) => None,
        }
    }

    /// Number of the last record; 0 if there never was one.
    #[must_use]
    pub fn last_id(&self) -> RecordId {
        let state = self.store().state();
        let last = state.segments.values().next_back().map(|segment| {
            let before = segment.first_id.saturating_sub(1);
            segment.source.last_id().unwrap_or(before)
        });
        RecordId::new(last.unwrap_or_default())
    }

    /// Number up to which every record has a stamp.
    #[must_use]
    pub fn stamped_through(&self) -> RecordId {
        let first = self.store().state().unstamped.first();
        first.map_or_else(
            || self.last_id(),
            |first| RecordId::new(first.saturating_sub(1)),
        )
    }

    /// Smallest number that a record of this log can have: those below were removed by [`MessageLog::retire`].
    #[must_use]
    pub fn starts_at(&self) -> RecordId {
        RecordId::new(self.store().state().start.first_id)
    }
}

fn sealed(store: &Store) -> Vec<SealedSegment> {
    let state = store.state();
    let unstamped = state.unstamped.first().unwrap_or(u64::MAX);
    let mut found = Vec::new();
    let mut segments = state.segments.iter().peekable();
    while let (Some((number, segment)), Some((_, next))) = (segments.next(), segments.peek()) {
        let Source::File(index) = &segment.source else {
            break;
        };
        if unstamped < next.first_id {
            break;
        }
        let (oldest_ms, newest_ms) = index.times();
        let last = if index.count() > 0 {
            index.last_id
        } else {
            segment.first_id.saturating_sub(1)
        };
        found.push(SealedSegment {
            number: *number,
            records: index.count(),
            last: RecordId::new(last),
            oldest_ms,
            newest_ms,
            bytes: index.segment_length,
        });
    }
    found
}

fn retire(store: &Store, through: u64) -> Result<Retired, LogError> {
    let _turn = store.retiring();
    let mut retired = Retired::default();
    let mut numbers = BTreeSet::new();
    for segment in sealed(store).iter().filter(|it| it.number <= through) {
        numbers.insert(segment.number);
        retired.segments = retired.segments.saturating_add(1);
        retired.records = retired.records.saturating_add(segment.records);
    }
    let Some(last) = numbers.last().copied() else {
        return Ok(retired);
    };
    let start = {
        let state = store.state();
        let mut later = state.segments.range(last.saturating_add(1)..);
        let Some((number, next)) = later.next() else {
            return Ok(Retired::default());
        };
        LogStart {
            segment: *number,
            first_id: next.first_id,
            removed: state.start.removed.saturating_add(retired.records),
            next_body: store.peek_next_body(),
        }
    };
    start.write(&store.layout, store.fs.as_ref())?;
    {
        let mut state = store.state_mut();
        state.start = start;
        state.segments.retain(|number, _| *number >= start.segment);
        store.close_indexes(start.segment);
        state.dropped.remove_below(start.first_id);
    }
    let left = Leftovers::list(&store.layout, store.fs.as_ref(), start);
    if let Err(error) = left.and_then(|it| it.remove(&store.layout, store.fs.as_ref())) {
        tracing::warn!(%error, "files of removed segments stay until the next start");
    }
    Ok(retired)
}

/// Files in front of the log's beginning.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    segments: BTreeSet<u64>,
    indexes: BTreeSet<u64>,
}

impl Leftovers {
    pub(crate) fn list(layout: &Layout, fs: &dyn Fs, start: LogStart) -> Result<Self, LogError> {
        let dir = layout.dir();
        let mut left = Self::default();
        for name in fs.list(dir).map_err(LogError::at("list", dir))? {
            match Layout::parse(&name) {
                Some(Named::Segment(number)) if number < start.segment => {
                    left.segments.insert(number);
                }
                Some(Named::Index(number)) if number < start.segment => {
                    left.indexes.insert(number);
                }
                _ => {}
            }
        }
        Ok(left)
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = u64> {
        self.segments.iter().copied()
    }

    /// Removes them: of each segment first the bodies, which nobody would know of without it.
    pub(crate) fn remove(&self, layout: &Layout, fs: &dyn Fs) -> Result<(), LogError> {
        for number in &self.segments {
            for body in bodies(layout, fs, *number)?.iter() {
                remove(fs, &layout.body(body))?;
            }
            remove(fs, &layout.segment(*number))?;
        }
        for number in self.segments.union(&self.indexes) {
            remove(fs, &layout.index(*number))?;
        }
        Ok(())
    }
}

/// Numbers of the body files that a segment's records name.
fn bodies(layout: &Layout, fs: &dyn Fs, number: u64) -> Result<Runs, LogError> {
    let path = layout.index(number);
    if let Ok(file) = fs.open(&path, Access::Read)
        && let Ok(Some(summary)) = SealedIndex::open(file.as_ref())
    {
        return Ok(summary.sets.bodies);
    }
    let path = layout.segment(number);
    let file = fs
        .open(&path, Access::Read)
        .map_err(LogError::at("open", &path))?;
    let length = file.length().map_err(LogError::at("read", &path))?;
    let Ok(header) = read_header(file.as_ref(), &path, length)? else {
        return Ok(Runs::default());
    };
    let collected =
        collect(file.as_ref(), header.key, |_, _, _| {}).map_err(LogError::at("read", &path))?;
    Ok(collected.index.sets.bodies.clone())
}

fn remove(fs: &dyn Fs, path: &Path) -> Result<(), LogError> {
    match fs.remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(LogError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}
