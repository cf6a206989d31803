//! The history of what was published: written when the content changed, before the directories that name it are served.
//!
//! The layout is that of [`jibek_conf::history`], with what was signed beside it under `signed/`. Equal files are one file.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use jibek_conf::{
    files::{
        ConfDir, FilesError, PRIVATE_FILE, SHARED_FILE, atomic_write, create_dir_durably,
        link_or_write, read_bounded, rename_durably,
    },
    history::{History, change_name},
    snapshot::Snapshot,
};
use time::OffsetDateTime;
use tracing::warn;

use crate::config::explained;

/// What is kept of one version.
#[derive(Clone, Debug)]
pub(crate) struct Kept<'a> {
    pub(crate) version: u8,
    pub(crate) shared: &'a Bytes,
    pub(crate) private: &'a Bytes,
    /// Signed directories by their file names.
    pub(crate) directories: Vec<(&'static str, &'a Bytes)>,
}

/// Writes the history below a state directory.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    folder: PathBuf,
}

impl Keeper {
    pub(crate) fn open(state_dir: &Path) -> Result<Self, FilesError> {
        let folder = state_dir.join("history");
        create_dir_durably(folder.join(SIGNED))?;
        Ok(Self { folder })
    }

    /// Whether the newest change has exactly these parts.
    pub(crate) fn has(&self, parts: &[Kept<'_>]) -> Result<bool, FilesError> {
        let Some(newest) = self.newest()? else {
            return Ok(false);
        };
        let same =
            |path: PathBuf, bytes: &Bytes| read_bounded(&path).is_ok_and(|kept| kept == *bytes);
        Ok(parts.iter().all(|part| {
            let folder = newest.join(format!("V{}", part.version));
            same(folder.join(SHARED_FILE), part.shared)
                && same(folder.join(PRIVATE_FILE), part.private)
        }))
    }

    /// Keeps a change: what was signed, then the configuration as verifiers take it, which appears whole or not at all.
    /// Its time is `now`, or a nanosecond after the newest change when that is not older.
    pub(crate) fn keep(
        &self,
        newest_version: &Snapshot,
        parts: &[Kept<'_>],
        now: OffsetDateTime,
    ) -> Result<(), FilesError> {
        let history = History::open(&self.folder)?;
        let before = self.newest()?;
        let last = history.changes().last().copied();
        let at = match last.filter(|last| *last >= now) {
            Some(last) => last + Duration::from_nanos(1),
            None => now,
        };
        let name = change_name(at);
        let signed = self.folder.join(SIGNED).join(&name);
        let mut stored: Vec<(Bytes, PathBuf)> = Vec::new();
        for part in parts {
            let version = format!("V{}", part.version);
            let folder = signed.join(&version);
            create_dir_durably(&folder)?;
            for (file, bytes) in [(SHARED_FILE, part.shared), (PRIVATE_FILE, part.private)] {
                let path = folder.join(file);
                let older = before
                    .as_ref()
                    .map(|before| before.join(&version).join(file));
                let equal = stored
                    .iter()
                    .find(|(known, _)| known == bytes)
                    .map(|(_, path)| path.clone());
                link_or_write(&path, bytes, equal.into_iter().chain(older))?;
                stored.push((bytes.clone(), path));
            }
            for (file, bytes) in &part.directories {
                atomic_write(folder.join(file), bytes)?;
            }
        }
        let temporary = self.folder.join(format!(".{name}.tmp"));
        let _ = fs::remove_dir_all(&temporary);
        ConfDir::new(&temporary).store_verification(newest_version)?;
        // The shared parameters are those beside the signatures.
        for part in newest_version.parts() {
            let copy = temporary
                .join(jibek_conf::files::directory_name(part.instance))
                .join(SHARED_FILE);
            let equal = stored
                .iter()
                .find(|(known, _)| known == part.shared)
                .map(|(_, path)| path.clone());
            link_or_write(&copy, part.shared, equal)?;
        }
        let path = self.folder.join(&name);
        rename_durably(&temporary, &path)
    }

    /// Removes changes older than the horizon, except the one that was in force then.
    pub(crate) fn prune(&self, horizon: OffsetDateTime) {
        let Ok(history) = History::open(&self.folder) else {
            return;
        };
        let upto = history
            .changes()
            .partition_point(|change| *change <= horizon);
        for change in history.changes().iter().take(upto.saturating_sub(1)) {
            let name = change_name(*change);
            for folder in [
                self.folder.join(&name),
                self.folder.join(SIGNED).join(&name),
            ] {
                if let Err(error) = fs::remove_dir_all(&folder)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    warn!(folder = %folder.display(), reason = explained(&error), "an old part of the history cannot be removed");
                }
            }
        }
    }

    /// What was signed at the newest change.
    fn newest(&self) -> Result<Option<PathBuf>, FilesError> {
        let history = History::open(&self.folder)?;
        let last = history.changes().last();
        Ok(last.map(|last| self.folder.join(SIGNED).join(change_name(*last))))
    }
}

const SIGNED: &str = "signed";
