//! Sealing: one signature over a batch of messages (`signatures-and-log.md` 1.1, 2).
//!
//! The document is put together from spans that are canonical already: what is hashed is what is written, apart from the
//! namespace declarations that the two signed elements carry when they are canonicalized alone. Everything that does not change
//! from signature to signature (certificates, OCSP responses, policy) is rendered once, in [`SealingIdentity::new`].
//!
//! Departures from the bytes of X-Road's signer, all of which its verifier takes (`observed.md` 3, number 1): base64 in one line,
//! and empty elements written with an end tag.

use bytes::Bytes;
use jibek_certs::{
    digest::{Digest, DigestAlgorithm, digest},
    parse::Certificate,
    signer::{SignError, Signer},
};
use std::{fmt::Write, sync::Arc};
use time::OffsetDateTime;

use crate::{
    c14n::escape_text,
    hash_chain::{BuildError, ChainNames, Leaf, build},
    names,
};

/// Who signs: a member's key with its certificate and proof that the certificate is good.
///
/// Made anew when an OCSP response is; shared by all signatures until then.
#[derive(Debug)]
pub struct SealingIdentity {
    certificate: Certificate,
    signer: Arc<dyn Signer>,
    /// From `<ds:SignedInfo>` to the first reference's URI.
    signed_info_start: String,
    /// From the signature value to the signed properties.
    key_info: String,
    /// From the time of signing to the media type.
    signing_certificate: String,
    /// From the signed properties to the end.
    unsigned_properties: String,
}

impl SealingIdentity {
    /// Renders what all signatures of this identity share.
    ///
    /// `extra` are the intermediates between the certificate and the top, from the leaf upward, without the top itself; `ocsp` are
    /// full OCSP responses in DER, the leaf's first, then each intermediate's.
    ///
    /// # Errors
    /// [`SealError::NoOcsp`] without an OCSP response; X-Road refuses such a signature.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the identity is made of these"
    )]
    pub fn new(
        certificate: Certificate,
        extra: Vec<Certificate>,
        ocsp: Vec<Bytes>,
        signer: Arc<dyn Signer>,
    ) -> Result<Self, SealError> {
        if ocsp.is_empty() {
            return Err(SealError::NoOcsp);
        }
        let mut signed_info_start = String::with_capacity(256);
        signed_info_start.push_str("<ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/TR/2001/REC-xml-c14n-20010315\"></ds:CanonicalizationMethod><ds:SignatureMethod Algorithm=\"");
        signed_info_start.push_str(signer.algorithm().uri());
        signed_info_start
            .push_str("\"></ds:SignatureMethod><ds:Reference Id=\"signature-reference-0\" URI=\"");
        let mut key_info = String::with_capacity(4096);
        key_info.push_str("</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>");
        push_base64(certificate.der(), &mut key_info);
        key_info.push_str("</ds:X509Certificate></ds:X509Data></ds:KeyInfo><ds:Object><xades:QualifyingProperties Target=\"#signature\">");
        let mut signing_certificate = String::with_capacity(2048);
        signing_certificate.push_str("</xades:SigningTime><xades:SigningCertificate><xades:Cert>");
        push_certificate_reference(&certificate, &mut signing_certificate);
        signing_certificate.push_str("</xades:Cert></xades:SigningCertificate>");
        signing_certificate.push_str(POLICY);
        signing_certificate.push_str(
            "</xades:SignedSignatureProperties><xades:SignedDataObjectProperties>\
             <xades:DataObjectFormat ObjectReference=\"#signature-reference-0\"><xades:MimeType>",
        );
        let unsigned_properties = unsigned_properties(&extra, &ocsp);
        Ok(Self {
            certificate,
            signer,
            signed_info_start,
            key_info,
            signing_certificate,
            unsigned_properties,
        })
    }

    /// The certificate that signatures of this identity name.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// Digests of one message and its attachments, SHA-512, taken while the bytes went by (`signatures-and-log.md` 2.1).
#[derive(Debug, Clone)]
pub struct PartDigests {
    /// The SOAP part or REST block, as it is on the wire.
    pub message: Digest,
    /// SOAP attachments in transfer form, in order, or the REST body; empty when there is none.
    pub attachments: Vec<Digest>,
}

/// One message's share of a signature.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The signature document. One allocation for a whole batch.
    pub signature: Bytes,
    /// The hash chain result, when the signature covers more than one part. One allocation for a whole batch.
    pub hash_chain_result: Option<Bytes>,
    /// This message's chain to the result.
    pub hash_chain: Option<Bytes>,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// An empty batch, or digests that are not SHA-512.
    #[error("the messages cannot be put into a hash tree")]
    Chain(#[source] BuildError),
    /// No OCSP response for the signing certificate.
    #[error("no OCSP response for the signing certificate")]
    NoOcsp,
    /// The key would not sign.
    #[error("the signing key failed")]
    Sign(#[source] SignError),
    /// A time that has no place in a signature.
    #[error("the signing time {0} cannot be written")]
    Time(OffsetDateTime),
}

impl SealError {
    /// X-Road's code, without prefixes.
    pub fn code(&self) -> &'static str {
        "cannot_create_signature"
    }
}

