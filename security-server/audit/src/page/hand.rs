//! How to repeat the verification with public programs. Every command here is run by a test.

use jibek_certs::digest::{DigestAlgorithm, digest};
use jibek_evidence::{
    names,
    verify::{FindingKind, ReferenceExhibit, Report, SignatureExhibit},
};
use maud::{Markup, html};
use time::OffsetDateTime;

use super::Words;
use crate::{
    explain::Case,
    extract::{Part, parts},
    speech::{tame, text},
};

/// One thing to type, and what must come out.
struct Step {
    says: String,
    command: String,
    expected: Option<String>,
}

impl Words<'_> {
    pub(super) fn by_hand(&self, case: &Case) -> Markup {
        let Some(bytes) = case.bytes() else {
            return html! {};
        };
        let first = match case.exhibits().signature() {
            Some(_) => "page-hand-first",
            None => "page-hand-none",
        };
        html! {
            section.hand {
                h3 { (self.say("page-hand")) }
                p { (self.say(first)) }
                @if case.report().is_none() && case.exhibits().signature().is_some() {
                    p { (self.say("page-hand-unverified")) }
                }
                ol.steps {
                    @for step in self.steps(case, bytes) {
                        li.step {
                            p { (step.says) }
                            pre.command { (step.command) }
                            @if let Some(expected) = step.expected {
                                p.expected { (self.say("page-expected")) ": " code { (expected) } }
                            }
                        }
                    }
                }
                @for note in self.not_repeated(case) { p { (note) } }
            }
        }
    }

    fn steps(&self, case: &Case, bytes: &[u8]) -> Vec<Step> {
        let file = shell_name(case);
        let mut steps = vec![Step {
            says: self.say("hand-file"),
            command: format!("sha512sum {file}"),
            expected: Some(digest(DigestAlgorithm::Sha512, bytes).to_hex()),
        }];
        let Some(signature) = case.exhibits().signature() else {
            return steps;
        };
        let parts = parts(case);
        let has = |name: &str| parts.iter().any(|part| part.name == name);
        steps.push(Step {
            says: self.say("hand-extract"),
            command: format!(
                "jibek-audit extract {file} \\\n  --conf verificationconf --to evidence\ncd evidence"
            ),
            expected: None,
        });
        if let Some(message) = parts.iter().find(|part| is_entry(part, "message.xml")) {
            steps.push(Step {
                says: self.say("hand-same"),
                command: format!(
                    "unzip -p ../{file} message.xml \\\n  | cmp - {} && echo same",
                    message.name
                ),
                expected: Some("same".to_owned()),
            });
        }
        for reference in signature.references() {
            steps.extend(self.reference(reference, &parts));
        }
        steps.extend(self.listed(case, &parts));
        steps.extend(self.value(signature));
        steps.extend(self.xmlsec(case, signature, &parts));
        let stamp_time = case.exhibits().token().map(|token| token.gen_time());
        if let Some(time) = stamp_time.filter(|_| has("issuer.pem")) {
            steps.push(Step {
                says: self.say("hand-path"),
                command: format!(
                    "openssl verify -partial_chain -attime {} \\\n  -trusted issuer.pem signer.pem",
                    time.unix_timestamp()
                ),
                expected: Some("signer.pem: OK".to_owned()),
            });
        }
        steps.extend(self.ocsp(case, signature));
        steps.extend(self.stamp_steps(case));
        steps
    }

    /// A signed digest is that of the part.
    fn reference(&self, reference: &ReferenceExhibit, parts: &[Part]) -> Option<Step> {
        let part = referenced(reference.uri(), parts)?;
        Some(self.stands_in(
            "hand-digest",
            &part.name,
            reference.digest().algorithm(),
            "signed-info.xml",
        ))
    }

    /// The digests behind a hash chain.
    fn listed(&self, case: &Case, parts: &[Part]) -> Vec<Step> {
        let mut steps = Vec::new();
        let has = |name: &str| parts.iter().any(|part| part.name == name);
        let is_chained = case.exhibits().signature().is_some_and(|signature| {
            let mut references = signature.references().iter();
            references.any(|reference| reference.uri() == names::SIGNATURE_CHAIN_RESULT)
        });
        if is_chained && has("sig-hashchain.xml") {
            let attachments = case.report().map(Report::attachments).unwrap_or_default();
            let present = attachments
                .iter()
                .filter(|attachment| attachment.is_verified())
                .map(|attachment| attachment.name())
                .take(MOST_LISTED);
            for name in std::iter::once(names::MESSAGE).chain(present) {
                if let Some(part) = referenced(name, parts) {
                    steps.push(self.stands_in(
                        "hand-chain-digest",
                        &part.name,
                        DigestAlgorithm::Sha512,
                        "sig-hashchain.xml",
                    ));
                }
            }
        }
        if has("ts-hashchain.xml") {
            steps.push(self.stands_in(
                "hand-chain-digest",
                "signatures.xml",
                DigestAlgorithm::Sha512,
                "ts-hashchain.xml",
            ));
        }
        steps
    }

    fn stands_in(&self, key: &str, part: &str, algorithm: DigestAlgorithm, list: &str) -> Step {
        Step {
            says: self.speech.tell(
                key,
                [text("part", part.to_owned()), text("list", list.to_owned())],
            ),
            command: format!(
                "digest=$(openssl dgst -{} -binary {part} | openssl base64 -A)\nsed 's/&#x[dD];//g' {list} | tr -d ' \\r\\n' | grep -cF \"$digest\"",
                option(algorithm)
            ),
            expected: Some("1".to_owned()),
        }
    }

    fn value(&self, signature: &SignatureExhibit) -> Option<Step> {
        let algorithm = signature.algorithm();
        let value = match algorithm.is_ecdsa() {
            true => "signature-value.der",
            false => "signature-value.bin",
        };
        let padding = match is_pss(signature) {
            true => " -sigopt rsa_padding_mode:pss \\\n  -sigopt rsa_pss_saltlen:auto",
            false => "",
        };
        Some(Step {
            says: self.say("hand-value"),
            command: format!(
                "openssl x509 -in signer.pem -noout -pubkey > ../signer.pub\nopenssl dgst -{}{padding} -verify ../signer.pub \\\n  -signature {value} signed-info.xml",
                option(algorithm.digest())
            ),
            expected: Some("Verified OK".to_owned()),
        })
    }

    /// Left out where that program refuses what X-Road takes: the older names of PSS, and two elements of one Id.
    fn xmlsec(&self, case: &Case, signature: &SignatureExhibit, parts: &[Part]) -> Option<Step> {
        let findings = &case.verdict().findings;
        let is_double = findings
            .iter()
            .any(|finding| finding.kind() == FindingKind::DuplicateIds);
        if is_double || is_pss(signature) {
            return None;
        }
        let mut command = "xmlsec1 --verify --enabled-key-data key-name \\\n  --pubkey-cert-pem signer.pem \\\n  \
             --id-attr:Id http://uri.etsi.org/01903/v1.3.2#:SignedProperties"
            .to_owned();
        for reference in signature.references() {
            if reference.uri().starts_with('#') {
                continue;
            }
            let part = referenced(reference.uri(), parts)?;
            command.push_str(&format!(
                " \\\n  --url-map:{} {}",
                reference.uri(),
                part.name
            ));
        }
        command.push_str(" \\\n  signatures.xml 2>&1 | head -n 1");
        Some(Step {
            says: self.say("hand-xmlsec"),
            command,
            expected: Some("OK".to_owned()),
        })
    }

    fn ocsp(&self, case: &Case, signature: &SignatureExhibit) -> Option<Step> {
        let believed = case.report()?.ocsp()?;
        let number = signature
            .ocsp_responses()
            .iter()
            .position(|der| der == believed.response().der())?
            .checked_add(1)?;
        Some(Step {
            says: self.say("hand-ocsp"),
            command: format!(
                "openssl ocsp -respin ocsp-{number}.der -issuer issuer.pem \\\n  -cert signer.pem -VAfile ocsp-responder.pem -no_nonce 2>&1"
            ),
            expected: Some("Response verify OK … good".to_owned()),
        })
    }

    fn stamp_steps(&self, case: &Case) -> Vec<Step> {
        let Some(token) = case.exhibits().token() else {
            return Vec::new();
        };
        let mut steps = Vec::new();
        if case
            .report()
            .is_some_and(|report| report.stamp_authority().is_some())
        {
            let data = match case.exhibits().stamped() {
                Some((Some(_), _)) => "ts-hashchainresult.xml",
                _ => "signature-value.bin",
            };
            steps.push(Step {
                says: self.say("hand-stamp"),
                command: format!(
                    "openssl ts -verify -token_in -in timestamp.tst \\\n  -data {data} -partial_chain -attime {} \\\n  -CAfile tsa.pem -untrusted tsa.pem 2>&1",
                    token.gen_time().unix_timestamp()
                ),
                expected: Some("Verification: OK".to_owned()),
            });
        }
        steps.push(Step {
            says: self.say("hand-stamp-time"),
            command: "openssl ts -reply -token_in -in timestamp.tst -text 2>/dev/null \\\n  | grep 'Time stamp'"
                .to_owned(),
            expected: Some(format!("Time stamp: {}", as_openssl(token.gen_time()))),
        });
        steps
    }

    /// What these steps leave to be believed.
    fn not_repeated(&self, case: &Case) -> Vec<String> {
        let Some(container) = case.container() else {
            return Vec::new();
        };
        [
            ("sig-hashchain.xml", "sig-hashchainresult.xml"),
            ("ts-hashchain.xml", "ts-hashchainresult.xml"),
        ]
        .into_iter()
        .filter(|(chain, result)| {
            container.entry(chain).is_some() && container.entry(result).is_some()
        })
        .map(|(chain, result)| {
            self.speech.tell(
                "hand-chain-note",
                [text("list", chain), text("result", result)],
            )
        })
        .collect()
    }
}

