//! The message log: what a server sent and received, kept so that it can be proved years later.
//!
//! It is also the spool: a body that has to wait for its signature waits here, where it has to be written anyway
//! (`architecture.md`, "The log is the spool"). The log stores bytes and what they are found by; what a signature or a
//! time-stamp is, it does not know.
//!
//! # The life of a record
//!
//! 1. **Begin.** [`MessageLog::begin`] gives a [`Draft`]. Nothing is written. A draft that is dropped, at whatever
//!    point, leaves nothing.
//! 2. **Bodies.** [`Draft::append_body`] takes chunks as they come from the network, by reference. Up to 256 KiB they
//!    wait in memory. A larger body gets a file of its own under `bodies/`, with space reserved ahead, written by the
//!    blocking pool while the next chunks come: at most 512 KiB of it are in memory, and a slow disk slows the sender. All
//!    bodies under way have a budget of memory: where it is short, small ones go to files, too, and chunks are short.
//!    What [`Draft::keeping`] says is not to stay is never named by the record: of a small body nothing is written, a
//!    large one's file goes with the last who holds [`Committed`] or what it gave, or at the next start. Bodies that are
//!    [relayed](Draft::relayed) and do not stay are not written at all.
//!    *No room?* [`LogError::Full`]; the file goes with the draft.
//! 3. **Commit.** [`Draft::commit`] syncs the files of large bodies and hands the record to the committer, through a
//!    queue that makes callers wait when it is full. The committer takes what waits, up to 512 records, lays out their
//!    frames by reference, writes them with one call at the end of the active segment, syncs once, changes the index
//!    and answers all. Small bodies are part of that write. Runs of bytes that a recent record has too (certificates,
//!    OCSP responses, a batch's signature) are not written again.
//!    *The write or sync fails?* All of the batch are refused, the segment is cut off where it ended before, and only
//!    when that is durable are their body files removed. Until then the log takes no records; each attempt and
//!    [`MessageLog::writable`] try again.
//! 4. **Use.** [`Committed::body`] gives the bodies to be sent on, small ones from memory. [`MessageLog::find`] and
//!    [`MessageLog::read`] see the record from the moment its writer is told.
//! 5. **Stamp.** [`MessageLog::unstamped`] lists what has none, oldest first; [`MessageLog::stamp`] writes token and
//!    chains as frames of their own. The record itself never changes. Where policy keeps no bodies,
//!    [`MessageLog::drop_bodies`] writes that down, then removes or overwrites them; the digests stay.
//! 6. **Seal.** A segment that is full gets a last frame and is synced; the next one is made, its header and then its
//!    name synced. The full one's index, until then in memory, is written to a file beside it: entries, five sorted
//!    tables, and a filter that lets most searches for an id skip the segment.
//! 7. **Restart.** Indexes of sealed segments are read by their heads only; the last segment is read whole. Its end is
//!    cut off after the last commit, its last batch written again and synced; body files without a record go. So what
//!    is seen once stays, and what was never acknowledged costs nothing. A bad frame with a batch behind it is not a
//!    torn end but damage: nothing is cut off then, all that reads is served, new records go to a new segment, and
//!    [`RecoveryReport::damage`] tells of it.
//! 8. **Look.** [`LogReader`] opens a log to read it only: beside its server, or a copy that cannot be written.
//! 9. **Leave.** [`MessageLog::retire`] removes whole segments, the oldest first, of which every record is stamped. It
//!    writes down where the log begins before the first file goes, so segments that are missing without that are damage.
//! 10. **Doubt.** [`fsck()`], as a program `msglog-fsck`, reads everything and compares it, beside a running server too.
//!
//! # Files
//!
//! | name | what |
//! |---|---|
//! | `0000000000000001.segment` | records, stamps, drops; format in the source, `segment.rs` and `commit.rs` |
//! | `0000000000000001.index` | index of that segment once it is sealed; made again if missing |
//! | `log.start` | from which segment on the log is kept; there is none before the first removal |
//! | `bodies/0000000000000001.body` | a large body, byte for byte |
//!
//! # What never happens
//!
//! An answer before its sync. A copy of a body byte on its way to the disk. A name on the disk that came in a message.
//! A queue, a buffer or a cache without a bound. A file operation outside [`fs`].

#![warn(missing_docs, clippy::exhaustive_enums, clippy::exhaustive_structs)]
#![warn(clippy::indexing_slicing, clippy::as_conversions)]
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, reason = "a test may fail by panicking")
)]

mod append;
mod body;
mod chains;
mod codec;
mod collect;
mod commit;
mod committer;
mod error;
pub mod fs;
mod fsck;
mod index;
mod keep;
mod layout;
mod log;
mod memory;
mod num;
#[cfg(feature = "fault-points")]
pub mod points;
mod read;
mod reader;
mod recent;
mod record;
mod recover;
mod retire;
mod runs;
mod scan;
mod segment;
mod share;
mod start;
mod store;
mod tail;

pub use append::{Committed, Draft};
pub use body::{BodyReader, BodySource, BodyStream};
pub use chains::StampChains;
pub use error::LogError;
pub use fsck::{FsckReport, fsck};
pub use keep::Keep;
pub use log::{LogConfig, MessageLog, Stats};
pub use read::Query;
pub use reader::{Ids, LogReader, ReaderReport};
pub use record::{
    BodyInfo, Direction, Kind, Record, RecordHead, RecordId, RecordParts, RequestMark, Side, Stamp,
    StampBatch, StampId, Unstamped,
};
pub use recover::{Damage, RecoveryReport};
pub use retire::{Retired, SealedSegment};
pub use scan::Scan;

/// A place on the way of a message at which a build with the feature `fault-points` can be made to end
/// (`JIBEK_FAULT`). In every other build it is nothing, its name included.
#[cfg(feature = "fault-points")]
#[macro_export]
macro_rules! fault_point {
    ($name:literal) => {
        $crate::points::pass($name)
    };
}

/// A place on the way of a message at which a build with the feature `fault-points` can be made to end
/// (`JIBEK_FAULT`). In every other build it is nothing, its name included.
#[cfg(not(feature = "fault-points"))]
#[macro_export]
macro_rules! fault_point {
    ($name:literal) => {};
}
