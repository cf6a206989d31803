//! Certificates, chains, OCSP and RFC 3161 for Jibek.
//!
//! This crate knows certificates; it knows neither members nor sockets. Everything that depends on the time takes `now` as an
//! argument, everything that is asked of the configuration comes in through [`trust`], and every check returns a value with
//! private fields that only the check can make ([`chain::VerifiedChain`], [`ocsp::VerifiedOcsp`], [`tsp::VerifiedTimestamp`]).
//!
//! The rules are X-Road's own (which certificate may do what, which OCSP answer counts, whose time-stamp is believed), so an
//! answer given here is the answer that a neighbour's security server gives.

#![warn(missing_docs)]
#![warn(
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

pub mod asn1;
pub mod chain;
pub mod digest;
pub mod ocsp;
pub mod parse;
pub mod signer;
pub mod time;
pub mod trust;
pub mod tsp;
pub mod well_formed;

pub use digest::{Digest, DigestAlgorithm, Hasher};
pub use parse::{Certificate, Name, ParseError};
pub use signer::{KeyKind, SignatureAlgorithm, Signer, SoftKey};
pub use time::{Clock, SystemClock, TestClock, Timestamp};
