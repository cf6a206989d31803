//! OCSP: the question's bytes, the answer read, and the rules by which X-Road believes it (`message-path.md` 5.6,
//! `signatures-and-log.md` 6.3, the table in `observed.md` 2).
//!
//! Fetching and keeping answers is the server's business.

mod check;
mod verify;

use ::time::OffsetDateTime;
use bytes::Bytes;
use rasn_ocsp::{OcspResponse as Outer, OcspResponseStatus};

use crate::{
    asn1::{
        AlgorithmIdentifier, Any, BasicOcspResponse, CertId, CertStatus, OcspRequest,
        OcspResponseData, OcspSingleRequest, OcspTbsRequest, ResponderId, dotted, first_length,
        from_asn1_time, integer, null, oid,
    },
    digest::{DigestAlgorithm, digest},
    parse::{Certificate, Name, is_shaped},
    signer::SignatureAlgorithm,
};
pub use check::{CertError, VerifiedCertificate, verify_with_ocsp, verify_with_ocsp_anchored};
pub use verify::{OcspError, Policy, VerifiedOcsp};

/// The CertID that X-Road asks for and looks for: SHA-1, parameters NULL, issuer by name and key of `issuer`.
pub fn cert_id_der(certificate: &Certificate, issuer: &Certificate) -> Vec<u8> {
    let id = CertId {
        hash_algorithm: AlgorithmIdentifier {
            algorithm: sha1_oid(),
            parameters: Some(null()),
        },
        issuer_name_hash: digest(DigestAlgorithm::Sha1, certificate.issuer().der())
            .as_bytes()
            .to_vec()
            .into(),
        issuer_key_hash: issuer.key_bits_sha1().to_vec().into(),
        serial_number: integer(certificate.serial_bytes()),
    };
    rasn::der::encode(&id).unwrap_or_default() // these values always encode
}

/// An OCSP request for one certificate, without nonce, as X-Road sends it.
pub fn request_der(certificate: &Certificate, issuer: &Certificate) -> Vec<u8> {
    let request = OcspRequest {
        tbs: OcspTbsRequest {
            version: None,
            requestor: None,
            requests: vec![OcspSingleRequest {
                cert_id: Any::new(cert_id_der(certificate, issuer)),
                extensions: None,
            }],
            extensions: None,
        },
        signature: None,
    };
    rasn::der::encode(&request).unwrap_or_default() // these values always encode
}

/// What an OCSP response says of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateStatus {
    /// Not revoked.
    Good,
    /// Revoked.
    Revoked {
        /// Since when.
        since: OffsetDateTime,
    },
    /// The responder does not know it.
    Unknown,
}

/// An OCSP response, read and not yet believed. It speaks of the certificate in its **first** SingleResponse only, as X-Road
/// reads it.
#[derive(Clone)]
pub struct OcspResponse {
    der: Bytes,
    tbs: Vec<u8>,
    algorithm: Option<SignatureAlgorithm>,
    signature: Vec<u8>,
    embedded: Vec<Certificate>,
    responder: Responder,
    cert_id: Vec<u8>,
    status: CertificateStatus,
    produced_at: OffsetDateTime,
    this_update: OffsetDateTime,
    next_update: Option<OffsetDateTime>,
}

#[derive(Clone)]
enum Responder {
    Name(Name),
    Key(Vec<u8>),
}

impl OcspResponse {
    /// Reads the OCSPResponse that `bytes` begin with, and says how many bytes follow it: X-Road takes no notice of those.
    ///
    /// # Errors
    /// As [`OcspResponse::parse`].
    pub fn parse_leading(bytes: &[u8]) -> Result<(Self, usize), OcspError> {
        let length = first_length(bytes).ok_or_else(|| malformed(&"no DER"))?;
        let (first, rest) = bytes
            .split_at_checked(length)
            .ok_or_else(|| malformed(&"no DER"))?;
        Ok((Self::parse(Bytes::copy_from_slice(first))?, rest.len()))
    }

