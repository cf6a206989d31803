//! REST paths under access rights: one decoded form, patterns, and refusal of the ambiguous (`message-path.md` 6.5).
//!
//! What is authorised is the path decoded once. Where servers and frameworks differ in reading a path, the path that is
//! authorised could differ from the path that is called: such paths are refused unless a right covers every path. What
//! is allowed is forwarded byte for byte.

/// A service path decoded once, which every reader understands alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessPath(String);

impl AccessPath {
    /// The decoded path: empty, or starting with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why readers may understand a path differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmbiguousPath {
    /// A backslash, plain or encoded.
    #[error("path holds a backslash")]
    Backslash,
    /// A percent sign without two hexadecimal digits, or not UTF-8.
    #[error("path holds a malformed escape")]
    BadEscape,
    /// An encoded control character.
    #[error("path holds an encoded control character")]
    Control,
    /// A segment `.` or `..`, plain or encoded.
    #[error("path holds a dot segment")]
    DotSegment,
    /// An empty segment.
    #[error("path holds an empty segment")]
    EmptySegment,
    /// An encoded slash, question mark or number sign.
    #[error("path holds an encoded delimiter")]
    EncodedDelimiter,
    /// What remains after decoding once can be decoded again.
    #[error("path is encoded twice")]
    EncodedTwice,
    /// Path parameters.
    #[error("path holds a semicolon")]
    Semicolon,
}

/// Decodes a raw service path for the decision on access.
///
/// # Errors
/// [`AmbiguousPath`] when it can be read in more than one way.
pub fn normalise_for_access(raw_service_path: &str) -> Result<AccessPath, AmbiguousPath> {
    if raw_service_path.is_empty() {
        return Ok(AccessPath(String::new()));
    }
    let path = raw_service_path
        .strip_prefix('/')
        .ok_or(AmbiguousPath::EmptySegment)?;
    let mut decoded = String::with_capacity(raw_service_path.len());
    let mut segments = path.split('/').peekable();
    while let Some(raw) = segments.next() {
        if raw.is_empty() && segments.peek().is_some() {
            return Err(AmbiguousPath::EmptySegment);
        }
        let segment = decode_segment(raw)?;
        check_segment(&segment)?;
        decoded.push('/');
        decoded.push_str(&segment);
    }
    Ok(AccessPath(decoded))
}

fn decode_segment(raw: &str) -> Result<String, AmbiguousPath> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = bytes
            .next()
            .and_then(crate::id::text::hex_value)
            .ok_or(AmbiguousPath::BadEscape)?;
        let low = bytes
            .next()
            .and_then(crate::id::text::hex_value)
            .ok_or(AmbiguousPath::BadEscape)?;
        match high << 4 | low {
            b'/' | b'?' | b'#' => return Err(AmbiguousPath::EncodedDelimiter),
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).map_err(|_| AmbiguousPath::BadEscape)
}

fn check_segment(segment: &str) -> Result<(), AmbiguousPath> {
    if segment == "." || segment == ".." {
        return Err(AmbiguousPath::DotSegment);
    }
    for c in segment.chars() {
        match c {
            '\\' => return Err(AmbiguousPath::Backslash),
            ';' => return Err(AmbiguousPath::Semicolon),
            c if c.is_control() => return Err(AmbiguousPath::Control),
            _ => {}
        }
    }
    let bytes = segment.as_bytes();
    let escape = |three: &[u8]| matches!(three, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    if bytes.windows(3).any(escape) {
        return Err(AmbiguousPath::EncodedTwice);
    }
    Ok(())
}

/// A pattern of an access right: `*` is any run without `/`, `**` any run, `\*` and `\\` are literal, the rest too.
///
/// Matching is greedy with a way back, over the whole decoded path, case-sensitive. (X-Road's is possessive:
/// `/files/*.json` never matches there.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    source: String,
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Anything,
    Literal(char),
    Segment,
}

/// A pattern is longer than [`PathPattern::MAX_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path pattern is longer than {max} bytes", max = PathPattern::MAX_BYTES)]
#[non_exhaustive]
pub struct PatternTooLong;

