//! Certificates as values: read once, raw bytes kept, judged elsewhere.
//!
//! Anything that X.509 allows must at least be readable here, because much of it is only compared by its bytes: certificates of
//! version 1, self-signed, expired or with unknown extensions (`architecture.md`, Trust).

mod fields;
mod name;
mod pem;
mod request;
mod shape;

use std::{fmt, hash, sync::Arc};

use ::time::OffsetDateTime;
use bytes::Bytes;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::{
    asn1::tlv,
    chain::{AltName, Constraints},
    digest::{Digest, DigestAlgorithm, digest},
    signer::{
        PublicKey, SignatureAlgorithm, SignatureError, Weakness, verify_spki, verify_spki_der,
    },
};
pub use fields::Defect;
use fields::Inner;
pub use name::Name;
pub use request::CertificateRequest;
pub(crate) use shape::is_shaped;

/// Bytes are no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Longer than any certificate that we read.
    #[error("{length} bytes are too long for a certificate, at most {limit} are read")]
    TooLong {
        /// Length found, in bytes.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The serial number has more bytes than any authority gives.
    #[error("the serial number has {length} bytes, at most {limit} are read")]
    SerialNumber {
        /// Length found, in bytes.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Not the DER of an X.509 certificate; the text is the parser's.
    #[error("malformed certificate: {0}")]
    Malformed(String),
    /// Neither DER nor PEM nor base64 of either.
    #[error("neither DER, PEM nor base64")]
    Unrecognised,
}

/// An X.509 certificate. Cloning shares it; two are equal when their DER is.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

impl Certificate {
    /// Reads DER.
    ///
    /// # Errors
    /// [`ParseError`]; bytes after the certificate are an error too.
    pub fn from_der(der: impl Into<Bytes>) -> Result<Self, ParseError> {
        let der = der.into();
        let (certificate, rest) = Self::read(&der)?;
        if rest > 0 {
            return Err(ParseError::Malformed(format!(
                "{rest} bytes follow the certificate"
            )));
        }
        Ok(certificate)
    }

    /// Reads the certificate that `bytes` begin with, and says how many bytes follow it: Java takes no notice of those.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn from_der_leading(bytes: &[u8]) -> Result<(Self, usize), ParseError> {
        Self::read(&Bytes::copy_from_slice(bytes))
    }

    /// Reads the first certificate of a PEM text. Text around the block does not matter; OpenSSL's `TRUSTED CERTIFICATE` is
    /// read too, without its trust settings.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn from_pem(text: &[u8]) -> Result<Self, ParseError> {
        let block = pem::certificate_blocks(text)
            .next()
            .ok_or(ParseError::Unrecognised)?;
        Self::from_block(block)
    }

    /// Reads every certificate of a PEM text, in order.
    ///
    /// # Errors
    /// [`ParseError`] of the first that is malformed. A text without any gives an empty list.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>, ParseError> {
        pem::certificate_blocks(text)
            .map(Self::from_block)
            .collect()
    }

    /// Reads a certificate in whatever form configurations, files and upload forms hold it: DER, PEM, or base64 text of either.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn from_der_or_pem(bytes: &[u8]) -> Result<Self, ParseError> {
        if let Some(certificate) = Self::from_plain(bytes)? {
            return Ok(certificate);
        }
        let decoded = pem::base64(bytes).ok_or(ParseError::Unrecognised)?;
        Self::from_plain(&decoded)?.ok_or(ParseError::Unrecognised)
    }

    /// The exact bytes.
    pub fn der(&self) -> &Bytes {
        &self.0.der
    }

    /// PEM with lines of 64 characters.
    pub fn to_pem(&self) -> String {
        crate::signer::to_pem("CERTIFICATE", &self.0.der)
    }

    /// SHA-1 over the DER.
    pub fn sha1(&self) -> [u8; 20] {
        fixed(&self.digest(DigestAlgorithm::Sha1))
    }

    /// SHA-256 over the DER.
    pub fn sha256(&self) -> [u8; 32] {
        fixed(&self.digest(DigestAlgorithm::Sha256))
    }

    /// Any digest over the DER.
    pub fn digest(&self, algorithm: DigestAlgorithm) -> Digest {
        digest(algorithm, &self.0.der)
    }

    /// Whom it is about.
    pub fn subject(&self) -> &Name {
        &self.0.subject
    }

    /// Who signed it.
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// The serial number as Java prints it: decimal, negative when the first bit is set.
    pub fn serial_decimal(&self) -> String {
        name::signed_decimal(&self.0.serial)
    }

    /// The content of the serial number's INTEGER.
    pub fn serial_bytes(&self) -> &[u8] {
        &self.0.serial
    }

    /// First moment of its validity.
    pub fn not_before(&self) -> OffsetDateTime {
        self.0.not_before
    }

    /// Last moment of its validity.
    pub fn not_after(&self) -> OffsetDateTime {
        self.0.not_after
    }

    /// Whether `now` lies within its validity, both ends included.
    pub fn is_valid_at(&self, now: OffsetDateTime) -> bool {
        self.0.not_before <= now && now <= self.0.not_after
    }

    /// Whether issuer and subject are the same name.
    pub fn is_self_issued(&self) -> bool {
        self.0.issuer.matches(&self.0.subject)
    }

    /// Whether its basic constraints say CA.
    pub fn is_ca(&self) -> bool {
        self.0.is_ca
    }

    /// How many CAs may stand below it, by its basic constraints.
    pub fn path_length(&self) -> Option<u32> {
        self.0.path_length
    }

    /// Whether it may sign certificates: key usage keyCertSign, or no key usage at all.
    pub fn may_sign_certificates(&self) -> bool {
        self.0
            .key_usage
            .is_none_or(|usage| usage & KEY_CERT_SIGN != 0)
    }

    /// Whether X-Road takes it as an authentication certificate: extended key usage clientAuth, or key usage digitalSignature,
    /// keyEncipherment or dataEncipherment (`message-path.md` 5.4 step 1).
    pub fn is_authentication(&self) -> bool {
        self.0
            .extended_key_usage
            .is_some_and(|purposes| purposes.client_auth)
            || self
                .0
                .key_usage
                .is_some_and(|usage| usage & AUTHENTICATION != 0)
    }

    /// Whether X-Road takes it as a signing certificate: key usage nonRepudiation; without key usage it is none.
    pub fn is_signing(&self) -> bool {
        self.0
            .key_usage
            .is_some_and(|usage| usage & NON_REPUDIATION != 0)
    }

    /// Whether its issuer lets it sign OCSP responses (extended key usage OCSPSigning).
    pub fn has_ocsp_signing_eku(&self) -> bool {
        self.0
            .extended_key_usage
            .is_some_and(|purposes| purposes.ocsp_signing)
    }

    /// Whether it has a critical extension that we do not know.
    pub fn has_unknown_critical_extension(&self) -> bool {
        self.0.has_unknown_critical
    }

    /// What is wrong with it although its structure could be read. Such a certificate may be compared by its bytes, and no path
    /// leads over it.
    pub fn defect(&self) -> Option<Defect> {
        self.0.defect
    }

    /// What it constrains the names below it to.
    pub(crate) fn name_constraints(&self) -> Option<&Constraints> {
        self.0.name_constraints.as_ref()
    }

    /// Its subject's alternative names.
    pub(crate) fn alt_names(&self) -> &[AltName] {
        &self.0.alt_names
    }

    /// The OCSP responder that it names itself.
    pub fn ocsp_aia_url(&self) -> Option<&str> {
        self.0.ocsp_url.as_deref()
    }

    /// SubjectPublicKeyInfo, exact bytes.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// The content of the key's BIT STRING without the count of unused bits.
    pub fn key_bits(&self) -> &[u8] {
        &self.0.key_bits
    }

    /// SHA-1 over the key's BIT STRING without the count of unused bits: what OCSP identifies issuers and responders by.
    pub fn key_bits_sha1(&self) -> [u8; 20] {
        fixed(&digest(DigestAlgorithm::Sha1, &self.0.key_bits))
    }

    /// The subject key identifier extension.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.0.subject_key_id.as_deref()
    }

    /// What kind of key it holds.
    pub fn public_key(&self) -> PublicKey {
        self.0.public_key
    }

    /// The algorithm that its issuer signed it with; `None` for one that is not known here.
    pub fn signature_algorithm(&self) -> Option<SignatureAlgorithm> {
        self.0.algorithm
    }

    /// What is weak about it: its key, and the signature that made it, unless that is its own.
    pub fn weaknesses(&self) -> Vec<Weakness> {
        let signature = self.0.algorithm.filter(|_| !self.is_self_issued());
        let signature = signature.and_then(SignatureAlgorithm::weakness);
        self.0
            .public_key
            .weakness()
            .into_iter()
            .chain(signature)
            .collect()
    }

    /// Verifies a signature made with this certificate's key, in the form of XML signatures (EC: `r‖s` of any even length).
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        verify_spki(&self.0.spki, algorithm, message, signature)
    }

    /// Verifies a signature made with this certificate's key, in the form of X.509, OCSP and CMS (EC: DER).
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_der(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        verify_spki_der(&self.0.spki, algorithm, message, signature)
    }

    /// Verifies that `issuer`'s key signed this certificate. Names, dates and permissions are not looked at.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_signed_by(&self, issuer: &Self) -> Result<(), SignatureError> {
        if self.0.defect == Some(Defect::Algorithms) {
            return Err(SignatureError::AlgorithmsDiffer);
        }
        let algorithm = self.0.algorithm.ok_or(SignatureError::Algorithm)?;
        issuer.verify_der(algorithm, &self.0.tbs, &self.0.signature)
    }

    fn from_plain(bytes: &[u8]) -> Result<Option<Self>, ParseError> {
        if let Some(block) = pem::certificate_blocks(bytes).next() {
            return Self::from_block(block).map(Some);
        }
        match bytes.first() {
            Some(0x30) => Self::from_der(Bytes::copy_from_slice(bytes)).map(Some),
            _ => Ok(None),
        }
    }

    fn from_block(block: pem::Block) -> Result<Self, ParseError> {
        match block {
            pem::Block::Plain(der) => Self::from_der(der),
            pem::Block::Trusted(der) => Self::read(&der.into()).map(|(certificate, _)| certificate),
            pem::Block::Malformed => Err(ParseError::Unrecognised),
        }
    }

    /// The certificate that `input` begins with, and how many bytes follow it.
    fn read(input: &Bytes) -> Result<(Self, usize), ParseError> {
        if input.len() > LONGEST {
            return Err(ParseError::TooLong {
                length: input.len(),
                limit: LONGEST,
            });
        }
        let (rest, parsed) = X509Certificate::from_der(input)
            .map_err(|error| ParseError::Malformed(error.to_string()))?;
        let serial = parsed.tbs_certificate.raw_serial().len();
        if serial > LONGEST_SERIAL {
            return Err(ParseError::SerialNumber {
                length: serial,
                limit: LONGEST_SERIAL,
            });
        }
        let der = input.slice(..input.len().saturating_sub(rest.len()));
        let tbs = &parsed.tbs_certificate;
        let agree = parsed.signature_algorithm == tbs.signature;
        if !is_one_spelling(&der, tbs.as_ref(), agree, &parsed.signature_value.data) {
            return Err(ParseError::Malformed("the envelope is not DER".to_owned()));
        }
        Ok((Self(Arc::new(Inner::new(der, &parsed)?)), rest.len()))
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl hash::Hash for Certificate {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.der.hash(state);
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.subject.rfc2253();
        write!(
            formatter,
            "Certificate({name}, serial {})",
            self.serial_decimal()
        )
    }
}

