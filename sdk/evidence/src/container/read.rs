//! Reading containers, ours, X-Road's and hostile ones (`dependencies.md` 7).
//!
//! A ZIP file can be read front to back, as X-Road does, or by its directory, and a crafted one shows different entries to each.
//! Such a file is refused: entries must lie one behind the other without gap or overlap from the first byte to the directory, and
//! both headers of each must agree.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use jibek_certs::digest::{Digest, DigestAlgorithm, digest};
use rawzip::{CompressionMethod, ZipArchive, ZipFileHeaderRecord, ZipSliceArchive};
use std::collections::BTreeMap;

use crate::names::CONTAINER_TYPE;

/// Caps on what a container may unpack to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerLimits {
    /// Most entries. X-Road writes ten and the attachments; a message with 10 000 attachments works there (`observed.md` 1, number 16).
    pub entries: usize,
    /// Most bytes of all entries together, unpacked.
    pub total_bytes: u64,
    /// How many times its packed size an entry may have, once it is over [`ContainerLimits::ratio_from_bytes`].
    pub ratio: u64,
    /// From which unpacked size on the ratio counts, in bytes.
    pub ratio_from_bytes: u64,
}

impl Default for ContainerLimits {
    /// 20 000 entries, 2 GiB, 200 times from 1 MiB.
    fn default() -> Self {
        Self {
            entries: 20_000,
            total_bytes: 2 << 30,
            ratio: 200,
            ratio_from_bytes: 1 << 20,
        }
    }
}

/// A container's entries. What they say is not judged yet.
#[derive(Debug, Clone)]
pub struct Container {
    entries: BTreeMap<String, Bytes>,
}

/// Why a file is no container.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// Two readers would see two containers.
    #[error("the container is ambiguous: {0}")]
    Ambiguous(&'static str),
    /// An entry's bytes are not what its header says.
    #[error("entry {name} is damaged")]
    Damaged {
        /// The entry.
        name: String,
    },
    /// Encrypted, or packed by a method other than deflate.
    #[error("entry {name} is packed in a way that containers do not use")]
    Method {
        /// The entry.
        name: String,
    },
    /// Over [`ContainerLimits`].
    #[error("the container is too large: {0}")]
    Limit(&'static str),
    /// No ZIP file at all; X-Road finds no entry in it.
    #[error("not a ZIP file")]
    NotZip,
}

impl ReadError {
    /// X-Road's code where it has one, else ours.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotZip => "asic_mime_type_not_found",
            Self::Ambiguous(_) => "container_ambiguous",
            Self::Damaged { .. } | Self::Method { .. } => "container_damaged",
            Self::Limit(_) => "container_too_large",
        }
    }
}

impl Container {
    /// Unpacks a container.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(file: &[u8], limits: &ContainerLimits) -> Result<Self, ReadError> {
        let archive = ZipArchive::from_slice(file).map_err(|_| ReadError::NotZip)?;
        let mut budget = limits.total_bytes;
        let mut entries = BTreeMap::new();
        let mut layout = Vec::new();
        for record in archive.entries() {
            let record =
                record.map_err(|_| ReadError::Ambiguous("the directory cannot be read"))?;
            if layout.len() >= limits.entries {
                return Err(ReadError::Limit("too many entries"));
            }
            let name = std::str::from_utf8(record.file_path().as_bytes())
                .map_err(|_| ReadError::Ambiguous("a name that is not UTF-8"))?
                .to_owned();
            let (content, place) = unpack(&archive, &record, &name, limits, &mut budget)?;
            layout.push(place);
            if name.ends_with('/') && content.is_empty() {
                continue;
            }
            if entries.insert(name, content.into()).is_some() {
                return Err(ReadError::Ambiguous("two entries of one name"));
            }
        }
        check_count(&archive, layout.len())?;
        check_layout(layout, archive.directory_offset())?;
        if archive.end_offset() != u64::try_from(file.len()).unwrap_or(u64::MAX) {
            return Err(ReadError::Ambiguous("bytes behind the end"));
        }
        Ok(Self { entries })
    }

    /// An entry's bytes, by its name without leading `/`.
    pub fn entry(&self, name: &str) -> Option<&Bytes> {
        self.entries.get(name)
    }

    /// All entries but directories, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.entries
            .iter()
            .map(|(name, content)| (name.as_str(), content))
    }

    /// SHA-512 of an entry.
    pub fn digest(&self, name: &str) -> Option<Digest> {
        self.entry(name)
            .map(|content| digest(DigestAlgorithm::Sha512, content))
    }

    /// Whether the `mimetype` entry says what it must, ignoring case; `None` when there is none.
    pub(crate) fn has_container_type(&self) -> Option<bool> {
        self.entry("mimetype")
            .map(|content| content.eq_ignore_ascii_case(CONTAINER_TYPE.as_bytes()))
    }
}

