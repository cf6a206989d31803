//! The fields that are taken out of a parsed certificate.

use std::collections::HashSet;

use ::time::OffsetDateTime;
use bytes::Bytes;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    time::ASN1Time,
    x509::{AlgorithmIdentifier, X509Version},
};

use super::{Name, ParseError};
use crate::{
    asn1::{dotted_oid, tlv},
    chain::{AltName, Constraints},
    signer::{PublicKey, SignatureAlgorithm},
};

pub(super) struct Inner {
    pub(super) der: Bytes,
    pub(super) tbs: Bytes,
    pub(super) signature: Bytes,
    pub(super) algorithm: Option<SignatureAlgorithm>,
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
    pub(super) name_constraints: Option<Constraints>,
    pub(super) alt_names: Vec<AltName>,
    pub(super) defect: Option<Defect>,
}

/// What Java's reader of certificates refuses, and ours only notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Defect {
    /// The signed and the outer signature algorithm differ.
    Algorithms,
    /// An extension that decides about paths cannot be read.
    Extension,
    /// An extension is there twice.
    ExtensionTwice,
    /// It names no issuer.
    Issuer,
    /// It names no subject, nor says critically how else to call it.
    Subject,
    /// It has extensions and says that it is of version 1 or 2.
    Version,
}

impl std::fmt::Display for Defect {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Algorithms => "it names two different signature algorithms",
            Self::Extension => "an extension that decides about paths cannot be read",
            Self::ExtensionTwice => "an extension is there twice",
            Self::Issuer => "it names no issuer",
            Self::Subject => "it names no subject",
            Self::Version => "it has extensions and is not of version 3",
        })
    }
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
            name_constraints: None,
            alt_names: Vec::new(),
            defect: None,
            der,
        };
        if parsed.signature_algorithm != tbs.signature {
            inner.defect = Some(Defect::Algorithms);
        } else if !tbs.extensions().is_empty() && tbs.version() != X509Version::V3 {
            inner.defect = Some(Defect::Version);
        } else if inner.issuer.attributes().is_empty() {
            inner.defect = Some(Defect::Issuer);
        }
        let mut is_named = !inner.subject.attributes().is_empty();
        let mut seen = HashSet::new();
        for extension in tbs.extensions() {
            if !seen.insert(extension.oid.as_bytes()) {
                inner.defect = inner.defect.or(Some(Defect::ExtensionTwice));
            }
            // The critical extensions that Java's path validation knows what to do with.
            if extension.critical && !KNOWN_CRITICAL.contains(&extension.oid.as_bytes()) {
                inner.has_unknown_critical = true;
            }
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
                        .find(|access| dotted_oid(&access.access_method) == OCSP);
                    if let Some(GeneralName::URI(url)) = ocsp.map(|access| &access.access_location)
                    {
                        inner.ocsp_url = Some((*url).to_owned());
                    }
                }
                ParsedExtension::NameConstraints(constraints) => {
                    let constraints = Constraints::new(&inner.der, constraints);
                    if constraints.is_empty() {
                        inner.defect = inner.defect.or(Some(Defect::Extension));
                    }
                    inner.name_constraints = Some(constraints);
                }
                ParsedExtension::SubjectAlternativeName(names) => {
                    let names = names.general_names.iter();
                    inner.alt_names = names.map(|name| AltName::new(&inner.der, name)).collect();
                    is_named |= extension.critical && !inner.alt_names.is_empty();
                }
                ParsedExtension::ParseError { .. }
                    if extension.critical || KNOWN_CRITICAL.contains(&extension.oid.as_bytes()) =>
                {
                    inner.defect = inner.defect.or(Some(Defect::Extension));
                }
                _ => {}
            }
        }
        if !is_named {
            inner.defect = inner.defect.or(Some(Defect::Subject));
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
    SignatureAlgorithm::from_parts(&dotted_oid(&identifier.algorithm), parameters.as_deref())
}

fn moment(time: &ASN1Time) -> Result<OffsetDateTime, ParseError> {
    OffsetDateTime::from_unix_timestamp(time.timestamp())
        .map_err(|error| ParseError::Malformed(error.to_string()))
}

const OCSP: &str = "1.3.6.1.5.5.7.48.1";
/// Content of the object identifiers of key usage, subject alternative name, basic constraints, name constraints, certificate
/// policies, policy mappings, extended key usage, inhibit any-policy. Policies are not processed, as X-Road asks for none; so one
/// that demands them (policy constraints) is not among these.
const KNOWN_CRITICAL: [&[u8]; 8] = [
    &[0x55, 0x1d, 15],
    &[0x55, 0x1d, 17],
    &[0x55, 0x1d, 19],
    &[0x55, 0x1d, 30],
    &[0x55, 0x1d, 32],
    &[0x55, 0x1d, 33],
    &[0x55, 0x1d, 37],
    &[0x55, 0x1d, 54],
];
