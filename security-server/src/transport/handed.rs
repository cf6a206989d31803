//! The HTTP body that a message is sent as while it is made: pieces handed over one after the other, several at a time.
//!
//! What is handed over at once is seen at once, so that it leaves in one write. The end is handed over, too, behind the last
//! piece: a body whose writer is gone without that has failed. (`http_body_util::channel` tells the end beside the frames, and
//! may so tell it before the last of them.)

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use crate::body::{Body, BodyError};

/// Hands pieces over to the body. Dropped before the end was handed over, it makes the body fail.
#[derive(Debug)]
pub(super) struct Hand(mpsc::Sender<Handed>);

/// Nobody reads the body any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NobodyReads;

#[derive(Debug)]
struct Handed {
    pieces: Vec<Bytes>,
    is_end: bool,
}

struct HandedBody {
    handed: mpsc::Receiver<Handed>,
    pieces: vec::IntoIter<Bytes>,
    ended: bool,
}

/// A body, and the hand that fills it. Each of `room` places takes what is handed over at once.
pub(super) fn body(room: usize) -> (Hand, Body) {
    let (hand, handed) = mpsc::channel(room.max(1));
    let body = HandedBody {
        handed,
        pieces: Vec::new().into_iter(),
        ended: false,
    };
    (Hand(hand), body.boxed_unsync())
}

impl Hand {
    /// Hands pieces over, waiting for room. With `is_end` nothing follows.
    ///
    /// Cancel safe: a cancelled call has handed over nothing.
    pub(super) async fn over(&self, pieces: Vec<Bytes>, is_end: bool) -> Result<(), NobodyReads> {
        let handed = Handed { pieces, is_end };
        self.0.send(handed).await.map_err(|_| NobodyReads)
    }
}

impl http_body::Body for HandedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(piece) = self.pieces.next() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.handed.poll_recv(context)) {
                Some(handed) => {
                    self.ended = handed.is_end;
                    self.pieces = handed.pieces.into_iter();
                }
                None => {
                    self.ended = true;
                    let given_up = io::Error::other("the message was given up");
                    return Poll::Ready(Some(Err(given_up.into())));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.pieces.as_slice().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(texts: &[&'static str]) -> Vec<Bytes> {
        texts
            .iter()
            .map(|text| Bytes::from_static(text.as_bytes()))
            .collect()
    }

    #[tokio::test]
    async fn what_is_handed_over_comes_in_order_and_ends() {
        let (hand, body) = body(2);
        hand.over(pieces(&["a", "b"]), false).await.unwrap();
        hand.over(pieces(&["c"]), true).await.unwrap();
        drop(hand);
        let whole = body.collect().await.unwrap().to_bytes();
        assert_eq!(whole, "abc");
    }

    #[tokio::test]
    async fn a_hand_that_lets_go_makes_the_body_fail_after_what_it_gave() {
        let (hand, mut body) = body(2);
        hand.over(pieces(&["a"]), false).await.unwrap();
        drop(hand);
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "a");
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn nobody_who_reads_is_told() {
        let (hand, body) = body(1);
        drop(body);
        assert_eq!(hand.over(pieces(&["a"]), true).await, Err(NobodyReads));
    }

    /// The last piece must come whatever the moment in which its writer goes.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_end_never_overtakes_the_last_piece() {
        for _ in 0..2000 {
            let (hand, body) = body(4);
            let writer = tokio::spawn(async move {
                for (text, is_end) in [("a", false), ("b", false), ("c", true)] {
                    hand.over(pieces(&[text]), is_end).await.unwrap();
                }
            });
            let whole = body.collect().await.unwrap().to_bytes();
            assert_eq!(whole, "abc");
            writer.await.unwrap();
        }
    }
}
