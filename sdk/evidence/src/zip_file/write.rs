//! Writing ZIP files front to back, so that the target may be a pipe.
//!
//! Entries whose bytes are known when they begin are stored, sizes in the local header. Others are deflated without
//! compression and followed by a descriptor: the only shape that Java's stream reader takes with a descriptor, and the one that
//! X-Road's archives have (`signatures-and-log.md` 4.6).

use flate2::Crc;
use std::io::{self, Read, Write};
use time::OffsetDateTime;

use super::len;

/// A ZIP file being written.
#[derive(Debug)]
pub(crate) struct ZipWriter<W> {
    target: W,
    position: u64,
    directory: Vec<u8>,
    entries: u64,
}

/// What the local header and the directory say of an entry.
struct Header<'a> {
    name: &'a str,
    time: OffsetDateTime,
    method: u16,
    flags: u16,
    crc: u32,
    packed: u64,
    size: u64,
    /// Where its header begins.
    offset: u64,
}

impl<W: Write> ZipWriter<W> {
    pub(crate) fn new(target: W) -> Self {
        Self {
            target,
            position: 0,
            directory: Vec::new(),
            entries: 0,
        }
    }

    /// Writes an entry that is in memory.
    pub(crate) fn stored(
        &mut self,
        name: &str,
        time: OffsetDateTime,
        content: &[u8],
    ) -> io::Result<()> {
        let mut crc = Crc::new();
        crc.update(content);
        self.stored_from(name, time, crc.sum(), len(content), content)
    }

    /// Writes an entry whose checksum and length are known. It is an error if `content` is not of that length.
    pub(crate) fn stored_from(
        &mut self,
        name: &str,
        time: OffsetDateTime,
        crc: u32,
        size: u64,
        mut content: impl Read,
    ) -> io::Result<()> {
        let header = Header {
            name,
            time,
            method: STORED,
            flags: 0,
            crc,
            packed: size,
            size,
            offset: self.position,
        };
        self.put(&header.local(false)?)?;
        let mut written = 0_u64;
        let mut buffer =
            vec![0; COPY_BYTES.min(usize::try_from(size).unwrap_or(COPY_BYTES).max(1))];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let read = buffer.get(..count).unwrap_or_default();
            written = written.saturating_add(len(read));
            if written > size {
                break;
            }
            self.put(read)?;
        }
        if written != size {
            return Err(io::Error::other(
                "an entry has another length than announced",
            ));
        }
        self.list(&header)
    }

    /// Begins an entry of which nothing is known, but whether it may exceed 4 GiB.
    pub(crate) fn begin<'a>(
        &'a mut self,
        name: &'a str,
        time: OffsetDateTime,
        wide: bool,
    ) -> io::Result<Streamed<'a, W>> {
        let header = Header {
            name,
            time,
            method: DEFLATED,
            flags: DESCRIPTOR_FLAG,
            crc: 0,
            packed: 0,
            size: 0,
            offset: self.position,
        };
        self.put(&header.local(wide)?)?;
        Ok(Streamed {
            start: self.position,
            zip: self,
            header,
            wide,
            crc: Crc::new(),
            block: Vec::with_capacity(BLOCK_BYTES),
        })
    }

    /// Writes the directory and the end.
    pub(crate) fn finish(mut self, comment: &str) -> io::Result<W> {
        let directory_at = self.position;
        let directory = std::mem::take(&mut self.directory);
        self.put(&directory)?;
        let end_at = self.position;
        let mut out = Vec::new();
        let short_count = u16::try_from(self.entries)
            .ok()
            .filter(|it| *it != u16::MAX);
        let short_at = u32::try_from(directory_at)
            .ok()
            .filter(|it| *it != u32::MAX);
        let short_size = u32::try_from(directory.len())
            .ok()
            .filter(|it| *it != u32::MAX);
        if short_count.is_none() || short_at.is_none() || short_size.is_none() {
            out.extend_from_slice(b"PK\x06\x06");
            out.extend_from_slice(&44_u64.to_le_bytes());
            out.extend_from_slice(&MADE_BY.to_le_bytes());
            out.extend_from_slice(&WIDE_VERSION.to_le_bytes());
            out.extend_from_slice(&[0; 8]);
            for number in [self.entries, self.entries, len(&directory), directory_at] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(b"PK\x06\x07");
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&end_at.to_le_bytes());
            out.extend_from_slice(&1_u32.to_le_bytes());
        }
        out.extend_from_slice(b"PK\x05\x06");
        out.extend_from_slice(&[0; 4]);
        for _ in 0..2 {
            out.extend_from_slice(&short_count.unwrap_or(u16::MAX).to_le_bytes());
        }
        out.extend_from_slice(&short_size.unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&short_at.unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&name_length(comment)?.to_le_bytes());
        out.extend_from_slice(comment.as_bytes());
        self.put(&out)?;
        Ok(self.target)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.target.write_all(bytes)?;
        self.position = self.position.saturating_add(len(bytes));
        Ok(())
    }

    fn list(&mut self, header: &Header<'_>) -> io::Result<()> {
        let record = header.central()?;
        self.directory.extend_from_slice(&record);
        self.entries = self.entries.saturating_add(1);
        Ok(())
    }
}

/// An entry being written; it counts only once it is finished.
#[derive(Debug)]
pub(crate) struct Streamed<'a, W> {
    zip: &'a mut ZipWriter<W>,
    header: Header<'a>,
    /// Where its data begin.
    start: u64,
    wide: bool,
    crc: Crc,
    block: Vec<u8>,
}

