//! Bodies: what is kept of them, what they take of memory, how often they are copied, and how many messages go at once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it met by failing, its helpers too"
)]

mod bodies {
    mod copies;
    mod crowd;
    mod kept;
    mod large;

    use tokio::sync::{Mutex, MutexGuard};

    /// Tests of this program measure the process or load the machine: one goes after the other.
    async fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::const_new(());
        ALONE.lock().await
    }
}
