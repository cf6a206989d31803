//! What was found before: containers of one log or archive share stamps, signatures, certificates and OCSP responses.

use bytes::Bytes;
use jibek_certs::{
    digest::{Digest, DigestAlgorithm, Hasher},
    ocsp::VerifiedCertificate,
    parse::Certificate,
    tsp::{TimestampToken, TspError, VerifiedTimestamp},
};
use jibek_protocol::id::MemberId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use time::OffsetDateTime;

use super::{
    Refusal,
    document::{Presented, SignatureFacts},
};
use crate::open::OpenError;

/// A memory for many verdicts by **one** configuration. Only what could be read or held is remembered, by everything that it depends
/// on; threads may share it. Bounded by number and bytes.
#[derive(Debug, Default)]
pub struct Memory {
    /// Signature documents by their bytes.
    documents: ByContent<Arc<SignatureFacts>>,
    /// Tokens by their bytes.
    tokens: ByContent<Arc<KnownToken>>,
    /// Certificates that were good, with the first time they were found so.
    certificates: Mutex<HashMap<Digest, (OffsetDateTime, Arc<VerifiedCertificate>)>>,
}

/// A time-stamp token that could be read.
#[derive(Debug)]
pub(super) struct KnownToken {
    pub(super) token: TimestampToken,
    verified: OnceLock<VerifiedTimestamp>,
    /// Data that it was found to be over, last.
    covered: Mutex<Option<Bytes>>,
}

/// A signing certificate that was good, and whom it names.
#[derive(Debug, Clone)]
pub(super) struct JudgedSigner {
    pub(super) member: MemberId,
    /// The first time it was found good. It holds until its judgement ends.
    pub(super) since: OffsetDateTime,
    pub(super) certificate: Arc<VerifiedCertificate>,
}

impl JudgedSigner {
    /// Whether the judgement holds at this time.
    pub(super) fn holds_at(&self, time: OffsetDateTime) -> bool {
        (self.since..=self.certificate.valid_until()).contains(&time)
    }
}

impl Memory {
    /// The document with these bytes.
    pub(super) fn document(
        &self,
        bytes: &Bytes,
        read: impl FnOnce() -> Result<SignatureFacts, Refusal>,
    ) -> Result<Arc<SignatureFacts>, Refusal> {
        self.documents.get_or(bytes, || read().map(Arc::new))
    }

    /// The token with these bytes.
    pub(super) fn token<E>(
        &self,
        der: &Bytes,
        read: impl FnOnce() -> Result<TimestampToken, E>,
    ) -> Result<Arc<KnownToken>, E> {
        self.tokens.get_or(der, || {
            let token = read()?;
            Ok(Arc::new(KnownToken {
                token,
                verified: OnceLock::new(),
                covered: Mutex::default(),
            }))
        })
    }

    /// Path and OCSP of a signing certificate at `time`. What held at one time holds until the judgement's end.
    pub(super) fn certificate(
        &self,
        certificate: &Certificate,
        presented: &Presented,
        instance: &str,
        time: OffsetDateTime,
        verify: impl FnOnce() -> Result<VerifiedCertificate, OpenError>,
    ) -> Result<(OffsetDateTime, Arc<VerifiedCertificate>), OpenError> {
        let mut parts: Vec<&[u8]> = vec![instance.as_bytes(), certificate.der()];
        // the number keeps certificates and responses apart
        let count = presented.extra.len().to_be_bytes();
        parts.push(&count);
        parts.extend(presented.extra.iter().map(|extra| extra.der().as_ref()));
        parts.extend(presented.responses.iter().map(|it| it.der.as_ref()));
        let key = key(&parts);
        if let Some((since, verified)) = lock(&self.certificates).get(&key)
            && (*since..=verified.valid_until()).contains(&time)
        {
            return Ok((*since, Arc::clone(verified)));
        }
        let verified = Arc::new(verify()?);
        let mut certificates = lock(&self.certificates);
        if certificates.len() >= MOST {
            certificates.clear();
        }
        certificates.insert(key, (time, Arc::clone(&verified)));
        Ok((time, verified))
    }
}

impl KnownToken {
    /// Who signed the token.
    pub(super) fn verified(
        &self,
        verify: impl FnOnce() -> Result<VerifiedTimestamp, TspError>,
    ) -> Result<&VerifiedTimestamp, TspError> {
        if let Some(verified) = self.verified.get() {
            return Ok(verified);
        }
        let verified = verify()?;
        Ok(self.verified.get_or_init(|| verified))
    }

    /// Whether it is over these data.
    pub(super) fn covers(&self, data: &Bytes) -> bool {
        if lock(&self.covered).as_ref() == Some(data) {
            return true;
        }
        let imprint = self.token.imprint();
        let covers = jibek_certs::digest::digest(imprint.algorithm(), data) == *imprint;
        if covers && data.len() <= SMALL_BYTES {
            *lock(&self.covered) = Some(data.clone());
        }
        covers
    }
}

/// A memory of what time-stamps claim, be they judged or not. Bounded by number and bytes.
#[derive(Debug, Default)]
pub struct StampTimes(ByContent<OffsetDateTime>);

impl StampTimes {
    /// The time in the token with these bytes.
    pub(super) fn of(&self, token: &Bytes) -> Option<OffsetDateTime> {
        let read = || TimestampToken::parse(token).map(|token| token.gen_time());
        self.0.get_or(token, read).ok()
    }
}

/// Things by the bytes they were made of. A checksum finds them, the bytes themselves decide; of two with one checksum the younger
/// is remembered.
#[derive(Debug)]
struct ByContent<V>(Mutex<Known<V>>);

#[derive(Debug)]
struct Known<V> {
    things: HashMap<(usize, u32), (Bytes, V)>,
    bytes: usize,
}

impl<V> Default for ByContent<V> {
    fn default() -> Self {
        Self(Mutex::new(Known {
            things: HashMap::new(),
            bytes: 0,
        }))
    }
}

impl<V: Clone> ByContent<V> {
    fn get_or<E>(&self, bytes: &Bytes, make: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let key = (bytes.len(), crc32c::crc32c(bytes));
        let found = lock(&self.0).things.get(&key).cloned();
        if let Some((known, value)) = found
            && known == *bytes
        {
            return Ok(value);
        }
        let value = make()?;
        if bytes.len() <= LARGE_BYTES {
            let mut known = lock(&self.0);
            if known.things.len() >= MOST || known.bytes >= MOST_BYTES {
                known.things.clear();
                known.bytes = 0;
            }
            known.bytes = known.bytes.saturating_add(bytes.len());
            known.things.insert(key, (bytes.clone(), value.clone()));
        }
        Ok(value)
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

/// Most things of one kind that are remembered; when there are more, all are forgotten.
const MOST: usize = 4096;
/// Most bytes that things of one kind were made of: 4096 signatures with two OCSP responses each.
const MOST_BYTES: usize = 32 << 20;
/// What is larger is not worth remembering.
const LARGE_BYTES: usize = 1 << 20;
/// A hash chain result, and no whole message, is remembered with a token.
const SMALL_BYTES: usize = 4096;
