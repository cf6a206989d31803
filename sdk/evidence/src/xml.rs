//! Trees of small signed documents, after a pass that bounds what they may cost.

use base64::{Engine, engine::general_purpose::STANDARD};
use jibek_protocol::xml::{XmlBudget, XmlError, check};
use roxmltree::{Document, Node, ParsingOptions};
use std::ops::Range;

use crate::c14n::qualified_name;

/// Why a document was not even read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XmlRefused {
    /// Over budget, with a DOCTYPE, or not well-formed.
    #[error("refused before parsing")]
    Check(#[source] XmlError),
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Not a document.
    #[error("not well-formed")]
    Malformed(#[source] roxmltree::Error),
}

/// Parses `bytes` after the budget pass.
pub(crate) fn parse(bytes: &[u8]) -> Result<Document<'_>, XmlRefused> {
    let mut budget = XmlBudget::default();
    budget.bytes = MAX_BYTES;
    budget.depth = MAX_DEPTH;
    budget.attributes = MAX_NAMESPACES;
    budget.namespaces = MAX_NAMESPACES;
    check(bytes, &budget).map_err(XmlRefused::Check)?;
    let text = std::str::from_utf8(bytes).map_err(|_| XmlRefused::NotUtf8)?;
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(text, options).map_err(XmlRefused::Malformed)
}

impl XmlRefused {
    /// Whether it is no XML document at all, rather than one that we do not want.
    pub(crate) fn is_malformed(&self) -> bool {
        match self {
            Self::Check(error) => {
                matches!(error, XmlError::Encoding | XmlError::Malformed { .. })
            }
            Self::NotUtf8 => true,
            Self::Malformed(error) => !matches!(error, roxmltree::Error::NodesLimitReached),
        }
    }

    /// X-Road's code, without prefixes: its parser's for what is no XML, the signature's for what we refuse.
    pub(crate) fn code(&self) -> &'static str {
        if self.is_malformed() {
            "invalid_xml"
        } else {
            "malformed_signature"
        }
    }
}

/// Whether `node` is the element `name` of `namespace`.
pub(crate) fn is(node: Node<'_, '_>, namespace: &str, name: &str) -> bool {
    node.is_element()
        && node.tag_name().namespace() == Some(namespace)
        && node.tag_name().name() == name
}

/// The element children.
pub(crate) fn children<'a, 'input>(
    node: Node<'a, 'input>,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(Node::is_element)
}

/// The element children, when there are exactly `N`.
pub(crate) fn exactly<'a, 'input, const N: usize>(
    node: Node<'a, 'input>,
) -> Option<[Node<'a, 'input>; N]> {
    children(node).collect::<Vec<_>>().try_into().ok()
}

/// The first child that is the element `name` of `namespace`.
pub(crate) fn child<'a, 'input>(
    node: Node<'a, 'input>,
    namespace: &str,
    name: &str,
) -> Option<Node<'a, 'input>> {
    children(node).find(|child| is(*child, namespace, name))
}

/// The text of an element without element children.
pub(crate) fn text(node: Node<'_, '_>) -> Option<String> {
    let mut text = String::new();
    for child in node.children() {
        if child.is_element() {
            return None;
        }
        if child.is_text() {
            text.push_str(child.text().unwrap_or_default());
        }
    }
    Some(text)
}

/// All text in an element, however deep.
pub(crate) fn deep_text(node: Node<'_, '_>) -> String {
    node.descendants()
        .filter(Node::is_text)
        .filter_map(|node| node.text())
        .collect()
}

/// Whether some of an element's text stands in a CDATA section. The tree does not tell, the source does.
pub(crate) fn has_cdata(node: Node<'_, '_>) -> bool {
    source(node).contains(CDATA)
}

/// All text in an element but what stands in CDATA sections: so the library under X-Road's verifier reads values, certificates and
/// digests of references.
pub(crate) fn text_outside_cdata(node: Node<'_, '_>) -> Option<String> {
    if !has_cdata(node) {
        return Some(deep_text(node));
    }
    let inside = inside(source(node))?;
    let mut bare = String::with_capacity(inside.len());
    bare.push_str("<bare>");
    let mut rest = inside;
    while let Some((before, after)) = rest.split_once(CDATA) {
        bare.push_str(before);
        rest = after.split_once("]]>")?.1;
    }
    bare.push_str(rest);
    bare.push_str("</bare>");
    let document = parse(bare.as_bytes()).ok()?;
    Some(deep_text(document.root_element()))
}

/// What stands between an element's tags. The tree's own places tell only where the first piece of a text begins and ends.
fn inside(element: &str) -> Option<&str> {
    let mut quote = None;
    let start = element.bytes().position(|byte| match quote {
        Some(open) => {
            quote = quote.filter(|_| byte != open);
            false
        }
        None => {
            quote = Some(byte).filter(|byte| matches!(byte, b'"' | b'\''));
            byte == b'>'
        }
    })?;
    element.get(start.checked_add(1)?..element.rfind("</")?)
}

fn source<'input>(node: Node<'_, 'input>) -> &'input str {
    let text = node.document().input_text();
    text.get(node.range()).unwrap_or_default()
}

/// The first element in document order that is written with this name, prefix included: X-Road looks some up in this way.
pub(crate) fn first_written<'a, 'input>(
    document: &'a Document<'input>,
    name: &str,
) -> Option<Node<'a, 'input>> {
    document
        .descendants()
        .find(|node| node.is_element() && qualified_name(*node) == name)
}

/// The attribute with this name and without namespace. The tree's own look-up takes one of any namespace.
pub(crate) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes()
        .find(|attribute| attribute.namespace().is_none() && attribute.name() == name)
        .map(|attribute| attribute.value())
}

/// The first element in document order with this `Id`, as X-Road looks it up.
pub(crate) fn by_id<'a, 'input>(
    document: &'a Document<'input>,
    id: &str,
) -> Option<Node<'a, 'input>> {
    document
        .descendants()
        .find(|node| attribute(*node, "Id") == Some(id))
}

/// Where in the document an element's content stands; `None` when it is empty.
pub(crate) fn text_range(node: Node<'_, '_>) -> Option<Range<usize>> {
    Some(node.first_child()?.range().start..node.last_child()?.range().end)
}

/// The bytes that an element's base64 text stands for. White space is skipped wherever it is: X-Road breaks lines with CR LF.
pub(crate) fn base64(node: Node<'_, '_>) -> Option<Vec<u8>> {
    let mut text = text(node)?;
    text.retain(|c| !c.is_ascii_whitespace());
    STANDARD.decode(text).ok()
}

/// What a text of XML Schema's type `base64Binary` stands for: white space is skipped wherever it is, nothing else is forgiven.
pub(crate) fn strict_base64(text: &str) -> Option<Vec<u8>> {
    let text: String = text
        .chars()
        .filter(|c| !matches!(c, ' ' | '\t' | '\r' | '\n'))
        .collect();
    STANDARD.decode(text).ok()
}

/// How a CDATA section begins.
const CDATA: &str = "<![CDATA[";
/// Largest document, in bytes: the chain of a message with 10 000 attachments, which X-Road carries (`observed.md` 1, number 16), has 2.5 million.
const MAX_BYTES: usize = 16 << 20;
/// Most nodes of one document: a signature of X-Road has about 150, that chain 80 000.
const MAX_NODES: u32 = 200_000;
/// Deepest nesting: a signature of X-Road has 10 levels.
const MAX_DEPTH: usize = 64;
/// Most namespaces in scope, of which signatures declare four, and most attributes of an element. Canonicalizing costs elements times this squared.
const MAX_NAMESPACES: usize = 32;
