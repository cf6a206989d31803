//! What the verdict does not depend on and a court should know (`signatures-and-log.md` 5.6, `observed.md` 5).

use jibek_certs::{
    digest::DigestAlgorithm, ocsp::VerifiedCertificate, signer::SignatureAlgorithm,
    tsp::TimestampToken,
};
use time::Duration;

use super::{Attachment, Finding, FindingKind, Judge, Stamp, present};
use crate::{hash_chain::VerifiedChain, names, signature::Signature};

impl Judge<'_> {
    /// Everything about the signature that is worth a word.
    pub(super) fn look_around(
        &mut self,
        signature: &Signature<'_>,
        duplicate_ids: bool,
        token: &TimestampToken,
        stamp: &Stamp,
        certificate: Option<&VerifiedCertificate>,
    ) {
        if !signature.covers_properties() {
            self.find(
                FindingKind::PropertiesUncovered,
                "the signature does not cover its own properties",
            );
        }
        match signature.names_certificate() {
            Some(true) => {}
            Some(false) => self.find(
                FindingKind::CertificateDiffers,
                "the signed properties name another certificate than the one that verifies",
            ),
            None => self.find(
                FindingKind::CertificateUnnamed,
                "the signed properties name no certificate",
            ),
        }
        if duplicate_ids {
            self.find(
                FindingKind::DuplicateIds,
                "two elements of the signature have one Id",
            );
        }
        if signature.algorithm == SignatureAlgorithm::RsaPkcs1Sha1
            || token.imprint().algorithm() == DigestAlgorithm::Sha1
            || signature
                .references
                .iter()
                .any(|reference| reference.digest.algorithm() == DigestAlgorithm::Sha1)
        {
            self.find(
                FindingKind::WeakAlgorithm,
                "SHA-1 is used, for which collisions can be made",
            );
        }
        if let Some(claimed) = signature
            .signing_time()
            .filter(|claimed| *claimed > stamp.time + TOLERANCE)
        {
            self.find(
                FindingKind::SigningTimeAfterStamp,
                format!(
                    "the signer claims {claimed}, the time-stamp says {}",
                    stamp.time
                ),
            );
        }
        if let Some(ocsp) = certificate.and_then(|certificate| certificate.ocsp().first())
            && ocsp.response().this_update() > stamp.time
        {
            self.find(
                FindingKind::OcspFromFuture,
                format!(
                    "the OCSP response is of {}, the time-stamp of {}",
                    ocsp.response().this_update(),
                    stamp.time
                ),
            );
        }
        if present(self.container, "sig-hashchain.xml")
            && signature.reference(names::SIGNATURE_CHAIN_RESULT).is_none()
        {
            self.find(
                FindingKind::ChainUnreferenced,
                "the container has a hash chain that the signature does not refer to",
            );
        }
    }

    /// What is signed beside the message, and what lies in the container unsigned.
    pub(super) fn attachments(
        &mut self,
        signature: &Signature<'_>,
        chain: Option<&VerifiedChain>,
    ) -> Vec<Attachment> {
        let mut attachments = Vec::new();
        for reference in signature
            .references
            .iter()
            .filter(|reference| names::attachment_number(reference.uri).is_some())
        {
            attachments.push(Attachment::new(reference.uri, reference.digest, true));
        }
        for reference in chain
            .into_iter()
            .flat_map(VerifiedChain::references)
            .filter(|reference| reference.name != names::MESSAGE)
        {
            let found = self.entry_digest(&reference.name, reference.digest.algorithm());
            match found {
                Some(found) if found == reference.digest => {}
                Some(_) => self.find(
                    FindingKind::AttachmentDiffers,
                    format!("{} is not what was signed", reference.name),
                ),
                None => self.find(
                    FindingKind::AttachmentAbsent,
                    format!("{} was signed and is not in the container", reference.name),
                ),
            }
            attachments.push(Attachment::new(
                &reference.name,
                reference.digest,
                found == Some(reference.digest),
            ));
        }
        let unsigned: Vec<String> = self
            .container
            .entries()
            .map(|(name, _)| format!("/{name}"))
            .filter(|name| {
                !attachments
                    .iter()
                    .any(|attachment| attachment.name() == name)
            })
            .collect();
        for name in unsigned {
            if names::attachment_number(&name).is_some() {
                self.find(
                    FindingKind::AttachmentUncovered,
                    format!("{name} is in the container and not signed"),
                );
            } else if !KNOWN_ENTRIES.contains(&name.as_str()) {
                self.find(
                    FindingKind::EntryUnknown,
                    format!("{name} is in the container and not signed"),
                );
            }
        }
        attachments
    }

    fn find(&mut self, kind: FindingKind, text: impl Into<String>) {
        self.findings.push(Finding::new(kind, text));
    }
}

/// How far the signer's clock may run ahead of the time-stamping authority's before it is worth a word.
const TOLERANCE: Duration = Duration::minutes(5);

/// Entries that containers have, beside attachments.
const KNOWN_ENTRIES: [&str; 10] = [
    "/mimetype",
    "/META-INF/ASiCManifest.xml",
    "/META-INF/manifest.xml",
    "/META-INF/timestamp.tst",
    names::SIGNATURES,
    names::MESSAGE,
    names::SIGNATURE_CHAIN,
    names::SIGNATURE_CHAIN_RESULT,
    names::STAMP_CHAIN,
    names::STAMP_CHAIN_RESULT,
];
