//! What a valid container proves.

use jibek_certs::{
    digest::Digest, ocsp::VerifiedCertificate, ocsp::VerifiedOcsp, parse::Certificate,
};
use jibek_protocol::id::ClientId;
use std::sync::Arc;
use time::OffsetDateTime;

use super::MessageFacts;

/// Who said what to whom, and when it existed.
#[derive(Debug, Clone)]
pub struct Report {
    facts: MessageFacts,
    signer: Certificate,
    certificate: Option<Arc<VerifiedCertificate>>,
    signing_time: Option<OffsetDateTime>,
    stamp_time: OffsetDateTime,
    stamp_authority: Option<Certificate>,
    attachments: Vec<Attachment>,
}

impl Report {
    pub(super) fn new(
        facts: MessageFacts,
        (signer, certificate): (Certificate, Option<Arc<VerifiedCertificate>>),
        signing_time: Option<OffsetDateTime>,
        stamp_time: OffsetDateTime,
        stamp_authority: Option<Certificate>,
        attachments: Vec<Attachment>,
    ) -> Self {
        Self {
            facts,
            signer,
            certificate,
            signing_time,
            stamp_time,
            stamp_authority,
            attachments,
        }
    }

    /// What the message says of itself.
    pub fn message(&self) -> &MessageFacts {
        &self.facts
    }

    /// Who sent it: the client of a request, the provider of a response.
    pub fn sender(&self) -> &ClientId {
        self.facts.sender()
    }

    /// The signing certificate.
    pub fn signer(&self) -> &Certificate {
        &self.signer
    }

    /// The signing certificate's path, and the OCSP responses that were believed.
    pub fn certificate(&self) -> Option<&VerifiedCertificate> {
        self.certificate.as_deref()
    }

    /// The OCSP response for the signing certificate, and who signed it.
    pub fn ocsp(&self) -> Option<&VerifiedOcsp> {
        self.certificate
            .as_ref()
            .and_then(|certificate| certificate.ocsp().first())
    }

    /// When the signer says that it signed.
    pub fn signing_time(&self) -> Option<OffsetDateTime> {
        self.signing_time
    }

    /// When the signature existed, by the time-stamp.
    pub fn stamp_time(&self) -> OffsetDateTime {
        self.stamp_time
    }

    /// Who stamped it.
    pub fn stamp_authority(&self) -> Option<&Certificate> {
        self.stamp_authority.as_ref()
    }

    /// What was signed beside the message.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }
}

/// Something signed beside the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    name: String,
    digest: Digest,
    verified: bool,
}

impl Attachment {
    pub(super) fn new(name: &str, digest: Digest, verified: bool) -> Self {
        Self {
            name: name.to_owned(),
            digest,
            verified,
        }
    }

    /// Its name, as `/attachment1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The digest that was signed.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Whether the container holds it and it is what was signed.
    pub fn is_verified(&self) -> bool {
        self.verified
    }
}
