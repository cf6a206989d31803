//! How a fetcher behaves.

use std::time::Duration;

use crate::files::FILE_BYTES;

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

/// Whose configuration is fetched beside the own one. Each partner's anchor must stand in the private parameters, too
/// (`registry-and-globalconf.md` 6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Federations {
    /// That of every partner.
    All,
    /// That of these instances; case does not count.
    Only(Vec<String>),
    /// Of none.
    #[default]
    None,
}

impl Federations {
    /// Reads a list as operators write it: `none` wins over everything, `all` over names.
    #[must_use]
    pub fn from_names(names: &[String]) -> Self {
        let has = |word: &str| names.iter().any(|name| name.eq_ignore_ascii_case(word));
        match names {
            _ if has("none") => Self::None,
            _ if has("all") => Self::All,
            [] => Self::None,
            names => Self::Only(names.to_vec()),
        }
    }

    /// Whether an instance is among them.
    #[must_use]
    pub fn allow(&self, instance: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Only(names) => names
                .iter()
                .any(|name| name.to_lowercase() == instance.to_lowercase()),
        }
    }
}

/// How a [`Fetcher`](super::Fetcher) behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchOptions {
    /// Default: prefer.
    pub https: HttpsUse,
    /// Default: required.
    pub private: PrivatePart,
    /// Default: none.
    pub federations: Federations,
    /// For connecting; default 10 s.
    pub connect_timeout: Duration,
    /// For each piece of an answer; default 30 s.
    pub read_timeout: Duration,
    /// For one whole document; default 120 s.
    pub total_timeout: Duration,
    /// For everything that one source gives, directory and parts; default 180 s.
    pub source_timeout: Duration,
    /// A source that has not given everything within this time is no longer waited for alone: the next one is asked, too,
    /// and the first that gives everything counts. Default 5 s.
    pub patience: Duration,
    /// For all partners' sources together, after the own ones; default 30 s.
    pub federation_timeout: Duration,
    /// Largest directory; default 1 MiB.
    pub directory_bytes: usize,
    /// Largest part; default [`FILE_BYTES`], 256 MiB.
    pub part_bytes: usize,
    /// Largest sum of all parts of one source; default 320 MiB.
    pub generation_bytes: usize,
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
            federations: Federations::None,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(120),
            source_timeout: Duration::from_secs(180),
            patience: Duration::from_secs(5),
            federation_timeout: Duration::from_secs(30),
            directory_bytes: 1024 * 1024,
            part_bytes: FILE_BYTES,
            generation_bytes: 320 * 1024 * 1024,
            interval: Duration::from_secs(60),
            order_seed: 0,
        }
    }
}
