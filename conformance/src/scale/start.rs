//! How long a server takes from the start of its process to the first `/readyz` that says yes.

use std::{fmt::Write as _, path::Path, time::Duration};

use http::StatusCode;
use jibek_conf::files::atomic_write;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    country::{Net, Prepared},
    http::Http,
    processes::{Process, Programs},
};

/// Writes documents of more clients of the first server's owner, each with services.
///
/// # Errors
/// When a file cannot be written.
pub fn add_clients(
    prepared: &Prepared,
    server: usize,
    clients: usize,
    services: usize,
) -> anyhow::Result<()> {
    let planned = prepared.plan().servers.get(server);
    let planned = planned.ok_or_else(|| anyhow::anyhow!("no such server"))?;
    let folder = prepared.server_dir(planned).join("clients");
    let owner = planned.id.owner();
    for client in 0..clients {
        let (class, code) = (owner.class(), owner.code());
        let mut text = format!(
            "client = \"{}/{class}/{code}/system{client}\"\nconnection = \"http\"\n",
            owner.instance()
        );
        for service in 0..services {
            let _ = write!(
                text,
                "\n[[service]]\ncode = \"service{service}\"\nkind = \"rest\"\nurl = \"http://127.0.0.1:9/{client}/{service}\"\n\
                 timeout_seconds = 60\n\n[[service.allow]]\nsubject = \"{}/{class}/{code}/system{}\"\nmethod = \"GET\"\npath = \"/open/**\"\n",
                owner.instance(),
                (client + 1) % clients.max(1),
            );
        }
        atomic_write(folder.join(format!("system{client}.toml")), text.as_bytes())?;
    }
    Ok(())
}

/// Starts a server and ends it again; tells how long it took to be ready, and its memory then in MiB.
///
/// # Errors
/// When it cannot be started or does not get ready within a minute.
pub async fn once(
    programs: &Programs,
    prepared: &Prepared,
    server: usize,
) -> anyhow::Result<(Duration, f64)> {
    let planned = prepared.plan().servers.get(server);
    let planned = planned.ok_or_else(|| anyhow::anyhow!("no such server"))?;
    let dir = prepared.server_dir(planned);
    let address = prepared.plan().net.server(server);
    let url = format!("http://{address}:{}/readyz", Net::ADMIN_PORT);
    let file = dir.join("jibek-server.toml").display().to_string();
    let http = Http::default();
    let started = Instant::now();
    let mut process = begin(programs, &file, &dir)?;
    let ready = async {
        loop {
            match http.get(&url).await {
                Ok(answer) if answer.status() == StatusCode::OK => return,
                _ => sleep(Duration::from_millis(1)).await,
            }
        }
    };
    timeout(Duration::from_secs(60), ready).await?;
    let took = started.elapsed();
    let memory = super::memory_mib(&process.id().to_string(), "VmHWM");
    process.terminate()?;
    let ended = async {
        while !matches!(process.ended(), Ok(Some(_))) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), ended).await?;
    Ok((took, memory))
}

fn begin(programs: &Programs, file: &str, dir: &Path) -> std::io::Result<Process> {
    Process::start(
        "server",
        &programs.path("jibek-server"),
        &["run", "--config", file],
        &dir.join("server.log"),
    )
}
