//! Words for people and for programs.

use jibek_evidence::verify::{Finding, Outcome, Report};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::judge::{Judged, Standing};

/// One line for people: the file, how it stands, why, and what a court should know beside it.
pub fn as_line(judged: &Judged, strict: bool) -> String {
    let standing = judged.standing(strict);
    let mut line = format!("{}: {}", judged.file.display(), standing.as_str());
    match &judged.verdict.outcome {
        Outcome::Valid(report) => {
            if standing == Standing::Invalid {
                line.push_str(" by --strict");
            }
            line.push_str(&format!(": {}", sentence(report)));
        }
        Outcome::Invalid { code, reason } => line.push_str(&format!(": {code}: {reason}")),
        Outcome::CannotJudge { reason } => line.push_str(&format!(": {reason}")),
    }
    for finding in &judged.verdict.findings {
        line.push_str(&format!("; note {}: {}", finding.id(), finding.text()));
    }
    // what comes from a file must not forge further lines
    line.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn sentence(report: &Report) -> String {
    let message = report.message();
    let mut sentence = format!(
        "{} {} {} from {} to {}, signed by {}, stamped {}",
        message.kind(),
        message.direction(),
        message.message_id(),
        message.client(),
        message.service(),
        report.sender(),
        written(report.stamp_time())
    );
    if let Some(authority) = report.stamp_authority() {
        sentence.push_str(&format!(" by {}", authority.subject()));
    }
    for attachment in report.attachments() {
        let word = if attachment.is_verified() {
            "verified"
        } else {
            "unverified"
        };
        sentence.push_str(&format!(", {} {word}", attachment.name()));
    }
    sentence
}

/// One object for programs. `code` is X-Road's, or a finding's when `strict` makes the difference.
pub fn as_json(judged: &Judged, strict: bool) -> Value {
    let standing = judged.standing(strict);
    let verdict = match standing {
        Standing::Valid => "valid",
        Standing::Invalid => "invalid",
        Standing::CannotJudge => "cannot_judge",
    };
    let findings: Vec<Value> = judged
        .verdict
        .findings
        .iter()
        .map(|finding| json!({ "id": finding.id(), "text": finding.text() }))
        .collect();
    let (code, reason, report) = match &judged.verdict.outcome {
        Outcome::Valid(report) => {
            let first = judged
                .verdict
                .findings
                .first()
                .filter(|_| standing == Standing::Invalid);
            (
                first.map(|finding| finding.id().to_owned()),
                first.map(|finding| Finding::text(finding).to_owned()),
                Some(details(report)),
            )
        }
        Outcome::Invalid { code, reason } => (Some(code.clone()), Some(reason.clone()), None),
        Outcome::CannotJudge { reason } => (None, Some(reason.clone()), None),
    };
    json!({
        "file": judged.file.to_string_lossy(),
        "verdict": verdict,
        "code": code,
        "reason": reason,
        "findings": findings,
        "report": report,
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

fn written(time: OffsetDateTime) -> String {
    time.to_utc()
        .format(&Rfc3339)
        .unwrap_or_else(|_| time.to_string())
}
