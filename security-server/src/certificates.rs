//! What was found right of peers' certificates, remembered: a chain and its OCSP answers are verified once for a
//! certificate, a configuration and these answers, and not again until any of the three ends.
//!
//! Both sides ask here for both kinds of certificate. What is refused is not remembered: it is judged anew each time.
//!
//! Messages that were signed together come with one signature document: its value is verified once, and each message's way to it
//! is checked (`documents.rs`).

mod documents;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use jibek_certs::{
    Certificate, Timestamp,
    digest::{DigestAlgorithm, Hasher},
    ocsp::{
        CertError, OcspResponse, Policy, VerifiedCertificate, verify_with_ocsp,
        verify_with_ocsp_anchored,
    },
    trust::{ApprovedCa, Authorities, Trust},
};
use jibek_conf::Snapshot;
use jibek_evidence::open::{OpenError, SignedParts, VerifiedSignature, open_with};
use jibek_protocol::id::ClientId;

use crate::metrics::{CheckLabel, Metrics};
use documents::{Document, Documents};

/// Judges certificates, and remembers those that are good. Bounded.
#[derive(Debug)]
pub struct Certificates {
    good: Mutex<HashMap<Key, Good>>,
    /// OCSP responses by their bytes: a peer sends the same one with every message until it has a newer one.
    responses: Mutex<HashMap<Bytes, OcspResponse>>,
    documents: Documents,
    metrics: Metrics,
}

/// What is to be judged, and against what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// The certificate.
    pub(crate) leaf: &'a Certificate,
    /// What came along.
    pub(crate) extra: &'a [Certificate],
    /// Whose authorities are asked.
    pub(crate) instance: &'a str,
    /// The authorities of the instance.
    pub(crate) authorities: &'a Authorities,
    /// The end of the path, when it is not the issuer of the leaf.
    pub(crate) anchor: Option<&'a ApprovedCa>,
    /// OCSP answers that came along.
    pub(crate) responses: &'a [OcspResponse],
}

/// Digest of everything that a judgement depends on but the time.
type Key = [u8; 32];

#[derive(Debug)]
struct Good {
    verified: VerifiedCertificate,
    from: Timestamp,
    until: Timestamp,
}

