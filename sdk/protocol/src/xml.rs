//! Reading XML under a budget: a tokenizer made strict (`dependencies.md` 5).
//!
//! quick-xml finds the tokens on the original bytes; this module refuses what is not well-formed, every DOCTYPE, undeclared
//! prefixes, and whatever costs more than [`XmlBudget`] allows. [`check`] goes before every tree parser.

use std::borrow::Cow;
use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::limits;

mod chars;
mod tag;

pub use tag::{Attribute, StartTag};

use tag::Bindings;

/// What a document may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct XmlBudget {
    /// Largest document, in bytes; default 64 MiB (the largest configuration parts known are below 10).
    pub bytes: usize,
    /// Deepest nesting; default [`limits::XML_DEPTH`].
    pub depth: usize,
    /// Most attributes of an element, declarations included; default [`limits::XML_ATTRIBUTES`].
    pub attributes: usize,
    /// Most namespace declarations in scope; default [`limits::XML_NAMESPACES`].
    pub namespaces: usize,
    /// Longest name of an element or attribute, in bytes; default [`limits::XML_NAME_BYTES`].
    pub name_bytes: usize,
    /// Largest tag, comment or processing instruction, in bytes; default [`limits::XML_MARKUP_BYTES`].
    pub markup_bytes: usize,
}

impl Default for XmlBudget {
    fn default() -> Self {
        Self {
            bytes: 64 * 1_024 * 1_024,
            depth: limits::XML_DEPTH,
            attributes: limits::XML_ATTRIBUTES,
            namespaces: limits::XML_NAMESPACES,
            name_bytes: limits::XML_NAME_BYTES,
            markup_bytes: limits::XML_MARKUP_BYTES,
        }
    }
}

/// Why a document is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    /// More than the budget allows.
    #[error("XML has more than {max} {what}")]
    Budget {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The document has a document type declaration.
    #[error("XML has a document type declaration")]
    Doctype,
    /// The declared encoding is not one that is read.
    #[error("XML is in an encoding that is not supported")]
    Encoding,
    /// The document is not well-formed.
    #[error("XML is not well-formed at byte {position}: {reason}")]
    Malformed {
        /// What is wrong.
        reason: &'static str,
        /// Where, in bytes from the start.
        position: usize,
    },
    /// The bytes are not UTF-8.
    #[error("XML is not UTF-8")]
    NotUtf8,
}

/// Checks a whole document: well-formed, with namespaces, without DOCTYPE, UTF-8, within the budget.
///
/// # Errors
/// [`XmlError`] with the first thing that is wrong.
pub fn check(bytes: &[u8], budget: &XmlBudget) -> Result<(), XmlError> {
    let mut reader = XmlReader::new(utf8(bytes, budget)?, budget.clone());
    while reader.next_event()?.is_some() {}
    Ok(())
}

/// The document as text; a byte order mark stays in it.
pub(crate) fn utf8<'a>(bytes: &'a [u8], budget: &XmlBudget) -> Result<&'a str, XmlError> {
    if bytes.len() > budget.bytes {
        return Err(XmlError::Budget {
            what: "bytes",
            max: budget.bytes,
        });
    }
    str::from_utf8(bytes).map_err(|_| XmlError::NotUtf8)
}

/// Something in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum XmlEvent<'a> {
    /// Start of an element. An empty element is a start followed by an end.
    Start(StartTag<'a>),
    /// End of the element that started last; the range is that of its end tag, or of the empty element.
    End {
        /// Bytes of the tag.
        range: Range<usize>,
    },
    /// Text as it stands, or the inside of a CDATA section. Comments and references divide it.
    Text(&'a str),
    /// A character reference or one of the five predefined entities.
    Reference(char),
}

/// Pull reader of a document. Comments, processing instructions and the declaration are checked and skipped.
#[derive(Debug)]
pub struct XmlReader<'a> {
    source: &'a str,
    reader: Reader<&'a [u8]>,
    budget: XmlBudget,
    /// Bytes of the byte order mark, which the tokenizer does not see.
    offset: usize,
    bindings: Bindings<'a>,
    open: usize,
    root_seen: bool,
    /// An empty element whose end is due.
    pending_end: Option<Range<usize>>,
    latin1: bool,
}

impl<'a> XmlReader<'a> {
    /// Reads `source`, which may start with a byte order mark.
    #[must_use]
    pub fn new(source: &'a str, budget: XmlBudget) -> Self {
        let text = source.strip_prefix('\u{feff}').unwrap_or(source);
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_comments = true;
        Self {
            source,
            reader,
            budget,
            offset: source.len() - text.len(),
            bindings: Bindings::default(),
            open: 0,
            root_seen: false,
            pending_end: None,
            latin1: false,
        }
    }

    /// Says that the source was transcoded from ISO-8859-1, so the declaration may say so.
    pub(crate) fn transcoded_from_latin1(mut self) -> Self {
        self.latin1 = true;
        self
    }

