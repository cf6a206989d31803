//! A server put together: keys before listeners, everything built before anything is served.
//!
//! [`App::build`] → [`Bound`] → [`Bound::run`]. Tests and the sandbox hand over open listeners, a clock and a PIN; the
//! program opens its own.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use jibek_certs::time::{Clock, Timestamp};
use jibek_conf::{Anchor, ConfDir, FetchOptions, Fetcher, Snapshot, fetch::Federations};
use jibek_msglog::{LogConfig, MessageLog, fs::Fs};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
    task::{JoinHandle, JoinSet},
};

use crate::{
    admin::{self, Admin},
    archiver::{ArchiveError, Archiver},
    asic::{Evidence, EvidenceSettings},
    certificates::Certificates,
    clients::ClientFolder,
    conf_watch::{self, ConfWatch, ConfWatchSettings},
    config::{Config, Listen},
    context::Context,
    drain::{Drain, Drained},
    edge::{self, Bounds},
    keys::{KeyRing, Pin, Token},
    metrics::Metrics,
    ocsp::{self, OcspKeeper},
    outbound::chain,
    peers::Peers,
    provider::Once,
    random::Random,
    readiness,
    sealer::Sealer,
    services::ServiceClient,
    store::Store,
    timestamper::{HttpTsa, StampSettings, Timestamper},
    tls::{ConsumerAcceptor, InternalTls, PeerAcceptor, PeerConnector},
};

/// Why a server could not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener could not be opened.
    #[error("cannot listen on {address} for {purpose}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What for.
        purpose: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The anchor cannot be read.
    #[error("cannot read the configuration anchor {}: {reason}", path.display())]
    Anchor {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A part of the server could not be set up.
    #[error("cannot set up {part}: {reason}")]
    Part {
        /// Which part.
        part: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// The open listeners of a server.
#[derive(Debug)]
pub struct Listeners {
    /// Information systems, plain HTTP.
    pub consumer_http: Option<TcpListener>,
    /// Information systems, TLS.
    pub consumer_https: Option<TcpListener>,
    /// Other servers, 5500.
    pub peer: TcpListener,
    /// OCSP answers for other servers, 5577.
    pub ocsp: TcpListener,
    /// Health, readiness, metrics.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Opens the listeners that the configuration names.
    ///
    /// # Errors
    ///
    /// [`StartError::Listen`] names the address.
    pub async fn open(listen: &Listen) -> Result<Self, StartError> {
        Ok(Self {
            consumer_http: open_optional(listen.consumer_http, "consumers (HTTP)").await?,
            consumer_https: open_optional(listen.consumer_https, "consumers (HTTPS)").await?,
            peer: open(listen.peer, "other security servers").await?,
            ocsp: open(listen.ocsp, "OCSP answers").await?,
            admin: open_optional(listen.admin, "health and metrics").await?,
        })
    }
}

async fn open_optional(
    address: Option<SocketAddr>,
    purpose: &'static str,
) -> Result<Option<TcpListener>, StartError> {
    match address {
        Some(address) => open(address, purpose).await.map(Some),
        None => Ok(None),
    }
}

async fn open(address: SocketAddr, purpose: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen {
            address,
            purpose,
            source,
        })
}

/// Where a running server listens.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Information systems, plain HTTP.
    pub consumer_http: Option<SocketAddr>,
    /// Information systems, TLS.
    pub consumer_https: Option<SocketAddr>,
    /// Other servers.
    pub peer: SocketAddr,
    /// OCSP answers.
    pub ocsp: SocketAddr,
    /// Health, readiness, metrics.
    pub admin: Option<SocketAddr>,
}

/// What comes from outside, so that tests own it.
#[derive(Debug)]
pub struct Outside {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Where the message log lies.
    pub disk: Arc<dyn Fs>,
    /// Opens the token.
    pub pin: Pin,
}