    /// Reads an OCSPResponse. Every certificate within must be readable, as X-Road wants it, although most are never looked at.
    ///
    /// # Errors
    /// [`OcspError::Malformed`], or [`OcspError::Refused`] when the responder answered with an error.
    pub fn parse(der: impl Into<Bytes>) -> Result<Self, OcspError> {
        let der = der.into();
        if der.len() > LONGEST {
            return Err(OcspError::Malformed("too long".to_owned()));
        }
        let outer: Outer = rasn::der::decode(&der).map_err(|error| malformed(&error))?;
        if outer.status != OcspResponseStatus::Successful {
            return Err(OcspError::Refused(format!("{:?}", outer.status)));
        }
        let bytes = outer.bytes.ok_or_else(|| malformed(&"no response bytes"))?;
        if dotted(&bytes.r#type) != BASIC {
            return Err(malformed(&"not a basic response"));
        }
        let basic: BasicOcspResponse =
            rasn::der::decode(&bytes.response).map_err(|error| malformed(&error))?;
        let data: OcspResponseData =
            rasn::der::decode(basic.tbs.as_bytes()).map_err(|error| malformed(&error))?;
        let first = data
            .responses
            .into_iter()
            .next()
            .ok_or_else(|| malformed(&"no single response"))?;
        let status = match first.status {
            CertStatus::Good(()) => CertificateStatus::Good,
            CertStatus::Unknown(()) => CertificateStatus::Unknown,
            CertStatus::Revoked(revoked) => CertificateStatus::Revoked {
                since: moment(&revoked.time)?,
            },
        };
        let responder = match data.responder {
            ResponderId::Name(name) => {
                Responder::Name(Name::from_der(name.as_bytes()).map_err(|error| malformed(&error))?)
            }
            ResponderId::Key(key) => Responder::Key(key.to_vec()),
        };
        let mut embedded = Vec::new();
        for der in basic.certificates.unwrap_or_default() {
            let certificate =
                Certificate::from_der(der.into_bytes()).map_err(|error| malformed(&error))?;
            if let Some(defect) = certificate.defect() {
                return Err(malformed(&defect));
            }
            if !is_shaped(certificate.der()) {
                return Err(malformed(&"a certificate with elements of other types"));
            }
            embedded.push(certificate);
        }
        Ok(Self {
            tbs: basic.tbs.into_bytes(),
            algorithm: SignatureAlgorithm::from_identifier(&basic.signature_algorithm),
            signature: basic.signature.into_vec(),
            embedded,
            responder,
            cert_id: first.cert_id.into_bytes(),
            status,
            produced_at: moment(&data.produced_at)?,
            this_update: moment(&first.this_update)?,
            next_update: first.next_update.as_ref().map(moment).transpose()?,
            der,
        })
    }

    /// Whether `der` is an OCSPResponse from outside: what it says is not looked at.
    pub fn is_response(der: &[u8]) -> bool {
        der.len() <= LONGEST && rasn::der::decode::<Outer>(der).is_ok()
    }

    /// The exact bytes.
    pub fn der(&self) -> &Bytes {
        &self.der
    }

    /// When the responder says that it signed. Nothing depends on it.
    pub fn produced_at(&self) -> OffsetDateTime {
        self.produced_at
    }

    /// When the status was known to be right.
    pub fn this_update(&self) -> OffsetDateTime {
        self.this_update
    }

    /// When newer information will be there.
    pub fn next_update(&self) -> Option<OffsetDateTime> {
        self.next_update
    }

    /// What it says, believed or not.
    pub fn status(&self) -> CertificateStatus {
        self.status
    }

    /// The certificates that came with it.
    pub fn embedded_certificates(&self) -> &[Certificate] {
        &self.embedded
    }

    /// Whether its first SingleResponse is about `certificate` as issued by `issuer`: the CertID is compared byte for byte, so one
    /// with SHA-256, or with SHA-1 and absent parameters, never matches.
    pub fn matches(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        self.cert_id == cert_id_der(certificate, issuer)
    }
}

impl std::fmt::Debug for OcspResponse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("OcspResponse")
            .field("status", &self.status)
            .field("this_update", &self.this_update)
            .field("next_update", &self.next_update)
            .finish_non_exhaustive()
    }
}

fn malformed(reason: &dyn std::fmt::Display) -> OcspError {
    OcspError::Malformed(reason.to_string())
}

fn moment(time: &crate::asn1::Asn1Time) -> Result<OffsetDateTime, OcspError> {
    from_asn1_time(time).ok_or_else(|| malformed(&"a time out of range"))
}

fn sha1_oid() -> crate::asn1::ObjectIdentifier {
    oid(DigestAlgorithm::Sha1.oid())
        .unwrap_or_else(|| crate::asn1::ObjectIdentifier::new_unchecked(vec![].into()))
}

const BASIC: &str = "1.3.6.1.5.5.7.48.1.1";
/// Real ones have 2 KB; with a chain of RSA-4096 certificates 10 KB.
const LONGEST: usize = 64 * 1024;
