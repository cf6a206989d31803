//! A country for tests: real servers, real sockets, real certificates, in one process and on a clock of the test's.
//!
//! Two security servers: at the first the clients `GOV/1001/consumer` and `GOV/1001/stranger`, at the second
//! `GOV/2002/provider` with the services `rest` and `soap`, whose information system answers as the test says. A third
//! server, `GOV/3003/hand`, is registered but not started: its place is for a peer made by hand ([`crate::peer`]).

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, request::Builder};
use http_body_util::Full;
use jibek_certs::{
    KeyKind,
    time::{Clock, SystemClock, TestClock},
};
use jibek_protocol::id::{ClientId, MemberId, ServerId};
use jibek_server::random::{Random, SystemRandom};
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::{
    country::{
        Allow, Net, Plan, PlannedClient, PlannedMember, PlannedServer, PlannedService, Prepared,
        Running, Surroundings, Timing,
    },
    disk::Disks,
    http::Http,
    system::{Call, Script, System},
};

/// Instance of every test world.
pub const INSTANCE: &str = "TEST";
/// The client that has rights.
pub const CONSUMER: &str = "TEST/GOV/1001/consumer";
/// A client without rights.
pub const STRANGER: &str = "TEST/GOV/1001/stranger";
/// A client of the server that is not started, for a peer made by hand.
pub const HAND_MADE: &str = "TEST/GOV/3003";
/// A subsystem at that server, for services of a peer made by hand.
pub const HAND_MADE_SERVICE: &str = "TEST/GOV/3003/service";
/// The client whose services are called.
pub const PROVIDER: &str = "TEST/GOV/2002/provider";

/// Builds a [`World`].
#[derive(Debug)]
pub struct WorldBuilder {
    key: KeyKind,
    timing: Timing,
    legacy_tls: bool,
    rights: Vec<Allow>,
    service_timeout: Duration,
    settings: Vec<(String, String)>,
    before: Option<Before>,
}

/// What a test does between the making of a country's files and its start.
struct Before(Box<Action>);

type Action = dyn FnOnce(&Prepared, OffsetDateTime) + Send;

impl std::fmt::Debug for Before {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Before")
    }
}

/// A running test country.
#[derive(Debug)]
pub struct World {
    /// Servers, registry, PKI.
    pub running: Running,
    /// The provider's information system.
    pub system: System,
    /// The clock of everything.
    pub clock: TestClock,
    /// What goes wrong with the disks under the servers' logs.
    pub disks: Disks,
    /// A client without state.
    pub http: Http,
    _dir: TempDir,
}

impl World {
    /// Starts to describe a world.
    #[must_use]
    pub fn builder() -> WorldBuilder {
        WorldBuilder {
            key: KeyKind::EcP256,
            timing: Timing::default(),
            legacy_tls: true,
            rights: [CONSUMER, HAND_MADE]
                .map(|subject| Allow {
                    subject: subject.to_owned(),
                    method: "*".to_owned(),
                    path: "**".to_owned(),
                })
                .to_vec(),
            service_timeout: Duration::from_secs(10),
            settings: Vec::new(),
            before: None,
        }
    }

    /// A request to the consumer's server for the REST service, with the headers that every call has.
    #[must_use]
    pub fn rest(&self, method: &str, path: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(format!(
                "{}/r1/{PROVIDER}/rest{path}",
                self.running.server(0).url()
            ))
            .header("X-Road-Client", CONSUMER)
    }

    /// Sends a request.
    ///
    /// # Panics
    ///
    /// When there is no answer at all.
    pub async fn send(&self, request: Builder, body: impl Into<Bytes>) -> Response<Bytes> {
        #[expect(clippy::expect_used, reason = "a test's request is well-formed")]
        let request = request
            .body(Full::new(body.into()))
            .expect("the request is well-formed");
        match self.http.send(request).await {
            Ok(response) => response,
            #[expect(clippy::panic, reason = "a test fails here")]
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// The time of everything.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// Directory of a server.
    #[must_use]
    pub fn server_dir(&self, index: usize) -> std::path::PathBuf {
        let prepared = self.running.prepared();
        #[expect(
            clippy::indexing_slicing,
            reason = "tests name servers of their own world"
        )]
        prepared.server_dir(&prepared.plan().servers[index])
    }

