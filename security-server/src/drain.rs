//! Ending without losing anything: stop taking new work, finish what is under way, within a deadline.
//!
//! One [`Drain`] belongs to the server; every listener and background task holds a clone. Whatever must
//! not be cut short (an exchange, a container being sent, a publication to disk) holds an [`InFlight`]
//! guard. A second signal is not needed to leave: [`Drain::finished`] has a deadline of its own.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
    time,
};

/// Tells every part of the server that it is about to end, and counts what is still under way.
#[derive(Clone, Debug)]
pub struct Drain {
    shared: Arc<Shared>,
}

impl Drain {
    /// Makes a drain that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                begun: watch::Sender::new(false),
                in_flight: AtomicUsize::new(0),
                idle: Notify::new(),
            }),
        }
    }

    /// Begins the drain; more calls change nothing.
    pub fn begin(&self) {
        self.shared.begun.send_replace(true);
    }

    /// Tells whether the drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.shared.begun.borrow()
    }

    /// Waits until the drain begins; at once when it has. Cancel safe.
    pub async fn requested(&self) {
        let mut begun = self.shared.begun.subscribe();
        // An error means that the sender is gone, which `self` prevents.
        let _unreachable = begun.wait_for(|begun| *begun).await;
    }

    /// Marks one piece of work as under way until the guard is dropped.
    ///
    /// Work may begin during a drain: a request that was accepted before it counts as well.
    #[must_use]
    pub fn guard(&self) -> InFlight {
        self.shared.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Counts the guards held now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Acquire)
    }

    /// Waits until nothing is under way any more, at most for `deadline` of real time.
    ///
    /// Call it after [`Drain::begin`] and after the listeners have stopped accepting.
    pub async fn finished(&self, deadline: Duration) -> Drained {
        let idle = async {
            loop {
                let woken = self.shared.idle.notified();
                tokio::pin!(woken);
                // Register before looking, so that a guard dropped in between is not missed.
                woken.as_mut().enable();
                if self.in_flight() == 0 {
                    return;
                }
                woken.await;
            }
        };
        match time::timeout(deadline, idle).await {
            Ok(()) => Drained::InTime,
            Err(_) => Drained::Abandoned(self.in_flight()),
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

/// One piece of work under way; its end is the drop of this value.
#[derive(Debug)]
pub struct InFlight {
    shared: Arc<Shared>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.shared.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.idle.notify_waiters();
        }
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Drained {
    /// That many pieces of work were cut off by the deadline.
    Abandoned(usize),
    /// Everything under way was finished.
    InTime,
}

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// When the operating system refuses the handler.
pub async fn termination() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[derive(Debug)]
struct Shared {
    begun: watch::Sender<bool>,
    in_flight: AtomicUsize,
    idle: Notify,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requested_returns_only_after_begin_and_then_at_once() {
        let drain = Drain::new();
        assert!(!drain.is_draining());
        let waiter = tokio::spawn({
            let drain = drain.clone();
            async move { drain.requested().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drain.begin();
        drain.begin();
        waiter.await.unwrap();
        drain.requested().await;
        assert!(drain.is_draining());
    }

    #[tokio::test]
    async fn work_in_flight_is_waited_for() {
        let drain = Drain::new();
        let guards = [drain.guard(), drain.guard()];
        assert_eq!(drain.in_flight(), 2);
        let waiter = tokio::spawn({
            let drain = drain.clone();
            async move { drain.finished(Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(guards);
        assert_eq!(waiter.await.unwrap(), Drained::InTime);
    }

    #[tokio::test]
    async fn the_deadline_cuts_off_and_says_how_many() {
        let drain = Drain::new();
        let _guard = drain.guard();
        assert_eq!(
            drain.finished(Duration::from_millis(5)).await,
            Drained::Abandoned(1)
        );
    }

    #[tokio::test]
    async fn nothing_in_flight_ends_at_once() {
        assert_eq!(Drain::new().finished(Duration::ZERO).await, Drained::InTime);
    }
}
