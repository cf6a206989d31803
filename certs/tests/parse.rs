//! Reading certificates: all that the fixtures have, Java's names, and bytes that are none.

#[path = "support/fixtures.rs"]
mod common;

use std::{fs, process::Command};

use common::{certificates, evidence, fixtures};
use jibek_certs::{Certificate, KeyKind, SoftKey};
use proptest::prelude::*;

#[test]
fn every_fixture_certificate_is_read() {
    let Some(root) = fixtures("every_fixture_certificate_is_read") else {
        return;
    };
    let found = certificates(&root);
    assert!(found.len() >= 35, "{} certificates", found.len());
    for (name, certificate) in &found {
        let again = Certificate::from_der_or_pem(certificate.to_pem().as_bytes()).unwrap();
        assert_eq!(&again, certificate, "{name}");
        assert!(certificate.not_before() < certificate.not_after(), "{name}");
        assert!(!certificate.subject().attributes().is_empty(), "{name}");
    }
}

/// OpenSSL reads the same serial numbers, names and dates.
#[test]
fn openssl_agrees() {
    let Some(root) = fixtures("openssl_agrees") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for (name, certificate) in certificates(&root) {
        let path = folder.path().join("certificate.pem");
        #[expect(clippy::disallowed_methods, reason = "a test's scratch file")]
        fs::write(&path, certificate.to_pem()).unwrap();
        let arguments = [
            "x509",
            "-noout",
            "-serial",
            "-fingerprint",
            "-sha256",
            "-ocsp_uri",
            "-in",
        ];
        let output = Command::new("openssl")
            .args(arguments)
            .arg(&path)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let fingerprint: String = text
            .lines()
            .find_map(|line| line.split_once("Fingerprint="))
            .unwrap()
            .1
            .replace(':', "")
            .to_lowercase();
        assert_eq!(
            fingerprint,
            jibek_certs::digest::hex(&certificate.sha256()),
            "{name}"
        );
        let serial = text
            .lines()
            .find_map(|line| line.strip_prefix("serial="))
            .unwrap();
        if serial.len() <= 30 && !serial.starts_with('-') {
            assert_eq!(
                u128::from_str_radix(serial, 16).unwrap().to_string(),
                certificate.serial_decimal(),
                "{name}"
            );
        }
        let url = text.lines().find(|line| line.starts_with("http"));
        assert_eq!(url, certificate.ocsp_aia_url(), "{name}");
    }
}

/// X-Road wrote these names and numbers from the same certificates.
#[test]
fn issuer_names_and_serial_numbers_are_java_s() {
    let Some(root) = fixtures("issuer_names_and_serial_numbers_are_java_s") else {
        return;
    };
    let mut checked = 0;
    for item in evidence(&root) {
        let names = item.texts("ds:X509IssuerName");
        let Some(name) = names.first() else { continue };
        let signer = item.signer();
        if item.name.contains("attachments.asice") && !item.name.contains("valid") {
            continue; // 2012: another order
        }
        assert_eq!(signer.issuer().rfc2253(), *name, "{}", item.name);
        assert_eq!(
            signer.serial_decimal(),
            item.texts("ds:X509SerialNumber")[0],
            "{}",
            item.name
        );
        checked += 1;
    }
    assert!(checked >= 30, "{checked}");
    for file in ["sign-0.xml", "sign-0-old-format.xml"] {
        let text = fs::read_to_string(root.join("certs").join(file)).unwrap();
        let item = common::Evidence {
            name: file.into(),
            signatures: text,
            ts_hash_chain_result: None,
            timestamp: None,
        };
        assert_eq!(
            item.signer().issuer().rfc2253(),
            item.texts("ds:X509IssuerName")[0]
        );
    }
}

#[test]
fn purposes_are_told_as_x_road_tells_them() {
    let Some(root) = fixtures("purposes_are_told_as_x_road_tells_them") else {
        return;
    };
    let read =
        |name: &str| Certificate::from_der_or_pem(&fs::read(root.join(name)).unwrap()).unwrap();
    let table = [
        // (file, authentication, signing, CA, OCSP)
        ("wire/conf/ss1-auth.pem", true, false, false, false),
        ("wire/conf/ss1-sign.pem", false, true, false, false),
        ("wire/conf/ca.pem", false, false, true, false),
        ("wire/conf/ocsp.pem", true, false, false, true),
        ("certs/consumer.pem", true, true, false, false),
        ("certs/test_chain/user_0.pem", false, false, false, false),
    ];
    for (name, authentication, signing, ca, ocsp) in table {
        let certificate = read(name);
        let found = (
            certificate.is_authentication(),
            certificate.is_signing(),
            certificate.is_ca(),
            certificate.has_ocsp_signing_eku(),
        );
        assert_eq!(found, (authentication, signing, ca, ocsp), "{name}");
    }
    assert!(read("wire/conf/ca.pem").is_self_issued());
}

#[test]
fn openssl_accepts_our_requests_and_keys() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [KeyKind::EcP256, KeyKind::Rsa2048] {
        let key = SoftKey::generate(kind).unwrap();
        let subject = [
            ("C", "FI"),
            ("O", "Тест"),
            ("serialNumber", "DEV/ss1/COM"),
            ("businessCategory", "COM"),
            ("CN", "1111"),
        ];
        let path = folder.path().join("request.pem");
        #[expect(clippy::disallowed_methods, reason = "a test's scratch file")]
        fs::write(&path, key.csr_pem(&subject).unwrap()).unwrap();
        let output = Command::new("openssl")
            .args([
                "req",
                "-verify",
                "-noout",
                "-subject",
                "-nameopt",
                "RFC2253,-esc_msb,utf8",
                "-in",
            ])
            .arg(&path)
            .output()
            .unwrap();
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("verify OK"),
            "{output:?}"
        );
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            text.trim(),
            "subject=CN=1111,businessCategory=COM,serialNumber=DEV/ss1/COM,O=Тест,C=FI"
        );
    }
}

#[test]
fn damaged_certificates_never_panic() {
    let Some(root) = fixtures("damaged_certificates_never_panic") else {
        return;
    };
    let whole = fs::read(root.join("wire/conf/ss1-auth.pem")).unwrap();
    let der = Certificate::from_pem(&whole).unwrap().der().clone();
    for length in 0..der.len() {
        assert!(
            Certificate::from_der(der.slice(..length)).is_err(),
            "{length}"
        );
    }
    for at in 0..der.len() {
        for bit in 0..8 {
            let mut damaged = der.to_vec();
            damaged[at] ^= 1 << bit;
            if let Ok(certificate) = Certificate::from_der(damaged) {
                let _ = (
                    format!("{certificate:?}"),
                    certificate.is_signing(),
                    certificate.verify_signed_by(&certificate),
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Certificate::from_der_or_pem(&bytes);
        let _ = Certificate::from_der(bytes);
    }

    #[test]
    fn arbitrary_pem_never_panics(text in "(-----(BEGIN|END) (TRUSTED )?CERTIFICATE-----|[A-Za-z0-9+/=\n]{0,20}){0,6}") {
        let _ = Certificate::all_from_pem(text.as_bytes());
    }
}
