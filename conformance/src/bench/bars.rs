//! The bars: ratios that hold on any machine, and a few figures that say what the machine was.

use serde::Serialize;

/// One bar with what this run says of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bar {
    /// What is held against it.
    pub name: &'static str,
    /// The unit, or nothing for a ratio.
    pub unit: &'static str,
    /// What was measured.
    pub value: Measured,
    /// What has to be reached.
    pub bar: f64,
    /// What ought to be.
    pub goal: f64,
    /// Whether more is better.
    pub more: bool,
}

/// What a run says of a bar.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Measured {
    /// Not in this run; why, or by which command.
    No(String),
    /// This.
    Value(f64),
}

impl Measured {
    /// A value when there is one, else why not.
    pub fn or(value: Option<f64>, why: &str) -> Self {
        match value.filter(|value| value.is_finite()) {
            Some(value) => Self::Value(value),
            None => Self::No(why.to_owned()),
        }
    }
}

impl Bar {
    /// Whether it is reached; nothing when it was not measured.
    #[must_use]
    pub fn met(&self) -> Option<bool> {
        match self.value {
            Measured::Value(value) if self.more => Some(value >= self.bar),
            Measured::Value(value) => Some(value <= self.bar),
            Measured::No(_) => None,
        }
    }

    /// The closing line of a run.
    #[must_use]
    pub fn line(&self) -> String {
        let name = match self.unit {
            "" => self.name.to_owned(),
            unit => format!("{}_{unit}", self.name),
        };
        match (&self.value, self.met()) {
            (Measured::Value(value), Some(met)) => format!(
                "bar {name} {} bar {} goal {} {}",
                figure(*value),
                figure(self.bar),
                figure(self.goal),
                if met { "met" } else { "missed" }
            ),
            (Measured::No(why), _) => format!(
                "bar {name} - bar {} goal {} not measured: {why}",
                figure(self.bar),
                figure(self.goal)
            ),
            (Measured::Value(_), None) => String::new(),
        }
    }
}

/// Every figure that a bar is made of, as far as a run has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Exchanges a second, 1 KB REST, RSA-2048, 128 at once.
    pub rate_at_128: Option<f64>,
    /// Processor time of all processes an exchange at 16 at once, in milliseconds.
    pub cpu_ms_at_16: Option<f64>,
    /// p99 ÷ p50 at 128 at once.
    pub spread_at_128: Option<f64>,
    /// Exchanges a second ÷ calls a second directly over plain HTTP, 128 at once.
    pub of_direct_at_128: Option<f64>,
    /// Exchanges a second ÷ the floor's, 128 at once.
    pub of_floor_at_128: Option<f64>,
    /// p50 at 1 at once less the direct call's and four syncs, in milliseconds.
    pub added_ms_at_1: Option<f64>,
    /// MB/s of 100 MB ÷ that of direct mutual TLS, the lesser of down and up.
    pub large_of_tls: Option<f64>,
    /// Signatures ÷ 2 an exchange, 128 at once.
    pub signatures_at_128: Option<f64>,
    /// Verifications ÷ 2 an exchange, 128 at once.
    pub verifications_at_128: Option<f64>,
    /// Syncs ÷ 4 an exchange, 128 at once.
    pub syncs_at_128: Option<f64>,
    /// The larger server's resident memory before the first message, in MiB.
    pub idle_mib: Option<f64>,
    /// The larger server's peak at 1000 at once of 1 KB, in MiB.
    pub thousand_mib: Option<f64>,
    /// The larger server's growth under 16 transfers of 1 GB, in MiB.
    pub gigabytes_mib: Option<f64>,
    /// Bytes written to a server's log an exchange of 1 KB at 128 at once, in KB.
    pub disk_kb_at_128: Option<f64>,
    /// From the start of the process to the first good answer of `/readyz`, in milliseconds.
    pub start_ms: Option<f64>,
    /// Records judged a second and core ÷ RSA-2048 verifications a second of that core.
    pub audit: Option<f64>,
}

