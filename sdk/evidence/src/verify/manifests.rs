//! Manifests of time-stamps inside signatures of long ago, which X-Road still verifies where they are (`signatures-and-log.md` 1.5
//! step 6): a root manifest that names manifests, whose references must hold.

use jibek_certs::digest::digest;
use roxmltree::Node;

use super::{Refusal, invalid, parts::shortened};
use crate::{
    c14n::canonicalize,
    names::DS_NAMESPACE,
    signature::{Form, Reference, Signature, read_reference},
    xml,
};

/// Checks those of a document, if there are any.
pub(super) fn check(signature: &Signature<'_>) -> Result<(), Refusal> {
    let document = signature.element.document();
    let Some(root) = xml::by_id(document, "ts-root-manifest") else {
        return Ok(());
    };
    for reference in references(root)? {
        let id = reference.uri.strip_prefix('#').unwrap_or(reference.uri);
        let Some(manifest) = xml::by_id(document, id) else {
            continue;
        };
        for reference in references(manifest)? {
            check_reference(document, &reference)?;
        }
    }
    Ok(())
}

fn check_reference(
    document: &roxmltree::Document<'_>,
    reference: &Reference<'_>,
) -> Result<(), Refusal> {
    let node = reference
        .uri
        .strip_prefix('#')
        .and_then(|id| xml::by_id(document, id))
        .ok_or_else(|| {
            invalid(
                "invalid_reference",
                format!(
                    "a time-stamp's manifest refers to \"{}\", which is not there",
                    shortened(reference.uri)
                ),
            )
        })?;
    let found = digest(
        reference.digest.algorithm(),
        &canonicalize(node, &reference.canonicalization),
    );
    if found != reference.digest {
        return Err(invalid(
            "invalid_reference",
            format!(
                "{} has another digest than a time-stamp's manifest says",
                shortened(reference.uri)
            ),
        ));
    }
    Ok(())
}

fn references<'d>(manifest: Node<'d, 'd>) -> Result<Vec<Reference<'d>>, Refusal> {
    let malformed = |why: &str| invalid("malformed_signature", why);
    if !xml::is(manifest, DS_NAMESPACE, "Manifest") {
        return Err(malformed("a time-stamp's manifest is none"));
    }
    let references: Vec<Reference<'d>> = xml::children(manifest)
        .filter(|child| xml::is(*child, DS_NAMESPACE, "Reference"))
        .take(MOST_REFERENCES + 1)
        .map(|child| read_reference(child, Form::Container))
        .collect::<Result<_, _>>()?;
    if references.is_empty() || references.len() > MOST_REFERENCES {
        return Err(malformed(
            "a time-stamp's manifest has no references, or too many",
        ));
    }
    Ok(references)
}

/// What the signature library under X-Road takes.
const MOST_REFERENCES: usize = 30;
