//! One page for a court: the verdict in large, the explanation, the tables, and how to repeat the verification by hand. No script, nothing
//! from outside; it is printed on A4 as it is.

mod hand;
mod tables;

use jibek_certs::digest::{DigestAlgorithm, digest};
use jibek_conf::snapshot::Snapshot;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use time::OffsetDateTime;

use crate::{
    explain::{Case, Explanation, explain},
    judge::Standing,
    speech::{Moments, Speech, number, tame},
};

/// Renders the page about some files. `made` is the time of making.
pub fn page(cases: &[Case], speech: &Speech, moments: &Moments, made: OffsetDateTime) -> String {
    let words = Words { speech, moments };
    let title = speech.say("page-title");
    let markup = html! {
        (DOCTYPE)
        html lang=(speech.language().tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    (words.pairs(&[
                        ("page-made", moments.write(speech, made)),
                        ("page-program", format!("jibek-audit {}", env!("CARGO_PKG_VERSION"))),
                    ]))
                    @if cases.len() > 1 { (words.contents(cases)) }
                }
                main {
                    @for (number, case) in (1..).zip(cases) { (words.file(number, case)) }
                }
                footer {
                    (words.configurations(cases))
                }
            }
        }
    };
    markup.into_string()
}

/// What everything on the page is said with.
struct Words<'w> {
    speech: &'w Speech,
    moments: &'w Moments,
}

impl Words<'_> {
    fn say(&self, key: &str) -> String {
        self.speech.say(key)
    }

    fn when(&self, moment: OffsetDateTime) -> String {
        self.moments.write(self.speech, moment)
    }

    fn contents(&self, cases: &[Case]) -> Markup {
        html! {
            nav {
                h2 { (self.say("page-contents")) }
                ol {
                    @for (number, case) in (1..).zip(cases) {
                        li {
                            a href=(format!("#file-{number}")) { (case.name()) }
                            ": " (explain(case, self.speech, self.moments).verdict)
                        }
                    }
                }
            }
        }
    }

    fn file(&self, number: usize, case: &Case) -> Markup {
        let explanation = explain(case, self.speech, self.moments);
        let class = match case.standing() {
            Standing::Valid => "verdict valid",
            Standing::Invalid => "verdict invalid",
            Standing::CannotJudge => "verdict cannot",
        };
        html! {
            article id=(format!("file-{number}")) {
                h2.file { (explanation.file) }
                div class=(class) {
                    p.word { (explanation.verdict) }
                    p { (explanation.headline) }
                }
                @if let Some(bytes) = case.bytes() {
                    (self.pairs(&[
                        ("page-of-file", digest(DigestAlgorithm::Sha512, bytes).to_hex()),
                        ("page-size", self.bytes(bytes.len())),
                    ]))
                }
                (told(&explanation))
                (self.tables(case))
                (self.by_hand(case))
            }
        }
    }

    /// Names and values, one pair a row.
    fn pairs(&self, pairs: &[(&str, String)]) -> Markup {
        html! {
            table.pairs {
                @for (key, value) in pairs {
                    tr { th scope="row" { (self.say(key)) } td { (value) } }
                }
            }
        }
    }

    /// A table with a heading of its own.
    fn table(&self, heading: &str, columns: &[&str], rows: &[Vec<String>]) -> Markup {
        html! {
            @if !rows.is_empty() {
                h3 { (self.say(heading)) }
                table {
                    thead { tr { @for column in columns { th scope="col" { (self.say(column)) } } } }
                    tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
                }
            }
        }
    }

    /// Every configuration that was used, once.
    fn configurations(&self, cases: &[Case]) -> Markup {
        let mut used: Vec<(&Snapshot, Option<OffsetDateTime>)> = Vec::new();
        for case in cases {
            if let Some(configuration) = case.configuration()
                && !used
                    .iter()
                    .any(|(known, _)| known.content_id() == configuration.content_id())
            {
                used.push((configuration, case.configuration_since()));
            }
        }
        html! {
            @for (configuration, since) in used { (self.configuration(configuration, since)) }
        }
    }

    fn configuration(&self, configuration: &Snapshot, since: Option<OffsetDateTime>) -> Markup {
        let rows: Vec<Vec<String>> = configuration
            .parts()
            .map(|part| {
                vec![
                    tame(part.instance),
                    part.version.to_string(),
                    digest(DigestAlgorithm::Sha512, part.shared).to_hex(),
                ]
            })
            .collect();
        let mut pairs = vec![
            ("page-instance", tame(configuration.own_instance())),
            ("page-content-digest", configuration.content_id().to_hex()),
        ];
        pairs.extend(since.map(|since| ("page-since", self.when(since))));
        html! {
            h2 { (self.say("page-configuration")) }
            (self.pairs(&pairs))
            (self.table("page-parts", &["page-instance", "page-version", "page-part-digest"], &rows))
        }
    }

    fn bytes(&self, length: usize) -> String {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.speech.tell("page-bytes", [number("bytes", length)])
    }
}

fn told(explanation: &Explanation) -> Markup {
    html! {
        @for section in &explanation.sections {
            section class=(section.id) {
                h3 { (section.heading) }
                @if section.numbered {
                    ol { @for sentence in &section.sentences { li { (sentence) } } }
                } @else {
                    @for sentence in &section.sentences { p { (sentence) } }
                }
            }
        }
    }
}

/// Nothing is loaded, and nothing runs.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = include_str!("page/style.css");
