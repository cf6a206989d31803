//! Reading and watching the folder of client documents.

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use jibek_certs::{Clock, Timestamp};
use tokio::sync::Notify;

use super::{
    Client, Clients, SharedClients,
    document::{self, ClientsError},
};

/// The folder of client documents and what stands in it. A broken document is refused with file, line and reason, and what it
/// said before stays in force; the other documents are not touched by it.
#[derive(Debug)]
pub struct ClientFolder {
    directory: PathBuf,
    shared: SharedClients,
    state: Mutex<State>,
}

/// What one look at the folder found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollOutcome {
    /// Whether the clients in force were replaced.
    pub changed: bool,
    /// How many documents are refused now.
    pub refused: usize,
}

/// How the folder stands.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientsStatus {
    /// When the clients in force were read; `None` before the first look.
    pub loaded_at: Option<Timestamp>,
    /// Documents refused now, in the order of their names.
    pub problems: Vec<ClientsError>,
}

impl ClientFolder {
    /// Reads the folder. On start every document must be right.
    ///
    /// # Errors
    /// The folder cannot be read, a document is wrong, or two documents are of one client.
    pub fn open(directory: &Path) -> Result<Self, ClientsError> {
        let folder = Self {
            directory: directory.to_owned(),
            shared: Arc::new(ArcSwap::from_pointee(Clients::default())),
            state: Mutex::default(),
        };
        folder.look(None);
        let problem = folder.status().problems.into_iter().next();
        problem.map_or(Ok(folder), Err)
    }

    /// Returns where the present clients are found.
    pub fn shared(&self) -> SharedClients {
        Arc::clone(&self.shared)
    }

    /// Looks at the folder once. Reads files: call it off the runtime's threads.
    pub fn poll(&self, now: Timestamp) -> PollOutcome {
        self.look(Some(now))
    }

    /// Returns how the folder stands.
    pub fn status(&self) -> ClientsStatus {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        ClientsStatus {
            loaded_at: state.loaded_at,
            problems: state.problems().collect(),
        }
    }

    /// Looks every two seconds of `clock` and whenever poked (SIGHUP). Never returns.
    pub async fn run(self: Arc<Self>, clock: Arc<dyn Clock>, poke: Arc<Notify>) {
        loop {
            tokio::select! {
                () = clock.sleep(INTERVAL) => {}
                () = poke.notified() => {}
            }
            let folder = Arc::clone(&self);
            let now = clock.now();
            if tokio::task::spawn_blocking(move || folder.poll(now))
                .await
                .is_err()
            {
                tracing::error!("looking at the clients' documents failed");
            }
        }
    }

