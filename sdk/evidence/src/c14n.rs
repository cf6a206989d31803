//! Canonical XML 1.0 and Exclusive XML Canonicalization 1.0, of one element with its subtree or of a whole document.
//!
//! X-Road's signatures need nothing more (`signatures-and-log.md` 1.3, 1.6): a same-document reference is a node set that the
//! inclusive algorithm turns into bytes, so the apex carries every namespace in scope; signatures of other software use the
//! exclusive one. There are no node sets, no XPath and no version 1.1 here.
//!
//! When sealing nothing is canonicalized: what is written is canonical already (see [`crate::seal`]).

use roxmltree::Node;

use crate::XmlRefused;

/// Which canonical form to write.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Canonicalization {
    /// `http://www.w3.org/TR/2001/REC-xml-c14n-20010315`.
    Inclusive,
    /// `http://www.w3.org/2001/10/xml-exc-c14n#`.
    Exclusive {
        /// Prefixes of `InclusiveNamespaces`, treated as the inclusive form treats all of them; the default namespace is the empty text.
        inclusive_prefixes: Vec<String>,
    },
}

impl Canonicalization {
    /// The algorithm with this URI, without prefix list; `None` for every other one, those that keep comments among them.
    pub fn from_uri(uri: &str) -> Option<Self> {
        match uri {
            INCLUSIVE => Some(Self::Inclusive),
            EXCLUSIVE => Some(Self::Exclusive {
                inclusive_prefixes: Vec::new(),
            }),
            _ => None,
        }
    }

    /// The URI that signatures name the algorithm by.
    pub fn uri(&self) -> &'static str {
        match self {
            Self::Inclusive => INCLUSIVE,
            Self::Exclusive { .. } => EXCLUSIVE,
        }
    }
}

/// Writes the canonical bytes of `apex` and all below it, without comments. `apex` is an element, or the root node of a document,
/// which stands for all of it.
///
/// Works in one pass without recursion: depth costs no stack. Time grows with elements times namespaces in scope, which the
/// budget on namespaces bounds (`jibek_protocol::xml`).
pub fn canonicalize(apex: Node<'_, '_>, how: &Canonicalization) -> Vec<u8> {
    write(apex, how, false)
}

/// The same with comments, as the algorithms `…#WithComments` ask for. No signature here needs it: X-Road's parser drops comments.
pub fn canonicalize_with_comments(apex: Node<'_, '_>, how: &Canonicalization) -> Vec<u8> {
    write(apex, how, true)
}

/// The canonical bytes of a whole document, without comments.
///
/// # Errors
/// [`XmlRefused`] for what is no XML, has a DOCTYPE, or costs more than a signature may.
pub fn canonical_document(document: &[u8], how: &Canonicalization) -> Result<Vec<u8>, XmlRefused> {
    Ok(canonicalize(crate::xml::parse(document)?.root(), how))
}

fn write(apex: Node<'_, '_>, how: &Canonicalization, comments: bool) -> Vec<u8> {
    let mut writer = Writer {
        out: Vec::with_capacity(apex.range().len()),
        how,
        rendered: Vec::new(),
        marks: Vec::new(),
    };
    let mut next = Some(apex);
    while let Some(node) = next {
        if node.is_element() {
            writer.open(node, node == apex);
        } else if node.is_text() {
            escape_text(node.text().unwrap_or_default(), &mut writer.out);
        } else if node.is_pi() || (comments && node.is_comment()) {
            writer.aside(node);
        }
        next = node.first_child();
        let mut done = node;
        while next.is_none() {
            if done.is_element() {
                writer.close(done);
            }
            if done == apex {
                break;
            }
            next = done.next_sibling();
            if next.is_none() {
                let Some(parent) = done.parent() else { break };
                done = parent;
            }
        }
    }
    writer.out
}

/// Writes `text` as canonical character data: `&`, `<`, `>` and carriage returns escaped.
pub(crate) fn escape_text(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'\r' => out.extend_from_slice(b"&#xD;"),
            byte => out.push(byte),
        }
    }
}

