//! Directories, and what a file is.

use jibek_evidence::verify::{Outcome, Verdict};
use jibek_msglog::{LogReader, fs::OsFs};
use std::{
    fs::{self, DirEntry, File},
    io::{self, BufReader, Read, Seek},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::{
    Job, Sink, SourceOptions,
    archive::{Archives, holds_several},
    encrypted::{Decrypted, Signature, Undecrypted, is_encrypted},
    log, unseen,
};
use crate::{
    judge::{Note, cannot_judge, read_open},
    whole::{Fault, Whole, WholeKind},
};

/// What was passed over on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Walk {
    /// Files in directories that are no containers, archives or logs, and links to elsewhere.
    pub passed_over: u64,
}

/// Finds everything in `files`, in the order given; directories in the order of names.
pub(crate) fn walk(files: &[PathBuf], options: &SourceOptions, sink: &mut Sink<'_>) -> Walk {
    let mut walker = Walker {
        options,
        sink,
        walk: Walk::default(),
        left: options.files,
        archives: Archives::default(),
    };
    let mut flow = ControlFlow::Continue(());
    for file in files {
        flow = walker.named(file);
        if flow.is_break() {
            break;
        }
    }
    let Walker {
        walk,
        archives,
        sink,
        ..
    } = walker;
    if flow.is_continue() {
        // nothing comes after it
        let _ = archives.finish(sink);
    }
    walk
}

struct Walker<'a, 'b> {
    options: &'a SourceOptions,
    sink: &'a mut Sink<'b>,
    walk: Walk,
    left: usize,
    archives: Archives,
}

impl Walker<'_, '_> {
    /// What the user named is judged, whatever it is.
    fn named(&mut self, path: &Path) -> ControlFlow<()> {
        match fs::metadata(path) {
            Err(error) => self.unreadable(path, &error),
            Ok(found) if found.is_dir() => self.directory(path, 0),
            Ok(found) if found.is_file() => self.file(path, true),
            // reading a pipe might never end
            Ok(_) => (self.sink)(unseen(
                path.to_owned(),
                None,
                cannot_judge("it is neither a file nor a directory"),
            )),
        }
    }

    fn directory(&mut self, dir: &Path, depth: usize) -> ControlFlow<()> {
        match LogReader::is_log(dir, OsFs::shared().as_ref()) {
            Ok(true) => return log::log(dir, self.sink),
            Ok(false) => {}
            Err(error) => return (self.sink)(log::not_a_log(dir, &error)),
        }
        let entries = match fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(dir, &error),
        };
        let mut paths: Vec<PathBuf> = entries.iter().map(DirEntry::path).collect();
        paths.sort_unstable();
        for path in paths {
            let Some(left) = self.left.checked_sub(1) else {
                let reason = "there are more files than are looked at in one go";
                (self.sink)(unseen(path, None, cannot_judge(reason)))?;
                return ControlFlow::Break(());
            };
            self.left = left;
            match fs::symlink_metadata(&path) {
                Err(error) => self.unreadable(&path, &error)?,
                Ok(found) if found.is_dir() && depth >= self.options.depth => {
                    let reason = "directories are nested deeper than is looked at";
                    (self.sink)(unseen(path, None, cannot_judge(reason)))?;
                }
                Ok(found) if found.is_dir() => self.directory(&path, depth.saturating_add(1))?,
                // a link could lead anywhere, also round in a circle
                Ok(found) if !found.is_file() => self.pass_over(),
                Ok(_) => self.file(&path, false)?,
            }
        }
        ControlFlow::Continue(())
    }

    /// A file is judged if it was named or may be evidence; what else lies in a directory is passed over.
    fn file(&mut self, path: &Path, named: bool) -> ControlFlow<()> {
        let wanted = named || promises_evidence(path);
        let opened = File::open(path).and_then(|mut file| {
            let mut first = Vec::new();
            file.by_ref().take(64).read_to_end(&mut first)?;
            file.rewind()?;
            Ok((file, first))
        });
        match opened {
            Err(error) => self.unreadable(path, &error),
            Ok((_, first)) if wanted && is_encrypted(&first) => self.encrypted(path),
            Ok((file, first)) if wanted || first.starts_with(b"PK\x03\x04") => {
                self.plain(path, file)
            }
            Ok(_) => {
                self.pass_over();
                ControlFlow::Continue(())
            }
        }
    }

    fn plain(&mut self, path: &Path, file: File) -> ControlFlow<()> {
        match holds_several(path, BufReader::new(&file)) {
            None => (self.sink)(Job::File(path.to_owned())),
            Some(kind) => self.several(Whole::new(kind, vec![path.to_owned()]), file),
        }
    }

    fn several(&mut self, whole: Whole, file: File) -> ControlFlow<()> {
        let source = BufReader::new(file);
        match whole.kind {
            WholeKind::Archive => self.archives.archive(whole, source, self.sink),
            _ => Archives::bundle(whole, source, self.sink),
        }
    }

    fn encrypted(&mut self, path: &Path) -> ControlFlow<()> {
        let Some(decryptor) = &self.options.decryptor else {
            let reason = "it is encrypted, and no key was given";
            return (self.sink)(unseen(path.to_owned(), None, cannot_judge(reason)));
        };
        let Decrypted {
            mut file,
            signature,
        } = match decryptor.decrypt(path) {
            Ok(decrypted) => decrypted,
            Err(Undecrypted::Lacking(reason)) => {
                return (self.sink)(unseen(path.to_owned(), None, cannot_judge(reason)));
            }
            Err(Undecrypted::Damaged(reason)) => {
                let code = "pgp_damaged".to_owned();
                let outcome = Outcome::Invalid { code, reason };
                let findings = Vec::new();
                return (self.sink)(unseen(path.to_owned(), None, Verdict { outcome, findings }));
            }
        };
        let is_bad = matches!(signature, Signature::Bad(_));
        let Some(kind) = holds_several(path, BufReader::new(&file)) else {
            let notes = is_bad.then(|| Note::new("pgp_signature_bad", signature.sentence()));
            let bytes = file
                .rewind()
                .map_err(|error| error.to_string())
                .and_then(|()| read_open(&file));
            return (self.sink)(match bytes {
                Ok(bytes) => Job::Bytes {
                    file: path.to_owned(),
                    entry: None,
                    bytes,
                    notes: notes.into_iter().collect(),
                },
                Err(reason) => unseen(path.to_owned(), None, cannot_judge(reason)),
            });
        };
        let mut whole = Whole::new(kind, vec![path.to_owned()]);
        whole.sentence = format!("; {}", signature.sentence());
        whole
            .facts
            .insert("pgp_signature".to_owned(), signature.id().into());
        if is_bad {
            let fault = Fault::new("pgp_signature_bad", signature.sentence());
            whole.faults.push(fault);
        }
        self.several(whole, file)
    }

    fn pass_over(&mut self) {
        self.walk.passed_over = self.walk.passed_over.saturating_add(1);
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) -> ControlFlow<()> {
        let reason = format!("it cannot be read: {error}");
        (self.sink)(unseen(path.to_owned(), None, cannot_judge(reason)))
    }
}

fn promises_evidence(path: &Path) -> bool {
    let ending = path.extension().and_then(|it| it.to_str());
    ending.is_some_and(|it| ENDINGS.contains(&it.to_ascii_lowercase().as_str()))
}

/// Names that promise evidence: a file that has one and is none is told of.
const ENDINGS: [&str; 5] = ["asice", "asic", "zip", "gpg", "pgp"];
