//! A log that is only looked at: by an auditor, beside the server that writes it, or a copy of it on a disk that cannot
//! be written.

use std::collections::{BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::body::BodySource;
use crate::collect::{Collected, collect_beside_writer};
use crate::error::LogError;
use crate::fs::{Access, Fs, FsFile};
use crate::index::file::SealedIndex;
use crate::index::{Entry, Filter, Sets};
use crate::layout::{Layout, Named};
use crate::record::{Record, RecordId};
use crate::recover::{Damage, is_empty, read_header};
use crate::segment::{End, SegmentHeader};
use crate::start::{Found, LogStart};
use crate::store::{LiveIndex, Segment, Source, State, Store};
use crate::{LogConfig, read};

/// A message log as it stood when it was opened. Nothing is written, locked or mended, so a server may write the log
/// meanwhile, and a directory without write permission is as good.
///
/// What a server writes afterwards is not seen. What it has written and not yet acknowledged may be.
///
/// Reading waits for the disk. All methods may be called from many threads.
#[derive(Debug)]
pub struct LogReader {
    store: Store,
    last_segment: u64,
}

/// What was seen at opening.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderReport {
    /// Segments that read.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// Records that left the log on purpose, since it began.
    pub removed: u64,
    /// Records of them that have no stamp yet.
    pub unstamped: u64,
    /// Whether the last segment ends in what nobody was told of: it is being written, or was when it was copied.
    pub unfinished: bool,
    /// Places where acknowledged bytes are missing or not what was written. Everything else can be read.
    pub damage: Vec<Damage>,
}

impl LogReader {
    /// Whether a directory holds a message log: something in it has the name of a segment.
    ///
    /// # Errors
    /// [`LogError::Io`] if the directory cannot be listed.
    pub fn is_log(dir: &Path, fs: &dyn Fs) -> Result<bool, LogError> {
        Ok(!numbers(&Layout::new(dir), fs)?.is_empty())
    }

    /// Opens the log in `dir`. Sealed segments that have no index are read whole, as is the last one.
    ///
    /// # Errors
    /// [`LogError::UnknownVersion`] if a newer program wrote it, [`LogError::Io`] from the file system. Damage is not an
    /// error: it is in the report.
    pub fn open(dir: &Path, fs: Arc<dyn Fs>) -> Result<(Self, ReaderReport), LogError> {
        let layout = Layout::new(dir);
        let mut numbers = numbers(&layout, fs.as_ref())?;
        // After the list: a server writes it before it removes anything.
        let found = LogStart::read(&layout, fs.as_ref())?;
        let start = match found {
            Found::Start(start) => start,
            Found::Damaged => LogStart::default(),
        };
        let numbers = numbers.split_off(&start.segment);
        let mut opening = Opening {
            fs: fs.as_ref(),
            layout: &layout,
            state: State::default(),
            sets: Sets::default(),
            bad_bodies: Vec::new(),
            report: ReaderReport::default(),
        };
        opening.state.start = start;
        opening.report.removed = start.removed;
        if found == Found::Damaged {
            let what = "where the log begins is not what was written";
            opening.damage(&layout.start(), 0, what);
        }
        if numbers.is_empty() && start.segment > 1 {
            opening.damage(&layout.segment(start.segment), 0, "a segment is missing");
        }
        let mut expected = Some(start.segment);
        for number in &numbers {
            if let Some(expected) = expected.filter(|it| it != number) {
                opening.damage(&layout.segment(expected), 0, "a segment is missing");
            }
            match opening.segment(*number, numbers.last() == Some(number)) {
                // its server has removed it since
                Err(_) if opening.is_gone(*number)? => {}
                read => read?,
            }
            expected = number.checked_add(1);
        }
        let (state, report) = opening.finish();
        let last_segment = numbers.last().copied().unwrap_or_default();
        let store = Store::new(LogConfig::new(dir), fs, state, 0, Box::new(()));
        Ok((
            Self {
                store,
                last_segment,
            },
            report,
        ))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Ids of all records in ascending order. What cannot be listed ends it with an error.
    #[must_use]
    pub fn ids(&self) -> Ids<'_> {
        Ids {
            reader: self,
            segments: self.store.state().segments.keys().copied().collect(),
            entries: Vec::new().into_iter(),
        }
    }

