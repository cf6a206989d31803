//! Signature algorithms, the [`Signer`] that makes signatures, and the software key behind it.
//!
//! ECDSA values have two forms: XML signatures carry `r‖s` (`signatures-and-log.md` 1.4), X.509, OCSP and CMS carry DER. Here the
//! default is `r‖s`; whatever takes or gives DER says so in its name.

mod soft;

use aws_lc_rs::{digest as lc, signature as sig};

use crate::digest::{Digest, DigestAlgorithm, digest};
pub(crate) use soft::to_pem;
pub use soft::{KeyError, KeyKind, SoftKey, distinguished_name};

/// A signature algorithm. PSS is not among them yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// RSA PKCS#1 v1.5 with SHA-1: old evidence and old CAs only.
    RsaPkcs1Sha1,
    /// RSA PKCS#1 v1.5 with SHA-256.
    RsaPkcs1Sha256,
    /// RSA PKCS#1 v1.5 with SHA-384.
    RsaPkcs1Sha384,
    /// RSA PKCS#1 v1.5 with SHA-512: X-Road's default.
    RsaPkcs1Sha512,
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// ECDSA with SHA-512: X-Road's default for EC keys, on P-256 too.
    EcdsaSha512,
}

impl SignatureAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 7] = [
        Self::RsaPkcs1Sha1,
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
    ];

    /// The URI in `ds:SignatureMethod` (`signatures-and-log.md` 1.4).
    pub const fn uri(self) -> &'static str {
        match self {
            Self::RsaPkcs1Sha1 => "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
            Self::RsaPkcs1Sha256 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
            Self::RsaPkcs1Sha384 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
            Self::RsaPkcs1Sha512 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
            Self::EcdsaSha256 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
            Self::EcdsaSha384 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384",
            Self::EcdsaSha512 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
        }
    }

    /// The algorithm with this URI, compared byte for byte.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.uri() == uri)
    }

    /// The digest it signs.
    pub const fn digest(self) -> DigestAlgorithm {
        match self {
            Self::RsaPkcs1Sha1 => DigestAlgorithm::Sha1,
            Self::RsaPkcs1Sha256 | Self::EcdsaSha256 => DigestAlgorithm::Sha256,
            Self::RsaPkcs1Sha384 | Self::EcdsaSha384 => DigestAlgorithm::Sha384,
            Self::RsaPkcs1Sha512 | Self::EcdsaSha512 => DigestAlgorithm::Sha512,
        }
    }

    /// Whether it needs an elliptic-curve key.
    pub const fn is_ecdsa(self) -> bool {
        matches!(
            self,
            Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaSha512
        )
    }

    /// The dotted object identifier in X.509, OCSP and CMS.
    pub const fn oid(self) -> &'static str {
        match self {
            Self::RsaPkcs1Sha1 => "1.2.840.113549.1.1.5",
            Self::RsaPkcs1Sha256 => "1.2.840.113549.1.1.11",
            Self::RsaPkcs1Sha384 => "1.2.840.113549.1.1.12",
            Self::RsaPkcs1Sha512 => "1.2.840.113549.1.1.13",
            Self::EcdsaSha256 => "1.2.840.10045.4.3.2",
            Self::EcdsaSha384 => "1.2.840.10045.4.3.3",
            Self::EcdsaSha512 => "1.2.840.10045.4.3.4",
        }
    }

    /// The algorithm with this dotted object identifier.
    pub fn from_oid(oid: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.oid() == oid)
    }

    /// RSA PKCS#1 v1.5 with this digest; `None` for SHA-224.
    pub const fn rsa(digest: DigestAlgorithm) -> Option<Self> {
        match digest {
            DigestAlgorithm::Sha1 => Some(Self::RsaPkcs1Sha1),
            DigestAlgorithm::Sha224 => None,
            DigestAlgorithm::Sha256 => Some(Self::RsaPkcs1Sha256),
            DigestAlgorithm::Sha384 => Some(Self::RsaPkcs1Sha384),
            DigestAlgorithm::Sha512 => Some(Self::RsaPkcs1Sha512),
        }
    }

    /// ECDSA with this digest; `None` for SHA-1 and SHA-224.
    pub const fn ecdsa(digest: DigestAlgorithm) -> Option<Self> {
        match digest {
            DigestAlgorithm::Sha1 | DigestAlgorithm::Sha224 => None,
            DigestAlgorithm::Sha256 => Some(Self::EcdsaSha256),
            DigestAlgorithm::Sha384 => Some(Self::EcdsaSha384),
            DigestAlgorithm::Sha512 => Some(Self::EcdsaSha512),
        }
    }
}

