//! The keys that sign configurations (`registry-and-globalconf.md` 3.3): made at the first start, rolled over on command.
//!
//! Of each kind there are one or more keys, and one of them signs. A new key is *added*: anchors and configurations announce it
//! beside the old one, and every server that has a valid configuration has learned it after one validity period. Then it is
//! *activated*, and later the old one is *removed*. Everything stands in files, so that a command changes the keys of a
//! registry that runs; it reads them again before every publication.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use jibek_certs::signer::KeyError;
use jibek_certs::{
    parse::{Certificate, ParseError},
    signer::{KeyKind, SignError, SignatureAlgorithm, Signer, SoftKey},
};
use jibek_conf::files::{
    FilesError, atomic_write, atomic_write_private, create_dir_durably, read_bounded,
    sync_directory,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose,
    SerialNumber,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::datetime};

/// Which of the two directories is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// For federation partners: shared parameters only.
    External,
    /// For servers of the own instance.
    Internal,
}

impl Kind {
    /// `internal` or `external`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Internal => "internal",
        }
    }

    /// Last path segment of the directory's URL.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::External => "externalconf",
            Self::Internal => "internalconf",
        }
    }
}

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The key signs; it cannot be removed.
    #[error("the {kind} key {number} signs; activate another one first")]
    Active {
        /// `internal` or `external`.
        kind: &'static str,
        /// Its number.
        number: u16,
    },
    /// A stored certificate cannot be read.
    #[error("{} is no certificate", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParseError,
    },
    /// The stored certificate is of another key.
    #[error("the certificate {} is not of the key beside it", path.display())]
    CertificateOfOtherKey {
        /// The certificate.
        path: PathBuf,
    },
    /// Files could not be read or written.
    #[error("the signing keys cannot be kept")]
    Files {
        /// Why.
        source: FilesError,
    },
    /// A key could not be made.
    #[error("cannot make a signing key")]
    Generate {
        /// Why.
        source: KeyError,
    },
    /// A stored key cannot be read.
    #[error("{} is no private key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// There is no such key.
    #[error("there is no {kind} key {number}")]
    NoSuchKey {
        /// `internal` or `external`.
        kind: &'static str,
        /// Its number.
        number: u16,
    },
    /// There are as many keys as there may be.
    #[error("there are {most} {kind} keys already; remove one first")]
    TooMany {
        /// `internal` or `external`.
        kind: &'static str,
        /// The bound.
        most: usize,
    },
    /// Servers may not know the key yet, or still need it.
    #[error("{reason}; try again {}, or say --now", after.map_or_else(|| "after the next publication".to_owned(), |at| format!("after {at}")))]
    TooSoon {
        /// Why.
        reason: String,
        /// When it will be possible.
        after: Option<OffsetDateTime>,
    },
    /// A certificate could not be made.
    #[error("cannot make the certificate of a signing key")]
    SelfSign {
        /// Why.
        source: rcgen::Error,
    },
}

/// A key that signs one kind of directory.
#[derive(Debug)]
pub struct SigningKey {
    number: u16,
    key: SoftKey,
    certificate: Certificate,
    announced: Option<OffsetDateTime>,
    activated: Option<OffsetDateTime>,
}

/// All signing keys.
#[derive(Debug)]
pub struct Keys {
    internal: KeySet,
    external: KeySet,
}

/// The keys of one kind.
#[derive(Debug)]
struct KeySet {
    active: SigningKey,
    others: Vec<SigningKey>,
}

impl Keys {
    /// Reads the keys from a directory, or makes the first ones.
    ///
    /// # Errors
    /// [`KeysError`]; a key that is there and cannot be read is never replaced.
    pub fn open(directory: &Path, kind: KeyKind) -> Result<Self, KeysError> {
        create_dir_durably(directory).map_err(files)?;
        Ok(Self {
            internal: KeySet::open(directory, Kind::Internal, kind)?,
            external: KeySet::open(directory, Kind::External, kind)?,
        })
    }

    /// The key that signs a kind of directory.
    #[must_use]
    pub fn of(&self, kind: Kind) -> &SigningKey {
        &self.set(kind).active
    }

    /// All keys of a kind by number.
    #[must_use]
    pub fn all(&self, kind: Kind) -> Vec<&SigningKey> {
        let set = self.set(kind);
        let mut all: Vec<_> = std::iter::once(&set.active).chain(&set.others).collect();
        all.sort_by_key(|key| key.number);
        all
    }

    /// DER certificates of all keys of a kind: what is announced.
    #[must_use]
    pub fn certificates(&self, kind: Kind) -> Vec<Bytes> {
        let all = self.all(kind).into_iter();
        all.map(|key| key.certificate.der().clone()).collect()
    }

