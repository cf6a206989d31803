//! The archiver's files: archives, and the file that says how far it has come. Every step is durable before the next.

use std::{
    io::{self, ErrorKind, IoSlice, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use jibek_msglog::fs::{Access, Fs, FsFile, SyncSite};

use super::{
    ArchiveError, ArchiveSettings,
    gpg::Encryption,
    state::{Pending, Progress, State},
};

/// Where the files are.
#[derive(Debug)]
pub(super) struct Files {
    disk: Arc<dyn Fs>,
    /// Of the archives; empty if there are none.
    directory: PathBuf,
    state_dir: PathBuf,
    recipients: Vec<PathBuf>,
    /// Bytes that are left to others.
    reserve: u64,
}

impl Files {
    pub(super) fn new(disk: Arc<dyn Fs>, settings: &ArchiveSettings, reserve: u64) -> Self {
        Self {
            disk,
            directory: settings.directory.clone().unwrap_or_default(),
            state_dir: settings.state_dir.clone(),
            recipients: settings.recipients.clone(),
            reserve,
        }
    }

    /// Reads how far archiving has come, and finishes what an interrupted run left.
    pub(super) fn open(&self) -> Result<State, ArchiveError> {
        let directory = &self.directory;
        let failed = |operation| failed(operation, directory);
        self.disk
            .create_dir(directory)
            .map_err(failed("create directory"))?;
        if let Some(parent) = directory.parent().filter(|it| !it.as_os_str().is_empty()) {
            self.disk
                .sync_dir(parent, SyncSite::Archive)
                .map_err(failed("make durable"))?;
        }
        let mut state = self.read()?;
        if let Some(pending) = state.pending.take() {
            self.give_name(&pending)?;
            state.progress = pending.after;
            self.save(&state)?;
        }
        for name in self.disk.list(directory).map_err(failed("list"))? {
            if is_draft(&name) {
                let path = directory.join(&name);
                self.disk
                    .remove(&path)
                    .map_err(super::files::failed("remove", &path))?;
            }
        }
        Ok(state)
    }

    /// Begins an archive. Until [`Files::publish`] it is nothing.
    pub(super) fn create(&self, number: u64) -> Result<(String, Target), ArchiveError> {
        let name = format!("{DRAFT_START}{number}{DRAFT_END}");
        let path = self.directory.join(&name);
        match self.disk.remove(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("remove", &path)(error));
            }
            _ => {}
        }
        let file = self.disk.create(&path).map_err(failed("create", &path))?;
        let plain = Draft {
            disk: Arc::clone(&self.disk),
            file,
            path: path.clone(),
            written: 0,
            checked: None,
            reserve: self.reserve,
            buffer: Vec::with_capacity(BUFFER_BYTES),
        };
        let target = if self.recipients.is_empty() {
            Target::Plain(plain)
        } else {
            let home = self.state_dir.join("gnupg");
            let encryption = Encryption::start(&home, &self.recipients, plain)?;
            Target::Encrypted(encryption)
        };
        Ok((name, target))
    }

    /// Makes the archive and its name of now durable.
    pub(super) fn close(&self, target: Target) -> Result<(), ArchiveError> {
        let mut draft = match target {
            Target::Plain(draft) => draft,
            Target::Encrypted(encryption) => encryption.finish()?,
        };
        let path = draft.path.clone();
        draft.flush().map_err(failed("write", &path))?;
        draft
            .file
            .sync_data(SyncSite::Archive)
            .map_err(failed("make durable", &path))?;
        self.disk
            .sync_dir(&self.directory, SyncSite::Archive)
            .map_err(failed("make durable", &self.directory))
    }

    /// Throws an archive away that was begun.
    pub(super) fn discard(&self, name: &str) {
        let path = self.directory.join(name);
        if let Err(error) = self.disk.remove(&path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, "an unfinished archive stays until the next start");
        }
    }

    /// Writes down that the archive is the next of its chain, then gives it its name.
    pub(super) fn publish(&self, state: &mut State, pending: Pending) -> Result<(), ArchiveError> {
        let before = State {
            pending: Some(pending.clone()),
            ..state.clone()
        };
        self.save(&before)?;
        // From here on it is done, whoever finishes it.
        *state = before;
        self.give_name(&pending)?;
        let after = State {
            progress: pending.after,
            pending: None,
            ..state.clone()
        };
        self.save(&after)?;
        *state = after;
        Ok(())
    }

    /// Writes down progress without an archive.
    pub(super) fn advance(
        &self,
        state: &mut State,
        progress: Progress,
    ) -> Result<(), ArchiveError> {
        let after = State {
            progress,
            ..state.clone()
        };
        self.save(&after)?;
        *state = after;
        Ok(())
    }

    /// An archive under its final name may have been taken away already; then there is nothing left to do.
    fn give_name(&self, pending: &Pending) -> Result<(), ArchiveError> {
        let (from, to) = (
            self.directory.join(&pending.draft),
            self.directory.join(&pending.name),
        );
        match self.disk.rename(&from, &to) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            renamed => renamed.map_err(failed("rename", &from))?,
        }
        self.disk
            .sync_dir(&self.directory, SyncSite::Archive)
            .map_err(failed("make durable", &self.directory))
    }

    fn read(&self) -> Result<State, ArchiveError> {
        let path = self.state_dir.join(STATE);
        let file = match self.disk.open(&path, Access::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(State::default()),
            opened => opened.map_err(failed("open", &path))?,
        };
        let length = file.length().map_err(failed("read", &path))?;
        let mut bytes = vec![0; usize::try_from(length.min(MOST_STATE_BYTES)).unwrap_or_default()];
        let mut at = 0;
        while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
            let offset = u64::try_from(at).unwrap_or(u64::MAX);
            match file.read_at(offset, rest).map_err(failed("read", &path))? {
                0 => break,
                count => at += count,
            }
        }
        State::decode(&bytes).map_err(|reason| ArchiveError::State { path, reason })
    }

    fn save(&self, state: &State) -> Result<(), ArchiveError> {
        let (draft, path) = (self.state_dir.join(STATE_DRAFT), self.state_dir.join(STATE));
        let failed = |operation| failed(operation, &draft);
        match self.disk.remove(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("remove")(error));
            }
            _ => {}
        }
        let file = self.disk.create(&draft).map_err(failed("create"))?;
        file.write_at(0, &mut [IoSlice::new(&state.encode())])
            .map_err(failed("write"))?;
        file.sync_data(SyncSite::Archive)
            .map_err(failed("make durable"))?;
        self.disk.rename(&draft, &path).map_err(failed("rename"))?;
        self.disk
            .sync_dir(&self.state_dir, SyncSite::Archive)
            .map_err(failed("make durable"))
    }
}

