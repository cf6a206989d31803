//! The running registry: opened, bound, then serving and publishing until it is told to stop.

use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jibek_certs::time::Clock;
use jibek_conf::{
    Anchor,
    anchor::AnchorError,
    files::{FilesError, atomic_write, create_dir_durably, read_bounded},
    model::{AnchorContent, AnchorSource},
};
use time::OffsetDateTime;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
};
use tracing::{error, info};

use crate::{
    api,
    config::{Config, ConfigError, explained},
    keys::{Keys, KeysError, Kind},
    publish::{Publication, PublishError, Publisher},
    status::{KeyStatus, PartnerStatus, Status, key_status, partners, sources},
};

/// Why a registry does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// An anchor cannot be made.
    #[error("cannot make the configuration anchor")]
    Anchor {
        /// Why.
        source: AnchorError,
    },
    /// The address to listen on is not to be had.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is refused.
    #[error("the configuration is refused")]
    Config {
        /// Why.
        source: ConfigError,
    },
    /// State cannot be kept.
    #[error("state cannot be kept")]
    Files {
        /// Why.
        source: FilesError,
    },
    /// There are no signing keys.
    #[error("there are no signing keys")]
    Keys {
        /// Why.
        source: KeysError,
    },
    /// The first publication failed.
    #[error("nothing can be published")]
    Publish {
        /// Why.
        source: PublishError,
    },
}

/// A registry whose file has been read and whose keys are open.
#[derive(Debug)]
pub struct Registry {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    config: Config,
    keys: Keys,
}

/// Anchors of both kinds.
#[derive(Clone, Debug)]
pub(crate) struct Anchors {
    pub(crate) internal: Anchor,
    pub(crate) external: Anchor,
}

/// What the HTTP side sees.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) publication: Arc<Publication>,
    pub(crate) anchors: Arc<Anchors>,
    pub(crate) instance: String,
    pub(crate) keys: Vec<KeyStatus>,
    pub(crate) partners: Vec<PartnerStatus>,
    pub(crate) sources: Vec<String>,
    pub(crate) config_error: Option<String>,
    pub(crate) publish_error: Option<String>,
}

impl Published {
    pub(crate) fn status(&self) -> Status {
        Status {
            instance: self.instance.clone(),
            stamp: self.publication.stamp.clone(),
            published_at: self.publication.published_at,
            expires_at: self.publication.expires,
            config_error: self.config_error.clone(),
            publish_error: self.publish_error.clone(),
            sources: self.sources.clone(),
            partners: self.partners.clone(),
            keys: self.keys.clone(),
            internal_anchor_hash: self.anchors.internal.hash(),
            external_anchor_hash: self.anchors.external.hash(),
        }
    }
}

impl Registry {
    /// Reads the file and opens the signing keys, making them at the first start.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(config: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let path = config.as_ref().to_owned();
        let config = Config::read(&path).map_err(|source| OpenError::Config { source })?;
        let keys = Keys::open(&config.keys_dir(), config.key)
            .map_err(|source| OpenError::Keys { source })?;
        Ok(Self {
            path,
            clock,
            config,
            keys,
        })
    }

    /// What servers of this instance are given: the anchor as it is published now. The configured address must name its
    /// port.
    ///
    /// # Errors
    /// [`OpenError`] when no anchor can be made.
    pub fn internal_anchor(&self) -> Result<Anchor, OpenError> {
        Ok(anchors(&self.config, &self.keys, self.clock.now())?.internal)
    }

    /// Binds the configured address and makes the first publication.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn bind(self) -> Result<Bound, OpenError> {
        let address = self.config.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| OpenError::Bind {
                address: address.to_string(),
                source,
            })?;
        self.bind_to(listener)
    }

    /// Takes an open listener and makes the first publication. Where the configured address has port 0, the listener's
    /// port is published.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn bind_to(mut self, listener: TcpListener) -> Result<Bound, OpenError> {
        let unbound = |source| OpenError::Bind {
            address: self.config.listen.to_string(),
            source,
        };
        let local = listener.local_addr().map_err(unbound)?;
        with_port(&mut self.config, local);
        let now = self.clock.now();
        let mut publisher = Publisher::open(&self.config.state_dir, now)
            .map_err(|source| OpenError::Publish { source })?;
        let publication = publisher
            .publish(&self.config, &self.keys, now)
            .map_err(|source| OpenError::Publish { source })?;
        self.keys
            .mark_published(&self.config.keys_dir(), now)
            .map_err(|source| OpenError::Keys { source })?;
        let anchors = Arc::new(anchors(&self.config, &self.keys, now)?);
        let keys = key_status(&self.keys);
        let instance = self.config.instance.clone();
        let public = Arc::from(publisher.public());
        let published = Published {
            publication,
            anchors,
            instance,
            keys,
            partners: partners(&self.config),
            sources: sources(&self.config),
            config_error: None,
            publish_error: None,
        };
        let (published, _) = watch::channel(Arc::new(published));
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let handle = Handle {
            requests,
            published: published.subscribe(),
        };
        let writer = Writer {
            path: self.path,
            clock: Arc::clone(&self.clock),
            last: now,
            inner: Arc::new(Mutex::new(Inner {
                config: self.config,
                keys: self.keys,
                publisher,
            })),
            published,
        };
        Ok(Bound {
            listener,
            local,
            writer,
            inbox,
            handle,
            public,
        })
    }
}

