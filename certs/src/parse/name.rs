//! Distinguished names: raw bytes, Java's text form, comparison.

use std::fmt::Write;

use bytes::Bytes;
use x509_parser::{asn1_rs::Any, prelude::FromDer, x509::X509Name};

use super::ParseError;
use crate::{
    asn1::{dotted_oid, tlv},
    digest::hex,
};

/// A distinguished name. Equality is that of the bytes; [`Name::matches`] compares as name chaining does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    der: Bytes,
    rfc2253: String,
    canonical: String,
    attributes: Vec<(String, String)>,
}

impl Name {
    pub(crate) fn new(certificate: &Bytes, parsed: &X509Name<'_>) -> Self {
        let mut attributes = Vec::new();
        let mut shown = Vec::new();
        let mut canonical = String::new();
        for rdn in parsed.iter_rdn() {
            let mut values: Vec<String> = Vec::new();
            let mut folded: Vec<String> = Vec::new();
            for attribute in rdn.iter() {
                let oid = dotted_oid(attribute.attr_type());
                let value = attribute.attr_value();
                let text = decode(value);
                values.push(rfc2253_attribute(&oid, value));
                folded.push(format!(
                    "{oid}={}",
                    fold(text.as_deref().unwrap_or(&hex_der(value)))
                ));
                attributes.push((oid, text.unwrap_or_else(|| hex_der(value))));
            }
            folded.sort_unstable();
            // Values cannot hold these separators: folding turns control characters into blanks.
            canonical.push_str(&folded.join("\u{1}"));
            canonical.push('\u{2}');
            shown.push(values.join("+"));
        }
        shown.reverse();
        Self {
            der: super::fields::copy_or_slice(certificate, parsed.as_raw()),
            rfc2253: shown.join(","),
            canonical,
            attributes,
        }
    }

    /// Reads the DER of a name.
    ///
    /// # Errors
    /// [`ParseError::Malformed`].
    pub fn from_der(der: &[u8]) -> Result<Self, ParseError> {
        let der = Bytes::copy_from_slice(der);
        match X509Name::from_der(&der) {
            Ok(([], parsed)) => Ok(Self::new(&der, &parsed)),
            Ok(_) => Err(ParseError::Malformed("bytes follow the name".to_owned())),
            Err(error) => Err(ParseError::Malformed(error.to_string())),
        }
    }

    /// The exact bytes of the name's SEQUENCE.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The RFC 2253 form as Java's `X500Principal.getName()` writes it: most specific first, no blanks, attributes beyond
    /// RFC 2253's own table as dotted identifier and hex of the value's DER.
    pub fn rfc2253(&self) -> &str {
        &self.rfc2253
    }

    /// Attributes as (dotted identifier, text) in the order of the DER. A value that is no string is `#` and hex.
    pub fn attributes(&self) -> &[(String, String)] {
        &self.attributes
    }

    /// Whether both name the same: attribute by attribute, ignoring the string types, case and superfluous blanks, as RFC 5280
    /// section 7.1 and Java do.
    pub fn matches(&self, other: &Self) -> bool {
        self.der == other.der || self.canonical == other.canonical
    }

    /// A text that is equal for names that [`Name::matches`] holds equal, for indexes.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Name({})", self.rfc2253)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.rfc2253)
    }
}

/// A two's complement big-endian number in decimal.
pub(super) fn signed_decimal(bytes: &[u8]) -> String {
    let negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let mut magnitude: Vec<u8> = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            let (value, overflow) = (!*byte).overflowing_add(u8::from(carry));
            *byte = value;
            carry = overflow;
        }
    }
    // Digits, least significant first.
    let mut digits: Vec<u8> = vec![0];
    for byte in magnitude {
        let mut carry = u16::from(byte);
        for digit in &mut digits {
            let value = u16::from(*digit).wrapping_mul(256).wrapping_add(carry);
            *digit = u8::try_from(value % 10).unwrap_or(0);
            carry = value / 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or(0));
            carry /= 10;
        }
    }
    let mut text = String::from(if negative { "-" } else { "" });
    text.extend(
        digits
            .iter()
            .rev()
            .map(|digit| char::from(b'0'.saturating_add(*digit))),
    );
    text
}

