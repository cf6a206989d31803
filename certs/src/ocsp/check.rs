//! A certificate judged whole: path and revocation together, as X-Road judges signing and authentication certificates.

use std::time::Duration;

use ::time::OffsetDateTime;

use super::{OcspError, OcspResponse, Policy, VerifiedOcsp};
use crate::{
    chain::{Budget, ChainError, VerifiedChain, verify_chain},
    parse::Certificate,
    signer::Weakness,
    trust::{ApprovedCa, Authorities},
};

/// A certificate is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// An issuer is no approved CA of the instance, by name or by its certificate.
    #[error(
        "certificate {subject} is not issued by an approved certification authority: {issuer} is not configured"
    )]
    UnknownAuthority {
        /// Whose certificate.
        subject: String,
        /// The name looked for.
        issuer: String,
    },
    /// No path to the anchor.
    #[error("no path from the certificate to its certification authority")]
    Chain(#[source] ChainError),
    /// No OCSP response is about this certificate of the path.
    #[error("no OCSP response for certificate {subject}")]
    NoOcsp {
        /// Whose certificate.
        subject: String,
    },
    /// The OCSP response for a certificate of the path is not believed, or says no.
    #[error("the OCSP response for certificate {subject} does not confirm it")]
    Ocsp {
        /// Whose certificate.
        subject: String,
        /// Why.
        #[source]
        source: OcspError,
    },
}

impl CertError {
    /// X-Road's error code as it appears behind `signature_verification.` or in the verifier's verdict
    /// (`signatures-and-log.md` 6.3).
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownAuthority { .. } => "internal_error",
            Self::Chain(_) => "cannot_create_cert_path",
            Self::NoOcsp { .. } => "invalid_cert_path.cert_validation",
            Self::Ocsp { source, .. } if source.code() == "cert_validation" => {
                "invalid_cert_path.cert_validation"
            }
            Self::Ocsp { .. } => "invalid_cert_path.incorrect_validation_info",
        }
    }
}

impl CertError {
    /// Whether only the configuration's knowledge is missing: it lacks the CA or the OCSP responder, and nothing contradicts
    /// itself. An auditor then says that it cannot be judged.
    pub fn is_unknown_trust(&self) -> bool {
        match self {
            Self::UnknownAuthority { .. } | Self::Chain(ChainError::UnknownIssuer { .. }) => true,
            Self::Ocsp { source, .. } => source.is_unknown_trust(),
            Self::Chain(_) | Self::NoOcsp { .. } => false,
        }
    }
}

/// A certificate whose path and revocation status were checked for a moment.
#[derive(Debug, Clone)]
pub struct VerifiedCertificate {
    chain: VerifiedChain,
    ocsp: Vec<VerifiedOcsp>,
    profile_class: String,
}

