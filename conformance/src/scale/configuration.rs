//! A country's configuration, replaced while servers carry messages.

use std::{
    convert::Infallible,
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jibek_certs::{
    digest::{DigestAlgorithm, digest},
    time::{Clock, SystemClock},
};
use jibek_conf::{
    model::{GlobalGroup, Member, SecurityServer, SharedParameters, Subsystem},
    part::{PRIVATE_PARAMETERS, SHARED_PARAMETERS, render_private, render_shared},
};
use jibek_protocol::id::{ClientId, MemberId, ServerId};
use jibek_registry::{
    Config,
    directory::{Boundaries, Entry, signed},
    keys::{Keys, Kind},
};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, timeout},
};

use super::{memory_mib, ms, percentile, table};
use crate::{
    country::{Net, Prepared, Timing},
    http::Http,
    processes::{Process, Programs},
    world::{CONSUMER, PROVIDER, World},
};

/// How large, how busy, how often.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the options of a measurement")]
pub struct Size {
    /// Members, with three subsystems each.
    pub members: usize,
    /// Security servers beside the two that run.
    pub servers: usize,
    /// Calls at once.
    pub at_once: usize,
    /// Replacements of the configuration.
    pub swaps: usize,
}

/// Runs two servers of a country of that size in `dir`, and replaces its configuration under load. Returns a table.
///
/// # Errors
/// What could not be started, or did not happen in time.
pub async fn measure(programs: &Programs, dir: &Path, size: Size) -> anyhow::Result<String> {
    let timing = Timing {
        fetch: Duration::from_secs(2),
        ..Timing::default()
    };
    let builder = World::builder()
        .key(jibek_certs::KeyKind::Rsa2048)
        .timing(timing);
    let answer = |_: &crate::system::Call| Response::new(Bytes::from_static(&[b'x'; 1024]));
    let planned = builder.plan_for_processes(answer).await;
    let (plan, _system) = planned.map_err(|error| anyhow::anyhow!("{error}"))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let prepared = Prepared::make(plan, dir, &clock)?;
    let country = Country::of(&prepared, size)?;
    let source = Source::serve(&prepared, country.published(0)?).await?;
    let _pki = pki(programs, &prepared)?;
    let mut running = Vec::new();
    for (index, planned) in prepared.plan().servers.iter().enumerate() {
        if planned.started {
            running.push(programs.server(&prepared, index, planned).await?);
        }
    }
    let consumer = prepared.plan().net.server(0);
    let load = Load::start(
        &format!("http://{consumer}:{}", Net::HTTP_PORT),
        size.at_once,
    );
    let memory = |what: &str| -> Vec<f64> {
        let all = running.iter();
        all.map(|server| memory_mib(&server.id().to_string(), what))
            .collect()
    };
    sleep(WARM).await;
    load.take();
    let mut rows = vec![
        [
            "", "seconds", "calls/s", "p50 ms", "p99 ms", "max ms", "MiB", "MiB peak",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    let shown = |values: Vec<f64>| {
        let values = values.iter().map(|value| format!("{value:.0}"));
        values.collect::<Vec<_>>().join(" ")
    };
    for swap in 0..size.swaps {
        let begun = Instant::now();
        sleep(QUIET).await;
        rows.push(load.take().row(
            "steady",
            begun.elapsed(),
            [shown(memory("VmRSS")), shown(memory("VmHWM"))],
        ));
        let next = country.published(swap + 1)?;
        load.take();
        let begun = Instant::now();
        source.put(next);
        let names = ["ss1", "ss2"];
        for name in names {
            let log = dir.join("servers").join(name).join("server.log");
            in_force(&log, swap + 2).await?;
        }
        rows.push(load.take().row(
            "replaced",
            begun.elapsed(),
            [shown(memory("VmRSS")), shown(memory("VmHWM"))],
        ));
    }
    load.end();
    let bytes = source.shared_bytes();
    let mut text = format!(
        "{} members with 3 subsystems each, {} servers, {:.1} MB of shared parameters, {} calls at once\n",
        size.members,
        size.servers,
        bytes as f64 / 1e6,
        size.at_once,
    );
    text.push_str(&table(&rows));
    for line in told(&dir.join("servers/ss2/server.log"))? {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

fn pki(programs: &Programs, prepared: &Prepared) -> io::Result<Process> {
    Process::start(
        "dev-pki",
        &programs.path("jibek-dev-pki"),
        &[
            "serve",
            &prepared.dir().join("pki").display().to_string(),
            "--listen",
            &prepared.plan().net.pki().to_string(),
        ],
        &prepared.dir().join("dev-pki.log"),
    )
}

/// The country that is published, small at first and then made large.
struct Country {
    shared: SharedParameters,
    private: Bytes,
    keys: Keys,
}

impl Country {
    fn of(prepared: &Prepared, size: Size) -> anyhow::Result<Self> {
        let config = Config::read(&prepared.registry_config())?;
        let keys = Keys::open(&config.keys_dir(), config.key)?;
        let mut shared = config.shared(
            &keys.certificates(Kind::Internal),
            &keys.certificates(Kind::External),
        );
        grow(&mut shared, size.members, size.servers)?;
        Ok(Self {
            shared,
            private: Bytes::from(render_private(config.private())),
            keys,
        })
    }

    /// The country with `more` members more than at first, signed.
    fn published(&self, more: usize) -> anyhow::Result<Published> {
        let mut shared = self.shared.clone();
        for number in 0..more {
            shared
                .members
                .push(member(&shared.instance, "NEW", number)?);
        }
        let parts = [
            (SHARED_PARAMETERS, Bytes::from(render_shared(&shared, 6)?)),
            (PRIVATE_PARAMETERS, self.private.clone()),
        ];
        let parts = parts.map(|(name, bytes)| (name, format!("/V6/{more}/{name}"), bytes));
        let entries = parts.iter().map(|(name, location, bytes)| {
            Entry::new(
                name,
                location.clone(),
                digest(DigestAlgorithm::Sha512, bytes),
            )
        });
        let entries: Vec<_> = entries.collect();
        let expires = SystemClock.now() + Duration::from_secs(3600);
        let key = self.keys.of(Kind::Internal);
        let directory = signed(
            &shared.instance,
            6,
            expires,
            &entries,
            key,
            &Boundaries::new(&std::array::from_fn(|at| u8::try_from(at).unwrap_or(0))),
        )?;
        Ok(Published {
            directory: directory.into(),
            parts: parts
                .into_iter()
                .map(|(_, location, bytes)| (location, bytes))
                .collect(),
        })
    }
}

fn member(instance: &str, class: &str, number: usize) -> anyhow::Result<Member> {
    Ok(Member {
        id: MemberId::new(instance, class, &format!("{number:08}"))?,
        class_description: "Government".to_owned(),
        name: format!("Agency number {number}"),
        subsystems: (0..SUBSYSTEMS)
            .map(|which| Subsystem {
                code: format!("system-{which}"),
                name: Some(format!("System {which} of agency {number}")),
            })
            .collect(),
    })
}

/// Adds members, servers that serve them, and a group of all.
fn grow(shared: &mut SharedParameters, members: usize, servers: usize) -> anyhow::Result<()> {
    let instance = shared.instance.clone();
    let mut all = Vec::new();
    for number in 0..members {
        let member = member(&instance, "GOV", number)?;
        all.push(ClientId::from(member.id.clone()));
        shared.members.push(member);
    }
    let each = members.checked_div(servers).unwrap_or(0);
    for number in 0..servers {
        let first = number.saturating_mul(each);
        let mut clients = Vec::new();
        for served in first..first.saturating_add(each) {
            for which in 0..SUBSYSTEMS {
                let (code, system) = (format!("{served:08}"), format!("system-{which}"));
                clients.push(ClientId::new(&instance, "GOV", &code, Some(&system))?);
            }
        }
        let owner = MemberId::new(&instance, "GOV", &format!("{first:08}"))?;
        let hash = digest(DigestAlgorithm::Sha256, format!("{number}").as_bytes());
        shared.servers.push(SecurityServer {
            id: ServerId::new(owner, &format!("ss{number}"))?,
            address: Some(format!("ss{number}.example.kg")),
            auth_certificate_hashes: vec![Bytes::copy_from_slice(hash.as_bytes())],
            clients,
            maintenance: None,
        });
    }
    shared.groups.push(GlobalGroup {
        code: "all".to_owned(),
        description: "All".to_owned(),
        members: all,
    });
    Ok(())
}

/// A signed directory and the parts that it names.
#[derive(Clone, Debug, Default)]
struct Published {
    directory: Bytes,
    parts: Vec<(String, Bytes)>,
}

/// Stands in for the registry, so that publishing costs nothing while servers are measured.
struct Source {
    now: Arc<Mutex<Published>>,
}

impl Source {
    async fn serve(prepared: &Prepared, first: Published) -> io::Result<Self> {
        let listener = TcpListener::bind(prepared.plan().net.registry()).await?;
        let now = Arc::new(Mutex::new(first));
        let shown = Arc::clone(&now);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shown = Arc::clone(&shown);
                let service = service_fn(move |request: Request<Incoming>| {
                    let published = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    async move { Ok::<_, Infallible>(found(&published, request.uri().path())) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { now })
    }

    fn put(&self, next: Published) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn shared_bytes(&self) -> usize {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.parts.first().map_or(0, |(_, bytes)| bytes.len())
    }
}

fn found(published: &Published, path: &str) -> Response<Full<Bytes>> {
    let part = published.parts.iter().find(|(known, _)| known == path);
    let body = match part {
        Some((_, bytes)) => bytes.clone(),
        None if path == "/internalconf" => published.directory.clone(),
        None => {
            let mut none = Response::new(Full::default());
            *none.status_mut() = StatusCode::NOT_FOUND;
            return none;
        }
    };
    Response::new(Full::new(body))
}

/// Lines in which a server tells of a configuration that came into force.
fn told(log: &Path) -> io::Result<Vec<String>> {
    let text = std::fs::read_to_string(log)?;
    let lines = text.lines().filter(|line| line.contains(IN_FORCE));
    Ok(lines.map(str::to_owned).collect())
}

/// Waits until a server has told of so many configurations.
async fn in_force(log: &Path, wanted: usize) -> anyhow::Result<()> {
    let look = async {
        while !told(log).is_ok_and(|lines| lines.len() >= wanted) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(180), look)
        .await
        .map_err(|_| anyhow::anyhow!("{} does not tell of configuration {wanted}", log.display()))
}

/// The same call again and again.
struct Load {
    times: Arc<Mutex<Window>>,
    over: Arc<AtomicBool>,
}

#[derive(Default)]
struct Window {
    times: Vec<Duration>,
    failed: usize,
}

impl Load {
    fn start(server: &str, at_once: usize) -> Self {
        let times = Arc::new(Mutex::new(Window::default()));
        let over = Arc::new(AtomicBool::new(false));
        let url = format!("{server}/r1/{PROVIDER}/rest/x");
        let http = Http::default();
        for _ in 0..at_once {
            let (times, over, url, http) = (
                Arc::clone(&times),
                Arc::clone(&over),
                url.clone(),
                http.clone(),
            );
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let request = Request::get(&url)
                        .header("X-Road-Client", CONSUMER)
                        .body(Full::default());
                    let Ok(request) = request else { return };
                    let begun = Instant::now();
                    let answer = http.send(request).await;
                    let mut window = times.lock().unwrap_or_else(PoisonError::into_inner);
                    match answer {
                        Ok(answer) if answer.status() == StatusCode::OK => {
                            window.times.push(begun.elapsed());
                        }
                        _ => window.failed += 1,
                    }
                }
            });
        }
        Self { times, over }
    }

    /// What was since the last time.
    fn take(&self) -> Window {
        std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Window {
    fn row(mut self, name: &str, took: Duration, memory: [String; 2]) -> Vec<String> {
        self.times.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "counts of a bench are small")]
        let rate = self.times.len() as f64 / took.as_secs_f64();
        let at = |share| format!("{:.1}", ms(percentile(&self.times, share)));
        let [resident, peak] = memory;
        let name = match self.failed {
            0 => name.to_owned(),
            failed => format!("{name}, {failed} FAILED"),
        };
        vec![
            name,
            format!("{:.1}", took.as_secs_f64()),
            format!("{rate:.0}"),
            at(0.5),
            at(0.99),
            at(1.0),
            resident,
            peak,
        ]
    }
}

/// How a server's log tells of a configuration.
const IN_FORCE: &str = "a new configuration was read";
const SUBSYSTEMS: usize = 3;
const WARM: Duration = Duration::from_secs(5);
/// Long enough for some refreshes in which nothing is new.
const QUIET: Duration = Duration::from_secs(10);
