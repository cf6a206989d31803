//! Public keys, and signatures verified with them.

use aws_lc_rs::{digest as lc, signature as sig};
use x509_parser::{prelude::FromDer, public_key::RSAPublicKey, x509::SubjectPublicKeyInfo};

use super::{
    SignatureAlgorithm, SignatureError, Weakness,
    algorithm::{RSASSA_PSS, bound_digest},
    ecdsa::{ecdsa_raw_to_der, fit_digest},
    old,
};
use crate::{
    asn1::dotted_oid,
    digest::{Digest, DigestAlgorithm, digest},
};

/// What kind of public key a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PublicKey {
    /// NIST P-256.
    EcP256,
    /// NIST P-384.
    EcP384,
    /// NIST P-521.
    EcP521,
    /// RSA.
    Rsa {
        /// Length of the modulus in bits.
        bits: usize,
    },
    /// Any other: nothing verifies with it.
    Unknown,
}

impl PublicKey {
    /// The kind of a key, from the DER of its SubjectPublicKeyInfo.
    pub fn of(spki_der: &[u8]) -> Self {
        match SubjectPublicKeyInfo::from_der(spki_der) {
            Ok(([], spki)) => Self::of_parsed(&spki),
            _ => Self::Unknown,
        }
    }

    /// What is weak about it: an RSA key of fewer than 2048 bits.
    pub fn weakness(self) -> Option<Weakness> {
        match self {
            Self::Rsa { bits } if bits < SHORTEST_RSA => Some(Weakness::ShortRsa { bits }),
            _ => None,
        }
    }

    pub(crate) fn of_parsed(spki: &SubjectPublicKeyInfo<'_>) -> Self {
        match dotted_oid(&spki.algorithm.algorithm).as_str() {
            RSA_ENCRYPTION | RSASSA_PSS => match rsa_bits(&spki.subject_public_key.data) {
                Some(bits) => Self::Rsa { bits },
                None => Self::Unknown,
            },
            EC_PUBLIC_KEY => {
                let curve = spki.algorithm.parameters.as_ref();
                let curve = curve.and_then(|curve| curve.as_oid().ok());
                match curve.map(|curve| dotted_oid(&curve)).as_deref() {
                    Some(P256) => Self::EcP256,
                    Some(P384) => Self::EcP384,
                    Some(P521) => Self::EcP521,
                    _ => Self::Unknown,
                }
            }
            _ => Self::Unknown,
        }
    }
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
        verify_spki_der(spki_der, algorithm, message, &der)
    } else {
        verify_spki_der(spki_der, algorithm, message, signature)
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
    let Ok(([], spki)) = SubjectPublicKeyInfo::from_der(spki_der) else {
        return Err(SignatureError::Key);
    };
    if algorithm.is_ecdsa() {
        let message = digest(algorithm.digest(), message);
        verify_ecdsa(spki_der, PublicKey::of_parsed(&spki), &message, signature)
    } else {
        verify_rsa(&spki, algorithm, message, signature)
    }
}

fn verify_rsa(
    spki: &SubjectPublicKeyInfo<'_>,
    algorithm: SignatureAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    match dotted_oid(&spki.algorithm.algorithm).as_str() {
        RSA_ENCRYPTION => {}
        // A key that says PSS makes no other signatures, and those only with the digest that it may name.
        RSASSA_PSS => {
            let parameters = spki.algorithm.parameters.as_ref();
            let parameters = parameters.map(|parameters| {
                crate::asn1::tlv(0x30, parameters.data) // a SEQUENCE, or no parameters of PSS
            });
            let bound = bound_digest(parameters.as_deref()).ok_or(SignatureError::Key)?;
            if !algorithm.is_pss() || bound.is_some_and(|bound| bound != algorithm.digest()) {
                return Err(SignatureError::Key);
            }
        }
        _ => return Err(SignatureError::Key),
    }
    let public_key = &*spki.subject_public_key.data;
    // Members' keys of 1024 bits are still accepted by X-Road (`observed.md` 3 number 4).
    let is_short = rsa_bits(public_key).is_some_and(|bits| bits < SHORTEST_RSA);
    let parameters: &'static sig::RsaParameters = match (algorithm.is_pss(), algorithm.digest()) {
        (false, DigestAlgorithm::Sha1) => &sig::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        (false, DigestAlgorithm::Sha256) => &sig::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        (false, DigestAlgorithm::Sha512) => &sig::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        (false, DigestAlgorithm::Sha384) if !is_short => &sig::RSA_PKCS1_2048_8192_SHA384,
        (true, DigestAlgorithm::Sha256) if !is_short => &sig::RSA_PSS_2048_8192_SHA256,
        (true, DigestAlgorithm::Sha384) if !is_short => &sig::RSA_PSS_2048_8192_SHA384,
        (true, DigestAlgorithm::Sha512) if !is_short => &sig::RSA_PSS_2048_8192_SHA512,
        _ => return old::verify_rsa(public_key, algorithm, message, signature),
    };
    let key = sig::ParsedPublicKey::new(parameters, public_key).map_err(|_| SignatureError::Key)?;
    key.verify_sig(message, signature)
        .map_err(|_| SignatureError::Wrong)
}

fn verify_ecdsa(
    spki_der: &[u8],
    key: PublicKey,
    message: &Digest,
    signature_der: &[u8],
) -> Result<(), SignatureError> {
    let (curve, natural): (
        &'static sig::EcdsaVerificationAlgorithm,
        &'static lc::Algorithm,
    ) = match key {
        PublicKey::EcP256 => (&sig::ECDSA_P256_SHA256_ASN1, &lc::SHA256),
        PublicKey::EcP384 => (&sig::ECDSA_P384_SHA384_ASN1, &lc::SHA384),
        PublicKey::EcP521 => (&sig::ECDSA_P521_SHA512_ASN1, &lc::SHA512),
        PublicKey::Rsa { .. } | PublicKey::Unknown => return Err(SignatureError::Key),
    };
    let key = sig::ParsedPublicKey::new(curve, spki_der).map_err(|_| SignatureError::Key)?;
    let fitted = fit_digest(message, natural).ok_or(SignatureError::Key)?;
    key.verify_digest_sig(&fitted, signature_der)
        .map_err(|_| SignatureError::Wrong)
}

/// Length in bits of the modulus in an RSAPublicKey.
fn rsa_bits(public_key: &[u8]) -> Option<usize> {
    let (rest, key) = RSAPublicKey::from_der(public_key).ok()?;
    let zeros = key.modulus.iter().take_while(|byte| **byte == 0).count();
    let significant = key.modulus.get(zeros..)?;
    let unused = usize::try_from(significant.first()?.leading_zeros()).ok()?;
    let bits = significant.len().checked_mul(8)?.checked_sub(unused)?;
    rest.is_empty().then_some(bits)
}

/// What X-Road's own documentation asks for (`key-length` in `security-server-admin.md` 3.1).
const SHORTEST_RSA: usize = 2048;
const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";
