//! What can go wrong in a call, whose fault it is, and whether to repeat it.

use std::time::Duration;

use http::StatusCode;
use jibek_protocol::fault::{Blame, Fault, Repeat};
use jibek_protocol::soap::SoapError;

use crate::body::{BodyError, BoxError};

/// Why a [`Consumer`](crate::Consumer) could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The client certificate and key do not make a TLS identity.
    #[error("the client certificate and key are not usable")]
    Identity(#[source] BoxError),
    /// PEM text holds no certificate or key, or a broken one.
    #[error("{what} is not readable PEM")]
    Pem {
        /// What was read: a certificate or a private key.
        what: &'static str,
    },
    /// The system has no resources for a runtime.
    #[error("no runtime for blocking calls")]
    Runtime(#[source] std::io::Error),
    /// The address of the security server is not usable.
    #[error("{address:?} is not the address of a security server: {reason}")]
    Server {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The trusted certificates are not usable.
    #[error("the trusted certificates of the security server are not usable")]
    Trust(#[source] BoxError),
}

/// Why a request was not even sent: something in it is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The body of a SOAP request is not one element.
    #[error("the body is not exactly one element")]
    Body,
    /// A header name or value is not allowed in HTTP.
    #[error("header {name:?} is not allowed in HTTP: {reason}")]
    Header {
        /// Name of the header.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The service path or query is not part of a valid address.
    #[error("path or query {target:?} is not valid: {reason}")]
    Path {
        /// What was given.
        target: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The header belongs to the SDK, which has a method for it, or to HTTP itself.
    #[error("header {name:?} cannot be set here")]
    Reserved {
        /// Name of the header.
        name: String,
    },
    /// REST services are named without version and belong to a subsystem.
    #[error("{service} is not a REST service: it must belong to a subsystem and carry no version")]
    Service {
        /// Display form of the service.
        service: String,
    },
    /// The SOAP envelope would not be a valid message.
    #[error("the body is not one element of well-formed XML that the service accepts")]
    Soap(#[source] SoapError),
}

/// Why a call did not bring a reply.
///
/// [`CallError::blame`] and [`CallError::repeat`] tell what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The request body could not be produced.
    #[error("the request body could not be sent")]
    Body(#[source] BodyError),
    /// The security server could not be reached; nothing was sent.
    #[error("no connection to the security server {server}")]
    Connect {
        /// Its address.
        server: String,
        /// What the network or TLS said.
        #[source]
        source: BoxError,
    },
    /// Nothing moved for too long.
    #[error("no progress for {waited:?} while {phase}")]
    Deadline {
        /// What was waited for.
        phase: Phase,
        /// The wait that ran out.
        waited: Duration,
        /// Whether sending the request again cannot do harm.
        safe: bool,
    },
    /// A security server refused or failed.
    #[error("{}: {}", .0.code(), .0.message())]
    Fault(Box<Fault>),
    /// The answer belongs to another question.
    #[error("the reply has {field} {found:?} where {expected:?} was sent")]
    Mismatch {
        /// What differs.
        field: &'static str,
        /// What was sent.
        expected: String,
        /// What came back.
        found: String,
    },
    /// Something answered that is not the message path of a security server: a front door, a proxy, a wrong address.
    #[error(
        "status {status} without the marks of a security server (content type {content_type:?})"
    )]
    NotFromServer {
        /// HTTP status.
        status: StatusCode,
        /// Content type of the answer.
        content_type: String,
    },
    /// The reply came, but its body did not.
    #[error("the reply could not be read")]
    Read(#[from] ReadError),
    /// The request is wrong; nothing was sent.
    #[error("the request is not valid")]
    Request(#[from] RequestError),
    /// A blocking call was made inside an asynchronous runtime.
    #[error("a blocking call inside an asynchronous runtime would stall it")]
    Runtime,
    /// The reply is not a SOAP message.
    #[error("the reply is not a valid SOAP message")]
    Soap(#[source] SoapError),
    /// The connection broke after the request was sent, or while it was.
    #[error("the connection to the security server {server} broke")]
    Transport {
        /// Its address.
        server: String,
        /// Whether sending the request again cannot do harm.
        safe: bool,
        /// What the network said.
        #[source]
        source: BoxError,
    },
}

impl CallError {
    /// Tells whose fault it is, seen from the information system: its own ([`Blame::Consumer`]), its security server's
    /// ([`Blame::Us`]), the other security server's ([`Blame::Peer`]) or the service's ([`Blame::Service`]).
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Fault(fault) => fault.blame(),
            Self::Body(_)
            | Self::Request(_)
            | Self::Runtime
            | Self::Read(ReadError::TooLarge { .. }) => Blame::Consumer,
            Self::Read(ReadError::Json(_)) => Blame::Service,
            Self::Soap(_) => Blame::Peer,
            Self::Connect { .. }
            | Self::Deadline { .. }
            | Self::Mismatch { .. }
            | Self::NotFromServer { .. }
            | Self::Read(_)
            | Self::Transport { .. } => Blame::Us,
        }
    }

    /// Tells whether sending the same request again makes sense and does no harm.
    ///
    /// Once a request may have reached the service, only one whose method is idempotent is called safe; for others
    /// [`Consumer::container`](crate::Consumer::container) tells whether the exchange took place.
    #[must_use]
    pub fn repeat(&self) -> Repeat {
        match self {
            Self::Fault(fault) => fault.repeat(),
            Self::Connect { .. } => Repeat::Later,
            Self::Deadline { safe, .. } | Self::Transport { safe, .. } if *safe => Repeat::Later,
            _ => Repeat::No,
        }
    }

    /// Gives the fault, if a security server sent one.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Fault(fault) => Some(fault),
            _ => None,
        }
    }
}

/// What was waited for when a deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// The request was under way, or all sent and not yet answered.
    Answer,
    /// The reply was arriving.
    Reply,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Answer => "waiting for the answer",
            Self::Reply => "receiving the reply",
        })
    }
}

/// Why the evidence of an exchange could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The security server could not be asked.
    #[error("the security server could not be asked for evidence")]
    Call(#[source] CallError),
    /// The client is unknown to the security server or showed no certificate that it accepts.
    #[error("the security server does not give evidence to this client: {message}")]
    NotAllowed {
        /// What the security server says.
        message: String,
    },
    /// The security server has no such exchange, or archived and removed it.
    #[error("the security server has no exchange with this message id")]
    NotFound,
    /// The exchange is not time-stamped yet; ask again, or with [`EvidenceCall::force`](crate::EvidenceCall::force).
    #[error("the exchange is not time-stamped yet")]
    NotStamped,
    /// It came, but not whole.
    #[error("the evidence could not be read")]
    Read(#[source] ReadError),
    /// The security server refused for another reason.
    #[error("the security server refused with status {status}: {message}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// What the security server says.
        message: String,
    },
}

/// Why the body of a reply could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing came for too long.
    #[error("no progress for {waited:?} while receiving the reply")]
    Deadline {
        /// The wait that ran out.
        waited: Duration,
    },
    /// The body is not the JSON that was expected.
    #[error("the body is not the expected JSON")]
    Json(#[source] serde_json::Error),
    /// The body is larger than the caller allows.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// The reply of a blocking call was read inside an asynchronous runtime.
    #[error("reading a blocking reply inside an asynchronous runtime would stall it")]
    Runtime,
    /// The connection broke before the body was complete.
    #[error("the reply ended before its body was complete")]
    Truncated(#[source] BoxError),
    /// What the body was to be written to failed.
    #[error("the body could not be written on")]
    Write(#[source] std::io::Error),
}