/// Where an entry lies: its first byte, the byte behind its data, and whether a descriptor follows.
type Place = (u64, u64, bool);

fn unpack(
    archive: &ZipSliceArchive<&[u8]>,
    record: &ZipFileHeaderRecord<'_>,
    name: &str,
    limits: &ContainerLimits,
    budget: &mut u64,
) -> Result<(Vec<u8>, Place), ReadError> {
    let entry = archive
        .get_entry(record.wayfinder())
        .map_err(|_| ReadError::Damaged {
            name: name.to_owned(),
        })?;
    let local = entry.local_header();
    let described = local.flags().has_data_descriptor();
    if local.file_path().as_bytes() != record.file_path().as_bytes()
        || local.compression_method() != record.compression_method()
    {
        return Err(ReadError::Ambiguous("an entry's two headers differ"));
    }
    let sizes_agree = local.compressed_size_hint() == record.compressed_size_hint()
        && local.uncompressed_size_hint() == record.uncompressed_size_hint();
    if described != record.flags().has_data_descriptor() || (!described && !sizes_agree) {
        return Err(ReadError::Ambiguous("an entry's two headers differ"));
    }
    let size = record.uncompressed_size_hint();
    let packed = u64::try_from(entry.data().len()).unwrap_or(u64::MAX);
    if size > limits.ratio_from_bytes && size / limits.ratio.max(1) > packed {
        return Err(ReadError::Limit(
            "an entry unpacks to too many times its size",
        ));
    }
    *budget = budget
        .checked_sub(size)
        .ok_or(ReadError::Limit("too many bytes"))?;
    let content = match record.compression_method() {
        CompressionMethod::STORE => Some(entry.data().to_vec()),
        CompressionMethod::DEFLATE => inflate(entry.data(), size),
        _ => {
            return Err(ReadError::Method {
                name: name.to_owned(),
            });
        }
    };
    let content = content
        .filter(|content| {
            u64::try_from(content.len()) == Ok(size) && rawzip::crc32(content) == record.crc32()
        })
        .ok_or_else(|| ReadError::Damaged {
            name: name.to_owned(),
        })?;
    let (_, end) = entry.compressed_data_range();
    Ok((content, (record.local_header_offset(), end, described)))
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
    (status == Status::StreamEnd && stream.total_in() == u64::try_from(packed.len()).ok()?)
        .then_some(content)
}

fn check_count(archive: &ZipSliceArchive<&[u8]>, found: usize) -> Result<(), ReadError> {
    if u64::try_from(found) != Ok(archive.entries_hint()) {
        return Err(ReadError::Ambiguous(
            "the directory has another number of entries than it says",
        ));
    }
    Ok(())
}

/// Entries must cover the file from its first byte to the directory.
fn check_layout(mut layout: Vec<Place>, directory: u64) -> Result<(), ReadError> {
    layout.sort_unstable();
    let mut position = 0;
    let mut descriptor_may_follow = false;
    for (start, end, described) in layout.into_iter().chain([(directory, directory, false)]) {
        let gap = start
            .checked_sub(position)
            .ok_or(ReadError::Ambiguous("entries overlap"))?;
        let is_descriptor = descriptor_may_follow && DESCRIPTOR_BYTES.contains(&gap);
        if gap != 0 && !is_descriptor {
            return Err(ReadError::Ambiguous("bytes between entries"));
        }
        position = end;
        descriptor_may_follow = described;
    }
    Ok(())
}

/// With or without signature, 32 or 64 bits.
const DESCRIPTOR_BYTES: [u64; 4] = [12, 16, 20, 24];
