//! Every message of a run is proved: by the auditor's program, over the servers' logs, after the run.

use std::{
    collections::{BTreeMap, HashSet},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;
use serde::Deserialize;
use tokio::time::Instant;

use crate::processes::cpu_seconds_of_ended_children;

/// What the auditor said of the logs of a chapter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proof {
    /// Proved messages by the mark of their row.
    rows: BTreeMap<String, Proved>,
    /// Containers judged valid.
    pub valid: u64,
    /// Containers and logs that were not.
    pub refused: u64,
    /// What the first one lacked.
    pub first_refusal: Option<String>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Processor time of it, in seconds.
    pub cpu_seconds: f64,
}

/// Proved messages of a row, each once for a server and direction.
#[derive(Clone, Debug, Default, PartialEq)]
struct Proved {
    messages: HashSet<(PathBuf, bool, String)>,
    twice: u64,
}

impl Proof {
    /// Whether a row of so many answered calls is proved: request and answer of each, at both servers, each once.
    ///
    /// # Errors
    ///
    /// What is missing or too much.
    pub fn of_row(&self, mark: &str, answered: u64) -> Result<u64, String> {
        let none = Proved::default();
        let proved = self.rows.get(mark).unwrap_or(&none);
        let count = u64::try_from(proved.messages.len()).unwrap_or(u64::MAX);
        let sent = answered.saturating_mul(4);
        if let Some(reason) = &self.first_refusal {
            return Err(format!("{} refused, the first: {reason}", self.refused));
        }
        if proved.twice > 0 {
            return Err(format!("{} messages are in a log twice", proved.twice));
        }
        if count != sent {
            return Err(format!("{sent} messages sent, {count} proved"));
        }
        Ok(count)
    }

    fn take(&mut self, line: &str) -> anyhow::Result<()> {
        let line: Line = serde_json::from_str(line).context("the auditor's line is not JSON")?;
        if line.kind == "summary" {
            return Ok(());
        }
        if line.verdict != "valid" {
            self.refused += 1;
            let reason = line.reason.unwrap_or(line.verdict);
            self.first_refusal.get_or_insert(reason);
            return Ok(());
        }
        let Some(report) = line.report else {
            return Ok(()); // the log as a whole
        };
        self.valid += 1;
        let Some((mark, number)) = report.message_id.rsplit_once('-') else {
            return Ok(());
        };
        let row = self.rows.entry(mark.to_owned()).or_default();
        let request = report.direction == "request";
        if !row
            .messages
            .insert((line.file.unwrap_or_default(), request, number.to_owned()))
        {
            row.twice += 1;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    verdict: String,
    reason: Option<String>,
    file: Option<PathBuf>,
    report: Option<Report>,
}

#[derive(Deserialize)]
struct Report {
    direction: String,
    message_id: String,
}

/// Runs the auditor's program over `logs`, with the configurations that the registry kept in `history`.
///
/// # Errors
///
/// When it cannot be run or says something that is not its JSON.
pub fn prove(auditor: &Path, history: &Path, logs: &[PathBuf]) -> anyhow::Result<Proof> {
    let cpu = cpu_seconds_of_ended_children();
    let begun = Instant::now();
    let mut child = Command::new(auditor)
        .args(["verify", "--json", "--conf-history"])
        .arg(history)
        .args(logs)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", auditor.display()))?;
    let mut proof = Proof::default();
    let out = child.stdout.take().context("no output of the auditor")?;
    for line in BufReader::new(out).lines() {
        proof.take(&line?)?;
    }
    child.wait()?;
    proof.seconds = begun.elapsed().as_secs_f64();
    proof.cpu_seconds = cpu_seconds_of_ended_children() - cpu;
    Ok(proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(log: &str, direction: &str, id: &str) -> String {
        format!(
            r#"{{"type":"container","file":"{log}","verdict":"valid","code":null,"reason":null,"findings":[],"report":{{"direction":"{direction}","message_id":"{id}"}}}}"#
        )
    }

    fn exchange(proof: &mut Proof, id: &str) {
        for log in ["a/log", "b/log"] {
            for direction in ["request", "response"] {
                proof.take(&line(log, direction, id)).unwrap();
            }
        }
    }

    #[test]
    fn a_row_is_proved_when_all_four_records_of_every_call_are() {
        let mut proof = Proof::default();
        exchange(&mut proof, "r1-000000001");
        exchange(&mut proof, "r1-000000002");
        exchange(&mut proof, "r2-000000001");
        assert_eq!(proof.of_row("r1", 2), Ok(8));
        assert_eq!(proof.valid, 12);
        assert!(proof.of_row("r1", 3).is_err());
        assert!(proof.of_row("r2", 0).is_err());
        assert!(proof.of_row("r3", 1).is_err());
    }

    #[test]
    fn a_record_twice_or_refused_fails_the_row() {
        let mut proof = Proof::default();
        exchange(&mut proof, "r1-000000001");
        proof
            .take(&line("a/log", "request", "r1-000000001"))
            .unwrap();
        assert!(proof.of_row("r1", 1).unwrap_err().contains("twice"));

        let mut proof = Proof::default();
        exchange(&mut proof, "r1-000000001");
        proof
            .take(r#"{"type":"log","files":["a"],"verdict":"invalid","reason":"damaged"}"#)
            .unwrap();
        assert!(proof.of_row("r1", 1).unwrap_err().contains("damaged"));
    }
}