/// A private key, wherever it lives. One call signs one message; queues and batches are the caller's.
///
/// `sign` may block for as long as the token takes (a hardware token: tens of milliseconds), so call it off the runtime's threads.
pub trait Signer: Send + Sync + std::fmt::Debug {
    /// What [`Signer::sign`] signs with.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// Signs `message`. RSA gives the raw value; EC gives `r‖s`, each of the curve's length.
    ///
    /// # Errors
    /// [`SignError`] when the key or the token behind it refuses.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// The public key as DER of SubjectPublicKeyInfo.
    fn public_key_spki(&self) -> Vec<u8>;
}

/// A key did not sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key is of another kind than the algorithm asks for.
    #[error("the key cannot sign with {}", .0.uri())]
    Algorithm(SignatureAlgorithm),
    /// The cryptographic library refused.
    #[error("the cryptographic library refused to sign")]
    Refused,
    /// The token refused; the text is the token's and holds no secret.
    #[error("the token refused to sign: {0}")]
    Token(String),
}

/// A signature does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The key is of another kind than the algorithm, or of one that we do not know.
    #[error("the public key does not fit the signature algorithm")]
    Key,
    /// An ECDSA value is no pair of numbers.
    #[error("the ECDSA value is malformed")]
    Value,
    /// The value is not the signature of these bytes by this key.
    #[error("the signature value is wrong")]
    Wrong,
}

/// Verifies a signature in the form of XML signatures: RSA raw, EC as `r‖s` of any even length (`signatures-and-log.md` 1.4).
///
/// # Errors
/// [`SignatureError`].
pub fn verify_spki(
    spki_der: &[u8],
    algorithm: SignatureAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    if algorithm.is_ecdsa() {
        let der = ecdsa_raw_to_der(signature).ok_or(SignatureError::Value)?;
        verify_ecdsa(spki_der, &digest(algorithm.digest(), message), &der)
    } else {
        verify_rsa(spki_der, algorithm, message, signature)
    }
}

/// Verifies a signature in the form of X.509, OCSP and CMS: RSA raw, EC as DER.
///
/// # Errors
/// [`SignatureError`].
pub fn verify_spki_der(
    spki_der: &[u8],
    algorithm: SignatureAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    if algorithm.is_ecdsa() {
        verify_ecdsa(spki_der, &digest(algorithm.digest(), message), signature)
    } else {
        verify_rsa(spki_der, algorithm, message, signature)
    }
}

/// `r‖s` as DER. `None` when the length is odd, zero or beyond P-521's.
pub fn ecdsa_raw_to_der(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.is_empty() || !raw.len().is_multiple_of(2) || raw.len() > LONGEST_RAW {
        return None;
    }
    let (r, s) = raw.split_at_checked(raw.len() / 2)?;
    let mut content = der_unsigned(r);
    content.extend(der_unsigned(s));
    let mut der = vec![0x30];
    der_length(&mut der, content.len())?;
    der.extend(content);
    Some(der)
}

/// DER as `r‖s`, each padded to `coordinate` bytes (32 for P-256). `None` when it is no DER pair or does not fit.
pub fn ecdsa_der_to_raw(der: &[u8], coordinate: usize) -> Option<Vec<u8>> {
    let (content, rest) = der_take(der, 0x30)?;
    let (r, after) = der_take(content, 0x02)?;
    let (s, end) = der_take(after, 0x02)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    let mut raw = Vec::with_capacity(coordinate.saturating_mul(2));
    for number in [r, s] {
        let number = strip_zeros(number);
        let padding = coordinate.checked_sub(number.len())?;
        raw.resize(raw.len().checked_add(padding)?, 0);
        raw.extend_from_slice(number);
    }
    Some(raw)
}

