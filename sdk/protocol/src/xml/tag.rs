//! Start tags: names, attributes, namespaces.

use std::borrow::Cow;
use std::ops::Range;

use super::{XmlBudget, XmlError, chars, malformed};

/// Start of an element with its names resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartTag<'a> {
    /// Prefix, if it has one.
    pub prefix: Option<&'a str>,
    /// Local name.
    pub local: &'a str,
    /// Namespace, if it is in one.
    pub namespace: Option<Cow<'a, str>>,
    /// Attributes, namespace declarations included, in order.
    pub attributes: Vec<Attribute<'a>>,
    /// Bytes of the tag.
    pub range: Range<usize>,
}

/// An attribute with its value as a reader of XML sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attribute<'a> {
    /// Qualified name.
    pub name: &'a str,
    /// Local name.
    pub local: &'a str,
    /// Namespace, if it is in one; that of declarations is `http://www.w3.org/2000/xmlns/`.
    pub namespace: Option<Cow<'a, str>>,
    /// Value, references resolved, white space normalised.
    pub value: Cow<'a, str>,
    /// Value as it stands between its quotes.
    pub raw_value: &'a str,
}

impl<'a> StartTag<'a> {
    /// Tells whether the element has this name.
    #[must_use]
    pub fn is(&self, namespace: &str, local: &str) -> bool {
        self.local == local && self.namespace.as_deref() == Some(namespace)
    }

    /// Value of an attribute in a namespace.
    #[must_use]
    pub fn attribute(&self, namespace: Option<&str>, local: &str) -> Option<&str> {
        let found = |attribute: &&Attribute<'_>| {
            attribute.local == local && attribute.namespace.as_deref() == namespace
        };
        self.attributes
            .iter()
            .find(found)
            .map(|attribute| &*attribute.value)
    }

    pub(super) fn read(
        raw: &'a str,
        range: Range<usize>,
        depth: usize,
        bindings: &mut Bindings<'a>,
        budget: &XmlBudget,
    ) -> Result<Self, XmlError> {
        let start = range.start;
        chars::check(raw, start)?;
        let inside = raw
            .strip_prefix('<')
            .and_then(|raw| raw.strip_suffix('>'))
            .unwrap_or_default();
        let inside = inside.strip_suffix('/').unwrap_or(inside);
        let name_end = inside.find(chars::is_space).unwrap_or(inside.len());
        let (name, rest) = inside.split_at(name_end);
        let (prefix, local) = check_name(name, start, budget)?;

        let mut attributes: Vec<Attribute<'a>> = Vec::new();
        for raw in RawAttributes::new(rest, start) {
            let raw = raw?;
            if attributes.len() >= budget.attributes {
                return Err(XmlError::Budget {
                    what: "attributes in one element",
                    max: budget.attributes,
                });
            }
            let (prefix, local) = check_name(raw.name, start, budget)?;
            let value = normalise(raw.value, start)?;
            if prefix == Some("xmlns") || raw.name == "xmlns" {
                bindings.declare(prefix.map(|_| local), value.clone(), depth, start, budget)?;
            }
            attributes.push(Attribute {
                name: raw.name,
                local,
                namespace: None,
                value,
                raw_value: raw.value,
            });
        }
        if prefix == Some("xmlns") {
            return Err(malformed("an element with the prefix xmlns", start));
        }
        let namespace = bindings.resolve(prefix, start)?;
        resolve_attributes(&mut attributes, bindings, start)?;
        Ok(Self {
            prefix,
            local,
            namespace,
            attributes,
            range,
        })
    }
}

/// Gives attributes their namespaces and refuses two with one name.
fn resolve_attributes(
    attributes: &mut [Attribute<'_>],
    bindings: &Bindings<'_>,
    start: usize,
) -> Result<(), XmlError> {
    let mut rest = attributes;
    let mut before: Vec<(Option<String>, String)> = Vec::new();
    while let Some((attribute, others)) = rest.split_first_mut() {
        if others.iter().any(|other| other.name == attribute.name) {
            return Err(malformed("two attributes with one name", start));
        }
        let prefix = attribute.name.split_once(':').map(|(prefix, _)| prefix);
        if attribute.name == "xmlns" || prefix == Some("xmlns") {
            attribute.namespace = Some(Cow::Borrowed(XMLNS));
        } else if prefix.is_some() {
            let namespace = bindings.resolve(prefix, start)?.map(Cow::into_owned);
            let expanded = (namespace.clone(), attribute.local.to_owned());
            if before.contains(&expanded) {
                return Err(malformed("two attributes with one name", start));
            }
            before.push(expanded);
            attribute.namespace = namespace.map(Cow::Owned);
        }
        rest = others;
    }
    Ok(())
}

fn check_name<'a>(
    name: &'a str,
    start: usize,
    budget: &XmlBudget,
) -> Result<(Option<&'a str>, &'a str), XmlError> {
    if name.len() > budget.name_bytes {
        return Err(XmlError::Budget {
            what: "bytes in one name",
            max: budget.name_bytes,
        });
    }
    chars::split_name(name).ok_or(malformed("a name that is none", start))
}

