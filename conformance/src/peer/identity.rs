//! Keys and certificates of a hand-made server: those of its token, or others, with which a real one would not start.

use std::sync::Arc;

use bytes::Bytes;
use jibek_certs::{Certificate, KeyKind, Signer, SoftKey, ocsp::request_der};
use jibek_dev_pki::{DevPki, Fault, Usage, Validity};
use jibek_server::keys::{AuthKey, SignKey};
use time::OffsetDateTime;

type Failure = Box<dyn std::error::Error>;

/// An authentication key with its certificate and the certificates that are shown above it.
#[derive(Debug)]
pub struct AuthIdentity {
    certificate: Certificate,
    chain: Vec<Certificate>,
    key: SoftKey,
}

impl AuthIdentity {
    pub(super) fn of(auth: &AuthKey) -> Result<Self, Failure> {
        Ok(Self {
            certificate: auth.certificate().clone(),
            chain: auth.chain().to_vec(),
            key: SoftKey::from_pkcs8_der(&auth.key().to_pkcs8_der())?,
        })
    }

    /// Any key with any certificates.
    #[must_use]
    pub fn new(certificate: Certificate, chain: Vec<Certificate>, key: SoftKey) -> Self {
        Self {
            certificate,
            chain,
            key,
        }
    }

    /// A new P-256 key under a certificate of `pki` with this subject; `pki`'s issuing CA is shown above it.
    ///
    /// # Errors
    ///
    /// When the certificate cannot be issued.
    pub fn issued(
        subject: &[(&str, &str)],
        pki: &DevPki,
        validity: Validity,
    ) -> Result<Self, Failure> {
        let (key, certificate) = issue(Usage::Authentication, subject, pki, validity)?;
        Ok(Self {
            certificate,
            chain: vec![pki.issuing_ca().clone()],
            key,
        })
    }

    /// The same key and certificate with other certificates shown above it.
    ///
    /// # Errors
    ///
    /// When the key cannot be read again.
    pub fn showing(&self, chain: Vec<Certificate>) -> Result<Self, Failure> {
        Ok(Self {
            certificate: self.certificate.clone(),
            chain,
            key: SoftKey::from_pkcs8_der(&self.key.to_pkcs8_der())?,
        })
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The certificates shown above it, from below.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &SoftKey {
        &self.key
    }
}

/// A sign key with its certificate and those above it.
#[derive(Clone, Debug)]
pub struct SignIdentity {
    certificate: Certificate,
    chain: Vec<Certificate>,
    signer: Arc<dyn Signer>,
}

impl SignIdentity {
    pub(super) fn of(sign: &SignKey) -> Self {
        Self {
            certificate: sign.certificate().clone(),
            chain: sign.chain().to_vec(),
            signer: sign.signer(),
        }
    }

    /// Any key with any certificates.
    #[must_use]
    pub fn new(certificate: Certificate, chain: Vec<Certificate>, signer: Arc<dyn Signer>) -> Self {
        Self {
            certificate,
            chain,
            signer,
        }
    }

    pub(super) fn issued(
        like: &Certificate,
        pki: &DevPki,
        validity: Validity,
    ) -> Result<Self, Failure> {
        let (key, certificate) = issue(Usage::Signing, &subject(like), pki, validity)?;
        Ok(Self {
            certificate,
            chain: vec![pki.issuing_ca().clone()],
            signer: Arc::new(key),
        })
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The certificates above it, from below.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// What signs.
    #[must_use]
    pub fn signer(&self) -> Arc<dyn Signer> {
        Arc::clone(&self.signer)
    }
}

/// OCSP answers of `pki` for a certificate and those above it but for the root, leaf first, as of `now`.
#[must_use]
pub fn ocsp_answers(
    pki: &DevPki,
    leaf: &Certificate,
    chain: &[Certificate],
    now: OffsetDateTime,
    fault: Fault,
) -> Vec<Bytes> {
    let all: Vec<_> = std::iter::once(leaf).chain(chain).collect();
    let mut answers = Vec::new();
    for (index, certificate) in all.iter().enumerate() {
        if *certificate == pki.root_ca() {
            continue;
        }
        let above = if index == 0 {
            pki.issuing_ca()
        } else {
            pki.root_ca()
        };
        let request = request_der(certificate, above);
        answers.push(pki.answer_ocsp(&request, now, fault).into());
    }
    answers
}

fn subject(certificate: &Certificate) -> Vec<(&str, &str)> {
    let attributes = certificate.subject().attributes().iter();
    attributes
        .map(|(kind, value)| (kind.as_str(), value.as_str()))
        .collect()
}

fn issue(
    usage: Usage,
    subject: &[(&str, &str)],
    pki: &DevPki,
    validity: Validity,
) -> Result<(SoftKey, Certificate), Failure> {
    let key = SoftKey::generate(KeyKind::EcP256)?;
    let request = key.csr_der(subject)?;
    let certificate = pki.issue(usage, &request, None, validity)?;
    Ok((key, certificate))
}
