//! Looking at a ClientHello before choosing who answers it.
//!
//! The bytes are read off the socket (a hello may span several segments and several TLS records), judged, and handed on with the
//! socket by [`Replay`].

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What a client offers, as far as the choice of a TLS stack needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientHello {
    /// Offers TLS 1.3.
    pub(super) tls13: bool,
    /// Cipher suites in the client's order.
    pub(super) suites: Vec<u16>,
}

/// Why no hello could be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// The connection ended within the hello.
    #[error("connection ended within the TLS greeting, after {read} bytes")]
    Ended {
        /// Bytes that came.
        read: usize,
    },
    /// The socket failed.
    #[error("cannot read the TLS greeting")]
    Io(#[source] io::Error),
    /// The hello breaks the grammar of TLS.
    #[error("malformed TLS greeting")]
    Malformed,
    /// The bytes are no TLS (plain HTTP, a scanner).
    #[error("not a TLS greeting")]
    NotTls,
    /// The hello is longer than any real one.
    #[error("TLS greeting is longer than {MOST_HELLO_BYTES} bytes")]
    TooLong,
}

/// Reads from `stream` until the ClientHello is whole. Returns what it offers and all bytes read. The caller sets the deadline.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<(ClientHello, Bytes), HelloError> {
    let mut bytes = BytesMut::with_capacity(2048);
    loop {
        if let Some(hello) = parse(&bytes)? {
            return Ok((hello, bytes.freeze()));
        }
        if bytes.len() >= MOST_HELLO_BYTES {
            return Err(HelloError::TooLong);
        }
        let read = stream.read_buf(&mut bytes).await.map_err(HelloError::Io)?;
        if read == 0 {
            return Err(HelloError::Ended { read: bytes.len() });
        }
    }
}

/// Parses TLS records that carry a ClientHello; `None` when more bytes are needed.
fn parse(bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
    let mut handshake = Vec::new();
    let mut rest = bytes;
    loop {
        if let Some(hello) = whole_hello(&handshake)? {
            return hello_body(&hello).ok_or(HelloError::Malformed).map(Some);
        }
        // Reject as soon as a byte is wrong: content type, then the major version.
        if rest.first().is_some_and(|kind| *kind != HANDSHAKE)
            || rest.get(1).is_some_and(|major| *major != 3)
        {
            return Err(if handshake.is_empty() {
                HelloError::NotTls
            } else {
                HelloError::Malformed
            });
        }
        let Some((head, after)) = rest.split_at_checked(5) else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if length == 0 || length > MOST_RECORD_BYTES {
            return Err(HelloError::Malformed);
        }
        let Some((body, next)) = after.split_at_checked(length) else {
            return Ok(None);
        };
        handshake.extend_from_slice(body);
        if handshake.len() > MOST_HELLO_BYTES {
            return Err(HelloError::TooLong);
        }
        rest = next;
    }
}

/// The body of the first handshake message, when it is whole.
fn whole_hello(handshake: &[u8]) -> Result<Option<Vec<u8>>, HelloError> {
    if handshake.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(HelloError::NotTls);
    }
    let Some((head, body)) = handshake.split_at_checked(4) else {
        return Ok(None);
    };
    let length =
        usize::try_from(u32::from_be_bytes([0, head[1], head[2], head[3]])).unwrap_or(usize::MAX);
    if length > MOST_HELLO_BYTES {
        return Err(HelloError::TooLong);
    }
    Ok(body.get(..length).map(<[u8]>::to_vec))
}

