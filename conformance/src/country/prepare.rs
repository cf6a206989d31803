//! A plan as files: keys, certificates, and the configuration of every program.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use jibek_certs::{Certificate, time::Clock};
use jibek_conf::files::{atomic_write, create_dir_durably};
use jibek_dev_pki::DevPki;
use jibek_protocol::id::{ClientId, MemberId};
use jibek_registry::Registry;
use jibek_server::keys::{KeyUsage, Pin, Token};

use super::plan::{Plan, PlannedClient, PlannedServer};

/// The PIN of every server of a sandbox. Real servers read theirs from where their operator keeps it.
pub const PIN: &str = "jibek-sandbox";

/// Why a country could not be prepared.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare {what}: {reason}")]
pub struct PrepareError {
    what: String,
    reason: String,
}

impl PrepareError {
    pub(super) fn new(what: impl Into<String>, error: &dyn std::error::Error) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason.push_str(": ");
            reason.push_str(&cause.to_string());
            source = cause.source();
        }
        Self {
            what: what.into(),
            reason,
        }
    }
}

/// A plan as files in a directory.
#[derive(Debug)]
pub struct Prepared {
    pub(super) plan: Plan,
    pub(super) dir: PathBuf,
    pub(super) pki: Arc<DevPki>,
}

impl Prepared {
    /// Writes everything with which each program runs as a process of its own. Keys of an earlier start are kept.
    ///
    /// # Errors
    ///
    /// [`PrepareError`] names what could not be made.
    pub fn make(plan: Plan, dir: &Path, clock: &Arc<dyn Clock>) -> Result<Self, PrepareError> {
        let now = clock.now();
        directory(dir)?;
        let pki_dir = dir.join("pki");
        let pki = DevPki::open_or_create(&pki_dir, plan.key, now)
            .map_err(|error| PrepareError::new("the development PKI", &error))?;
        let prepared = Self {
            plan,
            dir: dir.to_owned(),
            pki: Arc::new(pki),
        };
        let auth = prepared.tokens(clock)?;
        prepared.registry_file(&auth)?;
        let registry = Registry::open(prepared.registry_config(), Arc::clone(clock))
            .map_err(|error| PrepareError::new("the registry", &error))?;
        let anchor = registry
            .internal_anchor()
            .map_err(|error| PrepareError::new("the anchor", &error))?;
        for (index, server) in prepared.plan.servers.iter().enumerate() {
            prepared.server_files(index, server, anchor.bytes())?;
        }
        write(&dir.join("addresses.json"), &prepared.addresses())?;
        Ok(prepared)
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The development PKI.
    #[must_use]
    pub fn pki(&self) -> &Arc<DevPki> {
        &self.pki
    }

    /// Where everything lies.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The registry's file.
    #[must_use]
    pub fn registry_config(&self) -> PathBuf {
        self.dir.join("registry").join("registry.toml")
    }

    /// The directory of a server: its file, clients, keys, log.
    #[must_use]
    pub fn server_dir(&self, server: &PlannedServer) -> PathBuf {
        self.dir.join("servers").join(server.id.code())
    }

    /// Registers one more authentication certificate for a server, under a file name of its own. To be done before the
    /// registry starts.
    ///
    /// # Errors
    ///
    /// [`PrepareError`] when a file cannot be read or written.
    pub fn register(
        &self,
        server: &PlannedServer,
        name: &str,
        certificate: &Certificate,
    ) -> Result<(), PrepareError> {
        let path = self.registry_config();
        let file = format!("{name}.pem");
        write(&path.with_file_name(&file), &certificate.to_pem())?;
        let text = std::fs::read_to_string(&path)
            .map_err(|error| PrepareError::new("the registry's file", &error))?;
        let own = format!("\"{}-auth.pem\"", server.id.code());
        write(&path, &text.replace(&own, &format!("{own}, \"{file}\"")))
    }

    /// Keys and certificates of every server; returns the authentication certificates. RSA keys take their time, so each
    /// server's are made in a thread of its own.
    fn tokens(&self, clock: &Arc<dyn Clock>) -> Result<Vec<Certificate>, PrepareError> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .plan
                .servers
                .iter()
                .map(|server| scope.spawn(move || self.token(server, clock)))
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread.join().unwrap_or_else(|_| {
                        Err(PrepareError {
                            what: "the keys of a server".to_owned(),
                            reason: "the thread that made them ended".to_owned(),
                        })
                    })
                })
                .collect()
        })
    }

    /// Keys and certificates of one server, those of an earlier start if they are still valid; returns the
    /// authentication certificate.
    fn token(
        &self,
        server: &PlannedServer,
        clock: &Arc<dyn Clock>,
    ) -> Result<Certificate, PrepareError> {
        let what = || format!("the keys of server {}", server.id.code());
        let dir = self.server_dir(server).join("state").join("token");
        directory(&dir)?;
        let pin = Pin::new(PIN).map_err(|error| PrepareError::new(what(), &error))?;
        let token = if Token::exists(&dir) {
            Token::open(&dir, &pin)
        } else {
            Token::create(&dir, &pin)
        }
        .map_err(|error| PrepareError::new(what(), &error))?;
        let now = clock.now();
        let mut have = token.entries();
        have.retain(|entry| entry.certificates.iter().any(|one| one.is_valid_at(now)));
        let existing = |usage: KeyUsage, member: Option<&MemberId>| {
            have.iter()
                .filter(|entry| entry.usage == usage)
                .flat_map(|entry| entry.certificates.iter())
                .find(|certificate| {
                    member.is_none_or(|member| {
                        let attributes = certificate.subject().attributes();
                        attributes.iter().any(|(_, value)| value == member.code())
                    })
                })
                .cloned()
        };
        for member in members_of(server) {
            if existing(KeyUsage::Sign, Some(&member)).is_none() {
                self.issue(&token, KeyUsage::Sign, server, &member, clock)?;
            }
        }
        match existing(KeyUsage::Auth, None) {
            Some(certificate) => Ok(certificate),
            None => self.issue(&token, KeyUsage::Auth, server, server.id.owner(), clock),
        }
    }

    /// As an operator would: key, request, certificate, import.
    fn issue(
        &self,
        token: &Token,
        usage: KeyUsage,
        server: &PlannedServer,
        member: &MemberId,
        clock: &Arc<dyn Clock>,
    ) -> Result<Certificate, PrepareError> {
        let what = || format!("a key of server {}", server.id.code());
        let name = self
            .plan
            .members
            .iter()
            .find(|one| one.id == *member)
            .map_or_else(|| member.code().to_owned(), |one| one.name.clone());
        let common_name = match usage {
            KeyUsage::Auth => server.id.code(),
            KeyUsage::Sign => member.code(),
        };
        let subject = [
            ("C", "KG"),
            ("O", name.as_str()),
            ("businessCategory", member.class()),
            ("CN", common_name),
            ("serialNumber", member.code()),
        ];
        let key = token
            .generate(usage, self.plan.key)
            .map_err(|error| PrepareError::new(what(), &error))?;
        let csr = token
            .csr(&key, &subject)
            .map_err(|error| PrepareError::new(what(), &error))?;
        let now = clock.now();
        let certificate = match usage {
            KeyUsage::Auth => self.pki.issue_auth(&csr, None, now),
            KeyUsage::Sign => self.pki.issue_sign(&csr, None, now),
        }
        .map_err(|error| PrepareError::new(what(), &error))?;
        token
            .import(&certificate)
            .map_err(|error| PrepareError::new(what(), &error))?;
        Ok(certificate)
    }

    fn registry_file(&self, auth: &[Certificate]) -> Result<(), PrepareError> {
        let dir = self.dir.join("registry");
        directory(&dir)?;
        let certificates = [
            ("root-ca.pem", self.pki.root_ca()),
            ("issuing-ca.pem", self.pki.issuing_ca()),
            ("ocsp.pem", self.pki.ocsp_certificate()),
            ("root-ocsp.pem", self.pki.root_ocsp_certificate()),
            ("tsa.pem", self.pki.tsa_certificate()),
        ];
        for (file, certificate) in certificates {
            write(&dir.join(file), &certificate.to_pem())?;
        }
        for (server, certificate) in self.plan.servers.iter().zip(auth) {
            let file = format!("{}-auth.pem", server.id.code());
            write(&dir.join(file), &certificate.to_pem())?;
        }
        let path = self.registry_config();
        if path.exists() {
            return Ok(()); // the operator's, and perhaps edited
        }
        write(&path, &self.registry_toml())
    }

    fn registry_toml(&self) -> String {
        let plan = &self.plan;
        let pki = plan.net.pki();
        let mut text = String::new();
        let registry = plan.net.registry();
        let timing = &plan.timing;
        let _ = write!(
            text,
            "# The registry of the sandbox. It reads this file again when it changes.\n\
             instance = {:?}\nlisten = \"{registry}\"\naddress = \"{registry}\"\nstate_dir = \"state\"\n\
             publish_interval_seconds = {}\nvalidity_seconds = {}\nocsp_freshness_seconds = {}\n\n",
            plan.instance,
            timing.publish.as_secs(),
            timing.validity.as_secs(),
            timing.ocsp_freshness.as_secs(),
        );
        let mut classes: Vec<_> = plan.members.iter().map(|one| one.id.class()).collect();
        classes.sort_unstable();
        classes.dedup();
        for class in classes {
            let _ = write!(
                text,
                "[[member_class]]\ncode = {class:?}\ndescription = {class:?}\n\n"
            );
        }
        for member in &plan.members {
            let subsystems: Vec<_> = member
                .subsystems
                .iter()
                .map(|code| format!("{{ code = {code:?} }}"))
                .collect();
            let _ = write!(
                text,
                "[[member]]\nclass = {:?}\ncode = {:?}\nname = {:?}\nsubsystems = [{}]\n\n",
                member.id.class(),
                member.id.code(),
                member.name,
                subsystems.join(", ")
            );
        }
        for (index, server) in plan.servers.iter().enumerate() {
            let clients: Vec<_> = server
                .clients
                .iter()
                .filter(|client| client.id != ClientId::Member(server.id.owner().clone()))
                .map(|client| format!("{:?}", without_instance(&client.id)))
                .collect();
            let _ = write!(
                text,
                "[[server]]\nowner = \"{}/{}\"\ncode = {:?}\naddress = \"{}\"\n\
                 auth_certificates = [\"{}-auth.pem\"]\nclients = [{}]\n\n",
                server.id.owner().class(),
                server.id.owner().code(),
                server.id.code(),
                plan.net.server(index),
                server.id.code(),
                clients.join(", ")
            );
        }
        let ocsp = |certificate: &str| {
            format!("[{{ url = \"http://{pki}/ocsp\", certificate = \"{certificate}\" }}]")
        };
        let (root_ocsp, ocsp) = (ocsp("root-ocsp.pem"), ocsp("ocsp.pem"));
        let _ = write!(
            text,
            "[[ca]]\nname = \"Sandbox CA\"\ncertificate = \"root-ca.pem\"\nprofile = \"Basic\"\nocsp = {root_ocsp}\n\
             intermediates = [{{ certificate = \"issuing-ca.pem\", ocsp = {ocsp} }}]\n\n\
             [[tsa]]\nname = \"Sandbox TSA\"\nurl = \"http://{pki}/tsa\"\ncertificate = \"tsa.pem\"\n\n"
        );
        if let Some(server) = plan.servers.first() {
            let _ = write!(
                text,
                "[management]\nprovider = \"{}/{}\"\n",
                server.id.owner().class(),
                server.id.owner().code()
            );
        }
        text
    }

    fn server_files(
        &self,
        index: usize,
        server: &PlannedServer,
        anchor: &[u8],
    ) -> Result<(), PrepareError> {
        let dir = self.server_dir(server);
        directory(&dir.join("clients"))?;
        let anchor = String::from_utf8_lossy(anchor);
        write(&dir.join("anchor.xml"), &anchor)?;
        write(
            &dir.join("jibek-server.toml"),
            &self.server_toml(index, server),
        )?;
        for client in &server.clients {
            let file = format!(
                "{}.toml",
                client.id.subsystem().unwrap_or(client.id.member().code())
            );
            write(&dir.join("clients").join(file), &client_toml(client))?;
        }
        Ok(())
    }

    fn server_toml(&self, index: usize, server: &PlannedServer) -> String {
        use super::plan::Net;
        let address = self.plan.net.server(index);
        let timing = &self.plan.timing;
        let mut text = format!(
            "server = \"{}\"\nstate_dir = \"state\"\nlog_dir = \"log\"\nclients_dir = \"clients\"\nanchor = \"anchor.xml\"\n\n\
             [listen]\nconsumer_http = \"{address}:{}\"\nconsumer_https = \"{address}:{}\"\n\
             peer = \"{address}:{}\"\nocsp = \"{address}:{}\"\nadmin = \"{address}:{}\"\n\n\
             [peers]\nport = {}\nocsp_port = {}\nlegacy_tls = {}\n\n\
             [configuration]\ninterval_seconds = {}\n\n\
             [timestamping]\nacceptable_failure_period_seconds = {}\n",
            server.id.to_header(),
            Net::HTTP_PORT,
            Net::HTTPS_PORT,
            Net::PEER_PORT,
            Net::OCSP_PORT,
            Net::ADMIN_PORT,
            Net::PEER_PORT,
            Net::OCSP_PORT,
            self.plan.legacy_tls,
            timing.fetch.as_secs(),
            timing.acceptable_failure.as_secs(),
        );
        if let Some(interval) = timing.stamping {
            let _ = writeln!(text, "interval_seconds = {}", interval.as_secs());
        }
        text
    }

    /// Every URL, client and service, for programs that want to call.
    fn addresses(&self) -> String {
        use super::plan::Net;
        let plan = &self.plan;
        let servers: Vec<_> = plan
            .servers
            .iter()
            .enumerate()
            .map(|(index, server)| {
                let address = plan.net.server(index);
                let clients: Vec<_> = server
                    .clients
                    .iter()
                    .map(|client| {
                        let services: Vec<_> = client
                            .services
                            .iter()
                            .map(|service| {
                                serde_json::json!({
                                    "code": service.code,
                                    "kind": service.kind,
                                    "url": service.url,
                                })
                            })
                            .collect();
                        serde_json::json!({ "client": client.id.to_header(), "services": services })
                    })
                    .collect();
                serde_json::json!({
                    "server": server.id.to_header(),
                    "consumer_http": format!("http://{address}:{}", Net::HTTP_PORT),
                    "consumer_https": format!("https://{address}:{}", Net::HTTPS_PORT),
                    "peer": format!("{address}:{}", Net::PEER_PORT),
                    "ocsp": format!("http://{address}:{}", Net::OCSP_PORT),
                    "admin": format!("http://{address}:{}", Net::ADMIN_PORT),
                    "directory": self.server_dir(server),
                    "clients": clients,
                })
            })
            .collect();
        let document = serde_json::json!({
            "instance": plan.instance,
            "registry": {
                "internal": format!("http://{}/internalconf", plan.net.registry()),
                "external": format!("http://{}/externalconf", plan.net.registry()),
                "anchor": format!("http://{}/anchor/internal", plan.net.registry()),
                "file": self.registry_config(),
            },
            "pki": {
                "ocsp": format!("http://{}/ocsp", plan.net.pki()),
                "tsa": format!("http://{}/tsa", plan.net.pki()),
            },
            "servers": servers,
        });
        format!("{document:#}\n")
    }
}

