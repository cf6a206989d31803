//! In which order authorities are asked.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jibek_certs::time::Timestamp;

/// Remembers who failed or was overtaken lately.
#[derive(Debug, Default)]
pub(super) struct Order {
    last_until: Mutex<HashMap<String, Timestamp>>,
}

impl Order {
    /// These authorities in the order in which to ask at `now`: as given, but those last that failed lately.
    pub(super) fn of(&self, mut urls: Vec<String>, now: Timestamp) -> Vec<String> {
        let mut last = self.lock();
        // A clock that jumped back must not keep anybody last for years; one that left the configuration is forgotten.
        last.retain(|url, until| {
            *until > now && *until <= now.saturating_add(LAST_FOR) && urls.contains(url)
        });
        urls.sort_by_key(|url| last.contains_key(url));
        urls
    }

    /// These did not answer well, or not in time.
    pub(super) fn late(&self, urls: &[String], now: Timestamp) {
        let until = now.saturating_add(LAST_FOR);
        self.lock()
            .extend(urls.iter().map(|url| (url.clone(), until)));
    }

    /// This one did.
    pub(super) fn well(&self, url: &str) {
        self.lock().remove(url);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.last_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

const LAST_FOR: time::Duration = time::Duration::minutes(10);