fn hello_body(body: &[u8]) -> Option<ClientHello> {
    let mut rest = body;
    take(&mut rest, 2 + 32)?; // legacy version, random
    let session = take_u8(&mut rest)?;
    take(&mut rest, usize::from(session))?;
    let length = take_u16(&mut rest)?;
    let suites = take(&mut rest, usize::from(length))?;
    let suites = suites
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect();
    let compressions = take_u8(&mut rest)?;
    take(&mut rest, usize::from(compressions))?;
    let mut tls13 = false;
    if !rest.is_empty() {
        let length = take_u16(&mut rest)?;
        let mut extensions = take(&mut rest, usize::from(length))?;
        while !extensions.is_empty() {
            let kind = take_u16(&mut extensions)?;
            let length = take_u16(&mut extensions)?;
            let content = take(&mut extensions, usize::from(length))?;
            if kind == SUPPORTED_VERSIONS {
                tls13 = content
                    .get(1..)?
                    .chunks_exact(2)
                    .any(|version| version == [3, 4]);
            }
        }
    }
    Some(ClientHello { tls13, suites })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn take_u8(rest: &mut &[u8]) -> Option<u8> {
    take(rest, 1).map(|bytes| bytes[0])
}

fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// A stream whose first bytes were read already and are read again. It also remembers the first byte that really came, by which a
/// client tells a refusal before ServerHello from one after it.
#[derive(Debug)]
pub(super) struct Replay<S> {
    before: Bytes,
    stream: S,
    first: Option<u8>,
    muted: bool,
}

impl<S> Replay<S> {
    /// Puts `before` in front of what `stream` will yield.
    pub(super) fn new(before: Bytes, stream: S) -> Self {
        Self {
            before,
            stream,
            first: None,
            muted: false,
        }
    }

    /// The first byte that came from the stream itself.
    pub(super) fn first_byte(&self) -> Option<u8> {
        self.first
    }

    /// From now on swallows what is written.
    pub(super) fn mute(&mut self) {
        self.muted = true;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replay<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let length = self.before.len().min(buffer.remaining());
            buffer.put_slice(&self.before[..length]);
            self.before.advance(length);
            return Poll::Ready(Ok(()));
        }
        let filled = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.first.is_none() {
            self.first = buffer.filled().get(filled).copied();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replay<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.muted {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A hello with a post-quantum key share has about 1.8 KB; every real one fits many times.
const MOST_HELLO_BYTES: usize = 16 * 1024;
const MOST_RECORD_BYTES: usize = 16 * 1024;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SUPPORTED_VERSIONS: u16 = 43;

#[cfg(test)]
mod tests {
    use super::*;

    /// A TLS 1.2 hello with these suites and, when asked, supported_versions with TLS 1.3.
    fn hello(suites: &[u16], tls13: bool) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend(u16::try_from(suites.len() * 2).unwrap().to_be_bytes());
        suites
            .iter()
            .for_each(|suite| body.extend(suite.to_be_bytes()));
        body.extend([1, 0]);
        if tls13 {
            body.extend([0, 9, 0, 43, 0, 5, 4, 3, 4, 3, 3]);
        }
        let mut message = vec![CLIENT_HELLO, 0];
        message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        message.extend(body);
        message
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in message.chunks(size) {
            bytes.extend([HANDSHAKE, 3, 1]);
            bytes.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
            bytes.extend(part);
        }
        bytes
    }

    #[test]
    fn a_hello_is_read_however_it_is_cut() {
        for tls13 in [false, true] {
            let message = hello(&[0xc028, 0x006b], tls13);
            for size in [1, 2, 5, 37, 4000] {
                let bytes = records(&message, size);
                for end in 0..bytes.len() {
                    assert_eq!(
                        parse(&bytes[..end]).unwrap(),
                        None,
                        "{end} of {}",
                        bytes.len()
                    );
                }
                let found = parse(&bytes).unwrap().unwrap();
                assert_eq!(
                    found,
                    ClientHello {
                        tls13,
                        suites: vec![0xc028, 0x006b]
                    }
                );
            }
        }
    }

    #[tokio::test]
    async fn bytes_are_replayed_with_what_follows() {
        let mut bytes = records(&hello(&[0x1301], true), 4000);
        bytes.extend(b"more");
        let mut stream = bytes.as_slice();
        let (_, read) = read(&mut stream).await.unwrap();
        let mut replay = Replay::new(read, stream);
        let mut again = Vec::new();
        replay.read_to_end(&mut again).await.unwrap();
        assert_eq!(again, bytes);
    }

    #[tokio::test]
    async fn garbage_and_endless_hellos_are_refused() {
        assert!(matches!(
            read(&mut &b"GET / HTTP/1.1\r\n"[..]).await,
            Err(HelloError::NotTls)
        ));
        assert!(matches!(
            read(&mut &[22, 3, 1, 0][..]).await,
            Err(HelloError::Ended { read: 4 })
        ));
        assert!(matches!(
            read(&mut &[22, 3, 1, 0, 0][..]).await,
            Err(HelloError::Malformed)
        ));
        assert!(matches!(
            read(&mut &[22, 3, 1, 0, 1, 2][..]).await,
            Err(HelloError::NotTls)
        ));
        assert!(matches!(
            read(&mut &[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff][..]).await,
            Err(HelloError::TooLong)
        ));
        let mut endless = vec![CLIENT_HELLO, 0, 0x3f, 0xff];
        endless.resize(40_000, 0);
        let bytes = records(&endless, 10_000);
        assert!(read(&mut bytes.as_slice()).await.is_err());
        let cut = records(&hello(&[0x1301], true)[..20], 100);
        let mut wrong = cut.clone();
        wrong.extend([23, 3, 3, 0, 1, 0]);
        assert!(matches!(
            read(&mut wrong.as_slice()).await,
            Err(HelloError::Malformed)
        ));
    }
}
