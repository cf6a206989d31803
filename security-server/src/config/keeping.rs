//! What is kept of bodies: as written in `jibek-server.toml` and in clients' documents.

use std::fmt;

use jibek_msglog::{Direction, Keep};
use serde::{Deserialize, Deserializer, de};

/// What a document says of bodies. What it leaves open is for the next: service, client, server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keeping {
    /// Of requests.
    pub requests: Option<Keep>,
    /// Of answers.
    pub answers: Option<Keep>,
}

impl Keeping {
    pub(crate) fn new(requests: Option<RawKeep>, answers: Option<RawKeep>) -> Self {
        Self {
            requests: requests.map(|RawKeep(keep)| keep),
            answers: answers.map(|RawKeep(keep)| keep),
        }
    }

    /// Fills in what this one leaves open.
    #[must_use]
    pub fn or(self, next: Self) -> Self {
        Self {
            requests: self.requests.or(next.requests),
            answers: self.answers.or(next.answers),
        }
    }

    /// What counts for bodies of this direction; where nobody decided, all of them are kept.
    #[must_use]
    pub fn of(self, direction: Direction) -> Keep {
        match direction {
            Direction::Request => self.requests,
            Direction::Response => self.answers,
        }
        .unwrap_or_default()
    }
}

/// `"all"`, `"digest"`, or the most bytes that a body may have to be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawKeep(Keep);

impl<'de> Deserialize<'de> for RawKeep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeepVisitor).map(Self)
    }
}

struct KeepVisitor;

impl de::Visitor<'_> for KeepVisitor {
    type Value = Keep;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"all\", \"digest\" or a number of bytes")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Keep, E> {
        match word {
            "all" => Ok(Keep::All),
            "digest" => Ok(Keep::Digest),
            _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Keep, E> {
        u64::try_from(bytes)
            .map(Keep::UpTo)
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Keep, E> {
        Ok(Keep::UpTo(bytes))
    }
}
