//! One HTTP/1.1 connection of the load generator, which must be cheap: requests are bytes that are at hand, of an answer is read
//! what is needed to know where it ends and whether it is right.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The byte that bodies consist of.
pub const FILLER: u8 = b'x';

/// A request as it goes out: bytes at hand, then so many of [`FILLER`].
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Head, and body if it is no filler.
    pub bytes: &'a [u8],
    /// Length of the filler that follows, in bytes.
    pub filler: u64,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Length of the body, in bytes, without framing.
    pub length: u64,
    /// Whether the body was nothing but [`FILLER`].
    pub filler_only: bool,
    /// The beginning of the body.
    pub beginning: Vec<u8>,
    /// Whether the other end keeps the connection.
    pub kept: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    buffer: Vec<u8>,
    filled: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Over an open stream.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: vec![0; BUFFER],
            filled: 0,
        }
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    ///
    /// The connection broke, or the answer is not HTTP. The connection is of no use afterwards.
    pub async fn call(&mut self, request: Outgoing<'_>) -> io::Result<Answer> {
        self.stream.write_all(request.bytes).await?;
        let mut left = request.filler;
        while left > 0 {
            let slice = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE.len());
            self.stream
                .write_all(PIECE.get(..slice).unwrap_or_default())
                .await?;
            left = left.saturating_sub(u64::try_from(slice).unwrap_or(u64::MAX));
        }
        self.stream.flush().await?;
        self.answer().await
    }

    async fn answer(&mut self) -> io::Result<Answer> {
        self.filled = 0;
        let (head, mut from) = loop {
            let known = self.buffer.get(..self.filled).unwrap_or_default();
            if let Some(end) = end_of_head(known) {
                break (Head::parse(known.get(..end).unwrap_or_default())?, end);
            }
            self.more().await?;
        };
        let mut body = Body::new(head.length);
        loop {
            body.feed(self.buffer.get(from..self.filled).unwrap_or_default())?;
            if body.ended() {
                break;
            }
            self.filled = 0;
            from = 0;
            self.more().await?;
        }
        Ok(Answer {
            status: head.status,
            length: body.length,
            filler_only: body.odd == 0,
            beginning: body.beginning,
            kept: head.kept,
        })
    }

    async fn more(&mut self) -> io::Result<()> {
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        if room.is_empty() {
            return Err(broken("the head of the answer is too long"));
        }
        match self.stream.read(room).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.filled = self.filled.saturating_add(read);
                Ok(())
            }
        }
    }
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Chunked,
    Known(u64),
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Length,
    kept: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| broken("the head is not text"))?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 "))
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| broken("no status line"))?;
        let mut head = Self {
            status,
            length: Length::Known(0),
            kept: true,
        };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                let known = value.parse().map_err(|_| broken("no length"))?;
                head.length = Length::Known(known);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                head.length = Length::Chunked;
            } else if name.eq_ignore_ascii_case("connection") {
                head.kept = !value.eq_ignore_ascii_case("close");
            }
        }
        Ok(head)
    }
}

/// Where a body stands.
#[derive(Debug)]
struct Body {
    state: State,
    length: u64,
    odd: u8,
    beginning: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Within the line with the length of a chunk; an extension is passed over.
    Size {
        so_far: u64,
        extension: bool,
    },
    /// Within a chunk, or a body of known length.
    Data {
        left: u64,
        chunked: bool,
    },
    /// After a chunk.
    AfterChunk,
    /// After the last chunk: lines up to an empty one.
    Trailer {
        line: u64,
    },
    Ended,
}

impl Body {
    fn new(length: Length) -> Self {
        let state = match length {
            Length::Known(0) => State::Ended,
            Length::Known(left) => State::Data {
                left,
                chunked: false,
            },
            Length::Chunked => State::Size {
                so_far: 0,
                extension: false,
            },
        };
        Self {
            state,
            length: 0,
            odd: 0,
            beginning: Vec::new(),
        }
    }

    fn ended(&self) -> bool {
        self.state == State::Ended
    }

