//! The little language in which a declared profile describes the values of attributes.
//!
//! Text stands for itself; `{code}`, `{class}`, `{instance}` take what they stand for, `{*}` takes what does not matter: one or
//! more characters, but no `/`, up to the text that follows. `{code..}`, at the end only, takes the rest, `/` too.
//! `{code:[1-6]#######}` takes exactly that: `#` a digit, `?` any character, `[…]` one of a set, anything else itself.
//! `{{` and `}}` are the braces.

/// A part of an identifier that a pattern takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Field {
    Instance,
    Class,
    Code,
    Ignored,
}

/// How one attribute's value has to look.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Token {
    Text(String),
    /// One or more characters without a slash.
    Segment(Field),
    /// One or more characters.
    Rest(Field),
    /// As many characters as there are sets, each in its set.
    Shaped(Field, Vec<Set>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Set {
    Any,
    Ranges(Vec<(char, char)>),
}

impl Pattern {
    /// Reads a pattern; the error is a sentence's end: "the pattern …".
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("is empty");
        }
        if text.len() > LONGEST {
            return Err("is too long");
        }
        if text.contains(char::is_control) {
            return Err("has a control character");
        }
        let mut tokens: Vec<Token> = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("{{") {
                push_text(&mut tokens, '{');
                rest = after;
            } else if let Some(after) = rest.strip_prefix("}}") {
                push_text(&mut tokens, '}');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let (inner, after) = after.split_once('}').ok_or("has a { without }")?;
                let token = placeholder(inner)?;
                let open_end = matches!(tokens.last(), Some(Token::Segment(_) | Token::Rest(_)));
                if open_end {
                    return Err("has nothing between two placeholders");
                }
                tokens.push(token);
                rest = after;
            } else if first == '}' {
                return Err("has a } without {");
            } else {
                push_text(&mut tokens, first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
        let ended = tokens
            .split_last()
            .is_none_or(|(_, before)| !before.iter().any(|token| matches!(token, Token::Rest(_))));
        if !ended {
            return Err("goes on after a placeholder that takes the rest");
        }
        Ok(Self { tokens })
    }

    /// The fields that it takes.
    pub(super) fn fields(&self) -> impl Iterator<Item = Field> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Text(_) => None,
            Token::Segment(field) | Token::Rest(field) | Token::Shaped(field, _) => Some(*field),
        })
    }

    /// Whether the whole value fits; gives each field that it takes to `take`. One pass, no going back.
    pub(super) fn matches<'v>(&self, value: &'v str, mut take: impl FnMut(Field, &'v str)) -> bool {
        let mut rest = value;
        let mut tokens = self.tokens.iter().peekable();
        while let Some(token) = tokens.next() {
            let length = match token {
                Token::Text(text) => {
                    let Some(after) = rest.strip_prefix(text.as_str()) else {
                        return false;
                    };
                    rest = after;
                    continue;
                }
                Token::Rest(_) => Some(rest.len()),
                Token::Segment(_) => {
                    let end = match tokens.peek() {
                        Some(Token::Text(text)) => rest.find(text.as_str()),
                        _ => Some(rest.len()),
                    };
                    end.filter(|end| rest.get(..*end).is_some_and(|found| !found.contains('/')))
                }
                Token::Shaped(_, sets) => shaped(rest, sets),
            };
            let Some((found, after)) = length
                .filter(|length| *length > 0)
                .and_then(|length| rest.split_at_checked(length))
            else {
                return false;
            };
            if let Token::Segment(field) | Token::Rest(field) | Token::Shaped(field, _) = token {
                take(*field, found);
            }
            rest = after;
        }
        rest.is_empty()
    }
}

/// How many bytes of `value` have this shape.
fn shaped(value: &str, sets: &[Set]) -> Option<usize> {
    let mut characters = value.chars();
    let mut length = 0_usize;
    for set in sets {
        let c = characters.next()?;
        let fits = match set {
            Set::Any => true,
            Set::Ranges(ranges) => ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)),
        };
        if !fits {
            return None;
        }
        length = length.checked_add(c.len_utf8())?;
    }
    Some(length)
}

fn push_text(tokens: &mut Vec<Token>, c: char) {
    if let Some(Token::Text(text)) = tokens.last_mut() {
        text.push(c);
    } else {
        tokens.push(Token::Text(c.to_string()));
    }
}

fn placeholder(inner: &str) -> Result<Token, &'static str> {
    if let Some((name, shape)) = inner.split_once(':') {
        return Ok(Token::Shaped(field(name)?, sets(shape)?));
    }
    match inner.strip_suffix("..") {
        Some(name) => Ok(Token::Rest(field(name)?)),
        None => Ok(Token::Segment(field(inner)?)),
    }
}

