//! Why a container is not valid, what to do about it, and what a court should note beside a verdict.

use jibek_certs::trust::Trust;
use jibek_evidence::{container::Direction, verify::Outcome};

use super::{Teller, names::name_of, proof::size};
use crate::speech::{number, tame, text};

impl Teller<'_> {
    pub(super) fn reason(&self) -> Vec<String> {
        match &self.case.verdict().outcome {
            Outcome::Valid(_) => Vec::new(),
            Outcome::Invalid { code, reason } => vec![
                self.speech.say(cause(code).sentence()),
                self.speech.tell(
                    "reason-technical",
                    [text("code", tame(code)), text("text", tame(reason))],
                ),
                self.speech.say("reason-meaning"),
            ],
            Outcome::CannotJudge { reason } => {
                let mut told = self.lacking();
                told.push(
                    self.speech
                        .tell("reason-technical-plain", [text("text", tame(reason))]),
                );
                told
            }
        }
    }

    /// What the configuration lacks, as far as it can be told from the pieces.
    fn lacking(&self) -> Vec<String> {
        if self.case.bytes().is_none() {
            return vec![self.speech.say("cannot-file")];
        }
        let Some(configuration) = self.case.configuration() else {
            return vec![self.speech.say("cannot-configuration")];
        };
        let exhibits = self.case.exhibits();
        let mut told = Vec::new();
        let authorities = match self.case.message().map(|message| message.sender()) {
            None => None,
            Some(sender) => {
                let found = configuration.authorities(sender.instance());
                if found.is_none() {
                    told.push(self.speech.tell(
                        "cannot-instance",
                        [text("instance", tame(sender.instance()))],
                    ));
                }
                found
            }
        };
        if let (Some(authorities), Some(signature)) = (authorities, exhibits.signature()) {
            let issuer = signature.certificate().issuer();
            if authorities.by_subject(issuer).next().is_none() {
                told.push(
                    self.speech
                        .tell("cannot-authority", [text("issuer", name_of(issuer))]),
                );
            }
        }
        if let Some(token) = exhibits.token()
            && token
                .verify_signer(configuration.timestamp_certificates())
                .is_err_and(|error| error.is_unknown_trust())
        {
            let named = token.certificates().first();
            let authority = named.map_or_else(
                || "?".to_owned(),
                |certificate| name_of(certificate.subject()),
            );
            told.push(
                self.speech
                    .tell("cannot-stamp", [text("authority", authority)]),
            );
        }
        if told.is_empty() {
            told.push(self.speech.say("cannot-other"));
        }
        told
    }

    pub(super) fn next(&self) -> Vec<String> {
        let keys: &[&str] = match &self.case.verdict().outcome {
            Outcome::Valid(report) => match report.message().direction() {
                Direction::Request => &["next-valid-keep", "next-valid-pair"],
                Direction::Response => &["next-valid-keep", "next-valid-request"],
            },
            Outcome::Invalid { code, .. } => cause(code).next(),
            Outcome::CannotJudge { .. } if self.case.bytes().is_none() => &["next-file"],
            Outcome::CannotJudge { .. } => &["next-configuration"],
        };
        keys.iter().map(|key| self.speech.say(key)).collect()
    }

    pub(super) fn findings(&self) -> Vec<String> {
        let findings = &self.case.verdict().findings;
        if findings.is_empty() && self.case.report().is_some() {
            return vec![self.speech.say("findings-none")];
        }
        let left = findings.len().saturating_sub(MOST_FINDINGS);
        let more = (left > 0).then(|| {
            self.speech
                .tell("findings-more", [number("count", size(left))])
        });
        findings
            .iter()
            .take(MOST_FINDINGS)
            .map(|finding| {
                let key = format!("finding-{}", finding.id());
                let detail = tame(finding.text());
                match self.speech.knows(&key) {
                    false => detail,
                    true => self.speech.tell(
                        "finding-detail",
                        [
                            text("sentence", self.speech.say(&key)),
                            text("detail", detail),
                        ],
                    ),
                }
            })
            .chain(more)
            .collect()
    }
}

