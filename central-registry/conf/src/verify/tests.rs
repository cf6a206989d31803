use super::*;
use crate::{Anchor, testing::fixtures};
use std::path::Path;
use time::{Duration, macros::datetime};

const GENERATOR_NOW: OffsetDateTime = datetime!(2026-05-20 17:00 UTC);

fn certificate(root: &Path, name: &str) -> Certificate {
    Certificate::from_pem(&std::fs::read(root.join("certs").join(name)).unwrap()).unwrap()
}

/// The certificates of the anchor and those that the published configurations name as sources' keys.
fn central_server_certificates(root: &Path) -> Vec<Certificate> {
    let folder = root.join("signed-directory/central-server");
    let anchor = std::fs::read(folder.join("configuration_anchor_CS_internal.xml")).unwrap();
    let anchor = Anchor::parse(anchor).unwrap();
    let mut all: Vec<_> = anchor
        .sources()
        .iter()
        .flat_map(|source| source.certificates.clone())
        .collect();
    for set in ["published", "rotated-keys"] {
        for version in 3..=6u8 {
            let generation = generation(&folder.join(format!("{set}/V{version}")));
            let shared = std::fs::read(generation.join("shared-params.xml")).unwrap();
            let shared = crate::part::parse_shared(&shared, version).unwrap();
            for source in shared.sources {
                let keys = source
                    .internal_certificates
                    .into_iter()
                    .chain(source.external_certificates);
                all.extend(keys.map(|der| Certificate::from_der(der).unwrap()));
            }
        }
    }
    all
}

/// The folder of the only generation in a version's folder.
fn generation(folder: &Path) -> std::path::PathBuf {
    let mut entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries.find(|path| path.is_dir()).unwrap()
}

#[test]
fn directories_of_real_central_servers_verify() {
    let Some(root) = fixtures("directories_of_real_central_servers_verify") else {
        return;
    };
    let certificates = central_server_certificates(&root);
    let mut count = 0;
    for set in ["published", "rotated-keys"] {
        for version in 3..=6u8 {
            for source in ["internalconf", "externalconf"] {
                let name = format!("{set}/V{version}/{source}");
                let raw = std::fs::read(root.join("signed-directory/central-server").join(&name))
                    .unwrap();
                let expires = expiry_as_written(&raw);
                let before = expires - Duration::seconds(1);
                let directory = verify_directory(&raw, &certificates, before)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(
                    (directory.version(), directory.expires()),
                    (version, expires),
                    "{name}"
                );
                let folder = generation(
                    &root.join(format!("signed-directory/central-server/{set}/V{version}")),
                );
                for part in directory.parts() {
                    let bytes = std::fs::read(folder.join(&part.file_name)).unwrap();
                    let same =
                        part.digest == jibek_certs::digest::digest(part.digest.algorithm(), &bytes);
                    assert_eq!(
                        same,
                        name != "published/V6/externalconf",
                        "{name}: one fixture is stale"
                    );
                }
                let names: Vec<_> = directory
                    .parts()
                    .iter()
                    .map(|part| part.file_name.as_str())
                    .collect();
                assert!(names.contains(&"shared-params.xml"), "{name}: {names:?}");
                assert_eq!(
                    source == "internalconf",
                    names.contains(&"private-params.xml"),
                    "{name}"
                );
                assert!(
                    verify_directory(&raw, &certificates, expires).is_ok(),
                    "{name}"
                );
                let after = expires + Duration::seconds(1);
                assert_eq!(
                    verify_directory(&raw, &certificates, after),
                    Err(DirectoryError::Expired {
                        expired_at: expires,
                        now: after
                    }),
                    "{name}"
                );
                altered_is_refused(&name, &raw, &certificates, before);
                assert!(matches!(
                    verify_directory(&raw, &[certificate(&root, "consumer.pem")], before),
                    Err(DirectoryError::UnknownCertificate { .. })
                ));
                count += 1;
            }
        }
    }
    assert_eq!(count, 16);
}

/// Removes the last CRLF of the signed bytes, and changes each byte of them in turn.
fn altered_is_refused(name: &str, raw: &[u8], certificates: &[Certificate], now: OffsetDateTime) {
    let text = std::str::from_utf8(raw).unwrap();
    let end = text.find("--\r\n\r\n--").expect("inner end") + 4;
    let mut shorter = raw.to_vec();
    shorter.drain(end..end + 2);
    assert_eq!(
        verify_directory(&shorter, certificates, now),
        Err(DirectoryError::Signature),
        "{name}"
    );
    let lines = text.replace("\r\n", "\n");
    assert!(
        verify_directory(lines.as_bytes(), certificates, now).is_err(),
        "{name}"
    );
    let start = text.find("Expire-date").unwrap();
    for at in (start..end).step_by(7) {
        let mut changed = raw.to_vec();
        changed[at] ^= 1;
        let outcome = verify_directory(&changed, certificates, now);
        assert_eq!(outcome, Err(DirectoryError::Signature), "{name} byte {at}");
    }
}

