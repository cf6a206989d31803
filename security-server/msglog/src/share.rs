//! Equal bytes within a segment are stored once.
//!
//! The log knows nothing of signatures, but sees that documents one after the other contain the same long runs of text:
//! certificates and OCSP responses in base64, whole signatures and chain results of a batch. A part is cut at `<` and
//! `>`; long runs are looked up among recent ones, byte by byte.

use std::collections::HashMap;

use bytes::Bytes;

use crate::commit::Piece;
use crate::num::short;
use crate::segment::{FrameKind, Group};

/// Runs of recent parts and where they stand in the active segment. Bounded in number and bytes.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    runs: HashMap<(usize, u32), Run>,
    bytes: usize,
    clock: u64,
    /// The last whole part, and how it was stored: the next record of a batch has the same.
    last: Option<(Bytes, Vec<Piece>)>,
}

#[derive(Debug)]
struct Run {
    bytes: Bytes,
    offset: u64,
    used: u64,
}

/// How a part is likely to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recurs {
    /// Only long runs of it.
    InParts,
    /// Not at all.
    Never,
    /// All of it.
    Whole,
}

impl Shared {
    /// Forgets everything: a new segment has begun, or the frames of a batch are not there after all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Tells how `part` will be stored. What is not yet in the segment and likely to come again becomes a frame of
    /// `group`; what is likely not to is appended to `own`.
    pub(crate) fn place(
        &mut self,
        part: &Bytes,
        recurs: Recurs,
        group: &mut Group,
        own: &mut Vec<Bytes>,
    ) -> Vec<Piece> {
        if recurs == Recurs::Never {
            return self.keep(part.clone(), own).into_iter().collect();
        }
        if let Some((last, pieces)) = &self.last
            && recurs == Recurs::Whole
            && last == part
        {
            return pieces.clone();
        }
        let mut pieces = Vec::new();
        let mut glue = 0;
        let mut cut = |table: &mut Self, from: usize, to: usize, long: bool| {
            let bytes = part.slice(from..to);
            if long || (recurs == Recurs::Whole && !bytes.is_empty()) {
                pieces.push(table.share(&bytes, group));
            } else {
                pieces.extend(table.keep(bytes, own));
            }
        };
        for (from, to) in long_runs(part) {
            cut(self, glue, from, false);
            cut(self, from, to, true);
            glue = to;
        }
        cut(self, glue, part.len(), false);
        // Small ones are not worth it, and would take the place of the signature that comes before them.
        if recurs == Recurs::Whole && part.len() >= LONG_PART_BYTES {
            self.last = Some((part.clone(), pieces.clone()));
        }
        pieces
    }

    fn keep(&self, bytes: Bytes, own: &mut Vec<Bytes>) -> Option<Piece> {
        let length = short(bytes.len());
        (length > 0).then(|| {
            own.push(bytes);
            Piece::Own { length }
        })
    }

    fn share(&mut self, bytes: &Bytes, group: &mut Group) -> Piece {
        self.clock = self.clock.saturating_add(1);
        let length = short(bytes.len());
        let crc = crc32c::crc32c(bytes);
        if let Some(run) = self.runs.get_mut(&(bytes.len(), crc))
            && run.bytes == *bytes
        {
            run.used = self.clock;
            return Piece::Shared {
                offset: run.offset,
                length,
            };
        }
        let (offset, _) =
            group.summed_frame(FrameKind::Shared, &[], std::slice::from_ref(bytes), crc);
        // A copy of its own: a slice would keep all of the message's buffer alive.
        let run = Run {
            bytes: Bytes::from(bytes.to_vec()),
            offset,
            used: self.clock,
        };
        self.bytes = self.bytes.saturating_add(bytes.len());
        if let Some(old) = self.runs.insert((bytes.len(), crc), run) {
            self.bytes = self.bytes.saturating_sub(old.bytes.len());
        }
        while self.runs.len() > MAX_RUNS || self.bytes > MAX_BYTES {
            let oldest = self
                .runs
                .iter()
                .min_by_key(|(_, run)| run.used)
                .map(|(key, _)| *key);
            let Some(run) = oldest.and_then(|key| self.runs.remove(&key)) else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(run.bytes.len());
        }
        Piece::Shared { offset, length }
    }
}

/// Ranges without `<` and `>` of at least [`LONG_BYTES`].
fn long_runs(part: &[u8]) -> Vec<(usize, usize)> {
    let mut runs = Vec::new();
    let mut from = 0_usize;
    for piece in part.split(|byte| matches!(byte, b'<' | b'>')) {
        let to = from.saturating_add(piece.len());
        if piece.len() >= LONG_BYTES {
            runs.push((from, to));
        }
        from = to.saturating_add(1);
    }
    runs
}

/// A shared run costs a frame header and twelve bytes for each use.
const LONG_BYTES: usize = 512;
/// What is remembered as a whole: signatures, of several kilobytes.
const LONG_PART_BYTES: usize = 2048;
const MAX_RUNS: usize = 256;
const MAX_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Recurs, Shared, long_runs};
    use crate::commit::Piece;
    use crate::segment::{Group, SegmentKey};

    #[test]
    fn long_runs_lie_between_brackets() {
        let certificate = "A".repeat(600);
        let text = format!("<a><b>{certificate}</b><c>short</c>{certificate}");
        let runs = long_runs(text.as_bytes());
        assert_eq!(runs.len(), 2);
        assert!(
            runs.iter()
                .all(|(from, to)| &text[*from..*to] == certificate.as_str())
        );
        assert!(long_runs(b"").is_empty());
    }

    #[test]
    fn equal_runs_are_written_once() {
        let certificate = "A".repeat(600);
        let part = |it: u32| {
            Bytes::from(format!(
                "<value>{it}</value><certificate>{certificate}</certificate>"
            ))
        };
        let mut shared = Shared::default();
        let mut group = Group::new(SegmentKey { number: 1, salt: 2 }, 64);
        let mut own = Vec::new();
        let first = shared.place(&part(1), Recurs::InParts, &mut group, &mut own);
        let after_first = group.length();
        let second = shared.place(&part(2), Recurs::InParts, &mut group, &mut own);
        assert_eq!(group.length(), after_first);
        assert_eq!(first, second);
        assert!(matches!(
            first[..],
            [
                Piece::Own { .. },
                Piece::Shared { length: 600, .. },
                Piece::Own { .. }
            ]
        ));

        let whole = shared.place(&part(3), Recurs::Whole, &mut group, &mut own);
        let before = (group.length(), own.len());
        assert_eq!(
            whole,
            shared.place(&part(3), Recurs::Whole, &mut group, &mut own)
        );
        assert_eq!(before, (group.length(), own.len()));
    }
}
