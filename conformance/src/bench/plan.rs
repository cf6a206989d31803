//! What is measured: the rows, in chapters; a chapter has servers and logs of its own.

use std::{fmt, time::Duration};

use jibek_certs::KeyKind;
use jibek_protocol::id::{ClientId, MemberId, ServerId};

use crate::country::{
    Allow, Net, Plan, PlannedClient, PlannedMember, PlannedServer, PlannedService, Timing,
};

/// The consumer's subsystem.
pub const CONSUMER: &str = "BENCH/GOV/1/consumer";
/// The provider's subsystem.
pub const PROVIDER: &str = "BENCH/GOV/2/provider";
/// A kilobyte, as bodies are named here.
pub const KB: u64 = 1024;
/// A megabyte.
pub const MB: u64 = 1024 * KB;

/// A gigabyte.
pub const GIGABYTE: u64 = 1024 * MB;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The whole matrix.
    Full,
    /// What the bars need and one row of every kind, in under three minutes.
    Quick,
}

/// What a row's calls are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shape {
    /// REST GET without a body; the answer has the row's size.
    RestDown,
    /// REST POST with a body of the row's size; the answer is empty.
    RestUp,
    /// SOAP: an envelope of 1.1 KB; the answer's envelope carries text of the row's size.
    Soap,
}

impl Shape {
    /// As it is written in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RestDown => "REST",
            Self::RestUp => "REST up",
            Self::Soap => "SOAP",
        }
    }
}

/// One row of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Kind of every key.
    pub key: KeyKind,
    /// What is called.
    pub shape: Shape,
    /// Length of the body that counts, in bytes.
    pub bytes: u64,
    /// Calls at once, each over a connection of its own.
    pub at_once: usize,
    /// How long calls are begun after a warm-up.
    pub period: Duration,
    /// Calls at most; then there is no warm-up, and the row ends with the last one.
    pub most: Option<u64>,
}

/// Rows that share a pair of servers and their logs.
#[derive(Clone, Debug)]
pub struct Chapter {
    /// What it is about.
    pub name: &'static str,
    /// Whether the servers are those that count allocations.
    pub counting: bool,
    /// Whether the servers keep nothing of bodies but their digests.
    pub digest_only: bool,
    /// The rows.
    pub cases: Vec<Case>,
}

/// Chapters that share keys and a registry.
#[derive(Clone, Debug)]
pub struct Part {
    /// Kind of every key.
    pub key: KeyKind,
    /// The chapters.
    pub chapters: Vec<Chapter>,
}

impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} {} {} at {}",
            self.shape.name(),
            size(self.bytes),
            key_name(self.key),
            self.at_once
        )
    }
}

/// The rows of a form. What a machine of two cores cannot hold is left out and named in [`left_out`].
#[must_use]
pub fn parts(form: Form) -> Vec<Part> {
    match form {
        Form::Quick => quick(),
        Form::Full => full(),
    }
}

/// What the matrix of the full form leaves out, and why.
#[must_use]
pub fn left_out() -> &'static [&'static str] {
    &[
        "SOAP 100 MB: a SOAP part has at most 10 MiB, and attachments are not there yet",
        "100 MB at 128 and 1000 at once: 25 and 200 GB of log a round",
    ]
}

