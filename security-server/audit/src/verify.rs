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
    source::{Job, SourceOptions, Walk, walk},
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
    let (jobs_in, jobs_out) = mpsc::sync_channel::<(u64, Job)>(threads);
    let jobs_out = Mutex::new(jobs_out);
    let (lines_in, lines_out) = mpsc::channel::<(u64, Line)>();
    let window = Window::default();
    let large = Mutex::new(());
    thread::scope(|scope| {
        let walker = scope.spawn(|| {
            let jobs_in = jobs_in;
            let mut number = 0;
            walk(files, &options.source, &mut |job| {
                let sent = window.wait(number) && jobs_in.send((number, job)).is_ok();
                number = number.saturating_add(1);
                match sent {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })
        });
        for _ in 0..threads {
            let lines_in = lines_in.clone();
            let (jobs_out, large) = (&jobs_out, &large);
            scope.spawn(move || {
                loop {
                    let next = lock(jobs_out).recv();
                    let Ok((number, job)) = next else { return };
                    let (file, entry) = job.name();
                    // one container that this program is not made for must not keep the others from being judged
                    let line = catch_unwind(AssertUnwindSafe(|| {
                        let _turn = job.is_large().then(|| lock(large));
                        job.judge(configuration)
                    }))
                    .unwrap_or_else(|_| {
                        let verdict = cannot_judge("this program failed; please report it");
                        Line::Container(Box::new(Judged::new(file, entry, verdict)))
                    });
                    if lines_in.send((number, line)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(lines_in);
        let mut result = Ok(());
        let (mut next, mut early) = (0, BTreeMap::new());
        for (number, line) in lines_out {
            early.insert(number, line);
            while let Some(line) = early.remove(&next) {
                next = next.saturating_add(1);
                if result.is_ok() {
                    result = each(line);
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
/// Results that may wait for an earlier one.
const AHEAD: u64 = 1024;
