//! Versions that servers announce in `x-proxy-version` (`message-path.md` 4.2, `observed.md` 1 question 23).

use std::cmp::Ordering;

/// What we announce: comparable with X-Road's versions, because peers refuse what is below their minimum.
pub const PROXY_VERSION: &str = "7.8.0";

/// What an absent header counts as; it does not parse.
pub const UNKNOWN: &str = "unknown";

/// A semantic version. Snapshots sort below their release; build metadata does not count.
#[derive(Clone, Debug)]
pub struct Version {
    numbers: [u64; 3],
    pre_release: Vec<String>,
}

/// A text is not a semantic version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a semantic version")]
#[non_exhaustive]
pub struct VersionError;

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(formatter, "{major}.{minor}.{patch}")?;
        if self.pre_release.is_empty() {
            return Ok(());
        }
        write!(formatter, "-{}", self.pre_release.join("."))
    }
}

impl Version {
    /// Reads a version: three numbers, an optional leading `v`, an optional pre-release and optional build metadata.
    ///
    /// # Errors
    /// [`VersionError`] for anything else, also `7.8`, four numbers or an underscore.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        if text.len() > MAX_BYTES {
            return Err(VersionError);
        }
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = match text.split_once('+') {
            Some((text, build)) => (text, Some(build)),
            None => (text, None),
        };
        if build.is_some_and(|build| !build.split('.').all(is_identifier)) {
            return Err(VersionError);
        }
        let (core, pre_release) = match text.split_once('-') {
            Some((core, pre_release)) => (core, Some(pre_release)),
            None => (text, None),
        };
        let pre_release: Vec<String> = pre_release
            .into_iter()
            .flat_map(|part| part.split('.'))
            .map(str::to_owned)
            .collect();
        if !pre_release.iter().all(|part| is_identifier(part)) {
            return Err(VersionError);
        }
        let mut numbers = core.split('.').map(number);
        let mut next = || numbers.next().flatten().ok_or(VersionError);
        let version = Self {
            numbers: [next()?, next()?, next()?],
            pre_release,
        };
        if numbers.next().is_some() {
            Err(VersionError)
        } else {
            Ok(version)
        }
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.pre_release.is_empty(), other.pre_release.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => compare_pre_releases(&self.pre_release, &other.pre_release),
            }
        })
    }
}

fn compare_pre_releases(ours: &[String], theirs: &[String]) -> Ordering {
    let by_part =
        ours.iter()
            .zip(theirs)
            .map(|(ours, theirs)| match (number(ours), number(theirs)) {
                (Some(ours), Some(theirs)) => ours.cmp(&theirs),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => ours.cmp(theirs),
            });
    by_part
        .fold(Ordering::Equal, Ordering::then)
        .then(ours.len().cmp(&theirs.len()))
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

const MAX_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_with_x_road() {
        let order = [
            "7.4.2",
            "7.8.0-alpha.1",
            "7.8.0-alpha.beta",
            PROXY_VERSION,
            "7.8.1-SNAPSHOT-20260211103412git0ce7c97",
            "7.8.1",
            "7.10.0",
        ];
        for pair in order.windows(2) {
            assert!(
                Version::parse(pair[0]).unwrap() < Version::parse(pair[1]).unwrap(),
                "{pair:?}"
            );
        }
        assert_eq!(
            Version::parse("v7.8.0").unwrap(),
            Version::parse("7.8.0+b1").unwrap()
        );
    }

    #[test]
    fn other_texts_are_no_versions() {
        for bad in [
            "",
            UNKNOWN,
            "7.8",
            "7.8.0.1",
            "7.8.0_1",
            "7.8.0-a_b",
            "7.8.x",
            "7.8.0-",
            "7.8.0+",
            "-7.8.0",
            " 7.8.0",
        ] {
            assert!(Version::parse(bad).is_err(), "{bad}");
        }
    }
}
