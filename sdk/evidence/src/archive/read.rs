//! Reading one archive.

use bytes::Bytes;
use jibek_certs::digest::{DigestAlgorithm, digest};
use std::{
    collections::HashSet,
    io::{Read, Seek},
};

use super::{Line, LinkDigest, LinkingInfo};
use crate::zip_file::{Ratio, ReadError, ZipFile};

/// Caps on what an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveLimits {
    /// Most containers. X-Road writes at most 10 000 by default.
    pub containers: usize,
    /// Largest container, in bytes; one that is larger is a fault, the rest is read.
    pub container_bytes: u64,
}

impl Default for ArchiveLimits {
    /// A million containers of 2 GiB at most.
    fn default() -> Self {
        Self {
            containers: 1_000_000,
            container_bytes: 2 << 30,
        }
    }
}

/// What a file seems to be, by the names in its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A message-log archive.
    Archive,
    /// Containers without links, as `/asic` gives them (`signatures-and-log.md` 5.3).
    Bundle,
    /// A container.
    Container,
    /// Neither, or not to be told.
    Other,
}

/// Says what a file seems to be. Only its directory is read.
pub fn kind<R: Read + Seek>(source: R) -> FileKind {
    let Ok(zip) = ZipFile::open(source, ArchiveLimits::default().containers) else {
        return FileKind::Other;
    };
    let has = |name: &str| zip.entries().iter().any(|entry| entry.name == name);
    if has("mimetype") || has("META-INF/signatures.xml") {
        FileKind::Container
    } else if has(LINKING_INFO) {
        FileKind::Archive
    } else if zip.entries().iter().any(|entry| is_container(&entry.name)) {
        FileKind::Bundle
    } else {
        FileKind::Other
    }
}

/// Why a file cannot be read as an archive at all.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A line of `linkinginfo` cannot be understood.
    #[error("line {line} of linkinginfo: {what}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// `linkinginfo` is there and cannot be unpacked.
    #[error("linkinginfo cannot be unpacked")]
    LinkingInfo(#[source] ReadError),
    /// There is no `linkinginfo`.
    #[error("there is no linkinginfo")]
    NoLinkingInfo,
    /// The file is no ZIP file that every reader sees alike.
    #[error("not an archive")]
    Zip(#[source] ReadError),
}

impl ArchiveError {
    /// Ours: X-Road's archive verifier has no codes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Line { .. } => "archive_malformed_linking_info",
            Self::LinkingInfo(error) => error.code(),
            Self::NoLinkingInfo => "archive_no_linking_info",
            Self::Zip(ReadError::NotZip) => "archive_not_zip",
            Self::Zip(error) => error.code(),
        }
    }
}

/// One thing that is wrong in an archive.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArchiveFault {
    /// The container's bytes cannot be unpacked.
    #[error("{name} is damaged")]
    Damaged {
        /// The container.
        name: String,
    },
    /// There is no container.
    #[error("the archive has no container")]
    Empty,
    /// In `linkinginfo` and not in the archive.
    #[error("line {line} of linkinginfo names {name}, which is not in the archive: it was removed")]
    Missing {
        /// Counted from 1.
        line: usize,
        /// The container.
        name: String,
    },
    /// The link holds, but after another container than the one before it.
    #[error("{name} (line {line} of linkinginfo) is not in its place: the order was changed")]
    OutOfOrder {
        /// Counted from 1.
        line: usize,
        /// The container.
        name: String,
    },
    /// Over [`ArchiveLimits`].
    #[error("{name} is too large to be read")]
    TooLarge {
        /// The container.
        name: String,
    },
    /// In the archive and not in `linkinginfo`.
    #[error("{name} is not in linkinginfo: it was added")]
    Unlisted {
        /// The container.
        name: String,
    },
    /// The container is not the one that was linked, or one before it was removed.
    #[error(
        "the link of {name} (line {line} of linkinginfo) does not hold: it or one before it was replaced or removed; \
         stated {stated}, found {found}"
    )]
    WrongLink {
        /// Counted from 1.
        line: usize,
        /// The container.
        name: String,
        /// What `linkinginfo` says.
        stated: LinkDigest,
        /// What follows from the link before and the container's bytes.
        found: LinkDigest,
    },
}