impl Certificates {
    /// An empty memory that counts in `metrics`.
    #[must_use]
    pub fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            good: Mutex::default(),
            responses: Mutex::default(),
            documents: Documents::default(),
            metrics,
        })
    }

    /// Judges a certificate at `now` under `conf`.
    ///
    /// # Errors
    ///
    /// [`CertError`].
    pub(crate) fn judge(
        &self,
        question: &Question<'_>,
        conf: &Snapshot,
        now: Timestamp,
    ) -> Result<VerifiedCertificate, CertError> {
        let key = question.key(conf);
        if let Some(known) = self.known(&key, now) {
            self.metrics.peer_check(CheckLabel::Remembered);
            return Ok(known);
        }
        match question.verify(conf, now) {
            Ok(verified) => {
                self.metrics.peer_check(CheckLabel::Verified);
                self.remember(key, &verified, now);
                Ok(verified)
            }
            Err(error) => {
                self.metrics.peer_check(CheckLabel::Refused);
                Err(error)
            }
        }
    }

    /// Reads an OCSP response, if that is what it is. Reading says nothing of whether it is to be believed.
    pub(crate) fn response(&self, der: &Bytes) -> Option<OcspResponse> {
        let known = || {
            self.responses
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(response) = known().get(der) {
            return Some(response.clone());
        }
        // What is kept must not hold the network's buffer that it came in.
        let der = Bytes::from(der.to_vec());
        let response = OcspResponse::parse(der.clone()).ok()?;
        let mut known = known();
        if known.len() >= MOST_RESPONSES {
            known.clear();
        }
        known.insert(der, response.clone());
        Some(response)
    }

    /// Opens a message's signature (`jibek_evidence::open`), and judges the signing certificate here. The value of a document
    /// that other messages came with, too, is verified for the first of them.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub(crate) fn open(
        &self,
        parts: &SignedParts<'_>,
        signer: &ClientId,
        conf: &Snapshot,
        now: Timestamp,
    ) -> Result<(), OpenError> {
        let question = Document {
            content: conf.content_id(),
            signer: signer.member(),
            bytes: parts.signature,
        };
        let covers = |known: &VerifiedSignature| {
            self.metrics.verification(true);
            known.covers(parts)
        };
        if let Some(covered) = self.documents.with(&question, now, covers) {
            return covered;
        }
        // Messages of one batch come together: the others wait for the first one rather than compute the same beside it.
        let _alone = self.documents.alone(&question);
        if let Some(covered) = self.documents.with(&question, now, covers) {
            return covered;
        }
        let verified = open_with(parts, signer, conf, &|presented| {
            // The value is right: it is looked at before the certificate is judged.
            self.metrics.verification(false);
            let question = Question {
                leaf: presented.certificate,
                extra: presented.extra,
                instance: signer.instance(),
                authorities: presented.authorities,
                anchor: None,
                responses: presented.responses,
            };
            self.judge(&question, conf, now)
        })?;
        // Without a hash chain nothing but this message can come with the document.
        if parts.hash_chain.is_some() {
            self.documents.remember(&question, verified, now);
        }
        Ok(())
    }

    fn known(&self, key: &Key, now: Timestamp) -> Option<VerifiedCertificate> {
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        let found = good.get(key)?;
        (found.from..found.until)
            .contains(&now)
            .then(|| found.verified.clone())
    }

    fn remember(&self, key: Key, verified: &VerifiedCertificate, now: Timestamp) {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good.len() >= MOST_KEPT {
            good.retain(|_, one| now < one.until);
        }
        if good.len() >= MOST_KEPT {
            good.clear(); // more than any country has peers: start again
        }
        good.insert(
            key,
            Good {
                from: now,
                until: verified.valid_until(),
                verified: verified.clone(),
            },
        );
    }
}

impl Question<'_> {
    fn key(&self, conf: &Snapshot) -> Key {
        let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
        // Every field has a fixed length or its length before it, so that no two questions look alike.
        let count = |number: usize, hasher: &mut Hasher| {
            let number = u64::try_from(number).unwrap_or(u64::MAX);
            hasher.update(&number.to_be_bytes());
        };
        hasher.update(conf.content_id().as_bytes());
        count(self.instance.len(), &mut hasher);
        hasher.update(self.instance.as_bytes());
        hasher.update(&self.leaf.sha256());
        count(self.extra.len(), &mut hasher);
        for certificate in self.extra {
            hasher.update(&certificate.sha256());
        }
        let anchor = self.anchor.map(|anchor| anchor.certificate.sha256());
        count(usize::from(anchor.is_some()), &mut hasher);
        hasher.update(&anchor.unwrap_or_default());
        for response in self.responses {
            count(response.der().len(), &mut hasher);
            hasher.update(response.der());
        }
        let mut key = [0; 32];
        key.copy_from_slice(hasher.finish().as_bytes());
        key
    }

    fn verify(&self, conf: &Snapshot, now: Timestamp) -> Result<VerifiedCertificate, CertError> {
        let policy = Policy::new(conf.ocsp_freshness(), conf.verify_next_update());
        let Self {
            leaf,
            extra,
            authorities,
            responses,
            ..
        } = *self;
        match self.anchor {
            Some(anchor) => {
                verify_with_ocsp_anchored(leaf, extra, anchor, authorities, responses, now, policy)
            }
            None => verify_with_ocsp(leaf, extra, authorities, responses, now, policy),
        }
    }
}

/// OCSP responses of peers' authentication certificates that are kept as read; each takes some kilobytes.
const MOST_RESPONSES: usize = 512;
/// Certificates in both roles of every server of a large country; each takes a few kilobytes.
const MOST_KEPT: usize = 2048;

#[cfg(test)]
mod tests;