fn rfc2253_attribute(oid: &str, value: &Any<'_>) -> String {
    let keyword = match oid {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        _ => return format!("{oid}={}", hex_der(value)),
    };
    // Java writes only these string types as text, and takes all of them for UTF-8.
    match value.header.tag().0 {
        UTF8 | PRINTABLE | T61 | UNIVERSAL | GENERAL | BMP => {
            format!("{keyword}={}", escape(&String::from_utf8_lossy(value.data)))
        }
        _ => format!("{keyword}={}", hex_der(value)),
    }
}

fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let is_blank = |c: char| c == ' ' || c == '\r';
    let lead = value
        .len()
        .saturating_sub(value.trim_start_matches(is_blank).len());
    let trail = value.trim_end_matches(is_blank).len();
    for (at, c) in value.char_indices() {
        match c {
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '\0' => escaped.push_str("\\00"),
            c if at < lead || at >= trail => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

fn hex_der(value: &Any<'_>) -> String {
    let constructed = if value.header.constructed() { 0x20 } else { 0 };
    let tag = u8::try_from(value.header.tag().0).unwrap_or(0x1f) | constructed;
    format!("#{}", hex(&tlv(tag, value.data)))
}

fn decode(value: &Any<'_>) -> Option<String> {
    let data = value.data;
    match value.header.tag().0 {
        UTF8 => String::from_utf8(data.to_vec()).ok(),
        PRINTABLE | IA5 | NUMERIC | VISIBLE | T61 | GENERAL => {
            Some(data.iter().map(|byte| char::from(*byte)).collect())
        }
        BMP => {
            let units = data
                .as_chunks::<2>()
                .0
                .iter()
                .map(|pair| u16::from_be_bytes(*pair));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        UNIVERSAL => data
            .as_chunks::<4>()
            .0
            .iter()
            .map(|quad| char::from_u32(u32::from_be_bytes(*quad)))
            .collect(),
        _ => None,
    }
}

fn fold(value: &str) -> String {
    let mut folded = String::with_capacity(value.len());
    for word in value
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
    {
        if !folded.is_empty() {
            folded.push(' ');
        }
        let _ = write!(folded, "{}", word.to_lowercase()); // writing to a String does not fail
    }
    folded
}

const UTF8: u32 = 12;
const NUMERIC: u32 = 18;
const PRINTABLE: u32 = 19;
const T61: u32 = 20;
const IA5: u32 = 22;
const VISIBLE: u32 = 26;
const GENERAL: u32 = 27;
const UNIVERSAL: u32 = 28;
const BMP: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        assert_eq!(signed_decimal(&[0]), "0");
        assert_eq!(signed_decimal(&[]), "0");
        assert_eq!(signed_decimal(&[0, 0xff]), "255");
        assert_eq!(signed_decimal(&[0xff]), "-1");
        assert_eq!(signed_decimal(&[0x80, 0]), "-32768");
        assert_eq!(
            signed_decimal(&[1, 0, 0, 0, 0, 0, 0, 0, 0]),
            "18446744073709551616"
        );
    }

    /// Expected values by Java's rules (`sun.security.x509.AVA`).
    #[test]
    fn values_are_escaped_as_java_does() {
        assert_eq!(escape(" a,b=c "), "\\ a\\,b\\=c\\ ");
        assert_eq!(escape("#1 Gm\u{4b}+\"x\"\\"), "\\#1 GmK\\+\\\"x\\\"\\\\");
        assert_eq!(escape("  "), "\\ \\ ");
        assert_eq!(escape("Кыргыз"), "Кыргыз");
        assert_eq!(fold("  Test \t  CA "), "test ca");
    }
}
