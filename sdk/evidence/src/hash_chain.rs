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

use jibek_certs::digest::{Digest, DigestAlgorithm, digest};

/// Digest of one step: over the DER of its entries' digests in document order (`signatures-and-log.md` 2.2).
///
/// Every entry is a `SEQUENCE` of the digest, its algorithm's URI as `UTF8String`, and an empty sequence of transforms.
pub(crate) fn step_digest(algorithm: DigestAlgorithm, entries: &[Digest]) -> Digest {
    let body: usize = entries
        .iter()
        .map(|entry| encoded_len(single_len(entry)))
        .sum();
    let mut list = Vec::with_capacity(encoded_len(body));
    push_header(SEQUENCE, body, &mut list);
    for entry in entries {
        push_header(SEQUENCE, single_len(entry), &mut list);
        push_header(OCTET_STRING, entry.as_bytes().len(), &mut list);
        list.extend_from_slice(entry.as_bytes());
        let method = entry.algorithm().uri();
        push_header(UTF8_STRING, method.len(), &mut list);
        list.extend_from_slice(method.as_bytes());
        push_header(SEQUENCE, 0, &mut list);
    }
    digest(algorithm, &list)
}

fn single_len(entry: &Digest) -> usize {
    encoded_len(entry.as_bytes().len())
        .saturating_add(encoded_len(entry.algorithm().uri().len()))
        .saturating_add(encoded_len(0))
}

/// Length of a DER element with a body of `length` bytes.
fn encoded_len(length: usize) -> usize {
    let long = match length {
        0..0x80 => 0,
        _ => length_bytes(length),
    };
    length.saturating_add(long).saturating_add(2)
}

/// How many bytes a long length has.
fn length_bytes(length: usize) -> usize {
    length
        .to_be_bytes()
        .iter()
        .skip_while(|byte| **byte == 0)
        .count()
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

#[cfg(test)]
mod tests;
