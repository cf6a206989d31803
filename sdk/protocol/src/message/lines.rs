//! Lines of a block as ranges of its bytes.

use std::ops::Range;

use bytes::Bytes;

use super::{HeaderLine, RestBlockError};
use crate::header;
use crate::limits;

/// Two leading lines and the headers.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    bytes: Bytes,
    first: Range<usize>,
    second: Range<usize>,
    headers: Vec<(Range<usize>, Range<usize>)>,
    canonical: bool,
}

impl Lines {
    /// Splits at CR, LF or CRLF as Java does and checks every header.
    pub(super) fn parse(bytes: Bytes) -> Result<Self, RestBlockError> {
        let max = limits::REST_BLOCK_BYTES;
        if bytes.len() > max {
            return Err(RestBlockError::TooLarge { max });
        }
        let text = str::from_utf8(&bytes).map_err(|_| RestBlockError::NotUtf8)?;
        let mut rest = SplitLines {
            text,
            position: 0,
            only_crlf: true,
        };
        let first = rest.next().ok_or(RestBlockError::MissingLine { line: 1 })?;
        let second = rest.next().ok_or(RestBlockError::MissingLine { line: 2 })?;
        let mut headers = Vec::new();
        for line in rest.by_ref() {
            if headers.len() >= limits::REST_HEADER_LINES {
                return Err(RestBlockError::TooLarge { max });
            }
            let number = headers.len() + 1;
            let content = text.get(line.clone()).unwrap_or_default();
            if content.is_empty() {
                return Err(RestBlockError::EmptyLine);
            }
            let (name, value) = content
                .split_once(':')
                .ok_or(RestBlockError::HeaderName { number })?;
            check_header(name, value, number)?;
            if header::is_dropped(name) {
                return Err(RestBlockError::ForbiddenHeader {
                    name: name.to_owned(),
                });
            }
            let colon = line.start + name.len();
            headers.push((line.start..colon, colon + 1..line.end));
        }
        let canonical = rest.only_crlf;
        Ok(Self {
            bytes,
            first,
            second,
            headers,
            canonical,
        })
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The block with CRLF after every line.
    pub(super) fn canonical(&self) -> Bytes {
        if self.canonical {
            return self.bytes.clone();
        }
        let mut writer = Writer::new(self.first(), self.second());
        for line in self.headers() {
            writer.push(line.name, line.value);
        }
        writer.finish()
    }

    pub(super) fn first(&self) -> &str {
        self.text(&self.first)
    }

    pub(super) fn second(&self) -> &str {
        self.text(&self.second)
    }

    pub(super) fn headers(&self) -> impl DoubleEndedIterator<Item = HeaderLine<'_>> {
        self.headers.iter().map(|(name, value)| HeaderLine {
            name: self.text(name),
            value: self.text(value),
        })
    }

    /// The last value of a header, which wins.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .rev()
            .find(|line| line.name.eq_ignore_ascii_case(name))
            .map(|line| line.value)
    }

    fn text(&self, range: &Range<usize>) -> &str {
        // the ranges were cut from a checked text, so neither step can fail
        self.bytes
            .get(range.clone())
            .and_then(|bytes| str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }
}

/// Writes a block: two lines, then headers, CRLF after each.
pub(super) struct Writer {
    out: String,
    headers: usize,
}

impl Writer {
    pub(super) fn new(first: &str, second: &str) -> Self {
        let mut out = String::with_capacity(1_024);
        for line in [first, second] {
            out.push_str(line);
            out.push_str("\r\n");
        }
        Self { out, headers: 0 }
    }

    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.headers += 1;
        self.out.push_str(name);
        self.out.push(':');
        self.out.push_str(value);
        self.out.push_str("\r\n");
    }

    /// Adds a header from HTTP: bytes of the value are Latin-1.
    pub(super) fn push_http(&mut self, name: &[u8], value: &[u8]) -> Result<(), RestBlockError> {
        let name = str::from_utf8(name).map_err(|_| RestBlockError::HeaderName {
            number: self.headers + 1,
        })?;
        let value: String = value
            .trim_ascii()
            .iter()
            .map(|byte| char::from(*byte))
            .collect();
        check_header(name, &value, self.headers + 1)?;
        self.push(name, &value);
        Ok(())
    }

    pub(super) fn finish(self) -> Bytes {
        self.out.into()
    }
}

pub(super) fn check_header(name: &str, value: &str, number: usize) -> Result<(), RestBlockError> {
    if !header::is_token(name.as_bytes()) {
        return Err(RestBlockError::HeaderName { number });
    }
    if value
        .chars()
        .any(|c| matches!(c, '\0'..='\u{8}' | '\u{a}'..='\u{1f}' | '\u{7f}'))
    {
        return Err(RestBlockError::HeaderValue {
            name: name.to_owned(),
        });
    }
    Ok(())
}

struct SplitLines<'a> {
    text: &'a str,
    position: usize,
    only_crlf: bool,
}

impl Iterator for SplitLines<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.position;
        let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
        let Some(length) = rest.find(['\r', '\n']) else {
            self.only_crlf = false;
            self.position = self.text.len();
            return Some(start..self.text.len());
        };
        let ending = if rest
            .get(length..)
            .is_some_and(|ending| ending.starts_with("\r\n"))
        {
            2
        } else {
            1
        };
        self.only_crlf &= ending == 2;
        self.position = start + length + ending;
        Some(start..start + length)
    }
}
