//! The peer's answer: spooled, hashed, verified, and found to be the answer to our request
//! (`message-path.md` 6.1, 12–15).

use bytes::Bytes;
use http::{Response, StatusCode};
use hyper::body::Incoming as HttpIncoming;
use jibek_certs::digest::Digest;
use jibek_conf::Snapshot;
use jibek_evidence::open::SignedParts;
use jibek_msglog::{Direction, Draft};
use jibek_protocol::{
    header as names,
    limits::{self, Limits},
    media_type::MediaType,
    message::{Mismatch, RestBlockError, RestResponseBlock},
    multipart::{MultipartLimits, MultipartReader},
    soap,
};
use tokio::time::timeout;

use super::{identify::Identified, record::Asked, release::Released};
use crate::{
    chunks::{ChunkError, Pace},
    context::{Context, bounds},
    fault::Foreign,
    message::RequestMessage,
    peers::SendError,
    provider,
    spool::{self, Spooled},
    transport::{self, Incoming, MessageType, Part, SignatureParts, TransportError, part},
};

/// An answer that belongs to our request and whose signature is right and covers every part.
#[derive(Debug)]
pub(crate) struct VerifiedReply {
    pub(super) draft: Draft,
    pub(super) message: ReplyMessage,
    pub(super) message_digest: Digest,
    pub(super) body: Option<Spooled>,
    pub(super) signature: SignatureParts,
}

/// An answer of either kind.
#[derive(Debug)]
pub(crate) enum ReplyMessage {
    Rest(RestResponseBlock),
    Soap(Bytes),
}

impl ReplyMessage {
    /// Returns the bytes that are hashed and signed as `/message.xml`.
    pub(crate) fn bytes(&self) -> &Bytes {
        match self {
            Self::Rest(block) => block.bytes(),
            Self::Soap(bytes) => bytes,
        }
    }
}

/// Why an answer was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The REST block cannot be read.
    #[error("the answer cannot be read: {0}")]
    Block(RestBlockError),
    /// Not a multipart message and not a fault.
    #[error("the provider's security server answered with content type {found:?}")]
    ContentType {
        /// What came.
        found: String,
    },
    /// The peer or the service said no; its words go on unchanged.
    #[error("the provider's side refused")]
    Fault(Foreign),
    /// Another algorithm than SHA-512, or none.
    #[error("hash algorithm {found:?} of the answer is not SHA-512")]
    HashAlgorithm {
        /// What came.
        found: String,
    },
    /// The answer is another one's.
    #[error("the answer does not belong to the request: {0}")]
    Inconsistent(Mismatch),
    /// Message or signature part is missing, a part is out of place, or the message broke off.
    #[error("the answer is not complete: {0}")]
    Parts(provider::OpenError),
    /// SOAP or REST part is missing.
    #[error("the answer has no {kind} part")]
    MissingMessage {
        /// REST or SOAP.
        kind: MessageType,
    },
    /// The connection was lost before there was an answer.
    #[error(
        "the provider's security server gave no answer, and may have acted on the request: {0}"
    )]
    Lost(SendError),
    /// The peer gave no answer in time.
    #[error(
        "the provider's security server gave no answer for {seconds} s, and may have acted on the request"
    )]
    NoAnswer {
        /// How long this server waited, in seconds.
        seconds: u64,
    },
    /// SOAP answers must carry the hash of the request.
    #[error("the answer does not carry the hash of the request")]
    RequestHash,
    /// The signature is wrong or does not cover the answer.
    #[error("the signature of the answer was refused: {0}")]
    Signature(jibek_evidence::open::OpenError),
    /// The envelope cannot be read.
    #[error("the answer is not a SOAP message: {0}")]
    Soap(soap::SoapError),
    /// The peer's HTTP status is neither 200 nor 500.
    #[error("the provider's security server answered with HTTP status {status}")]
    Status {
        /// What came.
        status: StatusCode,
    },
    /// The multipart could not be read.
    #[error("the answer could not be read: {0}")]
    Transport(TransportError),
}

impl OpenError {
    /// Tells whether the answer was lost with its connection.
    pub(crate) fn is_lost(&self) -> bool {
        use provider::OpenError as Tail;
        matches!(
            self,
            Self::Lost(_)
                | Self::Transport(TransportError::Body(ChunkError::Broken { .. }))
                | Self::Parts(Tail::Transport(TransportError::Body(
                    ChunkError::Broken { .. }
                )))
        )
    }
}

