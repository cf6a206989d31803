//! What a run found, as a table for people and as JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    bars::{Bar, Figures, bars, figure},
    costs::Costs,
    floor::Floor,
    measure::{Row, as_f64},
    plan::{Case, GIGABYTE, KB, MB, Shape, key_name, size},
    yardsticks::Yardstick,
};
use jibek_certs::KeyKind;

/// A row with all that it is held against.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was called.
    pub case: Case,
    /// Whether the servers counted allocations; then its times are no measure.
    pub counting: bool,
    /// What it gave.
    pub row: Row,
    /// The same calls without the bus.
    pub direct: Yardstick,
    /// Single costs of the machine.
    pub costs: Costs,
    /// What they sum to.
    pub floor: Floor,
    /// How many of its messages were proved, or why it failed.
    pub proved: Result<u64, String>,
}

/// Everything of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What the machine is.
    pub machine: Machine,
    /// The rows, in the order of their measurement.
    pub entries: Vec<Entry>,
    /// From start to readiness, milliseconds, of the consumer's server, every start.
    pub starts_ms: Vec<f64>,
    /// Resident memory of both servers before the first message, in MiB.
    pub idle_mib: Vec<f64>,
    /// What the auditor did with logs of small messages signed with RSA-2048.
    pub audit: Option<Audit>,
    /// How long the run took, in seconds.
    pub seconds: f64,
}

/// Where it ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Machine {
    /// Cores.
    pub cores: usize,
    /// What the processor calls itself.
    pub processor: String,
    /// Version of the kernel.
    pub kernel: String,
    /// Where the logs were.
    pub disk: String,
}

/// The auditor's speed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Audit {
    /// Records judged.
    pub records: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Records a second of processor time.
    pub per_core_second: f64,
    /// RSA-2048 verifications a second of a core.
    pub verifications_per_second: f64,
}

impl Report {
    /// Whether every row was answered and proved.
    #[must_use]
    pub fn sound(&self) -> bool {
        self.entries.iter().all(|entry| entry.proved.is_ok())
    }

    /// What the bars are made of; failed rows are none.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let thousand = self.find(Shape::RestDown, KB, 1000);
        let many = self.find(Shape::RestDown, KB, 128);
        let some = self.find(Shape::RestDown, KB, 16);
        let alone = self.find(Shape::RestDown, KB, 1);
        let of_tls = |entry: &Entry| entry.row.rate / entry.direct.tls.rate;
        let down = self.find(Shape::RestDown, 100 * MB, 1).map(of_tls);
        let up = self.find(Shape::RestUp, 100 * MB, 1).map(of_tls);
        let large = |shape| self.find(shape, GIGABYTE, 16).map(Entry::growth_mib);
        let mut starts = self.starts_ms.clone();
        starts.sort_by(f64::total_cmp);
        Figures {
            rate_at_128: many.map(|it| it.row.rate),
            cpu_ms_at_16: some.map(|it| it.row.cpu_us.iter().sum::<f64>() / 1000.0),
            spread_at_128: many.map(|it| it.row.outcome.p99_ms / it.row.outcome.p50_ms),
            of_direct_at_128: many.map(|it| it.row.rate / it.direct.http.rate),
            of_floor_at_128: many.map(|it| it.row.rate / it.floor.rate),
            added_ms_at_1: alone.map(|it| {
                let syncs = 4.0 * it.costs.append_us / 1000.0;
                it.row.outcome.p50_ms - it.direct.http.outcome.p50_ms - syncs
            }),
            large_of_tls: down.zip(up).map(|(down, up)| down.min(up)),
            signatures_at_128: many.map(|it| it.row.counts.signatures / 2.0),
            verifications_at_128: many.map(|it| it.row.counts.verifications / 2.0),
            syncs_at_128: many.map(|it| it.row.counts.syncs / 4.0),
            idle_mib: self.idle_mib.iter().copied().reduce(f64::max),
            thousand_mib: thousand.map(|it| it.row.peak_mib.iter().copied().fold(0.0, f64::max)),
            gigabytes_mib: large(Shape::RestDown)
                .zip(large(Shape::RestUp))
                .map(|(down, up)| down.max(up)),
            disk_kb_at_128: many.map(|it| it.row.disk_bytes / as_f64(KB)),
            start_ms: starts.get(starts.len() / 2).copied(),
            audit: self
                .audit
                .map(|audit| audit.per_core_second / audit.verifications_per_second),
        }
    }

    fn find(&self, shape: Shape, bytes: u64, at_once: usize) -> Option<&Entry> {
        self.entries.iter().find(|entry| {
            entry.case.key == KeyKind::Rsa2048
                && (entry.case.shape, entry.case.bytes) == (shape, bytes)
                && entry.case.at_once == at_once
                && !entry.counting
                && entry.proved.is_ok()
        })
    }

    /// The bars.
    #[must_use]
    pub fn bars(&self) -> Vec<Bar> {
        bars(&self.figures())
    }

    /// Everything for programs.
    #[must_use]
    pub fn as_json(&self) -> Value {
        let entries: Vec<_> = self.entries.iter().map(Entry::as_json).collect();
        let bars: Vec<_> = self
            .bars()
            .into_iter()
            .map(|bar| {
                json!({
                    "name": bar.name, "unit": bar.unit, "value": bar.value, "bar": bar.bar, "goal": bar.goal,
                    "met": bar.met(),
                })
            })
            .collect();
        json!({
            "format": FORMAT,
            "machine": self.machine,
            "seconds": self.seconds,
            "rows": entries,
            "starts_ms": self.starts_ms,
            "idle_mib": self.idle_mib,
            "audit": self.audit,
            "bars": bars,
            "sound": self.sound(),
        })
    }
}

