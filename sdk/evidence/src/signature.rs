//! Reading a signature document (`signatures-and-log.md` 1): where everything is, taken by structure, never by looking up an Id.
//!
//! An attacker who wraps signed elements elsewhere (signature wrapping) counts on a verifier that checks one element and uses
//! another. Here the element that is used is found by its place, and a reference must lead to that very node.

use jibek_certs::{
    digest::{Digest, DigestAlgorithm, digest},
    parse::Certificate,
    signer::SignatureAlgorithm,
};
use roxmltree::{Document, Node};
use std::collections::HashSet;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    c14n::{Canonicalization, canonicalize},
    names::{self, DS_NAMESPACE, XADES_NAMESPACE},
    xml,
};

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
    pub(crate) signed_info: Node<'d, 'd>,
    canonicalization: Canonicalization,
    pub(crate) value_element: Node<'d, 'd>,
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) references: Vec<Reference<'d>>,
    pub(crate) value: Vec<u8>,
    pub(crate) certificate: Certificate,
    pub(crate) signed_properties: Option<Node<'d, 'd>>,
    unsigned_properties: Option<Node<'d, 'd>>,
}

/// One `ds:Reference`.
pub(crate) struct Reference<'d> {
    pub(crate) uri: &'d str,
    pub(crate) digest: Digest,
    /// How a same-document node becomes bytes.
    canonicalization: Canonicalization,
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
        let object = next("Object", "no Object")?;
        if form == Form::Wire && children.next().is_some() {
            return Err(Malformed("an element after the Object"));
        }
        let value = xml::base64(value_element)
            .filter(|value| !value.is_empty())
            .ok_or(Malformed("a SignatureValue that is not base64"))?;
        let certificate = xml::child(key_info, DS_NAMESPACE, "X509Data")
            .and_then(|data| xml::child(data, DS_NAMESPACE, "X509Certificate"))
            .and_then(xml::base64)
            .ok_or(Malformed("no signing certificate"))?;
        let certificate = Certificate::from_der(certificate)
            .map_err(|_| Malformed("a signing certificate that cannot be read"))?;
        let (signed_properties, unsigned_properties) =
            qualifying_properties(signature, object, form)?;
        let (canonicalization, algorithm, references) = read_signed_info(signed_info, form)?;
        Ok(Self {
            signed_info,
            canonicalization,
            value_element,
            algorithm,
            references,
            value,
            certificate,
            signed_properties,
            unsigned_properties,
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

    /// The node that a same-document reference means, and its canonical form: the first in document order with that Id, as X-Road
    /// looks it up; `None` when there is none.
    pub(crate) fn canonical_node(
        &self,
        reference: &Reference<'d>,
    ) -> Option<(Node<'d, 'd>, Vec<u8>)> {
        let id = reference
            .uri
            .strip_prefix('#')
            .filter(|id| !id.is_empty())?;
        let node = self
            .signed_info
            .document()
            .descendants()
            .find(|node| node.is_element() && node.attribute("Id") == Some(id))?;
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
            self.references.iter().any(|reference| {
                self.same_document(reference)
                    .is_some_and(|(node, _)| node == properties)
            })
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
            .and_then(read_digest);
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

    /// Intermediate certificates that came along; those that cannot be read are left out.
    pub(crate) fn extra_certificates(&self) -> Vec<Certificate> {
        self.unsigned("CertificateValues")
            .into_iter()
            .flat_map(|values| {
                values
                    .children()
                    .filter(|child| xml::is(*child, XADES_NAMESPACE, "EncapsulatedX509Certificate"))
            })
            .filter_map(xml::base64)
            .filter_map(|der| Certificate::from_der(der).ok())
            .collect()
    }

    /// The OCSP responses that came along, in DER.
    pub(crate) fn ocsp_responses(&self) -> Vec<Vec<u8>> {
        self.unsigned("RevocationValues")
            .and_then(|values| xml::child(values, XADES_NAMESPACE, "OCSPValues"))
            .into_iter()
            .flat_map(|values| {
                values
                    .children()
                    .filter(|child| xml::is(*child, XADES_NAMESPACE, "EncapsulatedOCSPValue"))
            })
            .filter_map(xml::base64)
            .collect()
    }

    /// The time-stamp token of a single stamp, and the element that holds it; in containers of 2014 it stands there without its own element (`signatures-and-log.md` 3.5).
    pub(crate) fn time_stamp(&self) -> Option<(Node<'d, 'd>, Vec<u8>)> {
        let stamp = self.unsigned("SignatureTimeStamp")?;
        let element = xml::child(stamp, XADES_NAMESPACE, "EncapsulatedTimeStamp").unwrap_or(stamp);
        let token = xml::base64(element).filter(|token| !token.is_empty())?;
        Some((element, token))
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

/// Whether two elements of the document have one Id, whatever the attribute's spelling.
pub(crate) fn has_duplicate_ids(document: &Document<'_>) -> bool {
    let mut seen = HashSet::new();
    document
        .descendants()
        .flat_map(|node| node.attributes())
        .filter(|attribute| attribute.name().eq_ignore_ascii_case("id"))
        .any(|attribute| !seen.insert(attribute.value()))
}

fn locate<'d>(document: &'d Document<'d>, form: Form) -> Result<Node<'d, 'd>, Malformed> {
    let root = document.root_element();
    if form == Form::Container && xml::is(root, DS_NAMESPACE, "Signature") {
        return Ok(root);
    }
    if !xml::is(root, names::ASIC_NAMESPACE, "XAdESSignatures")
        && !xml::is(root, names::ASIC_NAMESPACE_OLD, "XAdESSignatures")
    {
        return Err(Malformed("the root is not XAdESSignatures"));
    }
    // X-Road takes the first child node, so white space before the signature is refused as well.
    let first = match form {
        Form::Container => root.first_element_child(),
        Form::Wire => root.first_child(),
    };
    let signature = first
        .filter(|first| xml::is(*first, DS_NAMESPACE, "Signature"))
        .ok_or(Malformed("the root's first child is not a signature"))?;
    if form == Form::Wire {
        if xml::children(root).count() != 1 {
            return Err(Malformed("more than the signature under the root"));
        }
        if has_duplicate_ids(document) {
            return Err(Malformed("two elements of one Id"));
        }
    }
    Ok(signature)
}

type Properties<'d> = (Option<Node<'d, 'd>>, Option<Node<'d, 'd>>);

fn qualifying_properties<'d>(
    signature: Node<'d, 'd>,
    object: Node<'d, 'd>,
    form: Form,
) -> Result<Properties<'d>, Malformed> {
    let qualifying = xml::child(object, XADES_NAMESPACE, "QualifyingProperties")
        .ok_or(Malformed("no QualifyingProperties"))?;
    let signed = xml::child(qualifying, XADES_NAMESPACE, "SignedProperties");
    let unsigned = xml::child(qualifying, XADES_NAMESPACE, "UnsignedProperties");
    if form == Form::Wire {
        let target = qualifying
            .attribute("Target")
            .and_then(|target| target.strip_prefix('#'));
        if target.is_none() || target != signature.attribute("Id") {
            return Err(Malformed("QualifyingProperties of another signature"));
        }
        if xml::children(object).count() != 1 {
            return Err(Malformed("more than QualifyingProperties in the Object"));
        }
        let [Some(signed), Some(unsigned)] = [signed, unsigned] else {
            return Err(Malformed("no signed or no unsigned properties"));
        };
        if xml::exactly(qualifying) != Some([signed, unsigned]) {
            return Err(Malformed("QualifyingProperties in another form"));
        }
    }
    Ok((signed, unsigned))
}

type SignedInfo<'d> = (Canonicalization, SignatureAlgorithm, Vec<Reference<'d>>);