impl ArchiveFault {
    /// Ours: X-Road's archive verifier has no codes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "archive_container_damaged",
            Self::Empty => "archive_empty",
            Self::Missing { .. } => "archive_container_missing",
            Self::OutOfOrder { .. } => "archive_order",
            Self::TooLarge { .. } => "archive_container_too_large",
            Self::Unlisted { .. } => "archive_container_unlisted",
            Self::WrongLink { .. } => "archive_link",
        }
    }

    /// The container that it is about.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Empty => None,
            Self::Damaged { name }
            | Self::Missing { name, .. }
            | Self::OutOfOrder { name, .. }
            | Self::TooLarge { name }
            | Self::Unlisted { name }
            | Self::WrongLink { name, .. } => Some(name),
        }
    }
}

/// An archive whose links hold.
#[derive(Debug, Clone)]
pub struct VerifiedArchive {
    previous: Option<LinkDigest>,
    previous_archive: Option<String>,
    algorithm: DigestAlgorithm,
    containers: Vec<Line>,
    last: LinkDigest,
}

impl VerifiedArchive {
    /// The last link of the archive before; `None` when this is the first.
    pub fn previous(&self) -> Option<&LinkDigest> {
        self.previous.as_ref()
    }

    /// The file name of the archive before, as that server named it.
    pub fn previous_archive(&self) -> Option<&str> {
        self.previous_archive.as_deref()
    }

    /// The link that the next archive must begin with.
    pub fn last(&self) -> &LinkDigest {
        &self.last
    }

    /// What links are made with.
    pub fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// The containers in the order of the chain; never none.
    pub fn containers(&self) -> &[Line] {
        &self.containers
    }
}

/// An archive whose links do not hold.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .faults.first().map_or_else(|| "the archive is broken".to_owned(), ToString::to_string))]
pub struct BrokenArchive {
    faults: Vec<ArchiveFault>,
    count: usize,
    linking_info: Box<LinkingInfo>,
}

impl BrokenArchive {
    /// What is wrong: the first hundred things, never none.
    pub fn faults(&self) -> &[ArchiveFault] {
        &self.faults
    }

    /// How many things are wrong.
    pub fn fault_count(&self) -> usize {
        self.count
    }

    /// What the archive says of itself.
    pub fn linking_info(&self) -> &LinkingInfo {
        &self.linking_info
    }
}

/// An entry of an archive or a bundle that is a container by its name.
#[derive(Debug, Clone)]
pub struct ArchivedContainer {
    name: String,
    bytes: Option<Bytes>,
    fault: Option<ArchiveFault>,
}

impl ArchivedContainer {
    /// Its name, as `ID-request-1.asice`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its bytes; `None` when they cannot be unpacked, which is a fault.
    pub fn bytes(&self) -> Option<&Bytes> {
        self.bytes.as_ref()
    }

    /// What is wrong with it or its link.
    pub fn fault(&self) -> Option<&ArchiveFault> {
        self.fault.as_ref()
    }
}

