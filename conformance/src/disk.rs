//! Disks under the message logs, which go wrong when a test says so: full, or broken.

use std::{
    collections::HashMap,
    fmt::Debug,
    io::{self, ErrorKind, IoSlice},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use jibek_msglog::fs::{Access, Fs, FsFile, OsFs, SyncSite};

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// Nothing.
    None,
    /// There is no room left: what would make a file longer fails.
    Full,
    /// Writes and syncs fail (EIO); what is there can be read.
    Broken,
    /// Writes succeed, syncs fail (EIO): a message is spooled, and not recorded.
    Unsynced,
}

/// The disks of a country's servers, by server code. Clones are the same disks.
#[derive(Clone, Debug, Default)]
pub struct Disks {
    faults: Arc<Mutex<HashMap<String, Switch>>>,
}

/// Set by tests, read by every operation.
#[derive(Clone, Debug, Default)]
struct Switch(Arc<AtomicU8>);

impl Disks {
    /// Sets what is wrong with the disk of a server.
    pub fn set(&self, server: &str, fault: DiskFault) {
        let number = match fault {
            DiskFault::None => 0,
            DiskFault::Full => FULL,
            DiskFault::Broken => BROKEN,
            DiskFault::Unsynced => UNSYNCED,
        };
        self.switch(server).0.store(number, Ordering::SeqCst);
    }

    /// The disk of a server, for its log.
    #[must_use]
    pub fn of(&self, server: &str) -> Arc<dyn Fs> {
        Arc::new(Disk {
            switch: self.switch(server),
            os: OsFs::default(),
        })
    }

    fn switch(&self, server: &str) -> Switch {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.entry(server.to_owned()).or_default().clone()
    }
}

impl Switch {
    fn check(&self, kinds: &[u8]) -> io::Result<()> {
        let fault = self.0.load(Ordering::SeqCst);
        if !kinds.contains(&fault) {
            return Ok(());
        }
        Err(match fault {
            FULL => ErrorKind::StorageFull.into(),
            _ => io::Error::from_raw_os_error(EIO),
        })
    }

    /// For what adds to the disk.
    fn grow(&self) -> io::Result<()> {
        self.check(&[FULL, BROKEN])
    }

    fn sync(&self) -> io::Result<()> {
        self.check(&[BROKEN, UNSYNCED])
    }
}

#[derive(Debug)]
struct Disk {
    switch: Switch,
    os: OsFs,
}

impl Disk {
    fn file(&self, file: Arc<dyn FsFile>) -> Arc<dyn FsFile> {
        Arc::new(File {
            switch: self.switch.clone(),
            file,
        })
    }
}

impl Fs for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.os.create_dir(path)
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.os.lock_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        self.switch.grow()?;
        Ok(self.file(self.os.create(path)?))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn FsFile>> {
        Ok(self.file(self.os.open(path, access)?))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.os.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.os.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.os.remove(path)
    }

    fn sync_dir(&self, path: &Path, site: SyncSite) -> io::Result<()> {
        self.switch.sync()?;
        self.os.sync_dir(path, site)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        match self.switch.check(&[FULL]) {
            Ok(()) => self.os.free_bytes(path),
            Err(_) => Ok(0),
        }
    }

    fn salt(&self) -> u64 {
        self.os.salt()
    }
}

#[derive(Debug)]
struct File {
    switch: Switch,
    file: Arc<dyn FsFile>,
}

impl FsFile for File {
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.switch.grow()?;
        self.file.write_at(offset, slices)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn sync_data(&self, site: SyncSite) -> io::Result<()> {
        self.switch.sync()?;
        self.file.sync_data(site)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.switch.grow()?;
        self.file.allocate(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.file.punch(offset, length)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn start_writing(&self, offset: u64, length: u64) {
        self.file.start_writing(offset, length);
    }
}

const FULL: u8 = 1;
const BROKEN: u8 = 2;
const UNSYNCED: u8 = 3;
/// Input/output error, on Linux.
const EIO: i32 = 5;
