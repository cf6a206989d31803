//! The machine's file system.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, FlockOperation};
use rustix::io::Errno;

use super::{Access, Fs, FsFile, SyncSite};

/// Files of the machine, by `std::fs` and `rustix`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct OsFs;

impl OsFs {
    /// The machine's file system, ready for [`MessageLog::open`](crate::MessageLog::open).
    #[must_use]
    pub fn shared() -> Arc<dyn Fs> {
        #[cfg(feature = "fault-points")]
        let fs = super::faulty::FaultyFs(Self);
        #[cfg(not(feature = "fault-points"))]
        let fs = Self;
        Arc::new(fs)
    }
}

impl Fs for OsFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        // Bodies and signatures are nobody else's business.
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn std::fmt::Debug + Send + Sync>> {
        let directory = File::open(path)?;
        rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(directory))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn FsFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::ReadWrite)
            .open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the module where durable file operations live"
    )]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path, _site: SyncSite) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn salt(&self) -> u64 {
        // std seeds it from the system's randomness; enough against guessing a checksum.
        RandomState::new().build_hasher().finish()
    }
}

#[derive(Debug)]
struct OsFile(File);

impl FsFile for OsFile {
    fn write_at(&self, mut offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut rest = slices;
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let now = rest.get(..rest.len().min(MAX_SLICES)).unwrap_or_default();
            match rustix::io::pwritev(&self.0, now, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    offset = offset.saturating_add(crate::num::wide(count));
                    IoSlice::advance_slices(&mut rest, count);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn sync_data(&self, _site: SyncSite) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let have = self.length()?;
        if length <= have {
            return Ok(());
        }
        match rustix::fs::fallocate(
            &self.0,
            FallocateFlags::empty(),
            have,
            length.saturating_sub(have),
        ) {
            // A file system without it finds a full disk later, nothing worse.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.0.set_len(length),
            other => Ok(other?),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn punch(&self, mut offset: u64, mut length: u64) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(
            &self.0,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            offset,
            length,
        ) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let zeros = [0; 4096];
                while length > 0 {
                    let count = length.min(crate::num::wide(zeros.len()));
                    self.0.write_all_at(
                        zeros.get(..crate::num::narrow(count)).unwrap_or_default(),
                        offset,
                    )?;
                    offset = offset.saturating_add(count);
                    length = length.saturating_sub(count);
                }
                Ok(())
            }
            other => Ok(other?),
        }
    }

    // To be asked before the file is read: what lies in the page cache counts as written.
    #[cfg(target_os = "linux")]
    fn data_end(&self) -> io::Result<u64> {
        use rustix::fs::{SeekFrom, seek};
        let (length, mut end) = (self.length()?, 0);
        while end < length {
            let hole = seek(&self.0, SeekFrom::Data(end))
                .and_then(|data| seek(&self.0, SeekFrom::Hole(data)));
            match hole {
                Ok(hole) if hole > end => end = hole,
                Err(Errno::NXIO) => return Ok(end),
                // A file system that cannot tell.
                Ok(_) | Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(length),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn start_writing(&self, offset: u64, length: u64) {
        // POSIX_FADV_DONTNEED begins writing dirty pages and only drops clean ones; the body is read again soon, but a
        // gigabyte of dirty pages at the final sync costs more.
        let _ = rustix::fs::fadvise(&self.0, offset, NonZeroU64::new(length), Advice::DontNeed);
    }
}

/// Most slices one `pwritev` takes on Linux (`IOV_MAX`).
const MAX_SLICES: usize = 1024;
