//! `jibek-server.toml`: the literal file, then a checked [`Config`].

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use jibek_protocol::{
    id::ServerId,
    profile::{Profiles, RawProfile},
    version::Version,
};
use serde::Deserialize;
use toml::Spanned;

pub use keeping::Keeping;
pub(crate) use keeping::RawKeep;

use crate::{
    archiver::{ArchiveSettings, Grouping},
    keys::PinSource,
};

mod keeping;

/// Everything an operator decides. Paths are absolute or relative to the working directory; those in the file are relative to it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Who this server is (`instance/class/member/server code`).
    pub server: ServerId,
    /// What the server learns and its keys. Default `state`.
    pub state_dir: PathBuf,
    /// The message log. Default `log`.
    pub log_dir: PathBuf,
    /// Documents of the clients, one TOML file each. Default `clients`.
    pub clients_dir: PathBuf,
    /// The configuration anchor. Default `anchor.xml`.
    pub anchor: PathBuf,
    /// Where to listen.
    pub listen: Listen,
    /// How to speak with other servers.
    pub peers: PeerSettings,
    /// The software token.
    pub token: TokenSettings,
    /// Caps and deadlines.
    pub limits: Limits,
    /// `[message_log]`: what is kept of REST bodies once they have been delivered, where neither service nor client says
    /// otherwise. Default: all of them. Signature, length and digest of every body are always kept.
    pub keeping: Keeping,
    /// How messages share signatures.
    pub sealing: Sealing,
    /// When and how messages are time-stamped.
    pub timestamping: Timestamping,
    /// `[archive]`: archives of the message log, and how long records stay in it. Default: every 6 h into `archive`; 30 days.
    pub archive: ArchiveSettings,
    /// When and how the global configuration is fetched.
    pub configuration: Configuration,
    /// `[[certificate_profile]]`: profiles that the global configuration names and X-Road does not bring along. Default: none.
    pub profiles: Profiles,
}

/// `[listen]`: addresses of the listeners.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Listen {
    /// Consumers over plain HTTP. Default `127.0.0.1:8080`; an empty string switches it off.
    pub consumer_http: Option<SocketAddr>,
    /// Consumers over HTTPS. Default: off.
    pub consumer_https: Option<SocketAddr>,
    /// Other servers' messages. Default `0.0.0.0:5500`.
    pub peer: SocketAddr,
    /// Other servers' questions for OCSP answers. Default `0.0.0.0:5577`.
    pub ocsp: SocketAddr,
    /// Health, readiness and metrics. Default `127.0.0.1:9090`; an empty string switches it off.
    pub admin: Option<SocketAddr>,
}

/// `[peers]`: how to speak with other servers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerSettings {
    /// The port dialled for messages. Default 5500.
    pub port: u16,
    /// The port dialled for OCSP answers. Default 5577.
    pub ocsp_port: u16,
    /// Whether TLS 1.2 with CBC suites is spoken with peers that have nothing newer. Default true.
    pub legacy_tls: bool,
    /// Limit of a TCP connect. Default 30 s.
    pub connect_timeout: Duration,
    /// Limit of a TLS handshake, inbound and outbound. Default 15 s.
    pub handshake_timeout: Duration,
    /// Limit of fetching a peer's OCSP answers, connect included. Default 30 s.
    pub ocsp_timeout: Duration,
    /// Wait for the head of a peer's answer after the whole request was sent. Default 600 s.
    pub answer_timeout: Duration,
    /// How long an unused connection is kept. Default 60 s.
    pub idle_timeout: Duration,
    /// Unused connections kept for each peer. Default 1024.
    pub connections_per_peer: usize,
    /// How old a connection may get before it carries no further message. Default 3600 s.
    pub connection_age: Duration,
    /// How often one message is sent again when its connection was lost; 0 is never. Default 10.
    pub repeats: usize,
    /// How long after the first loss a message is sent again. Default 30 s.
    pub repeat_for: Duration,
    /// How long a request that was executed is recognised when it comes again, at least. Default 3600 s.
    pub once_for: Duration,
    /// The newest so many executed requests are recognised; older ones may be forgotten before `once_for` has passed. Default
    /// 450000, which take up to 18 MB.
    pub once_requests: usize,
    /// Servers that announce an older version are refused (`message-path.md` 4.2). Default: none is.
    pub minimum_version: Option<Version>,
}