    /// Notes that a publication announced all these keys and was signed by the active ones.
    ///
    /// # Errors
    /// [`KeysError::Files`].
    pub fn mark_published(&self, directory: &Path, now: OffsetDateTime) -> Result<(), KeysError> {
        let now_text = now.format(&Rfc3339).unwrap_or_default();
        for kind in [Kind::Internal, Kind::External] {
            for key in self.all(kind) {
                let path = file(directory, kind, key.number, ANNOUNCED);
                if key.announced.is_none() && !path.exists() {
                    atomic_write(path, now_text.as_bytes()).map_err(files)?;
                }
            }
            let active = self.of(kind);
            let path = file(directory, kind, active.number, ACTIVATED);
            if active.activated.is_none() && !path.exists() {
                atomic_write(path, now_text.as_bytes()).map_err(files)?;
            }
        }
        Ok(())
    }

    fn set(&self, kind: Kind) -> &KeySet {
        match kind {
            Kind::External => &self.external,
            Kind::Internal => &self.internal,
        }
    }
}

/// Adds a key, which is announced with the next publication and does not sign yet. Its number.
///
/// # Errors
/// [`KeysError`].
pub fn add(directory: &Path, which: Kind, kind: KeyKind) -> Result<u16, KeysError> {
    let keys = Keys::open(directory, kind)?;
    let present = keys.all(which);
    if present.len() >= KEYS_MAX {
        return Err(KeysError::TooMany {
            kind: which.name(),
            most: KEYS_MAX,
        });
    }
    let number = present
        .last()
        .map_or(1, |last| last.number.saturating_add(1));
    SigningKey::open(directory, which, number, kind)?;
    Ok(number)
}

/// Lets a key sign from the next publication on. Without `force` not before every server with a valid configuration has
/// learned it: one validity period after it was first announced.
///
/// # Errors
/// [`KeysError::TooSoon`] and others.
pub fn activate(
    directory: &Path,
    (which, number): (Kind, u16),
    kind: KeyKind,
    (now, validity): (OffsetDateTime, Duration),
    force: bool,
) -> Result<(), KeysError> {
    let keys = Keys::open(directory, kind)?;
    let key = find(&keys, which, number)?;
    let after = key.announced.map(|announced| announced + validity);
    if !force && after.is_none_or(|after| now < after) {
        return Err(KeysError::TooSoon {
            reason: "servers may not know this key yet".to_owned(),
            after,
        });
    }
    atomic_write(active_file(directory, which), number.to_string().as_bytes()).map_err(files)
}

/// Removes a key that does not sign. Without `force` not before the one that signs has done so for one validity period.
///
/// # Errors
/// [`KeysError::Active`], [`KeysError::TooSoon`] and others.
pub fn remove(
    directory: &Path,
    (which, number): (Kind, u16),
    kind: KeyKind,
    (now, validity): (OffsetDateTime, Duration),
    force: bool,
) -> Result<(), KeysError> {
    let keys = Keys::open(directory, kind)?;
    let key = find(&keys, which, number)?;
    let active = keys.of(which);
    if active.number == number {
        return Err(KeysError::Active {
            kind: which.name(),
            number,
        });
    }
    let after = active.activated.map(|activated| activated + validity);
    // One that never signed is not missed by anybody.
    if !force && key.activated.is_some() && after.is_none_or(|after| now < after) {
        return Err(KeysError::TooSoon {
            reason: format!(
                "servers may still hold a configuration from before key {} signed",
                active.number
            ),
            after,
        });
    }
    for what in [KEY, CERTIFICATE, ANNOUNCED, ACTIVATED] {
        let path = file(directory, which, number, what);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(files(FilesError::Os {
                    action: "remove",
                    path,
                    source,
                }));
            }
            _ => {}
        }
    }
    sync_directory(directory).map_err(files)
}

fn find(keys: &Keys, which: Kind, number: u16) -> Result<&SigningKey, KeysError> {
    let mut all = keys.all(which).into_iter();
    all.find(|key| key.number == number)
        .ok_or(KeysError::NoSuchKey {
            kind: which.name(),
            number,
        })
}

