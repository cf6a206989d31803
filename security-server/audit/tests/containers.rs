//! Verdicts on containers of real security servers, by the configuration of their time (`signatures-and-log.md` 7.1).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may panic, their helpers too"
)]

use bytes::Bytes;
use jibek_audit::{
    Judged, Line, Standing, Style, as_json, as_line, judge_file, read_configuration, summary,
};
use jibek_evidence::{
    container::{Container, ContainerLimits, ContainerParts, write_container},
    verify::{Outcome, verify_container},
};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use time::OffsetDateTime;

/// File, standing, code, findings. The numbers are those of the table.
const VERDICTS: [(u8, &str, Standing, &str, &[&str]); 19] = [
    (1, "asic/valid-signed-message", Standing::Valid, "", &[]),
    (
        2,
        "asic/valid-signed-hashchain",
        Standing::Valid,
        "",
        &["attachment_absent"],
    ),
    (3, "asic/valid-batch-ts", Standing::Valid, "", &[]),
    (4, "asic/valid-non-batch-rest", Standing::Valid, "", &[]),
    (
        5,
        "asic/valid-non-batch-soap-attachments",
        Standing::Valid,
        "",
        &[],
    ),
    (
        6,
        "asic/invalid-not-signed-hashchain",
        Standing::Valid,
        "",
        &["chain_unreferenced", "entry_unknown", "entry_unknown"],
    ),
    (
        7,
        "asic/wrong-message",
        Standing::Invalid,
        "invalid_signature_value",
        &[],
    ),
    (
        8,
        "asic/invalid-digest",
        Standing::Invalid,
        "invalid_signature_value",
        &[],
    ),
    (
        9,
        "asic/invalid-signed-hashchain",
        Standing::Invalid,
        "malformed_signature.invalid_hash_chain_ref",
        &[],
    ),
    (
        10,
        "asic/invalid-hashchain-modified-message",
        Standing::Invalid,
        "malformed_signature.hashchain_unused_inputs",
        &[],
    ),
    (
        11,
        "asic/invalid-incorrect-references",
        Standing::Invalid,
        "malformed_signature",
        &[],
    ),
    (
        12,
        "asic/invalid-ts-hashchainresult",
        Standing::Invalid,
        "malformed_signature",
        &[],
    ),
    (
        13,
        "asic/attachments",
        Standing::Invalid,
        "asic_message_not_found",
        &[],
    ),
    (
        14,
        "asic-core/valid-signed-message",
        Standing::CannotJudge,
        "",
        &[],
    ),
    (
        15,
        "asic-core/valid-signed-message-with-attachments",
        Standing::Valid,
        "",
        &[],
    ),
    (
        16,
        "asic-core/no-mimetype",
        Standing::Invalid,
        "asic_mime_type_not_found",
        &[],
    ),
    (
        17,
        "asic-core/no-message",
        Standing::Invalid,
        "asic_message_not_found",
        &[],
    ),
    (
        18,
        "asic-core/no-signature",
        Standing::Invalid,
        "asic_signature_not_found",
        &[],
    ),
    (
        19,
        "asic-core/not-asic",
        Standing::Invalid,
        "asic_mime_type_not_found",
        &[],
    ),
];

fn fixtures(test: &str) -> Option<PathBuf> {
    let root = std::env::var_os("JIBEK_XROAD_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/xroad"),
        PathBuf::from,
    );
    if !root.is_dir() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "no fixtures at {}",
            root.display()
        );
        println!("SKIPPED {test}: fixtures absent");
        return None;
    }
    Some(root)
}

fn judge(root: &Path, configuration: &str, file: &str) -> Line {
    let configuration = read_configuration(&root.join("globalconf").join(configuration)).unwrap();
    let judged = judge_file(&root.join(format!("{file}.asice")), &configuration);
    Line::Container(Box::new(judged))
}

fn judged(line: &Line) -> &Judged {
    match line {
        Line::Container(judged) => judged,
        Line::Whole(_) => panic!("{line:?}"),
    }
}

