//! Reading: finding records and getting their bytes back, checked against their checksums.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jibek_protocol::id::{ClientId, ServiceId};

use crate::body::BodySource;
use crate::commit::{self, Body, ChainsAt, Commit, Piece, Place, StampFrame};
use crate::error::LogError;
use crate::fs::{Access, FsFile};
use crate::index::{self, Entry, Filter, StampAt};
use crate::num::narrow;
use crate::record::{
    BodyInfo, Direction, Record, RecordId, RecordParts, Stamp, StampId, Unstamped,
};
use crate::scan::SharedFrames;
use crate::segment::{self, FRAME_HEADER_BYTES, FrameKind, SegmentKey};
use crate::store::{Chore, Segment, Source, Store};

/// What is looked for. Everything given must match; nothing given matches every record.
///
/// ```
/// # use jibek_msglog::{Direction, Query};
/// let query = Query { direction: Some(Direction::Request), ..Query::message_id("4711") };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made with struct update syntax from its constructors"
)]
pub struct Query {
    /// The consumer's message id.
    pub message_id: Option<String>,
    /// The exchange's request id.
    pub request_id: Option<String>,
    /// Whose record it is.
    pub party: Option<ClientId>,
    /// Who asked.
    pub client: Option<ClientId>,
    /// What was asked.
    pub service: Option<ServiceId>,
    /// Request or response.
    pub direction: Option<Direction>,
    /// Earliest time in milliseconds since 1970, UTC.
    pub from_ms: Option<i64>,
    /// Time in milliseconds since 1970, UTC, before which it must be.
    pub to_ms: Option<i64>,
    /// Ids up to this one are left out: how to get the next page.
    pub after: Option<RecordId>,
    /// Most ids that are answered; 0 is [`Query::DEFAULT_LIMIT`].
    pub limit: usize,
}

impl Query {
    /// Most ids that are answered where the caller does not say.
    pub const DEFAULT_LIMIT: usize = 1000;

    /// Records with this message id.
    #[must_use]
    pub fn message_id(id: &str) -> Self {
        Self {
            message_id: Some(id.to_owned()),
            ..Self::default()
        }
    }

    /// Records with this request id.
    #[must_use]
    pub fn request_id(id: &str) -> Self {
        Self {
            request_id: Some(id.to_owned()),
            ..Self::default()
        }
    }

    fn filter(&self) -> Filter {
        let client = |id: &ClientId| index::hash_of(|out| commit::put_client(out, id));
        Filter {
            message: self.message_id.as_deref().map(index::hash_text),
            request: self.request_id.as_deref().map(index::hash_text),
            client: self.client.as_ref().map(client),
            service: self
                .service
                .as_ref()
                .map(|id| index::hash_of(|out| commit::put_service(out, id))),
            party: self.party.as_ref().map(client),
            direction: self.direction,
            from_ms: self.from_ms,
            to_ms: self.to_ms,
        }
    }

    /// Whether hashes alone cannot decide.
    fn names(&self) -> bool {
        let texts = self.message_id.is_some() || self.request_id.is_some();
        texts || self.party.is_some() || self.client.is_some() || self.service.is_some()
    }

    fn fits(&self, commit: &Commit) -> bool {
        let head = &commit.head;
        self.message_id
            .as_ref()
            .is_none_or(|it| *it == head.message_id)
            && self
                .request_id
                .as_ref()
                .is_none_or(|it| *it == head.request_id)
            && self.party.as_ref().is_none_or(|it| *it == head.local_party)
            && self.client.as_ref().is_none_or(|it| *it == head.client)
            && self.service.as_ref().is_none_or(|it| *it == head.service)
    }
}

/// A segment as a reader needs it, taken out of the shared state.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) key: SegmentKey,
    source: Source,
}

impl Located {
    pub(crate) fn of(segment: &Segment) -> Self {
        Self {
            key: segment.key,
            source: segment.source.clone(),
        }
    }

