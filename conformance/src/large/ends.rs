//! The two ends of a transfer: a consumer and a provider that make bodies as they send them and hash them as they come.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use openssl::sha::Sha512;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch::Receiver,
};

use crate::world::{CONSUMER, PROVIDER};

/// Which message of the exchange has the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The answer.
    Down,
    /// The request.
    Up,
}

/// The provider's system, and the hashes of the bodies that it took and gave, by message id.
#[derive(Clone, Debug)]
pub(super) struct Bodies {
    address: SocketAddr,
    hashes: Arc<Mutex<HashMap<String, [u8; 64]>>>,
}

impl Bodies {
    /// Starts it; it goes on until the runtime ends.
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let bodies = Self {
            address: listener.local_addr()?,
            hashes: Arc::default(),
        };
        let serving = bodies.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move {
                    // A connection that breaks shows at its other end.
                    let _ = serving.serve(stream).await;
                });
            }
        });
        Ok(bodies)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `POST /up` takes a body; `GET /down/LENGTH` gives one.
    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut stream = BufReader::with_capacity(BLOCK, stream);
        loop {
            let head = head(&mut stream).await?;
            let id = field(&head, "x-road-id").unwrap_or_default().to_owned();
            let asked = head.split(' ').nth(1).unwrap_or_default();
            let wanted = asked
                .rsplit_once("/down/")
                .map(|(_, length)| length.parse());
            let hash = match wanted {
                Some(Ok(length)) => {
                    answer_head(&mut stream, length).await?;
                    pour(&mut stream, length).await?
                }
                _ => {
                    let length = field(&head, "content-length").and_then(|it| it.parse().ok());
                    let hash = match length {
                        Some(length) => drink(&mut stream, length, None).await?,
                        None => drink_chunked(&mut stream).await?,
                    };
                    answer_head(&mut stream, 2).await?;
                    stream.write_all(b"ok").await?;
                    hash
                }
            };
            let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
            hashes.insert(id, hash);
        }
    }

    fn hash(&self, id: &str) -> Option<[u8; 64]> {
        let hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        hashes.get(id).copied()
    }
}

/// One exchange; an error when it fails or the body did not arrive as it was sent. With `stopped` the consumer reads a
/// little of the answer and goes on when told.
pub(super) async fn exchange(
    to: SocketAddr,
    bodies: &Bodies,
    id: &str,
    way: Way,
    bytes: u64,
    stopped: Option<Receiver<bool>>,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("{id}: {error}");
    let ours = match way {
        Way::Down => down(to, id, bytes, stopped).await.map_err(failed)?,
        Way::Up => up(to, id, bytes).await.map_err(failed)?,
    };
    match bodies.hash(id) {
        Some(theirs) if theirs == ours => Ok(()),
        Some(_) => Err(format!("{id}: the body is not what was sent")),
        None => Err(format!("{id}: the provider has not seen it")),
    }
}

async fn down(
    to: SocketAddr,
    id: &str,
    bytes: u64,
    stopped: Option<Receiver<bool>>,
) -> io::Result<[u8; 64]> {
    let mut stream = BufReader::with_capacity(BLOCK, TcpStream::connect(to).await?);
    let request = format!(
        "GET /r1/{PROVIDER}/rest/down/{bytes} HTTP/1.1\r\nHost: x\r\nX-Road-Client: {CONSUMER}\r\nX-Road-Id: {id}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let length = answered(&mut stream).await?;
    if length != bytes {
        return Err(io::Error::other(format!("{length} bytes are announced")));
    }
    drink(&mut stream, length, stopped).await
}

async fn up(to: SocketAddr, id: &str, bytes: u64) -> io::Result<[u8; 64]> {
    let mut stream = BufReader::with_capacity(BLOCK, TcpStream::connect(to).await?);
    let request = format!(
        "POST /r1/{PROVIDER}/rest/up HTTP/1.1\r\nHost: x\r\nX-Road-Client: {CONSUMER}\r\nX-Road-Id: {id}\r\nContent-Length: {bytes}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let sent = pour(&mut stream, bytes).await?;
    let length = answered(&mut stream).await?;
    drink(&mut stream, length, None).await?;
    Ok(sent)
}

/// Reads the head of an answer that should be one; returns the length of its body.
async fn answered(stream: &mut (impl AsyncRead + AsyncBufReadExt + Unpin)) -> io::Result<u64> {
    let head = head(stream).await?;
    let length = field(&head, "content-length").and_then(|it| it.parse().ok());
    match length {
        Some(length) if head.starts_with("http/1.1 200 ") => Ok(length),
        _ => Err(io::Error::other(head)),
    }
}

async fn answer_head(stream: &mut (impl AsyncWrite + Unpin), length: u64) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await
}

/// Writes `length` bytes of which no two blocks are alike; returns their hash.
async fn pour(to: &mut (impl AsyncWrite + Unpin), length: u64) -> io::Result<[u8; 64]> {
    let mut hash = Sha512::new();
    let mut block = vec![0x5a; BLOCK];
    let (mut left, mut number) = (length, 0_u64);
    while left > 0 {
        if let Some(start) = block.get_mut(..8) {
            start.copy_from_slice(&number.to_le_bytes());
        }
        let count = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        let part = block.get(..count).unwrap_or_default();
        hash.update(part);
        to.write_all(part).await?;
        left -= u64::try_from(count).unwrap_or(left);
        number += 1;
    }
    to.flush().await?;
    Ok(hash.finish())
}

/// Reads `length` bytes; returns their hash. With `stopped`, waits after the first block until told to go on.
async fn drink(
    from: &mut (impl AsyncRead + Unpin),
    length: u64,
    mut stopped: Option<Receiver<bool>>,
) -> io::Result<[u8; 64]> {
    let mut hash = Sha512::new();
    let mut left = length;
    let mut buffer = vec![0; BLOCK];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        let read = from
            .read(buffer.get_mut(..most).unwrap_or_default())
            .await?;
        if read == 0 {
            return Err(io::Error::other(format!("{left} bytes are missing")));
        }
        hash.update(buffer.get(..read).unwrap_or_default());
        left -= u64::try_from(read).unwrap_or(left);
        if let Some(mut stopped) = stopped.take() {
            stopped
                .wait_for(|go_on| *go_on)
                .await
                .map_err(io::Error::other)?;
        }
    }
    Ok(hash.finish())
}

/// Reads a body that comes in chunks; returns its hash.
async fn drink_chunked(
    from: &mut (impl AsyncRead + AsyncBufReadExt + Unpin),
) -> io::Result<[u8; 64]> {
    let mut hash = Sha512::new();
    let mut buffer = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).await?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        buffer.resize(length + 2, 0);
        from.read_exact(&mut buffer).await?;
        if length == 0 {
            return Ok(hash.finish());
        }
        hash.update(buffer.get(..length).unwrap_or_default());
    }
}

/// Reads a head; returns its text in lower case.
async fn head(from: &mut (impl AsyncRead + AsyncBufReadExt + Unpin)) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head.to_ascii_lowercase())
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(it, _)| *it == name)
        .map(|(_, value)| value.trim())
}

const BLOCK: usize = 64 * 1024;
