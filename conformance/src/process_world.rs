//! The country of [`crate::world`] with each program as a process of its own, on the machine's clock.

use std::{path::PathBuf, process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Response;
use jibek_certs::{
    KeyKind,
    time::{Clock, SystemClock},
};
use tempfile::TempDir;

use crate::{
    country::{Net, Prepared, Timing},
    http::Http,
    processes::{Process, Programs},
    system::{Call, System},
    world::World,
};

/// PKI, registry and two servers as processes; the information system is the test's.
#[derive(Debug)]
pub struct ProcessWorld {
    /// The programs.
    pub programs: Programs,
    /// What they run from.
    pub prepared: Prepared,
    /// A client without state.
    pub http: Http,
    /// The provider's information system.
    pub system: System,
    servers: Vec<Option<Process>>,
    _authorities: Vec<Process>,
    _dir: TempDir,
}

impl ProcessWorld {
    /// Builds the programs if need be, and starts everything; `before` may change files first.
    ///
    /// # Panics
    ///
    /// When something cannot be started.
    pub async fn start(
        key: KeyKind,
        script: impl Fn(&Call) -> Response<Bytes> + Send + Sync + 'static,
        before: impl FnOnce(&Prepared),
    ) -> Self {
        match Self::try_start(key, script, before).await {
            Ok(world) => world,
            #[expect(clippy::panic, reason = "a test fails here")]
            Err(error) => panic!("the world could not be started: {error}"),
        }
    }

    async fn try_start(
        key: KeyKind,
        script: impl Fn(&Call) -> Response<Bytes> + Send + Sync + 'static,
        before: impl FnOnce(&Prepared),
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let programs = Programs::build()?;
        let dir = TempDir::new()?;
        let timing = Timing {
            stamping: Some(Duration::from_secs(1)),
            ..Timing::default()
        };
        let builder = World::builder().key(key).timing(timing);
        let (plan, system) = builder.plan_for_processes(script).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let prepared = Prepared::make(plan, dir.path(), &clock)?;
        before(&prepared);
        let authorities = programs.authorities(&prepared).await?;
        let mut world = Self {
            programs,
            prepared,
            http: Http::default(),
            system,
            servers: vec![None, None],
            _authorities: authorities,
            _dir: dir,
        };
        for index in 0..world.servers.len() {
            world.start_server(index).await?;
        }
        Ok(world)
    }

    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it cannot be started or does not get ready.
    pub async fn start_server(&mut self, index: usize) -> std::io::Result<()> {
        let planned = self
            .prepared
            .plan()
            .servers
            .get(index)
            .ok_or_else(|| std::io::Error::other("it is not in the plan"))?;
        let process = self.programs.server(&self.prepared, index, planned).await?;
        if let Some(place) = self.servers.get_mut(index) {
            *place = Some(process);
        }
        Ok(())
    }

    /// A running server.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[must_use]
    pub fn server(&mut self, index: usize) -> &mut Process {
        #[expect(clippy::expect_used, reason = "tests name servers that they started")]
        self.servers
            .get_mut(index)
            .and_then(Option::as_mut)
            .expect("the server runs")
    }

    /// Kills a server without a word, as a power cut would, save that the system keeps what was written.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn kill(&mut self, index: usize) {
        #[expect(clippy::expect_used, reason = "a test fails here")]
        self.server(index)
            .kill()
            .expect("a running server can be killed");
        if let Some(place) = self.servers.get_mut(index) {
            *place = None;
        }
    }

    /// URL at which information systems call a server.
    #[must_use]
    pub fn url(&self, index: usize) -> String {
        format!(
            "http://{}:{}",
            self.prepared.plan().net.server(index),
            Net::HTTP_PORT
        )
    }

    /// URL of a server's health, readiness and metrics.
    #[must_use]
    pub fn admin_url(&self, index: usize) -> String {
        format!(
            "http://{}:{}",
            self.prepared.plan().net.server(index),
            Net::ADMIN_PORT
        )
    }

    /// Directory of a server.
    #[must_use]
    pub fn server_dir(&self, index: usize) -> PathBuf {
        #[expect(
            clippy::indexing_slicing,
            reason = "tests name servers of their own plan"
        )]
        self.prepared
            .server_dir(&self.prepared.plan().servers[index])
    }

    /// Runs `msglog-fsck` on a server's log, which may be running.
    ///
    /// # Errors
    ///
    /// What it found, or why it could not be run.
    pub fn fsck(&self, index: usize) -> Result<(), String> {
        let output = Command::new(self.programs.path("msglog-fsck"))
            .arg(self.server_dir(index).join("log"))
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(())
        } else {
            Err(format!(
                "{}: {}",
                output.status,
                String::from_utf8_lossy(&output.stdout)
            ))
        }
    }
}