#[test]
fn verdicts_are_x_road_s() {
    let Some(root) = fixtures("verdicts_are_x_road_s") else {
        return;
    };
    for (number, file, standing, code, findings) in VERDICTS {
        let line = judge(&root, "globalconf_good2_v3", file);
        assert_eq!(
            line.standing(false),
            standing,
            "{number}: {}",
            as_line(&line, false, Style::Plain)
        );
        if let Outcome::Invalid { code: found, .. } = &judged(&line).verdict.outcome {
            assert_eq!(
                found,
                code,
                "{number}: {}",
                as_line(&line, false, Style::Plain)
            );
        }
        if standing == Standing::Valid {
            let found: Vec<&str> = judged(&line)
                .verdict
                .findings
                .iter()
                .map(|finding| finding.id())
                .collect();
            assert_eq!(found, findings, "{number}");
            // absent is not uncovered
            let strict = if number == 6 {
                Standing::Invalid
            } else {
                Standing::Valid
            };
            assert_eq!(line.standing(true), strict, "{number}");
        }
        assert_eq!(as_line(&line, false, Style::Plain).lines().count(), 1);
        assert_eq!(
            as_json(&line, false)["verdict"]
                .as_str()
                .map(|word| word.replace('_', " ")),
            Some(standing.as_str().replace("be judged", "judge"))
        );
    }
}

/// The configuration of another instance can judge nothing, and does not mistake the broken for the unknown.
#[test]
fn another_configuration_cannot_judge() {
    let Some(root) = fixtures("another_configuration_cannot_judge") else {
        return;
    };
    for (number, file, standing, code, _) in VERDICTS {
        let line = judge(&root, "globalconf_cs", file);
        let expected = if standing == Standing::Valid {
            Standing::CannotJudge
        } else {
            standing
        };
        assert_eq!(
            line.standing(false),
            expected,
            "{number}: {}",
            as_line(&line, false, Style::Plain)
        );
        if let Outcome::Invalid { code: found, .. } = &judged(&line).verdict.outcome {
            assert_eq!(found, code, "{number}");
        }
    }
}

#[test]
fn one_invalid_file_outweighs_what_cannot_be_judged() {
    use Standing::{CannotJudge, Invalid, Valid};
    assert_eq!(summary([]).exit_code(), 0);
    assert_eq!(summary([Valid, Valid]).exit_code(), 0);
    assert_eq!(summary([Valid, CannotJudge, Valid]).exit_code(), 2);
    assert_eq!(summary([CannotJudge, Invalid, Valid]).exit_code(), 1);
    assert_eq!(summary([Invalid, CannotJudge]).exit_code(), 1);
}

/// The containers of two consecutive archives, all valid with their instance's configuration (`signatures-and-log.md` 7.1, 7.3).
#[test]
fn archived_containers_are_valid() {
    let Some(root) = fixtures("archived_containers_are_valid") else {
        return;
    };
    let configuration = read_configuration(&root.join("globalconf/globalconf_cs")).unwrap();
    let stranger = read_configuration(&root.join("globalconf/globalconf_good2_v3")).unwrap();
    let mut count = 0;
    for archive in [
        "archives/message-archive-0.zip",
        "archives/message-archive-1.zip",
    ] {
        let archive = Container::read(
            &std::fs::read(root.join(archive)).unwrap(),
            &ContainerLimits::default(),
        )
        .unwrap();
        for (name, content) in archive
            .entries()
            .filter(|(name, _)| name.ends_with(".asice"))
        {
            let container = Container::read(content, &ContainerLimits::default()).unwrap();
            let verdict = verify_container(&container, &configuration);
            let Outcome::Valid(report) = &verdict.outcome else {
                panic!("{name}: {verdict:?}")
            };
            assert!(
                name.contains(report.message().direction().as_str()),
                "{name}"
            );
            assert!(name.starts_with(report.message().message_id()), "{name}");
            assert!(
                matches!(
                    verify_container(&container, &stranger).outcome,
                    Outcome::CannotJudge { .. }
                ),
                "{name}"
            );
            count += 1;
        }
    }
    assert_eq!(count, 21);
}

