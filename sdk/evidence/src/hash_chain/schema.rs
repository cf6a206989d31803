//! What the schema of hash chains demands of the two documents.
//!
//! X-Road's verifier validates both before it walks them (`signatures-and-log.md` 2.5), so a chain with a stray letter between two
//! elements is refused there although no digest depends on it; a court must not get two answers.

use jibek_certs::digest::{Digest, DigestAlgorithm};
use roxmltree::Node;

use super::verify::ChainError;
use crate::{
    names::{DS_NAMESPACE, HASH_CHAIN_NAMESPACE},
    xml,
};

/// Checks a `HashChainResult`: a method, a value and where the chain starts.
pub(super) fn check_result(result: Node<'_, '_>) -> Result<(), ChainError> {
    if !xml::is(result, HASH_CHAIN_NAMESPACE, "HashChainResult") {
        return Err(ChainError::Malformed("no HashChainResult"));
    }
    element_only(result)?;
    attributes(result, &["URI"])?;
    for child in xml::children(result) {
        let method = xml::is(child, DS_NAMESPACE, "DigestMethod");
        attributes(child, if method { &["Algorithm"] } else { &[] })?;
    }
    Ok(())
}

/// Checks a `HashChain`, the steps that nothing leads to among them.
pub(super) fn check_chain(chain: Node<'_, '_>) -> Result<(), ChainError> {
    if !xml::is(chain, HASH_CHAIN_NAMESPACE, "HashChain") {
        return Err(ChainError::Malformed("no HashChain"));
    }
    element_only(chain)?;
    attributes(chain, &[])?;
    for (place, child) in xml::children(chain).enumerate() {
        if xml::is(child, HASH_CHAIN_NAMESPACE, "HashStep") {
            element_only(child)?;
            attributes(child, &["id"])?;
            for entry in xml::children(child) {
                check_entry(entry)?;
            }
        } else if place == 0 && xml::is(child, HASH_CHAIN_NAMESPACE, "DefaultDigestMethod") {
            attributes(child, &["Algorithm"])?;
        } else {
            return Err(ChainError::Malformed("an unknown element"));
        }
    }
    Ok(())
}

/// A method that may be absent, and a value unless the entry refers to a step. Transforms are none of the chains that were ever made.
fn check_entry(entry: Node<'_, '_>) -> Result<(), ChainError> {
    let is = |name| xml::is(entry, HASH_CHAIN_NAMESPACE, name);
    if !is("HashValue") && !is("StepRef") && !is("DataRef") {
        return Err(ChainError::Malformed("an unknown element"));
    }
    element_only(entry)?;
    if is("HashValue") {
        attributes(entry, &[])?;
    } else {
        attributes(entry, &["URI"])?;
        if entry.attribute("URI").is_none() {
            return Err(ChainError::Malformed("a reference without URI"));
        }
    }
    let mut children = xml::children(entry).peekable();
    if let Some(method) = children.next_if(|child| xml::is(*child, DS_NAMESPACE, "DigestMethod")) {
        attributes(method, &["Algorithm"])?;
    }
    if children
        .peek()
        .is_some_and(|child| xml::is(*child, DS_NAMESPACE, "Transforms"))
    {
        return Err(ChainError::Malformed("transforms"));
    }
    if !is("StepRef") {
        let value = children
            .next_if(|child| xml::is(*child, DS_NAMESPACE, "DigestValue"))
            .ok_or(ChainError::Malformed("no digest value"))?;
        attributes(value, &[])?;
    }
    match children.next() {
        Some(_) => Err(ChainError::Malformed("an unknown element")),
        None => Ok(()),
    }
}

/// A step's id, white space around it left out as the type `ID` has it. (A URI is taken as it stands.)
pub(super) fn id<'a>(step: Node<'a, '_>) -> Option<&'a str> {
    let id = step.attribute("id")?;
    Some(id.trim_matches(|c| u8::try_from(c).is_ok_and(is_space)))
}

/// The digest in a `DigestValue`: `base64Binary`, so white space is skipped and nothing else is forgiven.
pub(super) fn digest_value(
    value: Node<'_, '_>,
    method: DigestAlgorithm,
) -> Result<Digest, ChainError> {
    if !xml::is(value, DS_NAMESPACE, "DigestValue") {
        return Err(ChainError::Malformed("no DigestValue"));
    }
    xml::text(value)
        .and_then(|text| xml::strict_base64(&text))
        .and_then(|bytes| Digest::from_bytes(method, &bytes))
        .ok_or(ChainError::Malformed("a digest of the wrong length"))
}

/// Only white space may stand between the elements.
fn element_only(node: Node<'_, '_>) -> Result<(), ChainError> {
    let stray = |child: Node<'_, '_>| {
        child.is_text() && !child.text().is_none_or(|text| text.bytes().all(is_space))
    };
    if node.children().any(stray) {
        return Err(ChainError::Malformed("text between elements"));
    }
    Ok(())
}

/// Only the attributes of `allowed`, and where a schema is to be found, which any document may say.
fn attributes(node: Node<'_, '_>, allowed: &[&str]) -> Result<(), ChainError> {
    let known = |attribute: roxmltree::Attribute<'_, '_>| match attribute.namespace() {
        None => allowed.contains(&attribute.name()),
        Some(XSI_NAMESPACE) => SCHEMA_HINTS.contains(&attribute.name()),
        Some(_) => false,
    };
    if node.attributes().all(known) {
        Ok(())
    } else {
        Err(ChainError::Malformed("an unknown attribute"))
    }
}

/// XML's white space.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

const XSI_NAMESPACE: &str = "http://www.w3.org/2001/XMLSchema-instance";
const SCHEMA_HINTS: &[&str] = &["schemaLocation", "noNamespaceSchemaLocation"];

#[cfg(test)]
mod tests;
