//! Paths from a certificate to a configured CA.
//!
//! In X-Road the trust anchor is the CA that issued the certificate directly (`signatures-and-log.md` 6.2), so nearly every path
//! is one signature; intermediates that came along are offered to the search, not demanded. The search is ours rather than
//! webpki's because what is judged is already read ([`Certificate`]), because CA certificates are leaves here too (their OCSP
//! responses travel), and because members' certificates with RSA-1024, SHA-1 or version 1 stand in old evidence.

mod names;

use ::time::OffsetDateTime;

use crate::{
    parse::{Certificate, Defect},
    signer::{SignatureError, Weakness},
};
use names::Breach;
pub(crate) use names::{AltName, Constraints};

/// How much work a search may cost. Hostile intermediates with equal names could otherwise make it exponential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Signatures that may be verified with the keys of intermediates; each may cost one more for every CA configured under one
    /// name.
    pub signatures: u32,
    /// Certificates a path may have, the leaf included, the anchor not, nor what an authority gives itself.
    pub length: usize,
}

impl Default for Budget {
    /// 32 signatures; 6 certificates, as Java allows 5 between the one that is judged and the anchor.
    fn default() -> Self {
        Self {
            signatures: 32,
            length: 6,
        }
    }
}

/// A path that was checked: names, signatures, validity, CA flags, key usage, path lengths. Says nothing about revocation.
#[derive(Debug, Clone)]
pub struct VerifiedChain {
    certificates: Vec<Certificate>,
    anchor: Certificate,
}

impl VerifiedChain {
    /// The certificate that the path was built for.
    pub fn leaf(&self) -> &Certificate {
        self.certificates.first().unwrap_or(&self.anchor)
    }

    /// The path, leaf first, without the anchor.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The configured CA that the path ends at.
    pub fn anchor(&self) -> &Certificate {
        &self.anchor
    }

    /// Each certificate of the path with its issuer, leaf first.
    pub fn links(&self) -> impl Iterator<Item = (&Certificate, &Certificate)> {
        let issuers = self
            .certificates
            .iter()
            .skip(1)
            .chain(std::iter::once(&self.anchor));
        self.certificates.iter().zip(issuers)
    }

