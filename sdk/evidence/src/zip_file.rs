//! ZIP files, the strict part of them: what every reader sees alike.
//!
//! A ZIP file can be read front to back, as X-Road reads containers, or by its directory, as it reads archives, and a crafted one
//! shows different entries to each. [`ZipFile`] refuses such a file: entries must lie one behind the other without gap or overlap
//! from the first byte to the directory, both headers of each must agree, each name comes once, and the end is at the end.
//! [`stream`] and [`directory`] are the two readings of files that are not so.

pub(crate) mod directory;
mod end;
mod headers;
pub(crate) mod stream;
pub(crate) mod write;

use flate2::{Crc, Decompress, FlushDecompress, Status};
use std::{
    collections::HashSet,
    io::{Read, Seek, SeekFrom},
};

/// Why a file is no container or archive, or an entry cannot be unpacked.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// Two readers would see two files.
    #[error("the file is ambiguous: {0}")]
    Ambiguous(&'static str),
    /// Two readers would see two files: what counts is this in one, and something else in the other.
    #[error("readers front to back and readers by directory see different contents of {name}")]
    Contradiction {
        /// The entry.
        name: String,
    },
    /// An entry's bytes are not what its header says.
    #[error("entry {name} is damaged")]
    Damaged {
        /// The entry.
        name: String,
    },
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Io(std::io::ErrorKind),
    /// Over a limit.
    #[error("the file is too large: {0}")]
    Limit(&'static str),
    /// Encrypted, or packed by a method other than deflate.
    #[error("entry {name} is packed in a way that containers do not use")]
    Method {
        /// The entry.
        name: String,
    },
    /// No ZIP file at all; X-Road finds no entry in it.
    #[error("not a ZIP file")]
    NotZip,
    /// An entry of that name, or of that name but for case, came before: two readers would see two messages.
    #[error("{name} is there twice: two readers would see two messages")]
    Twice {
        /// The name.
        name: String,
    },
    /// A name that, unpacked by a careless program, would lead out of its folder; or a link.
    #[error("{name} is dangerous to unpack")]
    Unsafe {
        /// The entry.
        name: String,
    },
}

impl ReadError {
    /// X-Road's code where it has one, else ours.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ambiguous(_) | Self::Contradiction { .. } => "container_ambiguous",
            Self::Damaged { .. } | Self::Method { .. } => "container_damaged",
            Self::Io(_) => "container_unreadable",
            Self::Limit(_) => "container_too_large",
            Self::NotZip => "asic_mime_type_not_found",
            Self::Twice { .. } => "container_entry_twice",
            Self::Unsafe { .. } => "container_unsafe",
        }
    }
}

/// How many times its packed size an entry may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio {
    /// The number of times.
    pub(crate) times: u64,
    /// From which unpacked size on it counts, in bytes.
    pub(crate) from_bytes: u64,
}

/// One entry, directories left out.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Unpacked, in bytes.
    pub(crate) size: u64,
    /// Where its header begins.
    pub(crate) offset: u64,
    pub(crate) packed: u64,
    /// A link or a device, by its attributes.
    pub(crate) is_special: bool,
    start: u64,
    crc: u32,
    is_deflated: bool,
}

/// A file whose entries every reader sees alike, in the order of the directory. What they unpack to is not known yet.
#[derive(Debug)]
pub(crate) struct ZipFile<R> {
    source: Source<R>,
    entries: Vec<Entry>,
}

impl<R: Read + Seek> ZipFile<R> {
    /// Reads the directory and all headers, of at most `max_entries`.
    pub(crate) fn open(source: R, max_entries: usize) -> Result<Self, ReadError> {
        let mut source = Source(source);
        let length = source.seek(SeekFrom::End(0))?;
        let end = end::find(&mut source, length)?;
        let max_entries = u64::try_from(max_entries).unwrap_or(u64::MAX);
        if end.entries > max_entries || end.entries > end.directory_bytes / headers::CENTRAL_BYTES {
            return Err(ReadError::Limit("too many entries"));
        }
        let directory = source.bytes(end.directory, end.directory_bytes, MAX_DIRECTORY_BYTES)?;
        let records = headers::directory(&directory, end.entries)?;
        let mut entries = Vec::with_capacity(records.len());
        let mut places = Vec::with_capacity(records.len());
        let mut seen = HashSet::with_capacity(records.len());
        for record in records {
            if !seen.insert(record.name.trim_end_matches('/').to_ascii_lowercase()) {
                return Err(ReadError::Twice { name: record.name });
            }
            let place = headers::locate(&mut source, &record, end.directory)?;
            places.push((record.offset, place.end));
            if !record.name.ends_with('/') {
                entries.push(Entry {
                    name: record.name,
                    size: record.size,
                    offset: record.offset,
                    is_special: record.is_special,
                    start: place.start,
                    packed: record.packed,
                    crc: record.crc,
                    is_deflated: record.is_deflated,
                });
            }
        }
        check_layout(places, end.directory)?;
        Ok(Self { source, entries })
    }

