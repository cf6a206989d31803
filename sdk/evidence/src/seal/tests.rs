use jibek_certs::{
    digest::digest,
    signer::{KeyKind, SoftKey},
};
use roxmltree::Node;
use time::macros::datetime;

use super::*;
use crate::{
    c14n::{Canonicalization, canonicalize},
    container::{Container, ContainerLimits},
    fixtures,
    signature::{Form, Signature},
    xml,
};

mod strict;

fn sha512(data: &[u8]) -> Digest {
    digest(DigestAlgorithm::Sha512, data)
}

/// A certificate of a real server; the key is not its own, so its value does not verify with it.
fn identity(test: &str, kind: KeyKind, extra: bool) -> Option<SealingIdentity> {
    let certificate =
        Certificate::from_pem(&fixtures::read(test, "wire/conf/ss1-sign.pem")?).unwrap();
    let other = Certificate::from_pem(&fixtures::read(test, "wire/conf/ca.pem")?).unwrap();
    let key = Arc::new(SoftKey::generate(kind).unwrap());
    let (extra, ocsp) = match extra {
        true => (
            vec![other],
            vec![
                Bytes::from_static(b"leaf's"),
                Bytes::from_static(b"intermediate's"),
            ],
        ),
        false => (vec![], vec![Bytes::from_static(b"leaf's")]),
    };
    Some(SealingIdentity::new(certificate, extra, ocsp, key).unwrap())
}

fn parts(message: &str, attachments: &[&str]) -> PartDigests {
    PartDigests {
        message: sha512(message.as_bytes()),
        attachments: attachments
            .iter()
            .map(|part| sha512(part.as_bytes()))
            .collect(),
    }
}

/// What we write canonical is canonical, by our module, which libxml2 agrees with.
#[test]
fn signed_spans_are_canonical() {
    for kind in [KeyKind::Rsa2048, KeyKind::EcP256] {
        for extra in [false, true] {
            let Some(identity) = identity("signed_spans_are_canonical", kind, extra) else {
                return;
            };
            for batch in [
                vec![parts("a", &[])],
                vec![parts("a", &["b"])],
                vec![parts("a", &[]), parts("b", &["c", "d"]), parts("e", &[])],
            ] {
                let sealed =
                    seal(&identity, &batch, datetime!(2026-11-23 03:15:04.571 +2)).unwrap();
                let document = xml::parse(&sealed[0].signature).unwrap();
                let signature = Signature::read(&document, Form::Wire).unwrap();
                assert!(signature.covers_properties());
                assert_eq!(signature.names_certificate(), Some(true));
                assert_eq!(
                    signature.signing_time(),
                    Some(datetime!(2026-11-23 01:15:04.571 UTC))
                );
                let signed_info = xml::child(
                    document.root_element().first_child().unwrap(),
                    names::DS_NAMESPACE,
                    "SignedInfo",
                )
                .unwrap();
                let canonical = canonicalize(signed_info, &Canonicalization::Inclusive);
                let key = identity.signer.public_key_spki();
                jibek_certs::signer::verify_spki(
                    &key,
                    signature.algorithm,
                    &canonical,
                    &signature.value,
                )
                .unwrap();
                let properties = signature
                    .references
                    .iter()
                    .find(|reference| reference.uri == "#signed-properties")
                    .unwrap();
                assert_eq!(
                    signature.same_document(properties).unwrap().1,
                    properties.digest
                );
                let covered = sealed[0]
                    .hash_chain_result
                    .as_ref()
                    .map_or(batch[0].message, |result| sha512(result));
                assert_eq!(signature.references[0].digest, covered);
                assert_eq!(
                    signature.references[0].uri,
                    if batch.len() == 1 && batch[0].attachments.is_empty() {
                        "/message.xml"
                    } else {
                        "/sig-hashchainresult.xml"
                    }
                );
            }
        }
    }
}

#[test]
fn batch_shares_one_signature() {
    let Some(identity) = identity("batch_shares_one_signature", KeyKind::EcP256, false) else {
        return;
    };
    let batch: Vec<PartDigests> = (0..9)
        .map(|number| parts(&number.to_string(), &["x"]))
        .collect();
    let sealed = seal(&identity, &batch, datetime!(2026-11-23 03:15 UTC)).unwrap();
    assert_eq!(sealed.len(), 9);
    for message in &sealed {
        assert_eq!(message.signature.as_ptr(), sealed[0].signature.as_ptr());
        assert_eq!(
            message
                .hash_chain_result
                .as_ref()
                .map(|result| result.as_ptr()),
            sealed[0]
                .hash_chain_result
                .as_ref()
                .map(|result| result.as_ptr())
        );
    }
}

