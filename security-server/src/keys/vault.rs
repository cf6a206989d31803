//! How the token's secrets lie on disk: the PIN makes a key by argon2id, that key wraps the token's own key, and the token's own key
//! encrypts each private key with AES-256-GCM. Changing a PIN rewrites one small file.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Pin;

/// Encrypts and decrypts for one token. Holds the token's own key.
pub(super) struct Vault {
    key: RandomizedNonceKey,
}

/// What lies in `token.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    version: u32,
    kdf: Kdf,
    wrapped_key: Sealed,
}

/// Bytes under AES-256-GCM, the tag at their end.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sealed {
    nonce: String,
    bytes: String,
}

/// Why a vault does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The library refused.
    #[error("the cryptographic library failed")]
    Crypto,
    /// The bytes were changed, moved to another file, or belong to another token.
    #[error("encrypted data is damaged or belongs to another token")]
    Damaged,
    /// The parameters in the file are not sound.
    #[error("the key derivation parameters are out of range")]
    Parameters,
    /// Written by a later version.
    #[error("format version {0} is unknown")]
    Version(u32),
    /// The PIN is wrong.
    #[error("the PIN is wrong")]
    WrongPin,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    name: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

impl Vault {
    /// Makes a new token key and wraps it with `pin`.
    pub(super) fn create(pin: &Pin) -> Result<(Self, Header), VaultError> {
        let mut salt = [0; 16];
        let mut token_key = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| VaultError::Crypto)?;
        aws_lc_rs::rand::fill(token_key.as_mut()).map_err(|_| VaultError::Crypto)?;
        let kdf = Kdf {
            name: KDF.to_owned(),
            memory_kib: Params::DEFAULT_M_COST,
            passes: Params::DEFAULT_T_COST,
            lanes: Params::DEFAULT_P_COST,
            salt: STANDARD.encode(salt),
        };
        let wrapped_key = seal(&kdf.derive(pin)?, WRAPPED, token_key.as_ref())?;
        let vault = Self {
            key: aead_key(token_key.as_ref())?,
        };
        Ok((
            vault,
            Header {
                version: VERSION,
                kdf,
                wrapped_key,
            },
        ))
    }

    /// Opens the token key with `pin`. Takes tens of milliseconds on purpose.
    pub(super) fn open(header: &Header, pin: &Pin) -> Result<Self, VaultError> {
        if header.version != VERSION {
            return Err(VaultError::Version(header.version));
        }
        let token_key = open(&header.kdf.derive(pin)?, WRAPPED, &header.wrapped_key)
            .map_err(|_| VaultError::WrongPin)?;
        Ok(Self {
            key: aead_key(&token_key)?,
        })
    }

    /// Encrypts `secret`; it opens only under the same `name`.
    pub(super) fn seal(&self, name: &str, secret: &[u8]) -> Result<Sealed, VaultError> {
        seal(&self.key, name, secret)
    }

    /// Decrypts what was sealed under `name`.
    pub(super) fn open_secret(
        &self,
        name: &str,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        open(&self.key, name, sealed)
    }
}

impl Kdf {
    fn derive(&self, pin: &Pin) -> Result<RandomizedNonceKey, VaultError> {
        if self.name != KDF || self.memory_kib > MOST_MEMORY_KIB || self.passes > MOST_PASSES {
            return Err(VaultError::Parameters);
        }
        let salt = STANDARD
            .decode(&self.salt)
            .map_err(|_| VaultError::Parameters)?;
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|_| VaultError::Parameters)?;
        let mut derived = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(pin.as_bytes(), &salt, derived.as_mut())
            .map_err(|_| VaultError::Parameters)?;
        aead_key(derived.as_ref())
    }
}

fn aead_key(bytes: &[u8]) -> Result<RandomizedNonceKey, VaultError> {
    RandomizedNonceKey::new(&AES_256_GCM, bytes).map_err(|_| VaultError::Crypto)
}

fn seal(key: &RandomizedNonceKey, name: &str, secret: &[u8]) -> Result<Sealed, VaultError> {
    let mut bytes = Zeroizing::new(secret.to_vec());
    let nonce = key
        .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut *bytes)
        .map_err(|_| VaultError::Crypto)?;
    Ok(Sealed {
        nonce: STANDARD.encode(nonce.as_ref()),
        bytes: STANDARD.encode(bytes.as_slice()),
    })
}

fn open(
    key: &RandomizedNonceKey,
    name: &str,
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let nonce = STANDARD
        .decode(&sealed.nonce)
        .map_err(|_| VaultError::Damaged)?;
    let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| VaultError::Damaged)?;
    let mut bytes = Zeroizing::new(
        STANDARD
            .decode(&sealed.bytes)
            .map_err(|_| VaultError::Damaged)?,
    );
    let length = key
        .open_in_place(nonce, Aad::from(name.as_bytes()), &mut bytes)
        .map_err(|_| VaultError::Damaged)?
        .len();
    bytes.truncate(length);
    Ok(bytes)
}

const VERSION: u32 = 1;
const KDF: &str = "argon2id";
const WRAPPED: &str = "jibek-token/1";
const MOST_MEMORY_KIB: u32 = 1024 * 1024;
const MOST_PASSES: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_with_the_pin_alone_and_binds_secrets_to_their_names() {
        let pin = Pin::new("1234").unwrap();
        let (vault, header) = Vault::create(&pin).unwrap();
        let sealed = vault.seal("a", b"secret").unwrap();
        let text = serde_json::to_string(&(&header, &sealed)).unwrap();
        assert!(!text.contains("secret") && !text.contains("1234"));

        let (header, mut sealed): (Header, Sealed) = serde_json::from_str(&text).unwrap();
        let again = Vault::open(&header, &pin).unwrap();
        assert_eq!(
            again.open_secret("a", &sealed).unwrap().as_slice(),
            b"secret"
        );
        assert!(matches!(
            again.open_secret("b", &sealed),
            Err(VaultError::Damaged)
        ));
        assert!(matches!(
            Vault::open(&header, &Pin::new("1235").unwrap()),
            Err(VaultError::WrongPin)
        ));
        let flipped = if sealed.bytes.starts_with('A') {
            "B"
        } else {
            "A"
        };
        sealed.bytes.replace_range(0..1, flipped);
        assert!(matches!(
            again.open_secret("a", &sealed),
            Err(VaultError::Damaged)
        ));
        assert!(matches!(
            Vault::open(
                &Header {
                    version: 2,
                    ..header
                },
                &pin
            ),
            Err(VaultError::Version(2))
        ));
    }
}