/// Signs a batch: one message of one part directly, everything else through a hash tree.
///
/// Calls the signer once, on the calling thread. The results are in the order of `batch` and share the signature's bytes.
///
/// # Errors
/// [`SealError`].
pub fn seal(
    identity: &SealingIdentity,
    batch: &[PartDigests],
    signing_time: OffsetDateTime,
) -> Result<Vec<Sealed>, SealError> {
    if let [
        PartDigests {
            message,
            attachments,
        },
    ] = batch
        && attachments.is_empty()
    {
        if message.algorithm() != DigestAlgorithm::Sha512 {
            return Err(SealError::Chain(BuildError::NotSha512(message.algorithm())));
        }
        let signature = sign(
            identity,
            names::MESSAGE,
            names::MESSAGE_TYPE,
            message,
            signing_time,
        )?;
        return Ok(vec![Sealed {
            signature,
            hash_chain_result: None,
            hash_chain: None,
        }]);
    }
    let leaves: Vec<Leaf> = batch
        .iter()
        .map(|parts| Leaf::parts(parts.message, &parts.attachments))
        .collect();
    let chains = build(&leaves, ChainNames::Signature).map_err(SealError::Chain)?;
    let covered = digest(DigestAlgorithm::Sha512, &chains.result);
    let signature = sign(
        identity,
        names::SIGNATURE_CHAIN_RESULT,
        names::CHAIN_RESULT_TYPE,
        &covered,
        signing_time,
    )?;
    let sealed = chains.chains.into_iter().map(|chain| Sealed {
        signature: signature.clone(),
        hash_chain_result: Some(chains.result.clone()),
        hash_chain: Some(chain),
    });
    Ok(sealed.collect())
}

/// Renders and signs the document whose first reference is `uri` with digest `covered`.
fn sign(
    identity: &SealingIdentity,
    uri: &str,
    media_type: &str,
    covered: &Digest,
    signing_time: OffsetDateTime,
) -> Result<Bytes, SealError> {
    let properties = signed_properties(identity, media_type, signing_time)?;
    let mut canonical = String::with_capacity(properties.len().saturating_add(512));
    canonical.push_str("<xades:SignedProperties");
    canonical.push_str(NAMESPACES);
    canonical.push_str(&properties);
    let properties_digest = digest(DigestAlgorithm::Sha512, canonical.as_bytes());

    let signed_info = signed_info(identity, uri, covered, &properties_digest);
    canonical.clear();
    canonical.push_str("<ds:SignedInfo");
    canonical.push_str(NAMESPACES);
    canonical.push('>');
    canonical.push_str(&signed_info);
    let value = identity
        .signer
        .sign(canonical.as_bytes())
        .map_err(SealError::Sign)?;

    let length = [
        &properties,
        &signed_info,
        &identity.key_info,
        &identity.unsigned_properties,
    ]
    .iter()
    .map(|span| span.len())
    .sum::<usize>();
    let mut document = String::with_capacity(length.saturating_add(2048));
    document.push_str(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?><asic:XAdESSignatures",
    );
    document.push_str(NAMESPACES);
    document.push_str("><ds:Signature Id=\"signature\"><ds:SignedInfo>");
    document.push_str(&signed_info);
    document.push_str("<ds:SignatureValue Id=\"signature-value\">");
    push_base64(&value, &mut document);
    document.push_str(&identity.key_info);
    document.push_str("<xades:SignedProperties");
    document.push_str(&properties);
    document.push_str(&identity.unsigned_properties);
    Ok(document.into())
}

/// What follows `<ds:SignedInfo>`, its end tag included.
fn signed_info(
    identity: &SealingIdentity,
    uri: &str,
    covered: &Digest,
    properties: &Digest,
) -> String {
    let mut span = String::with_capacity(1024);
    span.push_str(&identity.signed_info_start);
    span.push_str(uri);
    span.push_str("\">");
    push_digest(covered, &mut span);
    span.push_str("</ds:Reference><ds:Reference Id=\"signature-reference-1\" Type=\"");
    span.push_str(names::SIGNED_PROPERTIES_TYPE);
    span.push_str("\" URI=\"#signed-properties\">");
    push_digest(properties, &mut span);
    span.push_str("</ds:Reference></ds:SignedInfo>");
    span
}

/// What follows `<xades:SignedProperties`, its end tag included.
fn signed_properties(
    identity: &SealingIdentity,
    media_type: &str,
    signing_time: OffsetDateTime,
) -> Result<String, SealError> {
    let time = signing_time.to_utc();
    if !(1..=9999).contains(&time.year()) {
        return Err(SealError::Time(signing_time));
    }
    let mut span = String::with_capacity(identity.signing_certificate.len().saturating_add(256));
    span.push_str(" Id=\"signed-properties\"><xades:SignedSignatureProperties><xades:SigningTime>");
    // writing to a string cannot fail
    let _ = write!(
        span,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    );
    span.push_str(&identity.signing_certificate);
    span.push_str(media_type);
    span.push_str("</xades:MimeType></xades:DataObjectFormat></xades:SignedDataObjectProperties></xades:SignedProperties>");
    Ok(span)
}

