//! Opening: what is in the directory becomes a log again.
//!
//! Every acknowledged record is kept. What was never committed goes: the torn end of the last segment, body files that
//! no record names, indexes without a name. Whatever is seen now is made durable before anybody else sees it, so that
//! it cannot vanish later.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::collect::{Collected, collect};
use crate::error::LogError;
use crate::fs::{self, Access, Fs, FsFile, SyncSite};
use crate::index::Sets;
use crate::index::file::SealedIndex;
use crate::layout::{Layout, Named};
use crate::num::narrow;
use crate::record::RecordId;
use crate::retire::Leftovers;
use crate::runs::Runs;
use crate::segment::{BadHeader, End, HEADER_BYTES, SegmentHeader, VERSION};
use crate::start::{Found, LogStart};
use crate::store::{Chore, LiveIndex, Segment, Source, State, Store};
use crate::tail::{Tail, Writer};
use crate::{LogConfig, read};

/// What was found at opening.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Records in the log.
    pub records: u64,
    /// Records that left the log on purpose, since it began.
    pub removed: u64,
    /// Segments, the active one included.
    pub segments: u64,
    /// Bytes of frames after the last commit, which were cut off.
    pub uncommitted_bytes: u64,
    /// Whether the last segment ended in the middle of a frame, which was cut off.
    pub torn: bool,
    /// Body files without a record, which were removed.
    pub orphan_bodies: u64,
    /// Indexes of sealed segments that were made again.
    pub indexes_rebuilt: u64,
    /// Acknowledged bytes that are not what was written. They are left as they are; everything else is there.
    pub damage: Vec<Damage>,
}

/// A place where acknowledged bytes are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// File.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What is wrong there.
    pub what: &'static str,
}

impl Damage {
    pub(crate) fn new(path: &Path, offset: u64, what: &'static str) -> Self {
        Self {
            path: path.to_path_buf(),
            offset,
            what,
        }
    }
}

/// A log that is ready for its committer.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) store: Store,
    pub(crate) tail: Tail,
    pub(crate) next_id: u64,
    pub(crate) report: RecoveryReport,
}

/// Opens the directory, making it if need be.
pub(crate) fn recover(config: LogConfig, fs: Arc<dyn Fs>) -> Result<Recovered, LogError> {
    let layout = Layout::new(&config.dir);
    let lock = prepare(&layout, fs.as_ref())?;
    let mut recovery = Recovery::new(&config, fs.as_ref(), &layout);
    recovery.start()?;
    let numbers = recovery.list()?;
    recovery.check_first(numbers.first().copied());
    let mut before = None;
    for number in &numbers {
        recovery.check_gap(before.replace(*number), *number);
        if numbers.last() == Some(number) {
            recovery.last(*number)?;
        } else {
            recovery.sealed(*number)?;
        }
    }
    // A record that does not read has taken a number that is not known now.
    let skipped = if recovery.report.damage.is_empty() {
        0
    } else {
        NUMBERS_OF_A_SEGMENT
    };
    let next_body = recovery.bodies()?;
    recovery.check_bad_bodies();
    let Recovery {
        mut state,
        sets,
        mut report,
        tail,
        rebuilt,
        last_id,
        redo,
        ..
    } = recovery;
    state.unstamped = sets.records;
    for (first, last) in sets.stamped.runs() {
        state.unstamped.remove_run(first, last);
    }
    state.dropped = sets.dropped;
    report.segments = crate::num::wide(state.segments.len());
    report.indexes_rebuilt = crate::num::wide(rebuilt.len());
    report.records = state
        .segments
        .values()
        .map(|it| it.source.count())
        .fold(0, u64::saturating_add);
    let store = Store::new(config, fs, state, next_body, lock);
    rebuilt.into_iter().for_each(|chore| store.do_chore(chore));
    for id in redo {
        redo_drop(&store, RecordId::new(id))?;
    }
    Ok(Recovered {
        store,
        tail,
        next_id: last_id.saturating_add(1).saturating_add(skipped),
        report,
    })
}

/// Makes and locks the directories, and makes their names durable: also those that a process left that ended before it
/// could.
fn prepare(
    layout: &Layout,
    fs: &dyn Fs,
) -> Result<Box<dyn std::fmt::Debug + Send + Sync>, LogError> {
    let dir = layout.dir();
    fs.create_dir(dir).map_err(LogError::at("create", dir))?;
    let lock = fs.lock_dir(dir).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => LogError::Locked {
            path: dir.to_path_buf(),
        },
        _ => LogError::io("lock", dir, error),
    })?;
    if let Some(parent) = dir.parent().filter(|it| !it.as_os_str().is_empty()) {
        fs.sync_dir(parent, SyncSite::LogRoot)
            .map_err(LogError::at("sync", parent))?;
    } else {
        fs.sync_dir(Path::new("."), SyncSite::LogRoot)
            .map_err(LogError::at("sync", Path::new(".")))?;
    }
    fs.create_dir(layout.bodies())
        .map_err(LogError::at("create", layout.bodies()))?;
    fs.sync_dir(dir, SyncSite::RecoveredDir)
        .map_err(LogError::at("sync", dir))?;
    Ok(lock)
}

