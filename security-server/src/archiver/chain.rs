//! One archive after the other: which records, in which order, into which file.

use std::{collections::BTreeMap, io};

use jibek_evidence::{
    archive::{ArchiveWriter, LinkDigest, Previous, WrittenArchive},
    container::{Direction as EvidenceDirection, WriteError, container_name, write_container_to},
};
use jibek_msglog::{BodyInfo, Direction, LogError, Query, Record, RecordId};
use jibek_protocol::id::ClientId;

use super::{
    ArchiveError, Archiver, Grouping,
    files::{Target, failed},
    log_error,
    state::{Last, Pending, Progress, State, Window},
};
use crate::asic::container_parts;

/// Records of a window, by group.
type Plan = BTreeMap<String, Vec<u64>>;

/// What came of writing one archive.
enum Written {
    /// It is complete, not yet named: what it holds, bytes of containers.
    Archive(WrittenArchive, u64),
    /// None of the records could be read.
    Nothing,
    /// While a record was copied its bytes ended; the archive is spoiled.
    Spoiled,
}

impl Archiver {
    /// Archives everything that has a stamp now. What comes meanwhile waits for the next run.
    pub(super) fn archive_all(&self) -> Result<(), ArchiveError> {
        if self.settings.directory.is_none() {
            return Ok(());
        }
        let mut guard = self.progress();
        let result = self.archive_through(self.open(&mut guard)?);
        if result.is_err() {
            // Perhaps half of a step is done: the next run reads it anew.
            *guard = None;
        }
        result
    }

    fn archive_through(&self, state: &mut State) -> Result<(), ArchiveError> {
        let through = self.log.stamped_through().get();
        while self.archive_window(state, through)? {}
        self.see_oldest(state.progress.archived)
    }

    /// Archives the next records, at most up to `through`; tells whether there were any.
    fn archive_window(&self, state: &mut State, through: u64) -> Result<bool, ArchiveError> {
        let query = Query {
            after: Some(RecordId::new(state.progress.archived)),
            limit: self.settings.window.max(1),
            ..Query::default()
        };
        let end = state
            .progress
            .window
            .as_ref()
            .map_or(through, |it| it.through);
        let mut ids: Vec<u64> = self
            .log
            .find(&query)
            .map_err(log_error)?
            .into_iter()
            .map(RecordId::get)
            .collect();
        ids.retain(|id| *id <= end);
        let Some(last) = ids.last().copied() else {
            if state.progress.window.is_some() {
                // Its records are gone with an older copy of the log.
                let progress = Progress {
                    window: None,
                    ..state.progress.clone()
                };
                self.files.advance(state, progress)?;
            }
            return Ok(false);
        };
        let window = state.progress.window.clone().unwrap_or(Window {
            through: last,
            grouping: self.settings.grouping,
            done: None,
        });
        let mut plan = self.plan(&window, ids)?;
        if let Some((group, id)) = &window.done {
            plan.retain(|name, _| name >= group);
            if let Some(ids) = plan.get_mut(group) {
                ids.retain(|it| it > id);
            }
        }
        state.progress.window = Some(window);
        for (group, ids) in plan {
            let mut rest = ids.as_slice();
            while !rest.is_empty() {
                rest = self.archive_some(state, &group, rest)?;
            }
        }
        let progress = Progress {
            archived: last,
            window: None,
            ..state.progress.clone()
        };
        self.files.advance(state, progress)?;
        Ok(true)
    }

    /// Which of the records belong together.
    fn plan(&self, window: &Window, ids: Vec<u64>) -> Result<Plan, ArchiveError> {
        if window.grouping == Grouping::None {
            return Ok(Plan::from([(String::new(), ids)]));
        }
        let mut plan = Plan::new();
        for id in ids {
            self.check_stop()?;
            let group = match self.log.read(RecordId::new(id)) {
                Ok(Some(record)) => group(&record.head.local_party, window.grouping),
                // Told when its turn comes.
                Ok(None) | Err(LogError::Damaged { .. }) => String::new(),
                Err(error) => return Err(log_error(error)),
            };
            plan.entry(group).or_default().push(id);
        }
        Ok(plan)
    }

