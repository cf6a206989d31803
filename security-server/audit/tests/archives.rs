//! Archives of X-Road's message log, whole and damaged in every way, plain and encrypted (`signatures-and-log.md` 4.6–4.8).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests may panic, print, and write files that need not last"
)]

mod support;

use bytes::Bytes;
use jibek_certs::digest::{DigestAlgorithm, digest};
use std::{
    ffi::OsString,
    io::{Cursor, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use support::{Ran, archived, fixtures, has_program, put, verify};
use zip::{ZipWriter, write::SimpleFileOptions};

const FIRST: &str = "archives/message-archive-0.zip";
const SECOND: &str = "archives/message-archive-1.zip";

fn conf(root: &Path) -> PathBuf {
    root.join("globalconf/globalconf_cs")
}

/// An archive as X-Road writes it.
#[derive(Clone)]
struct Made {
    /// Previous link and name of the previous archive.
    previous: Option<(String, String)>,
    /// Listed, with the link.
    lines: Vec<(String, String)>,
    entries: Vec<(String, Bytes)>,
}

impl Made {
    fn of(previous: Option<&Self>, containers: &[(String, Bytes)]) -> Self {
        let previous = previous.map(|it| (it.last(), it.name()));
        let mut link = previous.clone().map(|it| it.0).unwrap_or_default();
        let hash = |bytes: &[u8]| digest(DigestAlgorithm::Sha512, bytes).to_hex();
        let lines = containers
            .iter()
            .map(|(name, bytes)| {
                link = hash(format!("{link}{}", hash(bytes)).as_bytes());
                (link.clone(), name.clone())
            })
            .collect();
        Self {
            previous,
            lines,
            entries: containers.to_vec(),
        }
    }

    fn last(&self) -> String {
        self.lines.last().unwrap().0.clone()
    }

    fn name(&self) -> String {
        format!(
            "mlog-20231023121255-20231023121255-{}.zip",
            &self.last()[..16]
        )
    }

    fn bytes(&self) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .compression_level(Some(1));
        for (name, bytes) in &self.entries {
            zip.start_file(name, options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        let (digest, name) = match &self.previous {
            None => ("-", "-"),
            Some((digest, name)) => (digest.as_str(), name.as_str()),
        };
        zip.start_file("linkinginfo", options).unwrap();
        writeln!(zip, "{digest} {name} SHA-512").unwrap();
        for (link, name) in &self.lines {
            writeln!(zip, "{link} {name}").unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn put(&self, dir: &Path) -> PathBuf {
        let path = dir.join(self.name());
        put(&path, self.bytes());
        path
    }
}

fn containers(root: &Path) -> Vec<(String, Bytes)> {
    let mut all = archived(&root.join(FIRST));
    all.extend(archived(&root.join(SECOND)));
    all
}

fn summary(ran: &Ran) -> &str {
    ran.out.lines().last().unwrap()
}

#[test]
fn both_archives_and_their_link_are_valid_in_any_order() {
    let Some(root) = fixtures("both_archives_and_their_link_are_valid_in_any_order") else {
        return;
    };
    for order in [[FIRST, SECOND], [SECOND, FIRST]] {
        let ran = verify(&conf(&root), order.map(|it| root.join(it)));
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(
            summary(&ran),
            "valid: 21 containers: 21 valid, 0 invalid, 0 cannot be judged; \
             3 archives, chains and logs: 3 valid, 0 invalid, 0 cannot be judged"
        );
        let chain = ran.out.lines().rev().nth(1).unwrap();
        let (first, second) = (chain.find(FIRST).unwrap(), chain.find(SECOND).unwrap());
        assert!(chain.starts_with("chain ") && first < second, "{chain}");
        assert!(
            chain.contains(
                "2 archives with 21 containers continue each other, from the beginning of a log"
            ),
            "{chain}"
        );
    }
    // what continues another that was not given is valid, and says so
    let ran = verify(&conf(&root), [root.join(SECOND)]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.out
            .contains("each linked to the one before, after mlog-20231023121255")
    );
    // with any other configuration the links still hold
    let ran = verify(
        &root.join("globalconf/globalconf_good2_v3"),
        [root.join("archives")],
    );
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(summary(&ran).contains("21 cannot be judged; 3 archives, chains and logs: 3 valid"));
    println!("VECTORS fixtures 23 tried, 0 left out");
}

#[test]
fn damaged_archives_say_how() {
    let Some(root) = fixtures("damaged_archives_say_how") else {
        return;
    };
    let all = containers(&root);
    let dir = tempfile::tempdir().unwrap();
    let whole = Made::of(None, &all[..6]);
    let judged = |made: &Made| {
        let path = dir.path().join("archive.zip");
        put(&path, made.bytes());
        let ran = verify(&conf(&root), [path]);
        let line = ran.out.lines().find(|it| it.starts_with("archive "));
        (ran.status, line.unwrap_or_default().to_owned(), ran.out)
    };
    let (status, _, out) = judged(&whole);
    assert_eq!(status, 0, "{out}");

    type Change = fn(&mut Made, &[(String, Bytes)]);
    let cases: [(&str, &str, Change); 9] = [
        ("removed", "archive_container_missing", |made, _| {
            made.entries.remove(2);
        }),
        ("removed with its line", "archive_link", |made, _| {
            made.entries.remove(2);
            made.lines.remove(2);
        }),
        ("reordered", "archive_order", |made, _| {
            made.entries.swap(2, 3);
        }),
        ("reordered with its lines", "archive_link", |made, _| {
            made.lines.swap(2, 3);
            made.entries.swap(2, 3);
        }),
        ("replaced", "archive_link", |made, all| {
            made.entries[2].1 = all[10].1.clone();
        }),
        ("put in", "archive_container_unlisted", |made, all| {
            made.entries.push(all[10].clone());
        }),
        ("put in with a line", "archive_link", |made, all| {
            made.entries.push(all[10].clone());
            let link = made.last();
            made.lines.push((link, all[10].0.clone()));
        }),
        ("another beginning", "archive_link", |made, _| {
            made.previous = Some(("ab".repeat(64), "mlog-x.zip".to_owned()));
        }),
        ("a digit of a link", "archive_link", |made, _| {
            let link = &mut made.lines[1].0;
            let digit = if link.starts_with('0') { "1" } else { "0" };
            link.replace_range(..1, digit);
        }),
    ];
    for (case, code, change) in cases {
        let mut made = whole.clone();
        change(&mut made, &all);
        let (status, line, out) = judged(&made);
        assert_eq!(status, 1, "{case}: {out}");
        assert!(line.contains(code), "{case}: {line}");
    }
    // a container that was changed and linked anew is caught by its own signature
    let mut forged = all[..6].to_vec();
    let other = root.join("asic/wrong-message.asice");
    forged[2].1 = std::fs::read(other).unwrap().into();
    let (status, line, out) = judged(&Made::of(None, &forged));
    assert_eq!(status, 1, "{out}");
    assert!(line.contains(": valid: 6 containers"), "{line}");
    assert!(out.contains("invalid: invalid_signature_value"), "{out}");
    // bytes that are no ZIP file any more
    for cut in [10, 1000, 20_000] {
        let mut bytes = whole.bytes();
        bytes.truncate(bytes.len() - cut);
        let path = dir.path().join("archive.zip");
        put(&path, bytes);
        assert_eq!(verify(&conf(&root), [path]).status, 1, "{cut}");
    }
}

#[test]
fn gaps_forks_and_rollbacks_are_named() {
    let Some(root) = fixtures("gaps_forks_and_rollbacks_are_named") else {
        return;
    };
    let all = containers(&root);
    let first = Made::of(None, &all[..5]);
    let second = Made::of(Some(&first), &all[5..10]);
    let third = Made::of(Some(&second), &all[10..15]);
    let fork = Made::of(Some(&first), &all[15..]);
    let other = Made::of(None, &all[15..18]);
    let other_second = Made::of(Some(&other), &all[18..]);
    let cases: [(&str, &[&Made], i32, &str, usize); 8] = [
        ("whole", &[&third, &first, &second], 0, "", 1),
        ("the end only", &[&third, &second], 0, "", 1),
        ("a gap", &[&third, &first], 2, "archives_gap", 2),
        (
            "rolled back and gone on",
            &[&first, &second, &fork],
            1,
            "archives_fork",
            2,
        ),
        (
            "the same containers again",
            &[&first, &second, &Made::of(Some(&second), &all[..5])],
            1,
            "archives_record_twice",
            1,
        ),
        (
            "two logs",
            &[&first, &second, &other, &other_second],
            0,
            "archives_second_beginning",
            2,
        ),
        (
            "two servers' archives swapped",
            &[&first, &other_second],
            2,
            "archives_gap",
            2,
        ),
        (
            "and the other way round",
            &[&second, &other],
            2,
            "archives_gap",
            2,
        ),
    ];
    for (case, archives, status, code, chains) in cases {
        let dir = tempfile::tempdir().unwrap();
        for made in archives {
            made.put(dir.path());
        }
        let ran = verify(&conf(&root), [dir.path()]);
        assert_eq!(ran.status, status, "{case}: {ran:?}");
        let found: Vec<&str> = ran
            .out
            .lines()
            .filter(|it| it.starts_with("chain "))
            .collect();
        assert_eq!(found.len(), chains, "{case}: {found:?}");
        assert!(found.concat().contains(code), "{case}: {found:?}");
    }
    // the name of another
    let dir = tempfile::tempdir().unwrap();
    put(&dir.path().join(other.name()), first.bytes());
    let ran = verify(&conf(&root), [dir.path()]);
    assert_eq!(ran.status, 0);
    assert!(ran.out.contains("archive_misnamed"), "{ran:?}");
    let strict = [OsString::from("--strict"), dir.path().into()];
    assert_eq!(verify(&conf(&root), strict).status, 1);
}

#[test]
fn bundles_are_judged_container_by_container() {
    let Some(root) = fixtures("bundles_are_judged_container_by_container") else {
        return;
    };
    let all = containers(&root);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("asic.zip");
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in &all[..3] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    let bytes = zip.finish().unwrap().into_inner();
    put(&path, &bytes);
    let ran = verify(&conf(&root), [&path]);
    assert_eq!((ran.status, ran.out.lines().count()), (0, 5), "{ran:?}");
    assert!(ran.out.contains("note bundle_without_links"), "{ran:?}");
    let strict = [OsString::from("--strict"), path.into()];
    assert_eq!(verify(&conf(&root), strict).status, 1);
    // an archive that lost its links is no bundle
    let path = dir.path().join(Made::of(None, &all[..3]).name());
    put(&path, &bytes);
    let ran = verify(&conf(&root), [path]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.out.contains("archive_no_linking_info"), "{ran:?}");
}

/// A key ring in a directory of its own.
struct Ring(tempfile::TempDir);

impl Ring {
    fn new(algorithm: &str, usage: &str, pass_phrase: &str) -> Self {
        let ring = Self(tempfile::tempdir().unwrap());
        ring.gpg(
            &[
                "--passphrase",
                pass_phrase,
                "--quick-gen-key",
                "Archive <archive@example.org>",
                algorithm,
                usage,
                "never",
            ],
            pass_phrase,
        );
        if algorithm == "ed25519" {
            let listed = ring.gpg(&["--list-keys", "--with-colons"], pass_phrase);
            let listed = String::from_utf8(listed).unwrap();
            let print = listed.lines().find_map(|it| it.strip_prefix("fpr:"));
            let print = print.unwrap().trim_matches(':');
            let add = [
                "--passphrase",
                pass_phrase,
                "--quick-add-key",
                print,
                "cv25519",
                "encr",
                "never",
            ];
            ring.gpg(&add, pass_phrase);
        }
        ring
    }

    fn gpg(&self, arguments: &[&str], pass_phrase: &str) -> Vec<u8> {
        let output = Command::new("gpg")
            .arg("--homedir")
            .arg(self.0.path())
            .args(["--batch", "--no-tty", "--pinentry-mode", "loopback"])
            .args(["--passphrase", pass_phrase])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output.stdout
    }

    fn secret(&self, dir: &Path, pass_phrase: &str) -> PathBuf {
        let path = dir.join("secret.asc");
        put(
            &path,
            self.gpg(&["--armor", "--export-secret-keys"], pass_phrase),
        );
        path
    }

    /// As the archiver does it (4.8).
    fn encrypt(&self, file: &Path, into: &Path, pass_phrase: &str) -> PathBuf {
        let mut name = file.file_name().unwrap().to_owned();
        name.push(".gpg");
        let (path, out) = (file.to_str().unwrap(), into.join(name));
        self.gpg(
            &[
                "--yes",
                "--encrypt",
                "--sign",
                "--no-auto-key-locate",
                "--trust-model",
                "always",
                "--compress-algo",
                "none",
                "--cipher-algo",
                "AES-256",
                "--digest-algo",
                "SHA256",
                "--default-recipient-self",
                "--output",
                out.to_str().unwrap(),
                path,
            ],
            pass_phrase,
        );
        out
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(self.0.path())
            .args(["--kill", "all"])
            .status();
    }
}

#[test]
fn encrypted_archives_are_decrypted_on_the_way() {
    let test = "encrypted_archives_are_decrypted_on_the_way";
    let Some(root) = fixtures(test) else {
        return;
    };
    if !has_program(test, "gpg", &["--version"]) {
        return;
    }
    let stranger = Ring::new("ed25519", "default", "");
    for (algorithm, usage, pass_phrase) in [
        ("ed25519", "default", ""),
        ("rsa2048", "sign,encr", "opened so"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (keys, archives) = (dir.path().join("keys"), dir.path().join("archives"));
        std::fs::create_dir(&archives).unwrap();
        let ring = Ring::new(algorithm, usage, pass_phrase);
        let key = ring.secret(&keys, pass_phrase);
        let encrypted =
            [FIRST, SECOND].map(|it| ring.encrypt(&root.join(it), &archives, pass_phrase));
        let phrase = keys.join("phrase");
        put(&phrase, format!("{pass_phrase}\n"));
        let with = |key: &Path, phrase: &Path, file: &Path| {
            verify(
                &conf(&root),
                [
                    OsString::from("--pgp-key"),
                    key.into(),
                    "--pgp-passphrase-file".into(),
                    phrase.into(),
                    file.into(),
                ],
            )
        };
        let ran = with(&key, &phrase, &archives);
        assert_eq!(ran.status, 0, "{algorithm}: {ran:?}");
        assert!(
            summary(&ran).contains("21 valid, 0 invalid, 0 cannot be judged; 3 archives"),
            "{ran:?}"
        );
        assert!(ran.out.contains("encrypted file signed by "), "{ran:?}");

        let ran = verify(&conf(&root), [&archives]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.out.contains("it is encrypted, and no key was given"));
        let other = stranger.secret(&dir.path().join("other"), "");
        let ran = with(&other, &phrase, &archives);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(
            ran.out.contains("no key that was given opens it"),
            "{ran:?}"
        );
        if !pass_phrase.is_empty() {
            let wrong = keys.join("wrong");
            put(&wrong, "not so");
            let ran = with(&key, &wrong, &archives);
            assert_eq!(ran.status, 2, "{ran:?}");
            assert!(ran.out.contains("its pass phrase is another"), "{ran:?}");
            let output = Command::new(env!("CARGO_BIN_EXE_jibek-audit"))
                .arg("verify")
                .arg("--conf")
                .arg(conf(&root))
                .arg("--pgp-key")
                .args([&key, &archives])
                .env("JIBEK_AUDIT_PGP_PASSPHRASE", pass_phrase)
                .output()
                .unwrap();
            assert_eq!(Ran::of(&output).status, 0, "{output:?}");
        }
        // a bit of what is encrypted
        let mut bytes = std::fs::read(&encrypted[0]).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        put(&encrypted[0], bytes);
        let ran = with(&key, &phrase, &encrypted[0]);
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.out.contains("pgp_damaged"), "{ran:?}");
    }
}