/// Where an archive is written.
#[derive(Debug)]
pub(super) enum Target {
    /// Into its file.
    Plain(Draft),
    /// Through `gpg` into its file.
    Encrypted(Encryption),
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(draft) => draft.write(bytes),
            Self::Encrypted(encryption) => encryption.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(draft) => draft.flush(),
            Self::Encrypted(encryption) => encryption.flush(),
        }
    }
}

/// An archive's file before it has its name.
#[derive(Debug)]
pub(super) struct Draft {
    disk: Arc<dyn Fs>,
    file: Arc<dyn FsFile>,
    pub(super) path: PathBuf,
    written: u64,
    /// How much was written when room was last looked for.
    checked: Option<u64>,
    reserve: u64,
    buffer: Vec<u8>,
}

impl Draft {
    fn spill(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let due = |checked: u64| self.written.saturating_sub(checked) >= CHECK_BYTES;
        if self.checked.is_none_or(due) {
            if self.disk.free_bytes(&self.path)? < self.reserve {
                return Err(ErrorKind::StorageFull.into());
            }
            self.checked = Some(self.written);
        }
        self.file
            .write_at(self.written, &mut [IoSlice::new(&self.buffer)])?;
        let count = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        self.written = self.written.saturating_add(count);
        self.buffer.clear();
        Ok(())
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = BUFFER_BYTES.saturating_sub(self.buffer.len());
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.buffer.extend_from_slice(taken);
        if self.buffer.len() >= BUFFER_BYTES {
            self.spill()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.spill()
    }
}

/// For `map_err`: what was tried on which file.
pub(super) fn failed(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> ArchiveError {
    let path = path.to_path_buf();
    move |source| match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ArchiveError::Full {
            path: path.parent().map_or(path.clone(), Path::to_path_buf),
        },
        _ => ArchiveError::File {
            operation,
            path,
            source,
        },
    }
}

fn is_draft(name: &str) -> bool {
    name.starts_with(DRAFT_START) && name.ends_with(DRAFT_END)
}

/// As X-Road names files that are not finished.
const DRAFT_START: &str = "tmp-mlog-";
const DRAFT_END: &str = ".tmp";
const STATE: &str = "archive.json";
const STATE_DRAFT: &str = "archive.json.new";
const MOST_STATE_BYTES: u64 = 64 << 20;
const BUFFER_BYTES: usize = 256 << 10;
/// Bytes after which room is looked for again.
const CHECK_BYTES: u64 = 16 << 20;
