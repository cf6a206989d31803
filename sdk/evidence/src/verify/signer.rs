//! Who signed, and whether they could (`signatures-and-log.md` 6).

use jibek_certs::ocsp::{Policy, VerifiedCertificate};
use jibek_protocol::id::ClientId;
use time::OffsetDateTime;

use super::{Judge, Refusal};
use crate::{
    open::{OpenError, identify, member_of, verify_certificate},
    signature::Signature,
};

impl Judge<'_> {
    /// Whether the certificate names the sender; false, with a doubt, when the configuration does not say what it names.
    pub(super) fn check_signer(
        &mut self,
        signature: &Signature<'_>,
        sender: &ClientId,
    ) -> Result<bool, Refusal> {
        let expected = sender.member();
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
        signature: &Signature<'_>,
        sender: &ClientId,
        time: OffsetDateTime,
    ) -> Result<Option<VerifiedCertificate>, Refusal> {
        let expected = sender.member();
        let Some(authorities) = self.trust.authorities(expected.instance()) else {
            return Ok(None);
        };
        let policy = Policy::new(self.trust.ocsp_freshness(), self.trust.verify_next_update());
        let verified = self
            .memory
            .certificate(signature, expected.instance(), time, || {
                verify_certificate(signature, authorities, time, policy)
            });
        match verified.map_err(Refusal::from) {
            Ok(certificate) => {
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
