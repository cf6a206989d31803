//! Walking a chain to its top (`signatures-and-log.md` 2.5).

use jibek_certs::digest::{Digest, DigestAlgorithm, digest};
use roxmltree::Node;
use std::collections::{HashMap, HashSet};

use super::{
    schema::{self, check_chain, check_result, digest_value},
    step_digest,
};
use crate::{
    names::{DS_NAMESPACE, HASH_CHAIN_NAMESPACE},
    xml::{self, XmlRefused},
};

/// What the verifier knows about a name that a chain refers to.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Input<'a> {
    /// Its digest. The chain's own value is ignored, as X-Road does: a mismatch shows at the top.
    Digest(Digest),
    /// Its bytes, which must hash to the chain's value.
    Data(&'a [u8]),
    /// Nothing, and the chain's value is taken as it stands (containers only).
    OnTrust,
    /// Nothing, and the chain is refused (the wire).
    Unknown,
}

/// One `DataRef` on the way to the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataReference {
    /// What it names, as `/attachment1`.
    pub name: String,
    /// The digest that went into the step.
    pub digest: Digest,
    /// How far it was checked.
    pub trust: Trust,
}

/// How a reference's digest was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// The digest of what we hold.
    Checked,
    /// The chain's own word.
    OnTrust,
}

/// A chain that leads to its result.
#[derive(Debug, Clone)]
pub struct VerifiedChain {
    references: Vec<DataReference>,
}

impl VerifiedChain {
    /// Every `DataRef` the top depends on, in the order of the walk, each once.
    pub fn references(&self) -> &[DataReference] {
        &self.references
    }
}

/// Two digests that should be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a comparison has two sides")]
pub struct DigestMismatch {
    /// What was signed.
    pub expected: Digest,
    /// What is there.
    pub found: Digest,
}

impl std::fmt::Display for DigestMismatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "expected {:?}, found {:?}",
            self.expected, self.found
        )
    }
}

/// Why a chain does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The result or the chain is no such document.
    #[error("the hash chain is malformed: {0}")]
    Malformed(&'static str),
    /// The chain refers to something that is not there.
    #[error("the hash chain refers to {name}, which is not part of the message")]
    Unresolved {
        /// The reference's URI.
        name: String,
    },
    /// A required part is not on the way to the top.
    #[error("{name} is not covered by the hash chain")]
    Uncovered {
        /// The part.
        name: String,
    },
    /// The data are not what the chain says.
    #[error("{name} is not what the hash chain says: {digests}")]
    WrongData {
        /// The data's name.
        name: String,
        /// Both digests.
        digests: Box<DigestMismatch>,
    },
    /// The chain leads elsewhere.
    #[error("the hash chain does not lead to its result: {0}")]
    WrongTop(Box<DigestMismatch>),
    /// A document that our parser does not take.
    #[error("the hash chain is not acceptable XML")]
    Xml(#[source] XmlRefused),
}

impl ChainError {
    /// X-Road's code, without prefixes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Xml(_) => "malformed_hash_chain",
            Self::Unresolved { .. } => "invalid_reference",
            Self::Uncovered { .. } => "hashchain_unused_inputs",
            Self::WrongData { .. } => "invalid_hash_chain_ref",
            Self::WrongTop(_) => "invalid_hash_chain",
        }
    }
}

/// Checks that `result` is the top of `chain`, which is called `chain_name`, and that every name in `required` is on the way there.
///
/// Steps and nesting are limited by [`MAX_STEPS`] and [`MAX_DEPTH`]; a step that depends on itself is refused.
///
/// # Errors
/// [`ChainError`].
pub fn verify<'a>(
    result: &[u8],
    chain_name: &str,
    chain: &[u8],
    inputs: &dyn Fn(&str) -> Input<'a>,
    required: &[String],
) -> Result<VerifiedChain, ChainError> {
    let result = xml::parse(result).map_err(ChainError::Xml)?;
    let top = result.root_element();
    check_result(top)?;
    let uri = top
        .attribute("URI")
        .ok_or(ChainError::Malformed("a result without URI"))?;
    let (base, step) = uri
        .split_once('#')
        .ok_or(ChainError::Malformed("a result that names no step"))?;
    if step.is_empty() {
        return Err(ChainError::Malformed("a result that names no step"));
    }
    if base != chain_name {
        return Err(ChainError::Unresolved {
            name: base.to_owned(),
        });
    }
    let [method, value] =
        xml::exactly(top).ok_or(ChainError::Malformed("a result needs a method and a value"))?;
    let method = algorithm(method)?;
    let expected = digest_value(value, method)?;

    let chain = xml::parse(chain).map_err(ChainError::Xml)?;
    let mut walk = Walk::new(chain.root_element(), chain_name, inputs)?;
    let first = walk.step(step)?;
    let found = walk.digest_of(first, method, 0)?;
    if found != expected {
        return Err(ChainError::WrongTop(Box::new(DigestMismatch {
            expected,
            found,
        })));
    }
    walk.check_covered(required)?;
    Ok(VerifiedChain {
        references: walk.references,
    })
}

