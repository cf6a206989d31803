//! Certificate requests (PKCS#10) as a CA reads them.

use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

use super::{LONGEST, Name, ParseError, fields::signature_algorithm, pem};
use crate::signer::{SignatureAlgorithm, SignatureError, verify_spki_der};

/// A certificate request: who asks, for which key. Its other attributes are not looked at.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    subject: Name,
    spki: Vec<u8>,
    signed: Vec<u8>,
    signature: Vec<u8>,
    algorithm: Option<SignatureAlgorithm>,
}

impl CertificateRequest {
    /// Reads a request from DER, or PEM, or base64 of DER.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn from_der_or_pem(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.first() == Some(&0x30) {
            return Self::from_der(bytes);
        }
        let der = pem::block(bytes, &["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"])
            .or_else(|| pem::base64(bytes));
        Self::from_der(&der.ok_or(ParseError::Unrecognised)?)
    }

    /// Reads a request from DER.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn from_der(der: &[u8]) -> Result<Self, ParseError> {
        if der.len() > LONGEST {
            return Err(ParseError::TooLong {
                length: der.len(),
                limit: LONGEST,
            });
        }
        let (_, request) = X509CertificationRequest::from_der(der)
            .map_err(|error| ParseError::Malformed(error.to_string()))?;
        let info = &request.certification_request_info;
        Ok(Self {
            subject: Name::from_der(info.subject.as_raw())?,
            spki: info.subject_pki.raw.to_vec(),
            signed: info.raw.to_vec(),
            signature: request.signature_value.data.to_vec(),
            algorithm: signature_algorithm(&request.signature_algorithm),
        })
    }

    /// The subject asked for.
    pub fn subject(&self) -> &Name {
        &self.subject
    }

    /// The key, as SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Verifies that who asks holds the key.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(&self) -> Result<(), SignatureError> {
        let algorithm = self.algorithm.ok_or(SignatureError::Algorithm)?;
        verify_spki_der(&self.spki, algorithm, &self.signed, &self.signature)
    }
}