    /// Refuses entries that are dangerous to unpack.
    pub(crate) fn check_safe(&self) -> Result<(), ReadError> {
        match self
            .entries
            .iter()
            .find(|entry| entry.is_special || is_unsafe(&entry.name))
        {
            Some(entry) => Err(ReadError::Unsafe {
                name: entry.name.clone(),
            }),
            None => Ok(()),
        }
    }

    /// The entries, in the order of the directory.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Unpacks an entry of at most `max_bytes`.
    pub(crate) fn content(
        &mut self,
        number: usize,
        max_bytes: u64,
        ratio: Ratio,
    ) -> Result<Vec<u8>, ReadError> {
        let Some(entry) = self.entries.get(number) else {
            return Err(ReadError::Ambiguous("no such entry"));
        };
        if entry.size > max_bytes {
            return Err(ReadError::Limit("too many bytes"));
        }
        if entry.size > ratio.from_bytes && entry.size / ratio.times.max(1) > entry.packed {
            return Err(ReadError::Limit(
                "an entry unpacks to too many times its size",
            ));
        }
        let packed = self.source.bytes(entry.start, entry.packed, u64::MAX)?;
        let content = if entry.is_deflated {
            inflate(&packed, entry.size)
        } else {
            Some(packed)
        };
        content
            .filter(|content| len(content) == entry.size && crc32(content) == entry.crc)
            .ok_or_else(|| ReadError::Damaged {
                name: entry.name.clone(),
            })
    }
}

/// Whether a name, unpacked by a careless program, would lead out of its folder or to another system's device.
pub(crate) fn is_unsafe(name: &str) -> bool {
    let inside = name.strip_suffix('/').unwrap_or(name);
    name.chars()
        .any(|c| c.is_control() || matches!(c, '\\' | ':'))
        || inside
            .split('/')
            .any(|part| matches!(part, "" | "." | ".."))
}

/// Inflates exactly all of `packed` to exactly `size` bytes: a stream that ends early would let a stream reader see entries in the rest.
fn inflate(packed: &[u8], size: u64) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    // one byte more, so that too much is seen
    content
        .try_reserve_exact(usize::try_from(size).ok()?.checked_add(1)?)
        .ok()?;
    let mut stream = Decompress::new(false);
    let status = stream
        .decompress_vec(packed, &mut content, FlushDecompress::Finish)
        .ok()?;
    (status == Status::StreamEnd && stream.total_in() == len(packed)).then_some(content)
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Entries must cover the file from its first byte to the directory.
fn check_layout(mut places: Vec<(u64, u64)>, directory: u64) -> Result<(), ReadError> {
    places.sort_unstable();
    let mut position = 0;
    for (start, end) in places.into_iter().chain([(directory, directory)]) {
        match start.cmp(&position) {
            std::cmp::Ordering::Less => return Err(ReadError::Ambiguous("entries overlap")),
            std::cmp::Ordering::Greater if position == 0 => {
                return Err(ReadError::Ambiguous("bytes before the first entry"));
            }
            std::cmp::Ordering::Greater => {
                return Err(ReadError::Ambiguous("bytes between entries"));
            }
            std::cmp::Ordering::Equal => position = end,
        }
    }
    Ok(())
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Positioned reading.
#[derive(Debug)]
struct Source<R>(R);

impl<R: Read + Seek> Source<R> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64, ReadError> {
        self.0.seek(to).map_err(|error| ReadError::Io(error.kind()))
    }

    /// `count` bytes from `start`; what is not there is an ambiguity, for the caller knows the file's length.
    fn bytes(&mut self, start: u64, count: u64, max: u64) -> Result<Vec<u8>, ReadError> {
        if count > max {
            return Err(ReadError::Limit("the directory"));
        }
        self.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        let read = (&mut self.0).take(count).read_to_end(&mut bytes);
        match read {
            Ok(_) if len(&bytes) == count => Ok(bytes),
            Ok(_) => Err(ReadError::Ambiguous("it ends within an entry")),
            Err(error) => Err(ReadError::Io(error.kind())),
        }
    }
}

/// A cursor over little-endian numbers.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// Largest directory, in bytes: room for a million entries with the names that X-Road gives.
const MAX_DIRECTORY_BYTES: u64 = 256 << 20;
