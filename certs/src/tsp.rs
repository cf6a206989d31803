//! Time-stamps (RFC 3161): the query's bytes, tokens read, and the rules by which X-Road believes them
//! (`signatures-and-log.md` section 3).
//!
//! Time-stamping certificates are pinned by the configuration: no chain, no revocation, no extended key usage is looked at.

mod verify;

use ::time::OffsetDateTime;
use bytes::Bytes;

use crate::{
    asn1::{
        AlgorithmIdentifier, Any, ContentInfo, Integer, MessageImprint, SetOf, SignerInfo,
        TimeStampReq, TimeStampResp, TstInfo, dotted, from_asn1_time, oid,
    },
    digest::{Digest, DigestAlgorithm},
    parse::Certificate,
    well_formed::well_formed,
};
pub use verify::VerifiedTimestamp;

/// A time-stamp that is not read or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TspError {
    /// Not a time-stamp response or token; the text is the decoder's.
    #[error("malformed time-stamp: {0}")]
    Malformed(String),
    /// The authority refused.
    #[error("the time-stamping authority refused with status {status}: {text}")]
    Refused {
        /// PKIStatus, 2 and above.
        status: String,
        /// What it said, shortened.
        text: String,
    },
    /// The token stamps something else than was asked for.
    #[error("the time-stamp is over {found:?}, expected {expected:?}")]
    Imprint {
        /// What should be stamped.
        expected: Box<Digest>,
        /// What is stamped.
        found: Box<Digest>,
    },
    /// The token does not carry the nonce of the query.
    #[error("the time-stamp does not answer this query: the nonce differs")]
    Nonce,
    /// The token names no signing certificate.
    #[error("the time-stamp has no signing-certificate attribute")]
    NoSigningCertificate,
    /// The configuration has no time-stamping certificate that signed this.
    #[error("no approved time-stamping certificate signed the time-stamp")]
    UnknownAuthority,
    /// A signed attribute contradicts the token.
    #[error("the time-stamp's signed attributes do not fit it: {0}")]
    Attributes(&'static str),
    /// The authority's key did not make the signature.
    #[error("the signature of the time-stamp is wrong")]
    Signature,
    /// The authority's certificate was not valid when it signed.
    #[error("the time-stamping certificate was not valid at {signing_time}")]
    CertificateNotValid {
        /// The token's signingTime.
        signing_time: OffsetDateTime,
    },
}

impl TspError {
    /// X-Road's error code: `malformed_signature` for a token that stamps something else or cannot be read, the message log's own
    /// codes for the rest (`observed.md` 6).
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Imprint { .. } | Self::NoSigningCertificate => {
                "malformed_signature"
            }
            Self::UnknownAuthority => "mlog.tsp_certificate_not_found",
            Self::Refused { .. } => "mlog.timestamp_non_granted_response",
            Self::Nonce => "mlog.timestamp_response_validation_failed",
            Self::Attributes(_) | Self::Signature | Self::CertificateNotValid { .. } => {
                "mlog.timestamp_signer_verification_failed"
            }
        }
    }
}

impl TspError {
    /// Whether only the configuration's knowledge of the authority is missing.
    pub fn is_unknown_trust(&self) -> bool {
        matches!(self, Self::UnknownAuthority)
    }
}

/// A query for a time-stamp over a digest, as X-Road sends it: version 1, no policy, no certificate asked for, the digest
/// algorithm without parameters (`observed.md` 3 number 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampRequest {
    imprint: Digest,
    nonce: Option<u64>,
}

impl TimestampRequest {
    /// A query; X-Road sends no nonce.
    pub fn new(imprint: &Digest, nonce: Option<u64>) -> Self {
        Self {
            imprint: *imprint,
            nonce,
        }
    }

    /// What is to be stamped.
    pub fn imprint(&self) -> &Digest {
        &self.imprint
    }

    /// The body of the HTTP request.
    pub fn der(&self) -> Vec<u8> {
        let algorithm = oid(self.imprint.algorithm().oid());
        let request = algorithm.map(|algorithm| TimeStampReq {
            version: Integer::from(1),
            imprint: MessageImprint {
                hash_algorithm: AlgorithmIdentifier {
                    algorithm,
                    parameters: None,
                },
                hashed_message: self.imprint.as_bytes().to_vec().into(),
            },
            policy: None,
            nonce: self.nonce.map(Integer::from),
            cert_req: false,
            extensions: None,
        });
        request
            .and_then(|request| rasn::der::encode(&request).ok())
            .unwrap_or_default() // these values always encode
    }
}

/// A time-stamp token, read and not yet believed.
#[derive(Clone)]
pub struct TimestampToken {
    der: Bytes,
    content: ContentInfo,
    signer: SignerInfo,
    info: Vec<u8>,
    imprint: Digest,
    nonce: Option<Integer>,
    gen_time: OffsetDateTime,
    certificates: Vec<Certificate>,
}

impl TimestampToken {
    /// Reads an authority's answer to `request`: granted, over the same imprint, with the same nonce if there was one, naming its
    /// signing certificate. The signature is not verified yet.
    ///
    /// # Errors
    /// [`TspError`].
    pub fn from_response(der: &[u8], request: &TimestampRequest) -> Result<Self, TspError> {
        if der.len() > LONGEST {
            return Err(malformed(&"too long"));
        }
        let response: TimeStampResp = rasn::ber::decode(der).map_err(|error| malformed(&error))?;
        if response.status.status != Integer::from(0) && response.status.status != Integer::from(1)
        {
            let text = response.status.text.unwrap_or_default().join(" ");
            return Err(TspError::Refused {
                status: response.status.status.to_string(),
                text: text.chars().filter(|c| !c.is_control()).take(200).collect(),
            });
        }
        let token = Self::parse(
            response
                .token
                .ok_or_else(|| malformed(&"no token"))?
                .as_bytes(),
        )?;
        if token.imprint != request.imprint {
            return Err(TspError::Imprint {
                expected: Box::new(request.imprint),
                found: Box::new(token.imprint),
            });
        }
        if request.nonce.is_some() && token.nonce != request.nonce.map(Integer::from) {
            return Err(TspError::Nonce);
        }
        Ok(token)
    }

