//! The plots of a run: throughput and p99 against concurrency, memory against body size.

use jibek_certs::KeyKind;

use super::{
    measure::as_f64,
    plan::{KB, Shape, key_name},
    report::{Entry, Report},
    svg::{Chart, Series},
};

/// The plots, with the names of their files.
#[must_use]
pub fn plots(report: &Report) -> Vec<(&'static str, String)> {
    vec![
        ("throughput.svg", throughput(report).render()),
        ("p99.svg", p99(report).render()),
        ("memory.svg", memory(report).render()),
    ]
}

fn throughput(report: &Report) -> Chart {
    against_width(
        report,
        "Throughput, REST, 1 KB",
        "calls a second",
        |entry| {
            [
                entry.row.rate,
                entry.direct.http.rate,
                entry.direct.tls.rate,
                entry.floor.rate,
            ]
        },
    )
}

fn p99(report: &Report) -> Chart {
    let mut chart = against_width(
        report,
        "99 of 100 calls take no longer, REST, 1 KB",
        "milliseconds",
        |entry| {
            [
                entry.row.outcome.p99_ms,
                entry.direct.http.outcome.p99_ms,
                entry.direct.tls.outcome.p99_ms,
                0.0,
            ]
        },
    );
    chart.series.retain(|series| series.name != FLOOR);
    chart
}

fn against_width(
    report: &Report,
    title: &str,
    y_label: &str,
    of: impl Fn(&Entry) -> [f64; 4],
) -> Chart {
    let small: Vec<_> = good(report)
        .filter(|entry| entry.case.shape == Shape::RestDown && entry.case.bytes == KB)
        .collect();
    let line = |key: KeyKind, index: usize| -> Vec<(f64, f64)> {
        small
            .iter()
            .filter(|entry| entry.case.key == key)
            .map(|entry| {
                let value = of(entry).get(index).copied().unwrap_or(0.0);
                (width(entry), value)
            })
            .collect()
    };
    let mut series: Vec<_> = [KeyKind::Rsa2048, KeyKind::Rsa3072, KeyKind::EcP256]
        .into_iter()
        .map(|key| Series {
            name: format!("Jibek, {}", key_name(key)),
            points: line(key, 0),
        })
        .collect();
    for (index, name) in ["direct HTTP", "direct mutual TLS", FLOOR]
        .into_iter()
        .enumerate()
    {
        series.push(Series {
            name: name.to_owned(),
            points: line(KeyKind::Rsa2048, index.saturating_add(1)),
        });
    }
    series.retain(|series| !series.points.is_empty());
    Chart {
        title: title.to_owned(),
        x_label: "calls at once".to_owned(),
        y_label: y_label.to_owned(),
        series,
    }
}

fn memory(report: &Report) -> Chart {
    let rows: Vec<_> = good(report)
        .filter(|entry| entry.case.shape == Shape::RestDown && entry.case.key == KeyKind::Rsa2048)
        .collect();
    let mut widths: Vec<_> = rows.iter().map(|entry| entry.case.at_once).collect();
    widths.sort_unstable();
    widths.dedup();
    let series = widths
        .into_iter()
        .map(|at_once| Series {
            name: format!("{at_once} at once"),
            points: rows
                .iter()
                .filter(|entry| entry.case.at_once == at_once)
                .map(|entry| {
                    let peak = entry.row.peak_mib.iter().copied().fold(0.0, f64::max);
                    (as_f64(entry.case.bytes) / as_f64(KB), peak)
                })
                .collect(),
        })
        .collect();
    Chart {
        title: "Peak resident memory of the larger server, REST, RSA-2048".to_owned(),
        x_label: "body, KB".to_owned(),
        y_label: "MiB".to_owned(),
        series,
    }
}

fn good(report: &Report) -> impl Iterator<Item = &Entry> {
    report
        .entries
        .iter()
        .filter(|entry| entry.proved.is_ok() && !entry.counting)
}

fn width(entry: &Entry) -> f64 {
    f64::from(u32::try_from(entry.case.at_once).unwrap_or(u32::MAX))
}

const FLOOR: &str = "the floor";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::entry;

    #[test]
    fn every_good_row_is_a_point() {
        let mut report = Report {
            entries: vec![
                entry(KB, 1, 400.0),
                entry(KB, 16, 2000.0),
                entry(100 * KB, 16, 9.0),
            ],
            ..Report::default()
        };
        let chart = throughput(&report);
        assert_eq!(chart.series[0].points, vec![(1.0, 400.0), (16.0, 2000.0)]);
        assert_eq!(chart.series.len(), 4);
        assert_eq!(memory(&report).series[1].points.len(), 2);
        report.entries[0].proved = Err(String::new());
        assert_eq!(throughput(&report).series[0].points, vec![(16.0, 2000.0)]);
        assert_eq!(p99(&report).series.len(), 3);
    }
}
