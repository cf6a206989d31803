//! The two headers of an entry, and the descriptor that may follow its data.

use std::io::{Read, Seek};

use super::{Fields, ReadError, Source, len};

/// What the directory says of an entry.
pub(super) struct Central {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) packed: u64,
    pub(super) crc: u32,
    pub(super) is_deflated: bool,
    /// A link or a device, by its attributes.
    pub(super) is_special: bool,
    flags: u16,
    method: u16,
}

/// Where an entry's data begin, and where the entry ends.
pub(super) struct Place {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Reads all of the directory: `count` records and nothing else.
pub(super) fn directory(bytes: &[u8], count: u64) -> Result<Vec<Central>, ReadError> {
    let mut fields = Fields(bytes);
    let mut records = Vec::new();
    while !fields.0.is_empty() {
        records.push(central(&mut fields)?);
    }
    if u64::try_from(records.len()) != Ok(count) {
        return Err(ReadError::Ambiguous(
            "the directory has another number of entries than its end says",
        ));
    }
    Ok(records)
}

fn central(fields: &mut Fields<'_>) -> Result<Central, ReadError> {
    let raw =
        RawCentral::read(fields).ok_or(ReadError::Ambiguous("the directory cannot be read"))?;
    let wide = wide_sizes(raw.extra)?;
    let mut wide = Fields(wide.unwrap_or_default());
    let mut widen = |short: u32| match short {
        u32::MAX => wide
            .u64()
            .ok_or(ReadError::Ambiguous("a 64-bit size is missing")),
        short => Ok(short.into()),
    };
    let size = widen(raw.size)?;
    let packed = widen(raw.packed)?;
    let offset = widen(raw.offset)?;
    if raw.disk != 0 && (raw.disk, wide.u32()) != (u16::MAX, Some(0)) {
        return Err(ReadError::Ambiguous("several disks"));
    }
    let name = name(raw.name, raw.flags)?;
    // an empty stream is two bytes; more could hide entries from readers by directory
    if name.ends_with('/') && (size != 0 || raw.packed > 2) {
        return Err(ReadError::Ambiguous("a folder with content"));
    }
    let is_unix = raw.made_by >> 8 == UNIX;
    let kind = (raw.attributes >> 16) & FILE_KIND;
    let is_usual = raw.flags & UNUSUAL_FLAGS == 0 && matches!(raw.method, STORED | DEFLATED);
    if !is_usual {
        return Err(ReadError::Method { name });
    }
    if raw.method == STORED && size != packed {
        return Err(ReadError::Ambiguous("a stored entry of two sizes"));
    }
    Ok(Central {
        name,
        offset,
        size,
        packed,
        crc: raw.crc,
        is_deflated: raw.method == DEFLATED,
        is_special: is_unix && !matches!(kind, 0 | REGULAR | FOLDER),
        flags: raw.flags,
        method: raw.method,
    })
}

pub(super) struct RawCentral<'a> {
    made_by: u16,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) packed: u32,
    pub(super) size: u32,
    disk: u16,
    attributes: u32,
    pub(super) offset: u32,
    pub(super) name: &'a [u8],
    pub(super) extra: &'a [u8],
}

impl<'a> RawCentral<'a> {
    pub(super) fn read(fields: &mut Fields<'a>) -> Option<Self> {
        if fields.bytes(4)? != CENTRAL_MARK {
            return None;
        }
        let made_by = fields.u16()?;
        fields.bytes(2)?;
        let flags = fields.u16()?;
        let method = fields.u16()?;
        fields.bytes(4)?;
        let crc = fields.u32()?;
        let packed = fields.u32()?;
        let size = fields.u32()?;
        let [name, extra, comment] = [fields.u16()?, fields.u16()?, fields.u16()?];
        let disk = fields.u16()?;
        fields.bytes(2)?;
        let attributes = fields.u32()?;
        let offset = fields.u32()?;
        let name = fields.bytes(name.into())?;
        let extra = fields.bytes(extra.into())?;
        fields.bytes(comment.into())?;
        Some(Self {
            made_by,
            flags,
            method,
            crc,
            packed,
            size,
            disk,
            attributes,
            offset,
            name,
            extra,
        })
    }
}

/// Names are UTF-8 for everybody.
fn name(bytes: &[u8], flags: u16) -> Result<String, ReadError> {
    if bytes.len() > MAX_NAME {
        return Err(ReadError::Limit("a name"));
    }
    let name =
        std::str::from_utf8(bytes).map_err(|_| ReadError::Ambiguous("a name that is not UTF-8"))?;
    if !name.is_ascii() && flags & UTF8_FLAG == 0 {
        return Err(ReadError::Ambiguous(
            "a name that does not say how it is written",
        ));
    }
    if name.is_empty() {
        return Err(ReadError::Ambiguous("an entry without a name"));
    }
    Ok(name.to_owned())
}

