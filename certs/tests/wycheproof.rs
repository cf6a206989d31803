//! Wycheproof's vectors of the algorithms in use, through the functions that judge signatures here.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic and print"
)]

use jibek_certs::{
    DigestAlgorithm, SignatureAlgorithm,
    signer::{SignatureError, verify_spki, verify_spki_der},
};
use wycheproof::{HashFunction, Mgf, TestResult, ecdsa, rsa_pkcs1_verify, rsa_pss_verify};

#[derive(Default)]
struct Count {
    tried: usize,
    accepted: usize,
    left_out: usize,
}

impl Count {
    fn judge(&mut self, what: &str, expected: TestResult, found: Result<(), SignatureError>) {
        self.tried += 1;
        self.accepted += usize::from(found.is_ok());
        match expected {
            TestResult::Valid => assert_eq!(found, Ok(()), "{what}"),
            TestResult::Invalid => assert!(found.is_err(), "{what} was accepted"),
            TestResult::Acceptable => {}
        }
    }
}

fn digest(hash: HashFunction) -> Option<DigestAlgorithm> {
    match hash {
        HashFunction::Sha1 => Some(DigestAlgorithm::Sha1),
        HashFunction::Sha2_224 => Some(DigestAlgorithm::Sha224),
        HashFunction::Sha2_256 => Some(DigestAlgorithm::Sha256),
        HashFunction::Sha2_384 => Some(DigestAlgorithm::Sha384),
        HashFunction::Sha2_512 => Some(DigestAlgorithm::Sha512),
        _ => None,
    }
}

/// All in one test, so that the line that sums them up is one.
#[test]
fn wycheproof() {
    let mut count = Count::default();
    pkcs1(&mut count);
    assert!(
        count.accepted > 50,
        "no valid PKCS#1 v1.5 signature was accepted"
    );
    let before = count.accepted;
    pss(&mut count);
    assert!(
        count.accepted > before + 50,
        "no valid PSS signature was accepted"
    );
    let before = count.accepted;
    ecdsa(&mut count);
    assert!(
        count.accepted > before + 500,
        "no valid ECDSA signature was accepted"
    );
    println!(
        "VECTORS wycheproof {} tried, {} left out: SHA-3, SHAKE, SHA-512/224 and SHA-512/256, PSS whose mask \
         or salt is not the digest's, other curves, r‖s padded or shortened (X-Road reads any even length)",
        count.tried, count.left_out
    );
}

fn pkcs1(count: &mut Count) {
    for name in rsa_pkcs1_verify::TestName::all() {
        let set = rsa_pkcs1_verify::TestSet::load(name).unwrap();
        for group in set.test_groups {
            let Some(algorithm) = digest(group.hash).map(SignatureAlgorithm::rsa) else {
                count.left_out += group.tests.len();
                continue;
            };
            for test in group.tests {
                let what = format!("{name:?} {}", test.tc_id);
                let found = verify_spki(&group.der, algorithm, &test.msg, &test.sig);
                assert_eq!(
                    verify_spki_der(&group.der, algorithm, &test.msg, &test.sig),
                    found
                );
                count.judge(&what, test.result, found);
            }
        }
    }
}

fn pss(count: &mut Count) {
    for name in rsa_pss_verify::TestName::all() {
        let set = rsa_pss_verify::TestSet::load(name).unwrap();
        for group in set.test_groups {
            let ours = digest(group.hash).filter(|digest| {
                group.mgf == Mgf::Mgf1
                    && group.mgf_hash == Some(group.hash)
                    && group.salt_size == digest.len()
            });
            let Some(algorithm) = ours.map(SignatureAlgorithm::pss) else {
                count.left_out += group.tests.len();
                continue;
            };
            for test in group.tests {
                let what = format!("{name:?} {}", test.tc_id);
                let found = verify_spki(&group.der, algorithm, &test.msg, &test.sig);
                count.judge(&what, test.result, found);
            }
        }
    }
}

fn ecdsa(count: &mut Count) {
    for name in ecdsa::TestName::all() {
        let set = ecdsa::TestSet::load(name).unwrap();
        let label = format!("{name:?}");
        let curve = ["Secp256r1", "Secp384r1", "Secp521r1"];
        let curve = curve.iter().any(|curve| label.contains(curve));
        for group in set.test_groups {
            let Some(algorithm) = digest(group.hash)
                .filter(|_| curve)
                .map(SignatureAlgorithm::ecdsa)
            else {
                count.left_out += group.tests.len();
                continue;
            };
            for test in group.tests {
                let what = format!("{label} {}", test.tc_id);
                let is_raw = group.test_type == ecdsa::TestGroupTypeId::EcdsaP1363;
                if !is_raw {
                    let found = verify_spki_der(&group.der, algorithm, &test.msg, &test.sig);
                    count.judge(&what, test.result, found);
                    continue;
                }
                let found = verify_spki(&group.der, algorithm, &test.msg, &test.sig);
                let odd_size = test.flags.contains(&ecdsa::TestFlag::SignatureSize);
                if odd_size && found.is_ok() {
                    count.left_out += 1;
                } else {
                    count.judge(&what, test.result, found);
                }
            }
        }
    }
}