fn expiry_as_written(raw: &[u8]) -> OffsetDateTime {
    let text = std::str::from_utf8(raw).unwrap();
    let (_, rest) = text.split_once("Expire-date: ").unwrap();
    parse_date_time(rest.lines().next().unwrap()).unwrap()
}

#[test]
fn the_test_generators_directories_have_their_outcome() {
    let Some(root) = fixtures("the_test_generators_directories_have_their_outcome") else {
        return;
    };
    let signer = [certificate(&root, "consumer.pem")];
    let verify = |name: &str| {
        let raw = std::fs::read(root.join("signed-directory").join(format!("{name}.txt"))).unwrap();
        verify_directory(&raw, &signer, GENERATOR_NOW)
    };
    for name in ["test-conf-simple", "test-conf-detached"] {
        let directory = verify(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(directory.expires(), datetime!(2026-05-20 17:42:55 UTC));
        assert_eq!(directory.version(), 2);
    }
    assert_eq!(
        verify("test-conf-invalid-signature"),
        Err(DirectoryError::Signature)
    );
    assert_eq!(
        verify("test-conf-missing-signature"),
        Err(DirectoryError::Signature)
    );
    let missing = |header, within| Err(DirectoryError::MissingHeader { header, within });
    assert_eq!(
        verify("test-conf-missing-date"),
        missing("Expire-date", "the first signed part")
    );
    assert_eq!(
        verify("test-conf-malformed"),
        Err(DirectoryError::NoSignature)
    );
    assert_eq!(
        verify("conf1"),
        missing("Verification-certificate-hash", "the signature part")
    );

    let simple = std::fs::read(root.join("signed-directory/test-conf-simple.txt")).unwrap();
    let other = [certificate(&root, "producer.pem")];
    assert!(matches!(
        verify_directory(&simple, &other, GENERATOR_NOW),
        Err(DirectoryError::UnknownCertificate { .. })
    ));
}

#[test]
fn each_spelling_of_parameters_is_read() {
    for value in [
        "X; instance='A'",
        "X; instance=\"A\"",
        "X;instance=A",
        "X ; Instance = A",
    ] {
        let (first, parameters) = mime::parameters(value);
        assert_eq!(first, "X", "{value}");
        assert_eq!(
            mime::parameter(&parameters, "instance").as_deref(),
            Some("A"),
            "{value}"
        );
    }
    let (_, parameters) = mime::parameters("X; boundary=\"a;b\"; instance='c'");
    assert_eq!(
        mime::parameter(&parameters, "boundary").as_deref(),
        Some("a;b")
    );
    assert_eq!(
        mime::parameter(&parameters, "instance").as_deref(),
        Some("c")
    );
}

#[test]
fn bodies_are_the_bytes_between_delimiters() {
    let parts = split(
        b"preamble\r\n--b\r\nA: 1\r\n\r\nbody\r\n\r\n--b\nB: 2\n\nx\n--b--\nend",
        "b",
    );
    assert_eq!(parts.len(), 2);
    assert_eq!(Entity::parse(parts[0]).body, b"body\r\n");
    assert_eq!(Entity::parse(parts[1]).body, b"x");
    let folded = Entity::parse(b"Name: a\r\n\tb\r\n c\r\n\r\n");
    assert_eq!(folded.header("NAME").as_deref(), Some("a b c"));
    assert!(split(b"--bb\n\nx\n", "b").is_empty());
    assert_eq!(split(b"--b\n\nx", "b"), [&b"\nx"[..]]);
    assert_eq!(split(b"--b\n--b\n--b--", "b"), [&b""[..], &b""[..]]);
}

#[test]
fn hostile_bytes_are_refused_without_harm() {
    let junk: [&[u8]; 6] = [
        b"",
        b"\r\n\r\n",
        b"Content-Type: multipart/related; boundary=\r\n\r\n--\r\n",
        b"Content-Type: multipart/related\r\n\r\n",
        b"Content-Type: multipart/related; boundary=x\r\n\r\n--x\r\n--x--",
        &[0xff; 1000],
    ];
    for raw in junk {
        assert!(verify_directory(raw, &[], GENERATOR_NOW).is_err());
    }
}

proptest::proptest! {
    /// Whatever comes: an error, never a panic, and entities lie inside the body without its delimiters.
    #[test]
    fn arbitrary_documents_are_refused(body in "[-b\r\n:a; =\"']{0,200}") {
        for part in split(body.as_bytes(), "b") {
            let entity = Entity::parse(part);
            proptest::prop_assert!(entity.body.len() <= part.len());
        }
        let document = format!("Content-Type: multipart/related; boundary=b\r\n\r\n{body}");
        proptest::prop_assert!(verify_directory(document.as_bytes(), &[], GENERATOR_NOW).is_err());
    }
}
