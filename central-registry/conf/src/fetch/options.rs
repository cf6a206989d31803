//! How a fetcher behaves.

use std::time::Duration;

/// Whether sources are asked over HTTPS first. Integrity never depends on it: configurations are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpsUse {
    /// Only the plain HTTP addresses.
    Never,
    /// The HTTPS twin of each plain address on the default port, then the plain one.
    Prefer,
}

/// Whether a directory without private parameters will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrivatePart {
    /// For whom an external anchor is enough.
    Optional,
    /// For servers.
    Required,
}

/// How a [`Fetcher`](super::Fetcher) behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchOptions {
    /// Default: prefer.
    pub https: HttpsUse,
    /// Default: required.
    pub private: PrivatePart,
    /// For connecting; default 10 s.
    pub connect_timeout: Duration,
    /// For each piece of an answer; default 30 s.
    pub read_timeout: Duration,
    /// For one whole document; default 120 s.
    pub total_timeout: Duration,
    /// Largest directory; default 1 MiB.
    pub directory_bytes: usize,
    /// Largest part; default 64 MiB.
    pub part_bytes: usize,
    /// From one successful refresh to the next; default 60 s.
    pub interval: Duration,
    /// Mixes the order of equal sources, so that servers do not all ask the same; default 0, the listed order.
    pub order_seed: u64,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            https: HttpsUse::Prefer,
            private: PrivatePart::Required,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(120),
            directory_bytes: 1024 * 1024,
            part_bytes: 64 * 1024 * 1024,
            interval: Duration::from_secs(60),
            order_seed: 0,
        }
    }
}