/// Builds servers.
#[derive(Debug)]
pub struct App;

/// A server that is ready to run.
#[derive(Debug)]
pub struct Bound {
    context: Arc<Context>,
    listeners: Listeners,
    addresses: Addresses,
    folder: Arc<ClientFolder>,
    consumers: Arc<ConsumerAcceptor>,
    peers: Arc<PeerAcceptor>,
    poke: Arc<Notify>,
}

impl App {
    /// Puts a server together. Nothing is served before [`Bound::run`].
    ///
    /// # Errors
    ///
    /// [`StartError`] names the part and what to do.
    pub async fn build(
        config: Config,
        outside: Outside,
        listeners: Listeners,
    ) -> Result<Bound, StartError> {
        let Outside {
            clock,
            random,
            disk,
            pin,
        } = outside;
        let now = clock.now();
        let metrics = Metrics::new();
        let drain = Drain::new();
        let part = |part: &'static str| move |reason: String| StartError::Part { part, reason };

        // What takes its time begins now, side by side; each is awaited where it is needed.
        let state = config.state_dir.clone();
        let (token_dir, store_dir) = (state.join("token"), state.join("store"));
        let token = beside("the key token", move || Token::open(&token_dir, &pin));
        let store = beside("the store of learned state", move || {
            Store::open(&store_dir)
        });
        let log_config = LogConfig {
            memory_bytes: config.limits.body_memory,
            ..LogConfig::new(&config.log_dir)
        };
        let log_disk = Arc::clone(&disk);
        let log = beside("the message log", move || {
            MessageLog::open(log_config, log_disk)
        });
        let clients_dir = config.clients_dir.clone();
        let folder = beside("the clients folder", move || {
            ClientFolder::open(&clients_dir)
        });

        // Configuration.
        let anchor_bytes = std::fs::read(&config.anchor).map_err(|error| StartError::Anchor {
            path: config.anchor.clone(),
            reason: error.to_string(),
        })?;
        let anchor = Anchor::parse(anchor_bytes).map_err(|error| StartError::Anchor {
            path: config.anchor.clone(),
            reason: chain(&error),
        })?;
        let own_instance = anchor.instance().to_owned();
        let mut seed = [0; 8];
        random.fill(&mut seed);
        let seed = u64::from_le_bytes(seed);
        let mut options = FetchOptions::default();
        options.order_seed = seed;
        options.interval = config.configuration.interval;
        options.federations = Federations::from_names(&config.configuration.federations);
        let conf_dir =
            ConfDir::new(state.join("globalconf")).with_profiles(config.profiles.clone());
        let fetcher = beside("the configuration client", move || {
            Fetcher::new(anchor, conf_dir, options)
        });
        let fetcher = fetcher.ready().await?;
        let initial = match fetcher.stored() {
            Some(stored) => stored,
            None => conf_watch::empty_snapshot(&own_instance)
                .map_err(|error| part("the configuration client")(chain(&error)))?,
        };
        let conf = ConfWatch::new(
            Box::new(fetcher),
            initial,
            ConfWatchSettings {
                interval: config.configuration.interval,
                jitter_seed: seed,
                ..ConfWatchSettings::default()
            },
            Arc::clone(&clock),
            metrics.clone(),
        );
        let asked = ask_sources(&conf);

        // Keys, clients, message log: what is wrong with them is told before any source has answered.
        let keys = KeyRing::new(token.ready().await?, config.server.clone())
            .slowed(config.token.signature_takes);
        let keys = Arc::new(keys);
        let store = store.ready().await?;
        let folder = Arc::new(folder.ready().await?);
        let (log, recovery) = log.ready().await?;
        tracing::info!(?recovery, "message log open");
        first_look(&conf, now, asked).await;
        keys.refresh(&conf.snapshot(), now);

        let once = Once::of_log(&log, &config.peers)
            .map_err(|error| part("the message log")(chain(&error)))?;

        // Time-stamps.
        let settings = StampSettings {
            interval: config.timestamping.interval,
            records: config.timestamping.records,
            overtaken_after: config.timestamping.overtaken_after,
            acceptable_failure_period: config
                .timestamping
                .acceptable_failure_period
                .unwrap_or(Duration::ZERO),
            ..StampSettings::default()
        };
        let tsa = HttpTsa::new(&settings)
            .map_err(|error| part("the time-stamping client")(chain(&error)))?;
        let tsa = Arc::new(tsa);
        let timestamper = Timestamper::new(
            log.clone(),
            conf.shared(),
            tsa,
            settings,
            Arc::clone(&clock),
            metrics.clone(),
        );

        let archiver = Archiver::new(
            log.clone(),
            disk,
            config.archive.clone(),
            Arc::clone(&clock),
            &metrics,
        );

        // TLS, peers, OCSP.
        let internal =
            InternalTls::open_or_create(&config.state_dir.join("tls"), "jibek-server", now)
                .map_err(|error| part("the internal TLS key")(chain(&error)))?;
        let consumers = ConsumerAcceptor::new(&internal, config.peers.handshake_timeout)
            .map_err(|error| part("TLS towards information systems")(chain(&error)))?;
        let registered = {
            let conf = Arc::clone(&conf);
            Arc::new(move |leaf: &[u8]| {
                jibek_certs::parse::Certificate::from_der(leaf.to_vec()).is_ok_and(|certificate| {
                    conf.snapshot()
                        .server_by_auth_certificate(&certificate)
                        .is_some()
                })
            })
        };
        let peer_acceptor = PeerAcceptor::new(Arc::clone(&keys), registered, &config.peers)
            .counting(metrics.clone());
        let connector = PeerConnector::new(
            Arc::clone(&keys),
            Some(store.clone()),
            Arc::clone(&clock),
            &config.peers,
        )
        .counting(metrics.clone());
        let certificates = Certificates::new(metrics.clone());
        let peers = Peers::new(
            connector,
            Arc::clone(&keys),
            Arc::clone(&clock),
            Arc::clone(&random),
            &config.peers,
            Arc::clone(&certificates),
        );
        let ocsp = OcspKeeper::new(store, Arc::clone(&keys), conf.shared(), Arc::clone(&clock))
            .map_err(|error| part("the OCSP client")(chain(&error)))?;
        let internal = Arc::new(internal);
        let services = ServiceClient::new(Arc::clone(&internal), config.limits.provider_connect);

        let sealer = Sealer::new(
            Arc::clone(&keys),
            Arc::clone(&ocsp),
            Arc::clone(&conf),
            Arc::clone(&clock),
            metrics.clone(),
            config.sealing,
        );
        let evidence = Evidence::new(EvidenceSettings {
            log: log.clone(),
            timestamper: Arc::clone(&timestamper),
            conf: conf.shared(),
            clients: folder.shared(),
            clock: Arc::clone(&clock),
            internal_certificate: Some(internal.certificate().der().clone()),
            spool_dir: config.state_dir.join("spool"),
        });
        admin::gauges::register(&metrics, &log, &timestamper.gate(), &conf, &clock);
        let addresses =
            addresses(&listeners).map_err(|error| part("the listeners")(error.to_string()))?;
        let context = Arc::new(Context {
            clock,
            random,
            conf,
            certificates,
            clients: folder.shared(),
            keys,
            log,
            sealer,
            once,
            peers,
            ocsp,
            services,
            gate: timestamper.gate(),
            timestamper,
            internal_certificate: Some(internal.certificate().der().clone()),
            archiver,
            evidence,
            // The others get through to peers that are there.
            waiting_for_peers: Semaphore::new((config.limits.messages / 2).max(1)),
            metrics,
            drain,
            config,
        });
        Ok(Bound {
            context,
            listeners,
            addresses,
            folder,
            consumers: Arc::new(consumers),
            peers: Arc::new(peer_acceptor),
            poke: Arc::new(Notify::new()),
        })
    }
}

