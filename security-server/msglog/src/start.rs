//! Where the log begins. A log that never lost a segment begins with segment 1 and has no such file; one that was
//! shortened on purpose says so in `log.start`, which is durable before the first file goes. So segments that are
//! missing at the front without it are damage.

use std::io::{ErrorKind, IoSlice};

use crate::codec::Reader;
use crate::error::LogError;
use crate::fs::{self, Access, Fs, SyncSite};
use crate::layout::Layout;
use crate::num::{narrow, wide};

/// Where the log begins, and what was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogStart {
    /// Number of the first segment that belongs to the log.
    pub(crate) segment: u64,
    /// Smallest record id that may stand in it.
    pub(crate) first_id: u64,
    /// Records in all segments that were removed.
    pub(crate) removed: u64,
    /// Smallest number for a new body file: those of removed records are not given again.
    pub(crate) next_body: u64,
}

impl Default for LogStart {
    fn default() -> Self {
        Self {
            segment: 1,
            first_id: 0,
            removed: 0,
            next_body: 1,
        }
    }
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It does not read, so nothing is known of what is missing.
    Damaged,
    /// It reads, or is not there and the log begins with segment 1.
    Start(LogStart),
}

impl LogStart {
    /// Reads the file.
    pub(crate) fn read(layout: &Layout, fs: &dyn Fs) -> Result<Found, LogError> {
        let path = layout.start();
        let file = match fs.open(&path, Access::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Found::Start(Self::default()));
            }
            opened => opened.map_err(LogError::at("open", &path))?,
        };
        let length = file.length().map_err(LogError::at("read", &path))?;
        let bytes = fs::read_bytes_at(file.as_ref(), 0, narrow(length.min(wide(BYTES) + 1)))
            .map_err(LogError::at("read", &path))?;
        match Self::decode(&bytes) {
            Some(Ok(start)) => Ok(Found::Start(start)),
            Some(Err(found)) => Err(LogError::UnknownVersion {
                path,
                found,
                known: VERSION,
            }),
            None => Ok(Found::Damaged),
        }
    }

    /// Replaces the file. What it says is durable afterwards.
    pub(crate) fn write(&self, layout: &Layout, fs: &dyn Fs) -> Result<(), LogError> {
        let (draft, path) = (layout.start_draft(), layout.start());
        let failed = |operation| LogError::at(operation, &draft);
        match fs.remove(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(LogError::io("remove", &draft, error));
            }
            _ => {}
        }
        let file = fs.create(&draft).map_err(failed("create"))?;
        file.write_at(0, &mut [IoSlice::new(&self.encode())])
            .map_err(failed("write"))?;
        file.sync_data(SyncSite::StartData)
            .map_err(failed("sync"))?;
        fs.rename(&draft, &path).map_err(failed("rename"))?;
        fs.sync_dir(layout.dir(), SyncSite::StartDir)
            .map_err(LogError::at("sync", layout.dir()))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        for number in [self.segment, self.first_id, self.removed, self.next_body] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// `None` if it is no such file, the version if that is a newer one.
    fn decode(bytes: &[u8]) -> Option<Result<Self, u32>> {
        let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if checksum != crc32c::crc32c(body).to_le_bytes() {
            return None;
        }
        let mut fields = Reader::new(body);
        if fields.bytes(MAGIC.len())? != MAGIC {
            return None;
        }
        let version = fields.u32()?;
        if version > VERSION {
            return Some(Err(version));
        }
        let start = Self {
            segment: fields.u64()?,
            first_id: fields.u64()?,
            removed: fields.u64()?,
            next_body: fields.u64()?,
        };
        fields.is_empty().then_some(Ok(start))
    }
}

const MAGIC: &[u8; 8] = b"JBKSTA\r\n";
const VERSION: u32 = 1;
const BYTES: usize = 8 + 4 + 4 * 8 + 4;

#[cfg(test)]
mod tests {
    use super::LogStart;

    #[test]
    fn a_start_reads_back_and_no_flipped_bit_does() {
        let start = LogStart {
            segment: 7,
            first_id: 4711,
            removed: 4000,
            next_body: 12,
        };
        let bytes = start.encode();
        assert_eq!(LogStart::decode(&bytes), Some(Ok(start)));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(LogStart::decode(&flipped), None, "byte {at}");
            assert_eq!(LogStart::decode(&bytes[..at]), None, "{at} bytes");
        }
    }
}
