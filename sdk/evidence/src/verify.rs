//! Judging a container years later, offline (`signatures-and-log.md` 5.6, 7.1).
//!
//! The verdict is X-Road's: what its verifier passes is valid here, what it refuses is invalid with its code. What the verdict does
//! not depend on and a court should know stands beside it as a [`Finding`]. Evidence that contradicts itself is invalid even when the
//! configuration could not judge it; evidence that is whole and of an unknown authority cannot be judged.

mod around;
mod covered;
mod exhibits;
mod facts;
mod finding;
mod report;
mod token;

pub use covered::{CoveredKind, CoveredPart, covered, signed_form};
pub use exhibits::{Exhibits, ReferenceExhibit, SignatureExhibit};
pub use facts::{MessageFacts, MessageKind};
pub use finding::{Finding, FindingKind};
pub use report::{Attachment, Report};

use jibek_certs::{
    digest::{Digest, DigestAlgorithm, digest},
    ocsp::{Policy, VerifiedCertificate},
    parse::Certificate,
    trust::Trust,
    tsp::TimestampToken,
};
use jibek_protocol::id::ClientId;
use time::OffsetDateTime;

use crate::{
    container::Container,
    hash_chain::{self, Input, VerifiedChain},
    names,
    open::{OpenError, identify, member_of, verify_certificate},
    signature::{Form, Malformed, Signature, has_duplicate_ids},
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
    let mut judge = Judge {
        container,
        trust,
        findings: Vec::new(),
        doubts: Vec::new(),
    };
    let judged = judge.judge();
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
            Self::Invalid {
                code: error.code(),
                reason: explain(&error),
            }
        }
    }
}

struct Judge<'a> {
    container: &'a Container,
    trust: &'a dyn Trust,
    findings: Vec<Finding>,
    /// What the configuration lacks. Judging goes on: a contradiction outweighs it.
    doubts: Vec<String>,
}

struct Stamp {
    time: OffsetDateTime,
    /// `None` when no configured authority made it.
    authority: Option<Certificate>,
}

