//! The programs of a prepared country as processes of their own, with what they cost.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::Duration,
};

use crate::{
    country::{Net, PIN, PlannedServer, Prepared},
    http,
};

/// A program running as a process of its own. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, user and system, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory now, in KiB.
    pub resident_kib: u64,
    /// The most it ever was, in KiB.
    pub peak_kib: u64,
}

impl Process {
    /// Starts `program` with its output going to `log`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(name: &str, program: &Path, arguments: &[&str], log: &Path) -> io::Result<Self> {
        Self::start_with(name, program, arguments, &[], log)
    }

    /// Starts `program` with additions to its environment.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start_with(
        name: &str,
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
        log: &Path,
    ) -> io::Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let child = Command::new(program)
            .args(arguments)
            .env("JIBEK_PIN", PIN)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it has used so far, from `/proc`.
    #[must_use]
    pub fn usage(&self) -> Usage {
        usage_of(&self.child.id().to_string())
    }

    /// Lets the peak of its memory begin again at what it is now.
    ///
    /// # Errors
    ///
    /// When the system does not let us.
    pub fn forget_peak(&self) -> io::Result<()> {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        File::options().write(true).open(path)?.write_all(b"5")
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, with SIGTERM.
    ///
    /// # Errors
    ///
    /// When the signal cannot be sent.
    pub fn terminate(&self) -> io::Result<()> {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status()?;
        status
            .success()
            .then_some(())
            .ok_or_else(|| io::Error::other("the signal was not sent"))
    }

    /// Its exit status, if it has ended by itself.
    ///
    /// # Errors
    ///
    /// When the system cannot tell.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Kills it without a word, as a power cut would.
    ///
    /// # Errors
    ///
    /// When it is gone already.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }
}

/// What this process has used so far, from `/proc`.
#[must_use]
pub fn usage_of_self() -> Usage {
    usage_of("self")
}

/// Processor time of the processes that this one started and that have ended, in seconds.
#[must_use]
pub fn cpu_seconds_of_ended_children() -> f64 {
    let fields = stat("self");
    ticks(&fields, 13) + ticks(&fields, 14)
}

fn usage_of(process: &str) -> Usage {
    let fields = stat(process);
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kib = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .unwrap_or(0)
    };
    Usage {
        cpu_seconds: ticks(&fields, 11) + ticks(&fields, 12),
        resident_kib: kib("VmRSS:"),
        peak_kib: kib("VmHWM:"),
    }
}

/// Fields of `/proc/PID/stat` after the name in parentheses: the state, field 3, comes first.
fn stat(process: &str) -> Vec<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .map(|(_, rest)| rest.split(' ').map(str::to_owned).collect())
        .unwrap_or_default()
}

/// A field in ticks of 1/100 s, as seconds.
fn ticks(fields: &[String], index: usize) -> f64 {
    fields
        .get(index)
        .and_then(|field| field.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 100.0
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The programs of a country.
#[derive(Debug)]
pub struct Programs {
    dir: PathBuf,
}

impl Programs {
    /// The programs that lie in `dir`, where this one was built.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The programs that were built together with this one.
    ///
    /// # Errors
    ///
    /// When this program cannot tell where it lies.
    pub fn beside() -> io::Result<Self> {
        let mut dir = std::env::current_exe()?;
        dir.pop();
        // Test programs lie one level deeper.
        if dir.ends_with("deps") {
            dir.pop();
        }
        Ok(Self { dir })
    }

    /// The programs of servers, registry, PKI and log, built now if they are not, as this one was. For tests: cargo
    /// does not build the programs of other packages for them.
    ///
    /// # Errors
    ///
    /// When cargo cannot be run or does not succeed.
    pub fn build() -> io::Result<Self> {
        static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
        let programs = Self::beside()?;
        let built = BUILT
            .get_or_init(|| build(&programs.dir, &["--bins"]).map_err(|error| error.to_string()));
        match built {
            Ok(()) => Ok(programs),
            Err(error) => Err(io::Error::other(error.clone())),
        }
    }

    /// The same, and the server that has places for faults.
    ///
    /// # Errors
    ///
    /// As [`Programs::build`].
    pub fn build_faulty() -> io::Result<Self> {
        static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
        let programs = Self::build()?;
        let options = [
            "--bin",
            "jibek-server-faulty",
            "--features",
            "jibek-server/fault-points",
        ];
        let built =
            BUILT.get_or_init(|| build(&programs.dir, &options).map_err(|error| error.to_string()));
        match built {
            Ok(()) => Ok(programs),
            Err(error) => Err(io::Error::other(error.clone())),
        }
    }

    /// Path of a program.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Starts PKI and registry of a prepared country.
    ///
    /// # Errors
    ///
    /// When one cannot be started or does not answer.
    pub async fn authorities(&self, prepared: &Prepared) -> io::Result<Vec<Process>> {
        let net = prepared.plan().net;
        let dir = prepared.dir();
        let pki = Process::start(
            "dev-pki",
            &self.path("jibek-dev-pki"),
            &[
                "serve",
                &dir.join("pki").display().to_string(),
                "--listen",
                &net.pki().to_string(),
            ],
            &dir.join("dev-pki.log"),
        )?;
        let registry = Process::start(
            "registry",
            &self.path("jibek-registry"),
            &[
                "serve",
                "--config",
                &prepared.registry_config().display().to_string(),
            ],
            &dir.join("registry.log"),
        )?;
        let url = format!("http://{}/internalconf?version=6", net.registry());
        http::until_ok(&url, Duration::from_secs(20))
            .await
            .map_err(io::Error::other)?;
        Ok(vec![pki, registry])
    }

    /// Starts one server, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it cannot be started or does not get ready.
    pub async fn server(
        &self,
        prepared: &Prepared,
        index: usize,
        server: &PlannedServer,
    ) -> io::Result<Process> {
        let process = self.launch("jibek-server", prepared, server)?;
        let address = prepared.plan().net.server(index);
        let url = format!("http://{address}:{}/readyz", Net::ADMIN_PORT);
        http::until_ok(&url, Duration::from_secs(30))
            .await
            .map_err(io::Error::other)?;
        Ok(process)
    }

    /// Starts one server by a program of this name, and does not wait for it.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn launch(
        &self,
        program: &str,
        prepared: &Prepared,
        server: &PlannedServer,
    ) -> io::Result<Process> {
        let dir = prepared.server_dir(server);
        Process::start(
            server.id.code(),
            &self.path(program),
            &[
                "run",
                "--config",
                &dir.join("jibek-server.toml").display().to_string(),
            ],
            &dir.join("server.log"),
        )
    }
}

fn build(dir: &Path, what: &[&str]) -> io::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--workspace"])
        .args(what)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    // `…/target/debug` or `…/target/PROFILE`.
    if let Some(target) = dir.parent() {
        command.arg("--target-dir").arg(target);
    }
    match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(profile) => {
            command.args(["--profile", profile]);
        }
    }
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "cannot build the programs: {}",
        String::from_utf8_lossy(&output.stderr)
    )))
}
