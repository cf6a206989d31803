//! When the next signature is made.
//!
//! A private key is used for a small share of the time at most: the next signature starts no sooner than a few times what the
//! last one took after that one started. Messages that come meanwhile share it. Who comes after a pause finds the time over and
//! does not wait; nor does anybody when all messages under way wait already, since nobody can join them. So a call alone pays
//! nothing, and under load the cost of a signature is divided by as many messages as come in some milliseconds.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Sealing;

/// The pace of one key.
#[derive(Debug)]
pub(super) struct Pace {
    settings: Sealing,
    next: Instant,
}

impl Pace {
    pub(super) fn new(settings: Sealing) -> Self {
        Self {
            settings,
            next: Instant::now(),
        }
    }

    /// Most messages of one signature.
    pub(super) fn most(&self) -> usize {
        self.settings.messages
    }

    /// When the next signature may be made. It lies in the past when there was a pause.
    pub(super) fn earliest_start(&self) -> Instant {
        self.next
    }

    /// Takes note of a signature.
    pub(super) fn signed(&mut self, started: Instant, took: Duration) {
        let wait = took
            .saturating_mul(SHARE)
            .min(took.saturating_add(self.settings.wait));
        self.next = started + wait;
    }
}

/// One part in so many of the time is spent on signing.
const SHARE: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_one_waits_some_times_what_the_last_one_took_and_within_a_bound() {
        let wait = Duration::from_millis(5);
        let mut pace = Pace::new(Sealing { messages: 9, wait });
        assert_eq!(pace.most(), 9);
        let start = Instant::now();
        for (took, until) in [(0, 0), (300, 3000), (600, 5600), (50_000, 55_000)] {
            pace.signed(start, Duration::from_micros(took));
            assert_eq!(pace.earliest_start() - start, Duration::from_micros(until));
        }
    }
}