impl Entry {
    /// What the server that grew more grew by during the row, in MiB.
    fn growth_mib(&self) -> f64 {
        let Row {
            peak_mib,
            before_mib,
            ..
        } = &self.row;
        let grown = peak_mib.iter().zip(before_mib);
        grown
            .map(|(peak, before)| peak - before)
            .fold(0.0, f64::max)
    }

    fn as_json(&self) -> Value {
        let (proved, failure) = match &self.proved {
            Ok(count) => (Some(*count), None),
            Err(reason) => (None, Some(reason.clone())),
        };
        json!({
            "shape": self.case.shape.name(),
            "bytes": self.case.bytes,
            "key": key_name(self.case.key),
            "at_once": self.case.at_once,
            "counting_allocations": self.counting,
            "bus": self.row,
            "direct": self.direct,
            "costs": self.costs,
            "floor": self.floor,
            "messages_sent": self.row.outcome.answered.saturating_mul(4),
            "messages_proved": proved,
            "failure": failure,
        })
    }

    /// The row's lines: what it gave, next to the yardsticks; then what was counted.
    #[must_use]
    pub fn lines(&self) -> String {
        let Self {
            case, row, direct, ..
        } = self;
        let outcome = &row.outcome;
        let mut text = String::new();
        let cpu: f64 = row.cpu_us.iter().sum();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<8}{:>7} {:<9}{:>5}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>9}{:>9}{:>9}{:>11}",
            if self.counting {
                "counting"
            } else {
                case.shape.name()
            },
            size(case.bytes),
            key_name(case.key),
            case.at_once,
            figure(row.rate),
            figure(row.mb_per_second),
            figure(outcome.p50_ms),
            figure(outcome.p99_ms),
            figure(outcome.p999_ms),
            figure(cpu),
            figure(row.rate / direct.http.rate),
            figure(row.rate / direct.tls.rate),
            figure(row.rate / self.floor.rate),
            match &self.proved {
                Ok(count) => count.to_string(),
                Err(_) => "FAILED".to_owned(),
            },
        );
        let [consumer, first, second, provider] = row.cpu_us.map(figure);
        let counts = &row.counts;
        let _ = writeln!(
            text,
            "         cpu us {consumer} + {first} + {second} + {provider}; peak MiB {} {}; an exchange: signatures {}, verifications {}, syncs {}, \
             log {} KB a server, handshakes {} + {} resumed; trees {} on average, {} at most",
            figure(row.peak_mib[0]),
            figure(row.peak_mib[1]),
            figure(counts.signatures),
            figure(counts.verifications),
            figure(counts.syncs),
            figure(row.disk_bytes / as_f64(KB)),
            figure(counts.handshakes),
            figure(counts.resumptions),
            figure(counts.mean_tree),
            figure(counts.largest_tree),
        );
        let busy = row.cpu_us.first().copied().unwrap_or(0.0) * row.rate / 1e6;
        if busy > BUSY {
            let _ = writeln!(
                text,
                "         the load generator's one thread was busy for {:.0} % of the time: the row may be its limit",
                busy * 100.0
            );
        }
        if let Some(allocations) = counts.allocations {
            let _ = writeln!(
                text,
                "         a message: allocations {}, allocated KB {}",
                figure(allocations / 4.0),
                figure(counts.allocated_bytes.unwrap_or(0.0) / 4.0 / as_f64(KB)),
            );
        }
        if let Some(copied) = counts.copied_bytes {
            let _ = writeln!(
                text,
                "         a message: copied body bytes {}",
                figure(copied / 4.0)
            );
        }
        if let Err(reason) = &self.proved {
            let _ = writeln!(text, "         FAILED: {reason}");
        }
        text
    }
}

