//! Encrypts an archive on its way to the disk, by `gpg`, with whose public keys the operator says. The plain archive is
//! never on the disk.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread::JoinHandle,
};

use super::{
    ArchiveError,
    files::{Draft, failed},
};

/// A `gpg` at work.
#[derive(Debug)]
pub(super) struct Encryption {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<JoinHandle<io::Result<Draft>>>,
    words: Option<JoinHandle<String>>,
    path: PathBuf,
}

impl Encryption {
    /// Starts `gpg`, in a home of its own, whose output goes to `draft`.
    pub(super) fn start(
        home: &Path,
        recipients: &[PathBuf],
        mut draft: Draft,
    ) -> Result<Self, ArchiveError> {
        make_home(home).map_err(failed("create directory", home))?;
        let path = draft.path.clone();
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir")
            .arg(home)
            .args(["--batch", "--no-tty", "--quiet", "--no-options"])
            .args(["--no-auto-key-locate", "--no-auto-key-retrieve"])
            .args(["--trust-model", "always"])
            .args(["--compress-algo", "none", "--cipher-algo", "AES256"])
            .env("LC_ALL", "C");
        for file in recipients {
            gpg.arg("--recipient-file").arg(file);
        }
        let spawned = gpg
            .args(["--encrypt", "--output", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.map_err(|error| ArchiveError::Gpg {
            said: format!("it cannot be run ({error}); is it installed?"),
        })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let output = stdout.map(|mut from| {
            std::thread::spawn(move || {
                io::copy(&mut from, &mut draft)?;
                Ok(draft)
            })
        });
        let words = stderr.map(|from| std::thread::spawn(move || said(from)));
        Ok(Self {
            input: child.stdin.take(),
            child,
            output,
            words,
            path,
        })
    }

    /// Waits for the end, and gives back the file with all of it.
    pub(super) fn finish(mut self) -> Result<Draft, ArchiveError> {
        drop(self.input.take());
        let joined = self.output.take().map(JoinHandle::join);
        let words = self.words.take().and_then(|it| it.join().ok());
        let left = self.child.wait();
        let draft = match joined {
            Some(Ok(written)) => written.map_err(failed("write", &self.path))?,
            _ => return Err(ArchiveError::Stopped),
        };
        match left {
            Ok(status) if status.success() => Ok(draft),
            _ => Err(ArchiveError::Gpg {
                said: words.unwrap_or_default(),
            }),
        }
    }
}

impl Encryption {
    /// A pipe that broke says less than the program behind it, or the disk behind that.
    fn why(&mut self, error: io::Error) -> io::Error {
        drop(self.input.take());
        let _ = self.child.kill();
        if let Some(Ok(Err(full))) = self.output.take().map(JoinHandle::join) {
            return full;
        }
        let words = self.words.take().and_then(|it| it.join().ok());
        words
            .filter(|it| !it.is_empty())
            .map_or(error, io::Error::other)
    }
}

impl Write for Encryption {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.input {
            Some(input) => input.write(bytes).map_err(|error| self.why(error)),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.input.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Encryption {
    /// An archive that is given up leaves no process behind.
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What went wrong, as `gpg` says it, in one line of bounded length.
fn said(from: impl Read) -> String {
    let mut text = Vec::new();
    let mut from = from.take(MOST_WORDS);
    let _ = from.read_to_end(&mut text);
    // all of it, or gpg would wait for us
    let _ = io::copy(from.get_mut(), &mut io::sink());
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.trim().lines().take(3).collect();
    lines
        .join("; ")
        .chars()
        .filter(|c| !c.is_control())
        .take(300)
        .collect()
}

fn make_home(home: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(home) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

const MOST_WORDS: u64 = 64 << 10;
