//! Shapes that X-Road's verifier takes beside what its servers write today, entries that it demands, and every finding there is.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jibek_certs::digest::{Digest, DigestAlgorithm, digest};
use std::collections::{BTreeMap, BTreeSet};
use time::Duration;

use super::super::*;
use crate::{
    c14n::{Canonicalization, canonicalize},
    container::{ContainerLimits, ContainerParts, write_container},
    court::{Court, REQUEST, code, findings, rezipped},
    scene::sha512,
};

const PROPERTIES: (&str, Option<Digest>) = ("#signed-properties", None);

/// A signature over the message and its own properties.
fn signature(court: &Court) -> String {
    let message = ("/message.xml", Some(sha512(REQUEST.as_bytes())));
    let signed = court.scene.sign(&[message, PROPERTIES]);
    String::from_utf8(signed.to_vec()).unwrap()
}

/// The parts of a container without time-stamp entries.
fn unstamped(court: &Court, document: String) -> ContainerParts {
    ContainerParts {
        ts_token: None,
        ts_hash_chain: None,
        ts_hash_chain_result: None,
        ..court.contain_signature(document.into(), court.scene.now, DigestAlgorithm::Sha512)
    }
}

/// A single stamp over the decoded value, put among the unsigned properties between `start` and `end`.
fn stamped_inside(court: &Court, document: &str, start: &str, end: &str) -> String {
    let value = document
        .split_once("signature-value\">")
        .unwrap()
        .1
        .split_once('<')
        .unwrap()
        .0;
    let imprint = sha512(&STANDARD.decode(value).unwrap());
    let token = court
        .tsa
        .stamp(&imprint, court.scene.now + Duration::MINUTE);
    document.replace(
        "<xades:UnsignedSignatureProperties>",
        &format!(
            "<xades:UnsignedSignatureProperties>{start}{}{end}",
            STANDARD.encode(token)
        ),
    )
}

#[test]
fn single_stamps_of_every_time_are_valid() {
    let court = Court::new();
    let document = signature(&court);
    let stamp_start = "<xades:SignatureTimeStamp>";
    for (what, start, end) in [
        (
            "of today",
            "<xades:SignatureTimeStamp><xades:EncapsulatedTimeStamp>",
            "</xades:EncapsulatedTimeStamp></xades:SignatureTimeStamp>",
        ),
        ("of 2014", stamp_start, "</xades:SignatureTimeStamp>"),
        (
            "in a child of another name",
            "<xades:SignatureTimeStamp><xades:Other>",
            "</xades:Other></xades:SignatureTimeStamp>",
        ),
        (
            "in an element of 2012",
            "<xades:XAdESTimeStamp><xades:EncapsulatedTimeStamp>",
            "</xades:EncapsulatedTimeStamp></xades:XAdESTimeStamp>",
        ),
    ] {
        let stamped = stamped_inside(&court, &document, start, end);
        let verdict = court.judge(&unstamped(&court, stamped.clone()));
        assert_eq!(
            (code(&verdict), findings(&verdict)),
            ("valid", vec![]),
            "{what}: {verdict:?}"
        );
        let Outcome::Valid(report) = verdict.outcome else {
            panic!("{what}")
        };
        assert_eq!(report.stamp_time(), court.scene.now + Duration::MINUTE);
        // Another value is not what was stamped.
        let other = court.scene.sign_again(&stamped);
        let verdict = court.judge(&unstamped(
            &court,
            String::from_utf8(other.to_vec()).unwrap(),
        ));
        assert_eq!(code(&verdict), "malformed_signature", "{what}");
    }
    // Nothing, an empty one, one with something behind it, and one that is not base64.
    let stamp = |text: &str| {
        document.replace(
            "<xades:UnsignedSignatureProperties>",
            &format!("<xades:UnsignedSignatureProperties><xades:SignatureTimeStamp>{text}</xades:SignatureTimeStamp>"),
        )
    };
    let good = stamped_inside(
        &court,
        &document,
        stamp_start,
        "</xades:SignatureTimeStamp>",
    );
    let token = STANDARD
        .decode(
            good.split_once(stamp_start)
                .unwrap()
                .1
                .split_once('<')
                .unwrap()
                .0,
        )
        .unwrap();
    let longer = STANDARD.encode([&token[..], &[0]].concat());
    for (document, expected) in [
        (document.clone(), "malformed_signature"),
        (stamp("\n"), "asic_timestamp_not_found"),
        (
            stamp("<xades:EncapsulatedTimeStamp/>"),
            "asic_timestamp_not_found",
        ),
        (stamp(&longer), "malformed_signature"),
        (stamp("?"), "malformed_signature"),
    ] {
        let verdict = court.judge(&unstamped(&court, document));
        assert_eq!(code(&verdict), expected, "{verdict:?}");
    }
}

