//! The push reader.

use std::collections::VecDeque;

use bytes::Bytes;

use super::delimiter::{Delimiter, Found, Match};
use super::{MultipartError, MultipartEvent, MultipartLimits, PartHeaders};
use crate::limits;

/// Takes chunks as they arrive and gives events.
///
/// After each [`push`](Self::push) the events are taken with [`poll_event`](Self::poll_event). A nested multipart is read by
/// a second reader over the data of its part.
#[derive(Debug)]
pub struct MultipartReader {
    delimiter: Delimiter,
    limits: MultipartLimits,
    state: State,
    /// Bytes that may begin a boundary and must be seen with what follows.
    held: Vec<u8>,
    /// Header lines of the current part, raw.
    headers: Vec<u8>,
    /// Start of the current header line in `headers`.
    line_start: usize,
    header_lines: usize,
    parts: usize,
    skipped: usize,
    events: VecDeque<MultipartEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary or in a body; `fresh` while a boundary may come without a line break before it.
    Content {
        in_part: bool,
        fresh: bool,
    },
    Headers,
    Epilogue,
}

impl MultipartReader {
    /// A reader for this boundary, which is without its leading hyphens.
    ///
    /// # Errors
    /// [`MultipartError::Boundary`] when it is empty, longer than [`limits::BOUNDARY_BYTES`] or holds a line break.
    pub fn new(boundary: &[u8], limits: MultipartLimits) -> Result<Self, MultipartError> {
        let fit = !boundary.is_empty() && boundary.len() <= limits::BOUNDARY_BYTES;
        if !fit || boundary.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            return Err(MultipartError::Boundary);
        }
        Ok(Self {
            delimiter: Delimiter::new(boundary),
            limits,
            state: State::Content {
                in_part: false,
                fresh: true,
            },
            held: Vec::new(),
            headers: Vec::new(),
            line_start: 0,
            header_lines: 0,
            parts: 0,
            skipped: 0,
            events: VecDeque::new(),
        })
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// [`MultipartError::TooLarge`]; then the reader must not be used any more.
    pub fn push(&mut self, mut chunk: Bytes) -> Result<(), MultipartError> {
        if !self.held.is_empty() {
            self.decide_held(&mut chunk, false)?;
        }
        self.take(chunk)
    }

    /// The next event, if there is one.
    pub fn poll_event(&mut self) -> Option<MultipartEvent> {
        self.events.pop_front()
    }

