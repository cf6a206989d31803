//! Verdicts on containers of real security servers, by the configuration of their time (`signatures-and-log.md` 7.1).

use jibek_audit::{Judged, Standing, as_json, as_line, judge_file, read_configuration, summary};
use jibek_evidence::verify::Outcome;
use std::path::{Path, PathBuf};

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

fn judge(root: &Path, configuration: &str, file: &str) -> Judged {
    let configuration = read_configuration(&root.join("globalconf").join(configuration)).unwrap();
    judge_file(&root.join(format!("{file}.asice")), &configuration)
}

#[test]
fn verdicts_are_x_road_s() {
    let Some(root) = fixtures("verdicts_are_x_road_s") else {
        return;
    };
    for (number, file, standing, code, findings) in VERDICTS {
        let judged = judge(&root, "globalconf_good2_v3", file);
        assert_eq!(
            judged.standing(false),
            standing,
            "{number}: {}",
            as_line(&judged, false)
        );
        if let Outcome::Invalid { code: found, .. } = &judged.verdict.outcome {
            assert_eq!(found, code, "{number}: {}", as_line(&judged, false));
        }
        if standing == Standing::Valid {
            let found: Vec<&str> = judged
                .verdict
                .findings
                .iter()
                .map(|finding| finding.id())
                .collect();
            assert_eq!(found, findings, "{number}");
            let strict = if findings.is_empty() {
                Standing::Valid
            } else {
                Standing::Invalid
            };
            assert_eq!(judged.standing(true), strict, "{number}");
        }
        assert_eq!(as_line(&judged, false).lines().count(), 1);
        assert_eq!(
            as_json(&judged, false)["verdict"]
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
        let judged = judge(&root, "globalconf_cs", file);
        let expected = if standing == Standing::Valid {
            Standing::CannotJudge
        } else {
            standing
        };
        assert_eq!(
            judged.standing(false),
            expected,
            "{number}: {}",
            as_line(&judged, false)
        );
        if let Outcome::Invalid { code: found, .. } = &judged.verdict.outcome {
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
