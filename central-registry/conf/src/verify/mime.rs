//! As much of MIME as signed directories need, on raw bytes: which bytes a part's body is decides whether a signature holds.
//!
//! Lines may end in LF or CRLF, mixed, as configuration proxies write them.

use super::DirectoryError;

/// A header block and a body.
#[derive(Debug, Default)]
pub(super) struct Entity<'a> {
    headers: Vec<(String, String)>,
    pub(super) body: &'a [u8],
}

impl<'a> Entity<'a> {
    /// Splits at the first empty line; without one everything is headers. Lines that are no headers are passed over.
    pub(super) fn parse(bytes: &'a [u8]) -> Self {
        let mut headers: Vec<(String, String)> = Vec::new();
        let mut rest = bytes;
        loop {
            let (line, after) = next_line(rest);
            let at_end = after.is_empty() && line.is_empty();
            rest = after;
            if line.is_empty() || at_end {
                break;
            }
            let text = String::from_utf8_lossy(line);
            if text.starts_with([' ', '\t']) {
                if let Some((_, value)) = headers.last_mut() {
                    value.push(' ');
                    value.push_str(text.trim());
                }
            } else if let Some((name, value)) = text.split_once(':') {
                headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
            if headers.len() > HEADERS_MAX {
                break;
            }
        }
        Self {
            headers,
            body: rest,
        }
    }

    /// The first header of this name, whatever its case.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
    }

    pub(super) fn required(
        &self,
        header: &'static str,
        within: &'static str,
    ) -> Result<String, DirectoryError> {
        self.header(header)
            .ok_or(DirectoryError::MissingHeader { header, within })
    }
}

/// The entities between delimiter lines. The line break before a delimiter belongs to the delimiter. What follows the closing
/// delimiter is ignored; the last entity may lack it and then reaches to the end.
pub(super) fn split<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut start = None;
    let mut at = 0;
    while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
        let (line, after) = next_line(rest);
        if let Some(closing) = delimiter(line, boundary) {
            if let Some(start) = start.take() {
                let end = before_line_break(body, at).max(start);
                parts.push(body.get(start..end).unwrap_or_default());
            }
            if closing {
                return parts;
            }
            start = Some(body.len() - after.len());
        }
        at = body.len() - after.len();
    }
    if let Some(start) = start {
        parts.push(body.get(start..).unwrap_or_default());
    }
    parts
}

/// Whether a line is a delimiter, and if so whether the closing one.
fn delimiter(line: &[u8], boundary: &str) -> Option<bool> {
    let rest = line
        .strip_prefix(b"--")?
        .strip_prefix(boundary.as_bytes())?;
    let (closing, rest) = match rest.strip_prefix(b"--") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    rest.iter()
        .all(|byte| matches!(byte, b' ' | b'\t'))
        .then_some(closing)
}

/// A line without its break, and what follows.
fn next_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return (bytes, &[]);
    };
    let (line, rest) = bytes.split_at(end);
    (
        line.strip_suffix(b"\r").unwrap_or(line),
        rest.get(1..).unwrap_or_default(),
    )
}

fn before_line_break(body: &[u8], at: usize) -> usize {
    let head = body.get(..at).unwrap_or_default();
    let head = head
        .strip_suffix(b"\n")
        .map_or(head, |head| head.strip_suffix(b"\r").unwrap_or(head));
    head.len()
}

/// A header value and its parameters: `value; name=x; name="x"; name='x'`.
pub(super) fn parameters(value: &str) -> (String, Vec<(String, String)>) {
    let mut pieces = pieces(value).into_iter();
    let first = pieces.next().unwrap_or_default().trim().to_owned();
    let parameters = pieces.filter_map(|piece| {
        let (name, value) = piece.split_once('=')?;
        Some((name.trim().to_owned(), unquoted(value.trim()).to_owned()))
    });
    (first, parameters.collect())
}

/// Splits at semicolons outside double quotes.
fn pieces(value: &str) -> Vec<&str> {
    let mut quoted = false;
    value
        .split(|character: char| {
            quoted ^= character == '"';
            character == ';' && !quoted
        })
        .collect()
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value
            .strip_prefix(quote)
            .and_then(|value| value.strip_suffix(quote))
        {
            return inner;
        }
    }
    value
}

pub(super) fn parameter(parameters: &[(String, String)], name: &str) -> Option<String> {
    parameters
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.clone())
}

const HEADERS_MAX: usize = 100;
