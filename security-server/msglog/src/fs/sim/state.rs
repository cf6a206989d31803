//! What is on the simulated disk, and what was changed since.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Counts, Sites, names};
use crate::fs::SyncSite;
use crate::num::{narrow, wide};

#[derive(Debug)]
pub(super) struct Disk {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    pub(super) generation: u64,
    pub(super) locks: BTreeSet<PathBuf>,
    pub(super) ignored: Sites,
    pub(super) failing: Sites,
    pub(super) syncs: Counts,
    pub(super) steps_left: Option<u64>,
    pub(super) failing_in: Option<(u64, ErrorKind)>,
    pub(super) changes: u64,
    pub(super) dead: bool,
    pub(super) capacity: Option<u64>,
    pub(super) held: bool,
    pub(super) is_holding: bool,
    pub(super) salt: u64,
}

/// What comes of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The process dies at it.
    Dies,
    /// It is done.
    Done,
    /// It fails, and the process lives on.
    Fails(ErrorKind),
}

#[derive(Debug)]
pub(super) enum Inode {
    Directory(Entries),
    File(File),
}

/// A directory.
#[derive(Debug, Default)]
pub(super) struct Entries {
    durable: BTreeMap<String, u64>,
    pub(super) current: BTreeMap<String, u64>,
    pending: Vec<Names>,
}

/// Names that change together: to an inode, or away.
type Names = Vec<(String, Option<u64>)>;

/// A file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) durable: Vec<u8>,
    pub(super) current: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            inodes: BTreeMap::from([(ROOT, Inode::Directory(Entries::default()))]),
            next_inode: ROOT + 1,
            generation: 0,
            locks: BTreeSet::new(),
            ignored: Sites::new(),
            failing: Sites::new(),
            syncs: Counts::new(),
            steps_left: None,
            failing_in: None,
            changes: 0,
            dead: false,
            capacity: None,
            held: false,
            is_holding: false,
            salt: 0,
        }
    }
}

impl Disk {
    pub(super) fn find(&mut self, path: &Path) -> io::Result<u64> {
        let mut inode = ROOT;
        for name in names(path) {
            inode = self
                .entries(inode)?
                .current
                .get(&name)
                .copied()
                .ok_or(ErrorKind::NotFound)?;
        }
        Ok(inode)
    }

    pub(super) fn parent(&mut self, path: &Path) -> io::Result<(u64, String)> {
        let name = names(path).pop().ok_or(ErrorKind::InvalidInput)?;
        let parent = path.parent().ok_or(ErrorKind::InvalidInput)?;
        Ok((self.find(parent)?, name))
    }

    pub(super) fn add(&mut self, path: &Path, inode: Inode) -> io::Result<u64> {
        let (parent, name) = self.parent(path)?;
        let number = self.next_inode;
        self.next_inode = number.saturating_add(1);
        self.entries(parent)?.change(vec![(name, Some(number))]);
        self.inodes.insert(number, inode);
        Ok(number)
    }

    pub(super) fn file(&mut self, inode: u64) -> io::Result<&mut File> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::File(file)) => Ok(file),
            Some(Inode::Directory(_)) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn entries(&mut self, inode: u64) -> io::Result<&mut Entries> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::Directory(entries)) => Ok(entries),
            Some(Inode::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Counts a change; tells what comes of it.
    pub(super) fn step(&mut self) -> Fate {
        self.changes = self.changes.saturating_add(1);
        match self.steps_left {
            Some(0) => self.dead = true,
            Some(left) => self.steps_left = Some(left.saturating_sub(1)),
            None => {}
        }
        if self.dead {
            return Fate::Dies;
        }
        match self.failing_in.take() {
            Some((0, kind)) => return Fate::Fails(kind),
            Some((left, kind)) => self.failing_in = Some((left.saturating_sub(1), kind)),
            None => {}
        }
        Fate::Done
    }

    /// Counts a sync; tells whether it is to be done.
    pub(super) fn count(&mut self, site: SyncSite) -> io::Result<bool> {
        if self.failing.remove(&site) {
            return Err(io::Error::other("simulated failure to sync"));
        }
        let count = self.syncs.entry(site).or_default();
        *count = count.saturating_add(1);
        Ok(!self.ignored.contains(&site))
    }

    /// Now yes, now no.
    pub(super) fn toss(&mut self) -> bool {
        self.salt = self.salt.wrapping_add(1);
        Dice(self.salt).roll().is_multiple_of(2)
    }

    pub(super) fn free(&self) -> u64 {
        let Some(capacity) = self.capacity else {
            return u64::MAX;
        };
        let used = self.inodes.values().map(|inode| match inode {
            Inode::Directory(_) => 0,
            Inode::File(file) => wide(file.current.len()),
        });
        capacity.saturating_sub(used.fold(0, u64::saturating_add))
    }

    /// A new process.
    pub(super) fn begin_again(&mut self) {
        self.generation = self.generation.saturating_add(1);
        self.locks.clear();
        self.failing.clear();
        self.steps_left = None;
        self.failing_in = None;
        self.dead = false;
        self.drop_unreachable();
    }

    pub(super) fn power_cut(&mut self, seed: u64) {
        let mut dice = Dice(seed);
        for inode in self.inodes.values_mut() {
            match inode {
                Inode::Directory(entries) => entries.power_cut(&mut dice),
                Inode::File(file) => file.power_cut(&mut dice),
            }
        }
        self.begin_again();
    }

    fn drop_unreachable(&mut self) {
        let mut reached = BTreeSet::new();
        let mut next = vec![ROOT];
        while let Some(inode) = next.pop() {
            if reached.insert(inode)
                && let Some(Inode::Directory(entries)) = self.inodes.get(&inode)
            {
                // What a pending change names may come back as long as it is pending.
                let pending = entries
                    .pending
                    .iter()
                    .flatten()
                    .filter_map(|(_, inode)| *inode);
                next.extend(
                    entries
                        .current
                        .values()
                        .chain(entries.durable.values())
                        .copied()
                        .chain(pending),
                );
            }
        }
        self.inodes.retain(|inode, _| reached.contains(inode));
    }
}

