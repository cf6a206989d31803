//! Every error of the path becomes a fault here and nowhere else: code, words, who is to blame.
//!
//! Codes are X-Road's (`message-path.md` 2.7), in the spelling of 7.8. A stranger learns the code and one sentence;
//! the rest stands in this server's log under the fault's detail.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use jibek_protocol::{
    fault::{
        Fault,
        codes::{self, CLIENT, SERVER_CLIENTPROXY, SERVER_SERVERPROXY, compose},
    },
    header as names,
};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use crate::{
    body,
    body::Body,
    consumer,
    edge::NoPlace,
    outbound::chain,
    provider,
    random::Random,
    recording,
    sealer::SealError,
    timestamper::GateClosed,
    transport::{MessageType, TransportError},
};

/// A message refused, with what its sender will read.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Our own words.
    Own {
        /// Code with all prefixes.
        code: String,
        /// What happened, for people.
        message: String,
        /// What this server's log tells besides: it may name files and machines, which are nobody else's business.
        cause: Option<String>,
    },
    /// The words of the peer or the service, which go on unchanged.
    Foreign(Foreign),
}

/// A fault that somebody else wrote.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    /// What it says.
    pub(crate) fault: Fault,
    /// Its document, for consumers that read SOAP; absent when it is not UTF-8, which is what we announce.
    document: Option<Bytes>,
}

impl Foreign {
    /// A fault and the document it was read from.
    pub(crate) fn new(fault: Fault, document: Bytes) -> Self {
        let document = Some(document).filter(|bytes| std::str::from_utf8(bytes).is_ok());
        Self { fault, document }
    }
}

impl Refusal {
    /// An error of the consumer's side.
    pub(crate) fn consumer(error: &dyn ConsumerError) -> Self {
        match error.foreign() {
            Some(foreign) => Self::Foreign(foreign.clone()),
            None => Self::Own {
                code: error.full_code(),
                message: error.to_string(),
                cause: error.source().map(chain),
            },
        }
    }

    /// An error of the provider's side.
    pub(crate) fn provider(error: &dyn ProviderError) -> Self {
        Self::Own {
            code: compose(&[SERVER_SERVERPROXY], &error.code()),
            message: error.to_string(),
            cause: error.source().map(chain),
        }
    }

    /// Something that should not happen.
    pub(crate) fn internal(message: &str) -> Self {
        Self::Own {
            code: compose(&[SERVER_CLIENTPROXY], codes::INTERNAL_ERROR),
            message: message.to_owned(),
            cause: None,
        }
    }

    /// Tells whether the words are somebody else's, and may name persons.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign(_))
    }

    /// The document of somebody else's fault, which a SOAP consumer reads as it is (`message-path.md` 2.6).
    pub(crate) fn document(&self) -> Option<Bytes> {
        match self {
            Self::Own { .. } => None,
            Self::Foreign(foreign) => foreign.document.clone(),
        }
    }

    /// Makes the fault, with a fresh id under which the log has the rest.
    pub(crate) fn into_fault(self, random: &dyn Random) -> Fault {
        match self {
            Self::Foreign(foreign) => foreign.fault,
            Self::Own {
                code,
                message,
                cause,
            } => {
                let detail = random.uuid().to_string();
                if let Some(cause) = cause {
                    tracing::warn!(detail, cause, "the cause of a fault");
                }
                Fault::new(code, message, detail)
            }
        }
    }
}

/// An error of a step of the consumer's side.
pub(crate) trait ConsumerError: std::error::Error {
    /// Code with all prefixes.
    fn full_code(&self) -> String;

    /// The peer's or the service's own fault, if it is one.
    fn foreign(&self) -> Option<&Foreign> {
        None
    }
}

impl ConsumerError for NoPlace {
    fn full_code(&self) -> String {
        own(codes::OVERLOADED)
    }
}

impl ProviderError for NoPlace {
    fn code(&self) -> String {
        codes::OVERLOADED.to_owned()
    }
}

/// An error of a step of the provider's side.
pub(crate) trait ProviderError: std::error::Error {
    /// Code without the side's prefix.
    fn code(&self) -> String;
}