impl<W: Write> Streamed<'_, W> {
    /// Ends the entry; returns its length.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.write_block(true)?;
        self.header.crc = self.crc.sum();
        self.header.packed = self.zip.position.saturating_sub(self.start);
        let mut out = Vec::with_capacity(24);
        out.extend_from_slice(b"PK\x07\x08");
        out.extend_from_slice(&self.header.crc.to_le_bytes());
        for number in [self.header.packed, self.header.size] {
            match u32::try_from(number) {
                Ok(short) if !self.wide => out.extend_from_slice(&short.to_le_bytes()),
                Err(_) if !self.wide => {
                    return Err(io::Error::other("an entry exceeds 4 GiB unannounced"));
                }
                _ => out.extend_from_slice(&number.to_le_bytes()),
            }
        }
        self.zip.put(&out)?;
        self.zip.list(&self.header)?;
        Ok(self.header.size)
    }

    fn write_block(&mut self, last: bool) -> io::Result<()> {
        let length = u16::try_from(self.block.len()).unwrap_or(u16::MAX);
        let mut head = [0; 5];
        let [kind, sizes @ ..] = &mut head;
        *kind = u8::from(last);
        let both = length
            .to_le_bytes()
            .into_iter()
            .chain((!length).to_le_bytes());
        sizes.iter_mut().zip(both).for_each(|(to, from)| *to = from);
        self.zip.put(&head)?;
        let block = std::mem::take(&mut self.block);
        self.zip.put(&block)?;
        self.block = block;
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for Streamed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = BLOCK_BYTES.saturating_sub(self.block.len());
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.block.extend_from_slice(taken);
        self.crc.update(taken);
        self.header.size = self.header.size.saturating_add(len(taken));
        if self.block.len() >= BLOCK_BYTES {
            self.write_block(false)?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Header<'_> {
    fn local(&self, wide: bool) -> io::Result<Vec<u8>> {
        let wide = wide || is_wide(self.size);
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(b"PK\x03\x04");
        self.common(&mut out, wide);
        let short = |number: u64| if wide { u32::MAX } else { narrow(number) };
        out.extend_from_slice(&short(self.packed).to_le_bytes());
        out.extend_from_slice(&short(self.size).to_le_bytes());
        out.extend_from_slice(&name_length(self.name)?.to_le_bytes());
        let extra: u16 = if wide { 20 } else { 0 };
        out.extend_from_slice(&extra.to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        if wide {
            out.extend_from_slice(&[1, 0, 16, 0]);
            out.extend_from_slice(&self.size.to_le_bytes());
            out.extend_from_slice(&self.packed.to_le_bytes());
        }
        Ok(out)
    }

    fn central(&self) -> io::Result<Vec<u8>> {
        let mut extra = Vec::new();
        for number in [self.size, self.packed, self.offset] {
            if is_wide(number) {
                extra.extend_from_slice(&number.to_le_bytes());
            }
        }
        let mut out = Vec::with_capacity(96);
        out.extend_from_slice(b"PK\x01\x02");
        out.extend_from_slice(&MADE_BY.to_le_bytes());
        self.common(&mut out, !extra.is_empty());
        out.extend_from_slice(&narrow(self.packed).to_le_bytes());
        out.extend_from_slice(&narrow(self.size).to_le_bytes());
        out.extend_from_slice(&name_length(self.name)?.to_le_bytes());
        let length = u16::try_from(extra.len()).unwrap_or_default();
        let whole = if length == 0 {
            0
        } else {
            length.saturating_add(4)
        };
        out.extend_from_slice(&whole.to_le_bytes());
        // comment, disk, inner attributes
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&PLAIN_FILE.to_le_bytes());
        out.extend_from_slice(&narrow(self.offset).to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        if length > 0 {
            out.extend_from_slice(&1_u16.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&extra);
        }
        Ok(out)
    }

    /// Version, flags, method, time, checksum.
    fn common(&self, out: &mut Vec<u8>, wide: bool) {
        let version = if wide { WIDE_VERSION } else { VERSION };
        let flags = if self.name.is_ascii() {
            self.flags
        } else {
            self.flags | UTF8_FLAG
        };
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&self.method.to_le_bytes());
        let (date, time) = dos(self.time);
        out.extend_from_slice(&time.to_le_bytes());
        out.extend_from_slice(&date.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
    }
}

/// Date and time in UTC, in steps of two seconds, from 1980 to 2107.
fn dos(time: OffsetDateTime) -> (u16, u16) {
    let time = time.to_utc();
    let Some(year) = u16::try_from(time.year() - 1980)
        .ok()
        .filter(|year| *year < 128)
    else {
        return (0x21, 0);
    };
    let number = |value: u8| u16::from(value);
    (
        year << 9 | number(time.month().into()) << 5 | number(time.day()),
        number(time.hour()) << 11 | number(time.minute()) << 5 | number(time.second()) >> 1,
    )
}

fn is_wide(number: u64) -> bool {
    number >= u64::from(u32::MAX)
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn name_length(name: &str) -> io::Result<u16> {
    u16::try_from(name.len()).map_err(|_| io::Error::other("a name is too long for a ZIP file"))
}

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const DESCRIPTOR_FLAG: u16 = 1 << 3;
const UTF8_FLAG: u16 = 1 << 11;
const VERSION: u16 = 20;
const WIDE_VERSION: u16 = 45;
/// Unix, so that the attributes count.
const MADE_BY: u16 = 3 << 8 | WIDE_VERSION;
/// A file that its owner may write and everybody read.
const PLAIN_FILE: u32 = 0o100_644 << 16;
/// Most bytes of a block that is not compressed.
const BLOCK_BYTES: usize = 65_535;
const COPY_BYTES: usize = 65_536;