impl KeySet {
    fn open(directory: &Path, which: Kind, kind: KeyKind) -> Result<Self, KeysError> {
        let numbers = 1..=NUMBER_MAX;
        let present: Vec<u16> = numbers
            .filter(|number| file(directory, which, *number, KEY).exists())
            .take(KEYS_MAX)
            .collect();
        let active = active_file(directory, which);
        let active = if active.exists() {
            let text = read_bounded(&active).map_err(files)?;
            String::from_utf8_lossy(&text).trim().parse().unwrap_or(0)
        } else {
            present.first().copied().unwrap_or(1)
        };
        if !present.is_empty() && !present.contains(&active) {
            return Err(KeysError::NoSuchKey {
                kind: which.name(),
                number: active,
            });
        }
        let others = present.iter().filter(|number| **number != active);
        Ok(Self {
            active: SigningKey::open(directory, which, active, kind)?,
            others: others
                .map(|number| SigningKey::open(directory, which, *number, kind))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl SigningKey {
    /// Its number among the keys of its kind.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The certificate that anchors carry; only its key counts.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Since when publications carry its certificate.
    #[must_use]
    pub fn announced(&self) -> Option<OffsetDateTime> {
        self.announced
    }

    /// Since when it has been signing.
    #[must_use]
    pub fn activated(&self) -> Option<OffsetDateTime> {
        self.activated
    }

    /// The algorithm of [`SigningKey::sign`]: always with SHA-512.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match self.key.algorithm() {
            SignatureAlgorithm::EcdsaSha256
            | SignatureAlgorithm::EcdsaSha384
            | SignatureAlgorithm::EcdsaSha512 => SignatureAlgorithm::EcdsaSha512,
            _ => SignatureAlgorithm::RsaPkcs1Sha512,
        }
    }

    /// Signs a directory. ECDSA values are DER here, unlike in messages.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        self.key.sign_der_with(self.algorithm(), bytes)
    }

    fn open(directory: &Path, which: Kind, number: u16, kind: KeyKind) -> Result<Self, KeysError> {
        let key_path = file(directory, which, number, KEY);
        let certificate_path = file(directory, which, number, CERTIFICATE);
        let key = if key_path.exists() {
            let pem = read_bounded(&key_path).map_err(files)?;
            SoftKey::from_pem(&pem).map_err(|source| KeysError::Key {
                path: key_path,
                source,
            })?
        } else {
            let key = SoftKey::generate(kind).map_err(|source| KeysError::Generate { source })?;
            atomic_write_private(&key_path, key.to_pkcs8_pem().as_bytes()).map_err(files)?;
            key
        };
        let unreadable = |source| KeysError::Certificate {
            path: certificate_path.clone(),
            source,
        };
        let certificate = if certificate_path.exists() {
            let pem = read_bounded(&certificate_path).map_err(files)?;
            let certificate = Certificate::from_pem(&pem).map_err(unreadable)?;
            if certificate.spki_der() != key.public_key_spki() {
                return Err(KeysError::CertificateOfOtherKey {
                    path: certificate_path,
                });
            }
            certificate
        } else {
            let der = self_signed(&key, which).map_err(|source| KeysError::SelfSign { source })?;
            let certificate = Certificate::from_der(der).map_err(unreadable)?;
            atomic_write(&certificate_path, certificate.to_pem().as_bytes()).map_err(files)?;
            certificate
        };
        let moment = |what| {
            let text = read_bounded(&file(directory, which, number, what)).ok()?;
            OffsetDateTime::parse(String::from_utf8_lossy(&text).trim(), &Rfc3339).ok()
        };
        Ok(Self {
            number,
            key,
            certificate,
            announced: moment(ANNOUNCED),
            activated: moment(ACTIVATED),
        })
    }
}

/// `internal-signing-key.pem`, `internal-signing-key-2.pem`, …
fn file(directory: &Path, which: Kind, number: u16, (stem, extension): (&str, &str)) -> PathBuf {
    let number = match number {
        0 | 1 => String::new(),
        number => format!("-{number}"),
    };
    directory.join(format!(
        "{}-signing-{stem}{number}.{extension}",
        which.name()
    ))
}

fn active_file(directory: &Path, which: Kind) -> PathBuf {
    directory.join(format!("{}-active", which.name()))
}

fn files(source: FilesError) -> KeysError {
    KeysError::Files { source }
}

const KEY: (&str, &str) = ("key", "pem");
const CERTIFICATE: (&str, &str) = ("certificate", "pem");
const ANNOUNCED: (&str, &str) = ("key", "announced");
const ACTIVATED: (&str, &str) = ("key", "activated");
/// Keys of one kind at a time; a roll-over needs two.
const KEYS_MAX: usize = 4;
/// Keys of one kind in the life of a registry.
const NUMBER_MAX: u16 = 200;

/// As central servers make them: serial 1, 1970 to 2038, `CN=internalSigningKey`.
fn self_signed(key: &SoftKey, which: Kind) -> Result<Vec<u8>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("{}SigningKey", which.name()));
    params.serial_number = Some(SerialNumber::from(1_u64));
    params.not_before = datetime!(1970-01-01 0:00 UTC);
    params.not_after = datetime!(2038-01-01 0:00 UTC);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::ContentCommitment,
        KeyUsagePurpose::KeyCertSign,
    ];
    Ok(params.self_signed(&key.for_rcgen())?.der().to_vec())
}
