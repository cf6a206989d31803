//! What the server counts, in the words of Prometheus (OpenMetrics text at `/metrics`).
//!
//! Families are named `jibek_*` and carry their unit. Labels have a closed set of values, except the fault
//! code, which may come from a peer: there the number of distinct values is bounded ([`MOST_CODES`]).
//! Nothing that names a person, a message or a body is ever a label.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64},
    },
};

use self::counts::Counts;
use crate::tls::Stack;
use prometheus_client::{
    collector::Collector,
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};

pub use self::sampled::{Sample, Sampled};

#[cfg(feature = "count-allocations")]
mod allocations;
mod counts;
mod sampled;

/// All families of one server; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

impl Metrics {
    /// Registers every family.
    #[must_use]
    pub fn new() -> Self {
        let exchanges = Family::<ExchangeLabels, Counter>::default();
        let duration = Family::<DurationLabels, Histogram, fn() -> Histogram>::new_with_constructor(
            duration_buckets,
        );
        let faults = Family::<FaultLabels, Counter>::default();
        let bytes = Family::<ByteLabels, Counter>::default();
        let in_flight = Family::<SideLabels, Gauge>::default();
        let peer_connections = Family::<PeerLabels, Counter>::default();
        let peer_checks = Family::<CheckLabels, Counter>::default();
        let repeats = Family::<RepeatLabels, Counter>::default();
        let stamps = Family::<StampLabels, Counter>::default();
        let ocsp_fetches = Family::<OutcomeLabels, Counter>::default();
        let refreshes = Family::<OutcomeLabels, Counter>::default();
        let reloads = Family::<OutcomeLabels, Counter>::default();
        let stamped_records = Counter::<u64, AtomicU64>::default();

        let mut registry = Registry::with_prefix("jibek");
        registry.register(
            "build",
            "Version of the running program",
            Info::new(BuildLabels {
                version: env!("CARGO_PKG_VERSION").to_owned(),
            }),
        );
        registry.register(
            "exchanges",
            "Exchanges that ended, by side, kind and outcome",
            exchanges.clone(),
        );
        registry.register_with_unit(
            "exchange_duration",
            "Time from the first byte of the request to the last of the answer",
            Unit::Seconds,
            duration.clone(),
        );
        registry.register("faults", "Faults given, by side and code", faults.clone());
        registry.register_with_unit(
            "message",
            "Bytes of message bodies, by side and direction of flow",
            Unit::Bytes,
            bytes.clone(),
        );
        registry.register("in_flight", "Exchanges under way", in_flight.clone());
        registry.register(
            "peer_connections",
            "Uses of a connection to or from another server",
            peer_connections.clone(),
        );
        registry.register(
            "peer_checks",
            "Judgements on certificates of other servers and their members, by outcome",
            peer_checks.clone(),
        );
        registry.register(
            "repeats",
            "Messages sent or received more than once, by what came of it",
            repeats.clone(),
        );
        registry.register(
            "stamp_batches",
            "Time-stamp requests, by outcome",
            stamps.clone(),
        );
        registry.register(
            "stamped_records",
            "Records that got a time-stamp",
            stamped_records.clone(),
        );
        registry.register(
            "ocsp_fetches",
            "OCSP answers asked for the server's own certificates",
            ocsp_fetches.clone(),
        );
        registry.register(
            "configuration_refreshes",
            "Downloads of the global configuration",
            refreshes.clone(),
        );
        registry.register(
            "clients_reloads",
            "Reloads of the client documents",
            reloads.clone(),
        );
        registry.register_collector(Box::new(Sampled::gauge(
            "process_resident_memory",
            "Resident memory of the process",
            Some(Unit::Bytes),
            || resident_memory_bytes().map(Sample::from),
        )));
        registry.register_collector(Box::new(Sampled::counter(
            "copied_body",
            "Bytes of message bodies and parts copied from memory to memory; TLS and the kernel not counted",
            Some(Unit::Bytes),
            || Some(Sample::from(jibek_protocol::copied::total())),
        )));
        let metrics = Self {
            inner: Arc::new(Inner {
                counts: Counts::register(&mut registry),
                registry: Mutex::new(registry),
                codes: Mutex::new(HashSet::new()),
                exchanges,
                duration,
                faults,
                bytes,
                in_flight,
                peer_connections,
                peer_checks,
                repeats,
                stamps,
                stamped_records,
                ocsp_fetches,
                refreshes,
                reloads,
            }),
        };
        #[cfg(feature = "count-allocations")]
        metrics.register_allocations();
        metrics
    }

    /// Writes everything as OpenMetrics text (media type [`CONTENT_TYPE`]).
    #[must_use]
    pub fn render(&self) -> String {
        let registry = self
            .inner
            .registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        // Writing to a string cannot fail; a collector that does leaves a cut text.
        let _written = text::encode(&mut out, &registry);
        out
    }

    /// Adds values that are read when somebody asks for them.
    pub fn register_collector(&self, collector: Box<dyn Collector>) {
        self.inner
            .registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .register_collector(collector);
    }

