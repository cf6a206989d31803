//! What operators and their machines ask: is it alive, would a message succeed now, what does it count.
//!
//! * `/healthz`: the process runs and answers. Nothing else is looked at, so a failing check never restarts a
//!   server that could still hand out evidence.
//! * `/readyz`: a message would succeed now. 200 or 503, and a JSON document with every check, its reason when it
//!   fails, and the seconds left where a check will fail by itself unless something renews it.
//! * `/metrics`: see [`crate::metrics`].
//!
//! The listener is meant for the loopback or a management network: no authentication, nothing secret, nothing
//! that changes the server.

use std::{fmt, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use jibek_certs::time::{Clock, Timestamp};
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use tokio::{net::TcpListener, sync::Semaphore, task, time::timeout};

use crate::{
    drain::Drain,
    metrics::{self, Metrics},
};

pub mod checks;
pub mod gauges;

/// What the operator's listener shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Everything that must hold for a message to succeed.
    pub checks: Arc<Checks>,
    /// The counters.
    pub metrics: Metrics,
    /// The time that checks are judged at.
    pub clock: Arc<dyn Clock>,
    /// While the server drains it is alive but not ready.
    pub drain: Drain,
}

/// Returns the routes; merge further ones into it.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
        .with_state(admin)
}

/// Serves `router` until `until` ends; connections then under way are cut.
///
/// Keep it running during the drain, so that a balancer sees `/readyz` turn.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    until: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = task::JoinSet::new();
    tokio::pin!(until);
    loop {
        let permit = tokio::select! {
            () = &mut until => return Ok(()),
            permit = Arc::clone(&permits).acquire_owned() => permit.map_err(io::Error::other)?,
        };
        let stream = tokio::select! {
            () = &mut until => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) if is_passing(&error) => {
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        while connections.try_join_next().is_some() {}
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_DEADLINE)
                .serve_connection(TokioIo::new(stream), service);
            // A client that went away or was too slow concerns nobody else.
            let _ended = timeout(CONNECTION_DEADLINE, connection).await;
            drop(permit);
        });
    }
}

/// The future of [`Check::state`].
pub type Judging<'a> = Pin<Box<dyn Future<Output = CheckState> + Send + 'a>>;

/// One thing that must hold for a message to succeed now.
pub trait Check: Send + Sync + fmt::Debug {
    /// The check's name in `/readyz`: lower case, one or two words.
    fn name(&self) -> &'static str;

    /// Judges at `now`. May ask the disk; must not wait for the network.
    fn state(&self, now: Timestamp) -> Judging<'_>;
}

/// What a check found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CheckState {
    /// It does not hold: a message would be refused now.
    NotReady {
        /// Why, in a sentence that an operator understands; no secrets.
        reason: String,
    },
    /// It holds.
    Ready {
        /// Something that the operator should know all the same.
        note: Option<String>,
        /// Seconds until it stops to hold unless something renews it.
        seconds_left: Option<i64>,
    },
}

impl CheckState {
    /// It holds, and there is nothing to say.
    #[must_use]
    pub fn ready() -> Self {
        Self::Ready {
            note: None,
            seconds_left: None,
        }
    }

    /// It does not hold, for this reason.
    pub fn not_ready(reason: impl Into<String>) -> Self {
        Self::NotReady {
            reason: reason.into(),
        }
    }
}

/// The checks that the application registered, in order.
#[derive(Debug, Default)]
pub struct Checks {
    checks: Vec<Box<dyn Check>>,
}

impl Checks {
    /// Makes an empty list, which is ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check.
    #[must_use]
    pub fn with(mut self, check: impl Check + 'static) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    /// Adds a function as a check.
    #[must_use]
    pub fn with_fn(
        self,
        name: &'static str,
        judge: impl Fn(Timestamp) -> CheckState + Send + Sync + 'static,
    ) -> Self {
        self.with(FunctionCheck {
            name,
            judge: Box::new(judge),
        })
    }

    /// Runs every check at `now`, one after the other; one that takes too long does not hold.
    pub async fn report(&self, now: Timestamp) -> Report {
        let mut checks = Vec::with_capacity(self.checks.len());
        for check in &self.checks {
            let state = timeout(CHECK_DEADLINE, check.state(now))
                .await
                .unwrap_or_else(|_| {
                    CheckState::not_ready(format!(
                        "no answer within {} s",
                        CHECK_DEADLINE.as_secs()
                    ))
                });
            checks.push(CheckReport::new(check.name(), state));
        }
        Report {
            ready: checks.iter().all(|check| check.ready),
            at: now.format(&Rfc3339).unwrap_or_default(),
            checks,
        }
    }
}

/// The document at `/readyz`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    /// Whether a message would succeed now.
    pub ready: bool,
    /// The moment of the judgement, RFC 3339.
    pub at: String,
    /// Every check, in the order of registration.
    pub checks: Vec<CheckReport>,
}

impl Report {
    /// The reasons of what does not hold, each with the check's name.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.checks
            .iter()
            .filter_map(|check| check.reason.as_deref().map(|reason| (check.name, reason)))
    }
}

/// One check within a [`Report`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct CheckReport {
    /// The check's name.
    pub name: &'static str,
    /// Whether it holds.
    pub ready: bool,
    /// Why it does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the operator should know although it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Seconds until it stops to hold unless something renews it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<i64>,
}

impl CheckReport {
    fn new(name: &'static str, state: CheckState) -> Self {
        let (ready, reason, note, seconds_left) = match state {
            CheckState::NotReady { reason } => (false, Some(reason), None, None),
            CheckState::Ready { note, seconds_left } => (true, None, note, seconds_left),
        };
        Self {
            name,
            ready,
            reason,
            note,
            seconds_left,
        }
    }
}

struct FunctionCheck {
    name: &'static str,
    judge: Box<dyn Fn(Timestamp) -> CheckState + Send + Sync>,
}

impl Check for FunctionCheck {
    fn name(&self) -> &'static str {
        self.name
    }

    fn state(&self, now: Timestamp) -> Judging<'_> {
        let state = (self.judge)(now);
        Box::pin(async move { state })
    }
}

impl fmt::Debug for FunctionCheck {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FunctionCheck")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

async fn healthz() -> &'static str {
    "alive\n"
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let mut report = admin.checks.report(admin.clock.now()).await;
    if admin.drain.is_draining() {
        report.ready = false;
        let ending = CheckState::not_ready("the server is shutting down");
        report.checks.insert(0, CheckReport::new("running", ending));
    }
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    match serde_json::to_string_pretty(&report) {
        Ok(mut json) => {
            json.push('\n');
            (status, uncached("application/json"), json).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn show_metrics(State(admin): State<Admin>) -> Response {
    match task::spawn_blocking(move || admin.metrics.render()).await {
        Ok(text) => (uncached(metrics::CONTENT_TYPE), text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn uncached(content_type: &'static str) -> [(HeaderName, HeaderValue); 2] {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ]
}

/// Errors of `accept` that concern one connection, or that pass when descriptors are free again.
fn is_passing(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    ) || matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// Operators' connections at once; more wait.
const MOST_CONNECTIONS: usize = 64;
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
const CONNECTION_DEADLINE: Duration = Duration::from_secs(120);
/// X-Road gives each of its own checks as long.
const CHECK_DEADLINE: Duration = Duration::from_secs(5);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
