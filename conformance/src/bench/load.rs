//! The consumer's information system, in a process of its own: the same call again and again, so many at once.
//!
//! One thread drives all connections, in every row, so that direct calls and calls over the bus are limited alike. Over the bus
//! it takes a small part of the machine; its processor time stands in every row.

use std::{
    cell::Cell,
    fmt::Write as _,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::try_join_all;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::LocalSet,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    plan::Shape,
    tls,
    wire::{Answer, Outgoing, Wire},
};
use crate::{envelope, processes::usage_of_self};

/// What a load generator is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Where to connect.
    pub address: SocketAddr,
    /// Directory with the key for mutual TLS; plain HTTP without.
    pub tls: Option<PathBuf>,
    /// Path of the URL.
    pub path: String,
    /// `down`, `up` or `soap`.
    pub kind: Kind,
    /// Length of the body that counts, in bytes.
    pub bytes: u64,
    /// Connections, each with one call at a time.
    pub at_once: usize,
    /// Calls are not counted so long after every connection has had an answer, in milliseconds.
    pub warm_ms: u64,
    /// Calls are counted so long, in milliseconds.
    pub period_ms: u64,
    /// Calls at most; then all are counted.
    pub most: Option<u64>,
    /// What message ids begin with.
    pub mark: String,
}

/// What the calls are.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// GET, and a body comes.
    Down,
    /// An envelope, and one comes.
    Soap,
    /// POST of a body.
    Up,
}

impl From<Shape> for Kind {
    fn from(shape: Shape) -> Self {
        match shape {
            Shape::RestDown => Self::Down,
            Shape::RestUp => Self::Up,
            Shape::Soap => Self::Soap,
        }
    }
}

/// What a load generator found.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Outcome {
    /// Calls answered as they should be, those of the warm-up with them.
    pub answered: u64,
    /// Calls that failed.
    pub failed: u64,
    /// How the first one did.
    pub first_failure: Option<String>,
    /// Calls answered while it counted.
    pub counted: u64,
    /// How long it counted, in seconds.
    pub seconds: f64,
    /// Half of the counted calls took no longer, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// 999 of 1000.
    pub p999_ms: f64,
    /// The longest.
    pub longest_ms: f64,
    /// Processor time of this process, in seconds.
    pub cpu_seconds: f64,
}

impl Outcome {
    /// Answered calls a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 {
            as_f64(self.counted) / self.seconds
        } else {
            0.0
        }
    }
}

/// Carries out a job.
///
/// # Errors
///
/// When not a single connection comes about.
pub async fn run(job: Job) -> anyhow::Result<Outcome> {
    let local = LocalSet::new();
    local.run_until(drive(job)).await
}

async fn drive(job: Job) -> anyhow::Result<Outcome> {
    let connector = job.tls.as_deref().map(tls::client).transpose()?;
    let connections = (0..job.at_once).map(|_| connect(job.address, connector.as_ref()));
    let connections = try_join_all(connections).await?;
    let job = Rc::new(job);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let start = Rc::new(Start::default());
    let workers: Vec<_> = connections
        .into_iter()
        .map(|wire| {
            tokio::task::spawn_local(worker(
                Rc::clone(&job),
                wire,
                connector.clone(),
                Rc::clone(&start),
                Arc::clone(&next),
                Arc::clone(&tally),
            ))
        })
        .collect();
    if job.most.is_none() {
        start.warm(&job).await;
    }
    for worker in workers {
        let _ = worker.await;
    }
    let elapsed = begun.elapsed();
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let mut outcome = std::mem::take(&mut tally.outcome);
    let mut times = std::mem::take(&mut tally.times);
    times.sort_unstable();
    outcome.counted = u64::try_from(times.len()).unwrap_or(u64::MAX);
    outcome.seconds = match job.most {
        Some(_) => elapsed.as_secs_f64(),
        None => Duration::from_millis(job.period_ms).as_secs_f64(),
    };
    outcome.p50_ms = percentile(&times, 0.5);
    outcome.p99_ms = percentile(&times, 0.99);
    outcome.p999_ms = percentile(&times, 0.999);
    outcome.longest_ms = percentile(&times, 1.0);
    outcome.cpu_seconds = usage_of_self().cpu_seconds;
    Ok(outcome)
}