    /// Counts one exchange that ended after `seconds`.
    pub fn exchange(&self, side: SideLabel, kind: KindLabel, outcome: &Outcome<'_>, seconds: f64) {
        let word = match outcome {
            Outcome::Fault(code) => {
                self.inner
                    .faults
                    .get_or_create(&FaultLabels {
                        side,
                        code: self.bounded_code(code),
                    })
                    .inc();
                OutcomeLabel::Fault
            }
            Outcome::Ok => OutcomeLabel::Ok,
        };
        self.inner
            .exchanges
            .get_or_create(&ExchangeLabels {
                side,
                kind,
                outcome: word,
            })
            .inc();
        self.inner
            .duration
            .get_or_create(&DurationLabels { side, kind })
            .observe(seconds);
    }

    /// Adds `count` bytes of message bodies.
    pub fn bytes(&self, side: SideLabel, flow: FlowLabel, count: u64) {
        self.inner
            .bytes
            .get_or_create(&ByteLabels { side, flow })
            .inc_by(count);
    }

    /// Counts an exchange as under way until the guard is dropped.
    #[must_use]
    pub fn in_flight(&self, side: SideLabel) -> InFlightGauge {
        let gauge = self
            .inner
            .in_flight
            .get_or_create_owned(&SideLabels { side });
        gauge.inc();
        InFlightGauge { gauge }
    }

    /// Exchanges under way on both sides.
    #[must_use]
    pub fn under_way(&self) -> usize {
        let sides = [SideLabel::Consumer, SideLabel::Provider];
        let sum = sides.map(|side| {
            let gauge = self.inner.in_flight.get(&SideLabels { side });
            gauge.map_or(0, |gauge| gauge.get())
        });
        usize::try_from(sum.iter().sum::<i64>()).unwrap_or_default()
    }

    /// Counts the use of a connection to or from another server.
    pub fn peer_connection(&self, stack: TlsStackLabel, way: WayLabel, reused: bool) {
        let use_ = if reused {
            ReuseLabel::Reused
        } else {
            ReuseLabel::New
        };
        self.inner
            .peer_connections
            .get_or_create(&PeerLabels {
                stack,
                way,
                connection: use_,
            })
            .inc();
    }

    /// Counts a judgement on a certificate of another server or its member.
    pub fn peer_check(&self, outcome: CheckLabel) {
        self.inner
            .peer_checks
            .get_or_create(&CheckLabels { outcome })
            .inc();
    }

    /// Counts a message that was repeated: on the consumer's side by us, on the provider's side by a peer.
    pub fn repeat(&self, side: SideLabel, outcome: RepeatLabel) {
        self.inner
            .repeats
            .get_or_create(&RepeatLabels { side, outcome })
            .inc();
    }

    /// Counts a batch of `records` that was, or was not, time-stamped.
    pub fn stamp_batch(&self, ok: bool, records: usize) {
        self.inner
            .stamps
            .get_or_create(&StampLabels {
                outcome: OutcomeLabel::of(ok),
            })
            .inc();
        if ok {
            self.inner
                .stamped_records
                .inc_by(u64::try_from(records).unwrap_or(u64::MAX));
        }
    }

    /// Counts a request for an OCSP answer about one of our own certificates.
    pub fn ocsp_fetch(&self, ok: bool) {
        self.inner
            .ocsp_fetches
            .get_or_create(&OutcomeLabels {
                outcome: OutcomeLabel::of(ok),
            })
            .inc();
    }

    /// Counts a download of the global configuration.
    pub fn configuration_refresh(&self, ok: bool) {
        self.inner
            .refreshes
            .get_or_create(&OutcomeLabels {
                outcome: OutcomeLabel::of(ok),
            })
            .inc();
    }

    /// Counts a reload of the client documents.
    pub fn clients_reload(&self, ok: bool) {
        self.inner
            .reloads
            .get_or_create(&OutcomeLabels {
                outcome: OutcomeLabel::of(ok),
            })
            .inc();
    }

    /// Keeps the number of label values bounded: a code comes from whoever answers us.
    fn bounded_code(&self, code: &str) -> String {
        let lower = code.to_ascii_lowercase();
        let tame = lower.len() <= LONGEST_CODE
            && !lower.is_empty()
            && lower
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_');
        if !tame {
            return OTHER_CODE.to_owned();
        }
        let mut codes = self
            .inner
            .codes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if codes.contains(&lower) {
            return lower;
        }
        if codes.len() >= MOST_CODES {
            return OTHER_CODE.to_owned();
        }
        codes.insert(lower.clone());
        lower
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome<'a> {
    /// The caller got a fault with this code, ours or a relayed one.
    Fault(&'a str),
    /// The caller got the service's answer.
    Ok,
}

/// Which half of the server handled the message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SideLabel {
    /// A local system calls out.
    Consumer,
    /// Another server calls in.
    Provider,
}

/// The kind of message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KindLabel {
    /// REST.
    Rest,
    /// SOAP.
    Soap,
}