/// A container taken apart and put together again by our writer, so that a part can be changed.
fn rewritten(root: &Path, file: &str, change: impl FnOnce(&mut ContainerParts)) -> Vec<u8> {
    let bytes = std::fs::read(root.join(format!("{file}.asice"))).unwrap();
    let container = Container::read(&bytes, &ContainerLimits::default()).unwrap();
    let entry = |name: &str| container.entry(name).cloned();
    let mut parts = ContainerParts {
        message: entry("message.xml").unwrap(),
        signature: entry("META-INF/signatures.xml").unwrap(),
        hash_chain_result: entry("sig-hashchainresult.xml"),
        hash_chain: entry("sig-hashchain.xml"),
        ts_token: entry("META-INF/timestamp.tst"),
        ts_hash_chain_result: entry("ts-hashchainresult.xml"),
        ts_hash_chain: entry("ts-hashchain.xml"),
        attachments: (1..)
            .map_while(|number| entry(&format!("attachment{number}")))
            .collect(),
        time: OffsetDateTime::UNIX_EPOCH,
    };
    change(&mut parts);
    write_container(&parts).unwrap().to_vec()
}

fn flipped(bytes: &[u8], place: usize, bit: u8) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[place] ^= 1 << bit;
    bytes.into()
}

/// Our writer keeps what makes a container valid, and any byte of a message shows.
#[test]
fn a_changed_byte_is_caught() {
    let Some(root) = fixtures("a_changed_byte_is_caught") else {
        return;
    };
    let configuration = read_configuration(&root.join("globalconf/globalconf_good2_v3")).unwrap();
    let judge = |file: &[u8]| {
        verify_container(
            &Container::read(file, &ContainerLimits::default()).unwrap(),
            &configuration,
        )
        .outcome
    };
    for (file, code) in [
        ("asic/valid-signed-message", "invalid_signature_value"),
        (
            "asic/valid-signed-hashchain",
            "malformed_signature.invalid_hash_chain_ref",
        ),
        ("asic/valid-batch-ts", "invalid_signature_value"),
        ("asic/valid-non-batch-rest", "invalid_signature_value"),
        (
            "asic/valid-non-batch-soap-attachments",
            "invalid_signature_value",
        ),
    ] {
        assert!(
            matches!(judge(&rewritten(&root, file, |_| {})), Outcome::Valid(_)),
            "{file}"
        );
        for place in (0..300).step_by(7) {
            let outcome = judge(&rewritten(&root, file, |parts| {
                parts.message = flipped(&parts.message, place % parts.message.len(), 0)
            }));
            let Outcome::Invalid { code: found, .. } = outcome else {
                panic!("{file} {place}: {outcome:?}")
            };
            // a message that cannot be read any more is told as such, or as one of another sender
            assert!(
                found == code || place_of_sender(&found),
                "{file} {place}: {found}"
            );
        }
        // a token, a chain, a result: whatever is stamped or stamps
        for part in 0..4 {
            let outcome = judge(&rewritten(&root, file, |parts| {
                let part = match part {
                    0 => parts.ts_token.as_mut(),
                    1 => parts.ts_hash_chain_result.as_mut(),
                    2 => parts.hash_chain_result.as_mut(),
                    _ => Some(&mut parts.signature),
                };
                if let Some(part) = part {
                    // in the signature that is SignedInfo
                    *part = flipped(part, part.len() / 12, 1);
                }
            }));
            let unchanged = match part {
                0 | 1 => ![
                    "asic/valid-batch-ts",
                    "asic/valid-non-batch-rest",
                    "asic/valid-non-batch-soap-attachments",
                ]
                .contains(&file),
                2 => file != "asic/valid-signed-hashchain",
                _ => false,
            };
            assert_eq!(
                matches!(outcome, Outcome::Valid(_)),
                unchanged,
                "{file} part {part}: {outcome:?}"
            );
        }
    }
}

/// Codes of messages whose flipped byte belongs to their markup or to the sender's name.
fn place_of_sender(code: &str) -> bool {
    ["incorrect_certificate", "internal_error"].contains(&code)
        || code.starts_with("invalid_")
        || code.starts_with("missing_")
        || code.starts_with("inconsistent_")
}

