//! How the programs bear a country's size: what `jibek-scale` measures.

use std::{fmt::Write as _, time::Duration};

pub mod configuration;
pub mod log;
pub mod start;

/// Milliseconds.
#[must_use]
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The time within which this share of `times`, which are ascending, was done.
#[must_use]
pub fn percentile(times: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into a list in memory"
    )]
    let index = (times.len() as f64 * share) as usize;
    let last = times.len().saturating_sub(1);
    times.get(index.min(last)).copied().unwrap_or_default()
}

/// Memory of a process in MiB, from `/proc`: `VmRSS` now, `VmHWM` at the highest.
#[must_use]
pub fn memory_mib(process: &str, what: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let number = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
    let kib: f64 = number.and_then(|number| number.parse().ok()).unwrap_or(0.0);
    kib / 1024.0
}

/// A table with columns as wide as they need be.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let widths = rows.iter().filter_map(|row| row.get(column));
            let width = widths.map(|cell| cell.chars().count()).max().unwrap_or(0);
            let _ = write!(text, "{cell:>width$}  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}
