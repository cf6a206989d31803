//! The only file operations of the log, as a trait.
//!
//! [`OsFs`] does them on the machine. [`SimFs`] does them in memory, keeps what was not synced apart and at
//! a simulated power cut drops, tears and reorders it. Every sync names its [`SyncSite`], so a test can leave out one
//! kind of sync and show that a power cut then loses something (`architecture.md`, "Durability").

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "fault-points")]
mod faulty;
mod os;
mod sim;

pub use os::OsFs;
pub use sim::SimFs;

/// A directory tree that the log lives in.
pub trait Fs: Debug + Send + Sync {
    /// Makes a directory whose parent exists; an existing one is fine. Durable after [`Fs::sync_dir`] of the parent.
    ///
    /// # Errors
    /// Whatever the system says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Keeps every other process from opening the log until the guard is dropped or the process ends.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if somebody else holds it.
    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>>;

    /// Makes a new file for reading and writing. Its name is durable after [`Fs::sync_dir`].
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn FsFile>>;

    /// Opens an existing file, for reading only or for both.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] and whatever else the system says.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn FsFile>>;

    /// Names of the entries of a directory, in no order. Entries whose name is not UTF-8 are left out.
    ///
    /// # Errors
    /// Whatever the system says.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Gives a file another name in the same directory, replacing what had it. Durable after [`Fs::sync_dir`].
    ///
    /// # Errors
    /// Whatever the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable after [`Fs::sync_dir`].
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// Whatever the system says; afterwards nothing is known about what was not synced before.
    fn sync_dir(&self, path: &Path, site: SyncSite) -> io::Result<()>;

    /// Bytes that can still be written below `path`.
    ///
    /// # Errors
    /// Whatever the system says.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// A number nobody outside can guess, mixed into the checksums of a segment so that a body cannot imitate frames.
    fn salt(&self) -> u64;
}

/// An open file. All operations name their offset, so one handle serves many threads.
pub trait FsFile: Debug + Send + Sync {
    /// Writes all the slices one after the other at `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] and whatever else the system says; part of it may have been written.
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// Reads into `buffer` and tells how many bytes; 0 at the end.
    ///
    /// # Errors
    /// Whatever the system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes contents and length durable.
    ///
    /// # Errors
    /// Whatever the system says; afterwards nothing is known about what was not synced before.
    fn sync_data(&self, site: SyncSite) -> io::Result<()>;

    /// Reserves space up to `length` bytes, which then read as zeros; never makes the file shorter.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] and whatever else the system says.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Sets the length.
    ///
    /// # Errors
    /// Whatever the system says.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Replaces `length` bytes at `offset` by zeros and gives the space back where the system can.
    ///
    /// # Errors
    /// Whatever the system says.
    fn punch(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Where what was ever written ends; only zeros follow up to the length. What was reserved and never written need not
    /// be read to know that.
    ///
    /// # Errors
    /// Whatever the system says.
    fn data_end(&self) -> io::Result<u64> {
        self.length()
    }

    /// Length in bytes.
    ///
    /// # Errors
    /// Whatever the system says.
    fn length(&self) -> io::Result<u64>;

    /// Asks the system to begin writing a range to the disk. Only a hint: promises nothing.
    fn start_writing(&self, offset: u64, length: u64);
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an implementation of Fs must know them all"
)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// Every place where the log makes something durable. Leaving out any one of them loses something at a power cut;
/// `tests/power_cut.rs` shows it for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "tests go through all of them")]
pub enum SyncSite {
    /// What others keep beside the log with its file operations: archives, and how far archiving has come.
    Archive,
    /// Frames of a batch of commits, before they are answered.
    Batch,
    /// Contents of a body's own file, before its commit record is written.
    BodyData,
    /// Directory of body files, before a commit record that names a new one is written.
    BodyDir,
    /// Contents of a sealed segment's index, before it gets its name.
    IndexData,
    /// Parent of the log's directory, after that was made.
    LogRoot,
    /// The log's directory at opening, so that what is seen now stays.
    RecoveredDir,
    /// Last segment at opening, so that what is seen now stays and what was cut off is gone.
    RecoveredTail,
    /// Segment after a failed batch was cut off again, before its body files are removed.
    RepairedTail,
    /// The log's directory after a segment was made.
    SegmentDir,
    /// Header of a new segment, before anything is written behind it.
    SegmentHeader,
    /// A full segment, before the next one is made.
    SegmentSeal,
    /// Where the log begins, before that gets its name.
    StartData,
    /// The log's directory after that, before segments are removed.
    StartDir,
}

impl SyncSite {
    /// All that the log itself has.
    pub const ALL: [Self; 13] = [
        Self::Batch,
        Self::BodyData,
        Self::BodyDir,
        Self::IndexData,
        Self::LogRoot,
        Self::RecoveredDir,
        Self::RecoveredTail,
        Self::RepairedTail,
        Self::SegmentDir,
        Self::SegmentHeader,
        Self::SegmentSeal,
        Self::StartData,
        Self::StartDir,
    ];
}

/// Reads exactly `buffer.len()` bytes.
pub(crate) fn read_exact_at(
    file: &dyn FsFile,
    mut offset: u64,
    mut buffer: &mut [u8],
) -> io::Result<()> {
    while !buffer.is_empty() {
        let count = file.read_at(offset, buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset = offset.saturating_add(crate::num::wide(count));
        buffer = buffer.get_mut(count..).unwrap_or_default();
    }
    Ok(())
}

/// Reads `length` bytes at `offset` into a fresh buffer.
pub(crate) fn read_bytes_at(
    file: &dyn FsFile,
    offset: u64,
    length: usize,
) -> io::Result<bytes::Bytes> {
    let mut buffer = vec![0; length];
    read_exact_at(file, offset, &mut buffer)?;
    Ok(buffer.into())
}
