//! The end of a ZIP file, from which readers by directory begin.

use std::io::{Read, Seek};

use super::{Fields, ReadError, Source, len};

/// What the end says of the directory.
pub(super) struct End {
    /// Where it begins.
    pub(super) directory: u64,
    pub(super) directory_bytes: u64,
    pub(super) entries: u64,
}

/// Finds the one end of `source`, which has `length` bytes.
///
/// Its comment must reach to the last byte, and there must be no other place that could be the end: some readers take the last
/// mark, others the first that fits.
pub(super) fn find<R: Read + Seek>(source: &mut Source<R>, length: u64) -> Result<End, ReadError> {
    let tail_bytes = length.min(MAX_TAIL);
    let tail_start = length.saturating_sub(tail_bytes);
    let tail = source.bytes(tail_start, tail_bytes, MAX_TAIL)?;
    let mut found = None;
    let mut has_followers = false;
    for (place, window) in tail.windows(MARK.len()).enumerate() {
        if window != MARK {
            continue;
        }
        let Some(record) = tail.get(place..).and_then(Record::read) else {
            continue;
        };
        let start = tail_start.saturating_add(u64::try_from(place).unwrap_or(u64::MAX));
        let end = start
            .saturating_add(RECORD_BYTES)
            .saturating_add(u64::from(record.comment_bytes));
        if end == length {
            if found.replace((start, record)).is_some() {
                return Err(ReadError::Ambiguous("two ends"));
            }
        } else if end < length && record.is_behind_directory(start) {
            has_followers = true;
        }
    }
    match found {
        Some((start, record)) => record.end(source, start),
        None if has_followers => Err(ReadError::Ambiguous("bytes behind the end")),
        None => Err(ReadError::NotZip),
    }
}

struct Record {
    disks: [u16; 2],
    entries: [u16; 2],
    directory_bytes: u32,
    directory: u32,
    comment_bytes: u16,
}

impl Record {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        fields.u32()?;
        Some(Self {
            disks: [fields.u16()?, fields.u16()?],
            entries: [fields.u16()?, fields.u16()?],
            directory_bytes: fields.u32()?,
            directory: fields.u32()?,
            comment_bytes: fields.u16()?,
        })
    }

    fn is_behind_directory(&self, start: u64) -> bool {
        u64::from(self.directory).saturating_add(u64::from(self.directory_bytes)) == start
    }

    /// Between the directory and this record there is nothing, or the ZIP64 record and its locator, saying the same.
    fn end<R: Read + Seek>(&self, source: &mut Source<R>, start: u64) -> Result<End, ReadError> {
        if self.disks != [0, 0] && self.disks != [u16::MAX; 2] {
            return Err(ReadError::Ambiguous("several disks"));
        }
        if self.entries[0] != self.entries[1] {
            return Err(ReadError::Ambiguous("its end contradicts itself"));
        }
        let plain = End {
            directory: self.directory.into(),
            directory_bytes: self.directory_bytes.into(),
            entries: self.entries[0].into(),
        };
        let wide = start
            .checked_sub(WIDE_BYTES)
            .map(|place| source.bytes(place, WIDE_BYTES, WIDE_BYTES))
            .transpose()?
            .filter(|bytes| bytes.starts_with(WIDE_MARK));
        let Some(bytes) = wide else {
            return if self.is_behind_directory(start) && self.disks == [0, 0] {
                Ok(plain)
            } else {
                Err(ReadError::Ambiguous(
                    "its end does not follow its directory",
                ))
            };
        };
        let place = start.saturating_sub(WIDE_BYTES);
        let wide = wide_record(&bytes, place)
            .ok_or(ReadError::Ambiguous("its 64-bit end contradicts itself"))?;
        let agree = |short: u64, mark: u64, long: u64| short == long || short == mark;
        let is_one = agree(plain.directory, u32::MAX.into(), wide.directory)
            && agree(plain.directory_bytes, u32::MAX.into(), wide.directory_bytes)
            && agree(plain.entries, u16::MAX.into(), wide.entries)
            && wide.directory.checked_add(wide.directory_bytes) == Some(place);
        if is_one {
            Ok(wide)
        } else {
            Err(ReadError::Ambiguous("its two ends contradict each other"))
        }
    }
}

/// The ZIP64 end of directory at `place`, and the locator behind it that leads there.
fn wide_record(bytes: &[u8], place: u64) -> Option<End> {
    let mut fields = Fields(bytes);
    fields.u32()?;
    let size = fields.u64()?;
    fields.bytes(4)?;
    let disks = [fields.u32()?, fields.u32()?];
    let entries = [fields.u64()?, fields.u64()?];
    let directory_bytes = fields.u64()?;
    let directory = fields.u64()?;
    let is_locator = fields.bytes(4)? == LOCATOR_MARK;
    let locator_disk = fields.u32()?;
    let locator = fields.u64()?;
    let disk_count = fields.u32()?;
    (size.checked_add(12)? == len(bytes).checked_sub(LOCATOR_BYTES)?
        && disks == [0, 0]
        && entries[0] == entries[1]
        && is_locator
        && locator_disk == 0
        && locator == place
        && disk_count <= 1)
        .then_some(End {
            directory,
            directory_bytes,
            entries: entries[0],
        })
}

const MARK: &[u8] = b"PK\x05\x06";
const WIDE_MARK: &[u8] = b"PK\x06\x06";
const LOCATOR_MARK: &[u8] = b"PK\x06\x07";
const RECORD_BYTES: u64 = 22;
const LOCATOR_BYTES: u64 = 20;
/// ZIP64 record without extensions, and its locator.
const WIDE_BYTES: u64 = 76;
/// Record and longest comment.
const MAX_TAIL: u64 = 22 + 65_535;
