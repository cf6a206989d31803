//! Sealing, opening and proving messages: XAdES signatures as X-Road 7 writes and demands them, hash chains, time-stamps over
//! batches of them, and the containers in which all of it outlives the servers.
//!
//! Pure functions over bytes: no sockets, no files, no configuration; the time and what is trusted come as arguments.

#![warn(
    missing_docs,
    clippy::exhaustive_enums,
    clippy::indexing_slicing,
    clippy::as_conversions
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::as_conversions,
        reason = "tests may panic"
    )
)]

pub mod c14n;
pub mod container;
pub mod hash_chain;
pub mod names;
pub mod open;
pub mod seal;
mod signature;
pub mod timestamp;
pub mod verify;
mod xml;

pub use xml::XmlRefused;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod testpki;
