//! TLS: with other servers on 5500, with consumers and with providers.
//!
//! rustls wherever we choose. X-Road 7 peers offer by default only TLS 1.2 with CBC suites, which rustls rightly lacks, so 5500 has a
//! second stack, OpenSSL, for exactly those (`message-path.md` 5.1): inbound the ClientHello decides ([`PeerAcceptor`]), outbound the
//! memory of refusals ([`PeerConnector`]). Neither stack judges chains, names or purposes (`message-path.md` 5.3, 7.5): inbound the
//! leaf must be registered, everything else is judged for each message by X-Road's rules from the certificates handed on.

mod accept;
mod connect;
mod consumer;
mod hello;
mod legacy;
mod memory;
mod resume;
mod verify;

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use jibek_certs::Certificate;
use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

pub use accept::{AcceptError, PeerAcceptor};
pub use connect::{PeerConnector, TlsError};
pub use consumer::{ConsumerAcceptor, ConsumerStream, InternalTls, InternalTlsError};
pub use hello::HelloError;
pub(crate) use verify::LeafVerifier;
pub use verify::Registered;

use crate::keys::AuthKey;
use hello::Replay;

/// A TLS connection with another server, over either stack.
#[derive(Debug)]
pub struct PeerStream(Inner);

/// What is known of a connection with another server after the handshake.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerTls {
    /// The certificates that the other end presented, leaf first. Not judged beyond what [`PeerAcceptor`] says.
    pub certificates: Vec<Certificate>,
    /// Which stack carries it.
    pub stack: Stack,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// Whether both ends said that a request is executed once, however often it arrives ([`ONCE`]).
    pub once: bool,
}

/// A TLS stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "two, by design")]
pub enum Stack {
    /// OpenSSL: TLS 1.2 with CBC suites, for X-Road peers that have nothing newer.
    Legacy,
    /// rustls: TLS 1.3 and TLS 1.2 with AEAD suites.
    Modern,
}

#[derive(Debug)]
enum Inner {
    LegacyInbound(Box<tokio_openssl::SslStream<Replay<TcpStream>>>),
    LegacyOutbound(TokioIo<Box<resume::Stream>>),
    ModernInbound(Box<tokio_rustls::server::TlsStream<Replay<TcpStream>>>),
    ModernOutbound(Box<tokio_rustls::client::TlsStream<Replay<TcpStream>>>),
}

/// The one crypto provider: aws-lc-rs, X25519MLKEM768 first.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

/// Our name in ALPN for HTTP/1.1 between servers that execute a signed request once, however often it arrives: what was lost with
/// a connection may be sent again. A peer without this name speaks plain HTTP/1.1, as before.
pub const ONCE: &[u8] = b"jibek-once/1";

/// What both ends of a connection between servers offer in ALPN.
fn offered() -> Vec<Vec<u8>> {
    vec![ONCE.to_vec(), b"http/1.1".to_vec()]
}

/// The certificates and the key of `auth` as rustls wants them.
fn identity(auth: &AuthKey) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = std::iter::once(auth.certificate())
        .chain(auth.chain())
        .map(|certificate| CertificateDer::from(certificate.der().to_vec()))
        .collect();
    (
        chain,
        PrivatePkcs8KeyDer::from(auth.key().to_pkcs8_der().to_vec()).into(),
    )
}

/// Parses what rustls says the other end presented.
fn presented(certificates: Option<&[CertificateDer<'_>]>) -> Option<Vec<Certificate>> {
    let certificates = certificates?.iter().take(MOST_CERTIFICATES);
    certificates
        .map(|der| Certificate::from_der(der.to_vec()).ok())
        .collect()
}

macro_rules! forward {
    ($this:ident, $stream:ident => $call:expr) => {
        match &mut $this.get_mut().0 {
            Inner::LegacyInbound($stream) => $call,
            Inner::LegacyOutbound($stream) => $call,
            Inner::ModernInbound($stream) => $call,
            Inner::ModernOutbound($stream) => $call,
        }
    };
}

impl Drop for PeerStream {
    /// OpenSSL forgets the session of a connection that it did not say goodbye on, and many peers close without a word: say goodbye
    /// into the void, so that they can resume. The other end still sees a connection that ended without close_notify.
    fn drop(&mut self) {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match &mut self.0 {
            Inner::LegacyInbound(stream) => {
                stream.get_mut().mute();
                let _ = Pin::new(stream).poll_shutdown(&mut context);
            }
            Inner::LegacyOutbound(stream) => {
                stream.inner_mut().get_mut().inner_mut().mute();
                let _ = Pin::new(stream).poll_shutdown(&mut context);
            }
            Inner::ModernInbound(_) | Inner::ModernOutbound(_) => {}
        }
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_shutdown(context))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => Pin::new(stream).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Inner::LegacyInbound(stream) => stream.is_write_vectored(),
            Inner::LegacyOutbound(stream) => stream.is_write_vectored(),
            Inner::ModernInbound(stream) => stream.is_write_vectored(),
            Inner::ModernOutbound(stream) => stream.is_write_vectored(),
        }
    }
}

/// More certificates than any chain has.
const MOST_CERTIFICATES: usize = 16;

#[cfg(test)]
mod tests;