    /// Stops everything in order.
    ///
    /// # Panics
    ///
    /// When something did not stop in order.
    pub async fn finish(self) {
        #[expect(clippy::panic, reason = "a test fails here")]
        if let Err(error) = self.running.finish().await {
            panic!("{error}");
        }
    }
}

impl WorldBuilder {
    /// Kind of every key; P-256 unless said.
    #[must_use]
    pub fn key(mut self, key: KeyKind) -> Self {
        self.key = key;
        self
    }

    /// Periods.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Rights to the REST service in place of the consumer's right to everything.
    #[must_use]
    pub fn rights(mut self, rights: Vec<Allow>) -> Self {
        self.rights = rights;
        self
    }

    /// The longest wait for the information system's answer; 10 s unless said.
    #[must_use]
    pub fn service_timeout(mut self, timeout: Duration) -> Self {
        self.service_timeout = timeout;
        self
    }

    /// A line for a section of every server's `jibek-server.toml`, as `("limits", "body_stall_seconds = 1")`.
    #[must_use]
    pub fn setting(mut self, section: &str, line: &str) -> Self {
        self.settings.push((section.to_owned(), line.to_owned()));
        self
    }

    /// Does something with the country's files before anything is started; it gets the time, too.
    #[must_use]
    pub fn before(
        mut self,
        action: impl FnOnce(&Prepared, OffsetDateTime) + Send + 'static,
    ) -> Self {
        self.before = Some(Before(Box::new(action)));
        self
    }

    /// Starts everything and waits until each server is ready.
    ///
    /// # Panics
    ///
    /// When something cannot be started.
    pub async fn build(
        self,
        script: impl Fn(&Call) -> Response<Bytes> + Send + Sync + 'static,
    ) -> World {
        match self.try_build(Arc::new(script)).await {
            Ok(world) => world,
            #[expect(clippy::panic, reason = "a test fails here")]
            Err(error) => panic!("the world could not be built: {error}"),
        }
    }

