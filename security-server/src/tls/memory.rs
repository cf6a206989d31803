//! What is remembered of peers' TLS: who speaks modern TLS, and who refused it lately.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use jibek_certs::Timestamp;

use crate::store::Store;

/// Which stack a peer gets. Bounded; what is forgotten is learned again.
pub(super) struct Memory {
    peers: Mutex<HashMap<String, Mark>>,
    store: Option<Store>,
}

/// What is known of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Was reached by rustls once: never tried with OpenSSL again.
    Modern,
    /// Refused rustls: OpenSSL until then.
    Refused { until: Timestamp },
}

impl Memory {
    /// Remembers modern peers in `store` over restarts. An operator who knows better removes the store's folder.
    pub(super) fn new(store: Option<Store>) -> Self {
        let known = store.as_ref().map(|store| store.scan(PREFIX));
        let known = match known.transpose() {
            Ok(known) => known.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "cannot read which peers speak modern TLS; it is learned again");
                Vec::new()
            }
        };
        let peers = known
            .into_iter()
            .take(MOST_PEERS)
            .filter_map(|(key, _)| Some((key.strip_prefix(PREFIX)?.to_owned(), Mark::Modern)))
            .collect();
        Self {
            peers: Mutex::new(peers),
            store,
        }
    }

    /// What counts for `peer` now.
    pub(super) fn get(&self, peer: &str, now: Timestamp) -> Option<Mark> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(peer).copied().filter(|mark| match mark {
            Mark::Modern => true,
            Mark::Refused { until } => now < *until,
        })
    }

    /// Notes that `peer` refused rustls.
    pub(super) fn refused(&self, peer: &str, now: Timestamp) {
        self.set(
            peer,
            Mark::Refused {
                until: now + REFUSED_FOR,
            },
        );
    }

    /// Notes that `peer` was reached by rustls, durably.
    pub(super) async fn reached(&self, peer: &str) {
        if !self.set(peer, Mark::Modern) {
            return;
        }
        if let Some(store) = &self.store
            && let Err(error) = store.put(format!("{PREFIX}{peer}"), Bytes::new()).await
        {
            tracing::warn!(%error, peer, "cannot note that a peer speaks modern TLS");
        }
    }

    /// Sets a mark; tells whether it is news.
    fn set(&self, peer: &str, mark: Mark) -> bool {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.get(peer) == Some(&mark) {
            return false;
        }
        if peers.len() >= MOST_PEERS && !peers.contains_key(peer) {
            peers.retain(|_, mark| *mark == Mark::Modern);
        }
        if peers.len() < MOST_PEERS || peers.contains_key(peer) {
            peers.insert(peer.to_owned(), mark);
        }
        true
    }
}

const PREFIX: &str = "peer-modern/";
const MOST_PEERS: usize = 10_000;
const REFUSED_FOR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use jibek_certs::{Clock, SystemClock};

    use super::*;

    #[tokio::test]
    async fn a_refusal_lasts_an_hour_and_modern_peers_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemClock.now();
        {
            let memory = Memory::new(Some(Store::open(directory.path()).unwrap()));
            assert_eq!(memory.get("a:5500", now), None);
            memory.refused("a:5500", now);
            assert!(matches!(
                memory.get("a:5500", now),
                Some(Mark::Refused { .. })
            ));
            assert_eq!(memory.get("a:5500", now + REFUSED_FOR), None);
            memory.reached("b:5500").await;
        }
        let memory = Memory::new(Some(Store::open(directory.path()).unwrap()));
        assert_eq!(
            memory.get("b:5500", now + REFUSED_FOR * 1000),
            Some(Mark::Modern)
        );
        assert_eq!(memory.get("a:5500", now), None);
    }
}
