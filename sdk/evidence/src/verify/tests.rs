use bytes::Bytes;
use jibek_certs::{
    digest::{DigestAlgorithm, digest},
    signer::KeyKind,
    trust::Authorities,
};
use time::Duration;

use super::*;
use crate::{
    container::{ContainerLimits, ContainerParts, Direction, write_container},
    court::{Court, REQUEST, code, findings},
    scene::{Scene, sha512},
    testpki::Status,
    timestamp::batch_imprint,
};

#[test]
fn what_we_seal_and_stamp_is_valid() {
    let court = Court::new();
    let many: Vec<(&str, Option<&'static str>)> = (0..5)
        .map(|number| (REQUEST, (number % 2 == 0).then_some("body")))
        .collect();
    for messages in [vec![(REQUEST, None)], vec![(REQUEST, Some("body"))], many] {
        for (parts, (_, body)) in court.contain(&messages).iter().zip(&messages) {
            let verdict = court.judge(parts);
            let Outcome::Valid(report) = &verdict.outcome else {
                panic!("{verdict:?}")
            };
            assert_eq!(findings(&verdict), Vec::<&str>::new());
            let message = report.message();
            assert_eq!(
                (message.kind(), message.direction(), message.message_id()),
                (MessageKind::Rest, Direction::Request, "one")
            );
            assert_eq!(report.sender(), &court.scene.sender);
            assert_eq!(report.stamp_time(), court.scene.now + Duration::MINUTE);
            assert_eq!(report.stamp_authority(), Some(court.tsa.certificate()));
            assert_eq!(report.signing_time(), Some(court.scene.now));
            assert_eq!(report.ocsp().unwrap().produced_at(), court.scene.now);
            assert_eq!(report.signer(), court.scene.identity.certificate());
            let attachments: Vec<(&str, bool)> = report
                .attachments()
                .iter()
                .map(|attachment| (attachment.name(), attachment.is_verified()))
                .collect();
            assert_eq!(
                attachments,
                body.iter()
                    .map(|_| ("/attachment1", true))
                    .collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn contradictions_are_invalid() {
    let court = Court::new();
    let good = || {
        court
            .contain(&[(REQUEST, Some("body")), (REQUEST, None)])
            .remove(0)
    };
    let other = Court::new();
    let now = court.scene.now;
    let plan = batch_imprint(&[sha512(&good().signature)]).unwrap();
    for (what, parts, expected) in [
        (
            "a changed message",
            ContainerParts {
                message: REQUEST.replace("17", "18").into(),
                ..good()
            },
            "malformed_signature.invalid_hash_chain_ref",
        ),
        (
            "another sender",
            ContainerParts {
                message: REQUEST.replace("1234", "4321").into(),
                ..good()
            },
            "malformed_signature.invalid_hash_chain_ref",
        ),
        (
            "no message",
            ContainerParts {
                message: Bytes::from_static(b" \r\n"),
                ..good()
            },
            "asic_message_not_found",
        ),
        (
            "no signature",
            ContainerParts {
                signature: Bytes::new(),
                ..good()
            },
            "asic_signature_not_found",
        ),
        (
            "no stamp",
            ContainerParts {
                ts_token: None,
                ts_hash_chain: None,
                ts_hash_chain_result: None,
                ..good()
            },
            "malformed_signature",
        ),
        (
            "a stamp of something else",
            ContainerParts {
                ts_token: Some(court.tsa.stamp(&sha512(b"else"), now)),
                ..good()
            },
            "malformed_signature",
        ),
        (
            "a stamp of another signature",
            ContainerParts {
                ts_hash_chain: plan.chains().next(),
                ..good()
            },
            "malformed_signature",
        ),
        (
            "a stamp that is none",
            ContainerParts {
                ts_token: Some(Bytes::from_static(b"token")),
                ..good()
            },
            "malformed_signature",
        ),
        (
            "stamped too late",
            court.contain_signature(
                court.contain(&[(REQUEST, None)]).remove(0).signature,
                now + Duration::hours(2),
                DigestAlgorithm::Sha512,
            ),
            "invalid_cert_path.incorrect_validation_info",
        ),
        (
            "the other's signature",
            ContainerParts {
                signature: other.contain(&[(REQUEST, None)]).remove(0).signature,
                ..good()
            },
            "malformed_signature",
        ),
        (
            "a chain without result",
            ContainerParts {
                hash_chain_result: Some(Bytes::from_static(b" ")),
                ..good()
            },
            "asic_hash_chain_result_not_found",
        ),
    ] {
        let verdict = court.judge(&parts);
        assert_eq!(code(&verdict), expected, "{what}: {verdict:?}");
    }
}

#[test]
fn another_s_certificate_is_invalid() {
    let court = Court::new();
    let message = REQUEST.replace("1234", "4321");
    let parts = court.contain(&[(&message, None)]).remove(0);
    assert_eq!(code(&court.judge(&parts)), "incorrect_certificate");
}

#[test]
fn bad_certificates_are_invalid() {
    for (status, expected) in [
        (Status::Good, "valid"),
        (Status::Revoked, "invalid_cert_path.cert_validation"),
        (Status::Unknown, "invalid_cert_path.cert_validation"),
    ] {
        let mut court = Court::new();
        court.scene.answer(status);
        assert_eq!(
            code(&court.judge(&court.contain(&[(REQUEST, None)]).remove(0))),
            expected
        );
    }
}

/// What the configuration lacks leaves a question open, unless the container answers it by contradicting itself.
#[test]
fn unknown_authorities_leave_it_open() {
    let mut court = Court::new();
    let good = court.contain(&[(REQUEST, Some("body"))]).remove(0);
    let changed = ContainerParts {
        message: REQUEST.replace("17", "18").into(),
        ..good.clone()
    };
    let stamps = std::mem::take(&mut court.scene.trust.stamps);
    assert_eq!(code(&court.judge(&good)), "cannot judge");
    assert_eq!(
        code(&court.judge(&changed)),
        "malformed_signature.invalid_hash_chain_ref"
    );
    court.scene.trust.stamps = stamps;
    court.scene.trust.authorities = Authorities::default();
    assert_eq!(code(&court.judge(&good)), "cannot judge");
    assert_eq!(
        code(&court.judge(&changed)),
        "malformed_signature.invalid_hash_chain_ref"
    );
    // a sender of an instance that is not configured
    let court = Court::new();
    let message = REQUEST.replace("X-Road-Client:DEV", "X-Road-Client:OTHER");
    assert_eq!(
        code(&court.judge(&court.contain(&[(&message, None)]).remove(0))),
        "cannot judge"
    );
}

/// `signatures-and-log.md` 5.6: the verdict stands, and beside it what it does not depend on.
#[test]
fn findings_stand_beside_the_verdict() {
    let court = Court::new();
    let now = court.scene.now;
    let message = sha512(REQUEST.as_bytes());
    let properties = ("#signed-properties", None);
    let sha1 = digest(DigestAlgorithm::Sha1, REQUEST.as_bytes());
    let signed = court
        .scene
        .sign(&[("/message.xml", Some(message)), properties]);
    let contained = |signature: &Bytes, time, algorithm| {
        court.contain_signature(signature.clone(), time, algorithm)
    };
    let sha512_now = |signature: &Bytes| contained(signature, now, DigestAlgorithm::Sha512);
    let repeated = String::from_utf8(signed.to_vec())
        .unwrap()
        .replace("<ds:KeyInfo>", "<ds:KeyInfo Id=\"signature\">");
    for (what, parts, expected) in [
        ("nothing", sha512_now(&signed), vec![]),
        (
            "properties alone in no reference",
            sha512_now(&court.scene.sign(&[("/message.xml", Some(message))])),
            vec!["properties_uncovered"],
        ),
        (
            "SHA-1 of the message",
            sha512_now(
                &court
                    .scene
                    .sign(&[("/message.xml", Some(sha1)), properties]),
            ),
            vec!["weak_algorithm"],
        ),
        (
            "SHA-1 in the stamp",
            contained(&signed, now, DigestAlgorithm::Sha1),
            vec!["weak_algorithm"],
        ),
        (
            "a stamp from before",
            contained(
                &signed,
                now - Duration::minutes(10),
                DigestAlgorithm::Sha512,
            ),
            vec!["signing_time_after_stamp", "ocsp_from_future"],
        ),
        (
            "two of one Id",
            sha512_now(&repeated.into()),
            vec!["duplicate_ids"],
        ),
        (
            "an unsigned body",
            ContainerParts {
                attachments: vec![Bytes::from_static(b"body")],
                ..sha512_now(&signed)
            },
            vec!["attachment_uncovered"],
        ),
        (
            "an unreferenced chain",
            ContainerParts {
                hash_chain: Some(Bytes::from_static(b"x")),
                hash_chain_result: Some(Bytes::from_static(b"x")),
                ..sha512_now(&signed)
            },
            vec!["chain_unreferenced"],
        ),
    ] {
        let verdict = court.judge(&parts);
        assert_eq!(code(&verdict), "valid", "{what}: {verdict:?}");
        assert_eq!(findings(&verdict), expected, "{what}");
    }
    // Number 1: a signature over its properties alone is no signature of the message.
    assert_eq!(
        code(&court.judge(&sha512_now(&court.scene.sign(&[properties])))),
        "malformed_signature"
    );
    // Number 7: bodies behind a hash chain.
    let chained = || court.contain(&[(REQUEST, Some("body"))]).remove(0);
    for (attachments, expected) in [
        (vec![Bytes::from_static(b"BODY")], "attachment_differs"),
        (vec![], "body_removed"),
    ] {
        let verdict = court.judge(&ContainerParts {
            attachments,
            ..chained()
        });
        assert_eq!(
            (code(&verdict), findings(&verdict)),
            ("valid", vec![expected])
        );
        let Outcome::Valid(report) = &verdict.outcome else {
            panic!("{verdict:?}")
        };
        assert!(!report.attachments()[0].is_verified());
    }
}

mod shapes;

/// The JDK's stream reader and XML-DSig engine, where they are installed, take what we write and refuse what was changed.
#[test]
fn java_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("Check.java");
    write(&source, include_bytes!("Check.java"));
    let mut files = Vec::new();
    for kind in [KeyKind::Rsa2048, KeyKind::EcP256] {
        let court = Court {
            scene: Scene::new(kind),
            ..Court::new()
        };
        let good = court
            .contain(&[(REQUEST, Some("body")), (REQUEST, None)])
            .into_iter()
            .chain(court.contain(&[(REQUEST, None)]));
        for parts in good {
            let changed = ContainerParts {
                message: REQUEST.replace("17", "18").into(),
                hash_chain_result: parts
                    .hash_chain_result
                    .as_ref()
                    .map(|_| Bytes::from_static(b"other")),
                ..parts.clone()
            };
            for parts in [parts, changed] {
                let file = folder.path().join(format!("{}.asice", files.len()));
                write(&file, &write_container(&parts).unwrap());
                files.push(file);
            }
        }
    }
    let Ok(java) = std::process::Command::new("java")
        .arg(&source)
        .args(&files)
        .output()
    else {
        println!("SKIPPED java_agrees: no java");
        return;
    };
    let error = String::from_utf8_lossy(&java.stderr);
    if error.contains("jdk.compiler") || error.contains("Could not find or load main class") {
        println!("SKIPPED java_agrees: no compiler with java");
        return;
    }
    let said = String::from_utf8(java.stdout).unwrap();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said.len(), files.len(), "{error}");
    for (number, line) in said.iter().enumerate() {
        assert_eq!(
            line.split(' ').next(),
            Some(if number % 2 == 0 { "valid" } else { "invalid" }),
            "{number}: {line}"
        );
        assert!(
            line.contains(" mimetype message.xml META-INF/signatures.xml "),
            "{line}"
        );
    }
}

fn write(path: &std::path::Path, bytes: &[u8]) {
    use std::io::Write;
    std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

/// Whatever is done to a file, there is a verdict; and never a good one where a byte of the message was changed.
#[test]
fn mangled_containers_get_a_verdict() {
    let court = Court::new();
    let parts = court
        .contain(&[(REQUEST, Some("body")), (REQUEST, None)])
        .remove(0);
    let good = write_container(&parts).unwrap();
    let mut state = 88_172_645_463_325_252_u64;
    let mut draw = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state).unwrap() % bound
    };
    let judge = |file: &[u8]| {
        Container::read(file, &ContainerLimits::default())
            .map(|container| verify_container(&container, &court.scene.trust))
    };
    for _ in 0..400 {
        let mut file = good.to_vec();
        match draw(3) {
            0 => file.truncate(draw(file.len())),
            1 => {
                let last = file.len() - 40;
                let (from, to) = (draw(last), draw(last));
                file.copy_within(from..from + 40, to);
            }
            _ => {
                let place = draw(file.len());
                file[place] ^= 1 << draw(8);
            }
        }
        // a checksum or a header tells; where a byte does not matter, the verdict stands
        let _ = judge(&file);
        // past the checksums
        let mangle = |part: &Bytes, place: usize, bit: usize| {
            let mut part = part.to_vec();
            let length = part.len();
            part[place % length] ^= 1 << bit;
            Bytes::from(part)
        };
        let (place, bit) = (draw(usize::MAX / 2), draw(8));
        let changed = ContainerParts {
            message: mangle(&parts.message, place, bit),
            ..parts.clone()
        };
        assert_ne!(code(&court.judge(&changed)), "valid");
        court.judge(&ContainerParts {
            signature: mangle(&parts.signature, place, bit),
            ..parts.clone()
        });
        court.judge(&ContainerParts {
            ts_token: parts
                .ts_token
                .as_ref()
                .map(|token| mangle(token, place, bit)),
            ..parts.clone()
        });
        court.judge(&ContainerParts {
            hash_chain: parts
                .hash_chain
                .as_ref()
                .map(|chain| mangle(chain, place, bit)),
            ..parts.clone()
        });
    }
}