/// Why no fault could be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    NoFault,
    Broken,
}

/// Waits for the answer, spools and verifies it.
pub(crate) async fn reply(
    context: &Context,
    asked: &Asked,
    released: Released,
    conf: &Snapshot,
) -> Result<VerifiedReply, OpenError> {
    let Asked {
        identified,
        request_hash,
        ..
    } = asked;
    let Released { connection, answer } = released;
    let patience = context.config.peers.answer_timeout;
    let response = match timeout(patience, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(OpenError::Lost(error)),
        Err(_) => {
            return Err(OpenError::NoAnswer {
                seconds: patience.as_secs(),
            });
        }
    };
    let mut parts = match start(context, response).await? {
        Started::Fault(fault) => return Err(OpenError::Fault(fault)),
        Started::Parts(parts) => parts,
    };
    let keep = identified.keeping.of(Direction::Response);
    let mut draft = context.log.begin().keeping(keep);
    let message = read_message(identified, &mut parts).await?;
    let message_digest = spool::digest(message.bytes());
    let rest = matches!(message, ReplyMessage::Rest(_));
    let (body, signature) = match provider::tail(&mut parts, &mut draft, rest).await {
        Ok(tail) => tail,
        Err(provider::OpenError::Fault(bytes)) => {
            return Err(OpenError::Fault(read_fault(&bytes).ok_or(
                OpenError::ContentType {
                    found: part::TEXT_XML.to_owned(),
                },
            )?));
        }
        Err(error) => return Err(OpenError::Parts(error)),
    };
    let attachments: Vec<_> = body.iter().map(|body| body.digest).collect();
    let signed = SignedParts {
        signature: &signature.signature,
        hash_chain_result: signature.hash_chain_result.as_ref(),
        hash_chain: signature.hash_chain.as_ref(),
        message: &message_digest,
        attachments: &attachments,
    };
    context
        .certificates
        .open(
            &signed,
            identified.message.service().provider(),
            conf,
            context.clock.now(),
        )
        .map_err(OpenError::Signature)?;
    check_answers(identified, &message, request_hash)?;
    // The connection can carry another message only if nothing of this one is left in it.
    if parts.finish(1024, bounds::LAST_WORDS).await {
        connection.recycle();
    }
    Ok(VerifiedReply {
        draft,
        message,
        message_digest,
        body,
        signature,
    })
}

/// Reads an answer that can only be a fault, because the request was not complete.
pub(crate) async fn fault_only(
    context: &Context,
    response: Response<HttpIncoming>,
) -> Result<Foreign, ReadError> {
    let mut parts = match start(context, response).await {
        Ok(Started::Fault(fault)) => return Ok(fault),
        Ok(Started::Parts(parts)) => parts,
        Err(OpenError::Transport(_)) => return Err(ReadError::Broken),
        Err(_) => return Err(ReadError::NoFault),
    };
    while let Ok(Some(part)) = parts.next_part().await {
        if part.is(part::TEXT_XML)
            && let Ok(bytes) = parts.whole(&part, limits::FAULT_BYTES).await
            && let Some(fault) = read_fault(&bytes)
        {
            return Ok(fault);
        }
    }
    Err(ReadError::NoFault)
}

enum Started {
    Fault(Foreign),
    Parts(Box<Incoming>),
}