impl Judge<'_> {
    fn judge(&mut self) -> Result<Report, Refusal> {
        let container = self.container;
        self.check_entries()?;
        let document = required(
            container,
            "META-INF/signatures.xml",
            "asic_signature_not_found",
        )?;
        let tree = xml::parse(document)
            .map_err(|error| invalid("malformed_signature", explain(&error)))?;
        let signature = Signature::read(&tree, Form::Container)?;
        let token = self.token(&signature)?;
        if signature.reference(names::MESSAGE).is_none()
            && signature.reference(names::SIGNATURE_CHAIN_RESULT).is_none()
        {
            return Err(invalid(
                "malformed_signature",
                "the signature does not refer to the message",
            ));
        }
        let stamp = self.check_stamp(&signature, &token)?;
        let message = required(container, "message.xml", "asic_message_not_found")?;
        // A message that cannot be read is no contradiction where the configuration is of another time anyway.
        let facts = match MessageFacts::read(message) {
            Ok(facts) => Some(facts),
            Err(unread) if self.doubts.is_empty() => {
                return Err(invalid(&unread.code, unread.reason));
            }
            Err(unread) => {
                self.doubts.push(unread.reason);
                None
            }
        };
        let sender = facts.as_ref().map(MessageFacts::sender);
        let chain = self.check_chain(&signature)?;
        if !signature.certificate.is_signing() {
            return Err(invalid(
                "malformed_signature",
                "the signing certificate is not for signing",
            ));
        }
        let is_named = match sender {
            Some(sender) => self.check_signer(&signature, sender)?,
            None => false,
        };
        signature.check_value().map_err(|error| {
            invalid(
                "invalid_signature_value",
                format!("the signature value is not valid: {error}"),
            )
        })?;
        self.check_references(&signature)?;
        let certificate = match sender.filter(|_| is_named) {
            Some(sender) => self.check_certificate(&signature, sender, stamp.time)?,
            None => None,
        };
        self.look_around(
            &signature,
            has_duplicate_ids(&tree),
            &token,
            &stamp,
            certificate.as_ref(),
        );
        let attachments = self.attachments(&signature, chain.as_ref());
        if !self.doubts.is_empty() && signature.names_certificate() == Some(false) {
            return Err(invalid(
                "malformed_signature",
                "the signed properties name another certificate",
            ));
        }
        // without a sender there is a doubt, which outweighs the report
        let facts = facts.ok_or_else(|| Refusal::Doubt(String::new()))?;
        Ok(Report::new(
            facts,
            &signature,
            certificate,
            stamp.time,
            stamp.authority,
            attachments,
        ))
    }

    /// Step 1 of `signatures-and-log.md` 5.6, but for the time-stamp.
    fn check_entries(&self) -> Result<(), Refusal> {
        let container = self.container;
        match container.has_container_type() {
            None => {
                return Err(invalid(
                    "asic_mime_type_not_found",
                    "there is no mimetype entry",
                ));
            }
            Some(false) => {
                return Err(invalid(
                    "asic_invalid_mime_type",
                    "the mimetype entry is not that of a container",
                ));
            }
            Some(true) => {}
        }
        required(container, "message.xml", "asic_message_not_found")?;
        required(
            container,
            "META-INF/signatures.xml",
            "asic_signature_not_found",
        )?;
        for (chain, result) in [
            ("sig-hashchain.xml", "sig-hashchainresult.xml"),
            ("ts-hashchain.xml", "ts-hashchainresult.xml"),
        ] {
            match (present(container, chain), present(container, result)) {
                (true, false) => {
                    return Err(invalid(
                        "asic_hash_chain_result_not_found",
                        format!("{chain} without {result}"),
                    ));
                }
                (false, true) => {
                    return Err(invalid(
                        "asic_hash_chain_not_found",
                        format!("{result} without {chain}"),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The token: an entry of its own for a batch, in the signature for a single stamp.
    fn token(&self, signature: &Signature<'_>) -> Result<TimestampToken, Refusal> {
        let der = match self
            .container
            .entry("META-INF/timestamp.tst")
            .filter(|token| !token.is_empty())
        {
            Some(token) => Some(token.to_vec()),
            None => signature.time_stamp().map(|(_, token)| token),
        };
        let der = der.ok_or_else(|| invalid("malformed_signature", "there is no time-stamp"))?;
        TimestampToken::parse(&der).map_err(|error| invalid("malformed_signature", explain(&error)))
    }

    fn check_stamp(
        &mut self,
        signature: &Signature<'_>,
        token: &TimestampToken,
    ) -> Result<Stamp, Refusal> {
        let data = match (
            self.container.entry("ts-hashchainresult.xml"),
            self.container.entry("ts-hashchain.xml"),
        ) {
            (Some(result), Some(chain)) => {
                let inputs = |name: &str| self.input(name);
                let required = [names::SIGNATURES.to_owned()];
                hash_chain::verify(result, names::STAMP_CHAIN, chain, &inputs, &required).map_err(
                    |error| {
                        invalid(
                            "malformed_signature",
                            format!("the time-stamp's hash chain: {}", explain(&error)),
                        )
                    },
                )?;
                result.as_ref()
            }
            _ => signature.value.as_slice(),
        };
        match token.verify(data, self.trust.timestamp_certificates()) {
            Ok(verified) => Ok(Stamp {
                time: verified.gen_time(),
                authority: Some(verified.tsa().clone()),
            }),
            Err(error) if error.is_unknown_trust() => {
                // What the token itself says must hold together all the same.
                match token.verify_signer(token.certificates()) {
                    Ok(_) => {}
                    Err(error) if error.is_unknown_trust() => {}
                    Err(error) => return Err(invalid(error.code(), explain(&error))),
                }
                self.doubts.push(format!(
                    "the time-stamp's authority is not in the configuration: {error}"
                ));
                Ok(Stamp {
                    time: token.gen_time(),
                    authority: None,
                })
            }
            Err(error) => Err(invalid(error.code(), explain(&error))),
        }
    }

    fn check_chain(&self, signature: &Signature<'_>) -> Result<Option<VerifiedChain>, Refusal> {
        let (Some(result), Some(chain)) = (
            self.container.entry("sig-hashchainresult.xml"),
            self.container.entry("sig-hashchain.xml"),
        ) else {
            return Ok(None);
        };
        if signature.reference(names::SIGNATURE_CHAIN_RESULT).is_none() {
            return Ok(None);
        }
        let inputs = |name: &str| self.input(name);
        hash_chain::verify(
            result,
            names::SIGNATURE_CHAIN,
            chain,
            &inputs,
            &[names::MESSAGE.to_owned()],
        )
        .map(Some)
        .map_err(|error| {
            invalid(
                &format!("malformed_signature.{}", error.code()),
                explain(&error),
            )
        })
    }

    /// Entries are known by their bytes; attachments and everything else are taken on trust, as X-Road does (2.5, 5.6 step 5).
    fn input(&self, name: &str) -> Input<'_> {
        let entry = name
            .strip_prefix('/')
            .and_then(|name| self.container.entry(name));
        match entry.filter(|_| names::attachment_number(name).is_none()) {
            Some(content) => Input::Data(content),
            None => Input::OnTrust,
        }
    }

    /// Whether the certificate names the sender; false, with a doubt, when the configuration does not say what it names.
    fn check_signer(
        &mut self,
        signature: &Signature<'_>,
        sender: &ClientId,
    ) -> Result<bool, Refusal> {
        let expected = sender.member();
        let Some(authorities) = self.trust.authorities(expected.instance()) else {
            self.doubts.push(format!(
                "the configuration does not have instance {}",
                expected.instance()
            ));
            return Ok(false);
        };
        match identify(&signature.certificate, authorities, expected).map_err(Refusal::from) {
            Ok(found) if found == *expected => Ok(true),
            Ok(found) => Err(OpenError::WrongSigner {
                expected: expected.clone(),
                found,
            }
            .into()),
            Err(Refusal::Doubt(reason)) => {
                self.doubts.push(reason);
                Ok(false)
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn check_references(&self, signature: &Signature<'_>) -> Result<(), Refusal> {
        for reference in &signature.references {
            let uri = reference.uri;
            let unresolved = || {
                invalid(
                    "invalid_signature_value",
                    format!("the signature refers to {uri}, which is not there"),
                )
            };
            let algorithm = reference.digest.algorithm();
            let found = match uri {
                names::MESSAGE | names::SIGNATURE_CHAIN_RESULT => {
                    self.entry_digest(uri, algorithm).ok_or_else(unresolved)?
                }
                uri if uri.starts_with('#') => {
                    signature.same_document(reference).ok_or_else(unresolved)?.1
                }
                uri if names::attachment_number(uri).is_some() => {
                    self.entry_digest(uri, algorithm).ok_or_else(unresolved)?
                }
                _ => return Err(unresolved()),
            };
            if found != reference.digest {
                return Err(invalid(
                    "invalid_signature_value",
                    format!("{uri} has another digest than the signature says"),
                ));
            }
        }
        Ok(())
    }

    fn entry_digest(&self, name: &str, algorithm: DigestAlgorithm) -> Option<Digest> {
        self.container
            .entry(name.strip_prefix('/')?)
            .map(|content| digest(algorithm, content))
    }

    fn check_certificate(
        &mut self,
        signature: &Signature<'_>,
        sender: &ClientId,
        time: OffsetDateTime,
    ) -> Result<Option<VerifiedCertificate>, Refusal> {
        let expected = sender.member();
        let Some(authorities) = self.trust.authorities(expected.instance()) else {
            return Ok(None);
        };
        let policy = Policy::new(self.trust.ocsp_freshness(), self.trust.verify_next_update());
        match verify_certificate(signature, authorities, time, policy).map_err(Refusal::from) {
            Ok(certificate) => {
                let found = member_of(
                    &signature.certificate,
                    certificate.profile_class(),
                    expected.instance(),
                )?;
                if found != *expected {
                    return Err(OpenError::WrongSigner {
                        expected: expected.clone(),
                        found,
                    }
                    .into());
                }
                Ok(Some(certificate))
            }
            Err(Refusal::Doubt(reason)) => {
                self.doubts.push(reason);
                Ok(None)
            }
            Err(refusal) => Err(refusal),
        }
    }
}

fn present(container: &Container, name: &str) -> bool {
    container
        .entry(name)
        .is_some_and(|content| !content.trim_ascii().is_empty())
}

fn required<'a>(
    container: &'a Container,
    name: &str,
    code: &str,
) -> Result<&'a bytes::Bytes, Refusal> {
    container
        .entry(name)
        .filter(|content| !content.trim_ascii().is_empty())
        .ok_or_else(|| invalid(code, format!("there is no {name}")))
}

#[cfg(test)]
mod tests;