/// `[token]`: where the PIN comes from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TokenSettings {
    /// `pin_file`, else the environment variable `JIBEK_PIN` when it is set, else a prompt.
    pub pin: PinSource,
    /// `slow_signature_ms`: lets every signature take so long, as in a slow device. For development, in no example. Default: none.
    pub signature_takes: Option<Duration>,
}

/// `[limits]`: caps and deadlines (`message-path.md` 7.1, 7.3; ours are finite where X-Road has none).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at once on each listener. Default 5000.
    pub connections: usize,
    /// Bytes of an HTTP header block. Default 16 KiB.
    pub header_bytes: usize,
    /// Bytes of a SOAP part. Default 10 MiB.
    pub soap_part_bytes: u64,
    /// Longest silence within a body. Default 60 s.
    pub body_stall: Duration,
    /// Bytes a second at which a request must come, after a first `body_stall`. Default 240.
    pub body_least_rate: u64,
    /// Bytes of a request read on after an early fault. Default 16 MiB.
    pub drain_bytes: u64,
    /// Time for which a request is read on after an early fault. Default 10 s.
    pub drain_time: Duration,
    /// How long an unused inbound connection is kept. Default 90 s (`message-path.md` 7.5, 4).
    pub idle_timeout: Duration,
    /// How long a shutdown waits for messages under way. Default 30 s.
    pub shutdown: Duration,
    /// Limit of a TCP connect to a provider. Default 10 s.
    pub provider_connect: Duration,
    /// Messages under way at once on each side. Default 1024; who comes when there are so many waits.
    pub messages: usize,
    /// Longest wait for one of these places; then a fault says so. Default 30 s.
    pub place_wait: Duration,
    /// Bytes of bodies under way in memory, all together. Default 64 MiB; where that is used up, bodies go through files of
    /// the message log, however small they are.
    pub body_memory: usize,
}

/// `[sealing]`: how messages share signatures.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Sealing {
    /// Messages that share one signature at most. Default 1024: a hash tree of 10 levels.
    pub messages: usize,
    /// Longest wait for company after the last signature ended. Default 10 ms; 0 for none. Who is alone never waits.
    pub wait: Duration,
}

/// `[timestamping]`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Timestamping {
    /// How long messages flow although no time-stamp can be had. Default 14400 s; 0 in the file means without end, here `None`.
    pub acceptable_failure_period: Option<Duration>,
    /// Records stamped at once. Default 10,000; each takes some 1 KB of memory meanwhile.
    pub records: usize,
    /// An authority that took so long without an answer is overtaken by the next. Default 5 s.
    pub overtaken_after: Duration,
    /// Overrides the interval of the global configuration.
    pub interval: Option<Duration>,
}

/// `[configuration]`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Configuration {
    /// Time between fetches. Default 60 s.
    pub interval: Duration,
    /// Partners whose configuration is fetched, too: instances, or `all`. Default: none.
    pub federations: Vec<String>,
}

/// Why a configuration file was refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", place(path, *line, reason))]
#[non_exhaustive]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1, when the reason has one.
    pub line: Option<usize>,
    /// The reason, without the offending value when it may be secret.
    pub reason: String,
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has unknown keys, or a value is out of its range; with the line.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
            path: path.to_owned(),
            line: None,
            reason: format!("cannot read: {}", error.kind()),
        })?;
        Self::parse(&text, path)
    }

    /// Checks the text of a file that lies at `path`; its relative paths start at the folder of `path`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let source = Source { text, path };
        let raw: RawConfig = toml::from_str(text).map_err(|error| source.toml_error(&error))?;
        raw.check(&source)
    }
}

/// A TOML document under check, to name the line of a fault.
pub(crate) struct Source<'a> {
    pub(crate) text: &'a str,
    pub(crate) path: &'a Path,
}