struct Walk<'c, 'a> {
    /// What the chain is called, for steps that name it.
    name: &'c str,
    steps: Vec<Node<'c, 'c>>,
    by_id: HashMap<&'c str, usize>,
    default_method: Option<DigestAlgorithm>,
    inputs: &'c dyn Fn(&str) -> Input<'a>,
    open: Vec<bool>,
    known: HashMap<(usize, DigestAlgorithm), Digest>,
    /// Digests of data that we hold: a chain may refer to them as often as it likes.
    hashed: HashMap<(String, DigestAlgorithm), Digest>,
    references: Vec<DataReference>,
    /// Names on the way, with the digests they were taken for.
    used: HashMap<String, HashSet<Digest>>,
}

impl<'c, 'a> Walk<'c, 'a> {
    fn new(
        root: Node<'c, 'c>,
        name: &'c str,
        inputs: &'c dyn Fn(&str) -> Input<'a>,
    ) -> Result<Self, ChainError> {
        check_chain(root)?;
        let mut steps = Vec::new();
        let mut by_id = HashMap::new();
        let mut default_method = None;
        for (place, child) in xml::children(root).enumerate() {
            if place == 0 && xml::is(child, HASH_CHAIN_NAMESPACE, "DefaultDigestMethod") {
                default_method = Some(algorithm_of(child)?);
            } else if xml::is(child, HASH_CHAIN_NAMESPACE, "HashStep") {
                if let Some(id) = schema::id(child)
                    && by_id.insert(id, steps.len()).is_some()
                {
                    return Err(ChainError::Malformed("two steps of one id"));
                }
                steps.push(child);
            } else {
                return Err(ChainError::Malformed("an unknown element"));
            }
        }
        if steps.len() > MAX_STEPS {
            return Err(ChainError::Malformed("too many steps"));
        }
        let open = vec![false; steps.len()];
        Ok(Self {
            name,
            steps,
            by_id,
            default_method,
            inputs,
            open,
            known: HashMap::new(),
            hashed: HashMap::new(),
            references: Vec::new(),
            used: HashMap::new(),
        })
    }

    fn step(&self, id: &str) -> Result<usize, ChainError> {
        self.by_id.get(id).copied().ok_or(ChainError::Malformed(
            "a reference to a step that is not there",
        ))
    }

    fn digest_of(
        &mut self,
        step: usize,
        method: DigestAlgorithm,
        depth: usize,
    ) -> Result<Digest, ChainError> {
        if let Some(known) = self.known.get(&(step, method)) {
            return Ok(*known);
        }
        if depth >= MAX_DEPTH {
            return Err(ChainError::Malformed("steps nested too deep"));
        }
        let node = *self.steps.get(step).ok_or(ChainError::Malformed(
            "a reference to a step that is not there",
        ))?;
        match self.open.get_mut(step) {
            Some(open) if !*open => *open = true,
            _ => return Err(ChainError::Malformed("a step that depends on itself")),
        }
        let mut entries = Vec::new();
        for entry in xml::children(node) {
            entries.push(self.entry(entry, depth)?);
        }
        if entries.is_empty() {
            return Err(ChainError::Malformed("an empty step"));
        }
        if let Some(open) = self.open.get_mut(step) {
            *open = false;
        }
        let digest = step_digest(method, &entries);
        self.known.insert((step, method), digest);
        Ok(digest)
    }