/// When calls begin to count: after every connection has had its first answer, for a server has to connect, too.
#[derive(Debug, Default)]
struct Start {
    answered: Cell<usize>,
    window: Cell<Option<(Instant, Instant)>>,
}

impl Start {
    async fn warm(&self, job: &Job) {
        let begun = Instant::now();
        while self.answered.get() < job.at_once && begun.elapsed() < LONGEST_START {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let counting = Instant::now() + Duration::from_millis(job.warm_ms);
        let end = counting + Duration::from_millis(job.period_ms);
        self.window.set(Some((counting, end)));
    }

    fn is_over(&self, now: Instant) -> bool {
        self.window.get().is_some_and(|(_, end)| now >= end)
    }

    fn counts(&self, ended: Instant) -> bool {
        self.window
            .get()
            .is_some_and(|(counting, end)| (counting..=end).contains(&ended))
    }
}

#[derive(Debug, Default)]
struct Tally {
    outcome: Outcome,
    /// Microseconds of every counted call.
    times: Vec<u32>,
}

type Stream = Box<dyn Duplex>;

/// Both directions of a connection, whatever carries it.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

async fn connect(address: SocketAddr, tls: Option<&TlsConnector>) -> std::io::Result<Wire<Stream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let stream: Stream = match tls {
        None => Box::new(stream),
        Some(connector) => {
            let name = ServerName::try_from(tls::NAME).map_err(std::io::Error::other)?;
            Box::new(connector.connect(name, stream).await?)
        }
    };
    Ok(Wire::new(stream))
}

async fn worker(
    job: Rc<Job>,
    mut wire: Wire<Stream>,
    tls: Option<TlsConnector>,
    start: Rc<Start>,
    next: Arc<AtomicU64>,
    tally: Arc<Mutex<Tally>>,
) {
    let mut request = Request::new(&job);
    let mut mine = Tally::default();
    let mut met = false;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let over = match job.most {
            Some(most) => number >= most,
            None => start.is_over(begun),
        };
        if over || mine.outcome.failed >= MOST_FAILURES {
            break;
        }
        request.number(number);
        let answer = timeout(PATIENCE, wire.call(request.outgoing()))
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let ended = Instant::now();
        if !std::mem::replace(&mut met, true) {
            start.answered.set(start.answered.get() + 1);
        }
        let verdict = match &answer {
            Ok(answer) => judge(&job, answer),
            Err(error) => Err(error.to_string()),
        };
        match verdict {
            Ok(()) => {
                mine.outcome.answered += 1;
                if job.most.is_some() || start.counts(ended) {
                    let micros = ended.duration_since(begun).as_micros();
                    mine.times.push(u32::try_from(micros).unwrap_or(u32::MAX));
                }
            }
            Err(reason) => {
                mine.outcome.failed += 1;
                mine.outcome.first_failure.get_or_insert(reason);
            }
        }
        if !answer.is_ok_and(|answer| answer.kept) {
            match connect(job.address, tls.as_ref()).await {
                Ok(another) => wire = another,
                Err(error) => {
                    mine.outcome.failed += 1;
                    mine.outcome.first_failure.get_or_insert(error.to_string());
                    break;
                }
            }
        }
    }
    let mut all = tally.lock().unwrap_or_else(PoisonError::into_inner);
    all.times.append(&mut mine.times);
    all.outcome.answered += mine.outcome.answered;
    all.outcome.failed += mine.outcome.failed;
    if all.outcome.first_failure.is_none() {
        all.outcome.first_failure = mine.outcome.first_failure;
    }
}

/// Whether an answer is what the provider gives.
fn judge(job: &Job, answer: &Answer) -> Result<(), String> {
    let right = answer.status == 200
        && match job.kind {
            Kind::Down => answer.filler_only && answer.length == job.bytes,
            Kind::Soap => answer.length > job.bytes,
            Kind::Up => answer.length == 0,
        };
    if right {
        return Ok(());
    }
    let beginning: String = String::from_utf8_lossy(&answer.beginning)
        .chars()
        .take(200)
        .collect();
    Err(format!(
        "{} with {} bytes: {beginning}",
        answer.status, answer.length
    ))
}

/// The bytes of a request, in which only the number of the message changes.
#[derive(Debug)]
struct Request {
    bytes: Vec<u8>,
    number_at: usize,
    filler: u64,
}

