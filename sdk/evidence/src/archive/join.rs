//! Several archives, put in order by their links.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{ArchiveName, LinkDigest, VerifiedArchive};

/// What several archives make together.
#[derive(Debug, Clone)]
pub struct History {
    chains: Vec<Chain>,
    faults: Vec<JoinFault>,
}

impl History {
    /// The chains. Archives of one server and one group make one.
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// What does not fit together.
    pub fn faults(&self) -> &[JoinFault] {
        &self.faults
    }
}

/// Archives each of which continues the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    archives: Vec<usize>,
    start: Start,
}

impl Chain {
    /// Their numbers in what was given, oldest first; never none.
    pub fn archives(&self) -> &[usize] {
        &self.archives
    }

    /// Where the chain begins.
    pub fn start(&self) -> &Start {
        &self.start
    }
}

/// Where a chain begins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is one before, or none")]
pub enum Start {
    /// After an archive that was not given, or beside another that continues the same.
    After {
        /// Its last link.
        digest: LinkDigest,
        /// Its file name.
        archive: Option<String>,
    },
    /// At the beginning of the log.
    First,
}

/// Something that does not fit together. Archives are numbered as they were given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinFault {
    /// Two or more continue the same archive, or one continues the middle of another.
    #[error(
        "archives {} go on from the same link and differ after {common} containers: a log was rolled back or replaced",
        list(archives)
    )]
    Fork {
        /// Which.
        archives: Vec<usize>,
        /// The link that all of them follow.
        digest: LinkDigest,
        /// How many containers the first two have in common after it.
        common: usize,
    },
    /// One that continues an archive that was not given, where other archives of the group were.
    #[error("archive {archive} continues {}, which is not here", missing.as_deref().unwrap_or("another"))]
    Gap {
        /// Which.
        archive: usize,
        /// The link that it follows.
        digest: LinkDigest,
        /// The file name of what is missing.
        missing: Option<String>,
    },
    /// The file's name is another archive's.
    #[error("archive {archive} is named {named}, and its last link begins {}", last.as_str().get(..16).unwrap_or_default())]
    Misnamed {
        /// Which.
        archive: usize,
        /// Its name.
        named: String,
        /// Its last link.
        last: LinkDigest,
    },
    /// It continues another by its link, and names another file.
    #[error("archive {archive} says that it continues {named}; by its link it continues {found}")]
    PreviousNamed {
        /// Which.
        archive: usize,
        /// What it says.
        named: String,
        /// The name of the one it continues.
        found: String,
    },
    /// Two records of one number in one chain: the log was set back, or records are of another server.
    #[error("record {record} is in archive {} and again in archive {}: the log was set back, or has another server's records", .archives[0], .archives[1])]
    RecordTwice {
        /// The record's number.
        record: u64,
        /// Where.
        archives: [usize; 2],
    },
    /// One archive twice.
    #[error("archives {} are the same", list(archives))]
    Same {
        /// Which.
        archives: Vec<usize>,
    },
    /// Two or more of one group that continue none.
    #[error(
        "archives {} each begin a log: it was begun anew, or they are of several servers",
        list(archives)
    )]
    SecondBeginning {
        /// Which.
        archives: Vec<usize>,
    },
    /// By its name, an archive is older than the one that it continues.
    #[error("archive {} continues archive {}, and by its name is older", .archives[1], .archives[0])]
    TimeStepsBack {
        /// The earlier link first.
        archives: [usize; 2],
    },
}

impl JoinFault {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fork { .. } => "archives_fork",
            Self::Gap { .. } => "archives_gap",
            Self::Misnamed { .. } => "archive_misnamed",
            Self::PreviousNamed { .. } => "archive_previous_name",
            Self::RecordTwice { .. } => "archives_record_twice",
            Self::Same { .. } => "archives_same",
            Self::SecondBeginning { .. } => "archives_second_beginning",
            Self::TimeStepsBack { .. } => "archives_time",
        }
    }

    /// Whether one history cannot have made these archives; the others have honest reasons, too.
    pub fn is_contradiction(&self) -> bool {
        matches!(self, Self::Fork { .. } | Self::RecordTwice { .. })
    }

    /// The archives that it is about.
    pub fn archives(&self) -> Vec<usize> {
        match self {
            Self::Fork { archives, .. }
            | Self::Same { archives }
            | Self::SecondBeginning { archives } => archives.clone(),
            Self::Gap { archive, .. }
            | Self::Misnamed { archive, .. }
            | Self::PreviousNamed { archive, .. } => vec![*archive],
            Self::RecordTwice { archives, .. } | Self::TimeStepsBack { archives } => {
                archives.to_vec()
            }
        }
    }
}

