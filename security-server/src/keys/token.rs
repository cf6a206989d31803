//! The software token: private keys encrypted on disk, their certificates beside them.
//!
//! ```text
//! token/token.json               version, key derivation, wrapped token key
//! token/key-<id>.json            version, usage, kind, encrypted PKCS#8
//! token/certificate-<id>-<hash>.pem
//! ```

use std::{
    collections::BTreeMap,
    fmt, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use jibek_certs::{
    Certificate, DigestAlgorithm, KeyKind, Signer, SoftKey, digest::digest, signer::KeyError,
};
use serde::{Deserialize, Serialize};

use super::{
    Pin,
    vault::{Header, Sealed, Vault, VaultError},
};

/// An open software token. Clones share it; every change is on disk when its call returns.
#[derive(Clone)]
pub struct Token {
    inner: Arc<Inner>,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "X-Road knows these two")]
pub enum KeyUsage {
    /// The server's identity in TLS with other servers.
    Auth,
    /// A member's signature under messages.
    Sign,
}

/// Names a key of a token: the first 16 hexadecimal digits of the SHA-256 of its public key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// A key of a token as its owner may see it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KeyEntry {
    /// Its name.
    pub id: KeyId,
    /// What it is for.
    pub usage: KeyUsage,
    /// Its kind.
    pub kind: KeyKind,
    /// Its certificates, in the order of their hashes.
    pub certificates: Vec<Certificate>,
}

/// Why the token refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// A token is there already.
    #[error("there is a token at {path} already", path = path.display())]
    Exists {
        /// The token's folder.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {what} {path}", path = path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The key could not be made or used.
    #[error("cannot {what} the key")]
    Key {
        /// What was tried.
        what: &'static str,
        /// The reason.
        source: KeyError,
    },
    /// The certificate is for another purpose than the key.
    #[error("key {id} is for {usage:?}, the certificate {subject} is not")]
    Purpose {
        /// The key.
        id: KeyId,
        /// What the key is for.
        usage: KeyUsage,
        /// The certificate's subject.
        subject: String,
    },
    /// No key with this name.
    #[error("no key {0} in the token")]
    UnknownKey(String),
    /// The certificate belongs to no key of the token.
    #[error("the certificate {subject} belongs to no key of this token")]
    UnknownPublicKey {
        /// The certificate's subject.
        subject: String,
    },
    /// Encryption failed, or the PIN is wrong.
    #[error("cannot open {path}: {source}", path = path.display())]
    Vault {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: VaultError,
    },
}

impl Token {
    /// Makes an empty token in the folder `directory`, which only its owner can read.
    ///
    /// # Errors
    /// There is one already, or the folder cannot be written.
    pub fn create(directory: &Path, pin: &Pin) -> Result<Self, TokenError> {
        if Self::exists(directory) {
            return Err(TokenError::Exists {
                path: directory.to_owned(),
            });
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| file("create", directory, source))?;
        let path = directory.join(HEADER);
        let (vault, header) = Vault::create(pin).map_err(|source| TokenError::Vault {
            path: path.clone(),
            source,
        })?;
        write_json(&path, &header)?;
        Ok(Self::with(directory, vault))
    }

    /// Opens the token in `directory`. Takes tens of milliseconds on purpose.
    ///
    /// # Errors
    /// Nothing there, damage, or a wrong PIN.
    pub fn open(directory: &Path, pin: &Pin) -> Result<Self, TokenError> {
        let path = directory.join(HEADER);
        let header: Header = read_json(&path)?;
        let vault =
            Vault::open(&header, pin).map_err(|source| TokenError::Vault { path, source })?;
        let token = Self::with(directory, vault);
        token.reload()?;
        Ok(token)
    }

    /// Tells whether there is a token in `directory`.
    pub fn exists(directory: &Path) -> bool {
        directory.join(HEADER).exists()
    }

    /// Makes a key and keeps it. RSA takes a second or so: call it off the runtime's threads.
    ///
    /// # Errors
    /// The library or the disk failed.
    pub fn generate(&self, usage: KeyUsage, kind: KeyKind) -> Result<KeyId, TokenError> {
        let key = SoftKey::generate(kind).map_err(|source| TokenError::Key {
            what: "generate",
            source,
        })?;
        let id = KeyId::of(&key.public_key_spki());
        let path = self.inner.directory.join(format!("key-{id}.json"));
        let name = secret_name(&id, usage);
        let secret = self
            .inner
            .vault
            .seal(&name, &key.to_pkcs8_der())
            .map_err(|source| TokenError::Vault {
                path: path.clone(),
                source,
            })?;
        write_json(
            &path,
            &KeyFile {
                version: 1,
                usage,
                kind: kind.name().to_owned(),
                secret,
            },
        )?;
        self.insert(Stored {
            id: id.clone(),
            usage,
            kind,
            key: Arc::new(key),
            certificates: Vec::new(),
        });
        Ok(id)
    }

