//! Large bodies through two servers that keep only digests: what the servers' memory does meanwhile, whether the bytes
//! arrive, and whether the evidence holds.
//!
//! Servers, registry and PKI are processes; consumer and provider are here, and hold no body either.

mod ends;
mod watch;

use std::{
    io::{Cursor, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use jibek_audit::{Configuration, VerifyOptions, read_configuration, verify};
use jibek_certs::KeyKind;
use jibek_conf::files::{atomic_write, create_dir_durably};
use tokio::time::Instant;

use crate::{
    http::eventually,
    process_world::ProcessWorld,
    world::{CONSUMER, PROVIDER},
};
use ends::{Bodies, Way, exchange};
use watch::Watch;

/// Two servers with policy *digest only*, and a provider that takes and gives bodies of any size.
#[derive(Debug)]
pub struct Large {
    world: ProcessWorld,
    bodies: Bodies,
    sent: u64,
}

/// What transfers did to one server.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Name of the server.
    pub server: String,
    /// Resident memory before, in KiB.
    pub before_kib: u64,
    /// The most it was meanwhile, in KiB.
    pub peak_kib: u64,
    /// Files that it had open outside its own directories: there should be none.
    pub strange_files: Vec<String>,
}

impl Cost {
    /// How much resident memory grew, in MiB, rounded up.
    #[must_use]
    pub fn grown_mib(&self) -> u64 {
        self.peak_kib.saturating_sub(self.before_kib).div_ceil(1024)
    }

    /// The most it was, in MiB, rounded up.
    #[must_use]
    pub fn peak_mib(&self) -> u64 {
        self.peak_kib.div_ceil(1024)
    }
}

/// Transfers of one kind, all at once.
#[derive(Clone, Debug)]
pub struct Phase {
    /// What was done, in words.
    pub name: String,
    /// Transfers at once.
    pub at_once: usize,
    /// Bytes of each body.
    pub bytes: u64,
    /// How long it took altogether.
    pub elapsed: Duration,
    /// What it did to each server.
    pub costs: Vec<Cost>,
}

impl Phase {
    /// Megabytes a second, all transfers together.
    #[must_use]
    pub fn rate(&self) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate for people needs no more digits"
        )]
        let bytes = self.bytes as f64 * self.at_once as f64;
        bytes / 1e6 / self.elapsed.as_secs_f64()
    }
}

impl Large {
    /// Starts everything, and warms both servers up with small bodies, `at_once` at a time.
    ///
    /// # Errors
    ///
    /// What could not be started, in words.
    pub async fn start(key: KeyKind, at_once: usize) -> Result<Self, String> {
        let bodies = Bodies::start().await.map_err(|error| error.to_string())?;
        let document = format!(
            "client = \"{PROVIDER}\"\nrequest_bodies = \"digest\"\nanswer_bodies = \"digest\"\n\
             [[service]]\ncode = \"rest\"\nkind = \"rest\"\nurl = \"http://{}/\"\ntimeout_seconds = 600\n\
             [[service.allow]]\nsubject = \"{CONSUMER}\"\n",
            bodies.address()
        );
        let world = ProcessWorld::start(
            key,
            |_| http::Response::new(bytes::Bytes::new()),
            |prepared| {
                let servers = &prepared.plan().servers;
                #[expect(clippy::expect_used, reason = "a test fails here")]
                for server in servers {
                    let file = prepared.server_dir(server).join("jibek-server.toml");
                    let mut text = std::fs::read_to_string(&file).expect("the file is there");
                    text.push_str(
                        "\n[message_log]\nrequest_bodies = \"digest\"\nanswer_bodies = \"digest\"\n",
                    );
                    atomic_write(&file, text.as_bytes()).expect("it can be written");
                }
                #[expect(clippy::expect_used, reason = "a test fails here")]
                if let Some(server) = servers.get(1) {
                    let file = prepared.server_dir(server).join("clients/provider.toml");
                    assert!(file.exists(), "{} is not there", file.display());
                    atomic_write(file, document.as_bytes()).expect("it can be written");
                }
            },
        )
        .await;
        let mut large = Self {
            world,
            bodies,
            sent: 0,
        };
        for way in [Way::Up, Way::Down] {
            large.transfer("warm up", way, at_once, 1 << 20).await?;
        }
        Ok(large)
    }

    /// Bodies of requests, all at once.
    ///
    /// # Errors
    ///
    /// The first transfer that failed or did not arrive whole, in words.
    pub async fn up(&mut self, at_once: usize, bytes: u64) -> Result<Phase, String> {
        self.transfer("requests", Way::Up, at_once, bytes).await
    }

    /// Bodies of answers, all at once.
    ///
    /// # Errors
    ///
    /// The first transfer that failed or did not arrive whole, in words.
    pub async fn down(&mut self, at_once: usize, bytes: u64) -> Result<Phase, String> {
        self.transfer("answers", Way::Down, at_once, bytes).await
    }

