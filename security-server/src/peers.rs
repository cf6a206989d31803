//! Connections to other servers: chosen (`message-path.md` 6.3), judged for every message (`message-path.md` 5.5), kept and reused.
//!
//! A connection belongs to an address and to our authentication certificate. Whether its other end may answer for a provider is
//! judged each time it is handed out, from the certificates of its handshake, so a connection opened for one provider carries
//! another only when it may.

mod away;
mod judge;
mod link;
mod pool;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use http::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jibek_certs::{Clock, Timestamp};
use jibek_conf::{ServerAddress, Snapshot};
use jibek_protocol::id::ClientId;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

pub use link::{PeerConnection, SendError};

use crate::{
    body::Body,
    certificates::Certificates,
    config::PeerSettings,
    keys::KeyRing,
    outbound::chain,
    random::Random,
    tls::{PeerConnector, TlsError},
};
use away::Away;
use judge::Judge;
use link::{Errand, Link};
use pool::Pool;

/// Opens, judges and keeps connections to other servers.
#[derive(Debug)]
pub struct Peers {
    connector: PeerConnector,
    keys: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    settings: PeerSettings,
    pool: Arc<Pool>,
    judge: Judge,
    winners: Mutex<HashMap<Vec<String>, Winner>>,
    away: Away,
}

/// Why there is no connection to a provider's server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No address could be connected to.
    #[error("Could not connect to any target host ({})", targets(addresses))]
    Network {
        /// The addresses tried, as `host:port`.
        addresses: Vec<String>,
        /// The last reason.
        source: io::Error,
    },
    /// We have no authentication key.
    #[error("Security server has no valid authentication certificate: {reason}")]
    NoAuthKey {
        /// Why not.
        reason: String,
    },
    /// The other end is not who may answer for the provider.
    #[error("Security server at {address} is not accepted: {reason}")]
    PeerRejected {
        /// Its address.
        address: String,
        /// X-Road's code.
        code: String,
        /// The reason, with its causes.
        reason: String,
    },
    /// The TLS handshake failed.
    #[error("TLS handshake failed with {address}: {}", chain(source))]
    TlsRefused {
        /// Its address.
        address: String,
        /// The reason.
        source: TlsError,
    },
}

impl ConnectError {
    /// Returns X-Road's code (7.8 spelling), without the prefix of a side.
    pub fn code(&self) -> String {
        match self {
            Self::Network { .. } => "network_error".to_owned(),
            Self::NoAuthKey { .. } | Self::TlsRefused { .. } => {
                "ssl_authentication_failed".to_owned()
            }
            Self::PeerRejected { code, .. } => code.clone(),
        }
    }
}

impl Peers {
    /// An empty pool over `connector`; peers are judged by `certificates`.
    pub fn new(
        connector: PeerConnector,
        keys: Arc<KeyRing>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        settings: &PeerSettings,
        certificates: Arc<Certificates>,
    ) -> Arc<Self> {
        Arc::new(Self {
            connector,
            keys,
            clock,
            random,
            settings: settings.clone(),
            pool: Pool::new(settings),
            judge: Judge::new(settings, certificates),
            winners: Mutex::default(),
            away: Away::default(),
        })
    }

    /// Returns a connection to one of `candidates` (servers in maintenance left out by the caller) that may answer for `provider`
    /// under `snapshot` at `now`: an open one when there is one, else a new one. The address that answered first is remembered for
    /// an hour; one that fails is left out and the rest tried with shorter limits.
    ///
    /// # Errors
    /// No candidate could be connected to, or none is accepted; the last error that is more than a lost connection is told.
    pub async fn connection(
        self: &Arc<Self>,
        candidates: &[ServerAddress],
        provider: &ClientId,
        snapshot: &Arc<Snapshot>,
        now: Timestamp,
    ) -> Result<PeerConnection, ConnectError> {
        let errand = Errand {
            provider: provider.clone(),
            snapshot: Arc::clone(snapshot),
            now,
            fresh: false,
        };
        self.connect(candidates, errand).await
    }

    /// As [`Peers::connection`], but none that was open before: for a message whose connection was lost.
    ///
    /// # Errors
    /// As [`Peers::connection`].
    pub async fn fresh_connection(
        self: &Arc<Self>,
        candidates: &[ServerAddress],
        provider: &ClientId,
        snapshot: &Arc<Snapshot>,
    ) -> Result<PeerConnection, ConnectError> {
        let errand = Errand {
            provider: provider.clone(),
            snapshot: Arc::clone(snapshot),
            now: self.clock.now(),
            fresh: true,
        };
        self.connect(candidates, errand).await
    }

