//! What was found before: containers of one archive share stamps, signatures, certificates and OCSP responses.

use jibek_certs::{
    digest::{Digest, DigestAlgorithm, Hasher, digest},
    ocsp::VerifiedCertificate,
    signer::SignatureError,
    tsp::{TimestampToken, TspError, VerifiedTimestamp},
};
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};
use time::OffsetDateTime;

use crate::{open::OpenError, signature::Signature};

/// A memory for many verdicts by **one** configuration. Only what held is remembered, by everything that it depends on; threads may
/// share it.
#[derive(Debug, Default)]
pub struct Memory {
    /// Tokens by their bytes.
    tokens: Mutex<HashMap<Digest, TimestampToken>>,
    /// Tokens that a configured authority signed.
    stamps: Mutex<HashMap<Digest, VerifiedTimestamp>>,
    /// Signature values that hold.
    values: Mutex<HashMap<Digest, ()>>,
    /// Certificates that were good, with the first time they were found so.
    certificates: Mutex<HashMap<Digest, (OffsetDateTime, VerifiedCertificate)>>,
}

impl Memory {
    /// The token with these bytes.
    pub(super) fn token(&self, der: &[u8]) -> Result<TimestampToken, TspError> {
        let key = digest(DigestAlgorithm::Sha512, der);
        if let Some(token) = lock(&self.tokens).get(&key) {
            return Ok(token.clone());
        }
        let token = TimestampToken::parse(der)?;
        keep(&self.tokens, key, token.clone());
        Ok(token)
    }

    /// Who signed the token with these bytes.
    pub(super) fn stamp(
        &self,
        der: &[u8],
        verify: impl FnOnce() -> Result<VerifiedTimestamp, TspError>,
    ) -> Result<VerifiedTimestamp, TspError> {
        let key = digest(DigestAlgorithm::Sha512, der);
        if let Some(stamp) = lock(&self.stamps).get(&key) {
            return Ok(stamp.clone());
        }
        let stamp = verify()?;
        keep(&self.stamps, key, stamp.clone());
        Ok(stamp)
    }

    /// Whether the signature value holds.
    pub(super) fn value(&self, signature: &Signature<'_>) -> Result<(), SignatureError> {
        let signed = signature.signed_bytes();
        let key = key(&[
            signature.algorithm.uri().as_bytes(),
            signature.certificate.spki_der(),
            &signature.value,
            &signed,
        ]);
        if lock(&self.values).contains_key(&key) {
            return Ok(());
        }
        signature
            .certificate
            .verify(signature.algorithm, &signed, &signature.value)?;
        keep(&self.values, key, ());
        Ok(())
    }

    /// Path and OCSP of the signing certificate at `time`. What held at one time holds until the judgement's end.
    pub(super) fn certificate(
        &self,
        signature: &Signature<'_>,
        instance: &str,
        time: OffsetDateTime,
        verify: impl FnOnce() -> Result<VerifiedCertificate, OpenError>,
    ) -> Result<VerifiedCertificate, OpenError> {
        let extra = signature.extra_certificates()?;
        let responses = signature.ocsp_responses();
        let mut parts: Vec<&[u8]> = vec![instance.as_bytes(), signature.certificate.der()];
        // the number keeps certificates and responses apart
        let count = extra.len().to_be_bytes();
        parts.push(&count);
        parts.extend(extra.iter().map(|certificate| certificate.der().as_ref()));
        parts.extend(responses.iter().map(Vec::as_slice));
        let key = key(&parts);
        if let Some((since, verified)) = lock(&self.certificates).get(&key)
            && (*since..=verified.valid_until()).contains(&time)
        {
            return Ok(verified.clone());
        }
        let verified = verify()?;
        keep(&self.certificates, key, (time, verified.clone()));
        Ok(verified)
    }
}

/// A digest of parts, none of which can pass for its neighbour.
fn key(parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha512);
    for part in parts {
        hasher.update(&part.len().to_be_bytes());
        hasher.update(part);
    }
    hasher.finish()
}

fn lock<T>(memory: &Mutex<T>) -> MutexGuard<'_, T> {
    // what is remembered is whole whenever a thread stops
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers, and starts anew when it is too much.
fn keep<K: Hash + Eq, V>(memory: &Mutex<HashMap<K, V>>, key: K, value: V) {
    let mut memory = lock(memory);
    if memory.len() >= MOST {
        memory.clear();
    }
    memory.insert(key, value);
}

/// Most things of one kind that are remembered.
const MOST: usize = 4096;