/// Writes `text` as a canonical attribute value.
pub(crate) fn escape_attribute(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\t' => out.extend_from_slice(b"&#x9;"),
            b'\n' => out.extend_from_slice(b"&#xA;"),
            b'\r' => out.extend_from_slice(b"&#xD;"),
            byte => out.push(byte),
        }
    }
}

struct Writer<'a> {
    out: Vec<u8>,
    how: &'a Canonicalization,
    /// Namespace declarations written on open elements, outermost first: prefix (empty for the default) and URI.
    rendered: Vec<(&'a str, &'a str)>,
    /// Length of `rendered` before each open element.
    marks: Vec<usize>,
}

impl<'a> Writer<'a> {
    fn open(&mut self, element: Node<'a, '_>, is_apex: bool) {
        self.marks.push(self.rendered.len());
        self.out.push(b'<');
        self.out
            .extend_from_slice(qualified_name(element).as_bytes());
        if is_apex || *self.how != Canonicalization::Inclusive || declares_namespaces(element) {
            self.namespaces(element);
        }
        self.attributes(element, is_apex);
        self.out.push(b'>');
    }

    fn close(&mut self, element: Node<'_, '_>) {
        self.out.extend_from_slice(b"</");
        self.out
            .extend_from_slice(qualified_name(element).as_bytes());
        self.out.push(b'>');
        self.rendered.truncate(self.marks.pop().unwrap_or_default());
    }

    /// A processing instruction or a comment; outside the document's element it has a line of its own.
    fn aside(&mut self, node: Node<'_, '_>) {
        let outside = node.parent().is_some_and(|parent| parent.is_root());
        let is_after = outside && node.range().start > node.document().root_element().range().start;
        if is_after {
            self.out.push(b'\n');
        }
        match node.pi() {
            Some(instruction) => self.instruction(&instruction),
            None => {
                self.out.extend_from_slice(b"<!--");
                self.line_ends_normalized(node.text().unwrap_or_default());
                self.out.extend_from_slice(b"-->");
            }
        }
        if outside && !is_after {
            self.out.push(b'\n');
        }
    }

    fn instruction(&mut self, instruction: &roxmltree::PI<'_>) {
        self.out.extend_from_slice(b"<?");
        self.out.extend_from_slice(instruction.target.as_bytes());
        if let Some(value) = instruction.value.filter(|value| !value.is_empty()) {
            self.out.push(b' ');
            self.line_ends_normalized(value);
        }
        self.out.extend_from_slice(b"?>");
    }

