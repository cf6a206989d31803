//! Archives what is stamped, and lets old records leave the log.
//!
//! On schedule the records that have a time-stamp are written as ASiC-E containers into linked ZIP files, in X-Road's
//! format (`signatures-and-log.md` 4.6, 4.7), so that X-Road's and our verifiers prove the chain without a gap. Records
//! that are archived and old enough leave the log with their segment.
//!
//! Everything here reads the log beside those who write it and works on a thread of its own: no message waits for it.
//! One container's parts are in memory at a time; large bodies are passed through.
//!
//! An archive is written under another name, made durable, then written down as the next link of its chain, and only
//! then gets its name: whoever ends this program at whatever moment, no record is lost from the chain or twice in it.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jibek_certs::time::{Clock, Timestamp};
use jibek_msglog::{LogError, MessageLog, Query, RecordId, fs::Fs};
use tokio::{sync::Mutex as AsyncMutex, task};

use self::{
    files::Files,
    state::{Progress, State},
};
use crate::{drain::Drain, metrics::Metrics, outbound};

mod chain;
mod files;
mod gauges;
mod gpg;
mod retain;
mod state;

/// When, where and how to archive.
#[derive(Clone, Debug)]
pub struct ArchiveSettings {
    /// Directory of the archives; without one nothing is archived.
    pub directory: Option<PathBuf>,
    /// Where it is written down how far archiving has come: a directory of the server's own.
    pub state_dir: PathBuf,
    /// Time between runs, which begin at multiples of it; 6 h.
    pub interval: Duration,
    /// Bytes of containers after which an archive ends, 32 MiB: a larger container makes it longer.
    pub max_file_bytes: u64,
    /// Whether each member or subsystem has archives of its own.
    pub grouping: Grouping,
    /// How long records stay in the log, from their time on; `None` for ever.
    pub keep: Option<Duration>,
    /// Whether old records leave although nothing is archived. Without it they stay.
    pub remove_unarchived: bool,
    /// Files with OpenPGP public keys that archives are encrypted for; none leaves them plain.
    pub recipients: Vec<PathBuf>,
    /// Most records that are looked at together, as in X-Road; 10 000. An archive ends with them at the latest.
    pub window: usize,
}

impl ArchiveSettings {
    /// The defaults, with archives in `directory`.
    #[must_use]
    pub fn new(directory: Option<PathBuf>, state_dir: PathBuf) -> Self {
        Self {
            directory,
            state_dir,
            interval: Duration::from_secs(6 * 3600),
            max_file_bytes: 32 << 20,
            grouping: Grouping::None,
            keep: Some(Duration::from_secs(30 * 86_400)),
            remove_unarchived: false,
            recipients: Vec::new(),
            window: 10_000,
        }
    }
}

/// What has archives, and a chain of links, of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grouping {
    /// Each member whose records they are.
    Member,
    /// All records together.
    #[default]
    None,
    /// Each subsystem, and each member for what has none.
    Subsystem,
}

/// Why archiving stopped. What was archived before stays; the next run goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A container could not be put together.
    #[error("record {id} cannot become a container")]
    Container {
        /// The record.
        id: RecordId,
        /// Why.
        source: jibek_evidence::container::WriteError,
    },
    /// A file operation failed.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Too little room is left; messages need it more.
    #[error("no space left for archives in {}", path.display())]
    Full {
        /// The directory.
        path: PathBuf,
    },
    /// `gpg` did not encrypt.
    #[error("gpg cannot encrypt the archive for the configured recipients: {said}")]
    Gpg {
        /// Its last words.
        said: String,
    },
    /// The log could not be read.
    #[error("the message log cannot be read")]
    Log {
        /// Why.
        source: LogError,
    },
    /// The file that says how far archiving has come is not what was written.
    #[error("{} is damaged: {reason}; put it back from a backup, or remove it to begin a new chain with the oldest record", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The server is ending.
    #[error("the server is shutting down")]
    Stopped,
    /// More records than can be listed do not read.
    #[error("more than {most} records of the message log do not read")]
    Unreadable {
        /// The bound.
        most: usize,
    },
}

/// What has been done, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveStatus {
    /// Archives written since the start.
    pub files: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of containers in them.
    pub bytes: u64,
    /// Runs that failed since the start.
    pub failures: u64,
    /// Records that left the log since the start.
    pub removed: u64,
    /// Records that did not read and are in no archive.
    pub unreadable: u64,
    /// When a run last came to its end, in milliseconds since 1970, UTC.
    pub last_run_ms: Option<i64>,
    /// Time of the oldest record that is not archived, as of the last look.
    pub oldest_waiting_ms: Option<i64>,
    /// Why the last run failed.
    pub problem: Option<String>,
}

/// The archiver of one server.
#[derive(Debug)]
pub struct Archiver {
    log: MessageLog,
    settings: ArchiveSettings,
    files: Files,
    clock: Arc<dyn Clock>,
    status: Mutex<ArchiveStatus>,
    /// How far it has come; read at the first run. Held during a run.
    progress: Mutex<Option<State>>,
    /// One run at a time.
    turn: AsyncMutex<()>,
    stopped: AtomicBool,
}