/// A declared encoding that says the same of these bytes.
#[test]
fn iso_8859_1_is_read() {
    let court = Court::new();
    let document = signature(&court).replace("encoding=\"UTF-8\"", "encoding=\"ISO-8859-1\"");
    let verdict = court.judge(&court.contain_signature(
        document.into(),
        court.scene.now,
        DigestAlgorithm::Sha512,
    ));
    assert_eq!(code(&verdict), "valid", "{verdict:?}");
}

/// The wrapper's namespace of 2014, no wrapper at all, and the canonical forms that other software asks for.
#[test]
fn other_makers_shapes_are_valid() {
    let court = Court::new();
    let document = signature(&court);
    let inclusive = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315";
    let old = document.replace(
        "http://uri.etsi.org/02918/v1.2.1#",
        "http://uri.etsi.org/02918/v1.1.1#",
    );
    let bare = {
        let start = document.find("<ds:Signature ").unwrap();
        let end = document.find("</asic:").unwrap();
        document[start..end].replacen(
            "<ds:Signature ",
            "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" xmlns:xades=\"http://uri.etsi.org/01903/v1.3.2#\" ",
            1,
        )
    };
    let with_comments = document.replace(inclusive, &format!("{inclusive}#WithComments"));
    let exclusive = |uri: &str| document.replace(inclusive, uri);
    let exclusive_form = Canonicalization::Exclusive {
        inclusive_prefixes: Vec::new(),
    };
    let version_1_1 = document.replace(inclusive, "http://www.w3.org/2006/12/xml-c14n11");
    let spelled = document.replacen("<ds:DigestMethod", "\n  <ds:DigestMethod", 1);
    for (what, document, form) in [
        ("2014", old, &Canonicalization::Inclusive),
        ("bare", bare, &Canonicalization::Inclusive),
        ("with comments", with_comments, &Canonicalization::Inclusive),
        ("version 1.1", version_1_1, &Canonicalization::Inclusive),
        ("line feeds", spelled, &Canonicalization::Inclusive),
        (
            "exclusive",
            exclusive("http://www.w3.org/2001/10/xml-exc-c14n#"),
            &exclusive_form,
        ),
        (
            "exclusive with comments",
            exclusive("http://www.w3.org/2001/10/xml-exc-c14n#WithComments"),
            &exclusive_form,
        ),
    ] {
        let signed = court.scene.sign_again_in(&document, form);
        let verdict =
            court.judge(&court.contain_signature(signed, court.scene.now, DigestAlgorithm::Sha512));
        assert_eq!(
            (code(&verdict), findings(&verdict)),
            ("valid", vec![]),
            "{what}: {verdict:?}"
        );
    }
}