/// The same elements with the same attributes in the same order as a real server's.
#[test]
fn structure_is_x_road_s() {
    let test = "structure_is_x_road_s";
    let Some(file) = fixtures::read(test, "asic/valid-batch-ts.asice") else {
        return;
    };
    let real = Container::read(&file, &ContainerLimits::default())
        .unwrap()
        .entry("META-INF/signatures.xml")
        .unwrap()
        .clone();
    let identity = identity(test, KeyKind::Rsa2048, false).unwrap();
    let ours = seal(
        &identity,
        &[parts("a", &[])],
        datetime!(2026-11-23 03:15 UTC),
    )
    .unwrap()
    .remove(0)
    .signature;
    let (real, ours) = (xml::parse(&real).unwrap(), xml::parse(&ours).unwrap());
    assert_eq!(outline(real.root_element()), outline(ours.root_element()));
    let namespaces = |node: Node<'_, '_>| {
        node.namespaces()
            .map(|namespace| {
                (
                    namespace.name().map(str::to_owned),
                    namespace.uri().to_owned(),
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        namespaces(real.root_element()),
        namespaces(ours.root_element())
    );
}

/// Names, attributes and the texts that do not depend on keys, times and messages.
fn outline(root: Node<'_, '_>) -> Vec<String> {
    root.descendants()
        .filter(Node::is_element)
        .map(|node| {
            let attributes: Vec<String> = node
                .attributes()
                .map(|attribute| format!("{}={}", attribute.name(), attribute.value()))
                .collect();
            let constant = ["Identifier", "Description", "SPURI", "MimeType"]
                .contains(&node.tag_name().name());
            format!(
                "{} {} {}",
                crate::c14n::qualified_name(node),
                attributes.join(" "),
                if constant {
                    node.text().unwrap_or_default()
                } else {
                    ""
                }
            )
        })
        .collect()
}

#[test]
fn certificates_above_are_referred_to_and_enclosed() {
    let Some(identity) = identity(
        "certificates_above_are_referred_to_and_enclosed",
        KeyKind::EcP256,
        true,
    ) else {
        return;
    };
    let sealed = seal(
        &identity,
        &[parts("a", &[])],
        datetime!(2026-11-23 03:15 UTC),
    )
    .unwrap()
    .remove(0);
    let document = xml::parse(&sealed.signature).unwrap();
    let signature = Signature::read(&document, Form::Wire).unwrap();
    assert_eq!(signature.extra_certificates().unwrap().len(), 1);
    assert_eq!(
        signature.ocsp_responses(),
        [b"leaf's".to_vec(), b"intermediate's".to_vec()]
    );
    let outline = outline(document.root_element()).join("\n");
    for line in [
        "xades:CompleteCertificateRefs Id=complete-certificate-refs",
        "xades:Cert URI=#encapsulated-cert-1",
        "xades:EncapsulatedX509Certificate Id=encapsulated-cert-1",
        "xades:EncapsulatedOCSPValue Id=ocsp-response-2",
    ] {
        assert!(outline.contains(line), "{line}");
    }
}

#[test]
fn nothing_is_signed_without_ocsp_or_messages() {
    let test = "nothing_is_signed_without_ocsp_or_messages";
    let Some(pem) = fixtures::read(test, "wire/conf/ss1-sign.pem") else {
        return;
    };
    let key = Arc::new(SoftKey::generate(KeyKind::EcP256).unwrap());
    let certificate = Certificate::from_pem(&pem).unwrap();
    assert!(matches!(
        SealingIdentity::new(certificate, vec![], vec![], key),
        Err(SealError::NoOcsp)
    ));
    let identity = identity(test, KeyKind::EcP256, false).unwrap();
    assert_eq!(
        seal(&identity, &[], datetime!(2026-11-23 03:15 UTC))
            .unwrap_err()
            .code(),
        "cannot_create_signature"
    );
    let weak = PartDigests {
        message: digest(DigestAlgorithm::Sha256, b"a"),
        attachments: vec![],
    };
    assert!(matches!(
        seal(&identity, &[weak], datetime!(2026-11-23 03:15 UTC)),
        Err(SealError::Chain(_))
    ));
}
