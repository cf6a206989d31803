//! Servers that do what a test tells them, byte for byte.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jibek_sdk::{ClientId, Consumer, Credentials, Deadlines, ServiceId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came: head with its final empty line, and body without framing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// The last value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.lines()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .last()
    }

    /// Header lines in order.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
    }

    /// The request block that a security server would sign: written here once more, by hand.
    pub(crate) fn block(&self, request_id: &str) -> Vec<u8> {
        let mut first = self.head.lines().next().unwrap().split(' ');
        let mut block = format!("{}\r\n{}\r\n", first.next().unwrap(), first.next().unwrap());
        for (name, value) in self.lines() {
            if !["host", "content-length", "transfer-encoding"].contains(&name) {
                block.push_str(&format!("{name}:{value}\r\n"));
            }
        }
        block.push_str(&format!("x-road-request-id:{request_id}\r\n"));
        block.into_bytes()
    }
}

/// What a server does after it has read a request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write(Vec<u8>),
    Pause(Duration),
    /// Write this again and again until the client has had enough.
    Forever(Vec<u8>),
    /// Keep the connection open and do nothing.
    Hold,
    Close,
}

pub(crate) fn write(text: impl Into<Vec<u8>>) -> Step {
    Step::Write(text.into())
}

/// How a server reads requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Read {
    All,
    HeadOnly,
}

pub(crate) struct Raw {
    pub(crate) address: String,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

impl Raw {
    pub(crate) fn last(&self) -> Seen {
        self.seen
            .lock()
            .unwrap()
            .last()
            .cloned()
            .unwrap_or_default()
    }
}

/// Starts a server that answers each request with the steps the function gives.
pub(crate) async fn raw(
    read: Read,
    script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
) -> Raw {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (script, log) = (Arc::new(script), Arc::clone(&seen));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (script, log) = (Arc::clone(&script), Arc::clone(&log));
            tokio::spawn(async move { talk(stream, read, &*script, &log).await });
        }
    });
    Raw { address, seen }
}

async fn talk(
    mut stream: TcpStream,
    read: Read,
    script: &(dyn Fn(&Seen) -> Vec<Step> + Send + Sync),
    log: &Mutex<Vec<Seen>>,
) {
    let mut buffer = Vec::new();
    while let Some(seen) = request(&mut stream, &mut buffer, read).await {
        log.lock().unwrap().push(seen.clone());
        for step in script(&seen) {
            let done = match step {
                Step::Write(bytes) => stream.write_all(&bytes).await.is_err(),
                Step::Pause(time) => {
                    tokio::time::sleep(time).await;
                    false
                }
                Step::Forever(bytes) => {
                    while stream.write_all(&bytes).await.is_ok() {}
                    true
                }
                Step::Hold => {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    true
                }
                Step::Close => true,
            };
            if done {
                return;
            }
        }
    }
}

async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>, read: Read) -> Option<Seen> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer.drain(..end).collect::<Vec<_>>()).into_owned();
    let mut seen = Seen {
        head,
        body: Vec::new(),
    };
    if read == Read::HeadOnly {
        return Some(seen);
    }
    if let Some(length) = seen
        .header("content-length")
        .map(|length| length.parse::<usize>().unwrap())
    {
        while buffer.len() < length {
            more(stream, buffer).await?;
        }
        seen.body = buffer.drain(..length).collect();
    } else if seen.header("transfer-encoding").is_some() {
        loop {
            let line = loop {
                if let Some(end) = buffer.windows(2).position(|window| window == b"\r\n") {
                    break buffer.drain(..end + 2).collect::<Vec<_>>();
                }
                more(stream, buffer).await?;
            };
            let size =
                usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
            while buffer.len() < size + 2 {
                more(stream, buffer).await?;
            }
            seen.body.extend(buffer.drain(..size));
            buffer.drain(..2);
            if size == 0 {
                break;
            }
        }
    }
    Some(seen)
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    (stream.read_buf(buffer).await.ok()? > 0).then_some(())
}

/// Answers as a security server does after a service has answered: the headers of `message-path.md` 3.2 and a body.
pub(crate) fn answer(seen: &Seen, status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let request_id = "0b6c4d9e-6f3a-4f5c-9d3a-1f1d8d2f7a10";
    let sent = (!seen.body.is_empty()).then_some(seen.body.as_slice());
    let hash = jibek_sdk::request_hash(&seen.block(request_id), sent);
    let mut parts = seen.head.split(' ').nth(1).unwrap().split(['/', '?']);
    let service: Vec<_> = parts.by_ref().skip(2).take(5).collect();
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nDate: Mon, 23 Nov 2026 03:15:04 GMT\r\n{headers}x-road-id: {}\r\nx-road-client: {}\r\nx-road-service: {}\r\nx-road-request-id: {request_id}\r\nx-road-request-hash: {hash}\r\nContent-Length: {}\r\n\r\n",
        seen.header("x-road-id").unwrap(),
        seen.header("x-road-client").unwrap(),
        service.join("/"),
        body.len(),
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Answers as a security server does when it refuses.
pub(crate) fn fault(status: &str, code: &str, kind: &str, document: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nDate: Mon, 23 Nov 2026 03:15:09 GMT\r\nX-Road-Error: {code}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{document}",
        document.len(),
    )
    .into_bytes()
}

pub(crate) fn notary() -> ClientId {
    ClientId::new("KG", "GOV", "70000009", Some("notary")).unwrap()
}

pub(crate) fn service(code: &str) -> ServiceId {
    ServiceId::new(
        ClientId::new("KG", "GOV", "70000001", Some("population")).unwrap(),
        code,
        None,
    )
    .unwrap()
}

pub(crate) fn consumer(address: &str) -> Consumer {
    impatient(address, Duration::from_secs(10))
}

/// A consumer that gives up after `wait` without progress.
pub(crate) fn impatient(address: &str, wait: Duration) -> Consumer {
    let mut deadlines = Deadlines::default();
    deadlines.answer = wait;
    deadlines.chunk = wait;
    let builder = Consumer::builder()
        .server(address)
        .unwrap()
        .identity(notary());
    builder
        .credentials(Credentials::None)
        .unwrap()
        .deadlines(deadlines)
        .build()
        .unwrap()
}

/// Reads a recording of real servers.
pub(crate) fn fixture(path: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("JIBEK_XROAD_FIXTURES").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/xroad"),
        std::path::PathBuf::from,
    );
    std::fs::read(root.join(path)).ok()
}

pub(crate) fn skipped(test: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "fixtures absent in CI"
    );
    println!("SKIPPED {test}: fixtures absent");
}
