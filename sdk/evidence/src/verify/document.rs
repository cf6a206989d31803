//! What a signature document says, read once: the records of a batch share one.
//!
//! All of it depends on the document's bytes alone, so it may be remembered by them. What also depends on the rest of the container,
//! on the configuration or on the time is judged for each container.

use bytes::Bytes;
use jibek_certs::{
    digest::{Digest, DigestAlgorithm, digest},
    ocsp::{OcspError, OcspResponse},
    parse::Certificate,
    signer::Weakness,
};
use jibek_protocol::id::MemberId;
use roxmltree::{Document, Node};
use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};
use time::OffsetDateTime;

use super::{
    Judge, Refusal, explain, invalid, manifests, memory::JudgedSigner, parts::shortened, signer,
};
use crate::{
    names::DS_NAMESPACE,
    signature::{Form, Signature, has_duplicate_ids},
    xml,
};

/// A signature document, taken apart and as far verified as it can be alone.
#[derive(Debug)]
pub(super) struct SignatureFacts {
    /// SHA-512 of the document's bytes, by which stamps know it.
    pub(super) document: Digest,
    pub(super) references: Vec<StatedReference>,
    /// URIs of references that cannot be read.
    pub(super) unreadable: Vec<String>,
    pub(super) value: Bytes,
    pub(super) certificate: Certificate,
    pub(super) stamp: InnerStamp,
    /// Whether the certificate's key made the value, and if so, what else the signature says.
    pub(super) signed: Result<SignedFacts, String>,
    /// Who was found to have signed, last.
    judged: Mutex<Option<JudgedSigner>>,
}

/// What is looked at only when the signature value holds: until then anybody could have written it.
#[derive(Debug)]
pub(super) struct SignedFacts {
    /// Manifests of time-stamps of long ago.
    pub(super) manifests: Result<(), Refusal>,
    /// Certificates and OCSP responses that came along.
    pub(super) presented: Result<Presented, Refusal>,
    pub(super) covers_properties: bool,
    /// Whether the signed properties name the certificate: `None` when they name none.
    pub(super) names_certificate: Option<bool>,
    pub(super) signing_time: Option<OffsetDateTime>,
    /// Whether value and certificate are written as they should be.
    pub(super) is_tidy: bool,
    pub(super) has_duplicate_ids: bool,
    /// What is weak about digests, algorithm and key.
    pub(super) weaknesses: Vec<Weakness>,
    /// How many more signatures there are.
    pub(super) others: usize,
    /// Something in an Object to which nothing refers.
    pub(super) beside: Option<String>,
}

/// What came along with a signing certificate.
#[derive(Debug)]
pub(super) struct Presented {
    pub(super) extra: Vec<Certificate>,
    pub(super) responses: Vec<PresentedResponse>,
}

/// An OCSP response that came along, read as far as it can be.
#[derive(Debug)]
pub(super) struct PresentedResponse {
    pub(super) der: Bytes,
    pub(super) read: Result<OcspResponse, OcspError>,
}

/// One `ds:Reference`.
#[derive(Debug)]
pub(super) struct StatedReference {
    pub(super) uri: String,
    pub(super) digest: Digest,
    /// The digest of what it means in this document: nothing for what is elsewhere, or not there.
    pub(super) inner: Option<Digest>,
}

/// The token that a document holds itself.
#[derive(Debug)]
pub(super) enum InnerStamp {
    Absent,
    /// An element without text.
    Empty,
    Token(Bytes),
    Unreadable,
}

impl Judge<'_> {
    /// The signature document, read or remembered.
    pub(super) fn signature(&self) -> Result<Arc<SignatureFacts>, Refusal> {
        let bytes = self.document()?;
        self.memory.document(bytes, || SignatureFacts::read(bytes))
    }
}

impl SignatureFacts {
    /// Reads a document. X-Road keeps entries as text, so bytes that are none become replacement characters.
    fn read(document: &[u8]) -> Result<Self, Refusal> {
        let text = without_latin_1(String::from_utf8_lossy(document));
        let tree =
            xml::parse(text.as_bytes()).map_err(|error| invalid(error.code(), explain(&error)))?;
        let signature = Signature::read(&tree, Form::Container)?;
        let signed = signature
            .check_value()
            .map(|()| SignedFacts::of(&signature, &tree))
            .map_err(|error| error.to_string());
        let references = signature
            .references
            .iter()
            .map(|reference| StatedReference {
                uri: reference.uri.to_owned(),
                digest: reference.digest,
                inner: signed
                    .as_ref()
                    .ok()
                    .and_then(|_| signature.same_document(reference))
                    .map(|(_, digest)| digest),
            })
            .collect();
        Ok(Self {
            document: digest(DigestAlgorithm::Sha512, document),
            references,
            unreadable: signature
                .unreadable
                .iter()
                .map(|uri| (*uri).to_owned())
                .collect(),
            stamp: InnerStamp::of(&signature),
            certificate: signature.certificate,
            value: signature.value.into(),
            signed,
            judged: Mutex::default(),
        })
    }

