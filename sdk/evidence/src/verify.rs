//! Judging a container years later, offline (`signatures-and-log.md` 5.6, 7.1).
//!
//! The verdict is X-Road's: what its verifier passes is valid here, what it refuses is invalid with its code. What the verdict does
//! not depend on and a court should know stands beside it as a [`Finding`]. Evidence that contradicts itself is invalid even when the
//! configuration could not judge it; evidence that is whole and of an unknown authority cannot be judged.
//!
//! The story is `Judge::judge`: entries, time-stamp, parts, signer, and then a look around.

mod around;
mod covered;
mod document;
mod entries;
mod exhibits;
mod facts;
mod finding;
mod manifests;
mod memory;
mod parts;
mod report;
mod signer;
mod stamp;
mod token;

pub use covered::{CoveredKind, CoveredPart, covered, signed_form};
pub use exhibits::{Exhibits, ReferenceExhibit, SignatureExhibit};
pub use facts::{MessageFacts, MessageKind};
pub use finding::{Finding, FindingKind};
pub use memory::{Memory, StampTimes};
pub use report::{Attachment, Report};

use jibek_certs::trust::Trust;
use time::OffsetDateTime;

use crate::{
    container::Container,
    names,
    open::OpenError,
    signature::{Form, Malformed, Signature},
    xml,
};

/// What is to be thought of a container.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a verdict and what stands beside it, nothing else"
)]
pub struct Verdict {
    /// Valid, invalid, or neither.
    pub outcome: Outcome,
    /// What the outcome does not depend on and a court should know.
    pub findings: Vec<Finding>,
}

/// The verdict itself.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "exit codes depend on the three")]
pub enum Outcome {
    /// Everything demanded holds.
    Valid(Box<Report>),
    /// Something contradicts itself or the configuration.
    Invalid {
        /// X-Road's code.
        code: String,
        /// The reason, for people.
        reason: String,
    },
    /// Nothing contradicts itself, but the configuration lacks the instance, the signer's CA, the OCSP responder or the TSA.
    CannotJudge {
        /// What is lacking.
        reason: String,
    },
}

/// Judges a container by the configuration `trust`, at the time its time-stamp proves.
pub fn verify_container(container: &Container, trust: &dyn Trust) -> Verdict {
    verify_container_with(container, trust, &Memory::default())
}

/// The same with a memory of what was found before, for many containers and one configuration: a memory must not be used with
/// another.
pub fn verify_container_with(container: &Container, trust: &dyn Trust, memory: &Memory) -> Verdict {
    let mut judge = Judge {
        container,
        trust,
        memory,
        findings: Vec::new(),
        doubts: Vec::new(),
    };
    let judged = judge.judge();
    if judged.is_err() {
        judge.look_for_lost_body();
    }
    let outcome = match (judged, judge.doubts.into_iter().next()) {
        (Err(Refusal::Invalid { code, reason }), _) => Outcome::Invalid { code, reason },
        (_, Some(reason)) | (Err(Refusal::Doubt(reason)), None) => Outcome::CannotJudge { reason },
        (Ok(report), None) => Outcome::Valid(Box::new(report)),
    };
    Verdict {
        outcome,
        findings: judge.findings,
    }
}

/// What the container's time-stamp claims, unjudged: by which configuration to judge. `None` when there is none to read.
pub fn stamp_time(container: &Container) -> Option<OffsetDateTime> {
    stamp_time_with(container, &StampTimes::default())
}

/// The same with a memory of stamps that were read before, for many containers.
pub fn stamp_time_with(container: &Container, times: &StampTimes) -> Option<OffsetDateTime> {
    if let Some(token) = container.entry(entries::STAMP) {
        return times.of(token);
    }
    let text = String::from_utf8_lossy(container.entry(entries::SIGNATURES)?);
    let tree = xml::parse(text.as_bytes()).ok()?;
    let signature = Signature::read(&tree, Form::Container).ok()?;
    let (_, token) = signature.time_stamp()?;
    times.of(&token.into())
}

#[derive(Debug, Clone)]
enum Refusal {
    Invalid { code: String, reason: String },
    Doubt(String),
}

fn invalid(code: &str, reason: impl Into<String>) -> Refusal {
    Refusal::Invalid {
        code: code.to_owned(),
        reason: reason.into(),
    }
}

/// An error's text with those of its sources.
fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl From<Malformed> for Refusal {
    fn from(Malformed(why): Malformed) -> Self {
        invalid(
            "malformed_signature",
            format!("the signature is malformed: {why}"),
        )
    }
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        let lacking = match &error {
            OpenError::UnknownIssuer { .. } | OpenError::Profile { source: None, .. } => true,
            OpenError::Certificate(error) => error.is_unknown_trust(),
            _ => false,
        };
        if lacking {
            Self::Doubt(explain(&error))
        } else {
            let mut code = error.code();
            if code == "cannot_create_cert_path" {
                // what X-Road's path builder did not expect has no code of its own
                code.push_str(".internal_error");
            }
            Self::Invalid {
                code,
                reason: explain(&error),
            }
        }
    }
}

struct Judge<'a> {
    container: &'a Container,
    trust: &'a dyn Trust,
    memory: &'a Memory,
    findings: Vec<Finding>,
    /// What the configuration lacks. Judging goes on: a contradiction outweighs it.
    doubts: Vec<String>,
}

impl Judge<'_> {
    /// X-Road's checks in X-Road's order, which decides the code (`signatures-and-log.md` 5.6, 1.5).
    fn judge(&mut self) -> Result<Report, Refusal> {
        self.check_entries()?;
        let signature = self.signature()?;
        self.check_stamp_entries(&signature)?;
        let message = self.read_message()?;
        if !signature.refers_to(names::MESSAGE)
            && !signature.refers_to(names::SIGNATURE_CHAIN_RESULT)
        {
            return Err(invalid(
                "malformed_signature",
                "the signature does not refer to the message",
            ));
        }
        let stamp = self.check_stamp(&signature)?;
        let chain = self.check_chain(&signature)?;
        if !signature.certificate.is_signing() {
            return Err(invalid(
                "malformed_signature",
                "the signing certificate is not for signing",
            ));
        }
        let facts = self.believe(message)?;
        let sender = facts.as_ref().map(MessageFacts::sender);
        let is_named = match sender {
            Some(sender) => self.check_signer(&signature, sender)?,
            None => false,
        };
        let signed = signature.signed()?;
        self.check_references(&signature)?;
        signed.manifests.clone()?;
        let certificate = match sender.filter(|_| is_named) {
            Some(sender) => self.check_certificate(&signature, signed, sender, stamp.time)?,
            None => None,
        };
        self.look_around(&signature, signed, &stamp, certificate.as_deref());
        let attachments = self.attachments(&signature, chain.as_ref(), facts.as_ref());
        if !self.doubts.is_empty() && signed.names_certificate == Some(false) {
            return Err(invalid(
                "malformed_signature",
                "the signed properties name another certificate",
            ));
        }
        // without a sender there is a doubt, which outweighs the report
        let facts = facts.ok_or_else(|| Refusal::Doubt(String::new()))?;
        Ok(Report::new(
            facts,
            (signature.certificate.clone(), certificate),
            signed.signing_time,
            stamp.time,
            stamp.authority,
            attachments,
        ))
    }
}

#[cfg(test)]
mod tests;
