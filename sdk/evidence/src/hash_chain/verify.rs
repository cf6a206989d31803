//! Walking a chain to its top (`signatures-and-log.md` 2.5).

use jibek_certs::digest::{Digest, DigestAlgorithm, digest};
use roxmltree::{Document, Node};
use std::collections::{HashMap, HashSet};

use super::{
    schema::{self, check_chain, check_result, digest_value},
    step_digest, written,
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
    /// The same with a digest of these bytes that is known already.
    Hashed(&'a [u8], Digest),
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

    /// The same for a document that could not be had, to be told later.
    fn again(&self, name: &str) -> Self {
        match self {
            Self::Unresolved { .. } => Self::Unresolved {
                name: name.to_owned(),
            },
            _ => Self::Malformed("a document that cannot be read"),
        }
    }
}

/// Checks that `result` is the top of `chain`, which is called `chain_name`, and that every name in `required` is on the way there.
///
/// Steps may lie in other documents, which are asked of `inputs`. Steps are limited by [`MAX_STEPS`], documents by [`MAX_DOCUMENTS`];
/// a step that depends on itself is refused.
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
    let covered = |references: &[DataReference]| {
        let mut required = required.iter();
        required.all(|name| references.iter().any(|reference| reference.name == *name))
    };
    let written = written::verify(result, chain_name, chain, inputs);
    match written.filter(|references| covered(references)) {
        Some(references) => Ok(VerifiedChain { references }),
        None => walk(result, chain_name, chain, inputs, required),
    }
}

/// The same for a chain in whatever way it is written.
pub(super) fn walk<'a>(
    result: &[u8],
    chain_name: &str,
    chain: &[u8],
    inputs: &dyn Fn(&str) -> Input<'a>,
    required: &[String],
) -> Result<VerifiedChain, ChainError> {
    let result = xml::parse(result).map_err(ChainError::Xml)?;
    let top = result.root_element();
    check_result(top)?;
    let uri = xml::attribute(top, "URI").ok_or(ChainError::Malformed("a result without URI"))?;
    let (base, step) = split(uri)?;
    let [method, value] =
        xml::exactly(top).ok_or(ChainError::Malformed("a result needs a method and a value"))?;
    let method = algorithm(method)?;
    let expected = digest_value(value, method)?;

    // without a name there is no current chain yet
    if base.is_empty() {
        return Err(ChainError::Malformed("a result that names no chain"));
    }
    let source = |name: &str| match inputs(name) {
        _ if name == chain_name => Ok(chain),
        Input::Data(data) | Input::Hashed(data, _) => Ok(data),
        Input::Digest(_) | Input::OnTrust | Input::Unknown => Err(ChainError::Unresolved {
            name: name.to_owned(),
        }),
    };
    let mut loaded = load(base, &source)?;
    if loaded.first().is_some_and(|first| first.document.is_err())
        && let Err(error) = loaded.swap_remove(0).document
    {
        return Err(error);
    }
    let mut walk = Walk::new(&loaded, inputs)?;
    let first = walk.step(0, base, step)?;
    let found = walk.top(first, method)?;
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

/// A step's URI: the document, empty for the one that refers, and the step in it.
fn split(uri: &str) -> Result<(&str, &str), ChainError> {
    match uri.split_once('#') {
        Some((base, step)) if !step.is_empty() => Ok((base, step)),
        _ => Err(ChainError::Malformed("a URI that names no step")),
    }
}

/// The document `first` and those that its steps refer to, and theirs; an error where one cannot be had.
fn load<'d>(
    first: &str,
    source: &dyn Fn(&str) -> Result<&'d [u8], ChainError>,
) -> Result<Vec<Loaded<'d>>, ChainError> {
    let mut names = vec![first.to_owned()];
    let mut loaded: Vec<Loaded<'d>> = Vec::new();
    while let Some(name) = names.get(loaded.len()) {
        let name = name.clone();
        let document = source(&name).and_then(|bytes| xml::parse(bytes).map_err(ChainError::Xml));
        if let Ok(document) = &document {
            let references = document
                .descendants()
                .filter(|node| xml::is(*node, HASH_CHAIN_NAMESPACE, "StepRef"));
            for reference in references {
                let base = xml::attribute(reference, "URI")
                    .and_then(|uri| uri.split_once('#'))
                    .map_or("", |(base, _)| base);
                if base.is_empty() || names.iter().any(|name| name == base) {
                    continue;
                }
                if names.len() >= MAX_DOCUMENTS {
                    return Err(ChainError::Malformed("too many documents"));
                }
                names.push(base.to_owned());
            }
        }
        loaded.push(Loaded { name, document });
    }
    Ok(loaded)
}