impl Entries {
    pub(super) fn change(&mut self, names: Names) {
        apply(&mut self.current, &names);
        self.pending.push(names);
    }

    pub(super) fn sync(&mut self) {
        for names in std::mem::take(&mut self.pending) {
            apply(&mut self.durable, &names);
        }
    }

    fn power_cut(&mut self, dice: &mut Dice) {
        let luck = dice.luck();
        for names in std::mem::take(&mut self.pending) {
            if dice.survives(luck) {
                apply(&mut self.durable, &names);
            }
        }
        self.current = self.durable.clone();
    }
}

impl File {
    pub(super) fn write(&mut self, offset: u64, bytes: Vec<u8>) {
        let offset = narrow(offset);
        put(&mut self.current, offset, &bytes);
        self.pending.push(Change::Write(offset, bytes));
    }

    pub(super) fn set_length(&mut self, length: u64) {
        let length = narrow(length);
        self.current.resize(length, 0);
        self.pending.push(Change::Length(length));
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Length(length) => self.durable.resize(length, 0),
                Change::Write(offset, bytes) => put(&mut self.durable, offset, &bytes),
            }
        }
    }

    /// A sync failed: the system thinks from now on that everything is written. Perhaps it is, perhaps nothing is.
    pub(super) fn sync_badly(&mut self, written: bool) {
        if written {
            self.sync();
        }
        self.pending.clear();
    }

    fn power_cut(&mut self, dice: &mut Dice) {
        let (luck, length_luck) = (dice.luck(), dice.luck());
        let mut length = self.durable.len();
        let mut sectors = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Length(new) => {
                    if dice.survives(length_luck) {
                        length = new;
                    }
                }
                Change::Write(offset, bytes) => {
                    let end = offset.saturating_add(bytes.len());
                    if end > length && dice.survives(length_luck) {
                        length = end;
                    }
                    let mut at = offset;
                    while at < end {
                        let next = (at / SECTOR)
                            .saturating_add(1)
                            .saturating_mul(SECTOR)
                            .min(end);
                        let range = at.saturating_sub(offset)..next.saturating_sub(offset);
                        if dice.survives(luck) {
                            sectors.push((
                                dice.roll(),
                                at,
                                bytes.get(range).unwrap_or_default().to_vec(),
                            ));
                        }
                        at = next;
                    }
                }
            }
        }
        // Not in the order in which they were written.
        sectors.sort_by_key(|(order, ..)| *order);
        for (_, at, bytes) in sectors {
            put(&mut self.durable, at, &bytes);
        }
        self.durable.resize(length, 0);
        self.current = self.durable.clone();
    }
}

fn apply(entries: &mut BTreeMap<String, u64>, names: &Names) {
    for (name, inode) in names {
        match inode {
            Some(inode) => entries.insert(name.clone(), *inode),
            None => entries.remove(name),
        };
    }
}

fn put(contents: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset.saturating_add(bytes.len());
    if contents.len() < end {
        contents.resize(end, 0);
    }
    if let Some(place) = contents.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

/// Repeatable chance (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// How likely changes of one file survive, in quarters: often all or none do.
    fn luck(&mut self) -> u64 {
        self.roll() % 5
    }

    fn survives(&mut self, luck: u64) -> bool {
        self.roll() % 4 < luck
    }
}

const ROOT: u64 = 1;
/// What a disk writes at once.
const SECTOR: usize = 512;