    /// Writes text of a comment or an instruction, in which the tree leaves line ends as they stand in the file.
    fn line_ends_normalized(&mut self, text: &str) {
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            if byte == b'\r' {
                bytes.next_if_eq(&b'\n');
                self.out.push(b'\n');
            } else {
                self.out.push(byte);
            }
        }
    }

    fn namespaces(&mut self, element: Node<'a, '_>) {
        let mut fresh: Vec<(&'a str, &'a str)> = Vec::new();
        let mut default_declared = false;
        for namespace in element.namespaces() {
            let (prefix, uri) = (namespace.name().unwrap_or_default(), namespace.uri());
            if prefix == "xml" {
                continue;
            }
            default_declared |= prefix.is_empty() && !uri.is_empty();
            if self.is_wanted(element, prefix) && self.rendered_as(prefix) != uri {
                fresh.push((prefix, uri));
            }
        }
        // `xmlns=""` undoes a default that an open element wrote.
        if !default_declared
            && !fresh.iter().any(|(prefix, _)| prefix.is_empty())
            && self.is_wanted(element, "")
            && !self.rendered_as("").is_empty()
        {
            fresh.push(("", ""));
        }
        fresh.sort_unstable();
        for (prefix, uri) in fresh {
            self.out.extend_from_slice(b" xmlns");
            if !prefix.is_empty() {
                self.out.push(b':');
                self.out.extend_from_slice(prefix.as_bytes());
            }
            self.out.extend_from_slice(b"=\"");
            escape_attribute(uri, &mut self.out);
            self.out.push(b'"');
            self.rendered.push((prefix, uri));
        }
    }

    /// Whether a declaration of `prefix` in scope of `element` belongs on it when it is not on an ancestor already.
    fn is_wanted(&self, element: Node<'_, '_>, prefix: &str) -> bool {
        match self.how {
            Canonicalization::Inclusive => true,
            Canonicalization::Exclusive { inclusive_prefixes } => {
                prefix_of(qualified_name(element)) == prefix
                    || inclusive_prefixes.iter().any(|listed| listed == prefix)
                    || (!prefix.is_empty()
                        && element.attributes().any(|attribute| {
                            prefix_of(attribute_name(element, &attribute)) == prefix
                        }))
            }
        }
    }

    fn rendered_as(&self, prefix: &str) -> &'a str {
        self.rendered
            .iter()
            .rev()
            .find(|(rendered, _)| *rendered == prefix)
            .map_or("", |(_, uri)| uri)
    }

    fn attributes(&mut self, element: Node<'a, '_>, is_apex: bool) {
        // (namespace, local name, qualified name, value), in canonical order.
        let mut attributes: Vec<(&str, &str, &str, &str)> = element
            .attributes()
            .map(|attribute| {
                (
                    attribute.namespace().unwrap_or_default(),
                    attribute.name(),
                    attribute_name(element, &attribute),
                    attribute.value(),
                )
            })
            .collect();
        if is_apex && *self.how == Canonicalization::Inclusive {
            // A subset's apex inherits `xml:lang`, `xml:space` and the like from the nearest ancestor that has them.
            for ancestor in element.ancestors().skip(1).filter(Node::is_element) {
                for attribute in ancestor
                    .attributes()
                    .filter(|attribute| attribute.namespace() == Some(XML))
                {
                    if !attributes
                        .iter()
                        .any(|(namespace, name, ..)| *namespace == XML && *name == attribute.name())
                    {
                        attributes.push((
                            XML,
                            attribute.name(),
                            attribute_name(ancestor, &attribute),
                            attribute.value(),
                        ));
                    }
                }
            }
        }
        attributes.sort_unstable();
        for (_, _, name, value) in attributes {
            self.out.push(b' ');
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b"=\"");
            escape_attribute(value, &mut self.out);
            self.out.push(b'"');
        }
    }
}

/// Whether other namespaces are in scope than of the parent. The tree keeps each namespace once, so equal ones are the same.
fn declares_namespaces(element: Node<'_, '_>) -> bool {
    let Some(parent) = element.parent_element() else {
        return true;
    };
    let (own, inherited) = (element.namespaces(), parent.namespaces());
    own.len() != inherited.len()
        || own
            .zip(inherited)
            .any(|(own, inherited)| !std::ptr::eq(own, inherited))
}

/// The element's name as it is written, prefix included: a tree keeps only the namespace, and two prefixes may share one.
pub(crate) fn qualified_name<'input>(element: Node<'_, 'input>) -> &'input str {
    let text = element.document().input_text();
    let rest = text
        .get(element.range().start.saturating_add(1)..)
        .unwrap_or_default();
    let end = rest
        .find(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>')
        .unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

fn attribute_name<'input>(
    element: Node<'_, 'input>,
    attribute: &roxmltree::Attribute<'_, 'input>,
) -> &'input str {
    element
        .document()
        .input_text()
        .get(attribute.range_qname())
        .unwrap_or_default()
}

fn prefix_of(qualified: &str) -> &str {
    qualified.split_once(':').map_or("", |(prefix, _)| prefix)
}

const XML: &str = "http://www.w3.org/XML/1998/namespace";
const INCLUSIVE: &str = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315";
const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";

#[cfg(test)]
mod tests;
