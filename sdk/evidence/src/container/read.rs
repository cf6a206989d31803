//! Reading containers, ours, X-Road's and hostile ones (`dependencies.md` 7).

use bytes::Bytes;
use jibek_certs::digest::{Digest, DigestAlgorithm, digest};
use std::{collections::BTreeMap, io::Cursor};

use crate::{
    names::CONTAINER_TYPE,
    zip_file::{Ratio, ReadError, ZipFile},
};

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

impl Container {
    /// Unpacks a container that every reader sees alike.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(file: &[u8], limits: &ContainerLimits) -> Result<Self, ReadError> {
        let mut zip = ZipFile::open(Cursor::new(file), limits.entries)?;
        let ratio = Ratio {
            times: limits.ratio,
            from_bytes: limits.ratio_from_bytes,
        };
        let mut budget = limits.total_bytes;
        let mut entries = BTreeMap::new();
        for number in 0..zip.entries().len() {
            let content = zip.content(number, budget, ratio)?;
            budget = budget.saturating_sub(u64::try_from(content.len()).unwrap_or(u64::MAX));
            if let Some(entry) = zip.entries().get(number) {
                entries.insert(entry.name.clone(), content.into());
            }
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
