//! Building the tree and writing result and chains, byte for byte as X-Road does (`signatures-and-log.md` 2.3, 2.4).

use bytes::Bytes;
use jibek_certs::digest::{Digest, DigestAlgorithm};
use std::fmt::Write;

use super::step_digest;
use crate::names;

/// What one recipient's chain must lead to the top.
#[derive(Debug, Clone)]
pub struct Leaf {
    parts: Vec<Digest>,
}

impl Leaf {
    /// A leaf of one part, whose digest is the leaf's value.
    pub fn single(part: Digest) -> Self {
        Self { parts: vec![part] }
    }

    /// A leaf of several parts, message first: its value is the digest of a step that lists them. With one part this is [`Leaf::single`].
    pub fn parts(message: Digest, others: &[Digest]) -> Self {
        let mut parts = Vec::with_capacity(others.len().saturating_add(1));
        parts.push(message);
        parts.extend_from_slice(others);
        Self { parts }
    }
}

/// How the entries and the chain file are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainNames {
    /// `/message.xml` and `/attachmentN` in `/sig-hashchain.xml`.
    Signature,
    /// `/META-INF/signatures.xml` in `/ts-hashchain.xml`.
    TimeStamp,
}

impl ChainNames {
    fn chain_file(self) -> &'static str {
        match self {
            Self::Signature => names::SIGNATURE_CHAIN,
            Self::TimeStamp => names::STAMP_CHAIN,
        }
    }

    fn first_part(self) -> &'static str {
        match self {
            Self::Signature => names::MESSAGE,
            Self::TimeStamp => names::SIGNATURES,
        }
    }
}

/// One result for all, and one chain for each leaf in order.
#[derive(Debug, Clone)]
pub struct Chains {
    /// The hash chain result: what is signed or stamped. Never to be re-written.
    pub result: Bytes,
    /// The chain of each leaf.
    pub chains: Vec<Bytes>,
}

/// Why there is no tree.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// Nothing to hash.
    #[error("a hash tree needs at least one leaf")]
    Empty,
    /// X-Road hashes parts with SHA-512 whatever the chain says (`signatures-and-log.md` 1.4).
    #[error("a part's digest is {0}, hash chains take SHA-512")]
    NotSha512(DigestAlgorithm),
}

/// Builds the tree over `leaves` in their order, with the chain of each.
///
/// # Errors
/// As [`Tree::new`].
pub fn build(leaves: &[Leaf], names: ChainNames) -> Result<Chains, BuildError> {
    let tree = Tree::new(leaves.to_vec(), names)?;
    Ok(Chains {
        result: tree.result.clone(),
        chains: tree.chains().collect(),
    })
}

/// A tree whose chains are written when they are asked for: a chain is some kilobytes long, what it is made from is not.
#[derive(Debug, Clone)]
pub struct Tree {
    names: ChainNames,
    leaves: Vec<Leaf>,
    levels: Vec<Vec<Digest>>,
    result: Bytes,
}

impl Tree {
    /// Builds the tree over `leaves` in their order.
    ///
    /// A single leaf becomes one step that lists its parts, be it one part only: X-Road never writes that, and accepts it
    /// (`observed.md` 3), so a time-stamp over one signature need not differ from one over many.
    ///
    /// # Errors
    /// [`BuildError`] when there is no leaf or a digest is not SHA-512.
    pub fn new(leaves: Vec<Leaf>, names: ChainNames) -> Result<Self, BuildError> {
        for part in leaves.iter().flat_map(|leaf| &leaf.parts) {
            if part.algorithm() != DigestAlgorithm::Sha512 {
                return Err(BuildError::NotSha512(part.algorithm()));
            }
        }
        let alone = leaves.len() == 1;
        let levels = levels(leaves.iter().map(|leaf| leaf_value(leaf, alone)).collect());
        let top = levels
            .last()
            .and_then(|level| level.first())
            .ok_or(BuildError::Empty)?;
        let result = result_xml(names, top).into();
        Ok(Self {
            names,
            leaves,
            levels,
            result,
        })
    }

    /// The hash chain result: what is signed or stamped. Never to be re-written.
    pub fn result(&self) -> &Bytes {
        &self.result
    }

    /// The chain of each leaf, in order.
    pub fn chains(&self) -> impl Iterator<Item = Bytes> + '_ {
        let alone = self.leaves.len() == 1;
        self.leaves
            .iter()
            .enumerate()
            .map(move |(index, leaf)| chain_xml(self.names, leaf, index, &self.levels, alone))
    }
}

fn leaf_value(leaf: &Leaf, alone: bool) -> Digest {
    match leaf.parts.as_slice() {
        [part] if !alone => *part,
        parts => step_digest(DigestAlgorithm::Sha512, parts),
    }
}

