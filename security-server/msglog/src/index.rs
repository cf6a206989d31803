//! Where records are found: in memory for the active segment, in [`mod@file`] for a sealed one.
//!
//! Both hold fixed-size [`Entry`]s with 64-bit hashes of what a record is found by. A hash only chooses candidates: a
//! reader compares the record itself.

use std::collections::HashMap;

use crate::codec::Reader;
use crate::commit::{self, Commit};
use crate::record::{Direction, RecordHead, Side};
use crate::runs::Runs;

pub(crate) mod file;
pub(crate) mod filter;

/// What the index knows of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) time_ms: i64,
    /// Where its commit frame stands.
    pub(crate) offset: u64,
    /// Length of the commit frame's payload.
    pub(crate) length: u32,
    flags: u8,
    pub(crate) message: u64,
    pub(crate) request: u64,
    pub(crate) client: u64,
    pub(crate) service: u64,
    party: u64,
}

impl Entry {
    pub(crate) const BYTES: usize = 72;

    pub(crate) fn new(commit: &Commit, offset: u64, length: u32) -> Self {
        let RecordHead {
            time_ms,
            message_id,
            request_id,
            client,
            service,
            local_party,
            ..
        } = &commit.head;
        Self {
            id: commit.id,
            time_ms: *time_ms,
            offset,
            length,
            flags: commit::flags(&commit.head),
            message: hash_text(message_id),
            request: hash_text(request_id),
            client: hash_of(|out| commit::put_client(out, client)),
            service: hash_of(|out| commit::put_service(out, service)),
            party: hash_of(|out| commit::put_client(out, local_party)),
        }
    }

    /// The side that recorded it, and whether it is a request.
    pub(crate) fn way(&self) -> (Side, Direction) {
        let side = if self.flags & commit::PROVIDER == 0 {
            Side::Consumer
        } else {
            Side::Provider
        };
        let direction = if self.flags & commit::RESPONSE == 0 {
            Direction::Request
        } else {
            Direction::Response
        };
        (side, direction)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.time_ms.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&[self.flags, 0, 0, 0]);
        for hash in [
            self.message,
            self.request,
            self.client,
            self.service,
            self.party,
        ] {
            out.extend_from_slice(&hash.to_le_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(bytes);
        let (id, time_ms, offset, length) =
            (fields.u64()?, fields.i64()?, fields.u64()?, fields.u32()?);
        let [flags, ..] = fields.array::<4>()?;
        let (message, request, client) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (service, party) = (fields.u64()?, fields.u64()?);
        Some(Self {
            id,
            time_ms,
            offset,
            length,
            flags,
            message,
            request,
            client,
            service,
            party,
        })
    }
}

/// A stamp of which a segment holds the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StampAt {
    pub(crate) id: u64,
    /// Where its frame stands.
    pub(crate) offset: u64,
    /// Length of that frame's payload.
    pub(crate) length: u32,
    /// Smallest record id it covers.
    pub(crate) first: u64,
    /// Largest record id it covers; not all in between need be covered.
    pub(crate) last: u64,
}

/// Everything a segment tells about records, its own and earlier ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct SegmentIndex {
    pub(crate) entries: Vec<Entry>,
    /// Hash of a message id to the number of its latest entry.
    messages: HashMap<u64, u32>,
    /// The same for request ids.
    requests: HashMap<u64, u32>,
    /// For each entry the ones before it with the same message and request.
    earlier: Vec<(Option<u32>, Option<u32>)>,
    pub(crate) stamps: Vec<StampAt>,
    pub(crate) sets: Sets,
}

/// What a segment adds to what is known of the whole log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sets {
    /// Its records.
    pub(crate) records: Runs,
    /// Records that its stamps cover.
    pub(crate) stamped: Runs,
    /// Records whose bodies are dropped.
    pub(crate) dropped: Runs,
    /// Body files that its records name.
    pub(crate) bodies: Runs,
    /// Body files of the dropped.
    pub(crate) dropped_bodies: Runs,
}

