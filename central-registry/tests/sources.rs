//! Sources that lie, stall, flood or break off, over real sockets: they cost nothing but themselves.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic and say what it skips"
)]

#[path = "common/world.rs"]
mod world;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jibek_certs::{
    digest::{DigestAlgorithm, digest},
    signer::KeyKind,
    time::Clock,
};
use jibek_conf::{
    Anchor, ConfDir, FetchError, FetchOptions, Fetcher,
    fetch::{HttpError, HttpsUse, SourceError},
    model::{AnchorContent, AnchorSource},
    part::{PRIVATE_PARAMETERS, SHARED_PARAMETERS},
    verify::DirectoryError,
};
use jibek_registry::{
    directory::{self, Boundaries, Entry},
    keys::{Keys, Kind},
};
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use world::{Running, START, World};

/// What a source does with a request.
#[derive(Clone, Debug)]
enum Conduct {
    /// Says nothing, ever.
    Silence,
    /// One byte every 50 ms, for ever.
    Drip,
    /// A body without end.
    Flood,
    /// A header without end.
    HeaderFlood,
    /// A million chunks of one byte.
    Chunks,
    /// Promises more than it sends, then ends.
    Half(Vec<u8>),
    /// Sends the asker elsewhere.
    Redirect,
    /// Not HTTP.
    Nonsense,
    /// Closes at once.
    Close,
    /// This directory; for everything else, what comes after it.
    Signed(Vec<u8>, Box<Self>),
    /// These bytes as a part.
    Part(Vec<u8>),
}

struct Source {
    url: String,
    sent: Arc<AtomicU64>,
}

impl Source {
    async fn start(conduct: Conduct) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/internalconf", listener.local_addr().unwrap());
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (conduct, sent) = (conduct.clone(), Arc::clone(&counted));
                tokio::spawn(async move { serve(stream, conduct, &sent).await });
            }
        });
        Self { url, sent }
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8], sent: &AtomicU64) -> Option<()> {
    stream.write_all(bytes).await.ok()?;
    sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    Some(())
}

/// Answers requests on one connection until it cannot.
async fn serve(mut stream: TcpStream, conduct: Conduct, sent: &AtomicU64) -> Option<()> {
    loop {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.ok()?);
        }
        let is_directory = request.starts_with(b"GET /internalconf");
        let mut now = &conduct;
        if let Conduct::Signed(directory, rest) = now {
            if is_directory {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                    directory.len()
                );
                write(&mut stream, head.as_bytes(), sent).await?;
                write(&mut stream, directory, sent).await?;
                continue;
            }
            now = rest;
        }
        match now {
            Conduct::Silence => sleep(Duration::from_secs(3600)).await,
            Conduct::Drip => {
                write(
                    &mut stream,
                    b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
                    sent,
                )
                .await?;
                loop {
                    write(&mut stream, b"x", sent).await?;
                    sleep(Duration::from_millis(50)).await;
                }
            }
            Conduct::Flood => {
                write(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n", sent).await?;
                loop {
                    write(&mut stream, &[b' '; 65_536], sent).await?;
                }
            }
            Conduct::HeaderFlood => {
                write(&mut stream, b"HTTP/1.1 200 OK\r\n", sent).await?;
                loop {
                    write(
                        &mut stream,
                        b"X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
                        sent,
                    )
                    .await?;
                }
            }
            Conduct::Chunks => {
                write(
                    &mut stream,
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                    sent,
                )
                .await?;
                let many = b"1\r\nx\r\n".repeat(1000);
                loop {
                    write(&mut stream, &many, sent).await?;
                }
            }
            Conduct::Half(bytes) => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                    bytes.len() * 2
                );
                write(&mut stream, head.as_bytes(), sent).await?;
                write(&mut stream, bytes, sent).await?;
                return None;
            }
            Conduct::Redirect => {
                let answer = b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
                write(&mut stream, answer, sent).await?;
            }
            Conduct::Nonsense => {
                write(&mut stream, b"220 smtp.example.org ESMTP\r\n\r\n", sent).await?;
                return None;
            }
            Conduct::Close => return None,
            Conduct::Part(bytes) => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
                write(&mut stream, head.as_bytes(), sent).await?;
                write(&mut stream, bytes, sent).await?;
            }
            Conduct::Signed(..) => return None,
        }
    }
}

