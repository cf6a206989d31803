//! Bytes made to break readers: each with the reason that it is refused for, and never slow.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests may panic, their helpers too"
)]

#[path = "support/made.rs"]
mod made;

use jibek_certs::{
    Certificate, Clock, DigestAlgorithm, ParseError, SignatureAlgorithm, SoftKey, SystemClock,
    asn1::tlv,
    chain::{Budget, verify_chain},
    digest::digest,
    ocsp::{OcspError, OcspResponse},
    parse::{CertificateRequest, Defect, Name},
    signer::{PublicKey, SignatureError, ecdsa_der_to_raw, ecdsa_raw_to_der, verify_spki_der},
    tsp::{TimestampRequest, TimestampToken},
};
use made::*;
use proptest::prelude::*;
use time::Duration;

/// A certificate with every extension that is looked at.
fn whole() -> Made {
    Spec::new("whole")
        .ext(basic_constraints(true, Some(1)))
        .ext(key_usage(KEY_CERT_SIGN | NON_REPUDIATION))
        .ext(san(&[
            dns("example.com"),
            email("me@example.com"),
            ip(&[192, 0, 2, 1]),
            dn(&cn("x")),
            other("y"),
        ]))
        .ext(name_constraints(
            &[dns("example.com"), dn(&cn("x"))],
            &[ip(&[192, 0, 3, 0, 255, 255, 255, 0])],
        ))
        .ext(ext("2.5.29.14", false, &tlv(0x04, &[7; 20])))
        .ext(ext(
            "2.5.29.37",
            false,
            &seq(&[encoded_oid("1.3.6.1.5.5.7.3.9")]),
        ))
        .self_signed()
}

fn malformed(der: &[u8], reason: &str) {
    match Certificate::from_der(der.to_vec()) {
        Err(error @ ParseError::Malformed(_)) => {
            let text = error.to_string();
            assert!(text.contains(reason), "{text:?} does not say {reason:?}");
        }
        other => panic!("{reason}: {other:?}"),
    }
}

/// Replaces the first `from` in `der` by `to`, of the same length.
fn replaced(der: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = der
        .windows(from.len())
        .position(|window| window == from)
        .unwrap();
    let mut changed = der.to_vec();
    changed[at..at + to.len()].copy_from_slice(to);
    changed
}

#[test]
fn certificates_must_be_der() {
    let good = whole();
    good.read().unwrap();
    let content = &good.der[4..];
    // Indefinite lengths: of the whole, and of the signed part.
    let mut indefinite = vec![0x30, 0x80];
    indefinite.extend(content);
    indefinite.extend([0, 0]);
    malformed(&indefinite, "Indefinite");
    let tbs_length = 4 + usize::from(content[2]) * 256 + usize::from(content[3]);
    let mut inner = vec![0x30, 0x80];
    inner.extend(&content[4..tbs_length]);
    inner.extend([0, 0]);
    inner.extend(&content[tbs_length..]);
    malformed(&tlv(0x30, &inner), "Indefinite");
    // Bytes behind the end.
    let mut trailing = good.der.clone();
    trailing.push(0);
    malformed(&trailing, "1 bytes follow the certificate");
    assert_eq!(
        Certificate::from_der_leading(&trailing).unwrap(),
        (good.certificate(), 1)
    );
    // A length beyond the end, one that does not fit the machine, one with more bytes than numbers have.
    for length in [
        &[0x84, 0xff, 0xff, 0xff, 0xff][..],
        &[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xff],
    ] {
        let mut long = vec![0x30];
        long.extend(length);
        long.extend(content);
        malformed(&long, "");
    }
    assert_eq!(
        Certificate::from_der(vec![0x30; 64 * 1024 + 1]),
        Err(ParseError::TooLong {
            length: 64 * 1024 + 1,
            limit: 64 * 1024
        })
    );
    for open in [
        &[0x30, 0x80][..],
        &[0x30, 0x84, 0, 0, 0xff, 0xff],
        &[0xa0, 0x80],
    ] {
        let deep = open.repeat(60_000 / open.len());
        malformed(&deep, "");
        assert!(Name::from_der(&deep).is_err());
        assert!(CertificateRequest::from_der(&deep).is_err());
    }
}

