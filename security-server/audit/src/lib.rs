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
mod judge;
pub mod page;
mod profiles;
pub mod speech;
mod words;

pub use configuration::{ConfigurationError, fetch_configuration, read_configuration};
pub use judge::{Judged, Standing, judge_file, summary};
pub use profiles::{ProfilesError, read_profiles};
pub use words::{as_json, as_line};
