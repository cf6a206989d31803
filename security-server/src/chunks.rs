//! The chunks of a body, none of which is waited for without end.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jibek_protocol::copied;
use tokio::time::{Instant, timeout};

use crate::config::Limits;

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChunkError {
    /// The connection broke or the HTTP framing is wrong.
    #[error("{reason}")]
    Broken {
        /// What the HTTP library said.
        reason: String,
    },
    /// It came, but so slowly that it would hold its place for ever.
    #[error("it came slower than {least_rate} bytes a second")]
    Slow {
        /// What is demanded.
        least_rate: u64,
    },
    /// Nothing came for too long.
    #[error("nothing came for {seconds} s")]
    Stalled {
        /// How long this server waited, in seconds.
        seconds: u64,
    },
    /// It is longer than what is read into memory.
    #[error("it is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
}

/// How long one body is waited for: so long between two chunks, and, if a rate is demanded, so long altogether as that rate
/// allows. Only time in which we wait for the sender counts: a slow receiver behind us is not its fault.
#[derive(Debug)]
pub(crate) struct Pace {
    stall: Duration,
    /// Bytes a second.
    least_rate: Option<u64>,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// For requests: whoever sends them decides how fast, so there is a least rate.
    pub(crate) fn of_request(limits: &Limits) -> Self {
        Self {
            least_rate: Some(limits.body_least_rate),
            ..Self::of_answer(limits)
        }
    }

    /// For answers, which a service may make as slowly as it needs.
    pub(crate) fn of_answer(limits: &Limits) -> Self {
        Self {
            stall: limits.body_stall,
            least_rate: None,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Returns the next chunk that is not empty, or `None` at the end of the body.
    ///
    /// Cancel safe: a cancelled call loses no chunk.
    pub(crate) async fn next(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, ChunkError> {
        loop {
            let limit = self.limit();
            let begun = Instant::now();
            let frame = timeout(limit, body.frame()).await;
            self.waited = self.waited.saturating_add(begun.elapsed());
            let frame = match frame {
                Err(_) => return Err(self.late(limit)),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    return Err(ChunkError::Broken {
                        reason: error.to_string(),
                    });
                }
                Ok(Some(Ok(frame))) => frame,
            };
            // What is no data are trailers, which nobody reads.
            let data = frame.into_data().unwrap_or_default();
            if !data.is_empty() {
                let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                self.bytes = self.bytes.saturating_add(length);
                return Ok(Some(data));
            }
        }
    }

    /// Reads a body into memory.
    pub(crate) async fn whole(
        mut self,
        body: &mut Incoming,
        limit_bytes: usize,
    ) -> Result<Bytes, ChunkError> {
        let fits = |length: usize| match length <= limit_bytes {
            true => Ok(()),
            false => Err(ChunkError::TooLarge { limit_bytes }),
        };
        let first = self.next(body).await?.unwrap_or_default();
        fits(first.len())?;
        let Some(second) = self.next(body).await? else {
            return Ok(first);
        };
        let mut all = Vec::with_capacity((first.len() + second.len()) * 2);
        copied::append(&mut all, &first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            fits(all.len() + chunk.len())?;
            copied::append(&mut all, &chunk);
            next = self.next(body).await?;
        }
        Ok(all.into())
    }

    /// How long the next chunk is waited for.
    fn limit(&self) -> Duration {
        let Some(rate) = self.least_rate else {
            return self.stall;
        };
        let earned = Duration::from_secs(self.bytes / rate.max(1));
        let left = self.stall.saturating_add(earned);
        left.saturating_sub(self.waited).min(self.stall)
    }

    fn late(&self, limit: Duration) -> ChunkError {
        match self.least_rate {
            Some(least_rate) if limit < self.stall => ChunkError::Slow { least_rate },
            _ => ChunkError::Stalled {
                seconds: self.stall.as_secs(),
            },
        }
    }
}
