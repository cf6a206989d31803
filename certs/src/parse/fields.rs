//! The fields that are taken out of a parsed certificate.

use ::time::OffsetDateTime;
use bytes::Bytes;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    time::ASN1Time,
    x509::AlgorithmIdentifier,
};

use super::{Name, ParseError};
use crate::{
    asn1::tlv,
    signer::{PublicKey, SignatureAlgorithm},
};

pub(super) struct Inner {
    pub(super) der: Bytes,
    pub(super) tbs: Bytes,
    pub(super) signature: Bytes,
    pub(super) algorithm: Option<SignatureAlgorithm>,
    /// Whether the signed and the outer AlgorithmIdentifier are the same.
    pub(super) algorithms_agree: bool,
    pub(super) public_key: PublicKey,
    pub(super) spki: Bytes,
    pub(super) key_bits: Bytes,
    pub(super) subject: Name,
    pub(super) issuer: Name,
    pub(super) serial: Bytes,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    pub(super) is_ca: bool,
    pub(super) path_length: Option<u32>,
    pub(super) key_usage: Option<u16>,
    pub(super) extended_key_usage: Option<Purposes>,
    pub(super) subject_key_id: Option<Bytes>,
    pub(super) ocsp_url: Option<String>,
    pub(super) has_unknown_critical: bool,
    pub(super) has_name_constraints: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Purposes {
    pub(super) client_auth: bool,
    pub(super) ocsp_signing: bool,
}

impl Inner {
    pub(super) fn new(der: Bytes, parsed: &X509Certificate<'_>) -> Result<Self, ParseError> {
        let tbs = &parsed.tbs_certificate;
        let mut inner = Self {
            tbs: copy_or_slice(&der, tbs.as_ref()),
            signature: copy_or_slice(&der, &parsed.signature_value.data),
            algorithm: signature_algorithm(&parsed.signature_algorithm),
            algorithms_agree: parsed.signature_algorithm == tbs.signature,
            public_key: PublicKey::of_parsed(&tbs.subject_pki),
            spki: copy_or_slice(&der, tbs.subject_pki.raw),
            key_bits: copy_or_slice(&der, &tbs.subject_pki.subject_public_key.data),
            subject: Name::new(&der, &tbs.subject),
            issuer: Name::new(&der, &tbs.issuer),
            serial: copy_or_slice(&der, tbs.raw_serial()),
            not_before: moment(&tbs.validity.not_before)?,
            not_after: moment(&tbs.validity.not_after)?,
            is_ca: false,
            path_length: None,
            key_usage: None,
            extended_key_usage: None,
            subject_key_id: None,
            ocsp_url: None,
            has_unknown_critical: false,
            has_name_constraints: false,
            der,
        };
        for extension in tbs.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => {
                    inner.is_ca = constraints.ca;
                    inner.path_length = constraints.path_len_constraint;
                }
                ParsedExtension::KeyUsage(usage) => inner.key_usage = Some(usage.flags),
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    inner.extended_key_usage = Some(Purposes {
                        client_auth: usage.client_auth,
                        ocsp_signing: usage.ocsp_signing,
                    });
                }
                ParsedExtension::SubjectKeyIdentifier(id) => {
                    inner.subject_key_id = Some(copy_or_slice(&inner.der, id.0));
                }
                ParsedExtension::AuthorityInfoAccess(access) => {
                    let ocsp = access
                        .accessdescs
                        .iter()
                        .find(|access| access.access_method.to_id_string() == OCSP);
                    if let Some(GeneralName::URI(url)) = ocsp.map(|access| &access.access_location)
                    {
                        inner.ocsp_url = Some((*url).to_owned());
                    }
                }
                ParsedExtension::NameConstraints(_) => inner.has_name_constraints = true,
                ParsedExtension::UnsupportedExtension { .. }
                | ParsedExtension::ParseError { .. } => {
                    inner.has_unknown_critical |= extension.critical;
                }
                _ => {}
            }
        }
        Ok(inner)
    }
}

/// The part of `whole` that `part` is, without a copy where it lies within.
pub(super) fn copy_or_slice(whole: &Bytes, part: &[u8]) -> Bytes {
    let range = whole.as_ptr_range();
    let inside = part.as_ptr_range();
    if !part.is_empty() && range.start <= inside.start && inside.end <= range.end {
        whole.slice_ref(part)
    } else {
        Bytes::copy_from_slice(part)
    }
}

/// The algorithm that `x509-parser` read.
pub(super) fn signature_algorithm(
    identifier: &AlgorithmIdentifier<'_>,
) -> Option<SignatureAlgorithm> {
    let parameters = identifier.parameters.as_ref().map(|parameters| {
        let constructed = if parameters.header.constructed() {
            0x20
        } else {
            0
        };
        let tag = u8::try_from(parameters.tag().0).unwrap_or(0x1f);
        tlv(tag | constructed, parameters.data)
    });
    SignatureAlgorithm::from_parts(&identifier.algorithm.to_id_string(), parameters.as_deref())
}

fn moment(time: &ASN1Time) -> Result<OffsetDateTime, ParseError> {
    OffsetDateTime::from_unix_timestamp(time.timestamp())
        .map_err(|error| ParseError::Malformed(error.to_string()))
}

const OCSP: &str = "1.3.6.1.5.5.7.48.1";