/// Resolves references and turns white space into spaces.
fn normalise(raw: &str, start: usize) -> Result<Cow<'_, str>, XmlError> {
    if !raw.contains(['&', '<', '\t', '\n', '\r']) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut out = String::with_capacity(raw.len());
    let mut characters = raw.char_indices().peekable();
    while let Some((index, c)) = characters.next() {
        match c {
            '<' => return Err(malformed("< in the value of an attribute", start)),
            '&' => {
                let rest = raw.get(index + 1..).unwrap_or_default();
                let resolved = rest
                    .split_once(';')
                    .and_then(|(name, _)| Some((name.len(), chars::resolve(name)?)));
                let (length, resolved) =
                    resolved.ok_or(malformed("an undefined reference", start))?;
                out.push(resolved);
                while characters
                    .next_if(|(at, _)| *at <= index + 1 + length)
                    .is_some()
                {}
            }
            '\r' => {
                characters.next_if(|(_, next)| *next == '\n');
                out.push(' ');
            }
            '\t' | '\n' => out.push(' '),
            other => out.push(other),
        }
    }
    Ok(Cow::Owned(out))
}

/// Namespace declarations in scope.
#[derive(Debug, Default)]
pub(super) struct Bindings<'a> {
    bindings: Vec<Binding<'a>>,
}

#[derive(Debug)]
struct Binding<'a> {
    prefix: Option<&'a str>,
    namespace: Cow<'a, str>,
    depth: usize,
}

impl<'a> Bindings<'a> {
    fn declare(
        &mut self,
        prefix: Option<&'a str>,
        namespace: Cow<'a, str>,
        depth: usize,
        start: usize,
        budget: &XmlBudget,
    ) -> Result<(), XmlError> {
        let good = match prefix {
            Some("xml") => namespace == XML,
            Some("xmlns") => false,
            Some(_) => !namespace.is_empty() && namespace != XML && namespace != XMLNS,
            None => namespace != XML && namespace != XMLNS,
        };
        if !good {
            return Err(malformed(
                "a namespace declaration that is not allowed",
                start,
            ));
        }
        if self.bindings.len() >= budget.namespaces {
            return Err(XmlError::Budget {
                what: "namespaces in scope",
                max: budget.namespaces,
            });
        }
        self.bindings.push(Binding {
            prefix,
            namespace,
            depth,
        });
        Ok(())
    }

    fn resolve(
        &self,
        prefix: Option<&str>,
        start: usize,
    ) -> Result<Option<Cow<'a, str>>, XmlError> {
        if prefix == Some("xml") {
            return Ok(Some(Cow::Borrowed(XML)));
        }
        match self
            .bindings
            .iter()
            .rev()
            .find(|binding| binding.prefix == prefix)
        {
            Some(binding) if binding.namespace.is_empty() => Ok(None),
            Some(binding) => Ok(Some(binding.namespace.clone())),
            None if prefix.is_none() => Ok(None),
            None => Err(malformed("an undeclared prefix", start)),
        }
    }

    pub(super) fn leave(&mut self, depth: usize) {
        while self
            .bindings
            .pop_if(|binding| binding.depth >= depth)
            .is_some()
        {}
    }
}

/// Attributes as they stand in a tag, split strictly.
pub(super) struct RawAttributes<'a> {
    rest: &'a str,
    start: usize,
}

pub(super) struct RawAttribute<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
}

impl<'a> RawAttributes<'a> {
    pub(super) fn new(text: &'a str, start: usize) -> Self {
        Self { rest: text, start }
    }

    fn read(&mut self, text: &'a str) -> Option<RawAttribute<'a>> {
        let (name, rest) = text.split_once('=')?;
        let name = name.trim_end_matches(chars::is_space);
        let rest = rest.trim_start_matches(chars::is_space);
        let quote = rest
            .chars()
            .next()
            .filter(|quote| matches!(quote, '"' | '\''))?;
        let (value, rest) = rest.get(1..)?.split_once(quote)?;
        self.rest = rest;
        Some(RawAttribute { name, value })
    }
}

impl<'a> Iterator for RawAttributes<'a> {
    type Item = Result<RawAttribute<'a>, XmlError>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.trim_start_matches(chars::is_space);
        if text.is_empty() {
            return None;
        }
        let spaced = text.len() < self.rest.len();
        self.rest = "";
        let attribute = spaced.then(|| self.read(text)).flatten();
        Some(attribute.ok_or(malformed("a malformed attribute", self.start)))
    }
}

const XML: &str = "http://www.w3.org/XML/1998/namespace";
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";
