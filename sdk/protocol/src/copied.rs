//! The one place where bytes of bodies and parts are copied on the path of a message, and how many were.
//!
//! Bodies pass by reference. What has to be in one piece (envelopes, the parts of a signature), and what is so short that a
//! reference costs more than a copy, is put together here; clippy refuses other ways (`clippy.toml` of this crate and of
//! the security server). TLS and the kernel copy, too, and are not counted.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BufMut;

/// Appends a copy of `bytes`.
pub fn append(to: &mut impl BufMut, bytes: &[u8]) {
    count(bytes.len());
    to.put_slice(bytes);
}

/// Counts bytes that were copied by other means: out of a buffer that turned out to hold a body's, into a write of the log.
pub fn count(bytes: usize) {
    TOTAL.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Bytes copied since the process began.
#[must_use]
pub fn total() -> u64 {
    TOTAL.load(Ordering::Relaxed)
}

static TOTAL: AtomicU64 = AtomicU64::new(0);
