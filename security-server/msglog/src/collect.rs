//! What the frames of one segment say, gathered by reading all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::commit::{self, Commit, Place, StampFrame};
use crate::fs::FsFile;
use crate::index::{Entry, SegmentIndex, StampAt};
use crate::num::short;
use crate::segment::{self, End, FRAME_HEADER_BYTES, Found, FrameKind, HEADER_BYTES, SegmentKey};

/// Everything a segment holds, as far as it reads.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) index: SegmentIndex,
    /// End of the last frame that closes something.
    pub(crate) committed_end: u64,
    /// Start of what was written last: everything before it was synced.
    pub(crate) last_landmark: u64,
    /// How the frames end.
    pub(crate) end: End,
    /// Number of batches.
    pub(crate) batches: u64,
    /// Number of records that the seal tells of, if it is sealed.
    pub(crate) sealed: Option<u64>,
    /// Largest number of a record or stamp.
    pub(crate) last_id: u64,
    /// Where bytes are not what was written, and what is wrong.
    pub(crate) damage: Vec<(u64, &'static str)>,
    /// Bodies and shared runs that read: where they stand and how long they are.
    pub(crate) blobs: BTreeMap<u64, (FrameKind, u32)>,
    /// Records with a body that is not what was written: damaged, unless it was dropped.
    pub(crate) bad_bodies: Vec<(u64, u64)>,
}

/// Reads all frames of a segment that a server may be writing if it is the last: what looks like damage there is looked
/// at again.
pub(crate) fn collect_beside_writer(
    file: &dyn FsFile,
    key: SegmentKey,
    last: bool,
) -> io::Result<Collected> {
    look_again(last, || collect(file, key, |_, _, _| {}), |it| it)
}

/// Reads until there is no damage, a few times if it is the last segment.
pub(crate) fn look_again<T>(
    last: bool,
    mut once: impl FnMut() -> io::Result<T>,
    collected: impl Fn(&T) -> &Collected,
) -> io::Result<T> {
    let mut read = once();
    for _ in 0..LOOKS {
        let again = match &read {
            Ok(it) => !collected(it).damage.is_empty(),
            // It was just sealed, which makes it shorter.
            Err(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        };
        if !last || !again {
            break;
        }
        read = once();
    }
    read
}

/// Reads all frames of a segment and shows each commit to `visit` with its own bytes.
pub(crate) fn collect(
    file: &dyn FsFile,
    key: SegmentKey,
    mut visit: impl FnMut(&Commit, u64, &[u8]),
) -> io::Result<Collected> {
    let mut index = SegmentIndex::default();
    let (mut committed_end, mut batches, mut sealed, mut last_id) = (HEADER_BYTES, 0_u64, None, 0);
    let mut last_landmark = 0;
    let (mut damage, mut bad, mut bad_bodies) = (Vec::new(), BTreeSet::new(), Vec::new());
    let mut blobs = BTreeMap::new();
    let mut pending_chains: Vec<u64> = Vec::new();
    let end = segment::scan(file, key, |found| {
        let (offset, kind, payload) = match found {
            Found::BadBody { offset } => {
                bad.insert(offset);
                return;
            }
            Found::Damage { offset } => {
                damage.push((offset, "bytes are not what was written"));
                return;
            }
            Found::Frame {
                offset,
                kind,
                payload,
            } => (offset, kind, payload),
        };
        let length = short(payload.len());
        let understood = match kind {
            FrameKind::Batch => {
                batches = batches.saturating_add(1);
                commit::number(payload).is_some()
            }
            FrameKind::Body | FrameKind::Shared => {
                blobs.insert(offset, (kind, length));
                true
            }
            FrameKind::Commit => Commit::decode(payload).is_some_and(|(commit, own)| {
                last_id = last_id.max(commit.id);
                index.push(Entry::new(&commit, offset, length));
                for body in &commit.bodies {
                    match body.place {
                        Place::File { number } => index.sets.bodies.insert(number),
                        Place::Frame { offset } if bad.contains(&offset) => {
                            bad_bodies.push((commit.id, offset))
                        }
                        Place::Frame { .. } | Place::Nowhere => {}
                    }
                }
                visit(&commit, offset, own);
                true
            }),
            FrameKind::Drop => commit::decode_drop(payload).is_some_and(|(id, files)| {
                index.sets.dropped.insert(id);
                files
                    .into_iter()
                    .for_each(|number| index.sets.dropped_bodies.insert(number));
                true
            }),
            FrameKind::Seal => {
                sealed = commit::number(payload);
                sealed.is_some()
            }
            FrameKind::StampChains => {
                crate::chains::each(payload, |id, _| pending_chains.push(id)).is_some()
            }
            FrameKind::Stamp => StampFrame::decode(payload).is_some_and(|stamp| {
                last_id = last_id.max(stamp.id);
                let covered = std::mem::take(&mut pending_chains);
                let first = covered.iter().min().copied().unwrap_or_default();
                let last = covered.iter().max().copied().unwrap_or_default();
                index.stamps.push(StampAt {
                    id: stamp.id,
                    offset,
                    length,
                    first,
                    last,
                });
                covered
                    .into_iter()
                    .for_each(|id| index.sets.stamped.insert(id));
                true
            }),
        };
        if !understood {
            damage.push((offset, "a frame does not read"));
        }
        if kind.is_landmark() {
            last_landmark = offset;
        }
        if kind.commits() {
            committed_end = offset
                .saturating_add(FRAME_HEADER_BYTES)
                .saturating_add(length.into());
        }
    })?;
    Ok(Collected {
        index,
        committed_end,
        last_landmark,
        end,
        batches,
        sealed,
        last_id,
        damage,
        blobs,
        bad_bodies,
    })
}

/// How often damage in the last segment is looked at again.
const LOOKS: u32 = 3;