impl Archiver {
    /// Makes an archiver; [`Archiver::run`] sets it to work. Its values are shown by `metrics`.
    #[must_use]
    pub fn new(
        log: MessageLog,
        disk: Arc<dyn Fs>,
        settings: ArchiveSettings,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Arc<Self> {
        let reserve = log.config().min_free_bytes.saturating_mul(2);
        let files = Files::new(disk, &settings, reserve);
        let archiver = Arc::new(Self {
            log,
            settings,
            files,
            clock,
            status: Mutex::default(),
            progress: Mutex::new(None),
            turn: AsyncMutex::new(()),
            stopped: AtomicBool::new(false),
        });
        gauges::register(&archiver, metrics);
        archiver
    }

    /// Archives on schedule until the drain begins.
    pub async fn run(self: Arc<Self>, drain: Drain) {
        let mut next = self.scheduled(self.clock.now());
        // What an interrupted run left is put right at once, and a log that was exchanged is noticed before it grows.
        if let Err(error) = self.look().await {
            tracing::warn!(error = outbound::chain(&error), "archiving cannot begin");
        }
        let mut failures = 0_u32;
        while !drain.is_draining() {
            let wait = async {
                if self.clock.now() < next {
                    self.clock
                        .sleep(LOOK_EVERY.min(self.settings.interval))
                        .await;
                }
            };
            tokio::select! {
                () = drain.requested() => break,
                () = wait => {}
            }
            if self.clock.now() < next {
                let _ = self.look().await;
                continue;
            }
            let stop = async {
                drain.requested().await;
                self.stopped.store(true, Ordering::Relaxed);
                std::future::pending::<()>().await
            };
            let _under_way = drain.guard();
            let result = tokio::select! {
                result = self.run_once() => result,
                () = stop => Ok(()),
            };
            let now = self.clock.now();
            failures = if result.is_ok() {
                0
            } else {
                failures.saturating_add(1)
            };
            next = match failures {
                0 => self.scheduled(now),
                count => {
                    now + RETRY
                        .saturating_mul(1 << count.min(6))
                        .min(self.settings.interval)
                }
            };
        }
        self.stopped.store(true, Ordering::Relaxed);
        // The thread that writes an archive gives up at its next record.
        let _ended = self.turn.lock().await;
    }

    /// Archives all that is stamped and lets leave what is old, now.
    ///
    /// # Errors
    /// [`ArchiveError`]; what was finished before stays.
    pub async fn run_once(self: &Arc<Self>) -> Result<(), ArchiveError> {
        let turn = self.turn.lock().await;
        let archiver = Arc::clone(self);
        // The turn ends with the work, also when nobody waits for it any more.
        let archived = task::spawn_blocking(move || archiver.archive_all());
        let result = archived.await.unwrap_or(Err(ArchiveError::Stopped));
        // What was archived before may leave in any case: perhaps that makes room.
        let left = match &result {
            Err(ArchiveError::Stopped) => Ok(()),
            _ => self.let_leave().await,
        };
        let result = result.and(left);
        drop(turn);
        let now = millis(self.clock.now());
        let mut status = self.status_mut();
        match &result {
            Ok(()) => {
                status.last_run_ms = Some(now);
                status.problem = None;
            }
            Err(ArchiveError::Stopped) => {}
            Err(error) => {
                let text = outbound::chain(error);
                tracing::warn!(
                    error = text,
                    "archiving stopped; the next run goes on from there"
                );
                status.failures = status.failures.saturating_add(1);
                status.problem = Some(text);
            }
        }
        result
    }

    /// What has been done.
    #[must_use]
    pub fn status(&self) -> ArchiveStatus {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The next moment on schedule: multiples of the interval since 1970, as X-Road's clock times.
    fn scheduled(&self, now: Timestamp) -> Timestamp {
        let interval = i64::try_from(self.settings.interval.as_secs())
            .unwrap_or(i64::MAX)
            .max(1);
        let left = interval - now.unix_timestamp().rem_euclid(interval);
        now + time::Duration::seconds(left)
    }

    /// Finishes what an interrupted run began, and sees how old the oldest waiting record is.
    async fn look(self: &Arc<Self>) -> Result<(), ArchiveError> {
        if self.settings.directory.is_none() {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let archiver = Arc::clone(self);
        let looked = task::spawn_blocking(move || {
            let mut progress = archiver.progress();
            let archived = archiver.open(&mut progress)?.progress.archived;
            drop(progress);
            archiver.see_oldest(archived)
        });
        looked.await.unwrap_or(Err(ArchiveError::Stopped))
    }

    fn see_oldest(&self, archived: u64) -> Result<(), ArchiveError> {
        let query = Query {
            after: Some(RecordId::new(archived)),
            limit: 1,
            ..Query::default()
        };
        let oldest = match self.log.find(&query).map_err(log_error)?.first() {
            Some(id) => self.log.read(*id).map_err(log_error)?,
            None => None,
        };
        self.status_mut().oldest_waiting_ms = oldest.map(|record| record.head.time_ms);
        Ok(())
    }

    /// How far archiving has come, read once; what an interrupted run left is finished.
    fn open<'a>(&self, state: &'a mut Option<State>) -> Result<&'a mut State, ArchiveError> {
        if state.is_none() {
            let mut read = self.files.open()?;
            let last = self.log.last_id().get();
            if read.progress.archived > last {
                tracing::warn!(
                    archived = read.progress.archived,
                    last,
                    "the message log ends before what was archived: it is another one, or an older copy; the chain goes on"
                );
                read.progress = Progress {
                    archived: last,
                    window: None,
                    ..read.progress
                };
            }
            *state = Some(read);
        }
        state.as_mut().ok_or(ArchiveError::Stopped)
    }

    fn check_stop(&self) -> Result<(), ArchiveError> {
        if self.stopped.load(Ordering::Relaxed) {
            Err(ArchiveError::Stopped)
        } else {
            Ok(())
        }
    }

    fn progress(&self) -> MutexGuard<'_, Option<State>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status_mut(&self) -> MutexGuard<'_, ArchiveStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_error(source: LogError) -> ArchiveError {
    ArchiveError::Log { source }
}

fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

/// How often it is seen what waits, and whether a run is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// First wait after a failure; it doubles with each up to an hour.
const RETRY: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