/// All bars, in the order of the project's table.
#[must_use]
pub fn bars(figures: &Figures) -> Vec<Bar> {
    let more = |name, unit, value: Option<f64>, bar, goal| Bar {
        name,
        unit,
        value: Measured::or(value, ROW),
        bar,
        goal,
        more: true,
    };
    let less = |name, unit, value: Option<f64>, bar, goal| Bar {
        more: false,
        ..more(name, unit, value, bar, goal)
    };
    let it = figures;
    let gigabytes = Bar {
        value: Measured::or(it.gigabytes_mib, LARGE),
        ..less("memory_16x1GB_growth", "MiB", None, 64.0, 32.0)
    };
    vec![
        more(
            "exchanges_at_128",
            "per_s",
            it.rate_at_128,
            3000.0,
            10_000.0,
        ),
        less("cpu_at_16", "ms", it.cpu_ms_at_16, 0.6, 0.18),
        less("p99_of_p50_at_128", "", it.spread_at_128, 5.0, 3.0),
        more("of_direct_http_at_128", "", it.of_direct_at_128, 0.10, 0.20),
        more("of_floor_at_128", "", it.of_floor_at_128, 0.4, 0.7),
        less("added_p50_at_1", "ms", it.added_ms_at_1, 1.5, 0.7),
        more("100MB_of_mutual_tls", "", it.large_of_tls, 0.3, 0.6),
        less(
            "signatures_of_unbatched",
            "",
            it.signatures_at_128,
            0.25,
            0.05,
        ),
        less(
            "verifications_of_unbatched",
            "",
            it.verifications_at_128,
            0.25,
            0.05,
        ),
        less("syncs_of_unbatched", "", it.syncs_at_128, 0.25, 0.05),
        less("memory_idle", "MiB", it.idle_mib, 30.0, 20.0),
        less("memory_1000_at_once", "MiB", it.thousand_mib, 120.0, 60.0),
        gigabytes,
        less("disk_an_exchange", "KB", it.disk_kb_at_128, 4.0, 2.5),
        less("start_to_ready", "ms", it.start_ms, 300.0, 100.0),
        more("audit_of_verifications", "", it.audit, 0.3, 0.8),
    ]
}

/// Three digits that count.
#[must_use]
pub fn figure(value: f64) -> String {
    match value.abs() {
        // Adding zero makes nothing of minus nothing.
        size if size >= 100.0 || value.fract() == 0.0 => format!("{:.0}", value + 0.0),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

const ROW: &str = "its row is not in this run or failed; `make bench` has it";
const LARGE: &str = "`make bench FULL=1` has it";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_value_bar_goal_and_whether_it_is_met() {
        let figures = Figures {
            rate_at_128: Some(3512.4),
            cpu_ms_at_16: Some(0.654),
            start_ms: Some(300.0),
            ..Figures::default()
        };
        let lines: Vec<_> = bars(&figures).iter().map(Bar::line).collect();
        assert_eq!(lines.len(), 16);
        let has = |line: &str| assert!(lines.iter().any(|one| one == line), "{line} {lines:#?}");
        has("bar exchanges_at_128_per_s 3512 bar 3000 goal 10000 met");
        has("bar cpu_at_16_ms 0.654 bar 0.600 goal 0.180 missed");
        has("bar start_to_ready_ms 300 bar 300 goal 100 met");
        has(
            "bar memory_16x1GB_growth_MiB - bar 64 goal 32 not measured: `make bench FULL=1` has it",
        );
    }

    #[test]
    fn figures_have_three_digits_that_count() {
        let written = [1234.5, 100.0, 43.21, 4.321, 0.4321, 0.0, -0.0].map(figure);
        assert_eq!(written, ["1234", "100", "43.2", "4.32", "0.432", "0", "0"]);
    }

    #[test]
    fn nonsense_is_no_measurement() {
        let figures = Figures {
            of_floor_at_128: Some(f64::NAN),
            audit: Some(f64::INFINITY),
            ..Figures::default()
        };
        assert!(bars(&figures).iter().all(|bar| bar.met().is_none()));
    }
}
