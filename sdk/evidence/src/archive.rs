//! X-Road's message-log archives: many containers in one ZIP file, each linked to the one before, the first to the archive before
//! (`signatures-and-log.md` 4.6, 4.7).
//!
//! [`Archive`] reads one, a container at a time, and ends in a [`VerifiedArchive`] or in the list of what is wrong; [`join`] puts
//! several in order and says what is missing, and what was rolled back or replaced. An encrypted archive is decrypted before.
//! [`ArchiveWriter`] writes one.

mod join;
mod link;
mod linking_info;
mod name;
mod read;
mod write;

pub use join::{Chain, History, JoinFault, Start, join};
pub use link::{LinkDigest, NoLinkDigest};
pub use linking_info::{Line, LinkingInfo};
pub use name::ArchiveName;
pub use read::{
    Archive, ArchiveError, ArchiveFault, ArchiveLimits, ArchivedContainer, BrokenArchive, Bundle,
    FileKind, VerifiedArchive, kind,
};
pub use write::{ArchiveWriter, EntryWriter, Previous, WrittenArchive};

#[cfg(test)]
mod tests;