impl Source<'_> {
    pub(crate) fn toml_error(&self, error: &toml::de::Error) -> ConfigError {
        let line = error.span().map(|span| self.line(span.start));
        ConfigError {
            path: self.path.to_owned(),
            line,
            reason: error.message().trim().replace('\n', "; "),
        }
    }

    pub(crate) fn error<T>(&self, at: &Spanned<T>, reason: impl Into<String>) -> ConfigError {
        ConfigError {
            path: self.path.to_owned(),
            line: Some(self.line(at.span().start)),
            reason: reason.into(),
        }
    }

    fn line(&self, offset: usize) -> usize {
        self.text
            .bytes()
            .take(offset)
            .filter(|byte| *byte == b'\n')
            .count()
            + 1
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    server: Spanned<String>,
    state_dir: Option<PathBuf>,
    log_dir: Option<PathBuf>,
    clients_dir: Option<PathBuf>,
    anchor: Option<PathBuf>,
    #[serde(default)]
    listen: RawListen,
    #[serde(default)]
    peers: RawPeers,
    #[serde(default)]
    token: RawToken,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    message_log: RawMessageLog,
    #[serde(default)]
    sealing: RawSealing,
    #[serde(default)]
    timestamping: RawTimestamping,
    #[serde(default)]
    archive: RawArchive,
    #[serde(default)]
    configuration: RawConfiguration,
    #[serde(default)]
    certificate_profile: Vec<RawProfile>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListen {
    consumer_http: Option<Spanned<String>>,
    consumer_https: Option<Spanned<String>>,
    peer: Option<Spanned<String>>,
    ocsp: Option<Spanned<String>>,
    admin: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPeers {
    port: Option<u16>,
    ocsp_port: Option<u16>,
    legacy_tls: Option<bool>,
    connect_timeout_seconds: Option<Spanned<u64>>,
    handshake_timeout_seconds: Option<Spanned<u64>>,
    ocsp_timeout_seconds: Option<Spanned<u64>>,
    answer_timeout_seconds: Option<Spanned<u64>>,
    idle_timeout_seconds: Option<Spanned<u64>>,
    connections_per_peer: Option<Spanned<u64>>,
    connection_age_seconds: Option<Spanned<u64>>,
    repeats: Option<Spanned<u64>>,
    repeat_seconds: Option<Spanned<u64>>,
    once_seconds: Option<Spanned<u64>>,
    once_requests: Option<Spanned<u64>>,
    minimum_version: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToken {
    pin_file: Option<PathBuf>,
    slow_signature_ms: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    connections: Option<Spanned<u64>>,
    header_bytes: Option<Spanned<u64>>,
    soap_part_bytes: Option<Spanned<u64>>,
    body_stall_seconds: Option<Spanned<u64>>,
    body_least_bytes_per_second: Option<Spanned<u64>>,
    drain_bytes: Option<Spanned<u64>>,
    drain_seconds: Option<Spanned<u64>>,
    idle_timeout_seconds: Option<Spanned<u64>>,
    shutdown_seconds: Option<Spanned<u64>>,
    provider_connect_seconds: Option<Spanned<u64>>,
    messages: Option<Spanned<u64>>,
    place_wait_seconds: Option<Spanned<u64>>,
    body_memory_bytes: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMessageLog {
    request_bodies: Option<RawKeep>,
    answer_bodies: Option<RawKeep>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSealing {
    messages: Option<Spanned<u64>>,
    wait_milliseconds: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTimestamping {
    acceptable_failure_period_seconds: Option<u64>,
    records: Option<Spanned<u64>>,
    overtake_seconds: Option<Spanned<u64>>,
    interval_seconds: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawArchive {
    directory: Option<PathBuf>,
    interval_seconds: Option<Spanned<u64>>,
    max_file_bytes: Option<Spanned<u64>>,
    #[serde(default)]
    grouping: Grouping,
    keep_days: Option<Spanned<u64>>,
    #[serde(default)]
    remove_unarchived: bool,
    #[serde(default)]
    recipients: Vec<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfiguration {
    interval_seconds: Option<Spanned<u64>>,
    #[serde(default)]
    federations: Vec<String>,
}

impl RawConfig {
    fn check(self, source: &Source<'_>) -> Result<Config, ConfigError> {
        let server = ServerId::from_header(self.server.get_ref()).map_err(|error| {
            source.error(
                &self.server,
                format!("server is not instance/class/member/code: {error}"),
            )
        })?;
        let folder = source.path.parent().unwrap_or(Path::new(""));
        let path = |given: Option<PathBuf>, default: &str| {
            folder.join(given.unwrap_or_else(|| PathBuf::from(default)))
        };
        let number = |given: &Option<Spanned<u64>>, default: u64, least: u64, most: u64| {
            in_range(source, given.as_ref(), default, least, most)
        };
        let seconds = |given: &Option<Spanned<u64>>, default: u64| {
            number(given, default, 1, MOST_SECONDS).map(Duration::from_secs)
        };
        let count = |given: &Option<Spanned<u64>>, default: u64, least: u64, most: u64| {
            number(given, default, least, most)
                .map(|value| usize::try_from(value).unwrap_or(usize::MAX))
        };
        let state_dir = path(self.state_dir, "state");
        let peers = &self.peers;
        let limits = &self.limits;
        let stamping = &self.timestamping;
        let period = stamping.acceptable_failure_period_seconds.unwrap_or(14_400);
        let profiles = Profiles::new(&self.certificate_profile).map_err(|error| ConfigError {
            path: source.path.to_owned(),
            line: None,
            reason: error.to_string(),
        })?;
        Ok(Config {
            profiles,
            server,
            state_dir: state_dir.clone(),
            log_dir: path(self.log_dir, "log"),
            clients_dir: path(self.clients_dir, "clients"),
            anchor: path(self.anchor, "anchor.xml"),
            listen: self.listen.check(source)?,
            peers: PeerSettings {
                port: peers.port.unwrap_or(5500),
                ocsp_port: peers.ocsp_port.unwrap_or(5577),
                legacy_tls: peers.legacy_tls.unwrap_or(true),
                connect_timeout: seconds(&peers.connect_timeout_seconds, 30)?,
                handshake_timeout: seconds(&peers.handshake_timeout_seconds, 15)?,
                ocsp_timeout: seconds(&peers.ocsp_timeout_seconds, 30)?,
                answer_timeout: seconds(&peers.answer_timeout_seconds, 600)?,
                idle_timeout: seconds(&peers.idle_timeout_seconds, 60)?,
                connections_per_peer: count(&peers.connections_per_peer, 1024, 1, 10_000)?,
                connection_age: seconds(&peers.connection_age_seconds, 3600)?,
                repeats: count(&peers.repeats, 10, 0, 1000)?,
                repeat_for: seconds(&peers.repeat_seconds, 30)?,
                once_for: seconds(&peers.once_seconds, 3600)?,
                once_requests: count(&peers.once_requests, 450_000, 1000, 100_000_000)?,
                minimum_version: peers
                    .minimum_version
                    .as_ref()
                    .map(|given| {
                        Version::parse(given.get_ref())
                            .map_err(|_| source.error(given, "a version is written as 7.4.0"))
                    })
                    .transpose()?,
            },
            token: TokenSettings {
                pin: match self.token.pin_file {
                    Some(file) => PinSource::File(folder.join(file)),
                    None => PinSource::EnvironmentOrPrompt,
                },
                signature_takes: self
                    .token
                    .slow_signature_ms
                    .map(|millis| Duration::from_millis(millis.into())),
            },
            limits: Limits {
                connections: count(&limits.connections, 5000, 1, 1_000_000)?,
                header_bytes: count(&limits.header_bytes, 16 * 1024, 8192, 1024 * 1024)?,
                soap_part_bytes: number(&limits.soap_part_bytes, 10 * MIB, 1024, 1024 * MIB)?,
                body_stall: seconds(&limits.body_stall_seconds, 60)?,
                body_least_rate: number(&limits.body_least_bytes_per_second, 240, 1, 1024 * MIB)?,
                drain_bytes: number(&limits.drain_bytes, 16 * MIB, 0, 1024 * MIB)?,
                drain_time: seconds(&limits.drain_seconds, 10)?,
                idle_timeout: seconds(&limits.idle_timeout_seconds, 90)?,
                shutdown: seconds(&limits.shutdown_seconds, 30)?,
                provider_connect: seconds(&limits.provider_connect_seconds, 10)?,
                messages: count(&limits.messages, 1024, 1, 1_000_000)?,
                place_wait: seconds(&limits.place_wait_seconds, 30)?,
                body_memory: count(&limits.body_memory_bytes, 64 * MIB, 0, 1024 * 1024 * MIB)?,
            },
            keeping: Keeping::new(
                self.message_log.request_bodies,
                self.message_log.answer_bodies,
            ),
            sealing: Sealing {
                messages: count(&self.sealing.messages, 1024, 1, 65_536)?,
                wait: number(&self.sealing.wait_milliseconds, 10, 0, 1000)
                    .map(Duration::from_millis)?,
            },
            timestamping: Timestamping {
                acceptable_failure_period: (period > 0).then(|| Duration::from_secs(period)),
                records: count(&stamping.records, 10_000, 1, 100_000)?,
                overtaken_after: seconds(&stamping.overtake_seconds, 5)?,
                interval: stamping
                    .interval_seconds
                    .as_ref()
                    .map(|given| {
                        in_range(source, Some(given), 0, 1, MOST_SECONDS).map(Duration::from_secs)
                    })
                    .transpose()?,
            },
            archive: ArchiveSettings {
                directory: match self.archive.directory {
                    Some(given) if given.as_os_str().is_empty() => None,
                    given => Some(path(given, "archive")),
                },
                state_dir,
                interval: seconds(&self.archive.interval_seconds, 6 * 3600)?,
                max_file_bytes: number(
                    &self.archive.max_file_bytes,
                    32 * MIB,
                    1,
                    1024 * 1024 * MIB,
                )?,
                grouping: self.archive.grouping,
                keep: match number(&self.archive.keep_days, 30, 0, 36_500)? {
                    0 => None,
                    days => Some(Duration::from_secs(days * 86_400)),
                },
                remove_unarchived: self.archive.remove_unarchived,
                recipients: self
                    .archive
                    .recipients
                    .into_iter()
                    .map(|file| folder.join(file))
                    .collect(),
                ..ArchiveSettings::new(None, PathBuf::new())
            },
            configuration: Configuration {
                interval: seconds(&self.configuration.interval_seconds, 60)?,
                federations: self.configuration.federations,
            },
        })
    }
}

impl RawListen {
    fn check(&self, source: &Source<'_>) -> Result<Listen, ConfigError> {
        let optional = |given: &Option<Spanned<String>>, default: &str| match given {
            Some(given) if given.get_ref().is_empty() => Ok(None),
            Some(given) => address(source, given).map(Some),
            None => Ok(default.parse().ok()),
        };
        let needed = |given: &Option<Spanned<String>>, port: u16| match given {
            Some(given) => address(source, given),
            None => Ok(SocketAddr::from(([0, 0, 0, 0], port))),
        };
        Ok(Listen {
            consumer_http: optional(&self.consumer_http, "127.0.0.1:8080")?,
            consumer_https: optional(&self.consumer_https, "")?,
            peer: needed(&self.peer, 5500)?,
            ocsp: needed(&self.ocsp, 5577)?,
            admin: optional(&self.admin, "127.0.0.1:9090")?,
        })
    }
}

fn address(source: &Source<'_>, given: &Spanned<String>) -> Result<SocketAddr, ConfigError> {
    given.get_ref().parse().map_err(|_| {
        source.error(
            given,
            format!("`{}` is not an address and port", given.get_ref()),
        )
    })
}

fn in_range(
    source: &Source<'_>,
    given: Option<&Spanned<u64>>,
    default: u64,
    least: u64,
    most: u64,
) -> Result<u64, ConfigError> {
    match given {
        Some(given) if !(least..=most).contains(given.get_ref()) => Err(source.error(
            given,
            format!("{} is not between {least} and {most}", given.get_ref()),
        )),
        Some(given) => Ok(*given.get_ref()),
        None => Ok(default),
    }
}

fn place(path: &Path, line: Option<usize>, reason: &str) -> String {
    match line {
        Some(line) => format!("{}:{line}: {reason}", path.display()),
        None => format!("{}: {reason}", path.display()),
    }
}

const MIB: u64 = 1024 * 1024;
/// A week: longer waits are mistakes of unit.
const MOST_SECONDS: u64 = 7 * 24 * 3600;

#[cfg(test)]
mod tests;
