//! Reading by directory as forgiving programs do, in every way that one of them might: whether any of them would see something else
//! than a reader front to back.

use std::collections::HashMap;

use super::{
    Fields, ReadError, crc32,
    headers::{DEFLATED, LOCAL_BYTES, LOCAL_MARK, RawCentral, STORED, WIDE_FIELD},
    inflate, len,
    stream::StreamEntry,
};

/// The name under which an entry that counts would land in a folder, be it of a system that does not know case from case; `None` for
/// entries that no verifier looks at.
pub(crate) fn counted_name(name: &str) -> Option<String> {
    let plain = name.replace('\\', "/").to_ascii_lowercase();
    let parts: Vec<&str> = plain
        .split('/')
        .filter(|part| !matches!(*part, "" | "." | ".."))
        .collect();
    let plain = parts.join("/");
    (COUNTED.contains(&plain.as_str()) || plain.starts_with("attachment")).then_some(plain)
}

/// Looks at `file` by every directory that could be taken for its own.
///
/// # Errors
/// [`ReadError::Contradiction`] when one of them shows, whole and undamaged, something else under a name that counts than `entries`,
/// which were read front to back.
pub(crate) fn check(
    file: &[u8],
    entries: &[StreamEntry],
    max_entries: usize,
) -> Result<(), ReadError> {
    let mut budget = MAX_BYTES;
    let by_name: HashMap<String, &StreamEntry> = entries
        .iter()
        .filter_map(|entry| Some((counted_name(&entry.name)?, entry)))
        .collect();
    for (directory, base) in directories(file) {
        let mut fields = Fields(directory);
        for _ in 0..max_entries {
            let Some(record) = RawCentral::read(&mut fields) else {
                break;
            };
            let name = std::str::from_utf8(record.name).ok().and_then(counted_name);
            let Some(name) = name.filter(|name| !MANIFESTS.contains(&name.as_str())) else {
                continue;
            };
            let seen = by_name.get(&name);
            let place = place(&record)
                .map(|(offset, packed, size)| (offset.saturating_add(base), packed, size));
            let Some((offset, packed, size)) = place else {
                continue;
            };
            let read_alike = (offset, packed, record.method);
            if seen.is_some_and(|seen| (seen.offset, seen.packed, seen.method) == read_alike) {
                continue;
            }
            budget = budget
                .checked_sub(size.max(1))
                .ok_or(ReadError::Limit("several directories"))?;
            let shown = content(file, &record, offset, packed, size);
            if shown.is_some_and(|shown| seen.is_none_or(|seen| seen.content != shown)) {
                return Err(ReadError::Contradiction { name });
            }
        }
    }
    Ok(())
}

/// Every place from which a directory might be read, with what is to be added to the offsets in it: for each mark of an end near the
/// end of the file, where it says, and right before it.
fn directories(file: &[u8]) -> Vec<(&[u8], u64)> {
    let start = file.len().saturating_sub(MAX_TAIL);
    let tail = file.get(start..).unwrap_or_default();
    let mut found = Vec::new();
    for (place, _) in tail
        .windows(4)
        .enumerate()
        .filter(|(_, window)| *window == b"PK\x05\x06")
        .take(MAX_ENDS)
    {
        let end = start.saturating_add(place);
        let mut fields = Fields(file.get(end..).unwrap_or_default());
        let (Some(_), Some(size), Some(offset)) = (fields.bytes(12), fields.u32(), fields.u32())
        else {
            continue;
        };
        let mut sizes = vec![(u64::from(size), u64::from(offset), len_of(end))];
        sizes.extend(wide(file, end));
        for (size, offset, end) in sizes {
            let at = |offset: u64| usize::try_from(offset).ok().and_then(|at| file.get(at..));
            found.extend(at(offset).map(|directory| (directory, 0)));
            let before = end.checked_sub(size);
            if let Some(before) = before.filter(|before| *before > offset) {
                found
                    .extend(at(before).map(|directory| (directory, before.saturating_sub(offset))));
            }
        }
    }
    found
}

/// Size and offset of the directory by the ZIP64 record that the locator before `end` leads to, and where that record is.
fn wide(file: &[u8], end: usize) -> Option<(u64, u64, u64)> {
    let locator = file.get(end.checked_sub(20)?..end)?;
    let mut fields = Fields(locator);
    if fields.bytes(4)? != b"PK\x06\x07" {
        return None;
    }
    fields.u32()?;
    let place = fields.u64()?;
    let mut fields = Fields(file.get(usize::try_from(place).ok()?..)?);
    if fields.bytes(4)? != b"PK\x06\x06" {
        return None;
    }
    fields.bytes(36)?;
    Some((fields.u64()?, fields.u64()?, place))
}

/// Offset, packed and unpacked size.
fn place(record: &RawCentral<'_>) -> Option<(u64, u64, u64)> {
    let mut wide = Fields(wide_field(record.extra).unwrap_or_default());
    let mut widen = |short: u32| match short {
        u32::MAX => wide.u64(),
        short => Some(short.into()),
    };
    let size = widen(record.size)?;
    let packed = widen(record.packed)?;
    Some((widen(record.offset)?, packed, size))
}

fn wide_field(extra: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(extra);
    loop {
        let (id, length) = (fields.u16()?, fields.u16()?);
        let data = fields.bytes(length.into())?;
        if id == WIDE_FIELD {
            return Some(data);
        }
    }
}

/// What a reader by directory unpacks, if it succeeds.
fn content(
    file: &[u8],
    record: &RawCentral<'_>,
    offset: u64,
    packed: u64,
    size: u64,
) -> Option<Vec<u8>> {
    let mut fields = Fields(file.get(usize::try_from(offset).ok()?..)?);
    if !fields.0.starts_with(LOCAL_MARK) || len(fields.0) < LOCAL_BYTES {
        return None;
    }
    fields.bytes(26)?;
    let [name, extra] = [fields.u16()?, fields.u16()?];
    fields.bytes(name.into())?;
    fields.bytes(extra.into())?;
    let packed = fields.bytes(usize::try_from(packed).ok()?)?;
    let content = match record.method {
        STORED => packed.to_vec(),
        DEFLATED => inflate(packed, size)?,
        _ => return None,
    };
    (record.flags & 1 == 0 && crc32(&content) == record.crc).then_some(content)
}

fn len_of(place: usize) -> u64 {
    u64::try_from(place).unwrap_or(u64::MAX)
}

/// What X-Road's and our verifier look at, in small letters.
const COUNTED: [&str; 10] = [
    "mimetype",
    "message.xml",
    "meta-inf/signatures.xml",
    "sig-hashchainresult.xml",
    "sig-hashchain.xml",
    "ts-hashchainresult.xml",
    "ts-hashchain.xml",
    "meta-inf/timestamp.tst",
    "meta-inf/manifest.xml",
    "meta-inf/asicmanifest.xml",
];
/// No verdict rests on what these say, so two readings of them are two readings of one message.
const MANIFESTS: [&str; 2] = ["meta-inf/manifest.xml", "meta-inf/asicmanifest.xml"];
/// Record and longest comment, and some more for what stands behind.
const MAX_TAIL: usize = 2 * 65_557;
/// Marks of an end that are followed.
const MAX_ENDS: usize = 16;
/// Most bytes unpacked for comparison: what a container holds at most.
const MAX_BYTES: u64 = 2 << 30;
