//! Words for programs: one JSON object a line, as `schema/verify.schema.json` says.

use jibek_evidence::verify::{Outcome, Report};
use serde_json::{Map, Value, json};

use crate::{
    whole::Line,
    words::{Counts, written},
};

/// The published schema of every line that `verify --json` prints.
pub const SCHEMA: &str = include_str!("../schema/verify.schema.json");

/// One object. `code` is X-Road's where it has one, or a note's id when `strict` makes the difference.
pub fn as_json(line: &Line, strict: bool) -> Value {
    let (code, reason) = line.reason(strict);
    let findings: Vec<Value> = line
        .remarks()
        .into_iter()
        .map(|(id, text)| json!({ "id": id, "text": text }))
        .collect();
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    match line {
        Line::Container(judged) => {
            put("type", json!("container"));
            put("file", json!(judged.file.to_string_lossy()));
            put("entry", json!(judged.entry));
        }
        Line::Whole(whole) => {
            put("type", json!(whole.kind.id()));
            let files: Vec<_> = whole.files.iter().map(|it| it.to_string_lossy()).collect();
            put("files", json!(files));
            put("containers", json!(whole.containers));
        }
    }
    put("verdict", json!(line.standing(strict).id()));
    put("code", json!(code));
    put("reason", json!(reason));
    put("findings", json!(findings));
    match line {
        Line::Container(judged) => {
            let report = match &judged.verdict.outcome {
                Outcome::Valid(report) => Some(details(report)),
                Outcome::Invalid { .. } | Outcome::CannotJudge { .. } => None,
            };
            put("report", json!(report));
            let since = judged.configuration_since.map(written);
            put("configuration_since", json!(since));
        }
        Line::Whole(whole) => put("facts", Value::Object(whole.facts.clone())),
    }
    Value::Object(object)
}

/// The last object, when there were several.
pub fn summary_as_json(counts: &Counts) -> Value {
    json!({
        "type": "summary",
        "verdict": counts.standing().id(),
        "containers": {
            "valid": counts.valid,
            "invalid": counts.invalid,
            "cannot_judge": counts.cannot_judge,
        },
        "wholes": {
            "valid": counts.whole_valid,
            "invalid": counts.whole_invalid,
            "cannot_judge": counts.whole_cannot_judge,
        },
        "passed_over": counts.passed_over,
    })
}

fn details(report: &Report) -> Value {
    let message = report.message();
    let certificate = |certificate: &jibek_certs::parse::Certificate| {
        json!({
            "subject": certificate.subject().rfc2253(),
            "issuer": certificate.issuer().rfc2253(),
            "serial_number": certificate.serial_decimal(),
            "not_before": written(certificate.not_before()),
            "not_after": written(certificate.not_after()),
        })
    };
    let attachments: Vec<Value> = report
        .attachments()
        .iter()
        .map(|attachment| {
            json!({
                "name": attachment.name(),
                "digest": attachment.digest().to_hex(),
                "algorithm": attachment.digest().algorithm().name(),
                "verified": attachment.is_verified(),
            })
        })
        .collect();
    json!({
        "kind": message.kind().to_string().to_ascii_lowercase(),
        "direction": message.direction().as_str(),
        "message_id": message.message_id(),
        "client": message.client().to_string(),
        "service": message.service().to_string(),
        "sender": report.sender().to_string(),
        "signer": certificate(report.signer()),
        "signing_time": report.signing_time().map(written),
        "ocsp": report.ocsp().map(|ocsp| json!({
            "produced_at": written(ocsp.produced_at()),
            "responder": certificate(ocsp.responder()),
        })),
        "time_stamp": {
            "time": written(report.stamp_time()),
            "authority": report.stamp_authority().map(certificate),
        },
        "attachments": attachments,
    })
}
