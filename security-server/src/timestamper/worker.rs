//! One thread for the heavy work of stamping.
//!
//! A batch takes some megabytes for a moment. The system's allocator keeps what was freed for the thread that had it, so on
//! the threads of a pool each batch would find its memory anew, and a server would keep as many batches' worth as the pool
//! has threads. On one thread the next batch takes what the last one left.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        mpsc::{Sender, channel},
    },
};

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// The thread. It starts with the first piece of work and ends with this value.
#[derive(Debug, Default)]
pub(super) struct Worker {
    jobs: Mutex<Option<Sender<Job>>>,
}

impl Worker {
    /// Does `work` after what was given before; `None` when it did not come to its end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.send(Box::new(move || {
            let _ = reply.send(work());
        }));
        answer.await.ok()
    }

    fn send(&self, job: Job) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.is_none() {
            *jobs = start();
        }
        // Without a thread the work is dropped, and whoever waits for it learns that.
        let _ = jobs.as_ref().map(|jobs| jobs.send(job));
    }
}

fn start() -> Option<Sender<Job>> {
    let (jobs, waiting) = channel::<Job>();
    let started = std::thread::Builder::new()
        .name("stamping".to_owned())
        .spawn(move || {
            for job in waiting {
                // What panics has told so, and is not the next one's business.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        });
    match started {
        Ok(_) => Some(jobs),
        Err(error) => {
            tracing::error!(%error, "no thread for stamping");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_work_is_done_on_one_thread_that_survives_it() {
        let worker = Worker::default();
        let name = || {
            let thread = std::thread::current();
            (thread.id(), thread.name().map(str::to_owned))
        };
        let first = worker.run(name).await.unwrap();
        assert_eq!(first.1.as_deref(), Some("stamping"));
        assert_eq!(worker.run(name).await.unwrap(), first);
        assert_eq!(worker.run(|| -> u8 { panic!("as said") }).await, None);
        assert_eq!(worker.run(name).await.unwrap(), first);
    }
}
