//! The country under torture: programs as processes of their own, two servers with places for faults.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use jibek_certs::{
    KeyKind,
    time::{Clock, SystemClock},
};
use tempfile::TempDir;

use crate::{
    country::{Net, Prepared, Timing},
    http::{Http, eventually},
    processes::{Process, Programs},
    system::{Call, System},
    world::World,
};

/// PKI, registry, two servers, and the provider's information system, which turns bodies round.
#[derive(Debug)]
pub struct Country {
    programs: Programs,
    prepared: Prepared,
    http: Http,
    /// The provider's information system.
    pub system: System,
    servers: [Option<Process>; 2],
    _authorities: Vec<Process>,
    dir: TempDir,
}

/// How a start ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It is ready.
    Ready,
    /// It ended before.
    Ended(ExitStatus),
}

impl Country {
    /// Starts all but the servers.
    ///
    /// # Errors
    ///
    /// What could not be made or started, in words.
    pub async fn start(programs: Programs) -> Result<Self, Box<dyn std::error::Error>> {
        let dir = TempDir::new()?;
        let timing = Timing {
            stamping: Some(Duration::from_secs(1)),
            ..Timing::default()
        };
        let builder = World::builder().key(KeyKind::EcP256).timing(timing);
        let (plan, system) = builder.plan_for_processes(turn_round).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let prepared = Prepared::make(plan, dir.path(), &clock)?;
        let authorities = programs.authorities(&prepared).await?;
        Ok(Self {
            programs,
            prepared,
            http: Http::default(),
            system,
            servers: [None, None],
            _authorities: authorities,
            dir,
        })
    }

    /// Starts a server with these additions to its environment, and waits until it is ready or has ended.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or does neither.
    pub async fn start_server(
        &mut self,
        index: usize,
        environment: &[(&str, &str)],
    ) -> io::Result<Started> {
        let dir = self.server_dir(index);
        let mut all = vec![("JIBEK_SEGMENT_BYTES", SEGMENT_BYTES)];
        all.extend_from_slice(environment);
        let mut process = Process::start_with(
            &format!("server {index}"),
            &self.programs.path(SERVER),
            &[
                "run",
                "--config",
                &dir.join("jibek-server.toml").display().to_string(),
            ],
            &all,
            &dir.join("server.log"),
        )?;
        let url = format!("{}/readyz", self.admin_url(index));
        let http = self.http.clone();
        let started = eventually(Duration::from_secs(60), || {
            let ended = process.ended();
            let (http, url) = (http.clone(), url.clone());
            async move {
                if let Some(status) = ended.map_err(|error| error.to_string())? {
                    return Ok(Started::Ended(status));
                }
                match http.get(&url).await {
                    Ok(answer) if answer.status() == 200 => Ok(Started::Ready),
                    other => Err(format!("{other:?}")),
                }
            }
        })
        .await
        .map_err(io::Error::other)?;
        if started == Started::Ready
            && let Some(place) = self.servers.get_mut(index)
        {
            *place = Some(process);
        }
        Ok(started)
    }

    /// Kills a server that runs, as by `kill -9`.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn kill(&mut self, index: usize) -> io::Result<()> {
        let server = self.servers.get_mut(index).and_then(Option::take);
        server
            .ok_or_else(|| io::Error::other(format!("server {index} does not run")))?
            .kill()
    }

    /// Whether a server that was started has ended by itself. It is forgotten then.
    ///
    /// # Errors
    ///
    /// When the system cannot tell.
    pub fn has_ended(&mut self, index: usize) -> io::Result<bool> {
        let Some(place) = self.servers.get_mut(index) else {
            return Ok(true);
        };
        let ended = match place {
            Some(process) => process.ended()?.is_some(),
            None => true,
        };
        if ended {
            *place = None;
        }
        Ok(ended)
    }

    /// Checks the log of a server with `msglog-fsck`.
    ///
    /// # Errors
    ///
    /// What it says.
    pub async fn fsck(&self, index: usize) -> Result<(), String> {
        self.fsck_of(&self.log_dir(index)).await
    }

    /// Checks a log with `msglog-fsck`.
    ///
    /// # Errors
    ///
    /// What it says.
    pub async fn fsck_of(&self, dir: &Path) -> Result<(), String> {
        let mut command = std::process::Command::new(self.programs.path("msglog-fsck"));
        command.arg(dir);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("msglog-fsck: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Err(format!("msglog-fsck, {}: {said}", output.status))
    }

    /// URL at which information systems call a server.
    #[must_use]
    pub fn url(&self, index: usize) -> String {
        format!("http://{}:{}", self.net().server(index), Net::HTTP_PORT)
    }

    /// URL of a server's health, readiness and metrics.
    #[must_use]
    pub fn admin_url(&self, index: usize) -> String {
        format!("http://{}:{}", self.net().server(index), Net::ADMIN_PORT)
    }

    /// A server's log.
    #[must_use]
    pub fn log_dir(&self, index: usize) -> PathBuf {
        self.server_dir(index).join("log")
    }

    /// What a server has told so far.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn told(&self, index: usize) -> io::Result<String> {
        std::fs::read_to_string(self.server_dir(index).join("server.log"))
    }

    /// The directory of a server.
    #[must_use]
    pub fn server_dir(&self, index: usize) -> PathBuf {
        #[expect(clippy::indexing_slicing, reason = "the plan has two servers")]
        self.prepared
            .server_dir(&self.prepared.plan().servers[index])
    }

    /// The programs.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Everything of the country.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn net(&self) -> Net {
        self.prepared.plan().net
    }
}

/// The answer to a question is the question turned round.
fn turn_round(call: &Call) -> Response<Bytes> {
    let mut body = call.body.to_vec();
    body.reverse();
    Response::new(Bytes::from(body))
}

/// The server with places for faults.
const SERVER: &str = "jibek-server-faulty";
/// Short, so that segments begin and end all the time.
const SEGMENT_BYTES: &str = "1000000";
