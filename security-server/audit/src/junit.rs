//! A report that build servers show: JUnit's XML, one case a container, archive, chain or log.

use std::fmt::Write as _;

use crate::{
    judge::Standing,
    whole::Line,
    words::{Counts, Style, as_line, printable},
};

/// A report that grows case by case.
#[derive(Debug, Default)]
pub struct Junit {
    cases: String,
}

impl Junit {
    /// Adds a case: a failure if it is invalid, an error if it could not be judged.
    pub fn add(&mut self, line: &Line, strict: bool) {
        let (class, name) = match line {
            Line::Container(judged) => {
                let file = judged.file.display().to_string();
                let name = judged.entry.clone().unwrap_or_else(|| file.clone());
                (file, name)
            }
            Line::Whole(whole) => {
                let files: Vec<String> = whole
                    .files
                    .iter()
                    .map(|it| it.display().to_string())
                    .collect();
                let name = format!("{} as a whole", whole.kind.id());
                (files.join(" > "), name)
            }
        };
        let _ = write!(
            self.cases,
            "  <testcase classname=\"{}\" name=\"{}\"",
            escaped(&class),
            escaped(&name)
        );
        let element = match line.standing(strict) {
            Standing::Invalid => "failure",
            Standing::CannotJudge => "error",
            Standing::Valid => {
                let notes: Vec<String> = line
                    .remarks()
                    .into_iter()
                    .map(|(id, text)| format!("{id}: {text}"))
                    .collect();
                self.cases.push_str(&match notes.is_empty() {
                    true => "/>\n".to_owned(),
                    false => format!(
                        ">\n    <system-out>{}</system-out>\n  </testcase>\n",
                        escaped(&notes.join("; "))
                    ),
                });
                return;
            }
        };
        let (code, reason) = line.reason(strict);
        let _ = write!(
            self.cases,
            ">\n    <{element} type=\"{}\" message=\"{}\">{}</{element}>\n  </testcase>\n",
            escaped(code.as_deref().unwrap_or("cannot_judge")),
            escaped(reason.as_deref().unwrap_or_default()),
            escaped(&as_line(line, strict, Style::Plain))
        );
    }

    /// The whole document.
    pub fn finish(&self, counts: &Counts) -> String {
        let sum = |a: u64, b: u64| a.saturating_add(b);
        let counted = format!(
            "tests=\"{}\" failures=\"{}\" errors=\"{}\"",
            sum(counts.containers(), counts.wholes()),
            sum(counts.invalid, counts.whole_invalid),
            sum(counts.cannot_judge, counts.whole_cannot_judge)
        );
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counted}>\n <testsuite name=\"jibek-audit verify\" {counted}>\n{} </testsuite>\n</testsuites>\n",
            self.cases
        )
    }
}

/// Text as it may stand in XML, without characters that XML cannot hold.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
