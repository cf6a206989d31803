//! Puts containers together, one record in memory at a time. Runs on the blocking pool.

use std::{
    io::{self, Cursor, Seek, Write},
    path::Path,
};

use bytes::Bytes;
use jibek_conf::snapshot::Snapshot;
use jibek_evidence::container::{
    ContainerParts, Direction as EvidenceDirection, WriteError, container_name, encoded_query_id,
    write_container_to,
};
use jibek_msglog::{Direction, LogError, MessageLog, Record, RecordId};
use tempfile::{SpooledTempFile, spooled_tempfile_in};
use time::OffsetDateTime;
use zip::{CompressionMethod, DateTime, ZipWriter, result::ZipError, write::SimpleFileOptions};

use super::AsicRequest;

/// An answer ready to be sent.
#[derive(Debug)]
pub(super) struct Packed {
    /// The name that the client's file shall get.
    pub(super) name: String,
    /// The bytes, in memory or in a file without name.
    pub(super) file: SpooledTempFile,
}

/// Why a container could not be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The container's writer refused.
    #[error("the container cannot be written")]
    Container {
        /// Why.
        source: WriteError,
    },
    /// All records left the log meanwhile.
    #[error("the records have left the log")]
    Gone,
    /// The log could not be read.
    #[error("the log cannot be read")]
    Log {
        /// Why.
        #[from]
        source: LogError,
    },
    /// The spool file failed.
    #[error("the spool file failed")]
    Spool {
        /// Why.
        source: io::Error,
    },
    /// The message id was used over and over.
    #[error("more than {most} records have this message id")]
    TooMany {
        /// The bound.
        most: usize,
    },
    /// The outer archive failed.
    #[error("the archive cannot be written")]
    Zip {
        /// Why.
        source: ZipError,
    },
}

/// Packs the first of the records as a bare container.
pub(super) fn one(
    log: &MessageLog,
    ids: &[RecordId],
    wanted: &AsicRequest,
    spool_dir: &Path,
) -> Result<Packed, PackError> {
    for &id in ids {
        if let Some((name, file)) = container(log, id, wanted, spool_dir)? {
            return Ok(Packed { name, file });
        }
    }
    Err(PackError::Gone)
}

/// Packs all records, each in a container of its own, into one archive without compression.
pub(super) fn all(
    log: &MessageLog,
    ids: &[RecordId],
    wanted: &AsicRequest,
    spool_dir: &Path,
) -> Result<Packed, PackError> {
    let mut zip = ZipWriter::new(spool_file(spool_dir)?);
    let zip_error = |source| PackError::Zip { source };
    for &id in ids {
        // A record that came, or left, since the stamps were looked at has no place in this answer.
        let Some((name, mut file)) = container(log, id, wanted, spool_dir)? else {
            continue;
        };
        let length = file
            .stream_position()
            .map_err(|source| PackError::Spool { source })?;
        let options = stored(DateTime::default()).large_file(length >= u64::from(u32::MAX));
        zip.start_file(name, options).map_err(zip_error)?;
        file.rewind()
            .map_err(|source| PackError::Spool { source })?;
        io::copy(&mut file, &mut zip).map_err(|source| PackError::Spool { source })?;
    }
    let file = zip.finish().map_err(zip_error)?;
    let direction = match wanted.direction {
        Some(Direction::Request) => "-request",
        Some(Direction::Response) => "-response",
        None => "",
    };
    Ok(Packed {
        name: format!("{}{direction}.zip", encoded_query_id(&wanted.query_id)),
        file,
    })
}

/// Packs shared parameters of every instance in the layout that verifiers read: no signatures, no private parameters.
pub(super) fn verification_configuration(conf: &Snapshot) -> Result<Bytes, PackError> {
    let zip_error = |source| PackError::Zip { source };
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in conf.verification_files() {
        zip.start_file(format!("verificationconf/{path}"), deflated())
            .map_err(zip_error)?;
        zip.write_all(&content)
            .map_err(|source| PackError::Spool { source })?;
    }
    Ok(zip.finish().map_err(zip_error)?.into_inner().into())
}

/// Makes a file that stays in memory while it is small, and has no name when it is not.
fn spool_file(spool_dir: &Path) -> Result<SpooledTempFile, PackError> {
    std::fs::create_dir_all(spool_dir).map_err(|source| PackError::Spool { source })?;
    Ok(spooled_tempfile_in(MEMORY_BYTES, spool_dir))
}

/// Writes one record's container into a file of its own; the file's position is then its end.
fn container(
    log: &MessageLog,
    id: RecordId,
    wanted: &AsicRequest,
    spool_dir: &Path,
) -> Result<Option<(String, SpooledTempFile)>, PackError> {
    let log_error = |source| PackError::Log { source };
    let Some(record) = log.read(id).map_err(log_error)? else {
        return Ok(None);
    };
    let Some(parts) = container_parts(&record) else {
        return Ok(None);
    };
    let mut bodies = Vec::new();
    for body in record.bodies.iter().filter(|body| body.kept) {
        if let Some(source) = log.body(id, body.index).map_err(log_error)? {
            bodies.push(source.into_reader());
        }
    }
    let mut file = write_container_to(spool_file(spool_dir)?, &parts, bodies)
        .map_err(|source| PackError::Container { source })?;
    file.seek(io::SeekFrom::End(0))
        .map_err(|source| PackError::Spool { source })?;
    let direction = match record.head.direction {
        Direction::Request => EvidenceDirection::Request,
        Direction::Response => EvidenceDirection::Response,
    };
    Ok(Some((
        container_name(&wanted.query_id, direction, record.id.get()),
        file,
    )))
}

/// Returns what goes into a record's container; nothing while it has no stamp.
pub(crate) fn container_parts(record: &Record) -> Option<ContainerParts> {
    let stamp = record.stamp.as_ref()?;
    let nanoseconds = i128::from(record.head.time_ms).saturating_mul(1_000_000);
    Some(ContainerParts {
        message: record.parts.message.clone(),
        signature: record.parts.signature.clone(),
        hash_chain_result: record.parts.hash_chain_result.clone(),
        hash_chain: record.parts.hash_chain.clone(),
        ts_token: Some(stamp.token.clone()),
        ts_hash_chain_result: Some(stamp.hash_chain_result.clone()),
        ts_hash_chain: Some(stamp.hash_chain.clone()),
        attachments: Vec::new(),
        time: OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH),
    })
}

fn stored(time: DateTime) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(time)
}

fn deflated() -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
}

/// A container up to this size stays in memory; twice that per answer, a few answers at once.
const MEMORY_BYTES: usize = 1024 * 1024;