    /// Returns a certificate request (PKCS#10, DER) of the key for `subject`: pairs of attribute name and value in the order wanted.
    ///
    /// # Errors
    /// No such key, or an unknown attribute.
    pub fn csr(&self, id: &KeyId, subject: &[(&str, &str)]) -> Result<Vec<u8>, TokenError> {
        let key = self
            .key(id)
            .ok_or_else(|| TokenError::UnknownKey(id.to_string()))?;
        key.csr_der(subject).map_err(|source| TokenError::Key {
            what: "request a certificate for",
            source,
        })
    }

    /// Returns the same as PEM.
    ///
    /// # Errors
    /// As [`Self::csr`].
    pub fn csr_pem(&self, id: &KeyId, subject: &[(&str, &str)]) -> Result<String, TokenError> {
        let key = self
            .key(id)
            .ok_or_else(|| TokenError::UnknownKey(id.to_string()))?;
        key.csr_pem(subject).map_err(|source| TokenError::Key {
            what: "request a certificate for",
            source,
        })
    }

    /// Keeps a certificate beside the key that it belongs to. Repeating it changes nothing.
    ///
    /// # Errors
    /// No such key, a certificate for another purpose, or the disk failed.
    pub fn import(&self, certificate: &Certificate) -> Result<KeyId, TokenError> {
        let id = KeyId::of(certificate.spki_der());
        let subject = || certificate.subject().rfc2253().to_owned();
        let usage = self
            .inner
            .read()
            .get(&id)
            .map(|stored| stored.usage)
            .ok_or_else(|| TokenError::UnknownPublicKey { subject: subject() })?;
        let fits = match usage {
            KeyUsage::Auth => certificate.is_authentication(),
            KeyUsage::Sign => certificate.is_signing(),
        };
        if !fits {
            return Err(TokenError::Purpose {
                id,
                usage,
                subject: subject(),
            });
        }
        let hash = certificate.digest(DigestAlgorithm::Sha256).to_hex();
        let name = format!("certificate-{id}-{}.pem", hash.get(..16).unwrap_or(&hash));
        let path = self.inner.directory.join(name);
        jibek_conf::files::atomic_write(&path, certificate.to_pem().as_bytes())
            .map_err(|source| file("write", &path, source))?;
        let mut keys = self
            .inner
            .keys
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(stored) = keys.get_mut(&id)
            && !stored.certificates.contains(certificate)
        {
            stored.certificates.push(certificate.clone());
        }
        Ok(id)
    }

    /// Returns all keys.
    pub fn entries(&self) -> Vec<KeyEntry> {
        let entry = |stored: &Stored| KeyEntry {
            id: stored.id.clone(),
            usage: stored.usage,
            kind: stored.kind,
            certificates: stored.certificates.clone(),
        };
        self.inner.read().values().map(entry).collect()
    }

    /// Takes in keys and certificates that another process (the command line) has added to the folder.
    ///
    /// # Errors
    /// A file is damaged or belongs to another token; what was held stays.
    pub fn reload(&self) -> Result<(), TokenError> {
        let directory = &self.inner.directory;
        let mut certificates: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        let mut keys = Vec::new();
        for entry in
            std::fs::read_dir(directory).map_err(|source| file("list", directory, source))?
        {
            let path = entry
                .map_err(|source| file("list", directory, source))?
                .path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if let Some(id) = name
                .strip_prefix("key-")
                .and_then(|rest| rest.strip_suffix(".json"))
            {
                keys.push((KeyId(id.to_owned()), path.clone()));
            } else if let Some(rest) = name
                .strip_prefix("certificate-")
                .and_then(|rest| rest.strip_suffix(".pem"))
                && let Some((id, _)) = rest.split_once('-')
            {
                certificates
                    .entry(id.to_owned())
                    .or_default()
                    .push(path.clone());
            }
        }
        for (id, path) in keys {
            let mut paths = certificates.remove(&id.0).unwrap_or_default();
            paths.sort();
            let known = self
                .inner
                .read()
                .get(&id)
                .map(|stored| stored.certificates.len());
            if known == Some(paths.len()) {
                continue;
            }
            let stored = self.load(id, &path, &paths)?;
            self.insert(stored);
        }
        Ok(())
    }

    /// The private key behind `id`.
    pub(super) fn key(&self, id: &KeyId) -> Option<Arc<SoftKey>> {
        self.inner
            .read()
            .get(id)
            .map(|stored| Arc::clone(&stored.key))
    }

