//! Opening: verifying a signature that came over the wire (`signatures-and-log.md` 1.5).
//!
//! The order of checks is X-Road's, because it decides which fault a caller sees. The policy is stricter: the signature must cover
//! its own properties, the message and every attachment, and nothing in the document may be ambiguous.

use bytes::Bytes;
use jibek_certs::{
    digest::{Digest, digest},
    ocsp::{
        CertError, OcspError, OcspResponse, Policy, VerifiedCertificate, VerifiedOcsp,
        verify_with_ocsp,
    },
    parse::Certificate,
    signer::SignatureError,
    trust::{Authorities, Trust},
};
use jibek_protocol::{
    id::{ClientId, MemberId},
    profile::{Profile, ProfileError},
};
use time::OffsetDateTime;

use crate::{
    hash_chain::{self, ChainError, Input},
    names,
    signature::{Form, Malformed, Signature},
    tlv,
    xml::{self, XmlRefused},
};

/// A message's signature and what it should cover.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "the caller fills in every part")]
pub struct SignedParts<'a> {
    /// The signature document.
    pub signature: &'a Bytes,
    /// The hash chain result, if one came along.
    pub hash_chain_result: Option<&'a Bytes>,
    /// The hash chain, if one came along.
    pub hash_chain: Option<&'a Bytes>,
    /// SHA-512 of the message as it came.
    pub message: &'a Digest,
    /// SHA-512 of every attachment as it came, or of the REST body.
    pub attachments: &'a [Digest],
}

/// A signature that holds: it covers the message and every attachment, and was made by the expected member with a certificate that
/// was good at the time of the check. Only [`open`] makes one.
///
/// Messages that were signed together have one document: whoever remembers this judges another of them by
/// [`VerifiedSignature::covers`].
#[derive(Debug, Clone)]
pub struct VerifiedSignature {
    certificate: VerifiedCertificate,
    member: MemberId,
    outside: Vec<Outside>,
    signing_time: Option<OffsetDateTime>,
}

/// What a signature document refers to outside itself.
#[derive(Debug, Clone)]
struct Outside {
    uri: String,
    digest: Digest,
}

impl VerifiedSignature {
    /// The signing certificate.
    pub fn signer(&self) -> &Certificate {
        self.certificate.certificate()
    }

    /// The signing certificate with its path and OCSP responses.
    pub fn certificate(&self) -> &VerifiedCertificate {
        &self.certificate
    }

    /// Whom the certificate names.
    pub fn member(&self) -> &MemberId {
        &self.member
    }

    /// The OCSP responses that were believed, the signing certificate's first.
    pub fn ocsp(&self) -> &[VerifiedOcsp] {
        self.certificate.ocsp()
    }

    /// Until when the judgement on the certificate holds without another look.
    pub fn valid_until(&self) -> OffsetDateTime {
        self.certificate.valid_until()
    }

    /// Tells whether this signature covers another message, too: one that came with the very same signature document.
    ///
    /// Signer and value are not looked at again: they are the document's, and [`VerifiedSignature::valid_until`] says how long
    /// that may be.
    ///
    /// # Errors
    /// [`OpenError`]; nothing may be done with that message then.
    pub fn covers(&self, parts: &SignedParts<'_>) -> Result<(), OpenError> {
        check_coverage(parts, &self.outside)?;
        check_outside(parts, &self.outside)
    }

    /// When the signer says that it signed. No judgement rests on it.
    pub fn signing_time(&self) -> Option<OffsetDateTime> {
        self.signing_time
    }
}

