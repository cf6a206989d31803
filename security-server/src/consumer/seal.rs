//! The request: relayed to the peer while it is hashed and spooled, then signed. The signature stays here.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming as HttpIncoming;
use jibek_certs::digest::Digest;
use jibek_conf::Snapshot;
use jibek_evidence::seal::PartDigests;
use jibek_msglog::{Direction, Draft, LogError};
use jibek_protocol::{header as names, version};
use tokio::time::timeout;

use super::{
    connect::Connected,
    identify::Identified,
    open::{self, ReadError},
};
use crate::{
    body::Body,
    chunks::{ChunkError, Pace},
    context::{Context, bounds},
    fault::Foreign,
    message::RequestMessage,
    peers::{PeerConnection, SendError},
    sealer,
    spool::{self, Spool, Spooled},
    transport::{Outgoing, PeerGone, SignatureParts, part},
};

/// The peer's answer, which may come at any time.
pub(crate) type Answer =
    Pin<Box<dyn Future<Output = Result<Response<HttpIncoming>, SendError>> + Send>>;

/// A transport message under way to the peer.
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

/// A request that was relayed and signed. Its signature has not left.
#[derive(Debug)]
pub(crate) struct SealedRequest {
    pub(super) identified: Identified,
    pub(super) draft: Draft,
    pub(super) message_digest: Digest,
    pub(super) body: Option<Spooled>,
    pub(super) signature: SignatureParts,
    pub(super) sending: Sending,
}

impl SealedRequest {
    /// Length of what the consumer sent, in bytes.
    pub(crate) fn body_bytes(&self) -> u64 {
        let body = self.body.as_ref().map(|body| body.length);
        self.identified.message.body_bytes(body)
    }
}

/// Why a request was not signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// The consumer broke off or stalled.
    #[error("the request body could not be read: {0}")]
    Broken(ChunkError),
    /// The peer refused while the request was still on its way.
    #[error("the provider's security server refused the request")]
    EarlyFault(Foreign),
    /// The peer answered, but with no fault, before it could have verified anything.
    #[error("the provider's security server answered before the request was complete")]
    EarlyAnswer,
    /// The body could not be spooled.
    #[error("the body could not be written to the message log")]
    Log(#[source] LogError),
    /// No OCSP answer for this server's own certificates.
    #[error("no fresh OCSP answer for the authentication certificate of this server: {reason}")]
    NoOcsp {
        /// Which certificate, and since when.
        reason: String,
    },
    /// The peer went away without a word.
    #[error("the provider's security server closed the connection while the request was sent")]
    PeerGone,
    /// No signature.
    #[error("the request could not be signed: {0}")]
    Seal(sealer::SealError),
}

