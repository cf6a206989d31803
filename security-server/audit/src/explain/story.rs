//! What is told of every container: who, what, when, under which certificate, stamped by whom.

use jibek_certs::{ocsp::CertificateStatus, parse::Certificate, trust::Trust};
use jibek_evidence::{
    container::Direction,
    verify::{MessageFacts, MessageKind, Report},
};

use super::{Teller, names::name_of};
use crate::speech::{number, tame, text};

impl Teller<'_> {
    pub(super) fn what(&self) -> Vec<String> {
        let Some(message) = self.case.message() else {
            return match self.case.bytes() {
                None => Vec::new(),
                Some(_) => vec![self.speech.say("nothing-readable")],
            };
        };
        let mut told = Vec::new();
        if self.case.report().is_none() {
            told.push(self.speech.say("claims-only"));
        }
        let client = self.names.client(message.client());
        let provider = self.names.client(message.service().provider());
        let (kind, first, second) = match message.direction() {
            Direction::Request => (
                "what-request",
                ("what-asker", client),
                ("what-asked", provider),
            ),
            Direction::Response => (
                "what-response",
                ("what-answerer", provider),
                ("what-answered", client),
            ),
        };
        told.push(self.speech.say(kind));
        for (key, party) in [first, second] {
            told.push(self.speech.tell(key, [text("party", party)]));
        }
        told.extend(self.what_about(message));
        told
    }

    fn what_about(&self, message: &MessageFacts) -> Vec<String> {
        let service = message.service();
        let code = text("service", tame(service.code()));
        let one = |key, gap, value: &str| self.speech.tell(key, [text(gap, tame(value))]);
        let mut told = vec![match service.version() {
            None => self.speech.tell("what-service", [code]),
            Some(version) => self.speech.tell(
                "what-service-version",
                [code, text("version", tame(version))],
            ),
        }];
        told.extend(
            message
                .operation()
                // a SOAP body's element only says the service's name once more
                .filter(|_| message.kind() == MessageKind::Rest)
                .map(|value| one("what-operation", "operation", value)),
        );
        told.extend(
            message
                .status()
                .map(|status| one("what-status", "status", &status.to_string())),
        );
        told.push(one("what-message-id", "id", message.message_id()));
        told.extend(
            message
                .issue()
                .map(|value| one("what-issue", "issue", value)),
        );
        told.extend(message.represented_party().map(|party| {
            self.speech
                .tell("what-represented", [text("party", self.names.party(party))])
        }));
        told.extend(
            message
                .user_id()
                .map(|value| one("what-user", "user", value)),
        );
        told
    }

    pub(super) fn when(&self) -> Vec<String> {
        if self.case.container().is_none() {
            return Vec::new();
        }
        let at = |key, moment| {
            self.speech
                .tell(key, [text("time", self.moments.write(self.speech, moment))])
        };
        let signing = self
            .case
            .exhibits()
            .signature()
            .and_then(|signature| signature.signing_time());
        let stamp = match (self.case.report(), self.case.exhibits().token()) {
            (Some(report), _) => at("when-stamp", report.stamp_time()),
            (None, Some(token)) => at("when-stamp-claimed", token.gen_time()),
            (None, None) => self.speech.say("when-no-stamp"),
        };
        let signing = match signing {
            Some(signing) => at("when-signing", signing),
            None => self.speech.say("when-no-signing"),
        };
        vec![stamp, signing]
    }

    pub(super) fn certificate(&self) -> Vec<String> {
        if self.case.container().is_none() {
            return Vec::new();
        }
        let Some(signature) = self.case.exhibits().signature() else {
            return vec![self.speech.say("no-certificate")];
        };
        let certificate = signature.certificate();
        let mut told = vec![
            self.speech.tell(
                match self.case.report() {
                    Some(_) => "certificate-subject",
                    None => "certificate-subject-claimed",
                },
                [subject("subject", certificate)],
            ),
            self.speech.tell(
                "certificate-validity",
                [
                    text("serial", certificate.serial_decimal()),
                    text(
                        "from",
                        self.moments.write(self.speech, certificate.not_before()),
                    ),
                    text(
                        "to",
                        self.moments.write(self.speech, certificate.not_after()),
                    ),
                ],
            ),
        ];
        let issuer = text("issuer", name_of(certificate.issuer()));
        let approved = self
            .case
            .report()
            .and_then(Report::certificate)
            .and_then(|verified| self.names.authority(verified.issuer()));
        told.push(match approved {
            None => self.speech.tell("certificate-issuer", [issuer]),
            Some(name) => self
                .speech
                .tell("certificate-issuer-named", [issuer, text("name", name)]),
        });
        told.extend(match self.case.report() {
            Some(report) => self.proved_status(report),
            None => vec![self.stated_status(signature)],
        });
        told
    }

    fn proved_status(&self, report: &Report) -> Vec<String> {
        let Some(ocsp) = report.ocsp() else {
            return Vec::new();
        };
        let age = report.stamp_time() - ocsp.response().this_update();
        let freshness = self.case.configuration().map(Trust::ocsp_freshness);
        let allowed = freshness.unwrap_or_default().as_secs() / 60;
        let good = self.speech.tell(
            "certificate-good",
            [
                text(
                    "produced",
                    self.moments.write(self.speech, ocsp.produced_at()),
                ),
                subject("responder", ocsp.responder()),
            ],
        );
        let mut told = vec![good];
        // a response from the future is a finding of its own
        if let Ok(minutes) = u64::try_from(age.whole_minutes())
            && !age.is_negative()
        {
            told.push(self.speech.tell(
                "certificate-good-age",
                [number("minutes", minutes), number("allowed", allowed)],
            ));
        }
        told
    }

    fn stated_status(&self, signature: &jibek_evidence::verify::SignatureExhibit) -> String {
        let Some(ocsp) = signature.first_ocsp() else {
            return self.speech.say("certificate-status-none");
        };
        let (key, gap, moment) = match ocsp.status() {
            CertificateStatus::Good => ("certificate-status-good", "time", ocsp.this_update()),
            CertificateStatus::Revoked { since } => ("certificate-status-revoked", "since", since),
            _ => return self.speech.say("certificate-status-unknown"),
        };
        self.speech
            .tell(key, [text(gap, self.moments.write(self.speech, moment))])
    }

    pub(super) fn stamp(&self) -> Vec<String> {
        let Some(token) = self.case.exhibits().token() else {
            return Vec::new();
        };
        let mut told = Vec::new();
        match self.case.report().and_then(Report::stamp_authority) {
            Some(authority) => {
                let gap = subject("authority", authority);
                told.push(match self.names.stamper(authority) {
                    None => self.speech.tell("stamp-by", [gap]),
                    Some(name) => self
                        .speech
                        .tell("stamp-by-named", [gap, text("name", name)]),
                });
            }
            None => told.extend(token.certificates().first().map(|authority| {
                self.speech
                    .tell("stamp-by-claimed", [subject("authority", authority)])
            })),
        }
        if self.case.report().is_some() {
            let is_batch = self
                .case
                .exhibits()
                .stamped()
                .is_some_and(|(entry, _)| entry.is_some());
            told.push(self.speech.say(if is_batch {
                "stamp-batch"
            } else {
                "stamp-single"
            }));
        }
        told
    }
}

fn subject(gap: &'static str, certificate: &Certificate) -> crate::speech::Gap<'static> {
    text(gap, name_of(certificate.subject()))
}
