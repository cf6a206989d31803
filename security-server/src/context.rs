//! What both sides of the message path share.

use std::sync::Arc;

use jibek_certs::time::Clock;
use jibek_msglog::MessageLog;
use tokio::sync::Semaphore;

use crate::{
    archiver::Archiver,
    asic::Evidence,
    certificates::Certificates,
    clients::SharedClients,
    conf_watch::ConfWatch,
    config::Config,
    drain::Drain,
    keys::KeyRing,
    metrics::Metrics,
    peers::Peers,
    provider::Once,
    random::Random,
    sealer::Sealer,
    services::ServiceClient,
    timestamper::{Gate, Timestamper},
};

/// The parts of a running server that a message meets on its way.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) conf: Arc<ConfWatch>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) clients: SharedClients,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) log: MessageLog,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) once: Arc<Once>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) ocsp: Arc<crate::ocsp::OcspKeeper>,
    pub(crate) services: ServiceClient,
    pub(crate) timestamper: Arc<Timestamper>,
    pub(crate) gate: Gate,
    /// What information systems on this machine may show in place of a client's certificate.
    pub(crate) internal_certificate: Option<bytes::Bytes>,
    pub(crate) archiver: Arc<Archiver>,
    pub(crate) evidence: Evidence,
    /// Messages that may wait for a peer which is away.
    pub(crate) waiting_for_peers: Semaphore,
    pub(crate) metrics: Metrics,
    pub(crate) drain: Drain,
}

/// Longest waits of the path that are not the operator's to set.
pub(crate) mod bounds {
    use std::time::Duration;

    /// A peer that broke the connection may have left a fault to be read.
    pub(crate) const LAST_WORDS: Duration = Duration::from_secs(10);
}
