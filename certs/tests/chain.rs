//! Paths over the fixtures' chains and over hostile ones.

#![allow(clippy::unwrap_used, reason = "tests may panic, their helpers too")]

#[path = "support/fixtures.rs"]
mod common;

use std::fs;

use common::fixtures;
use jibek_certs::{
    Certificate, Clock, KeyKind, SignatureAlgorithm, SoftKey, SystemClock,
    chain::{Budget, ChainError, verify_chain},
    signer::distinguished_name,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyUsagePurpose};
use time::{OffsetDateTime, macros::datetime};

/// The verdicts of X-Road's own chain tests: a chain of four CAs passes, one with a CA without extensions does not.
#[test]
fn fixture_chains() {
    let Some(root) = fixtures("fixture_chains") else {
        return;
    };
    let read = |name: &str| {
        let bytes = fs::read(root.join("certs/test_chain").join(name)).unwrap();
        Certificate::from_der_or_pem(&bytes).unwrap()
    };
    let top = [read("root_ca.pem")];
    let (ca1, ca2, ca3, ca4) = (
        read("ca_1.pem"),
        read("ca_2.pem"),
        read("ca_3.pem"),
        read("ca_4_no_ext.pem"),
    );
    let all = [ca4.clone(), ca3.clone(), ca1.clone(), ca2.clone()];
    let now = datetime!(2012-11-01 00:00 UTC);
    let verify = |leaf: &str, extra: &[Certificate], now| {
        verify_chain(&read(leaf), extra, &top, now, &Budget::default())
            .map(|chain| chain.certificates().len())
    };
    assert_eq!(verify("user_0.pem", &[], now), Ok(1));
    assert_eq!(verify("user_1.pem", &all, now), Ok(2));
    assert_eq!(verify("user_2.pem", &all, now), Ok(3));
    assert_eq!(verify("user_3.pem", &all, now), Ok(4));
    assert!(matches!(
        verify("user_4.pem", &all, now),
        Err(ChainError::NotCa { .. })
    ));
    assert!(matches!(
        verify("user_3.pem", &[ca3, ca1], now),
        Err(ChainError::UnknownIssuer { .. })
    ));
    let late = datetime!(2013-12-01 00:00 UTC);
    assert!(matches!(
        verify("user_3.pem", &all, late),
        Err(ChainError::Expired { .. })
    ));
    let early = datetime!(2012-09-14 11:00 UTC);
    assert!(matches!(
        verify("user_3.pem", &all, early),
        Err(ChainError::NotYetValid { .. })
    ));
    // The directly issuing CA as anchor is what X-Road does; its own validity and extensions do not matter.
    let direct = verify_chain(&read("user_4.pem"), &[], &[ca4], late, &Budget::default()).unwrap();
    assert_eq!(direct.certificates(), [read("user_4.pem")]);
}

struct Authority {
    key: SoftKey,
    params: CertificateParams,
    certificate: Certificate,
}

fn authority(name: &str, path_length: Option<u8>, above: Option<&Authority>) -> Authority {
    let key = SoftKey::generate(KeyKind::EcP256).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(&[("CN", name)]).unwrap();
    params.is_ca = IsCa::Ca(path_length.map_or(
        BasicConstraints::Unconstrained,
        BasicConstraints::Constrained,
    ));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let signed = match above {
        None => params.self_signed(&key.for_rcgen()).unwrap(),
        Some(above) => {
            let issuer = Issuer::from_params(&above.params, above.key.for_rcgen());
            params.signed_by(&key.for_rcgen(), &issuer).unwrap()
        }
    };
    let certificate = Certificate::from_der(signed.der().to_vec()).unwrap();
    Authority {
        key,
        params,
        certificate,
    }
}

const NOW: OffsetDateTime = datetime!(2026-11-23 05:00 UTC);

#[test]
fn path_lengths_count() {
    let root = authority("root", None, None);
    let upper = authority("upper", Some(0), Some(&root));
    let lower = authority("lower", None, Some(&upper));
    let leaf = authority("leaf", None, Some(&lower));
    let extra = [upper.certificate.clone(), lower.certificate.clone()];
    let anchors = [root.certificate];
    let verify = |leaf| verify_chain(leaf, &extra, &anchors, NOW, &Budget::default());
    assert!(verify(&lower.certificate).is_ok());
    assert!(matches!(
        verify(&leaf.certificate),
        Err(ChainError::PathLength {
            allowed: 0,
            found: 1,
            ..
        })
    ));
}

