//! What we write, read by readers that are stricter than X-Road's.

use jibek_certs::signer::{KeyKind, SignatureAlgorithm, SoftKey};
use std::{
    io::Write,
    path::Path,
    process::{Command, Output},
};

use super::*;
use crate::{fixtures, scene::Scene};

/// `xmlsec1` verifies our signatures: the value over SignedInfo, the same-document reference, and the detached one, whose URI it is
/// told the file of. It cannot judge time-stamps, chains and certificates as X-Road does, and it knows no PSS.
#[test]
fn xmlsec_verifies_what_we_seal() {
    let mut tried = 0;
    for kind in [
        KeyKind::Rsa2048,
        KeyKind::Rsa3072,
        KeyKind::EcP256,
        KeyKind::EcP384,
        KeyKind::EcP521,
    ] {
        let scene = Scene::new(kind);
        for bodies in [&[][..], &["body"], &["one", "two"]] {
            let sealed = seal(&scene.identity, &[parts("message", bodies)], scene.now)
                .unwrap()
                .remove(0);
            let folder = tempfile::tempdir().unwrap();
            let file = |name: &str, content: &[u8]| write(&folder.path().join(name), content);
            file("signature.xml", &sealed.signature);
            file("certificate.der", scene.identity.certificate().der());
            let covered = sealed.hash_chain_result.as_deref().unwrap_or(b"message");
            file("covered", covered);
            file("other", b"another");
            let uri = match sealed.hash_chain_result {
                Some(_) => "/sig-hashchainresult.xml",
                None => "/message.xml",
            };
            let Some(good) = xmlsec(folder.path(), uri, "covered") else {
                return;
            };
            let said = String::from_utf8_lossy(&good.stderr);
            assert!(good.status.success(), "{kind:?}: {said}");
            assert!(
                said.contains("SignedInfo References (ok/all): 2/2"),
                "{said}"
            );
            let bad = xmlsec(folder.path(), uri, "other").unwrap();
            assert!(!bad.status.success(), "{kind:?}");
            tried += 2;
        }
    }
    println!("VECTORS xmlsec1 {tried} tried, 3 left out: it knows no RSA-PSS (three digests)");
}

fn xmlsec(folder: &Path, uri: &str, file: &str) -> Option<Output> {
    let output = Command::new("xmlsec1")
        .current_dir(folder)
        .args(["--verify", "--pubkey-cert-der", "certificate.der"])
        .args([
            "--id-attr:Id",
            "http://uri.etsi.org/01903/v1.3.2#:SignedProperties",
        ])
        .args([&format!("--url-map:{uri}"), file, "signature.xml"])
        .output();
    if output.is_err() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "no xmlsec1"
        );
        println!("SKIPPED xmlsec_verifies_what_we_seal: no xmlsec1");
    }
    output.ok()
}

fn write(path: &Path, content: &[u8]) {
    std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(path)
        .unwrap()
        .write_all(content)
        .unwrap();
}

/// What does not depend on keys, times and messages, byte for byte; and, over the real server's canonical form of it, that only
/// line feeds, line breaks in base64 and the form of empty elements differ from what X-Road's signer writes.
#[test]
fn written_bytes_are_pinned() {
    let Some(file) = fixtures::read("written_bytes_are_pinned", "asic/valid-batch-ts.asice") else {
        return;
    };
    let real = Container::read(&file, &ContainerLimits::default())
        .unwrap()
        .entry("META-INF/signatures.xml")
        .unwrap()
        .clone();
    let scene = Scene::new(KeyKind::Rsa2048);
    let ours = seal(&scene.identity, &[parts("message", &[])], scene.now)
        .unwrap()
        .remove(0)
        .signature;
    let (real, ours) = (skeleton(&real), skeleton(&ours));
    assert_eq!(ours, real);
    assert!(
        ours.starts_with(
            "<asic:XAdESSignatures xmlns:asic=\"http://uri.etsi.org/02918/v1.2.1#\" xmlns:ds="
        ),
        "{ours}"
    );
}

