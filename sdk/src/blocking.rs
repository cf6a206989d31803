//! The consumer for programs without an asynchronous runtime.
//!
//! It is built by [`ConsumerBuilder::build_blocking`](crate::ConsumerBuilder::build_blocking) and used like the other one,
//! without `await`. Everything runs in the calling thread, on a runtime of the consumer's own.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use jibek_protocol::id::{ClientId, ServiceId};
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::consumer::evidence::EvidenceCall;
use crate::consumer::reply::Reply as AsyncReply;
use crate::consumer::rest::RestCall;
use crate::consumer::soap::{SoapCall, SoapReply};
use crate::error::{BuildError, CallError, EvidenceError, ReadError};

/// Calls services in the name of one client, blocking the calling thread. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Consumer {
    inner: crate::Consumer,
    runtime: Arc<OwnRuntime>,
}

impl Consumer {
    pub(crate) fn new(inner: crate::Consumer) -> Result<Self, BuildError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(BuildError::Runtime)?;
        Ok(Self {
            inner,
            runtime: Arc::new(OwnRuntime(Some(runtime))),
        })
    }

    /// Gives the client in whose name calls are made.
    #[must_use]
    pub fn identity(&self) -> &ClientId {
        self.inner.identity()
    }

    /// Starts a REST call. It is a `GET` of the service itself until said otherwise.
    pub fn rest(&self, service: &ServiceId) -> RestCall<Self> {
        RestCall::new(self.clone(), service.clone())
    }

    /// Starts a call of a SOAP service, without attachments.
    pub fn soap(&self, service: &ServiceId) -> SoapCall<Self> {
        SoapCall::new(self.clone(), service.clone())
    }

    /// Starts to ask the security server for the evidence of an exchange.
    pub fn evidence(&self, message_id: &str) -> EvidenceCall<Self> {
        EvidenceCall::new(self.clone(), message_id)
    }

    /// Fetches the evidence of an exchange, request and response: a zip of ASiC-E containers.
    ///
    /// # Errors
    /// As [`crate::Consumer::container`], and [`CallError::Runtime`] inside an asynchronous runtime.
    pub fn container(&self, message_id: &str) -> Result<Bytes, EvidenceError> {
        self.runtime
            .wait(self.inner.container(message_id))
            .ok_or(EvidenceError::Call(CallError::Runtime))?
    }
}

impl RestCall<Consumer> {
    /// Makes the call and waits for the head of the reply.
    ///
    /// # Errors
    /// As the asynchronous one, and [`CallError::Runtime`] inside an asynchronous runtime.
    pub fn send(self) -> Result<Reply, CallError> {
        let inner = self.consumer().inner.clone();
        let (call, consumer) = self.exchange_consumer(inner);
        let reply = consumer
            .runtime
            .wait(call.send())
            .ok_or(CallError::Runtime)??;
        Ok(Reply {
            reply,
            rest: Bytes::new(),
            runtime: consumer.runtime,
        })
    }
}

impl SoapCall<Consumer> {
    /// Makes the call and waits for the reply.
    ///
    /// # Errors
    /// As the asynchronous one, and [`CallError::Runtime`] inside an asynchronous runtime.
    pub fn send(self) -> Result<SoapReply, CallError> {
        let inner = self.consumer().inner.clone();
        let (call, consumer) = self.exchange_consumer(inner);
        consumer
            .runtime
            .wait(call.send())
            .ok_or(CallError::Runtime)?
    }
}

impl EvidenceCall<Consumer> {
    /// Asks, and fetches the evidence whole, at most `limit_bytes` of it.
    ///
    /// # Errors
    /// As the asynchronous one, and [`CallError::Runtime`] inside an asynchronous runtime.
    pub fn send(self, limit_bytes: usize) -> Result<Bytes, EvidenceError> {
        let inner = self.consumer().inner.clone();
        let (call, consumer) = self.exchange_consumer(inner);
        let fetch = async {
            call.send()
                .await?
                .bytes(limit_bytes)
                .await
                .map_err(EvidenceError::Read)
        };
        consumer
            .runtime
            .wait(fetch)
            .ok_or(EvidenceError::Call(CallError::Runtime))?
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Consumer")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// The reply to a REST call. Its body is read as JSON, whole, or as any [`io::Read`].
#[derive(Debug)]
pub struct Reply {
    reply: AsyncReply,
    rest: Bytes,
    runtime: Arc<OwnRuntime>,
}

impl Reply {
    /// Gives the reply itself, for its status, headers, ids and request hash.
    #[must_use]
    pub fn head(&self) -> &AsyncReply {
        &self.reply
    }

    /// Reads the rest of the body whole.
    ///
    /// # Errors
    /// As [`AsyncReply::bytes`].
    pub fn whole(&mut self, limit_bytes: usize) -> Result<Bytes, ReadError> {
        self.runtime
            .wait(self.reply.bytes(limit_bytes))
            .ok_or(ReadError::Runtime)?
    }

    /// Reads the body as JSON of at most 16 MiB.
    ///
    /// # Errors
    /// As [`AsyncReply::json`].
    pub fn json<T: DeserializeOwned>(&mut self) -> Result<T, ReadError> {
        self.runtime
            .wait(self.reply.json())
            .ok_or(ReadError::Runtime)?
    }
}

impl io::Read for Reply {
    /// Reads what is there of the body. A broken or late body is an error, never an early end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            let chunk = self
                .runtime
                .wait(self.reply.chunk())
                .unwrap_or(Err(ReadError::Runtime));
            self.rest = chunk.map_err(io::Error::other)?.unwrap_or_default();
        }
        let taken = self.rest.split_to(self.rest.len().min(buffer.len()));
        buffer
            .iter_mut()
            .zip(taken.iter())
            .for_each(|(to, from)| *to = *from);
        Ok(taken.len())
    }
}

/// A runtime that can be dropped anywhere.
#[derive(Debug)]
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    /// Waits for a future; `None` where that would stall another runtime.
    fn wait<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        match &self.0 {
            Some(runtime) if Handle::try_current().is_err() => Some(runtime.block_on(future)),
            _ => None,
        }
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