    /// The description of one of its records.
    pub(crate) fn commit(&self, store: &Store, entry: &Entry) -> Result<Commit, LogError> {
        let (file, path) = self.file(store)?;
        read_commit(file.as_ref(), &path, self.key, entry).map(|(commit, _)| commit)
    }

    /// Whether all of its records have ids up to this one.
    fn ends_before(&self, id: u64) -> bool {
        match &self.source {
            Source::File(index) => index.last_id <= id,
            Source::Memory { index, .. } => {
                index.read().entries.last().is_none_or(|it| it.id <= id)
            }
        }
    }

    pub(crate) fn file(&self, store: &Store) -> Result<(Arc<dyn FsFile>, PathBuf), LogError> {
        let path = store.layout.segment(self.key.number);
        match &self.source {
            Source::Memory { file, .. } => Ok((Arc::clone(file), path)),
            Source::File(_) => {
                let file = store
                    .fs
                    .open(&path, Access::Read)
                    .map_err(LogError::at("open", &path))?;
                Ok((file, path))
            }
        }
    }

    fn with_index<T>(
        &self,
        store: &Store,
        in_memory: impl FnOnce(&index::SegmentIndex) -> T,
        in_file: impl FnOnce(&index::file::SealedIndex, &Arc<dyn FsFile>) -> std::io::Result<T>,
    ) -> Result<T, LogError> {
        match &self.source {
            Source::Memory { index, .. } => Ok(in_memory(&index.read())),
            Source::File(index) => {
                let file = store.index_file(self.key.number)?;
                let failed = |error| {
                    let path = store.layout.index(self.key.number);
                    LogError::at("read", &path)(error)
                };
                in_file(index, &file).map_err(failed)
            }
        }
    }

    fn entry(&self, store: &Store, id: u64) -> Result<Option<Entry>, LogError> {
        self.with_index(
            store,
            |index| index.entry(id),
            |index, file| index.entry(file.as_ref(), id),
        )
    }
}

