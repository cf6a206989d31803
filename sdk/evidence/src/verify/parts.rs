//! What the signature is over: the hash chain and the references (`signatures-and-log.md` 2.5, 5.6 step 5).

use jibek_certs::digest::{Digest, DigestAlgorithm};

use super::{
    Judge, Refusal,
    document::{SignatureFacts, StatedReference},
    entries::{SIGNATURES, is_attachment, is_known},
    explain, invalid,
};
use crate::{
    hash_chain::{self, Input, VerifiedChain},
    names,
};

impl Judge<'_> {
    /// The signature's hash chain, when the signature refers to its result; otherwise it is nobody's.
    pub(super) fn check_chain(
        &self,
        signature: &SignatureFacts,
    ) -> Result<Option<VerifiedChain>, Refusal> {
        let Some(result) = self.container.entry("sig-hashchainresult.xml") else {
            return Ok(None);
        };
        if !signature.refers_to(names::SIGNATURE_CHAIN_RESULT) {
            return Ok(None);
        }
        let chain = self
            .container
            .entry("sig-hashchain.xml")
            .map_or(&[][..], |chain| chain);
        let inputs = |name: &str| self.input(signature, name);
        let required = [names::MESSAGE.to_owned()];
        hash_chain::verify(result, names::SIGNATURE_CHAIN, chain, &inputs, &required)
            .map(Some)
            .map_err(|error| {
                invalid(
                    &format!("malformed_signature.{}", error.code()),
                    explain(&error),
                )
            })
    }

    /// Entries that X-Road keeps are known by their bytes; attachments and everything else are taken on trust, as X-Road does
    /// (2.5, 5.6 step 5).
    pub(super) fn input(&self, signature: &SignatureFacts, name: &str) -> Input<'_> {
        let name = name.strip_prefix('/').unwrap_or(name);
        match self.container.entry(name).filter(|_| is_known(name)) {
            Some(content) if name == SIGNATURES => Input::Hashed(content, signature.document),
            Some(content) => Input::Data(content),
            None => Input::OnTrust,
        }
    }

    /// Every reference must lead to something with the digest that it states.
    pub(super) fn check_references(&self, signature: &SignatureFacts) -> Result<(), Refusal> {
        if let Some(uri) = signature.unreadable.first() {
            return Err(invalid(
                "invalid_signature_value",
                format!("the reference to \"{}\" cannot be read", shortened(uri)),
            ));
        }
        for reference in &signature.references {
            let found = self.referenced(reference).ok_or_else(|| {
                invalid(
                    "invalid_signature_value",
                    format!(
                        "the signature refers to \"{}\", which is not there",
                        shortened(&reference.uri)
                    ),
                )
            })?;
            if found != reference.digest {
                return Err(invalid(
                    "invalid_signature_value",
                    format!(
                        "{} has another digest than the signature says",
                        shortened(&reference.uri)
                    ),
                ));
            }
        }
        Ok(())
    }

    fn referenced(&self, reference: &StatedReference) -> Option<Digest> {
        let uri = reference.uri.as_str();
        if uri.starts_with('#') {
            return reference.inner;
        }
        let name = uri.strip_prefix('/').unwrap_or(uri);
        if is_attachment(name) {
            // X-Road has taken their SHA-512 while reading, and compares it with whatever is stated.
            return self.entry_digest(name, DigestAlgorithm::Sha512);
        }
        is_known(name)
            .then(|| self.entry_digest(name, reference.digest.algorithm()))
            .flatten()
    }

    /// The digest of an entry, by its name with or without leading `/`.
    pub(super) fn entry_digest(&self, name: &str, algorithm: DigestAlgorithm) -> Option<Digest> {
        self.container
            .digest_by(name.strip_prefix('/').unwrap_or(name), algorithm)
    }
}

/// A name from the signature, for a sentence.
pub(super) fn shortened(text: &str) -> String {
    let mut shortened: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect();
    if shortened.len() < text.len() {
        shortened.push('…');
    }
    shortened
}

/// Longest name in a sentence, in characters.
const LONGEST: usize = 100;
