//! What X-Road demands of a container before it looks at a signature (`signatures-and-log.md` 5.6 step 1), and what its message says.

use bytes::Bytes;

use super::{
    Judge, MessageFacts, Refusal,
    document::{InnerStamp, SignatureFacts},
    facts::Unread,
    invalid,
};
use crate::container::Container;

impl<'a> Judge<'a> {
    /// The signature document's bytes.
    pub(super) fn document(&self) -> Result<&'a Bytes, Refusal> {
        required(self.container, SIGNATURES, "asic_signature_not_found")
    }

    /// Step 1, but for the time-stamp, for which the signature must be read.
    pub(super) fn check_entries(&self) -> Result<(), Refusal> {
        let container = self.container;
        required(container, "mimetype", "asic_mime_type_not_found")?;
        if container.has_container_type() != Some(true) {
            return Err(invalid(
                "asic_invalid_mime_type",
                "the mimetype entry is not that of a container",
            ));
        }
        required(container, MESSAGE, "asic_message_not_found")?;
        required(container, SIGNATURES, "asic_signature_not_found")?;
        self.check_pair("sig-hashchain.xml", "sig-hashchainresult.xml")
    }

    /// A time-stamp there must be, and manifests must not be empty.
    pub(super) fn check_stamp_entries(&self, signature: &SignatureFacts) -> Result<(), Refusal> {
        let container = self.container;
        match container.entry(STAMP) {
            Some(token) if token.is_empty() => {
                return Err(invalid(
                    "asic_timestamp_not_found",
                    format!("{STAMP} is empty"),
                ));
            }
            Some(_) => {}
            None => match signature.stamp {
                InnerStamp::Absent => {
                    return Err(invalid("malformed_signature", "there is no time-stamp"));
                }
                InnerStamp::Empty => {
                    return Err(invalid(
                        "asic_timestamp_not_found",
                        "the time-stamp is empty",
                    ));
                }
                InnerStamp::Token(_) | InnerStamp::Unreadable => {}
            },
        }
        self.check_pair("ts-hashchain.xml", "ts-hashchainresult.xml")?;
        for manifest in [MANIFEST, ASIC_MANIFEST] {
            if container.entry(manifest).is_some() && !present(container, manifest) {
                return Err(invalid(
                    "asic_manifest_not_found",
                    format!("{manifest} is empty"),
                ));
            }
        }
        Ok(())
    }

    fn check_pair(&self, chain: &str, result: &str) -> Result<(), Refusal> {
        match (
            present(self.container, chain),
            present(self.container, result),
        ) {
            (true, false) => Err(invalid(
                "asic_hash_chain_result_not_found",
                format!("{chain} without {result}"),
            )),
            (false, true) => Err(invalid(
                "asic_hash_chain_not_found",
                format!("{result} without {chain}"),
            )),
            _ => Ok(()),
        }
    }

    /// What the message says of itself. One that is neither SOAP nor REST ends the judging; one that is SOAP and lacks something is
    /// told later, in [`Judge::believe`].
    pub(super) fn read_message(&self) -> Result<Result<MessageFacts, Unread>, Refusal> {
        let message = required(self.container, MESSAGE, "asic_message_not_found")?;
        let read = MessageFacts::read_leniently(message);
        match read {
            Err(unread) if unread.is_no_message => Err(invalid(INTERNAL_ERROR, unread.reason)),
            read => Ok(read),
        }
    }

    /// A message that cannot be read is no contradiction where the configuration is of another time anyway.
    pub(super) fn believe(
        &mut self,
        message: Result<MessageFacts, Unread>,
    ) -> Result<Option<MessageFacts>, Refusal> {
        match message {
            Ok(facts) => Ok(Some(facts)),
            Err(unread) if self.doubts.is_empty() => Err(invalid(INTERNAL_ERROR, unread.reason)),
            Err(unread) => {
                self.doubts.push(unread.reason);
                Ok(None)
            }
        }
    }
}

pub(super) fn present(container: &Container, name: &str) -> bool {
    container
        .entry(name)
        .is_some_and(|content| !content.trim_ascii().is_empty())
}

fn required<'a>(container: &'a Container, name: &str, code: &str) -> Result<&'a Bytes, Refusal> {
    container
        .entry(name)
        .filter(|content| !content.trim_ascii().is_empty())
        .ok_or_else(|| invalid(code, format!("there is no {name}")))
}

/// Whether X-Road keeps an entry of this name; of others it knows nothing.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
        || name
            .strip_prefix("META-INF/")
            .and_then(|name| name.strip_suffix(".xml"))
            .is_some_and(|name| name.contains("signatures"))
}

/// Whether an entry of this name belongs to every container, signed or not.
pub(super) fn is_structural(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Whether X-Road takes an entry of this name for an attachment.
pub(super) fn is_attachment(name: &str) -> bool {
    name.starts_with("attachment")
}

pub(super) const MESSAGE: &str = "message.xml";
pub(super) const SIGNATURES: &str = "META-INF/signatures.xml";
pub(super) const STAMP: &str = "META-INF/timestamp.tst";
pub(super) const MANIFEST: &str = "META-INF/manifest.xml";
pub(super) const ASIC_MANIFEST: &str = "META-INF/ASiCManifest.xml";

const KNOWN: [&str; 10] = [
    "mimetype",
    MESSAGE,
    SIGNATURES,
    "sig-hashchainresult.xml",
    "sig-hashchain.xml",
    "ts-hashchainresult.xml",
    "ts-hashchain.xml",
    MANIFEST,
    ASIC_MANIFEST,
    STAMP,
];

/// X-Road's code for what it did not expect.
const INTERNAL_ERROR: &str = "internal_error";
