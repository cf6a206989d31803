//! Values of single elements.

use std::time::Duration;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use jibek_certs::parse::Certificate;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::PartError;
use crate::{
    model::CostType,
    xml::{self, Node},
};

pub(super) fn cost_type(node: Node<'_, '_>) -> Result<CostType, PartError> {
    match trimmed(node) {
        "FREE" => Ok(CostType::Free),
        "PAID" => Ok(CostType::Paid),
        "UNDEFINED" => Ok(CostType::Undefined),
        _ => Err(bad_value(node, "FREE, PAID or UNDEFINED")),
    }
}

pub(super) fn boolean(node: Node<'_, '_>) -> Result<bool, PartError> {
    match trimmed(node) {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(bad_value(node, "true or false")),
    }
}

pub(super) fn seconds(node: Node<'_, '_>) -> Result<Duration, PartError> {
    let seconds: u32 = trimmed(node)
        .parse()
        .map_err(|_| bad_value(node, "a number of seconds"))?;
    Ok(Duration::from_secs(seconds.into()))
}

pub(super) fn date_time(node: Node<'_, '_>) -> Result<OffsetDateTime, PartError> {
    parse_date_time(trimmed(node)).ok_or_else(|| bad_value(node, "a date and time"))
}

/// A date and time with offset; one without is taken as UTC (`xs:dateTime` allows it).
pub(crate) fn parse_date_time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
        .or_else(|_| OffsetDateTime::parse(&with_colon(text), &Rfc3339))
        .ok()
}

/// `+0200` as `+02:00`.
pub(super) fn with_colon(text: &str) -> String {
    match text
        .len()
        .checked_sub(2)
        .and_then(|at| text.split_at_checked(at))
    {
        Some((head, minutes)) => format!("{head}:{minutes}"),
        None => text.to_owned(),
    }
}

/// A certificate as DER: the element holds base64 of DER or of one PEM certificate.
pub(super) fn certificate(node: Node<'_, '_>) -> Result<Bytes, PartError> {
    const WHAT: &str = "a certificate";
    let bytes = base64(node, WHAT)?;
    if bytes.first() == Some(&DER_SEQUENCE) {
        return Ok(bytes);
    }
    Certificate::from_der_or_pem(&bytes)
        .map(|certificate| certificate.der().clone())
        .map_err(|_| PartError::Base64 {
            element: xml::shown(node.name()),
            what: WHAT,
            line: node.line(),
        })
}

/// A container for a key that signs configurations. One that cannot be read is kept as it is: it matters only to who uses it.
pub(super) fn verification_certificate(node: Node<'_, '_>) -> Result<Bytes, PartError> {
    certificate(node).or_else(|_| base64(node, "a certificate"))
}

pub(super) fn base64(node: Node<'_, '_>, what: &'static str) -> Result<Bytes, PartError> {
    decode_base64(node.text())
        .map(Bytes::from)
        .ok_or_else(|| PartError::Base64 {
            element: xml::shown(node.name()),
            what,
            line: node.line(),
        })
}

/// Base64 with white space anywhere.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let compact: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    LENIENT.decode(compact).ok()
}

pub(super) fn bad_value(node: Node<'_, '_>, expected: &'static str) -> PartError {
    PartError::BadValue {
        element: xml::shown(node.name()),
        value: node.text().chars().take(SHOWN_CHARACTERS).collect(),
        expected,
        line: node.line(),
    }
}

pub(super) fn trimmed<'a>(node: Node<'a, '_>) -> &'a str {
    node.text().trim()
}

/// The same, to be kept.
pub(super) fn kept(node: Node<'_, '_>) -> String {
    trimmed(node).to_owned()
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, PartError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|_| PartError::NotUtf8)
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const DER_SEQUENCE: u8 = 0x30;
const SHOWN_CHARACTERS: usize = 60;
