//! Writing signed directories exactly as central servers do (`registry-and-globalconf.md` 1.4).

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use jibek_certs::{
    digest::{Digest, DigestAlgorithm},
    signer::SignError,
};
use time::{OffsetDateTime, UtcOffset};

use crate::keys::SigningKey;

/// What a directory says about one part.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// Content identifier, for example `SHARED-PARAMETERS`.
    pub content_identifier: &'static str,
    /// Path on the directory's host.
    pub location: String,
    /// Digest of the part.
    pub digest: Digest,
}

impl Entry {
    /// An entry of a directory.
    pub fn new(content_identifier: &'static str, location: String, digest: Digest) -> Self {
        Self {
            content_identifier,
            location,
            digest,
        }
    }
}

/// Two boundaries of multipart documents; neither may occur in what they separate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Boundaries {
    /// Around the signed part and the signature.
    pub outer: String,
    /// Around the entries.
    pub inner: String,
}

impl Boundaries {
    /// Boundaries of 20 letters and digits each, from random bytes.
    #[must_use]
    pub fn new(random: &[u8; 40]) -> Self {
        let (outer, inner) = random.split_at(20);
        Self {
            outer: alphanumeric(outer),
            inner: alphanumeric(inner),
        }
    }
}

/// Renders and signs a directory.
///
/// # Errors
/// [`SignError`] of the key.
pub fn signed(
    instance: &str,
    version: u8,
    expires: OffsetDateTime,
    entries: &[Entry],
    key: &SigningKey,
    boundaries: &Boundaries,
) -> Result<Vec<u8>, SignError> {
    let Boundaries { outer, inner } = boundaries;
    let mut signed = format!(
        "--{inner}\r\nExpire-date: {}\r\nVersion: {version}\r\n\r\n",
        seconds(expires)
    );
    for entry in entries {
        let written = write!(
            signed,
            "--{inner}\r\nContent-type: application/octet-stream\r\nContent-transfer-encoding: base64\r\n\
             Content-identifier: {}; instance='{instance}'\r\nContent-location: {}\r\nHash-algorithm-id: {}\r\n\r\n{}\r\n",
            entry.content_identifier,
            entry.location,
            entry.digest.algorithm().uri(),
            entry.digest.to_base64(),
        );
        debug_assert!(written.is_ok(), "writing to a string");
    }
    // The line break after the closing delimiter is signed; the one before the outer delimiter is not.
    signed.push_str(&format!("--{inner}--\r\n"));
    let signature = STANDARD.encode(key.sign(signed.as_bytes())?);
    let certificate_hash = key.certificate().digest(DigestAlgorithm::Sha512);
    let document = format!(
        "Content-Type: multipart/related; charset=UTF-8; boundary={outer}\r\n\r\n\
         --{outer}\r\nContent-Type: multipart/mixed; charset=UTF-8; boundary={inner}\r\n\r\n\
         {signed}\r\n\
         --{outer}\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
         Signature-Algorithm-Id: {}\r\nVerification-certificate-hash: {}; hash-algorithm-id=\"{}\"\r\n\r\n\
         {signature}\r\n--{outer}--\r\n",
        key.algorithm().uri(),
        certificate_hash.to_base64(),
        certificate_hash.algorithm().uri(),
    );
    Ok(document.into_bytes())
}

/// UTC without fractions: `2035-11-11T03:07:40Z`.
fn seconds(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    let (date, (hour, minute, second)) = (at.date(), at.to_hms());
    format!(
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day()
    )
}

fn alphanumeric(random: &[u8]) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let letter = |byte: &u8| {
        LETTERS
            .get(usize::from(*byte) % LETTERS.len())
            .map(|letter| char::from(*letter))
    };
    random.iter().filter_map(letter).collect()
}