/// Reads the head of an answer: a fault as the whole body, or a multipart (`message-path.md` 4.5, 4.6).
async fn start(context: &Context, response: Response<HttpIncoming>) -> Result<Started, OpenError> {
    let status = response.status();
    if status != StatusCode::OK && status != StatusCode::INTERNAL_SERVER_ERROR {
        return Err(OpenError::Status { status });
    }
    let (head, mut body) = response.into_parts();
    let found = || {
        head.headers
            .get(http::header::CONTENT_TYPE)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default()
    };
    let wrong_type = || OpenError::ContentType { found: found() };
    let media_type: MediaType = transport::content_type(&head.headers).ok_or_else(wrong_type)?;
    if media_type.is(part::TEXT_XML) {
        let bytes = Pace::of_answer(&context.config.limits)
            .whole(&mut body, limits::FAULT_BYTES)
            .await
            .map_err(|error| OpenError::Transport(TransportError::Body(error)))?;
        let fault = read_fault(&bytes).ok_or_else(wrong_type)?;
        return Ok(Started::Fault(fault));
    }
    let boundary = Some(&media_type)
        .filter(|media_type| media_type.is("multipart/mixed"))
        .and_then(|media_type| media_type.param("boundary"))
        .ok_or_else(wrong_type)?;
    let algorithm = head.headers.get(names::X_HASH_ALGORITHM);
    if let Some(value) = algorithm
        && !value.as_bytes().eq_ignore_ascii_case(b"SHA-512")
    {
        return Err(OpenError::HashAlgorithm {
            found: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        });
    }
    let reader = MultipartReader::new(boundary.as_bytes(), MultipartLimits::default())
        .map_err(|_| wrong_type())?;
    Ok(Started::Parts(Box::new(Incoming::new(
        body,
        reader,
        Pace::of_answer(&context.config.limits),
    ))))
}

async fn read_message(
    identified: &Identified,
    parts: &mut Incoming,
) -> Result<ReplyMessage, OpenError> {
    let part = loop {
        let part = parts
            .next_part()
            .await
            .map_err(OpenError::Transport)?
            .ok_or(missing(&identified.message))?;
        if !part.is(part::OCSP_RESPONSE) {
            break part;
        }
    };
    match &identified.message {
        RequestMessage::Rest(_) if part.is(part::REST_RESPONSE) => {
            let bytes = whole(parts, &part, limits::REST_BLOCK_BYTES).await?;
            let block = RestResponseBlock::parse(bytes).map_err(OpenError::Block)?;
            Ok(ReplyMessage::Rest(block))
        }
        RequestMessage::Rest(_) if part.is(part::TEXT_XML) => {
            let bytes = whole(parts, &part, limits::FAULT_BYTES).await?;
            match read_fault(&bytes) {
                Some(fault) => Err(OpenError::Fault(fault)),
                None => Err(OpenError::ContentType {
                    found: part.content_type,
                }),
            }
        }
        RequestMessage::Soap(_) if part.is(part::TEXT_XML) || part.is(part::XOP) => {
            let bytes = whole(parts, &part, limits::SOAP_PART_BYTES).await?;
            if let Some(fault) = read_fault(&bytes) {
                return Err(OpenError::Fault(fault));
            }
            Ok(ReplyMessage::Soap(bytes))
        }
        _ => Err(OpenError::ContentType {
            found: part.content_type,
        }),
    }
}

fn check_answers(
    identified: &Identified,
    message: &ReplyMessage,
    request_hash: &str,
) -> Result<(), OpenError> {
    match (&identified.message, message) {
        (RequestMessage::Rest(request), ReplyMessage::Rest(response)) => response
            .check_answers(request, request_hash)
            .map_err(OpenError::Inconsistent),
        (RequestMessage::Soap(request), ReplyMessage::Soap(bytes)) => {
            let scanned = soap::scan(bytes, &Limits::default()).map_err(OpenError::Soap)?;
            let header = scanned.header().ok_or(missing(&identified.message))?;
            soap::check_answers(&request.header, header).map_err(OpenError::Inconsistent)?;
            match &header.request_hash {
                Some(found) if found.trim() == request_hash => Ok(()),
                _ => Err(OpenError::RequestHash),
            }
        }
        _ => Err(missing(&identified.message)),
    }
}

fn missing(request: &RequestMessage) -> OpenError {
    OpenError::MissingMessage {
        kind: match request {
            RequestMessage::Rest(_) => MessageType::Rest,
            RequestMessage::Soap(_) => MessageType::Soap,
        },
    }
}

/// Reads a fault document; `None` if it is none.
fn read_fault(bytes: &Bytes) -> Option<Foreign> {
    let scanned = soap::scan(bytes, &Limits::default()).ok()?;
    let fault = scanned.fault().cloned()?;
    Some(Foreign::new(fault, bytes.clone()))
}

async fn whole(parts: &mut Incoming, part: &Part, limit_bytes: usize) -> Result<Bytes, OpenError> {
    parts
        .whole(part, limit_bytes)
        .await
        .map_err(OpenError::Transport)
}
