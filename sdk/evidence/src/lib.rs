//! Sealing, opening and proving messages: XAdES signatures as X-Road 7 writes and demands them, hash chains, time-stamps over
//! batches of them, and the containers in which all of it outlives the servers.
//!
//! Pure functions over bytes: no sockets, no files, no configuration; the time and what is trusted come as arguments.
//!
//! [`seal`] signs a batch of messages once; [`open`] verifies one that came over the wire; [`timestamp`] plans a stamp over many
//! signatures; [`container`] puts message, signature, chains and stamp into one file; [`verify`] judges such a file years later;
//! [`archive`] reads many of them, linked to each other.
//!
//! # What goes wrong in such systems, and what prevents it here
//!
//! | failure | here |
//! |---|---|
//! | a signature that covers less than what is acted on | [`open`] demands the signed properties, the message and every attachment |
//! | signature wrapping: one element is checked, another used | elements are found by their place; a reference must lead to that very node; two equal Ids are refused |
//! | canonicalizing out of context, or not as others do | one module, held against libxml2; sealing writes what is canonical already |
//! | signed bytes that are written anew | documents, results and chains are kept as [`bytes::Bytes`] from signing to container |
//! | two readers of one text (base64, line ends, attributes of one local name) | read as X-Road's readers do, each held against what they answer |
//! | documents that cost more than they are worth | a pass with a budget comes before every tree; no DOCTYPE, no entities |
//! | chains that run in circles, fan out or never end | each step is walked once, depth and number are bounded |
//! | containers that show each reader something else | entries must cover the file without gap or overlap, both headers agreeing, each name once |
//! | containers that vanish from an archive, or come in later | every link is recomputed; several archives are joined by their links |
//! | a verdict that hides what it did not look at | findings stand beside it, with stable names |

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

pub mod archive;
pub mod c14n;
pub mod container;
pub mod hash_chain;
mod lenient;
pub mod names;
pub mod open;
pub mod seal;
mod signature;
pub mod timestamp;
mod tlv;
pub mod verify;
mod xml;
mod zip_file;

pub use xml::XmlRefused;

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod court;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod flips;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod testpki;
