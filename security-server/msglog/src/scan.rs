//! Reading many records one after the other: files stay open, and what records share is read once.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::body::BodySource;
use crate::commit::StampFrame;
use crate::error::LogError;
use crate::fs::FsFile;
use crate::index::{Entry, Filter};
use crate::read::{self, Located, Opened, StampPlace};
use crate::reader::LogReader;
use crate::record::{Record, RecordId, Stamp, StampId};

/// A reader of many records of one log, in any order, fast in the order of ids. It tells what [`LogReader::read`] and
/// [`LogReader::body`] tell; what it remembers is bounded: one segment's index, a few frames that records share, one
/// stamp and those of its chains that stand in one frame.
///
/// Reading waits for the disk.
#[derive(Debug)]
pub struct Scan {
    reader: Arc<LogReader>,
    segment: Option<OpenSegment>,
    stamp: Option<OpenStamp>,
}

/// The segment that the last record was in.
#[derive(Debug)]
struct OpenSegment {
    /// Ids that would stand in it: from, and before.
    ids: (u64, u64),
    place: Located,
    file: Arc<dyn FsFile>,
    path: PathBuf,
    entries: Vec<Entry>,
    /// Stamps that cover any of its records, in the order in which they count.
    stamps: Vec<StampPlace>,
    shared: SharedFrames,
    /// The last record, for its bodies.
    last: Option<(u64, Opened)>,
}

/// The stamp of the last record, and the frame of chains that it was in.
#[derive(Debug)]
struct OpenStamp {
    place: (u64, u64),
    file: Arc<dyn FsFile>,
    path: PathBuf,
    frame: StampFrame,
    chains: Option<(u64, HashMap<u64, Bytes>)>,
}

/// Frames of a segment that several records share, by their place.
#[derive(Debug, Default)]
pub(crate) struct SharedFrames {
    frames: HashMap<u64, Bytes>,
    bytes: usize,
}

impl SharedFrames {
    pub(crate) fn get(&self, offset: u64, length: u32) -> Option<Bytes> {
        let frame = self.frames.get(&offset)?;
        (frame.len() == crate::num::narrow(length.into())).then(|| frame.clone())
    }

    pub(crate) fn keep(&mut self, offset: u64, frame: &Bytes) {
        if self.bytes >= MOST_SHARED_BYTES {
            self.frames.clear();
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(frame.len());
        self.frames.insert(offset, frame.clone());
    }
}

impl Scan {
    /// Begins to read the records of a log.
    #[must_use]
    pub fn new(reader: Arc<LogReader>) -> Self {
        Self {
            reader,
            segment: None,
            stamp: None,
        }
    }

    /// Whose records it reads.
    #[must_use]
    pub fn reader(&self) -> &Arc<LogReader> {
        &self.reader
    }

    /// A record with its stamp, if there is one with this id.
    ///
    /// # Errors
    /// As [`LogReader::read`].
    pub fn read(&mut self, id: RecordId) -> Result<Option<Record>, LogError> {
        match self.known(id) {
            Ok(Some(record)) => Ok(Some(record)),
            // The log may have changed under what is remembered; and what is wrong is told by those who remember nothing.
            Ok(None) | Err(_) => {
                self.segment = None;
                self.stamp = None;
                self.reader.read(id)
            }
        }
    }

    /// A body of a record, quickest of the one read last.
    ///
    /// # Errors
    /// As [`LogReader::body`].
    pub fn body(&self, id: RecordId, index: u32) -> Result<Option<BodySource>, LogError> {
        let last = self.segment.as_ref().and_then(|it| it.last.as_ref());
        if let Some((_, open)) = last.filter(|(last, _)| *last == id.get())
            && let Ok(Some(body)) = read::body_of(self.reader.store(), open, index)
        {
            return Ok(Some(body));
        }
        self.reader.body(id, index)
    }

