//! Digests: the one function that everything signed here goes through.

use aws_lc_rs::digest as lc;
use base64::{Engine, engine::general_purpose::STANDARD};

/// A digest algorithm that X-Road's signatures, configurations or certificates name (`signatures-and-log.md` section 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DigestAlgorithm {
    /// SHA-1: OCSP CertIDs, certificate hashes of old protocols, old evidence. Nothing new is signed with it.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512: the default of everything.
    Sha512,
}

impl DigestAlgorithm {
    /// Every algorithm, weakest first.
    pub const ALL: [Self; 5] = [
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
    ];

    /// The URI that XML signatures and hash chains name it by.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Sha1 => "http://www.w3.org/2000/09/xmldsig#sha1",
            Self::Sha224 => "http://www.w3.org/2001/04/xmldsig-more#sha224",
            Self::Sha256 => "http://www.w3.org/2001/04/xmlenc#sha256",
            Self::Sha384 => "http://www.w3.org/2001/04/xmldsig-more#sha384",
            Self::Sha512 => "http://www.w3.org/2001/04/xmlenc#sha512",
        }
    }

    /// The name in headers and configuration, as `SHA-512`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha224 => "SHA-224",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    /// The algorithm with this URI, compared byte for byte.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.uri() == uri)
    }

    /// The algorithm with this name, in any case (`sha-512` is seen on the wire, `observed.md` 1 number 6).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Length of its digests in bytes.
    #[expect(clippy::len_without_is_empty, reason = "no digest is empty")]
    pub const fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The dotted object identifier of the algorithm.
    pub const fn oid(self) -> &'static str {
        match self {
            Self::Sha1 => "1.3.14.3.2.26",
            Self::Sha224 => "2.16.840.1.101.3.4.2.4",
            Self::Sha256 => "2.16.840.1.101.3.4.2.1",
            Self::Sha384 => "2.16.840.1.101.3.4.2.2",
            Self::Sha512 => "2.16.840.1.101.3.4.2.3",
        }
    }

    /// The algorithm with this dotted object identifier.
    pub fn from_oid(oid: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.oid() == oid)
    }

    fn lc(self) -> &'static lc::Algorithm {
        match self {
            Self::Sha1 => &lc::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => &lc::SHA224,
            Self::Sha256 => &lc::SHA256,
            Self::Sha384 => &lc::SHA384,
            Self::Sha512 => &lc::SHA512,
        }
    }
}

impl std::fmt::Display for DigestAlgorithm {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A digest and the algorithm that made it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: DigestAlgorithm,
    /// Zero beyond the algorithm's length.
    bytes: [u8; LONGEST],
}

impl Digest {
    /// A digest read from outside; `None` when the length is not the algorithm's.
    pub fn from_bytes(algorithm: DigestAlgorithm, digest: &[u8]) -> Option<Self> {
        if digest.len() != algorithm.len() {
            return None;
        }
        let mut bytes = [0; LONGEST];
        bytes
            .iter_mut()
            .zip(digest)
            .for_each(|(to, from)| *to = *from);
        Some(Self { algorithm, bytes })
    }

    /// The digest itself.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..self.algorithm.len())
            .unwrap_or(&self.bytes)
    }

    /// What made it.
    pub fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// Base64 with padding in one line.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.as_bytes())
    }

    /// Lower-case hex.
    pub fn to_hex(&self) -> String {
        hex(self.as_bytes())
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.algorithm.name(), self.to_hex())
    }
}

/// A digest in the making.
#[derive(Clone)]
pub struct Hasher {
    algorithm: DigestAlgorithm,
    context: lc::Context,
}

impl Hasher {
    /// Starts an empty digest.
    pub fn new(algorithm: DigestAlgorithm) -> Self {
        Self {
            algorithm,
            context: lc::Context::new(algorithm.lc()),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        wrap(self.algorithm, &self.context.finish())
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Hasher")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// The digest of `bytes`.
pub fn digest(algorithm: DigestAlgorithm, bytes: &[u8]) -> Digest {
    wrap(algorithm, &lc::digest(algorithm.lc(), bytes))
}

/// Lower-case hex of any bytes.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(
        String::with_capacity(bytes.len().saturating_mul(2)),
        |mut text, byte| {
            let _ = write!(text, "{byte:02x}"); // writing to a String does not fail
            text
        },
    )
}

fn wrap(algorithm: DigestAlgorithm, digest: &lc::Digest) -> Digest {
    let mut bytes = [0; LONGEST];
    bytes
        .iter_mut()
        .zip(digest.as_ref())
        .for_each(|(to, from)| *to = *from);
    Digest { algorithm, bytes }
}

const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf abc | openssl dgst -shaN`.
    #[test]
    fn digests_equal_openssls() {
        let expected = [
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ];
        for (algorithm, expected) in DigestAlgorithm::ALL.into_iter().zip(expected) {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"a");
            hasher.update(b"bc");
            let made = hasher.finish();
            assert_eq!(made.to_hex(), expected);
            assert_eq!(made, digest(algorithm, b"abc"));
            assert_eq!(Digest::from_bytes(algorithm, made.as_bytes()), Some(made));
            assert_eq!(DigestAlgorithm::from_uri(algorithm.uri()), Some(algorithm));
            assert_eq!(DigestAlgorithm::from_oid(algorithm.oid()), Some(algorithm));
            assert_eq!(
                DigestAlgorithm::from_name(&algorithm.name().to_lowercase()),
                Some(algorithm)
            );
            assert_eq!(Digest::from_bytes(algorithm, b"short"), None);
        }
        assert_eq!(DigestAlgorithm::from_name("MD5"), None);
    }
}
