//! Identifiers, headers, messages and faults of the X-Road 7 protocols.
//!
//! Pure functions over bytes: no sockets, files, clocks or keys. Everything that arrives from outside is bounded
//! ([`limits`]) and refused with a typed error; every error names the fault code it becomes on the wire.

#![warn(missing_docs, clippy::exhaustive_enums)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::as_conversions))]

pub mod copied;
pub mod fault;
pub mod header;
pub mod id;
pub mod limits;
pub mod media_type;
pub mod message;
pub mod multipart;
pub mod path;
pub mod profile;
pub mod soap;
pub mod version;
pub mod xml;

#[cfg(test)]
mod facts;
#[cfg(test)]
mod properties;
