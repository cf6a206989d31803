//! Moments in words.

use time::{OffsetDateTime, UtcOffset};

use super::{Speech, number, text};

/// How moments are written: in UTC, and beside it with the offset that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moments {
    offset: Option<UtcOffset>,
}

impl Moments {
    /// UTC alone, or with another offset beside it.
    pub fn new(offset: Option<UtcOffset>) -> Self {
        Self {
            offset: offset.filter(|offset| !offset.is_utc()),
        }
    }

    /// An offset as people write it: `+06:00`, `-3`, `+0530`; `None` for anything else.
    pub fn parse_offset(text: &str) -> Option<UtcOffset> {
        let (sign, rest) = match text.as_bytes().first()? {
            b'+' => (1, text.get(1..)?),
            b'-' => (-1, text.get(1..)?),
            _ => return None,
        };
        let digits: String = rest.chars().filter(|c| *c != ':').collect();
        let colon_is_right = rest.find(':').is_none_or(|at| at == 2 && rest.len() == 5);
        if !colon_is_right || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let (hours, minutes) = match digits.len() {
            1 | 2 => (digits.parse().ok()?, 0),
            4 => (
                digits.get(..2)?.parse().ok()?,
                digits.get(2..)?.parse().ok()?,
            ),
            _ => return None,
        };
        if hours > 14 || minutes > 59 {
            return None;
        }
        let minutes: i8 = minutes;
        let hours: i8 = hours;
        UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
    }

    /// A moment in words.
    pub fn write(&self, speech: &Speech, moment: OffsetDateTime) -> String {
        let moment = moment.checked_to_offset(UtcOffset::UTC).unwrap_or(moment);
        let utc = written(speech, moment, "UTC".to_owned());
        match self.offset {
            None => utc,
            Some(offset) => {
                let (hours, minutes, _) = offset.as_hms();
                let sign = if offset.is_negative() { '-' } else { '+' };
                let zone = format!("UTC{sign}{:02}:{:02}", hours.abs(), minutes.abs());
                // at the edge of what can be said there is no local time
                let local = match moment.checked_to_offset(offset) {
                    None => return utc,
                    Some(local) if local.date() == moment.date() => {
                        format!("{} {zone}", clock(local))
                    }
                    Some(local) => written(speech, local, zone),
                };
                speech.tell(
                    "moment-with-offset",
                    [text("utc", utc), text("local", local)],
                )
            }
        }
    }
}

fn written(speech: &Speech, moment: OffsetDateTime, zone: String) -> String {
    speech.tell(
        "date",
        [
            number("day", u64::from(moment.day())),
            number("month", u64::from(u8::from(moment.month()))),
            text("year", moment.year().to_string()),
            text("time", clock(moment)),
            text("zone", zone),
        ],
    )
}

fn clock(moment: OffsetDateTime) -> String {
    let time = moment.time();
    format!(
        "{:02}:{:02}:{:02}",
        time.hour(),
        time.minute(),
        time.second()
    )
}
