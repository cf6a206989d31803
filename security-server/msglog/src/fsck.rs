//! Checks a log without changing it, also one that is in use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::collect::{Collected, collect, look_again};
use crate::commit::{Body, Commit, Piece, Place};
use crate::error::LogError;
use crate::fs::{self, Access, Fs, FsFile};
use crate::index::file::{self, SealedIndex};
use crate::layout::Layout;
use crate::num::{narrow, short, wide};
use crate::reader::numbers;
use crate::recover::{Damage, read_header};
use crate::retire::Leftovers;
use crate::runs::Runs;
use crate::segment::{End, FrameKind, SegmentHeader, SegmentKey};
use crate::start::{Found, LogStart};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsckReport {
    /// Segments read.
    pub segments: u64,
    /// Records read.
    pub records: u64,
    /// Bodies read, in segments and in files; dropped ones are not there to be read.
    pub bodies: u64,
    /// Stamps read.
    pub stamps: u64,
    /// Records that left the log on purpose, since it began.
    pub removed: u64,
    /// Records without a stamp.
    pub unstamped: u64,
    /// What is not as it should be and costs no record: the next start of the server mends it.
    pub notes: Vec<Damage>,
    /// Acknowledged bytes that are not what was written.
    pub damage: Vec<Damage>,
}

impl FsckReport {
    /// Whether nothing acknowledged is damaged.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty()
    }
}

impl fmt::Display for FsckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, found) in [("note", &self.notes), ("damage", &self.damage)] {
            for Damage { path, offset, what } in found {
                writeln!(f, "{word}: {}: byte {offset}: {what}", path.display())?;
            }
        }
        let Self {
            segments,
            records,
            bodies,
            stamps,
            removed,
            unstamped,
            ..
        } = self;
        write!(
            f,
            "{segments} segments, {records} records ({unstamped} unstamped), {bodies} bodies, {stamps} stamps"
        )?;
        if *removed > 0 {
            write!(f, ", {removed} records removed before")?;
        }
        write!(f, ": ")?;
        match self.damage.len() {
            0 => write!(f, "clean"),
            count => write!(f, "{count} damaged"),
        }
    }
}

/// Reads everything in a log's directory: every frame, every body, every index, and whether they fit together.
///
/// # Errors
/// [`LogError::Io`] if something cannot be read at all, [`LogError::UnknownVersion`] if a newer program wrote it.
pub fn fsck(dir: &Path, fs: &dyn Fs) -> Result<FsckReport, LogError> {
    let layout = Layout::new(dir);
    let numbers = numbers(&layout, fs)?;
    // After the list: a server writes it before it removes anything.
    let found = LogStart::read(&layout, fs)?;
    let mut check = Check {
        fs,
        layout: &layout,
        report: FsckReport::default(),
        known: Known::default(),
        start: LogStart::default(),
    };
    let numbers = check.start(found, numbers)?;
    let mut before = check.start.segment.checked_sub(1);
    for number in &numbers {
        let expected = before
            .replace(*number)
            .map_or(*number, |it| it.saturating_add(1));
        if expected != *number {
            check.damage(&layout.segment(expected), 0, "a segment is missing");
        }
        match check.segment(*number, numbers.last() == Some(number)) {
            // its server has removed it since
            Err(_) if check.start_now()?.segment > *number => check.start = check.start_now()?,
            read => read?,
        }
    }
    check.bodies(before.unwrap_or_default())?;
    let Check {
        mut report, known, ..
    } = check;
    let stamped = known
        .stamped
        .iter()
        .filter(|it| known.records.contains(*it));
    report.unstamped = known.records.count().saturating_sub(wide(stamped.count()));
    Ok(report)
}

struct Check<'a> {
    fs: &'a dyn Fs,
    layout: &'a Layout,
    report: FsckReport,
    known: Known,
    start: LogStart,
}

/// What has been seen in the segments so far.
#[derive(Default)]
struct Known {
    last_id: u64,
    records: Runs,
    stamped: Runs,
    dropped: Runs,
    files: BTreeMap<u64, (u64, Body)>,
    /// Inline bodies that do not read: record, where.
    bad: Vec<(u64, PathBuf, u64)>,
}

