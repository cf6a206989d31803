//! The path that names a service (`message-path.md` 3.1).

use super::RestBlockError;
use crate::id::{ClientId, IdError, ServiceId, decode_part};

/// `/r1/{instance}/{class}/{member}/{subsystem}/{service}[/path...][?query]`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestTarget {
    service: ServiceId,
    path: String,
    query: Option<String>,
}

impl RestTarget {
    /// Reads a raw path and a raw query (without `?`). Subsystem is mandatory; path and query stay as they came.
    ///
    /// # Errors
    /// [`RestBlockError::Path`] when it is not such a path or holds what no URI may hold, and
    /// [`RestBlockError::Identifier`] when a part of the service is malformed.
    pub fn parse(raw_path: &str, query: Option<&str>) -> Result<Self, RestBlockError> {
        check_uri(raw_path, is_path_byte)?;
        if let Some(query) = query {
            check_uri(query, is_query_byte)?;
        }
        let mut pieces = raw_path.splitn(8, '/');
        if pieces.next() != Some("") || pieces.next() != Some("r1") {
            return Err(RestBlockError::Path {
                reason: "it does not start with /r1/",
            });
        }
        let mut part = || -> Result<String, RestBlockError> {
            let piece = pieces.next().ok_or(RestBlockError::Path {
                reason: "it does not name a service",
            })?;
            decode_part(piece).map_err(in_path)
        };
        let [instance, class, member, subsystem, code] =
            [part()?, part()?, part()?, part()?, part()?];
        let path = pieces
            .next()
            .map(|rest| format!("/{rest}"))
            .unwrap_or_default();
        let provider =
            ClientId::new(&instance, &class, &member, Some(&subsystem)).map_err(in_path)?;
        let service = ServiceId::new(provider, &code, None).map_err(in_path)?;
        Ok(Self {
            service,
            path,
            query: query.map(str::to_owned),
        })
    }

    /// Reads path and query together, as they stand in a request line.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_path_and_query(path_and_query: &str) -> Result<Self, RestBlockError> {
        match path_and_query.split_once('?') {
            Some((path, query)) => Self::parse(path, Some(query)),
            None => Self::parse(path_and_query, None),
        }
    }

    /// The service that is called.
    #[must_use]
    pub fn service(&self) -> &ServiceId {
        &self.service
    }

    /// Raw path behind the service: empty, or starting with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Raw query, if there is one; it may be empty.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }
}

fn in_path(source: IdError) -> RestBlockError {
    RestBlockError::Identifier {
        place: "path",
        source,
    }
}

/// Refuses what `java.net.URI` refuses, because every X-Road provider's server would.
fn check_uri(text: &str, allowed: fn(u8) -> bool) -> Result<(), RestBlockError> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next(), bytes.next()];
            if !digits
                .iter()
                .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit()))
            {
                return Err(RestBlockError::Path {
                    reason: "a percent sign is not followed by two hexadecimal digits",
                });
            }
        } else if !allowed(byte) {
            return Err(RestBlockError::Path {
                reason: "a character must be percent-encoded",
            });
        }
    }
    Ok(())
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
}

fn is_query_byte(byte: u8) -> bool {
    is_path_byte(byte) || b"?[]".contains(&byte)
}
