//! Calling services: the consumer, its connections and what all its calls share.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jibek_protocol::id::{ClientId, ServiceId};
use rustls::ClientConfig;
use tokio::time::{Duration, Instant, timeout_at};
use uuid::Uuid;

use crate::body::{Upload, Watch};
use crate::builder::Deadlines;
use crate::error::{CallError, Phase, RequestError};

mod connect;
pub(crate) mod evidence;
pub(crate) mod fault;
pub(crate) mod reply;
pub(crate) mod rest;
pub(crate) mod soap;

use connect::Connector;
use evidence::EvidenceCall;
use rest::RestCall;
use soap::SoapCall;

/// Calls services in the name of one client through its security server.
///
/// Cheap to clone; clones share connections. See [`Consumer::builder`].
#[derive(Clone, Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: Arc<Uri>,
    client: ClientId,
    http: Client<Connector, Upload>,
    deadlines: Deadlines,
}

impl Consumer {
    pub(crate) fn assemble(
        server: Arc<Uri>,
        client: ClientId,
        tls: ClientConfig,
        deadlines: Deadlines,
    ) -> Self {
        let http = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(POOL_CONNECTIONS)
            .build(Connector::new(tls, deadlines.connect));
        Self {
            shared: Arc::new(Shared {
                server,
                client,
                http,
                deadlines,
            }),
        }
    }

    /// Gives the client in whose name calls are made.
    #[must_use]
    pub fn identity(&self) -> &ClientId {
        &self.shared.client
    }

    /// Starts a REST call. It is a `GET` of the service itself until said otherwise.
    pub fn rest(&self, service: &ServiceId) -> RestCall {
        RestCall::new(self.clone(), service.clone())
    }

    /// Starts a call of a SOAP service, without attachments.
    pub fn soap(&self, service: &ServiceId) -> SoapCall {
        SoapCall::new(self.clone(), service.clone())
    }

    /// Starts to ask the security server for the evidence of an exchange.
    pub fn evidence(&self, message_id: &str) -> EvidenceCall {
        EvidenceCall::new(self.clone(), message_id)
    }

    /// Fetches the evidence of an exchange, request and response: a zip of ASiC-E containers.
    ///
    /// # Errors
    /// As [`EvidenceCall::send`], and when it is larger than 256 MiB.
    pub async fn container(&self, message_id: &str) -> Result<Bytes, crate::error::EvidenceError> {
        let mut container = self.evidence(message_id).send().await?;
        container
            .bytes(CONTAINER_BYTES)
            .await
            .map_err(crate::error::EvidenceError::Read)
    }

    pub(crate) fn deadlines(&self) -> &Deadlines {
        &self.shared.deadlines
    }

    /// Makes the absolute address of a path and query on the security server.
    fn address(&self, target: &str) -> Result<Uri, RequestError> {
        let parts = self.shared.server.clone();
        Uri::builder()
            .scheme(parts.scheme_str().unwrap_or("http"))
            .authority(parts.authority().map_or("", |authority| authority.as_str()))
            .path_and_query(target)
            .build()
            .map_err(|_| RequestError::Path {
                target: target.to_owned(),
                reason: "it is no part of an address",
            })
    }

    /// Sends a request and waits for the head of the answer, as long as something moves.
    async fn exchange(
        &self,
        request: Request<Upload>,
        watch: &Watch,
        safe: bool,
    ) -> Result<Response<Incoming>, CallError> {
        let waited = self.shared.deadlines.answer;
        let mut answer = std::pin::pin!(self.shared.http.request(request));
        loop {
            let error = match timeout_at(later(watch.moved_at(), waited), &mut answer).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => error,
                Err(_elapsed) if later(watch.moved_at(), waited) <= Instant::now() => {
                    return Err(CallError::Deadline {
                        phase: Phase::Answer,
                        waited,
                        safe,
                    });
                }
                Err(_elapsed) => continue,
            };
            let server = self.shared.server.to_string();
            return Err(if error.is_connect() {
                CallError::Connect {
                    server,
                    source: error.into(),
                }
            } else if let Some(failure) = watch.take_failure() {
                CallError::Body(failure)
            } else {
                CallError::Transport {
                    server,
                    safe,
                    source: error.into(),
                }
            });
        }
    }

    fn new_message_id(&self) -> String {
        format!("{}-{}", self.shared.client.instance(), Uuid::new_v4())
    }
}

fn later(moment: Instant, wait: Duration) -> Instant {
    moment.checked_add(wait).unwrap_or(moment)
}

/// Makes a header value of text, in Latin-1 as HTTP has it (`message-path.md` 3.2).
fn header_value(name: &str, text: &str) -> Result<HeaderValue, RequestError> {
    let refuse = |reason| RequestError::Header {
        name: name.to_owned(),
        reason,
    };
    if text.is_empty() {
        return Err(refuse("it is empty"));
    }
    if text.trim() != text {
        return Err(refuse(
            "it begins or ends with white space, which is lost on the way",
        ));
    }
    let latin: Option<Vec<u8>> = text
        .chars()
        .map(|character| u8::try_from(u32::from(character)).ok())
        .collect();
    let latin = latin.ok_or_else(|| refuse("it has characters beyond Latin-1"))?;
    HeaderValue::from_bytes(&latin).map_err(|_| refuse("it has control characters"))
}

/// Gives the last value of a header as text, Latin-1 read as such.
pub(crate) fn last_header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers
        .get_all(name)
        .iter()
        .next_back()
        .map(|value| value.as_bytes().iter().copied().map(char::from).collect())
}

const POOL_CONNECTIONS: usize = 64;

/// Under the 30 s after which security servers close idle connections (`observed.md` 1 number 15).
const POOL_IDLE: Duration = Duration::from_secs(15);

const CONTAINER_BYTES: usize = 256 * 1024 * 1024;
