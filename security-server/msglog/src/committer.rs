//! The one thread that writes segments: takes what waits, writes it at once, syncs once, then answers all.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::append::{FinishedBody, Stays};
use crate::commit::{self, Body, ChainsAt, Commit, Place, StampFrame};
use crate::error::LogError;
use crate::fs::SyncSite;
use crate::index::{Entry, StampAt};
use crate::num::{narrow, wide};
use crate::record::{RecordHead, RecordId, RecordParts, StampBatch, StampId};
use crate::segment::{FRAME_HEADER_BYTES, FrameKind, Group, HEADER_BYTES};
use crate::share::{Recurs, Shared};
use crate::store::{Chore, LiveIndex, Source, Store, add, subtract};
use crate::tail::Tail;

/// Answer to who asked for something.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, LogError>>;

/// What the committer is asked to do.
#[derive(Debug)]
pub(crate) enum Job {
    Close(oneshot::Sender<()>),
    Commit(Box<CommitJob>),
    Drop {
        id: RecordId,
        reply: Reply<()>,
    },
    Probe(Reply<()>),
    Seal(Reply<()>),
    Stamp {
        batch: Box<StampBatch>,
        reply: Reply<StampId>,
    },
}

/// A record whose bodies are complete; large ones are durable already.
#[derive(Debug)]
pub(crate) struct CommitJob {
    pub(crate) head: RecordHead,
    pub(crate) parts: RecordParts,
    pub(crate) bodies: Vec<FinishedBody>,
    pub(crate) reply: Reply<(RecordId, Vec<FinishedBody>)>,
}

#[derive(Debug)]
pub(crate) struct Committer {
    store: Arc<Store>,
    queue: mpsc::Receiver<Job>,
    tail: Tail,
    next_id: u64,
    shared: Shared,
    batch: Batch,
    chores: Option<JoinHandle<()>>,
}

/// What has been laid out and waits for the next write.
#[derive(Debug, Default)]
struct Batch {
    group: Option<Group>,
    waiting: Vec<Waiting>,
}

/// Whom to tell, and what to change in the index, once a batch is durable.
#[derive(Debug)]
enum Waiting {
    Commit {
        entry: Entry,
        bodies: Vec<FinishedBody>,
        reply: Reply<(RecordId, Vec<FinishedBody>)>,
    },
    Drop {
        id: RecordId,
        files: Vec<u64>,
        chores: Vec<Chore>,
        reply: Reply<()>,
    },
    Stamp {
        at: StampAt,
        records: Vec<RecordId>,
        reply: Reply<StampId>,
    },
}

impl Committer {
    /// Starts the committer's thread, and the one for chores if the configuration wants it.
    pub(crate) fn spawn(
        store: Arc<Store>,
        queue: mpsc::Receiver<Job>,
        tail: Tail,
        next_id: u64,
    ) -> std::io::Result<()> {
        let mut chores = None;
        if store.config.chores_thread {
            let (sender, receiver) = sync_channel(CHORES);
            let for_thread = Arc::clone(&store);
            let thread = std::thread::Builder::new().name("msglog-chores".to_owned());
            chores = Some(thread.spawn(move || do_chores(&for_thread, &receiver))?);
            store.set_chores(Some(sender));
        }
        let (shared, batch) = (Shared::default(), Batch::default());
        let committer = Self {
            store,
            queue,
            tail,
            next_id,
            shared,
            batch,
            chores,
        };
        std::thread::Builder::new()
            .name("msglog-commit".to_owned())
            .spawn(move || committer.run())?;
        Ok(())
    }

    fn run(mut self) {
        let mut closing = None;
        while let Some(job) = self.queue.blocking_recv() {
            self.take(job, &mut closing);
            let mut taken = 1_usize;
            let limit = self.store.config.batch_bytes;
            while taken < self.store.config.batch_records && self.batch.bytes() < limit {
                let Ok(job) = self.queue.try_recv() else {
                    break;
                };
                self.take(job, &mut closing);
                taken = taken.saturating_add(1);
            }
            self.flush();
        }
        self.store.set_chores(None);
        if let Some(thread) = self.chores.take() {
            // A panic there has been reported by its own thread; nothing depends on its result.
            let _ = thread.join();
        }
        self.store.unlock();
        if let Some(reply) = closing {
            let _ = reply.send(());
        }
    }

