//! Percent-encoding of identifier parts and the display form (`message-path.md` 1.2, 1.4).

use std::fmt;

use super::IdError;

/// Percent-encodes one part as a path segment of RFC 3986: letters, digits and `-._~!$'()*,;&=@:+` stay, every other
/// byte of the UTF-8 form becomes `%XX` in upper case.
#[must_use]
pub fn encode_part(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        if is_literal(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(hex_digit(byte >> 4));
            out.push(hex_digit(byte & 0x0f));
        }
    }
    out
}

/// Decodes one part. Unescaped characters other than those that [`encode_part`] leaves are refused, `+` stays `+`,
/// malformed UTF-8 becomes U+FFFD as with every X-Road server.
///
/// # Errors
/// [`IdError::NotAllowed`] or [`IdError::BadEscape`].
pub fn decode_part(part: &str) -> Result<String, IdError> {
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = bytes.next().and_then(hex_value).ok_or(IdError::BadEscape)?;
                let low = bytes.next().and_then(hex_value).ok_or(IdError::BadEscape)?;
                out.push(high << 4 | low);
            }
            byte if is_literal(byte) => out.push(byte),
            _ => {
                let character = part
                    .chars()
                    .find(|c| !c.is_ascii() || !literal_or_percent(*c))
                    .unwrap_or('\u{fffd}');
                return Err(IdError::NotAllowed { character });
            }
        }
    }
    Ok(match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Tells whether a part holds characters that administration refuses and the message path only warns of:
/// U+0000–001F, U+007F–009F, `% : ; / \`, U+200B, U+FEFF.
#[must_use]
pub fn suspicious_characters(part: &str) -> bool {
    part.chars().any(|c| {
        matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '%' | ':' | ';' | '/' | '\\' | '\u{200b}' | '\u{feff}')
    })
}

/// Splits a header form and decodes its parts.
pub(crate) fn decode_parts(value: &str) -> Result<Vec<String>, IdError> {
    let found = value.split('/').count();
    if found > MAX_PARTS {
        return Err(IdError::PartCount {
            expected: "at most 6",
            found,
        });
    }
    value.split('/').map(decode_part).collect()
}

/// Joins parts to the header form.
pub(crate) fn join<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 {
            out.push('/');
        }
        out.push_str(&encode_part(part));
    }
    out
}

pub(crate) fn write_display<'a>(
    formatter: &mut fmt::Formatter<'_>,
    object_type: &str,
    parts: impl Iterator<Item = &'a str>,
) -> fmt::Result {
    formatter.write_str(object_type)?;
    for (index, part) in parts.enumerate() {
        formatter.write_str(if index == 0 { ":" } else { "/" })?;
        formatter.write_str(part)?;
    }
    Ok(())
}

fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$'()*,;&=@:+".contains(&byte)
}

fn literal_or_percent(c: char) -> bool {
    u8::try_from(c).is_ok_and(|byte| byte == b'%' || is_literal(byte))
}

fn hex_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16)
        .unwrap_or('0')
        .to_ascii_uppercase()
}

/// Value of a hexadecimal digit.
pub(crate) fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

const MAX_PARTS: usize = 6;
