//! Whether an OCSP response is to be believed, and until when.

use std::time::Duration;

use ::time::OffsetDateTime;

use super::{CertificateStatus, OcspResponse, Responder};
use crate::{
    parse::Certificate,
    signer::{SignatureAlgorithm, SignatureError, Weakness},
};

/// How fresh a response has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Greatest age of thisUpdate: the own instance's `ocspFreshnessSeconds`.
    pub freshness: Duration,
    /// Whether a passed nextUpdate makes a response unfit.
    pub check_next_update: bool,
}

impl Policy {
    /// A policy of these two.
    pub fn new(freshness: Duration, check_next_update: bool) -> Self {
        Self {
            freshness,
            check_next_update,
        }
    }
}

/// An OCSP response that is not believed, or that says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OcspError {
    /// Not a basic OCSP response; the text is the decoder's.
    #[error("malformed OCSP response: {0}")]
    Malformed(String),
    /// The responder answered with an error.
    #[error("the OCSP responder refused: {0}")]
    Refused(String),
    /// Its first SingleResponse is about another certificate, or names it in a way that X-Road does not recognise.
    #[error("the OCSP response is not about certificate {subject}")]
    OtherCertificate {
        /// Whose certificate was looked for.
        subject: String,
    },
    /// No certificate is known for the responder it names.
    #[error("no certificate of the OCSP responder is known")]
    UnknownResponder,
    /// The signature algorithm is not known here.
    #[error("the OCSP response is signed with an unknown algorithm")]
    Algorithm,
    /// The responder's key did not make the signature.
    #[error("the signature of the OCSP response is wrong")]
    Signature(#[source] SignatureError),
    /// The responder is neither listed for the CA, nor the CA, nor delegated by it.
    #[error("OCSP responder {responder} is not authorised to answer for {issuer}")]
    NotAuthorised {
        /// Who signed.
        responder: String,
        /// For whom it answered.
        issuer: String,
    },
    /// thisUpdate is too long ago.
    #[error("the OCSP response is of {this_update}, older than {} s at {now}", freshness.as_secs())]
    TooOld {
        /// When the status was right.
        this_update: OffsetDateTime,
        /// Greatest age allowed.
        freshness: Duration,
        /// The moment judged.
        now: OffsetDateTime,
    },
    /// nextUpdate has passed.
    #[error("the OCSP response was to be renewed by {next_update}, now is {now}")]
    NextUpdatePassed {
        /// When newer information was due.
        next_update: OffsetDateTime,
        /// The moment judged.
        now: OffsetDateTime,
    },
    /// The certificate is revoked.
    #[error("certificate {subject} is revoked since {since}")]
    Revoked {
        /// Whose certificate.
        subject: String,
        /// Since when.
        since: OffsetDateTime,
    },
    /// The responder does not know the certificate.
    #[error("certificate {subject} is unknown to the OCSP responder")]
    Unknown {
        /// Whose certificate.
        subject: String,
    },
}

impl OcspError {
    /// X-Road's error code: `cert_validation` for an answer that says no, `incorrect_validation_info` for one that is not
    /// believed. (That no response is about a certificate is for those who choose among several: [`super::CertError`].)
    pub fn code(&self) -> &'static str {
        match self {
            Self::Revoked { .. } | Self::Unknown { .. } => "cert_validation",
            Self::Malformed(_)
            | Self::Refused(_)
            | Self::OtherCertificate { .. }
            | Self::UnknownResponder
            | Self::Algorithm
            | Self::Signature(_)
            | Self::NotAuthorised { .. }
            | Self::TooOld { .. }
            | Self::NextUpdatePassed { .. } => "incorrect_validation_info",
        }
    }
}

impl OcspError {
    /// Whether only the configuration's knowledge of the responder is missing.
    pub fn is_unknown_trust(&self) -> bool {
        matches!(self, Self::UnknownResponder | Self::NotAuthorised { .. })
    }
}

/// A response that is believed and says good.
#[derive(Debug, Clone)]
pub struct VerifiedOcsp {
    response: OcspResponse,
    responder: Certificate,
    valid_until: OffsetDateTime,
    ahead: Option<Duration>,
}

impl VerifiedOcsp {
    /// The response itself.
    pub fn response(&self) -> &OcspResponse {
        &self.response
    }

    /// Who signed it.
    pub fn responder(&self) -> &Certificate {
        &self.responder
    }

    /// When the responder says that it signed.
    pub fn produced_at(&self) -> OffsetDateTime {
        self.response.produced_at
    }

    /// How far thisUpdate lay in the future at the moment judged. X-Road accepts that (`observed.md` 2); so it changes no verdict
    /// and is for whoever reports: a responder's clock is wrong, or an answer was made beforehand.
    pub fn ahead(&self) -> Option<Duration> {
        self.ahead
    }

