//! Load: the same call again and again, so many at once.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{sync::Mutex, time::Instant};

/// What a run of load gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Calls answered as they should be.
    pub answered: usize,
    /// Calls that failed, and how the first one did.
    pub failed: usize,
    /// How the first failure looked.
    pub first_failure: Option<String>,
    /// How long the run took.
    pub elapsed: Duration,
    /// Time of every answered call, ascending.
    times: Vec<Duration>,
}

impl Outcome {
    /// Answered calls a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts of a bench are small")]
        let answered = self.answered as f64;
        answered / self.elapsed.as_secs_f64()
    }

    /// The time within which this share of calls was answered, in milliseconds.
    #[must_use]
    pub fn percentile(&self, share: f64) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index into a short list"
        )]
        let index =
            ((self.times.len() as f64 * share) as usize).min(self.times.len().saturating_sub(1));
        self.times
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }
}

/// Sends `request` for `period`, `at_once` at a time, each over a connection of its own that stays open.
pub async fn run<F>(at_once: usize, period: Duration, request: F) -> Outcome
where
    F: Fn() -> Request<Full<Bytes>> + Send + Sync + 'static,
{
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(at_once)
        .build_http();
    let request = Arc::new(request);
    let results = Arc::new(Mutex::new((Vec::new(), 0_usize, None::<String>)));
    let started = Instant::now();
    let deadline = started + period;
    let mut tasks = Vec::new();
    for _ in 0..at_once {
        let client = client.clone();
        let request = Arc::clone(&request);
        let results = Arc::clone(&results);
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            let mut failed = 0_usize;
            let mut first = None;
            while Instant::now() < deadline {
                let begun = Instant::now();
                match call(&client, request()).await {
                    Ok(()) => times.push(begun.elapsed()),
                    Err(reason) => {
                        failed += 1;
                        first.get_or_insert(reason);
                    }
                }
            }
            let mut all = results.lock().await;
            all.0.extend(times);
            all.1 += failed;
            if all.2.is_none() {
                all.2 = first;
            }
        }));
    }
    for task in tasks {
        let _ = task.await;
    }
    let elapsed = started.elapsed();
    let mut all = results.lock().await;
    let mut times = std::mem::take(&mut all.0);
    times.sort_unstable();
    Outcome {
        answered: times.len(),
        failed: all.1,
        first_failure: all.2.take(),
        elapsed,
        times,
    }
}

async fn call(
    client: &Client<HttpConnector, Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<(), String> {
    let response = client
        .request(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    if status == StatusCode::OK {
        Ok(())
    } else {
        Err(format!("{status} {}", String::from_utf8_lossy(&body)))
    }
}