/// The message may be referred to by any digest; an attachment only by the one that X-Road's reader takes.
#[test]
fn digests_are_those_of_x_road() {
    let court = Court::new();
    for algorithm in DigestAlgorithm::ALL {
        let message = ("/message.xml", Some(digest(algorithm, REQUEST.as_bytes())));
        let body = ("/attachment1", Some(digest(algorithm, b"body")));
        let weak: Vec<&str> = algorithm
            .weakness()
            .map(|_| "weak_algorithm")
            .into_iter()
            .collect();
        let direct = court.scene.sign(&[message, PROPERTIES]);
        let verdict = court.judge(&court.contain_signature(
            direct,
            court.scene.now,
            algorithm_of_stamp(algorithm),
        ));
        assert_eq!(
            (code(&verdict), findings(&verdict)),
            ("valid", weak),
            "{algorithm}"
        );
        let attached = court.scene.sign(&[message, body, PROPERTIES]);
        let parts = ContainerParts {
            attachments: vec![Bytes::from_static(b"body")],
            ..court.contain_signature(attached, court.scene.now, DigestAlgorithm::Sha512)
        };
        let expected = if algorithm == DigestAlgorithm::Sha512 {
            "valid"
        } else {
            "invalid_signature_value"
        };
        assert_eq!(code(&court.judge(&parts)), expected, "{algorithm}");
    }
}

/// The authority of these tests stamps with two.
fn algorithm_of_stamp(algorithm: DigestAlgorithm) -> DigestAlgorithm {
    match algorithm {
        DigestAlgorithm::Sha1 => DigestAlgorithm::Sha1,
        _ => DigestAlgorithm::Sha512,
    }
}

/// Manifests of time-stamps inside the signature, as they were once: verified where they are.
#[test]
fn manifests_of_time_stamps_are_verified() {
    let court = Court::new();
    let document = signature(&court);
    let tree = xml::parse(document.as_bytes()).unwrap();
    let value = xml::by_id(&tree, "signature-value").unwrap();
    let right = sha512(&canonicalize(value, &Canonicalization::Inclusive)).to_base64();
    let wrong = sha512(b"else").to_base64();
    let reference = |uri: &str, digest: &str| {
        format!(
            "<ds:Reference URI=\"{uri}\"><ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha512\"></ds:DigestMethod><ds:DigestValue>{digest}</ds:DigestValue></ds:Reference>"
        )
    };
    let manifests = |root: &str, manifest: &str| {
        format!(
            "<ds:Manifest Id=\"ts-root-manifest\">{root}</ds:Manifest><ds:Manifest Id=\"ts-manifest\">{manifest}</ds:Manifest>"
        )
    };
    let root = reference("#ts-manifest", &wrong);
    for (what, inside, expected) in [
        (
            "a manifest that holds",
            manifests(&root, &reference("#signature-value", &right)),
            "valid",
        ),
        (
            "one that does not",
            manifests(&root, &reference("#signature-value", &wrong)),
            "invalid_reference",
        ),
        (
            "one that refers to nothing",
            manifests(&root, &reference("#nothing", &right)),
            "invalid_reference",
        ),
        (
            "one that refers outside",
            manifests(&root, &reference("file:///etc/passwd", &right)),
            "invalid_reference",
        ),
        (
            "one without references",
            manifests(&root, ""),
            "malformed_signature",
        ),
        (
            "a root that names none",
            manifests(
                &reference("#nothing", &wrong),
                &reference("#nothing", &wrong),
            ),
            "valid",
        ),
        (
            "a root that is none",
            "<ds:Object Id=\"ts-root-manifest\"></ds:Object>".to_owned(),
            "malformed_signature",
        ),
    ] {
        let document = document.replace(
            "</ds:Object>",
            &format!("</ds:Object><ds:Object>{inside}</ds:Object>"),
        );
        let parts =
            court.contain_signature(document.into(), court.scene.now, DigestAlgorithm::Sha512);
        let verdict = court.judge(&parts);
        assert_eq!(code(&verdict), expected, "{what}: {verdict:?}");
        if expected == "valid" {
            assert_eq!(findings(&verdict), ["content_unverified"], "{what}");
        }
    }
}

