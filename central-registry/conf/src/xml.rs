//! Reading a schema-ordered document: a cursor over the child elements of an element.

use jibek_protocol::xml::{XmlBudget, check};
use roxmltree::{Document, Node, ParsingOptions};

use crate::part::PartError;

pub(crate) const XROAD_NS: &str = "http://x-road.eu/xsd/xroad.xsd";
pub(crate) const IDENTIFIERS_NS: &str = "http://x-road.eu/xsd/identifiers";

/// Parses a document without DOCTYPE, within the protocol's budgets of nesting, attributes and namespaces.
pub(crate) fn parse(text: &str) -> Result<Document<'_>, PartError> {
    check(text.as_bytes(), &XmlBudget::default()).map_err(|source| PartError::Malformed {
        source: source.into(),
    })?;
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: NODES_MAX,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(text, options).map_err(|source| PartError::Malformed {
        source: source.into(),
    })
}

pub(crate) fn root<'a, 'input>(
    document: &'a Document<'input>,
    name: &str,
) -> Result<Node<'a, 'input>, PartError> {
    let root = document.root_element();
    if root.tag_name().name() != name || root.tag_name().namespace() != Some(XROAD_NS) {
        return Err(PartError::WrongRoot {
            found: shown(root.tag_name().name()),
        });
    }
    Ok(root)
}

/// Child elements of `parent`, taken in the schema's order.
#[derive(Debug)]
pub(crate) struct Children<'a, 'input> {
    parent: Node<'a, 'input>,
    next: Option<Node<'a, 'input>>,
}

impl<'a, 'input> Children<'a, 'input> {
    pub(crate) fn of(parent: Node<'a, 'input>) -> Self {
        Self {
            parent,
            next: parent.first_element_child(),
        }
    }

    /// The next child if it is `name` in no namespace.
    pub(crate) fn optional(&mut self, name: &str) -> Option<Node<'a, 'input>> {
        self.optional_in(None, name)
    }

    pub(crate) fn optional_in(
        &mut self,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<Node<'a, 'input>> {
        let node = self.next?;
        if node.tag_name().name() != name || node.tag_name().namespace() != namespace {
            return None;
        }
        self.next = node.next_sibling_element();
        Some(node)
    }

    /// The next child, whatever it is.
    pub(crate) fn any(&mut self) -> Option<Node<'a, 'input>> {
        let node = self.next?;
        self.next = node.next_sibling_element();
        Some(node)
    }

    pub(crate) fn required(&mut self, name: &'static str) -> Result<Node<'a, 'input>, PartError> {
        self.optional(name).ok_or_else(|| self.missing(name))
    }

    /// Refuses children that are left.
    pub(crate) fn end(self) -> Result<(), PartError> {
        match self.next {
            None => Ok(()),
            Some(extra) => Err(PartError::Unexpected {
                element: shown(extra.tag_name().name()),
                within: shown(self.parent.tag_name().name()),
                line: line(extra),
            }),
        }
    }

    fn missing(&self, name: &'static str) -> PartError {
        PartError::Missing {
            element: name,
            within: shown(self.parent.tag_name().name()),
            line: line(self.next.unwrap_or(self.parent)),
        }
    }
}

/// All text directly inside an element; comments and processing instructions do not interrupt it.
pub(crate) fn text(node: Node<'_, '_>) -> String {
    node.children()
        .filter(Node::is_text)
        .filter_map(|child| child.text())
        .collect()
}

/// An attribute without namespace; the tree's own look-up takes one of any namespace.
pub(crate) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let mut attributes = node.attributes();
    attributes
        .find(|attribute| attribute.namespace().is_none() && attribute.name() == name)
        .map(|attribute| attribute.value())
}

/// Enough of a name to recognise it.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(SHOWN_CHARACTERS).collect()
}

/// An element as it stands in the document.
pub(crate) fn source<'input>(node: Node<'_, 'input>) -> &'input str {
    node.document()
        .input_text()
        .get(node.range())
        .unwrap_or_default()
}

pub(crate) fn line(node: Node<'_, '_>) -> u32 {
    node.document().text_pos_at(node.range().start).row
}

const SHOWN_CHARACTERS: usize = 60;
const NODES_MAX: u32 = 20_000_000;
