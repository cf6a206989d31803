//! The machine's file system with a place for a fault at each operation. Only in builds with the feature `fault-points`.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::{Access, Fs, FsFile, OsFs, SyncSite};
use crate::points::{self, Action};

/// [`OsFs`], which fails where the environment says (see [`points`]).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FaultyFs(pub(super) OsFs);

impl FaultyFs {
    fn file(path: &Path, file: Arc<dyn FsFile>) -> Arc<dyn FsFile> {
        Arc::new(FaultyFile {
            file,
            kind: kind(path),
        })
    }
}

impl Fs for FaultyFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.0.lock_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let file = guarded(&format!("create:{}", kind(path)), || self.0.create(path))?;
        Ok(Self::file(path, file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn FsFile>> {
        Ok(Self::file(path, self.0.open(path, access)?))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        guarded(&format!("rename:{}", kind(to)), || self.0.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        guarded(&format!("remove:{}", kind(path)), || self.0.remove(path))
    }

    fn sync_dir(&self, path: &Path, site: SyncSite) -> io::Result<()> {
        guarded(&format!("sync:{site:?}"), || self.0.sync_dir(path, site))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.0.free_bytes(path)
    }

    fn salt(&self) -> u64 {
        self.0.salt()
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Arc<dyn FsFile>,
    kind: &'static str,
}

impl FaultyFile {
    /// The first half of what was to be written.
    fn write_half(&self, offset: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let mut bytes: Vec<u8> = Vec::new();
        slices.iter().for_each(|it| bytes.extend_from_slice(it));
        bytes.truncate(bytes.len() / 2);
        self.file.write_at(offset, &mut [IoSlice::new(&bytes)])
    }
}

impl FsFile for FaultyFile {
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let kind = match self.kind {
            "segment" if offset == 0 => "header",
            kind => kind,
        };
        match points::due(&format!("write:{kind}")) {
            None => self.file.write_at(offset, slices),
            Some(Action::Kill) => points::die(),
            Some(Action::KillAfter) => {
                let _ = self.file.write_at(offset, slices);
                points::die()
            }
            Some(Action::Torn) => {
                let _ = self.write_half(offset, slices);
                points::die()
            }
            Some(action) => {
                self.write_half(offset, slices)?;
                Err(failure(action))
            }
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn sync_data(&self, site: SyncSite) -> io::Result<()> {
        guarded(&format!("sync:{site:?}"), || self.file.sync_data(site))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        guarded(&format!("reserve:{}", self.kind), || {
            self.file.allocate(length)
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        guarded(&format!("end:{}", self.kind), || self.file.set_len(length))
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        guarded(&format!("punch:{}", self.kind), || {
            self.file.punch(offset, length)
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn start_writing(&self, offset: u64, length: u64) {
        self.file.start_writing(offset, length);
    }
}

/// Does an operation, or what the environment chose instead.
fn guarded<T>(name: &str, real: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match points::due(name) {
        None => real(),
        Some(Action::Kill | Action::Torn) => points::die(),
        Some(Action::KillAfter) => {
            let _ = real();
            points::die()
        }
        Some(action) => Err(failure(action)),
    }
}

fn failure(action: Action) -> io::Error {
    io::Error::from_raw_os_error(match action {
        Action::Full => ENOSPC,
        _ => EIO,
    })
}

/// What a file of the log is, by its name.
fn kind(path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.split_once('.') {
        Some((_, "segment")) => "segment",
        Some((_, "index" | "index.new")) => "index",
        Some((_, "body")) => "body",
        _ => "other",
    }
}

/// Input/output error, on Linux.
const EIO: i32 = 5;
/// No space left on the device, on Linux.
const ENOSPC: i32 = 28;