impl Sets {
    fn in_order(&self) -> [&Runs; 5] {
        [
            &self.records,
            &self.stamped,
            &self.dropped,
            &self.bodies,
            &self.dropped_bodies,
        ]
    }
}

impl SegmentIndex {
    pub(crate) fn push(&mut self, entry: Entry) {
        let number = crate::num::short(self.entries.len());
        let message = self.messages.insert(entry.message, number);
        let request = self.requests.insert(entry.request, number);
        self.earlier.push((message, request));
        self.sets.records.insert(entry.id);
        self.entries.push(entry);
    }

    pub(crate) fn entry(&self, id: u64) -> Option<Entry> {
        let number = self
            .entries
            .binary_search_by_key(&id, |entry| entry.id)
            .ok()?;
        self.entries.get(number).copied()
    }

    /// Entries that may be what is asked for, in the order of ids.
    pub(crate) fn candidates(&self, filter: &Filter) -> Vec<Entry> {
        let by_message = |it: &(Option<u32>, Option<u32>)| it.0;
        let by_request = |it: &(Option<u32>, Option<u32>)| it.1;
        match (filter.message, filter.request) {
            (Some(message), _) => self.chain(self.messages.get(&message), by_message, filter),
            (None, Some(request)) => self.chain(self.requests.get(&request), by_request, filter),
            (None, None) => self
                .entries
                .iter()
                .filter(|it| filter.fits(it))
                .copied()
                .collect(),
        }
    }

    fn chain(
        &self,
        last: Option<&u32>,
        before: impl Fn(&(Option<u32>, Option<u32>)) -> Option<u32>,
        filter: &Filter,
    ) -> Vec<Entry> {
        let at = |number: &u32| crate::num::narrow((*number).into());
        let numbers = std::iter::successors(last.copied(), |number| {
            self.earlier.get(at(number)).and_then(&before)
        });
        let entries = numbers.filter_map(|number| self.entries.get(at(&number)));
        let mut found: Vec<Entry> = entries.filter(|it| filter.fits(it)).copied().collect();
        found.reverse();
        found
    }
}

/// What is asked for, as hashes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) message: Option<u64>,
    pub(crate) request: Option<u64>,
    pub(crate) client: Option<u64>,
    pub(crate) service: Option<u64>,
    pub(crate) party: Option<u64>,
    pub(crate) direction: Option<Direction>,
    pub(crate) from_ms: Option<i64>,
    pub(crate) to_ms: Option<i64>,
}

impl Filter {
    pub(crate) fn fits(&self, entry: &Entry) -> bool {
        let (_, direction) = entry.way();
        self.message.is_none_or(|it| it == entry.message)
            && self.request.is_none_or(|it| it == entry.request)
            && self.client.is_none_or(|it| it == entry.client)
            && self.service.is_none_or(|it| it == entry.service)
            && self.party.is_none_or(|it| it == entry.party)
            && self.direction.is_none_or(|it| it == direction)
            && self.from_ms.is_none_or(|it| it <= entry.time_ms)
            && self.to_ms.is_none_or(|it| entry.time_ms < it)
    }
}

/// Hash of a message or request id.
pub(crate) fn hash_text(text: &str) -> u64 {
    hash(text.as_bytes())
}

/// Hash of an identifier, from its stored form.
pub(crate) fn hash_of(put: impl FnOnce(&mut Vec<u8>)) -> u64 {
    let mut bytes = Vec::with_capacity(128);
    put(&mut bytes);
    hash(&bytes)
}

/// FNV-1a with a finisher that spreads it over all bits. Part of the index format. Who makes two ids collide gains
/// nothing over who uses one id twice: a longer list of candidates for that id.
fn hash(bytes: &[u8]) -> u64 {
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (sum ^ (sum >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}
