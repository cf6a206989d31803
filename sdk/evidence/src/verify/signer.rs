//! Who signed, and whether they could (`signatures-and-log.md` 6).

use bytes::Bytes;
use jibek_certs::{
    ocsp::{OcspResponse, Policy, VerifiedCertificate, verify_with_ocsp},
    parse::Certificate,
    trust::Authorities,
};
use jibek_protocol::id::ClientId;
use std::sync::Arc;
use time::OffsetDateTime;

use super::{
    Judge, Refusal,
    document::{Presented, PresentedResponse, SignatureFacts, SignedFacts},
    memory::JudgedSigner,
};
use crate::{
    open::{OpenError, identify, member_of},
    signature::Signature,
    tlv,
};

impl Judge<'_> {
    /// Whether the certificate names the sender; false, with a doubt, when the configuration does not say what it names.
    pub(super) fn check_signer(
        &mut self,
        signature: &SignatureFacts,
        sender: &ClientId,
    ) -> Result<bool, Refusal> {
        let expected = sender.member();
        if signature.judged(expected).is_some() {
            return Ok(true);
        }
        let Some(authorities) = self.trust.authorities(expected.instance()) else {
            self.doubts.push(format!(
                "the configuration does not have instance {}",
                expected.instance()
            ));
            return Ok(false);
        };
        match identify(&signature.certificate, authorities, expected).map_err(Refusal::from) {
            Ok(found) if found == *expected => Ok(true),
            Ok(found) => Err(OpenError::WrongSigner {
                expected: expected.clone(),
                found,
            }
            .into()),
            Err(Refusal::Doubt(reason)) => {
                self.doubts.push(reason);
                Ok(false)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Path and OCSP at the time that the time-stamp proves.
    pub(super) fn check_certificate(
        &mut self,
        signature: &SignatureFacts,
        signed: &SignedFacts,
        sender: &ClientId,
        time: OffsetDateTime,
    ) -> Result<Option<Arc<VerifiedCertificate>>, Refusal> {
        let expected = sender.member();
        if let Some(judged) = signature.judged(expected).filter(|it| it.holds_at(time)) {
            return Ok(Some(judged.certificate));
        }
        let Some(authorities) = self.trust.authorities(expected.instance()) else {
            return Ok(None);
        };
        let policy = Policy::new(self.trust.ocsp_freshness(), self.trust.verify_next_update());
        let presented = match &signed.presented {
            Ok(presented) => presented,
            Err(refusal) => return Err(refusal.clone()),
        };
        let certificate = &signature.certificate;
        let verify = || {
            let responses = readable(presented, certificate, authorities)?;
            let extra = &presented.extra;
            verify_with_ocsp(certificate, extra, authorities, &responses, time, policy)
                .map_err(OpenError::Certificate)
        };
        let instance = expected.instance();
        let verified = self
            .memory
            .certificate(certificate, presented, instance, time, verify);
        match verified.map_err(Refusal::from) {
            Ok((since, certificate)) => {
                let found = member_of(
                    &signature.certificate,
                    certificate.profile_class(),
                    expected.instance(),
                )?;
                if found != *expected {
                    return Err(OpenError::WrongSigner {
                        expected: expected.clone(),
                        found,
                    }
                    .into());
                }
                signature.keep_judged(JudgedSigner {
                    member: found,
                    since,
                    certificate: Arc::clone(&certificate),
                });
                Ok(Some(certificate))
            }
            Err(Refusal::Doubt(reason)) => {
                self.doubts.push(reason);
                Ok(None)
            }
            Err(refusal) => Err(refusal),
        }
    }
}

/// What came along with the certificate, read.
pub(super) fn presented(signature: &Signature<'_>) -> Result<Presented, OpenError> {
    let extra = signature.extra_certificates()?;
    let responses = signature.ocsp_responses();
    if responses.is_empty() {
        return Err(OpenError::Malformed("no OCSP response"));
    }
    if responses.len() > MAX_OCSP {
        return Err(OpenError::Malformed("too many OCSP responses"));
    }
    let is_none = |der: &Vec<u8>| der.first() != Some(&SEQUENCE) || tlv::first(der).is_none();
    if responses.iter().any(is_none) {
        return Err(OpenError::Malformed("an OCSP response that is none"));
    }
    let responses = responses.into_iter().map(|der| {
        if !OcspResponse::is_response(&der) {
            OcspResponse::parse(der.clone()).map_err(OpenError::Ocsp)?;
        }
        let der = Bytes::from(der);
        let read = OcspResponse::parse(der.clone());
        Ok(PresentedResponse { der, read })
    });
    let responses = responses.collect::<Result<_, OpenError>>()?;
    Ok(Presented { extra, responses })
}

/// The responses that can be read. X-Road reads one after the other until one is about the certificate, and never sees what is wrong
/// with those behind it.
fn readable(
    presented: &Presented,
    certificate: &Certificate,
    authorities: &Authorities,
) -> Result<Vec<OcspResponse>, OpenError> {
    let mut readable = Vec::with_capacity(presented.responses.len());
    let mut is_found = false;
    for response in &presented.responses {
        match &response.read {
            Ok(read) => {
                is_found |= authorities
                    .by_subject(certificate.issuer())
                    .any(|ca| read.matches(certificate, &ca.certificate));
                readable.push(read.clone());
            }
            Err(_) if is_found => {}
            Err(error) => return Err(OpenError::Ocsp(error.clone())),
        }
    }
    Ok(readable)
}

/// What an OCSP response is.
const SEQUENCE: u8 = 0x30;
/// Most OCSP responses of one signature: one for each certificate of a path.
const MAX_OCSP: usize = 16;
