//! What exactly is proved, what is not, and on what it rests.

use jibek_certs::digest::{DigestAlgorithm, digest};
use jibek_evidence::{
    container::Direction,
    verify::{Attachment, Report},
};

use super::Teller;
use crate::speech::{number, tame, text};

impl Teller<'_> {
    pub(super) fn proved(&self, report: &Report) -> Vec<String> {
        let bytes = self
            .case
            .container()
            .and_then(|container| container.entry("message.xml"))
            .map_or(0, |message| size(message.len()));
        let mut told = vec![self.speech.tell("proved-bytes", [number("bytes", bytes)])];
        let (verified, _) = attachments(report);
        told.extend(self.listed("proved-attachments", &verified));
        told.push(self.speech.tell(
            "proved-member",
            [text("party", self.names.member(report.sender().member()))],
        ));
        told.push(self.speech.tell(
            "proved-time",
            [text(
                "time",
                self.moments.write(self.speech, report.stamp_time()),
            )],
        ));
        told.push(self.speech.say("proved-certificate"));
        told
    }

    pub(super) fn unproved(&self, report: &Report) -> Vec<String> {
        let message = report.message();
        let mut told = vec![match message.user_id() {
            Some(user) => self
                .speech
                .tell("unproved-user", [text("user", tame(user))]),
            None => self.speech.say("unproved-person"),
        }];
        told.push(self.speech.say("unproved-true"));
        told.push(self.speech.say("unproved-sending"));
        told.push(self.speech.say(match message.direction() {
            Direction::Request => "unproved-received-request",
            Direction::Response => "unproved-received-response",
        }));
        let (_, unverified) = attachments(report);
        told.extend(self.listed("unproved-attachments", &unverified));
        if !self.case.verdict().findings.is_empty() {
            told.push(self.speech.say("unproved-findings"));
        }
        told
    }

    fn listed(&self, key: &str, attachments: &[&Attachment]) -> Option<String> {
        if attachments.is_empty() {
            return None;
        }
        let mut names: Vec<String> = attachments
            .iter()
            .take(MOST_NAMES)
            .map(|attachment| tame(attachment.name()))
            .collect();
        if attachments.len() > MOST_NAMES {
            names.push("…".to_owned());
        }
        Some(self.speech.tell(
            key,
            [
                number("count", size(attachments.len())),
                text("names", names.join(", ")),
            ],
        ))
    }

    pub(super) fn basis(&self) -> Vec<String> {
        let mut told = Vec::new();
        if let Some(bytes) = self.case.bytes() {
            told.push(self.speech.tell(
                "basis-file",
                [
                    number("bytes", size(bytes.len())),
                    text("digest", digest(DigestAlgorithm::Sha512, bytes).to_hex()),
                ],
            ));
        }
        if let Some(digest) = self
            .case
            .container()
            .and_then(|container| container.digest("message.xml"))
        {
            told.push(
                self.speech
                    .tell("basis-message", [text("digest", digest.to_hex())]),
            );
        }
        if let Some(configuration) = self.case.configuration() {
            told.push(self.speech.tell(
                "basis-configuration",
                [
                    text("instance", tame(configuration.own_instance())),
                    text("digest", configuration.content_id().to_hex()),
                ],
            ));
        }
        told.extend(self.case.configuration_since().map(|since| {
            let since = self.moments.write(self.speech, since);
            self.speech.tell("basis-since", [text("time", since)])
        }));
        told.push(self.speech.say("basis-rules"));
        told.push(self.speech.tell(
            "basis-program",
            [text("version", env!("CARGO_PKG_VERSION"))],
        ));
        told
    }
}

/// Attachments that are what was signed, and those that cannot be said to be.
fn attachments(report: &Report) -> (Vec<&Attachment>, Vec<&Attachment>) {
    report
        .attachments()
        .iter()
        .partition(|attachment| attachment.is_verified())
}

pub(super) fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// So many attachments are named, the rest are counted.
const MOST_NAMES: usize = 10;
