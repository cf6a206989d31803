//! The hash chains of a stamp, packed.
//!
//! Chains of neighbours in a tree begin alike: of 14 steps in a tree over 10,000 records two differ on average. So of each
//! chain only what the one before it does not begin with is kept, in memory and on the disk.

use bytes::Bytes;

use crate::codec::Reader;
use crate::num::{narrow, short, wide};
use crate::record::RecordId;

/// The records of a stamp in ascending order, each with its chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StampChains {
    ids: Vec<RecordId>,
    full: Vec<PackedChains>,
    open: Vec<u8>,
    open_first: Option<RecordId>,
    before: Vec<u8>,
    longest: usize,
}

/// Chains that are written as one frame, and the first and last of their records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackedChains {
    pub(crate) bytes: Bytes,
    pub(crate) first: RecordId,
    pub(crate) last: RecordId,
}

impl StampChains {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record with its chain. Records come in ascending order; [`MessageLog::stamp`](crate::MessageLog::stamp)
    /// refuses any other.
    pub fn push(&mut self, id: RecordId, chain: &[u8]) {
        let first = *self.open_first.get_or_insert(id);
        let alike = self.before.iter().zip(chain).take_while(|(a, b)| a == b);
        let alike = alike.count();
        let rest = chain.get(alike..).unwrap_or_default();
        self.open.extend_from_slice(&id.get().to_le_bytes());
        self.open.extend_from_slice(&short(alike).to_le_bytes());
        self.open
            .extend_from_slice(&short(rest.len()).to_le_bytes());
        self.open.extend_from_slice(rest);
        self.before.truncate(alike);
        self.before.extend_from_slice(rest);
        self.longest = self.longest.max(chain.len());
        self.ids.push(id);
        if self.open.len() >= FRAME_BYTES {
            self.close(first, id);
        }
    }

    /// The records.
    #[must_use]
    pub fn ids(&self) -> &[RecordId] {
        &self.ids
    }

    /// Length of the longest chain in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// As they are written.
    pub(crate) fn packed(mut self) -> (Vec<RecordId>, Vec<PackedChains>) {
        if let (Some(first), Some(last)) = (self.open_first, self.ids.last().copied()) {
            self.close(first, last);
        }
        (self.ids, self.full)
    }

    /// Bytes that they take when they are written, headers of frames apart.
    pub(crate) fn bytes(&self) -> u64 {
        let full = self.full.iter().map(|it| wide(it.bytes.len()));
        full.fold(wide(self.open.len()), u64::saturating_add)
    }

    /// Frames that they take.
    pub(crate) fn frames(&self) -> usize {
        self.full.len().saturating_add(1)
    }

    /// Ends a frame. The next one stands for itself.
    fn close(&mut self, first: RecordId, last: RecordId) {
        let bytes = Bytes::from(std::mem::take(&mut self.open));
        self.full.push(PackedChains { bytes, first, last });
        self.open_first = None;
        self.before.clear();
    }
}

impl<C: AsRef<[u8]>> FromIterator<(RecordId, C)> for StampChains {
    fn from_iter<I: IntoIterator<Item = (RecordId, C)>>(chains: I) -> Self {
        let mut all = Self::new();
        for (id, chain) in chains {
            all.push(id, chain.as_ref());
        }
        all
    }
}

/// Reads a frame of chains and shows each; `None` if it does not read.
pub(crate) fn each(payload: &[u8], mut show: impl FnMut(u64, &[u8])) -> Option<()> {
    let mut fields = Reader::new(payload);
    let mut chain = Vec::new();
    while !fields.is_empty() {
        let id = fields.u64()?;
        let alike = narrow(fields.u32()?.into());
        let length = narrow(fields.u32()?.into());
        if alike > chain.len() {
            return None;
        }
        chain.truncate(alike);
        chain.extend_from_slice(fields.bytes(length)?);
        show(id, &chain);
    }
    Some(())
}

/// Length at which a frame of chains takes no more.
const FRAME_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_read_back_and_neighbours_cost_what_differs() {
        // As hash trees have them: from the top down, alike until the ways part.
        let chain = |number: u64| -> Vec<u8> {
            let steps = (0..14).rev().map(|level| {
                let node = (number >> level) ^ 1;
                format!("<step level={level}>{node:0200}</step>").into_bytes()
            });
            steps.flatten().collect()
        };
        let chains: StampChains = (0..3000)
            .map(|number| (RecordId::new(number * 2), chain(number)))
            .collect();
        let whole: u64 = (0..3000).map(|number| wide(chain(number).len())).sum();
        assert!(chains.bytes() * 6 < whole, "{} of {whole}", chains.bytes());
        assert_eq!(chains.longest(), chain(0).len());
        let (ids, frames) = chains.packed();
        assert_eq!(ids.len(), 3000);
        assert!(frames.len() > 5);
        let mut next = 0;
        for frame in frames {
            assert_eq!(frame.first.get(), next * 2);
            each(&frame.bytes, |id, bytes| {
                assert_eq!((id, bytes), (next * 2, &chain(next)[..]));
                next += 1;
            })
            .unwrap();
            assert_eq!(frame.last.get(), (next - 1) * 2);
            assert!(each(&frame.bytes[..frame.bytes.len() - 1], |_, _| ()).is_none());
        }
        assert_eq!(next, 3000);
    }
}