impl Request {
    fn new(job: &Job) -> Self {
        let id = message_id(&job.mark, 0);
        let mut head = String::new();
        let verb = if job.kind == Kind::Down {
            "GET"
        } else {
            "POST"
        };
        // Writing to a string cannot fail.
        let _ = write!(
            head,
            "{verb} {} HTTP/1.1\r\nHost: {}\r\n",
            job.path, job.address
        );
        let (content, filler) = match job.kind {
            Kind::Down => {
                let _ = write!(head, "X-Road-Client: {}\r\nX-Road-Id: {id}\r\n", CLIENT);
                (String::new(), 0)
            }
            Kind::Up => {
                let _ = write!(
                    head,
                    "X-Road-Client: {}\r\nX-Road-Id: {id}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n",
                    CLIENT, job.bytes
                );
                (String::new(), job.bytes)
            }
            Kind::Soap => {
                let content = format!("<size>{}</size>", job.bytes);
                let content =
                    envelope::request(CLIENT, super::plan::PROVIDER, "soap", &id, &content);
                let _ = write!(
                    head,
                    "Content-Type: text/xml; charset=utf-8\r\nSOAPAction: \"\"\r\nContent-Length: {}\r\n",
                    content.len()
                );
                (content, 0)
            }
        };
        let text = format!("{head}\r\n{content}");
        let number_at = text.find(&id).unwrap_or(0) + job.mark.len() + 1;
        Self {
            bytes: text.into_bytes(),
            number_at,
            filler,
        }
    }

    fn number(&mut self, number: u64) {
        let digits = self
            .bytes
            .get_mut(self.number_at..self.number_at.saturating_add(DIGITS))
            .unwrap_or_default();
        let mut left = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
        }
    }

    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            bytes: &self.bytes,
            filler: self.filler,
        }
    }
}

/// The id of a row's message, by which the auditor's findings are counted.
#[must_use]
pub fn message_id(mark: &str, number: u64) -> String {
    format!("{mark}-{number:0width$}", width = DIGITS)
}

/// The time within which this share of calls was answered, in milliseconds; of the nearest rank.
#[must_use]
pub fn percentile(ascending_micros: &[u32], share: f64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the rank of a list that fits in memory"
    )]
    let rank = (ascending_micros.len() as f64 * share).ceil() as usize;
    ascending_micros
        .get(rank.max(1) - 1)
        .map_or(0.0, |micros| f64::from(*micros) / 1000.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench are small")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

const CLIENT: &str = super::plan::CONSUMER;
const DIGITS: usize = 9;
const MOST_FAILURES: u64 = 20;
/// The longest wait for the first answer of every connection.
const LONGEST_START: Duration = Duration::from_secs(30);
/// The longest wait for one call.
const PATIENCE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn job(kind: Kind) -> Job {
        Job {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            tls: None,
            path: "/rest/10".to_owned(),
            kind,
            bytes: 10,
            at_once: 1,
            warm_ms: 0,
            period_ms: 0,
            most: None,
            mark: "r7".to_owned(),
        }
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times: Vec<u32> = (1..=1000).map(|milli| milli * 1000).collect();
        for (share, milli) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            assert!((percentile(&times, share) - milli).abs() < 1e-9, "{share}");
        }
        assert!((percentile(&[7000], 0.5) - 7.0).abs() < 1e-9);
        assert!(percentile(&[], 0.5).abs() < 1e-9);
    }

    #[test]
    fn every_message_has_an_id_of_its_own_in_its_place() {
        for kind in [Kind::Down, Kind::Soap, Kind::Up] {
            let mut request = Request::new(&job(kind));
            for number in [0, 7, 123_456_789] {
                request.number(number);
                let text = String::from_utf8(request.bytes.clone()).unwrap();
                let id = message_id("r7", number);
                assert_eq!(text.matches(&id).count(), 1, "{text}");
            }
        }
    }

    #[test]
    fn an_answer_of_another_length_or_content_is_a_failure() {
        let good = Answer {
            status: 200,
            length: 10,
            filler_only: true,
            beginning: Vec::new(),
            kept: true,
        };
        assert!(judge(&job(Kind::Down), &good).is_ok());
        let short = Answer {
            length: 9,
            ..good.clone()
        };
        let other = Answer {
            filler_only: false,
            ..good.clone()
        };
        let fault = Answer {
            status: 500,
            ..good
        };
        for wrong in [short, other, fault] {
            assert!(judge(&job(Kind::Down), &wrong).is_err());
        }
    }
}
