//! `SOAPAction` (`message-path.md` 2.1).

/// Tells whether a `SOAPAction` may stand: empty, or in double quotes a URI reference or nothing.
#[must_use]
pub fn soap_action_is_valid(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    if value.is_empty() {
        return true;
    }
    let inside = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    inside.is_some_and(is_uri_reference)
}

/// The characters and the scheme; what a scheme makes of the rest is its own affair.
fn is_uri_reference(uri: &[u8]) -> bool {
    let (uri, fragment) = match memchr::memchr(b'#', uri) {
        Some(at) => (
            uri.get(..at).unwrap_or_default(),
            uri.get(at + 1..).unwrap_or_default(),
        ),
        None => (uri, &b""[..]),
    };
    has_good_characters(uri) && has_good_characters(fragment) && has_good_scheme(uri)
}

fn has_good_scheme(uri: &[u8]) -> bool {
    let Some(end) = uri
        .iter()
        .position(|byte| matches!(byte, b':' | b'/' | b'?'))
    else {
        return true;
    };
    if uri.get(end) != Some(&b':') {
        return true;
    }
    let scheme = uri.get(..end).unwrap_or_default();
    let rest = uri.get(end + 1..).unwrap_or_default();
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
        && !rest.is_empty()
}

fn has_good_characters(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        let good = match byte {
            b'%' => [bytes.next(), bytes.next()]
                .iter()
                .all(|digit| digit.is_some_and(u8::is_ascii_hexdigit)),
            // as java.net.URI: other letters than ASCII pass, controls do not
            0xa1.. => true,
            byte => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?[]".contains(byte),
        };
        if !good {
            return false;
        }
    }
    true
}
