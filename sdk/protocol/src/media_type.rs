//! Media types as peers write them (`message-path.md` 4.6): lenient, because `signature/bdoc-1.0/ts` has two slashes and
//! parameters keep their case.

/// A media type: essence in lower case, parameters with their values as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    essence: String,
    parameters: Vec<(String, String)>,
}

/// A text is not a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed media type")]
#[non_exhaustive]
pub struct MediaTypeError;

impl MediaType {
    /// Reads a `Content-Type`. Of two parameters with one name the first counts.
    ///
    /// # Errors
    /// [`MediaTypeError`] when there is no type and subtype of token characters, a parameter has no value, or a quoted
    /// value does not end.
    pub fn parse(value: &str) -> Result<Self, MediaTypeError> {
        if value.len() > MAX_BYTES {
            return Err(MediaTypeError);
        }
        let (essence, mut rest) = match value.find(';') {
            Some(end) => value.split_at(end),
            None => (value, ""),
        };
        let essence = essence.trim_matches(SPACE).to_ascii_lowercase();
        let mut names = essence.split('/');
        let two = names.next().is_some_and(is_token) && names.next().is_some_and(is_token);
        if !two || !names.all(is_token) {
            return Err(MediaTypeError);
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        while let Some(after) = rest.strip_prefix(';') {
            let after = after.trim_start_matches(SPACE);
            if after.is_empty() || after.starts_with(';') {
                rest = after;
                continue;
            }
            let (name, after) = after.split_once('=').ok_or(MediaTypeError)?;
            let name = name.trim_end_matches(SPACE).to_ascii_lowercase();
            if !is_token(&name) {
                return Err(MediaTypeError);
            }
            let (value, after) = parameter_value(after.trim_start_matches(SPACE))?;
            rest = after.trim_start_matches(SPACE);
            if parameters.iter().all(|(known, _)| *known != name) {
                parameters.push((name, value));
            }
        }
        if rest.is_empty() {
            Ok(Self {
                essence,
                parameters,
            })
        } else {
            Err(MediaTypeError)
        }
    }

    /// Type and subtype, in lower case, without parameters.
    #[must_use]
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// Tells whether type and subtype are these, in any case.
    #[must_use]
    pub fn is(&self, essence: &str) -> bool {
        self.essence.eq_ignore_ascii_case(essence)
    }

    /// Value of a parameter, by name in any case.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A token or a quoted string, and what follows.
fn parameter_value(text: &str) -> Result<(String, &str), MediaTypeError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Ok((value.trim_end_matches(SPACE).to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, c)) = characters.next() {
        match c {
            '"' => return Ok((value, quoted.get(index + 1..).unwrap_or_default())),
            '\\' => value.push(characters.next().ok_or(MediaTypeError)?.1),
            other => value.push(other),
        }
    }
    Err(MediaTypeError)
}

fn is_token(name: &str) -> bool {
    crate::header::is_token(name.as_bytes())
}

const SPACE: [char; 2] = [' ', '\t'];
const MAX_BYTES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_the_wire_are_read() {
        let read = |value| MediaType::parse(value).unwrap();
        let outer = read("multipart/mixed; charset=UTF-8; boundary=xtopAbC");
        assert!(outer.is("Multipart/Mixed"));
        assert_eq!(
            (outer.param("Boundary"), outer.param("charset")),
            (Some("xtopAbC"), Some("UTF-8"))
        );
        let related = read(
            "multipart/related; type=\"application/ocsp-response\"; charset=UTF-8; boundary=jetty1",
        );
        assert_eq!(related.param("type"), Some("application/ocsp-response"));
        assert_eq!(
            read("signature/bdoc-1.0/ts").essence(),
            "signature/bdoc-1.0/ts"
        );
        assert_eq!(
            read("text/XML; Charset=\"utf\\\"-8\" ;;").param("charset"),
            Some("utf\"-8")
        );
        assert_eq!(
            read(" text/xml ;charset=utf-8; charset=other").param("charset"),
            Some("utf-8")
        );
    }

    #[test]
    fn malformed_types_are_refused() {
        for bad in [
            "",
            ";",
            "text",
            "text/",
            "/xml",
            "te xt/xml",
            "text/xml; charset",
            "text/xml; charset=\"x",
            "text/xml; a=\"b\"c",
            "a//b",
        ] {
            assert!(MediaType::parse(bad).is_err(), "{bad}");
        }
        assert!(MediaType::parse(&format!("text/{}", "x".repeat(MAX_BYTES))).is_err());
    }
}
