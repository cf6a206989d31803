//! Judging many containers: one thread finds them, all cores judge, and results come in the order in which they were found.

use std::{
    collections::BTreeMap,
    io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
};

use crate::{
    configuration::Configuration,
    judge::{Judged, cannot_judge},
    source::{Job, SourceOptions, Walk, Worker, walk},
    whole::Line,
};

/// How to judge.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// How many threads judge; 0 is one for each core.
    pub threads: usize,
    /// What counts as a source of containers, and how to open it.
    pub source: SourceOptions,
}

/// Judges everything in `files` and shows each result to `each`, in order. Memory does not grow with their number.
///
/// # Errors
/// The first error of `each`, after which nothing more is judged.
pub fn verify(
    files: &[PathBuf],
    options: &VerifyOptions,
    configuration: &Configuration,
    mut each: impl FnMut(Line) -> io::Result<()>,
) -> io::Result<Walk> {
    let threads = match options.threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
    .min(MOST_THREADS);
    let (jobs_in, jobs_out) = mpsc::sync_channel::<(u64, Vec<Job>)>(threads);
    let jobs_out = Mutex::new(jobs_out);
    let (lines_in, lines_out) = mpsc::channel::<(u64, Vec<Line>)>();
    let window = Window::default();
    let large = Mutex::new(());
    thread::scope(|scope| {
        let walker = scope.spawn(|| {
            let jobs_in = jobs_in;
            let mut sheaf = Vec::new();
            let mut number = 0;
            let mut send = |sheaf: &mut Vec<Job>| {
                let jobs = std::mem::take(sheaf);
                let count = u64::try_from(jobs.len()).unwrap_or(u64::MAX);
                let sent = window.wait(number) && jobs_in.send((number, jobs)).is_ok();
                number = number.saturating_add(count);
                match sent {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            };
            let walked = walk(files, &options.source, &mut |job| {
                // handing over one by one costs as much as judging
                let is_small = job.is_small();
                if !is_small && !sheaf.is_empty() {
                    send(&mut sheaf)?;
                }
                sheaf.push(job);
                match is_small && sheaf.len() < SHEAF {
                    true => ControlFlow::Continue(()),
                    false => send(&mut sheaf),
                }
            });
            if !sheaf.is_empty() {
                let _ = send(&mut sheaf);
            }
            walked
        });
        for _ in 0..threads {
            let lines_in = lines_in.clone();
            let (jobs_out, large) = (&jobs_out, &large);
            scope.spawn(move || {
                let mut worker = Worker::default();
                loop {
                    let next = lock(jobs_out).recv();
                    let Ok((number, jobs)) = next else { return };
                    let lines = jobs
                        .into_iter()
                        .map(|job| judge(job, configuration, &mut worker, large))
                        .collect();
                    if lines_in.send((number, lines)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(lines_in);
        let mut result = Ok(());
        let (mut next, mut early) = (0, BTreeMap::new());
        for (number, lines) in lines_out {
            early.insert(number, lines);
            while let Some(lines) = early.remove(&next) {
                for line in lines {
                    next = next.saturating_add(1);
                    if result.is_ok() {
                        result = each(line);
                    }
                }
                window.shown(next, result.is_err());
            }
        }
        let walked = walker
            .join()
            .map_err(|_| io::Error::other("the search for containers failed"));
        result.and(walked)
    })
}

/// One container that this program is not made for must not keep the others from being judged.
fn judge(job: Job, configuration: &Configuration, worker: &mut Worker, large: &Mutex<()>) -> Line {
    let (file, entry) = job.name();
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let _turn = job.is_large().then(|| lock(large));
        job.judge(configuration, worker)
    }));
    judged.unwrap_or_else(|_| {
        *worker = Worker::default();
        let verdict = cannot_judge("this program failed; please report it");
        Line::Container(Box::new(Judged::new(file, entry, verdict)))
    })
}

/// Keeps the finder from running ahead of what was shown: results that came early wait in memory.
#[derive(Debug, Default)]
struct Window {
    shown: Mutex<(u64, bool)>,
    moved: Condvar,
}

impl Window {
    /// Waits until this number is near enough; false when nothing more is wanted.
    fn wait(&self, number: u64) -> bool {
        let shown = self
            .moved
            .wait_while(lock(&self.shown), |(shown, stopped)| {
                !*stopped && number >= shown.saturating_add(AHEAD)
            })
            .unwrap_or_else(PoisonError::into_inner);
        !shown.1
    }

    fn shown(&self, number: u64, stop: bool) {
        *lock(&self.shown) = (number, stop);
        self.moved.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// More threads than any machine's cores help nobody.
const MOST_THREADS: usize = 256;
/// Records that are handed over at once.
const SHEAF: usize = 64;
/// Results that may wait for an earlier one.
const AHEAD: u64 = 1024;
