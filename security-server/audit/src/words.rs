//! Words for people.

use jibek_evidence::verify::{Outcome, Report};
use std::fmt::Write as _;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    judge::Standing,
    source::Walk,
    whole::{Line, WholeKind},
};

/// How lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "with colours or without")]
pub enum Style {
    /// With colours, for a terminal.
    Colour,
    /// Without.
    #[default]
    Plain,
}

/// One line for people: the file, how it stands, why, and what a court should know beside it.
pub fn as_line(line: &Line, strict: bool, style: Style) -> String {
    let standing = line.standing(strict);
    let (name, text) = match line {
        Line::Container(judged) => {
            let mut name = judged.file.display().to_string();
            if let Some(entry) = &judged.entry {
                let _ = write!(name, ": {entry}");
            }
            let text = match &judged.verdict.outcome {
                Outcome::Valid(report) if standing == Standing::Invalid => {
                    format!("by --strict: {}", sentence(report))
                }
                Outcome::Valid(report) => sentence(report),
                Outcome::Invalid { code, reason } => format!("{code}: {reason}"),
                Outcome::CannotJudge { reason } => reason.clone(),
            };
            (name, text)
        }
        Line::Whole(whole) => {
            let files: Vec<String> = whole
                .files
                .iter()
                .map(|it| it.display().to_string())
                .collect();
            let by_strict = standing == Standing::Invalid && whole.faults.is_empty();
            let text = match line.reason(strict) {
                (Some(_), Some(_)) if by_strict => format!("by --strict: {}", whole.sentence),
                (Some(code), Some(reason)) => format!("{code}: {reason}"),
                _ => whole.sentence.clone(),
            };
            let name = format!("{} {}", whole.kind.word(), files.join(" > "));
            (name, text)
        }
    };
    let mut rest = text;
    for (id, text) in line.remarks() {
        let _ = write!(rest, "; note {id}: {text}");
    }
    format!(
        "{}: {}: {}",
        printable(&name),
        painted(standing, style),
        printable(&rest)
    )
}

/// How many of each there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Containers that are valid.
    pub valid: u64,
    /// Containers that are invalid.
    pub invalid: u64,
    /// Containers that could not be judged.
    pub cannot_judge: u64,
    /// Archives, chains and logs that are valid as a whole.
    pub whole_valid: u64,
    /// Archives, chains and logs that are invalid as a whole.
    pub whole_invalid: u64,
    /// Archives, chains and logs that could not be judged as a whole.
    pub whole_cannot_judge: u64,
    /// What was passed over in directories.
    pub passed_over: u64,
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, line: &Line, strict: bool) {
        let count = match (line, line.standing(strict)) {
            (Line::Container(_), Standing::Valid) => &mut self.valid,
            (Line::Container(_), Standing::Invalid) => &mut self.invalid,
            (Line::Container(_), Standing::CannotJudge) => &mut self.cannot_judge,
            (Line::Whole(_), Standing::Valid) => &mut self.whole_valid,
            (Line::Whole(_), Standing::Invalid) => &mut self.whole_invalid,
            (Line::Whole(_), Standing::CannotJudge) => &mut self.whole_cannot_judge,
        };
        *count = count.saturating_add(1);
    }

    /// Takes over what was passed over.
    pub fn passed(&mut self, walk: Walk) {
        self.passed_over = walk.passed_over;
    }

    /// Containers.
    pub fn containers(&self) -> u64 {
        [self.valid, self.invalid, self.cannot_judge]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// Archives, chains and logs.
    pub fn wholes(&self) -> u64 {
        [
            self.whole_valid,
            self.whole_invalid,
            self.whole_cannot_judge,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// How all of it stands: one that is invalid outweighs those that cannot be judged. Nothing at all cannot be judged.
    pub fn standing(&self) -> Standing {
        if self.invalid > 0 || self.whole_invalid > 0 {
            Standing::Invalid
        } else if self.cannot_judge > 0
            || self.whole_cannot_judge > 0
            || self.containers().saturating_add(self.wholes()) == 0
        {
            Standing::CannotJudge
        } else {
            Standing::Valid
        }
    }

    /// The last line.
    pub fn as_line(&self, style: Style) -> String {
        let mut line = format!(
            "{}: {} containers: {} valid, {} invalid, {} cannot be judged",
            painted(self.standing(), style),
            self.containers(),
            self.valid,
            self.invalid,
            self.cannot_judge
        );
        if self.wholes() > 0 {
            let _ = write!(
                line,
                "; {} archives, chains and logs: {} valid, {} invalid, {} cannot be judged",
                self.wholes(),
                self.whole_valid,
                self.whole_invalid,
                self.whole_cannot_judge
            );
        }
        if self.passed_over > 0 {
            let _ = write!(line, "; {} other files passed over", self.passed_over);
        }
        line
    }
}

impl WholeKind {
    fn word(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Bundle => "file",
            Self::Chain => "chain",
            Self::Log => "log",
        }
    }
}

/// What comes from a file must not forge further lines, move the cursor, or turn the direction of writing.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                '\u{fffd}'
            }
            '\u{2028}' | '\u{2029}' | '\u{feff}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

fn painted(standing: Standing, style: Style) -> String {
    let colour = match (style, standing) {
        (Style::Plain, _) => return standing.as_str().to_owned(),
        (Style::Colour, Standing::Valid) => 32,
        (Style::Colour, Standing::Invalid) => 31,
        (Style::Colour, Standing::CannotJudge) => 33,
    };
    format!("\u{1b}[1;{colour}m{}\u{1b}[0m", standing.as_str())
}

fn sentence(report: &Report) -> String {
    let message = report.message();
    let mut sentence = format!(
        "{} {} {} from {} to {}, signed by {}, stamped {}",
        message.kind(),
        message.direction(),
        message.message_id(),
        message.client(),
        message.service(),
        report.sender(),
        written(report.stamp_time())
    );
    if let Some(authority) = report.stamp_authority() {
        let _ = write!(sentence, " by {}", authority.subject());
    }
    for attachment in report.attachments() {
        let word = if attachment.is_verified() {
            "verified"
        } else {
            "unverified"
        };
        let _ = write!(sentence, ", {} {word}", attachment.name());
    }
    sentence
}

/// A time for people and programs.
pub(crate) fn written(time: OffsetDateTime) -> String {
    time.to_utc()
        .format(&Rfc3339)
        .unwrap_or_else(|_| time.to_string())
}
