//! Reading front to back, as Java's stream reader does, with which X-Road reads containers: headers before entries count, the
//! directory is never seen, and what is not as a header says ends everything.

use flate2::{Decompress, FlushDecompress, Status};
use std::collections::HashSet;

use super::{
    Fields, Ratio, ReadError, crc32, directory,
    headers::{
        DEFLATED, DESCRIPTOR_FLAG, DESCRIPTOR_MARK, LOCAL_BYTES, LOCAL_MARK, STORED, WIDE_FIELD,
    },
    len,
};

/// One entry.
#[derive(Debug)]
pub(crate) struct StreamEntry {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
    /// Where its header begins.
    pub(crate) offset: u64,
    /// Its size in the file, in bytes.
    pub(crate) packed: u64,
    /// How it is packed there.
    pub(crate) method: u16,
}

/// Caps on what is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamLimits {
    pub(crate) entries: usize,
    pub(crate) total_bytes: u64,
    pub(crate) ratio: Ratio,
}

/// Reads entries from the first byte on until something else than an entry comes. No name comes twice; names that count do not come
/// twice in any spelling that lands in one file.
pub(crate) fn read(file: &[u8], limits: &StreamLimits) -> Result<Vec<StreamEntry>, ReadError> {
    let mut fields = Fields(file);
    let mut entries = Vec::new();
    let mut names = HashSet::new();
    let mut budget = limits.total_bytes;
    while let Some(header) = Header::read(&mut fields)? {
        if entries.len() >= limits.entries {
            return Err(ReadError::Limit("too many entries"));
        }
        let counted = directory::counted_name(&header.name);
        if !names.insert(counted.unwrap_or_else(|| header.name.clone())) {
            return Err(ReadError::Twice { name: header.name });
        }
        let offset = len(file).saturating_sub(header.rest);
        let method = header.method;
        let (content, packed) = content(&mut fields, &header, budget, limits.ratio)?;
        budget = budget.saturating_sub(len(&content));
        entries.push(StreamEntry {
            name: header.name,
            content,
            offset,
            packed,
            method,
        });
    }
    if entries.is_empty() {
        return Err(ReadError::NotZip);
    }
    Ok(entries)
}

struct Header {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    /// Bytes of the file from the header on.
    rest: u64,
}

impl Header {
    /// The next header; `None` where there is none, or half of one at the end.
    fn read(fields: &mut Fields<'_>) -> Result<Option<Self>, ReadError> {
        let rest = len(fields.0);
        if rest < LOCAL_BYTES || !fields.0.starts_with(LOCAL_MARK) {
            return Ok(None);
        }
        let cut = || ReadError::Ambiguous("it ends within a header");
        let mut header = Self::fixed(fields, rest).ok_or_else(cut)?;
        let [name_bytes, extra_bytes] =
            [fields.u16().ok_or_else(cut)?, fields.u16().ok_or_else(cut)?];
        let name = fields.bytes(name_bytes.into()).ok_or_else(cut)?;
        header.name = std::str::from_utf8(name)
            .map_err(|_| ReadError::Ambiguous("a name that is not UTF-8"))?
            .to_owned();
        let extra = fields.bytes(extra_bytes.into()).ok_or_else(cut)?;
        let is_usual = matches!(header.method, STORED | DEFLATED)
            && header.flags & ENCRYPTED_FLAG == 0
            && (header.flags & DESCRIPTOR_FLAG == 0 || header.method == DEFLATED);
        if !is_usual {
            return Err(ReadError::Method { name: header.name });
        }
        header.widen(extra);
        Ok(Some(header))
    }

    fn fixed(fields: &mut Fields<'_>, rest: u64) -> Option<Self> {
        fields.bytes(6)?;
        let flags = fields.u16()?;
        let method = fields.u16()?;
        fields.bytes(4)?;
        Some(Self {
            name: String::new(),
            flags,
            method,
            crc: fields.u32()?,
            packed: fields.u32()?.into(),
            size: fields.u32()?.into(),
            rest,
        })
    }

