//! What a registry has published, kept for auditors: which configuration was in force at a moment.
//!
//! `DIRECTORY/<time>/` holds what was in force from that moment on, in the layout of `/verificationconf`
//! (`signatures-and-log.md` 5.4), so every verifier takes such a folder as it is. The time is UTC, as
//! `20261123T081753.123456789Z`; other names are passed over. Equal files of neighbouring changes are one file with several
//! names: nobody may write into them.

use std::path::{Path, PathBuf};

use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset, macros::format_description};

use crate::files::{ConfDir, FilesError};

/// The changes that a directory holds.
#[derive(Clone, Debug)]
pub struct History {
    path: PathBuf,
    changes: Vec<OffsetDateTime>,
}

impl History {
    /// Lists the changes in a directory.
    ///
    /// # Errors
    /// [`FilesError::Os`] when it cannot be listed.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FilesError> {
        let path = path.into();
        let listed = |source| FilesError::Os {
            action: "list",
            path: path.clone(),
            source,
        };
        let mut changes = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(listed)?.take(ENTRIES_MAX) {
            let entry = entry.map_err(listed)?;
            changes.extend(entry.file_name().to_str().and_then(change_time));
        }
        changes.sort_unstable();
        Ok(Self { path, changes })
    }

    /// When the content changed, oldest first.
    #[must_use]
    pub fn changes(&self) -> &[OffsetDateTime] {
        &self.changes
    }

    /// Where they are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration that was in force at a moment, and since when; `None` before the first.
    #[must_use]
    pub fn at(&self, moment: OffsetDateTime) -> Option<(OffsetDateTime, ConfDir)> {
        let upto = self.changes.partition_point(|change| *change <= moment);
        let change = *self.changes.get(upto.checked_sub(1)?)?;
        Some((change, ConfDir::new(self.path.join(change_name(change)))))
    }
}

/// The folder's name of a change: `20261123T081753.123456789Z`.
#[must_use]
pub fn change_name(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    let (date, (hour, minute, second)) = (at.date(), at.to_hms());
    format!(
        "{:04}{:02}{:02}T{hour:02}{minute:02}{second:02}.{:09}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        at.nanosecond()
    )
}

/// When the change of this name came into force; `None` for other names.
#[must_use]
pub fn change_time(name: &str) -> Option<OffsetDateTime> {
    let format =
        format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:9]Z");
    let at = PrimitiveDateTime::parse(name, format).ok()?.assume_utc();
    (change_name(at) == name).then_some(at)
}

const ENTRIES_MAX: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn names_are_times_and_sort_like_them() {
        let at = datetime!(2026-11-23 08:17:53.123456789 UTC);
        assert_eq!(change_name(at), "20261123T081753.123456789Z");
        assert_eq!(change_time("20261123T081753.123456789Z"), Some(at));
        assert_eq!(
            change_name(datetime!(2026-11-23 10:17:53 +2)),
            "20261123T081753.000000000Z"
        );
        for other in [
            "signed",
            "",
            ".20261123T081753.123456789Z.tmp",
            "20261123T081753Z",
            "20261323T081753.123456789Z",
            "+0261123T081753.12345678Z",
        ] {
            assert_eq!(change_time(other), None, "{other}");
        }
    }

    #[test]
    fn what_was_in_force_is_the_newest_that_is_not_newer() {
        let folder = tempfile::tempdir().unwrap();
        let times = [
            datetime!(2026-01-01 0:00 UTC),
            datetime!(2026-02-01 0:00 UTC),
        ];
        for name in times
            .map(change_name)
            .into_iter()
            .chain(["signed".to_owned()])
        {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let history = History::open(folder.path()).unwrap();
        assert_eq!(history.changes(), times);
        let since = |moment| history.at(moment).map(|(since, _)| since);
        assert_eq!(since(datetime!(2025-12-31 23:59:59 UTC)), None);
        assert_eq!(since(times[0]), Some(times[0]));
        assert_eq!(since(datetime!(2026-01-31 23:59:59 UTC)), Some(times[0]));
        assert_eq!(since(datetime!(2027-01-01 0:00 UTC)), Some(times[1]));
        let (_, directory) = history.at(times[1]).unwrap();
        assert!(directory.path().ends_with("20260201T000000.000000000Z"));
        assert!(History::open(folder.path().join("none")).is_err());
    }
}