struct Loaded<'d> {
    name: String,
    document: Result<Document<'d>, ChainError>,
}

/// One document of steps.
struct Chain {
    default_method: Option<DigestAlgorithm>,
}

struct Walk<'c, 'a> {
    names: Vec<&'c str>,
    /// Errors of documents that cannot be used are told when a step leads there.
    chains: Vec<Result<Chain, ChainError>>,
    /// Of all documents: the element, and its document.
    steps: Vec<(Node<'c, 'c>, usize)>,
    by_id: HashMap<(usize, &'c str), usize>,
    inputs: &'c dyn Fn(&str) -> Input<'a>,
    open: Vec<bool>,
    known: HashMap<(usize, DigestAlgorithm), Digest>,
    /// Digests of data that we hold: a chain may refer to them as often as it likes.
    hashed: HashMap<(String, DigestAlgorithm), Digest>,
    references: Vec<DataReference>,
    /// Names on the way, with the digests they were taken for.
    used: HashMap<String, HashSet<Digest>>,
}

/// A step that is being walked.
struct Frame<'c> {
    step: usize,
    method: DigestAlgorithm,
    chain: usize,
    entries: std::vec::IntoIter<Node<'c, 'c>>,
    digests: Vec<Digest>,
}

/// What an entry of a step comes to.
enum Entry {
    Digest(Digest),
    Step(usize, DigestAlgorithm),
}

