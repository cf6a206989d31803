//! The auditor's program: who asked what of whom and what was answered, proved offline from files alone.
//!
//! The judging is in `jibek-evidence`; here are the files, the configuration and the words.

#![warn(
    missing_docs,
    clippy::exhaustive_enums,
    clippy::indexing_slicing,
    clippy::as_conversions
)]

mod configuration;
pub mod explain;
pub mod extract;
mod json;
mod judge;
mod junit;
mod kept;
pub mod page;
mod profiles;
mod source;
pub mod speech;
mod verify;
mod whole;
mod words;

pub use configuration::{
    Chosen, Configuration, ConfigurationError, fetch_configuration, read_configuration,
};
pub use json::{SCHEMA, as_json, summary_as_json};
pub use judge::{Judged, Note, Standing, judge_bytes, judge_file, read_file, summary};
pub use junit::Junit;
pub use kept::KeptHistory;
pub use profiles::{ProfilesError, read_profiles};
pub use source::{Decryptor, DecryptorError, SourceOptions, Walk};
pub use verify::{VerifyOptions, verify};
pub use whole::{Fault, Line, Whole, WholeKind};
pub use words::{Counts, Style, as_line, printable};