    /// What is weak about the keys and signatures that the path rests on, each once. The anchor's own signature is not among
    /// them: the configuration vouches for the anchor.
    pub fn weaknesses(&self) -> Vec<Weakness> {
        let path = self.certificates.iter().flat_map(Certificate::weaknesses);
        let mut found: Vec<Weakness> = path.chain(self.anchor.public_key().weakness()).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// No path leads from a certificate to a configured CA. Of several reasons the one nearest to success is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Neither a configured CA nor an intermediate has the issuer's name.
    #[error("no configured certification authority is named {issuer}")]
    UnknownIssuer {
        /// The name looked for.
        issuer: String,
    },
    /// The issuer's key did not make the signature.
    #[error("certificate {subject} is not signed by {issuer}")]
    Signature {
        /// Whose certificate.
        subject: String,
        /// By whom it should be signed.
        issuer: String,
        /// What was wrong.
        #[source]
        source: SignatureError,
    },
    /// Not valid yet.
    #[error("certificate {subject} is valid from {not_before} on, now is {now}")]
    NotYetValid {
        /// Whose certificate.
        subject: String,
        /// Begin of its validity.
        not_before: OffsetDateTime,
        /// The moment judged.
        now: OffsetDateTime,
    },
    /// Not valid any more.
    #[error("certificate {subject} was valid until {not_after}, now is {now}")]
    Expired {
        /// Whose certificate.
        subject: String,
        /// End of its validity.
        not_after: OffsetDateTime,
        /// The moment judged.
        now: OffsetDateTime,
    },
    /// An intermediate is no CA, or may not sign certificates.
    #[error("certificate {subject} may not issue certificates")]
    NotCa {
        /// Whose certificate.
        subject: String,
    },
    /// More CAs below an intermediate than it allows.
    #[error("certificate {subject} allows {allowed} authorities below it, found {found}")]
    PathLength {
        /// Whose certificate.
        subject: String,
        /// What it allows.
        allowed: u32,
        /// What the path has.
        found: u32,
    },
    /// A critical extension that we do not know.
    #[error("certificate {subject} has a critical extension that is not known here")]
    CriticalExtension {
        /// Whose certificate.
        subject: String,
    },
    /// A certificate that Java would not even read.
    #[error("certificate {subject} is malformed: {defect}")]
    Malformed {
        /// Whose certificate.
        subject: String,
        /// What is wrong.
        defect: Defect,
    },
    /// An authority above may not name the subject so.
    #[error("certificate {subject} has a name that {authority} may not give")]
    NameConstraint {
        /// Whose certificate.
        subject: String,
        /// Whose constraints.
        authority: String,
    },
    /// A name constraint, or a name that it constrains, is of a kind that is not known here.
    #[error("the name constraints of {authority} cannot be judged for certificate {subject}")]
    NameConstraintKind {
        /// Whose certificate.
        subject: String,
        /// Whose constraints.
        authority: String,
    },
    /// The search cost more than it may.
    #[error("the search for a path exceeded its budget")]
    Budget,
    /// The search went down as far as it may.
    #[error("no path of at most {limit} certificates was found")]
    Depth {
        /// Certificates a path may have.
        limit: usize,
    },
}

/// Looks for a path from `leaf` over `intermediates` to one of `anchors`, valid at `now`. The anchors' own validity and extensions
/// are not looked at: they stand in the configuration.
///
/// # Errors
/// [`ChainError`].
pub fn verify_chain(
    leaf: &Certificate,
    intermediates: &[Certificate],
    anchors: &[Certificate],
    now: OffsetDateTime,
    budget: &Budget,
) -> Result<VerifiedChain, ChainError> {
    check_certificate(leaf, now)?;
    let mut search = Search {
        intermediates,
        anchors,
        now,
        length: budget.length,
        signatures: budget.signatures,
    };
    let mut path = vec![leaf.clone()];
    let anchor = search.extend(&mut path)?;
    Ok(VerifiedChain {
        certificates: path,
        anchor,
    })
}

struct Search<'a> {
    intermediates: &'a [Certificate],
    anchors: &'a [Certificate],
    now: OffsetDateTime,
    length: usize,
    signatures: u32,
}

impl Search<'_> {
    /// Extends `path` until an anchor issued its last certificate; leaves `path` as it was when none does.
    fn extend(&mut self, path: &mut Vec<Certificate>) -> Result<Certificate, ChainError> {
        let Some(last) = path.last().cloned() else {
            return Err(ChainError::Budget);
        };
        let mut best = ChainError::UnknownIssuer {
            issuer: last.issuer().rfc2253().to_owned(),
        };
        for anchor in self
            .anchors
            .iter()
            .filter(|anchor| anchor.subject().matches(last.issuer()))
        {
            match signed(&last, anchor) {
                Ok(()) => return Ok(anchor.clone()),
                Err(error) => keep_nearest(&mut best, error)?,
            }
        }
        for issuer in self
            .intermediates
            .iter()
            .filter(|issuer| issuer.subject().matches(last.issuer()))
        {
            if path.contains(issuer) || self.anchors.contains(issuer) {
                continue;
            }
            let counted = path.iter().skip(1).chain([issuer]);
            let above = counted.filter(|one| !one.is_self_issued()).count();
            if above >= self.length {
                let limit = self.length;
                keep_nearest(&mut best, ChainError::Depth { limit })?;
                break;
            }
            let attempt = check_issuer(issuer, path, self.now)
                .and_then(|()| self.verify_signed(&last, issuer))
                .and_then(|()| {
                    path.push(issuer.clone());
                    self.extend(path).inspect_err(|_| {
                        path.pop();
                    })
                });
            match attempt {
                Ok(anchor) => return Ok(anchor),
                Err(error) => keep_nearest(&mut best, error)?,
            }
        }
        Err(best)
    }

    fn verify_signed(
        &mut self,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<(), ChainError> {
        self.signatures = self.signatures.checked_sub(1).ok_or(ChainError::Budget)?;
        signed(certificate, issuer)
    }
}