/// Why a signature is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The certificate is not good.
    #[error("the signing certificate is not accepted")]
    Certificate(#[source] CertError),
    /// The hash chain does not hold.
    #[error("the signature's hash chain does not hold")]
    Chain(#[source] ChainError),
    /// The document is not a signature of the demanded form.
    #[error("the signature is malformed: {0}")]
    Malformed(&'static str),
    /// The certificate must not sign.
    #[error("certificate {subject} is not a signing certificate")]
    NotSigning {
        /// Whose certificate.
        subject: String,
    },
    /// An OCSP response in the signature cannot be read.
    #[error("an OCSP response in the signature cannot be read")]
    Ocsp(#[source] OcspError),
    /// The configuration names a certificate profile that we do not have, or the subject does not fit it.
    #[error("certificate {subject} names no member")]
    Profile {
        /// Whose certificate.
        subject: String,
        /// Why, when the profile is known.
        source: Option<ProfileError>,
    },
    /// A part of the message is not covered.
    #[error("{name} is not covered by the signature")]
    Uncovered {
        /// The part.
        name: String,
    },
    /// The configuration has no such authority.
    #[error(
        "the signing certificate's issuer {issuer} is no approved certification authority of {instance}"
    )]
    UnknownIssuer {
        /// The issuer's name.
        issuer: String,
        /// The sender's instance.
        instance: String,
    },
    /// A reference to something that is not part of the message.
    #[error("the signature refers to {uri}, which is not part of the message")]
    Unresolved {
        /// The reference's URI.
        uri: String,
    },
    /// Something covered is not what was signed.
    #[error("{uri} has another digest than the signature says")]
    WrongDigest {
        /// The reference's URI.
        uri: String,
    },
    /// Signed by somebody else.
    #[error("signed by {found}, expected {expected}")]
    WrongSigner {
        /// The sender's member.
        expected: MemberId,
        /// The certificate's member.
        found: MemberId,
    },
    /// The value does not fit certificate and content.
    #[error("the signature value is not valid")]
    WrongValue(#[source] SignatureError),
    /// Not XML that we read.
    #[error("the signature is not acceptable XML")]
    Xml(#[source] XmlRefused),
}

impl OpenError {
    /// X-Road's code, in its 7.8 spelling, without the prefixes that the proxies put in front.
    pub fn code(&self) -> String {
        match self {
            Self::Certificate(error) => error.code().to_owned(),
            Self::Chain(error) => format!("malformed_signature.{}", error.code()),
            Self::Malformed(_) | Self::NotSigning { .. } | Self::Uncovered { .. } => {
                "malformed_signature".to_owned()
            }
            Self::Xml(refused) => refused.code().to_owned(),
            Self::Ocsp(_) => "invalid_cert_path.incorrect_validation_info".to_owned(),
            Self::Profile { .. } | Self::UnknownIssuer { .. } | Self::WrongSigner { .. } => {
                "incorrect_certificate".to_owned()
            }
            Self::Unresolved { .. } | Self::WrongDigest { .. } | Self::WrongValue(_) => {
                "invalid_signature_value".to_owned()
            }
        }
    }
}

impl From<Malformed> for OpenError {
    fn from(Malformed(why): Malformed) -> Self {
        Self::Malformed(why)
    }
}

/// A signing certificate as it came along, for whoever judges it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Presented<'a> {
    /// The certificate.
    pub certificate: &'a Certificate,
    /// Other certificates in the signature.
    pub extra: &'a [Certificate],
    /// The OCSP responses in the signature.
    pub responses: &'a [OcspResponse],
    /// The authorities of the sender's instance.
    pub authorities: &'a Authorities,
}

/// Judges a certificate with its path and OCSP responses.
pub type Judge<'a> = dyn Fn(&Presented<'_>) -> Result<VerifiedCertificate, CertError> + 'a;

/// Verifies a message's signature at `now`.
///
/// Accepts shapes 1.1 and 1.6 A only. A chain that came along unreferenced is ignored; then the message and
/// every attachment must be referenced directly.
///
/// # Errors
/// [`OpenError`]; nothing may be done with the message then.
pub fn open(
    parts: &SignedParts<'_>,
    expected_signer: &ClientId,
    trust: &dyn Trust,
    now: OffsetDateTime,
) -> Result<VerifiedSignature, OpenError> {
    let policy = Policy::new(trust.ocsp_freshness(), trust.verify_next_update());
    open_with(parts, expected_signer, trust, &|presented| {
        verify_with_ocsp(
            presented.certificate,
            presented.extra,
            presented.authorities,
            presented.responses,
            now,
            policy,
        )
    })
}

/// The same with another judge of the signing certificate: one that remembers, say.
///
/// # Errors
/// [`OpenError`]; nothing may be done with the message then.
pub fn open_with(
    parts: &SignedParts<'_>,
    expected_signer: &ClientId,
    trust: &dyn Trust,
    judge: &Judge<'_>,
) -> Result<VerifiedSignature, OpenError> {
    let document = xml::parse(parts.signature).map_err(OpenError::Xml)?;
    let signature = Signature::read(&document, Form::Wire)?;
    check_form(&signature)?;
    let outside = outside(&signature);
    check_coverage(parts, &outside)?;
    if !signature.certificate.is_signing() {
        return Err(OpenError::NotSigning {
            subject: signature.certificate.subject().rfc2253().to_owned(),
        });
    }
    let expected = expected_signer.member();
    let instance = expected.instance();
    let authorities = trust
        .authorities(instance)
        .ok_or_else(|| unknown_issuer(&signature.certificate, instance))?;
    let found = identify(&signature.certificate, authorities, expected)?;
    if found != *expected {
        return Err(OpenError::WrongSigner {
            expected: expected.clone(),
            found,
        });
    }
    signature.check_value().map_err(OpenError::WrongValue)?;
    check_inside(&signature)?;
    check_outside(parts, &outside)?;
    let certificate = judge_certificate(&signature, authorities, judge)?;
    // Of several authorities with one name only now it is certain which one speaks.
    let member = member_of(
        &signature.certificate,
        certificate.profile_class(),
        instance,
    )?;
    if member != *expected {
        return Err(OpenError::WrongSigner {
            expected: expected.clone(),
            found: member,
        });
    }
    Ok(VerifiedSignature {
        certificate,
        member,
        outside,
        signing_time: signature.signing_time(),
    })
}

/// What a document owes whatever it signs: it covers its own properties, and they name its certificate.
fn check_form(signature: &Signature<'_>) -> Result<(), OpenError> {
    if !signature.covers_properties() {
        return Err(OpenError::Uncovered {
            name: "SignedProperties".to_owned(),
        });
    }
    if signature.names_certificate() == Some(false) {
        return Err(OpenError::Malformed(
            "the signed properties name another certificate",
        ));
    }
    Ok(())
}

fn outside(signature: &Signature<'_>) -> Vec<Outside> {
    let outside = signature
        .references
        .iter()
        .filter(|reference| !reference.uri.starts_with('#'));
    outside
        .map(|reference| Outside {
            uri: reference.uri.to_owned(),
            digest: reference.digest,
        })
        .collect()
}

/// What the references and the chain cover: everything, and nothing else.
fn check_coverage(parts: &SignedParts<'_>, outside: &[Outside]) -> Result<(), OpenError> {
    let refers_to = |name: &str| outside.iter().any(|reference| reference.uri == name);
    let mut required = Vec::with_capacity(parts.attachments.len().saturating_add(1));
    required.push(names::MESSAGE.to_owned());
    required.extend((1..=parts.attachments.len()).map(names::attachment));
    if refers_to(names::SIGNATURE_CHAIN_RESULT) {
        let (Some(result), Some(chain)) = (parts.hash_chain_result, parts.hash_chain) else {
            return Err(OpenError::Unresolved {
                uri: names::SIGNATURE_CHAIN_RESULT.to_owned(),
            });
        };
        let inputs =
            |name: &str| part(parts, name).map_or(Input::Unknown, |digest| Input::Digest(*digest));
        hash_chain::verify(result, names::SIGNATURE_CHAIN, chain, &inputs, &required)
            .map_err(OpenError::Chain)?;
        return Ok(());
    }
    match required.into_iter().find(|name| !refers_to(name)) {
        Some(name) => Err(OpenError::Uncovered { name }),
        None => Ok(()),
    }
}

/// Every reference into the document must lead to the signed properties, with the right digest.
fn check_inside(signature: &Signature<'_>) -> Result<(), OpenError> {
    let inside = signature
        .references
        .iter()
        .filter(|reference| reference.uri.starts_with('#'));
    for reference in inside {
        let found = signature.same_document(reference);
        match found.filter(|(node, _)| Some(*node) == signature.signed_properties) {
            None => {
                return Err(OpenError::Unresolved {
                    uri: reference.uri.to_owned(),
                });
            }
            Some((_, digest)) if digest != reference.digest => {
                return Err(OpenError::WrongDigest {
                    uri: reference.uri.to_owned(),
                });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Every other reference must lead to a part of the message, with the right digest.
fn check_outside(parts: &SignedParts<'_>, outside: &[Outside]) -> Result<(), OpenError> {
    for reference in outside {
        let unresolved = || OpenError::Unresolved {
            uri: reference.uri.clone(),
        };
        let found = match reference.uri.as_str() {
            names::SIGNATURE_CHAIN_RESULT => digest(
                reference.digest.algorithm(),
                parts.hash_chain_result.ok_or_else(unresolved)?,
            ),
            name => *part(parts, name).ok_or_else(unresolved)?,
        };
        if found != reference.digest {
            return Err(OpenError::WrongDigest {
                uri: reference.uri.clone(),
            });
        }
    }
    Ok(())
}

/// The digest of the part with this name.
fn part<'a>(parts: &SignedParts<'a>, name: &str) -> Option<&'a Digest> {
    if name == names::MESSAGE {
        return Some(parts.message);
    }
    parts
        .attachments
        .get(names::attachment_number(name)?.checked_sub(1)?)
}

/// Path and OCSP of the signing certificate.
fn judge_certificate(
    signature: &Signature<'_>,
    authorities: &Authorities,
    judge: &Judge<'_>,
) -> Result<VerifiedCertificate, OpenError> {
    let extra = signature.extra_certificates()?;
    let responses = signature.ocsp_responses();
    if responses.is_empty() {
        return Err(OpenError::Malformed("no OCSP response"));
    }
    if responses.len() > MAX_OCSP {
        return Err(OpenError::Malformed("too many OCSP responses"));
    }
    if responses
        .iter()
        .any(|response| response.first() != Some(&SEQUENCE) || tlv::first(response).is_none())
    {
        return Err(OpenError::Malformed("an OCSP response that is none"));
    }
    let responses = responses
        .into_iter()
        .map(OcspResponse::parse)
        .collect::<Result<Vec<_>, _>>()
        .map_err(OpenError::Ocsp)?;
    judge(&Presented {
        certificate: &signature.certificate,
        extra: &extra,
        responses: &responses,
        authorities,
    })
    .map_err(OpenError::Certificate)
}

/// Whom the certificate names by the profiles of the authorities that may have issued it: the expected member if any of them says
/// so, else what the first of them says.
pub(crate) fn identify(
    certificate: &Certificate,
    authorities: &Authorities,
    expected: &MemberId,
) -> Result<MemberId, OpenError> {
    let instance = expected.instance();
    let mut first = None;
    for ca in authorities.by_subject(certificate.issuer()) {
        let found = member_of(certificate, &ca.profile_class, instance);
        if found.as_ref().is_ok_and(|found| found == expected) {
            return found;
        }
        first = first.or(Some(found));
    }
    first.unwrap_or_else(|| Err(unknown_issuer(certificate, instance)))
}

/// Whom the certificate names by the profile with this class name.
pub(crate) fn member_of(
    certificate: &Certificate,
    profile_class: &str,
    instance: &str,
) -> Result<MemberId, OpenError> {
    let subject = || certificate.subject().rfc2253().to_owned();
    let profile = Profile::from_class_name(profile_class).ok_or_else(|| OpenError::Profile {
        subject: subject(),
        source: None,
    })?;
    profile
        .member(certificate.subject().attributes(), instance)
        .map_err(|error| OpenError::Profile {
            subject: subject(),
            source: Some(error),
        })
}

pub(crate) fn unknown_issuer(certificate: &Certificate, instance: &str) -> OpenError {
    OpenError::UnknownIssuer {
        issuer: certificate.issuer().rfc2253().to_owned(),
        instance: instance.to_owned(),
    }
}

/// What an OCSP response is.
const SEQUENCE: u8 = 0x30;
/// Most OCSP responses of one signature: one for each certificate of a path.
const MAX_OCSP: usize = 16;

#[cfg(test)]
mod tests;