/// Follows a record of the directory to the entry itself, which must say the same of itself and end before `directory`.
pub(super) fn locate<R: Read + Seek>(
    source: &mut Source<R>,
    record: &Central,
    directory: u64,
) -> Result<Place, ReadError> {
    let outside = || ReadError::Ambiguous("an entry lies outside the file");
    if record
        .offset
        .checked_add(LOCAL_BYTES)
        .is_none_or(|end| end > directory)
    {
        return Err(outside());
    }
    let fixed = source.bytes(record.offset, LOCAL_BYTES, LOCAL_BYTES)?;
    let differ = ReadError::Ambiguous("an entry's two headers differ");
    let Some(local) = Local::read(&fixed) else {
        return Err(ReadError::Ambiguous("an entry without header"));
    };
    let name_start = record.offset.saturating_add(LOCAL_BYTES);
    let variable = u64::from(local.name_bytes).saturating_add(u64::from(local.extra_bytes));
    let start = name_start.saturating_add(variable);
    let data_end = start.checked_add(record.packed).ok_or_else(outside)?;
    if data_end > directory {
        return Err(outside());
    }
    let variable = source.bytes(name_start, variable, u64::MAX)?;
    let (name, extra) = variable
        .split_at_checked(local.name_bytes.into())
        .unwrap_or_default();
    let wide = wide_sizes(extra)?;
    if name != record.name.as_bytes()
        || (local.method, local.flags) != (record.method, record.flags)
    {
        return Err(differ);
    }
    let (size, packed) = local.sizes(wide)?;
    let end = if local.flags & DESCRIPTOR_FLAG == 0 {
        if (local.crc, size, packed) != (record.crc, record.size, record.packed) {
            return Err(differ);
        }
        data_end
    } else {
        // Java's stream reader, with which X-Road reads, takes a descriptor behind deflated data only.
        if !record.is_deflated {
            return Err(ReadError::Ambiguous("a stored entry with a descriptor"));
        }
        // They may be left empty, as long as they do not say something else.
        let may_be = |here: u64, there: u64| here == 0 || here == there;
        if !may_be(local.crc.into(), record.crc.into())
            || !may_be(size, record.size)
            || !may_be(packed, record.packed)
        {
            return Err(differ);
        }
        descriptor(source, record, data_end, directory, wide.is_some())?
    };
    Ok(Place { start, end })
}

struct Local {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    name_bytes: u16,
    extra_bytes: u16,
}

impl Local {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.bytes(4)? != LOCAL_MARK {
            return None;
        }
        fields.bytes(2)?;
        let flags = fields.u16()?;
        let method = fields.u16()?;
        fields.bytes(4)?;
        Some(Self {
            flags,
            method,
            crc: fields.u32()?,
            packed: fields.u32()?,
            size: fields.u32()?,
            name_bytes: fields.u16()?,
            extra_bytes: fields.u16()?,
        })
    }

    /// Size and packed size, where need be from the ZIP64 field.
    fn sizes(&self, wide: Option<&[u8]>) -> Result<(u64, u64), ReadError> {
        let mut wide = Fields(wide.unwrap_or_default());
        let mut widen = |short: u32| match short {
            u32::MAX => wide
                .u64()
                .ok_or(ReadError::Ambiguous("a 64-bit size is missing")),
            short => Ok(short.into()),
        };
        Ok((widen(self.size)?, widen(self.packed)?))
    }
}

/// The end of the descriptor behind the data: with or without its mark, of 64 bits where the header has the ZIP64 field.
fn descriptor<R: Read + Seek>(
    source: &mut Source<R>,
    record: &Central,
    start: u64,
    directory: u64,
    is_wide: bool,
) -> Result<u64, ReadError> {
    let mut expected = Vec::with_capacity(MAX_DESCRIPTOR);
    expected.extend_from_slice(DESCRIPTOR_MARK);
    expected.extend_from_slice(&record.crc.to_le_bytes());
    for number in [record.packed, record.size] {
        match u32::try_from(number) {
            Ok(short) if !is_wide => expected.extend_from_slice(&short.to_le_bytes()),
            _ => expected.extend_from_slice(&number.to_le_bytes()),
        }
    }
    let room = directory.saturating_sub(start).min(len(&expected));
    let found = source.bytes(start, room, room)?;
    let bare = expected.get(DESCRIPTOR_MARK.len()..).unwrap_or_default();
    let length = if found == expected {
        expected.len()
    } else if found.starts_with(bare) {
        bare.len()
    } else {
        return Err(ReadError::Ambiguous(
            "an entry's header and its descriptor differ",
        ));
    };
    Ok(start.saturating_add(u64::try_from(length).unwrap_or(u64::MAX)))
}

/// The ZIP64 field among extra fields. One that gives the entry another name is refused.
fn wide_sizes(extra: &[u8]) -> Result<Option<&[u8]>, ReadError> {
    let mut fields = Fields(extra);
    let mut wide = None;
    // Java stops at a field that is cut off and so do others; padding is seen.
    while let (Some(id), Some(length)) = (fields.u16(), fields.u16()) {
        let Some(data) = fields.bytes(length.into()) else {
            break;
        };
        if id == NAME_FIELD {
            return Err(ReadError::Ambiguous("an entry with a second name"));
        }
        if id == WIDE_FIELD && wide.replace(data).is_some() {
            return Err(ReadError::Ambiguous("two 64-bit fields"));
        }
    }
    Ok(wide)
}

/// Least bytes of a record in the directory.
pub(super) const CENTRAL_BYTES: u64 = 46;
pub(super) const LOCAL_BYTES: u64 = 30;
const CENTRAL_MARK: &[u8] = b"PK\x01\x02";
pub(super) const LOCAL_MARK: &[u8] = b"PK\x03\x04";
pub(super) const DESCRIPTOR_MARK: &[u8] = b"PK\x07\x08";
const MAX_DESCRIPTOR: usize = 24;
pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;
pub(super) const DESCRIPTOR_FLAG: u16 = 1 << 3;
const UTF8_FLAG: u16 = 1 << 11;
/// Encrypted, patched, strongly encrypted, masked.
const UNUSUAL_FLAGS: u16 = 1 | 1 << 5 | 1 << 6 | 1 << 13;
pub(super) const WIDE_FIELD: u16 = 0x0001;
/// Info-ZIP's Unicode path, by which some readers go.
const NAME_FIELD: u16 = 0x7075;
const UNIX: u16 = 3;
const FILE_KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
/// Longest name in bytes: X-Road's have at most 260.
const MAX_NAME: usize = 1024;