    fn known(&mut self, id: RecordId) -> Result<Option<Record>, LogError> {
        let reader = Arc::clone(&self.reader);
        let store = reader.store();
        let number = id.get();
        if self
            .segment
            .as_ref()
            .is_none_or(|it| number < it.ids.0 || number >= it.ids.1)
        {
            self.segment = OpenSegment::of(&reader, number)?;
        }
        let Some(segment) = &mut self.segment else {
            return Ok(None);
        };
        let Ok(entry) = segment
            .entries
            .binary_search_by_key(&number, |entry| entry.id)
        else {
            return Ok(None);
        };
        let Some(entry) = segment.entries.get(entry) else {
            return Ok(None);
        };
        let open = Opened::read(
            Arc::clone(&segment.file),
            segment.path.clone(),
            segment.place.key,
            entry,
        )?;
        let parts = open.parts_with(&mut segment.shared)?;
        let stamp = if store.state().unstamped.contains(number) {
            None
        } else {
            let over = segment.stamps.iter().filter(|it| it.covers(number));
            stamp_in(&mut self.stamp, &reader, over, number)?
        };
        let record = read::whole(store, id, &open, parts, stamp);
        segment.last = Some((number, open));
        Ok(Some(record))
    }
}

impl OpenSegment {
    /// The segment in which a record with this number would stand.
    fn of(reader: &LogReader, number: u64) -> Result<Option<Self>, LogError> {
        let store = reader.store();
        let found = {
            let state = store.state();
            state.segment_of(number).map(|segment| {
                let next = state
                    .segments
                    .range(segment.key.number.saturating_add(1)..)
                    .map(|(_, next)| next.first_id)
                    .next();
                let ids = (segment.first_id, next.unwrap_or(u64::MAX));
                (ids, Located::of(segment))
            })
        };
        let Some((ids, place)) = found else {
            return Ok(None);
        };
        let (file, path) = place.file(store)?;
        let entries = read::entries(store, place.key.number, &Filter::default())?;
        let stamps = read::stamps_over_any(store, place.key.number, ids);
        Ok(Some(Self {
            ids,
            place,
            file,
            path,
            entries,
            stamps,
            shared: SharedFrames::default(),
            last: None,
        }))
    }
}

/// The first of these stamps that holds a chain of the record.
fn stamp_in<'a>(
    open: &mut Option<OpenStamp>,
    reader: &LogReader,
    over: impl Iterator<Item = &'a StampPlace>,
    number: u64,
) -> Result<Option<Stamp>, LogError> {
    for place in over {
        let key = (place.located.key.number, place.at.offset);
        if open.as_ref().is_none_or(|it| it.place != key) {
            let (file, path) = place.located.file(reader.store())?;
            let frame = read::stamp_frame(file.as_ref(), &path, place)?;
            *open = Some(OpenStamp {
                place: key,
                file,
                path,
                frame,
                chains: None,
            });
        }
        let Some(stamp) = open else { return Ok(None) };
        let groups = stamp
            .frame
            .chains
            .iter()
            .filter(|it| it.first <= number && number <= it.last);
        for group in groups {
            if stamp
                .chains
                .as_ref()
                .is_none_or(|(at, _)| *at != group.offset)
            {
                let chains = read::chains_at(stamp.file.as_ref(), &stamp.path, place, group)?;
                // of two of one record the first counts
                let mut by_id = HashMap::with_capacity(chains.len());
                for (id, chain) in chains {
                    by_id.entry(id).or_insert(chain);
                }
                stamp.chains = Some((group.offset, by_id));
            }
            let chain = stamp.chains.as_ref().and_then(|(_, it)| it.get(&number));
            if let Some(chain) = chain {
                return Ok(Some(Stamp {
                    id: StampId::new(stamp.frame.id),
                    token: stamp.frame.token.clone(),
                    hash_chain_result: stamp.frame.hash_chain_result.clone(),
                    hash_chain: chain.clone(),
                }));
            }
        }
    }
    Ok(None)
}

/// Shared frames that are remembered of a segment.
const MOST_SHARED_BYTES: usize = 4 << 20;
