//! What the servers counted, from their `/metrics`.

use std::collections::BTreeMap;

use serde::Serialize;

/// Every sample of a page, or a difference or sum of pages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    samples: BTreeMap<String, f64>,
}

impl Page {
    /// Reads OpenMetrics text; lines that are none of its samples are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect();
        Self { samples }
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let samples = self
            .samples
            .iter()
            .map(|(name, value)| (name.clone(), value - earlier.exactly(name)))
            .collect();
        Self { samples }
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut samples = self.samples.clone();
        for (name, value) in &other.samples {
            *samples.entry(name.clone()).or_default() += value;
        }
        Self { samples }
    }

    /// The sum of a family over all labels that contain `label`; zero when there is none.
    #[must_use]
    pub fn sum(&self, family: &str, label: &str) -> f64 {
        self.samples
            .iter()
            .filter(|(name, _)| {
                let (base, labels) = name.split_once('{').unwrap_or((name, ""));
                base == family && labels.contains(label)
            })
            .map(|(_, value)| value)
            .sum()
    }

    /// Whether a family is on the page.
    #[must_use]
    pub fn has(&self, family: &str) -> bool {
        self.samples
            .keys()
            .any(|name| name.split('{').next() == Some(family))
    }

    fn exactly(&self, name: &str) -> f64 {
        self.samples.get(name).copied().unwrap_or(0.0)
    }

    /// Upper bound of the bucket that holds the largest value of a histogram.
    fn largest_bucket(&self, family: &str) -> f64 {
        let prefix = format!("{family}_bucket{{le=\"");
        let mut buckets: Vec<(f64, f64)> = self
            .samples
            .iter()
            .filter_map(|(name, count)| {
                let bound = name.strip_prefix(&prefix)?.strip_suffix("\"}")?;
                Some((bound.parse().unwrap_or(f64::INFINITY), *count))
            })
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let all = buckets.last().map_or(0.0, |(_, count)| *count);
        buckets
            .iter()
            .find(|(_, count)| *count >= all && all > 0.0)
            .map_or(0.0, |(bound, _)| *bound)
    }
}

/// What both servers together did for an exchange of a row, on average; unbatched it is 2 signatures, 2 verifications, 4 syncs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PerExchange {
    /// Private-key operations.
    pub signatures: f64,
    /// Signature values verified by computing.
    pub verifications: f64,
    /// Waits for the disk.
    pub syncs: f64,
    /// Batches that the log wrote.
    pub log_batches: f64,
    /// Bytes written to both logs, with bodies in files of their own.
    pub log_bytes: f64,
    /// Full TLS handshakes between the servers, one end counted.
    pub handshakes: f64,
    /// The same for resumed sessions.
    pub resumptions: f64,
    /// Allocations; only from servers that count them.
    pub allocations: Option<f64>,
    /// Bytes allocated; only from servers that count them.
    pub allocated_bytes: Option<f64>,
    /// Bytes of bodies that were copied from memory to memory; only from servers that count them.
    pub copied_bytes: Option<f64>,
    /// Messages that shared a signature, on average.
    pub mean_tree: f64,
    /// Upper bound of the largest hash tree's size.
    pub largest_tree: f64,
}

impl PerExchange {
    /// From what both pages together gained in a row of so many exchanges.
    #[must_use]
    pub fn of(gained: &Page, exchanges: f64) -> Self {
        let exchanges = exchanges.max(1.0);
        let each = |family: &str, label: &str| gained.sum(family, label) / exchanges;
        let maybe = |family: &str| gained.has(family).then(|| each(family, ""));
        let signatures = gained.sum("jibek_signatures_total", "");
        Self {
            signatures: signatures / exchanges,
            verifications: each("jibek_verifications_total", "computed"),
            syncs: each("jibek_log_syncs_total", ""),
            log_batches: each("jibek_log_batches_total", ""),
            log_bytes: each("jibek_log_bytes_total", ""),
            handshakes: gained.sum(
                "jibek_handshakes_total",
                "way=\"outbound\",resumed=\"false\"",
            ) / exchanges,
            resumptions: gained.sum(
                "jibek_handshakes_total",
                "way=\"outbound\",resumed=\"true\"",
            ) / exchanges,
            allocations: maybe("jibek_allocations_total"),
            allocated_bytes: maybe("jibek_allocated_bytes_total"),
            copied_bytes: maybe("jibek_copied_body_bytes_total"),
            mean_tree: gained.sum("jibek_sealed_messages_total", "") / signatures.max(1.0),
            largest_tree: gained.largest_bucket("jibek_hash_tree_messages"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# TYPE jibek_signatures counter\njibek_signatures_total 10\n\
        jibek_verifications_total{result=\"computed\"} 4\njibek_verifications_total{result=\"remembered\"} 9\n# EOF\n";
    const AFTER: &str = "jibek_signatures_total 30\njibek_sealed_messages_total 200\n\
        jibek_verifications_total{result=\"computed\"} 54\njibek_verifications_total{result=\"remembered\"} 99\n\
        jibek_handshakes_total{way=\"outbound\",resumed=\"true\"} 3\njibek_handshakes_total{way=\"inbound\",resumed=\"true\"} 3\n\
        jibek_hash_tree_messages_bucket{le=\"1.0\"} 2\njibek_hash_tree_messages_bucket{le=\"8.0\"} 20\n\
        jibek_hash_tree_messages_bucket{le=\"16.0\"} 20\njibek_hash_tree_messages_bucket{le=\"+Inf\"} 20\n";

    #[test]
    fn a_row_gets_what_was_gained_in_it() {
        let gained = Page::parse(AFTER).since(&Page::parse(BEFORE));
        let counts = PerExchange::of(&gained, 100.0);
        assert!((counts.signatures - 0.2).abs() < 1e-9);
        assert!((counts.verifications - 0.5).abs() < 1e-9);
        assert!((counts.resumptions - 0.03).abs() < 1e-9);
        assert!((counts.mean_tree - 10.0).abs() < 1e-9);
        assert!((counts.largest_tree - 8.0).abs() < 1e-9);
        assert_eq!(counts.allocations, None);
    }

    #[test]
    fn two_servers_are_summed() {
        let both = Page::parse(AFTER).plus(&Page::parse(AFTER));
        assert!((both.sum("jibek_signatures_total", "") - 60.0).abs() < 1e-9);
        assert!((both.sum("jibek_verifications_total", "") - 306.0).abs() < 1e-9);
    }
}
