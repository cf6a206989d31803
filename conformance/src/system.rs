//! An information system whose answers a test decides, and which keeps what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

/// A call as the system saw it.
#[derive(Clone, Debug)]
pub struct Call {
    /// HTTP method.
    pub method: Method,
    /// Path and query, as they came.
    pub uri: Uri,
    /// Headers, as they came.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Decides the answer to a call.
pub type Script = Arc<dyn Fn(&Call) -> Response<Bytes> + Send + Sync>;

/// A running information system.
#[derive(Debug)]
pub struct System {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    task: JoinHandle<()>,
}

impl System {
    /// Starts a system that answers as `script` says.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    pub async fn start(address: SocketAddr, script: Script) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let calls = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&calls);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = Arc::clone(&script);
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        answer(Arc::clone(&script), Arc::clone(&kept), request)
                    });
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(Self {
            address,
            calls,
            task,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, so that a test can put something else in its place.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// What it was asked so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Forgets what it was asked so far, for runs that ask without end.
    pub fn forget(&self) {
        self.calls
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clear();
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    script: Script,
    kept: Arc<Mutex<Vec<Call>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let call = Call {
        method: head.method,
        uri: head.uri,
        headers: head.headers,
        body: body.collect().await?.to_bytes(),
    };
    let response = script(&call);
    kept.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .push(call);
    Ok(response.map(Full::new))
}