    fn take(&mut self, job: Job, closing: &mut Option<oneshot::Sender<()>>) {
        subtract(&self.store.counters.waiting);
        match job {
            Job::Close(reply) => {
                self.queue.close();
                *closing = Some(reply);
            }
            Job::Commit(job) => self.commit(*job),
            Job::Drop { id, reply } => self.drop_bodies(id, reply),
            Job::Probe(reply) => {
                self.flush();
                let result = self.tail.ready(&self.store, self.next_id).map(|_| ());
                let _ = reply.send(result);
            }
            Job::Seal(reply) => drop(reply.send(self.seal())),
            Job::Stamp { batch, reply } => self.stamp(*batch, reply),
        }
    }

    fn commit(&mut self, job: CommitJob) {
        let CommitJob {
            head,
            parts,
            bodies,
            reply,
        } = job;
        let chains = [&parts.hash_chain_result, &parts.hash_chain];
        let lengths = [&parts.message, &parts.signature]
            .into_iter()
            .chain(chains.into_iter().flatten());
        let size = lengths.fold(ROOM_BYTES, |sum, part| sum.saturating_add(wide(part.len())));
        let size = bodies
            .iter()
            .fold(size, |sum, body| sum.saturating_add(body.inline_bytes()));
        if let Err(error) = self.make_room(size) {
            let _ = reply.send(Err(error));
            return;
        }
        let Some(group) = self.batch.group.as_mut() else {
            return;
        };

        let mut stored = Vec::with_capacity(bodies.len());
        for body in &bodies {
            let (place, crc) = match body.stays() {
                Stays::Digest => (Place::Nowhere, 0),
                Stays::File(number) => (Place::File { number }, body.crc),
                Stays::Inline(chunks) => {
                    let (offset, _) = group.summed_frame(FrameKind::Body, &[], chunks, body.crc);
                    (Place::Frame { offset }, body.crc)
                }
            };
            let (index, length, sha512) = (body.index, body.length, body.sha512);
            stored.push(Body {
                index,
                length,
                sha512,
                crc,
                place,
            });
        }
        // A signature under a hash chain stands under other messages too; one without has only its certificates and
        // OCSP responses in common with others.
        let whole = if parts.hash_chain_result.is_some() {
            Recurs::Whole
        } else {
            Recurs::InParts
        };
        let mut own = Vec::new();
        let mut place = |part: &Bytes, recurs| self.shared.place(part, recurs, group, &mut own);
        let commit = Commit {
            id: self.next_id,
            head,
            message_sha512: parts.message_sha512,
            message: place(&parts.message, Recurs::Never),
            signature: place(&parts.signature, whole),
            hash_chain_result: parts
                .hash_chain_result
                .as_ref()
                .map(|it| place(it, Recurs::Whole)),
            hash_chain: parts.hash_chain.as_ref().map(|it| place(it, Recurs::Never)),
            bodies: stored,
        };
        self.next_id = self.next_id.saturating_add(1);
        let (offset, length) = group.frame(FrameKind::Commit, &commit.encode(), &own);
        let entry = Entry::new(&commit, offset, length);
        self.batch.waiting.push(Waiting::Commit {
            entry,
            bodies,
            reply,
        });
    }

