//! A prepared country, running in this process.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use jibek_certs::time::Clock;
use jibek_dev_pki::{Faults, serve};
use jibek_protocol::id::ServerId;
use jibek_registry::Registry;
use jibek_server::{
    app::{Addresses, App, Inside, Listeners, Outside},
    config::Config,
    keys::Pin,
    random::Random,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::prepare::{PIN, Prepared};
use crate::disk::Disks;

/// Why a country could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {what}: {reason}")]
pub struct StartError {
    what: String,
    reason: String,
}

impl StartError {
    pub(crate) fn new(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self {
            what: what.into(),
            reason: format!("{reason}"),
        }
    }
}

/// What every program of a country gets from outside.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// The disks under the message logs.
    pub disks: Disks,
}

/// A country in this process.
#[derive(Debug)]
pub struct Running {
    prepared: Prepared,
    faults: Arc<Faults>,
    outside: Surroundings,
    stop: watch::Sender<bool>,
    services: Vec<(&'static str, JoinHandle<()>)>,
    registry: Option<(watch::Sender<bool>, JoinHandle<()>)>,
    servers: Vec<RunningServer>,
}

/// One security server of a running country.
#[derive(Debug)]
pub struct RunningServer {
    /// Its identifier.
    pub id: ServerId,
    /// Where it listens.
    pub addresses: Addresses,
    /// Makes things happen now and not on schedule.
    pub inside: Inside,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl RunningServer {
    /// URL at which information systems call it.
    #[must_use]
    pub fn url(&self) -> String {
        self.addresses
            .consumer_http
            .map(|address| format!("http://{address}"))
            .unwrap_or_default()
    }

    /// Tells it to end, as SIGTERM does, and does not wait for it: [`Running::restart_server`] and
    /// [`Running::finish`] do.
    pub fn stop(&self) {
        let _ = self.stop.send(true);
    }

    /// Whether it has ended, after [`RunningServer::stop`].
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// URL of its health, readiness and metrics.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.addresses
            .admin
            .map(|address| format!("http://{address}"))
            .unwrap_or_default()
    }
}

impl Running {
    /// Starts PKI, registry and servers, in this order.
    ///
    /// # Errors
    ///
    /// [`StartError`] names what could not be started.
    pub async fn start(prepared: Prepared, outside: Surroundings) -> Result<Self, StartError> {
        let (stop, stopped) = watch::channel(false);
        let faults = Arc::new(Faults::default());
        let mut running = Self {
            prepared,
            faults,
            outside,
            stop,
            services: Vec::new(),
            registry: None,
            servers: Vec::new(),
        };
        running.start_pki(stopped).await?;
        running.start_registry().await?;
        let servers = running.prepared.plan.servers.iter();
        let launched = servers
            .filter(|server| server.started)
            .map(|server| running.launch(server));
        running.servers = try_join_all(launched).await?;
        Ok(running)
    }

    /// The files it runs from.
    #[must_use]
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// Puts the configuration in force into `conf/current`, and beside it, as `conf/kept`, all that was published.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn keep_configuration(&self, snapshot: &jibek_conf::Snapshot) -> Result<(), StartError> {
        let failed =
            |error: &dyn std::error::Error| StartError::new("the kept configuration", error);
        let dir = self.prepared.dir.join("conf");
        jibek_conf::ConfDir::new(dir.join("current"))
            .store_verification(snapshot)
            .map_err(|error| failed(&error))?;
        let kept = dir.join("kept");
        if !kept.exists() {
            let history = self.prepared.dir.join("registry/state/history");
            std::os::unix::fs::symlink(history, kept).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// What goes wrong at the OCSP responder and the time-stamping authority.
    #[must_use]
    pub fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    /// The servers, in the plan's order.
    #[must_use]
    pub fn servers(&self) -> &[RunningServer] {
        &self.servers
    }

    /// A server by its position in the plan.
    #[must_use]
    pub fn server(&self, index: usize) -> &RunningServer {
        #[expect(
            clippy::indexing_slicing,
            reason = "tests name servers of their own plan"
        )]
        &self.servers[index]
    }

