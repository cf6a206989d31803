//! Signed directories (`registry-and-globalconf.md` 1.4, 1.5): proof over the raw bytes, then what they name.
//!
//! [`verify_directory`] is the only way to a [`VerifiedDirectory`]. Nothing inside the signed bytes is looked at before the
//! signature has been found good, and no byte is normalised on the way.

use jibek_certs::{
    digest::{Digest, DigestAlgorithm},
    parse::Certificate,
    signer::SignatureAlgorithm,
};
use time::OffsetDateTime;

use crate::part::{decode_base64, parse_date_time};

mod mime;

use mime::{Entity, split};

/// Why a signed directory is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// An algorithm is unknown or too weak.
    #[error("{header} names an algorithm that we do not accept: {value:?}")]
    Algorithm {
        /// The header.
        header: &'static str,
        /// What it says.
        value: String,
    },
    /// A header's value is not as the format demands.
    #[error("{header} has the value {value:?}, which is not {expected}")]
    BadHeader {
        /// The header.
        header: &'static str,
        /// What it says.
        value: String,
        /// What it should say.
        expected: &'static str,
    },
    /// The directory is too old.
    #[error("the directory expired at {expired_at}, it is {now}")]
    Expired {
        /// Its expiry date.
        expired_at: OffsetDateTime,
        /// The time of the check.
        now: OffsetDateTime,
    },
    /// A header is not there.
    #[error("header {header} is missing in {within}")]
    MissingHeader {
        /// The header.
        header: &'static str,
        /// Which part lacks it.
        within: &'static str,
    },
    /// Nothing is signed: the body ends before a signature, so no expiry date in it counts either.
    #[error("the directory ends before its signature, so it has no expiry date that counts")]
    NoSignature,
    /// A part's digest is not one of the named algorithm.
    #[error("the digest of {location} is not one of its algorithm")]
    PartDigest {
        /// The part.
        location: String,
    },
    /// The signature is not made by the named key over these bytes.
    #[error("the signature of the directory is not valid")]
    Signature,
    /// More than a signed part and a signature.
    #[error("the directory has {parts} parts where two are expected")]
    TooManyParts {
        /// How many there are.
        parts: usize,
    },
    /// None of the certificates of this source is the one that signed.
    #[error("no verification certificate of this source has the digest {digest}")]
    UnknownCertificate {
        /// Digest of the certificate that signed, as written.
        digest: String,
    },
    /// A format version that we do not know.
    #[error("configuration version {value:?} is not supported")]
    Version {
        /// What the directory says.
        value: String,
    },
}

/// A directory whose signature and expiry date are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedDirectory {
    contents: Contents,
}

/// What stands in the signed part of a directory; says nothing about who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    expires: OffsetDateTime,
    version: u8,
    parts: Vec<PartRef>,
}

/// What a directory says about one part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartRef {
    /// What the part is, for example `SHARED-PARAMETERS`.
    pub content_identifier: Option<String>,
    /// The instance it describes.
    pub instance: Option<String>,
    /// Where it is, relative to the directory's URL.
    pub location: String,
    /// Name under which it is stored.
    pub file_name: String,
    /// Digest of its bytes.
    pub digest: Digest,
}

impl VerifiedDirectory {
    /// Until when it may be used.
    #[must_use]
    pub fn expires(&self) -> OffsetDateTime {
        self.contents.expires
    }

    /// Version of the configuration format; a directory that does not say has 2.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.contents.version
    }

    /// The parts it names, in its order.
    #[must_use]
    pub fn parts(&self) -> &[PartRef] {
        &self.contents.parts
    }
}

impl Contents {
    /// Until when it may be used.
    #[must_use]
    pub fn expires(&self) -> OffsetDateTime {
        self.expires
    }

    /// Version of the configuration format; 2 when it does not say.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The parts it names, in its order.
    #[must_use]
    pub fn parts(&self) -> &[PartRef] {
        &self.parts
    }
}