fn client(code: &str) -> String {
    compose(&[CLIENT], code)
}

fn own(code: &str) -> String {
    compose(&[SERVER_CLIENTPROXY], code)
}

fn reading(code: &str) -> String {
    compose(&["service_failed"], code)
}

impl ConsumerError for consumer::IdentifyError {
    fn full_code(&self) -> String {
        match self {
            Self::Attachments | Self::ContentType { .. } => client(codes::INVALID_CONTENT_TYPE),
            Self::Block(error) => own(error.code()),
            Self::Broken(_) => own(codes::IO_ERROR),
            Self::Connection { .. } | Self::NoAuthKey => own(codes::SSL_AUTHENTICATION_FAILED),
            Self::Fault => client(codes::INVALID_MESSAGE),
            Self::Method { .. } => client(codes::INVALID_HTTP_METHOD),
            Self::OutdatedConf(_) => own(codes::GLOBAL_CONF_OUTDATED),
            Self::Soap(error) => client(error.code()),
            Self::SoapAction => client(codes::INVALID_SOAP_ACTION),
            Self::TooLarge { .. } => client(codes::INVALID_SOAP),
            Self::UnknownMember { .. } => own(codes::UNKNOWN_MEMBER),
        }
    }
}

impl ConsumerError for consumer::ResolveError {
    fn full_code(&self) -> String {
        match self {
            Self::Maintenance { .. } => own(codes::MAINTENANCE_MODE),
            Self::InvalidSecurityServer { .. } => own(codes::INVALID_SECURITY_SERVER),
            Self::UnknownInstance { .. } => own(codes::INTERNAL_ERROR),
            Self::UnknownMember { .. } => own(codes::UNKNOWN_MEMBER),
        }
    }
}

impl ConsumerError for consumer::ConnectError {
    fn full_code(&self) -> String {
        own(&self.0.code())
    }
}

impl ConsumerError for consumer::SealError {
    fn full_code(&self) -> String {
        match self {
            Self::Broken(_) | Self::PeerGone => own(codes::IO_ERROR),
            Self::EarlyAnswer | Self::EarlyFault(_) => own(&reading(codes::INVALID_MESSAGE)),
            Self::Log(_) | Self::Unreadable(_) => own(codes::LOGGING_FAILED),
            Self::NoOcsp { .. } => own(codes::CANNOT_CREATE_SIGNATURE),
            Self::Seal(error) => own(seal_code(error)),
        }
    }

    fn foreign(&self) -> Option<&Foreign> {
        match self {
            Self::EarlyFault(fault) => Some(fault),
            _ => None,
        }
    }
}

impl ConsumerError for recording::RecordError {
    fn full_code(&self) -> String {
        match self {
            Self::Gate(closed) => own(&gate_code(closed)),
            Self::Log(_) => own(codes::LOGGING_FAILED),
        }
    }
}

impl ConsumerError for consumer::OpenError {
    fn full_code(&self) -> String {
        match self {
            Self::Block(error) => own(&reading(error.code())),
            Self::ContentType { .. } => own(&reading(codes::INVALID_CONTENT_TYPE)),
            Self::Fault(foreign) => foreign.fault.code().to_string(),
            Self::HashAlgorithm { .. } => own(codes::INTERNAL_ERROR),
            Self::Inconsistent(mismatch) => own(mismatch.code()),
            Self::Parts(error) => own(&open_code(error)),
            Self::MissingMessage {
                kind: MessageType::Rest,
            } => own(codes::MISSING_REST),
            Self::MissingMessage {
                kind: MessageType::Soap,
            } => own(codes::MISSING_SOAP),
            Self::Lost(_) | Self::NoAnswer { .. } => own(codes::IO_ERROR),
            Self::RequestHash => own(codes::INCONSISTENT_RESPONSE),
            Self::Signature(error) => own(&signature_code(error)),
            Self::Soap(error) => own(&reading(error.code())),
            Self::Status { .. } => own(codes::HTTP_ERROR),
            Self::Transport(error) => own(&reading(transport_code(error))),
        }
    }