/// Which way the bytes went, seen from this server.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FlowLabel {
    /// They came in.
    Received,
    /// They went out.
    Sent,
}

/// The TLS implementation of a connection between servers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TlsStackLabel {
    /// The endpoint for peers that have nothing newer than CBC suites.
    Openssl,
    /// The one we choose.
    Rustls,
}

impl From<Stack> for TlsStackLabel {
    fn from(stack: Stack) -> Self {
        match stack {
            Stack::Legacy => Self::Openssl,
            Stack::Modern => Self::Rustls,
        }
    }
}

/// Who opened a connection between servers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum WayLabel {
    /// The peer.
    Inbound,
    /// We.
    Outbound,
}

/// Counts one exchange down when dropped.
#[derive(Debug)]
pub struct InFlightGauge {
    gauge: Gauge<i64, AtomicI64>,
}

impl Drop for InFlightGauge {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

struct Inner {
    counts: Counts,
    registry: Mutex<Registry>,
    codes: Mutex<HashSet<String>>,
    exchanges: Family<ExchangeLabels, Counter>,
    duration: Family<DurationLabels, Histogram, fn() -> Histogram>,
    faults: Family<FaultLabels, Counter>,
    bytes: Family<ByteLabels, Counter>,
    in_flight: Family<SideLabels, Gauge>,
    peer_connections: Family<PeerLabels, Counter>,
    peer_checks: Family<CheckLabels, Counter>,
    repeats: Family<RepeatLabels, Counter>,
    stamps: Family<StampLabels, Counter>,
    stamped_records: Counter,
    ocsp_fetches: Family<OutcomeLabels, Counter>,
    refreshes: Family<OutcomeLabels, Counter>,
    reloads: Family<OutcomeLabels, Counter>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum OutcomeLabel {
    Fault,
    Ok,
}

impl OutcomeLabel {
    fn of(ok: bool) -> Self {
        if ok { Self::Ok } else { Self::Fault }
    }
}

/// What became of the judgement on a peer's certificate.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CheckLabel {
    /// It is not good.
    Refused,
    /// It was found good before, and nothing that this rests on has changed.
    Remembered,
    /// Its chain and OCSP answers were verified.
    Verified,
}

/// What came of a message that was repeated.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RepeatLabel {
    /// An answer.
    Answered,
    /// A fault of whom it was sent to, the same that came or would have come the first time.
    Fault,
    /// Nothing: no more repeats were allowed (consumer's side).
    GivenUp,
    /// A fault that says why there is no answer although it came before (provider's side).
    Refused,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum ReuseLabel {
    New,
    Reused,
}

/// Label values are written in lower case, as is usual.
macro_rules! written {
    ($($label:ident { $($variant:ident: $text:literal),+ })+) => {$(
        impl $label {
            /// The value as it is written.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl EncodeLabelValue for $label {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                fmt::Write::write_str(encoder, self.as_str())
            }
        }
    )+};
}

use written;

written! {
    SideLabel { Consumer: "consumer", Provider: "provider" }
    KindLabel { Rest: "rest", Soap: "soap" }
    FlowLabel { Received: "received", Sent: "sent" }
    TlsStackLabel { Openssl: "openssl", Rustls: "rustls" }
    WayLabel { Inbound: "inbound", Outbound: "outbound" }
    OutcomeLabel { Fault: "fault", Ok: "ok" }
    ReuseLabel { New: "new", Reused: "reused" }
    RepeatLabel { Answered: "answered", Fault: "fault", GivenUp: "given_up", Refused: "refused" }
    CheckLabel { Refused: "refused", Remembered: "remembered", Verified: "verified" }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct BuildLabels {
    version: String,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct ExchangeLabels {
    side: SideLabel,
    kind: KindLabel,
    outcome: OutcomeLabel,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct DurationLabels {
    side: SideLabel,
    kind: KindLabel,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct FaultLabels {
    side: SideLabel,
    code: String,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct ByteLabels {
    side: SideLabel,
    flow: FlowLabel,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct SideLabels {
    side: SideLabel,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct PeerLabels {
    stack: TlsStackLabel,
    way: WayLabel,
    connection: ReuseLabel,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct CheckLabels {
    outcome: CheckLabel,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct RepeatLabels {
    side: SideLabel,
    outcome: RepeatLabel,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct StampLabels {
    outcome: OutcomeLabel,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: OutcomeLabel,
}

/// 1 ms to 16 s, doubling.
fn duration_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

/// Reads the resident memory of this process; nothing where `/proc` is not Linux's.
fn resident_memory_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// Media type of what [`Metrics::render`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Distinct fault codes that get a label of their own: the base codes of `message-path.md` 2.7 with their
/// prefixes are about a hundred; beyond this a code counts as `other`.
pub const MOST_CODES: usize = 256;

const LONGEST_CODE: usize = 120;
const OTHER_CODE: &str = "other";

#[cfg(test)]
mod tests;
