//! RSA signatures that X-Road's verifiers accept and the cryptographic library does not verify: with SHA-224, PSS with SHA-1, and
//! keys of 1024 bits beyond PKCS#1 v1.5 with SHA-1, SHA-256 and SHA-512. Old evidence only; nothing is signed so.
//!
//! Verifying takes public numbers alone, so nothing here has to be constant in time (RFC 8017 sections 5.2, 8.1.2, 8.2.2, 9).

use num_bigint::BigUint;
use x509_parser::{prelude::FromDer, public_key::RSAPublicKey};

use super::{SignatureAlgorithm, SignatureError};
use crate::{
    asn1::{null, oid, tlv},
    digest::{DigestAlgorithm, digest},
};

/// Verifies with an RSAPublicKey.
pub(super) fn verify_rsa(
    public_key: &[u8],
    algorithm: SignatureAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let Ok(([], key)) = RSAPublicKey::from_der(public_key) else {
        return Err(SignatureError::Key);
    };
    if key.modulus.len() > LONGEST || key.exponent.len() > LONGEST_EXPONENT {
        return Err(SignatureError::Key);
    }
    let modulus = BigUint::from_bytes_be(key.modulus);
    let exponent = BigUint::from_bytes_be(key.exponent);
    let negative = |number: &[u8]| number.first().is_none_or(|first| *first >= 0x80);
    if negative(key.modulus)
        || negative(key.exponent)
        || modulus.bits() < SHORTEST
        || modulus.bits() > LONGEST_BITS
        || !modulus.bit(0)
        || !exponent.bit(0)
        || exponent.bits() < 2
    {
        return Err(SignatureError::Key);
    }
    let length = usize::try_from(modulus.bits().div_ceil(8)).map_err(|_| SignatureError::Key)?;
    let value = BigUint::from_bytes_be(signature);
    if signature.len() != length || value >= modulus {
        return Err(SignatureError::Wrong);
    }
    let number = value.modpow(&exponent, &modulus).to_bytes_be();
    let mut encoded = vec![0; length.saturating_sub(number.len())];
    encoded.extend(number);
    let fits = if algorithm.is_pss() {
        fits_pss(algorithm.digest(), message, &encoded, modulus.bits()).is_some()
    } else {
        pkcs1(algorithm.digest(), message, length).is_some_and(|expected| expected == encoded)
    };
    if fits {
        Ok(())
    } else {
        Err(SignatureError::Wrong)
    }
}

/// EMSA-PKCS1-v1_5: the one encoding of a message.
fn pkcs1(algorithm: DigestAlgorithm, message: &[u8], length: usize) -> Option<Vec<u8>> {
    let kind = rasn::der::encode(&oid(algorithm.oid())?).ok()?;
    let identifier = tlv(0x30, &[kind.as_slice(), null().as_bytes()].concat());
    let value = tlv(0x04, digest(algorithm, message).as_bytes());
    let info = tlv(0x30, &[identifier, value].concat());
    let padding = length.checked_sub(info.len())?.checked_sub(3)?;
    if padding < 8 {
        return None;
    }
    let mut encoded = vec![0, 1];
    encoded.resize(encoded.len().checked_add(padding)?, 0xff);
    encoded.push(0);
    encoded.extend(info);
    Some(encoded)
}

/// EMSA-PSS with a salt as long as the digest: `Some` when `encoded` fits the message.
fn fits_pss(
    algorithm: DigestAlgorithm,
    message: &[u8],
    encoded: &[u8],
    modulus_bits: u64,
) -> Option<()> {
    let bits = usize::try_from(modulus_bits.checked_sub(1)?).ok()?;
    let length = bits.div_ceil(8);
    let (above, encoded) = encoded.split_at_checked(encoded.len().checked_sub(length)?)?;
    if above.iter().any(|byte| *byte != 0) {
        return None;
    }
    let (encoded, trailer) = encoded.split_at_checked(length.checked_sub(1)?)?;
    let size = algorithm.len();
    let (masked, found) = encoded.split_at_checked(encoded.len().checked_sub(size)?)?;
    if trailer != [0xbc] {
        return None;
    }
    let mut block: Vec<u8> = masked
        .iter()
        .zip(mask(algorithm, found))
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    // The bits above the modulus must be clear before they are taken for none.
    let unused = u32::try_from(length.checked_mul(8)?.checked_sub(bits)?).ok()?;
    let allowed = 0xff_u8.checked_shr(unused)?;
    if masked.first()? & !allowed != 0 {
        return None;
    }
    *block.first_mut()? &= allowed;
    let (padding, salt) = block.split_at_checked(block.len().checked_sub(size)?)?;
    let (one, zeros) = padding.split_last()?;
    if *one != 1 || zeros.iter().any(|byte| *byte != 0) {
        return None;
    }
    let hash = digest(algorithm, message);
    let expected = digest(
        algorithm,
        &[[0; 8].as_slice(), hash.as_bytes(), salt].concat(),
    );
    (expected.as_bytes() == found).then_some(())
}

/// MGF1, as long as it is asked for.
fn mask(algorithm: DigestAlgorithm, seed: &[u8]) -> impl Iterator<Item = u8> {
    let seed = seed.to_vec();
    (0_u32..).flat_map(move |counter| {
        let block = digest(
            algorithm,
            &[seed.as_slice(), counter.to_be_bytes().as_slice()].concat(),
        );
        block.as_bytes().to_vec()
    })
}

/// Bits of a modulus: what X-Road's certificates had, and what the library takes at most.
const SHORTEST: u64 = 1024;
const LONGEST_BITS: u64 = 8192;
/// Bytes, with the one that says that a number is positive.
const LONGEST: usize = 1025;
const LONGEST_EXPONENT: usize = 5;