/// All levels of the tree, leaves first. A node without a right neighbour is passed up as it is.
fn levels(leaves: Vec<Digest>) -> Vec<Vec<Digest>> {
    let mut levels = vec![leaves];
    while let Some(below) = levels.last().filter(|level| level.len() > 1) {
        let level = below
            .chunks(2)
            .filter_map(|pair| match pair {
                [only] => Some(*only),
                [] => None,
                pair => Some(step_digest(DigestAlgorithm::Sha512, pair)),
            })
            .collect();
        levels.push(level);
    }
    levels
}

fn result_xml(names: ChainNames, top: &Digest) -> String {
    let mut xml = String::with_capacity(RESULT_BYTES);
    xml.push_str(DECLARATION);
    xml.push_str("<ns2:HashChainResult URI=\"");
    xml.push_str(names.chain_file());
    xml.push_str("#STEP0\"");
    xml.push_str(NAMESPACES);
    xml.push_str("    <DigestMethod Algorithm=\"");
    xml.push_str(DigestAlgorithm::Sha512.uri());
    xml.push_str("\"/>\n    <DigestValue>");
    xml.push_str(&top.to_base64());
    xml.push_str("</DigestValue>\n</ns2:HashChainResult>\n");
    xml
}

fn chain_xml(
    names: ChainNames,
    leaf: &Leaf,
    index: usize,
    levels: &[Vec<Digest>],
    alone: bool,
) -> Bytes {
    let listed = alone || leaf.parts.len() > 1;
    // Every level below the top, seen from the top, whose sibling subtree is not empty.
    let siblings: Vec<(usize, &Digest)> = levels
        .iter()
        .enumerate()
        .rev()
        .skip(1)
        .filter_map(|(level, nodes)| {
            let own = index.checked_shr(u32::try_from(level).ok()?)?;
            nodes.get(own ^ 1).map(|sibling| (own, sibling))
        })
        .collect();
    let mut xml = String::with_capacity(
        RESULT_BYTES.saturating_add(
            siblings
                .len()
                .saturating_add(leaf.parts.len())
                .saturating_mul(STEP_BYTES),
        ),
    );
    xml.push_str(DECLARATION);
    xml.push_str("<ns2:HashChain");
    xml.push_str(NAMESPACES);
    xml.push_str("    <ns2:DefaultDigestMethod Algorithm=\"");
    xml.push_str(DigestAlgorithm::Sha512.uri());
    xml.push_str("\"/>\n");
    for (step, (own, sibling)) in siblings.iter().enumerate() {
        let is_last = step.saturating_add(1) == siblings.len();
        open_step(step, &mut xml);
        if own % 2 == 1 {
            hash_value(sibling, &mut xml);
        }
        match leaf.parts.first().filter(|_| is_last && !listed) {
            Some(part) => data_ref(names.first_part(), part, &mut xml),
            None => step_ref(step.saturating_add(1), &mut xml),
        }
        if own % 2 == 0 {
            hash_value(sibling, &mut xml);
        }
        xml.push_str("    </ns2:HashStep>\n");
    }
    if listed {
        open_step(siblings.len(), &mut xml);
        for (number, part) in leaf.parts.iter().enumerate() {
            match number {
                0 => data_ref(names.first_part(), part, &mut xml),
                number => data_ref(&names::attachment(number), part, &mut xml),
            }
        }
        xml.push_str("    </ns2:HashStep>\n");
    }
    xml.push_str("</ns2:HashChain>\n");
    xml.into()
}

fn open_step(step: usize, xml: &mut String) {
    // writing to a string cannot fail
    let _ = writeln!(xml, "    <ns2:HashStep id=\"STEP{step}\">");
}

fn step_ref(step: usize, xml: &mut String) {
    let _ = writeln!(xml, "        <ns2:StepRef URI=\"#STEP{step}\"/>");
}

fn data_ref(name: &str, digest: &Digest, xml: &mut String) {
    xml.push_str("        <ns2:DataRef URI=\"");
    xml.push_str(name);
    xml.push_str("\">\n            <DigestValue>");
    xml.push_str(&digest.to_base64());
    xml.push_str("</DigestValue>\n        </ns2:DataRef>\n");
}

fn hash_value(digest: &Digest, xml: &mut String) {
    xml.push_str("        <ns2:HashValue>\n            <DigestValue>");
    xml.push_str(&digest.to_base64());
    xml.push_str("</DigestValue>\n        </ns2:HashValue>\n");
}

pub(super) const DECLARATION: &str =
    "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";
pub(super) const NAMESPACES: &str =
    " xmlns=\"http://www.w3.org/2000/09/xmldsig#\" xmlns:ns2=\"http://cyber.ee/hashchain\">\n";
/// Upper bound of a result's length; the chain's fixed text is shorter.
const RESULT_BYTES: usize = 512;
/// Upper bound of one step with two entries.
const STEP_BYTES: usize = 448;