/// Ids of the records that fit, in ascending order.
pub(crate) fn find(store: &Store, query: &Query) -> Result<Vec<RecordId>, LogError> {
    let limit = if query.limit == 0 {
        Query::DEFAULT_LIMIT
    } else {
        query.limit
    };
    let after = query.after.map(RecordId::get).unwrap_or_default();
    let filter = query.filter();
    // Segments are looked at one after the other, so that no more than one's candidates are held.
    let numbers: Vec<u64> = store.state().segments.keys().copied().collect();
    let mut found = Vec::new();
    for number in numbers {
        let Some(place) = store.state().segments.get(&number).map(Located::of) else {
            continue;
        };
        if place.ends_before(after) {
            continue;
        }
        let candidates = match entries(store, number, &filter) {
            Err(_) if number < store.start_now().segment => continue,
            candidates => candidates?,
        };
        let mut file = None;
        for entry in candidates.iter().filter(|entry| entry.id > after) {
            if query.names() {
                let (file, path) = match &mut file {
                    Some(open) => open,
                    none => match place.file(store) {
                        Err(_) if number < store.start_now().segment => break,
                        opened => none.insert(opened?),
                    },
                };
                let (commit, _) = read_commit(file.as_ref(), path, place.key, entry)?;
                if !query.fits(&commit) {
                    continue;
                }
            }
            found.push(RecordId::new(entry.id));
            if found.len() >= limit {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Index entries of one segment that fit, in the order of ids; none if there is no such segment.
pub(crate) fn entries(store: &Store, number: u64, filter: &Filter) -> Result<Vec<Entry>, LogError> {
    let place = store.state().segments.get(&number).map(Located::of);
    let Some(place) = place else {
        return Ok(Vec::new());
    };
    place.with_index(
        store,
        |index| index.candidates(filter),
        |index, file| index.candidates(file, filter),
    )
}

/// The index entry of a record.
pub(crate) fn entry(store: &Store, id: RecordId) -> Result<Option<Entry>, LogError> {
    let place = store.state().segment_of(id.get()).map(Located::of);
    place.map_or(Ok(None), |place| place.entry(store, id.get()))
}

/// A whole record but its bodies.
pub(crate) fn record(store: &Store, id: RecordId) -> Result<Option<Record>, LogError> {
    unless_removed(store, id, whole_record(store, id))
}

/// A record whose segment was removed while it was read is not there; nothing is wrong with it.
fn unless_removed<T>(
    store: &Store,
    id: RecordId,
    read: Result<Option<T>, LogError>,
) -> Result<Option<T>, LogError> {
    match read {
        Err(_) if id.get() < store.start_now().first_id => Ok(None),
        read => read,
    }
}

fn whole_record(store: &Store, id: RecordId) -> Result<Option<Record>, LogError> {
    let Some(open) = Opened::find(store, id)? else {
        return Ok(None);
    };
    let parts = open.parts()?;
    let stamp = stamp(store, id)?;
    Ok(Some(whole(store, id, &open, parts, stamp)))
}

/// What callers get of a record.
pub(crate) fn whole(
    store: &Store,
    id: RecordId,
    open: &Opened,
    parts: [Option<Bytes>; 4],
    stamp: Option<Stamp>,
) -> Record {
    let [message, signature, hash_chain_result, hash_chain] = parts;
    let parts = RecordParts {
        message: message.unwrap_or_default(),
        message_sha512: open.commit.message_sha512,
        signature: signature.unwrap_or_default(),
        hash_chain_result,
        hash_chain,
    };
    let kept = !store.state().dropped.contains(id.get());
    let info = |body: &Body| {
        let digest_only = body.place == Place::Nowhere;
        BodyInfo {
            index: body.index,
            len: body.length,
            sha512: body.sha512,
            kept: kept && !digest_only,
            digest_only,
        }
    };
    Record {
        id,
        head: open.commit.head.clone(),
        parts,
        bodies: open.commit.bodies.iter().map(info).collect(),
        stamp,
    }
}

/// One body of a record, unless there is none or it was dropped.
pub(crate) fn body(
    store: &Store,
    id: RecordId,
    index: u32,
) -> Result<Option<BodySource>, LogError> {
    unless_removed(store, id, kept_body(store, id, index))
}

fn kept_body(store: &Store, id: RecordId, index: u32) -> Result<Option<BodySource>, LogError> {
    let Some(open) = Opened::find(store, id)? else {
        return Ok(None);
    };
    body_of(store, &open, index)
}

/// One body of a record that was read, unless there is none or it was dropped.
pub(crate) fn body_of(
    store: &Store,
    open: &Opened,
    index: u32,
) -> Result<Option<BodySource>, LogError> {
    let dropped = store.state().dropped.contains(open.commit.id);
    let Some(body) = open
        .commit
        .bodies
        .iter()
        .find(|it| it.index == index && !dropped)
    else {
        return Ok(None);
    };
    match body.place {
        Place::File { number } => {
            let path = store.layout.body(number);
            let file = store
                .fs
                .open(&path, Access::Read)
                .map_err(LogError::at("open", &path))?;
            let source = BodySource::file(file, body.length, &store.memory);
            Ok(Some(source.checked(body.crc)))
        }
        Place::Frame { offset } => {
            let read = segment::read_frame(open.file.as_ref(), open.key, offset, FrameKind::Body);
            let bytes = read.map_err(LogError::at("read", &open.path))?;
            let bytes =
                bytes.ok_or_else(|| damaged(&open.path, offset, "body is not what was written"))?;
            Ok(Some(BodySource::memory(vec![bytes])))
        }
        Place::Nowhere => Ok(None),
    }
}

/// What is to be done when a record's bodies are dropped, and the numbers of their files; `None` if they are already.
pub(crate) fn body_chores(store: &Store, id: RecordId) -> Result<Option<DropPlan>, LogError> {
    if store.state().dropped.contains(id.get()) {
        return Ok(None);
    }
    let open = Opened::find(store, id)?.ok_or(LogError::UnknownRecord { id })?;
    let chores = open
        .commit
        .bodies
        .iter()
        .filter_map(|body| drop_chore(open.key, body))
        .collect();
    let files = open
        .commit
        .bodies
        .iter()
        .filter_map(|body| match body.place {
            Place::File { number } => Some(number),
            Place::Frame { .. } | Place::Nowhere => None,
        });
    Ok(Some((chores, files.collect())))
}

/// Chores, and numbers of body files.
pub(crate) type DropPlan = (Vec<Chore>, Vec<u64>);

/// What overwrites those bodies of a record that stand in its segment.
pub(crate) fn inline_chores(store: &Store, id: RecordId) -> Result<Vec<Chore>, LogError> {
    let Some(open) = Opened::find(store, id)? else {
        return Ok(Vec::new());
    };
    let inline = open
        .commit
        .bodies
        .iter()
        .filter(|body| matches!(body.place, Place::Frame { .. }));
    Ok(inline
        .filter_map(|body| drop_chore(open.key, body))
        .collect())
}

/// How one body is dropped, if it is there.
fn drop_chore(key: SegmentKey, body: &Body) -> Option<Chore> {
    match body.place {
        Place::File { number } => Some(Chore::RemoveBody { number }),
        Place::Frame { offset } => Some(Chore::Punch {
            segment: key.number,
            offset: offset.saturating_add(FRAME_HEADER_BYTES),
            length: body.length,
        }),
        Place::Nowhere => None,
    }
}

/// Shows the oldest records without a stamp, with their signatures, one after the other. Records of one batch of
/// signing have one document: it is read once, and shown as the same bytes.
pub(crate) fn each_unstamped(
    store: &Store,
    limit: usize,
    mut show: impl FnMut(Unstamped),
) -> Result<(), LogError> {
    let ids: Vec<u64> = store.state().unstamped.iter().take(limit).collect();
    let mut before: Option<(u64, Vec<Piece>, Bytes)> = None;
    for id in ids {
        let id = RecordId::new(id);
        let open = Opened::find(store, id)?.ok_or(LogError::UnknownRecord { id })?;
        let pieces = &open.commit.signature;
        let signature = match &before {
            Some((segment, same, bytes)) if *segment == open.key.number && same == pieces => {
                bytes.clone()
            }
            _ => {
                let signature = open.signature()?;
                // What is in parts its own may be different bytes under equal lengths.
                let is_shared = pieces.iter().all(|it| matches!(it, Piece::Shared { .. }));
                before = is_shared.then(|| (open.key.number, pieces.clone(), signature.clone()));
                signature
            }
        };
        show(Unstamped {
            id,
            time_ms: open.commit.head.time_ms,
            signature,
        });
    }
    Ok(())
}

/// Time of the oldest record without a stamp.
pub(crate) fn oldest_unstamped_ms(store: &Store) -> Result<Option<i64>, LogError> {
    let first = store.state().unstamped.first();
    let Some(id) = first else { return Ok(None) };
    Ok(entry(store, RecordId::new(id))?.map(|entry| entry.time_ms))
}

fn stamp(store: &Store, id: RecordId) -> Result<Option<Stamp>, LogError> {
    if store.state().unstamped.contains(id.get()) {
        return Ok(None);
    }
    for place in stamps_over(store, id.get()) {
        let (file, path) = place.located.file(store)?;
        let frame = stamp_frame(file.as_ref(), &path, &place)?;
        for group in frame
            .chains
            .iter()
            .filter(|it| it.first <= id.get() && id.get() <= it.last)
        {
            let chains = chains_at(file.as_ref(), &path, &place, group)?;
            if let Some((_, hash_chain)) = chains.into_iter().find(|(it, _)| *it == id.get()) {
                let StampFrame {
                    id,
                    token,
                    hash_chain_result,
                    ..
                } = frame;
                return Ok(Some(Stamp {
                    id: StampId::new(id),
                    token,
                    hash_chain_result,
                    hash_chain,
                }));
            }
        }
    }
    Ok(None)
}

/// Where a stamp stands.
#[derive(Debug)]
pub(crate) struct StampPlace {
    pub(crate) located: Located,
    pub(crate) at: StampAt,
}

impl StampPlace {
    /// Whether it may cover this record.
    pub(crate) fn covers(&self, id: u64) -> bool {
        self.at.first <= id && id <= self.at.last
    }
}

/// A stamp without its chains.
pub(crate) fn stamp_frame(
    file: &dyn FsFile,
    path: &std::path::Path,
    StampPlace { located, at }: &StampPlace,
) -> Result<StampFrame, LogError> {
    let read = segment::read_known_frame(file, located.key, at.offset, FrameKind::Stamp, at.length);
    let bytes = read
        .map_err(LogError::at("read", path))?
        .ok_or_else(|| damaged(path, at.offset, "stamp is not what was written"))?;
    StampFrame::decode(&bytes).ok_or_else(|| damaged(path, at.offset, "stamp does not read"))
}

/// Chains of a stamp that stand together.
pub(crate) fn chains_at(
    file: &dyn FsFile,
    path: &std::path::Path,
    StampPlace { located, .. }: &StampPlace,
    group: &ChainsAt,
) -> Result<Vec<(u64, Bytes)>, LogError> {
    let ChainsAt { offset, length, .. } = *group;
    let read = segment::read_known_frame(file, located.key, offset, FrameKind::StampChains, length);
    let bytes = read
        .map_err(LogError::at("read", path))?
        .ok_or_else(|| damaged(path, offset, "stamp is not what was written"))?;
    let mut chains = Vec::new();
    crate::chains::each(&bytes, |id, chain| {
        chains.push((id, Bytes::from(chain.to_vec())));
    })
    .ok_or_else(|| damaged(path, offset, "chains do not read"))?;
    Ok(chains)
}

/// Stamps whose range holds the record, and where they stand. A stamp is never in an earlier segment than its records.
fn stamps_over(store: &Store, id: u64) -> Vec<StampPlace> {
    let number = store.state().segment_of(id).map(|it| it.key.number);
    number.map_or_else(Vec::new, |number| {
        stamps_over_any(store, number, (id, id.saturating_add(1)))
    })
}

/// Stamps from this segment on whose range holds any of these records, from the first id to before the second, in order.
pub(crate) fn stamps_over_any(store: &Store, number: u64, ids: (u64, u64)) -> Vec<StampPlace> {
    let state = store.state();
    let mut found = Vec::new();
    for segment in state.segments.range(number..).map(|(_, it)| it) {
        let mut take = |stamps: &[StampAt]| {
            let over = stamps
                .iter()
                .filter(|it| it.first < ids.1 && ids.0 <= it.last);
            found.extend(over.map(|at| StampPlace {
                located: Located::of(segment),
                at: *at,
            }));
        };
        match &segment.source {
            Source::File(index) => take(&index.stamps),
            Source::Memory { index, .. } => take(&index.read().stamps),
        }
    }
    found
}

/// A record's commit frame, read and checked.
#[derive(Debug)]
pub(crate) struct Opened {
    file: Arc<dyn FsFile>,
    path: PathBuf,
    key: SegmentKey,
    commit: Commit,
    own: Bytes,
}

impl Opened {
    fn find(store: &Store, id: RecordId) -> Result<Option<Self>, LogError> {
        let place = store.state().segment_of(id.get()).map(Located::of);
        let Some(place) = place else { return Ok(None) };
        let Some(entry) = place.entry(store, id.get())? else {
            return Ok(None);
        };
        let (file, path) = place.file(store)?;
        Self::read(file, path, place.key, &entry).map(Some)
    }

    /// Reads the record of an index entry.
    pub(crate) fn read(
        file: Arc<dyn FsFile>,
        path: PathBuf,
        key: SegmentKey,
        entry: &Entry,
    ) -> Result<Self, LogError> {
        let (commit, own) = read_commit(file.as_ref(), &path, key, entry)?;
        Ok(Self {
            file,
            path,
            key,
            commit,
            own,
        })
    }

    /// Message, signature, hash chain result, hash chain.
    fn parts(&self) -> Result<[Option<Bytes>; 4], LogError> {
        self.parts_with(&mut SharedFrames::default())
    }

    /// The same; frames that were read already are taken from `shared`.
    pub(crate) fn parts_with(
        &self,
        shared: &mut SharedFrames,
    ) -> Result<[Option<Bytes>; 4], LogError> {
        let mut own = self.own.clone();
        let mut next = |pieces: Option<&Vec<Piece>>| {
            pieces.map(|it| self.part(it, &mut own, shared)).transpose()
        };
        let Commit {
            message,
            signature,
            hash_chain_result,
            hash_chain,
            ..
        } = &self.commit;
        let (message, signature) = (next(Some(message))?, next(Some(signature))?);
        Ok([
            message,
            signature,
            next(hash_chain_result.as_ref())?,
            next(hash_chain.as_ref())?,
        ])
    }

    /// The signature alone.
    fn signature(&self) -> Result<Bytes, LogError> {
        let mut own = self.own.clone();
        let shared = &mut SharedFrames::default();
        self.part(&self.commit.message, &mut own, shared)?;
        self.part(&self.commit.signature, &mut own, shared)
    }

    fn part(
        &self,
        pieces: &[Piece],
        own: &mut Bytes,
        shared: &mut SharedFrames,
    ) -> Result<Bytes, LogError> {
        let mut next = |piece: &Piece| match *piece {
            Piece::Own { length } => {
                let length = narrow(length.into());
                if length > own.len() {
                    return Err(damaged(&self.path, 0, "record is shorter than it says"));
                }
                Ok(own.split_to(length))
            }
            Piece::Shared { offset, length } => {
                if let Some(known) = shared.get(offset, length) {
                    return Ok(known);
                }
                let read = segment::read_known_frame(
                    self.file.as_ref(),
                    self.key,
                    offset,
                    FrameKind::Shared,
                    length,
                );
                let bytes = read
                    .map_err(LogError::at("read", &self.path))?
                    .ok_or_else(|| {
                        damaged(&self.path, offset, "shared bytes are not what was written")
                    })?;
                shared.keep(offset, &bytes);
                Ok(bytes)
            }
        };
        match pieces {
            [piece] => next(piece),
            pieces => {
                let mut whole = Vec::new();
                for piece in pieces {
                    whole.extend_from_slice(&next(piece)?);
                }
                Ok(whole.into())
            }
        }
    }
}

fn read_commit(
    file: &dyn FsFile,
    path: &std::path::Path,
    key: SegmentKey,
    entry: &Entry,
) -> Result<(Commit, Bytes), LogError> {
    let read = segment::read_known_frame(file, key, entry.offset, FrameKind::Commit, entry.length);
    let payload = match read {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
        other => other.map_err(LogError::at("read", path))?,
    };
    let payload =
        payload.ok_or_else(|| damaged(path, entry.offset, "record is not what was written"))?;
    let decoded = Commit::decode(&payload).filter(|(commit, _)| commit.id == entry.id);
    let (commit, own) =
        decoded.ok_or_else(|| damaged(path, entry.offset, "record does not read"))?;
    let own = payload.slice_ref(own);
    Ok((commit, own))
}

fn damaged(path: &std::path::Path, offset: u64, what: &'static str) -> LogError {
    LogError::Damaged {
        path: path.to_path_buf(),
        offset,
        what,
    }
}