/// An archive that is being read, one container at a time.
#[derive(Debug)]
pub struct Archive<R> {
    zip: ZipFile<R>,
    limits: ArchiveLimits,
    info: LinkingInfo,
    names: HashSet<String>,
    next: usize,
    /// The link stated for the container before in the directory; `None` when nothing is stated.
    before: Option<Option<LinkDigest>>,
    containers: Vec<Line>,
    faults: Vec<ArchiveFault>,
    count: usize,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the directory and `linkinginfo`; no container is unpacked yet.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn open(source: R, limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        let mut zip = ZipFile::open(source, limits.containers.saturating_add(MAX_OTHERS))
            .map_err(ArchiveError::Zip)?;
        zip.check_safe().map_err(ArchiveError::Zip)?;
        let number = zip
            .entries()
            .iter()
            .position(|entry| entry.name == LINKING_INFO)
            .ok_or(ArchiveError::NoLinkingInfo)?;
        let bytes = zip
            .content(number, MAX_LINKING_INFO_BYTES, RATIO)
            .map_err(ArchiveError::LinkingInfo)?;
        let info =
            LinkingInfo::parse(&bytes, limits.containers).map_err(|bad| ArchiveError::Line {
                line: bad.line,
                what: bad.what,
            })?;
        let names = zip
            .entries()
            .iter()
            .filter(|entry| is_container(&entry.name))
            .map(|entry| entry.name.clone())
            .collect();
        let mut archive = Self {
            zip,
            limits: *limits,
            before: Some(info.previous().cloned()),
            info,
            names,
            next: 0,
            containers: Vec::new(),
            faults: Vec::new(),
            count: 0,
        };
        archive.check_names();
        Ok(archive)
    }

    fn check_names(&mut self) {
        if self.names.is_empty() {
            self.add(ArchiveFault::Empty);
        }
        let missing: Vec<ArchiveFault> = (2_usize..)
            .zip(self.info.lines())
            .filter(|(_, line)| !self.names.contains(line.name()))
            .map(|(number, line)| ArchiveFault::Missing {
                line: number,
                name: line.name().to_owned(),
            })
            .collect();
        for fault in missing {
            self.add(fault);
        }
    }

    fn add(&mut self, fault: ArchiveFault) {
        self.count = self.count.saturating_add(1);
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }

    /// What the archive says of its chain.
    pub fn linking_info(&self) -> &LinkingInfo {
        &self.info
    }

    /// How many containers there are.
    pub fn containers(&self) -> usize {
        self.names.len()
    }

    /// Entries that are neither containers nor `linkinginfo`. X-Road ignores them, no link covers them.
    pub fn other_entries(&self) -> impl Iterator<Item = &str> {
        self.zip
            .entries()
            .iter()
            .map(|entry| entry.name.as_str())
            .filter(|name| !is_container(name) && *name != LINKING_INFO)
    }

    /// The next container in the order of the directory, which is that of the chain. What is wrong with one does not end it.
    pub fn next_container(&mut self) -> Option<ArchivedContainer> {
        let (name, bytes) = next_container(&mut self.zip, &mut self.next, &self.limits)?;
        let line = self.info.position(&name);
        let fault = match (&bytes, line) {
            (Err(fault), _) => Some(fault.clone()),
            (Ok(bytes), Some(line)) => self.check_link(line, &name, bytes),
            (Ok(_), None) => Some(ArchiveFault::Unlisted { name: name.clone() }),
        };
        if let Some(fault) = &fault {
            self.add(fault.clone());
        }
        let line = line.and_then(|line| self.info.lines().get(line)).cloned();
        self.before = line.as_ref().map(|line| Some(line.link().clone()));
        self.containers.extend(line);
        Some(ArchivedContainer {
            name,
            bytes: bytes.ok(),
            fault,
        })
    }

    /// Each link is held against the one stated before it, so that one change is one fault; when all hold, so does the chain.
    fn check_link(&self, index: usize, name: &str, bytes: &Bytes) -> Option<ArchiveFault> {
        let stated = self.info.lines().get(index)?.link();
        let container = digest(self.info.algorithm(), bytes);
        let after = |previous: Option<&LinkDigest>| LinkDigest::follow(previous, &container);
        let by_directory = self.before.as_ref().map(|before| after(before.as_ref()));
        if by_directory.as_ref() == Some(stated) {
            return None;
        }
        let before = index
            .checked_sub(1)
            .and_then(|before| self.info.lines().get(before));
        let by_line = after(before.map_or(self.info.previous(), |line| Some(line.link())));
        let line = index.saturating_add(2);
        if by_line != *stated {
            return Some(ArchiveFault::WrongLink {
                line,
                name: name.to_owned(),
                stated: stated.clone(),
                found: by_directory.unwrap_or(by_line),
            });
        }
        // What was removed or added is told once, elsewhere.
        let is_beside_another_fault = self.before.is_none()
            || before.is_some_and(|before| !self.names.contains(before.name()));
        (!is_beside_another_fault).then(|| ArchiveFault::OutOfOrder {
            line,
            name: name.to_owned(),
        })
    }

