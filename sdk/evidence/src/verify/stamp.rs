//! The time-stamp: over what, by whom, when (`signatures-and-log.md` 3.5, 5.6 step 4).

use bytes::Bytes;
use jibek_certs::{parse::Certificate, signer::Weakness, tsp::TimestampToken};
use time::OffsetDateTime;

use super::{
    Judge, Refusal,
    document::{InnerStamp, SignatureFacts},
    entries::STAMP,
    explain, invalid,
};
use crate::{hash_chain, names, tlv};

/// What the time-stamp proves.
pub(super) struct Stamp {
    pub(super) time: OffsetDateTime,
    /// `None` when no configured authority made it.
    pub(super) authority: Option<Certificate>,
    /// What is weak about it.
    pub(super) weaknesses: Vec<Weakness>,
}

impl Judge<'_> {
    pub(super) fn check_stamp(&mut self, signature: &SignatureFacts) -> Result<Stamp, Refusal> {
        let der = match (self.container.entry(STAMP), &signature.stamp) {
            (Some(token), _) | (None, InnerStamp::Token(token)) => token,
            (None, InnerStamp::Absent | InnerStamp::Empty | InnerStamp::Unreadable) => {
                return Err(invalid("malformed_signature", "there is no time-stamp"));
            }
        };
        let known = self.memory.token(der, || read(der))?;
        let token = &known.token;
        if !known.covers(self.stamped(signature)?) {
            return Err(invalid(
                "malformed_signature",
                "the time-stamp is over something else",
            ));
        }
        let trusted = self.trust.timestamp_certificates();
        match known.verified(|| token.verify_signer(trusted)) {
            Ok(verified) => Ok(Stamp {
                time: verified.gen_time(),
                authority: Some(verified.tsa().clone()),
                weaknesses: verified.weaknesses(),
            }),
            Err(error) if error.is_unknown_trust() => {
                self.check_unknown_authority(token)?;
                self.doubts.push(format!(
                    "the time-stamp's authority is not in the configuration: {error}"
                ));
                Ok(Stamp {
                    time: token.gen_time(),
                    authority: None,
                    weaknesses: token.imprint().algorithm().weakness().into_iter().collect(),
                })
            }
            Err(error) => Err(invalid(error.code(), explain(&error))),
        }
    }

    /// What the token itself says must hold together all the same.
    fn check_unknown_authority(&self, token: &TimestampToken) -> Result<(), Refusal> {
        match token.verify_signer(token.certificates()) {
            Err(error) if !error.is_unknown_trust() => Err(invalid(error.code(), explain(&error))),
            _ => Ok(()),
        }
    }

    /// The bytes that the token must be over. A batch is assumed whenever there is a result.
    fn stamped<'s>(&'s self, signature: &'s SignatureFacts) -> Result<&'s Bytes, Refusal> {
        let Some(result) = self.container.entry("ts-hashchainresult.xml") else {
            return Ok(&signature.value);
        };
        let chain = self
            .container
            .entry("ts-hashchain.xml")
            .map_or(&[][..], |chain| chain);
        let inputs = |name: &str| self.input(signature, name);
        let required = [names::SIGNATURES.to_owned()];
        hash_chain::verify(result, names::STAMP_CHAIN, chain, &inputs, &required).map_err(
            |error| {
                invalid(
                    "malformed_signature",
                    format!("the time-stamp's hash chain: {}", explain(&error)),
                )
            },
        )?;
        Ok(result)
    }
}

fn read(der: &Bytes) -> Result<TimestampToken, Refusal> {
    if tlv::first(der).is_some_and(|first| first.len() != der.len()) {
        return Err(invalid(
            "malformed_signature",
            "there is something behind the time-stamp",
        ));
    }
    TimestampToken::parse(der).map_err(|error| invalid("malformed_signature", explain(&error)))
}
