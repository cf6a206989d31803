//! Which bytes of a container its verdict rests on, so that a test can change each of them and see that it is noticed.
//!
//! Covered are all bytes of the message, of every attachment that is referenced, of the hash chain results, of SignedInfo and
//! SignedProperties as they stand in the file, and of the decoded signature value; of a time-stamp token what its signature is over
//! (TSTInfo and signed attributes) and that signature. The rest of a token, certificates among it, anybody may add or take away
//! (`signatures-and-log.md` 3.2).

use base64::{Engine, engine::general_purpose::STANDARD};
use std::ops::Range;

use super::token;
use crate::{
    container::Container,
    names,
    signature::{Form, Signature},
    xml,
};

/// A part of a container that is covered.
#[derive(Debug, Clone)]
pub struct CoveredPart {
    entry: String,
    kind: CoveredKind,
    /// Where, in the entry's bytes or in what its text stands for.
    places: Vec<Range<usize>>,
    /// A base64 text in the entry, and what it stands for.
    text: Option<(Range<usize>, Vec<u8>)>,
}

/// Why a part is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CoveredKind {
    /// An attachment that the signature refers to.
    Attachment,
    /// An attachment behind a hash chain: a change does not touch X-Road's verdict, and is told as `attachment_differs`.
    AttachmentOnTrust,
    /// A hash chain result that is signed or stamped.
    ChainResult,
    /// The message.
    Message,
    /// The decoded signature value.
    SignatureValue,
    /// SignedInfo as it stands; flips that leave the canonical form equal change nothing ([`signed_form`]).
    SignedInfo,
    /// SignedProperties as they stand; the same goes for them.
    SignedProperties,
    /// What a time-stamp token's signature is over, and that signature.
    TimeStamp,
}

impl CoveredPart {
    /// The entry's name without leading `/`.
    pub fn entry(&self) -> &str {
        &self.entry
    }

    /// Why it is covered.
    pub fn kind(&self) -> CoveredKind {
        self.kind
    }

    /// How many bits it has that can be flipped.
    pub fn bits(&self) -> usize {
        let bytes: usize = self.places.iter().map(Range::len).sum();
        bytes.saturating_mul(8)
    }

    /// The entry `content`, from which [`covered`] was taken, with bit `bit` of this part flipped; `None` beyond its bits.
    pub fn flipped(&self, content: &[u8], bit: usize) -> Option<Vec<u8>> {
        let place = self.places.iter().cloned().flatten().nth(bit / 8)?;
        let mut changed = match &self.text {
            Some((_, decoded)) => decoded.clone(),
            None => content.to_vec(),
        };
        *changed.get_mut(place)? ^= 1 << (bit % 8);
        let Some((range, _)) = &self.text else {
            return Some(changed);
        };
        let mut entry = content.get(..range.start)?.to_vec();
        entry.extend_from_slice(STANDARD.encode(changed).as_bytes());
        entry.extend_from_slice(content.get(range.end..)?);
        Some(entry)
    }
}

/// The parts that a container's verdict rests on; none when its signature cannot be read.
pub fn covered(container: &Container) -> Vec<CoveredPart> {
    let Some(document) = container.entry(SIGNATURES) else {
        return Vec::new();
    };
    let Ok(tree) = xml::parse(document) else {
        return Vec::new();
    };
    let Ok(signature) = Signature::read(&tree, Form::Container) else {
        return Vec::new();
    };
    let mut parts = whole_entries(container, &signature);
    let mut inside = |kind, places, text| {
        parts.push(CoveredPart {
            entry: SIGNATURES.to_owned(),
            kind,
            places,
            text,
        });
    };
    inside(
        CoveredKind::SignedInfo,
        only(signature.signed_info.range()),
        None,
    );
    if let Some(properties) = signature
        .signed_properties
        .filter(|_| signature.covers_properties())
    {
        inside(
            CoveredKind::SignedProperties,
            only(properties.range()),
            None,
        );
    }
    if let Some(range) = xml::text_range(signature.value_element) {
        inside(
            CoveredKind::SignatureValue,
            only(0..signature.value.len()),
            Some((range, signature.value.clone())),
        );
    }
    if let Some(token) = container.entry(STAMP) {
        parts.push(CoveredPart {
            entry: STAMP.to_owned(),
            kind: CoveredKind::TimeStamp,
            places: token::signed_ranges(token),
            text: None,
        });
    } else if let Some((element, token)) = signature.time_stamp()
        && let Some(range) = xml::text_range(element)
    {
        let places = token::signed_ranges(&token);
        inside(CoveredKind::TimeStamp, places, Some((range, token)));
    }
    parts
}

fn whole_entries(container: &Container, signature: &Signature<'_>) -> Vec<CoveredPart> {
    let mut parts = Vec::new();
    let mut whole = |name: &str, kind| {
        let entry = name.strip_prefix('/').unwrap_or(name);
        if let Some(content) = container.entry(entry) {
            parts.push(CoveredPart {
                entry: entry.to_owned(),
                kind,
                places: only(0..content.len()),
                text: None,
            });
        }
    };
    whole(names::MESSAGE, CoveredKind::Message);
    for (name, _) in container.entries() {
        let uri = format!("/{name}");
        if names::attachment_number(&uri).is_none() {
            continue;
        }
        if signature.reference(&uri).is_some() {
            whole(&uri, CoveredKind::Attachment);
        } else if signature.reference(names::SIGNATURE_CHAIN_RESULT).is_some() {
            whole(&uri, CoveredKind::AttachmentOnTrust);
        }
    }
    if signature.reference(names::SIGNATURE_CHAIN_RESULT).is_some() {
        whole(names::SIGNATURE_CHAIN_RESULT, CoveredKind::ChainResult);
    }
    whole(names::STAMP_CHAIN_RESULT, CoveredKind::ChainResult);
    parts
}

fn only(range: Range<usize>) -> Vec<Range<usize>> {
    std::iter::once(range).collect()
}

/// What of a signature document is signed, in canonical form: SignedInfo, and the properties if it refers to them. Two documents in
/// which it is equal say the same; `None` when there is no signature to read.
pub fn signed_form(document: &[u8]) -> Option<Vec<u8>> {
    let tree = xml::parse(document).ok()?;
    let signature = Signature::read(&tree, Form::Container).ok()?;
    let mut form = signature.signed_bytes();
    for reference in &signature.references {
        if let Some((_, canonical)) = signature.canonical_node(reference) {
            form.extend_from_slice(&canonical);
        }
    }
    Some(form)
}

const SIGNATURES: &str = "META-INF/signatures.xml";
const STAMP: &str = "META-INF/timestamp.tst";

#[cfg(test)]
mod tests;
