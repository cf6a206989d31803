//! The authority's directory: certificates and keys as PEM, one file for each certificate issued and each one revoked.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jibek_certs::{Certificate, ParseError, SoftKey, signer::KeyError};
use time::OffsetDateTime;

/// A file of the authority's directory could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be written, or is there already.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds no certificate.
    #[error("{} holds no certificate", path.display())]
    Certificate {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: ParseError,
    },
    /// A file holds no key.
    #[error("{} holds no private key", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// A file holds no time.
    #[error("{} holds no time", path.display())]
    Time {
        /// Which.
        path: PathBuf,
    },
}

#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    /// A directory with its folders; made when absent.
    pub(crate) fn new(dir: &Path) -> Result<Self, StoreError> {
        for folder in [ISSUED, REVOKED] {
            let path = dir.join(folder);
            fs::create_dir_all(&path).map_err(|source| StoreError::Write { path, source })?;
        }
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn read_certificate(&self, name: &str) -> Result<Certificate, StoreError> {
        let path = self.path(&format!("{name}.pem"));
        let pem = fs::read(&path).map_err(|source| StoreError::Read {
            path: path.clone(),
            source,
        })?;
        Certificate::from_pem(&pem).map_err(|source| StoreError::Certificate { path, source })
    }

    pub(crate) fn read_key(&self, name: &str) -> Result<SoftKey, StoreError> {
        let path = self.path(&format!("{name}.key"));
        let pem = fs::read(&path).map_err(|source| StoreError::Read {
            path: path.clone(),
            source,
        })?;
        SoftKey::from_pem(&pem).map_err(|source| StoreError::Key { path, source })
    }

    pub(crate) fn write_certificate(
        &self,
        name: &str,
        certificate: &Certificate,
    ) -> Result<(), StoreError> {
        create(
            self.path(&format!("{name}.pem")),
            0o644,
            certificate.to_pem().as_bytes(),
        )
    }

    pub(crate) fn write_key(&self, name: &str, key: &SoftKey) -> Result<(), StoreError> {
        create(
            self.path(&format!("{name}.key")),
            0o600,
            key.to_pkcs8_pem().as_bytes(),
        )
    }

    /// Reserves the next serial number by creating the file that will hold the certificate; other processes may do the same.
    pub(crate) fn next_serial(&self) -> Result<u64, StoreError> {
        let folder = self.path(ISSUED);
        let read = |source| StoreError::Read {
            path: folder.clone(),
            source,
        };
        let mut next = FIRST_SERIAL;
        for entry in fs::read_dir(&folder).map_err(read)? {
            let name = entry.map_err(read)?.file_name();
            let serial = name
                .to_str()
                .and_then(|name| name.strip_suffix(".pem"))
                .and_then(|name| name.parse().ok());
            next = serial.map_or(next, |serial: u64| next.max(serial.saturating_add(1)));
        }
        loop {
            match create(self.issued(next), 0o644, b"") {
                Ok(()) => return Ok(next),
                Err(StoreError::Write { source, .. })
                    if source.kind() == io::ErrorKind::AlreadyExists =>
                {
                    next = next.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn fill_issued(
        &self,
        serial: u64,
        certificate: &Certificate,
    ) -> Result<(), StoreError> {
        let path = self.issued(serial);
        let written = OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            .and_then(|mut file| file.write_all(certificate.to_pem().as_bytes()));
        written.map_err(|source| StoreError::Write { path, source })
    }

    pub(crate) fn is_issued(&self, serial: u64) -> bool {
        fs::metadata(self.issued(serial)).is_ok_and(|file| file.len() > 0)
    }

    /// Revokes; an earlier revocation stays as it is.
    pub(crate) fn revoke(&self, serial: u64, now: OffsetDateTime) -> Result<(), StoreError> {
        match create(
            self.revocation(serial),
            0o644,
            now.unix_timestamp().to_string().as_bytes(),
        ) {
            Err(StoreError::Write { source, .. })
                if source.kind() == io::ErrorKind::AlreadyExists =>
            {
                Ok(())
            }
            other => other,
        }
    }

    pub(crate) fn revoked_since(&self, serial: u64) -> Result<Option<OffsetDateTime>, StoreError> {
        let path = self.revocation(serial);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let moment = text
                    .trim()
                    .parse()
                    .ok()
                    .and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
                moment.map(Some).ok_or(StoreError::Time { path })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Read { path, source }),
        }
    }

    fn issued(&self, serial: u64) -> PathBuf {
        self.path(ISSUED).join(format!("{serial}.pem"))
    }

    fn revocation(&self, serial: u64) -> PathBuf {
        self.path(REVOKED).join(serial.to_string())
    }
}

/// Writes a file that must not be there yet.
pub(crate) fn create(path: PathBuf, mode: u32, content: &[u8]) -> Result<(), StoreError> {
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&path);
    created
        .and_then(|mut file| file.write_all(content))
        .map_err(|source| StoreError::Write { path, source })
}

const ISSUED: &str = "issued";
const REVOKED: &str = "revoked";
/// Below are the authority's own certificates.
const FIRST_SERIAL: u64 = 100;