/// So many findings are told, the rest are counted.
const MOST_FINDINGS: usize = 50;

/// What is at the bottom of a verdict's code, as far as people need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Ambiguous,
    Chain,
    Changed,
    Container,
    Damaged,
    Incomplete,
    Large,
    Message,
    Other,
    Path,
    Revoked,
    Signature,
    Signer,
    Stamp,
    Status,
    Unsafe,
}

/// The cause behind X-Road's code, or ours.
fn cause(code: &str) -> Cause {
    match code {
        "container_ambiguous" | "container_entry_twice" => Cause::Ambiguous,
        "container_damaged" | "container_unreadable" => Cause::Damaged,
        "container_unsafe" => Cause::Unsafe,
        "container_too_large" => Cause::Large,
        "asic_mime_type_not_found" | "asic_invalid_mime_type" => Cause::Container,
        "incorrect_certificate" => Cause::Signer,
        "invalid_signature_value" => Cause::Changed,
        "malformed_signature" => Cause::Signature,
        code if code.starts_with("asic_") => Cause::Incomplete,
        code if code.starts_with("malformed_signature.") => Cause::Chain,
        code if code.starts_with("mlog.") => Cause::Stamp,
        code if code.starts_with("cannot_create_cert_path") => Cause::Path,
        code if code.ends_with("incorrect_validation_info") => Cause::Status,
        code if code.ends_with("cert_validation") => Cause::Revoked,
        code if code.starts_with("missing_")
            || code.starts_with("invalid_")
            || code.starts_with("inconsistent_")
            || code.starts_with("duplicate_") =>
        {
            Cause::Message
        }
        _ => Cause::Other,
    }
}

impl Cause {
    fn sentence(self) -> &'static str {
        match self {
            Self::Ambiguous => "reason-ambiguous",
            Self::Chain => "reason-chain",
            Self::Changed => "reason-changed",
            Self::Container => "reason-container",
            Self::Damaged => "reason-damaged",
            Self::Incomplete => "reason-incomplete",
            Self::Large => "reason-large",
            Self::Message => "reason-message",
            Self::Other => "reason-other",
            Self::Path => "reason-path",
            Self::Revoked => "reason-revoked",
            Self::Signature => "reason-signature",
            Self::Signer => "reason-signer",
            Self::Stamp => "reason-stamp",
            Self::Status => "reason-status",
            Self::Unsafe => "reason-unsafe",
        }
    }

    fn next(self) -> &'static [&'static str] {
        match self {
            Self::Chain | Self::Changed => &["next-original", "next-log", "next-expert"],
            Self::Path | Self::Revoked | Self::Status | Self::Stamp => {
                &["next-configuration", "next-original", "next-expert"]
            }
            _ => &["next-original", "next-expert"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes of the dossier's table and of the log's stamps, each with the cause that a person would name.
    #[test]
    fn codes_have_causes() {
        for (code, expected) in [
            ("asic_mime_type_not_found", Cause::Container),
            ("asic_message_not_found", Cause::Incomplete),
            ("asic_hash_chain_result_not_found", Cause::Incomplete),
            ("malformed_signature", Cause::Signature),
            ("malformed_signature.invalid_hash_chain_ref", Cause::Chain),
            ("malformed_signature.hashchain_unused_inputs", Cause::Chain),
            ("invalid_signature_value", Cause::Changed),
            ("incorrect_certificate", Cause::Signer),
            ("cannot_create_cert_path.internal_error", Cause::Path),
            ("invalid_cert_path.cert_validation", Cause::Revoked),
            ("invalid_cert_path.incorrect_validation_info", Cause::Status),
            ("mlog.timestamp_signer_verification_failed", Cause::Stamp),
            ("missing_header_field", Cause::Message),
            ("container_entry_twice", Cause::Ambiguous),
            ("container_unsafe", Cause::Unsafe),
            ("something_new", Cause::Other),
        ] {
            assert_eq!(cause(code), expected, "{code}");
        }
    }
}
