//! May this peer call this service for this client? Judged as soon as the header part is there, so a caller without
//! right is refused before its body is spooled, and learns only that.
//!
//! The order is X-Road's (`message-path.md` 6.4, 7 and 12), because it decides which fault a caller sees.

use std::sync::Arc;

use bytes::Bytes;
use jibek_certs::trust::Trust;
use jibek_conf::Snapshot;
use jibek_protocol::{
    id::{ClientId, ServerId, ServiceId},
    limits::{self, Limits},
    message::RestRequestBlock,
    path::normalise_for_access,
    soap,
};
use time::OffsetDateTime;

use super::identify::{Head, Peer};
use crate::{
    certificates::Question,
    clients::{Client, Service, ServiceKind},
    context::Context,
    message::{RequestMessage, SoapRequest},
    sealer::SealError,
    transport::{Incoming, MessageType, Part, TransportError, part},
};

/// A caller's right to one call: only [`request`] makes one.
#[derive(Debug)]
pub(crate) struct Permit {
    message: RequestMessage,
    provider: Arc<Client>,
    service: Arc<Service>,
    request_id: String,
    soap_action: Bytes,
}

impl Permit {
    pub(crate) fn message(&self) -> &RequestMessage {
        &self.message
    }

    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    pub(crate) fn provider(&self) -> &Arc<Client> {
        &self.provider
    }

    /// `x-road-request-id`, equal in header and block.
    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    pub(crate) fn soap_action(&self) -> &Bytes {
        &self.soap_action
    }
}

/// Why a call is not permitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorizeError {
    /// No right covers the call, or a path that stays ambiguous under a right that does not cover every path.
    #[error("Request is not allowed: {service}")]
    AccessDenied {
        /// What was called.
        service: ServiceId,
    },
    /// The REST block cannot be read.
    #[error("the REST request cannot be read: {0}")]
    Block(jibek_protocol::message::RestBlockError),
    /// The service is switched off; the text is the operator's.
    #[error("Service {service} is disabled: {notice}")]
    Disabled {
        /// What was called.
        service: ServiceId,
        /// The operator's notice.
        notice: String,
    },
    /// A SOAP request arrived where a fault stands.
    #[error("the message is a SOAP fault and not a request")]
    Fault,
    /// The SOAP or REST part is missing.
    #[error("the {kind} part is missing")]
    MissingMessage {
        /// REST or SOAP.
        kind: MessageType,
    },
    /// The peer could not be proved to be a server of the client.
    #[error("the calling server at {remote} could not be authenticated for {client}: {reason}")]
    Peer {
        /// Where it calls from.
        remote: std::net::SocketAddr,
        /// For whom it speaks.
        client: ClientId,
        /// What failed.
        reason: String,
    },
    /// Header and signed block carry different request ids.
    #[error("x-road-request-id of the header and of the signed message differ")]
    RequestId,
    /// This server cannot sign the answer.
    #[error("the answer could not be signed: {0}")]
    Seal(SealError),
    /// REST call of a SOAP service, or the reverse.
    #[error("Service {service} is not a {called} service")]
    ServiceType {
        /// What was called.
        service: ServiceId,
        /// How it was called.
        called: MessageType,
    },
    /// The SOAP envelope cannot be read.
    #[error("the SOAP request cannot be read: {0}")]
    Soap(soap::SoapError),
    /// The multipart could not be read.
    #[error("the message could not be read: {0}")]
    Transport(TransportError),
    /// A part that has no place here.
    #[error("content type {found:?} is not expected here")]
    UnexpectedPart {
        /// What came.
        found: String,
    },
    /// The provider is not a client of this server.
    #[error("Client {provider} is not registered at this security server")]
    UnknownMember {
        /// Whose service was called.
        provider: ClientId,
    },
    /// The service is not configured.
    #[error("Unknown service: {service}")]
    UnknownService {
        /// What was called.
        service: ServiceId,
    },
    /// The SOAP header names another server.
    #[error("the message is for security server {wanted}, this is {own}")]
    WrongServer {
        /// Named in the message.
        wanted: ServerId,
        /// This server.
        own: ServerId,
    },
}