    fn drop_bodies(&mut self, id: RecordId, reply: Reply<()>) {
        let (chores, files) = match crate::read::body_chores(&self.store, id) {
            Ok(Some(found)) => found,
            Ok(None) => {
                let _ = reply.send(Ok(()));
                return;
            }
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        if let Err(error) = self.make_room(ROOM_BYTES) {
            let _ = reply.send(Err(error));
            return;
        }
        let Some(group) = self.batch.group.as_mut() else {
            return;
        };
        group.frame(FrameKind::Drop, &commit::encode_drop(id.get(), &files), &[]);
        self.batch.waiting.push(Waiting::Drop {
            id,
            files,
            chores,
            reply,
        });
    }

    /// A stamp has a batch to itself, so that none sees another half done.
    fn stamp(&mut self, stamp: StampBatch, reply: Reply<StampId>) {
        self.flush();
        let frames = wide(stamp.chains.frames()).saturating_mul(ROOM_BYTES / 16);
        let size = [stamp.token.len(), stamp.hash_chain_result.len()]
            .into_iter()
            .fold(ROOM_BYTES, |sum, part| sum.saturating_add(wide(part)))
            .saturating_add(stamp.chains.bytes())
            .saturating_add(frames);
        let ready = self.check_stamp(&stamp).and_then(|()| self.make_room(size));
        if let Err(error) = ready {
            let _ = reply.send(Err(error));
            return;
        }
        let Some(group) = self.batch.group.as_mut() else {
            return;
        };

        let (records, packed) = stamp.chains.packed();
        let mut chains = Vec::with_capacity(packed.len());
        for frame in packed {
            let (offset, length) = group.frame(FrameKind::StampChains, &[], &[frame.bytes]);
            chains.push(ChainsAt {
                offset,
                length,
                first: frame.first.get(),
                last: frame.last.get(),
            });
        }
        let frame = StampFrame {
            id: self.next_id,
            token: stamp.token,
            hash_chain_result: stamp.hash_chain_result,
            chains,
        };
        self.next_id = self.next_id.saturating_add(1);
        let (offset, length) = group.frame(FrameKind::Stamp, &frame.encode(), &[]);
        let ends = records.first().zip(records.last());
        let (first, last) = ends
            .map(|(first, last)| (first.get(), last.get()))
            .unwrap_or_default();
        let at = StampAt {
            id: frame.id,
            offset,
            length,
            first,
            last,
        };
        self.batch
            .waiting
            .push(Waiting::Stamp { at, records, reply });
        self.flush();
    }

    fn check_stamp(&self, stamp: &StampBatch) -> Result<(), LogError> {
        if stamp.chains.ids().is_empty() {
            return Err(LogError::EmptyStamp);
        }
        let longest = stamp.chains.longest();
        let max = self.store.config.part_bytes;
        for (part, length) in [
            ("token", stamp.token.len()),
            ("hash chain result", stamp.hash_chain_result.len()),
            ("hash chain", longest),
        ] {
            if length > max {
                return Err(LogError::TooLarge {
                    part,
                    length: wide(length),
                    max: wide(max),
                });
            }
        }
        let state = self.store.state();
        let mut previous = None;
        for id in stamp.chains.ids() {
            if previous == Some(*id) {
                return Err(LogError::AlreadyStamped { id: *id });
            }
            if previous > Some(*id) {
                return Err(LogError::StampOrder { id: *id });
            }
            previous = Some(*id);
            if !state.unstamped.contains(id.get()) {
                drop(state);
                let known = crate::read::entry(&self.store, *id)?.is_some();
                return Err(if known {
                    LogError::AlreadyStamped { id: *id }
                } else {
                    LogError::UnknownRecord { id: *id }
                });
            }
        }
        Ok(())
    }

    /// Makes sure that a segment is there and that `size` more bytes fit, ending the segment if they do not.
    fn make_room(&mut self, size: u64) -> Result<(), LogError> {
        let end = self
            .batch
            .group
            .as_ref()
            .map(Group::end)
            .or_else(|| self.tail.end())
            .unwrap_or(HEADER_BYTES);
        let limit = self.store.config.segment_bytes;
        if end > HEADER_BYTES.saturating_add(2 * FRAME_HEADER_BYTES)
            && end.saturating_add(size) > limit
        {
            self.flush();
            if self.tail.is_open() {
                self.roll()?;
            }
        }
        if self.batch.group.is_none() {
            let writer = self
                .tail
                .ready(&self.store, self.next_id)
                .inspect_err(|_| add(&self.store.counters.failures, 1))?;
            let mut group = Group::new(writer.key, writer.end);
            group.frame(FrameKind::Batch, &writer.batches.to_le_bytes(), &[]);
            self.batch.group = Some(group);
        }
        Ok(())
    }

    /// Ends the active segment if there is a record in it.
    fn seal(&mut self) -> Result<(), LogError> {
        self.flush();
        let records = {
            let state = self.store.state();
            let active = state.segments.values().next_back();
            active.map_or(0, |it| it.source.count())
        };
        if self.tail.is_open() && records > 0 {
            self.roll()?;
        }
        Ok(())
    }

    /// Ends the active segment and hands its index to be written.
    fn roll(&mut self) -> Result<(), LogError> {
        self.shared.clear();
        let (key, length) = self.tail.seal(&self.store)?;
        let index = self
            .store
            .state()
            .segments
            .get(&key.number)
            .map(|it| it.source.clone());
        if let Some(Source::Memory { index, .. }) = index {
            self.store.chore(Chore::WriteIndex { key, length, index });
        }
        Ok(())
    }

    /// Writes what has been laid out, syncs once, changes the index and answers.
    fn flush(&mut self) {
        let Batch { group, waiting } = std::mem::take(&mut self.batch);
        let Some(group) = group.filter(|_| !waiting.is_empty()) else {
            return;
        };
        let result = self.write(&group, &waiting);
        let Err(error) = result else {
            self.apply(waiting, group.length());
            return;
        };
        add(&self.store.counters.failures, 1);
        self.shared.clear();
        let gone = self.tail.cut_off(&self.store);
        for waiting in waiting {
            match waiting {
                Waiting::Commit {
                    mut bodies, reply, ..
                } => {
                    // Until the cut is durable the record may come back after a crash, and would miss its bodies.
                    bodies
                        .iter_mut()
                        .filter(|_| !gone)
                        .for_each(FinishedBody::keep);
                    let _ = reply.send(Err(error.clone()));
                }
                Waiting::Drop { reply, .. } => drop(reply.send(Err(error.clone()))),
                Waiting::Stamp { reply, .. } => drop(reply.send(Err(error.clone()))),
            }
        }
    }

    fn write(&mut self, group: &Group, waiting: &[Waiting]) -> Result<(), LogError> {
        let has_file = |it: &Waiting| match it {
            Waiting::Commit { bodies, .. } => {
                bodies.iter().any(|body| body.file_number().is_some())
            }
            Waiting::Drop { .. } | Waiting::Stamp { .. } => false,
        };
        if waiting.iter().any(has_file) {
            let dir = self.store.layout.bodies();
            let synced = self.store.fs.sync_dir(dir, SyncSite::BodyDir);
            synced.map_err(LogError::at("sync", dir))?;
            add(&self.store.counters.syncs, 1);
        }
        self.tail.write(&self.store, group)
    }

    fn apply(&mut self, waiting: Vec<Waiting>, bytes: u64) {
        let counters = &self.store.counters;
        add(&counters.batches, 1);
        add(&counters.bytes, bytes);
        let mut guard = self.store.state_mut();
        let state = &mut *guard;
        let active = state.segments.last_key_value();
        let live = match active.map(|(_, it)| &it.source) {
            Some(Source::Memory { index, .. }) => index.clone(),
            Some(Source::File(_)) | None => LiveIndex::default(),
        };
        let mut index = live.write();
        let mut answers: Vec<Box<dyn FnOnce()>> = Vec::with_capacity(waiting.len());
        for waiting in waiting {
            match waiting {
                Waiting::Commit {
                    entry,
                    mut bodies,
                    reply,
                } => {
                    index.push(entry);
                    bodies
                        .iter()
                        .filter_map(FinishedBody::file_number)
                        .for_each(|it| index.sets.bodies.insert(it));
                    state.unstamped.insert(entry.id);
                    add(&counters.commits, 1);
                    bodies.iter_mut().for_each(FinishedBody::keep);
                    answers.push(Box::new(move || {
                        drop(reply.send(Ok((RecordId::new(entry.id), bodies))))
                    }));
                }
                Waiting::Drop {
                    id,
                    files,
                    chores,
                    reply,
                } => {
                    files
                        .into_iter()
                        .for_each(|number| index.sets.dropped_bodies.insert(number));
                    index.sets.dropped.insert(id.get());
                    state.dropped.insert(id.get());
                    let store = Arc::clone(&self.store);
                    answers.push(Box::new(move || {
                        chores.into_iter().for_each(|chore| store.chore(chore));
                        let _ = reply.send(Ok(()));
                    }));
                }
                Waiting::Stamp { at, records, reply } => {
                    index.stamps.push(at);
                    for id in &records {
                        index.sets.stamped.insert(id.get());
                        state.unstamped.remove(id.get());
                    }
                    add(&counters.stamped, wide(records.len()));
                    answers.push(Box::new(move || drop(reply.send(Ok(StampId::new(at.id))))));
                }
            }
        }
        // Answers go out when readers can see what they tell of.
        drop(index);
        drop(guard);
        for answer in answers {
            answer();
        }
    }
}

impl Batch {
    fn bytes(&self) -> usize {
        self.group
            .as_ref()
            .map(|it| narrow(it.length()))
            .unwrap_or_default()
    }
}

fn do_chores(store: &Store, queue: &Receiver<Chore>) {
    while let Ok(chore) = queue.recv() {
        store.do_chore(chore);
    }
}

/// Chores that may wait before whoever has one more does it himself.
const CHORES: usize = 1024;
/// Description of a record and frame headers, taken generously: a segment may end a little early.
const ROOM_BYTES: u64 = 2048;