/// Verifies a signed directory as it came over HTTP, `raw` being the whole response body.
///
/// `certificates` are those of the location that it was fetched from, and of no other. Only their keys count, not their validity.
///
/// # Errors
/// [`DirectoryError`]; the signature is judged before anything it covers is read.
pub fn verify_directory(
    raw: &[u8],
    certificates: &[Certificate],
    now: OffsetDateTime,
) -> Result<VerifiedDirectory, DirectoryError> {
    let outer = Entity::parse(raw);
    let boundary = multipart_boundary(&outer, "multipart/related", "the directory")?;
    let outer_parts = split(outer.body, &boundary);
    let [signed, signature] = outer_parts.as_slice() else {
        return Err(match outer_parts.len() {
            0 | 1 => DirectoryError::NoSignature,
            parts => DirectoryError::TooManyParts { parts },
        });
    };
    let body = Entity::parse(signed).body;
    check_signature(body, &Entity::parse(signature), certificates)?;
    let contents = read_signed(signed)?;
    if now > contents.expires {
        return Err(DirectoryError::Expired {
            expired_at: contents.expires,
            now,
        });
    }
    Ok(VerifiedDirectory { contents })
}

/// Reads the signed part of a directory, a multipart with its own header, without any proof: [`verify_directory`] asks for one.
///
/// # Errors
/// [`DirectoryError`].
pub fn read_signed(part: &[u8]) -> Result<Contents, DirectoryError> {
    let signed = Entity::parse(part);
    let boundary = multipart_boundary(&signed, "multipart/mixed", "the signed part")?;
    let mut inner = split(signed.body, &boundary).into_iter().map(Entity::parse);
    let head = inner.next().unwrap_or_default();
    let expires = head.required("Expire-date", "the first signed part")?;
    let expires = parse_date_time(&expires)
        .ok_or_else(|| bad_header("Expire-date", &expires, "a date and time with offset"))?;
    let version = match head.header("Version") {
        None => DEFAULT_VERSION,
        Some(value) => match value.trim().parse() {
            Ok(version @ 2..=crate::model::NEWEST_VERSION) => version,
            _ => {
                return Err(DirectoryError::Version {
                    value: shortened(&value),
                });
            }
        },
    };
    let parts = inner
        .map(|entity| part_ref(&entity))
        .collect::<Result<_, _>>()?;
    Ok(Contents {
        expires,
        version,
        parts,
    })
}

fn check_signature(
    signed: &[u8],
    part: &Entity<'_>,
    certificates: &[Certificate],
) -> Result<(), DirectoryError> {
    const WITHIN: &str = "the signature part";
    check_encoding(part, WITHIN)?;
    let algorithm_uri = part.required("Signature-algorithm-id", WITHIN)?;
    let named = part.required("Verification-certificate-hash", WITHIN)?;
    let (value, parameters) = mime::parameters(&named);
    let digest_uri = mime::parameter(&parameters, "hash-algorithm-id").ok_or_else(|| {
        bad_header(
            "Verification-certificate-hash",
            &named,
            "a digest with the parameter hash-algorithm-id",
        )
    })?;
    let digest_algorithm = DigestAlgorithm::from_uri(&digest_uri)
        .ok_or_else(|| bad_algorithm("Verification-certificate-hash", &digest_uri))?;
    let wanted = decode_base64(&value).unwrap_or_default();
    let certificate = certificates
        .iter()
        .find(|certificate| certificate.digest(digest_algorithm).as_bytes() == wanted)
        .ok_or_else(|| DirectoryError::UnknownCertificate {
            digest: shortened(&value),
        })?;
    let signature =
        decode_base64(&String::from_utf8_lossy(part.body)).ok_or(DirectoryError::Signature)?;
    let algorithm = SignatureAlgorithm::from_uri(&algorithm_uri);
    let verified = match algorithm {
        Some(
            algorithm @ (SignatureAlgorithm::RsaPkcs1Sha256
            | SignatureAlgorithm::RsaPkcs1Sha384
            | SignatureAlgorithm::RsaPkcs1Sha512),
        ) => certificate.verify(algorithm, signed, &signature),
        // Signatures over configurations carry ECDSA values as DER, those over messages do not.
        Some(
            algorithm @ (SignatureAlgorithm::EcdsaSha256
            | SignatureAlgorithm::EcdsaSha384
            | SignatureAlgorithm::EcdsaSha512),
        ) => certificate.verify_der(algorithm, signed, &signature),
        _ => {
            return Err(bad_algorithm("Signature-algorithm-id", &algorithm_uri));
        }
    };
    verified.map_err(|_| DirectoryError::Signature)
}