    /// The same country for programs that run as processes of their own, and its information system.
    ///
    /// # Errors
    ///
    /// When the system cannot listen.
    pub async fn plan_for_processes(
        self,
        script: impl Fn(&Call) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Result<(Plan, System), Box<dyn std::error::Error>> {
        let net = draw_net();
        let system = System::start(net.system(0), Arc::new(script)).await?;
        let plan = self.plan(net, &system)?;
        Ok((plan, system))
    }

    async fn try_build(mut self, script: Script) -> Result<World, Box<dyn std::error::Error>> {
        let dir = TempDir::new()?;
        let net = draw_net();
        let clock = TestClock::new(SystemClock.now());
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let system = System::start(net.system(0), script).await?;
        let plan = self.plan(net, &system)?;
        let prepared = Prepared::make(plan, dir.path(), &shared)?;
        self.apply_settings(&prepared)?;
        if let Some(Before(action)) = self.before.take() {
            action(&prepared, clock.now());
        }
        let disks = Disks::default();
        let outside = Surroundings {
            clock: shared,
            random: Arc::new(SystemRandom),
            disks: disks.clone(),
        };
        let running = Running::start(prepared, outside).await?;
        running.ready(Duration::from_secs(30)).await?;
        Ok(World {
            running,
            system,
            clock,
            disks,
            http: Http::default(),
            _dir: dir,
        })
    }

    fn apply_settings(&self, prepared: &Prepared) -> Result<(), Box<dyn std::error::Error>> {
        for server in &prepared.plan().servers {
            let file = prepared.server_dir(server).join("jibek-server.toml");
            let mut text = std::fs::read_to_string(&file)?;
            for (section, line) in &self.settings {
                let head = format!("[{section}]\n");
                if text.contains(&head) {
                    text = text.replacen(&head, &format!("{head}{line}\n"), 1);
                } else {
                    text.push_str(&format!("\n{head}{line}\n"));
                }
            }
            jibek_conf::files::atomic_write(&file, text.as_bytes())?;
        }
        Ok(())
    }

    fn plan(&self, net: Net, system: &System) -> Result<Plan, Box<dyn std::error::Error>> {
        let consumer_member = MemberId::new(INSTANCE, "GOV", "1001")?;
        let provider_member = MemberId::new(INSTANCE, "GOV", "2002")?;
        let hand_made_member = MemberId::new(INSTANCE, "GOV", "3003")?;
        let service = |code: &str, kind: &str, rights: &[Allow]| PlannedService {
            code: code.to_owned(),
            kind: kind.to_owned(),
            url: format!("http://{}/{code}", system.address()),
            allow: rights.to_vec(),
            timeout: self.service_timeout,
        };
        let plain = |id: &str| -> Result<PlannedClient, Box<dyn std::error::Error>> {
            Ok(PlannedClient {
                id: ClientId::from_header(id)?,
                connection: "http".to_owned(),
                services: Vec::new(),
            })
        };
        let everything = [CONSUMER, HAND_MADE]
            .map(|client| ClientId::from_header(client).map(|client| Allow::everything(&client)));
        let everything = everything.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut provider = plain(PROVIDER)?;
        provider.services = vec![
            service("rest", "rest", &self.rights),
            service("soap", "soap", &everything),
        ];
        Ok(Plan {
            instance: INSTANCE.to_owned(),
            net,
            key: self.key,
            members: vec![
                PlannedMember {
                    id: consumer_member.clone(),
                    name: "Consumer".to_owned(),
                    subsystems: vec!["consumer".to_owned(), "stranger".to_owned()],
                },
                PlannedMember {
                    id: provider_member.clone(),
                    name: "Provider".to_owned(),
                    subsystems: vec!["provider".to_owned()],
                },
                PlannedMember {
                    id: hand_made_member.clone(),
                    name: "Hand-made".to_owned(),
                    subsystems: vec!["service".to_owned()],
                },
            ],
            servers: vec![
                PlannedServer {
                    id: ServerId::new(consumer_member, "ss1")?,
                    clients: vec![plain(CONSUMER)?, plain(STRANGER)?],
                    started: true,
                },
                PlannedServer {
                    id: ServerId::new(provider_member, "ss2")?,
                    clients: vec![provider],
                    started: true,
                },
                PlannedServer {
                    id: ServerId::new(hand_made_member, "hand")?,
                    clients: vec![plain(HAND_MADE_SERVICE)?],
                    started: false,
                },
            ],
            timing: self.timing,
            legacy_tls: self.legacy_tls,
        })
    }
}

/// Addresses that hardly any other test has at the same time.
fn draw_net() -> Net {
    let mut draw = [0; 2];
    SystemRandom.fill(&mut draw);
    let [x, y] = draw;
    // Not 127.0, where everybody lives.
    Net::new(x.clamp(1, 250), y)
}

/// The directory of X-Road's own test data, or `None` after saying that `test` is skipped. With `CI=true` its absence
/// fails the test.
///
/// # Panics
///
/// With `CI=true`, when the directory is not there.
#[must_use]
pub fn fixtures(test: &str) -> Option<std::path::PathBuf> {
    let dir = std::env::var_os("JIBEK_XROAD_FIXTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/xroad"),
        Into::into,
    );
    if dir.is_dir() {
        return Some(dir);
    }
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{test}: no test data in {}",
        dir.display()
    );
    #[expect(clippy::print_stdout, reason = "the runner counts these lines")]
    {
        println!("SKIPPED {test}: fixtures absent");
    }
    None
}