impl VerifiedCertificate {
    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        self.chain.leaf()
    }

    /// Its path.
    pub fn chain(&self) -> &VerifiedChain {
        &self.chain
    }

    /// Who issued it: the approved CA itself, unless the caller chose an anchor further up.
    pub fn issuer(&self) -> &Certificate {
        self.chain
            .links()
            .next()
            .map_or(self.chain.anchor(), |(_, issuer)| issuer)
    }

    /// The OCSP response believed for each certificate of the path, leaf first.
    pub fn ocsp(&self) -> &[VerifiedOcsp] {
        &self.ocsp
    }

    /// The certificate profile class of the CA that issued it, for the identity of its subject.
    pub fn profile_class(&self) -> &str {
        &self.profile_class
    }

    /// What is weak about the path and the responses, each once.
    pub fn weaknesses(&self) -> Vec<Weakness> {
        let ocsp = self.ocsp.iter().flat_map(VerifiedOcsp::weaknesses);
        let mut found: Vec<Weakness> = self.chain.weaknesses().into_iter().chain(ocsp).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// How far the response from furthest in the future lay ahead ([`VerifiedOcsp::ahead`]).
    pub fn ocsp_ahead(&self) -> Option<Duration> {
        self.ocsp.iter().filter_map(VerifiedOcsp::ahead).max()
    }

    /// Until when this judgement may be reused: the earliest end of a validity or of an OCSP response on the path. A new
    /// configuration ends it too.
    pub fn valid_until(&self) -> OffsetDateTime {
        let certificates = self.chain.certificates().iter().map(Certificate::not_after);
        let ocsp = self.ocsp.iter().map(VerifiedOcsp::valid_until);
        certificates
            .chain(ocsp)
            .min()
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

/// Judges `leaf` at `now`: a path to the approved CA that issued it **directly**, and a fresh OCSP response saying good for every
/// certificate on it (`signatures-and-log.md` 6.2, 6.3; `message-path.md` 5.5). `extra` are certificates that came along.
///
/// Of several CAs with the issuer's name each is tried; X-Road tries the last only.
///
/// # Errors
/// [`CertError`]; of several CAs the error of the one that came furthest.
pub fn verify_with_ocsp(
    leaf: &Certificate,
    extra: &[Certificate],
    authorities: &Authorities,
    responses: &[OcspResponse],
    now: OffsetDateTime,
    policy: Policy,
) -> Result<VerifiedCertificate, CertError> {
    let mut best = CertError::UnknownAuthority {
        subject: leaf.subject().rfc2253().to_owned(),
        issuer: leaf.issuer().rfc2253().to_owned(),
    };
    for ca in authorities.by_subject(leaf.issuer()).take(MOST_NAMESAKES) {
        match verify_with_ocsp_anchored(leaf, extra, ca, authorities, responses, now, policy) {
            Ok(verified) => return Ok(verified),
            Err(error) if rank(&error) > rank(&best) => best = error,
            Err(_) => {}
        }
    }
    Err(best)
}

/// The same with an anchor of the caller's choice: a provider's server anchors at the approved CA that issued the **last**
/// certificate received (`message-path.md` 5.3). Every issuer on the path must be an approved CA itself.
///
/// # Errors
/// [`CertError`].
pub fn verify_with_ocsp_anchored(
    leaf: &Certificate,
    extra: &[Certificate],
    anchor: &ApprovedCa,
    authorities: &Authorities,
    responses: &[OcspResponse],
    now: OffsetDateTime,
    policy: Policy,
) -> Result<VerifiedCertificate, CertError> {
    let anchors = std::slice::from_ref(&anchor.certificate);
    let chain =
        verify_chain(leaf, extra, anchors, now, &Budget::default()).map_err(CertError::Chain)?;
    let others: Vec<Certificate> = authorities
        .all()
        .iter()
        .map(|ca| ca.certificate.clone())
        .collect();
    let mut ocsp = Vec::new();
    for (certificate, issuer) in chain.links() {
        ocsp.push(believed(
            certificate,
            issuer,
            anchor,
            authorities,
            &others,
            responses,
            now,
            policy,
        )?);
    }
    let profile_class = authorities
        .by_subject(leaf.issuer())
        .find(|ca| {
            chain
                .links()
                .next()
                .is_some_and(|(_, issuer)| *issuer == ca.certificate)
        })
        .unwrap_or(anchor)
        .profile_class
        .clone();
    Ok(VerifiedCertificate {
        chain,
        ocsp,
        profile_class,
    })
}

#[expect(
    clippy::too_many_arguments,
    reason = "one step of the function above, with all that it knows"
)]
fn believed(
    certificate: &Certificate,
    issuer: &Certificate,
    anchor: &ApprovedCa,
    authorities: &Authorities,
    others: &[Certificate],
    responses: &[OcspResponse],
    now: OffsetDateTime,
    policy: Policy,
) -> Result<VerifiedOcsp, CertError> {
    let subject = || certificate.subject().rfc2253().to_owned();
    let configured = authorities
        .by_subject(issuer.subject())
        .find(|ca| ca.certificate == *issuer);
    let listed = match configured {
        Some(ca) => ca.ocsp_responders.as_slice(),
        None if anchor.certificate == *issuer => anchor.ocsp_responders.as_slice(),
        // An authority below an approved one is not approved by that: every issuer on the path must be configured itself.
        None => {
            return Err(CertError::UnknownAuthority {
                subject: subject(),
                issuer: issuer.subject().rfc2253().to_owned(),
            });
        }
    };
    let mut error = None;
    for response in responses
        .iter()
        .filter(|response| response.matches(certificate, issuer))
        .take(MOST_RESPONSES)
    {
        match response.verify(certificate, issuer, listed, others, now, policy) {
            Ok(verified) => return Ok(verified),
            // A no is final, whatever another response says; of the rest the first is told.
            Err(no @ (OcspError::Revoked { .. } | OcspError::Unknown { .. })) => {
                return Err(CertError::Ocsp {
                    subject: subject(),
                    source: no,
                });
            }
            Err(first) => error = error.or(Some(first)),
        }
    }
    Err(match error {
        Some(source) => CertError::Ocsp {
            subject: subject(),
            source,
        },
        None => CertError::NoOcsp { subject: subject() },
    })
}

fn rank(error: &CertError) -> u8 {
    match error {
        CertError::UnknownAuthority { .. } => 0,
        CertError::Chain(ChainError::Signature { .. } | ChainError::UnknownIssuer { .. }) => 1,
        CertError::Chain(_) => 2,
        CertError::NoOcsp { .. } => 3,
        CertError::Ocsp { .. } => 4,
    }
}

/// CAs of one name that are tried: more than any authority's key has been changed.
const MOST_NAMESAKES: usize = 64;
/// Responses about one certificate that are tried.
const MOST_RESPONSES: usize = 4;
