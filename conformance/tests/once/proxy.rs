//! What stands between two servers and cuts their connections, at the byte that a test names.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use jibek_conf::files::atomic_write;
use jibek_conformance::country::{Net, Prepared};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Where the consumer's server calls the provider's.
const PORT: u16 = 5600;

/// Which way bytes go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Up,
    Down,
}

/// A proxy in front of the provider's server.
#[derive(Clone, Debug)]
pub(crate) struct Proxy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Bytes that may still pass, both ways; then one connection is cut.
    left: [AtomicI64; 2],
    passed: [AtomicU64; 2],
    connections: AtomicU64,
    cuts: AtomicU64,
    cut_all: watch::Sender<()>,
}

/// Lets the consumer's server of a country call the provider's through a [`Proxy`].
pub(crate) fn lead_through_proxy(prepared: &Prepared) {
    let file = prepared
        .server_dir(&prepared.plan().servers[0])
        .join("jibek-server.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let from = format!("[peers]\nport = {}\n", Net::PEER_PORT);
    assert!(text.contains(&from), "{text}");
    let text = text.replace(&from, &format!("[peers]\nport = {PORT}\n"));
    atomic_write(&file, text.as_bytes()).unwrap();
}

impl Proxy {
    pub(crate) async fn start(prepared: &Prepared) -> Self {
        let provider = prepared.plan().net.server(1);
        let listener = TcpListener::bind((provider, PORT)).await.unwrap();
        let proxy = Self(Arc::new(Inner {
            left: [AtomicI64::new(i64::MAX), AtomicI64::new(i64::MAX)],
            passed: [AtomicU64::new(0), AtomicU64::new(0)],
            connections: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            cut_all: watch::Sender::new(()),
        }));
        let to = SocketAddr::from((provider, Net::PEER_PORT));
        let inner = Arc::clone(&proxy.0);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                inner.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(carry(Arc::clone(&inner), stream, to));
            }
        });
        proxy
    }

    /// After so many bytes that way, the connection which carries the last of them is cut.
    pub(crate) fn cut_after(&self, way: Way, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap();
        self.0.left[way as usize].store(bytes, Ordering::SeqCst);
    }

    /// Cuts nothing more.
    pub(crate) fn calm(&self) {
        for left in &self.0.left {
            left.store(i64::MAX, Ordering::SeqCst);
        }
    }

    /// Cuts every connection now.
    pub(crate) fn cut_all(&self) {
        self.0.cut_all.send_replace(());
    }

    /// Bytes that passed so far.
    pub(crate) fn passed(&self, way: Way) -> u64 {
        self.0.passed[way as usize].load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.0.cuts.load(Ordering::SeqCst)
    }
}

async fn carry(inner: Arc<Inner>, near: TcpStream, to: SocketAddr) {
    let Ok(far) = TcpStream::connect(to).await else {
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let mut cut_all = inner.cut_all.subscribe();
    cut_all.mark_unchanged();
    let (near_reader, near_writer) = near.into_split();
    let (far_reader, far_writer) = far.into_split();
    let up = copy(&inner, Way::Up, near_reader, far_writer);
    let down = copy(&inner, Way::Down, far_reader, near_writer);
    tokio::pin!(up, down);
    let (mut up_open, mut down_open) = (true, true);
    while up_open || down_open {
        tokio::select! {
            cut = &mut up, if up_open => {
                if cut { return }
                up_open = false;
            }
            cut = &mut down, if down_open => {
                if cut { return }
                down_open = false;
            }
            _ = cut_all.changed() => return,
        }
    }
}

/// Copies until the end; tells whether the connection is to be cut.
async fn copy(
    inner: &Inner,
    way: Way,
    mut reader: tokio::net::tcp::OwnedReadHalf,
    mut writer: tokio::net::tcp::OwnedWriteHalf,
) -> bool {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = match reader.read(&mut buffer).await {
            Ok(0) => {
                let _ = writer.shutdown().await;
                return false;
            }
            Ok(read) => read,
            Err(_) => return true,
        };
        let bytes = i64::try_from(read).unwrap();
        let left = &inner.left[way as usize];
        let mut pass = read;
        let mut cut = false;
        if left.load(Ordering::SeqCst) != i64::MAX {
            let before = left.fetch_sub(bytes, Ordering::SeqCst);
            if before <= bytes {
                pass = usize::try_from(before.max(0)).unwrap();
                cut = true;
            }
        }
        let written = writer.write_all(&buffer[..pass]).await;
        inner.passed[way as usize].fetch_add(u64::try_from(pass).unwrap(), Ordering::SeqCst);
        if cut {
            left.store(i64::MAX, Ordering::SeqCst);
            inner.cuts.fetch_add(1, Ordering::SeqCst);
            return true;
        }
        if written.is_err() {
            return true;
        }
    }
}