/// The members that need a sign key on a server: owner and members of its clients.
fn members_of(server: &PlannedServer) -> Vec<MemberId> {
    let mut members = vec![server.id.owner().clone()];
    for client in &server.clients {
        let member = client.id.member();
        if !members.contains(member) {
            members.push(member.clone());
        }
    }
    members
}

fn without_instance(client: &ClientId) -> String {
    let member = client.member();
    let mut text = format!("{}/{}", member.class(), member.code());
    if let Some(subsystem) = client.subsystem() {
        text.push('/');
        text.push_str(subsystem);
    }
    text
}

/// The document of a client, as an operator would write it.
fn client_toml(client: &PlannedClient) -> String {
    let mut text = format!(
        "client = {:?}\nconnection = {:?}\n",
        client.id.to_header(),
        client.connection
    );
    for service in &client.services {
        let _ = write!(
            text,
            "\n[[service]]\ncode = {:?}\nkind = {:?}\nurl = {:?}\ntimeout_seconds = {}\n",
            service.code,
            service.kind,
            service.url,
            service.timeout.as_secs()
        );
        for allow in &service.allow {
            let _ = write!(
                text,
                "\n[[service.allow]]\nsubject = {:?}\nmethod = {:?}\npath = {:?}\n",
                allow.subject, allow.method, allow.path
            );
        }
    }
    text
}

fn directory(path: &Path) -> Result<(), PrepareError> {
    create_dir_durably(path).map_err(|error| PrepareError::new(path.display().to_string(), &error))
}

fn write(path: &Path, text: &str) -> Result<(), PrepareError> {
    atomic_write(path, text.as_bytes())
        .map_err(|error| PrepareError::new(path.display().to_string(), &error))
}
