//! Writing a transport message part by part, with the peer's pace.

use std::{mem, time::Duration};

use bytes::Bytes;
use http::Response;
use jibek_protocol::multipart::{self, MultipartWriter};
use tokio::{sync::oneshot, time::timeout};

use super::{
    SignatureParts,
    handed::{self, Hand},
    part,
};
use crate::{body::Body, random::Random};

/// The peer stopped reading or the connection broke: nothing more can be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the peer closed the connection while the message was written")]
pub(crate) struct PeerGone;

/// A transport message under construction.
///
/// What is written waits here until there is enough of it, or [`Outgoing::flush`], so that it leaves in one write: nobody can act
/// on a part of a message.
///
/// Dropped before [`Outgoing::close`], it aborts the HTTP body, so that the peer sees a broken message and not a
/// complete one without a signature.
#[derive(Debug)]
pub(crate) struct Outgoing {
    writer: MultipartWriter,
    patience: Duration,
    hand: Option<Hand>,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    head: Option<(oneshot::Sender<Response<Body>>, Response<Body>)>,
    outlives_peer: bool,
    stalled: bool,
}

/// Handed over and not yet read by the peer: so many times what has gathered.
const QUEUE: usize = 16;
/// What gathers before it is handed over.
const GATHERED_BYTES: usize = 16 << 10;

impl Outgoing {
    /// Starts a message; the second value is the HTTP body that carries it. A peer that takes nothing for `patience` is
    /// gone.
    pub(crate) fn start(random: &dyn Random, patience: Duration) -> (Self, Body) {
        let mut seed = [0; 30];
        random.fill(&mut seed);
        let (hand, body) = handed::body(QUEUE);
        let message = Self {
            writer: MultipartWriter::new(multipart::boundary("xtop", &seed)),
            patience,
            hand: Some(hand),
            waiting: Vec::new(),
            waiting_bytes: 0,
            head: None,
            outlives_peer: false,
            stalled: false,
        };
        (message, body)
    }

    /// Gives `response`, the head of this message, to `peer` together with the first bytes.
    pub(crate) fn head(&mut self, peer: oneshot::Sender<Response<Body>>, response: Response<Body>) {
        self.head = Some((peer, response));
    }

    /// From now on the message is made to its end although its peer may have gone: the peer may ask for it again. Only
    /// [`Outgoing::close`] tells that it went.
    pub(crate) fn outlive_peer(&mut self) {
        self.outlives_peer = true;
    }

    /// Tells whether the peer is there and takes nothing.
    pub(crate) fn stalled(&self) -> bool {
        self.stalled
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

    /// Writes a chunk of the part that was started last. Waits until the peer has room, when enough has gathered.
    pub(crate) async fn data(&mut self, chunk: Bytes) -> Result<(), PeerGone> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.waiting_bytes = self.waiting_bytes.saturating_add(chunk.len());
        self.waiting.push(chunk);
        if self.waiting_bytes >= GATHERED_BYTES {
            return self.hand_over(false).await;
        }
        Ok(())
    }

    /// Sends what has gathered: to be called before waiting for what comes next.
    pub(crate) async fn flush(&mut self) -> Result<(), PeerGone> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.hand_over(false).await
    }

    async fn hand_over(&mut self, is_end: bool) -> Result<(), PeerGone> {
        self.waiting_bytes = 0;
        let pieces = mem::take(&mut self.waiting);
        let Some(hand) = self.hand.as_ref() else {
            return self.without_peer();
        };
        let handed = timeout(self.patience, hand.over(pieces, is_end)).await;
        if let Some((peer, response)) = self.head.take()
            && peer.send(response).is_err()
        {
            tracing::info!("the peer went away before the answer; the request stays recorded");
        }
        match handed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => {
                self.hand = None;
                self.without_peer()
            }
            Err(_) => {
                // The peer must not take it for a whole one.
                self.hand = None;
                self.stalled = true;
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
        self.waiting.push(end);
        self.hand_over(true).await?;
        self.hand.take().map(drop).ok_or(PeerGone)
    }
}
