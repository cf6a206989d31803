//! Which client calls which service, and may this connection speak for it (`message-path.md` 6.1, 1–8).

use bytes::Bytes;
use http::{Method, header, request};
use hyper::body::Incoming as HttpIncoming;
use jibek_conf::Snapshot;
use jibek_protocol::{
    id::ClientId,
    limits::Limits,
    media_type::MediaType,
    message::{RestBlockError, RestRequestBlock},
    soap,
};

use crate::{
    chunks::{ChunkError, Pace},
    clients::{ConnectionInfo, ConnectionRefused},
    config::Keeping,
    context::Context,
    message::{RequestMessage, SoapRequest},
};

/// A request of a client of this server, on a connection that may speak for it.
#[derive(Debug)]
pub(crate) struct Identified {
    pub(super) message: RequestMessage,
    /// Made by this server for this exchange (`message-path.md` 4.1).
    pub(super) request_id: String,
    pub(super) content_type: Bytes,
    /// For SOAP.
    pub(super) soap_action: Bytes,
    /// What is kept of bodies, as client and server have it.
    pub(super) keeping: Keeping,
}

impl Identified {
    pub(crate) fn message(&self) -> &RequestMessage {
        &self.message
    }
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentifyError {
    /// SOAP attachments: not in this release.
    #[error("SOAP messages with attachments are not supported by this server yet")]
    Attachments,
    /// The REST request cannot be read.
    #[error("the request cannot be read: {0}")]
    Block(RestBlockError),
    /// The consumer broke off or stalled.
    #[error("the request could not be read: {0}")]
    Broken(ChunkError),
    /// The connection may not speak for the client.
    #[error("this connection may not be used by {client}: {reason}")]
    Connection {
        /// Named in the message.
        client: ClientId,
        /// Why.
        reason: ConnectionRefused,
    },
    /// SOAP with another content type.
    #[error("content type {found:?} is not text/xml")]
    ContentType {
        /// What came.
        found: String,
    },
    /// A SOAP fault is no request.
    #[error("the message is a SOAP fault and not a request")]
    Fault,
    /// SOAP needs POST.
    #[error("Must use POST request method instead of {method}")]
    Method {
        /// What came.
        method: Method,
    },
    /// This server has no authentication key with a certificate.
    #[error("this server has no active authentication key with a certificate")]
    NoAuthKey,
    /// The global configuration has expired.
    #[error("{0}")]
    OutdatedConf(jibek_conf::snapshot::ConfExpired),
    /// The SOAP envelope cannot be read.
    #[error("the request is not a SOAP message: {0}")]
    Soap(soap::SoapError),
    /// `SOAPAction` is malformed.
    #[error("SOAPAction is neither empty nor a quoted URI")]
    SoapAction,
    /// The envelope is larger than what this server reads into memory.
    #[error("the SOAP envelope is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// Not a client of this server.
    #[error("Client {client} is not registered at this security server")]
    UnknownMember {
        /// Named in the message.
        client: ClientId,
    },
}

/// Reads the head of a REST request or the whole of a SOAP request, and judges the connection.
pub(crate) async fn request(
    context: &Context,
    connection: &ConnectionInfo,
    head: &request::Parts,
    body: &mut HttpIncoming,
    conf: &Snapshot,
) -> Result<Identified, IdentifyError> {
    let rest = head.uri.path().starts_with("/r1/");
    if !rest && head.method != Method::POST {
        return Err(IdentifyError::Method {
            method: head.method.clone(),
        });
    }
    conf.check_valid(context.clock.now())
        .map_err(IdentifyError::OutdatedConf)?;
    if context.keys.current().auth().is_none() {
        return Err(IdentifyError::NoAuthKey);
    }
    let request_id = context.random.uuid().to_string();
    let raw = |name: &str| {
        head.headers
            .get(name)
            .map(|value| Bytes::from_owner(value.clone()))
            .unwrap_or_default()
    };
    let content_type = raw("content-type");
    let soap_action = raw("soapaction");
    let message = if rest {
        RequestMessage::Rest(rest_block(context, head, &request_id)?)
    } else {
        if !soap::soap_action_is_valid(&soap_action) {
            return Err(IdentifyError::SoapAction);
        }
        RequestMessage::Soap(envelope(context, head, body).await?)
    };
    let client_id = message.client();
    let clients = context.clients.load_full();
    let client = clients
        .client(client_id)
        .filter(|_| conf.server_has_client(&context.config.server, client_id))
        .ok_or_else(|| IdentifyError::UnknownMember {
            client: client_id.clone(),
        })?;
    client
        .admits(connection, context.internal_certificate.as_deref())
        .map_err(|reason| IdentifyError::Connection {
            client: client_id.clone(),
            reason,
        })?;
    Ok(Identified {
        message,
        request_id,
        content_type,
        soap_action,
        keeping: client.keeping().or(context.config.keeping),
    })
}

fn rest_block(
    context: &Context,
    head: &request::Parts,
    request_id: &str,
) -> Result<RestRequestBlock, IdentifyError> {
    let path_and_query = head
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    RestRequestBlock::seal(
        head.method.as_str(),
        path_and_query,
        headers,
        request_id,
        || {
            format!(
                "{}-{}",
                context.config.server.instance(),
                context.random.uuid()
            )
        },
    )
    .map_err(IdentifyError::Block)
}

async fn envelope(
    context: &Context,
    head: &request::Parts,
    body: &mut HttpIncoming,
) -> Result<SoapRequest, IdentifyError> {
    let found = head
        .headers
        .get(header::CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default();
    let Ok(media_type) = MediaType::parse(&found) else {
        return Err(IdentifyError::ContentType { found });
    };
    if media_type.is("multipart/related") {
        return Err(IdentifyError::Attachments);
    }
    if !media_type.is("text/xml") && !media_type.is("application/xop+xml") {
        return Err(IdentifyError::ContentType { found });
    }
    let bytes = read(context, body).await?;
    let scanned = soap::scan(&bytes, &Limits::default()).map_err(IdentifyError::Soap)?;
    let header = scanned.header().cloned().ok_or(IdentifyError::Fault)?;
    Ok(SoapRequest { bytes, header })
}

async fn read(context: &Context, body: &mut HttpIncoming) -> Result<Bytes, IdentifyError> {
    let limits = &context.config.limits;
    let limit_bytes = usize::try_from(limits.soap_part_bytes).unwrap_or(usize::MAX);
    Pace::of_request(limits)
        .whole(body, limit_bytes)
        .await
        .map_err(|error| match error {
            ChunkError::TooLarge { limit_bytes } => IdentifyError::TooLarge { limit_bytes },
            error => IdentifyError::Broken(error),
        })
}
