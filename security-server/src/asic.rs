//! Hands out evidence: `GET /asic` builds containers from the log, `GET /verificationconf` gives the configuration
//! that an auditor needs beside them (`signatures-and-log.md` 5.3, 5.4; statuses and texts as real servers answer).
//!
//! Both live on the consumers' listeners. A client gets what it took part in itself, authenticated as its own
//! connections are. Containers are written into a spool file, record by record, and sent from there: neither a
//! large body nor many records are ever held in memory.

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use jibek_certs::time::Clock;
use jibek_msglog::{MessageLog, Query, RecordId};
use jibek_protocol::id::ClientId;
use tokio::{sync::Semaphore, task};

pub(crate) use self::pack::container_parts;
pub use self::{pack::PackError, request::AsicRequest};

use crate::{
    body::{self, Body},
    clients::{ConnectionInfo, SharedClients},
    conf_watch::SharedSnapshot,
    outbound,
    timestamper::Timestamper,
};

mod pack;
mod request;
mod spool;

/// What evidence is made from.
#[derive(Clone, Debug)]
pub struct EvidenceSettings {
    /// The log of messages.
    pub log: MessageLog,
    /// Stamps records at once when a client asks with `force`.
    pub timestamper: Arc<Timestamper>,
    /// The configuration of today.
    pub conf: SharedSnapshot,
    /// Who may ask, and how they authenticate.
    pub clients: SharedClients,
    /// The server's own certificate towards information systems (DER): who presents it is this machine.
    pub internal_certificate: Option<Bytes>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where answers too large for memory wait; the files there have no name.
    pub spool_dir: PathBuf,
}

/// The service that hands out evidence.
#[derive(Debug)]
pub struct Evidence {
    settings: EvidenceSettings,
    /// How many answers may be put together at once; more wait.
    turns: Arc<Semaphore>,
}

impl Evidence {
    /// Makes the service. The spool directory is made when it is needed.
    #[must_use]
    pub fn new(settings: EvidenceSettings) -> Self {
        Self {
            settings,
            turns: Arc::new(Semaphore::new(MOST_AT_ONCE)),
        }
    }

    /// Tells whether a request on a consumers' listener is for [`Evidence::handle`].
    #[must_use]
    pub fn handles(&self, method: &Method, path: &str) -> bool {
        method == Method::GET && matches!(path, ASIC | VERIFICATIONCONF)
    }

    /// Answers a request; errors are answers too.
    pub async fn handle(&self, request: &Parts, connection: &ConnectionInfo) -> Response<Body> {
        let result = if request.uri.path() == VERIFICATIONCONF {
            self.verification_configuration().await
        } else {
            self.containers(request, connection).await
        };
        result.unwrap_or_else(|error| error.answer())
    }

    async fn verification_configuration(&self) -> Result<Response<Body>, EvidenceError> {
        let conf = self.settings.conf.load_full();
        self.check_configuration()?;
        let zip = task::spawn_blocking(move || pack::verification_configuration(&conf))
            .await
            .map_err(|_| EvidenceError::Cancelled)?
            .map_err(|source| EvidenceError::Pack { source })?;
        answer(ZIP, "filename=\"verificationconf.zip\"", body::full(zip))
    }

    async fn containers(
        &self,
        request: &Parts,
        connection: &ConnectionInfo,
    ) -> Result<Response<Body>, EvidenceError> {
        self.check_configuration()?;
        let parameters = request::Parameters::parse(&request.uri);
        let client = parameters.client()?;
        self.authenticate(&client, connection)?;
        let wanted = parameters.wanted(client)?;

        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|_| EvidenceError::Cancelled)?;
        let found = self.find(&wanted).await?;
        if found.is_empty() {
            return Err(EvidenceError::NotFound);
        }
        self.ensure_stamped(&found, wanted.force).await?;
        if wanted.unique && wanted.direction.is_none() {
            return Err(EvidenceError::UniqueAlone);
        }

