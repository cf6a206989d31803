//! Request hashes: what binds an answer to the question (`message-path.md` 2.5, 3.5).

use jibek_certs::digest::{Digest, DigestAlgorithm, Hasher, digest};

/// Computes the request hash of a REST request from its signed block (the container's `message.xml`) and its body.
///
/// Base64 of SHA-512 over the block, or, when there is a body, of SHA-512 over both raw digests one after the other.
/// An empty body that is present counts as a body (`message-path.md` 3.5).
///
/// ```
/// let block = b"GET\r\n/r1/KG/GOV/70000002/cadastre/properties/1-2-3\r\nx-road-client:KG/GOV/70000001/notary\r\n";
/// assert_eq!(jibek_sdk::request_hash(block, None).len(), 88);
/// assert_ne!(jibek_sdk::request_hash(block, Some(b"")), jibek_sdk::request_hash(block, None));
/// ```
#[must_use]
pub fn request_hash(block: &[u8], body: Option<&[u8]>) -> String {
    request_hash_of(block, body.map(sha512).as_ref())
}

/// Computes the same from the body's SHA-512, for bodies that were streamed.
#[must_use]
pub fn request_hash_of(block: &[u8], body: Option<&Digest>) -> String {
    let block = sha512(block);
    match body {
        None => block.to_base64(),
        Some(body) => {
            let mut both = Hasher::new(DigestAlgorithm::Sha512);
            both.update(block.as_bytes());
            both.update(body.as_bytes());
            both.finish().to_base64()
        }
    }
}

/// Computes SHA-512 of `bytes`.
pub(crate) fn sha512(bytes: &[u8]) -> Digest {
    digest(DigestAlgorithm::Sha512, bytes)
}
