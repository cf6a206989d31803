//! ASiC-E containers: one message with its signature, chains and time-stamp in a ZIP file (`signatures-and-log.md` section 5).

mod read;
mod write;

pub use crate::zip_file::ReadError;
pub use read::{Container, ContainerLimits, Peculiarity};
pub use write::{ContainerParts, WriteError, write_container, write_container_to};

/// Which message of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "an exchange has two messages")]
pub enum Direction {
    /// What the consumer sent.
    Request,
    /// What the provider answered.
    Response,
}

impl Direction {
    /// The word in container names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

impl std::fmt::Display for Direction {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The file name of a record's container, unique within one server (`signatures-and-log.md` 5.2).
pub fn container_name(query_id: &str, direction: Direction, record_number: u64) -> String {
    let mut name = encoded_query_id(query_id);
    // only ASCII is left
    name.truncate(MAX_QUERY_ID);
    format!("{name}-{direction}-{}.asice", base32(record_number))
}

/// A message id as it stands in file names: form-URL-encoded as Java does it.
pub fn encoded_query_id(query_id: &str) -> String {
    let mut encoded = String::with_capacity(query_id.len());
    for byte in query_id.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                encoded.push(char::from(byte))
            }
            byte => {
                encoded.push('%');
                encoded.extend(
                    [byte >> 4, byte & 0x0f]
                        .into_iter()
                        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
                        .map(|digit| digit.to_ascii_uppercase()),
                );
            }
        }
    }
    encoded
}

fn base32(mut number: u64) -> String {
    let mut digits = Vec::with_capacity(13);
    loop {
        digits.extend(
            u32::try_from(number % 32)
                .ok()
                .and_then(|digit| char::from_digit(digit, 32)),
        );
        number /= 32;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

const MAX_QUERY_ID: usize = 226;

#[cfg(test)]
mod tests;