/// A registry that has published and listens; nothing is answered before [`Bound::run`].
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    local: SocketAddr,
    writer: Writer,
    inbox: mpsc::Receiver<oneshot::Sender<Result<(), String>>>,
    handle: Handle,
    public: Arc<Path>,
}

impl Bound {
    /// Where HTTP is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.local
    }

    /// What servers of this instance are given.
    #[must_use]
    pub fn internal_anchor(&self) -> Anchor {
        self.handle.published.borrow().anchors.internal.clone()
    }

    /// What federation partners are given.
    #[must_use]
    pub fn external_anchor(&self) -> Anchor {
        self.handle.published.borrow().anchors.external.clone()
    }

    /// A way to talk to the registry while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves and publishes until `shutdown` comes; then answers what has been asked, for at most some seconds.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let Self {
            listener,
            mut writer,
            mut inbox,
            handle,
            public,
            ..
        } = self;
        let (stop, stopped) = watch::channel(false);
        let service = api::Service {
            published: handle.published.clone(),
            public,
        };
        let server = tokio::spawn(api::serve(listener, service, stopped));
        drop(handle);
        let mut shutdown = pin!(shutdown);
        loop {
            let next = writer.next();
            tokio::select! {
                () = &mut shutdown => break,
                () = writer.clock.sleep_until(next) => {
                    // Shown in the log and the status; what was published before stays in force.
                    let _ = writer.publish().await;
                }
                request = inbox.recv() => match request {
                    Some(reply) => {
                        let _ = reply.send(writer.publish().await);
                    }
                    // No handle is left; the schedule goes on.
                    None => {
                        tokio::select! {
                            () = &mut shutdown => break,
                            () = writer.clock.sleep_until(next) => { let _ = writer.publish().await; }
                        }
                    }
                },
            }
        }
        stop.send_replace(true);
        if server.await.is_err() {
            error!("the HTTP side ended in a panic");
        }
    }
}

/// Talks to a running registry.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<oneshot::Sender<Result<(), String>>>,
    published: watch::Receiver<Arc<Published>>,
}

impl Handle {
    /// Reads the file again and publishes, without waiting for the next time.
    ///
    /// # Errors
    /// What is wrong with the file or the publication, or that the registry does not run.
    pub async fn publish_now(&self) -> Result<(), String> {
        const STOPPED: &str = "the registry does not run";
        let (reply, outcome) = oneshot::channel();
        self.requests
            .send(reply)
            .await
            .map_err(|_| STOPPED.to_owned())?;
        outcome.await.map_err(|_| STOPPED.to_owned())?
    }

    /// How the registry is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.published.borrow().status()
    }
}

/// Publishes on schedule.
#[derive(Debug)]
struct Writer {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    last: OffsetDateTime,
    inner: Arc<Mutex<Inner>>,
    published: watch::Sender<Arc<Published>>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    keys: Keys,
    publisher: Publisher,
}

struct Outcome {
    publication: Result<(Arc<Publication>, Arc<Anchors>), String>,
    keys: Vec<KeyStatus>,
    partners: Vec<PartnerStatus>,
    sources: Vec<String>,
    config_error: Option<String>,
}

impl Writer {
    fn next(&self) -> OffsetDateTime {
        let interval = lock(&self.inner).config.publish_interval;
        self.last + interval
    }

    /// Reads the file again and publishes what it says, or what it said before when it is wrong now.
    async fn publish(&mut self) -> Result<(), String> {
        let now = self.clock.now();
        self.last = now;
        let (path, inner) = (self.path.clone(), Arc::clone(&self.inner));
        // Disk and keys off the runtime's threads.
        let work =
            tokio::task::spawn_blocking(move || publish_blocking(&path, &mut lock(&inner), now));
        let before = Arc::clone(&self.published.borrow());
        let outcome = work.await.unwrap_or_else(|error| Outcome {
            publication: Err(error.to_string()),
            keys: before.keys.clone(),
            partners: before.partners.clone(),
            sources: before.sources.clone(),
            config_error: None,
        });
        let mut next = Published::clone(&before);
        next.keys = outcome.keys;
        next.partners = outcome.partners;
        next.sources = outcome.sources;
        next.config_error.clone_from(&outcome.config_error);
        let result = match outcome.publication {
            Ok((publication, anchors)) => {
                next.publication = publication;
                next.anchors = anchors;
                next.publish_error = None;
                Ok(())
            }
            Err(reason) => {
                next.publish_error = Some(reason.clone());
                Err(reason)
            }
        };
        for (was, is, what) in [
            (
                &before.config_error,
                &next.config_error,
                "the file is refused, the old state stays in force",
            ),
            (
                &before.publish_error,
                &next.publish_error,
                "the publication failed, the old one stays in force",
            ),
        ] {
            match is {
                Some(reason) if was.as_ref() != Some(reason) => error!(reason, "{what}"),
                None if was.is_some() => info!("no longer: {what}"),
                _ => {}
            }
        }
        self.published.send_replace(Arc::new(next));
        match (result, outcome.config_error) {
            (Ok(()), Some(reason)) => Err(reason),
            (result, _) => result,
        }
    }
}