    /// A record with its stamp, if there is one with this id.
    ///
    /// # Errors
    /// [`LogError::Io`] or [`LogError::Damaged`] if it cannot be read.
    pub fn read(&self, id: RecordId) -> Result<Option<Record>, LogError> {
        read::record(&self.store, id)
    }

    /// A body of a record; `None` if there is no such record or body, or the bodies were dropped, also since the log
    /// was opened.
    ///
    /// # Errors
    /// [`LogError::Io`] or [`LogError::Damaged`] if it cannot be read.
    pub fn body(&self, id: RecordId, index: u32) -> Result<Option<BodySource>, LogError> {
        let error = match read::body(&self.store, id, index) {
            Err(error) => error,
            read => return read,
        };
        // the server may have dropped it meanwhile
        self.look_for_drops()?;
        if self.store.state().dropped.contains(id.get()) {
            return Ok(None);
        }
        Err(error)
    }

    /// Reads what was written since about bodies that are not kept.
    fn look_for_drops(&self) -> Result<(), LogError> {
        let (layout, fs) = (&self.store.layout, self.store.fs.as_ref());
        for number in numbers(layout, fs)?.range(self.last_segment..) {
            let path = layout.segment(*number);
            let file = fs
                .open(&path, Access::Read)
                .map_err(LogError::at("open", &path))?;
            let length = file.length().map_err(LogError::at("read", &path))?;
            let Ok(header) = read_header(file.as_ref(), &path, length)? else {
                continue;
            };
            let collected = collect_beside_writer(file.as_ref(), header.key, true)
                .map_err(LogError::at("read", &path))?;
            let mut state = self.store.state_mut();
            for id in collected.index.sets.dropped.iter() {
                state.dropped.insert(id);
            }
        }
        Ok(())
    }
}

/// Ids of a log's records, from [`LogReader::ids`]. Holds one segment's at a time.
#[derive(Debug)]
pub struct Ids<'a> {
    reader: &'a LogReader,
    segments: VecDeque<u64>,
    entries: std::vec::IntoIter<Entry>,
}

