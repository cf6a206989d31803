//! A transport message on its way to the peer, whose answer may come at any time.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming as HttpIncoming;
use jibek_msglog::BodySource;
use jibek_protocol::{header as names, version};
use tokio::time::timeout;

use super::{
    identify::Identified,
    open::{self, ReadError},
    seal::SealError,
};
use crate::{
    body::Body,
    context::{Context, bounds},
    message::RequestMessage,
    peers::{PeerConnection, SendError},
    transport::{Outgoing, PeerGone, SignatureParts, part},
};

/// The peer's answer.
pub(crate) type Answer =
    Pin<Box<dyn Future<Output = Result<Response<HttpIncoming>, SendError>> + Send>>;

/// A transport message under way to the peer. Dropped, it breaks off, and the peer cannot act on it.
pub(crate) struct Sending {
    pub(super) connection: PeerConnection,
    pub(super) outgoing: Outgoing,
    pub(super) answer: Answer,
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sending")
            .field("outgoing", &self.outgoing)
            .finish_non_exhaustive()
    }
}

/// Why sending stopped before its end.
pub(super) enum Stopped {
    /// The peer answered, or its connection broke.
    Answered(Result<Response<HttpIncoming>, SendError>),
    /// The body that is sent again could not be read.
    Body(std::io::Error),
    /// The peer takes no more.
    Gone,
}

impl Sending {
    /// Starts a message over `connection`.
    pub(super) fn start(
        context: &Context,
        identified: &Identified,
        mut connection: PeerConnection,
    ) -> Self {
        let (outgoing, body) = Outgoing::start(&*context.random, context.config.limits.body_stall);
        let request = transport_request(context, identified, &connection, &outgoing, body);
        Self {
            answer: Box::pin(connection.send(request)),
            connection,
            outgoing,
        }
    }

    /// OCSP parts and the message (`message-path.md` 4.3).
    pub(super) async fn message(
        &mut self,
        identified: &Identified,
        ocsp: &[Bytes],
    ) -> Result<(), Stopped> {
        let message = identified.message.bytes().clone();
        let content_type = match &identified.message {
            RequestMessage::Soap(_) => part::soap(&identified.content_type),
            RequestMessage::Rest(_) => part::REST_REQUEST,
        };
        let written = async |outgoing: &mut Outgoing| {
            for response in ocsp {
                outgoing
                    .whole_part(part::OCSP_RESPONSE, response.clone())
                    .await?;
            }
            outgoing.whole_part(content_type, message).await?;
            outgoing.flush().await
        };
        // There is room for it: written before the head is sent, it leaves with the head.
        written(&mut self.outgoing)
            .await
            .map_err(|PeerGone| Stopped::Gone)?;
        self.meanwhile(std::future::ready(())).await
    }

    /// Starts the body's part.
    pub(super) async fn body_part(&mut self) -> Result<(), Stopped> {
        self.unless_answered(async |outgoing| outgoing.part(part::REST_BODY).await)
            .await
    }

    /// A chunk of the body.
    pub(super) async fn data(&mut self, chunk: Bytes) -> Result<(), Stopped> {
        self.unless_answered(async |outgoing| {
            outgoing.data(chunk).await?;
            outgoing.flush().await
        })
        .await
    }

    /// The body's part with what there is of it already.
    pub(super) async fn body_again(&mut self, body: BodySource) -> Result<(), Stopped> {
        self.body_part().await?;
        let mut chunks = body.into_stream();
        while let Some(chunk) = chunks.next().await {
            self.data(chunk.map_err(Stopped::Body)?).await?;
        }
        Ok(())
    }

    /// Waits for `work`, such as the consumer's next chunk, unless the peer answers before. `work` must be cancel safe.
    pub(super) async fn meanwhile<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, Stopped> {
        tokio::select! {
            biased;
            early = &mut self.answer => Err(Stopped::Answered(early)),
            done = work => Ok(done),
        }
    }

    /// What comes before the signature itself: nobody can act on that.
    pub(super) async fn announce(&mut self, signature: &SignatureParts) -> Result<(), Stopped> {
        self.unless_answered(async |outgoing| outgoing.announce_signature(signature).await)
            .await
    }

    async fn unless_answered(
        &mut self,
        write: impl AsyncFnOnce(&mut Outgoing) -> Result<(), PeerGone>,
    ) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            early = &mut self.answer => Err(Stopped::Answered(early)),
            written = write(&mut self.outgoing) => written.map_err(|PeerGone| Stopped::Gone),
        }
    }

    /// What the peer said before it stopped reading, or that it just stopped; `None` if its connection was lost without a word.
    pub(super) async fn last_words(self, context: &Context, stopped: Stopped) -> Option<SealError> {
        let stalled = self.outgoing.stalled();
        let words = self.words(context, stopped).await;
        words.or(stalled.then_some(SealError::PeerGone))
    }

    async fn words(self, context: &Context, stopped: Stopped) -> Option<SealError> {
        let early = match stopped {
            Stopped::Answered(early) => early,
            Stopped::Body(error) => return Some(SealError::Unreadable(error)),
            // A peer that broke the connection may have said why before it did.
            Stopped::Gone => timeout(bounds::LAST_WORDS, self.answer).await.ok()?,
        };
        // An early answer is short; one that trickles on without end is none.
        let said = open::fault_only(context, early.ok()?);
        match timeout(bounds::LAST_WORDS, said).await {
            Ok(Ok(fault)) => Some(SealError::EarlyFault(fault)),
            Ok(Err(ReadError::NoFault)) | Err(_) => Some(SealError::EarlyAnswer),
            Ok(Err(ReadError::Broken)) => None,
        }
    }
}

/// The HTTP head of a transport message: names and order are those of X-Road (`message-path.md` 4.1).
fn transport_request(
    context: &Context,
    identified: &Identified,
    connection: &PeerConnection,
    outgoing: &Outgoing,
    body: Body,
) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static("/");
    let headers = request.headers_mut();
    let value = |bytes: &[u8]| {
        HeaderValue::from_bytes(bytes).unwrap_or_else(|_| HeaderValue::from_static(""))
    };
    let host = format!("{}:{}", connection.address(), context.config.peers.port);
    let rest = matches!(identified.message, RequestMessage::Rest(_));
    if rest {
        headers.insert(
            names::X_ROAD_MESSAGE_TYPE,
            HeaderValue::from_static(names::MESSAGE_TYPE_REST),
        );
    }
    headers.insert(
        names::X_HASH_ALGORITHM,
        HeaderValue::from_static(names::HASH_ALGORITHM),
    );
    headers.insert(
        names::X_ORIGINAL_CONTENT_TYPE,
        value(&identified.content_type),
    );
    headers.insert(
        names::X_ROAD_REQUEST_ID,
        value(identified.request_id.as_bytes()),
    );
    headers.insert(
        names::X_PROXY_VERSION,
        HeaderValue::from_static(version::PROXY_VERSION),
    );
    if !rest {
        headers.insert(
            names::X_ORIGINAL_SOAP_ACTION,
            value(&identified.soap_action),
        );
    }
    headers.insert(
        header::TRANSFER_ENCODING,
        HeaderValue::from_static("chunked"),
    );
    headers.insert(
        header::CONTENT_TYPE,
        value(outgoing.content_type().as_bytes()),
    );
    headers.insert(header::HOST, value(host.as_bytes()));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Keep-Alive"));
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("Jibek/", env!("CARGO_PKG_VERSION"))),
    );
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    request
}