fn quick() -> Vec<Part> {
    let key = KeyKind::Rsa2048;
    let seconds = Duration::from_secs;
    let case = |shape, bytes, at_once, period| Case {
        key,
        shape,
        bytes,
        at_once,
        period,
        most: None,
    };
    let few = |shape, bytes, at_once, most| Case {
        most: Some(most),
        ..case(shape, bytes, at_once, seconds(30))
    };
    let rest = |bytes, at_once, period| case(Shape::RestDown, bytes, at_once, period);
    let other = |key| Part {
        key,
        chapters: vec![Chapter {
            name: "another kind of key",
            counting: false,
            digest_only: false,
            cases: vec![Case {
                key,
                ..rest(KB, 128, seconds(2))
            }],
        }],
    };
    vec![
        Part {
            key,
            chapters: vec![
                Chapter {
                    name: "small bodies",
                    counting: false,
                    digest_only: false,
                    cases: vec![
                        rest(KB, 1, seconds(3)),
                        rest(KB, 16, seconds(4)),
                        rest(KB, 128, seconds(4)),
                        case(Shape::Soap, KB, 128, seconds(2)),
                        rest(KB, 1000, seconds(4)),
                    ],
                },
                Chapter {
                    name: "larger bodies",
                    counting: false,
                    digest_only: false,
                    cases: vec![
                        // First, so that their memory is their own.
                        few(Shape::RestDown, 100 * MB, 1, 4),
                        few(Shape::RestUp, 100 * MB, 1, 4),
                        rest(10 * KB, 16, seconds(2)),
                        rest(100 * KB, 16, seconds(2)),
                        few(Shape::RestDown, MB, 16, 160),
                    ],
                },
                Chapter {
                    name: "large bodies, digest only",
                    counting: false,
                    digest_only: true,
                    cases: vec![few(Shape::RestDown, 32 * MB, 16, 16)],
                },
                Chapter {
                    name: "servers that count allocations",
                    counting: true,
                    digest_only: false,
                    cases: vec![rest(KB, 128, seconds(2))],
                },
            ],
        },
        other(KeyKind::Rsa3072),
        other(KeyKind::EcP256),
    ]
}

fn full() -> Vec<Part> {
    [KeyKind::Rsa2048, KeyKind::Rsa3072, KeyKind::EcP256]
        .into_iter()
        .map(|key| {
            let mut chapters: Vec<_> = [Shape::RestDown, Shape::Soap]
                .into_iter()
                .flat_map(|shape| SIZES.map(|bytes| (shape, bytes)))
                .filter(|(shape, bytes)| *shape != Shape::Soap || *bytes <= MB)
                .map(|(shape, bytes)| Chapter {
                    name: "a size",
                    counting: false,
                    digest_only: false,
                    cases: AT_ONCE
                        .into_iter()
                        .filter(|at_once| bytes <= MB || *at_once <= 16)
                        .map(|at_once| row(key, shape, bytes, at_once))
                        .collect(),
                })
                .collect();
            chapters.push(Chapter {
                name: "uploads",
                counting: false,
                digest_only: false,
                cases: vec![row(key, Shape::RestUp, 100 * MB, 1)],
            });
            if key == KeyKind::Rsa2048 {
                // One way after the other; the disk could not hold them.
                chapters.push(Chapter {
                    name: "16 × 1 GB, digest only",
                    counting: false,
                    digest_only: true,
                    cases: [Shape::RestDown, Shape::RestUp]
                        .map(|shape| Case {
                            most: Some(16),
                            ..row(key, shape, GIGABYTE, 16)
                        })
                        .to_vec(),
                });
                chapters.push(Chapter {
                    name: "servers that count allocations",
                    counting: true,
                    digest_only: false,
                    cases: [1, 128]
                        .map(|at_once| row(key, Shape::RestDown, KB, at_once))
                        .to_vec(),
                });
            }
            Part { key, chapters }
        })
        .collect()
}

fn row(key: KeyKind, shape: Shape, bytes: u64, at_once: usize) -> Case {
    let width = u64::try_from(at_once).unwrap_or(u64::MAX);
    Case {
        key,
        shape,
        bytes,
        at_once,
        period: Duration::from_secs(if bytes >= MB { 60 } else { 5 }),
        // As much as fills two gigabytes of log, and two rounds at least.
        most: (bytes >= MB)
            .then(|| (GIGABYTE.checked_div(bytes).unwrap_or(1)).max(width.saturating_mul(2))),
    }
}

const SIZES: [u64; 5] = [KB, 10 * KB, 100 * KB, MB, 100 * MB];
const AT_ONCE: [usize; 4] = [1, 16, 128, 1000];