impl Iterator for Ids<'_> {
    type Item = Result<RecordId, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Some(Ok(RecordId::new(entry.id)));
            }
            let number = self.segments.pop_front()?;
            match read::entries(&self.reader.store, number, &Filter::default()) {
                Ok(entries) => self.entries = entries.into_iter(),
                // its server has removed it since
                Err(_) if number < self.reader.store.start_now().segment => {}
                Err(error) => {
                    self.segments.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

struct Opening<'a> {
    fs: &'a dyn Fs,
    layout: &'a Layout,
    state: State,
    sets: Sets,
    /// Bodies in segments that are not what was written: record, where. A drop seen later excuses them.
    bad_bodies: Vec<(u64, Damage)>,
    report: ReaderReport,
}

impl Opening<'_> {
    /// Whether a segment was removed on purpose since the log was opened.
    fn is_gone(&self, number: u64) -> Result<bool, LogError> {
        let now = LogStart::read(self.layout, self.fs)?;
        Ok(matches!(now, Found::Start(start) if number < start.segment))
    }

    fn damage(&mut self, path: &Path, offset: u64, what: &'static str) {
        self.report.damage.push(Damage::new(path, offset, what));
    }

    fn segment(&mut self, number: u64, last: bool) -> Result<(), LogError> {
        let path = self.layout.segment(number);
        let file = self
            .fs
            .open(&path, Access::Read)
            .map_err(LogError::at("open", &path))?;
        let length = file.length().map_err(LogError::at("read", &path))?;
        let header = match read_header(file.as_ref(), &path, length)? {
            Ok(header) => header,
            // about to be made
            Err(_)
                if last
                    && is_empty(file.as_ref(), length).map_err(LogError::at("read", &path))? =>
            {
                self.report.unfinished = true;
                return Ok(());
            }
            Err(damage) => {
                self.report.damage.push(damage);
                return Ok(());
            }
        };
        if header.key.number != number {
            self.damage(&path, 0, "the segment has another number than its name");
            return Ok(());
        }
        if let Some(summary) = self.index(header, length).filter(|_| !last) {
            self.add(header, &path, Source::File(Arc::new(summary.0)), &summary.1);
            return Ok(());
        }
        let collected = collect_beside_writer(file.as_ref(), header.key, last)
            .map_err(LogError::at("read", &path))?;
        self.add_collected(header, file, &path, last, collected);
        Ok(())
    }

    /// The index of a sealed segment, if it is there, whole and of this segment.
    fn index(&self, header: SegmentHeader, length: u64) -> Option<(SealedIndex, Sets)> {
        let path = self.layout.index(header.key.number);
        let file = self.fs.open(&path, Access::Read).ok()?;
        let summary = SealedIndex::open(file.as_ref()).ok().flatten()?;
        let is_its = summary.index.key == header.key && summary.index.segment_length == length;
        let is_whole = is_its && summary.index.data_is_whole(file.as_ref()).ok()?;
        is_whole.then_some((summary.index, summary.sets))
    }

    fn add_collected(
        &mut self,
        header: SegmentHeader,
        file: Arc<dyn FsFile>,
        path: &Path,
        last: bool,
        collected: Collected,
    ) {
        for (offset, what) in &collected.damage {
            self.damage(path, *offset, what);
        }
        for (id, offset) in &collected.bad_bodies {
            let damage = Damage::new(path, *offset, "a body is not what was written");
            self.bad_bodies.push((*id, damage));
        }
        let records = crate::num::wide(collected.index.entries.len());
        match (collected.sealed, last) {
            (Some(count), _) if count != records => {
                self.damage(path, 0, "the segment has lost records");
            }
            (Some(_), _) => {}
            (None, true) => {
                let (End::Clean(end) | End::Torn(end)) = collected.end;
                self.report.unfinished |=
                    matches!(collected.end, End::Torn(_)) || end > collected.committed_end;
            }
            (None, false) => self.damage(
                path,
                collected.committed_end,
                "the end of the segment is missing",
            ),
        }
        let sets = collected.index.sets.clone();
        let source = Source::Memory {
            index: LiveIndex::new(collected.index),
            file,
        };
        self.add(header, path, source, &sets);
    }

    fn add(&mut self, header: SegmentHeader, path: &Path, source: Source, sets: &Sets) {
        let last = self.sets.records.runs().last().map(|(_, last)| last);
        let first = sets.records.first();
        if first.is_some_and(|first| last.is_some_and(|last| first <= last)) {
            self.damage(path, 0, "a record's number is not larger than those before");
        }
        for (all, new) in [
            (&mut self.sets.records, &sets.records),
            (&mut self.sets.stamped, &sets.stamped),
            (&mut self.sets.dropped, &sets.dropped),
        ] {
            for (first, last) in new.runs() {
                all.insert_run(first, last);
            }
        }
        let SegmentHeader { key, first_id } = header;
        let segment = Segment {
            key,
            first_id,
            source,
        };
        self.state.segments.insert(key.number, segment);
    }

    fn finish(self) -> (State, ReaderReport) {
        let Self {
            layout,
            mut state,
            sets,
            bad_bodies,
            mut report,
            ..
        } = self;
        let dir = layout.dir().to_path_buf();
        report.segments = crate::num::wide(state.segments.len());
        report.records = sets.records.count();
        state.unstamped = sets.records;
        // a stamp may cover records of segments that were removed on purpose
        let first = state.start.first_id;
        let gone = sets
            .stamped
            .iter()
            .filter(|id| *id >= first && !state.unstamped.contains(*id));
        for _ in gone.take(MOST_GONE) {
            let what = "a stamp covers a record that is not there";
            report.damage.push(Damage::new(&dir, 0, what));
        }
        for (first, last) in sets.stamped.runs() {
            state.unstamped.remove_run(first, last);
        }
        report.unstamped = state.unstamped.count();
        let kept = bad_bodies
            .into_iter()
            .filter(|(id, _)| !sets.dropped.contains(*id));
        report.damage.extend(kept.map(|(_, damage)| damage));
        state.dropped = sets.dropped;
        (state, report)
    }
}

/// Numbers of the segments there are now.
pub(crate) fn numbers(layout: &Layout, fs: &dyn Fs) -> Result<BTreeSet<u64>, LogError> {
    let names = match fs.list(layout.dir()) {
        Err(error) if error.kind() == ErrorKind::NotADirectory => Vec::new(),
        names => names.map_err(LogError::at("list", layout.dir()))?,
    };
    let number = |name: &String| match Layout::parse(name) {
        Some(Named::Segment(number)) => Some(number),
        _ => None,
    };
    Ok(names.iter().filter_map(number).collect())
}

/// Missing records that are told one by one.
const MOST_GONE: usize = 100;
