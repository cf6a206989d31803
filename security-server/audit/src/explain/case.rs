//! A file, its verdict, and the pieces that are shown of it.

use bytes::Bytes;
use jibek_conf::snapshot::Snapshot;
use jibek_evidence::{
    container::{Container, ContainerLimits},
    verify::{Exhibits, MessageFacts, Outcome, Report, Verdict, verify_container},
};
use std::path::Path;

use crate::{
    judge::{Judged, Standing, cannot_judge, read_file},
    speech::tame,
};

/// Everything that is told about one file.
#[derive(Debug)]
pub struct Case<'c> {
    judged: Judged,
    bytes: Option<Bytes>,
    container: Option<Container>,
    exhibits: Exhibits,
    configuration: &'c Snapshot,
}

impl<'c> Case<'c> {
    /// Opens and judges a container. What cannot be read is a case, too.
    pub fn open(file: &Path, configuration: &'c Snapshot) -> Self {
        match read_file(file) {
            Ok(bytes) => Self::of(file, bytes, configuration),
            Err(reason) => Self {
                judged: Judged::new(file, None, cannot_judge(reason)),
                bytes: None,
                container: None,
                exhibits: Exhibits::default(),
                configuration,
            },
        }
    }

    /// Judges the bytes of a container.
    pub fn of(file: &Path, bytes: Bytes, configuration: &'c Snapshot) -> Self {
        let (container, verdict) = match Container::read(&bytes, &ContainerLimits::default()) {
            Ok(container) => {
                let verdict = verify_container(&container, configuration);
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
            configuration,
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

    /// The configuration it was judged by.
    pub fn configuration(&self) -> &'c Snapshot {
        self.configuration
    }
}
