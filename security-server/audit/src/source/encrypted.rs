//! OpenPGP archives (`signatures-and-log.md` 4.8), decrypted by `gpg` as X-Road encrypts them, in a key ring of its own that is
//! gone afterwards.
//!
//! A library that does the same (rPGP) would bring 144 crates, among them one with a known weakness, for a program that some use
//! once a year; who has such archives has `gpg`.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// Decrypts with the keys that it was given.
#[derive(Debug)]
pub struct Decryptor {
    home: TempDir,
    pass_phrase: Zeroizing<String>,
}

/// Why nothing can be decrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecryptorError {
    /// `gpg` does not take a key.
    #[error("gpg cannot use the key in {}: {said}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// What it said.
        said: String,
    },
    /// `gpg` cannot be run.
    #[error("gpg cannot be run; is it installed?")]
    Program(#[source] io::Error),
    /// There is no place for the key ring.
    #[error("no temporary directory can be made")]
    Temporary(#[source] io::Error),
}

/// What was in an encrypted file.
#[derive(Debug)]
pub(crate) struct Decrypted {
    /// The bytes, in a file without name.
    pub(crate) file: File,
    /// Who signed it.
    pub(crate) signature: Signature,
}

/// Who signed an encrypted file, as `gpg` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signature {
    /// Not by the key that it names.
    Bad(String),
    /// By the key with this id and name.
    Good(String),
    /// Nobody did.
    None,
    /// A key that was not given; its id.
    Unknown(String),
}

/// Why a file could not be decrypted.
#[derive(Debug)]
pub(crate) enum Undecrypted {
    /// It is not what was encrypted.
    Damaged(String),
    /// Something is lacking.
    Lacking(String),
}

impl Signature {
    /// For people.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Bad(who) => format!("the OpenPGP signature in the name of {who} is bad"),
            Self::Good(who) => format!("encrypted file signed by {who}"),
            Self::None => "encrypted file not signed".to_owned(),
            Self::Unknown(key) => format!("encrypted file signed by the key {key}, not given"),
        }
    }

    /// For programs.
    pub(crate) fn id(&self) -> &'static str {
        match self {
            Self::Bad(_) => "bad",
            Self::Good(_) => "good",
            Self::None => "none",
            Self::Unknown(_) => "unknown_key",
        }
    }
}

impl Decryptor {
    /// Takes the keys in these files, secret ones to decrypt with, public ones to know signers by.
    ///
    /// # Errors
    /// [`DecryptorError`].
    pub fn new(keys: &[PathBuf], pass_phrase: Zeroizing<String>) -> Result<Self, DecryptorError> {
        let home = tempfile::tempdir().map_err(DecryptorError::Temporary)?;
        let decryptor = Self { home, pass_phrase };
        for path in keys {
            let output = decryptor
                .gpg()
                .args(["--import", "--"])
                .arg(path)
                .stdin(Stdio::null())
                .output()
                .map_err(DecryptorError::Program)?;
            if !output.status.success() {
                let (path, said) = (path.clone(), last_line(&output.stderr));
                return Err(DecryptorError::Key { path, said });
            }
        }
        Ok(decryptor)
    }

    /// Decrypts a file.
    pub(crate) fn decrypt(&self, path: &Path) -> Result<Decrypted, Undecrypted> {
        let lacking = |error: io::Error| Undecrypted::Lacking(format!("gpg failed: {error}"));
        let mut file = tempfile::tempfile().map_err(lacking)?;
        let mut child = self
            .gpg()
            .args(["--pinentry-mode", "loopback", "--passphrase-fd", "0"])
            .args(["--status-fd", "2", "--max-output", MAX_BYTES])
            .args(["--output", "-", "--decrypt", "--"])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(file.try_clone().map_err(lacking)?)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(lacking)?;
        if let Some(mut stdin) = child.stdin.take() {
            // who needs no pass phrase does not read it
            let _ = writeln!(stdin, "{}", self.pass_phrase.as_str());
        }
        let status = child.stderr.take().map(Status::read).unwrap_or_default();
        let left = child.wait().map_err(lacking)?;
        // the key opened it, and what came out is not what went in
        let is_other = status.opened && !status.decrypted && status.lacking.is_none();
        if status.damaged || is_other {
            let reason = "it is not what was encrypted".to_owned();
            return Err(Undecrypted::Damaged(reason));
        }
        // a signature that cannot be checked makes gpg fail, too
        let is_open = status.decrypted && status.signature.is_some();
        if !left.success() && !is_open {
            let reason = status
                .lacking
                .unwrap_or_else(|| "it cannot be decrypted".to_owned());
            return Err(Undecrypted::Lacking(reason));
        }
        file.rewind().map_err(lacking)?;
        Ok(Decrypted {
            file,
            signature: status.signature.unwrap_or(Signature::None),
        })
    }