fn read_signed_info<'d>(
    signed_info: Node<'d, 'd>,
    form: Form,
) -> Result<SignedInfo<'d>, Malformed> {
    let mut children = xml::children(signed_info);
    let canonicalization = children
        .next()
        .filter(|child| xml::is(*child, DS_NAMESPACE, "CanonicalizationMethod"))
        .and_then(|method| read_canonicalization(method, form))
        .ok_or(Malformed("a canonicalization method that we do not take"))?;
    let algorithm = children
        .next()
        .filter(|child| {
            xml::is(*child, DS_NAMESPACE, "SignatureMethod")
                && xml::children(*child).next().is_none()
        })
        .and_then(|method| SignatureAlgorithm::from_uri(method.attribute("Algorithm")?))
        .ok_or(Malformed("a signature method that we do not take"))?;
    let references = children
        .map(|child| read_reference(child, form))
        .collect::<Result<Vec<_>, _>>()?;
    if references.is_empty() {
        return Err(Malformed("no reference"));
    }
    if references.len() > MAX_REFERENCES {
        return Err(Malformed("more than 30 references"));
    }
    let mut seen = HashSet::new();
    if references
        .iter()
        .any(|reference| !seen.insert(reference.uri))
    {
        return Err(Malformed("two references to one thing"));
    }
    Ok((canonicalization, algorithm, references))
}

