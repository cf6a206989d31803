//! Our signed directories beside those of real central servers, judged by OpenSSL.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic and say what it skips"
)]

#[path = "common/world.rs"]
mod world;

use std::{path::Path, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use jibek_certs::{
    digest::{DigestAlgorithm, digest},
    signer::KeyKind,
};
use jibek_conf::{
    atomic_write,
    verify::{DirectoryError, verify_directory},
};
use jibek_registry::keys::{Keys, Kind};
use time::macros::datetime;
use world::{World, fixtures};

/// A directory with all that differs from one to the next replaced by words.
fn skeleton(directory: &str) -> Vec<String> {
    let boundaries: Vec<&str> = directory
        .split("boundary=")
        .skip(1)
        .map(|rest| rest.split("\r\n").next().unwrap())
        .collect();
    let [outer, inner] = boundaries[..] else {
        panic!("two boundaries: {boundaries:?}")
    };
    assert!([outer, inner].iter().all(|boundary| boundary.len() == 20));
    let text = directory.replace(outer, "OUTER").replace(inner, "INNER");
    let line = |line: &str| match line.split_once(": ") {
        Some(("Expire-date", date)) => {
            assert_eq!(date.len(), "2035-11-11T03:07:40Z".len());
            "Expire-date".to_owned()
        }
        Some(("Content-location", location)) => {
            let (head, rest) = location.split_at("/V6/".len());
            let (stamp, name) = rest.split_once('/').unwrap();
            assert!(
                stamp.len() == 23 && stamp.bytes().all(|byte| byte.is_ascii_digit()),
                "{location}"
            );
            format!("Content-location: {head}STAMP/{name}")
        }
        Some(("Verification-certificate-hash", value)) => {
            format!(
                "Verification-certificate-hash: HASH;{}",
                value.split_once(';').unwrap().1
            )
        }
        Some(("Content-identifier", value)) => value.split_once(';').unwrap().0.to_owned(),
        None if line.len() > 60 => {
            assert!(STANDARD.decode(line).is_ok(), "{line}");
            "BASE64".to_owned()
        }
        _ => line.to_owned(),
    };
    text.split("\r\n").map(line).collect()
}

#[tokio::test]
async fn our_directories_have_the_lines_of_a_central_servers() {
    let Some(root) = fixtures("our_directories_have_the_lines_of_a_central_servers") else {
        return;
    };
    let world = World::new("rsa2048");
    let _bound = world.bind().await;
    for kind in ["internalconf", "externalconf"] {
        let theirs = root
            .join("signed-directory/central-server/published/V6")
            .join(kind);
        let theirs = std::fs::read_to_string(theirs).unwrap();
        let ours = std::fs::read_to_string(world.folder.path().join("state/public/V6").join(kind))
            .unwrap();
        assert_eq!(skeleton(&ours), skeleton(&theirs), "{kind}");
    }
}

#[tokio::test]
async fn openssl_accepts_our_signatures_and_keys() {
    for key in ["rsa2048", "p256"] {
        let world = World::new(key);
        let _bound = world.bind().await;
        let state = world.folder.path().join("state");
        for kind in ["internal", "external"] {
            let certificate = state.join(format!("keys/{kind}-signing-certificate.pem"));
            let Some(text) = openssl(&["x509", "-noout", "-text", "-in", path(&certificate)])
            else {
                println!("SKIPPED openssl_accepts_our_signatures_and_keys: openssl absent");
                return;
            };
            for expected in [
                format!("Subject: CN = {kind}SigningKey"),
                "Serial Number: 1 (0x1)".to_owned(),
                "Not Before: Jan  1 00:00:00 1970 GMT".to_owned(),
                "Not After : Jan  1 00:00:00 2038 GMT".to_owned(),
                "X509v3 Key Usage: critical\n                Non Repudiation, Certificate Sign"
                    .to_owned(),
                "X509v3 Basic Constraints: critical\n                CA:TRUE".to_owned(),
            ] {
                assert!(text.contains(&expected), "{expected}: {text}");
            }
            let public =
                openssl(&["x509", "-noout", "-pubkey", "-in", path(&certificate)]).unwrap();
            for version in 3..=6 {
                let directory =
                    std::fs::read_to_string(state.join(format!("public/V{version}/{kind}conf")))
                        .unwrap();
                let (signed, signature) = taken_apart(&directory);
                for (name, bytes) in [
                    ("public", public.as_bytes()),
                    ("signed", signed.as_bytes()),
                    ("signature", &signature),
                ] {
                    atomic_write(world.folder.path().join(name), bytes).unwrap();
                }
                let file = |name: &str| world.folder.path().join(name);
                let verdict = openssl(&[
                    "dgst",
                    "-sha512",
                    "-verify",
                    path(&file("public")),
                    "-signature",
                    path(&file("signature")),
                    path(&file("signed")),
                ]);
                assert_eq!(
                    verdict.unwrap().trim(),
                    "Verified OK",
                    "{key} {kind} version {version}"
                );
            }
        }
    }
}

/// Signed bytes and signature, found without the code under test.
fn taken_apart(directory: &str) -> (&str, Vec<u8>) {
    let inner = directory
        .split("boundary=")
        .nth(2)
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap();
    let start = directory.find(&format!("--{inner}\r\n")).unwrap();
    let closing = format!("--{inner}--\r\n");
    let end = directory.find(&closing).unwrap() + closing.len();
    let signature = directory
        .rsplit("\r\n")
        .find(|line| line.len() > 60)
        .unwrap();
    (&directory[start..end], STANDARD.decode(signature).unwrap())
}

fn openssl(arguments: &[&str]) -> Option<String> {
    let output = Command::new("openssl").args(arguments).output().ok()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A configuration proxy writes LF after its first header block and CRLF elsewhere, lower-case names, double or no quotes and
/// fractions of seconds; a test generator LF only and no closing delimiter.
#[test]
fn directories_of_other_writers_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [KeyKind::Rsa2048, KeyKind::EcP256] {
        let keys = Keys::open(&folder.path().join(format!("{kind:?}")), kind).unwrap();
        let certificates = [keys.of(Kind::Internal).certificate().clone()];
        let hash = keys
            .of(Kind::Internal)
            .certificate()
            .digest(DigestAlgorithm::Sha512)
            .to_base64();
        let algorithm = keys.of(Kind::Internal).algorithm().uri();
        let digest = digest(DigestAlgorithm::Sha512, b"part").to_base64();
        let entry = format!(
            "content-type: application/octet-stream\r\ncontent-transfer-encoding: base64\r\n\
             content-identifier: SHARED-PARAMETERS; instance=\"KG\"\r\ncontent-location: /1/KG/V6/2/shared-params.xml\r\n\
             hash-algorithm-id: http://www.w3.org/2001/04/xmlenc#sha512\r\n\r\n{digest}"
        );
        let proxy = format!(
            "--inner\r\nexpire-date: 2026-11-23T05:10:00.123Z\r\nVersion: 6\r\n\r\n--inner\r\n{entry}\r\n--inner--\r\n"
        );
        let generator = format!(
            "--inner\nExpire-date: 2026-11-23T11:10:00.123+06:00\n\n\n--inner\n{}",
            entry.replace("\r\n", "\n")
        );
        for (signed, first, line, version) in
            [(proxy, "\n\n", "\r\n", 6), (generator, "\n\n", "\n", 2)]
        {
            let signature =
                STANDARD.encode(keys.of(Kind::Internal).sign(signed.as_bytes()).unwrap());
            let document = format!(
                "content-type: multipart/related; type=\"multipart/mixed\"; charset=UTF-8; boundary=\"outer\"{first}\
                 --outer{line}content-type: multipart/mixed; charset=UTF-8; boundary=inner{line}{line}{signed}{line}\
                 --outer{line}content-type: application/octet-stream{line}content-transfer-encoding: base64{line}\
                 signature-algorithm-id: {algorithm}{line}verification-certificate-hash: {hash};{line}\
                 \thash-algorithm-id=http://www.w3.org/2001/04/xmlenc#sha512{line}{line}{signature}{line}--outer--{line}"
            );
            let verify = |document: &str| {
                verify_directory(
                    document.as_bytes(),
                    &certificates,
                    datetime!(2026-11-23 05:10 UTC),
                )
            };
            let directory = verify(&document).unwrap_or_else(|error| panic!("{error}: {document}"));
            assert_eq!(directory.expires(), datetime!(2026-11-23 05:10:00.123 UTC));
            assert_eq!(directory.version(), version);
            let [part] = directory.parts() else {
                panic!("one part")
            };
            assert_eq!(part.instance.as_deref(), Some("KG"));
            assert_eq!(part.file_name, "shared-params.xml");
            let third = document.replace("--outer--", "--outer\r\nA: b\r\n\r\nx\r\n--outer--");
            assert_eq!(
                verify(&third),
                Err(DirectoryError::TooManyParts { parts: 3 })
            );
            for algorithm in ["http://www.w3.org/2000/09/xmldsig#rsa-sha1", "none"] {
                let weak = document.replace(keys.of(Kind::Internal).algorithm().uri(), algorithm);
                assert!(
                    matches!(verify(&weak), Err(DirectoryError::Algorithm { .. })),
                    "{algorithm}"
                );
            }
            let headless = document.split_once(first).unwrap().1;
            assert!(
                verify(headless).is_err(),
                "a directory begins with its own content type"
            );
        }
    }
}