/// Whether what stands around the signed part is spelled in the one way that DER allows: else the same certificate would have many
/// hashes. When the two algorithms `agree`, their bytes must; when not, that is a [`Defect`].
fn is_one_spelling(der: &[u8], tbs: &[u8], agree: bool, signature: &[u8]) -> bool {
    let bits = tlv(0x03, &[&[0], signature].concat());
    let header = match der.len() {
        0..=0x81 => 2,
        0x82..=0x102 => 3,
        0x103..=0x1_0003 => 4,
        _ => 5,
    };
    let Some((found, content)) = der.split_at_checked(header) else {
        return false;
    };
    let between = content
        .strip_prefix(tbs)
        .and_then(|rest| rest.strip_suffix(bits.as_slice()));
    let expected = tlv(0x30, content);
    between.is_some_and(|algorithm| {
        expected.starts_with(found)
            && expected.len() == der.len()
            && !algorithm.is_empty()
            && (!agree
                || tbs
                    .windows(algorithm.len())
                    .any(|window| window == algorithm))
    })
}

fn fixed<const LENGTH: usize>(digest: &Digest) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes
        .iter_mut()
        .zip(digest.as_bytes())
        .for_each(|(to, from)| *to = *from);
    bytes
}

/// Key usage bits as `x509-parser` numbers them: bit 0 of the standard is the lowest.
const NON_REPUDIATION: u16 = 1 << 1;
const AUTHENTICATION: u16 = 1 | 1 << 2 | 1 << 3;
const KEY_CERT_SIGN: u16 = 1 << 5;
/// Real ones have 1 to 3 KB.
const LONGEST: usize = 64 * 1024;
/// RFC 5280 allows 20.
const LONGEST_SERIAL: usize = 128;
