//! Reading containers, ours, X-Road's and hostile ones (`dependencies.md` 7).

use bytes::Bytes;
use jibek_certs::digest::{Digest, DigestAlgorithm, digest};
use std::{collections::BTreeMap, io::Cursor};

use crate::{
    names::CONTAINER_TYPE,
    zip_file::{
        Ratio, ReadError, ZipFile, directory, is_unsafe,
        stream::{self, StreamEntry, StreamLimits},
    },
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
#[derive(Debug, Clone, Default)]
pub struct Container {
    entries: BTreeMap<String, Bytes>,
    /// Entries of which only the SHA-512 is known.
    digests: BTreeMap<String, Digest>,
    /// Entries that are not there, by policy of where the container comes from, with the SHA-512 they had.
    not_kept: BTreeMap<String, Digest>,
    peculiarities: Vec<Peculiarity>,
}

/// Something odd about the file that X-Road's reader does not see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Peculiarity {
    /// Readers by directory see less than readers front to back, or something that does not count, or nothing at all.
    #[error("its ZIP directory is not as it should be: {0}")]
    Directory(ReadError),
    /// An entry is a link or a device by its attributes.
    #[error("{name} becomes a link when unpacked")]
    Link {
        /// The entry.
        name: String,
    },
    /// A name that, unpacked by a careless program, would lead out of its folder.
    #[error("{name} leads out of its folder when unpacked carelessly")]
    UnsafeName {
        /// The entry.
        name: String,
    },
}

impl Peculiarity {
    /// A stable name.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Directory(_) => "zip_directory_differs",
            Self::Link { .. } => "zip_link",
            Self::UnsafeName { .. } => "zip_unsafe_name",
        }
    }
}

impl Container {
    /// Unpacks a container, front to back as X-Road does. Files in which readers by directory would see something else that counts
    /// are refused, and so are entries that are there twice; what X-Road does not see and does not count is a [`Peculiarity`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(file: &[u8], limits: &ContainerLimits) -> Result<Self, ReadError> {
        let limits = StreamLimits {
            entries: limits.entries,
            total_bytes: limits.total_bytes,
            ratio: Ratio {
                times: limits.ratio,
                from_bytes: limits.ratio_from_bytes,
            },
        };
        let stream = stream::read(file, &limits)?;
        let mut peculiarities = Vec::new();
        let strict = ZipFile::open(Cursor::new(file), limits.entries).and_then(|zip| {
            let links = zip.entries().iter().filter(|entry| entry.is_special);
            peculiarities.extend(links.take(MAX_PECULIARITIES).map(|entry| {
                let name = entry.name.clone();
                Peculiarity::Link { name }
            }));
            check_same(&zip, &stream)
        });
        if let Err(why) = strict {
            directory::check(file, &stream, limits.entries)?;
            peculiarities.push(Peculiarity::Directory(why));
        }
        let unsafe_names = stream.iter().filter(|entry| is_unsafe(&entry.name));
        peculiarities.extend(unsafe_names.take(MAX_PECULIARITIES).map(|entry| {
            let name = entry.name.clone();
            Peculiarity::UnsafeName { name }
        }));
        let entries = stream
            .into_iter()
            .filter(|entry| !entry.name.ends_with('/') || !entry.content.is_empty())
            .map(|entry| (entry.name, entry.content.into()))
            .collect();
        Ok(Self {
            entries,
            digests: BTreeMap::new(),
            not_kept: BTreeMap::new(),
            peculiarities,
        })
    }

    /// A container of entries that were never in a file.
    ///
    /// # Errors
    /// [`ReadError::Twice`] for a name that comes again.
    pub fn from_entries(
        entries: impl IntoIterator<Item = (String, Bytes)>,
    ) -> Result<Self, ReadError> {
        let mut container = Self::default();
        for (name, content) in entries {
            if container.entries.insert(name.clone(), content).is_some() {
                return Err(ReadError::Twice { name });
            }
        }
        Ok(container)
    }

    /// The same with one more entry, too large to be held, of which the SHA-512 is known.
    ///
    /// # Errors
    /// [`ReadError::Twice`] for a name that is there.
    pub fn with_digest(mut self, name: &str, digest: Digest) -> Result<Self, ReadError> {
        if self.has(name) {
            return Err(ReadError::Twice {
                name: name.to_owned(),
            });
        }
        self.digests.insert(name.to_owned(), digest);
        Ok(self)
    }

    /// The same, and it is known that an entry was left out by policy, and which SHA-512 it had: a log says so of bodies that
    /// it does not keep.
    ///
    /// # Errors
    /// [`ReadError::Twice`] for a name that is there.
    pub fn with_not_kept(mut self, name: &str, digest: Digest) -> Result<Self, ReadError> {
        if self.has(name) {
            return Err(ReadError::Twice {
                name: name.to_owned(),
            });
        }
        self.not_kept.insert(name.to_owned(), digest);
        Ok(self)
    }

    /// SHA-512 of an entry that was left out by policy.
    pub fn not_kept(&self, name: &str) -> Option<Digest> {
        self.not_kept.get(name).copied()
    }

    /// An entry's bytes, by its name without leading `/`.
    pub fn entry(&self, name: &str) -> Option<&Bytes> {
        self.entries.get(name)
    }

    /// Whether there is such an entry, be its bytes at hand or not.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name) || self.digests.contains_key(name)
    }

    /// All entries but directories, by name, as far as their bytes are at hand.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.entries
            .iter()
            .map(|(name, content)| (name.as_str(), content))
    }

    /// All names but those of directories.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries
            .keys()
            .chain(self.digests.keys())
            .map(String::as_str)
    }

    /// SHA-512 of an entry.
    pub fn digest(&self, name: &str) -> Option<Digest> {
        self.digest_by(name, DigestAlgorithm::Sha512)
    }

    /// The digest of an entry; `None` when it is not there, or its bytes are not and another digest of it is known.
    pub fn digest_by(&self, name: &str, algorithm: DigestAlgorithm) -> Option<Digest> {
        match self.entry(name) {
            Some(content) => Some(digest(algorithm, content)),
            None => self
                .digests
                .get(name)
                .filter(|digest| digest.algorithm() == algorithm)
                .copied(),
        }
    }

    /// What is odd about the file, beside the verdict.
    pub fn peculiarities(&self) -> &[Peculiarity] {
        &self.peculiarities
    }

    /// Whether the `mimetype` entry says what it must, ignoring case; `None` when there is none.
    pub(crate) fn has_container_type(&self) -> Option<bool> {
        self.entry("mimetype")
            .map(|content| content.eq_ignore_ascii_case(CONTAINER_TYPE.as_bytes()))
    }
}

/// Both readings must have seen the same entries in the same places.
fn check_same(zip: &ZipFile<Cursor<&[u8]>>, stream: &[StreamEntry]) -> Result<(), ReadError> {
    let files = stream.iter().filter(|entry| !entry.name.ends_with('/'));
    let mut seen: Vec<(u64, u64)> = files.map(|entry| (entry.offset, entry.packed)).collect();
    let mut listed: Vec<(u64, u64)> = zip
        .entries()
        .iter()
        .map(|entry| (entry.offset, entry.packed))
        .collect();
    seen.sort_unstable();
    listed.sort_unstable();
    if seen == listed {
        Ok(())
    } else {
        Err(ReadError::Ambiguous("its directory lists other entries"))
    }
}

/// Names told of each kind.
const MAX_PECULIARITIES: usize = 10;