/// A size for people.
#[must_use]
pub fn size(bytes: u64) -> String {
    if bytes >= MB && bytes.is_multiple_of(MB) {
        format!("{} MB", bytes / MB)
    } else {
        format!("{} KB", bytes / KB)
    }
}

/// A kind of key for people.
#[must_use]
pub fn key_name(key: KeyKind) -> &'static str {
    match key {
        KeyKind::Rsa2048 => "RSA-2048",
        KeyKind::Rsa3072 => "RSA-3072",
        KeyKind::EcP256 => "P-256",
        _ => "another key",
    }
}

/// The country that everything is measured in: a consumer behind one server, a provider behind another.
///
/// # Errors
///
/// Never with identifiers that are well-formed, and these are.
pub fn country(net: Net, key: KeyKind) -> Result<Plan, jibek_protocol::id::IdError> {
    let consumer = ClientId::from_header(CONSUMER)?;
    let provider = ClientId::from_header(PROVIDER)?;
    let member = |client: &ClientId| PlannedMember {
        id: client.member().clone(),
        name: client.subsystem().unwrap_or_default().to_owned(),
        subsystems: vec![client.subsystem().unwrap_or_default().to_owned()],
    };
    let server = |owner: &MemberId, code, client| -> Result<PlannedServer, _> {
        Ok(PlannedServer {
            id: ServerId::new(owner.clone(), code)?,
            clients: vec![client],
            started: true,
        })
    };
    let service = |code: &str| PlannedService {
        code: code.to_owned(),
        kind: code.to_owned(),
        url: format!("http://{}/{code}", net.system(0)),
        allow: vec![Allow::everything(&consumer)],
        timeout: Duration::from_secs(60),
    };
    let client = |id: &ClientId, services| PlannedClient {
        id: id.clone(),
        connection: "http".to_owned(),
        services,
    };
    Ok(Plan {
        instance: consumer.instance().to_owned(),
        net,
        key,
        members: vec![member(&consumer), member(&provider)],
        servers: vec![
            server(consumer.member(), "ss1", client(&consumer, Vec::new()))?,
            server(
                provider.member(),
                "ss2",
                client(&provider, vec![service("rest"), service("soap")]),
            )?,
        ],
        timing: Timing {
            // Messages are stamped while they are measured: what a stamp costs is part of what a message costs.
            stamping: Some(Duration::from_secs(1)),
            ..Timing::default()
        },
        legacy_tls: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_form_has_every_combination_but_those_it_names() {
        let parts = parts(Form::Full);
        let cases: Vec<_> = parts
            .iter()
            .flat_map(|part| &part.chapters)
            .filter(|chapter| !chapter.counting)
            .flat_map(|chapter| &chapter.cases)
            .filter(|case| case.shape != Shape::RestUp && case.bytes < GIGABYTE)
            .collect();
        // 3 keys, 4 widths: REST 5 sizes less 2 widths of the largest, SOAP 4 sizes.
        assert_eq!(cases.len(), 3 * (4 * 5 - 2 + 4 * 4));
        for (index, case) in cases.iter().enumerate() {
            assert!(!cases.iter().skip(index + 1).any(|other| other == case));
        }
    }

    #[test]
    fn the_quick_form_fits_its_time() {
        let parts = parts(Form::Quick);
        let cases: Vec<_> = parts
            .iter()
            .flat_map(|part| &part.chapters)
            .flat_map(|chapter| &chapter.cases)
            .collect();
        let timed: Duration = cases
            .iter()
            .filter(|case| case.most.is_none())
            .map(|case| case.period)
            .sum();
        assert!(timed < Duration::from_secs(40), "{timed:?}");
        for key in [KeyKind::Rsa2048, KeyKind::Rsa3072, KeyKind::EcP256] {
            assert!(cases.iter().any(|case| case.key == key));
        }
    }

    #[test]
    fn sizes_are_written_for_people() {
        assert_eq!(size(KB), "1 KB");
        assert_eq!(size(100 * KB), "100 KB");
        assert_eq!(size(100 * MB), "100 MB");
    }
}