struct Recovery<'a> {
    config: &'a LogConfig,
    fs: &'a dyn Fs,
    layout: &'a Layout,
    state: State,
    sets: Sets,
    report: RecoveryReport,
    tail: Tail,
    rebuilt: Vec<Chore>,
    last_id: u64,
    bad_bodies: BTreeMap<u64, (PathBuf, u64)>,
    redo: Vec<u64>,
}

impl<'a> Recovery<'a> {
    fn new(config: &'a LogConfig, fs: &'a dyn Fs, layout: &'a Layout) -> Self {
        Self {
            config,
            fs,
            layout,
            state: State::default(),
            sets: Sets::default(),
            report: RecoveryReport::default(),
            tail: Tail::Wanted(1),
            rebuilt: Vec::new(),
            last_id: 0,
            bad_bodies: BTreeMap::new(),
            redo: Vec::new(),
        }
    }

    /// Where the log begins. Files in front of that are what a removal had no time for.
    fn start(&mut self) -> Result<(), LogError> {
        match LogStart::read(self.layout, self.fs)? {
            Found::Start(start) => self.state.start = start,
            Found::Damaged => self.report.damage.push(Damage::new(
                &self.layout.start(),
                0,
                "where the log begins is not what was written",
            )),
        }
        let start = self.state.start;
        self.tail = Tail::Wanted(start.segment);
        self.last_id = start.first_id.saturating_sub(1);
        self.report.removed = start.removed;
        let left = Leftovers::list(self.layout, self.fs, start)?;
        if let Err(error) = left.remove(self.layout, self.fs) {
            tracing::warn!(%error, "files of removed segments stay until the next start");
        }
        Ok(())
    }

    /// Nothing may be missing at the front but what was removed on purpose.
    fn check_first(&mut self, first: Option<u64>) {
        let start = self.state.start.segment;
        if first.map_or(start > 1, |first| first > start) {
            self.report.damage.push(Damage::new(
                &self.layout.segment(start),
                0,
                "a segment is missing",
            ));
        }
    }

    /// Numbers of the segments in ascending order.
    fn list(&self) -> Result<Vec<u64>, LogError> {
        let dir = self.layout.dir();
        let names = self.fs.list(dir).map_err(LogError::at("list", dir))?;
        let mut numbers = BTreeSet::new();
        for name in names {
            match Layout::parse(&name) {
                Some(Named::Segment(number)) => drop(numbers.insert(number)),
                Some(Named::IndexDraft | Named::StartDraft) => {
                    let path = dir.join(&name);
                    self.fs
                        .remove(&path)
                        .map_err(LogError::at("remove", &path))?;
                }
                Some(Named::Index(_)) | None => {}
            }
        }
        Ok(numbers.into_iter().collect())
    }

    /// None may be missing from the middle.
    fn check_gap(&mut self, before: Option<u64>, number: u64) {
        let expected = before.map(|it| it.saturating_add(1)).unwrap_or(number);
        if expected != number {
            self.report.damage.push(Damage::new(
                &self.layout.segment(expected),
                0,
                "a segment is missing",
            ));
        }
    }

    /// A segment that has a successor: its index is enough if it is there, else it is read and its index made again.
    fn sealed(&mut self, number: u64) -> Result<(), LogError> {
        let path = self.layout.segment(number);
        let file = self.open(&path, Access::Read)?;
        let length = file.length().map_err(LogError::at("read", &path))?;
        let header = match read_header(file.as_ref(), &path, length)? {
            Ok(header) => header,
            Err(damage) => {
                self.report.damage.push(damage);
                return Ok(());
            }
        };
        if let Some(index) = self.index(number)
            && index.0.key == header.key
            && index.0.segment_length == length
        {
            let (index, sets) = index;
            self.last_id = self
                .last_id
                .max(index.last_id)
                .max(header.first_id.saturating_sub(1));
            self.last_id = index
                .stamps
                .iter()
                .map(|it| it.id)
                .fold(self.last_id, u64::max);
            self.add_sets(&sets);
            self.add_segment(header, Source::File(Arc::new(index)));
            return Ok(());
        }
        let collected = self.collect(file.as_ref(), &path, header)?;
        if collected.sealed.is_none() {
            self.report.damage.push(Damage::new(
                &path,
                collected.committed_end,
                "the end of the segment is missing",
            ));
        }
        // A damaged segment gets no index, so that each start tells of it.
        let wants_index = collected.sealed.is_some() && collected.damage.is_empty();
        let key = header.key;
        let index = self.add_collected(header, file, &path, collected);
        if wants_index {
            let chore = Chore::WriteIndex { key, length, index };
            self.rebuilt.push(chore);
        }
        Ok(())
    }