/// Bodies that are changed, taken out or put in are told beside the verdict, which does not depend on them behind a hash chain.
#[test]
fn bodies_are_looked_at() {
    let Some(root) = fixtures("bodies_are_looked_at") else {
        return;
    };
    let configuration = read_configuration(&root.join("globalconf/globalconf_good2_v3")).unwrap();
    let judge = |file: Vec<u8>| {
        let verdict = verify_container(
            &Container::read(&file, &ContainerLimits::default()).unwrap(),
            &configuration,
        );
        let findings: Vec<&str> = verdict
            .findings
            .iter()
            .map(|finding| finding.id())
            .collect();
        (matches!(verdict.outcome, Outcome::Valid(_)), findings)
    };
    let body = |file: &str, bodies: &[&'static str]| {
        judge(rewritten(&root, file, |parts| {
            parts.attachments = bodies
                .iter()
                .map(|body| Bytes::from_static(body.as_bytes()))
                .collect()
        }))
    };
    assert_eq!(
        body("asic/valid-signed-hashchain", &["another"]),
        (true, vec!["attachment_differs"])
    );
    assert_eq!(
        body("asic/valid-signed-hashchain", &[]),
        (true, vec!["attachment_absent"])
    );
    assert_eq!(
        body("asic/valid-signed-message", &["nobody signed this"]),
        (true, vec!["attachment_uncovered"])
    );
    // signed directly it is part of the signature
    assert_eq!(
        body("asic/valid-non-batch-rest", &["another"]),
        (false, vec![])
    );
    assert_eq!(body("asic/valid-non-batch-rest", &[]), (false, vec![]));
}

fn program(root: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_jibek-audit"))
        .current_dir(root)
        .arg("verify")
        .args(arguments)
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn the_program_says_so() {
    let Some(root) = fixtures("the_program_says_so") else {
        return;
    };
    let conf = "globalconf/globalconf_good2_v3";
    let unreferenced = "asic/invalid-not-signed-hashchain.asice";
    let (valid, noted, wrong, old) = (
        "asic/valid-batch-ts.asice",
        "asic/valid-signed-hashchain.asice",
        "asic/wrong-message.asice",
        "asic-core/valid-signed-message.asice",
    );
    for (arguments, status, lines) in [
        (vec!["--conf", conf, valid, noted], 0, 3),
        (vec!["--conf", conf, "--strict", valid], 0, 1),
        (vec!["--conf", conf, "--strict", noted], 0, 1),
        (vec!["--conf", conf, "--strict", unreferenced], 1, 1),
        (vec!["--conf", conf, valid, wrong, old], 1, 4),
        (vec!["--conf", conf, valid, old], 2, 3),
        (vec!["--conf", conf, "no/such.asice"], 2, 1),
        (vec!["--conf", "globalconf/globalconf_cs", valid], 2, 1),
        (vec!["--conf", "no/such/directory", valid], 2, 0),
        (vec!["--anchor", "no/such/file", valid], 2, 0),
        (vec!["--anchor", conf, "--conf", conf, valid], 64, 0),
        (vec!["--conf", conf], 64, 0),
    ] {
        let (found, out, error) = program(&root, &arguments);
        assert_eq!(
            (found, out.lines().count()),
            (status, lines),
            "{arguments:?}: {out}{error}"
        );
        assert_eq!(lines == 0, !error.is_empty(), "{arguments:?}: {error}");
    }
    let (_, out, _) = program(&root, &["--conf", conf, wrong]);
    assert!(
        out.starts_with("asic/wrong-message.asice: invalid: invalid_signature_value: "),
        "{out}"
    );
    let (_, out, _) = program(&root, &["--conf", conf, "--json", valid, noted]);
    let objects: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        objects[0]["report"]["client"],
        "SUBSYSTEM:DEV/COM/4321/TestClient"
    );
    assert_eq!(
        objects[0]["report"]["time_stamp"]["time"],
        "2024-12-05T07:34:14Z"
    );
    assert_eq!(objects[1]["findings"][0]["id"], "attachment_absent");
    assert_eq!(objects[1]["report"]["attachments"][0]["verified"], false);
}
