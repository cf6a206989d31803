//! Finding the parts of a signature document, as strictly as its form demands.

use jibek_certs::{
    digest::{Digest, DigestAlgorithm},
    parse::Certificate,
    signer::SignatureAlgorithm,
};
use roxmltree::{Document, Node};
use std::collections::HashSet;

use super::{Form, Malformed, Reference, has_duplicate_ids};
use crate::{
    c14n::Canonicalization,
    lenient,
    names::{self, DS_NAMESPACE, XADES_NAMESPACE},
    tlv, xml,
};

/// The signature element. In a container it is whatever comes first under that written name, because X-Road looks it up so
/// (`signatures-and-log.md` 1.5).
pub(super) fn locate<'d>(
    document: &'d Document<'d>,
    form: Form,
) -> Result<Node<'d, 'd>, Malformed> {
    if form == Form::Container {
        return xml::first_written(document, "ds:Signature")
            .filter(|signature| xml::is(*signature, DS_NAMESPACE, "Signature"))
            .ok_or(Malformed("no signature"));
    }
    let root = document.root_element();
    if !xml::is(root, names::ASIC_NAMESPACE, "XAdESSignatures")
        && !xml::is(root, names::ASIC_NAMESPACE_OLD, "XAdESSignatures")
    {
        return Err(Malformed("the root is not XAdESSignatures"));
    }
    // X-Road takes the first child node, so white space before the signature is refused as well.
    let signature = root
        .first_child()
        .filter(|first| xml::is(*first, DS_NAMESPACE, "Signature"))
        .ok_or(Malformed("the root's first child is not a signature"))?;
    if xml::children(root).count() != 1 {
        return Err(Malformed("more than the signature under the root"));
    }
    if has_duplicate_ids(document) {
        return Err(Malformed("two elements of one Id"));
    }
    Ok(signature)
}

/// The object that holds the properties. `after` is what follows the key.
pub(super) fn locate_object<'d>(
    document: &'d Document<'d>,
    mut after: impl Iterator<Item = Node<'d, 'd>>,
    form: Form,
) -> Result<Node<'d, 'd>, Malformed> {
    let object = match form {
        Form::Container => {
            if after.any(|child| !xml::is(child, DS_NAMESPACE, "Object")) {
                return Err(Malformed("an element that does not belong in a signature"));
            }
            xml::first_written(document, "ds:Object")
        }
        Form::Wire => after.next(),
    };
    let object = object
        .filter(|object| xml::is(*object, DS_NAMESPACE, "Object"))
        .ok_or(Malformed("no Object"))?;
    if form == Form::Wire && after.next().is_some() {
        return Err(Malformed("an element after the Object"));
    }
    Ok(object)
}

/// The bytes of a signature value, and whether its text is base64 without anything else.
pub(super) fn read_value(value: Node<'_, '_>, form: Form) -> Result<(Vec<u8>, bool), Malformed> {
    const WRONG: Malformed = Malformed("a SignatureValue that is not base64");
    let tidy = xml::base64(value).filter(|found| !found.is_empty() && !xml::has_cdata(value));
    match tidy {
        Some(value) => Ok((value, true)),
        None if form == Form::Container => xml::text_outside_cdata(value)
            .and_then(|text| lenient::mime(&text))
            .map(|value| (value, false))
            .ok_or(WRONG),
        None => Err(WRONG),
    }
}

/// The first certificate of `KeyInfo`, and whether it stands there as it should.
pub(super) fn read_certificate(
    key_info: Node<'_, '_>,
    form: Form,
) -> Result<(Certificate, bool), Malformed> {
    const UNREADABLE: Malformed = Malformed("a signing certificate that cannot be read");
    let element = key_info
        .children()
        .filter(|child| xml::is(*child, DS_NAMESPACE, "X509Data"))
        .find_map(|data| xml::child(data, DS_NAMESPACE, "X509Certificate"))
        .ok_or(Malformed("no signing certificate"))?;
    let tidy = xml::base64(element).filter(|_| !xml::has_cdata(element));
    if let Some(certificate) = tidy.and_then(|der| Certificate::from_der(der).ok()) {
        return Ok((certificate, true));
    }
    if form == Form::Wire {
        return Err(UNREADABLE);
    }
    // X-Road reads one certificate and does not look at what follows it.
    let der = xml::text_outside_cdata(element)
        .and_then(|text| lenient::mime(&text))
        .ok_or(UNREADABLE)?;
    let der = tlv::first(&der).ok_or(UNREADABLE)?.to_vec();
    let certificate = Certificate::from_der(der).map_err(|_| UNREADABLE)?;
    Ok((certificate, false))
}

/// Signed and unsigned properties.
pub(super) type Properties<'d> = (Option<Node<'d, 'd>>, Option<Node<'d, 'd>>);

pub(super) fn qualifying_properties<'d>(
    signature: Node<'d, 'd>,
    object: Node<'d, 'd>,
    form: Form,
) -> Result<Properties<'d>, Malformed> {
    let Some(qualifying) = xml::child(object, XADES_NAMESPACE, "QualifyingProperties") else {
        return match form {
            Form::Container => Ok((None, None)),
            Form::Wire => Err(Malformed("no QualifyingProperties")),
        };
    };
    let signed = xml::child(qualifying, XADES_NAMESPACE, "SignedProperties");
    let unsigned = xml::child(qualifying, XADES_NAMESPACE, "UnsignedProperties");
    if form == Form::Wire {
        let target =
            xml::attribute(qualifying, "Target").and_then(|target| target.strip_prefix('#'));
        if target.is_none() || target != xml::attribute(signature, "Id") {
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

/// What SignedInfo says.
pub(super) struct SignedInfo<'d> {
    pub(super) canonicalization: Canonicalization,
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) references: Vec<Reference<'d>>,
    /// URIs of references that cannot be read; in containers the value, which is checked first, tells more than they do.
    pub(super) unreadable: Vec<&'d str>,
}

