//! Logs of our servers: each record judged as the container that would be made of it, live, copied and meddled with.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests may panic, and write files that need not last"
)]

mod support;

use bytes::Bytes;
use jibek_audit::read_configuration;
use jibek_certs::digest::{DigestAlgorithm, digest};
use jibek_evidence::{
    container::{Container, ContainerLimits, Direction as Sent},
    verify::{Outcome, verify_container},
};
use jibek_msglog::{
    Direction, Kind, LogConfig, MessageLog, RecordHead, RecordId, RecordParts, Side, StampBatch,
    fs::OsFs,
};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use support::{archived, fixtures, verify};

fn conf(root: &Path) -> PathBuf {
    root.join("globalconf/globalconf_cs")
}

/// A record and its stamp, from a container of a real server.
struct Entry {
    head: RecordHead,
    parts: RecordParts,
    body: Option<Bytes>,
    token: Bytes,
    result: Bytes,
    chain: Bytes,
}

/// The containers of the second archive, which share one stamp.
fn entries(root: &Path) -> Vec<Entry> {
    let configuration = read_configuration(&conf(root)).unwrap();
    archived(&root.join("archives/message-archive-1.zip"))
        .iter()
        .zip(0..)
        .map(|((_, bytes), time)| {
            let container = Container::read(bytes, &ContainerLimits::default()).unwrap();
            let verdict = verify_container(&container, &configuration);
            let Outcome::Valid(report) = verdict.outcome else {
                panic!("{verdict:?}")
            };
            let facts = report.message();
            let message = container.entry("message.xml").unwrap().clone();
            let mut message_sha512 = [0; 64];
            message_sha512.copy_from_slice(digest(DigestAlgorithm::Sha512, &message).as_bytes());
            let entry = |name: &str| container.entry(name).cloned();
            Entry {
                head: RecordHead {
                    time_ms: 1_698_063_448_000 + time,
                    side: Side::Consumer,
                    direction: match facts.direction() {
                        Sent::Request => Direction::Request,
                        Sent::Response => Direction::Response,
                    },
                    kind: Kind::Soap,
                    message_id: facts.message_id().to_owned(),
                    request_id: String::new(),
                    client: facts.client().clone(),
                    service: facts.service().clone(),
                    local_party: facts.client().clone(),
                    status: None,
                },
                parts: RecordParts {
                    message,
                    message_sha512,
                    signature: entry("META-INF/signatures.xml").unwrap(),
                    hash_chain_result: entry("sig-hashchainresult.xml"),
                    hash_chain: entry("sig-hashchain.xml"),
                },
                body: entry("attachment1"),
                token: entry("META-INF/timestamp.tst").unwrap(),
                result: entry("ts-hashchainresult.xml").unwrap(),
                chain: entry("ts-hashchain.xml").unwrap(),
            }
        })
        .collect()
}

/// Writes a log; the first `stamped` records get their stamp. The server still has it open.
async fn written(dir: &Path, entries: &[Entry], stamped: usize) -> (MessageLog, Vec<RecordId>) {
    let config = LogConfig {
        segment_bytes: 64 << 10,
        inline_body_bytes: 100,
        min_free_bytes: 0,
        chores_thread: false,
        ..LogConfig::new(dir)
    };
    let (log, _) = MessageLog::open(config, OsFs::shared()).unwrap();
    let mut ids = Vec::new();
    for entry in entries {
        let mut draft = log.begin();
        if let Some(body) = &entry.body {
            draft.append_body(1, body.clone()).await.unwrap();
            draft.finish_body(1, [0; 64]).unwrap();
        }
        let committed = draft.commit(entry.head.clone(), entry.parts.clone()).await;
        ids.push(committed.unwrap().id());
    }
    if stamped > 0 {
        let chains = ids.iter().zip(entries).take(stamped);
        log.stamp(StampBatch {
            token: entries[0].token.clone(),
            hash_chain_result: entries[0].result.clone(),
            chains: chains.map(|(id, it)| (*id, it.chain.clone())).collect(),
        })
        .await
        .unwrap();
    }
    (log, ids)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_live_log_is_judged_and_left_alone() {
    let Some(root) = fixtures("a_live_log_is_judged_and_left_alone") else {
        return;
    };
    let entries = entries(&root);
    let count = entries.len();
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (log, _) = written(dir.path(), &entries, count).await;
        let before = listing(dir.path());
        let ran = verify(&conf(&root), [dir.path()]);
        assert_eq!(ran.status, 0, "{ran:?}");
        let lines: Vec<&str> = ran.out.lines().collect();
        assert_eq!(lines.len(), count + 2, "{ran:?}");
        assert!(
            lines[count].starts_with("log ")
                && lines[count].contains(&format!(": valid: {count} records in ")),
            "{ran:?}"
        );
        assert!(lines[0].contains("-request-"), "{ran:?}");
        assert_eq!(listing(dir.path()), before);
        // the directory above finds it too
        let ran = verify(
            &conf(&root),
            [dir.path().parent().unwrap().join(dir.path())],
        );
        assert_eq!(ran.status, 0);
        log.close().await;
        // a copy that cannot be written
        let copy = tempfile::tempdir().unwrap();
        let shell = format!(
            "cp -r '{0}/.' '{1}' && chmod -R a-w '{1}'",
            dir.path().display(),
            copy.path().display()
        );
        assert!(
            Command::new("sh")
                .args(["-c", &shell])
                .status()
                .unwrap()
                .success()
        );
        let again = verify(&conf(&root), [copy.path()]);
        assert_eq!(again.status, 0, "{again:?}");
        let back = format!("chmod -R u+w '{}'", copy.path().display());
        Command::new("sh").args(["-c", &back]).status().unwrap();
    });
}

