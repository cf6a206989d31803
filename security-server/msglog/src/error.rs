//! Why the log could not do what was asked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::RecordId;

/// Why the log could not do what was asked. Cheap to clone: one failed write is told to all that waited for it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A stamp was brought for a record that has one.
    #[error("record {id} is stamped already")]
    AlreadyStamped {
        /// The record.
        id: RecordId,
    },
    /// A body was closed already.
    #[error("body {index} is finished already")]
    BodyFinished {
        /// Number of the body, from 1.
        index: u32,
    },
    /// A body was not closed before the commit.
    #[error("body {index} is not finished")]
    BodyUnfinished {
        /// Number of the body, from 1.
        index: u32,
    },
    /// The log is closed.
    #[error("the message log is closed")]
    Closed,
    /// Stored bytes are not what was written.
    #[error("{path} is damaged at byte {offset}: {what}", path = path.display())]
    Damaged {
        /// File.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// No room on the disk. Nothing acknowledged is lost; the log works again once there is room.
    #[error("no space left for {path}", path = path.display())]
    Full {
        /// File or directory that could not grow.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A file operation failed.
    #[error("cannot {operation} {path}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process holds the log.
    #[error("{path} is in use by another process", path = path.display())]
    Locked {
        /// The log's directory.
        path: PathBuf,
    },
    /// A part is larger than the log takes as one piece.
    #[error("{part} has {length} bytes, more than {max}")]
    TooLarge {
        /// Which part.
        part: &'static str,
        /// Its length in bytes.
        length: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// There is no such record.
    #[error("there is no record {id}")]
    UnknownRecord {
        /// The record.
        id: RecordId,
    },
    /// The records of a stamp do not come in ascending order.
    #[error("record {id} of the stamp comes after a later one")]
    StampOrder {
        /// The record.
        id: RecordId,
    },
    /// A stamp was brought that covers no record.
    #[error("the stamp covers no record")]
    EmptyStamp,
    /// The file was written by a newer program.
    #[error("{path} has format version {found}, this program reads up to {known}", path = path.display())]
    UnknownVersion {
        /// File.
        path: PathBuf,
        /// Version it has.
        found: u32,
        /// Newest version known here.
        known: u32,
    },
}

impl LogError {
    /// For `map_err`: wraps what the system said about `path`.
    pub(crate) fn at<'a>(
        operation: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| Self::io(operation, path, error)
    }

    /// Wraps what the system said about `path`.
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        let (path, source) = (path.to_path_buf(), Arc::new(source));
        if full {
            Self::Full { path, source }
        } else {
            Self::Io {
                operation,
                path,
                source,
            }
        }
    }
}
