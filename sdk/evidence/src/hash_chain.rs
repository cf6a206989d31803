//! Hash trees over the parts of many messages, and each message's way to the top (`signatures-and-log.md` section 2).
//!
//! [`build`] writes the bytes X-Road writes; [`verify`] follows X-Road's rules with limits of its own on steps and documents.

mod build;
mod schema;
mod verify;
mod written;

pub use build::{BuildError, ChainNames, Chains, Leaf, Tree, build};
pub use verify::{
    ChainError, DataReference, DigestMismatch, Input, MAX_DOCUMENTS, MAX_STEPS, Trust,
    VerifiedChain, verify,
};

use jibek_certs::digest::{Digest, DigestAlgorithm, Hasher};

/// Digest of one step: over the DER of its entries' digests in document order (`signatures-and-log.md` 2.2).
///
/// Every entry is a `SEQUENCE` of the digest, its algorithm's URI as `UTF8String`, and an empty sequence of transforms.
pub(crate) fn step_digest(algorithm: DigestAlgorithm, entries: &[Digest]) -> Digest {
    let body: usize = entries
        .iter()
        .map(|entry| encoded_len(single_len(entry)))
        .sum();
    let mut hasher = Hasher::new(algorithm);
    let mut head = Vec::with_capacity(HEAD_CAPACITY);
    push_header(SEQUENCE, body, &mut head);
    hasher.update(&head);
    for entry in entries {
        head.clear();
        push_header(SEQUENCE, single_len(entry), &mut head);
        push_header(OCTET_STRING, entry.as_bytes().len(), &mut head);
        head.extend_from_slice(entry.as_bytes());
        let method = entry.algorithm().uri();
        push_header(UTF8_STRING, method.len(), &mut head);
        head.extend_from_slice(method.as_bytes());
        push_header(SEQUENCE, 0, &mut head);
        hasher.update(&head);
    }
    hasher.finish()
}

fn single_len(entry: &Digest) -> usize {
    encoded_len(entry.as_bytes().len())
        .saturating_add(encoded_len(entry.algorithm().uri().len()))
        .saturating_add(encoded_len(0))
}

/// Length of a DER element with a body of `length` bytes.
fn encoded_len(length: usize) -> usize {
    let mut header = Vec::with_capacity(HEAD_CAPACITY);
    push_header(SEQUENCE, length, &mut header);
    header.len().saturating_add(length)
}

pub(crate) fn push_header(tag: u8, length: usize, out: &mut Vec<u8>) {
    out.push(tag);
    let bytes = length.to_be_bytes();
    let significant = bytes
        .iter()
        .position(|byte| *byte != 0)
        .and_then(|first| bytes.get(first..))
        .unwrap_or(&[0]);
    match significant {
        [short] if *short < 0x80 => out.push(*short),
        long => {
            // at most eight bytes of length
            out.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            out.extend_from_slice(long);
        }
    }
}

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const UTF8_STRING: u8 = 0x0c;
/// Room for the headers and the digest of one entry.
const HEAD_CAPACITY: usize = 128;

#[cfg(test)]
mod tests;