/// The part that a reference means. One whose name a shell could take for more than a name is left out.
fn referenced<'p>(uri: &str, parts: &'p [Part]) -> Option<&'p Part> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let entry = uri.strip_prefix('/').unwrap_or(uri);
    parts
        .iter()
        .find(|part| is_entry(part, entry))
        .filter(|_| uri.chars().all(is_plain))
}

fn is_pss(signature: &SignatureExhibit) -> bool {
    signature.algorithm().uri().contains("rsa-MGF1")
}

fn is_entry(part: &Part, entry: &str) -> bool {
    part.entry.as_deref().unwrap_or(&part.name) == entry
}

/// The file's name for a shell; one with anything odd in it is left to the reader.
fn shell_name(case: &Case) -> String {
    let name = case.short_name();
    let is_plain = |c: char| c.is_alphanumeric() || "._-+%~".contains(c);
    if name.chars().all(is_plain) && !name.starts_with(['-', '~']) && tame(&name) == name {
        name
    } else {
        "container.asice".to_owned()
    }
}

fn option(algorithm: DigestAlgorithm) -> String {
    algorithm.name().replace('-', "").to_ascii_lowercase()
}

/// So many attachments behind a hash chain are gone through; the rest goes the same way.
const MOST_LISTED: usize = 30;

/// A moment as OpenSSL prints it: `Dec  5 07:34:14 2024 GMT`.
fn as_openssl(moment: OffsetDateTime) -> String {
    let moment = moment
        .checked_to_offset(time::UtcOffset::UTC)
        .unwrap_or(moment);
    let month: String = moment.month().to_string().chars().take(3).collect();
    let fraction = match moment.millisecond() {
        0 => String::new(),
        thousandths => format!(".{thousandths:03}")
            .trim_end_matches('0')
            .to_owned(),
    };
    format!(
        "{month} {:>2} {:02}:{:02}:{:02}{fraction} {} GMT",
        moment.day(),
        moment.hour(),
        moment.minute(),
        moment.second(),
        moment.year()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn moments_are_openssl_s() {
        assert_eq!(
            as_openssl(datetime!(2024-12-05 07:34:14 UTC)),
            "Dec  5 07:34:14 2024 GMT"
        );
        assert_eq!(
            as_openssl(datetime!(2024-07-31 23:00:09.250 UTC)),
            "Jul 31 23:00:09.25 2024 GMT"
        );
    }
}