    /// How many elements are open.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.open
    }

    /// The next event, or nothing at the end of the document.
    ///
    /// # Errors
    /// [`XmlError`] with the first thing that is wrong; then the reader must not be used any more.
    pub fn next_event(&mut self) -> Result<Option<XmlEvent<'a>>, XmlError> {
        if let Some(range) = self.pending_end.take() {
            self.close();
            return Ok(Some(XmlEvent::End { range }));
        }
        loop {
            let start = self.position();
            let event = self
                .reader
                .read_event()
                .map_err(|_| malformed("bad markup", start))?;
            let kind = Kind::of(&event);
            let range = start..self.position();
            let raw = self
                .source
                .get(range.clone())
                .ok_or(malformed("bad markup", start))?;
            if !matches!(kind, Kind::Text | Kind::CData) && raw.len() > self.budget.markup_bytes {
                return Err(XmlError::Budget {
                    what: "bytes in one tag",
                    max: self.budget.markup_bytes,
                });
            }
            match kind {
                Kind::Start => return self.start(raw, range, false).map(Some),
                Kind::Empty => return self.start(raw, range, true).map(Some),
                Kind::End => {
                    if self.open == 0 {
                        return Err(malformed("an end tag without a start tag", start));
                    }
                    self.close();
                    return Ok(Some(XmlEvent::End { range }));
                }
                Kind::Text => {
                    if let Some(event) = self.text(raw, start)? {
                        return Ok(Some(event));
                    }
                }
                Kind::CData => return self.cdata(raw, start).map(Some),
                Kind::Reference => return self.reference(raw, start).map(Some),
                Kind::Comment => {
                    chars::check(raw, start)?;
                    let inside = raw
                        .strip_prefix("<!--")
                        .and_then(|raw| raw.strip_suffix("-->"));
                    let inside = inside.ok_or(malformed("bad comment", start))?;
                    if inside.contains("--") || inside.ends_with('-') {
                        return Err(malformed("two hyphens in a comment", start));
                    }
                }
                Kind::Decl => self.declaration(raw, start)?,
                Kind::Instruction => instruction(raw, start)?,
                Kind::Doctype => return Err(XmlError::Doctype),
                Kind::Eof => {
                    if !self.root_seen || self.open > 0 {
                        return Err(malformed("the document ends too early", start));
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Skips the rest of the element that started last, its end included; gives the range of the end.
    ///
    /// # Errors
    /// As [`Self::next_event`].
    pub fn skip_element(&mut self) -> Result<Range<usize>, XmlError> {
        let mut depth = 0_usize;
        while let Some(event) = self.next_event()? {
            match event {
                XmlEvent::Start(_) => depth += 1,
                XmlEvent::End { range } if depth == 0 => return Ok(range),
                XmlEvent::End { .. } => depth -= 1,
                XmlEvent::Text(_) | XmlEvent::Reference(_) => {}
            }
        }
        Err(malformed("the document ends too early", self.source.len()))
    }

    fn start(
        &mut self,
        raw: &'a str,
        range: Range<usize>,
        empty: bool,
    ) -> Result<XmlEvent<'a>, XmlError> {
        if self.open == 0 && self.root_seen {
            return Err(malformed("a second root element", range.start));
        }
        if self.open >= self.budget.depth {
            return Err(XmlError::Budget {
                what: "levels",
                max: self.budget.depth,
            });
        }
        self.root_seen = true;
        self.open += 1;
        let tag = StartTag::read(
            raw,
            range.clone(),
            self.open,
            &mut self.bindings,
            &self.budget,
        )?;
        if empty {
            self.pending_end = Some(range);
        }
        Ok(XmlEvent::Start(tag))
    }

    fn close(&mut self) {
        self.bindings.leave(self.open);
        self.open = self.open.saturating_sub(1);
    }

    /// Text inside the root; outside only white space is allowed.
    fn text(&self, raw: &'a str, start: usize) -> Result<Option<XmlEvent<'a>>, XmlError> {
        chars::check(raw, start)?;
        if self.open == 0 {
            return if raw.chars().all(chars::is_space) {
                Ok(None)
            } else {
                Err(malformed("text outside the root", start))
            };
        }
        if raw.contains("]]>") {
            return Err(malformed("]]> in text", start));
        }
        Ok(Some(XmlEvent::Text(raw)))
    }

    fn cdata(&self, raw: &'a str, start: usize) -> Result<XmlEvent<'a>, XmlError> {
        chars::check(raw, start)?;
        if self.open == 0 {
            return Err(malformed("CDATA outside the root", start));
        }
        let inside = raw
            .strip_prefix("<![CDATA[")
            .and_then(|raw| raw.strip_suffix("]]>"));
        inside
            .map(XmlEvent::Text)
            .ok_or(malformed("bad CDATA section", start))
    }

    fn reference(&self, raw: &str, start: usize) -> Result<XmlEvent<'a>, XmlError> {
        if self.open == 0 {
            return Err(malformed("a reference outside the root", start));
        }
        let name = raw.strip_prefix('&').and_then(|raw| raw.strip_suffix(';'));
        let resolved = name.and_then(chars::resolve);
        resolved
            .map(XmlEvent::Reference)
            .ok_or(malformed("an undefined reference", start))
    }

    fn declaration(&self, raw: &str, start: usize) -> Result<(), XmlError> {
        let bad = malformed("bad XML declaration", start);
        if start != self.offset {
            return Err(malformed(
                "an XML declaration that does not come first",
                start,
            ));
        }
        chars::check(raw, start)?;
        let inside = raw
            .strip_prefix("<?xml")
            .and_then(|raw| raw.strip_suffix("?>"))
            .ok_or(bad.clone())?;
        let mut due = 0;
        for attribute in tag::RawAttributes::new(inside, start) {
            let attribute = attribute?;
            let (place, good) = match attribute.name {
                "version" => (1, is_version(attribute.value)),
                "encoding" => {
                    self.check_encoding(attribute.value)?;
                    (2, true)
                }
                "standalone" => (3, matches!(attribute.value, "yes" | "no")),
                _ => return Err(bad),
            };
            if !good || place <= due || (due == 0 && place != 1) {
                return Err(bad);
            }
            due = place;
        }
        if due == 0 { Err(bad) } else { Ok(()) }
    }

    fn check_encoding(&self, encoding: &str) -> Result<(), XmlError> {
        let is = |known: &str| encoding.eq_ignore_ascii_case(known);
        let good = if self.latin1 {
            is_latin1(encoding)
        } else {
            is("utf-8") || is("utf8") || is("us-ascii")
        };
        if good {
            Ok(())
        } else {
            Err(XmlError::Encoding)
        }
    }

    fn position(&self) -> usize {
        usize::try_from(self.reader.buffer_position())
            .unwrap_or(usize::MAX)
            .saturating_add(self.offset)
    }
}

/// Appends text with its line ends made line feeds, as a reader of XML sees it.
pub(crate) fn push_text(out: &mut String, raw: &str) {
    if raw.contains('\r') {
        out.push_str(&raw.replace("\r\n", "\n").replace('\r', "\n"));
    } else {
        out.push_str(raw);
    }
}

/// Tells whether an encoding name means ISO-8859-1.
pub(crate) fn is_latin1(encoding: &str) -> bool {
    ["iso-8859-1", "iso8859-1", "iso_8859-1", "latin1"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(encoding))
}

/// The encoding that an XML declaration names, if the document starts with one.
pub(crate) fn declared_encoding(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let head = bytes
        .get(..bytes.len().min(DECLARATION_BYTES))
        .unwrap_or_default();
    let inside = head.strip_prefix(b"<?xml")?;
    let end = inside.windows(2).position(|two| two == b"?>")?;
    let text = String::from_utf8_lossy(inside.get(..end)?);
    let attributes: Vec<_> = tag::RawAttributes::new(&text, 0)
        .filter_map(Result::ok)
        .collect();
    let encoding = attributes
        .iter()
        .find(|attribute| attribute.name == "encoding")?;
    Some(Cow::Owned(encoding.value.to_owned()))
}

pub(crate) fn malformed(reason: &'static str, position: usize) -> XmlError {
    XmlError::Malformed { reason, position }
}

fn instruction(raw: &str, start: usize) -> Result<(), XmlError> {
    chars::check(raw, start)?;
    let inside = raw
        .strip_prefix("<?")
        .and_then(|raw| raw.strip_suffix("?>"));
    let inside = inside.ok_or(malformed("bad processing instruction", start))?;
    let target = inside.split(chars::is_space).next().unwrap_or_default();
    if !chars::is_ncname(target) || target.eq_ignore_ascii_case("xml") {
        return Err(malformed("bad target of a processing instruction", start));
    }
    Ok(())
}

fn is_version(version: &str) -> bool {
    version
        .strip_prefix("1.")
        .is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit()))
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    CData,
    Comment,
    Decl,
    Doctype,
    Empty,
    End,
    Eof,
    Instruction,
    Reference,
    Start,
    Text,
}

impl Kind {
    fn of(event: &Event<'_>) -> Self {
        match event {
            Event::Start(_) => Self::Start,
            Event::End(_) => Self::End,
            Event::Empty(_) => Self::Empty,
            Event::Text(_) => Self::Text,
            Event::CData(_) => Self::CData,
            Event::Comment(_) => Self::Comment,
            Event::Decl(_) => Self::Decl,
            Event::PI(_) => Self::Instruction,
            Event::DocType(_) => Self::Doctype,
            Event::GeneralRef(_) => Self::Reference,
            Event::Eof => Self::Eof,
        }
    }
}

const DECLARATION_BYTES: usize = 256;

#[cfg(test)]
mod tests;
