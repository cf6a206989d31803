//! Archives of X-Road's message log: every container judged, every link followed, and several put in order at the end.

use jibek_evidence::{
    archive::{
        Archive, ArchiveLimits, ArchiveName, Bundle, FileKind, JoinFault, Start, VerifiedArchive,
        join, kind,
    },
    verify::{Outcome, Verdict},
};
use serde_json::{Map, Value, json};
use std::{
    io::{Read, Seek},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::{Job, Sink, unseen};
use crate::{
    judge::{Note, explain},
    whole::{Fault, Whole, WholeKind},
};

/// The archives whose links are right, until all are known and can be put in order.
#[derive(Debug, Default)]
pub(super) struct Archives {
    files: Vec<PathBuf>,
    verified: Vec<(String, VerifiedArchive)>,
}

/// Whether a file is an archive or a bundle of containers. One that has an archive's name and lost its links is no bundle.
pub(super) fn holds_several<R: Read + Seek>(file: &Path, source: R) -> Option<WholeKind> {
    let name = file.file_name().and_then(|it| it.to_str());
    let is_named_so = name.is_some_and(|it| ArchiveName::parse(it).is_some());
    match kind(source) {
        FileKind::Archive => Some(WholeKind::Archive),
        FileKind::Bundle if is_named_so => Some(WholeKind::Archive),
        FileKind::Bundle => Some(WholeKind::Bundle),
        _ => None,
    }
}

impl Archives {
    /// Finds the containers of an archive, and tells last how it stands as a whole. `whole` says what is known of the file.
    pub(super) fn archive<R: Read + Seek>(
        &mut self,
        mut whole: Whole,
        source: R,
        sink: &mut Sink<'_>,
    ) -> ControlFlow<()> {
        let file = whole.files.first().cloned().unwrap_or_default();
        let mut archive = match Archive::open(source, &ArchiveLimits::default()) {
            Ok(archive) => archive,
            Err(error) => {
                whole.faults.push(Fault::new(error.code(), explain(&error)));
                return sink(whole.into());
            }
        };
        let others: Vec<String> = archive
            .other_entries()
            .take(MOST_TOLD)
            .map(str::to_owned)
            .collect();
        whole.notes.extend(others.into_iter().map(|name| {
            let text = format!("{name} is in the archive and no part of it");
            Note::new("archive_other_entry", text)
        }));
        while let Some(container) = archive.next_container() {
            whole.containers = whole.containers.saturating_add(1);
            let fault = container.fault().map(|it| (it.code(), it.to_string()));
            sink(found(
                &file,
                container.name(),
                container.bytes().cloned(),
                fault,
            ))?;
        }
        let (previous, named) = {
            let info = archive.linking_info();
            (
                info.previous().map(ToString::to_string),
                info.previous_archive().map(str::to_owned),
            )
        };
        match archive.finish() {
            Ok(verified) => {
                whole.sentence = format!(
                    "{} containers, each linked to the one before, {}; last link {}{}",
                    whole.containers,
                    beginning(previous.as_deref(), named.as_deref()),
                    verified.last(),
                    whole.sentence
                );
                whole
                    .facts
                    .insert("last_link".to_owned(), json!(verified.last().to_string()));
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                self.verified.push((name.into_owned(), verified));
                self.files.push(file);
            }
            Err(broken) => {
                let faults = broken.faults().iter();
                let faults = faults.map(|fault| Fault::new(fault.code(), fault.to_string()));
                whole.faults.extend(faults);
                whole
                    .facts
                    .insert("faults".to_owned(), json!(broken.fault_count()));
            }
        }
        whole
            .facts
            .insert("previous_link".to_owned(), json!(previous));
        whole
            .facts
            .insert("previous_archive".to_owned(), json!(named));
        sink(whole.into())
    }

    /// Finds the containers of a ZIP file without links.
    pub(super) fn bundle<R: Read + Seek>(
        mut whole: Whole,
        source: R,
        sink: &mut Sink<'_>,
    ) -> ControlFlow<()> {
        let file = whole.files.first().cloned().unwrap_or_default();
        let mut bundle = match Bundle::open(source, &ArchiveLimits::default()) {
            Ok(bundle) => bundle,
            Err(error) => {
                whole.faults.push(Fault::new(error.code(), explain(&error)));
                return sink(whole.into());
            }
        };
        while let Some(container) = bundle.next_container() {
            whole.containers = whole.containers.saturating_add(1);
            let fault = container.fault().map(|it| (it.code(), it.to_string()));
            sink(found(
                &file,
                container.name(),
                container.bytes().cloned(),
                fault,
            ))?;
        }
        whole.sentence = format!("{} containers{}", whole.containers, whole.sentence);
        let text =
            "there are no links: nothing shows whether containers are missing, nor their order";
        whole.notes.push(Note::new("bundle_without_links", text));
        sink(whole.into())
    }

    /// Puts all archives in order and tells what does not fit together.
    pub(super) fn finish(self, sink: &mut Sink<'_>) -> ControlFlow<()> {
        let Self { files, verified } = self;
        let history = join(&verified);
        if verified.len() < 2 && history.faults().is_empty() {
            return ControlFlow::Continue(());
        }
        for chain in history.chains() {
            let at = |number: &usize| files.get(*number).cloned().unwrap_or_default();
            let mut whole = Whole::new(WholeKind::Chain, chain.archives().iter().map(at).collect());
            let held = chain
                .archives()
                .iter()
                .filter_map(|number| verified.get(*number))
                .map(|(_, archive)| archive.containers().len());
            whole.containers = held.map(|it| u64::try_from(it).unwrap_or(u64::MAX)).sum();
            let (previous, named) = match chain.start() {
                Start::First => (None, None),
                Start::After { digest, archive } => (Some(digest.to_string()), archive.clone()),
            };
            whole.sentence = format!(
                "{} archives with {} containers continue each other, {}",
                chain.archives().len(),
                whole.containers,
                beginning(previous.as_deref(), named.as_deref())
            );
            whole.facts = Map::from_iter([
                ("previous_link".to_owned(), json!(previous)),
                ("previous_archive".to_owned(), Value::from(named)),
            ]);
            let ours = |fault: &&JoinFault| {
                let about = fault.archives();
                about.iter().any(|it| chain.archives().contains(it))
            };
            for fault in history.faults().iter().filter(ours).take(MOST_TOLD) {
                put(&mut whole, fault, &files);
            }
            sink(whole.into())?;
        }
        ControlFlow::Continue(())
    }
}

/// A contradiction makes the chain invalid, a gap keeps it from being judged, the rest is a note.
fn put(whole: &mut Whole, fault: &JoinFault, files: &[PathBuf]) {
    let named: Vec<String> = fault
        .archives()
        .iter()
        .map(|number| {
            let file = files.get(*number).map(|it| it.display().to_string());
            format!("archive {number} is {}", file.unwrap_or_default())
        })
        .collect();
    let text = format!("{fault} ({})", named.join(", "));
    match fault {
        _ if fault.is_contradiction() => whole.faults.push(Fault::new(fault.code(), text)),
        JoinFault::Gap { .. } => whole.lacking.push(Fault::new(fault.code(), text)),
        _ => whole.notes.push(Note::new(fault.code(), text)),
    }
}

fn beginning(previous: Option<&str>, named: Option<&str>) -> String {
    match (previous, named) {
        (None, _) => "from the beginning of a log".to_owned(),
        (Some(link), None) => format!("after one that ends with the link {link}"),
        (Some(_), Some(named)) => format!("after {named}"),
    }
}

/// A container of an archive, or why it cannot be judged. A fault that leaves its bytes at hand is told with the archive.
fn found(
    file: &Path,
    name: &str,
    bytes: Option<bytes::Bytes>,
    fault: Option<(&str, String)>,
) -> Job {
    let (file, entry) = (file.to_owned(), Some(name.to_owned()));
    match (bytes, fault) {
        (Some(bytes), _) => Job::Bytes {
            file,
            entry,
            bytes,
            notes: Vec::new(),
        },
        (None, fault) => {
            let (code, reason) = fault.unwrap_or(("container_damaged", "it is damaged".to_owned()));
            let outcome = Outcome::Invalid {
                code: code.to_owned(),
                reason,
            };
            let findings = Vec::new();
            unseen(file, entry, Verdict { outcome, findings })
        }
    }
}

/// What is told one by one, in one archive or chain.
const MOST_TOLD: usize = 100;
