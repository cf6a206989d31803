//! What a container proves and what it does not, in sentences for people who know no cryptography.
//!
//! [`Case`] opens and judges a file, [`explain`] tells it: who asked what of whom, when, under which certificate, stamped by whom, what is
//! proved, what is not, and of what is not valid why, and what to do next. [`Explanation::as_text`] is for terminals; the page of
//! `jibek-audit report` shows the same sentences.

mod case;
mod names;
mod proof;
mod reasons;
mod story;

pub use case::Case;
pub(crate) use names::{Names, name_of};

use crate::{
    judge::Standing,
    speech::{Moments, Speech},
};

/// The sentences about one file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The file, as it was named.
    pub file: String,
    /// The verdict in one or two words.
    pub verdict: String,
    /// What the verdict means, in a sentence.
    pub headline: String,
    /// What there is to say, in order.
    pub sections: Vec<Section>,
}

/// Sentences under one heading.
#[derive(Debug)]
#[non_exhaustive]
pub struct Section {
    /// The same in every language, as `proved`.
    pub id: &'static str,
    /// The heading.
    pub heading: String,
    /// Whether the sentences are a numbered list.
    pub numbered: bool,
    /// The sentences.
    pub sentences: Vec<String>,
}

/// Tells a case.
pub fn explain(case: &Case, speech: &Speech, moments: &Moments) -> Explanation {
    let teller = Teller {
        case,
        speech,
        moments,
        names: Names::new(case.configuration(), speech),
    };
    let standing = case.standing();
    let (verdict, headline) = match standing {
        Standing::Valid => ("verdict-valid", "headline-valid"),
        Standing::Invalid => ("verdict-invalid", "headline-invalid"),
        Standing::CannotJudge if case.bytes().is_none() => ("verdict-cannot", "headline-unread"),
        Standing::CannotJudge => ("verdict-cannot", "headline-cannot"),
    };
    let mut sections = Vec::new();
    if standing != Standing::Valid {
        sections.push(teller.section("reason", false, teller.reason()));
        sections.push(teller.section("next", true, teller.next()));
    }
    sections.push(teller.section("what", false, teller.what()));
    sections.push(teller.section("when", false, teller.when()));
    sections.push(teller.section("certificate", false, teller.certificate()));
    sections.push(teller.section("stamp", false, teller.stamp()));
    if let Some(report) = case.report() {
        sections.push(teller.section("proved", true, teller.proved(report)));
        sections.push(teller.section("unproved", true, teller.unproved(report)));
    }
    sections.push(teller.section("findings", false, teller.findings()));
    if standing == Standing::Valid {
        sections.push(teller.section("next", true, teller.next()));
    }
    sections.push(teller.section("basis", false, teller.basis()));
    sections.retain(|section| !section.sentences.is_empty());
    Explanation {
        file: case.name(),
        verdict: speech.say(verdict),
        headline: speech.say(headline),
        sections,
    }
}

/// A case, and how it is told.
struct Teller<'t> {
    case: &'t Case,
    speech: &'t Speech,
    moments: &'t Moments,
    names: Names<'t>,
}

impl Teller<'_> {
    fn section(&self, id: &'static str, numbered: bool, sentences: Vec<String>) -> Section {
        Section {
            id,
            heading: self.speech.say(&format!("heading-{id}")),
            numbered,
            sentences,
        }
    }
}

impl Explanation {
    /// The explanation as plain text, in lines of at most `width` characters where words allow it.
    pub fn as_text(&self, speech: &Speech, width: usize) -> String {
        let mut out = String::new();
        wrap(
            &mut out,
            &format!("{}: ", speech.say("label-file")),
            &self.file,
            width,
        );
        wrap(
            &mut out,
            &format!("{}: ", speech.say("label-verdict")),
            &format!("{}. {}", self.verdict, self.headline),
            width,
        );
        for section in &self.sections {
            out.push('\n');
            out.push_str(&section.heading);
            out.push('\n');
            for (number, sentence) in (1..).zip(&section.sentences) {
                let start = if section.numbered {
                    format!("  {number}. ")
                } else {
                    "  ".to_owned()
                };
                wrap(&mut out, &start, sentence, width);
            }
        }
        out
    }
}

/// Writes a paragraph behind `start`, its further lines set in as far.
fn wrap(out: &mut String, start: &str, paragraph: &str, width: usize) {
    let indent = start.chars().count().min(6);
    let mut column = start.chars().count();
    out.push_str(start);
    for (number, word) in paragraph.split_whitespace().enumerate() {
        let length = word.chars().count();
        if number > 0 {
            if column + 1 + length > width {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                column = indent;
            } else {
                out.push(' ');
                column += 1;
            }
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}