    fn load(&self, id: KeyId, path: &Path, certificates: &[PathBuf]) -> Result<Stored, TokenError> {
        let damaged = || TokenError::Vault {
            path: path.to_owned(),
            source: VaultError::Damaged,
        };
        let raw: KeyFile = read_json(path)?;
        if raw.version != 1 {
            return Err(TokenError::Vault {
                path: path.to_owned(),
                source: VaultError::Version(raw.version),
            });
        }
        let secret = self
            .inner
            .vault
            .open_secret(&secret_name(&id, raw.usage), &raw.secret)
            .map_err(|source| TokenError::Vault {
                path: path.to_owned(),
                source,
            })?;
        let key = SoftKey::from_pkcs8_der(&secret).map_err(|source| TokenError::Key {
            what: "read",
            source,
        })?;
        let kind = KeyKind::from_name(&raw.kind).ok_or_else(damaged)?;
        let certificates = certificates
            .iter()
            .map(|path| {
                let pem = std::fs::read(path).map_err(|source| file("read", path, source))?;
                Certificate::from_pem(&pem).map_err(|source| file("read", path, source))
            })
            .collect::<Result<Vec<_>, TokenError>>()?;
        Ok(Stored {
            id,
            usage: raw.usage,
            kind,
            key: Arc::new(key),
            certificates,
        })
    }

    fn insert(&self, stored: Stored) {
        let mut keys = self
            .inner
            .keys
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        keys.insert(stored.id.clone(), stored);
    }

    fn with(directory: &Path, vault: Vault) -> Self {
        let inner = Inner {
            directory: directory.to_owned(),
            vault,
            keys: RwLock::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Token")
            .field("directory", &self.inner.directory)
            .finish_non_exhaustive()
    }
}

impl KeyId {
    /// Names the key with this public key (DER of its SubjectPublicKeyInfo).
    pub fn of(spki_der: &[u8]) -> Self {
        let mut hex = digest(DigestAlgorithm::Sha256, spki_der).to_hex();
        hex.truncate(16);
        Self(hex)
    }

    /// Reads a name as it was printed.
    pub fn parse(text: &str) -> Option<Self> {
        let right = text.len() == 16
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        right.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

struct Inner {
    directory: PathBuf,
    vault: Vault,
    keys: RwLock<BTreeMap<KeyId, Stored>>,
}

impl Inner {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<KeyId, Stored>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Stored {
    id: KeyId,
    usage: KeyUsage,
    kind: KeyKind,
    key: Arc<SoftKey>,
    certificates: Vec<Certificate>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u32,
    usage: KeyUsage,
    kind: String,
    secret: Sealed,
}

fn secret_name(id: &KeyId, usage: KeyUsage) -> String {
    format!("jibek-key/1/{id}/{usage:?}")
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TokenError> {
    let text = serde_json::to_vec_pretty(value).map_err(|source| file("write", path, source))?;
    jibek_conf::files::atomic_write(path, &text).map_err(|source| file("write", path, source))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, TokenError> {
    let text = std::fs::read(path).map_err(|source| file("read", path, source))?;
    serde_json::from_slice(&text).map_err(|_| {
        let source = io::Error::new(io::ErrorKind::InvalidData, "not a file of a token");
        file("read", path, source)
    })
}

fn file(
    what: &'static str,
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> TokenError {
    TokenError::File {
        what,
        path: path.to_owned(),
        source: source.into(),
    }
}

const HEADER: &str = "token.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_and_need_the_pin() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let pin = Pin::new("1234").unwrap();
        assert!(!Token::exists(&path));
        let token = Token::create(&path, &pin).unwrap();
        let id = token.generate(KeyUsage::Sign, KeyKind::EcP256).unwrap();
        let auth = token.generate(KeyUsage::Auth, KeyKind::Rsa2048).unwrap();
        assert!(matches!(
            Token::create(&path, &pin),
            Err(TokenError::Exists { .. })
        ));

        let again = Token::open(&path, &pin).unwrap();
        assert_eq!(again.entries().len(), 2);
        assert_eq!(
            again.key(&id).unwrap().public_key_spki(),
            token.key(&id).unwrap().public_key_spki()
        );
        assert_eq!(again.key(&auth).map(|_| ()), Some(()));
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
        let wrong = Token::open(&path, &Pin::new("4321").unwrap()).unwrap_err();
        assert!(wrong.to_string().contains("PIN is wrong"), "{wrong}");
        for entry in std::fs::read_dir(&path).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(
                !bytes.windows(4).any(|window| window == b"MIIE"),
                "no bare key lies there"
            );
        }
    }

    #[test]
    fn requests_are_right_for_openssl_and_foreign_certificates_refused() {
        let directory = tempfile::tempdir().unwrap();
        let token = Token::create(directory.path(), &Pin::new("1234").unwrap()).unwrap();
        let id = token.generate(KeyUsage::Auth, KeyKind::EcP256).unwrap();
        let csr = token
            .csr(&id, &[("C", "KG"), ("O", "GOV"), ("CN", "ss1")])
            .unwrap();
        let path = directory.path().join("csr.der");
        jibek_conf::files::atomic_write(&path, &csr).unwrap();
        let told = std::process::Command::new("openssl")
            .args([
                "req", "-inform", "DER", "-noout", "-verify", "-subject", "-in",
            ])
            .arg(&path)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&told.stdout).into_owned()
            + &String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success() && text.contains("CN = ss1"), "{text}");
        assert!(matches!(
            token.csr(&KeyId("0".repeat(16)), &[]),
            Err(TokenError::UnknownKey(_))
        ));
    }
}