    /// Reads the containers that were not asked for and says whether the archive is whole.
    ///
    /// # Errors
    /// [`BrokenArchive`].
    pub fn finish(mut self) -> Result<VerifiedArchive, BrokenArchive> {
        while self.next_container().is_some() {}
        let last = self.containers.last().map(|line| line.link().clone());
        match last {
            Some(last) if self.count == 0 => Ok(VerifiedArchive {
                previous: self.info.previous().cloned(),
                previous_archive: self.info.previous_archive().map(str::to_owned),
                algorithm: self.info.algorithm(),
                containers: self.containers,
                last,
            }),
            _ => Err(BrokenArchive {
                faults: self.faults,
                count: self.count,
                linking_info: Box::new(self.info),
            }),
        }
    }
}

/// Containers without links, as `/asic` gives them.
#[derive(Debug)]
pub struct Bundle<R> {
    zip: ZipFile<R>,
    limits: ArchiveLimits,
    next: usize,
}

impl<R: Read + Seek> Bundle<R> {
    /// Reads the directory.
    ///
    /// # Errors
    /// [`ArchiveError::Zip`].
    pub fn open(source: R, limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        let zip = ZipFile::open(source, limits.containers.saturating_add(MAX_OTHERS))
            .map_err(ArchiveError::Zip)?;
        zip.check_safe().map_err(ArchiveError::Zip)?;
        Ok(Self {
            zip,
            limits: *limits,
            next: 0,
        })
    }

    /// The next container in the order of the directory.
    pub fn next_container(&mut self) -> Option<ArchivedContainer> {
        let (name, bytes) = next_container(&mut self.zip, &mut self.next, &self.limits)?;
        let (bytes, fault) = match bytes {
            Ok(bytes) => (Some(bytes), None),
            Err(fault) => (None, Some(fault)),
        };
        Some(ArchivedContainer { name, bytes, fault })
    }
}

/// Unpacks the next entry from `next` on that is a container.
fn next_container<R: Read + Seek>(
    zip: &mut ZipFile<R>,
    next: &mut usize,
    limits: &ArchiveLimits,
) -> Option<(String, Result<Bytes, ArchiveFault>)> {
    loop {
        let number = *next;
        let name = zip.entries().get(number)?.name.clone();
        *next = number.saturating_add(1);
        if !is_container(&name) {
            continue;
        }
        let bytes = zip
            .content(number, limits.container_bytes, RATIO)
            .map(Bytes::from)
            .map_err(|error| match error {
                ReadError::Limit(_) => ArchiveFault::TooLarge { name: name.clone() },
                _ => ArchiveFault::Damaged { name: name.clone() },
            });
        return Some((name, bytes));
    }
}

/// As X-Road's archive verifier tells them.
fn is_container(name: &str) -> bool {
    name.ends_with(".asice")
}

pub(super) const LINKING_INFO: &str = "linkinginfo";
/// Entries beside containers that are put up with.
const MAX_OTHERS: usize = 1000;
/// Faults kept.
const MAX_FAULTS: usize = 100;
/// Room for a million lines with the names that X-Road gives.
const MAX_LINKING_INFO_BYTES: u64 = 512 << 20;
/// X-Road stores; containers compress a little, and a line of `linkinginfo` to half.
const RATIO: Ratio = Ratio {
    times: 200,
    from_bytes: 1 << 20,
};