    /// Takes both sizes from the ZIP64 field, when either says so and the field holds both.
    fn widen(&mut self, extra: &[u8]) {
        let mark = u64::from(u32::MAX);
        if self.size != mark && self.packed != mark {
            return;
        }
        let mut fields = Fields(extra);
        while let (Some(id), Some(length)) = (fields.u16(), fields.u16()) {
            let Some(data) = fields.bytes(length.into()) else {
                return;
            };
            let mut data = Fields(data);
            if id == WIDE_FIELD
                && let (Some(size), Some(packed)) = (data.u64(), data.u64())
            {
                self.size = size;
                self.packed = packed;
            }
        }
    }

    fn damaged(&self) -> ReadError {
        ReadError::Damaged {
            name: self.name.clone(),
        }
    }
}

/// The entry's content and its size in the file. Header or descriptor must say the same.
fn content(
    fields: &mut Fields<'_>,
    header: &Header,
    max_bytes: u64,
    ratio: Ratio,
) -> Result<(Vec<u8>, u64), ReadError> {
    if header.method == STORED {
        if header.size > max_bytes {
            return Err(ReadError::Limit("too many bytes"));
        }
        let content = usize::try_from(header.size)
            .ok()
            .and_then(|size| fields.bytes(size))
            .filter(|content| crc32(content) == header.crc)
            .ok_or_else(|| header.damaged())?;
        return Ok((content.to_vec(), header.size));
    }
    let (content, packed) = inflate(fields.0, max_bytes, ratio)?.ok_or_else(|| header.damaged())?;
    usize::try_from(packed)
        .ok()
        .and_then(|packed| fields.bytes(packed))
        .ok_or_else(|| header.damaged())?;
    let (crc, stated_packed, size) = if header.flags & DESCRIPTOR_FLAG == 0 {
        (header.crc, header.packed, header.size)
    } else {
        descriptor(fields, packed.max(len(&content))).ok_or_else(|| header.damaged())?
    };
    if (crc, stated_packed, size) != (crc32(&content), packed, len(&content)) {
        return Err(header.damaged());
    }
    Ok((content, packed))
}

/// Checksum and sizes behind the data, with or without their mark, of 64 bits when the data are so large.
fn descriptor(fields: &mut Fields<'_>, largest: u64) -> Option<(u32, u64, u64)> {
    if fields.0.starts_with(DESCRIPTOR_MARK) {
        fields.bytes(DESCRIPTOR_MARK.len())?;
    }
    let crc = fields.u32()?;
    let mut size = || match largest > u64::from(u32::MAX) {
        true => fields.u64(),
        false => fields.u32().map(u64::from),
    };
    Some((crc, size()?, size()?))
}

/// Inflates one stream at the beginning of `bytes`: content and how many bytes it took; `None` when it is damaged or cut off.
fn inflate(
    bytes: &[u8],
    max_bytes: u64,
    ratio: Ratio,
) -> Result<Option<(Vec<u8>, u64)>, ReadError> {
    let mut stream = Decompress::new(false);
    let mut content = Vec::new();
    loop {
        if content.len() == content.capacity() {
            content.reserve(content.len().max(CHUNK));
        }
        let (before, taken) = (content.len(), stream.total_in());
        let input = usize::try_from(taken)
            .ok()
            .and_then(|taken| bytes.get(taken..))
            .unwrap_or_default();
        let Ok(status) = stream.decompress_vec(input, &mut content, FlushDecompress::None) else {
            return Ok(None);
        };
        let size = len(&content);
        if size > max_bytes {
            return Err(ReadError::Limit("too many bytes"));
        }
        if size > ratio.from_bytes && size / ratio.times.max(1) > stream.total_in() {
            return Err(ReadError::Limit(
                "an entry unpacks to too many times its size",
            ));
        }
        if status == Status::StreamEnd {
            return Ok(Some((content, stream.total_in())));
        }
        if content.len() == before && stream.total_in() == taken {
            return Ok(None);
        }
    }
}

const ENCRYPTED_FLAG: u16 = 1;
/// First guess at an entry's size.
const CHUNK: usize = 16_384;