    /// Tells whether one of `candidates` was reached lately and has been unreachable for a moment only, so that it may just be
    /// starting again.
    pub fn may_return(&self, candidates: &[ServerAddress]) -> bool {
        let hosts = candidates.iter().map(|it| it.address.as_str());
        hosts.into_iter().any(|host| self.away.may_return(host))
    }

    async fn connect(
        self: &Arc<Self>,
        candidates: &[ServerAddress],
        errand: Errand,
    ) -> Result<PeerConnection, ConnectError> {
        let now = errand.now;
        let mut left = self.shuffled(candidates);
        let mut set = left.clone();
        set.sort();
        let targets: Vec<String> = set.iter().map(|host| self.target(host)).collect();
        let mut limit = self.settings.connect_timeout;
        let mut last: Option<ConnectError> = None;
        let mut last_io = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let mut winner = if left.len() > 1 {
            self.winner(&set, now)
        } else {
            None
        };
        while !left.is_empty() {
            let chosen = match winner.take().filter(|winner| left.contains(winner)) {
                Some(winner) => Choice::Known(winner, limit.min(LEAST_LIMIT)),
                None if left.len() == 1 => Choice::Known(left[0].clone(), limit),
                None => match self.open_one(&left) {
                    Some(host) => Choice::Known(host, limit),
                    None => match self.race(&left, limit).await {
                        Ok((host, stream)) => Choice::Connected(host, stream),
                        Err(error) => {
                            left.iter().for_each(|host| self.away.missed(host));
                            last_io = error;
                            break;
                        }
                    },
                },
            };
            let host = chosen.host().to_owned();
            match self.reach(chosen, &errand).await {
                Ok((link, reused)) => {
                    self.away.reached(&host);
                    if set.len() > 1 {
                        self.remember(set, &host, now);
                    }
                    return Ok(PeerConnection::new(Arc::clone(self), link, errand, reused));
                }
                Err(Unreached::Connect(error)) => {
                    if matches!(error, ConnectError::TlsRefused { .. }) {
                        self.away.missed(&host);
                    }
                    last = Some(error);
                }
                Err(Unreached::Io(error)) => {
                    self.away.missed(&host);
                    last_io = error;
                }
            }
            left.retain(|other| *other != host);
            limit = (limit / 2).max(LEAST_LIMIT);
        }
        Err(last.unwrap_or(ConnectError::Network {
            addresses: targets,
            source: last_io,
        }))
    }

    /// An open connection to the chosen address that is accepted for the errand, else a new one.
    async fn reach(&self, chosen: Choice, errand: &Errand) -> Result<(Link, bool), Unreached> {
        let auth = self.auth()?;
        while !errand.fresh
            && let Some(link) = self.pool.take(chosen.host(), &auth).await
        {
            match self
                .judge
                .accept(&link.host, &link.tls.certificates, errand)
                .await
            {
                Ok(()) => return Ok((link, true)),
                // The peer may have changed its certificate since: a new connection tells.
                Err(error) => {
                    tracing::info!(%error, "an open connection to a peer is not accepted any more")
                }
            }
        }
        let link = match chosen {
            Choice::Connected(host, stream) => self.open(&host, stream, errand).await?,
            Choice::Known(host, limit) => {
                let stream = self.dial(&host, limit).await.map_err(Unreached::Io)?;
                self.open(&host, stream, errand).await?
            }
        };
        Ok((link, false))
    }

    /// A new connection to the same address, for a message that a dead pooled connection did not carry.
    async fn replace(&self, host: &str, errand: &Errand) -> Result<Link, ConnectError> {
        let network = |source| ConnectError::Network {
            addresses: vec![self.target(host)],
            source,
        };
        let stream = self
            .dial(host, self.settings.connect_timeout)
            .await
            .map_err(network)?;
        self.open(host, stream, errand).await
    }

