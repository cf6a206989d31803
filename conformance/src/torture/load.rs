//! Load without end, and its own list of what was acknowledged to it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use jibek_certs::{DigestAlgorithm, digest::digest};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Notify, task::JoinHandle};

use crate::{
    http::Http,
    world::{CONSUMER, PROVIDER},
};

/// A message that its sender has an answer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Message id.
    pub id: String,
    /// SHA-512 of the question's body.
    pub question: Vec<u8>,
    /// SHA-512 of the answer's body.
    pub answer: Vec<u8>,
}

/// Callers at work. Dropped, they stop.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    stop: AtomicBool,
    list: Mutex<Vec<Acknowledged>>,
    grown: Notify,
    wrong: Mutex<Option<String>>,
    refused: AtomicU64,
}

impl Load {
    /// Starts so many callers of the server at `url`.
    #[must_use]
    pub fn start(url: &str, callers: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let callers = (0..callers)
            .map(|_| tokio::spawn(call(url.to_owned(), Arc::clone(&shared))))
            .collect();
        Self { shared, callers }
    }

    /// How many messages were acknowledged so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.list().len()
    }

    /// What was acknowledged, without the first `from`.
    #[must_use]
    pub fn list(&self, from: usize) -> Vec<Acknowledged> {
        self.shared.list().get(from..).unwrap_or_default().to_vec()
    }

    /// Calls without an answer, or with a fault.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// An answer that belonged to something else, if there was one.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        lock(&self.shared.wrong).clone()
    }

    /// Waits until so many are acknowledged.
    ///
    /// # Errors
    ///
    /// When that takes too long.
    pub async fn reaches(&self, count: usize) -> Result<(), String> {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let grown = self.shared.grown.notified();
                if self.count() >= count {
                    return;
                }
                grown.await;
            }
        });
        waited.await.map_err(|_| {
            format!(
                "{} messages were acknowledged in all, and {count} are waited for: service did not go on",
                self.count()
            )
        })
    }

    /// Lets every caller finish what it began.
    pub async fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for caller in self.callers.drain(..) {
            let _ = caller.await;
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.callers.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Acknowledged>> {
        lock(&self.list)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn call(url: String, shared: Arc<Shared>) {
    let http = Http::default();
    while !shared.stop.load(Ordering::Relaxed) {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(ABANDONED_EVERY) {
            abandon(&url, number).await;
            continue;
        }
        let id = format!("torture-{number}");
        let body = question(number);
        let Ok(request) = Request::post(format!("{url}/r1/{PROVIDER}/rest/x"))
            .header("X-Road-Client", CONSUMER)
            .header("X-Road-Id", &id)
            .body(Full::new(body.clone()))
        else {
            continue;
        };
        match http.send(request).await {
            Ok(answer) if answer.status() == 200 => {
                if !answer.body().iter().eq(body.iter().rev()) {
                    *lock(&shared.wrong) = Some(format!("message {id} got another's answer"));
                }
                let sha512 =
                    |bytes: &[u8]| digest(DigestAlgorithm::Sha512, bytes).as_bytes().to_vec();
                let acknowledged = Acknowledged {
                    question: sha512(&body),
                    answer: sha512(answer.body()),
                    id,
                };
                shared.list().push(acknowledged);
                shared.grown.notify_waiters();
            }
            // The server is down or just dying: not too fast now.
            _ => {
                shared.refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }
    }
}

/// Bodies of different lengths, none like another; some have a file of their own in the log.
fn question(number: u64) -> Bytes {
    let length = match number % 12 {
        0 => 300_000,
        1 => 0,
        other => other * 500,
    };
    let mut text = format!("question {number} ").into_bytes();
    text.resize(
        text.len() + usize::try_from(length).unwrap_or_default(),
        b'.',
    );
    text.extend(number.to_be_bytes());
    Bytes::from(text)
}

/// A caller that goes away in the middle of a large body.
async fn abandon(url: &str, number: u64) {
    let Some(address) = url.strip_prefix("http://") else {
        return;
    };
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return;
    };
    let head = format!(
        "POST /r1/{PROVIDER}/rest/x HTTP/1.1\r\nHost: {address}\r\nX-Road-Client: {CONSUMER}\r\n\
         X-Road-Id: abandoned-{number}\r\nContent-Length: 900000\r\n\r\n"
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&vec![b'a'; 600_000]).await;
    let _ = stream.shutdown().await;
}

/// One of so many calls breaks off.
const ABANDONED_EVERY: u64 = 60;
const PATIENCE: Duration = Duration::from_secs(60);
