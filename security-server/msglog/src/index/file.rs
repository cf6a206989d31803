//! The index of a sealed segment: one sorted file that never changes, version 1. It can be made again from its
//! segment, so a missing or unreadable one is no loss.
//!
//! Header, stamps, runs of the five [`Sets`] (all under the header's checksum, read at opening), entries in the order of
//! ids, five tables of key and entry number (message id, request id, client, service, time), filter.

use std::io;
use std::sync::Arc;

use super::{Entry, Filter, SegmentIndex, Sets, StampAt, filter};
use crate::codec::Reader;
use crate::fs::{self, FsFile};
use crate::num::{narrow, short, wide};
use crate::runs::Runs;
use crate::segment::SegmentKey;

/// What is kept in memory of a sealed segment's index.
#[derive(Clone, Debug)]
pub(crate) struct SealedIndex {
    pub(crate) key: SegmentKey,
    /// Length of the segment it was made from.
    pub(crate) segment_length: u64,
    pub(crate) last_id: u64,
    pub(crate) stamps: Vec<StampAt>,
    count: u64,
    min_time_ms: i64,
    max_time_ms: i64,
    entries_at: u64,
    filter_blocks: u64,
    data_crc: u32,
}

/// What is told once, at opening, to those who keep sets over all segments.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) index: SealedIndex,
    pub(crate) sets: Sets,
}