/// Puts archives in order, whatever order they are given in, and says what does not fit. `String` is a file's name, without folders.
pub fn join(archives: &[(String, VerifiedArchive)]) -> History {
    let mut joining = Joining::new(archives);
    joining.find_same();
    joining.find_parents();
    joining.find_forks();
    joining.find_beginnings();
    let chains = joining.chains();
    joining.check_names(&chains);
    joining.check_records(&chains);
    History {
        chains,
        faults: joining.faults,
    }
}

struct Joining<'a> {
    archives: &'a [(String, VerifiedArchive)],
    names: Vec<Option<ArchiveName>>,
    /// Those that came before in the same shape.
    repeated: HashSet<usize>,
    /// By last link.
    by_last: HashMap<&'a LinkDigest, usize>,
    /// What each continues.
    parents: Vec<Option<usize>>,
    faults: Vec<JoinFault>,
}

impl<'a> Joining<'a> {
    fn new(archives: &'a [(String, VerifiedArchive)]) -> Self {
        Self {
            archives,
            names: archives
                .iter()
                .map(|(name, _)| ArchiveName::parse(name))
                .collect(),
            repeated: HashSet::new(),
            by_last: HashMap::new(),
            parents: vec![None; archives.len()],
            faults: Vec::new(),
        }
    }

    /// All but repetitions.
    fn distinct(&self) -> impl Iterator<Item = (usize, &'a VerifiedArchive)> {
        self.archives
            .iter()
            .enumerate()
            .filter(|(index, _)| !self.repeated.contains(index))
            .map(|(index, (_, archive))| (index, archive))
    }

    fn find_same(&mut self) {
        let mut same: BTreeMap<(&LinkDigest, Option<&LinkDigest>), Vec<usize>> = BTreeMap::new();
        for (index, (_, archive)) in self.archives.iter().enumerate() {
            same.entry((archive.last(), archive.previous()))
                .or_default()
                .push(index);
        }
        for archives in same.into_values().filter(|archives| archives.len() > 1) {
            self.repeated.extend(archives.iter().skip(1));
            self.faults.push(JoinFault::Same { archives });
        }
    }

    fn find_parents(&mut self) {
        self.by_last = self
            .distinct()
            .map(|(index, archive)| (archive.last(), index))
            .collect();
        self.parents = self
            .archives
            .iter()
            .enumerate()
            .map(|(index, (_, archive))| {
                let parent = self.by_last.get(archive.previous()?).copied()?;
                (parent != index && !self.repeated.contains(&index)).then_some(parent)
            })
            .collect();
    }

    fn find_forks(&mut self) {
        let mut children: BTreeMap<&LinkDigest, Vec<usize>> = BTreeMap::new();
        for (index, archive) in self.distinct() {
            if let Some(previous) = archive.previous() {
                children.entry(previous).or_default().push(index);
            }
        }
        // Links within archives: who continues one of these was made of a log that stood there.
        let mut inner: HashMap<&LinkDigest, usize> = HashMap::new();
        for (index, archive) in self.distinct() {
            let (_, before) = archive.containers().split_last().unzip();
            for line in before.into_iter().flatten() {
                inner.insert(line.link(), index);
            }
        }
        for (digest, mut archives) in children {
            archives.extend(inner.get(digest));
            if archives.len() > 1 {
                let common = self.common(&archives, digest);
                self.faults.push(JoinFault::Fork {
                    archives,
                    digest: digest.clone(),
                    common,
                });
            }
        }
    }

    /// How many containers the first two of `archives` share after the link `digest`.
    fn common(&self, archives: &[usize], digest: &LinkDigest) -> usize {
        let mut links = archives.iter().map(|index| {
            self.archives
                .get(*index)
                .into_iter()
                .flat_map(|(_, archive)| archive.containers())
                .map(super::Line::link)
        });
        match (links.next(), links.next()) {
            (Some(first), Some(second)) => after(first.collect(), digest)
                .into_iter()
                .zip(after(second.collect(), digest))
                .take_while(|(first, second)| first == second)
                .count(),
            _ => 0,
        }
    }

    fn group(&self, index: usize) -> Option<&str> {
        self.names.get(index)?.as_ref()?.group()
    }

    fn find_beginnings(&mut self) {
        let mut firsts: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
        let mut roots: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
        for (index, archive) in self.distinct() {
            let group = self.group(index);
            if archive.previous().is_none() {
                firsts.entry(group).or_default().push(index);
            }
            if self.parents.get(index) == Some(&None) {
                roots.entry(group).or_default().push(index);
            }
        }
        let mut faults: Vec<JoinFault> = firsts
            .into_values()
            .filter(|archives| archives.len() > 1)
            .map(|archives| JoinFault::SecondBeginning { archives })
            .collect();
        for index in roots
            .into_values()
            .filter(|roots| roots.len() > 1)
            .flatten()
        {
            let Some((_, archive)) = self.archives.get(index) else {
                continue;
            };
            if let Some(digest) = archive.previous() {
                faults.push(JoinFault::Gap {
                    archive: index,
                    digest: digest.clone(),
                    missing: archive.previous_archive().map(str::to_owned),
                });
            }
        }
        self.faults.extend(faults);
    }

