//! Reading a signature document (`signatures-and-log.md` 1): where everything is, taken by structure, never by looking up an Id.
//!
//! An attacker who wraps signed elements elsewhere (signature wrapping) counts on a verifier that checks one element and uses
//! another. Here the element that is used is found by its place, and a reference must lead to that very node.

mod read;

use jibek_certs::{
    digest::{Digest, digest},
    parse::Certificate,
    signer::SignatureAlgorithm,
};
use roxmltree::{Document, Node};
use std::collections::HashSet;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    c14n::{Canonicalization, canonicalize},
    lenient,
    names::{DS_NAMESPACE, XADES_NAMESPACE},
    tlv, xml,
};
use read::{
    locate, locate_object, qualifying_properties, read_certificate, read_signed_info, read_value,
};
pub(crate) use read::{read_digest, read_reference};

/// How much of the form is demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Of containers: what any XAdES software may have written (`signatures-and-log.md` 1.6 B, 5.6).
    Container,
    /// Of the wire: shapes 1.1 and 1.6 A, nothing beside them.
    Wire,
}

/// A signature document taken apart. Nothing is verified yet.
pub(crate) struct Signature<'d> {
    pub(crate) element: Node<'d, 'd>,
    pub(crate) signed_info: Node<'d, 'd>,
    canonicalization: Canonicalization,
    pub(crate) value_element: Node<'d, 'd>,
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) references: Vec<Reference<'d>>,
    /// URIs of references that cannot be read.
    pub(crate) unreadable: Vec<&'d str>,
    pub(crate) value: Vec<u8>,
    pub(crate) certificate: Certificate,
    pub(crate) signed_properties: Option<Node<'d, 'd>>,
    unsigned_properties: Option<Node<'d, 'd>>,
    /// Whether value and certificate are written as they should be, and not only readable.
    pub(crate) is_tidy: bool,
    form: Form,
}

/// One `ds:Reference`.
pub(crate) struct Reference<'d> {
    pub(crate) uri: &'d str,
    pub(crate) digest: Digest,
    /// How a same-document node becomes bytes.
    pub(crate) canonicalization: Canonicalization,
}