#[test]
fn huge_numbers_cost_nothing() {
    let begin = SystemClock.now();
    let huge = Spec::new("huge").set(|spec| spec.serial = vec![0x7f; 60_000]);
    assert_eq!(
        huge.self_signed().read(),
        Err(ParseError::SerialNumber {
            length: 60_000,
            limit: 128
        })
    );
    // Twenty bytes are what authorities give; X-Road takes longer ones, negative ones and zero.
    for serial in [vec![0x7f; 128], vec![0x80; 20], vec![0]] {
        let made = Spec::new("x")
            .set(|spec| spec.serial = serial)
            .self_signed();
        assert!(!made.certificate().serial_decimal().is_empty());
    }
    // An attribute whose type has twenty-five thousand bytes keeps its name in hex.
    let mut oid = vec![0xff; 25_000];
    oid.extend([0x7f]);
    let pair = seq(&[tlv(0x06, &oid), tlv(0x0c, b"x")]);
    let odd = Spec::new("x").set(|spec| spec.name = seq(&[tlv(0x31, &pair)]));
    let odd = odd.self_signed().certificate();
    assert!(odd.subject().attributes()[0].0.starts_with("#ffff"));
    // A key of half a million bits, and one with an exponent as long.
    let modulus = tlv(0x02, &[&[0][..], &[0xff; 30_000]].concat());
    let small = tlv(0x02, &[3]);
    for key in [[modulus.clone(), small.clone()], [small, modulus]] {
        let bits = [vec![0], seq(&key)].concat();
        let algorithm = seq(&[encoded_oid("1.2.840.113549.1.1.1"), vec![5, 0]]);
        let spki = seq(&[algorithm, tlv(0x03, &bits)]);
        assert!(matches!(PublicKey::of(&spki), PublicKey::Rsa { .. }));
        for algorithm in SignatureAlgorithm::ALL {
            assert_eq!(
                verify_spki_der(&spki, algorithm, b"x", &[1; 30_000]),
                Err(SignatureError::Key)
            );
        }
    }
    assert!(SystemClock.now() - begin < Duration::seconds(5));
}

/// What Java's reader refuses is read here, because it may only have to be compared, and named as a defect.
#[test]
fn defects_are_named() {
    let ca = Spec::ca("ca", None).self_signed();
    let judged = |spec: Spec| spec.by(&ca).certificate().defect();
    let twice = Spec::new("x")
        .ext(key_usage(KEY_CERT_SIGN))
        .ext(key_usage(NON_REPUDIATION));
    assert_eq!(judged(twice), Some(Defect::ExtensionTwice));
    let old = Spec::new("x")
        .ext(key_usage(KEY_CERT_SIGN))
        .set(|spec| spec.version = 0);
    assert_eq!(judged(old), Some(Defect::Version));
    let old = Spec::new("x").set(|spec| spec.version = 0);
    assert_eq!(judged(old), None);
    let two =
        Spec::new("x").set(|spec| spec.inner_algorithm = Some(SignatureAlgorithm::EcdsaSha512));
    assert_eq!(judged(two), Some(Defect::Algorithms));
    for (kind, value) in [
        ("2.5.29.15", &[4, 1, 0][..]),
        ("2.5.29.19", &[0x30, 3, 2, 1, 0x80]),
        ("2.5.29.30", &[0x30, 0]),
        ("2.5.29.17", b"text"),
        ("2.5.29.37", &[0x30, 0x80]),
    ] {
        let odd = Spec::new("x").ext(ext(kind, false, value));
        assert_eq!(judged(odd), Some(Defect::Extension), "{kind}");
    }
    let nobody = Spec::new("x").set(|spec| spec.issuer = Some(seq(&[])));
    assert_eq!(judged(nobody), Some(Defect::Issuer));
    assert_eq!(
        judged(Spec::new("x").set(|spec| spec.name = seq(&[]))),
        Some(Defect::Subject)
    );
}

#[test]
fn ocsp_responses_must_be_der() {
    let reason = |der: &[u8], expected: &str| match OcspResponse::parse(der.to_vec()) {
        Err(OcspError::Malformed(text)) => {
            assert!(
                text.contains(expected),
                "{text:?} does not say {expected:?}"
            );
        }
        other => panic!("{expected}: {other:?}"),
    };
    let wrapped = |basic: &[u8]| {
        let bytes = seq(&[encoded_oid("1.3.6.1.5.5.7.48.1.1"), tlv(0x04, basic)]);
        tlv(0x30, &[vec![0x0a, 1, 0], tlv(0xa0, &bytes)].concat())
    };
    reason(&vec![0x30; 64 * 1024 + 1], "too long");
    reason(&tlv(0x30, &[0x0a, 1, 0]), "no response bytes");
    reason(&wrapped(b"not DER"), "");
    reason(&[0x30, 0x80, 0x0a, 1, 0, 0, 0], "");
    reason(&wrapped(&[0x30, 0x80, 0, 0]), "");
    let other_kind = seq(&[encoded_oid("1.2.3"), tlv(0x04, &[])]);
    reason(
        &tlv(0x30, &[vec![0x0a, 1, 0], tlv(0xa0, &other_kind)].concat()),
        "not a basic response",
    );
    for (status, name) in [(1, "MalformedRequest"), (6, "Unauthorized")] {
        let refused = OcspResponse::parse(vec![0x30, 3, 0x0a, 1, status]);
        assert!(
            matches!(&refused, Err(OcspError::Refused(text)) if text == name),
            "{refused:?}"
        );
    }
    for bad in [
        &[][..],
        &[0x30],
        &[0x30, 0x85, 1, 1, 1, 1, 1],
        &[0x1f, 0x81, 0],
    ] {
        assert!(OcspResponse::parse_leading(bad).is_err());
    }
}

