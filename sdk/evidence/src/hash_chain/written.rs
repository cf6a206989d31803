//! Chains as X-Road and [`build`](super::build) write them, to the byte: read in one pass, without a tree.
//!
//! Every message of a batch has a chain of its own, so this is what a loaded server does most. Only what holds is told here. What is
//! written in another way, or does not hold, is left to the walk over the document, which also knows what to say of it.

use base64::{Engine, engine::general_purpose::STANDARD};
use jibek_certs::digest::{Digest, DigestAlgorithm, digest};

use super::{
    build::{DECLARATION, NAMESPACES},
    step_digest,
    verify::{DataReference, Input, Trust},
};

/// The data that `chain` leads to the top of `result`, if both are written as X-Road does and hold.
pub(super) fn verify<'a>(
    result: &[u8],
    chain_name: &str,
    chain: &[u8],
    inputs: &dyn Fn(&str) -> Input<'a>,
) -> Option<Vec<DataReference>> {
    let top = read_result(result, chain_name)?;
    let steps = read_chain(chain)?;
    let mut references = Vec::new();
    let mut below = None;
    // The last step holds the data; each one above it holds the digest of the one below.
    for step in steps.iter().rev() {
        let mut digests = Vec::with_capacity(step.len());
        for entry in step {
            digests.push(match entry {
                Entry::Below => below?,
                Entry::Data(name, stated) => {
                    let reference = check(name, *stated, inputs)?;
                    let digest = reference.digest;
                    if !references.contains(&reference) {
                        references.push(reference);
                    }
                    digest
                }
                Entry::Value(digest) => *digest,
            });
        }
        below = Some(step_digest(DigestAlgorithm::Sha512, &digests));
    }
    (below? == top).then_some(references)
}

fn check<'a>(
    name: &str,
    stated: Digest,
    inputs: &dyn Fn(&str) -> Input<'a>,
) -> Option<DataReference> {
    let (digest, trust) = match inputs(name) {
        Input::Data(data) if digest(DigestAlgorithm::Sha512, data) == stated => {
            (stated, Trust::Checked)
        }
        Input::Hashed(_, known) if known == stated => (known, Trust::Checked),
        Input::Digest(known) if known.algorithm() == DigestAlgorithm::Sha512 => {
            (known, Trust::Checked)
        }
        Input::OnTrust => (stated, Trust::OnTrust),
        Input::Data(_) | Input::Hashed(..) | Input::Digest(_) | Input::Unknown => return None,
    };
    Some(DataReference {
        name: name.to_owned(),
        digest,
        trust,
    })
}

/// One entry of a step.
enum Entry<'c> {
    /// The step below.
    Below,
    /// Data by name, with the digest that the chain states.
    Data(&'c str, Digest),
    /// The top of another subtree.
    Value(Digest),
}

fn read_result(result: &[u8], chain_name: &str) -> Option<Digest> {
    let mut text = Text(std::str::from_utf8(result).ok()?);
    text.take(DECLARATION)?;
    text.take("<ns2:HashChainResult URI=\"")?;
    text.take(chain_name)?;
    text.take("#STEP0\"")?;
    text.take(NAMESPACES)?;
    text.take("    <DigestMethod Algorithm=\"")?;
    text.take(DigestAlgorithm::Sha512.uri())?;
    text.take("\"/>\n    ")?;
    let top = text.digest()?;
    text.take("\n</ns2:HashChainResult>\n")?;
    text.end()?;
    Some(top)
}

/// The steps from the top down: all but the last refer once to the next, and only the last one to data.
fn read_chain(chain: &[u8]) -> Option<Vec<Vec<Entry<'_>>>> {
    let mut text = Text(std::str::from_utf8(chain).ok()?);
    text.take(DECLARATION)?;
    text.take("<ns2:HashChain")?;
    text.take(NAMESPACES)?;
    text.take("    <ns2:DefaultDigestMethod Algorithm=\"")?;
    text.take(DigestAlgorithm::Sha512.uri())?;
    text.take("\"/>\n")?;
    let mut steps: Vec<Vec<Entry<'_>>> = Vec::with_capacity(8);
    while text.take("    <ns2:HashStep id=\"STEP").is_some() {
        if steps.len() >= MAX_STEPS {
            return None;
        }
        text.number(steps.len())?;
        text.take("\">\n")?;
        let step = read_step(&mut text, steps.len())?;
        text.take("    </ns2:HashStep>\n")?;
        steps.push(step);
    }
    text.take("</ns2:HashChain>\n")?;
    text.end()?;
    let (last, above) = steps.split_last()?;
    let below = |step: &[Entry<'_>]| {
        let references = step.iter().filter(|entry| matches!(entry, Entry::Below));
        references.count()
    };
    let data = |step: &[Entry<'_>]| step.iter().any(|entry| matches!(entry, Entry::Data(..)));
    let is_path = below(last) == 0 && above.iter().all(|step| below(step) == 1 && !data(step));
    is_path.then_some(steps)
}

fn read_step<'c>(text: &mut Text<'c>, number: usize) -> Option<Vec<Entry<'c>>> {
    let mut step = Vec::with_capacity(2);
    loop {
        let entry = if text.take("        <ns2:HashValue>\n            ").is_some() {
            let digest = text.digest()?;
            text.take("\n        </ns2:HashValue>\n")?;
            Entry::Value(digest)
        } else if text.take("        <ns2:StepRef URI=\"#STEP").is_some() {
            text.number(number.checked_add(1)?)?;
            text.take("\"/>\n")?;
            Entry::Below
        } else if text.take("        <ns2:DataRef URI=\"").is_some() {
            let name = text.name()?;
            text.take("\">\n            ")?;
            let digest = text.digest()?;
            text.take("\n        </ns2:DataRef>\n")?;
            Entry::Data(name, digest)
        } else {
            return (!step.is_empty()).then_some(step);
        };
        if step.len() >= MAX_ENTRIES {
            return None;
        }
        step.push(entry);
    }
}

/// What is left to be read.
struct Text<'c>(&'c str);

impl<'c> Text<'c> {
    fn take(&mut self, expected: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    /// This number, in digits without leading zeros.
    fn number(&mut self, expected: usize) -> Option<()> {
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.0.split_at_checked(digits)?;
        let canonical = number.len() == 1 || !number.starts_with('0');
        (canonical && number.parse() == Ok(expected)).then(|| self.0 = rest)
    }

    /// A name that needs no second look at how it is escaped.
    fn name(&mut self) -> Option<&'c str> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
        let length = self.0.bytes().take_while(|byte| plain(byte)).count();
        let (name, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        (!name.is_empty()).then_some(name)
    }

    fn digest(&mut self) -> Option<Digest> {
        self.take("<DigestValue>")?;
        let (value, rest) = self.0.split_at_checked(SHA512_BASE64)?;
        self.0 = rest;
        let mut bytes = [0; SHA512_BYTES];
        let length = STANDARD.decode_slice(value, &mut bytes).ok()?;
        let digest = Digest::from_bytes(DigestAlgorithm::Sha512, bytes.get(..length)?)?;
        self.take("</DigestValue>")?;
        Some(digest)
    }
}

/// A tree with as many levels has more leaves than there will ever be messages.
const MAX_STEPS: usize = 64;
/// A message with as many attachments is left to the walk.
const MAX_ENTRIES: usize = 64;
/// Characters of a SHA-512 in base64.
const SHA512_BASE64: usize = 88;
/// Room for a decoded digest, as the decoder estimates it.
const SHA512_BYTES: usize = 66;

#[cfg(test)]
mod tests;
