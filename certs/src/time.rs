//! Wall time as a value that its owner can move.
//!
//! Libraries take `now` as an argument. What has to read or wait for the time (schedules, expiry, freshness) holds a [`Clock`];
//! I/O deadlines run on real time instead and do not belong here.

use std::{fmt::Debug, future::Future, pin::Pin, time::Duration};

use ::time::OffsetDateTime;
use tokio::sync::watch;

/// A moment, in UTC.
pub type Timestamp = OffsetDateTime;

/// A future that ends when its moment has come.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the time and waits for it.
pub trait Clock: Send + Sync + Debug {
    /// The present moment, UTC.
    fn now(&self) -> Timestamp;

    /// Waits until the clock shows `moment` or later; returns at once when it already does.
    ///
    /// Cancel safe: dropping the future forgets the wait.
    fn sleep_until(&self, moment: Timestamp) -> Sleep;

    /// Waits for `duration` of this clock's time.
    fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(later(self.now(), duration))
    }
}

/// The machine's clock. Needs a tokio runtime to wait.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    fn now(&self) -> Timestamp {
        OffsetDateTime::now_utc()
    }

    fn sleep_until(&self, moment: Timestamp) -> Sleep {
        let clock = *self;
        Box::pin(async move {
            loop {
                let left = moment - clock.now();
                let Ok(left) = Duration::try_from(left) else {
                    return;
                };
                if left.is_zero() {
                    return;
                }
                // The wall clock may be set while we wait: look again at least once a minute.
                tokio::time::sleep(left.min(LONGEST_NAP)).await;
            }
        })
    }
}

/// A clock that stands still until it is moved by hand; moving it wakes those who sleep on it.
#[derive(Debug, Clone)]
pub struct TestClock {
    moment: watch::Sender<Timestamp>,
}

impl TestClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self {
            moment: watch::Sender::new(start),
        }
    }

    /// Moves the clock forward. Clones move together.
    pub fn advance(&self, by: Duration) {
        self.moment
            .send_modify(|moment| *moment = later(*moment, by));
    }

    /// Sets the clock, forward or back.
    pub fn set(&self, to: Timestamp) {
        self.moment.send_replace(to);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.moment.borrow()
    }

    fn sleep_until(&self, moment: Timestamp) -> Sleep {
        // The sender is kept alive by the future, so `changed` cannot fail while we wait.
        let sender = self.moment.clone();
        Box::pin(async move {
            let mut receiver = sender.subscribe();
            while *receiver.borrow_and_update() < moment {
                if receiver.changed().await.is_err() {
                    return;
                }
            }
        })
    }
}

/// `moment` plus `by`, at most the last moment that can be told.
fn later(moment: Timestamp, by: Duration) -> Timestamp {
    let by = ::time::Duration::try_from(by).unwrap_or(::time::Duration::MAX);
    moment.saturating_add(by)
}

const LONGEST_NAP: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use ::time::macros::datetime;

    use super::*;

    #[tokio::test]
    async fn moving_the_test_clock_wakes_sleepers() {
        let clock = TestClock::new(datetime!(2026-11-23 05:00 UTC));
        let sleeper = tokio::spawn(clock.sleep(Duration::from_secs(60)));
        clock.advance(Duration::from_secs(59));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.clone().set(datetime!(2026-11-23 05:01 UTC));
        sleeper.await.unwrap();
        clock.sleep(Duration::ZERO).await;
    }

    #[tokio::test]
    async fn the_system_clock_returns_at_once_for_the_past() {
        let now = SystemClock.now();
        SystemClock
            .sleep_until(now - ::time::Duration::hours(1))
            .await;
        SystemClock.sleep(Duration::from_millis(2)).await;
        assert!(SystemClock.now() >= now + ::time::Duration::milliseconds(2));
    }
}
