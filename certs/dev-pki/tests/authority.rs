//! The authority without its services: kept, issuing, revoking, and as a program.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may panic and write scratch files"
)]

use std::{fs, path::Path, process::Command, time::Duration};

use jibek_certs::{
    Certificate, Clock, DigestAlgorithm, KeyKind, SoftKey, SystemClock,
    digest::digest,
    ocsp::{CertificateStatus, OcspResponse, request_der},
    tsp::TimestampRequest,
};
use jibek_dev_pki::{DevPki, Fault, PkiError, StoreError, Usage, Validity};
use time::OffsetDateTime;

fn text(output: &std::process::Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn an_authority_is_kept_between_starts_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemClock.now();
    let first = DevPki::open_or_create(dir.path(), KeyKind::EcP256, now).unwrap();
    let again = DevPki::open_or_create(dir.path(), KeyKind::Rsa2048, now).unwrap();
    assert_eq!(first.root_ca(), again.root_ca());
    assert!(matches!(
        DevPki::create(dir.path(), KeyKind::EcP256, now),
        Err(PkiError::Store(StoreError::Write { .. }))
    ));
    let key = SoftKey::generate(KeyKind::EcP256).unwrap();
    let request = key.csr_der(&[("CN", "x")]).unwrap();
    let serials: Vec<String> = [&first, &again, &first]
        .map(|pki| {
            pki.issue_auth(&request, Some(&[("C", "FI"), ("CN", "other")]), now)
                .unwrap()
        })
        .map(|certificate| certificate.serial_decimal())
        .into();
    assert_eq!(serials, ["100", "101", "102"]);
    let mode = |name: &str| {
        std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(dir.path().join(name)).unwrap().permissions(),
        )
    };
    assert_eq!(mode("issuing-ca.key") & 0o777, 0o600);
    let yesterday = Validity {
        not_before: now - time::Duration::days(2),
        not_after: now - time::Duration::DAY,
    };
    let expired = first
        .issue(Usage::Signing, &request, None, yesterday)
        .unwrap();
    assert!(!expired.is_valid_at(now));
    // A request whose signature is by another key.
    let mut forged = request;
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(matches!(
        first.issue_auth(&forged, None, now),
        Err(PkiError::RequestSignature(_))
    ));
}

#[test]
fn the_program_makes_issues_and_revokes() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_jibek-dev-pki"))
            .args(arguments)
            .output()
            .unwrap()
    };
    let made = run(&["init", &path("pki"), "--key", "p256"]);
    assert!(made.status.success(), "{}", text(&made));
    let request = SoftKey::generate(KeyKind::Rsa2048)
        .unwrap()
        .csr_pem(&[("CN", "asked")])
        .unwrap();
    fs::write(path("request.pem"), request).unwrap();
    let subject = "C=FI,O=Org,serialNumber=DEV/ss1/COM,CN=1111";
    let issue = [
        "issue",
        &path("pki"),
        "--usage",
        "sign",
        "--csr",
        &path("request.pem"),
        "--out",
        &path("sign.pem"),
    ];
    let issued = run(&[&issue[..], &["--subject", subject]].concat());
    assert!(issued.status.success(), "{}", text(&issued));
    let certificate = Certificate::from_pem(&fs::read(path("sign.pem")).unwrap()).unwrap();
    assert_eq!(
        certificate.subject().rfc2253(),
        "CN=1111,2.5.4.5=#130b4445562f7373312f434f4d,O=Org,C=FI"
    );
    assert!(certificate.is_signing());
    let dates = [
        "--not-before",
        "2020-01-01T00:00:00Z",
        "--not-after",
        "2021-01-01T00:00:00Z",
    ];
    let mut old_issue = issue;
    let old_path = path("old.pem");
    old_issue[7] = &old_path;
    let old = run(&[&old_issue[..], &dates].concat());
    assert!(old.status.success(), "{}", text(&old));
    let old = Certificate::from_pem(&fs::read(&old_path).unwrap()).unwrap();
    assert_eq!(
        old.not_after(),
        time::macros::datetime!(2021-01-01 0:00 UTC)
    );
    assert_eq!(
        old.not_before(),
        time::macros::datetime!(2020-01-01 0:00 UTC)
    );
    let wrong = run(&[&old_issue[..], &["--not-after", "yesterday"]].concat());
    assert!(
        !wrong.status.success() && text(&wrong).contains("is no time"),
        "{}",
        text(&wrong)
    );
    let again = run(&issue);
    assert!(
        !again.status.success() && text(&again).contains("cannot write"),
        "{}",
        text(&again)
    );
    assert!(run(&["revoke", &path("pki"), "100"]).status.success());
    for kind in ["p384", "p521", "rsa3072"] {
        let made = run(&["init", &path(kind), "--key", kind]);
        assert!(made.status.success(), "{}", text(&made));
        let pki = DevPki::open(Path::new(&path(kind))).unwrap();
        pki.issuing_ca().verify_signed_by(pki.root_ca()).unwrap();
    }
    assert!(!run(&["init", &path("x"), "--key", "p192"]).status.success());
    let pki = DevPki::open(Path::new(&path("pki"))).unwrap();
    let answer = pki.answer_ocsp(
        &request_der(&certificate, pki.issuing_ca()),
        OffsetDateTime::UNIX_EPOCH,
        Fault::None,
    );
    let response = OcspResponse::parse(answer).unwrap();
    assert!(matches!(
        response.status(),
        CertificateStatus::Revoked { .. }
    ));
}

#[test]
fn hostile_requests_and_faults_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemClock.now();
    let pki = DevPki::create(dir.path(), KeyKind::EcP256, now).unwrap();
    let ocsp = request_der(pki.ocsp_certificate(), pki.issuing_ca());
    let tsa = TimestampRequest::new(&digest(DigestAlgorithm::Sha512, b"x"), Some(1)).der();
    for request in [&ocsp, &tsa] {
        for at in 0..request.len() {
            let mut damaged = request.clone();
            damaged[at] ^= 1 << (at % 8);
            for bytes in [&damaged[..], &request[..at]] {
                assert!(!pki.answer_ocsp(bytes, now, Fault::None).is_empty());
                assert!(!pki.answer_tsa(bytes, now, Fault::None).is_empty());
            }
        }
    }
    for fault in [Fault::Ahead(Duration::MAX), Fault::Stale(Duration::MAX)] {
        assert!(!pki.answer_ocsp(&ocsp, now, fault).is_empty());
        assert!(!pki.answer_tsa(&tsa, now, fault).is_empty());
    }
}
