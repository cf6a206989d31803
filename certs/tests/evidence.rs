//! The OCSP responses and time-stamps that real servers put into signatures, judged by our rules.

#[path = "support/fixtures.rs"]
mod common;

use std::time::Duration;

use common::{Evidence, certificates, evidence, fixtures};
use jibek_certs::{
    Certificate, DigestAlgorithm,
    digest::digest,
    ocsp::{CertificateStatus, OcspResponse, Policy, verify_with_ocsp},
    trust::{ApprovedCa, Authorities},
    tsp::{TimestampRequest, TimestampToken, TspError},
};
use proptest::prelude::*;
use time::macros::datetime;

const POLICY: fn() -> Policy = || Policy::new(Duration::from_secs(3600), true);

/// Every configured certificate as if it were a CA of one instance.
fn authorities(known: &[(String, Certificate)]) -> Authorities {
    let cas = known.iter().filter(|(_, certificate)| certificate.is_ca());
    Authorities::new(
        cas.map(|(_, ca)| ApprovedCa::new(ca.clone(), true, "any"))
            .collect(),
    )
}

fn token(item: &Evidence) -> Option<(Vec<u8>, Vec<u8>)> {
    if let (Some(token), Some(data)) = (&item.timestamp, &item.ts_hash_chain_result) {
        return Some((token.clone(), data.clone()));
    }
    let value = item.decoded("ds:SignatureValue").swap_remove(0);
    let mut tokens = item.decoded("xades:EncapsulatedTimeStamp");
    if tokens.is_empty() {
        // 2014: the token stands directly in the element.
        tokens = item.decoded("xades:SignatureTimeStamp");
    }
    Some((tokens.into_iter().next()?, value))
}

#[test]
fn ocsp_responses_and_time_stamps_of_real_servers_are_believed() {
    let test = "ocsp_responses_and_time_stamps_of_real_servers_are_believed";
    let Some(root) = fixtures(test) else { return };
    let known = certificates(&root);
    let authorities = authorities(&known);
    let everyone: Vec<Certificate> = known
        .iter()
        .map(|(_, certificate)| certificate.clone())
        .collect();
    let (mut responses_checked, mut tokens_checked, mut recordings) = (0, 0, 0);
    for item in evidence(&root) {
        let damaged = [
            "asic/invalid-",
            "asic/wrong",
            "asic/attachments",
            "asic-core/no-",
        ];
        if damaged.iter().any(|prefix| item.name.contains(prefix)) {
            continue;
        }
        let now = if item.name.contains("/wire/") {
            recordings += 1;
            datetime!(2026-11-23 03:15 UTC)
        } else {
            let (token, data) = token(&item).unwrap_or_else(|| panic!("{}: no token", item.name));
            let token = TimestampToken::parse(&token)
                .unwrap_or_else(|error| panic!("{}: {error}", item.name));
            let mut trusted = everyone.clone();
            // The configuration of 2014 is lost; its token carries the certificate.
            trusted.extend(token.certificates().iter().cloned());
            let stamp = token
                .verify(&data, &trusted)
                .unwrap_or_else(|error| panic!("{}: {error}", item.name));
            assert!(matches!(
                token.verify(b"other", &trusted),
                Err(TspError::Imprint { .. })
            ));
            assert!(matches!(
                token.verify(&data, &[]),
                Err(TspError::UnknownAuthority)
            ));
            tokens_checked += 1;
            stamp.gen_time()
        };
        let signer = item.signer();
        let responses: Vec<OcspResponse> = item
            .decoded("xades:EncapsulatedOCSPValue")
            .into_iter()
            .map(|der| OcspResponse::parse(der).unwrap())
            .collect();
        assert_eq!(responses[0].status(), CertificateStatus::Good);
        if item.name.contains("asic-core/valid-signed-message.asice") {
            continue; // its CA is in no configuration
        }
        let verified = verify_with_ocsp(&signer, &[], &authorities, &responses, now, POLICY())
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error} {:?}",
                    item.name,
                    std::error::Error::source(&error)
                )
            });
        assert!(verified.valid_until() >= now);
        assert_eq!(verified.chain().certificates(), [signer]);
        responses_checked += 1;
    }
    assert!(tokens_checked >= 27, "{tokens_checked} tokens");
    assert!(responses_checked >= 30, "{responses_checked} responses");
    assert_eq!(recordings, 7);
}

