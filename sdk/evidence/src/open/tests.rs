use jibek_certs::{
    signer::{KeyKind, SoftKey},
    trust::ApprovedCa,
};
use jibek_protocol::multipart::{MultipartEvent, MultipartLimits, MultipartReader};
use proptest::prelude::*;
use std::sync::Arc;
use time::macros::datetime;

use super::*;
use crate::{
    fixtures,
    scene::{Scene, TestTrust, sha512},
    seal::{PartDigests, SealingIdentity, seal},
    testpki,
};

/// The moment of the recordings (`fixtures/README.md`).
const RECORDED: OffsetDateTime = datetime!(2026-11-23 03:15 UTC);

/// What the recorded servers' configuration says, as far as signatures are concerned.
fn trust(test: &str) -> Option<TestTrust> {
    let certificate =
        |path| fixtures::read(test, path).map(|pem| Certificate::from_pem(&pem).unwrap());
    let mut ca = ApprovedCa::new(
        certificate("wire/conf/ca.pem")?,
        true,
        "ee.ria.xroad.common.certificateprofile.impl.FiVRKCertificateProfileInfoProvider",
    );
    ca.ocsp_responders = vec![certificate("wire/conf/ocsp.pem")?];
    Some(TestTrust {
        authorities: Authorities::new(vec![ca]),
        stamps: vec![],
    })
}

/// One recorded message.
struct Message {
    signature: Bytes,
    result: Option<Bytes>,
    chain: Option<Bytes>,
    message: Digest,
    attachments: Vec<Digest>,
}

impl Message {
    fn parts(&self) -> SignedParts<'_> {
        SignedParts {
            signature: &self.signature,
            hash_chain_result: self.result.as_ref(),
            hash_chain: self.chain.as_ref(),
            message: &self.message,
            attachments: &self.attachments,
        }
    }
}