    /// Walks from each beginning; where several continue one archive, the one that is continued longest goes on with the chain.
    fn chains(&self) -> Vec<Chain> {
        let lengths = self.lengths();
        let length = |index: usize| lengths.get(index).copied().unwrap_or_default();
        let mut next: HashMap<usize, usize> = HashMap::new();
        for (index, _) in self.distinct() {
            let Some(Some(parent)) = self.parents.get(index) else {
                continue;
            };
            let chosen = next.entry(*parent).or_insert(index);
            if length(index) > length(*chosen) {
                *chosen = index;
            }
        }
        let mut chains = Vec::new();
        for (index, archive) in self.distinct() {
            let parent = self.parents.get(index).copied().flatten();
            if parent.is_some_and(|parent| next.get(&parent) == Some(&index)) {
                continue;
            }
            let walk = std::iter::successors(Some(index), |index| next.get(index).copied());
            chains.push(Chain {
                archives: walk.take(self.archives.len()).collect(),
                start: match archive.previous() {
                    None => Start::First,
                    Some(digest) => Start::After {
                        digest: digest.clone(),
                        archive: archive.previous_archive().map(str::to_owned),
                    },
                },
            });
        }
        chains
    }

    /// How many archives follow each, at most.
    fn lengths(&self) -> Vec<usize> {
        let mut lengths = vec![0_usize; self.archives.len()];
        for (index, _) in self.distinct() {
            let mut walk = index;
            // no digest leads back to itself; the bound says so
            for steps in 1..=self.archives.len() {
                let Some(Some(parent)) = self.parents.get(walk) else {
                    break;
                };
                match lengths.get_mut(*parent) {
                    Some(length) if *length < steps => *length = steps,
                    _ => break,
                }
                walk = *parent;
            }
        }
        lengths
    }

    fn check_names(&mut self, chains: &[Chain]) {
        let mut faults = Vec::new();
        for (index, (named, archive)) in self.archives.iter().enumerate() {
            let Some(Some(name)) = self.names.get(index) else {
                continue;
            };
            if !archive.last().as_str().starts_with(name.digest()) {
                faults.push(JoinFault::Misnamed {
                    archive: index,
                    named: named.clone(),
                    last: archive.last().clone(),
                });
            }
        }
        for pair in chains.iter().flat_map(|chain| chain.archives().windows(2)) {
            let &[before, index] = pair else { continue };
            let (Some(Some(name)), Some((found, _)), Some((_, archive))) = (
                self.names.get(before),
                self.archives.get(before),
                self.archives.get(index),
            ) else {
                continue;
            };
            let plain = |name: &str| name.strip_suffix(".gpg").unwrap_or(name).to_owned();
            if let Some(named) = archive.previous_archive()
                && plain(named) != plain(found)
            {
                faults.push(JoinFault::PreviousNamed {
                    archive: index,
                    named: named.to_owned(),
                    found: found.clone(),
                });
            }
            if let Some(Some(later)) = self.names.get(index)
                && later.end() < name.start()
            {
                faults.push(JoinFault::TimeStepsBack {
                    archives: [before, index],
                });
            }
        }
        self.faults.extend(faults);
    }

    fn check_records(&mut self, chains: &[Chain]) {
        for chain in chains {
            let mut seen: HashMap<u64, usize> = HashMap::new();
            for index in chain.archives() {
                let Some((_, archive)) = self.archives.get(*index) else {
                    continue;
                };
                for record in archive
                    .containers()
                    .iter()
                    .filter_map(|line| record(line.name()))
                {
                    if let Some(before) = seen.insert(record, *index) {
                        self.faults.push(JoinFault::RecordTwice {
                            record,
                            archives: [before, *index],
                        });
                        if self.faults.len() > MAX_FAULTS {
                            return;
                        }
                    }
                }
            }
        }
    }
}

/// The links behind `digest`, or all when it is before the first.
fn after<'l>(links: Vec<&'l LinkDigest>, digest: &LinkDigest) -> Vec<&'l LinkDigest> {
    let from = links
        .iter()
        .position(|link| *link == digest)
        .map_or(0, |place| place.saturating_add(1));
    links.into_iter().skip(from).collect()
}

/// The record's number in a container's name (`signatures-and-log.md` 5.2).
fn record(name: &str) -> Option<u64> {
    let (rest, number) = name.strip_suffix(".asice")?.rsplit_once('-')?;
    let is_named = rest.ends_with("-request") || rest.ends_with("-response");
    u64::from_str_radix(number, 32).ok().filter(|_| is_named)
}

fn list(archives: &[usize]) -> String {
    let numbers: Vec<String> = archives.iter().map(usize::to_string).collect();
    numbers.join(", ")
}

/// Faults kept.
const MAX_FAULTS: usize = 1000;