/// The canonical form of a document with the texts of variable elements, and white space between elements, taken out.
fn skeleton(document: &[u8]) -> String {
    let tree = xml::parse(document).unwrap();
    let mut form =
        String::from_utf8(canonicalize(tree.root(), &Canonicalization::Inclusive)).unwrap();
    form = form.replace("&#xD;", "").replace('\n', "");
    for name in [
        "ds:DigestValue",
        "ds:SignatureValue Id=\"signature-value\"",
        "ds:X509Certificate",
        "xades:SigningTime",
        "ds:X509IssuerName",
        "ds:X509SerialNumber",
        "xades:EncapsulatedOCSPValue Id=\"ocsp-response-1\"",
    ] {
        let (start, end) = (
            format!("<{name}>"),
            format!("</{}>", name.split(' ').next().unwrap()),
        );
        let mut kept = String::new();
        let mut rest = form.as_str();
        while let Some((before, behind)) = rest.split_once(&start) {
            kept.push_str(before);
            kept.push_str(&start);
            rest = &behind[behind.find(&end).unwrap()..];
        }
        form = format!("{kept}{rest}");
    }
    form
}

/// Every key and algorithm of X-Road's is taken, on the wire and in a container, values of other even lengths too.
#[test]
fn every_algorithm_is_taken() {
    use crate::court::{Court, REQUEST, code, findings};
    use crate::open::{SignedParts, open};
    use base64::{Engine, engine::general_purpose::STANDARD};
    use jibek_certs::digest::DigestAlgorithm;

    let message = sha512(REQUEST.as_bytes());
    let mut tried = 0;
    for kind in [
        KeyKind::Rsa2048,
        KeyKind::Rsa3072,
        KeyKind::EcP256,
        KeyKind::EcP384,
        KeyKind::EcP521,
    ] {
        let pkcs8 = SoftKey::generate(kind).unwrap().to_pkcs8_der();
        for algorithm in SignatureAlgorithm::ALL {
            let Ok(key) = SoftKey::from_pkcs8_der(&pkcs8)
                .unwrap()
                .with_algorithm(algorithm)
            else {
                continue;
            };
            let mut court = Court::new();
            let stamps = std::mem::take(&mut court.scene.trust.stamps);
            court.scene = Scene::of(key);
            court.scene.trust.stamps = stamps;
            let signed = court.scene.sign(&[
                ("/message.xml", Some(message)),
                ("#signed-properties", None),
            ]);
            let text = String::from_utf8(signed.to_vec()).unwrap();
            assert!(text.contains(algorithm.uri()));
            let mut forms = vec![(text.clone(), true)];
            let start = text.find("signature-value\">").unwrap() + "signature-value\">".len();
            let end = text.find("</ds:SignatureValue>").unwrap();
            let value = STANDARD.decode(&text[start..end]).unwrap();
            let with = |value: &[u8]| {
                format!(
                    "{}{}{}",
                    &text[..start],
                    STANDARD.encode(value),
                    &text[end..]
                )
            };
            if algorithm.is_ecdsa() {
                let (r, s) = value.split_at(value.len() / 2);
                if value.len() < 132 {
                    forms.push((with(&[&[0][..], r, &[0][..], s].concat()), true));
                }
                forms.push((with(&[r, &s[..s.len() - 1]].concat()), false));
                let der = jibek_certs::signer::ecdsa_raw_to_der(&value).unwrap();
                forms.push((with(&der), false));
            } else {
                forms.push((with(&[&[0][..], &value[..]].concat()), false));
            }
            for (document, is_good) in forms {
                let document = Bytes::from(document);
                let parts = SignedParts {
                    signature: &document,
                    hash_chain_result: None,
                    hash_chain: None,
                    message: &message,
                    attachments: &[],
                };
                let opened = open(
                    &parts,
                    &court.scene.sender,
                    &court.scene.trust,
                    court.scene.now,
                );
                assert_eq!(
                    opened.is_ok(),
                    is_good,
                    "{kind:?} {algorithm:?}: {opened:?}"
                );
                let contained =
                    court.contain_signature(document, court.scene.now, DigestAlgorithm::Sha512);
                let verdict = court.judge(&contained);
                assert_eq!(
                    code(&verdict) == "valid",
                    is_good,
                    "{kind:?} {algorithm:?}: {verdict:?}"
                );
                if is_good {
                    let weak = algorithm.weakness().map(|_| "weak_algorithm");
                    assert_eq!(findings(&verdict), Vec::from_iter(weak), "{algorithm:?}");
                }
            }
            tried += 1;
        }
    }
    assert!(tried >= 20, "{tried}");
}