fn read_reference<'d>(reference: Node<'d, 'd>, form: Form) -> Result<Reference<'d>, Malformed> {
    if !xml::is(reference, DS_NAMESPACE, "Reference") {
        return Err(Malformed("an unknown element in SignedInfo"));
    }
    let uri = reference
        .attribute("URI")
        .ok_or(Malformed("a reference without URI"))?;
    let transforms = xml::child(reference, DS_NAMESPACE, "Transforms");
    // An octet stream is not transformed; a node set has this form unless a transform says otherwise.
    let mut canonicalization = Canonicalization::Inclusive;
    if let Some(transforms) = transforms {
        let [transform] =
            xml::exactly(transforms).ok_or(Malformed("transforms that we do not take"))?;
        if form == Form::Wire
            || !uri.starts_with('#')
            || !xml::is(transform, DS_NAMESPACE, "Transform")
        {
            return Err(Malformed("transforms that we do not take"));
        }
        canonicalization = read_canonicalization(transform, form)
            .ok_or(Malformed("transforms that we do not take"))?;
    }
    if xml::children(reference).count() != if transforms.is_some() { 3 } else { 2 } {
        return Err(Malformed("an unknown element in a reference"));
    }
    let digest = read_digest(reference).ok_or(Malformed("a digest that we cannot read"))?;
    Ok(Reference {
        uri,
        digest,
        canonicalization,
    })
}

fn read_canonicalization(method: Node<'_, '_>, form: Form) -> Option<Canonicalization> {
    let mut canonicalization = Canonicalization::from_uri(method.attribute("Algorithm")?)?;
    let parameters: Vec<_> = xml::children(method).collect();
    match (&mut canonicalization, parameters.as_slice()) {
        (Canonicalization::Inclusive, []) => {}
        (Canonicalization::Exclusive { .. }, _) if form == Form::Wire => return None,
        (Canonicalization::Exclusive { .. }, []) => {}
        (Canonicalization::Exclusive { inclusive_prefixes }, [list])
            if xml::is(*list, EXCLUSIVE_NAMESPACE, "InclusiveNamespaces") =>
        {
            let prefixes = list.attribute("PrefixList")?.split_ascii_whitespace();
            inclusive_prefixes.extend(prefixes.map(|prefix| {
                if prefix == "#default" {
                    String::new()
                } else {
                    prefix.to_owned()
                }
            }));
        }
        _ => return None,
    }
    Some(canonicalization)
}

/// The digest that an element's `DigestMethod` and `DigestValue` children state.
fn read_digest(parent: Node<'_, '_>) -> Option<Digest> {
    let method = xml::child(parent, DS_NAMESPACE, "DigestMethod")?;
    let value = xml::child(parent, DS_NAMESPACE, "DigestValue")?;
    Digest::from_bytes(
        DigestAlgorithm::from_uri(method.attribute("Algorithm")?)?,
        &xml::base64(value)?,
    )
}

/// What the signature library under X-Road takes by default (`observed.md` 3 number 10).
const MAX_REFERENCES: usize = 30;
const EXCLUSIVE_NAMESPACE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
