//! Finding a boundary in bytes that come in pieces.

use memchr::memmem::Finder;

/// `--boundary`.
#[derive(Clone, Debug)]
pub(super) struct Delimiter {
    token: Vec<u8>,
    finder: Finder<'static>,
}

/// What a line that begins with `--` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// Something else.
    No,
    /// Not to be told yet.
    NeedMore,
    /// A boundary of so many bytes, its line end included.
    Boundary { length: usize, closing: bool },
}

/// Where in a chunk the next boundary may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Everything before `content_end` is content; then a boundary, which ends at `end`.
    Boundary {
        content_end: usize,
        end: usize,
        closing: bool,
    },
    /// Everything before `content_end` is content, the rest must be seen with what follows.
    Undecided { content_end: usize },
}

impl Delimiter {
    pub(super) fn new(boundary: &[u8]) -> Self {
        let token = [b"--", boundary].concat();
        let finder = Finder::new(&token).into_owned();
        Self { token, finder }
    }

    /// Most bytes that are needed to decide what begins with a line break.
    pub(super) fn window(&self) -> usize {
        self.token.len() + PADDING_BYTES + LINE_BREAKS_AND_HYPHENS
    }

    /// Judges a line that starts at the start of `line`. At the end of the data a boundary needs no line end.
    pub(super) fn judge(&self, line: &[u8], at_end: bool) -> Match {
        let Some(rest) = line.strip_prefix(self.token.as_slice()) else {
            return if !at_end && self.token.starts_with(line) {
                Match::NeedMore
            } else {
                Match::No
            };
        };
        let undecided = |closing: bool| match (at_end, closing) {
            (true, true) => Match::Boundary {
                length: line.len(),
                closing,
            },
            (true, false) => Match::No,
            (false, _) => Match::NeedMore,
        };
        if rest == b"-" && !at_end {
            return Match::NeedMore;
        }
        let (closing, rest) = match rest.strip_prefix(b"--") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let padding = rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        if padding > PADDING_BYTES {
            return Match::No;
        }
        let before = line.len() - rest.len() + padding;
        match rest.get(padding..).unwrap_or_default() {
            [] => undecided(closing),
            [b'\n', ..] => Match::Boundary {
                length: before + 1,
                closing,
            },
            [b'\r', b'\n', ..] => Match::Boundary {
                length: before + 2,
                closing,
            },
            [b'\r'] => undecided(closing),
            _ => Match::No,
        }
    }

    /// Judges bytes that may begin with a line break before a boundary; `fresh` says that a line starts here anyway.
    pub(super) fn judge_break(&self, bytes: &[u8], fresh: bool, at_end: bool) -> Match {
        let line = match bytes {
            [b'\r', b'\n', line @ ..] | [b'\n', line @ ..] => line,
            [b'\r'] if !at_end => return Match::NeedMore,
            line if fresh => line,
            _ => return Match::No,
        };
        match self.judge(line, at_end) {
            Match::Boundary { length, closing } => Match::Boundary {
                length: length + bytes.len() - line.len(),
                closing,
            },
            other => other,
        }
    }

    /// Finds the first boundary in a chunk; `fresh` says that a line starts with it.
    pub(super) fn find(&self, chunk: &[u8], fresh: bool) -> Found {
        let mut from = 0;
        while let Some(index) = chunk.get(from..).and_then(|rest| self.finder.find(rest)) {
            let at = from + index;
            from = at + 1;
            let before = chunk.get(..at).unwrap_or_default();
            let starts_line = before.ends_with(b"\n") || (at == 0 && fresh);
            if !starts_line {
                continue;
            }
            let content_end = at - line_break_length(before);
            match self.judge(chunk.get(at..).unwrap_or_default(), false) {
                Match::Boundary { length, closing } => {
                    return Found::Boundary {
                        content_end,
                        end: at + length,
                        closing,
                    };
                }
                Match::NeedMore => return Found::Undecided { content_end },
                Match::No => {}
            }
        }
        Found::Undecided {
            content_end: self.first_possible_start(chunk, fresh),
        }
    }

    /// Where the shortest prefix of a boundary that reaches the end of the chunk may begin.
    fn first_possible_start(&self, chunk: &[u8], fresh: bool) -> usize {
        let from = chunk.len().saturating_sub(self.token.len() + 1);
        for (index, byte) in chunk.iter().enumerate().skip(from) {
            if matches!(byte, b'\r' | b'\n') {
                let tail = chunk.get(index..).unwrap_or_default();
                if self.judge_break(tail, false, false) == Match::NeedMore {
                    return index;
                }
            }
        }
        if fresh && self.judge(chunk, false) == Match::NeedMore {
            0
        } else {
            chunk.len()
        }
    }
}

fn line_break_length(before: &[u8]) -> usize {
    if before.ends_with(b"\r\n") {
        2
    } else {
        usize::from(before.ends_with(b"\n"))
    }
}

/// Blanks that may follow a boundary (RFC 2046 transport padding).
const PADDING_BYTES: usize = 256;

/// CRLF before, two hyphens and CRLF after.
const LINE_BREAKS_AND_HYPHENS: usize = 6;
