//! Where the PIN of the token comes from. It is read, never written, never shown.

use std::{
    io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::PathBuf,
};

use zeroize::Zeroizing;

/// A PIN in memory. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Pin(Zeroizing<Vec<u8>>);

/// Where to read the PIN.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinSource {
    /// The environment variable `JIBEK_PIN`.
    Environment,
    /// The environment variable `JIBEK_PIN` when it is set, else a prompt on the terminal.
    EnvironmentOrPrompt,
    /// The first line of a file that only its owner can read.
    File(PathBuf),
    /// A prompt on the terminal.
    Prompt,
}

/// Why there is no PIN.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The PIN is empty.
    #[error("the PIN is empty")]
    Empty,
    /// The variable is not set.
    #[error("the environment variable JIBEK_PIN is not set")]
    NotSet,
    /// Others can read the file.
    #[error("the PIN file {path} can be read by others (mode {mode:03o}); make it readable by its owner only: chmod 600 {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The terminal could not be asked.
    #[error("cannot ask for the PIN: no terminal; set JIBEK_PIN or token.pin_file")]
    Prompt(#[source] io::Error),
    /// The file cannot be read.
    #[error("cannot read the PIN file {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl Pin {
    /// Takes a PIN from memory.
    ///
    /// # Errors
    /// [`PinError::Empty`].
    pub fn new(pin: impl Into<Vec<u8>>) -> Result<Self, PinError> {
        let pin = Zeroizing::new(pin.into());
        if pin.is_empty() {
            Err(PinError::Empty)
        } else {
            Ok(Self(pin))
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pin(..)")
    }
}

impl PinSource {
    /// Reads the PIN. A prompt blocks until it is answered.
    ///
    /// # Errors
    /// Nothing there, or a file that others can read.
    pub fn read(&self) -> Result<Pin, PinError> {
        match self {
            Self::Environment => from_environment()?.ok_or(PinError::NotSet),
            Self::EnvironmentOrPrompt => match from_environment()? {
                Some(pin) => Ok(pin),
                None => Self::Prompt.read(),
            },
            Self::File(path) => {
                let failed = |source| PinError::Read {
                    path: path.clone(),
                    source,
                };
                let mode = std::fs::metadata(path)
                    .map_err(failed)?
                    .permissions()
                    .mode()
                    & 0o777;
                if mode & 0o077 != 0 {
                    return Err(PinError::Open {
                        path: path.clone(),
                        mode,
                    });
                }
                let text = Zeroizing::new(std::fs::read(path).map_err(failed)?);
                let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
                Pin::new(line.strip_suffix(b"\r").unwrap_or(line))
            }
            Self::Prompt => {
                let pin =
                    rpassword::prompt_password("PIN of the token: ").map_err(PinError::Prompt)?;
                Pin::new(pin)
            }
        }
    }
}

fn from_environment() -> Result<Option<Pin>, PinError> {
    std::env::var_os(VARIABLE)
        .map(|value| Pin::new(value.as_bytes()))
        .transpose()
}

const VARIABLE: &str = "JIBEK_PIN";

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pin");
        jibek_conf::files::atomic_write(&path, b"\n").unwrap();
        let source = PinSource::File(path.clone());
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(source.read(), Err(PinError::Empty)));

        jibek_conf::files::atomic_write(&path, b"s3cret pin\r\nsecond line\n").unwrap();
        for mode in [0o644, 0o640, 0o604] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = source.read().unwrap_err();
            assert!(
                error.to_string().contains("readable by its owner only"),
                "{error}"
            );
            assert!(!format!("{error:?}{error}").contains("s3cret"));
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        let pin = source.read().unwrap();
        assert_eq!(pin.as_bytes(), b"s3cret pin");
        assert_eq!(format!("{pin:?}"), "Pin(..)");
    }
}