/// A part of the server that is being set up in a thread of its own.
struct Beside<T> {
    part: &'static str,
    work: JoinHandle<Result<T, String>>,
}

fn beside<T: Send + 'static, E: std::error::Error + 'static>(
    part: &'static str,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Beside<T> {
    let work = move || work().map_err(|error| chain(&error));
    Beside {
        part,
        work: tokio::task::spawn_blocking(work),
    }
}

impl<T> Beside<T> {
    async fn ready(self) -> Result<T, StartError> {
        let reason = match self.work.await {
            Ok(Ok(part)) => return Ok(part),
            Ok(Err(reason)) => reason,
            Err(error) => error.to_string(),
        };
        let part = self.part;
        Err(StartError::Part { part, reason })
    }
}

/// Asks the sources for the configuration, beside everything else.
fn ask_sources(conf: &Arc<ConfWatch>) -> JoinHandle<()> {
    let asking = Arc::clone(conf);
    tokio::spawn(async move {
        if let Err(error) = asking.refresh().await {
            tracing::warn!(%error, "no configuration could be fetched; what was stored stays in force");
        }
    })
}

/// Waits for the sources' answer. Where what was kept on disk is still valid, the start does not hang on them: after
/// [`FIRST_LOOK`] they are waited for by themselves.
async fn first_look(conf: &ConfWatch, now: Timestamp, asked: JoinHandle<()>) {
    let waited = async {
        // It tells of its failures itself.
        let _ = asked.await;
    };
    if conf.snapshot().check_valid(now).is_err() {
        waited.await;
    } else if tokio::time::timeout(FIRST_LOOK, waited).await.is_err() {
        tracing::info!("starting with the configuration kept on disk; its sources are still asked");
    }
}