    /// Tells whether the closing boundary came.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.state == State::Epilogue
    }

    /// Says that no more data will come. Events may be left to take.
    ///
    /// # Errors
    /// [`MultipartError::NotClosed`] if the closing boundary did not come.
    pub fn finish(&mut self) -> Result<(), MultipartError> {
        if !self.held.is_empty() {
            self.decide_held(&mut Bytes::new(), true)?;
        }
        if self.closed() {
            Ok(())
        } else {
            Err(MultipartError::NotClosed)
        }
    }

    fn take(&mut self, mut chunk: Bytes) -> Result<(), MultipartError> {
        while !chunk.is_empty() {
            match self.state {
                State::Content { fresh, .. } => match self.delimiter.find(&chunk, fresh) {
                    Found::Boundary {
                        content_end,
                        end,
                        closing,
                    } => {
                        let rest = chunk.split_off(end);
                        chunk.truncate(content_end);
                        self.content(chunk)?;
                        self.boundary(closing)?;
                        chunk = rest;
                    }
                    Found::Undecided { content_end } => {
                        let undecided = chunk.split_off(content_end);
                        self.content(chunk)?;
                        self.held.extend_from_slice(&undecided);
                        return Ok(());
                    }
                },
                State::Headers => self.header_bytes(&mut chunk)?,
                State::Epilogue => return self.skip(chunk.len()),
            }
        }
        Ok(())
    }

    /// Looks at the held bytes together with the start of the chunk.
    fn decide_held(&mut self, chunk: &mut Bytes, at_end: bool) -> Result<(), MultipartError> {
        let State::Content { fresh, .. } = self.state else {
            return Ok(());
        };
        let held = self.held.len();
        let more = self
            .delimiter
            .window()
            .saturating_sub(held)
            .min(chunk.len());
        self.held
            .extend_from_slice(chunk.get(..more).unwrap_or_default());
        match self.delimiter.judge_break(&self.held, fresh, at_end) {
            Match::NeedMore if more == chunk.len() => chunk.clear(),
            Match::NeedMore | Match::No => {
                self.held.truncate(held);
                let content = std::mem::take(&mut self.held);
                crate::copied::count(content.len());
                self.content(content.into())?;
            }
            Match::Boundary { length, closing } => {
                self.held.clear();
                *chunk = chunk.split_off(length.saturating_sub(held));
                self.boundary(closing)?;
            }
        }
        Ok(())
    }

    fn content(&mut self, content: Bytes) -> Result<(), MultipartError> {
        if content.is_empty() {
            return Ok(());
        }
        let State::Content { in_part, .. } = self.state else {
            return Ok(());
        };
        self.state = State::Content {
            in_part,
            fresh: false,
        };
        if in_part {
            self.events.push_back(MultipartEvent::Data(content));
            return Ok(());
        }
        self.skip(content.len())
    }

    fn boundary(&mut self, closing: bool) -> Result<(), MultipartError> {
        if matches!(self.state, State::Content { in_part: true, .. }) {
            self.events.push_back(MultipartEvent::PartEnd);
        }
        if closing {
            self.events.push_back(MultipartEvent::End);
            self.state = State::Epilogue;
            self.skipped = 0;
            return Ok(());
        }
        self.parts += 1;
        if self.parts > self.limits.parts {
            return Err(too_large("parts", self.limits.parts));
        }
        self.headers.clear();
        self.line_start = 0;
        self.header_lines = 0;
        self.state = State::Headers;
        Ok(())
    }

    /// Takes header bytes up to the next line end.
    fn header_bytes(&mut self, chunk: &mut Bytes) -> Result<(), MultipartError> {
        let line_end = memchr::memchr(b'\n', chunk);
        let line = chunk.split_to(line_end.map_or(chunk.len(), |end| end + 1));
        self.headers.extend_from_slice(&line);
        if self.headers.len() > self.limits.headers_bytes {
            return Err(too_large(
                "bytes in the headers of a part",
                self.limits.headers_bytes,
            ));
        }
        let line = self.headers.get(self.line_start..).unwrap_or_default();
        if line.len() > self.limits.header_line_bytes {
            return Err(too_large(
                "bytes in a header line of a part",
                self.limits.header_line_bytes,
            ));
        }
        if line_end.is_none() {
            return Ok(());
        }
        let blank = matches!(line, b"\r\n" | b"\n");
        let boundary = match self.delimiter.judge(line, false) {
            Match::Boundary { closing, .. } => Some(closing),
            Match::No | Match::NeedMore => None,
        };
        if !blank && boundary.is_none() {
            self.line_start = self.headers.len();
            self.header_lines += 1;
            if self.header_lines > self.limits.header_lines {
                return Err(too_large(
                    "header lines in a part",
                    self.limits.header_lines,
                ));
            }
            return Ok(());
        }
        let headers = PartHeaders::parse(self.headers.get(..self.line_start).unwrap_or_default());
        self.events.push_back(MultipartEvent::PartStart(headers));
        self.state = State::Content {
            in_part: true,
            fresh: true,
        };
        match boundary {
            // a part that ends before its headers do has no body
            Some(closing) => self.boundary(closing),
            None => Ok(()),
        }
    }

    fn skip(&mut self, length: usize) -> Result<(), MultipartError> {
        self.skipped = self.skipped.saturating_add(length);
        let max = self.limits.preamble_bytes;
        if self.skipped > max {
            Err(too_large("bytes outside its parts", max))
        } else {
            Ok(())
        }
    }
}

fn too_large(what: &'static str, max: usize) -> MultipartError {
    MultipartError::TooLarge { what, max }
}
