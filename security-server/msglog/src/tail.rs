//! The segment being written, and how it comes to be, ends and is mended.

use std::io::{ErrorKind, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::LogError;
use crate::fs::{FsFile, SyncSite};
use crate::segment::{FrameKind, Group, HEADER_BYTES, SegmentHeader, SegmentKey};
use crate::store::{LiveIndex, Segment, Source, Store, add};

/// Where the next batch goes.
#[derive(Debug)]
pub(crate) enum Tail {
    /// A failed write left bytes after the end that must go first.
    Broken(Writer),
    /// A segment that takes the next batch at its end.
    Open(Writer),
    /// The segment with this number has yet to be made.
    Wanted(u64),
}

/// A segment being written.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) key: SegmentKey,
    pub(crate) file: Arc<dyn FsFile>,
    pub(crate) path: PathBuf,
    /// End of what is durable.
    pub(crate) end: u64,
    /// Batches written to it.
    pub(crate) batches: u64,
}

impl Tail {
    pub(crate) fn end(&self) -> Option<u64> {
        match self {
            Self::Broken(writer) | Self::Open(writer) => Some(writer.end),
            Self::Wanted(_) => None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// The segment, mended or made if need be. This is where a log that had no room finds it again.
    pub(crate) fn ready(&mut self, store: &Store, first_id: u64) -> Result<&Writer, LogError> {
        match self {
            Self::Broken(writer) => {
                let writer = writer.clone();
                mend(&writer, store)?;
                *self = Self::Open(writer);
            }
            Self::Open(_) => {}
            Self::Wanted(number) => *self = Self::Open(make(store, *number, first_id)?),
        }
        match self {
            Self::Open(writer) => Ok(writer),
            Self::Broken(_) | Self::Wanted(_) => Err(LogError::Closed),
        }
    }

    /// Writes a group at the end and makes it durable.
    pub(crate) fn write(&mut self, store: &Store, group: &Group) -> Result<(), LogError> {
        let Self::Open(writer) = self else {
            return Err(LogError::Closed);
        };
        group
            .write(writer.file.as_ref())
            .map_err(LogError::at("write", &writer.path))?;
        writer
            .file
            .sync_data(SyncSite::Batch)
            .map_err(LogError::at("sync", &writer.path))?;
        add(&store.counters.syncs, 1);
        writer.end = group.end();
        writer.batches = writer.batches.saturating_add(1);
        Ok(())
    }

    /// Cuts off what a failed write may have left. Tells whether it is gone for good.
    pub(crate) fn cut_off(&mut self, store: &Store) -> bool {
        let writer = match self {
            Self::Broken(writer) | Self::Open(writer) => writer.clone(),
            Self::Wanted(_) => return true,
        };
        let mended = mend(&writer, store);
        if let Err(error) = &mended {
            tracing::error!(%error, "message log takes no records until its last segment is mended");
        }
        *self = if mended.is_ok() {
            Self::Open(writer)
        } else {
            Self::Broken(writer)
        };
        mended.is_ok()
    }

    /// Ends the segment durably; the next one has yet to be made.
    pub(crate) fn seal(&mut self, store: &Store) -> Result<(SegmentKey, u64), LogError> {
        let Self::Open(writer) = self else {
            return Err(LogError::Closed);
        };
        let segment = store
            .state()
            .segments
            .get(&writer.key.number)
            .map(|it| it.source.count());
        let records = segment.unwrap_or_default();
        let mut group = Group::new(writer.key, writer.end);
        group.frame(FrameKind::Seal, &records.to_le_bytes(), &[]);
        let length = group.end();
        let failed = |operation| LogError::at(operation, &writer.path);
        let sealed = group.write(writer.file.as_ref()).map_err(failed("write"));
        let sealed = sealed.and_then(|()| writer.file.set_len(length).map_err(failed("end")));
        let sealed = sealed.and_then(|()| {
            writer
                .file
                .sync_data(SyncSite::SegmentSeal)
                .map_err(failed("sync"))
        });
        let key = writer.key;
        if let Err(error) = sealed {
            *self = Self::Broken(writer.clone());
            return Err(error);
        }
        add(&store.counters.syncs, 1);
        *self = Self::Wanted(key.number.saturating_add(1));
        Ok((key, length))
    }
}

/// Makes the file what it was before a failed write. Its length is reserved again, where there is room for it.
fn mend(writer: &Writer, store: &Store) -> Result<(), LogError> {
    let failed = |operation| LogError::at(operation, &writer.path);
    writer.file.set_len(writer.end).map_err(failed("mend"))?;
    let _ = writer.file.allocate(store.config.segment_bytes);
    writer
        .file
        .sync_data(SyncSite::RepairedTail)
        .map_err(failed("mend"))?;
    add(&store.counters.syncs, 1);
    Ok(())
}

/// Makes a segment: reserved, its header durable, then its name. A segment without a valid header never held a record.
fn make(store: &Store, number: u64, first_id: u64) -> Result<Writer, LogError> {
    let path = store.layout.segment(number);
    let result = try_make(store, number, first_id, &path);
    if result.is_err() {
        let _ = store.fs.remove(&path);
    }
    result
}

fn try_make(
    store: &Store,
    number: u64,
    first_id: u64,
    path: &std::path::Path,
) -> Result<Writer, LogError> {
    let failed = |operation| LogError::at(operation, path);
    let file = match store.fs.create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // Left by an attempt that failed before anything was written to it.
            store.fs.remove(path).map_err(failed("remove"))?;
            store.fs.create(path)
        }
        other => other,
    };
    let file = file.map_err(failed("create"))?;
    let header = SegmentHeader {
        key: SegmentKey {
            number,
            salt: store.fs.salt(),
        },
        first_id,
    };
    file.allocate(store.config.segment_bytes)
        .map_err(failed("reserve"))?;
    file.write_at(0, &mut [IoSlice::new(&header.encode())])
        .map_err(failed("write"))?;
    file.sync_data(SyncSite::SegmentHeader)
        .map_err(failed("sync"))?;
    let dir = store.layout.dir();
    store
        .fs
        .sync_dir(dir, SyncSite::SegmentDir)
        .map_err(LogError::at("sync", dir))?;
    add(&store.counters.syncs, 2);
    let source = Source::Memory {
        index: LiveIndex::default(),
        file: Arc::clone(&file),
    };
    store.state_mut().segments.insert(
        number,
        Segment {
            key: header.key,
            first_id,
            source,
        },
    );
    let path = path.to_path_buf();
    Ok(Writer {
        key: header.key,
        file,
        path,
        end: HEADER_BYTES,
        batches: 0,
    })
}