    fn feed(&mut self, mut input: &[u8]) -> io::Result<()> {
        while let Some((&byte, rest)) = input.split_first() {
            if let State::Data { left, chunked } = self.state {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let (data, after) = input.split_at(take);
                self.data(data);
                input = after;
                let left = left.saturating_sub(u64::try_from(take).unwrap_or(u64::MAX));
                self.state = match (left, chunked) {
                    (0, true) => State::AfterChunk,
                    (0, false) => State::Ended,
                    _ => State::Data { left, chunked },
                };
                continue;
            }
            input = rest;
            self.state = match (self.state, byte) {
                (State::Size { so_far: 0, .. }, b'\n') => State::Trailer { line: 0 },
                (State::Size { so_far, .. }, b'\n') => State::Data {
                    left: so_far,
                    chunked: true,
                },
                (State::Size { so_far, .. }, b';') => State::Size {
                    so_far,
                    extension: true,
                },
                (
                    state @ State::Size {
                        extension: true, ..
                    },
                    _,
                )
                | (state, b'\r') => state,
                (State::Size { so_far, .. }, digit) => State::Size {
                    so_far: char::from(digit)
                        .to_digit(16)
                        .and_then(|digit| so_far.checked_mul(16)?.checked_add(digit.into()))
                        .ok_or_else(|| broken("no length of a chunk"))?,
                    extension: false,
                },
                (State::AfterChunk, b'\n') => State::Size {
                    so_far: 0,
                    extension: false,
                },
                (State::Trailer { line: 0 }, b'\n') => State::Ended,
                (State::Trailer { .. }, b'\n') => State::Trailer { line: 0 },
                (State::Trailer { line }, _) => State::Trailer {
                    line: line.saturating_add(1),
                },
                _ => return Err(broken("the answer goes on after its end")),
            };
        }
        Ok(())
    }

    fn data(&mut self, data: &[u8]) {
        self.length = self
            .length
            .saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        self.odd |= data.iter().fold(0, |odd, byte| odd | (byte ^ FILLER));
        let room = BEGINNING.saturating_sub(self.beginning.len());
        self.beginning.extend(data.iter().take(room).copied());
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    at.checked_add(4)
}

fn broken(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

const BUFFER: usize = 64 * 1024;
const BEGINNING: usize = 512;
/// What filler is written from.
static PIECE: [u8; 64 * 1024] = [FILLER; 64 * 1024];

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(bytes: &[u8], piece: usize) -> io::Result<Answer> {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let bytes = bytes.to_vec();
        let writer = tokio::spawn(async move {
            for piece in bytes.chunks(piece) {
                theirs.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let got = Wire::new(ours)
            .call(Outgoing {
                bytes: b"",
                filler: 0,
            })
            .await;
        writer.await.unwrap();
        got
    }

    #[tokio::test]
    async fn answers_end_where_they_say_however_they_are_cut() {
        let known = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nxxxxx";
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3;a=b\r\nxxx\r\n00002\r\nxx\r\n0\r\nt: v\r\n\r\n";
        for piece in [1, 2, 7, 1000] {
            let got = answer(known, piece).await.unwrap();
            assert_eq!((got.status, got.length, got.kept), (200, 5, true));
            assert!(got.filler_only);
            let got = answer(chunked, piece).await.unwrap();
            assert_eq!((got.status, got.length, got.kept), (200, 5, false));
            assert_eq!(got.beginning, b"xxxxx");
        }
    }

    #[tokio::test]
    async fn a_foreign_byte_a_cut_and_nonsense_are_seen() {
        let got = answer(b"HTTP/1.1 500 No\r\ncontent-length: 3\r\n\r\nxyx", 9).await;
        let got = got.unwrap();
        assert_eq!((got.status, got.filler_only), (500, false));
        for wrong in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nxxx"[..],
            b"SMTP\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nxxHTTP",
        ] {
            assert!(answer(wrong, 1000).await.is_err());
        }
    }
}