    fn foreign(&self) -> Option<&Foreign> {
        match self {
            Self::Fault(fault) => Some(fault),
            _ => None,
        }
    }
}

impl ProviderError for provider::IdentifyError {
    fn code(&self) -> String {
        match self {
            Self::Method { .. } => codes::INVALID_HTTP_METHOD.to_owned(),
            Self::OutdatedConf(_) => codes::GLOBAL_CONF_OUTDATED.to_owned(),
            Self::OldPeer { .. } => codes::CLIENT_PROXY_VERSION_NOT_SUPPORTED.to_owned(),
            Self::UnreadableVersion { .. } | Self::NoHashAlgorithm | Self::HashAlgorithm { .. } => {
                codes::INTERNAL_ERROR.to_owned()
            }
            Self::SoapAction => codes::INVALID_SOAP_ACTION.to_owned(),
            Self::ContentType { .. } => reading(codes::INVALID_CONTENT_TYPE),
        }
    }
}

impl ProviderError for provider::AuthorizeError {
    fn code(&self) -> String {
        match self {
            Self::AccessDenied { .. } => codes::ACCESS_DENIED.to_owned(),
            Self::Block(error) => reading(error.code()),
            Self::Disabled { .. } => codes::SERVICE_DISABLED.to_owned(),
            Self::Fault => codes::INVALID_MESSAGE.to_owned(),
            Self::MissingMessage {
                kind: MessageType::Rest,
            } => codes::MISSING_REST.to_owned(),
            Self::MissingMessage {
                kind: MessageType::Soap,
            } => codes::MISSING_SOAP.to_owned(),
            Self::Peer { .. } => reading(codes::SSL_AUTHENTICATION_FAILED),
            Self::RequestId => reading(codes::INVALID_MESSAGE),
            Self::Seal(error) => reading(seal_code(error)),
            Self::ServiceType { .. } => codes::SERVICE_TYPE.to_owned(),
            Self::Soap(error) => reading(error.code()),
            Self::Transport(error) => transport_code(error).to_owned(),
            Self::UnexpectedPart { .. } => reading(codes::INVALID_CONTENT_TYPE),
            Self::UnknownMember { .. } => reading(codes::UNKNOWN_MEMBER),
            Self::UnknownService { .. } => codes::UNKNOWN_SERVICE.to_owned(),
            Self::WrongServer { .. } => reading(codes::INVALID_SECURITY_SERVER),
        }
    }
}

impl ProviderError for provider::OpenError {
    fn code(&self) -> String {
        open_code(self)
    }
}

impl ProviderError for recording::RecordError {
    fn code(&self) -> String {
        match self {
            Self::Gate(closed) => gate_code(closed),
            Self::Log(_) => codes::LOGGING_FAILED.to_owned(),
        }
    }
}

impl ProviderError for provider::DispatchError {
    fn code(&self) -> String {
        match self {
            Self::Call(error) => error.code().to_owned(),
            Self::SoapCall(error) => reading(error.code()),
            Self::ContentType { .. } => reading(codes::INVALID_CONTENT_TYPE),
            Self::Fault(_) => codes::SERVICE_FAILED.to_owned(),
            Self::Status { .. } => reading(codes::HTTP_ERROR),
            Self::Broken(_) => reading(codes::IO_ERROR),
            Self::Soap(error) => reading(error.code()),
            Self::Url { .. } => codes::SERVICE_MALFORMED_URL.to_owned(),
        }
    }
}

impl ProviderError for provider::RepeatError {
    fn code(&self) -> String {
        let what = match self {
            Self::Log(_) => return codes::LOGGING_FAILED.to_owned(),
            Self::NotKept => "answer_not_kept",
            Self::Unknown => "outcome_unknown",
        };
        compose(&[codes::REPEATED_REQUEST], what)
    }
}

impl ProviderError for provider::StillUnderWay {
    fn code(&self) -> String {
        compose(&[codes::REPEATED_REQUEST], "under_way")
    }
}

