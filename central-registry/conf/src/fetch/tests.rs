//! Real central servers' directories, served over loopback by a source that can misbehave.

use std::{
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use time::macros::datetime;
use tokio::net::TcpListener;

use super::*;
use crate::{
    model::{AnchorContent, AnchorSource},
    part::parse_shared,
    testing::fixtures,
    verify::DirectoryError,
};

const NOW: OffsetDateTime = datetime!(2026-11-23 05:00 UTC);

/// What a source does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conduct {
    /// Serves only this version.
    Only(u8),
    /// Its directory is altered in one byte.
    DirectoryAltered,
    /// Its shared parameters are altered in one byte.
    PartAltered,
    /// Its parts are not there.
    PartGone,
    /// Fails with status 500.
    Broken,
    /// Its directory is larger than allowed.
    Oversize,
    /// Accepts and never answers.
    Silent,
    /// Sends the head of an answer and then nothing.
    Stalled,
    /// Says what it should.
    Good,
}

/// A body of one piece, after which nothing may come, not even its end.
struct Sent {
    bytes: Option<Bytes>,
    ends: bool,
}

impl Sent {
    fn all(bytes: Bytes) -> Self {
        Self {
            bytes: Some(bytes),
            ends: true,
        }
    }
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        match self.bytes.take() {
            Some(bytes) => Poll::Ready(Some(Ok(hyper::body::Frame::data(bytes)))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

struct Source {
    address: String,
    conduct: Arc<Mutex<Conduct>>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Source {
    async fn start(root: PathBuf, conduct: Conduct) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let conduct = Arc::new(Mutex::new(conduct));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let source = Self {
            address,
            conduct: Arc::clone(&conduct),
            calls: Arc::clone(&calls),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (root, conduct, calls) =
                    (root.clone(), Arc::clone(&conduct), Arc::clone(&calls));
                let answer = service_fn(move |request: Request<Incoming>| {
                    let target = request.uri().path_and_query().unwrap().to_string();
                    calls.lock().unwrap().push(target.clone());
                    let (root, conduct) = (root.clone(), *conduct.lock().unwrap());
                    async move {
                        if conduct == Conduct::Silent {
                            std::future::pending::<()>().await;
                        }
                        Ok::<_, hyper::Error>(answer(&root, conduct, &target))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        source
    }

    fn set(&self, conduct: Conduct) {
        *self.conduct.lock().unwrap() = conduct;
    }

    fn calls(&self) -> Vec<String> {
        take(&mut self.calls.lock().unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}/internalconf", self.address)
    }
}

fn answer(root: &std::path::Path, conduct: Conduct, target: &str) -> Response<Sent> {
    let status = |status: u16| {
        Response::builder()
            .status(status)
            .body(Sent::all(Bytes::new()))
            .unwrap()
    };
    let directory = target.strip_prefix("/internalconf?version=");
    if conduct == Conduct::Broken {
        return status(500);
    }
    let wanted = match conduct {
        Conduct::Only(version) => version.to_string(),
        _ => "5".to_owned(),
    };
    let path = match directory {
        Some(version) if version == wanted => root.join(format!("V{version}/internalconf")),
        Some(_) => return status(404),
        None if conduct == Conduct::PartGone => return status(404),
        None => root.join(target.trim_start_matches('/')),
    };
    let Ok(mut bytes) = std::fs::read(path) else {
        return status(404);
    };
    match (conduct, directory) {
        (Conduct::DirectoryAltered, Some(_)) | (Conduct::PartAltered, None) => {
            let middle = bytes.len() / 3;
            bytes[middle] ^= 1;
        }
        (Conduct::Oversize, Some(_)) => bytes.resize(2 * 1024 * 1024, b' '),
        (Conduct::Stalled, Some(_)) => {
            return Response::new(Sent {
                bytes: Some(bytes.into()),
                ends: false,
            });
        }
        _ => {}
    }
    Response::new(Sent::all(Bytes::from(bytes)))
}

struct Country {
    root: PathBuf,
    certificates: Vec<Bytes>,
    dir: tempfile::TempDir,
}

impl Country {
    fn new(test: &str) -> Option<Self> {
        let root = fixtures(test)?.join("signed-directory/central-server/published");
        let mut certificates = Vec::new();
        for version in 3..=6u8 {
            let folder = root.join(format!("V{version}"));
            let mut entries = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path());
            let generation = entries.find(|path| path.is_dir()).unwrap();
            let shared = std::fs::read(generation.join("shared-params.xml")).unwrap();
            let shared = parse_shared(&shared, version).unwrap();
            certificates.extend(
                shared
                    .sources
                    .into_iter()
                    .flat_map(|source| source.internal_certificates),
            );
        }
        Some(Self {
            root,
            certificates,
            dir: tempfile::tempdir().unwrap(),
        })
    }

    async fn source(&self, conduct: Conduct) -> Source {
        Source::start(self.root.clone(), conduct).await
    }

    fn fetcher(&self, instance: &str, urls: &[String]) -> Fetcher {
        let sources = urls.iter().map(|url| AnchorSource {
            url: url.clone(),
            certificates: self.certificates.clone(),
        });
        let content = AnchorContent {
            generated_at: None,
            instance: instance.to_owned(),
            sources: sources.collect(),
        };
        let options = FetchOptions {
            // The addresses that these configurations name do not exist here: they fail at once or by these deadlines.
            connect_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_secs(2),
            total_timeout: Duration::from_secs(10),
            https: HttpsUse::Never,
            ..FetchOptions::default()
        };
        Fetcher::new(
            Anchor::render(&content).unwrap(),
            ConfDir::new(self.dir.path().join("conf")),
            options,
        )
        .unwrap()
    }
}

fn only_error(error: FetchError) -> SourceError {
    let FetchError::AllFailed { mut attempts } = error else {
        panic!("{error}")
    };
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    attempts.remove(0).1
}

/// Whether both stand on the own instance as it was read one time.
fn is_read_once(one: &Snapshot, other: &Snapshot) -> bool {
    let read = |snapshot: &Snapshot| {
        let own = snapshot.own_instance();
        snapshot.instance_read(own).cloned().unwrap()
    };
    Arc::ptr_eq(&read(one), &read(other))
}

#[tokio::test]
async fn a_central_servers_configuration_is_fetched_kept_and_not_fetched_again() {
    let Some(country) =
        Country::new("a_central_servers_configuration_is_fetched_kept_and_not_fetched_again")
    else {
        return;
    };
    let source = country.source(Conduct::Good).await;
    let mut fetcher = country.fetcher("DEV", &[source.url()]);
    assert!(fetcher.snapshot().is_none());
    let snapshot = fetcher.refresh(NOW).await.unwrap();
    assert_eq!(
        (snapshot.own_instance(), snapshot.version("DEV")),
        ("DEV", Some(5))
    );
    assert!(snapshot.private().is_some());
    assert_eq!(
        snapshot.expires_at(),
        Some(datetime!(2035-03-01 14:39:11 UTC))
    );
    let calls = source.calls();
    assert_eq!(
        calls[..2],
        ["/internalconf?version=6", "/internalconf?version=5"],
        "one GET each, no probe besides"
    );
    assert_eq!(calls.len(), 4, "{calls:?}");

    let again = fetcher.refresh(NOW).await.unwrap();
    assert_eq!(again.content_id(), snapshot.content_id());
    assert!(is_read_once(&snapshot, &again));
    assert_eq!(
        source.calls(),
        ["/internalconf?version=5"],
        "what worked is remembered, parts are not fetched again"
    );
    assert_eq!(fetcher.next_refresh_in(), Duration::from_secs(60));

    let restarted = country.fetcher("DEV", &[source.url()]);
    let stored = restarted.stored().unwrap();
    assert_eq!(stored.content_id(), snapshot.content_id());
    assert_eq!(stored.expires_at(), snapshot.expires_at());
    let mut restarted = restarted;
    let confirmed = restarted.refresh(NOW).await.unwrap();
    assert!(
        is_read_once(&stored, &confirmed),
        "what lay on the disk and is still published is not read anew"
    );
    assert_eq!(
        source.calls(),
        ["/internalconf?version=6", "/internalconf?version=5"]
    );
    assert!(country.fetcher("OTHER", &[source.url()]).stored().is_none());

    std::fs::remove_file(country.dir.path().join("conf/DEV/private-params.xml")).unwrap();
    fetcher.refresh(NOW).await.unwrap();
    assert_eq!(
        source.calls().len(),
        1,
        "what is lost from the disk is written again from memory"
    );
    assert!(
        country
            .dir
            .path()
            .join("conf/DEV/private-params.xml")
            .exists()
    );
}

#[tokio::test]
async fn a_source_that_has_only_version_3_is_understood() {
    let Some(country) = Country::new("a_source_that_has_only_version_3_is_understood") else {
        return;
    };
    let source = country.source(Conduct::Only(3)).await;
    let mut fetcher = country.fetcher("CS", &[source.url()]);
    let snapshot = fetcher.refresh(NOW).await.unwrap();
    assert_eq!(snapshot.version("CS"), Some(3));
    let asked: Vec<_> = source
        .calls()
        .into_iter()
        .filter_map(|call| call.split_once('=').map(|(_, version)| version.to_owned()))
        .collect();
    assert_eq!(asked, ["6", "5", "4", "3"]);
    source.set(Conduct::Only(2));
    let FetchError::AllFailed { attempts } = fetcher.refresh(NOW).await.unwrap_err() else {
        panic!()
    };
    assert!(
        attempts
            .iter()
            .any(|(url, error)| *url == source.url() && matches!(error, SourceError::NoVersion))
    );
}

#[tokio::test]
async fn of_two_sources_one_may_be_dead() {
    let Some(country) = Country::new("of_two_sources_one_may_be_dead") else {
        return;
    };
    let dead = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/internalconf", listener.local_addr().unwrap())
    };
    let source = country.source(Conduct::Good).await;
    let mut fetcher = country.fetcher("DEV", &[dead, source.url()]);
    fetcher.refresh(NOW).await.unwrap();
    source.calls();
    fetcher.refresh(NOW).await.unwrap();
    assert_eq!(source.calls(), ["/internalconf?version=5"]);
}

#[tokio::test]
async fn misbehaving_sources_are_named_and_bounded() {
    let Some(country) = Country::new("misbehaving_sources_are_named_and_bounded") else {
        return;
    };
    let source = country.source(Conduct::Good).await;
    let mut fetcher = country.fetcher("DEV", &[source.url()]);
    for (conduct, right) in [
        (
            Conduct::DirectoryAltered,
            is_directory as fn(&SourceError) -> bool,
        ),
        (Conduct::PartAltered, is_digest),
        (Conduct::PartGone, |error| {
            matches!(
                error,
                SourceError::Http {
                    source: HttpError::Status { status: 404 },
                    ..
                }
            )
        }),
        (Conduct::Broken, |error| {
            matches!(
                error,
                SourceError::Http {
                    source: HttpError::Status { status: 500 },
                    ..
                }
            )
        }),
        (Conduct::Oversize, |error| {
            matches!(
                error,
                SourceError::Http {
                    source: HttpError::TooLarge { .. },
                    ..
                }
            )
        }),
        (Conduct::Silent, |error| {
            matches!(
                error,
                SourceError::Http {
                    source: HttpError::Timeout { .. },
                    ..
                }
            )
        }),
        (Conduct::Stalled, |error| {
            matches!(
                error,
                SourceError::Http {
                    source: HttpError::Timeout {
                        what: "the next piece",
                        ..
                    },
                    ..
                }
            )
        }),
    ] {
        source.set(conduct);
        let error = only_error(fetcher.refresh(NOW).await.unwrap_err());
        assert!(right(&error), "{conduct:?}: {error:?}");
        assert!(fetcher.snapshot().is_none());
        assert!(
            !country.dir.path().join("conf").exists(),
            "{conduct:?}: nothing is kept of it"
        );
    }
    assert_eq!(
        fetcher.next_refresh_in(),
        Duration::from_secs(60),
        "backed off to the interval"
    );
    source.set(Conduct::Good);
    fetcher.refresh(NOW).await.unwrap();
}

fn is_directory(error: &SourceError) -> bool {
    matches!(
        error,
        SourceError::Directory {
            source: DirectoryError::Signature | DirectoryError::MissingHeader { .. }
        }
    )
}

fn is_digest(error: &SourceError) -> bool {
    matches!(error, SourceError::Digest { .. })
}

#[tokio::test]
async fn what_is_expired_or_of_another_instance_is_refused() {
    let Some(country) = Country::new("what_is_expired_or_of_another_instance_is_refused") else {
        return;
    };
    let source = country.source(Conduct::Good).await;
    let mut fetcher = country.fetcher("DEV", &[source.url()]);
    let late = datetime!(2035-03-01 14:39:12 UTC);
    let error = only_error(fetcher.refresh(late).await.unwrap_err());
    assert!(
        matches!(
            error,
            SourceError::Directory {
                source: DirectoryError::Expired { .. }
            }
        ),
        "{error:?}"
    );
    assert_eq!(fetcher.next_refresh_in(), Duration::from_secs(5));
    let mut other = country.fetcher("OTHER", &[source.url()]);
    let error = only_error(other.refresh(NOW).await.unwrap_err());
    assert!(
        matches!(error, SourceError::PartMissing { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_disk_that_refuses_does_not_keep_the_configuration_from_use() {
    let Some(country) =
        Country::new("a_disk_that_refuses_does_not_keep_the_configuration_from_use")
    else {
        return;
    };
    let source = country.source(Conduct::Good).await;
    let mut fetcher = country.fetcher("DEV", &[source.url()]);
    crate::atomic_write(
        country.dir.path().join("conf"),
        b"a file where the directory should be",
    )
    .unwrap();
    fetcher.refresh(NOW).await.unwrap();
    assert!(fetcher.store_error().is_some());
    std::fs::remove_file(country.dir.path().join("conf")).unwrap();
    fetcher.refresh(NOW).await.unwrap();
    assert!(fetcher.store_error().is_none());
    assert!(
        country
            .dir
            .path()
            .join("conf/DEV/shared-params.xml")
            .exists()
    );
}
