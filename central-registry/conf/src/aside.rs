//! Work on whole configurations, beside everything else.
//!
//! A country's configuration takes a second or two to read, and long enough to let go. Neither happens where messages are
//! served: each gets a thread of its own that yields to the others.

use tokio::sync::oneshot;

/// The work ended without a result: its thread could not be started, or panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work on a configuration broke down")]
pub struct BrokenDown;

/// Does `work` in a thread of low priority. Cancel safe in that nothing waits any more; the work ends in its own time.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BrokenDown> {
    let (done, result) = oneshot::channel();
    start(move || {
        // Who waited for it may be gone.
        let _ = done.send(work());
    })?;
    result.await.map_err(|_| BrokenDown)
}

/// Drops something large where nobody waits; here, when there is no thread to be had.
pub(crate) fn drop_aside(rubble: impl Send + 'static) {
    // Without a thread the closure, and all it holds, is dropped by `spawn` itself.
    let _ = start(move || drop(rubble));
}

fn start(work: impl FnOnce() + Send + 'static) -> Result<(), BrokenDown> {
    let builder = std::thread::Builder::new().name("jibek-conf".to_owned());
    let started = builder.spawn(move || {
        yield_to_others();
        work();
    });
    started.map(drop).map_err(|_| BrokenDown)
}

/// Lowers the priority of this thread (on Linux each has its own), so that it gets what the others leave: under full load
/// about a tenth of a core.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        let lowered = getpriority_process(None)
            .and_then(|now| setpriority_process(None, (now + NICE).min(LOWEST)));
        if let Err(error) = lowered {
            tracing::debug!(%error, "a configuration is read at normal priority");
        }
    }
}

#[cfg(target_os = "linux")]
const NICE: i32 = 10;
#[cfg(target_os = "linux")]
const LOWEST: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_elsewhere_and_a_panic_is_told() {
        let here = std::thread::current().id();
        let there = aside(|| std::thread::current().id()).await.unwrap();
        assert_ne!(here, there);
        assert_eq!(
            aside(|| panic!("on purpose")).await,
            Err::<(), _>(BrokenDown)
        );
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_the_thread_beside_yields() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        assert_eq!(aside(nice).await.unwrap(), (before + NICE).min(LOWEST));
        assert_eq!(nice(), before);
    }
}