    /// TLS, judgement, HTTP.
    async fn open(
        &self,
        host: &str,
        stream: TcpStream,
        errand: &Errand,
    ) -> Result<Link, ConnectError> {
        let auth = self.auth()?;
        let refused = |source| ConnectError::TlsRefused {
            address: host.to_owned(),
            source,
        };
        let address = stream
            .peer_addr()
            .unwrap_or(SocketAddr::from(([0, 0, 0, 0], self.settings.port)));
        let (stream, tls) =
            self.connector
                .secure(stream, host, address)
                .await
                .map_err(|error| match error {
                    TlsError::NoAuthKey { reason } => ConnectError::NoAuthKey { reason },
                    error => refused(error),
                })?;
        self.judge.accept(host, &tls.certificates, errand).await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MOST_HEADER_BYTES)
            .handshake::<_, Body>(TokioIo::new(stream))
            .await
            .map_err(|error| ConnectError::Network {
                addresses: vec![self.target(host)],
                source: io::Error::other(error),
            })?;
        let name = host.to_owned();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(peer = %name, error = %chain(&error), "a connection to a peer ended with an error");
            }
        });
        Ok(Link {
            sender,
            tls: Arc::new(tls),
            host: host.to_owned(),
            auth,
            opened: Instant::now(),
        })
    }

    /// One of `hosts` that a connection is open to.
    fn open_one(&self, hosts: &[String]) -> Option<String> {
        let auth = self.auth().ok()?;
        hosts
            .iter()
            .find(|host| self.pool.holds(host, &auth))
            .cloned()
    }

    /// All candidates at once; the first completed connect wins.
    async fn race(&self, hosts: &[String], limit: Duration) -> io::Result<(String, TcpStream)> {
        let mut dials: FuturesUnordered<_> = hosts
            .iter()
            .map(|host| async move {
                self.dial(host, limit)
                    .await
                    .map(|stream| (host.clone(), stream))
            })
            .collect();
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        while let Some(dialled) = dials.next().await {
            match dialled {
                Ok(connected) => return Ok(connected),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn dial(&self, host: &str, limit: Duration) -> io::Result<TcpStream> {
        timeout(limit, TcpStream::connect((host, self.settings.port)))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    fn auth(&self) -> Result<[u8; 32], ConnectError> {
        let keys = self.keys.current();
        keys.auth()
            .map(|auth| auth.certificate().sha256())
            .ok_or_else(|| ConnectError::NoAuthKey {
                reason: keys.auth_problem().unwrap_or_default().to_owned(),
            })
    }

    /// The candidates' addresses, each once, in random order.
    fn shuffled(&self, candidates: &[ServerAddress]) -> Vec<String> {
        let mut hosts: Vec<String> = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            if !hosts.contains(&candidate.address) {
                hosts.push(candidate.address.clone());
            }
        }
        for last in (1..hosts.len()).rev() {
            let mut bytes = [0; 4];
            self.random.fill(&mut bytes);
            let at = usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(0) % (last + 1);
            hosts.swap(last, at);
        }
        hosts
    }

    fn winner(&self, set: &[String], now: Timestamp) -> Option<String> {
        let winners = self.winners.lock().unwrap_or_else(PoisonError::into_inner);
        let winner = winners.get(set)?;
        (now < winner.until).then(|| winner.host.clone())
    }

    fn remember(&self, set: Vec<String>, host: &str, now: Timestamp) {
        let mut winners = self.winners.lock().unwrap_or_else(PoisonError::into_inner);
        if winners.len() >= MOST_WINNERS {
            winners.retain(|_, winner| now < winner.until);
        }
        let fresh = winners
            .get(&set)
            .is_none_or(|held| held.host != host || held.until <= now);
        if fresh && winners.len() < MOST_WINNERS {
            winners.insert(
                set,
                Winner {
                    host: host.to_owned(),
                    until: now + WINNER_FOR,
                },
            );
        }
    }

    fn target(&self, host: &str) -> String {
        format!("{host}:{}", self.settings.port)
    }

    /// The present moment, for judging a replacement.
    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// A remembered fastest address.
#[derive(Debug)]
struct Winner {
    host: String,
    until: Timestamp,
}

enum Choice {
    /// Won the race for the first connect.
    Connected(String, TcpStream),
    /// To be dialled within a limit.
    Known(String, Duration),
}

impl Choice {
    fn host(&self) -> &str {
        match self {
            Self::Connected(host, _) | Self::Known(host, _) => host,
        }
    }
}

enum Unreached {
    Connect(ConnectError),
    Io(io::Error),
}

impl From<ConnectError> for Unreached {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

/// The type of what is sent on these connections.
type Sender = http1::SendRequest<Body>;
/// The type of a request on these connections.
type PeerRequest = Request<Body>;

fn targets(addresses: &[String]) -> String {
    let targets: Vec<String> = addresses
        .iter()
        .map(|address| format!("https://{address}/"))
        .collect();
    format!("[{}]", targets.join(", "))
}

const LEAST_LIMIT: Duration = Duration::from_secs(5);
const WINNER_FOR: Duration = Duration::from_secs(3600);
const MOST_WINNERS: usize = 1000;
const MOST_HEADER_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests;