/// Everything from `<xades:UnsignedProperties>` to the end of the document.
fn unsigned_properties(extra: &[Certificate], ocsp: &[Bytes]) -> String {
    let mut span = String::with_capacity(4096);
    span.push_str("<xades:UnsignedProperties><xades:UnsignedSignatureProperties>");
    if !extra.is_empty() {
        span.push_str(
            "<xades:CompleteCertificateRefs Id=\"complete-certificate-refs\"><xades:CertRefs>",
        );
        for (number, certificate) in (1_usize..).zip(extra) {
            let _ = write!(span, "<xades:Cert URI=\"#encapsulated-cert-{number}\">");
            push_certificate_reference(certificate, &mut span);
            span.push_str("</xades:Cert>");
        }
        span.push_str("</xades:CertRefs></xades:CompleteCertificateRefs><xades:CertificateValues>");
        for (number, certificate) in (1_usize..).zip(extra) {
            let _ = write!(
                span,
                "<xades:EncapsulatedX509Certificate Id=\"encapsulated-cert-{number}\">"
            );
            push_base64(certificate.der(), &mut span);
            span.push_str("</xades:EncapsulatedX509Certificate>");
        }
        span.push_str("</xades:CertificateValues>");
    }
    span.push_str("<xades:RevocationValues><xades:OCSPValues>");
    for (number, response) in (1_usize..).zip(ocsp) {
        let _ = write!(
            span,
            "<xades:EncapsulatedOCSPValue Id=\"ocsp-response-{number}\">"
        );
        push_base64(response, &mut span);
        span.push_str("</xades:EncapsulatedOCSPValue>");
    }
    span.push_str(
        "</xades:OCSPValues></xades:RevocationValues></xades:UnsignedSignatureProperties></xades:UnsignedProperties>\
         </xades:QualifyingProperties></ds:Object></ds:Signature></asic:XAdESSignatures>",
    );
    span
}

/// `CertDigest` and `IssuerSerial`, without white space, which X-Road would trip over.
fn push_certificate_reference(certificate: &Certificate, span: &mut String) {
    span.push_str("<xades:CertDigest>");
    push_digest(&certificate.digest(DigestAlgorithm::Sha512), span);
    span.push_str("</xades:CertDigest><xades:IssuerSerial><ds:X509IssuerName>");
    span.push_str(&escaped(certificate.issuer().rfc2253()));
    span.push_str("</ds:X509IssuerName><ds:X509SerialNumber>");
    span.push_str(&certificate.serial_decimal());
    span.push_str("</ds:X509SerialNumber></xades:IssuerSerial>");
}

fn push_digest(digest: &Digest, span: &mut String) {
    span.push_str("<ds:DigestMethod Algorithm=\"");
    span.push_str(digest.algorithm().uri());
    span.push_str("\"></ds:DigestMethod><ds:DigestValue>");
    push_base64(digest.as_bytes(), span);
    span.push_str("</ds:DigestValue>");
}

fn push_base64(bytes: &[u8], span: &mut String) {
    base64::Engine::encode_string(&base64::engine::general_purpose::STANDARD, bytes, span);
}

fn escaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    escape_text(text, &mut out);
    // escaping replaces ASCII by ASCII
    String::from_utf8(out).unwrap_or_default()
}

/// The four declarations of the root, in canonical order: they are in force, and so signed, wherever the signature is looked at.
const NAMESPACES: &str = " xmlns:asic=\"http://uri.etsi.org/02918/v1.2.1#\" xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" \
                          xmlns:xades=\"http://uri.etsi.org/01903/v1.3.2#\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"";

/// The signature policy, word for word X-Road's, which nobody checks (`signatures-and-log.md` 1.2).
const POLICY: &str = "<xades:SignaturePolicyIdentifier><xades:SignaturePolicyId><xades:SigPolicyId>\
    <xades:Identifier Qualifier=\"OIDAsURN\">urn:oid:1.3.6.1.4.1.3516.16.2</xades:Identifier>\
    <xades:Description>Profile for High Performance Digital Signatures (version 1.2)</xades:Description></xades:SigPolicyId>\
    <xades:SigPolicyHash><ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha512\"></ds:DigestMethod>\
    <ds:DigestValue>BuO0EDNfkxSVlUbxCzmQPzX1AUF1/xx9ytWHk3/6SAOePxQiniEfDYk+90QeYb3lWpV3Izhuz9fKaYyE+lTcXw==</ds:DigestValue>\
    </xades:SigPolicyHash><xades:SigPolicyQualifiers><xades:SigPolicyQualifier>\
    <xades:SPURI>https://repo.cyber.ee/dsig-profile-1.2.pdf</xades:SPURI></xades:SigPolicyQualifier></xades:SigPolicyQualifiers>\
    </xades:SignaturePolicyId></xades:SignaturePolicyIdentifier>";

#[cfg(test)]
mod tests;
