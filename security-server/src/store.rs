//! What a server learned and must not forget: OCSP answers, which peers speak modern TLS.
//!
//! The only caller of sled, under the precautions that its measurements asked for: a flush of sled is not durable on Linux, so the
//! file `db` is synced after it; values over 4000 bytes go to files of their own, because sled never syncs its big nodes;
//! one writer at a time.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use jibek_certs::{DigestAlgorithm, digest::digest};

/// A durable map from short text keys to bytes. Clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A value that lives in a file of its own could not be read, written or removed.
    #[error("cannot {what} {path}")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The store's directory cannot be opened (another process holds it, or it is damaged).
    #[error("cannot open the store at {path}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// The reason.
        source: sled::Error,
    },
    /// A key is empty or longer than 256 bytes.
    #[error("a key of {length} bytes is not between 1 and {MOST_KEY_BYTES}")]
    Key {
        /// The key's length.
        length: usize,
    },
    /// Reading or writing failed.
    #[error("cannot {what} in the store")]
    Use {
        /// What was tried.
        what: &'static str,
        /// The reason.
        source: sled::Error,
    },
    /// The thread that wrote was lost.
    #[error("the store's writer was lost")]
    Writer,
}

impl Store {
    /// Opens the store at `directory`, creating it when absent.
    ///
    /// # Errors
    /// The directory is held by another process, damaged, or not writable.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let db = open(directory).map_err(|source| StoreError::Open {
            path: directory.to_owned(),
            source,
        })?;
        let values = directory.join("values");
        std::fs::create_dir_all(&values).map_err(|source| StoreError::File {
            what: "create",
            path: values.clone(),
            source,
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                db,
                directory: directory.to_owned(),
                values,
                writer: Mutex::new(()),
            }),
        })
    }

    /// Returns the value of `key`.
    ///
    /// # Errors
    /// The disk failed, or the file of a big value is gone.
    pub fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let found = self.inner.db.get(key).map_err(|source| StoreError::Use {
            what: "read",
            source,
        })?;
        found.map(|value| self.inner.resolve(&value)).transpose()
    }

    /// Returns all keys that begin with `prefix` and their values, in the order of the keys.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn scan(&self, prefix: &str) -> Result<Vec<(String, Bytes)>, StoreError> {
        let mut found = Vec::new();
        for entry in self.inner.db.scan_prefix(prefix) {
            let (key, value) = entry.map_err(|source| StoreError::Use {
                what: "read",
                source,
            })?;
            found.push((
                String::from_utf8_lossy(&key).into_owned(),
                self.inner.resolve(&value)?,
            ));
        }
        Ok(found)
    }

    /// Sets `key` to `value`. Durable when it resolves; a dropped future may leave the old value or the new.
    ///
    /// # Errors
    /// The key is too long, or the disk failed.
    pub async fn put(&self, key: String, value: Bytes) -> Result<(), StoreError> {
        if key.is_empty() || key.len() > MOST_KEY_BYTES {
            return Err(StoreError::Key { length: key.len() });
        }
        self.write(move |inner| inner.put(&key, &value)).await
    }

    /// Forgets `key`. Durable when it resolves.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn remove(&self, key: String) -> Result<(), StoreError> {
        self.write(move |inner| inner.remove(&key)).await
    }

    async fn write(
        &self,
        work: impl FnOnce(&Inner) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || {
            let _one_at_a_time = inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
            work(&inner)
        })
        .await
        .map_err(|_| StoreError::Writer)?
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Store")
            .field("directory", &self.inner.directory)
            .finish_non_exhaustive()
    }
}

struct Inner {
    db: sled::Db,
    directory: PathBuf,
    values: PathBuf,
    writer: Mutex<()>,
}

impl Inner {
    fn put(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let stored = if value.len() <= INLINE_BYTES {
            let mut stored = Vec::with_capacity(value.len() + 1);
            stored.push(INLINE);
            stored.extend_from_slice(value);
            stored
        } else {
            let name = digest(DigestAlgorithm::Sha256, value).to_hex();
            let path = self.values.join(&name);
            jibek_conf::files::atomic_write(&path, value).map_err(|source| StoreError::File {
                what: "write",
                path,
                source: io::Error::other(source),
            })?;
            let mut stored = vec![IN_FILE];
            stored.extend_from_slice(name.as_bytes());
            stored
        };
        let old = self
            .db
            .insert(key, stored)
            .map_err(|source| StoreError::Use {
                what: "write",
                source,
            })?;
        self.sync()?;
        self.discard(old.as_deref(), value);
        Ok(())
    }