    fn entry(&mut self, entry: Node<'c, 'c>, depth: usize) -> Result<Digest, ChainError> {
        let mut children = xml::children(entry).peekable();
        let method = match children.next_if(|child| xml::is(*child, DS_NAMESPACE, "DigestMethod")) {
            Some(method) => algorithm(method)?,
            None => self
                .default_method
                .ok_or(ChainError::Malformed("a digest without method"))?,
        };
        if let Some(transforms) =
            children.next_if(|child| xml::is(*child, DS_NAMESPACE, "Transforms"))
            && xml::children(transforms).next().is_some()
        {
            return Err(ChainError::Malformed("transforms"));
        }
        let value = children.next();
        if children.next().is_some() {
            return Err(ChainError::Malformed("an unknown element"));
        }
        if xml::is(entry, HASH_CHAIN_NAMESPACE, "StepRef") {
            let uri = entry
                .attribute("URI")
                .ok_or(ChainError::Malformed("a reference without URI"))?;
            let id = uri
                .strip_prefix(self.name)
                .unwrap_or(uri)
                .strip_prefix('#')
                .ok_or_else(|| ChainError::Unresolved {
                    name: uri.to_owned(),
                })?;
            if value.is_some() {
                return Err(ChainError::Malformed("an unknown element"));
            }
            let step = self.step(id)?;
            return self.digest_of(step, method, depth.saturating_add(1));
        }
        let value = digest_value(
            value.ok_or(ChainError::Malformed("no digest value"))?,
            method,
        )?;
        if xml::is(entry, HASH_CHAIN_NAMESPACE, "HashValue") {
            return Ok(value);
        }
        if !xml::is(entry, HASH_CHAIN_NAMESPACE, "DataRef") {
            return Err(ChainError::Malformed("an unknown element"));
        }
        let name = entry
            .attribute("URI")
            .ok_or(ChainError::Malformed("a reference without URI"))?;
        self.data(name, value)
    }

    fn data(&mut self, name: &str, stated: Digest) -> Result<Digest, ChainError> {
        let (digest, trust) = match (self.inputs)(name) {
            Input::Digest(known) if known.algorithm() == stated.algorithm() => {
                (known, Trust::Checked)
            }
            Input::Digest(_) | Input::Unknown => {
                return Err(ChainError::Unresolved {
                    name: name.to_owned(),
                });
            }
            Input::Data(data) => {
                let key = (name.to_owned(), stated.algorithm());
                let found = *self
                    .hashed
                    .entry(key)
                    .or_insert_with(|| digest(stated.algorithm(), data));
                if found != stated {
                    let digests = Box::new(DigestMismatch {
                        expected: stated,
                        found,
                    });
                    return Err(ChainError::WrongData {
                        name: name.to_owned(),
                        digests,
                    });
                }
                (found, Trust::Checked)
            }
            Input::OnTrust => (stated, Trust::OnTrust),
        };
        if self.used.entry(name.to_owned()).or_default().insert(digest) {
            self.references.push(DataReference {
                name: name.to_owned(),
                digest,
                trust,
            });
        }
        Ok(digest)
    }

    fn check_covered(&self, required: &[String]) -> Result<(), ChainError> {
        match required.iter().find(|name| !self.used.contains_key(*name)) {
            Some(name) => Err(ChainError::Uncovered { name: name.clone() }),
            None => Ok(()),
        }
    }
}

fn algorithm(method: Node<'_, '_>) -> Result<DigestAlgorithm, ChainError> {
    if !xml::is(method, DS_NAMESPACE, "DigestMethod") {
        return Err(ChainError::Malformed("no DigestMethod"));
    }
    algorithm_of(method)
}

fn algorithm_of(method: Node<'_, '_>) -> Result<DigestAlgorithm, ChainError> {
    method
        .attribute("Algorithm")
        .and_then(DigestAlgorithm::from_uri)
        .ok_or(ChainError::Malformed("an unknown digest method"))
}

/// Most steps of one chain: each level of a tree is a step, so a billion messages need 31; the rest is for other people's shapes.
pub const MAX_STEPS: usize = 4096;
/// Deepest nesting of steps.
pub const MAX_DEPTH: usize = 64;
