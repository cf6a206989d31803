//! Asking a time-stamping authority (`signatures-and-log.md` 3.1).

use std::{future::Future, pin::Pin};

use bytes::Bytes;

use super::StampSettings;
use crate::outbound::{Outbound, OutboundError};

/// The future of [`TsaClient::request`].
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Bytes, TsaError>> + Send + 'a>>;

/// Carries a query to an authority and its answer back.
pub trait TsaClient: Send + Sync + std::fmt::Debug {
    /// Sends the DER `query` to `url`; returns the DER `TimeStampResp`, unverified.
    fn request<'a>(&'a self, url: &'a str, query: Vec<u8>) -> Asking<'a>;
}

/// Why an authority gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("the time-stamping authority gave no answer")]
pub struct TsaError {
    /// What went wrong, from the transport.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Asks over HTTP.
#[derive(Clone, Debug)]
pub struct HttpTsa {
    outbound: Outbound,
}

impl HttpTsa {
    /// Makes a client with the deadlines of `settings`.
    ///
    /// # Errors
    /// When the TLS library refuses its own defaults.
    pub fn new(settings: &StampSettings) -> Result<Self, OutboundError> {
        Ok(Self {
            outbound: Outbound::new(
                settings.connect_timeout,
                settings.read_timeout,
                MOST_TOKEN_BYTES,
            )?,
        })
    }
}

impl TsaClient for HttpTsa {
    fn request<'a>(&'a self, url: &'a str, query: Vec<u8>) -> Asking<'a> {
        Box::pin(async move {
            self.outbound
                .post(url, "application/timestamp-query", None, query)
                .await
                .map_err(|source| TsaError {
                    source: Box::new(source),
                })
        })
    }
}

/// Tokens with a chain of certificates are under 10 KiB; the log keeps them for years.
const MOST_TOKEN_BYTES: usize = 64 * 1024;
