//! The facts in tables.

use jibek_certs::{
    digest::{Digest, DigestAlgorithm, digest, hex},
    parse::Certificate,
};
use jibek_evidence::{
    container::Direction,
    verify::{MessageFacts, Report},
};
use maud::{Markup, html};

use super::Words;
use crate::{
    explain::{Case, name_of},
    speech::{tame, text},
};

impl Words<'_> {
    pub(super) fn tables(&self, case: &Case) -> Markup {
        html! {
            @if let Some(message) = case.message() { (self.message(message)) }
            (self.certificates(case))
            (self.stamp(case))
            (self.table(
                "page-digests",
                &["page-part", "page-algorithm", "page-value", "page-state"],
                &self.digests(case),
            ))
            (self.table("page-findings", &["page-finding", "page-finding-detail"], &findings(case)))
        }
    }

    fn message(&self, message: &MessageFacts) -> Markup {
        let direction = match message.direction() {
            Direction::Request => "page-direction-request",
            Direction::Response => "page-direction-response",
        };
        let mut pairs = vec![
            ("page-kind", message.kind().to_string()),
            ("page-direction", self.say(direction)),
            ("page-client", tame(&message.client().to_string())),
            ("page-service", tame(&message.service().to_string())),
            ("page-message-id", tame(message.message_id())),
        ];
        pairs.extend(message.request_id().map(|id| ("page-request-id", tame(id))));
        html! {
            h3 { (self.say("page-message")) }
            (self.pairs(&pairs))
        }
    }

    /// Everybody whose key took part, the signer first.
    fn certificates(&self, case: &Case) -> Markup {
        let Some(signature) = case.exhibits().signature() else {
            return html! {};
        };
        let mut rows = vec![self.certificate("page-role-signer", signature.certificate())];
        match case.report().and_then(Report::certificate) {
            Some(verified) => {
                let chain = verified.chain();
                for above in chain.certificates().iter().skip(1) {
                    if above != chain.anchor() {
                        rows.push(self.certificate("page-role-intermediate", above));
                    }
                }
                rows.push(self.certificate("page-role-authority", chain.anchor()));
                if let Some(ocsp) = verified.ocsp().first() {
                    rows.push(self.certificate("page-role-responder", ocsp.responder()));
                }
            }
            None => rows.extend(
                signature
                    .extra_certificates()
                    .iter()
                    .map(|extra| self.certificate("page-role-intermediate", extra)),
            ),
        }
        let stamper = case
            .report()
            .and_then(Report::stamp_authority)
            .or_else(|| case.exhibits().token()?.certificates().first());
        rows.extend(stamper.map(|stamper| self.certificate("page-role-stamper", stamper)));
        html! {
            h3 { (self.say("page-certificates")) }
            @for row in rows { (row) }
        }
    }

    fn certificate(&self, role: &str, certificate: &Certificate) -> Markup {
        let validity = self.speech.tell(
            "page-validity-range",
            [
                text("from", self.when(certificate.not_before())),
                text("to", self.when(certificate.not_after())),
            ],
        );
        html! {
            div.certificate {
                h4 { (self.say(role)) }
                (self.pairs(&[
                    ("page-subject", name_of(certificate.subject())),
                    ("page-issuer", name_of(certificate.issuer())),
                    ("page-serial", certificate.serial_decimal()),
                    ("page-validity", validity),
                    ("page-fingerprint", hex(&certificate.sha256())),
                ]))
            }
        }
    }

    fn stamp(&self, case: &Case) -> Markup {
        let Some(token) = case.exhibits().token() else {
            return html! {};
        };
        let imprint = token.imprint();
        let covers = match case.exhibits().stamped() {
            Some((Some(entry), _)) => entry.trim_start_matches('/').to_owned(),
            _ => self.say("page-covers-value"),
        };
        html! {
            h3 { (self.say("page-stamp")) }
            (self.pairs(&[
                ("page-stamp-time", self.when(token.gen_time())),
                ("page-stamp-covers", covers),
                ("page-algorithm", imprint.algorithm().name().to_owned()),
                ("page-stamp-imprint", imprint.to_hex()),
            ]))
        }
    }

    fn digests(&self, case: &Case) -> Vec<Vec<String>> {
        let Some(container) = case.container() else {
            return Vec::new();
        };
        let is_valid = case.report().is_some();
        let state = |is_proved: bool| {
            self.say(match is_proved {
                true => "part-proved",
                false => "part-unproved",
            })
        };
        let row = |name: &str, found: &Digest, state: String| {
            vec![
                tame(name),
                found.algorithm().name().to_owned(),
                found.to_hex(),
                state,
            ]
        };
        let mut rows = Vec::new();
        for (name, state) in [
            ("message.xml", state(is_valid)),
            ("META-INF/signatures.xml", self.say("part-proof")),
        ] {
            rows.extend(
                container
                    .entry(name)
                    .map(|content| row(name, &digest(DigestAlgorithm::Sha512, content), state)),
            );
        }
        let attachments = case.report().map(Report::attachments).unwrap_or_default();
        for attachment in attachments.iter().take(MOST_ROWS) {
            let name = attachment.name().trim_start_matches('/');
            let standing = match (attachment.is_verified(), container.entry(name)) {
                (true, _) => "part-proved",
                (false, Some(_)) => "part-differs",
                (false, None) => "part-absent",
            };
            rows.push(row(name, attachment.digest(), self.say(standing)));
        }
        if let Some(signature) = case.exhibits().signature() {
            let signed_info = digest(DigestAlgorithm::Sha512, signature.signed_info());
            rows.push(row("SignedInfo", &signed_info, self.say("part-proof")));
        }
        rows
    }
}

fn findings(case: &Case) -> Vec<Vec<String>> {
    case.verdict()
        .findings
        .iter()
        .take(MOST_ROWS)
        .map(|finding| vec![finding.id().to_owned(), tame(finding.text())])
        .collect()
}

/// So many rows a table has; a container may have thousands of attachments.
const MOST_ROWS: usize = 500;