    /// The last segment: always read, cut off after its last commit and made durable.
    fn last(&mut self, number: u64) -> Result<(), LogError> {
        let path = self.layout.segment(number);
        let file = self.open(&path, Access::ReadWrite)?;
        let failed = |operation| LogError::at(operation, &path);
        let length = file.length().map_err(failed("read"))?;
        let header = match read_header(file.as_ref(), &path, length)? {
            Ok(header) => header,
            Err(damage) => {
                // Its header is synced before anything is written behind it: without one and empty it never began.
                if is_empty(file.as_ref(), length).map_err(failed("read"))? {
                    self.fs.remove(&path).map_err(failed("remove"))?;
                    self.tail = Tail::Wanted(number);
                } else {
                    self.report.damage.push(damage);
                    self.tail = Tail::Wanted(number.saturating_add(1));
                }
                return Ok(());
            }
        };
        let collected = self.collect(file.as_ref(), &path, header)?;
        let end = collected.committed_end;
        let scanned = match collected.end {
            End::Clean(end) => end,
            End::Torn(end) => {
                self.report.torn = true;
                end
            }
        };
        self.report.uncommitted_bytes = scanned.saturating_sub(end);
        let whole = collected.damage.is_empty();
        if whole {
            file.set_len(end).map_err(failed("cut off"))?;
            if collected.sealed.is_none() {
                // A full disk must not keep the log from opening.
                let _ = file.allocate(self.config.segment_bytes);
            }
        }
        rewrite(file.as_ref(), collected.last_landmark, end).map_err(failed("write"))?;
        file.sync_data(SyncSite::RecoveredTail)
            .map_err(failed("sync"))?;
        self.tail = Tail::Wanted(number.saturating_add(1));
        if whole && collected.sealed.is_none() {
            let (key, file, path, batches) = (
                header.key,
                Arc::clone(&file),
                path.clone(),
                collected.batches,
            );
            self.tail = Tail::Open(Writer {
                key,
                file,
                path,
                end,
                batches,
            });
        }
        let length = file.length().map_err(failed("read"))?;
        let wants_index = whole && collected.sealed.is_some();
        let key = header.key;
        self.redo = collected.index.sets.dropped.iter().collect();
        let index = self.add_collected(header, file, &path, collected);
        if wants_index {
            let chore = Chore::WriteIndex { key, length, index };
            self.rebuilt.push(chore);
        }
        Ok(())
    }

    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn FsFile>, LogError> {
        self.fs
            .open(path, access)
            .map_err(LogError::at("open", path))
    }

    fn collect(
        &mut self,
        file: &dyn FsFile,
        path: &Path,
        header: SegmentHeader,
    ) -> Result<Collected, LogError> {
        let collected =
            collect(file, header.key, |_, _, _| {}).map_err(LogError::at("read", path))?;
        let damage = collected
            .damage
            .iter()
            .map(|(offset, what)| Damage::new(path, *offset, what));
        self.report.damage.extend(damage);
        Ok(collected)
    }

    /// The index of a sealed segment, if it is there and whole. One that is not is made again.
    fn index(&self, number: u64) -> Option<(SealedIndex, Sets)> {
        let file = self
            .fs
            .open(&self.layout.index(number), Access::Read)
            .ok()?;
        let summary = SealedIndex::open(file.as_ref()).ok().flatten()?;
        Some((summary.index, summary.sets))
    }

    fn add_collected(
        &mut self,
        header: SegmentHeader,
        file: Arc<dyn FsFile>,
        path: &Path,
        collected: Collected,
    ) -> LiveIndex {
        self.last_id = self
            .last_id
            .max(collected.last_id)
            .max(header.first_id.saturating_sub(1));
        for (id, offset) in &collected.bad_bodies {
            self.bad_bodies.insert(*id, (path.to_path_buf(), *offset));
        }
        self.add_sets(&collected.index.sets);
        let index = LiveIndex::new(collected.index);
        let source = Source::Memory {
            index: index.clone(),
            file,
        };
        self.add_segment(header, source);
        index
    }

