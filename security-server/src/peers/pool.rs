//! Open connections that wait for the next message.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::link::Link;
use crate::config::PeerSettings;

/// Unused connections by address. Bounded for each address, in time unused and in age.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<HashMap<String, Vec<Idle>>>,
    idle_timeout: Duration,
    most_age: Duration,
    most: usize,
    sweeping: AtomicBool,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

impl Pool {
    pub(super) fn new(settings: &PeerSettings) -> Arc<Self> {
        Arc::new(Self {
            idle: Mutex::default(),
            idle_timeout: settings.idle_timeout,
            most_age: settings.connection_age,
            most: settings.connections_per_peer,
            sweeping: AtomicBool::new(false),
        })
    }

    /// Takes the connection to `host` that was used last and still lives, made with our certificate `auth`.
    pub(super) async fn take(&self, host: &str, auth: &[u8; 32]) -> Option<Link> {
        loop {
            let mut link = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                let waiting = idle.get_mut(host)?;
                let newest = waiting.pop();
                if waiting.is_empty() {
                    idle.remove(host);
                }
                newest
                    .filter(|newest| newest.since.elapsed() < self.idle_timeout)?
                    .link
            };
            if link.auth != *auth || link.sender.is_closed() || self.is_old(&link) {
                continue;
            }
            // Gives the connection's own task the chance to notice that the other end has gone.
            if let Ok(Ok(())) = timeout(READY_WITHIN, link.sender.ready()).await {
                return Some(link);
            }
        }
    }

    /// Tells whether there may be a connection to `host`.
    pub(super) fn holds(&self, host: &str, auth: &[u8; 32]) -> bool {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.get(host).is_some_and(|waiting| {
            waiting
                .iter()
                .any(|idle| idle.link.auth == *auth && !idle.link.sender.is_closed())
        })
    }

    /// Keeps a connection whose exchange is complete.
    pub(super) fn put(self: &Arc<Self>, link: Link) {
        if link.sender.is_closed() || self.is_old(&link) {
            return;
        }
        {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting = idle.entry(link.host.clone()).or_default();
            if waiting.len() >= self.most {
                waiting.remove(0);
            }
            waiting.push(Idle {
                link,
                since: Instant::now(),
            });
        }
        if !self.sweeping.swap(true, Ordering::AcqRel) {
            let pool = Arc::downgrade(self);
            let pause = self.idle_timeout.min(SWEEP_EVERY);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(pause).await;
                    let Some(pool) = pool.upgrade() else { return };
                    if pool.sweep() {
                        return;
                    }
                }
            });
        }
    }

    fn is_old(&self, link: &Link) -> bool {
        link.opened.elapsed() >= self.most_age
    }

    /// Drops what waits too long, is too old or is dead; tells whether nothing is left (and then the sweeper ends).
    fn sweep(&self) -> bool {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, waiting| {
            waiting.retain(|idle| {
                idle.since.elapsed() < self.idle_timeout
                    && !idle.link.sender.is_closed()
                    && !self.is_old(&idle.link)
            });
            !waiting.is_empty()
        });
        let empty = idle.is_empty();
        if empty {
            self.sweeping.store(false, Ordering::Release); // under the lock: a later `put` starts a new sweeper
        }
        empty
    }
}

const SWEEP_EVERY: Duration = Duration::from_secs(10);
const READY_WITHIN: Duration = Duration::from_millis(200);