/// A good registry, and what a thief of its key can sign.
struct Scene {
    world: World,
    registry: Running,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new("p256");
        let registry = world.start().await;
        Self { world, registry }
    }

    fn sign(&self, entries: &[Entry], expires: OffsetDateTime) -> Vec<u8> {
        let keys = Keys::open(
            &self.world.folder.path().join("state/keys"),
            KeyKind::EcP256,
        )
        .unwrap();
        let boundaries = Boundaries::new(&std::array::from_fn(|at| u8::try_from(at).unwrap()));
        directory::signed(
            "KG",
            6,
            expires,
            entries,
            keys.of(Kind::Internal),
            &boundaries,
        )
        .unwrap()
    }

    /// A directory that names these locations, the first of them as shared parameters.
    fn naming(&self, locations: &[(&'static str, &str)]) -> Vec<u8> {
        let entries: Vec<_> = locations
            .iter()
            .map(|(identifier, location)| {
                Entry::new(
                    identifier,
                    (*location).to_owned(),
                    digest(DigestAlgorithm::Sha512, b"x"),
                )
            })
            .collect();
        self.sign(&entries, START + Duration::from_secs(600))
    }

    fn fetcher(&self, urls: &[&str], change: impl Fn(&mut FetchOptions)) -> Fetcher {
        let certificates: Vec<_> = self.registry.anchor.sources()[0]
            .certificates
            .iter()
            .map(|certificate| certificate.der().clone())
            .collect();
        let content = AnchorContent {
            generated_at: None,
            instance: "KG".to_owned(),
            sources: urls
                .iter()
                .map(|url| AnchorSource {
                    url: (*url).to_owned(),
                    certificates: certificates.clone(),
                })
                .collect(),
        };
        let mut options = FetchOptions::default();
        options.https = HttpsUse::Never;
        options.patience = Duration::from_millis(300);
        options.read_timeout = Duration::from_secs(1);
        options.total_timeout = Duration::from_secs(2);
        change(&mut options);
        let folder = tempfile::tempdir_in(self.world.folder.path())
            .unwrap()
            .keep();
        Fetcher::new(
            Anchor::render(&content).unwrap(),
            ConfDir::new(folder),
            options,
        )
        .unwrap()
    }

    fn good(&self) -> String {
        format!("{}/internalconf", self.registry.url)
    }
}

fn why(error: FetchError) -> SourceError {
    let FetchError::AllFailed { mut attempts } = error else {
        panic!("{error}")
    };
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    attempts.remove(0).1
}

#[tokio::test]
async fn a_bad_source_costs_nothing_but_itself() {
    let scene = Scene::new().await;
    let real = scene
        .registry
        .get("/internalconf?version=6")
        .await
        .1
        .to_vec();
    let cases = [
        Conduct::Silence,
        Conduct::Drip,
        Conduct::Flood,
        Conduct::HeaderFlood,
        Conduct::Chunks,
        Conduct::Half(real.clone()),
        Conduct::Redirect,
        Conduct::Nonsense,
        Conduct::Close,
        Conduct::Signed(real.clone(), Box::new(Conduct::Close)),
        Conduct::Signed(real.clone(), Box::new(Conduct::Flood)),
        Conduct::Signed(real.clone(), Box::new(Conduct::Drip)),
        Conduct::Signed(real.clone(), Box::new(Conduct::Half(b"<conf".to_vec()))),
        Conduct::Signed(real, Box::new(Conduct::Part(b"<conf/>".to_vec()))),
    ];
    for conduct in cases {
        let bad = Source::start(conduct.clone()).await;
        // By itself: refused in bounded time, and what it could send is bounded.
        let mut alone = scene.fetcher(&[&bad.url], |options| options.part_bytes = 1 << 20);
        let refused = timeout(Duration::from_secs(60), alone.refresh(START)).await;
        let error = why(refused.expect("bounded").unwrap_err());
        let sent = bad.sent.load(Ordering::Relaxed);
        assert!(sent < 32 << 20, "{conduct:?}: {sent} bytes were taken");
        assert!(alone.snapshot().is_none());
        println!("{sent:>9} bytes sent; {error}: {}", source_of(&error));

        // Before a good one: that one counts, without waiting for any deadline of the bad one.
        let mut both = scene.fetcher(&[&bad.url, &scene.good()], |options| {
            options.read_timeout = Duration::from_secs(3600);
            options.total_timeout = Duration::from_secs(3600);
            options.source_timeout = Duration::from_secs(3600);
        });
        let snapshot = timeout(Duration::from_secs(60), both.refresh(START)).await;
        let snapshot = snapshot
            .expect("no deadline of the bad source is waited for")
            .unwrap();
        snapshot.check_valid(START).unwrap();
        // And it is not asked again while the good one lives.
        bad.sent.store(0, Ordering::Relaxed);
        timeout(Duration::from_secs(60), both.refresh(START))
            .await
            .unwrap()
            .unwrap();
    }
    scene.registry.finish().await;
}

fn source_of(error: &dyn std::error::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

#[tokio::test]
async fn even_who_has_the_key_stays_within_bounds_and_inside_the_folder() {
    let scene = Scene::new().await;
    let shared = (SHARED_PARAMETERS, "/V6/1/shared-params.xml");
    let private = (PRIVATE_PARAMETERS, "/V6/1/private-params.xml");
    let elsewhere = |location: &'static str| vec![(SHARED_PARAMETERS, location), private];
    let named =
        |name: &'static str, location: &'static str| vec![shared, private, (name, location)];
    type Expected = fn(&SourceError) -> bool;
    let is_elsewhere: Expected = |error| matches!(error, SourceError::Elsewhere { .. });
    let is_name: Expected = |error| matches!(error, SourceError::UnusableName { .. });
    let is_digest: Expected = |error| matches!(error, SourceError::Digest { .. });
    let many: Vec<_> = (0..2000).map(|_| ("MORE", "/V6/1/more.xml")).collect();
    let is_many: Expected = |error| matches!(error, SourceError::TooManyParts { parts: 2000 });
    let is_missing: Expected = |error| matches!(error, SourceError::PartMissing { .. });
    let cases: Vec<(Vec<(&'static str, &str)>, Expected)> = vec![
        (
            elsewhere("http://127.0.0.1:1/shared-params.xml"),
            is_elsewhere,
        ),
        (elsewhere("//127.0.0.1:1/shared-params.xml"), is_elsewhere),
        (elsewhere("file:///etc/passwd"), is_elsewhere),
        (elsewhere("\\\\127.0.0.1\\x"), is_elsewhere),
        (elsewhere("/V6/1/../../../etc/passwd"), is_digest),
        (named("EVIL", "/V6/1/.."), is_name),
        (named("EVIL", "/V6/1/.hidden"), is_name),
        (named("EVIL", "/V6/1/"), is_name),
        (named("EVIL", "/V6/1/a\\b"), is_name),
        (named("EVIL", "/V6/1/shared-params.xml"), is_name),
        (named("EVIL", "/V6/1/shared-params.xml.metadata"), is_name),
        (named(SHARED_PARAMETERS, "/V6/1/other.xml"), is_name),
        (many, is_many),
        (vec![private], is_missing),
        (vec![shared], is_missing),
    ];
    for (entries, expected) in cases {
        let directory = scene.naming(&entries);
        let source = Source::start(Conduct::Signed(
            directory,
            Box::new(Conduct::Part(b"y".to_vec())),
        ))
        .await;
        let mut fetcher = scene.fetcher(&[&source.url], |_| {});
        let error = why(fetcher.refresh(START).await.unwrap_err());
        assert!(expected(&error), "{:?}: {error:?}", entries.last());
    }
    // As signed, but no configuration.
    let nonsense = [SHARED_PARAMETERS, PRIVATE_PARAMETERS].map(|identifier| {
        let location = format!("/{}", identifier.to_lowercase());
        Entry::new(
            identifier,
            location,
            digest(DigestAlgorithm::Sha512, b"<x/>"),
        )
    });
    let directory = scene.sign(&nonsense, START + Duration::from_secs(600));
    let source = Source::start(Conduct::Signed(
        directory,
        Box::new(Conduct::Part(b"<x/>".to_vec())),
    ))
    .await;
    let mut fetcher = scene.fetcher(&[&source.url], |_| {});
    let error = why(fetcher.refresh(START).await.unwrap_err());
    assert!(matches!(error, SourceError::Snapshot { .. }), "{error:?}");
    // Each part within its bound, all of them not.
    let source = Source::start(Conduct::Signed(
        scene.naming(&[shared, private]),
        Box::new(Conduct::Part(b"x".to_vec())),
    ))
    .await;
    let mut fetcher = scene.fetcher(&[&source.url], |options| options.generation_bytes = 1);
    let error = why(fetcher.refresh(START).await.unwrap_err());
    let bounded = matches!(error, SourceError::TooLarge { max_bytes: 1 })
        || matches!(
            error,
            SourceError::Http {
                source: HttpError::TooLarge { max_bytes: 0 },
                ..
            }
        );
    assert!(bounded, "{error:?}");
    scene.registry.finish().await;
}

#[tokio::test]
async fn a_step_back_is_taken_and_shown_and_so_is_a_freeze() {
    let scene = Scene::new().await;
    let clock = &scene.world.clock;
    let publish = async || {
        clock.advance(Duration::from_secs(60));
        scene.registry.handle.publish_now().await.unwrap();
        clock.now()
    };
    // What an attacker between us and the registry recorded in the first minute.
    let recorded = scene
        .registry
        .get("/internalconf?version=6")
        .await
        .1
        .to_vec();
    let stamp = scene.registry.handle.status().stamp;
    assert_eq!(
        scene
            .registry
            .get(&format!("/V6/{stamp}/shared-params.xml"))
            .await
            .0,
        200
    );

    let mut fetcher = scene.fetcher(&[&scene.good()], |_| {});
    fetcher.refresh(START).await.unwrap();
    publish().await;
    let now = publish().await;
    let newest = fetcher.refresh(now).await.unwrap();
    assert_eq!(newest.expires_at(), Some(START + Duration::from_secs(720)));
    assert!(newest.warnings().is_empty(), "{:?}", newest.warnings());

    let address = scene.registry.url.clone();
    scene.registry.finish().await;
    let listener = TcpListener::bind(address.strip_prefix("http://").unwrap())
        .await
        .unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let conduct = Conduct::Signed(recorded.clone(), Box::new(Conduct::Close));
            tokio::spawn(async move { serve(stream, conduct, &AtomicU64::new(0)).await });
        }
    });
    let back = fetcher.refresh(now).await.unwrap();
    assert_eq!(
        back.expires_at(),
        Some(START + Duration::from_secs(600)),
        "accepted within its validity"
    );
    assert_eq!(back.content_id(), newest.content_id());
    let [warning] = back.warnings() else {
        panic!("{:?}", back.warnings())
    };
    assert!(warning.contains("stepped back"), "{warning}");

    // It is given again and again: a freeze, shown when half of the time is gone.
    let later = START + Duration::from_secs(500);
    let frozen = fetcher.refresh(later).await.unwrap();
    let all = frozen.warnings().join("\n");
    assert!(all.contains("have given nothing newer for 380 s"), "{all}");
    let after = START + Duration::from_secs(601);
    let FetchError::AllFailed { attempts } = fetcher.refresh(after).await.unwrap_err() else {
        panic!("another error")
    };
    assert!(attempts.iter().all(|(_, error)| matches!(
        error,
        SourceError::Directory {
            source: DirectoryError::Expired { .. }
        }
    )));
    let kept = fetcher.snapshot().unwrap();
    assert!(kept.check_valid(after).is_err(), "it ends by expiry");
    assert!(kept.check_valid(later).is_ok());
}