#[test]
fn a_namesake_with_another_key_does_not_pass() {
    let root = authority("root", None, None);
    let impostor = authority("root", None, None);
    let leaf = authority("leaf", None, Some(&impostor));
    let refused = verify_chain(
        &leaf.certificate,
        &[],
        std::slice::from_ref(&root.certificate),
        NOW,
        &Budget::default(),
    );
    assert!(matches!(refused, Err(ChainError::Signature { .. })));
    // Of several anchors with one name any may have signed.
    let anchors = [root.certificate, impostor.certificate.clone()];
    let found = verify_chain(&leaf.certificate, &[], &anchors, NOW, &Budget::default()).unwrap();
    assert_eq!(found.anchor(), &impostor.certificate);
}

/// Twelve generations of eight CAs each, all of one name: without a budget the search would take eight to the twelfth steps.
#[test]
fn a_thicket_of_namesakes_costs_no_more_than_the_budget() {
    let mut above = authority("same", None, None);
    let mut extra = Vec::new();
    for _ in 0..24 {
        let next = authority("same", None, Some(&above));
        extra.push(next.certificate.clone());
        above = next;
    }
    let leaf = authority("leaf", None, Some(&above));
    let stranger = authority("same", None, None);
    let refused = verify_chain(
        &leaf.certificate,
        &extra,
        &[stranger.certificate],
        NOW,
        &Budget::default(),
    );
    assert!(matches!(refused, Err(ChainError::Budget)));
}

/// A thousand candidates of the issuer's name, none of them the issuer: as configured authorities each is tried once, as
/// certificates that came along the search ends at its budget.
#[test]
fn a_thousand_namesakes_cost_little() {
    let keys: Vec<SoftKey> = (0..4)
        .map(|_| SoftKey::generate(KeyKind::EcP256).unwrap())
        .collect();
    let root = authority("root", None, None);
    let namesakes: Vec<Certificate> = (0..1000_u64)
        .map(|serial| {
            let mut params = CertificateParams::default();
            params.distinguished_name = distinguished_name(&[("CN", "same")]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.serial_number = Some(serial.into());
            let issuer = Issuer::from_params(&root.params, root.key.for_rcgen());
            let key = &keys[usize::try_from(serial % 4).unwrap()];
            let signed = params.signed_by(&key.for_rcgen(), &issuer).unwrap();
            Certificate::from_der(signed.der().to_vec()).unwrap()
        })
        .collect();
    let same = authority("same", None, Some(&root));
    let leaf = authority("leaf", None, Some(&same)).certificate;
    let begin = SystemClock.now();
    let anchors = std::slice::from_ref(&root.certificate);
    let verify = |along: &[Certificate], anchors: &[Certificate]| {
        verify_chain(&leaf, along, anchors, NOW, &Budget::default())
    };
    assert_eq!(verify(&namesakes, anchors).unwrap_err(), ChainError::Budget);
    assert!(matches!(
        verify(&[], &namesakes),
        Err(ChainError::Signature { .. })
    ));
    // The right one is found wherever it stands among configured ones.
    let mut anchors = namesakes;
    anchors.push(same.certificate.clone());
    assert_eq!(verify(&[], &anchors).unwrap().anchor(), &same.certificate);
    assert!(SystemClock.now() - begin < time::Duration::seconds(10));
}

#[test]
fn a_chain_beyond_the_depth_is_refused_as_such() {
    let root = authority("root", None, None);
    let mut chain = vec![authority("ca 0", None, Some(&root))];
    for number in 1..7 {
        let next = authority(&format!("ca {number}"), None, chain.last());
        chain.push(next);
    }
    let along: Vec<Certificate> = chain.iter().map(|ca| ca.certificate.clone()).collect();
    let anchors = [root.certificate];
    let verify = |leaf: &Certificate| {
        verify_chain(leaf, &along, &anchors, NOW, &Budget::default())
            .map(|chain| chain.certificates().len())
    };
    assert_eq!(verify(&along[5]), Ok(6));
    assert_eq!(verify(&along[6]), Err(ChainError::Depth { limit: 6 }));
}

#[test]
fn a_software_key_is_what_its_certificate_says() {
    let root = authority("root", None, None);
    let signature = root
        .key
        .sign_with(SignatureAlgorithm::EcdsaSha512, b"message")
        .unwrap();
    root.certificate
        .verify(SignatureAlgorithm::EcdsaSha512, b"message", &signature)
        .unwrap();
    assert!(
        root.certificate
            .verify(SignatureAlgorithm::EcdsaSha256, b"message", &signature)
            .is_err()
    );
    assert!(
        root.certificate
            .verify(SignatureAlgorithm::RsaPkcs1Sha512, b"message", &signature)
            .is_err()
    );
}
