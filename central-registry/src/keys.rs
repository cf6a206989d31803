//! The keys that sign configurations: made at the first start, kept ever after (`registry-and-globalconf.md` 3.3).

use std::path::{Path, PathBuf};

use jibek_certs::signer::KeyError;
use jibek_certs::{
    parse::{Certificate, ParseError},
    signer::{KeyKind, SignError, SignatureAlgorithm, Signer, SoftKey},
};
use jibek_conf::files::{
    FilesError, atomic_write, atomic_write_private, create_dir_durably, read_bounded,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose,
    SerialNumber,
};
use time::macros::datetime;

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
    key: SoftKey,
    certificate: Certificate,
}

/// Both signing keys.
#[derive(Debug)]
#[non_exhaustive]
pub struct Keys {
    /// Signs what servers of the own instance fetch.
    pub internal: SigningKey,
    /// Signs what partners fetch.
    pub external: SigningKey,
}

impl Keys {
    /// Reads both keys from a directory, or makes those that are missing.
    ///
    /// # Errors
    /// [`KeysError`]; a key that is there and cannot be read is never replaced.
    pub fn open(directory: &Path, kind: KeyKind) -> Result<Self, KeysError> {
        create_dir_durably(directory).map_err(|source| KeysError::Files { source })?;
        let one = |which| SigningKey::open(directory, which, kind);
        Ok(Self {
            internal: one(Kind::Internal)?,
            external: one(Kind::External)?,
        })
    }

    /// The key of a kind of directory.
    #[must_use]
    pub fn of(&self, kind: Kind) -> &SigningKey {
        match kind {
            Kind::External => &self.external,
            Kind::Internal => &self.internal,
        }
    }
}

impl SigningKey {
    /// The certificate that anchors carry; only its key counts.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
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

    fn open(directory: &Path, which: Kind, kind: KeyKind) -> Result<Self, KeysError> {
        let key_path = directory.join(format!("{}-signing-key.pem", which.name()));
        let certificate_path = directory.join(format!("{}-signing-certificate.pem", which.name()));
        let key = if key_path.exists() {
            let pem = read_bounded(&key_path).map_err(|source| KeysError::Files { source })?;
            SoftKey::from_pem(&pem).map_err(|source| KeysError::Key {
                path: key_path,
                source,
            })?
        } else {
            let key = SoftKey::generate(kind).map_err(|source| KeysError::Generate { source })?;
            atomic_write_private(&key_path, key.to_pkcs8_pem().as_bytes())
                .map_err(|source| KeysError::Files { source })?;
            key
        };
        if certificate_path.exists() {
            let pem =
                read_bounded(&certificate_path).map_err(|source| KeysError::Files { source })?;
            let certificate =
                Certificate::from_pem(&pem).map_err(|source| KeysError::Certificate {
                    path: certificate_path.clone(),
                    source,
                })?;
            if certificate.spki_der() != key.public_key_spki() {
                return Err(KeysError::CertificateOfOtherKey {
                    path: certificate_path,
                });
            }
            return Ok(Self { key, certificate });
        }
        let der = self_signed(&key, which).map_err(|source| KeysError::SelfSign { source })?;
        let certificate = Certificate::from_der(der).map_err(|source| KeysError::Certificate {
            path: certificate_path.clone(),
            source,
        })?;
        atomic_write(&certificate_path, certificate.to_pem().as_bytes())
            .map_err(|source| KeysError::Files { source })?;
        Ok(Self { key, certificate })
    }
}

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