    fn gpg(&self) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir")
            .arg(self.home.path())
            .args(["--batch", "--no-tty", "--quiet", "--no-options"])
            .args(["--no-auto-key-locate", "--no-auto-key-retrieve"])
            .args(["--trust-model", "always"])
            .env("LC_ALL", "C");
        gpg
    }
}

impl Drop for Decryptor {
    /// Ends the agent that `gpg` has started to hold the keys.
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(self.home.path())
            .args(["--kill", "all"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// Whether a file is an OpenPGP message: its first packet holds a session key or encrypted data, or it is armoured.
pub(super) fn is_encrypted(first: &[u8]) -> bool {
    let tag = match first.first() {
        Some(byte) if byte & 0xc0 == 0xc0 => byte & 0x3f,
        Some(byte) if byte & 0x80 == 0x80 => (byte >> 2) & 0x0f,
        _ => return first.starts_with(b"-----BEGIN PGP MESSAGE"),
    };
    ENCRYPTED.contains(&tag)
}

/// What `gpg` says for programs.
#[derive(Debug, Default)]
struct Status {
    opened: bool,
    decrypted: bool,
    damaged: bool,
    lacking: Option<String>,
    signature: Option<Signature>,
    /// Ids of the keys that it is encrypted for.
    keys: Vec<String>,
}

impl Status {
    fn read(from: impl Read) -> Self {
        let mut status = Self::default();
        // all of it, or gpg would wait for us
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            if let Some(line) = line.strip_prefix("[GNUPG:] ") {
                status.take(line);
            }
        }
        status
    }

    fn take(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.chars().take(200).collect::<String>();
        let id = || rest.split(' ').next().unwrap_or_default().to_owned();
        match word {
            "DECRYPTION_OKAY" => self.decrypted = true,
            "DECRYPTION_KEY" => self.opened = true,
            "BADMDC" => self.damaged = true,
            "ENC_TO" if self.keys.len() < MOST_KEYS => self.keys.push(id()),
            "DECRYPTION_FAILED" if self.lacking.is_none() && !self.opened => {
                let keys = self.keys.join(", ");
                self.lacking = Some(format!(
                    "no key that was given opens it, or its pass phrase is another; it is for {keys}"
                ));
            }
            "EXCEEDED_MAX_OUTPUT" => {
                self.lacking = Some("it unpacks to more than any archive".to_owned());
            }
            "GOODSIG" | "EXPSIG" | "EXPKEYSIG" | "REVKEYSIG" => {
                self.signature = Some(Signature::Good(rest));
            }
            "BADSIG" => self.signature = Some(Signature::Bad(rest)),
            "ERRSIG" => self.signature = Some(Signature::Unknown(id())),
            _ => {}
        }
    }
}

fn last_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    last.unwrap_or("nothing").chars().take(200).collect()
}

/// Recipients that are told one by one.
const MOST_KEYS: usize = 8;
/// Tags of packets that an encrypted message begins with: session keys, encrypted data, a marker.
const ENCRYPTED: [u8; 6] = [1, 3, 9, 10, 18, 20];
/// Most bytes that a file may decrypt to: 64 GiB, more than any archive.
const MAX_BYTES: &str = "68719476736";