fn field(name: &str) -> Result<Field, &'static str> {
    match name {
        "instance" => Ok(Field::Instance),
        "class" => Ok(Field::Class),
        "code" => Ok(Field::Code),
        "*" => Ok(Field::Ignored),
        _ => Err("has a placeholder other than {instance}, {class}, {code} and {*}"),
    }
}

fn sets(shape: &str) -> Result<Vec<Set>, &'static str> {
    let mut sets = Vec::new();
    let mut rest = shape;
    while let Some(first) = rest.chars().next() {
        let after = rest.get(first.len_utf8()..).unwrap_or_default();
        rest = after;
        sets.push(match first {
            '#' => Set::Ranges(vec![('0', '9')]),
            '?' => Set::Any,
            '[' => {
                let (inner, after) = after.split_once(']').ok_or("has a [ without ]")?;
                rest = after;
                Set::Ranges(ranges(inner)?)
            }
            other => Set::Ranges(vec![(other, other)]),
        });
    }
    if sets.is_empty() {
        return Err("has a placeholder with nothing behind the colon");
    }
    Ok(sets)
}

fn ranges(inner: &str) -> Result<Vec<(char, char)>, &'static str> {
    let characters: Vec<char> = inner.chars().collect();
    let mut ranges = Vec::new();
    let mut rest = characters.as_slice();
    loop {
        rest = match rest {
            [] => break,
            [from, '-', to, after @ ..] => {
                if from > to {
                    return Err("has a range that goes backwards");
                }
                ranges.push((*from, *to));
                after
            }
            [one, after @ ..] => {
                ranges.push((*one, *one));
                after
            }
        };
    }
    if ranges.is_empty() {
        return Err("has an empty set");
    }
    Ok(ranges)
}

/// Bytes of a pattern.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(pattern: &str, value: &str) -> Option<Vec<(Field, String)>> {
        let mut found = Vec::new();
        Pattern::parse(pattern)
            .unwrap()
            .matches(value, |field, value| found.push((field, value.to_owned())))
            .then_some(found)
    }

    #[test]
    fn values_are_taken() {
        use Field::{Class, Code, Ignored, Instance};
        for (pattern, value, expected) in [
            ("FI", "FI", vec![]),
            ("{code}", "12", vec![(Code, "12")]),
            ("{code..}", "1/2", vec![(Code, "1/2")]),
            (
                "{instance}/{*}/{class}",
                "KG/ss1/COM",
                vec![(Instance, "KG"), (Ignored, "ss1"), (Class, "COM")],
            ),
            ("ИНН-{code..}", "ИНН-01-2", vec![(Code, "01-2")]),
            ("{code:[1-68]##}", "812", vec![(Code, "812")]),
            (
                "{class:???}{code}",
                "ГОС77",
                vec![(Class, "ГОС"), (Code, "77")],
            ),
            ("{{{code}}}", "{x}", vec![(Code, "x")]),
        ] {
            let expected = expected
                .into_iter()
                .map(|(field, text)| (field, text.to_owned()));
            assert_eq!(found(pattern, value), Some(expected.collect()), "{pattern}");
        }
    }

    #[test]
    fn values_that_do_not_fit_give_nothing() {
        for (pattern, value) in [
            ("FI", "FIN"),
            ("FI", "fi"),
            ("{code}", ""),
            ("{code}", "1/2"),
            ("{instance}/{*}/{class}", "KG/ss1"),
            ("{instance}/{*}/{class}", "KG//COM"),
            ("{instance}/{*}/{class}", "KG/ss1/COM/x"),
            ("A-{code}", "B-1"),
            ("A-{code}", "A-"),
            ("{code:[1-6]##}", "712"),
            ("{code:###}", "12"),
            ("{code:###}", "1234"),
            ("{code:###}", "12٣"),
        ] {
            assert_eq!(found(pattern, value), None, "{pattern} {value}");
        }
    }

    #[test]
    fn patterns_that_mean_nothing_are_refused() {
        for pattern in [
            "",
            "{",
            "}",
            "{code",
            "code}",
            "{name}",
            "{}",
            "{..}",
            "{code:}",
            "{code:[]}",
            "{code:[1}",
            "{code:[9-1]}",
            "{class}{code}",
            "{class..}-{code}",
            "a\u{1f}b",
        ] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        assert!(Pattern::parse(&"x".repeat(LONGEST + 1)).is_err());
    }

    proptest! {
        #[test]
        fn patterns_and_values_never_panic(
            pattern in "([{}\\[\\]#?:./*-]|instance|class|code|[a-c1-3]|Ж){0,12}",
            value in "([/{}-]|[a-c1-3]|Ж){0,20}",
        ) {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                let mut taken = 0;
                let fits = pattern.matches(&value, |_, found| taken += found.len());
                prop_assert!(!fits || taken <= value.len());
            }
        }
    }
}