    fn look(&self, now: Option<Timestamp>) -> PollOutcome {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut state.folder_problem);
        let listed = match list(&self.directory) {
            Ok(listed) => listed,
            Err(problem) => {
                if before.as_ref().map(ToString::to_string) != Some(problem.to_string()) {
                    tracing::error!(%problem, "the clients' folder cannot be read; what was known stays in force");
                }
                state.folder_problem = Some(problem);
                return PollOutcome {
                    changed: false,
                    refused: state.problems().count(),
                };
            }
        };
        let mut changed = state.loaded_at.is_none() && now.is_some();
        let gone: Vec<PathBuf> = state
            .files
            .keys()
            .filter(|path| listed.binary_search(path).is_err())
            .cloned()
            .collect();
        for path in gone {
            tracing::info!(file = %path.display(), "a client's document is gone");
            state.files.remove(&path);
            changed = true;
        }
        // At the start one line tells of all of them.
        let starting = state.files.is_empty();
        for path in listed {
            let stamp = Stamp::of(&path);
            let held = state.files.get(&path);
            if held.is_some_and(|held| {
                held.stamp == stamp
                    && held
                        .watched
                        .iter()
                        .all(|(file, stamp)| Stamp::of(file) == *stamp)
            }) {
                continue;
            }
            let client = held.and_then(|held| held.client.clone());
            let read = Document::read(&path, stamp, client);
            match &read.problem {
                Some(problem) => {
                    tracing::error!(%problem, "a client's document is refused; what it said before stays in force")
                }
                None if starting => {}
                None => tracing::info!(file = %path.display(), "a client's document was read"),
            }
            state.files.insert(path, read);
            changed = true;
        }
        if starting && !state.files.is_empty() {
            let documents = state.files.len();
            tracing::info!(documents, "the clients' documents were read");
        }
        if changed {
            let clients = state.assemble();
            state.loaded_at = now;
            self.shared.store(Arc::new(clients));
        }
        PollOutcome {
            changed,
            refused: state.problems().count(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, Document>,
    folder_problem: Option<ClientsError>,
    /// Documents of a client that another document, earlier by name, has taken.
    taken: Vec<ClientsError>,
    loaded_at: Option<Timestamp>,
}

impl State {
    fn problems(&self) -> impl Iterator<Item = ClientsError> {
        let documents = self
            .files
            .values()
            .filter_map(|document| document.problem.as_ref());
        self.folder_problem
            .iter()
            .chain(documents)
            .chain(&self.taken)
            .cloned()
    }

    fn assemble(&mut self) -> Clients {
        let mut clients = Clients::default();
        self.taken.clear();
        for (path, document) in &self.files {
            let Some(client) = &document.client else {
                continue;
            };
            if clients.by_id.contains_key(client.id()) {
                let reason = format!("{} has a document already", client.id());
                tracing::error!(file = %path.display(), %reason, "a client's document is refused");
                self.taken.push(ClientsError {
                    path: path.clone(),
                    line: None,
                    reason,
                });
            } else {
                clients
                    .by_id
                    .insert(client.id().clone(), Arc::clone(client));
            }
        }
        clients
    }
}

#[derive(Debug)]
struct Document {
    stamp: Stamp,
    watched: Vec<(PathBuf, Stamp)>,
    client: Option<Arc<Client>>,
    problem: Option<ClientsError>,
}

impl Document {
    /// Reads a document; when it is wrong, `before` stays.
    fn read(path: &Path, stamp: Stamp, before: Option<Arc<Client>>) -> Self {
        let failed = |reason: String| ClientsError {
            path: path.to_owned(),
            line: None,
            reason,
        };
        let text = match std::fs::metadata(path) {
            Ok(found) if found.len() > MOST_BYTES => {
                Err(failed(format!("longer than {MOST_BYTES} bytes")))
            }
            _ => std::fs::read_to_string(path)
                .map_err(|error| failed(format!("cannot read: {}", error.kind()))),
        };
        match text.map(|text| {
            // Stamps are taken before the files are read: a change in between is seen by the next look.
            let watched: Vec<_> = document::certificate_files(&text, path)
                .into_iter()
                .map(|file| (file.clone(), Stamp::of(&file)))
                .collect();
            (document::parse(&text, path), watched)
        }) {
            Ok((Ok(client), watched)) => Self {
                stamp,
                watched,
                client: Some(Arc::new(client)),
                problem: None,
            },
            Ok((Err(problem), watched)) => Self {
                stamp,
                watched,
                client: before,
                problem: Some(problem),
            },
            Err(problem) => Self {
                stamp,
                watched: Vec::new(),
                client: before,
                problem: Some(problem),
            },
        }
    }
}

/// What changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<(u64, u64, i64, i64, i64, i64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        Self(std::fs::metadata(path).ok().map(|found| {
            (
                found.ino(),
                found.len(),
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec(),
            )
        }))
    }
}

/// The documents of a folder: `*.toml`, hidden ones (editors' temporary files) left out.
fn list(directory: &Path) -> Result<Vec<PathBuf>, ClientsError> {
    let failed = |error: std::io::Error| ClientsError {
        path: directory.to_owned(),
        line: None,
        reason: format!("cannot read the folder: {}", error.kind()),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden
            && path
                .extension()
                .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

const INTERVAL: Duration = Duration::from_secs(2);
const MOST_BYTES: u64 = 1024 * 1024;