    async fn start_pki(&mut self, stopped: watch::Receiver<bool>) -> Result<(), StartError> {
        let address = self.prepared.plan.net.pki();
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| StartError::new(format!("the development PKI on {address}"), error))?;
        let pki = Arc::clone(&self.prepared.pki);
        let clock = Arc::clone(&self.outside.clock);
        let faults = Arc::clone(&self.faults);
        let task = tokio::spawn(async move {
            if let Err(error) = serve(pki, listener, clock, faults, until(stopped)).await {
                tracing::error!(%error, "the development PKI stopped");
            }
        });
        self.services.push(("the development PKI", task));
        Ok(())
    }

    /// Starts the registry; again, after [`Running::stop_registry`].
    ///
    /// # Errors
    ///
    /// [`StartError`] says why not.
    pub async fn start_registry(&mut self) -> Result<(), StartError> {
        let failed = |error: &dyn std::error::Error| StartError::new("the registry", error);
        let registry = Registry::open(
            self.prepared.registry_config(),
            Arc::clone(&self.outside.clock),
        )
        .map_err(|error| failed(&error))?;
        let bound = registry.bind().await.map_err(|error| failed(&error))?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            bound.run(until(stopped)).await;
        });
        self.registry = Some((stop, task));
        Ok(())
    }

    /// Stops the registry: its address refuses connections afterwards.
    pub async fn stop_registry(&mut self) {
        if let Some((stop, task)) = self.registry.take() {
            let _ = stop.send(true);
            let _ = task.await;
        }
    }

    async fn start_server(&mut self, index: usize) -> Result<(), StartError> {
        let Some(planned) = self.prepared.plan.servers.get(index).cloned() else {
            return Err(StartError::new("a server", "it is not in the plan"));
        };
        let server = self.launch(&planned).await?;
        self.servers.insert(index, server);
        Ok(())
    }

    async fn launch(&self, planned: &super::PlannedServer) -> Result<RunningServer, StartError> {
        let what = format!("server {}", planned.id.code());
        let file = self.prepared.server_dir(planned).join("jibek-server.toml");
        let config = Config::load(&file).map_err(|error| StartError::new(&what, error))?;
        let listeners = Listeners::open(&config.listen)
            .await
            .map_err(|error| StartError::new(&what, error))?;
        let outside = Outside {
            clock: Arc::clone(&self.outside.clock),
            random: Arc::clone(&self.outside.random),
            disk: self.outside.disks.of(planned.id.code()),
            pin: Pin::new(PIN).map_err(|error| StartError::new(&what, error))?,
        };
        let bound = App::build(config, outside, listeners)
            .await
            .map_err(|error| StartError::new(&what, error))?;
        let addresses = bound.addresses().clone();
        let inside = bound.inside();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            bound.run(until(stopped)).await;
        });
        Ok(RunningServer {
            id: planned.id.clone(),
            addresses,
            inside,
            stop,
            task,
        })
    }

    /// Stops a server and starts it again from its files.
    ///
    /// # Errors
    ///
    /// [`StartError`] says why not.
    pub async fn restart_server(&mut self, index: usize) -> Result<(), StartError> {
        let server = self.servers.remove(index);
        let _ = server.stop.send(true);
        let _ = server.task.await;
        drop(server.inside);
        self.start_server(index).await
    }

    /// Waits until every server says that a message would succeed.
    ///
    /// # Errors
    ///
    /// After `patience`, what the last server said.
    pub async fn ready(&self, patience: Duration) -> Result<(), StartError> {
        for server in &self.servers {
            let url = format!("{}/readyz", server.admin_url());
            crate::http::until_ok(&url, patience)
                .await
                .map_err(|last| StartError::new(format!("server {}", server.id.code()), last))?;
        }
        Ok(())
    }

    /// Stops everything, servers first.
    ///
    /// # Errors
    ///
    /// [`StartError`] names what did not stop in order.
    pub async fn finish(mut self) -> Result<(), StartError> {
        for server in self.servers.drain(..) {
            let _ = server.stop.send(true);
            server
                .task
                .await
                .map_err(|error| StartError::new(format!("server {}", server.id.code()), error))?;
        }
        self.stop_registry().await;
        let _ = self.stop.send(true);
        for (name, task) in self.services.drain(..) {
            task.await.map_err(|error| StartError::new(name, error))?;
        }
        Ok(())
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow_and_update() {
        if stopped.changed().await.is_err() {
            return;
        }
    }
}