fn verify_rsa(
    spki: &[u8],
    algorithm: SignatureAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    // Members' keys of 1024 bits are still accepted by X-Road (`observed.md` 3 number 4); the library has no SHA-384 for them.
    let parameters: &'static sig::RsaParameters = match algorithm.digest() {
        DigestAlgorithm::Sha1 => &sig::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        DigestAlgorithm::Sha224 => return Err(SignatureError::Key),
        DigestAlgorithm::Sha256 => &sig::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        DigestAlgorithm::Sha384 => &sig::RSA_PKCS1_2048_8192_SHA384,
        DigestAlgorithm::Sha512 => &sig::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    };
    let key = sig::ParsedPublicKey::new(parameters, spki).map_err(|_| SignatureError::Key)?;
    key.verify_sig(message, signature)
        .map_err(|_| SignatureError::Wrong)
}

fn verify_ecdsa(spki: &[u8], message: &Digest, signature_der: &[u8]) -> Result<(), SignatureError> {
    let curves: [(
        &'static sig::EcdsaVerificationAlgorithm,
        &'static lc::Algorithm,
    ); 3] = [
        (&sig::ECDSA_P256_SHA256_ASN1, &lc::SHA256),
        (&sig::ECDSA_P384_SHA384_ASN1, &lc::SHA384),
        (&sig::ECDSA_P521_SHA512_ASN1, &lc::SHA512),
    ];
    for (curve, natural) in curves {
        if let Ok(key) = sig::ParsedPublicKey::new(curve, spki) {
            let fitted = fit_digest(message, natural).ok_or(SignatureError::Key)?;
            return key
                .verify_digest_sig(&fitted, signature_der)
                .map_err(|_| SignatureError::Wrong);
        }
    }
    Err(SignatureError::Key)
}

/// ECDSA takes the leftmost bits of a digest, as many as the curve's order has, as a number. So any digest can be given in the
/// length of the curve's own: cut on the right when it is longer, padded with zeros on the left when it is shorter.
fn fit_digest(message: &Digest, natural: &'static lc::Algorithm) -> Option<lc::Digest> {
    let bytes = message.as_bytes();
    let length = natural.output_len();
    let mut fitted = vec![0; length.saturating_sub(bytes.len())];
    fitted.extend(bytes.iter().take(length));
    lc::Digest::import_less_safe(&fitted, natural).ok()
}

fn der_unsigned(number: &[u8]) -> Vec<u8> {
    let number = strip_zeros(number);
    let sign = number.first().is_none_or(|first| *first >= 0x80);
    let mut der = vec![0x02];
    let length = number.len().saturating_add(usize::from(sign));
    der.push(u8::try_from(length).unwrap_or(u8::MAX)); // at most 67: the caller bounds the input
    if sign {
        der.push(0);
    }
    der.extend_from_slice(number);
    der
}

fn der_length(out: &mut Vec<u8>, length: usize) -> Option<()> {
    let length = u8::try_from(length).ok()?;
    if length >= 0x80 {
        out.push(0x81);
    }
    out.push(length);
    Some(())
}

/// The content of the value that `input` begins with, and what follows. Lengths up to 255, enough for ECDSA values.
fn der_take(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = input.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (short, rest),
        0x81 => rest.split_first().map(|(length, rest)| (*length, rest))?,
        _ => return None,
    };
    if *found != tag {
        return None;
    }
    rest.split_at_checked(usize::from(length))
}

fn strip_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

const LONGEST_RAW: usize = 2 * 66;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ecdsa_values_survive_the_round_trip(raw in proptest::collection::vec(any::<u8>(), 64)) {
            let der = ecdsa_raw_to_der(&raw).unwrap();
            prop_assert_eq!(ecdsa_der_to_raw(&der, 32), Some(raw));
        }

        #[test]
        fn hostile_ecdsa_values_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ecdsa_der_to_raw(&bytes, 32);
            let _ = ecdsa_raw_to_der(&bytes);
        }
    }

    #[test]
    fn uris_and_identifiers_are_found_again() {
        for algorithm in SignatureAlgorithm::ALL {
            assert_eq!(
                SignatureAlgorithm::from_uri(algorithm.uri()),
                Some(algorithm)
            );
            assert_eq!(
                SignatureAlgorithm::from_oid(algorithm.oid()),
                Some(algorithm)
            );
        }
    }
}
