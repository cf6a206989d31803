//! A file, its verdict, and the pieces that are shown of it.

use bytes::Bytes;
use jibek_conf::snapshot::Snapshot;
use jibek_evidence::{
    container::{Container, ContainerLimits},
    verify::{Exhibits, MessageFacts, Outcome, Report, Verdict},
};
use std::path::Path;
use time::OffsetDateTime;

use crate::{
    configuration::{Chosen, Configuration},
    judge::{Judged, Standing, cannot_judge, read_file},
    speech::tame,
};

/// Everything that is told about one file.
#[derive(Debug)]
pub struct Case {
    judged: Judged,
    bytes: Option<Bytes>,
    container: Option<Container>,
    exhibits: Exhibits,
    configuration: Option<Chosen>,
}

impl Case {
    /// Opens and judges a container. What cannot be read is a case, too.
    pub fn open(file: &Path, configuration: &Configuration) -> Self {
        match read_file(file) {
            Ok(bytes) => Self::of(file, bytes, configuration),
            Err(reason) => Self {
                judged: Judged::new(file, None, cannot_judge(reason)),
                bytes: None,
                container: None,
                exhibits: Exhibits::default(),
                configuration: configuration.only().cloned(),
            },
        }
    }

    /// Judges the bytes of a container.
    pub fn of(file: &Path, bytes: Bytes, configuration: &Configuration) -> Self {
        let mut chosen = configuration.only().cloned();
        let (container, verdict) = match Container::read(&bytes, &ContainerLimits::default()) {
            Ok(container) => {
                let verdict = match configuration.of(&container) {
                    Ok(found) => chosen.insert(found).judge(&container),
                    Err(reason) => cannot_judge(reason),
                };
                (Some(container), verdict)
            }
            Err(error) => {
                let outcome = Outcome::Invalid {
                    code: error.code().to_owned(),
                    reason: error.to_string(),
                };
                let findings = Vec::new();
                (None, Verdict { outcome, findings })
            }
        };
        let exhibits = container.as_ref().map(Exhibits::of).unwrap_or_default();
        Self {
            judged: Judged::new(file, None, verdict),
            bytes: Some(bytes),
            container,
            exhibits,
            configuration: chosen,
        }
    }

    /// How it stands by X-Road's rules.
    pub fn standing(&self) -> Standing {
        self.judged.standing(false)
    }

    /// The verdict, with what stands beside it.
    pub fn verdict(&self) -> &Verdict {
        &self.judged.verdict
    }

    /// The file as it was named, made harmless.
    pub fn name(&self) -> String {
        tame(&self.judged.file.to_string_lossy())
    }

    /// The last part of the file's name.
    pub fn short_name(&self) -> String {
        self.judged
            .file
            .file_name()
            .map_or_else(|| self.name(), |name| name.to_string_lossy().into_owned())
    }

    /// The file's bytes; `None` when it could not be read.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }

    /// The container; `None` when the file is none.
    pub fn container(&self) -> Option<&Container> {
        self.container.as_ref()
    }

    /// The pieces of the container, unjudged.
    pub fn exhibits(&self) -> &Exhibits {
        &self.exhibits
    }

    /// What a valid container proves.
    pub fn report(&self) -> Option<&Report> {
        match &self.judged.verdict.outcome {
            Outcome::Valid(report) => Some(report),
            Outcome::Invalid { .. } | Outcome::CannotJudge { .. } => None,
        }
    }

    /// What the message says of itself, proved or not.
    pub fn message(&self) -> Option<&MessageFacts> {
        self.report()
            .map(Report::message)
            .or_else(|| self.exhibits.message())
    }

    /// The configuration it was judged by; `None` when the history has none for it.
    pub fn configuration(&self) -> Option<&Snapshot> {
        self.configuration
            .as_ref()
            .map(|chosen| chosen.snapshot.as_ref())
    }

    /// Since when that configuration was in force, when there was a choice.
    pub fn configuration_since(&self) -> Option<OffsetDateTime> {
        self.configuration.as_ref()?.since
    }
}