impl Check<'_> {
    fn damage(&mut self, path: &Path, offset: u64, what: &'static str) {
        self.report.damage.push(Damage::new(path, offset, what));
    }

    fn note(&mut self, path: &Path, offset: u64, what: &'static str) {
        self.report.notes.push(Damage::new(path, offset, what));
    }

    /// Where the log begins, and its segments from there on.
    fn start(
        &mut self,
        found: Found,
        mut numbers: BTreeSet<u64>,
    ) -> Result<BTreeSet<u64>, LogError> {
        match found {
            Found::Start(start) => self.start = start,
            Found::Damaged => {
                let path = self.layout.start();
                self.damage(&path, 0, "where the log begins is not what was written");
            }
        }
        self.report.removed = self.start.removed;
        for number in Leftovers::list(self.layout, self.fs, self.start)?.segments() {
            let path = self.layout.segment(number);
            self.note(&path, 0, "a removed segment whose file is still there");
        }
        let numbers = numbers.split_off(&self.start.segment);
        if numbers.is_empty() && self.start.segment > 1 {
            let path = self.layout.segment(self.start.segment);
            self.damage(&path, 0, "a segment is missing");
        }
        Ok(numbers)
    }

    /// Where the log begins by now.
    fn start_now(&self) -> Result<LogStart, LogError> {
        match LogStart::read(self.layout, self.fs)? {
            Found::Start(start) => Ok(start),
            Found::Damaged => Ok(self.start),
        }
    }

    fn segment(&mut self, number: u64, last: bool) -> Result<(), LogError> {
        let path = self.layout.segment(number);
        let file = self
            .fs
            .open(&path, Access::Read)
            .map_err(LogError::at("open", &path))?;
        let file = file.as_ref();
        let length = file.length().map_err(LogError::at("read", &path))?;
        let header = match read_header(file, &path, length)? {
            Ok(header) => header,
            Err(_)
                if last
                    && crate::recover::is_empty(file, length)
                        .map_err(LogError::at("read", &path))? =>
            {
                self.note(&path, 0, "a segment that was about to be made");
                return Ok(());
            }
            Err(damage) => {
                self.report.damage.push(damage);
                return Ok(());
            }
        };
        if header.key.number != number {
            self.damage(&path, 16, "the segment has another number than its name");
        }
        let (collected, commits) = self.read(file, &path, header.key, last)?;
        self.report.segments = self.report.segments.saturating_add(1);
        self.report.records = self
            .report
            .records
            .saturating_add(wide(collected.index.entries.len()));
        self.report.stamps = self
            .report
            .stamps
            .saturating_add(wide(collected.index.stamps.len()));
        for (offset, what) in &collected.damage {
            self.damage(&path, *offset, what);
        }
        for (id, offset) in &collected.bad_bodies {
            self.known.bad.push((*id, path.clone(), *offset));
        }
        for (commit, offset, own) in &commits {
            self.commit(&collected, &path, header, (commit, *offset, *own));
        }
        self.stamps(&collected, &path);
        self.end(&collected, &path, last);
        if collected.sealed.is_some() {
            self.index(header, length, &collected)?;
        }
        Ok(())
    }

    /// Reads all frames. The server may be writing the last segment: what looks like damage there is looked at again.
    fn read(
        &self,
        file: &dyn FsFile,
        path: &Path,
        key: SegmentKey,
        last: bool,
    ) -> Result<(Collected, Commits), LogError> {
        let once = || {
            let mut commits = Vec::new();
            let visit = |commit: &Commit, offset, own: &[u8]| {
                commits.push((commit.clone(), offset, wide(own.len())))
            };
            collect(file, key, visit).map(|collected| (collected, commits))
        };
        look_again(last, once, |(collected, _)| collected).map_err(LogError::at("read", path))
    }

    /// One record: its number is larger than all before, its bytes are all there.
    fn commit(
        &mut self,
        collected: &Collected,
        path: &Path,
        header: SegmentHeader,
        (commit, offset, own): (&Commit, u64, u64),
    ) {
        if commit.id <= self.known.last_id || commit.id < header.first_id {
            self.damage(
                path,
                offset,
                "a record's number is not larger than those before",
            );
        }
        self.known.last_id = commit.id.max(self.known.last_id);
        self.known.records.insert(commit.id);
        let mut wanted = 0_u64;
        for piece in commit.pieces() {
            match *piece {
                Piece::Own { length } => wanted = wanted.saturating_add(length.into()),
                Piece::Shared { offset: at, length } => {
                    if collected.blobs.get(&at) != Some(&(FrameKind::Shared, length)) {
                        self.damage(path, offset, "bytes that the record shares are not there");
                    }
                }
            }
        }
        if wanted != own {
            self.damage(path, offset, "a record is not as long as it says");
        }
        for body in &commit.bodies {
            match body.place {
                Place::File { number } => {
                    if self
                        .known
                        .files
                        .insert(number, (commit.id, body.clone()))
                        .is_some()
                    {
                        self.damage(path, offset, "two records have the same body file");
                    }
                }
                Place::Frame { offset: at } => {
                    let stored = collected.blobs.get(&at);
                    let whole = stored
                        .is_some_and(|it| *it == (FrameKind::Body, short(narrow(body.length))));
                    if !whole && !collected.bad_bodies.contains(&(commit.id, at)) {
                        self.damage(path, at, "a body is not there");
                    }
                    self.report.bodies = self.report.bodies.saturating_add(1);
                }
                Place::Nowhere => {}
            }
        }
    }

    /// Drops that the server has written since the last segment was read.
    fn later_drops(&mut self, last: u64) -> Result<(), LogError> {
        for number in numbers(self.layout, self.fs)?.range(last..) {
            let path = self.layout.segment(*number);
            let file = self
                .fs
                .open(&path, Access::Read)
                .map_err(LogError::at("open", &path))?;
            let length = file.length().map_err(LogError::at("read", &path))?;
            if let Ok(header) = read_header(file.as_ref(), &path, length)? {
                let (collected, _) = self.read(file.as_ref(), &path, header.key, true)?;
                collected
                    .index
                    .sets
                    .dropped
                    .iter()
                    .for_each(|id| self.known.dropped.insert(id));
            }
        }
        Ok(())
    }

    fn stamps(&mut self, collected: &Collected, path: &Path) {
        let sets = &collected.index.sets;
        for id in sets.stamped.iter() {
            if id < self.start.first_id {
                // it was removed, and its stamp stands in a segment that was not
            } else if !self.known.records.contains(id) {
                self.damage(path, 0, "a stamp covers a record that is not there");
            } else if self.known.stamped.contains(id) {
                self.damage(path, 0, "two stamps cover one record");
            }
            self.known.stamped.insert(id);
        }
        sets.dropped
            .iter()
            .for_each(|id| self.known.dropped.insert(id));
    }

    fn end(&mut self, collected: &Collected, path: &Path, last: bool) {
        let records = wide(collected.index.entries.len());
        match collected.sealed {
            Some(count) if count != records => self.damage(path, 0, "the segment has lost records"),
            Some(_) => {}
            None if !last => self.damage(
                path,
                collected.committed_end,
                "the end of the segment is missing",
            ),
            None => match collected.end {
                End::Torn(offset) => self.note(
                    path,
                    offset,
                    "ends in the middle of a frame that nobody was told of",
                ),
                End::Clean(end) if end > collected.committed_end => {
                    self.note(
                        path,
                        collected.committed_end,
                        "what follows was not committed",
                    );
                }
                End::Clean(_) => {}
            },
        }
    }

    fn index(
        &mut self,
        header: SegmentHeader,
        length: u64,
        collected: &Collected,
    ) -> Result<(), LogError> {
        let path = self.layout.index(header.key.number);
        let Ok(file) = self.fs.open(&path, Access::Read) else {
            self.note(&path, 0, "the index is missing and will be made again");
            return Ok(());
        };
        let failed = || LogError::at("read", &path);
        let Some(summary) = SealedIndex::open(file.as_ref()).map_err(failed())? else {
            self.note(&path, 0, "the index does not read and will be made again");
            return Ok(());
        };
        if summary.index.key != header.key || summary.index.segment_length != length {
            self.note(
                &path,
                0,
                "the index is of another segment and will be made again",
            );
            return Ok(());
        }
        let bytes = file
            .length()
            .and_then(|length| fs::read_bytes_at(file.as_ref(), 0, narrow(length)));
        let same = bytes.map_err(failed())? == file::encode(header.key, length, &collected.index);
        if !same
            || !summary
                .index
                .data_is_whole(file.as_ref())
                .map_err(failed())?
        {
            self.damage(&path, 0, "the index does not tell what the segment holds");
        }
        Ok(())
    }

    /// Body files and bodies in segments, now that all drops are known.
    fn bodies(&mut self, last: u64) -> Result<(), LogError> {
        let mut suspects = std::mem::take(&mut self.known.bad);
        let files = std::mem::take(&mut self.known.files);
        for (number, (id, body)) in &files {
            if self.known.dropped.contains(*id) {
                continue;
            }
            let path = self.layout.body(*number);
            self.report.bodies = self.report.bodies.saturating_add(1);
            let whole = match self.fs.open(&path, Access::Read) {
                Ok(file) => is_body(file.as_ref(), body).map_err(LogError::at("read", &path))?,
                Err(error) if error.kind() == ErrorKind::NotFound => false,
                Err(error) => return Err(LogError::io("open", &path, error)),
            };
            if !whole {
                suspects.push((*id, path, 0));
            }
        }
        if !suspects.is_empty() {
            self.later_drops(last)?;
        }
        let start = self.start_now()?.first_id;
        for (id, path, offset) in suspects {
            if self.known.dropped.contains(id) || id < start {
                self.report.bodies = self.report.bodies.saturating_sub(1);
            } else {
                self.damage(&path, offset, "a body is missing or not what was written");
            }
        }
        let dir = self.layout.bodies();
        for name in self.fs.list(dir).map_err(LogError::at("list", dir))? {
            let owner = Layout::parse_body(&name).and_then(|number| files.get(&number));
            match owner {
                None => self.note(&dir.join(&name), 0, "no record names this file"),
                Some((id, _)) if self.known.dropped.contains(*id) => {
                    self.note(
                        &dir.join(&name),
                        0,
                        "the body was dropped and its file is still there",
                    );
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn is_body(file: &dyn FsFile, body: &Body) -> std::io::Result<bool> {
    if file.length()? != body.length {
        return Ok(false);
    }
    let (mut at, mut crc) = (0, 0);
    while at < body.length {
        let bytes = fs::read_bytes_at(
            file,
            at,
            narrow(body.length.saturating_sub(at).min(1 << 20)),
        )?;
        crc = crc32c::crc32c_append(crc, &bytes);
        at = at.saturating_add(wide(bytes.len()));
    }
    Ok(crc == body.crc)
}

/// Records of a segment with where they stand and how many bytes are their own.
type Commits = Vec<(Commit, u64, u64)>;
