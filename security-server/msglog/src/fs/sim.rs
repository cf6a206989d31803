//! A file system in memory that loses what was not synced, for tests.
//!
//! Every file and directory has what is on the disk and the changes since the last sync. A process sees both. At
//! [`SimFs::power_cut`] each change survives or not, whatever the order they were made in: writes sector by sector, file
//! lengths and directory entries apart from what they belong to. [`SimFs::kill`] only ends the process: all changes stay.
//! Handles from before either are dead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Access, Fs, FsFile, SyncSite};
use crate::num::{narrow, wide};

mod state;

use state::{Disk, Entries, Fate, File, Inode};

/// A simulated machine. Clones are the same one. Its disk begins with nothing but `/`.
#[derive(Clone, Debug, Default)]
pub struct SimFs {
    disk: Arc<Mutex<Disk>>,
    released: Arc<Condvar>,
}

impl SimFs {
    /// An empty file system of unlimited size.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The file system as a process sees it that starts now, for [`MessageLog::open`](crate::MessageLog::open).
    #[must_use]
    pub fn process(&self) -> Arc<dyn Fs> {
        let generation = self.disk().generation;
        Arc::new(SimProcess {
            fs: self.clone(),
            generation,
        })
    }

    /// From now on syncs of this kind do nothing and say they did.
    pub fn ignore(&self, site: SyncSite) {
        self.disk().ignored.insert(site);
    }

    /// The next sync of this kind fails and, as on Linux, what it should have written counts as written: whether it got
    /// to the disk or not.
    pub fn fail_next(&self, site: SyncSite) {
        self.disk().failing.insert(site);
    }

    /// Lets the process die at a change: after `steps` more changes every operation fails, until [`SimFs::kill`] or
    /// [`SimFs::power_cut`]. A write that meets its death is done by half.
    pub fn die_after(&self, steps: u64) {
        self.disk().steps_left = Some(steps);
    }

    /// Lets one change fail: after `changes` more, one fails with `kind` and the process lives on. A write that fails so
    /// is done by half; of a failed sync nobody knows what it wrote, as with [`SimFs::fail_next`].
    pub fn fail_after(&self, changes: u64, kind: ErrorKind) {
        self.disk().failing_in = Some((changes, kind));
    }

    /// How many changes were tried so far: what makes, writes, syncs, renames or removes something.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.disk().changes
    }

    /// Whether the process has died by [`SimFs::die_after`].
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.disk().dead
    }

    /// Ends the process, as `kill -9` does: locks go, handles die, all changes stay.
    pub fn kill(&self) {
        self.disk().begin_again();
    }

    /// Cuts the power: what was not synced survives in parts that `seed` decides.
    pub fn power_cut(&self, seed: u64) {
        self.disk().power_cut(seed);
    }

    /// Limits the lengths of all files together, in bytes; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk().capacity = bytes;
    }

    /// Lets every [`SyncSite::Batch`] sync wait until [`SimFs::release_syncs`].
    pub fn hold_syncs(&self) {
        self.disk().held = true;
    }

    /// Whether a sync waits for that now.
    #[must_use]
    pub fn holds_sync(&self) -> bool {
        self.disk().is_holding
    }

    /// Lets syncs go on.
    pub fn release_syncs(&self) {
        self.disk().held = false;
        self.released.notify_all();
    }

    /// How often this kind of sync was done.
    #[must_use]
    pub fn syncs(&self, site: SyncSite) -> u64 {
        self.disk().syncs.get(&site).copied().unwrap_or_default()
    }

    /// Flips all bits of one byte, as damage does: on the disk, if it is there yet, and for those who read.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such file or byte.
    pub fn damage(&self, path: &Path, offset: u64) -> io::Result<()> {
        let mut disk = self.disk();
        let inode = disk.find(path)?;
        let file = disk.file(inode)?;
        let at = narrow(offset);
        *file.current.get_mut(at).ok_or(ErrorKind::NotFound)? ^= 0xff;
        if let Some(byte) = file.durable.get_mut(at) {
            *byte ^= 0xff;
        }
        Ok(())
    }

    /// What a process reads from a file now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such file.
    pub fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut disk = self.disk();
        let inode = disk.find(path)?;
        Ok(disk.file(inode)?.current.clone())
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk for a process of `generation`, which must be alive.
    fn alive(&self, generation: u64) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk();
        if disk.dead || disk.generation != generation {
            Err(dead())
        } else {
            Ok(disk)
        }
    }

    /// Like [`SimFs::alive`] for a change, which may be the one that kills.
    fn changing(&self, generation: u64) -> io::Result<MutexGuard<'_, Disk>> {
        let mut disk = self.alive(generation)?;
        match disk.step() {
            Fate::Dies => Err(dead()),
            Fate::Done => Ok(disk),
            Fate::Fails(kind) => Err(kind.into()),
        }
    }

    fn handle(&self, inode: u64, generation: u64, access: Access) -> Arc<dyn FsFile> {
        Arc::new(SimFile {
            fs: self.clone(),
            inode,
            generation,
            access,
        })
    }
}

/// One process's view, which ends with it.
#[derive(Debug)]
struct SimProcess {
    fs: SimFs,
    generation: u64,
}

impl SimProcess {
    fn alive(&self) -> io::Result<MutexGuard<'_, Disk>> {
        self.fs.alive(self.generation)
    }

    fn changing(&self) -> io::Result<MutexGuard<'_, Disk>> {
        self.fs.changing(self.generation)
    }
}