/// The sender is enough: blocks that the wire would refuse are judged.
#[test]
fn odd_rest_blocks_are_judged() {
    let court = Court::new();
    let client = "X-Road-Client:DEV/GOV/1234/sub\r\n";
    let path = "/r1/DEV/GOV/5678/land/parcels";
    for (message, expected) in [
        (format!("GET\r\n{path}\r\n{client}"), "valid"),
        (
            format!("GET\r\n{path}/Бишкек\r\n{client}X-Road-Id:one\r\n"),
            "valid",
        ),
        (
            format!("GET\r\n{path}\r\n{client}x y\u{1}:\u{2}\r\n"),
            "valid",
        ),
        (format!("GET\n{path}\n{client}"), "valid"),
        (format!("FETCH\r\n{path}\r\n{client}"), "internal_error"),
        (
            format!("GET\r\n{path}\r\nX-Road-Id:one\r\n"),
            "internal_error",
        ),
        (format!("GET\r\n{path} 17\r\n{client}"), "internal_error"),
        (format!("GET\r\n//host{path}\r\n{client}"), "internal_error"),
        (
            format!("GET\r\n/r2/DEV/GOV/5678/land/parcels\r\n{client}"),
            "internal_error",
        ),
        (
            format!("GET\r\n{path}\r\n{client}Host:x\r\n"),
            "internal_error",
        ),
        (
            format!("GET\r\n{path}\r\n{client}no header\r\n"),
            "internal_error",
        ),
        (
            format!("GET\r\n{path}\r\nX-Road-Client:DEV/GOV\r\n"),
            "internal_error",
        ),
        (
            format!("200\r\nOK\r\n{client}X-Road-Id:one\r\n"),
            "internal_error",
        ),
    ] {
        let verdict = court.judge(&court.contain(&[(&message, None)]).remove(0));
        assert_eq!(code(&verdict), expected, "{message}: {verdict:?}");
    }
}

/// The request with a header that ours would refuse on the wire.
const CONTROL: &str = "GET\r\n/r1/DEV/GOV/5678/land/parcels/17\r\nX-Road-Client:DEV/GOV/1234/sub\r\nX-Road-Id:one\r\nx-road-request-id:two\r\nother:\u{1}\r\n";

type Entries = BTreeMap<String, Vec<u8>>;