    /// What is weak about the signature and the responder's key.
    pub fn weaknesses(&self) -> Vec<Weakness> {
        let algorithm = self
            .response
            .algorithm
            .and_then(SignatureAlgorithm::weakness);
        let key = self.responder.public_key().weakness();
        algorithm.into_iter().chain(key).collect()
    }

    /// Until when it may be used: thisUpdate plus freshness, or nextUpdate when that counts and is earlier.
    pub fn valid_until(&self) -> OffsetDateTime {
        self.valid_until
    }
}

impl OcspResponse {
    /// Judges the response for `certificate` as issued by `issuer`, at `now`.
    ///
    /// `listed_responders` are those the configuration lists for this CA; they are authorised by that. `other_authorities` are
    /// further configured CA certificates among which the responder may be found (it still has to be authorised).
    /// A thisUpdate in the future is accepted, as X-Road accepts it.
    ///
    /// # Errors
    /// [`OcspError`], in the order of X-Road's checks.
    pub fn verify(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        listed_responders: &[Certificate],
        other_authorities: &[Certificate],
        now: OffsetDateTime,
        policy: Policy,
    ) -> Result<VerifiedOcsp, OcspError> {
        let subject = || certificate.subject().rfc2253().to_owned();
        if !self.matches(certificate, issuer) {
            return Err(OcspError::OtherCertificate { subject: subject() });
        }
        let responder = self.find_responder(issuer, listed_responders, other_authorities)?;
        let valid_until = self.check_age(now, policy)?;
        match self.status {
            CertificateStatus::Good => Ok(VerifiedOcsp {
                response: self.clone(),
                responder,
                valid_until,
                ahead: Duration::try_from(self.this_update - now)
                    .ok()
                    .filter(|ahead| !ahead.is_zero()),
            }),
            CertificateStatus::Revoked { since } => Err(OcspError::Revoked {
                subject: subject(),
                since,
            }),
            CertificateStatus::Unknown => Err(OcspError::Unknown { subject: subject() }),
        }
    }

    /// The certificate that signed and was allowed to. Of several certificates with the responder's name any may do.
    fn find_responder(
        &self,
        issuer: &Certificate,
        listed: &[Certificate],
        others: &[Certificate],
    ) -> Result<Certificate, OcspError> {
        let mut best = OcspError::UnknownResponder;
        let candidates = listed
            .iter()
            .chain(std::iter::once(issuer))
            .chain(others)
            .chain(&self.embedded);
        let mut verifications = MOST_VERIFICATIONS;
        for candidate in candidates.filter(|candidate| self.is_responder(candidate)) {
            let Some(left) = usize::checked_sub(verifications, 1) else {
                break;
            };
            verifications = left;
            let algorithm: SignatureAlgorithm = self.algorithm.ok_or(OcspError::Algorithm)?;
            if let Err(error) = candidate.verify_der(algorithm, &self.tbs, &self.signature) {
                if best == OcspError::UnknownResponder {
                    best = OcspError::Signature(error);
                }
                continue;
            }
            let delegated =
                || candidate.has_ocsp_signing_eku() && candidate.issuer().matches(issuer.subject());
            if listed.contains(candidate)
                || candidate == issuer
                || (delegated() && candidate.verify_signed_by(issuer).is_ok())
            {
                return Ok(candidate.clone());
            }
            best = OcspError::NotAuthorised {
                responder: candidate.subject().rfc2253().to_owned(),
                issuer: issuer.subject().rfc2253().to_owned(),
            };
        }
        Err(best)
    }

    fn is_responder(&self, candidate: &Certificate) -> bool {
        match &self.responder {
            Responder::Name(name) => candidate.subject().matches(name),
            Responder::Key(key) => candidate.key_bits_sha1().as_slice() == key.as_slice(),
        }
    }

    fn check_age(&self, now: OffsetDateTime, policy: Policy) -> Result<OffsetDateTime, OcspError> {
        let freshness =
            ::time::Duration::try_from(policy.freshness).unwrap_or(::time::Duration::MAX);
        let mut valid_until = self.this_update.saturating_add(freshness);
        if valid_until < now {
            return Err(OcspError::TooOld {
                this_update: self.this_update,
                freshness: policy.freshness,
                now,
            });
        }
        if let Some(next_update) = self.next_update.filter(|_| policy.check_next_update) {
            if next_update < now {
                return Err(OcspError::NextUpdatePassed { next_update, now });
            }
            valid_until = valid_until.min(next_update);
        }
        Ok(valid_until)
    }
}

/// A configuration may list several responders of one name; more than a few is hostile.
const MOST_VERIFICATIONS: usize = 8;
