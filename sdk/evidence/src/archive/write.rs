//! Writing archives front to back: containers in the order of the chain, then `linkinginfo` (`signatures-and-log.md` 4.6, 4.7).

use jibek_certs::digest::{DigestAlgorithm, Hasher};
use std::{
    fmt::Write as _,
    io::{self, Write},
};
use time::OffsetDateTime;

use super::{ArchiveName, LinkDigest, read::LINKING_INFO};
use crate::zip_file::write::{Streamed, ZipWriter};

/// The archive that a new one follows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "what a first line of linkinginfo names"
)]
pub struct Previous {
    /// Its last link.
    pub digest: LinkDigest,
    /// Its file name, with `.gpg` if it is encrypted.
    pub name: String,
}

/// An archive being written. The target is only ever written to at its end, so it may be a pipe.
#[derive(Debug)]
pub struct ArchiveWriter<W> {
    zip: ZipWriter<W>,
    linking_info: String,
    last: Option<LinkDigest>,
    containers: usize,
    container_bytes: u64,
    times: Option<(OffsetDateTime, OffsetDateTime)>,
}

/// What an archive became.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrittenArchive {
    /// The last link, with which the next archive begins.
    pub last: LinkDigest,
    /// Time of the earliest record.
    pub start: OffsetDateTime,
    /// Time of the latest record.
    pub end: OffsetDateTime,
    /// Containers in it.
    pub containers: usize,
}

impl WrittenArchive {
    /// The file name; `group` is the member or subsystem that the archive is for, `INST/CLASS/CODE[/SUBSYSTEM]`, if archives are
    /// grouped.
    pub fn name(&self, group: Option<&str>, is_encrypted: bool) -> String {
        ArchiveName::format(group, self.start, self.end, &self.last, is_encrypted)
    }
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins an archive that follows `previous`, or begins a chain.
    pub fn new(target: W, previous: Option<&Previous>) -> Self {
        let (digest, name) = previous.map_or(("-", "-"), |it| (it.digest.as_str(), &it.name));
        Self {
            zip: ZipWriter::new(target),
            linking_info: format!("{digest} {name} {ALGORITHM}\n"),
            last: previous.map(|it| it.digest.clone()),
            containers: 0,
            container_bytes: 0,
            times: None,
        }
    }

    /// Adds the container that `write` writes; `name` must be its own and hold no white space, as those of
    /// [`container_name`](crate::container::container_name). `bytes` is about how long it will be, in bytes: more than 4 GiB must
    /// be known beforehand.
    ///
    /// # Errors
    /// What `write` says, or the target, as `E`. The archive cannot be used any more.
    pub fn add<E: From<io::Error>>(
        &mut self,
        name: &str,
        time: OffsetDateTime,
        bytes: u64,
        write: impl FnOnce(&mut EntryWriter<'_, W>) -> Result<(), E>,
    ) -> Result<(), E> {
        let wide = bytes > WIDE_FROM;
        let mut entry = EntryWriter {
            entry: self.zip.begin(name, time, wide)?,
            hasher: Hasher::new(ALGORITHM),
        };
        write(&mut entry)?;
        let EntryWriter { entry, hasher } = entry;
        let length = entry.finish()?;
        let link = LinkDigest::follow(self.last.as_ref(), &hasher.finish());
        // writing to a string cannot fail
        let _ = writeln!(self.linking_info, "{link} {name}");
        self.last = Some(link);
        self.containers = self.containers.saturating_add(1);
        self.container_bytes = self.container_bytes.saturating_add(length);
        self.times = Some(match self.times {
            Some((start, end)) => (start.min(time), end.max(time)),
            None => (time, time),
        });
        Ok(())
    }

    /// Containers so far.
    pub fn containers(&self) -> usize {
        self.containers
    }

    /// Bytes of the containers so far.
    pub fn container_bytes(&self) -> u64 {
        self.container_bytes
    }

    /// Writes the links and the end. An archive without a container is none: `None`, and what was written is to be thrown away.
    ///
    /// # Errors
    /// What the target says.
    pub fn finish(mut self) -> io::Result<Option<(W, WrittenArchive)>> {
        let (Some(last), Some((start, end))) = (self.last, self.times) else {
            return Ok(None);
        };
        let mut entry = self.zip.begin(LINKING_INFO, end, false)?;
        entry.write_all(self.linking_info.as_bytes())?;
        entry.finish()?;
        let written = WrittenArchive {
            last,
            start,
            end,
            containers: self.containers,
        };
        Ok(Some((self.zip.finish("")?, written)))
    }
}

/// Where one container of an archive is written.
#[derive(Debug)]
pub struct EntryWriter<'a, W> {
    entry: Streamed<'a, W>,
    hasher: Hasher,
}

impl<W: Write> Write for EntryWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.entry.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.entry.flush()
    }
}

/// X-Road's default, and what our signatures have.
const ALGORITHM: DigestAlgorithm = DigestAlgorithm::Sha512;
/// Below 4 GiB by more than what estimates leave out.
const WIDE_FROM: u64 = (4 << 30) - (64 << 20);

#[cfg(test)]
mod tests;