    /// Reads a token: signed data of one signer over a TSTInfo, with a signing-certificate attribute. BER is read too, but
    /// every byte of it must be well-formed.
    ///
    /// # Errors
    /// [`TspError::Malformed`], [`TspError::NoSigningCertificate`].
    pub fn parse(der: &[u8]) -> Result<Self, TspError> {
        if der.len() > LONGEST {
            return Err(malformed(&"too long"));
        }
        well_formed(der).map_err(|error| malformed(&error))?;
        let content: ContentInfo = rasn::ber::decode(der).map_err(|error| malformed(&error))?;
        let signed = &content.content;
        // The type that the outside names is not looked at, as X-Road does: no signature covers it.
        if dotted(&signed.content.content_type) != TST_INFO {
            return Err(malformed(&"not signed data over a TSTInfo"));
        }
        let mut signers = signed.signers.to_vec().into_iter();
        let (Some(signer), None) = (signers.next().cloned(), signers.next()) else {
            return Err(malformed(&"not exactly one signer"));
        };
        let attributes = signer
            .signed
            .as_ref()
            .map(SetOf::to_vec)
            .unwrap_or_default();
        if !attributes
            .iter()
            .any(|attribute| SIGNING_CERTIFICATE.contains(&dotted(&attribute.kind).as_str()))
        {
            return Err(TspError::NoSigningCertificate);
        }
        let info = signed
            .content
            .content
            .as_ref()
            .ok_or_else(|| malformed(&"no TSTInfo"))?
            .to_vec();
        let parsed: TstInfo = rasn::ber::decode(&info).map_err(|error| malformed(&error))?;
        let algorithm =
            DigestAlgorithm::from_oid(&dotted(&parsed.imprint.hash_algorithm.algorithm))
                .ok_or_else(|| malformed(&"unknown imprint algorithm"))?;
        let imprint = Digest::from_bytes(algorithm, &parsed.imprint.hashed_message)
            .ok_or_else(|| malformed(&"imprint of a wrong length"))?;
        let embedded = signed
            .certificates
            .as_ref()
            .map(SetOf::to_vec)
            .unwrap_or_default();
        let certificates = embedded.into_iter().take(MOST_EMBEDDED);
        Ok(Self {
            der: Bytes::copy_from_slice(der),
            imprint,
            nonce: parsed.nonce,
            gen_time: from_asn1_time(&parsed.gen_time)
                .ok_or_else(|| malformed(&"genTime out of range"))?,
            certificates: certificates
                .filter_map(|der| Certificate::from_der(der.as_bytes().to_vec()).ok())
                .collect(),
            signer,
            info,
            content,
        })
    }

    /// The bytes as they came.
    pub fn der(&self) -> &Bytes {
        &self.der
    }

    /// The digest that is stamped.
    pub fn imprint(&self) -> &Digest {
        &self.imprint
    }

    /// When, as the authority says.
    pub fn gen_time(&self) -> OffsetDateTime {
        self.gen_time
    }

    /// The certificates that came with it, at most 16. They are not trusted.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The token as DER with `certificate` among its certificates: what is stored, because a token asked for without certificates
    /// could not be verified by others (`signatures-and-log.md` 3.2 step 4). The signature does not cover them.
    ///
    /// # Errors
    /// [`TspError::Malformed`] when the token cannot be written again.
    pub fn with_certificate(&self, certificate: &Certificate) -> Result<Bytes, TspError> {
        let mut content = self.content.clone();
        let added = Any::new(certificate.der().to_vec());
        let known = content.content.certificates.take().unwrap_or_default();
        let mut all = vec![added.clone()];
        all.extend(
            known
                .to_vec()
                .into_iter()
                .filter(|known| **known != added)
                .cloned(),
        );
        content.content.certificates = Some(SetOf::from(all));
        Ok(rasn::der::encode(&content)
            .map_err(|error| malformed(&error))?
            .into())
    }
}

impl std::fmt::Debug for TimestampToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TimestampToken")
            .field("gen_time", &self.gen_time)
            .field("imprint", &self.imprint)
            .finish_non_exhaustive()
    }
}

fn malformed(reason: &dyn std::fmt::Display) -> TspError {
    TspError::Malformed(reason.to_string())
}

/// The values of the signed attribute `kind`.
fn attribute(signer: &SignerInfo, kind: &str) -> Option<Vec<Any>> {
    let signed = signer.signed.as_ref()?;
    let found = signed
        .to_vec()
        .into_iter()
        .find(|attribute| dotted(&attribute.kind) == kind)?;
    Some(found.values.to_vec().into_iter().cloned().collect())
}

const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
/// id-aa-signingCertificate and id-aa-signingCertificateV2.
const SIGNING_CERTIFICATE: [&str; 2] = ["1.2.840.113549.1.9.16.2.12", "1.2.840.113549.1.9.16.2.47"];
/// Real ones have 2 KB; with a chain of RSA-4096 certificates 10 KB.
const LONGEST: usize = 64 * 1024;
const MOST_EMBEDDED: usize = 16;
