//! Headers of a part.

use crate::header;

/// Headers of a part as they came: unfolded, malformed lines left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartHeaders {
    lines: Vec<(String, Vec<u8>)>,
}

impl PartHeaders {
    /// Reads a header block without its blank line.
    pub(super) fn parse(block: &[u8]) -> Self {
        let mut lines: Vec<(String, Vec<u8>)> = Vec::new();
        let mut last_was_good = false;
        for line in block.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let [b' ' | b'\t', continuation @ ..] = line {
                if let Some((_, value)) = lines.last_mut().filter(|_| last_was_good) {
                    value.extend_from_slice(continuation);
                }
                continue;
            }
            let header = read_line(line);
            last_was_good = header.is_some();
            lines.extend(header);
        }
        for (_, value) in &mut lines {
            *value = value.trim_ascii().to_vec();
        }
        Self { lines }
    }

    /// The first `Content-Type`, if it is text.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.get("content-type")
            .and_then(|value| str::from_utf8(value).ok())
    }

    /// The first value of a header, by name in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All headers in order: names as written, values without blanks around them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

fn read_line(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = line.split_at(colon);
    let name = name.trim_ascii_end();
    if !header::is_token(name) {
        return None;
    }
    let name = String::from_utf8(name.to_vec()).ok()?;
    Some((name, value.strip_prefix(b":").unwrap_or(value).to_vec()))
}