    fn remove(&self, key: &str) -> Result<(), StoreError> {
        let old = self.db.remove(key).map_err(|source| StoreError::Use {
            what: "remove",
            source,
        })?;
        self.sync()?;
        self.discard(old.as_deref(), &[]);
        Ok(())
    }

    /// Makes what was written durable: sled's flush ends in `sync_file_range`, which flushes neither the drive's cache nor the
    /// file's size.
    fn sync(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(|source| StoreError::Use {
            what: "flush",
            source,
        })?;
        let path = self.directory.join("db");
        File::open(&path)
            .and_then(|file| file.sync_data())
            .map_err(|source| StoreError::File {
                what: "sync",
                path,
                source,
            })
    }

    fn resolve(&self, stored: &[u8]) -> Result<Bytes, StoreError> {
        match stored.split_first() {
            Some((&IN_FILE, name)) => {
                let path = self.values.join(String::from_utf8_lossy(name).as_ref());
                let value = std::fs::read(&path).map_err(|source| StoreError::File {
                    what: "read",
                    path,
                    source,
                })?;
                Ok(Bytes::from(value))
            }
            Some((_, value)) => Ok(Bytes::from(value.to_vec())),
            None => Ok(Bytes::new()),
        }
    }

    /// Removes the file of a value that was replaced, unless another key or the new value has the same bytes. A file that stays
    /// behind costs space only.
    fn discard(&self, old: Option<&[u8]>, new: &[u8]) {
        let Some((&IN_FILE, name)) = old.and_then(<[u8]>::split_first) else {
            return;
        };
        let same = new.len() > INLINE_BYTES
            && digest(DigestAlgorithm::Sha256, new).to_hex().as_bytes() == name;
        let shared = self
            .db
            .iter()
            .values()
            .flatten()
            .any(|value| value.as_ref() == old.unwrap_or_default());
        if !same && !shared {
            let _ = std::fs::remove_file(self.values.join(String::from_utf8_lossy(name).as_ref()));
        }
    }
}

/// Longest value kept in a tree node: a leaf holds up to 16 entries, and nodes over 128 KiB are never synced by sled.
const INLINE_BYTES: usize = 4000;
const MOST_KEY_BYTES: usize = 256;
const CACHE_BYTES: u64 = 4 * 1024 * 1024;
const INLINE: u8 = 0;
const IN_FILE: u8 = 1;

/// Opens the database. One that was closed a moment ago may still be locked, because sled lets go of its lock on threads
/// of its own: so it is tried again, for two seconds at most.
fn open(directory: &Path) -> sled::Result<sled::Db> {
    let mut tries = 0;
    loop {
        let opened = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open();
        match opened {
            Err(sled::Error::Io(_)) if tries < 40 => {
                tries += 1;
                std::thread::park_timeout(Duration::from_millis(50));
            }
            opened => return opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_small_and_big_values_over_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let big = Bytes::from(vec![7; 20_000]);
        {
            let store = Store::open(directory.path()).unwrap();
            store
                .put("ocsp/a".into(), Bytes::from_static(b"small"))
                .await
                .unwrap();
            store.put("ocsp/b".into(), big.clone()).await.unwrap();
            store.put("other".into(), Bytes::new()).await.unwrap();
        }
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.get("ocsp/b").unwrap(), Some(big.clone()));
        assert_eq!(store.get("other").unwrap(), Some(Bytes::new()));
        assert_eq!(
            store.scan("ocsp/").unwrap(),
            [
                ("ocsp/a".to_owned(), Bytes::from_static(b"small")),
                ("ocsp/b".to_owned(), big)
            ]
        );
        store
            .put("ocsp/b".into(), Bytes::from_static(b"now small"))
            .await
            .unwrap();
        assert_eq!(
            std::fs::read_dir(directory.path().join("values"))
                .unwrap()
                .count(),
            0
        );
        store.remove("ocsp/a".into()).await.unwrap();
        assert_eq!(store.get("ocsp/a").unwrap(), None);
        assert!(store.put("k".repeat(300), Bytes::new()).await.is_err());
    }
}