/// How long a start with a valid configuration waits for a newer one: long enough for a registry that is up and near.
const FIRST_LOOK: Duration = Duration::from_millis(50);

impl Bound {
    /// Where the server listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Wakes the reload of clients, services and configuration, as SIGHUP does.
    #[must_use]
    pub fn reload_handle(&self) -> Arc<Notify> {
        Arc::clone(&self.poke)
    }

    /// A view into the running server for tests and the sandbox.
    #[must_use]
    pub fn inside(&self) -> Inside {
        Inside {
            context: Arc::clone(&self.context),
        }
    }

    /// Serves until `shutdown` resolves, then takes nothing new, finishes what is under way within the deadline of the
    /// configuration, and closes the log.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Drained {
        let Self {
            context,
            listeners,
            folder,
            consumers,
            peers,
            poke,
            ..
        } = self;
        let bounds = Bounds::new(&context);
        let drain = context.drain.clone();
        let mut doors = JoinSet::new();
        let mut chores = JoinSet::new();

        let conf = Arc::clone(&context.conf);
        chores.spawn(conf.run(drain.clone()));
        chores.spawn(refresh_keys(Arc::clone(&context)));
        chores.spawn(Arc::clone(&context.ocsp).run());
        chores.spawn(Arc::clone(&context.timestamper).run(drain.clone()));
        chores.spawn(Arc::clone(&context.archiver).run(drain.clone()));
        chores.spawn(Arc::clone(&folder).run(Arc::clone(&context.clock), poke));
        chores.spawn(ocsp::serve(
            listeners.ocsp,
            Arc::clone(&context.ocsp),
            requested(drain.clone()),
        ));
        if let Some(listener) = listeners.consumer_http {
            doors.spawn(edge::serve_consumers(
                Arc::clone(&context),
                bounds.clone(),
                listener,
                None,
            ));
        }
        if let Some(listener) = listeners.consumer_https {
            doors.spawn(edge::serve_consumers(
                Arc::clone(&context),
                bounds.clone(),
                listener,
                Some(consumers),
            ));
        }
        doors.spawn(edge::serve_peers(
            Arc::clone(&context),
            bounds,
            listeners.peer,
            peers,
        ));
        if let Some(listener) = listeners.admin {
            let router = admin::router(Admin {
                checks: Arc::new(readiness::checks(&context, &folder)),
                metrics: context.metrics.clone(),
                clock: Arc::clone(&context.clock),
                drain: drain.clone(),
            });
            // Answers during the drain, too: a balancer looks here to see that the server is leaving.
            chores.spawn(async move {
                if let Err(error) = admin::serve(listener, router, std::future::pending()).await {
                    tracing::error!(%error, "health and metrics are no longer served");
                }
            });
        }
        shutdown.await;
        tracing::info!("draining: nothing new is taken");
        drain.begin();
        doors.join_all().await;
        let drained = drain.finished(context.config.limits.shutdown).await;
        chores.shutdown().await;
        context.log.close().await;
        tracing::info!(?drained, "stopped");
        drained
    }
}