/// Reads the OCSP parts and the message part, and judges the call.
///
/// # Errors
///
/// See [`AuthorizeError`]. What was not read of the message stays in `parts`.
pub(crate) async fn request(
    context: &Context,
    head: &Head,
    peer: &Peer,
    parts: &mut Incoming,
    conf: &Snapshot,
    now: OffsetDateTime,
) -> Result<Permit, AuthorizeError> {
    let mut ocsp = Vec::new();
    let part = loop {
        let part = next(parts).await?.ok_or(AuthorizeError::MissingMessage {
            kind: head.message_type,
        })?;
        if !part.is(part::OCSP_RESPONSE) {
            break part;
        }
        if ocsp.len() >= limits::OCSP_PARTS {
            return Err(AuthorizeError::UnexpectedPart {
                found: part.content_type,
            });
        }
        ocsp.push(whole(parts, &part, limits::OCSP_PART_BYTES).await?);
    };
    let message = read_message(head.message_type, parts, &part).await?;

    if let RequestMessage::Soap(soap) = &message
        && let Some(wanted) = &soap.header.security_server
        && *wanted != context.config.server
    {
        return Err(AuthorizeError::WrongServer {
            wanted: wanted.clone(),
            own: context.config.server.clone(),
        });
    }
    let service_id = message.service().clone();
    let clients = context.clients.load_full();
    let provider = clients
        .client(service_id.provider())
        .filter(|_| conf.server_has_client(&context.config.server, service_id.provider()))
        .cloned()
        .ok_or_else(|| AuthorizeError::UnknownMember {
            provider: service_id.provider().clone(),
        })?;
    context
        .sealer
        .ready(service_id.provider().member())
        .map_err(AuthorizeError::Seal)?;
    prove_peer(context, peer, &ocsp, message.client(), conf, now)?;
    check_request_id(head, &message)?;

    let service = access(&provider, &service_id, &message, conf)?;
    Ok(Permit {
        request_id: head.request_id.clone(),
        soap_action: head.soap_action.clone(),
        message,
        provider,
        service,
    })
}

async fn read_message(
    kind: MessageType,
    parts: &mut Incoming,
    part: &Part,
) -> Result<RequestMessage, AuthorizeError> {
    match kind {
        MessageType::Rest if part.is(part::REST_REQUEST) => {
            let bytes = whole(parts, part, limits::REST_BLOCK_BYTES).await?;
            let block = RestRequestBlock::parse(bytes).map_err(AuthorizeError::Block)?;
            Ok(RequestMessage::Rest(block))
        }
        MessageType::Soap if part.is(part::TEXT_XML) || part.is(part::XOP) => {
            let bytes = whole(parts, part, limits::SOAP_PART_BYTES).await?;
            let scanned = soap::scan(&bytes, &Limits::default()).map_err(AuthorizeError::Soap)?;
            let header = scanned.header().cloned().ok_or(AuthorizeError::Fault)?;
            Ok(RequestMessage::Soap(SoapRequest { bytes, header }))
        }
        MessageType::Rest | MessageType::Soap => Err(AuthorizeError::UnexpectedPart {
            found: part.content_type.clone(),
        }),
    }
}