/// Relays the request to the peer and signs it.
///
/// Until this returns, a drop aborts the transport message: the peer sees it break off.
pub(crate) async fn request(
    context: &Context,
    connected: Connected,
    body: &mut HttpIncoming,
    conf: &Snapshot,
) -> Result<SealedRequest, SealError> {
    let Connected {
        identified,
        mut connection,
    } = connected;
    let auth = context
        .keys
        .current()
        .auth()
        .cloned()
        .ok_or_else(|| SealError::NoOcsp {
            reason: "there is no authentication key".to_owned(),
        })?;
    let ocsp = context
        .ocsp
        .fresh_chain(auth.certificate(), conf, context.clock.now())
        .map_err(|missing| SealError::NoOcsp {
            reason: missing.to_string(),
        })?;
    let (outgoing, outgoing_body) =
        Outgoing::start(&*context.random, context.config.limits.body_stall);
    let request = transport_request(context, &identified, &connection, &outgoing, outgoing_body);
    let mut sending = Sending {
        answer: Box::pin(connection.send(request)),
        connection,
        outgoing,
    };
    let keep = identified.keeping.of(Direction::Request);
    let mut draft = context.log.begin().keeping(keep).relayed();
    let relayed = {
        let Sending {
            outgoing, answer, ..
        } = &mut sending;
        let relay = relay(context, &identified, &ocsp, body, &mut draft, outgoing);
        tokio::select! {
            biased;
            early = answer => Err(Stopped::Answered(early)),
            relayed = relay => relayed,
        }
    };
    let body = match relayed {
        Ok(body) => body,
        Err(Stopped::Failed(error)) => return Err(error),
        Err(Stopped::Answered(early)) => return Err(early_answer(context, early).await),
        Err(Stopped::Gone) => {
            // A peer that broke the connection may have said why before it did.
            let last_words = timeout(bounds::LAST_WORDS, sending.answer).await;
            return Err(match last_words {
                Ok(early) => early_answer(context, early).await,
                Err(_) => SealError::PeerGone,
            });
        }
    };
    let message_digest = spool::digest(identified.message.bytes());
    let parts = PartDigests {
        message: message_digest,
        attachments: body.iter().map(|body| body.digest).collect(),
    };
    let sealed = context
        .sealer
        .seal(identified.message.client().member(), parts)
        .await
        .map_err(SealError::Seal)?;
    Ok(SealedRequest {
        identified,
        draft,
        message_digest,
        body,
        signature: SignatureParts {
            hash_chain_result: sealed.hash_chain_result,
            hash_chain: sealed.hash_chain,
            signature: sealed.signature,
        },
        sending,
    })
}

/// Why the relay stopped before its end.
enum Stopped {
    Answered(Result<Response<HttpIncoming>, SendError>),
    Failed(SealError),
    Gone,
}

impl From<PeerGone> for Stopped {
    fn from(_: PeerGone) -> Self {
        Self::Gone
    }
}

/// OCSP parts, message, body as it arrives (`message-path.md` 4.3).
async fn relay(
    context: &Context,
    identified: &Identified,
    ocsp: &[Bytes],
    body: &mut HttpIncoming,
    draft: &mut Draft,
    outgoing: &mut Outgoing,
) -> Result<Option<Spooled>, Stopped> {
    for response in ocsp {
        outgoing
            .whole_part(part::OCSP_RESPONSE, response.clone())
            .await?;
    }
    let message = identified.message.bytes().clone();
    match &identified.message {
        RequestMessage::Soap(_) => {
            let content_type = part::soap(&identified.content_type);
            outgoing.whole_part(content_type, message).await?;
            return Ok(None);
        }
        RequestMessage::Rest(_) => outgoing.whole_part(part::REST_REQUEST, message).await?,
    }
    let mut pace = Pace::of_request(&context.config.limits);
    let mut spool = None;
    while let Some(chunk) = pace
        .next(body)
        .await
        .map_err(|error| Stopped::Failed(SealError::Broken(error)))?
    {
        // The part exists only if a byte was read (`message-path.md` 3.5).
        if spool.is_none() {
            outgoing.part(part::REST_BODY).await?;
        }
        spool
            .get_or_insert_with(Spool::start)
            .push(draft, &chunk)
            .await
            .map_err(|error| Stopped::Failed(SealError::Log(error)))?;
        outgoing.data(chunk).await?;
    }
    spool
        .map(|spool: Spool| spool.finish(draft))
        .transpose()
        .map_err(|error| Stopped::Failed(SealError::Log(error)))
}

async fn early_answer(
    context: &Context,
    early: Result<Response<HttpIncoming>, SendError>,
) -> SealError {
    let Ok(response) = early else {
        return SealError::PeerGone;
    };
    // An early answer is short; one that trickles on without end is none.
    match timeout(bounds::LAST_WORDS, open::fault_only(context, response)).await {
        Ok(Ok(fault)) => SealError::EarlyFault(fault),
        Ok(Err(ReadError::NoFault)) | Err(_) => SealError::EarlyAnswer,
        Ok(Err(ReadError::Broken)) => SealError::PeerGone,
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
