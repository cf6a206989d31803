#![doc = include_str!("../README.md")]
#![warn(
    missing_docs,
    clippy::exhaustive_enums,
    clippy::indexing_slicing,
    clippy::as_conversions
)]

pub mod blocking;
mod body;
mod builder;
mod consumer;
mod error;
mod hash;
pub mod provider;
mod soap;
mod tls;
mod xml;

pub use body::{Body, BodyError, BoxError};
pub use builder::{
    Complete, ConsumerBuilder, Deadlines, NeedsCredentials, NeedsIdentity, NeedsServer,
};
pub use bytes::Bytes;
pub use consumer::Consumer;
pub use consumer::evidence::{Container, EvidenceCall};
pub use consumer::reply::{HashCheck, Reply};
pub use consumer::rest::RestCall;
pub use consumer::soap::{SoapCall, SoapReply};
pub use error::{BuildError, CallError, EvidenceError, Phase, ReadError, RequestError};
pub use hash::{request_hash, request_hash_of};
pub use http::{Method, StatusCode};
pub use jibek_protocol::fault::{Blame, Fault, FaultCode, Repeat};
pub use jibek_protocol::id::{
    ClientId, IdError, MemberId, RepresentedParty, ServerId, ServiceId, SubsystemId,
};
pub use jibek_protocol::soap::{SoapError, SoapHeader};
pub use soap::escape_xml;
pub use tls::{Credentials, ServerTrust, TlsCredentials};
