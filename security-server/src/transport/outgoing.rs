//! Writing a transport message part by part, with the peer's pace.

use std::{io, time::Duration};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{
    BodyExt,
    channel::{Channel, Sender},
};
use jibek_protocol::multipart::{self, MultipartWriter};
use tokio::time::timeout;

use super::{SignatureParts, part};
use crate::{
    body::{Body, BodyError},
    random::Random,
};

/// The peer stopped reading or the connection broke: nothing more can be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the peer closed the connection while the message was written")]
pub(crate) struct PeerGone;

/// A transport message under construction.
///
/// Dropped before [`Outgoing::close`], it aborts the HTTP body, so that the peer sees a broken message and not a
/// complete one without a signature.
#[derive(Debug)]
pub(crate) struct Outgoing {
    writer: MultipartWriter,
    patience: Duration,
    sender: Option<Sender<Bytes, BodyError>>,
    outlives_peer: bool,
}

/// Chunks that may wait for the peer to read them.
const QUEUE: usize = 16;

impl Outgoing {
    /// Starts a message; the second value is the HTTP body that carries it. A peer that takes nothing for `patience` is
    /// gone.
    pub(crate) fn start(random: &dyn Random, patience: Duration) -> (Self, Body) {
        let mut seed = [0; 30];
        random.fill(&mut seed);
        let (sender, channel) = Channel::new(QUEUE);
        let message = Self {
            writer: MultipartWriter::new(multipart::boundary("xtop", &seed)),
            patience,
            sender: Some(sender),
            outlives_peer: false,
        };
        (message, channel.boxed_unsync())
    }

    /// From now on the message is made to its end although its peer may have gone: the peer may ask for it again. Only
    /// [`Outgoing::close`] tells that it went.
    pub(crate) fn outlive_peer(&mut self) {
        self.outlives_peer = true;
    }

    /// Returns the value of the HTTP header `Content-Type`.
    pub(crate) fn content_type(&self) -> String {
        self.writer.content_type()
    }

    /// Starts a part.
    pub(crate) async fn part(&mut self, content_type: &str) -> Result<(), PeerGone> {
        let head = self.writer.part(content_type, []);
        self.data(head).await
    }

    /// Writes a chunk of the part that was started last. Waits until the peer has room.
    pub(crate) async fn data(&mut self, chunk: Bytes) -> Result<(), PeerGone> {
        if chunk.is_empty() {
            return Ok(());
        }
        let Some(sender) = self.sender.as_mut() else {
            return self.without_peer();
        };
        match timeout(self.patience, sender.send(Frame::data(chunk))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => {
                self.sender = None;
                self.without_peer()
            }
            Err(_) => {
                // The peer must not take it for a whole one.
                self.abort();
                self.without_peer()
            }
        }
    }

    fn without_peer(&self) -> Result<(), PeerGone> {
        if self.outlives_peer {
            Ok(())
        } else {
            Err(PeerGone)
        }
    }

    fn abort(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.abort(Box::new(io::Error::other("the message was given up")));
        }
    }

    /// Writes a whole part.
    pub(crate) async fn whole_part(
        &mut self,
        content_type: &str,
        bytes: Bytes,
    ) -> Result<(), PeerGone> {
        self.part(content_type).await?;
        self.data(bytes).await
    }

    /// Writes the signature and what belongs to it. After this the peer may act on the message.
    pub(crate) async fn signature(&mut self, parts: &SignatureParts) -> Result<(), PeerGone> {
        self.announce_signature(parts).await?;
        self.data(parts.signature.clone()).await
    }

    /// Writes what belongs to the signature, and starts its part.
    pub(crate) async fn announce_signature(
        &mut self,
        parts: &SignatureParts,
    ) -> Result<(), PeerGone> {
        if let Some(result) = &parts.hash_chain_result {
            self.whole_part(part::HASH_CHAIN_RESULT, result.clone())
                .await?;
        }
        if let Some(chain) = &parts.hash_chain {
            self.whole_part(part::HASH_CHAIN, chain.clone()).await?;
        }
        self.part(part::SIGNATURE).await
    }

    /// Writes the closing boundary and ends the HTTP body.
    pub(crate) async fn close(mut self) -> Result<(), PeerGone> {
        let end = self.writer.clone().close();
        self.data(end).await?;
        self.sender.take().map(drop).ok_or(PeerGone)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.abort();
    }
}
