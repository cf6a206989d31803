//! The message log: append-only segments, group commit, recovery.

#![warn(missing_docs, clippy::exhaustive_enums, clippy::exhaustive_structs)]
#![warn(clippy::indexing_slicing, clippy::as_conversions)]
#![cfg_attr(test, allow(clippy::indexing_slicing, reason = "a test may fail by panicking"))]

mod append;
mod body;
mod codec;
mod collect;
mod commit;
mod committer;
mod error;
pub mod fs;
mod fsck;
mod index;
mod layout;
mod log;
mod num;
mod read;
mod record;
mod recover;
mod runs;
mod segment;
mod share;
mod store;
mod tail;

pub use append::{Committed, Draft};
pub use body::{BodyReader, BodySource, BodyStream};
pub use error::LogError;
pub use fsck::{FsckReport, fsck};
pub use log::{LogConfig, MessageLog, Stats};
pub use read::Query;
pub use record::{
    BodyInfo, Direction, Kind, Record, RecordHead, RecordId, RecordParts, Side, Stamp, StampBatch, StampId, Unstamped,
};
pub use recover::{Damage, RecoveryReport};