fn part_ref(part: &Entity<'_>) -> Result<PartRef, DirectoryError> {
    const WITHIN: &str = "a configuration part";
    check_encoding(part, WITHIN)?;
    let location = part.required("Content-location", WITHIN)?.trim().to_owned();
    if location.len() > LOCATION_BYTES {
        return Err(bad_header(
            "Content-location",
            &location,
            "as short as locations are",
        ));
    }
    let digest_uri = part.required("Hash-algorithm-id", WITHIN)?;
    let algorithm = DigestAlgorithm::from_uri(digest_uri.trim())
        .ok_or_else(|| bad_algorithm("Hash-algorithm-id", &digest_uri))?;
    let digest = decode_base64(&String::from_utf8_lossy(part.body))
        .and_then(|bytes| Digest::from_bytes(algorithm, &bytes))
        .ok_or_else(|| DirectoryError::PartDigest {
            location: location.clone(),
        })?;
    let (content_identifier, instance) = match part.header("Content-identifier") {
        None => (None, None),
        Some(value) => {
            let (identifier, parameters) = mime::parameters(&value);
            (Some(identifier), mime::parameter(&parameters, "instance"))
        }
    };
    let named = part
        .header("Content-file-name")
        .unwrap_or_else(|| location.clone());
    let file_name = match content_identifier.as_deref() {
        Some(crate::part::SHARED_PARAMETERS) => crate::files::SHARED_FILE.to_owned(),
        Some(crate::part::PRIVATE_PARAMETERS) => crate::files::PRIVATE_FILE.to_owned(),
        _ => named.rsplit('/').next().unwrap_or_default().to_owned(),
    };
    Ok(PartRef {
        content_identifier,
        instance,
        location,
        file_name,
        digest,
    })
}

fn check_encoding(part: &Entity<'_>, within: &'static str) -> Result<(), DirectoryError> {
    for (header, expected) in [
        ("Content-type", "application/octet-stream"),
        ("Content-transfer-encoding", "base64"),
    ] {
        let value = part.required(header, within)?;
        if value != expected {
            return Err(bad_header(header, &value, expected));
        }
    }
    Ok(())
}

fn multipart_boundary(
    entity: &Entity<'_>,
    expected: &'static str,
    within: &'static str,
) -> Result<String, DirectoryError> {
    let value = entity.required("Content-Type", within)?;
    let (essence, parameters) = mime::parameters(&value);
    match mime::parameter(&parameters, "boundary").filter(|boundary| !boundary.is_empty()) {
        Some(boundary) if essence.eq_ignore_ascii_case(expected) => Ok(boundary),
        _ => Err(bad_header("Content-Type", &value, expected)),
    }
}

fn bad_header(header: &'static str, value: &str, expected: &'static str) -> DirectoryError {
    DirectoryError::BadHeader {
        header,
        value: shortened(value),
        expected,
    }
}

fn bad_algorithm(header: &'static str, value: &str) -> DirectoryError {
    DirectoryError::Algorithm {
        header,
        value: shortened(value),
    }
}

/// Enough of a value to recognise it.
fn shortened(value: &str) -> String {
    value.chars().take(SHOWN_CHARACTERS).collect()
}

const SHOWN_CHARACTERS: usize = 100;
const LOCATION_BYTES: usize = 1000;
/// Version of directories that do not name theirs.
const DEFAULT_VERSION: u8 = 2;

#[cfg(test)]
mod tests;
