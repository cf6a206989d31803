//! The names of archive files (`signatures-and-log.md` 4.6).

use std::fmt::Write as _;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

use super::LinkDigest;

/// What the name of an archive says: `mlog-[GROUP-]START-END-DIGEST16.zip[.gpg]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveName {
    group: Option<String>,
    start: PrimitiveDateTime,
    end: PrimitiveDateTime,
    digest: String,
    is_encrypted: bool,
}

impl ArchiveName {
    /// Reads a file's name, without folders; `None` when X-Road would not name an archive so.
    pub fn parse(name: &str) -> Option<Self> {
        let (name, is_encrypted) = match name.strip_suffix(".gpg") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let rest = name.strip_prefix("mlog-")?.strip_suffix(".zip")?;
        let (rest, digest) = rest.rsplit_once('-')?;
        let (rest, end) = rest.rsplit_once('-')?;
        let (group, start) = match rest.rsplit_once('-') {
            Some((group, start)) => (Some(group.to_owned()), start),
            None => (None, rest),
        };
        let is_digest = digest.len() == DIGEST_DIGITS
            && digest
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        Some(Self {
            group,
            start: moment(start)?,
            end: moment(end)?,
            digest: Some(digest).filter(|_| is_digest)?.to_owned(),
            is_encrypted,
        })
    }

    /// The name of an archive with these records, in UTC.
    pub(super) fn format(
        group: Option<&str>,
        start: OffsetDateTime,
        end: OffsetDateTime,
        last: &LinkDigest,
        is_encrypted: bool,
    ) -> String {
        let mut name = "mlog-".to_owned();
        if let Some(group) = group {
            let plain = group.chars().map(|c| match c {
                '\\' | '<' | '>' | '/' | ':' | '|' | '*' | '?' => '_',
                // white space would end the name in the first line of linkinginfo
                c if c.is_control() || c.is_whitespace() => '_',
                c => c,
            });
            for c in plain {
                if name.len().saturating_add(c.len_utf8()) > GROUP_BYTES {
                    break;
                }
                name.push(c);
            }
            name.push('-');
        }
        for moment in [start.to_utc(), end.to_utc()] {
            // writing to a string cannot fail
            let _ = write!(
                name,
                "{:04}{:02}{:02}{:02}{:02}{:02}-",
                moment.year(),
                u8::from(moment.month()),
                moment.day(),
                moment.hour(),
                moment.minute(),
                moment.second()
            );
        }
        name.extend(last.as_str().chars().take(DIGEST_DIGITS));
        name.push_str(if is_encrypted { ".zip.gpg" } else { ".zip" });
        name
    }

    /// The member or subsystem that the archive was made for, in the spelling of file names; `None` when archives are not grouped.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Time of the earliest record, in the time zone of that server.
    pub fn start(&self) -> PrimitiveDateTime {
        self.start
    }

    /// Time of the latest record, in the time zone of that server.
    pub fn end(&self) -> PrimitiveDateTime {
        self.end
    }

    /// The first digits of the last link.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether the file is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }
}

/// `yyyyMMddHHmmss`.
fn moment(text: &str) -> Option<PrimitiveDateTime> {
    if text.len() != 14 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u8>().ok();
    let year = text.get(..4)?.parse().ok()?;
    let month = Month::try_from(number(4, 6)?).ok()?;
    let date = Date::from_calendar_date(year, month, number(6, 8)?).ok()?;
    let time = Time::from_hms(number(8, 10)?, number(10, 12)?, number(12, 14)?).ok()?;
    Some(PrimitiveDateTime::new(date, time))
}

/// Digits of the last link in a name.
const DIGEST_DIGITS: usize = 16;
/// Most bytes of a name up to its times, so that the whole fits the 255 of file systems.
const GROUP_BYTES: usize = 190;
