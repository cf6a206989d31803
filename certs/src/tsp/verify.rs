//! Whether a time-stamp token is to be believed.

use ::time::OffsetDateTime;
use rasn::{AsnType, Decode, Decoder, Encode, types::GeneralizedTime};

use super::{TST_INFO, TimestampToken, TspError, attribute};
use crate::{
    asn1::{Any, ObjectIdentifier, OctetString, SetOf, SignerId, dotted, from_asn1_time},
    digest::{DigestAlgorithm, digest},
    parse::{Certificate, Name},
    signer::{SignatureAlgorithm, Weakness},
};

/// A time-stamp that is believed: an approved authority says that the data existed at `gen_time`.
#[derive(Debug, Clone)]
pub struct VerifiedTimestamp {
    gen_time: OffsetDateTime,
    tsa: Certificate,
    algorithm: SignatureAlgorithm,
    imprint: DigestAlgorithm,
}

impl VerifiedTimestamp {
    /// When the data existed.
    pub fn gen_time(&self) -> OffsetDateTime {
        self.gen_time
    }

    /// Who says so.
    pub fn tsa(&self) -> &Certificate {
        &self.tsa
    }

    /// What is weak about the digest stamped, the signature and the authority's key, each once.
    pub fn weaknesses(&self) -> Vec<Weakness> {
        let digests = [self.imprint.weakness(), self.algorithm.weakness()];
        let all = digests
            .into_iter()
            .chain([self.tsa.public_key().weakness()]);
        let mut found: Vec<Weakness> = all.flatten().collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl TimestampToken {
    /// Verifies that one of the `trusted` authorities stamped `data`: the decoded octets of ds:SignatureValue, or the bytes of
    /// `ts-hashchainresult.xml` (`signatures-and-log.md` 3.5).
    ///
    /// # Errors
    /// [`TspError`].
    pub fn verify(
        &self,
        data: &[u8],
        trusted: &[Certificate],
    ) -> Result<VerifiedTimestamp, TspError> {
        let expected = digest(self.imprint.algorithm(), data);
        if expected != self.imprint {
            return Err(TspError::Imprint {
                expected: Box::new(expected),
                found: Box::new(self.imprint),
            });
        }
        self.verify_signer(trusted)
    }

    /// Verifies who signed the token, whatever it stamps: what a server does with a fresh token, whose imprint it compared with
    /// its query already.
    ///
    /// # Errors
    /// [`TspError`].
    pub fn verify_signer(&self, trusted: &[Certificate]) -> Result<VerifiedTimestamp, TspError> {
        let algorithm = self.check_attributes()?;
        let signed = self
            .signer
            .signed
            .as_ref()
            .and_then(|signed| rasn::der::encode(signed).ok());
        let signed = signed.ok_or(TspError::Attributes("none"))?;
        let mut best = TspError::UnknownAuthority;
        for tsa in trusted
            .iter()
            .filter(|tsa| self.is_signer(tsa))
            .take(MOST_VERIFICATIONS)
        {
            if tsa
                .verify_der(algorithm, &signed, &self.signer.signature)
                .is_err()
            {
                best = TspError::Signature;
                continue;
            }
            if let Some(signing_time) = self.signing_time()?.filter(|time| !tsa.is_valid_at(*time))
            {
                return Err(TspError::CertificateNotValid { signing_time });
            }
            return Ok(VerifiedTimestamp {
                gen_time: self.gen_time,
                tsa: tsa.clone(),
                algorithm,
                imprint: self.imprint.algorithm(),
            });
        }
        Err(best)
    }

    /// The signed attributes must name the content's type and its digest. Gives the signature's algorithm.
    fn check_attributes(&self) -> Result<SignatureAlgorithm, TspError> {
        let hash = DigestAlgorithm::from_oid(&dotted(&self.signer.digest_algorithm.algorithm))
            .ok_or(TspError::Attributes("unknown digest algorithm"))?;
        let kind: Option<ObjectIdentifier> = single(attribute(&self.signer, CONTENT_TYPE));
        if kind.is_none_or(|kind| dotted(&kind) != TST_INFO) {
            return Err(TspError::Attributes("content type"));
        }
        let found: Option<OctetString> = single(attribute(&self.signer, MESSAGE_DIGEST));
        if found.is_none_or(|found| *found != *digest(hash, &self.info).as_bytes()) {
            return Err(TspError::Attributes("message digest"));
        }
        let identifier = &self.signer.signature_algorithm;
        let algorithm = match dotted(&identifier.algorithm).as_str() {
            RSA_ENCRYPTION => Some(SignatureAlgorithm::rsa(hash)),
            EC_PUBLIC_KEY => Some(SignatureAlgorithm::ecdsa(hash)),
            _ => SignatureAlgorithm::from_identifier(identifier),
        };
        algorithm.ok_or(TspError::Attributes("unknown signature algorithm"))
    }

    fn is_signer(&self, tsa: &Certificate) -> bool {
        match &self.signer.id {
            SignerId::IssuerAndSerial(id) => {
                id.serial == crate::asn1::integer(tsa.serial_bytes())
                    && (id.issuer.as_bytes() == tsa.issuer().der()
                        || is_name(id.issuer.as_bytes())
                            && Name::from_der(id.issuer.as_bytes())
                                .is_ok_and(|issuer| issuer.matches(tsa.issuer())))
            }
            SignerId::SubjectKeyId(id) => tsa.subject_key_id().is_some_and(|found| *found == **id),
        }
    }

    fn signing_time(&self) -> Result<Option<OffsetDateTime>, TspError> {
        let Some(values) = attribute(&self.signer, SIGNING_TIME) else {
            return Ok(None);
        };
        let value = values.first().ok_or(TspError::Attributes("signing time"))?;
        let time = match value.as_bytes().first() {
            Some(0x17) => rasn::der::decode::<rasn::types::UtcTime>(value.as_bytes())
                .map(|time| time.fixed_offset()),
            _ => rasn::der::decode::<GeneralizedTime>(value.as_bytes()),
        };
        let time = time.map_err(|_| TspError::Attributes("signing time"))?;
        Ok(from_asn1_time(&time))
    }
}

fn single<T: Decode>(values: Option<Vec<Any>>) -> Option<T> {
    match values?.as_slice() {
        [value] => rasn::ber::decode(value.as_bytes()).ok(),
        _ => None,
    }
}

/// Whether `der` is a name to the letter of its type, with values of universal types.
fn is_name(der: &[u8]) -> bool {
    rasn::ber::decode::<Vec<SetOf<NameAttribute>>>(der).is_ok_and(|name| {
        name.iter().flat_map(SetOf::to_vec).all(|attribute| {
            let tag = attribute.value.as_bytes().first();
            tag.is_some_and(|tag| *tag < CLASSES_BUT_UNIVERSAL)
        })
    })
}

/// One attribute of a name.
#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
struct NameAttribute {
    kind: ObjectIdentifier,
    value: Any,
}

const CLASSES_BUT_UNIVERSAL: u8 = 0x40;
const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
const SIGNING_TIME: &str = "1.2.840.113549.1.9.5";
const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
/// Authorities of one issuer and serial number; more than a few is hostile.
const MOST_VERIFICATIONS: usize = 8;