impl PathPattern {
    /// Longest pattern, in bytes (X-Road stores 255 characters or less).
    pub const MAX_BYTES: usize = 1_024;

    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternTooLong`].
    pub fn parse(pattern: &str) -> Result<Self, PatternTooLong> {
        if pattern.len() > Self::MAX_BYTES {
            return Err(PatternTooLong);
        }
        let mut tokens = Vec::new();
        let mut characters = pattern.chars().peekable();
        while let Some(c) = characters.next() {
            tokens.push(match c {
                '*' if characters.next_if_eq(&'*').is_some() => Token::Anything,
                '*' => Token::Segment,
                '\\' => Token::Literal(
                    characters
                        .next_if(|next| matches!(next, '*' | '\\'))
                        .unwrap_or('\\'),
                ),
                other => Token::Literal(other),
            });
        }
        Ok(Self {
            source: pattern.to_owned(),
            tokens,
        })
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Tells whether the pattern is `**`, which covers every path, also an ambiguous one.
    #[must_use]
    pub fn covers_every_path(&self) -> bool {
        !self.tokens.is_empty() && self.tokens.iter().all(|token| *token == Token::Anything)
    }

    /// Tells whether a decoded path matches. Work is the product of the two lengths at most.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut places = vec![false; self.tokens.len() + 1];
        if let Some(first) = places.first_mut() {
            *first = true;
        }
        self.step_over_wildcards(&mut places);
        for c in path.chars() {
            let mut next = vec![false; places.len()];
            for ((index, token), _) in self
                .tokens
                .iter()
                .enumerate()
                .zip(&places)
                .filter(|(_, here)| **here)
            {
                let target = match token {
                    Token::Literal(literal) if *literal == c => index + 1,
                    Token::Anything => index,
                    Token::Segment if c != '/' => index,
                    Token::Literal(_) | Token::Segment => continue,
                };
                if let Some(place) = next.get_mut(target) {
                    *place = true;
                }
            }
            if !next.contains(&true) {
                return false;
            }
            self.step_over_wildcards(&mut next);
            places = next;
        }
        places.last().copied().unwrap_or_default()
    }

    /// A wildcard may match nothing: wherever one is reached, the token after it is reached too.
    fn step_over_wildcards(&self, places: &mut [bool]) {
        let mut before = false;
        for (index, place) in places.iter_mut().enumerate() {
            *place |= before;
            before = *place
                && self
                    .tokens
                    .get(index)
                    .is_some_and(|token| !matches!(token, Token::Literal(_)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_decoded_once() {
        for (raw, decoded) in [
            ("", ""),
            ("/", "/"),
            ("/a/", "/a/"),
            ("/a%2Db", "/a-b"),
            ("/caf%C3%A9", "/café"),
            ("/foo%20bar", "/foo bar"),
            ("/a%7Cb", "/a|b"),
            ("/100%25", "/100%"),
            ("/a%2ejson", "/a.json"),
            ("/...", "/..."),
        ] {
            assert_eq!(normalise_for_access(raw).unwrap().as_str(), decoded);
        }
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        use AmbiguousPath::*;
        for (raw, why) in [
            ("//", EmptySegment),
            ("/a//b", EmptySegment),
            ("a", EmptySegment),
            ("/a/../b", DotSegment),
            ("/./a", DotSegment),
            ("/a/%2e%2e/b", DotSegment),
            ("/a/.%2E", DotSegment),
            ("/a%2Fb", EncodedDelimiter),
            ("/a/..%2fb", EncodedDelimiter),
            ("/a%3Fb", EncodedDelimiter),
            ("/a%23b", EncodedDelimiter),
            ("/a%252e", EncodedTwice),
            ("/a%25%32e", EncodedTwice),
            ("/a;p=1", Semicolon),
            ("/a%3Bp", Semicolon),
            ("/a\\b", Backslash),
            ("/a%5cb", Backslash),
            ("/a%00", Control),
            ("/a%0d%0a", Control),
            ("/a%C2%85", Control),
            ("/a%ff", BadEscape),
            ("/a%c0%ae", BadEscape),
            ("/a%2", BadEscape),
            ("/a%zz", BadEscape),
        ] {
            assert_eq!(normalise_for_access(raw).unwrap_err(), why, "{raw}");
        }
    }

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, path, expected) in [
            ("**", "", true),
            ("**", "/a/b", true),
            ("", "", true),
            ("", "/", false),
            ("/a", "/a", true),
            ("/a", "/A", false),
            ("/a", "/a/", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/", true),
            ("/a/*", "/a/b/c", false),
            ("/a/**", "/a/b/c", true),
            ("/a/*/c", "/a/b/c", true),
            ("/files/*.json", "/files/x.json", true),
            ("/files/*.json", "/files/x.json.json", true),
            ("/files/*.json", "/files/x/y.json", false),
            ("/**/c", "/a/b/c", true),
            ("/a\\*", "/a*", true),
            ("/a\\*", "/ab", false),
            ("/a\\\\", "/a\\", true),
            ("/a\\b", "/a\\b", true),
            ("/a?", "/a?", true),
            ("/a?", "/a", false),
            ("/*/*", "/a/b", true),
        ] {
            assert_eq!(
                PathPattern::parse(pattern).unwrap().matches(path),
                expected,
                "{pattern} {path}"
            );
        }
        assert!(PathPattern::parse("**").unwrap().covers_every_path());
        assert!(!PathPattern::parse("/**").unwrap().covers_every_path());
        assert!(PathPattern::parse(&"*".repeat(1_025)).is_err());
    }

    #[test]
    fn hostile_patterns_cost_no_more_than_the_product() {
        let pattern = PathPattern::parse(&"*a".repeat(500)).unwrap();
        assert!(!pattern.matches(&format!("{}b", "a".repeat(8_000))));
    }
}
