//! Durable replacement of files: whoever reads sees the old or the new bytes, also after a crash.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{FilesError, os};

/// Replaces a file: it holds the old or the new bytes, never less, also after a crash. Durable when it returns.
///
/// # Errors
/// [`FilesError::Os`]; the old file is then unharmed.
pub fn atomic_write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FilesError> {
    atomic_write_with(path.as_ref(), bytes, None)
}

/// As [`atomic_write`], for secrets: nobody but the owner of the process can read the file.
///
/// # Errors
/// [`FilesError::Os`]; the old file is then unharmed.
pub fn atomic_write_private(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FilesError> {
    atomic_write_with(path.as_ref(), bytes, Some(0o600))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the module for durable replacement of files"
)]
fn atomic_write_with(path: &Path, bytes: &[u8], mode: Option<u32>) -> Result<(), FilesError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| FilesError::Name {
        name: path.display().to_string(),
    })?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temporary = directory.join(format!(
        ".{}.{}-{number}.tmp",
        name.to_string_lossy(),
        std::process::id()
    ));
    let written = (|| {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        if let Some(mode) = mode {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        }
        let mut file = options
            .open(&temporary)
            .map_err(|source| os("create", &temporary, source))?;
        file.write_all(bytes)
            .map_err(|source| os("write", &temporary, source))?;
        file.sync_all()
            .map_err(|source| os("sync", &temporary, source))?;
        fs::rename(&temporary, path).map_err(|source| os("replace", path, source))
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_directory(directory)
}

/// Creates a directory and those above it, durably.
///
/// # Errors
/// [`FilesError::Os`].
pub fn create_dir_durably(path: impl AsRef<Path>) -> Result<(), FilesError> {
    let path = path.as_ref();
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    if let Some(parent) = parent {
        create_dir_durably(parent)?;
    }
    match fs::create_dir(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            return Err(os("create", path, source));
        }
        _ => {}
    }
    sync_directory(parent.unwrap_or(Path::new(".")))
}

/// Makes entries of a directory durable.
///
/// # Errors
/// [`FilesError::Os`].
pub fn sync_directory(path: &Path) -> Result<(), FilesError> {
    let directory = File::open(path).map_err(|source| os("open", path, source))?;
    directory
        .sync_all()
        .map_err(|source| os("sync", path, source))
}

/// Gives a file or a directory another name in the same folder, durably; what had that name is replaced.
///
/// # Errors
/// [`FilesError::Os`].
#[expect(
    clippy::disallowed_methods,
    reason = "this is the module for durable replacement of files"
)]
pub fn rename_durably(from: &Path, to: &Path) -> Result<(), FilesError> {
    fs::rename(from, to).map_err(|source| os("rename to", to, source))?;
    sync_directory(to.parent().unwrap_or(Path::new(".")))
}

/// Makes a file with these bytes: a further name of the first candidate that has them, else a file of its own. Nobody may
/// write into such a file afterwards. Durable when it returns.
///
/// # Errors
/// [`FilesError::Os`].
pub fn link_or_write(
    path: &Path,
    bytes: &[u8],
    candidates: impl IntoIterator<Item = PathBuf>,
) -> Result<(), FilesError> {
    for candidate in candidates {
        if candidate != path && read_bounded(&candidate).is_ok_and(|found| found == bytes) {
            let _ = fs::remove_file(path);
            if fs::hard_link(&candidate, path).is_ok() {
                return sync_directory(path.parent().unwrap_or(Path::new(".")));
            }
        }
    }
    atomic_write(path, bytes)
}

/// Reads a whole file of bounded size.
///
/// # Errors
/// [`FilesError::Os`], [`FilesError::TooLarge`].
pub fn read_bounded(path: &Path) -> Result<Vec<u8>, FilesError> {
    let file = File::open(path).map_err(|source| os("open", path, source))?;
    let mut bytes = Vec::new();
    let read = file
        .take(
            u64::try_from(FILE_BYTES)
                .unwrap_or(u64::MAX)
                .saturating_add(1),
        )
        .read_to_end(&mut bytes)
        .map_err(|source| os("read", path, source))?;
    if read > FILE_BYTES {
        return Err(FilesError::TooLarge {
            path: path.to_owned(),
            max_bytes: FILE_BYTES,
        });
    }
    Ok(bytes)
}

/// Largest part of a configuration, in bytes: a country of 100,000 members with three subsystems each takes 110 MB.
pub const FILE_BYTES: usize = 256 * 1024 * 1024;
