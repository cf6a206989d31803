//! The few HTTP calls that the harness itself makes.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::{Instant, timeout};

/// A plain HTTP client with deadlines.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }
}

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

impl Http {
    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    ///
    /// What went wrong, in words.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| chain(&error))?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| chain(&error))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        timeout(PATIENCE, exchange)
            .await
            .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
    }

    /// GET.
    ///
    /// # Errors
    ///
    /// What went wrong, in words.
    pub async fn get(&self, url: &str) -> Result<Response<Bytes>, String> {
        let request = Request::get(url)
            .body(Full::default())
            .map_err(|error| error.to_string())?;
        self.send(request).await
    }
}

/// Asks `url` until it answers 200.
///
/// # Errors
///
/// After `patience`, the last answer.
pub async fn until_ok(url: &str, patience: Duration) -> Result<(), String> {
    let http = Http::default();
    eventually(patience, || async {
        match http.get(url).await {
            Ok(response) if response.status() == StatusCode::OK => Ok(()),
            Ok(response) => Err(format!(
                "{} {}",
                response.status(),
                String::from_utf8_lossy(response.body())
            )),
            Err(error) => Err(error),
        }
    })
    .await
}

/// Tries until it succeeds.
///
/// # Errors
///
/// After `patience`, the last error.
pub async fn eventually<T, E, F>(patience: Duration, mut attempt: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + patience;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