impl<'c, 'a> Walk<'c, 'a> {
    fn new(
        loaded: &'c [Loaded<'c>],
        inputs: &'c dyn Fn(&str) -> Input<'a>,
    ) -> Result<Self, ChainError> {
        let mut walk = Self {
            names: loaded.iter().map(|loaded| loaded.name.as_str()).collect(),
            chains: Vec::new(),
            steps: Vec::new(),
            by_id: HashMap::new(),
            inputs,
            open: Vec::new(),
            known: HashMap::new(),
            hashed: HashMap::new(),
            references: Vec::new(),
            used: HashMap::new(),
        };
        for (number, loaded) in loaded.iter().enumerate() {
            let chain = match &loaded.document {
                Ok(document) => walk.add(number, document.root_element()),
                Err(error) => Err(error.again(&loaded.name)),
            };
            walk.chains.push(chain);
        }
        if walk.steps.len() > MAX_STEPS {
            return Err(ChainError::Malformed("too many steps"));
        }
        walk.open = vec![false; walk.steps.len()];
        Ok(walk)
    }

    fn add(&mut self, chain: usize, root: Node<'c, 'c>) -> Result<Chain, ChainError> {
        check_chain(root)?;
        let mut default_method = None;
        for child in xml::children(root) {
            if !xml::is(child, HASH_CHAIN_NAMESPACE, "HashStep") {
                default_method = Some(algorithm_of(child)?);
                continue;
            }
            if let Some(id) = schema::id(child)
                && self.by_id.insert((chain, id), self.steps.len()).is_some()
            {
                return Err(ChainError::Malformed("two steps of one id"));
            }
            self.steps.push((child, chain));
        }
        Ok(Chain { default_method })
    }

    /// The step `id` of the document `base`, or of the document number `current`.
    fn step(&mut self, current: usize, base: &str, id: &str) -> Result<usize, ChainError> {
        let chain = match base {
            "" => Some(current),
            base => self.names.iter().position(|name| *name == base),
        };
        let chain = chain.ok_or_else(|| ChainError::Unresolved {
            name: base.to_owned(),
        })?;
        if let Some(Err(error)) = self.chains.get_mut(chain) {
            // the walk ends here
            return Err(std::mem::replace(error, ChainError::Malformed("")));
        }
        self.by_id
            .get(&(chain, id))
            .copied()
            .ok_or(ChainError::Malformed(
                "a reference to a step that is not there",
            ))
    }

    /// The digest of a step, by way of all that it depends on. Depth costs no stack: who wrote the chain decides on it.
    fn top(&mut self, first: usize, method: DigestAlgorithm) -> Result<Digest, ChainError> {
        let mut frames = Vec::new();
        let mut current = self.enter(first, method)?;
        loop {
            let Some(entry) = current.entries.next() else {
                let digest = step_digest(current.method, &current.digests);
                if let Some(open) = self.open.get_mut(current.step) {
                    *open = false;
                }
                self.known.insert((current.step, current.method), digest);
                match frames.pop() {
                    Some(before) => current = before,
                    None => return Ok(digest),
                }
                current.digests.push(digest);
                continue;
            };
            match self.entry(entry, current.chain)? {
                Entry::Digest(digest) => current.digests.push(digest),
                Entry::Step(step, method) => {
                    let below = self.enter(step, method)?;
                    frames.push(std::mem::replace(&mut current, below));
                }
            }
        }
    }

    fn enter(&mut self, step: usize, method: DigestAlgorithm) -> Result<Frame<'c>, ChainError> {
        let (node, chain) = *self.steps.get(step).ok_or(ChainError::Malformed(
            "a reference to a step that is not there",
        ))?;
        match self.open.get_mut(step) {
            Some(open) if !*open => *open = true,
            _ => return Err(ChainError::Malformed("a step that depends on itself")),
        }
        let entries: Vec<Node<'c, 'c>> = xml::children(node).collect();
        if entries.is_empty() {
            return Err(ChainError::Malformed("an empty step"));
        }
        Ok(Frame {
            step,
            method,
            chain,
            digests: Vec::with_capacity(entries.len()),
            entries: entries.into_iter(),
        })
    }

    fn entry(&mut self, entry: Node<'c, 'c>, chain: usize) -> Result<Entry, ChainError> {
        let default_method = match self.chains.get(chain) {
            Some(Ok(chain)) => chain.default_method,
            _ => None,
        };
        let mut children = xml::children(entry).peekable();
        let method = match children.next_if(|child| xml::is(*child, DS_NAMESPACE, "DigestMethod")) {
            Some(method) => algorithm(method)?,
            None => default_method.ok_or(ChainError::Malformed("a digest without method"))?,
        };
        let value = children.next();
        let uri =
            || xml::attribute(entry, "URI").ok_or(ChainError::Malformed("a reference without URI"));
        if xml::is(entry, HASH_CHAIN_NAMESPACE, "StepRef") {
            let (base, id) = split(uri()?)?;
            let step = self.step(chain, base, id)?;
            return Ok(match self.known.get(&(step, method)) {
                Some(known) => Entry::Digest(*known),
                None => Entry::Step(step, method),
            });
        }
        let value = digest_value(
            value.ok_or(ChainError::Malformed("no digest value"))?,
            method,
        )?;
        if xml::is(entry, HASH_CHAIN_NAMESPACE, "HashValue") {
            return Ok(Entry::Digest(value));
        }
        self.data(uri()?, value).map(Entry::Digest)
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
            Input::Data(data) | Input::Hashed(data, _) => {
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
    xml::attribute(method, "Algorithm")
        .and_then(DigestAlgorithm::from_uri)
        .ok_or(ChainError::Malformed("an unknown digest method"))
}

/// Most steps of one chain: each level of a tree is a step, so a billion messages need 31; the rest is for other people's shapes.
pub const MAX_STEPS: usize = 4096;
/// Most documents that steps of one chain may lie in; real chains have one.
pub const MAX_DOCUMENTS: usize = 8;