/// Every public reader, given anything: an answer, and soon.
fn read_all(bytes: &[u8]) {
    let begin = SystemClock.now();
    if let Ok(certificate) = Certificate::from_der(bytes.to_vec()) {
        let _ = (
            format!("{certificate:?} {:?}", certificate.defect()),
            certificate.is_signing(),
            certificate.weaknesses(),
            certificate.verify_signed_by(&certificate),
        );
        let along = [certificate.clone(), whole().certificate()];
        let _ = verify_chain(&certificate, &along, &along[1..], NOW, &Budget::default());
        let _ = verify_chain(&along[1], &along, &along[..1], NOW, &Budget::default());
    }
    let _ = Certificate::from_der_leading(bytes);
    let _ = Certificate::from_der_or_pem(bytes);
    let _ = Certificate::all_from_pem(bytes);
    if let Ok(request) = CertificateRequest::from_der_or_pem(bytes) {
        let _ = request.verify();
    }
    let _ = Name::from_der(bytes);
    let _ = OcspResponse::parse(bytes.to_vec());
    let _ = OcspResponse::parse_leading(bytes);
    let _ = TimestampToken::parse(bytes);
    let request = TimestampRequest::new(&digest(DigestAlgorithm::Sha512, b""), None);
    let _ = TimestampToken::from_response(bytes, &request);
    let _ = SoftKey::from_pkcs8_der(bytes);
    let _ = SoftKey::from_pem(bytes);
    let _ = PublicKey::of(bytes);
    for algorithm in SignatureAlgorithm::ALL {
        let _ = verify_spki_der(bytes, algorithm, b"x", bytes);
    }
    let _ = SignatureAlgorithm::from_parts("1.2.840.113549.1.1.10", Some(bytes));
    let _ = (ecdsa_raw_to_der(bytes), ecdsa_der_to_raw(bytes, 32));
    assert!(
        SystemClock.now() - begin < Duration::seconds(2),
        "slow: {bytes:02x?}"
    );
}

/// Tag, length and content of random nesting: what looks like DER to every reader for a while.
fn der_like() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop::sample::select(vec![
        0x01_u8, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0a, 0x0c, 0x13, 0x17, 0x18, 0x80, 0x81, 0x82,
    ]);
    let leaf = (tag, prop::collection::vec(any::<u8>(), 0..12))
        .prop_map(|(tag, content)| tlv(tag, &content));
    leaf.prop_recursive(8, 60, 6, |inner| {
        let tag = prop::sample::select(vec![0x30_u8, 0x31, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4]);
        (tag, prop::collection::vec(inner, 0..6)).prop_map(|(tag, parts)| tlv(tag, &parts.concat()))
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_answered_soon(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
    }

    #[test]
    fn nested_values_are_answered_soon(der in der_like()) {
        read_all(&der);
    }

    #[test]
    fn damaged_certificates_are_answered_soon(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        doubled in prop::option::of(any::<prop::sample::Index>()),
    ) {
        static WHOLE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| whole().der);
        let mut bytes = WHOLE.clone();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if let Some(at) = doubled {
            let tail = bytes[at.index(bytes.len())..].to_vec();
            bytes.extend(tail);
        }
        if let Some(at) = cut {
            bytes.truncate(at.index(bytes.len()));
        }
        read_all(&bytes);
    }
}

/// Every byte of a valid self-signed certificate counts: changed, it is not read, or its signature is wrong.
#[test]
fn no_byte_of_a_certificate_can_change() {
    let good = whole();
    good.certificate()
        .verify_signed_by(&good.certificate())
        .unwrap();
    for at in 0..good.der.len() {
        for bit in 0..8 {
            let mut changed = good.der.clone();
            changed[at] ^= 1 << bit;
            let Ok(certificate) = Certificate::from_der(changed) else {
                continue;
            };
            let verified = certificate.verify_signed_by(&good.certificate());
            assert!(verified.is_err(), "byte {at} bit {bit}");
        }
    }
    // The one spelling of a name that counts for chaining is the bytes' meaning, not the bytes.
    let shouted = replaced(&good.name, b"whole", b"WHOLE");
    let (one, other) = (
        Name::from_der(&good.name).unwrap(),
        Name::from_der(&shouted).unwrap(),
    );
    assert!(one.matches(&other) && one != other);
}
