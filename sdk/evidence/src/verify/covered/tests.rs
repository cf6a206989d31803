use bytes::Bytes;
use jibek_certs::digest::DigestAlgorithm;

use super::*;
use crate::{
    container::{ContainerLimits, ContainerParts, write_container},
    court::{Court, REQUEST, code, findings},
    fixtures,
    scene::sha512,
};

fn read(parts: &ContainerParts) -> Container {
    Container::read(
        &write_container(parts).unwrap(),
        &ContainerLimits::default(),
    )
    .unwrap()
}

/// The parts with another content of one entry.
fn with(parts: &ContainerParts, entry: &str, content: Vec<u8>) -> ContainerParts {
    let mut parts = parts.clone();
    let content = Bytes::from(content);
    match entry {
        "message.xml" => parts.message = content,
        "attachment1" => parts.attachments = vec![content],
        "sig-hashchainresult.xml" => parts.hash_chain_result = Some(content),
        "ts-hashchainresult.xml" => parts.ts_hash_chain_result = Some(content),
        "META-INF/timestamp.tst" => parts.ts_token = Some(content),
        "META-INF/signatures.xml" => parts.signature = content,
        other => panic!("{other}"),
    }
    parts
}

/// Every kind of covered part is found, and a flipped bit of it makes the container invalid, or leaves the canonical form equal and
/// is found by the stamp over the document.
#[test]
fn flipped_bits_are_noticed() {
    let court = Court::new();
    let direct = court.scene.sign(&[
        ("/message.xml", Some(sha512(REQUEST.as_bytes()))),
        ("/attachment1", Some(sha512(b"body"))),
        ("#signed-properties", None),
    ]);
    let direct = ContainerParts {
        attachments: vec![Bytes::from_static(b"body")],
        ..court.contain_signature(direct, court.scene.now, DigestAlgorithm::Sha512)
    };
    let chained = court
        .contain(&[(REQUEST, Some("body")), (REQUEST, None)])
        .remove(0);
    let mut kinds = std::collections::HashSet::new();
    for parts in [direct, chained] {
        let container = read(&parts);
        assert_eq!(code(&court.judge(&parts)), "valid");
        for part in covered(&container) {
            kinds.insert(part.kind());
            let content = container.entry(part.entry()).unwrap();
            assert!(part.bits() > 0, "{part:?}");
            assert_eq!(part.flipped(content, part.bits()), None);
            let step = (part.bits() / 40).max(1);
            for bit in (0..part.bits()).step_by(step) {
                let changed = part.flipped(content, bit).unwrap();
                assert_ne!(changed, content.to_vec());
                let verdict = court.judge(&with(&parts, part.entry(), changed));
                if part.kind() == CoveredKind::AttachmentOnTrust {
                    assert_eq!(
                        (code(&verdict), findings(&verdict)),
                        ("valid", vec!["attachment_differs"])
                    );
                } else {
                    assert_ne!(
                        code(&verdict),
                        "valid",
                        "{:?} of {} bit {bit}",
                        part.kind(),
                        part.entry()
                    );
                }
            }
        }
    }
    assert_eq!(kinds.len(), 8, "{kinds:?}");
}

/// Single stamps, and tokens of other makers: the places are found in every container of real servers that is valid.
#[test]
fn real_containers_have_every_place() {
    for file in [
        "valid-signed-message",
        "valid-signed-hashchain",
        "valid-batch-ts",
        "valid-non-batch-rest",
        "valid-non-batch-soap-attachments",
    ] {
        let path = format!("asic/{file}.asice");
        let Some(bytes) = fixtures::read("real_containers_have_every_place", &path) else {
            return;
        };
        let container = Container::read(&bytes, &ContainerLimits::default()).unwrap();
        let parts = covered(&container);
        for kind in [
            CoveredKind::Message,
            CoveredKind::SignatureValue,
            CoveredKind::SignedInfo,
            CoveredKind::SignedProperties,
            CoveredKind::TimeStamp,
        ] {
            let part = parts.iter().find(|part| part.kind() == kind);
            assert!(
                part.is_some_and(|part| part.bits() > 500),
                "{file} {kind:?}"
            );
        }
        let document = container.entry("META-INF/signatures.xml").unwrap();
        let form = signed_form(document).unwrap();
        let comment = String::from_utf8(document.to_vec()).unwrap().replacen(
            "<ds:Reference",
            "<!-- c --><ds:Reference",
            1,
        );
        assert_eq!(signed_form(comment.as_bytes()), Some(form), "{file}");
    }
}
