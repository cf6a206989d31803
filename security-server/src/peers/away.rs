//! Which peers went away a moment ago, and may be back in another.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// When addresses were reached last, and since when they are not. Bounded; what is forgotten is learned again.
#[derive(Debug, Default)]
pub(super) struct Away {
    peers: Mutex<HashMap<String, Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    reached: Instant,
    missed: Option<Instant>,
}

impl Away {
    /// A connection to `host` was made or found.
    pub(super) fn reached(&self, host: &str) {
        let now = Instant::now();
        let mut peers = self.peers();
        if let Some(seen) = peers.get_mut(host) {
            *seen = Seen {
                reached: now,
                missed: None,
            };
            return;
        }
        if peers.len() >= MOST_PEERS {
            peers.retain(|_, seen| seen.reached.elapsed() < LATELY);
        }
        if peers.len() < MOST_PEERS {
            let seen = Seen {
                reached: now,
                missed: None,
            };
            peers.insert(host.to_owned(), seen);
        }
    }

    /// No connection to `host` could be made.
    pub(super) fn missed(&self, host: &str) {
        if let Some(seen) = self.peers().get_mut(host) {
            seen.missed.get_or_insert_with(Instant::now);
        }
    }

    /// Tells whether `host` was reached lately and missed for a moment only.
    pub(super) fn may_return(&self, host: &str) -> bool {
        self.peers().get(host).is_some_and(|seen| {
            seen.reached.elapsed() < LATELY
                && seen
                    .missed
                    .is_none_or(|since| since.elapsed() < RETURNS_WITHIN)
        })
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const LATELY: Duration = Duration::from_secs(600);
/// A server of ours is back within a second or two, with its log; a Java server takes longer than anybody wants to wait.
const RETURNS_WITHIN: Duration = Duration::from_secs(10);
const MOST_PEERS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_was_there_is_waited_for_and_not_for_long() {
        let away = Away::default();
        away.missed("never seen");
        assert!(!away.may_return("never seen"));
        away.reached("here");
        away.missed("here");
        assert!(away.may_return("here"));
        tokio::time::advance(RETURNS_WITHIN / 2).await;
        away.missed("here");
        assert!(away.may_return("here"));
        tokio::time::advance(RETURNS_WITHIN / 2).await;
        assert!(!away.may_return("here"), "counted from the first miss");
        away.reached("here");
        assert!(away.may_return("here"));
        tokio::time::advance(LATELY).await;
        assert!(!away.may_return("here"));
    }
}
