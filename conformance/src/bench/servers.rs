//! The two servers of a chapter: started, read, ended.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use http::StatusCode;
use tokio::time::Instant;

use super::counts::Page;
use crate::{
    country::{Net, Prepared},
    http::{Http, eventually},
    processes::{Process, Programs, Usage},
};

/// A consumer's and a provider's server.
#[derive(Debug)]
pub struct Servers {
    processes: Vec<Process>,
    admin: Vec<String>,
    logs: Vec<PathBuf>,
    http: Http,
    /// How long each took from its start to readiness, in milliseconds.
    pub ready_ms: Vec<f64>,
}

impl Servers {
    /// Starts both by `program`, one after the other, and waits until a message would succeed.
    ///
    /// # Errors
    ///
    /// When one cannot be started or does not get ready.
    pub async fn start(
        programs: &Programs,
        program: &str,
        prepared: &Prepared,
    ) -> anyhow::Result<Self> {
        let mut servers = Self {
            processes: Vec::new(),
            admin: Vec::new(),
            logs: Vec::new(),
            http: Http::default(),
            ready_ms: Vec::new(),
        };
        for (index, planned) in prepared.plan().servers.iter().enumerate() {
            let address = prepared.plan().net.server(index);
            let admin = format!("http://{address}:{}", Net::ADMIN_PORT);
            let begun = Instant::now();
            let process = programs
                .launch(program, prepared, planned)
                .with_context(|| format!("cannot start {program}"))?;
            ready(&servers.http, &format!("{admin}/readyz"))
                .await
                .with_context(|| format!("{} does not get ready", planned.id.code()))?;
            servers
                .ready_ms
                .push(begun.elapsed().as_secs_f64() * 1000.0);
            servers.processes.push(process);
            servers.admin.push(admin);
            servers.logs.push(prepared.server_dir(planned).join("log"));
        }
        Ok(servers)
    }

    /// What each has used so far.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        self.processes.iter().map(Process::usage).collect()
    }

    /// Lets peaks of memory begin anew.
    ///
    /// # Errors
    ///
    /// When the system does not let us.
    pub fn forget_peaks(&self) -> std::io::Result<()> {
        self.processes.iter().try_for_each(Process::forget_peak)
    }

    /// What both have counted, summed.
    ///
    /// # Errors
    ///
    /// When one does not tell.
    pub async fn page(&self) -> anyhow::Result<Page> {
        let mut sum = Page::default();
        for admin in &self.admin {
            sum = sum.plus(&self.one_page(admin).await?);
        }
        Ok(sum)
    }

    /// Waits until no record waits for a time-stamp.
    ///
    /// # Errors
    ///
    /// After two minutes, with how many wait.
    pub async fn stamped(&self) -> anyhow::Result<()> {
        eventually(Duration::from_secs(120), || async {
            let waiting = self.page().await?.sum("jibek_unstamped_records", "");
            anyhow::ensure!(waiting == 0.0, "{waiting} records wait for a time-stamp");
            Ok(())
        })
        .await
    }

    /// Directories of the logs.
    #[must_use]
    pub fn logs(&self) -> &[PathBuf] {
        &self.logs
    }

    /// Ends both in order.
    ///
    /// # Errors
    ///
    /// When one does not end within a minute.
    pub async fn finish(mut self) -> anyhow::Result<Vec<PathBuf>> {
        for process in &mut self.processes {
            process.terminate()?;
            let deadline = Instant::now() + Duration::from_secs(60);
            while process.ended()?.is_none() {
                anyhow::ensure!(Instant::now() < deadline, "{} does not end", process.name());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(std::mem::take(&mut self.logs))
    }

    async fn one_page(&self, admin: &str) -> anyhow::Result<Page> {
        let answer = self
            .http
            .get(&format!("{admin}/metrics"))
            .await
            .map_err(anyhow::Error::msg)?;
        Ok(Page::parse(&String::from_utf8_lossy(answer.body())))
    }
}

/// Asks every two milliseconds, so that the asking does not make a start seem longer.
async fn ready(http: &Http, url: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let last = match http.get(url).await {
            Ok(answer) if answer.status() == StatusCode::OK => return Ok(()),
            Ok(answer) => String::from_utf8_lossy(answer.body()).into_owned(),
            Err(error) => error,
        };
        anyhow::ensure!(Instant::now() < deadline, "{last}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Removes the logs of a chapter that is proved.
///
/// # Errors
///
/// When they cannot be removed.
pub fn remove(logs: &[PathBuf]) -> anyhow::Result<()> {
    logs.iter().try_for_each(|log| clear(log))
}

fn clear(log: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(log).with_context(|| format!("cannot remove {}", log.display()))
}