/// Why the document is not such a signature: what X-Road calls `malformed_signature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl<'d> Signature<'d> {
    pub(crate) fn read(document: &'d Document<'d>, form: Form) -> Result<Self, Malformed> {
        let signature = locate(document, form)?;
        let mut children = xml::children(signature);
        let mut next = |name, missing| {
            children
                .next()
                .filter(|child| xml::is(*child, DS_NAMESPACE, name))
                .ok_or(Malformed(missing))
        };
        let signed_info = next("SignedInfo", "no SignedInfo")?;
        let value_element = next("SignatureValue", "no SignatureValue")?;
        let key_info = next("KeyInfo", "no KeyInfo")?;
        let object = locate_object(document, children, form)?;
        let (value, is_value_tidy) = read_value(value_element, form)?;
        let (certificate, is_certificate_tidy) = read_certificate(key_info, form)?;
        let (signed_properties, unsigned_properties) =
            qualifying_properties(signature, object, form)?;
        let info = read_signed_info(signed_info, form)?;
        Ok(Self {
            element: signature,
            signed_info,
            canonicalization: info.canonicalization,
            value_element,
            algorithm: info.algorithm,
            references: info.references,
            unreadable: info.unreadable,
            value,
            certificate,
            signed_properties,
            unsigned_properties,
            is_tidy: is_value_tidy && is_certificate_tidy,
            form,
        })
    }

    /// The reference with this URI.
    pub(crate) fn reference(&self, uri: &str) -> Option<&Reference<'d>> {
        self.references
            .iter()
            .find(|reference| reference.uri == uri)
    }

    /// SignedInfo in the canonical form that it asks for: what was signed.
    pub(crate) fn signed_bytes(&self) -> Vec<u8> {
        canonicalize(self.signed_info, &self.canonicalization)
    }

    /// Whether the certificate's key made the value over SignedInfo.
    pub(crate) fn check_value(&self) -> Result<(), jibek_certs::signer::SignatureError> {
        self.certificate
            .verify(self.algorithm, &self.signed_bytes(), &self.value)
    }

    /// The node that a same-document reference means: the first in document order with that Id, as X-Road looks it up; `None` when
    /// there is none.
    pub(crate) fn target(&self, reference: &Reference<'d>) -> Option<Node<'d, 'd>> {
        let id = reference
            .uri
            .strip_prefix('#')
            .filter(|id| !id.is_empty())?;
        xml::by_id(self.signed_info.document(), id)
    }

    /// The same with its canonical form.
    pub(crate) fn canonical_node(
        &self,
        reference: &Reference<'d>,
    ) -> Option<(Node<'d, 'd>, Vec<u8>)> {
        let node = self.target(reference)?;
        Some((node, canonicalize(node, &reference.canonicalization)))
    }

    /// The same with the digest that the reference should state.
    pub(crate) fn same_document(
        &self,
        reference: &Reference<'d>,
    ) -> Option<(Node<'d, 'd>, Digest)> {
        let (node, canonical) = self.canonical_node(reference)?;
        Some((node, digest(reference.digest.algorithm(), &canonical)))
    }

    /// Whether a reference leads to the signed properties.
    pub(crate) fn covers_properties(&self) -> bool {
        self.signed_properties.is_some_and(|properties| {
            self.references
                .iter()
                .any(|reference| self.target(reference) == Some(properties))
        })
    }

    /// Whether the signed properties name the certificate of KeyInfo: `None` when they name none.
    pub(crate) fn names_certificate(&self) -> Option<bool> {
        let properties = xml::child(
            self.signed_properties?,
            XADES_NAMESPACE,
            "SignedSignatureProperties",
        )?;
        let signing = xml::child(properties, XADES_NAMESPACE, "SigningCertificate")
            .or_else(|| xml::child(properties, XADES_NAMESPACE, "SigningCertificateV2"))?;
        let stated = xml::child(signing, XADES_NAMESPACE, "Cert")
            .and_then(|cert| xml::child(cert, XADES_NAMESPACE, "CertDigest"))
            .and_then(|stated| read_digest(stated, self.form));
        Some(stated.is_some_and(|stated| self.certificate.digest(stated.algorithm()) == stated))
    }

    /// The claimed time of signing. No judgement rests on it (`signatures-and-log.md` 6.4).
    pub(crate) fn signing_time(&self) -> Option<OffsetDateTime> {
        let properties = xml::child(
            self.signed_properties?,
            XADES_NAMESPACE,
            "SignedSignatureProperties",
        )?;
        let text = xml::text(xml::child(properties, XADES_NAMESPACE, "SigningTime")?)?;
        OffsetDateTime::parse(text.trim(), &Rfc3339).ok()
    }

    /// Intermediate certificates that came along: those that the unsigned properties refer to, as X-Road takes them.
    pub(crate) fn extra_certificates(&self) -> Result<Vec<Certificate>, Malformed> {
        const MISSING: Malformed = Malformed("a reference to a certificate that is not there");
        const WRONG: Malformed = Malformed("a certificate that is not the one referred to");
        let references = self
            .unsigned("CompleteCertificateRefs")
            .and_then(|references| xml::child(references, XADES_NAMESPACE, "CertRefs"))
            .into_iter()
            .flat_map(xml::children)
            .filter(|child| xml::is(*child, XADES_NAMESPACE, "Cert"));
        let mut certificates = Vec::new();
        for reference in references {
            if certificates.len() >= MAX_CERTIFICATES {
                return Err(Malformed("too many certificates"));
            }
            let uri = xml::attribute(reference, "URI").unwrap_or_default();
            let id = uri.strip_prefix('#').unwrap_or(uri);
            let element = xml::by_id(self.element.document(), id).ok_or(MISSING)?;
            let der = lenient::binding(&xml::deep_text(element)).ok_or(WRONG)?;
            let certificate = Certificate::from_der(tlv::first(&der).ok_or(WRONG)?.to_vec())
                .map_err(|_| Malformed("a certificate that cannot be read"))?;
            // X-Road takes first children, whatever they are
            let stated = first_but_comments(reference)
                .filter(|first| xml::is(*first, XADES_NAMESPACE, "CertDigest"))
                .filter(|digest| {
                    first_but_comments(*digest).is_some_and(|first| first.is_element())
                })
                .and_then(|digest| read_digest(digest, Form::Container))
                .ok_or(WRONG)?;
            if certificate.digest(stated.algorithm()) != stated {
                return Err(WRONG);
            }
            certificates.push(certificate);
        }
        Ok(certificates)
    }

    /// The OCSP responses that came along, in DER. What follows a response is left out, as X-Road does not look at it.
    pub(crate) fn ocsp_responses(&self) -> Vec<Vec<u8>> {
        self.unsigned("RevocationValues")
            .and_then(|values| xml::child(values, XADES_NAMESPACE, "OCSPValues"))
            .into_iter()
            .flat_map(xml::children)
            .filter(|child| xml::is(*child, XADES_NAMESPACE, "EncapsulatedOCSPValue"))
            .map(|value| {
                let der = lenient::binding(&xml::deep_text(value)).unwrap_or_default();
                tlv::first(&der).unwrap_or(&der).to_vec()
            })
            .collect()
    }

    /// The element that holds the time-stamp token of a single stamp: looked up by its written name, as X-Road does. In containers
    /// of 2014 the token stands there without an element of its own (`signatures-and-log.md` 3.5).
    pub(crate) fn time_stamp_element(&self) -> Option<Node<'d, 'd>> {
        let document = self.element.document();
        xml::first_written(document, "xades:EncapsulatedTimeStamp")
            .or_else(|| xml::first_written(document, "xades:SignatureTimeStamp"))
    }

    /// That element and the token in it.
    pub(crate) fn time_stamp(&self) -> Option<(Node<'d, 'd>, Vec<u8>)> {
        let element = self.time_stamp_element()?;
        let token = lenient::binding(&xml::deep_text(element))?;
        (!token.is_empty()).then_some((element, token))
    }

    fn unsigned(&self, name: &str) -> Option<Node<'d, 'd>> {
        xml::child(
            xml::child(
                self.unsigned_properties?,
                XADES_NAMESPACE,
                "UnsignedSignatureProperties",
            )?,
            XADES_NAMESPACE,
            name,
        )
    }
}

/// The first child node in a tree without comments.
fn first_but_comments<'a, 'input>(node: Node<'a, 'input>) -> Option<Node<'a, 'input>> {
    node.children().find(|child| !child.is_comment())
}

/// Whether two elements of the document have one Id, whatever the attribute's spelling.
pub(crate) fn has_duplicate_ids(document: &Document<'_>) -> bool {
    let mut seen = HashSet::new();
    document
        .descendants()
        .flat_map(|node| node.attributes())
        .filter(|attribute| attribute.name().eq_ignore_ascii_case("id"))
        .any(|attribute| !seen.insert(attribute.value()))
}

/// Most intermediates of one signature.
const MAX_CERTIFICATES: usize = 16;