/// The server that holds the TLS key must be registered for the client that the message names, under a certificate
/// that is good now (`message-path.md` 5.3). Judged for every message, also on a connection that was used before.
fn prove_peer(
    context: &Context,
    peer: &Peer,
    ocsp: &[Bytes],
    client: &ClientId,
    conf: &Snapshot,
    now: OffsetDateTime,
) -> Result<(), AuthorizeError> {
    let refused = |reason: String| AuthorizeError::Peer {
        client: client.clone(),
        remote: peer.remote,
        reason,
    };
    let Some((leaf, extra)) = peer.certificates.split_first() else {
        return Err(refused("it showed no certificate".to_owned()));
    };
    if ocsp.is_empty() {
        return Err(refused("it sent no OCSP answer".to_owned()));
    }
    let responses: Vec<_> = ocsp
        .iter()
        .filter_map(|der| context.certificates.response(der))
        .collect();
    let authorities = conf
        .authorities(client.instance())
        .ok_or_else(|| refused(format!("instance {} is not known", client.instance())))?;
    if !leaf.is_authentication() {
        return Err(refused(
            "its certificate is not for authentication".to_owned(),
        ));
    }
    let last = extra.last().unwrap_or(leaf);
    let anchor = authorities
        .by_subject(last.issuer())
        .next()
        .ok_or_else(|| {
            refused("Certificate is not issued by approved certification service provider.".into())
        })?;
    let question = Question {
        leaf,
        extra,
        instance: client.instance(),
        authorities,
        anchor: Some(anchor),
        responses: &responses,
    };
    context
        .certificates
        .judge(&question, conf, now)
        .map_err(|error| refused(error.to_string()))?;
    conf.auth_cert_serves(leaf, client)
        .map(|_| ())
        .map_err(|error| refused(error.to_string()))
}

/// The id of the exchange must be signed: the header's alone could be anybody's (`observed.md` 5, number 5).
fn check_request_id(head: &Head, message: &RequestMessage) -> Result<(), AuthorizeError> {
    match message {
        RequestMessage::Rest(block) => match block.request_id() {
            Some(signed) if !signed.is_empty() && signed == head.request_id => Ok(()),
            _ => Err(AuthorizeError::RequestId),
        },
        RequestMessage::Soap(_) => Ok(()),
    }
}

/// Service exists, type matches, a right covers the call, the service is not disabled: in that order
/// (`message-path.md` 6.4, 12).
fn access(
    provider: &Client,
    id: &ServiceId,
    message: &RequestMessage,
    conf: &Snapshot,
) -> Result<Arc<Service>, AuthorizeError> {
    let service = provider
        .service(id.code(), id.version())
        .cloned()
        .ok_or_else(|| AuthorizeError::UnknownService {
            service: id.clone(),
        })?;
    let called = match message {
        RequestMessage::Rest(_) => MessageType::Rest,
        RequestMessage::Soap(_) => MessageType::Soap,
    };
    let kind = match service.kind() {
        ServiceKind::Rest => MessageType::Rest,
        ServiceKind::Soap => MessageType::Soap,
    };
    if called != kind {
        return Err(AuthorizeError::ServiceType {
            service: id.clone(),
            called,
        });
    }
    let client = message.client();
    let allowed = match message {
        RequestMessage::Soap(_) => provider.allows(&service, client, conf, None, None),
        RequestMessage::Rest(block) => {
            // An ambiguous path has no decoded form: only a right to every path covers it.
            let path = normalise_for_access(block.target().path()).ok();
            let method = block.method().as_str();
            provider.allows(&service, client, conf, Some(method), path.as_ref())
        }
    };
    if !allowed {
        return Err(AuthorizeError::AccessDenied {
            service: id.clone(),
        });
    }
    if let Some(notice) = service.disabled() {
        return Err(AuthorizeError::Disabled {
            service: id.clone(),
            notice: notice.to_owned(),
        });
    }
    Ok(service)
}

async fn next(parts: &mut Incoming) -> Result<Option<Part>, AuthorizeError> {
    parts.next_part().await.map_err(AuthorizeError::Transport)
}

async fn whole(
    parts: &mut Incoming,
    part: &Part,
    limit_bytes: usize,
) -> Result<Bytes, AuthorizeError> {
    parts
        .whole(part, limit_bytes)
        .await
        .map_err(AuthorizeError::Transport)
}
