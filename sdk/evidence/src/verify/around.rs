//! What the verdict does not depend on and a court should know (`signatures-and-log.md` 5.6, `observed.md` 5).

use jibek_certs::{digest::DigestAlgorithm, ocsp::VerifiedCertificate, signer::Weakness};
use memchr::memmem;
use roxmltree::{Document, Node};
use time::Duration;

use super::{
    Attachment, Finding, FindingKind, Judge, MessageFacts, MessageKind,
    document::{InnerStamp, SignatureFacts, SignedFacts},
    entries::{self, is_attachment, present},
    parts::shortened,
    stamp::Stamp,
};
use crate::{
    container::Peculiarity,
    hash_chain::VerifiedChain,
    names,
    signature::{Form, read_digest},
    xml,
};

impl Judge<'_> {
    /// Everything about the signature that is worth a word.
    pub(super) fn look_around(
        &mut self,
        signature: &SignatureFacts,
        signed: &SignedFacts,
        stamp: &Stamp,
        certificate: Option<&VerifiedCertificate>,
    ) {
        self.look_at_properties(signed);
        if signed.has_duplicate_ids {
            self.find(
                FindingKind::DuplicateIds,
                "two elements of the signature have one Id",
            );
        }
        if !signed.is_tidy {
            self.find(
                FindingKind::LooseEncoding,
                "the signature value or the certificate has more in its text than it should",
            );
        }
        self.look_for_weakness(signature, signed, stamp);
        self.look_at_times(signed, stamp, certificate);
        self.look_for_unverified(signature, signed);
        if present(self.container, "sig-hashchain.xml")
            && !signature.refers_to(names::SIGNATURE_CHAIN_RESULT)
        {
            self.find(
                FindingKind::ChainUnreferenced,
                "the container has a hash chain that the signature does not refer to",
            );
        }
        self.look_at_manifests();
        self.look_at_file();
    }

    /// What is odd about the ZIP file itself.
    fn look_at_file(&mut self) {
        for peculiarity in self.container.peculiarities() {
            let kind = match peculiarity {
                Peculiarity::Directory(_) => FindingKind::ZipDirectoryDiffers,
                Peculiarity::Link { .. } => FindingKind::ZipLink,
                Peculiarity::UnsafeName { .. } => FindingKind::ZipUnsafeName,
            };
            self.find(kind, peculiarity.to_string());
        }
    }

    fn look_at_properties(&mut self, signed: &SignedFacts) {
        if !signed.covers_properties {
            self.find(
                FindingKind::PropertiesUncovered,
                "the signature does not cover its own properties",
            );
        }
        match signed.names_certificate {
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
    }

    fn look_for_weakness(
        &mut self,
        signature: &SignatureFacts,
        signed: &SignedFacts,
        stamp: &Stamp,
    ) {
        let chains: &[&str] = if signature.refers_to(names::SIGNATURE_CHAIN_RESULT) {
            &[
                "sig-hashchainresult.xml",
                "sig-hashchain.xml",
                "ts-hashchainresult.xml",
                "ts-hashchain.xml",
            ]
        } else {
            &["ts-hashchainresult.xml", "ts-hashchain.xml"]
        };
        let in_chains = chains
            .iter()
            .filter_map(|name| self.container.entry(name))
            .any(|chain| memmem::find(chain, DigestAlgorithm::Sha1.uri().as_bytes()).is_some());
        let mut weaknesses: Vec<Weakness> = signed
            .weaknesses
            .iter()
            .copied()
            .chain(in_chains.then_some(Weakness::Sha1))
            .chain(stamp.weaknesses.iter().copied())
            .collect();
        weaknesses.sort_unstable();
        weaknesses.dedup();
        for weakness in weaknesses {
            self.find(FindingKind::WeakAlgorithm, weakness.to_string());
        }
    }

    fn look_at_times(
        &mut self,
        signed: &SignedFacts,
        stamp: &Stamp,
        certificate: Option<&VerifiedCertificate>,
    ) {
        if let Some(claimed) = signed.signing_time {
            let kind = if claimed > stamp.time + TOLERANCE {
                Some(FindingKind::SigningTimeAfterStamp)
            } else if claimed < stamp.time - FAR {
                Some(FindingKind::SigningTimeFarFromStamp)
            } else {
                None
            };
            if let Some(kind) = kind {
                self.find(
                    kind,
                    format!(
                        "the signer claims {claimed}, the time-stamp says {}",
                        stamp.time
                    ),
                );
            }
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
    }

    /// Signatures and objects in the document that the verdict passed by, and a second time-stamp.
    fn look_for_unverified(&mut self, signature: &SignatureFacts, signed: &SignedFacts) {
        let others = signed.others;
        if others > 0 {
            self.find(
                FindingKind::ContentUnverified,
                format!("the document holds more signatures, {others} of which were not looked at"),
            );
        }
        if let Some(name) = &signed.beside {
            self.find(
                FindingKind::ContentUnverified,
                format!("the signature holds {name}, to which nothing refers"),
            );
        }
        if self.container.entry(entries::STAMP).is_some()
            && matches!(signature.stamp, InnerStamp::Token(_))
        {
            self.find(
                FindingKind::ContentUnverified,
                "the signature holds another time-stamp, which was not looked at",
            );
        }
    }

    /// The two manifests, which X-Road never reads. Other readers of such containers do.
    fn look_at_manifests(&mut self) {
        for name in [entries::ASIC_MANIFEST, entries::MANIFEST] {
            let Some(content) = self.container.entry(name) else {
                continue;
            };
            let is_true = xml::parse(content).is_ok_and(|document| {
                self.lists_digests(&document) && self.lists_entries(&document)
            });
            if !is_true {
                self.find(
                    FindingKind::ManifestDiffers,
                    format!("{name} does not say what is in the container"),
                );
            }
        }
    }

    fn lists_digests(&self, manifest: &Document<'_>) -> bool {
        named(manifest, "DataObjectReference").all(|reference| {
            read_digest(reference, Form::Container).is_some_and(|stated| {
                xml::attribute(reference, "URI")
                    .and_then(|name| self.entry_digest(name, stated.algorithm()))
                    == Some(stated)
            })
        })
    }

    fn lists_entries(&self, manifest: &Document<'_>) -> bool {
        named(manifest, "file-entry").all(|entry| {
            entry
                .attributes()
                .find(|attribute| attribute.name() == "full-path")
                .is_some_and(|path| path.value() == "/" || self.container.has(path.value()))
        })
    }

    /// What is signed beside the message, and what lies in the container unsigned.
    pub(super) fn attachments(
        &mut self,
        signature: &SignatureFacts,
        chain: Option<&VerifiedChain>,
        facts: Option<&MessageFacts>,
    ) -> Vec<Attachment> {
        let mut attachments = Vec::new();
        for reference in signature
            .references
            .iter()
            .filter(|reference| names::attachment_number(&reference.uri).is_some())
        {
            attachments.push(Attachment::new(&reference.uri, reference.digest, true));
        }
        let is_rest = facts.is_some_and(|facts| facts.kind() == MessageKind::Rest);
        for reference in chain
            .into_iter()
            .flat_map(VerifiedChain::references)
            .filter(|reference| reference.name != names::MESSAGE)
        {
            let name = shortened(&reference.name);
            let found = self.entry_digest(&reference.name, reference.digest.algorithm());
            match found {
                Some(found) if found == reference.digest => {}
                Some(_) => self.find(
                    FindingKind::AttachmentDiffers,
                    format!("{name} is not what was signed"),
                ),
                None if self.not_kept(&reference.name) == Some(reference.digest) => self.find(
                    FindingKind::BodyNotKept,
                    format!(
                        "the body, {name}, is not kept by policy; its digest is, and it is the signed one"
                    ),
                ),
                None if is_rest => self.find(
                    FindingKind::BodyRemoved,
                    format!("the body, {name}, was signed and is not in the container"),
                ),
                None => self.find(
                    FindingKind::AttachmentAbsent,
                    format!("{name} was signed and is not in the container"),
                ),
            }
            attachments.push(Attachment::new(
                &reference.name,
                reference.digest,
                found == Some(reference.digest),
            ));
        }
        self.look_for_unsigned(signature, &attachments);
        attachments
    }

    fn not_kept(&self, name: &str) -> Option<jibek_certs::digest::Digest> {
        self.container
            .not_kept(name.strip_prefix('/').unwrap_or(name))
    }

    fn look_for_unsigned(&mut self, signature: &SignatureFacts, attachments: &[Attachment]) {
        let container = self.container;
        for name in container.names() {
            let uri = format!("/{name}");
            let is_signed = attachments
                .iter()
                .any(|attachment| attachment.name() == uri)
                || signature.refers_to(&uri)
                || signature.refers_to(name);
            let kind = if is_attachment(name) {
                FindingKind::AttachmentUncovered
            } else {
                FindingKind::EntryUnknown
            };
            if !is_signed && !entries::is_structural(name) {
                self.find(
                    kind,
                    format!("{} is in the container and not signed", shortened(&uri)),
                );
            }
        }
    }

    /// Whether a container that does not hold is one of a log that keeps no bodies: X-Road writes those with an empty one.
    pub(super) fn look_for_lost_body(&mut self) {
        let is_empty = self
            .container
            .entry(entries::MESSAGE)
            .and_then(|message| xml::parse(message).ok())
            .is_some_and(|document| {
                let body = xml::children(document.root_element())
                    .find(|child| child.tag_name().name() == "Body");
                body.is_some_and(|body| xml::children(body).next().is_none())
            });
        if is_empty {
            self.find(
                FindingKind::BodyRemoved,
                "the message has no body: of a log that keeps none, nothing can be verified",
            );
        }
    }

    fn find(&mut self, kind: FindingKind, text: impl Into<String>) {
        self.findings.push(Finding::new(kind, text));
    }
}

/// Elements of this name in any namespace: X-Road writes some in one of its own.
fn named<'a, 'input>(
    document: &'a Document<'input>,
    name: &'a str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    document
        .descendants()
        .filter(move |node| node.is_element() && node.tag_name().name() == name)
}

/// How far the signer's clock may run ahead of the time-stamping authority's before it is worth a word.
const TOLERANCE: Duration = Duration::minutes(5);
/// How long a signature may wait for its stamp before it is worth a word: as long as OCSP responses are fresh by default.
const FAR: Duration = Duration::hours(1);