    fn add_segment(&mut self, header: SegmentHeader, source: Source) {
        let SegmentHeader { key, first_id } = header;
        self.state.segments.insert(
            key.number,
            Segment {
                key,
                first_id,
                source,
            },
        );
    }

    fn add_sets(&mut self, sets: &Sets) {
        let Sets {
            records,
            stamped,
            dropped,
            bodies,
            dropped_bodies,
        } = &mut self.sets;
        for (all, new) in [
            (records, &sets.records),
            (stamped, &sets.stamped),
            (dropped, &sets.dropped),
            (bodies, &sets.bodies),
            (dropped_bodies, &sets.dropped_bodies),
        ] {
            new.runs()
                .for_each(|(first, last)| all.insert_run(first, last));
        }
    }

    /// Removes body files that no record names, misses those that one does, and tells the next free number. Where a
    /// record may be unreadable nothing is removed: the file may be its.
    fn bodies(&mut self) -> Result<u64, LogError> {
        let dir = self.layout.bodies();
        let names = self.fs.list(dir).map_err(LogError::at("list", dir))?;
        let mut present = Runs::default();
        names
            .iter()
            .filter_map(|name| Layout::parse_body(name))
            .for_each(|number| present.insert(number));
        let all_known = self.report.damage.is_empty();
        let Sets {
            bodies,
            dropped_bodies,
            ..
        } = &self.sets;
        let unnamed =
            |it: &u64| dropped_bodies.contains(*it) || (all_known && !bodies.contains(*it));
        for number in present.iter().filter(unnamed) {
            let path = self.layout.body(number);
            self.fs
                .remove(&path)
                .map_err(LogError::at("remove", &path))?;
            self.report.orphan_bodies = self.report.orphan_bodies.saturating_add(1);
        }
        for number in bodies
            .iter()
            .filter(|it| !present.contains(*it) && !dropped_bodies.contains(*it))
        {
            self.report.damage.push(Damage::new(
                &self.layout.body(number),
                0,
                "a record's body is missing",
            ));
        }
        let last = present
            .iter()
            .chain(bodies.iter())
            .chain(dropped_bodies.iter())
            .max()
            .unwrap_or_default();
        Ok(last.saturating_add(1).max(self.state.start.next_body))
    }

    fn check_bad_bodies(&mut self) {
        for (id, (path, offset)) in std::mem::take(&mut self.bad_bodies) {
            if !self.sets.dropped.contains(id) {
                self.report.damage.push(Damage::new(
                    &path,
                    offset,
                    "a body is not what was written",
                ));
            }
        }
    }
}

/// Writes the last batch again as it is. If its sync failed under a process that then died, the system takes it for
/// written, shows it to us, and would not write it at the next sync.
fn rewrite(file: &dyn FsFile, mut from: u64, end: u64) -> std::io::Result<()> {
    while from < end {
        let bytes = fs::read_bytes_at(file, from, narrow(end.saturating_sub(from).min(1 << 20)))?;
        file.write_at(from, &mut [IoSlice::new(&bytes)])?;
        from = from.saturating_add(crate::num::wide(bytes.len()));
    }
    Ok(())
}

/// Overwrites again what was dropped in the segment that was active: perhaps there was no time for it.
fn redo_drop(store: &Store, id: RecordId) -> Result<(), LogError> {
    let chores = read::inline_chores(store, id)?;
    chores.into_iter().for_each(|chore| store.do_chore(chore));
    Ok(())
}

/// A segment's header, or what is wrong with it.
pub(crate) fn read_header(
    file: &dyn FsFile,
    path: &Path,
    length: u64,
) -> Result<Result<SegmentHeader, Damage>, LogError> {
    let bytes = fs::read_bytes_at(file, 0, narrow(length.min(HEADER_BYTES)));
    let bytes = bytes.map_err(LogError::at("read", path))?;
    match SegmentHeader::decode(&bytes) {
        Ok(header) => Ok(Ok(header)),
        Err(BadHeader::Checksum) => Ok(Err(Damage::new(
            path,
            0,
            "the segment's header is not what was written",
        ))),
        Err(BadHeader::Version(found)) => Err(LogError::UnknownVersion {
            path: path.to_path_buf(),
            found,
            known: VERSION,
        }),
    }
}

/// Whether nothing but zeros follows the header.
pub(crate) fn is_empty(file: &dyn FsFile, length: u64) -> std::io::Result<bool> {
    let mut at = HEADER_BYTES;
    while at < length {
        let bytes = fs::read_bytes_at(file, at, narrow(length.saturating_sub(at).min(1 << 20)))?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at = at.saturating_add(crate::num::wide(bytes.len()));
    }
    Ok(true)
}

/// More than the records that fit a segment.
const NUMBERS_OF_A_SEGMENT: u64 = 1 << 20;
