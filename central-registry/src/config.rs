//! The registry's file, checked: what it says is complete and consistent, or there is no [`Config`].

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use jibek_certs::signer::KeyKind;
use jibek_conf::{
    files::read_bounded,
    model::{PrivateParameters, SharedParameters, SourceAddress},
};

use crate::raw::RawConfig;

mod check;
mod others;

use check::{Checker, SourceText};

/// Why a file is refused: where and what, for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {reason}", path.display(), line.map(|line| format!(", line {line}")).unwrap_or_default())]
#[non_exhaustive]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// Line of the offending value, when it is one value's fault.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

/// What a registry publishes and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The instance.
    pub instance: String,
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Host, with a port unless it is 80, under which clients reach us.
    pub address: String,
    /// Where keys, publications and history are kept.
    pub state_dir: PathBuf,
    /// From one publication to the next; default 60 s.
    pub publish_interval: Duration,
    /// How long a publication is valid; default 600 s.
    pub validity: Duration,
    /// How long a superseded configuration stays in the history; default ten years.
    pub history: Duration,
    /// Kind of the signing keys that are generated; default RSA with 2048 bits.
    pub key: KeyKind,
    /// Other registries that publish this instance.
    others: Vec<SourceAddress>,
    shared: SharedParameters,
    private: PrivateParameters,
}

impl Config {
    /// Reads and checks a file and the certificates that it names (relative to its folder).
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let whole = |reason: String| ConfigError {
            path: path.to_owned(),
            line: None,
            reason,
        };
        let bytes = read_bounded(path)
            .map_err(|error| whole(format!("cannot be read: {}", explained(&error))))?;
        let text = String::from_utf8(bytes).map_err(|_| whole("is not UTF-8".to_owned()))?;
        let source = SourceText { path, text: &text };
        let raw: RawConfig = toml::from_str(&text).map_err(|error| {
            let line = error.span().map(|span| source.line(span.start));
            ConfigError {
                path: path.to_owned(),
                line,
                reason: error.message().to_owned(),
            }
        })?;
        Checker::new(&source, &raw.instance)?.config(raw)
    }

    /// Who publishes this instance: we with these keys (DER certificates), and other registries; in an order that is the same
    /// for all of them, so that what they publish is the same.
    #[must_use]
    pub fn sources(&self, internal: &[Bytes], external: &[Bytes]) -> Vec<SourceAddress> {
        let mut sources = self.others.clone();
        sources.push(SourceAddress {
            address: self.address.clone(),
            internal_certificates: internal.to_vec(),
            external_certificates: external.to_vec(),
        });
        sources.sort_by(|one, other| one.address.cmp(&other.address));
        sources
    }

    /// The shared parameters, published by us with these keys (DER certificates).
    #[must_use]
    pub fn shared(&self, internal: &[Bytes], external: &[Bytes]) -> SharedParameters {
        let mut shared = self.shared.clone();
        shared.sources = self.sources(internal, external);
        shared
    }

    /// Where the signing keys are.
    #[must_use]
    pub fn keys_dir(&self) -> PathBuf {
        self.state_dir.join("keys")
    }

    /// Where the history is ([`jibek_conf::history`]).
    #[must_use]
    pub fn history_dir(&self) -> PathBuf {
        self.state_dir.join("history")
    }

    /// The private parameters.
    #[must_use]
    pub fn private(&self) -> &PrivateParameters {
        &self.private
    }
}

/// An error with what caused it.
pub(crate) fn explained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