    /// A consumer that stops reading its answer while `at_once` others take theirs, and then takes the rest.
    ///
    /// # Errors
    ///
    /// The first transfer that failed or did not arrive whole, in words.
    pub async fn down_beside_a_stopped_reader(
        &mut self,
        at_once: usize,
        bytes: u64,
    ) -> Result<Phase, String> {
        let (go_on, stopped) = tokio::sync::watch::channel(false);
        let id = self.next_id();
        let (to, bodies) = (self.consumers_door(), self.bodies.clone());
        let lazy = tokio::spawn(async move {
            exchange(to, &bodies, &id, Way::Down, bytes, Some(stopped)).await
        });
        let phase = self.down(at_once, bytes).await;
        if lazy.is_finished() {
            return Err("the reader that stopped did not stop".to_owned());
        }
        go_on.send_replace(true);
        lazy.await.map_err(|error| error.to_string())??;
        phase.map(|phase| Phase {
            name: "answers beside a stopped reader".to_owned(),
            ..phase
        })
    }

    async fn transfer(
        &mut self,
        name: &str,
        way: Way,
        at_once: usize,
        bytes: u64,
    ) -> Result<Phase, String> {
        let watches: Vec<Watch> = (0..2)
            .map(|index| {
                let dir = self.world.server_dir(index);
                let process = self.world.server(index);
                Watch::start(process.name(), process.id(), &dir)
            })
            .collect();
        let began = Instant::now();
        let to = self.consumers_door();
        let transfers: Vec<_> = (0..at_once)
            .map(|_| {
                let (id, bodies) = (self.next_id(), self.bodies.clone());
                tokio::spawn(async move { exchange(to, &bodies, &id, way, bytes, None).await })
            })
            .collect();
        let mut first_error = Ok(());
        for transfer in transfers {
            let result = transfer.await.map_err(|error| error.to_string());
            let result = result.and_then(|result| result);
            first_error = first_error.and(result);
        }
        let elapsed = began.elapsed();
        let mut costs = Vec::new();
        for watch in watches {
            costs.push(watch.end().await);
        }
        first_error?;
        Ok(Phase {
            name: name.to_owned(),
            at_once,
            bytes,
            elapsed,
            costs,
        })
    }

    fn consumers_door(&self) -> std::net::SocketAddr {
        let net = self.world.prepared.plan().net;
        std::net::SocketAddr::new(net.server(0), crate::country::Net::HTTP_PORT)
    }

    fn next_id(&mut self) -> String {
        self.sent += 1;
        format!("large-{}", self.sent)
    }

    /// Audits both logs once everything is stamped: every message there and valid, no body left behind. Returns how many
    /// records are proved in both logs together.
    ///
    /// # Errors
    ///
    /// What is not as it should be, in words.
    pub async fn prove(&self) -> Result<u64, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        self.configuration(dir.path()).await?;
        let logs = [0, 1].map(|index| self.world.server_dir(index).join("log"));
        for log in &logs {
            // The last file goes with the last reader, who may just be leaving.
            eventually(PATIENCE, || async { no_bodies(log) }).await?;
        }
        let wanted = self.sent * 4;
        eventually(PATIENCE, || async { audit(&logs, dir.path(), wanted) }).await?;
        Ok(wanted)
    }

    async fn configuration(&self, dir: &Path) -> Result<(), String> {
        let url = format!("{}/verificationconf", self.world.url(0));
        let zip = self.world.http.get(&url).await?.into_body();
        let mut zip = zip::ZipArchive::new(Cursor::new(zip)).map_err(|error| error.to_string())?;
        for index in 0..zip.len() {
            let mut entry = zip.by_index(index).map_err(|error| error.to_string())?;
            let Some(name) = entry.enclosed_name() else {
                return Err("an entry of the configuration leads outside".to_owned());
            };
            let mut content = Vec::new();
            entry
                .read_to_end(&mut content)
                .map_err(|error| error.to_string())?;
            let path = dir.join(name);
            if let Some(parent) = path.parent() {
                create_dir_durably(parent).map_err(|error| error.to_string())?;
            }
            atomic_write(&path, &content).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

fn no_bodies(log: &Path) -> Result<(), String> {
    let left = std::fs::read_dir(log.join("bodies")).map_err(|error| error.to_string())?;
    match left.count() {
        0 => Ok(()),
        count => Err(format!("{count} bodies are left in {}", log.display())),
    }
}

fn audit(logs: &[PathBuf], configuration: &Path, wanted: u64) -> Result<(), String> {
    let read = read_configuration(&configuration.join("verificationconf"));
    let configuration = Configuration::fixed(read.map_err(|error| error.to_string())?);
    let (mut valid, mut by_policy, mut odd) = (0_u64, 0_u64, None);
    verify(logs, &VerifyOptions::default(), &configuration, |line| {
        let text = format!("{line:?}");
        if let jibek_audit::Line::Container(judged) = &line {
            if judged.standing(true).exit_code() == 0 {
                valid += 1;
            } else {
                odd.get_or_insert(text);
            }
            by_policy += u64::from(judged.remarks().any(|(id, _)| id == "body_not_kept"));
        }
        Ok(())
    })
    .map_err(|error| error.to_string())?;
    // Every exchange here has a body in each direction or in one, and an answer's may be empty.
    if let Some(odd) = odd {
        return Err(odd);
    }
    if valid != wanted || by_policy < wanted / 2 {
        return Err(format!(
            "{valid} of {wanted} records are proved, {by_policy} of them tell of a body that was not kept"
        ));
    }
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(120);