        let records = found.len();
        let packed = {
            let log = self.settings.log.clone();
            let spool_dir = self.settings.spool_dir.clone();
            let wanted = wanted.clone();
            let ids: Vec<_> = found.iter().map(|record| record.id).collect();
            task::spawn_blocking(move || {
                // Held to the end even if the client leaves; given back before the answer is sent, however slowly.
                let _turn = turn;
                if wanted.unique {
                    pack::one(&log, &ids, &wanted, &spool_dir)
                } else {
                    pack::all(&log, &ids, &wanted, &spool_dir)
                }
            })
            .await
            .map_err(|_| EvidenceError::Cancelled)?
            .map_err(|source| EvidenceError::Pack { source })?
        };
        let disposition = format!("attachment; filename=\"{}\"", packed.name);
        let media_type = if wanted.unique { ASICE } else { ZIP };
        let (stream, length) = spool::stream(packed.file).map_err(EvidenceError::Spool)?;
        tracing::info!(client = %wanted.client, message_id = wanted.query_id, records, bytes = length, "evidence handed out");
        answer(media_type, &disposition, body::sized(stream, length))
    }

    /// An expired configuration stops these services too (`message-path.md` 7.5, fact 8).
    fn check_configuration(&self) -> Result<(), EvidenceError> {
        self.settings
            .conf
            .load()
            .check_valid(self.settings.clock.now())
            .map_err(|source| EvidenceError::ConfigurationExpired {
                reason: outbound::chain(&source),
            })
    }

    fn authenticate(
        &self,
        client: &ClientId,
        connection: &ConnectionInfo,
    ) -> Result<(), EvidenceError> {
        let clients = self.settings.clients.load();
        let Some(known) = clients.client(client) else {
            return Err(EvidenceError::UnknownClient {
                client: client.clone(),
            });
        };
        known
            .admits(connection, self.settings.internal_certificate.as_deref())
            .map_err(|source| EvidenceError::Refused {
                reason: outbound::chain(&source),
            })
    }

    /// All records that are meant, and whether each has its stamp.
    async fn find(&self, wanted: &AsicRequest) -> Result<Vec<Found>, EvidenceError> {
        let (log, wanted) = (self.settings.log.clone(), wanted.clone());
        task::spawn_blocking(move || {
            let mut query = Query {
                party: Some(wanted.client),
                direction: wanted.direction,
                limit: PAGE,
                ..Query::message_id(&wanted.query_id)
            };
            let mut found = Vec::new();
            loop {
                let page = log.find(&query)?;
                for &id in &page {
                    if let Some(record) = log.read(id)? {
                        found.push(Found {
                            id,
                            stamped: record.stamp.is_some(),
                        });
                    }
                }
                query.after = page.last().copied();
                if page.len() < PAGE {
                    return Ok(found);
                }
                if found.len() >= MOST_RECORDS {
                    return Err(PackError::TooMany { most: MOST_RECORDS });
                }
            }
        })
        .await
        .map_err(|_| EvidenceError::Cancelled)?
        .map_err(|source| EvidenceError::Pack { source })
    }

    async fn ensure_stamped(&self, found: &[Found], force: bool) -> Result<(), EvidenceError> {
        let unstamped: Vec<_> = found
            .iter()
            .filter(|record| !record.stamped)
            .map(|record| record.id)
            .collect();
        if unstamped.is_empty() {
            return Ok(());
        }
        if !force {
            return Err(EvidenceError::NotStamped);
        }
        self.settings
            .timestamper
            .stamp_now(&unstamped)
            .await
            .map_err(|source| {
                tracing::warn!(
                    error = outbound::chain(&source),
                    "a client asked for a time-stamp that could not be made"
                );
                EvidenceError::StampFailed
            })
    }
}

struct Found {
    id: RecordId,
    stamped: bool,
}

/// Why there is no evidence to hand out; each is an answer with a status and one line of text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Both directions were asked for alone.
    #[error("Parameters \"requestOnly\" and \"responseOnly\" cannot be used at the same time.")]
    BothOnly,
    /// The server is ending.
    #[error("the server is shutting down")]
    Cancelled,
    /// The configuration is not valid.
    #[error("{reason}")]
    ConfigurationExpired {
        /// Which part, and since when.
        reason: String,
    },
    /// A parameter does not make an identifier.
    #[error("{reason}")]
    Identifier {
        /// What is wrong with it.
        reason: String,
    },
    /// A parameter is missing.
    #[error("Parameter \"{name}\"  must be specified.")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// No such record, or not this client's.
    #[error("No signed documents found")]
    NotFound,
    /// There is a record without a stamp, and no `force`.
    #[error("Message signature has not been timestamped yet!")]
    NotStamped,
    /// The container could not be put together.
    #[error("the container cannot be made")]
    Pack {
        /// Why.
        source: PackError,
    },
    /// The connection is not one this client may use.
    #[error("{reason}")]
    Refused {
        /// What is wrong with it.
        reason: String,
    },
    /// The spool file failed.
    #[error("the answer cannot be kept until it is sent")]
    Spool(#[source] io::Error),
    /// A stamp was asked for and could not be had.
    #[error("Could not create missing timestamp!")]
    StampFailed,
    /// `unique` without a direction.
    #[error("Parameter \"unique\" not applicable without \"requestOnly\" or \"responseOnly\".")]
    UniqueAlone,
    /// Nobody here has that identifier.
    #[error("Client '{client}' not found")]
    UnknownClient {
        /// The identifier.
        client: ClientId,
    },
}

impl EvidenceError {
    fn status(&self) -> StatusCode {
        match self {
            Self::BothOnly | Self::Identifier { .. } | Self::Missing { .. } | Self::UniqueAlone => {
                StatusCode::BAD_REQUEST
            }
            Self::Refused { .. } | Self::UnknownClient { .. } => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Cancelled
            | Self::ConfigurationExpired { .. }
            | Self::NotStamped
            | Self::Pack { .. }
            | Self::Spool(_)
            | Self::StampFailed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn answer(&self) -> Response<Body> {
        if let Self::Pack { .. } | Self::Spool(_) = self {
            tracing::error!(error = outbound::chain(self), "evidence not handed out");
        }
        let mut response = Response::new(body::full(self.to_string()));
        *response.status_mut() = self.status();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT));
        response
    }
}

fn answer(
    media_type: &'static str,
    disposition: &str,
    body: Body,
) -> Result<Response<Body>, EvidenceError> {
    let disposition =
        HeaderValue::from_str(disposition).map_err(|_| EvidenceError::Identifier {
            reason: "the query id cannot be a file name".to_owned(),
        })?;
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    Ok(response)
}

const ASIC: &str = "/asic";
const VERIFICATIONCONF: &str = "/verificationconf";
const ZIP: &str = "application/zip";
const ASICE: &str = "application/vnd.etsi.asic-e+zip";
const TEXT: &str = "text/plain; charset=UTF-8";
const MOST_AT_ONCE: usize = 4;
const PAGE: usize = 256;
/// Message ids are the consumer's, who may use one over and over; beyond this ask with a direction.
const MOST_RECORDS: usize = 10_000;

#[cfg(test)]
mod tests;