/// Names and lengths of all files.
fn listing(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            all.extend(listing(&entry.path()));
        }
        all.push((entry.path(), entry.metadata().unwrap().len()));
    }
    all.sort();
    all
}

#[test]
fn records_without_stamp_cannot_be_judged_yet() {
    let Some(root) = fixtures("records_without_stamp_cannot_be_judged_yet") else {
        return;
    };
    let entries = entries(&root);
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (log, _) = written(dir.path(), &entries[..6], 4).await;
        let ran = verify(&conf(&root), [dir.path()]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(
            ran.out
                .contains("cannot be judged: the record has no time-stamp yet")
        );
        assert!(
            ran.out
                .contains("6 containers: 4 valid, 0 invalid, 2 cannot be judged")
        );
        assert!(ran.out.contains("2 not stamped yet"), "{ran:?}");
        log.close().await;
    });
}

/// What somebody could do who may write to the log, and forges its checksums, too.
#[test]
fn a_log_that_was_meddled_with_is_found_out() {
    let Some(root) = fixtures("a_log_that_was_meddled_with_is_found_out") else {
        return;
    };
    type Change = fn(&mut [Entry]);
    let cases: [(&str, i32, &str, Change); 5] = [
        ("another message", 1, "invalid", |entries| {
            entries[3].parts.message = entries[5].parts.message.clone();
        }),
        ("a byte of a message", 1, "invalid", |entries| {
            let mut bytes = entries[3].parts.message.to_vec();
            let last = bytes.len() - 3;
            bytes[last] ^= 1;
            entries[3].parts.message = bytes.into();
        }),
        (
            "the stamp of another",
            1,
            "malformed_signature",
            |entries| {
                entries[3].chain = entries[5].chain.clone();
            },
        ),
        ("another signature", 1, "invalid", |entries| {
            entries[3].parts.signature = entries[5].parts.signature.clone();
        }),
        ("filed under another id", 0, "record_differs", |entries| {
            entries[3].head.message_id = "another".to_owned();
        }),
    ];
    for (case, status, word, change) in cases {
        let mut entries = entries(&root);
        change(&mut entries);
        let dir = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let (log, _) = written(dir.path(), &entries, entries.len()).await;
            log.close().await;
        });
        let ran = verify(&conf(&root), [dir.path()]);
        assert_eq!(ran.status, status, "{case}: {ran:?}");
        assert!(ran.out.contains(word), "{case}: {ran:?}");
        let strict = verify(&conf(&root), ["--strict".as_ref(), dir.path().as_os_str()]);
        assert_eq!(strict.status, 1, "{case}");
    }
}

#[test]
fn bodies_that_are_gone_are_told() {
    let Some(root) = fixtures("bodies_that_are_gone_are_told") else {
        return;
    };
    let mut entries = entries(&root);
    entries[2].body = Some(Bytes::from(vec![7; 5000]));
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (log, ids) = written(dir.path(), &entries, entries.len()).await;
        let ran = verify(&conf(&root), [dir.path()]);
        assert!(ran.out.contains("attachment_uncovered"), "{ran:?}");
        std::fs::remove_file(dir.path().join("bodies/0000000000000001.body")).unwrap();
        let ran = verify(&conf(&root), [dir.path()]);
        assert!(
            ran.out.contains("note body_missing: body 1 is not there"),
            "{ran:?}"
        );
        // dropped by policy it is no loss
        log.drop_bodies(ids[2]).await.unwrap();
        let ran = verify(&conf(&root), [dir.path()]);
        assert!(!ran.out.contains("body_missing"), "{ran:?}");
        log.close().await;
    });
}

#[test]
fn segments_of_two_servers_do_not_mix() {
    let Some(root) = fixtures("segments_of_two_servers_do_not_mix") else {
        return;
    };
    let entries = entries(&root);
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    runtime().block_on(async {
        let (log, _) = written(one.path(), &entries, entries.len()).await;
        log.close().await;
        let reversed: Vec<Entry> = self::entries(&root).into_iter().rev().collect();
        let (log, _) = written(other.path(), &reversed, entries.len()).await;
        log.close().await;
    });
    assert_eq!(verify(&conf(&root), [one.path(), other.path()]).status, 0);
    let segments = |dir: &Path| {
        listing(dir)
            .into_iter()
            .filter(|(path, _)| path.extension().is_some_and(|it| it == "segment"))
            .count()
    };
    assert!(segments(one.path()) > 1, "{:?}", listing(one.path()));
    assert!(segments(other.path()) > 1, "{:?}", listing(other.path()));
    // one segment of the other server, under the same name
    let second = "0000000000000002.segment";
    std::fs::copy(other.path().join(second), one.path().join(second)).unwrap();
    let ran = verify(&conf(&root), [one.path()]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.out.contains("invalid: log_damaged: "), "{ran:?}");
}
