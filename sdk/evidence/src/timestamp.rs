//! What a time-stamp over a batch of signatures covers (`signatures-and-log.md` 3.1).
//!
//! A stamp over one signature is a batch of one (`observed.md` 3), so a signature document is never rewritten after it was made.

use bytes::Bytes;
use jibek_certs::digest::{Digest, DigestAlgorithm, digest};

use crate::hash_chain::{BuildError, ChainNames, Leaf, Tree};

/// What to have stamped, and each signature's way to it. Use it once: the token belongs to these bytes.
#[derive(Debug, Clone)]
pub struct StampPlan {
    /// `ts-hashchainresult.xml`: its SHA-512 is the imprint. Kept as it is, beside the token.
    pub imprint_data: Bytes,
    tree: Tree,
}

impl StampPlan {
    /// The imprint to send to the time-stamping authority.
    pub fn imprint(&self) -> Digest {
        digest(DigestAlgorithm::Sha512, &self.imprint_data)
    }

    /// `ts-hashchain.xml` of each signature, in the order given. Each is written when it is asked for: together they would
    /// be fifty times as large as the tree.
    pub fn chains(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.tree.chains()
    }
}

/// Plans a stamp over signature documents, given the SHA-512 digest of each, in record order. Equal digests are equal leaves:
/// the signature of a batch comes once for each message.
///
/// # Errors
/// [`BuildError`] for an empty batch or another digest.
pub fn batch_imprint(signature_documents: &[Digest]) -> Result<StampPlan, BuildError> {
    let leaves: Vec<Leaf> = signature_documents
        .iter()
        .map(|document| Leaf::single(*document))
        .collect();
    let tree = Tree::new(leaves, ChainNames::TimeStamp)?;
    Ok(StampPlan {
        imprint_data: tree.result().clone(),
        tree,
    })
}

#[cfg(test)]
mod tests;