/// What must be there and must not be empty, each with X-Road's code, in X-Road's order.
#[test]
fn entries_are_demanded_as_x_road_does() {
    let court = Court::new();
    let parts = court
        .contain(&[(REQUEST, Some("body")), (REQUEST, None)])
        .remove(0);
    let set = |name: &'static str, content: &'static str| {
        Box::new(move |entries: &mut Entries| {
            entries.insert(name.to_owned(), content.as_bytes().to_vec());
        }) as Box<dyn FnOnce(&mut Entries)>
    };
    let remove = |name: &'static str| {
        Box::new(move |entries: &mut Entries| {
            entries.remove(name).unwrap();
        }) as Box<dyn FnOnce(&mut Entries)>
    };
    let soap = "<S:Envelope xmlns:S=\"http://schemas.xmlsoap.org/soap/envelope/\"><S:Header/><S:Body><a/></S:Body></S:Envelope>";
    for (what, change, expected) in [
        (
            "no mimetype",
            remove("mimetype"),
            "asic_mime_type_not_found",
        ),
        (
            "a blank mimetype",
            set("mimetype", " \n"),
            "asic_mime_type_not_found",
        ),
        (
            "a mimetype with a line feed",
            set("mimetype", "application/vnd.etsi.asic-e+zip\n"),
            "asic_invalid_mime_type",
        ),
        (
            "a mimetype in capitals",
            set("mimetype", "APPLICATION/VND.ETSI.ASIC-E+ZIP"),
            "valid",
        ),
        (
            "no message",
            remove("message.xml"),
            "asic_message_not_found",
        ),
        (
            "a blank message",
            set("message.xml", "\r\n"),
            "asic_message_not_found",
        ),
        (
            "no signature",
            remove("META-INF/signatures.xml"),
            "asic_signature_not_found",
        ),
        (
            "a blank signature",
            set("META-INF/signatures.xml", " "),
            "asic_signature_not_found",
        ),
        (
            "a signature that is no XML",
            set("META-INF/signatures.xml", "<a>"),
            "invalid_xml",
        ),
        (
            "a signature that is none",
            set("META-INF/signatures.xml", "<a/>"),
            "malformed_signature",
        ),
        (
            "no chain",
            remove("sig-hashchain.xml"),
            "asic_hash_chain_not_found",
        ),
        (
            "no result",
            remove("sig-hashchainresult.xml"),
            "asic_hash_chain_result_not_found",
        ),
        (
            "no stamp's chain",
            remove("ts-hashchain.xml"),
            "asic_hash_chain_not_found",
        ),
        (
            "a blank result of the stamp",
            set("ts-hashchainresult.xml", " "),
            "asic_hash_chain_result_not_found",
        ),
        (
            "no stamp",
            remove("META-INF/timestamp.tst"),
            "malformed_signature",
        ),
        (
            "an empty stamp",
            set("META-INF/timestamp.tst", ""),
            "asic_timestamp_not_found",
        ),
        (
            "a stamp that is none",
            set("META-INF/timestamp.tst", "stamp"),
            "malformed_signature",
        ),
        (
            "a blank manifest",
            set("META-INF/manifest.xml", "\n"),
            "asic_manifest_not_found",
        ),
        (
            "another blank manifest",
            set("META-INF/ASiCManifest.xml", ""),
            "asic_manifest_not_found",
        ),
        ("no manifest", remove("META-INF/manifest.xml"), "valid"),
        (
            "a message of no kind",
            set("message.xml", "hello"),
            "internal_error",
        ),
        (
            "a control character in a header",
            set("message.xml", CONTROL),
            "malformed_signature.invalid_hash_chain_ref",
        ),
        (
            "a message that is no XML",
            set("message.xml", "<hello"),
            "internal_error",
        ),
        // SOAP that lacks something is told when the sender is needed, behind the chain
        (
            "a message without header",
            set("message.xml", soap),
            "malformed_signature.invalid_hash_chain_ref",
        ),
    ] {
        let verdict = verify_container(&rezipped(&parts, change), &court.scene.trust);
        assert_eq!(code(&verdict), expected, "{what}: {verdict:?}");
    }
}