fn signed(certificate: &Certificate, issuer: &Certificate) -> Result<(), ChainError> {
    certificate
        .verify_signed_by(issuer)
        .map_err(|source| ChainError::Signature {
            subject: certificate.subject().rfc2253().to_owned(),
            issuer: issuer.subject().rfc2253().to_owned(),
            source,
        })
}

fn check_certificate(certificate: &Certificate, now: OffsetDateTime) -> Result<(), ChainError> {
    let subject = || certificate.subject().rfc2253().to_owned();
    if now < certificate.not_before() {
        return Err(ChainError::NotYetValid {
            subject: subject(),
            not_before: certificate.not_before(),
            now,
        });
    }
    if now > certificate.not_after() {
        return Err(ChainError::Expired {
            subject: subject(),
            not_after: certificate.not_after(),
            now,
        });
    }
    if let Some(defect) = certificate.defect() {
        return Err(ChainError::Malformed {
            subject: subject(),
            defect,
        });
    }
    if certificate.has_unknown_critical_extension() {
        return Err(ChainError::CriticalExtension { subject: subject() });
    }
    Ok(())
}

/// Judges an intermediate that is to stand above `path`.
fn check_issuer(
    issuer: &Certificate,
    path: &[Certificate],
    now: OffsetDateTime,
) -> Result<(), ChainError> {
    check_certificate(issuer, now)?;
    let authority = || issuer.subject().rfc2253().to_owned();
    if !issuer.is_ca() || !issuer.may_sign_certificates() {
        return Err(ChainError::NotCa {
            subject: authority(),
        });
    }
    // Certificates that an authority gives itself, to change its key, do not count (RFC 5280 section 6.1.4).
    let found = path.iter().skip(1).filter(|below| !below.is_self_issued());
    let found = u32::try_from(found.count()).unwrap_or(u32::MAX);
    if let Some(allowed) = issuer.path_length().filter(|allowed| found > *allowed) {
        return Err(ChainError::PathLength {
            subject: authority(),
            allowed,
            found,
        });
    }
    let Some(constraints) = issuer.name_constraints() else {
        return Ok(());
    };
    for (at, below) in path.iter().enumerate() {
        if at > 0 && below.is_self_issued() {
            continue;
        }
        let subject = || below.subject().rfc2253().to_owned();
        constraints.check(below).map_err(|breach| match breach {
            Breach::Name => ChainError::NameConstraint {
                subject: subject(),
                authority: authority(),
            },
            Breach::Kind => ChainError::NameConstraintKind {
                subject: subject(),
                authority: authority(),
            },
            Breach::Work => ChainError::Budget,
        })?;
    }
    Ok(())
}

/// Keeps the error that came nearest to a path; an exhausted budget ends the search.
fn keep_nearest(best: &mut ChainError, error: ChainError) -> Result<(), ChainError> {
    if error == ChainError::Budget {
        return Err(error);
    }
    if rank(&error) > rank(best) {
        *best = error;
    }
    Ok(())
}

fn rank(error: &ChainError) -> u8 {
    match error {
        ChainError::UnknownIssuer { .. } => 0,
        ChainError::Signature { .. } => 1,
        ChainError::NotCa { .. } | ChainError::Depth { .. } => 2,
        ChainError::CriticalExtension { .. } | ChainError::Malformed { .. } => 3,
        ChainError::PathLength { .. }
        | ChainError::NameConstraint { .. }
        | ChainError::NameConstraintKind { .. } => 4,
        ChainError::NotYetValid { .. } | ChainError::Expired { .. } => 5,
        ChainError::Budget => 6,
    }
}
