//! What `/metrics` shows of archiving.

use std::sync::{Arc, Weak};

use prometheus_client::registry::Unit;

use super::{ArchiveStatus, Archiver, millis};
use crate::metrics::{Metrics, Sample, Sampled};

/// Shows the archiver's values at each scrape for as long as it lives.
pub(super) fn register(archiver: &Arc<Archiver>, metrics: &Metrics) {
    type Value = fn(&ArchiveStatus) -> u64;
    let read = |value: fn(&Archiver, &ArchiveStatus) -> Option<Sample>| {
        let archiver: Weak<Archiver> = Arc::downgrade(archiver);
        move || {
            let archiver = archiver.upgrade()?;
            value(&archiver, &archiver.status())
        }
    };
    let counters: [(_, _, _, Value); 5] = [
        (
            "archived_records",
            "Records written into archives",
            None,
            |it| it.records,
        ),
        ("archive_files", "Archives written", None, |it| it.files),
        (
            "archive",
            "Bytes of containers written into archives",
            Some(Unit::Bytes),
            |it| it.bytes,
        ),
        (
            "archive_failures",
            "Runs of the archiver that failed",
            None,
            |it| it.failures,
        ),
        (
            "removed_records",
            "Old records that left the log",
            None,
            |it| it.removed,
        ),
    ];
    for (name, help, unit, value) in counters {
        let archiver = Arc::downgrade(archiver);
        metrics.register_collector(Box::new(Sampled::counter(name, help, unit, move || {
            Some(Sample::from(value(&archiver.upgrade()?.status())))
        })));
    }
    let gauge = |name, help, unit, value| {
        metrics.register_collector(Box::new(Sampled::gauge(name, help, unit, read(value))));
    };
    gauge(
        "archive_last_run",
        "When archiving last came to its end, in seconds since 1970; absent before",
        Some(Unit::Seconds),
        |_, status| Some(seconds(status.last_run_ms?)),
    );
    gauge(
        "archive_waiting",
        "Age of the oldest record that is not archived, looked at once a minute; absent when all are or archiving is off",
        Some(Unit::Seconds),
        |archiver, status| {
            let now = millis(archiver.clock.now());
            Some(seconds(now.saturating_sub(status.oldest_waiting_ms?)))
        },
    );
    gauge(
        "archive_unreadable_records",
        "Records that do not read and are in no archive",
        None,
        |_, status| Some(Sample::from(status.unreadable)),
    );
}

fn seconds(milliseconds: i64) -> Sample {
    Sample::from(u64::try_from(milliseconds / 1000).unwrap_or_default())
}
