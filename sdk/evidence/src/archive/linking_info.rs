//! The entry `linkinginfo` (`signatures-and-log.md` 4.7).

use jibek_certs::digest::DigestAlgorithm;
use std::collections::HashMap;

use super::{LinkDigest, link::ALGORITHMS};

/// What an archive says of its chain. Nothing of it is verified.
#[derive(Debug, Clone)]
pub struct LinkingInfo {
    previous: Option<LinkDigest>,
    previous_archive: Option<String>,
    algorithm: DigestAlgorithm,
    lines: Vec<Line>,
    by_name: HashMap<String, usize>,
}

/// One container and its link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    name: String,
    link: LinkDigest,
}

impl Line {
    /// The container's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The link that it ends with.
    pub fn link(&self) -> &LinkDigest {
        &self.link
    }
}

/// A line that cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) what: &'static str,
}

impl LinkingInfo {
    /// Reads the entry, of at most `max_lines` containers. White space is as X-Road's verifier takes it.
    pub(super) fn parse(bytes: &[u8], max_lines: usize) -> Result<Self, BadLine> {
        let text = std::str::from_utf8(bytes).map_err(|_| BadLine {
            line: 1,
            what: "it is not text",
        })?;
        let mut lines = text.trim_end_matches(['\r', '\n']).split('\n');
        let head = lines.next().unwrap_or_default();
        let bad = |line: usize, what| BadLine { line, what };
        let mut words = head.split_ascii_whitespace();
        let (Some(previous), Some(archive), Some(algorithm)) =
            (words.next(), words.next(), words.next())
        else {
            return Err(bad(
                1,
                "it must hold a digest, a file name and an algorithm",
            ));
        };
        let previous = match previous {
            "-" => None,
            digest => Some(
                digest
                    .parse()
                    .map_err(|_| bad(1, "the previous digest is none"))?,
            ),
        };
        let algorithm = ALGORITHMS
            .into_iter()
            .find(|known| known.to_string() == algorithm)
            .ok_or(bad(1, "an unknown digest algorithm"))?;
        let mut info = Self {
            previous,
            previous_archive: Some(archive)
                .filter(|archive| *archive != "-")
                .map(str::to_owned),
            algorithm,
            lines: Vec::new(),
            by_name: HashMap::new(),
        };
        for (number, line) in (2_usize..).zip(lines) {
            if info.lines.len() >= max_lines {
                return Err(bad(number, "too many lines"));
            }
            let mut words = line.split_ascii_whitespace();
            let (Some(link), Some(name), None) = (words.next(), words.next(), words.next()) else {
                return Err(bad(number, "it must hold a digest and a name"));
            };
            let link: LinkDigest = link
                .parse()
                .map_err(|_| bad(number, "the digest is none"))?;
            let index = info.lines.len();
            if info.by_name.insert(name.to_owned(), index).is_some() {
                return Err(bad(number, "a name that was there before"));
            }
            info.lines.push(Line {
                name: name.to_owned(),
                link,
            });
        }
        Ok(info)
    }

    /// The last link of the archive before; `None` when this is the first.
    pub fn previous(&self) -> Option<&LinkDigest> {
        self.previous.as_ref()
    }

    /// The file name of the archive before, as that server named it.
    pub fn previous_archive(&self) -> Option<&str> {
        self.previous_archive.as_deref()
    }

    /// What links are made with.
    pub fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// The containers, in the order of the lines.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The number of the line that names a container, counted from 0 and without the head.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}