pub(super) fn read_signed_info<'d>(
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
        .and_then(|method| SignatureAlgorithm::from_uri(xml::attribute(method, "Algorithm")?))
        .ok_or(Malformed("a signature method that we do not take"))?;
    let mut references = Vec::new();
    let mut unreadable = Vec::new();
    for child in children {
        match read_reference(child, form) {
            Ok(reference) => references.push(reference),
            Err(malformed) if form == Form::Wire => return Err(malformed),
            Err(_) => unreadable.push(xml::attribute(child, "URI").unwrap_or_default()),
        }
    }
    let count = references.len().saturating_add(unreadable.len());
    if count == 0 {
        return Err(Malformed("no reference"));
    }
    if count > MAX_REFERENCES {
        return Err(Malformed("more than 30 references"));
    }
    let mut seen = HashSet::new();
    if form == Form::Wire
        && references
            .iter()
            .any(|reference| !seen.insert(reference.uri))
    {
        return Err(Malformed("two references to one thing"));
    }
    Ok(SignedInfo {
        canonicalization,
        algorithm,
        references,
        unreadable,
    })
}

/// One `ds:Reference`, in SignedInfo or in a manifest.
pub(crate) fn read_reference<'d>(
    reference: Node<'d, 'd>,
    form: Form,
) -> Result<Reference<'d>, Malformed> {
    if !xml::is(reference, DS_NAMESPACE, "Reference") {
        return Err(Malformed("an unknown element in SignedInfo"));
    }
    let uri = xml::attribute(reference, "URI").ok_or(Malformed("a reference without URI"))?;
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
    let children = if transforms.is_some() { 3 } else { 2 };
    if form == Form::Wire && xml::children(reference).count() != children {
        return Err(Malformed("an unknown element in a reference"));
    }
    const UNREADABLE: Malformed = Malformed("a digest that we cannot read");
    let digest = read_digest(reference, form).ok_or(UNREADABLE)?;
    // the digest of a certificate is read in another way, so this is not for `read_digest`
    let value = xml::child(reference, DS_NAMESPACE, "DigestValue").filter(|it| xml::has_cdata(*it));
    let digest = match value {
        Some(_) if form == Form::Wire => return Err(UNREADABLE),
        Some(value) => xml::text_outside_cdata(value)
            .and_then(|text| lenient::mime(&text))
            .and_then(|bytes| Digest::from_bytes(digest.algorithm(), &bytes))
            .ok_or(UNREADABLE)?,
        None => digest,
    };
    Ok(Reference {
        uri,
        digest,
        canonicalization,
    })
}

fn read_canonicalization(method: Node<'_, '_>, form: Form) -> Option<Canonicalization> {
    let uri = xml::attribute(method, "Algorithm")?;
    let mut canonicalization = match Canonicalization::from_uri(uri) {
        Some(canonicalization) => canonicalization,
        None if form == Form::Container => equivalent(uri, method)?,
        None => return None,
    };
    let parameters: Vec<_> = xml::children(method).collect();
    match (&mut canonicalization, parameters.as_slice()) {
        (Canonicalization::Inclusive, []) => {}
        (Canonicalization::Exclusive { .. }, _) if form == Form::Wire => return None,
        (Canonicalization::Exclusive { .. }, []) => {}
        (Canonicalization::Exclusive { inclusive_prefixes }, [list])
            if xml::is(*list, EXCLUSIVE_NAMESPACE, "InclusiveNamespaces") =>
        {
            let prefixes = xml::attribute(*list, "PrefixList")?.split_ascii_whitespace();
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

/// The form that gives the same bytes as the algorithm with this URI: X-Road's parser drops comments before they could be kept, and
/// version 1.1 differs only where attributes of the `xml` namespace are inherited.
fn equivalent(uri: &str, method: Node<'_, '_>) -> Option<Canonicalization> {
    // `…#` + `WithComments` for the exclusive form, `…` + `#WithComments` for the inclusive ones
    let bare = uri.strip_suffix("WithComments").unwrap_or(uri);
    let without_comments = bare.strip_suffix('#').unwrap_or(bare);
    if let Some(canonicalization) =
        Canonicalization::from_uri(bare).or_else(|| Canonicalization::from_uri(without_comments))
    {
        return Some(canonicalization);
    }
    let inherits = method
        .document()
        .descendants()
        .flat_map(|node| node.attributes())
        .any(|attribute| attribute.namespace() == Some(XML_NAMESPACE));
    (without_comments == VERSION_1_1 && !inherits).then_some(Canonicalization::Inclusive)
}

/// The digest that an element's `DigestMethod` and `DigestValue` children state.
pub(crate) fn read_digest(parent: Node<'_, '_>, form: Form) -> Option<Digest> {
    let method = xml::child(parent, DS_NAMESPACE, "DigestMethod")?;
    let value = xml::child(parent, DS_NAMESPACE, "DigestValue")?;
    let bytes = match form {
        Form::Container => lenient::mime(&xml::deep_text(value))?,
        Form::Wire => xml::base64(value)?,
    };
    Digest::from_bytes(
        DigestAlgorithm::from_uri(xml::attribute(method, "Algorithm")?)?,
        &bytes,
    )
}

/// What the signature library under X-Road takes by default (`observed.md` 3 number 10).
const MAX_REFERENCES: usize = 30;
const EXCLUSIVE_NAMESPACE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const VERSION_1_1: &str = "http://www.w3.org/2006/12/xml-c14n11";
const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";