impl ProviderError for provider::SealReplyError {
    fn code(&self) -> String {
        match self {
            Self::Block(error) => error.code().to_owned(),
            Self::Broken(_) | Self::PeerGone(_) => codes::IO_ERROR.to_owned(),
            Self::Log(_) => codes::LOGGING_FAILED.to_owned(),
            Self::Seal(error) => seal_code(error).to_owned(),
            Self::Soap(error) => reading(error.code()),
        }
    }
}

fn open_code(error: &provider::OpenError) -> String {
    use provider::OpenError;
    match error {
        OpenError::Attachments | OpenError::UnexpectedPart { .. } => {
            reading(codes::INVALID_CONTENT_TYPE)
        }
        OpenError::Fault(_) => codes::INVALID_MESSAGE.to_owned(),
        OpenError::Log(_) => codes::LOGGING_FAILED.to_owned(),
        OpenError::MissingSignature => codes::MISSING_SIGNATURE.to_owned(),
        OpenError::Signature(error) => signature_code(error),
        OpenError::Transport(TransportError::Truncated) => codes::MISSING_SIGNATURE.to_owned(),
        OpenError::Transport(error) => transport_code(error).to_owned(),
    }
}

fn signature_code(error: &jibek_evidence::open::OpenError) -> String {
    compose(&[codes::SIGNATURE_VERIFICATION], &error.code())
}

fn gate_code(closed: &GateClosed) -> String {
    compose(&[codes::LOGGING_FAILED], closed.code())
}

fn seal_code(error: &SealError) -> &'static str {
    match error {
        SealError::NoKey { .. } | SealError::NoOcsp { .. } => codes::CANNOT_CREATE_SIGNATURE,
        SealError::Failed { .. } | SealError::Overloaded | SealError::Stopping => {
            codes::CANNOT_SIGN
        }
    }
}

fn transport_code(error: &TransportError) -> &'static str {
    match error {
        TransportError::Body(_) => codes::IO_ERROR,
        TransportError::Truncated
        | TransportError::Multipart(_)
        | TransportError::PartTooLarge { .. } => codes::MIME_PARSING_FAILED,
    }
}

/// A fault as the whole answer of a transport message (`message-path.md` 4.5).
pub(crate) fn transport_response(fault: &Fault) -> Response<Body> {
    transport_document(fault.to_soap())
}

/// The document of a fault as the whole answer of a transport message.
pub(crate) fn transport_document(document: Bytes) -> Response<Body> {
    soap_response(document)
}

/// A fault as the answer to an information system.
pub(crate) fn consumer_response(
    fault: &Fault,
    document: Option<Bytes>,
    form: consumer::AnswerForm,
) -> Response<Body> {
    match form {
        consumer::AnswerForm::Soap => soap_response(document.unwrap_or_else(|| fault.to_soap())),
        consumer::AnswerForm::Rest(form) => {
            let mut response = Response::new(body::full(form.render(fault)));
            *response.status_mut() = StatusCode::from_u16(fault.rest_status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let headers = response.headers_mut();
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static(form.content_type()),
            );
            if let Ok(code) = HeaderValue::from_str(fault.code().as_str()) {
                headers.insert(names::X_ROAD_ERROR, code);
            }
            response
        }
    }
}

/// A fault that says that there was no place, as the answer to an information system: for REST with a status that clients
/// and balancers know, and when to come again.
pub(crate) fn overloaded_response(fault: &Fault, form: consumer::AnswerForm) -> Response<Body> {
    let mut response = consumer_response(fault, None, form);
    if matches!(form, consumer::AnswerForm::Rest(_)) {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn soap_response(document: Bytes) -> Response<Body> {
    let mut response = Response::new(body::full(document));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(names::FAULT_CONTENT_TYPE),
    );
    headers.insert("soapaction", HeaderValue::from_static(""));
    response
}

/// Value of the header `Date`.
pub(crate) fn http_date(now: OffsetDateTime) -> HeaderValue {
    const FORMAT: &[BorrowedFormatItem<'_>] = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    now.to_offset(time::UtcOffset::UTC)
        .format(FORMAT)
        .ok()
        .and_then(|text| HeaderValue::from_str(&text).ok())
        .unwrap_or_else(|| HeaderValue::from_static(""))
}