fn publish_blocking(path: &Path, inner: &mut Inner, now: OffsetDateTime) -> Outcome {
    let mut errors = Vec::new();
    match reread(path, &inner.config) {
        Ok(config) => inner.config = config,
        Err(error) => errors.push(error.to_string()),
    }
    let keys_dir = inner.config.keys_dir();
    match Keys::open(&keys_dir, inner.config.key) {
        Ok(keys) => inner.keys = keys,
        Err(error) => errors.push(format!(
            "the signing keys cannot be read, those of before sign: {}",
            explained(&error)
        )),
    }
    let published = inner
        .publisher
        .publish(&inner.config, &inner.keys, now)
        .map_err(|error| explained(&error));
    let publication = published.and_then(|publication| {
        inner
            .keys
            .mark_published(&keys_dir, now)
            .map_err(|error| explained(&error))?;
        let anchors =
            anchors(&inner.config, &inner.keys, now).map_err(|error| explained(&error))?;
        Ok((publication, Arc::new(anchors)))
    });
    Outcome {
        publication,
        keys: key_status(&inner.keys),
        partners: partners(&inner.config),
        sources: sources(&inner.config),
        config_error: (!errors.is_empty()).then(|| errors.join("; ")),
    }
}

/// Reads the file again; what cannot change in a running registry must not have changed.
fn reread(path: &Path, before: &Config) -> Result<Config, ConfigError> {
    let mut config = Config::read(path)?;
    let fixed = [
        ("instance", config.instance == before.instance),
        ("listen", config.listen == before.listen),
        ("state_dir", config.state_dir == before.state_dir),
    ];
    if let Some((name, _)) = fixed.into_iter().find(|(_, same)| !same) {
        let reason = format!("{name} cannot change while the registry runs; restart it");
        return Err(ConfigError {
            path: path.to_owned(),
            line: None,
            reason,
        });
    }
    if config.address.ends_with(":0") {
        config.address.clone_from(&before.address);
    }
    Ok(config)
}

/// Where the configured address leaves the port open, the listener's is published.
fn with_port(config: &mut Config, local: SocketAddr) {
    if let Some(host) = config.address.strip_suffix(":0") {
        config.address = format!("{host}:{}", local.port());
    }
}

/// The anchors, the stored ones as long as they say what they should: a changed byte would change the hash that
/// operators have compared.
fn anchors(config: &Config, keys: &Keys, now: OffsetDateTime) -> Result<Anchors, OpenError> {
    let folder = config.state_dir.join("anchors");
    create_dir_durably(&folder).map_err(|source| OpenError::Files { source })?;
    let one = |kind: Kind| {
        let path = folder.join(format!("{}.xml", kind.name()));
        let sources = config.sources(
            &keys.certificates(Kind::Internal),
            &keys.certificates(Kind::External),
        );
        let sources = sources.into_iter().map(|source| AnchorSource {
            url: format!("http://{}/{}", source.address, kind.path()),
            certificates: match kind {
                Kind::External => source.external_certificates,
                Kind::Internal => source.internal_certificates,
            },
        });
        let content = AnchorContent {
            generated_at: Some(now),
            instance: config.instance.clone(),
            sources: sources.collect(),
        };
        if let Ok(bytes) = read_bounded(&path)
            && let Ok(mut stored) = jibek_conf::part::parse_anchor(&bytes)
            && let Ok(anchor) = Anchor::parse(bytes)
        {
            stored.generated_at = content.generated_at;
            if stored == content {
                return Ok(anchor);
            }
        }
        let anchor = Anchor::render(&content).map_err(|source| OpenError::Anchor { source })?;
        atomic_write(&path, anchor.bytes()).map_err(|source| OpenError::Files { source })?;
        info!(kind = kind.name(), hash = anchor.hash(), file = %path.display(), "a configuration anchor was made");
        Ok(anchor)
    };
    Ok(Anchors {
        internal: one(Kind::Internal)?,
        external: one(Kind::External)?,
    })
}

/// A panic while publishing leaves nothing half done in memory that the next publication would not redo.
fn lock(inner: &Mutex<Inner>) -> std::sync::MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

const REQUESTS_MAX: usize = 16;
/// How long answers under way may take after the end was asked for.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);
