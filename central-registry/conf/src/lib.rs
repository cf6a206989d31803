//! The global configuration: reading, verifying, fetching, keeping.
//!
//! A configuration source signs a *directory* that names the *parts* of an instance (`registry-and-globalconf.md` 1, 2).
//! [`anchor`] says where the sources are and which keys they sign with, [`fetch`] gets the directory and what it names,
//! [`verify`] proves it over its raw bytes, [`part`] reads the parts into the [`model`], [`files`] keeps them on disk in
//! X-Road's layout, and [`snapshot`] is what everybody else holds: an immutable configuration with its indexes.
#![warn(missing_docs, clippy::exhaustive_enums)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::as_conversions))]

pub mod anchor;
pub mod diff;
pub mod fetch;
pub mod files;
pub mod history;
pub mod model;
pub mod part;
pub mod snapshot;
pub mod verify;

mod aside;
mod render;
#[cfg(test)]
mod testing;
mod xml;

pub use anchor::Anchor;
pub use fetch::{FetchError, FetchOptions, Fetcher};
pub use files::{ConfDir, atomic_write};
pub use history::History;
pub use model::{PrivateParameters, SharedParameters};
pub use snapshot::{ServerAddress, ServerEntry, Snapshot};