/// Takes a recording of hop 5500 apart.
fn recorded(test: &str, name: &str) -> Option<Message> {
    let file = fixtures::read(test, &format!("wire/{name}"))?;
    let head = file
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let boundary = String::from_utf8_lossy(&file[..head])
        .split_once("boundary=")
        .unwrap()
        .1
        .lines()
        .next()
        .unwrap()
        .trim_matches('"')
        .to_owned();
    let mut body = Vec::new();
    let mut rest = &file[head + 4..];
    let chunked = String::from_utf8_lossy(&file[..head]).contains("chunked");
    if !chunked {
        body.extend_from_slice(rest);
        rest = b"0\r\n";
    }
    loop {
        let line = rest
            .windows(2)
            .position(|window| window == b"\r\n")
            .unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
    let mut reader = MultipartReader::new(boundary.as_bytes(), MultipartLimits::default()).unwrap();
    reader.push(body.into()).unwrap();
    reader.finish().unwrap();
    let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
    while let Some(event) = reader.poll_event() {
        match event {
            MultipartEvent::PartStart(headers) => parts.push((
                headers.content_type().unwrap_or_default().to_owned(),
                Vec::new(),
            )),
            MultipartEvent::Data(data) => parts.last_mut().unwrap().1.extend_from_slice(&data),
            _ => {}
        }
    }
    let part = |wanted: &[&str]| {
        parts
            .iter()
            .find(|(kind, _)| wanted.iter().any(|wanted| kind.starts_with(wanted)))
            .map(|(_, data)| Bytes::from(data.clone()))
    };
    Some(Message {
        signature: part(&["signature/bdoc-1.0/ts"]).unwrap(),
        result: part(&["application/hash-chain-result"]),
        chain: parts
            .iter()
            .find(|(kind, _)| kind == "application/hash-chain")
            .map(|(_, data)| Bytes::from(data.clone())),
        message: sha512(&part(&["application/x-road-rest-re", "text/xml"]).unwrap()),
        attachments: part(&["application/x-road-rest-body"])
            .map(|body| sha512(&body))
            .into_iter()
            .collect(),
    })
}

fn client(code: &str, subsystem: &str) -> ClientId {
    ClientId::new("DEV", "COM", code, Some(subsystem)).unwrap()
}

const RECORDINGS: [(&str, &str, &str); 6] = [
    ("rest-get.req", "1111", "Consumer"),
    ("rest-get.resp", "2222", "Provider"),
    ("rest-post.req", "1111", "Consumer"),
    ("rest-post.resp", "2222", "Provider"),
    ("soap-plain.req", "1111", "Consumer"),
    ("soap-plain.resp", "2222", "Provider"),
];

#[test]
fn real_messages_are_accepted() {
    for (name, code, subsystem) in RECORDINGS {
        let Some(trust) = trust("real_messages_are_accepted") else {
            return;
        };
        let message = recorded("real_messages_are_accepted", name).unwrap();
        let verified = open(&message.parts(), &client(code, subsystem), &trust, RECORDED)
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(verified.member().code(), code, "{name}");
        assert_eq!(verified.ocsp().len(), 1);
        assert!(
            verified.valid_until() > RECORDED
                && verified.valid_until() < RECORDED + time::Duration::hours(2)
        );
    }
}

#[test]
fn real_messages_are_refused_when_anything_is_wrong() {
    let test = "real_messages_are_refused_when_anything_is_wrong";
    for (name, code, subsystem) in RECORDINGS {
        let Some(trust) = trust(test) else { return };
        let sender = client(code, subsystem);
        let good = || recorded(test, name).unwrap();
        let code = |message: &Message, sender: &ClientId, now| {
            open(&message.parts(), sender, &trust, now)
                .unwrap_err()
                .code()
        };

        let mut changed = good();
        changed.message = sha512(b"another");
        let expected = if changed.chain.is_some() {
            "malformed_signature.invalid_hash_chain"
        } else {
            "invalid_signature_value"
        };
        assert_eq!(
            code(&changed, &sender, RECORDED),
            expected,
            "{name}: changed message"
        );

        let mut added = good();
        added.attachments.push(sha512(b"a body that nobody signed"));
        let expected = if added.chain.is_some() {
            "malformed_signature.hashchain_unused_inputs"
        } else {
            "malformed_signature"
        };
        assert_eq!(
            code(&added, &sender, RECORDED),
            expected,
            "{name}: added part"
        );

        if !good().attachments.is_empty() {
            let mut without = good();
            without.attachments.clear();
            assert_eq!(
                code(&without, &sender, RECORDED),
                "malformed_signature.invalid_reference",
                "{name}: body taken out"
            );
            let mut other = good();
            other.attachments = vec![sha512(b"another")];
            assert_eq!(
                code(&other, &sender, RECORDED),
                "malformed_signature.invalid_hash_chain",
                "{name}: changed body"
            );
            let mut chainless = good();
            chainless.chain = None;
            assert_eq!(
                code(&chainless, &sender, RECORDED),
                "invalid_signature_value",
                "{name}: chain taken out"
            );
        }
        assert_eq!(
            code(&good(), &client("3333", "Consumer"), RECORDED),
            "incorrect_certificate",
            "{name}: another sender"
        );
        let stranger = ClientId::new("OTHER", "COM", "1111", None).unwrap();
        assert_eq!(
            code(&good(), &stranger, RECORDED),
            "incorrect_certificate",
            "{name}: another instance"
        );
        let late = RECORDED + time::Duration::hours(2);
        assert_eq!(
            code(&good(), &sender, late),
            "invalid_cert_path.incorrect_validation_info",
            "{name}: stale OCSP"
        );
        let expired = RECORDED + time::Duration::weeks(5000);
        assert_eq!(
            code(&good(), &sender, expired),
            "cannot_create_cert_path",
            "{name}: expired"
        );
    }
}

/// `observed.md` 5: what the wire must not let through, each told before a certificate is looked at.
#[test]
fn uncovered_parts_are_refused() {
    let scene = Scene::new(KeyKind::EcP256);
    let message = sha512(b"message");
    let body = sha512(b"body");
    let properties = ("#signed-properties", None);
    for (what, references, attachments, expected) in [
        (
            "1: properties alone",
            vec![properties],
            vec![],
            "malformed_signature",
        ),
        (
            "2: no properties",
            vec![("/message.xml", Some(message))],
            vec![],
            "malformed_signature",
        ),
        (
            "3: no body",
            vec![("/message.xml", Some(message)), properties],
            vec![body],
            "malformed_signature",
        ),
        (
            "a part that is not there",
            vec![
                ("/message.xml", Some(message)),
                ("/attachment1", Some(body)),
                properties,
            ],
            vec![],
            "invalid_signature_value",
        ),
        (
            "another document",
            vec![
                ("/message.xml", Some(message)),
                ("http://example.org/", Some(body)),
                properties,
            ],
            vec![],
            "invalid_signature_value",
        ),
        (
            "the whole document",
            vec![
                ("/message.xml", Some(message)),
                ("", Some(body)),
                properties,
            ],
            vec![],
            "invalid_signature_value",
        ),
        (
            "another element",
            vec![
                ("/message.xml", Some(message)),
                ("#signature-value", Some(body)),
                properties,
            ],
            vec![],
            "invalid_signature_value",
        ),
        (
            "a chain that did not come",
            vec![("/sig-hashchainresult.xml", Some(message)), properties],
            vec![],
            "invalid_signature_value",
        ),
        (
            "the message twice",
            vec![
                ("/message.xml", Some(message)),
                ("/message.xml", Some(message)),
                properties,
            ],
            vec![],
            "malformed_signature",
        ),
        (
            "a zero in the name",
            vec![
                ("/message.xml", Some(message)),
                ("/attachment01", Some(body)),
                properties,
            ],
            vec![body],
            "malformed_signature",
        ),
    ] {
        let signature = scene.sign(&references);
        let parts = SignedParts {
            signature: &signature,
            hash_chain_result: None,
            hash_chain: None,
            message: &message,
            attachments: &attachments,
        };
        let error = open(&parts, &scene.sender, &scene.trust, scene.now).unwrap_err();
        assert_eq!(error.code(), expected, "{what}: {error}");
    }
    // The same hand signs properly too: direct references to every part, properties first (`signatures-and-log.md` 1.6 A).
    let signature = scene.sign(&[
        properties,
        ("/message.xml", Some(message)),
        ("/attachment1", Some(body)),
    ]);
    let parts = SignedParts {
        signature: &signature,
        hash_chain_result: None,
        hash_chain: None,
        message: &message,
        attachments: &[body],
    };
    open(&parts, &scene.sender, &scene.trust, scene.now).unwrap();
    // A chain nobody refers to changes nothing.
    let garbage = Bytes::from_static(b"garbage");
    let parts = SignedParts {
        hash_chain_result: Some(&garbage),
        hash_chain: Some(&garbage),
        ..parts
    };
    open(&parts, &scene.sender, &scene.trust, scene.now).unwrap();
}

#[test]
fn what_we_seal_opens() {
    for kind in [KeyKind::Rsa2048, KeyKind::EcP256] {
        let scene = Scene::new(kind);
        let digests = |message: &str, attachments: &[&str]| PartDigests {
            message: sha512(message.as_bytes()),
            attachments: attachments
                .iter()
                .map(|part| sha512(part.as_bytes()))
                .collect(),
        };
        let many: Vec<PartDigests> = (0..7)
            .map(|number| {
                digests(
                    &number.to_string(),
                    if number % 3 == 0 { &["body"] } else { &[] },
                )
            })
            .collect();
        for batch in [
            vec![digests("a", &[])],
            vec![digests("a", &["b", "c"])],
            many,
        ] {
            let sealed = seal(&scene.identity, &batch, scene.now).unwrap();
            for (sealed, digests) in sealed.iter().zip(&batch) {
                let parts = SignedParts {
                    signature: &sealed.signature,
                    hash_chain_result: sealed.hash_chain_result.as_ref(),
                    hash_chain: sealed.hash_chain.as_ref(),
                    message: &digests.message,
                    attachments: &digests.attachments,
                };
                let verified = open(&parts, &scene.sender, &scene.trust, scene.now).unwrap();
                assert_eq!(verified.member(), scene.sender.member());
                let stolen = sha512(b"stolen");
                let parts = SignedParts {
                    message: &stolen,
                    ..parts
                };
                open(&parts, &scene.sender, &scene.trust, scene.now).unwrap_err();
            }
        }
    }
}

#[test]
fn certificates_that_must_not_sign_are_refused() {
    let test = "certificates_that_must_not_sign_are_refused";
    let Some(trust) = trust(test) else { return };
    let message = recorded(test, "rest-get.req").unwrap();
    let auth =
        Certificate::from_pem(&fixtures::read(test, "wire/conf/ss1-auth.pem").unwrap()).unwrap();
    let ocsp = Bytes::from_static(b"none");
    let identity = SealingIdentity::new(
        auth,
        vec![],
        vec![ocsp],
        Arc::new(SoftKey::generate(KeyKind::EcP256).unwrap()),
    )
    .unwrap();
    let sealed = seal(
        &identity,
        &[PartDigests {
            message: message.message,
            attachments: vec![],
        }],
        RECORDED,
    )
    .unwrap()
    .remove(0);
    let parts = SignedParts {
        signature: &sealed.signature,
        ..message.parts()
    };
    assert!(matches!(
        open(&parts, &client("1111", "Consumer"), &trust, RECORDED),
        Err(OpenError::NotSigning { .. })
    ));
    // A signing certificate whose key is another's.
    let sign =
        Certificate::from_pem(&fixtures::read(test, "wire/conf/ss1-sign.pem").unwrap()).unwrap();
    let identity = SealingIdentity::new(
        sign,
        vec![],
        vec![Bytes::from_static(b"none")],
        Arc::new(SoftKey::generate(KeyKind::Rsa2048).unwrap()),
    )
    .unwrap();
    let sealed = seal(
        &identity,
        &[PartDigests {
            message: message.message,
            attachments: vec![],
        }],
        RECORDED,
    )
    .unwrap()
    .remove(0);
    let parts = SignedParts {
        signature: &sealed.signature,
        ..message.parts()
    };
    assert!(matches!(
        open(&parts, &client("1111", "Consumer"), &trust, RECORDED),
        Err(OpenError::WrongValue(_))
    ));
}

#[test]
fn revoked_and_unknown_certificates_are_refused() {
    let mut scene = Scene::new(KeyKind::EcP256);
    let message = sha512(b"message");
    for (status, code) in [
        (testpki::Status::Good, None),
        (
            testpki::Status::Revoked,
            Some("invalid_cert_path.cert_validation"),
        ),
        (
            testpki::Status::Unknown,
            Some("invalid_cert_path.cert_validation"),
        ),
    ] {
        scene.answer(status);
        let sealed = seal(
            &scene.identity,
            &[PartDigests {
                message,
                attachments: vec![],
            }],
            scene.now,
        )
        .unwrap()
        .remove(0);
        let parts = SignedParts {
            signature: &sealed.signature,
            hash_chain_result: None,
            hash_chain: None,
            message: &message,
            attachments: &[],
        };
        let opened = open(&parts, &scene.sender, &scene.trust, scene.now);
        assert_eq!(opened.err().map(|error| error.code()).as_deref(), code);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// No bit of what is signed can be changed: SignedInfo, the signed properties, the root's declarations, the value itself.
    #[test]
    fn flipped_bits_are_never_accepted(place: u32, bit in 0_u8..8, name in 0_usize..6) {
        let (name, code, subsystem) = RECORDINGS[name];
        let Some(trust) = trust("flipped_bits_are_never_accepted") else { return Ok(()) };
        let message = recorded("flipped_bits_are_never_accepted", name).unwrap();
        let text = String::from_utf8(message.signature.to_vec()).unwrap();
        let at = |mark: &str| text.find(mark).unwrap();
        let value = "Id=\"signature-value\">";
        let ranges = [
            at("<asic:XAdESSignatures")..at("<ds:Signature "),
            at("<ds:SignedInfo>")..at("<ds:SignatureValue"),
            at(value) + value.len()..at("</ds:SignatureValue>"),
            at("<xades:SignedProperties")..at("<xades:UnsignedProperties"),
        ];
        let signed: Vec<usize> = ranges.into_iter().flatten().collect();
        let mut flipped = message.signature.to_vec();
        flipped[signed[usize::try_from(place).unwrap() % signed.len()]] ^= 1 << bit;
        let flipped = Bytes::from(flipped);
        let parts = SignedParts { signature: &flipped, ..message.parts() };
        prop_assert!(open(&parts, &client(code, subsystem), &trust, RECORDED).is_err());
        if let Some(result) = &message.result {
            let mut flipped = result.to_vec();
            let length = flipped.len();
            flipped[usize::try_from(place).unwrap() % length] ^= 1 << bit;
            let flipped = Bytes::from(flipped);
            let parts = SignedParts { hash_chain_result: Some(&flipped), ..message.parts() };
            prop_assert!(open(&parts, &client(code, subsystem), &trust, RECORDED).is_err());
        }
    }
}
