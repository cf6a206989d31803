//! The evidence of the story: exported from the consumer's server, proved by the auditor's program, tampered with.

use std::{
    io::{Cursor, Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use jibek_conf::{
    ConfDir, Snapshot,
    files::{atomic_write, create_dir_durably},
};
use jibek_protocol::id::ClientId;
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use super::Step;
use crate::http::Http;

/// Why evidence was not exported or not proved.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct ProofError {
    what: String,
    reason: String,
}

impl ProofError {
    fn new(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self {
            what: what.into(),
            reason: format!("{reason}"),
        }
    }
}

/// Containers on disk, and the configuration that a verifier needs beside them.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The containers.
    pub containers: Vec<PathBuf>,
    /// Directory of the configuration.
    pub configuration: PathBuf,
}

/// Fetches request and answer of every step from the client's server into `dir`, and stores the configuration there.
///
/// # Errors
///
/// [`ProofError`] names what could not be fetched or written.
pub async fn export(
    server: &str,
    client: &ClientId,
    steps: &[Step],
    snapshot: &Snapshot,
    dir: &Path,
) -> Result<Exported, ProofError> {
    create_dir_durably(dir).map_err(|error| ProofError::new("evidence", error))?;
    let http = Http::default();
    let mut containers = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        for half in ["request", "response"] {
            let url = format!(
                "{server}/asic?queryId={}&xRoadInstance={}&memberClass={}&memberCode={}&subsystemCode={}&{half}Only&unique",
                jibek_protocol::id::encode_part(&step.message_id),
                client.instance(),
                client.member().class(),
                client.member().code(),
                client.subsystem().unwrap_or_default(),
            );
            let answer = http
                .get(&url)
                .await
                .map_err(|error| ProofError::new(&url, error))?;
            if answer.status() != 200 {
                let words = String::from_utf8_lossy(answer.body()).into_owned();
                return Err(ProofError::new(url, words));
            }
            let path = dir.join(format!("{}-{half}.asice", number + 1));
            atomic_write(&path, answer.body())
                .map_err(|error| ProofError::new(path.display().to_string(), error))?;
            containers.push(path);
        }
    }
    let configuration = dir.join("verificationconf");
    ConfDir::new(&configuration)
        .store_verification(snapshot)
        .map_err(|error| ProofError::new("the configuration", error))?;
    Ok(Exported {
        containers,
        configuration,
    })
}

/// Runs the auditor's program over containers; returns what it printed and whether all are valid.
///
/// # Errors
///
/// When the program cannot be run.
pub fn prove(
    auditor: &Path,
    configuration: &Path,
    containers: &[PathBuf],
) -> Result<(String, bool), ProofError> {
    let output = Command::new(auditor)
        .arg("verify")
        .arg("--conf")
        .arg(configuration)
        .args(containers)
        .output()
        .map_err(|error| ProofError::new(auditor.display().to_string(), error))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((text, output.status.success()))
}

/// Writes a copy of a container in which one byte of `message.xml` differs, a well-formed zip otherwise.
///
/// # Errors
///
/// When the container cannot be read or the copy not written.
pub fn tamper(container: &Path, copy: &Path) -> Result<(), ProofError> {
    let failed =
        |error: &dyn std::error::Error| ProofError::new(container.display().to_string(), error);
    let bytes = std::fs::read(container).map_err(|error| failed(&error))?;
    let mut archive =
        ZipArchive::new(Cursor::new(Bytes::from(bytes))).map_err(|error| failed(&error))?;
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| failed(&error))?;
        let name = entry.name().map_err(|error| failed(&error))?.into_owned();
        let mut content = Vec::new();
        entry
            .read_to_end(&mut content)
            .map_err(|error| failed(&error))?;
        if name == "message.xml" {
            // The last digit of the message: an id or a hash, which is easily overlooked.
            let digit = content.iter_mut().rev().find(|byte| byte.is_ascii_digit());
            if let Some(digit) = digit {
                *digit = if *digit == b'9' { b'8' } else { *digit + 1 };
            }
        }
        writer
            .start_file(name, stored)
            .map_err(|error| failed(&error))?;
        writer.write_all(&content).map_err(|error| failed(&error))?;
    }
    let bytes = writer
        .finish()
        .map_err(|error| failed(&error))?
        .into_inner();
    atomic_write(copy, &bytes).map_err(|error| failed(&error))
}