/// Every kind of finding, each alone beside a verdict that it does not change, with a sentence.
#[test]
fn every_finding_has_a_case() {
    let court = Court::new();
    let now = court.scene.now;
    let good = signature(&court);
    let stamped =
        |document: String| court.contain_signature(document.into(), now, DigestAlgorithm::Sha512);
    let again = |document: String| {
        assert_ne!(document, good);
        stamped(String::from_utf8(court.scene.sign_again(&document).to_vec()).unwrap())
    };
    let between = |start: &str, end: &str| {
        good[good.find(start).unwrap()..good.find(end).unwrap() + end.len()].to_owned()
    };
    let chained = court.contain(&[(REQUEST, Some("body"))]).remove(0);
    let soap = "<S:Envelope xmlns:S=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:x=\"http://x-road.eu/xsd/xroad.xsd\" xmlns:i=\"http://x-road.eu/xsd/identifiers\"><S:Header>\
         <x:client i:objectType=\"SUBSYSTEM\"><i:xRoadInstance>DEV</i:xRoadInstance><i:memberClass>GOV</i:memberClass><i:memberCode>1234</i:memberCode><i:subsystemCode>sub</i:subsystemCode></x:client>\
         <x:service i:objectType=\"SERVICE\"><i:xRoadInstance>DEV</i:xRoadInstance><i:memberClass>GOV</i:memberClass><i:memberCode>5678</i:memberCode><i:subsystemCode>land</i:subsystemCode><i:serviceCode>parcel</i:serviceCode></x:service>\
         <x:id>one</x:id><x:protocolVersion>4.0</x:protocolVersion></S:Header><S:Body><parcel xmlns=\"urn:q\">17</parcel></S:Body></S:Envelope>";
    let certificate = court
        .scene
        .identity
        .certificate()
        .digest(DigestAlgorithm::Sha512)
        .to_base64();
    let soap_chained = court.contain(&[(soap, Some("attachment"))]).remove(0);
    let nothing = |_: &mut Entries| {};
    let mut seen = BTreeSet::new();
    let mut check =
        |what: &str, container: Container, expected_code: &str, expected: FindingKind| {
            let verdict = verify_container(&container, &court.scene.trust);
            assert_eq!(code(&verdict), expected_code, "{what}: {verdict:?}");
            let kinds: Vec<FindingKind> = verdict.findings.iter().map(Finding::kind).collect();
            assert_eq!(kinds, [expected], "{what}: {verdict:?}");
            let text = verdict.findings[0].text();
            assert!(
                text.len() > 10 && text.len() < 400 && !text.ends_with('.'),
                "{text}"
            );
            seen.insert(expected.id());
        };
    let plain = |parts: &ContainerParts| rezipped(parts, nothing);
    use FindingKind as Kind;
    check(
        "SOAP attachment",
        plain(&ContainerParts {
            attachments: vec![],
            ..soap_chained.clone()
        }),
        "valid",
        Kind::AttachmentAbsent,
    );
    check(
        "REST body",
        plain(&ContainerParts {
            attachments: vec![],
            ..chained.clone()
        }),
        "valid",
        Kind::BodyRemoved,
    );
    let bodiless = || {
        plain(&ContainerParts {
            attachments: vec![],
            ..chained.clone()
        })
    };
    for (kept, expected) in [
        (&b"body"[..], Kind::BodyNotKept),
        (b"BODY", Kind::BodyRemoved),
    ] {
        let digest = sha512(kept);
        let container = bodiless().with_not_kept("attachment1", digest).unwrap();
        check("REST body by policy", container, "valid", expected);
    }
    check(
        "SOAP body",
        plain(&ContainerParts {
            message: soap
                .replace("<parcel xmlns=\"urn:q\">17</parcel>", "")
                .into(),
            ..soap_chained.clone()
        }),
        "malformed_signature.invalid_hash_chain_ref",
        Kind::BodyRemoved,
    );
    check(
        "another body",
        plain(&ContainerParts {
            attachments: vec![Bytes::from_static(b"BODY")],
            ..chained.clone()
        }),
        "valid",
        Kind::AttachmentDiffers,
    );
    check(
        "a body more",
        plain(&ContainerParts {
            attachments: vec![Bytes::from_static(b"body")],
            ..stamped(good.clone())
        }),
        "valid",
        Kind::AttachmentUncovered,
    );
    check(
        "another certificate",
        plain(&again(good.replacen(
            &certificate,
            &sha512(b"another").to_base64(),
            1,
        ))),
        "valid",
        Kind::CertificateDiffers,
    );
    check(
        "no certificate",
        plain(&again(good.replace(
            &between("<xades:SigningCertificate>", "</xades:SigningCertificate>"),
            "",
        ))),
        "valid",
        Kind::CertificateUnnamed,
    );
    check(
        "a chain",
        plain(&ContainerParts {
            hash_chain: Some(Bytes::from_static(b"x")),
            hash_chain_result: Some(Bytes::from_static(b"x")),
            ..stamped(good.clone())
        }),
        "valid",
        Kind::ChainUnreferenced,
    );
    check(
        "something in the signature",
        plain(&stamped(good.replace(
            "</ds:Object>",
            "</ds:Object><ds:Object><x/></ds:Object>",
        ))),
        "valid",
        Kind::ContentUnverified,
    );
    check(
        "a second stamp",
        plain(&stamped(stamped_inside(
            &court,
            &good,
            "<xades:SignatureTimeStamp>",
            "</xades:SignatureTimeStamp>",
        ))),
        "valid",
        Kind::ContentUnverified,
    );
    check(
        "an Id twice",
        plain(&stamped(
            good.replace("<ds:KeyInfo>", "<ds:KeyInfo Id=\"signature\">"),
        )),
        "valid",
        Kind::DuplicateIds,
    );
    for name in [
        "readme.txt",
        "META-INF/other-signatures.xml",
        "folder/message.xml",
    ] {
        let container = rezipped(&stamped(good.clone()), |entries| {
            entries.insert(name.to_owned(), b"x".to_vec());
        });
        check(name, container, "valid", Kind::EntryUnknown);
    }
    check(
        "a value with more in it",
        plain(&stamped(
            good.replace("</ds:SignatureValue>", "*</ds:SignatureValue>"),
        )),
        "valid",
        Kind::LooseEncoding,
    );
    for (name, content) in [
        ("META-INF/manifest.xml", "no manifest"),
        (
            "META-INF/manifest.xml",
            "<m xmlns:m=\"m\"><file-entry m:full-path=\"nothing\"/></m>",
        ),
        (
            "META-INF/ASiCManifest.xml",
            "<m><DataObjectReference URI=\"ts-hashchainresult.xml\"/></m>",
        ),
    ] {
        let container = rezipped(&stamped(good.clone()), |entries| {
            entries.insert(name.to_owned(), content.as_bytes().to_vec());
        });
        check(content, container, "valid", Kind::ManifestDiffers);
    }
    let early = court.contain_signature(
        good.clone().into(),
        now - Duration::MINUTE,
        DigestAlgorithm::Sha512,
    );
    check(
        "stamped before the answer",
        plain(&early),
        "valid",
        Kind::OcspFromFuture,
    );
    check(
        "properties",
        plain(&stamped(
            String::from_utf8(
                court
                    .scene
                    .sign(&[("/message.xml", Some(sha512(REQUEST.as_bytes())))])
                    .to_vec(),
            )
            .unwrap(),
        )),
        "valid",
        Kind::PropertiesUncovered,
    );
    check(
        "a time to come",
        plain(&again(good.replace(
            "<xades:SigningTime>2026-",
            "<xades:SigningTime>2027-",
        ))),
        "valid",
        Kind::SigningTimeAfterStamp,
    );
    check(
        "a time long ago",
        plain(&again(good.replace(
            "<xades:SigningTime>2026-",
            "<xades:SigningTime>2025-",
        ))),
        "valid",
        Kind::SigningTimeFarFromStamp,
    );
    let weak = court.contain_signature(good.clone().into(), now, DigestAlgorithm::Sha1);
    check("SHA-1", plain(&weak), "valid", Kind::WeakAlgorithm);
    // What is odd about the file: of the last entry in the directory the checksum, or the attributes of a link; and a name.
    let file = write_container(&stamped(good.clone())).unwrap();
    let last = file
        .windows(4)
        .rposition(|window| window == b"PK\x01\x02")
        .unwrap();
    let changed = |change: &dyn Fn(&mut [u8])| {
        let mut file = file.to_vec();
        change(&mut file[last..]);
        Container::read(&file, &ContainerLimits::default()).unwrap()
    };
    check(
        "a checksum in the directory",
        changed(&|entry| entry[16] ^= 1),
        "valid",
        Kind::ZipDirectoryDiffers,
    );
    let linked = |entry: &mut [u8]| {
        entry[5] = 3;
        entry[38..42].copy_from_slice(&(0o120_777_u32 << 16).to_le_bytes());
    };
    check("a link", changed(&linked), "valid", Kind::ZipLink);
    let outside = rezipped(&stamped(good.clone()), |entries| {
        entries.insert("../evil".to_owned(), b"x".to_vec());
    });
    let verdict = verify_container(&outside, &court.scene.trust);
    assert_eq!(
        (code(&verdict), findings(&verdict)),
        ("valid", vec!["zip_unsafe_name", "entry_unknown"])
    );
    seen.insert("zip_unsafe_name");
    let all: BTreeSet<&str> = FindingKind::ALL.iter().map(|kind| kind.id()).collect();
    assert_eq!(seen, all);
}