/// What stands above the rows.
#[must_use]
pub fn heading() -> String {
    format!(
        "{:<8}{:>7} {:<9}{:>5}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>9}{:>9}{:>9}{:>11}",
        "",
        "body",
        "key",
        "at",
        "per s",
        "MB/s",
        "p50 ms",
        "p99 ms",
        "p99.9",
        "cpu us",
        "÷ http",
        "÷ mTLS",
        "÷ floor",
        "proved"
    )
}

/// Share of a core from which the load generator may be what limits a row.
const BUSY: f64 = 0.7;
/// Version of the JSON.
const FORMAT: u32 = 1;

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::{counts::PerExchange, load::Outcome, yardsticks::Direct};

    pub(in crate::bench) fn entry(bytes: u64, at_once: usize, rate: f64) -> Entry {
        let outcome = Outcome {
            answered: 10,
            counted: 10,
            p50_ms: 2.0,
            p99_ms: 8.0,
            ..Outcome::default()
        };
        let direct = Direct {
            rate: 10_000.0,
            cpu_us: 30.0,
            outcome: Outcome {
                p50_ms: 0.1,
                ..outcome.clone()
            },
        };
        Entry {
            case: Case {
                key: KeyKind::Rsa2048,
                shape: Shape::RestDown,
                bytes,
                at_once,
                period: Duration::from_secs(1),
                most: None,
            },
            counting: false,
            row: Row {
                mark: "r0".to_owned(),
                outcome,
                rate,
                mb_per_second: 1.0,
                cpu_us: [10.0, 200.0, 250.0, 40.0],
                before_mib: [20.0, 30.0],
                peak_mib: [40.0, 50.0],
                counts: PerExchange {
                    signatures: 0.5,
                    verifications: 1.0,
                    syncs: 0.4,
                    ..PerExchange::default()
                },
                disk_bytes: 2048.0,
            },
            direct: Yardstick {
                http: direct.clone(),
                tls: direct,
            },
            costs: Costs {
                sign_us: 250.0,
                verify_us: 16.0,
                sha512_bytes_per_us: 500.0,
                aes_gcm_bytes_per_us: 4000.0,
                append_us: 300.0,
            },
            floor: Floor {
                cpu_us: 100.0,
                disk_us: 50.0,
                rate: 5000.0,
            },
            proved: Ok(40),
        }
    }

    fn report() -> Report {
        Report {
            entries: vec![
                entry(KB, 1, 400.0),
                entry(KB, 16, 2000.0),
                entry(KB, 128, 3000.0),
            ],
            starts_ms: vec![250.0, 90.0, 120.0],
            idle_mib: vec![18.0, 21.0],
            ..Report::default()
        }
    }

    fn close(value: Option<f64>, expected: f64) {
        assert!((value.unwrap() - expected).abs() < 1e-9, "{value:?}");
    }

    #[test]
    fn figures_come_from_the_rows_that_the_bars_name() {
        let figures = report().figures();
        close(figures.rate_at_128, 3000.0);
        close(figures.cpu_ms_at_16, 0.5);
        close(figures.spread_at_128, 4.0);
        close(figures.of_direct_at_128, 0.3);
        close(figures.of_floor_at_128, 0.6);
        close(figures.added_ms_at_1, 2.0 - 0.1 - 1.2);
        close(figures.signatures_at_128, 0.25);
        close(figures.syncs_at_128, 0.1);
        close(figures.idle_mib, 21.0);
        close(figures.start_ms, 120.0);
        close(figures.disk_kb_at_128, 2.0);
        assert_eq!(figures.large_of_tls, None);
    }

    #[test]
    fn a_failed_row_is_no_figure_and_makes_the_run_unsound() {
        let mut report = report();
        assert!(report.sound());
        report.entries[2].proved = Err("12 messages sent, 11 proved".to_owned());
        assert!(!report.sound());
        assert_eq!(report.figures().rate_at_128, None);
        let lines = report.entries[2].lines();
        assert!(
            lines.contains("FAILED: 12 messages sent, 11 proved"),
            "{lines}"
        );
    }

    #[test]
    fn the_json_has_what_the_table_has() {
        let json = report().as_json();
        assert_eq!(json["rows"].as_array().unwrap().len(), 3);
        assert_eq!(json["rows"][0]["messages_sent"], 40);
        assert_eq!(json["rows"][0]["messages_proved"], 40);
        assert_eq!(json["rows"][2]["bus"]["rate"], 3000.0);
        assert_eq!(json["sound"], true);
        let bars = json["bars"].as_array().unwrap();
        assert_eq!(bars[0]["met"], true);
        assert!(
            bars.iter()
                .any(|bar| bar["met"].is_null() && bar["value"].is_string())
        );
    }
}