    /// Writes one archive with the first of the records and tells which are left.
    fn archive_some<'a>(
        &self,
        state: &mut State,
        group: &str,
        ids: &'a [u64],
    ) -> Result<&'a [u64], ArchiveError> {
        let Some(first) = ids.first() else {
            return Ok(ids);
        };
        let previous = match state.progress.last.get(group) {
            None => None,
            Some(last) => Some(previous(last).ok_or_else(|| ArchiveError::State {
                path: self.settings.state_dir.clone(),
                reason: format!("`{}` is no link", last.digest),
            })?),
        };
        let (draft, target) = self.files.create(*first)?;
        let mut progress = state.progress.clone();
        let mut rest = ids;
        let archive = ArchiveWriter::new(target, previous.as_ref());
        let written = self
            .write(archive, &mut progress, &mut rest)
            .inspect_err(|_| self.files.discard(&draft))?;
        let done = ids.len().saturating_sub(rest.len());
        let last = ids.get(done.saturating_sub(1)).copied();
        if let Some(window) = &mut progress.window
            && let Some(last) = last.filter(|_| done > 0)
        {
            window.done = Some((group.to_owned(), last));
        }
        match written {
            Written::Archive(archive, bytes) => {
                let is_encrypted = !self.settings.recipients.is_empty();
                let name = archive.name(Some(group).filter(|it| !it.is_empty()), is_encrypted);
                let last = Last {
                    digest: archive.last.to_string(),
                    name: name.clone(),
                };
                progress.last.insert(group.to_owned(), last);
                let pending = Pending {
                    draft,
                    name: name.clone(),
                    after: progress,
                };
                self.files.publish(state, pending)?;
                let mut status = self.status_mut();
                status.files = status.files.saturating_add(1);
                status.bytes = status.bytes.saturating_add(bytes);
                let records = u64::try_from(archive.containers).unwrap_or(u64::MAX);
                status.records = status.records.saturating_add(records);
                tracing::info!(name, records, bytes, "archived");
            }
            Written::Nothing | Written::Spoiled => {
                self.files.discard(&draft);
                self.files.advance(state, progress)?;
            }
        }
        let unreadable = u64::try_from(state.progress.unreadable.len()).unwrap_or(u64::MAX);
        self.status_mut().unreadable = unreadable;
        Ok(rest)
    }

    /// Fills an archive and closes it. Records that do not read are noted in `progress`; `rest` keeps what is left.
    fn write(
        &self,
        mut archive: ArchiveWriter<Target>,
        progress: &mut Progress,
        rest: &mut &[u64],
    ) -> Result<Written, ArchiveError> {
        let from = *rest;
        while let Some((id, after)) = rest.split_first() {
            self.check_stop()?;
            if progress.unreadable.contains(id) {
                *rest = after;
                continue;
            }
            match self.add(&mut archive, RecordId::new(*id)) {
                Ok(true) => {}
                Ok(false) => note_unreadable(progress, *id)?,
                Err(ArchiveError::Container {
                    source: WriteError::Read { .. },
                    ..
                }) => {
                    note_unreadable(progress, *id)?;
                    // Begin again without it.
                    *rest = from;
                    return Ok(Written::Spoiled);
                }
                Err(error) => return Err(error),
            }
            *rest = after;
            if archive.container_bytes() > self.settings.max_file_bytes {
                break;
            }
        }
        let bytes = archive.container_bytes();
        let ended = archive
            .finish()
            .map_err(failed("write", &self.settings.state_dir));
        let Some((target, written)) = ended? else {
            return Ok(Written::Nothing);
        };
        self.files.close(target)?;
        Ok(Written::Archive(written, bytes))
    }

    /// Adds one record; `false` if it does not read.
    fn add(&self, archive: &mut ArchiveWriter<Target>, id: RecordId) -> Result<bool, ArchiveError> {
        let Some(record) = readable(self.log.read(id))? else {
            return Ok(false);
        };
        let Some(parts) = container_parts(&record) else {
            // It has a stamp: only such records are archived.
            return Ok(false);
        };
        let mut bytes = parts_bytes(&record);
        let mut bodies = Vec::new();
        for body in record.bodies.iter().filter(|body| body.kept) {
            match readable(self.log.body(id, body.index))? {
                Some(source) => {
                    bytes = bytes.saturating_add(source.len());
                    bodies.push(source.into_reader());
                }
                None => {
                    // Dropped this moment, or damaged.
                    let now = readable(self.log.read(id))?;
                    let is_kept = |it: &BodyInfo| it.index == body.index && it.kept;
                    if now.is_none_or(|it| it.bodies.iter().any(is_kept)) {
                        return Ok(false);
                    }
                }
            }
        }
        let direction = match record.head.direction {
            Direction::Request => EvidenceDirection::Request,
            Direction::Response => EvidenceDirection::Response,
        };
        let name = container_name(&record.head.message_id, direction, id.get());
        archive
            .add(&name, parts.time, bytes, |entry| {
                write_container_to(entry, &parts, bodies)
                    .map(drop)
                    .map_err(AddError::Container)
            })
            .map_err(|error| match error {
                AddError::Container(WriteError::Write(source)) | AddError::Target(source) => {
                    failed("write", &self.settings.state_dir)(source)
                }
                AddError::Container(source) => ArchiveError::Container { id, source },
            })?;
        Ok(true)
    }
}

/// Why a container did not get into the archive.
enum AddError {
    Container(WriteError),
    Target(io::Error),
}

impl From<io::Error> for AddError {
    fn from(source: io::Error) -> Self {
        Self::Target(source)
    }
}

/// What is damaged does not read and is not an error of ours.
fn readable<T>(read: Result<Option<T>, LogError>) -> Result<Option<T>, ArchiveError> {
    match read {
        Err(LogError::Damaged { .. }) => Ok(None),
        read => read.map_err(log_error),
    }
}

fn note_unreadable(progress: &mut Progress, id: u64) -> Result<(), ArchiveError> {
    if progress.unreadable.len() >= MOST_UNREADABLE {
        return Err(ArchiveError::Unreadable {
            most: MOST_UNREADABLE,
        });
    }
    if progress.unreadable.insert(id) {
        tracing::error!(
            record = id,
            "a record does not read and is in no archive; its segment stays in the log"
        );
    }
    Ok(())
}

fn previous(last: &Last) -> Option<Previous> {
    let digest: LinkDigest = last.digest.parse().ok()?;
    Some(Previous {
        digest,
        name: last.name.clone(),
    })
}

fn group(party: &ClientId, grouping: Grouping) -> String {
    let member = party.member();
    let mut name = format!("{}/{}/{}", member.instance(), member.class(), member.code());
    if grouping == Grouping::Subsystem
        && let Some(subsystem) = party.subsystem()
    {
        name.push('/');
        name.push_str(subsystem);
    }
    name
}

/// Bytes of everything but the bodies, about.
fn parts_bytes(record: &Record) -> u64 {
    let parts = &record.parts;
    let length = parts.message.len().saturating_add(parts.signature.len());
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Records that do not read and are listed one by one.
const MOST_UNREADABLE: usize = 1000;