impl Fs for SimProcess {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.changing()?;
        if disk.find(path).is_ok() {
            return Ok(());
        }
        disk.add(path, Inode::Directory(Entries::default()))
            .map(drop)
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        let mut disk = self.alive()?;
        if !disk.locks.insert(path.to_path_buf()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock {
            fs: self.fs.clone(),
            path: path.to_path_buf(),
            generation: disk.generation,
        }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let mut disk = self.changing()?;
        if disk.find(path).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = disk.add(path, Inode::File(File::default()))?;
        Ok(self.fs.handle(inode, self.generation, Access::ReadWrite))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn FsFile>> {
        let mut disk = self.alive()?;
        let inode = disk.find(path)?;
        disk.file(inode)?;
        Ok(self.fs.handle(inode, self.generation, access))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut disk = self.alive()?;
        let inode = disk.find(path)?;
        Ok(disk.entries(inode)?.current.keys().cloned().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.changing()?;
        let inode = disk.find(from)?;
        let (parent, old) = disk.parent(from)?;
        let (other, new) = disk.parent(to)?;
        if parent != other {
            return Err(ErrorKind::CrossesDevices.into());
        }
        disk.entries(parent)?
            .change(vec![(old, None), (new, Some(inode))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.changing()?;
        let inode = disk.find(path)?;
        disk.file(inode)?;
        let (parent, name) = disk.parent(path)?;
        disk.entries(parent)?.change(vec![(name, None)]);
        Ok(())
    }

    fn sync_dir(&self, path: &Path, site: SyncSite) -> io::Result<()> {
        let mut disk = self.changing()?;
        let inode = disk.find(path)?;
        if disk.count(site)? {
            disk.entries(inode)?.sync();
        }
        Ok(())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let disk = self.alive()?;
        Ok(disk.free())
    }

    fn salt(&self) -> u64 {
        let mut disk = self.fs.disk();
        disk.salt = disk.salt.wrapping_add(0x9e37_79b9_7f4a_7c15);
        disk.salt
    }
}

#[derive(Debug)]
struct SimLock {
    fs: SimFs,
    path: PathBuf,
    generation: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.fs.disk();
        if disk.generation == self.generation {
            disk.locks.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct SimFile {
    fs: SimFs,
    inode: u64,
    generation: u64,
    access: Access,
}

impl SimFile {
    fn writable(&self) -> io::Result<()> {
        if self.access == Access::ReadWrite {
            Ok(())
        } else {
            Err(ErrorKind::PermissionDenied.into())
        }
    }
}

impl FsFile for SimFile {
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.writable()?;
        let mut bytes: Vec<u8> = Vec::new();
        slices
            .iter()
            .for_each(|slice| bytes.extend_from_slice(slice));
        let mut disk = self.fs.alive(self.generation)?;
        let fate = disk.step();
        if fate != Fate::Done {
            bytes.truncate(bytes.len() / 2);
        }
        let end = offset.saturating_add(wide(bytes.len()));
        let grows = end.saturating_sub(wide(disk.file(self.inode)?.current.len()));
        if grows > disk.free() {
            return Err(ErrorKind::StorageFull.into());
        }
        disk.file(self.inode)?.write(offset, bytes);
        match fate {
            Fate::Dies => Err(dead()),
            Fate::Done => Ok(()),
            Fate::Fails(kind) => Err(kind.into()),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.fs.alive(self.generation)?;
        let bytes = disk
            .file(self.inode)?
            .current
            .get(narrow(offset)..)
            .unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        if let Some((place, bytes)) = buffer.get_mut(..count).zip(bytes.get(..count)) {
            place.copy_from_slice(bytes);
        }
        Ok(count)
    }

    fn sync_data(&self, site: SyncSite) -> io::Result<()> {
        let mut disk = self.fs.alive(self.generation)?;
        while site == SyncSite::Batch && disk.held {
            disk.is_holding = true;
            disk = self
                .fs
                .released
                .wait(disk)
                .unwrap_or_else(PoisonError::into_inner);
        }
        disk.is_holding = false;
        drop(disk);
        let mut disk = self.fs.alive(self.generation)?;
        let inode = self.inode;
        let counted = match disk.step() {
            Fate::Dies => return Err(dead()),
            Fate::Done => disk.count(site),
            Fate::Fails(kind) => Err(kind.into()),
        };
        match counted {
            Ok(true) => disk.file(inode)?.sync(),
            Ok(false) => {}
            Err(error) => {
                let written = disk.toss();
                disk.file(inode)?.sync_badly(written);
                return Err(error);
            }
        }
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.writable()?;
        let mut disk = self.fs.changing(self.generation)?;
        let have = wide(disk.file(self.inode)?.current.len());
        if length.saturating_sub(have) > disk.free() {
            return Err(ErrorKind::StorageFull.into());
        }
        if length > have {
            disk.file(self.inode)?.set_length(length);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.writable()?;
        let mut disk = self.fs.changing(self.generation)?;
        disk.file(self.inode)?.set_length(length);
        Ok(())
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.writable()?;
        let mut disk = self.fs.changing(self.generation)?;
        disk.file(self.inode)?
            .write(offset, vec![0; narrow(length)]);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let mut disk = self.fs.alive(self.generation)?;
        Ok(wide(disk.file(self.inode)?.current.len()))
    }

    fn start_writing(&self, _offset: u64, _length: u64) {}
}

/// Names of the directories on the way, and the last one.
fn names(path: &Path) -> Vec<String> {
    let normal = path.components().filter_map(|it| match it {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    normal.collect()
}

fn dead() -> io::Error {
    io::Error::other("the simulated process is dead")
}

/// Kinds of sync that the disk does something about.
type Sites = BTreeSet<SyncSite>;
/// How often each was done.
type Counts = BTreeMap<SyncSite, u64>;