/// The certificates of the keys are judged again when the configuration changes, and once a minute for their expiry.
async fn refresh_keys(context: Arc<Context>) {
    let mut changes = context.conf.changes();
    // A first download may have come in since the keys were judged.
    let now = context.clock.now();
    context.keys.refresh(&context.conf.snapshot(), now);
    loop {
        let minute = context.clock.sleep(Duration::from_secs(60));
        let changed = tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                true
            }
            () = minute => false,
        };
        context
            .keys
            .refresh(&context.conf.snapshot(), context.clock.now());
        // Other responders, perhaps. Other certificates the keeper notices by itself.
        if changed {
            context.ocsp.poke();
        }
    }
}

async fn requested(drain: Drain) {
    drain.requested().await;
}

fn addresses(listeners: &Listeners) -> io::Result<Addresses> {
    let optional =
        |listener: &Option<TcpListener>| listener.as_ref().map(TcpListener::local_addr).transpose();
    Ok(Addresses {
        consumer_http: optional(&listeners.consumer_http)?,
        consumer_https: optional(&listeners.consumer_https)?,
        peer: listeners.peer.local_addr()?,
        ocsp: listeners.ocsp.local_addr()?,
        admin: optional(&listeners.admin)?,
    })
}

/// Handles of a running server that tests and the sandbox use to make things happen now and not on schedule.
#[derive(Clone, Debug)]
pub struct Inside {
    context: Arc<Context>,
}

impl Inside {
    /// Fetches the global configuration now.
    ///
    /// # Errors
    ///
    /// What the sources said.
    pub async fn refresh_configuration(&self) -> Result<(), String> {
        match self.context.conf.refresh().await {
            Ok(snapshot) => {
                self.context
                    .keys
                    .refresh(&snapshot, self.context.clock.now());
                Ok(())
            }
            Err(error) => Err(chain(&error)),
        }
    }

    /// Fetches OCSP answers for the own certificates now.
    pub async fn refresh_ocsp(&self) {
        self.context.ocsp.refresh_once().await;
    }

    /// Time-stamps everything that waits; returns how many records.
    ///
    /// # Errors
    ///
    /// What the time-stamping authorities said.
    pub async fn stamp(&self) -> Result<usize, String> {
        self.context
            .timestamper
            .stamp_waiting()
            .await
            .map_err(|error| chain(&error))
    }

    /// Archives everything that is stamped and lets leave what is old.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`].
    pub async fn archive(&self) -> Result<(), ArchiveError> {
        self.context.archiver.run_once().await
    }

    /// The message log.
    #[must_use]
    pub fn log(&self) -> &MessageLog {
        &self.context.log
    }

    /// The configuration in force.
    #[must_use]
    pub fn configuration(&self) -> Arc<Snapshot> {
        self.context.conf.snapshot()
    }
}