/// Adding the pinned certificate keeps the token's signature, and OpenSSL still reads it.
#[test]
fn a_token_with_an_added_certificate_still_verifies() {
    let Some(root) = fixtures("a_token_with_an_added_certificate_still_verifies") else {
        return;
    };
    let known = certificates(&root);
    let extra = &known[0].1;
    let trusted: Vec<Certificate> = known
        .iter()
        .map(|(_, certificate)| certificate.clone())
        .collect();
    let mut seen = 0;
    for item in evidence(&root)
        .iter()
        .filter(|item| item.name.contains("valid-") && item.name.contains("/asic/"))
    {
        let Some((der, data)) = token(item) else {
            continue;
        };
        let before = TimestampToken::parse(&der).unwrap();
        let Ok(stamp) = before.verify(&data, &trusted) else {
            continue;
        };
        // Its own certificate is not doubled; another is added.
        let same = TimestampToken::parse(&before.with_certificate(stamp.tsa()).unwrap()).unwrap();
        assert_eq!(
            same.certificates().len(),
            before.certificates().len().max(1),
            "{}",
            item.name
        );
        let grown = TimestampToken::parse(&before.with_certificate(extra).unwrap()).unwrap();
        assert!(grown.certificates().contains(extra));
        assert_eq!(
            grown.verify(&data, &trusted).unwrap().gen_time(),
            stamp.gen_time()
        );
        seen += 1;
    }
    assert!(seen >= 4, "{seen}");
}

/// X-Road 7.8.0's query over a SHA-512 imprint has 86 bytes (`observed.md` 3 number 3).
#[test]
fn the_query_has_the_shape_of_x_road_s() {
    let imprint = digest(DigestAlgorithm::Sha512, b"x");
    let der = TimestampRequest::new(&imprint, None).der();
    assert_eq!(der.len(), 86);
    assert_eq!(
        der[..22],
        [
            0x30, 0x54, 2, 1, 1, 0x30, 0x4f, 0x30, 0x0b, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2,
            3, 4, 0x40
        ]
    );
    assert_eq!(&der[22..], imprint.as_bytes());
}

#[test]
fn damaged_responses_and_tokens_never_panic_and_never_pass() {
    let Some(root) = fixtures("damaged_responses_and_tokens_never_panic_and_never_pass") else {
        return;
    };
    let known = certificates(&root);
    let trusted: Vec<Certificate> = known
        .iter()
        .map(|(_, certificate)| certificate.clone())
        .collect();
    let authorities = authorities(&known);
    let all = evidence(&root);
    let item = all
        .iter()
        .find(|item| item.name.ends_with("asic/valid-signed-message.asice"))
        .unwrap();
    let (der, data) = token(item).unwrap();
    let whole = TimestampToken::parse(&der).unwrap();
    let now = whole.gen_time();
    for length in (0..der.len()).step_by(7) {
        assert!(TimestampToken::parse(&der[..length]).is_err(), "{length}");
    }
    for at in 0..der.len() {
        let mut damaged = der.clone();
        damaged[at] ^= 1 << (at % 8);
        if let Ok(token) = TimestampToken::parse(&damaged)
            && let Ok(stamp) = token.verify(&data, &trusted)
        {
            // Only what the signature does not cover (certificates, unsigned parts) may change.
            assert_eq!(stamp.gen_time(), now, "byte {at}");
        }
    }
    let ocsp = item.decoded("xades:EncapsulatedOCSPValue").swap_remove(0);
    let signer = item.signer();
    for length in (0..ocsp.len()).step_by(7) {
        assert!(
            OcspResponse::parse(ocsp[..length].to_vec()).is_err(),
            "{length}"
        );
    }
    let original = OcspResponse::parse(ocsp.clone()).unwrap();
    for at in 0..ocsp.len() {
        let mut damaged = ocsp.clone();
        damaged[at] ^= 1 << (at % 8);
        let Ok(response) = OcspResponse::parse(damaged) else {
            continue;
        };
        if let Ok(verified) =
            verify_with_ocsp(&signer, &[], &authorities, &[response], now, POLICY())
        {
            assert_eq!(
                verified.ocsp()[0].response().this_update(),
                original.this_update(),
                "byte {at}"
            );
        }
    }
}

/// Nested indefinite lengths must end in an error, not in an exhausted stack.
#[test]
fn deep_nesting_is_refused() {
    for open in [&[0x30, 0x80][..], &[0xa0, 0x80], &[0x31, 0x80]] {
        let deep = open.repeat(30_000);
        assert!(TimestampToken::parse(&deep).is_err());
        let mut inside = vec![
            0x30, 0x80, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02, 0xa0,
            0x80, 0x30, 0x80,
        ];
        inside.extend([2, 1, 3, 0x31, 0x80]);
        inside.extend(&deep);
        assert!(TimestampToken::parse(&inside).is_err());
        assert!(OcspResponse::parse(inside).is_err());
        assert!(Certificate::from_der(deep).is_err());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = TimestampToken::parse(&bytes);
        let _ = TimestampToken::from_response(&bytes, &TimestampRequest::new(&digest(DigestAlgorithm::Sha512, b""), None));
        let _ = OcspResponse::parse(bytes);
    }
}