/// The whole file for a segment that has ended.
pub(crate) fn encode(key: SegmentKey, segment_length: u64, index: &SegmentIndex) -> Vec<u8> {
    let mut data = Vec::new();
    for entry in &index.entries {
        entry.encode(&mut data);
    }
    for table in TABLES {
        let mut rows: Vec<(u64, u32)> = index
            .entries
            .iter()
            .zip(0..)
            .map(|(entry, number)| (table.key(entry), number))
            .collect();
        rows.sort_unstable();
        for (key, number) in rows {
            data.extend_from_slice(&key.to_le_bytes());
            data.extend_from_slice(&number.to_le_bytes());
        }
    }
    let keys: Vec<u64> = index
        .entries
        .iter()
        .flat_map(|entry| [entry.message, entry.request])
        .collect();
    let filter = filter::build(keys.into_iter());
    data.extend_from_slice(&filter);

    let times = || index.entries.iter().map(|entry| entry.time_ms);
    let mut out = Vec::with_capacity(data.len().saturating_add(4096));
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&data).to_le_bytes());
    let ids = || index.entries.iter().map(|entry| entry.id);
    let numbers = [
        key.number,
        key.salt,
        segment_length,
        ids().next().unwrap_or_default(),
        ids().next_back().unwrap_or_default(),
        wide(index.entries.len()),
        wide(filter.len() / filter::BLOCK_BYTES),
    ];
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&times().min().unwrap_or_default().to_le_bytes());
    out.extend_from_slice(&times().max().unwrap_or_default().to_le_bytes());
    let sets = index.sets.in_order();
    for count in std::iter::once(index.stamps.len()).chain(sets.iter().map(|it| it.runs().len())) {
        out.extend_from_slice(&short(count).to_le_bytes());
    }
    for stamp in &index.stamps {
        for number in [
            stamp.id,
            stamp.offset,
            u64::from(stamp.length),
            stamp.first,
            stamp.last,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    for (first, last) in sets.iter().flat_map(|it| it.runs()) {
        out.extend_from_slice(&first.to_le_bytes());
        out.extend_from_slice(&last.to_le_bytes());
    }
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out.extend_from_slice(&data);
    out
}

impl SealedIndex {
    /// Reads what is kept in memory; `None` if it is no index of this program's version, or torn.
    pub(crate) fn open(file: &dyn FsFile) -> io::Result<Option<Summary>> {
        let length = file.length()?;
        if length < wide(FIXED_BYTES) {
            return Ok(None);
        }
        let fixed = fs::read_bytes_at(file, 0, FIXED_BYTES)?;
        let Some(head_length) = head_length(&fixed).filter(|it| wide(*it) <= length) else {
            return Ok(None);
        };
        let head = fs::read_bytes_at(file, 0, head_length)?;
        Ok(Self::decode(&head).filter(|it| it.index.end() == length))
    }

    fn decode(head: &[u8]) -> Option<Summary> {
        let (body, checksum) = head.split_at_checked(head.len().checked_sub(4)?)?;
        if checksum != crc32c::crc32c(body).to_le_bytes() {
            return None;
        }
        let mut fields = Reader::new(body.get(12..)?);
        let data_crc = fields.u32()?;
        let key = SegmentKey {
            number: fields.u64()?,
            salt: fields.u64()?,
        };
        let (segment_length, _first_id, last_id) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (count, filter_blocks) = (fields.u64()?, fields.u64()?);
        let (min_time_ms, max_time_ms) = (fields.i64()?, fields.i64()?);
        let stamp_count = fields.u32()?;
        let mut counts = [0; 5];
        for count in &mut counts {
            *count = fields.u32()?;
        }
        let mut stamps = Vec::new();
        for _ in 0..stamp_count {
            stamps.push(StampAt {
                id: fields.u64()?,
                offset: fields.u64()?,
                length: u32::try_from(fields.u64()?).ok()?,
                first: fields.u64()?,
                last: fields.u64()?,
            });
        }
        let mut sets = counts.into_iter().map(|count| {
            let mut runs = Runs::default();
            for _ in 0..count {
                runs.insert_run(fields.u64()?, fields.u64()?);
            }
            Some(runs)
        });
        let mut next = || sets.next().flatten();
        let (records, stamped, dropped) = (next()?, next()?, next()?);
        let sets = Sets {
            records,
            stamped,
            dropped,
            bodies: next()?,
            dropped_bodies: next()?,
        };
        let entries_at = wide(head.len());
        let index = Self {
            key,
            segment_length,
            last_id,
            stamps,
            count,
            min_time_ms,
            max_time_ms,
            entries_at,
            filter_blocks,
            data_crc,
        };
        Some(Summary { index, sets })
    }

    /// Number of records.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Times of the earliest and the latest record, in milliseconds since 1970, UTC; zeros without records.
    pub(crate) fn times(&self) -> (i64, i64) {
        (self.min_time_ms, self.max_time_ms)
    }

    /// Whether entries, tables and filter are what was written; reads the whole file.
    pub(crate) fn data_is_whole(&self, file: &dyn FsFile) -> io::Result<bool> {
        let (mut at, end, mut crc) = (self.entries_at, self.end(), 0);
        while at < end {
            let bytes = fs::read_bytes_at(file, at, narrow(end.saturating_sub(at).min(1 << 20)))?;
            crc = crc32c::crc32c_append(crc, &bytes);
            at = at.saturating_add(wide(bytes.len()));
        }
        Ok(crc == self.data_crc)
    }

    /// The entry of a record.
    pub(crate) fn entry(&self, file: &dyn FsFile, id: u64) -> io::Result<Option<Entry>> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            let Some(entry) = self.entry_at(file, middle)? else {
                return Ok(None);
            };
            match entry.id.cmp(&id) {
                std::cmp::Ordering::Equal => return Ok(Some(entry)),
                std::cmp::Ordering::Less => low = middle.saturating_add(1),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// Entries that may be what is asked for, in the order of ids.
    pub(crate) fn candidates(
        &self,
        file: &Arc<dyn FsFile>,
        wanted: &Filter,
    ) -> io::Result<Vec<Entry>> {
        let file = file.as_ref();
        for key in [wanted.message, wanted.request].into_iter().flatten() {
            let start = self
                .filter_at()
                .saturating_add(filter::block_of(key, self.filter_blocks).saturating_mul(BLOCK));
            if !filter::may_hold(&fs::read_bytes_at(file, start, filter::BLOCK_BYTES)?, key) {
                return Ok(Vec::new());
            }
        }
        let (from, to) = (
            wanted.from_ms.unwrap_or(i64::MIN),
            wanted.to_ms.unwrap_or(i64::MAX),
        );
        if self.count == 0
            || self.max_time_ms < from
            || (wanted.to_ms.is_some() && to <= self.min_time_ms)
        {
            return Ok(Vec::new());
        }
        let (table, first, last) = match wanted {
            Filter {
                message: Some(key), ..
            } => (Table::Message, *key, *key),
            Filter {
                request: Some(key), ..
            } => (Table::Request, *key, *key),
            Filter {
                client: Some(key), ..
            } => (Table::Client, *key, *key),
            Filter {
                service: Some(key), ..
            } => (Table::Service, *key, *key),
            Filter {
                from_ms: None,
                to_ms: None,
                ..
            } => return self.all(file, wanted),
            _ => (Table::Time, time_key(from), time_key(to)),
        };
        let mut numbers = self.rows(file, table, first, last)?;
        numbers.sort_unstable();
        let mut entries = Vec::new();
        for number in numbers {
            entries.extend(self.entry_at(file, number)?.filter(|it| wanted.fits(it)));
        }
        Ok(entries)
    }

    /// All entries that fit, read from the first to the last.
    fn all(&self, file: &dyn FsFile, wanted: &Filter) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut number = 0;
        while number < self.count {
            let rows = self.count.saturating_sub(number).min(ROWS_AT_ONCE);
            let at = self
                .entries_at
                .saturating_add(number.saturating_mul(wide(Entry::BYTES)));
            let block = fs::read_bytes_at(file, at, narrow(rows).saturating_mul(Entry::BYTES))?;
            entries.extend(
                block
                    .chunks(Entry::BYTES)
                    .filter_map(Entry::decode)
                    .filter(|it| wanted.fits(it)),
            );
            number = number.saturating_add(rows);
        }
        Ok(entries)
    }

    fn rows(&self, file: &dyn FsFile, table: Table, first: u64, last: u64) -> io::Result<Vec<u64>> {
        let start = self.table_at(table);
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            let key = fs::read_bytes_at(file, start.saturating_add(middle.saturating_mul(ROW)), 8)?;
            if Reader::new(&key).u64().is_some_and(|it| it < first) {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        let mut numbers = Vec::new();
        'blocks: while low < self.count {
            let rows = self.count.saturating_sub(low).min(ROWS_AT_ONCE);
            let at = start.saturating_add(low.saturating_mul(ROW));
            let block = fs::read_bytes_at(file, at, narrow(rows.saturating_mul(ROW)))?;
            let mut fields = Reader::new(&block);
            while let Some((key, number)) = fields.u64().zip(fields.u32()) {
                if key > last {
                    break 'blocks;
                }
                numbers.push(number.into());
            }
            low = low.saturating_add(rows);
        }
        Ok(numbers)
    }

    fn entry_at(&self, file: &dyn FsFile, number: u64) -> io::Result<Option<Entry>> {
        if number >= self.count {
            return Ok(None);
        }
        let at = self
            .entries_at
            .saturating_add(number.saturating_mul(wide(Entry::BYTES)));
        Ok(Entry::decode(&fs::read_bytes_at(file, at, Entry::BYTES)?))
    }

    fn table_at(&self, table: Table) -> u64 {
        let entries = self.count.saturating_mul(wide(Entry::BYTES));
        let before = TABLES.iter().take_while(|it| **it != table).count();
        let tables = wide(before).saturating_mul(self.count.saturating_mul(ROW));
        self.entries_at
            .saturating_add(entries)
            .saturating_add(tables)
    }

    fn filter_at(&self) -> u64 {
        self.table_at(Table::Time)
            .saturating_add(self.count.saturating_mul(ROW))
    }

    fn end(&self) -> u64 {
        self.filter_at()
            .saturating_add(self.filter_blocks.saturating_mul(BLOCK))
    }
}

/// Length of header and summary with their checksum, from the fixed part.
fn head_length(fixed: &[u8]) -> Option<usize> {
    let mut fields = Reader::new(fixed);
    let known = fields.bytes(8)? == MAGIC && fields.u32()? == VERSION;
    fields.bytes(4 + 7 * 8 + 2 * 8)?;
    let mut summary = u64::from(fields.u32()?).checked_mul(40)?;
    for _ in 0..5 {
        summary = summary.checked_add(u64::from(fields.u32()?).checked_mul(16)?)?;
    }
    known.then_some(FIXED_BYTES.checked_add(narrow(summary))?.checked_add(4)?)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Client,
    Message,
    Request,
    Service,
    Time,
}

impl Table {
    fn key(self, entry: &Entry) -> u64 {
        match self {
            Self::Client => entry.client,
            Self::Message => entry.message,
            Self::Request => entry.request,
            Self::Service => entry.service,
            Self::Time => time_key(entry.time_ms),
        }
    }
}

/// A time as a number that sorts like it.
fn time_key(time_ms: i64) -> u64 {
    time_ms.cast_unsigned() ^ (1 << 63)
}

/// The tables in the order of the file.
const TABLES: [Table; 5] = [
    Table::Message,
    Table::Request,
    Table::Client,
    Table::Service,
    Table::Time,
];
const MAGIC: &[u8; 8] = b"JBKIDX\r\n";
const VERSION: u32 = 1;
/// Magic, version, data checksum, seven numbers, two times, six counts.
const FIXED_BYTES: usize = 8 + 4 + 4 + 7 * 8 + 2 * 8 + 6 * 4;
const ROW: u64 = 12;
const ROWS_AT_ONCE: u64 = 256;
const BLOCK: u64 = 64;