    /// The reference with this URI.
    pub(super) fn reference(&self, uri: &str) -> Option<&StatedReference> {
        self.references
            .iter()
            .find(|reference| reference.uri == uri)
    }

    /// Whether a reference has this URI, readable or not.
    pub(super) fn refers_to(&self, uri: &str) -> bool {
        self.reference(uri).is_some() || self.unreadable.iter().any(|unread| unread == uri)
    }

    /// What the signature says beside references and value; it must hold.
    pub(super) fn signed(&self) -> Result<&SignedFacts, Refusal> {
        self.signed.as_ref().map_err(|error| {
            invalid(
                "invalid_signature_value",
                format!("the signature value is not valid: {error}"),
            )
        })
    }

    /// The judgement of the certificate for this member, if the last one was for it.
    pub(super) fn judged(&self, member: &MemberId) -> Option<JudgedSigner> {
        self.judged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .filter(|judged| judged.member == *member)
            .cloned()
    }

    pub(super) fn keep_judged(&self, judged: JudgedSigner) {
        *self.judged.lock().unwrap_or_else(PoisonError::into_inner) = Some(judged);
    }
}

impl SignedFacts {
    fn of(signature: &Signature<'_>, document: &Document<'_>) -> Self {
        Self {
            manifests: manifests::check(signature),
            presented: signer::presented(signature).map_err(Refusal::from),
            covers_properties: signature.covers_properties(),
            names_certificate: signature.names_certificate(),
            signing_time: signature.signing_time(),
            is_tidy: signature.is_tidy,
            has_duplicate_ids: has_duplicate_ids(document),
            weaknesses: signature
                .references
                .iter()
                .filter_map(|reference| reference.digest.algorithm().weakness())
                .chain(signature.algorithm.weakness())
                .chain(signature.certificate.public_key().weakness())
                .collect(),
            others: document
                .descendants()
                .filter(|node| {
                    xml::is(*node, DS_NAMESPACE, "Signature") && *node != signature.element
                })
                .count(),
            beside: beside(signature).map(|node| shortened(node.tag_name().name())),
        }
    }
}

/// The first element in an Object of the signature that neither holds the properties nor is referred to.
fn beside<'d>(signature: &Signature<'d>) -> Option<Node<'d, 'd>> {
    let covered: Vec<Node<'_, '_>> = signature
        .references
        .iter()
        .filter_map(|reference| signature.target(reference))
        .collect();
    xml::children(signature.element)
        .filter(|child| xml::is(*child, DS_NAMESPACE, "Object"))
        .flat_map(|object| xml::children(object).map(move |child| (object, child)))
        .find(|(object, child)| {
            let holds_properties = signature
                .signed_properties
                .is_some_and(|properties| properties.parent() == Some(*child));
            !holds_properties && !covered.contains(child) && !covered.contains(object)
        })
        .map(|(_, child)| child)
}

impl InnerStamp {
    fn of(signature: &Signature<'_>) -> Self {
        let Some(element) = signature.time_stamp_element() else {
            return Self::Absent;
        };
        if xml::deep_text(element).trim().is_empty() {
            return Self::Empty;
        }
        match signature.time_stamp() {
            Some((_, token)) => Self::Token(token.into()),
            None => Self::Unreadable,
        }
    }
}

/// A document that declares ISO-8859-1, without its declaration, its bytes read as X-Road's parser then reads them: each as a letter.
fn without_latin_1(document: Cow<'_, str>) -> Cow<'_, str> {
    let Some((declaration, content)) = document
        .strip_prefix("<?xml")
        .and_then(|rest| rest.split_once("?>"))
    else {
        return document;
    };
    let declared = declaration.to_ascii_lowercase();
    let is_latin_1 = ["encoding=\"iso-8859-1\"", "encoding='iso-8859-1'"]
        .iter()
        .any(|encoding| declared.contains(encoding));
    if is_latin_1 {
        Cow::Owned(content.bytes().map(char::from).collect())
    } else {
        document
    }
}
