//! Reading a schema-ordered document.
//!
//! [`Part`] goes through a document once, from the first byte to the last, and holds one element at a time: a country's
//! configuration has millions of them. [`Node`] and [`Children`] look at that one element, and at small documents whole.

use jibek_protocol::xml::XmlError;

use crate::part::PartError;

mod stream;
mod tree;

pub(crate) use stream::Part;
pub(crate) use tree::{Node, Tree};

pub(crate) const XROAD_NS: &str = "http://x-road.eu/xsd/xroad.xsd";
pub(crate) const IDENTIFIERS_NS: &str = "http://x-road.eu/xsd/identifiers";

/// Reads a whole small document whose root is `name`, without DOCTYPE, within the protocol's budgets of nesting, attributes
/// and namespaces.
pub(crate) fn parse<'input>(text: &'input str, name: &str) -> Result<Tree<'input>, PartError> {
    let (mut reader, root) = stream::start(text, name)?;
    let mut tree = Tree::new(text);
    tree.fill(&mut reader, root)?;
    stream::end(&mut reader)?;
    Ok(tree)
}

/// The root of a document that [`parse`] gave.
pub(crate) fn root<'a, 'input>(tree: &'a Tree<'input>) -> Result<Node<'a, 'input>, PartError> {
    tree.root().ok_or_else(|| stream::no_root(""))
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
            next: parent.first_child(),
        }
    }

    /// The next child if it is `name` in no namespace.
    pub(crate) fn optional(&mut self, name: &str) -> Option<Node<'a, 'input>> {
        let node = self.next?;
        if node.name() != name || node.namespace().is_some() {
            return None;
        }
        self.any()
    }

    /// The next child, whatever it is.
    pub(crate) fn any(&mut self) -> Option<Node<'a, 'input>> {
        let node = self.next?;
        self.next = node.next_sibling();
        Some(node)
    }

    pub(crate) fn required(&mut self, name: &'static str) -> Result<Node<'a, 'input>, PartError> {
        self.optional(name).ok_or_else(|| PartError::Missing {
            element: name,
            within: shown(self.parent.name()),
            line: self.next.unwrap_or(self.parent).line(),
        })
    }

    /// Refuses children that are left.
    pub(crate) fn end(self) -> Result<(), PartError> {
        match self.next {
            None => Ok(()),
            Some(extra) => Err(PartError::Unexpected {
                element: shown(extra.name()),
                within: shown(self.parent.name()),
                line: extra.line(),
            }),
        }
    }
}

/// Enough of a name to recognise it.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(SHOWN_CHARACTERS).collect()
}

fn malformed(source: XmlError) -> PartError {
    PartError::Malformed {
        source: source.into(),
    }
}

/// The line that a byte stands in, from 1.
fn line_of(text: &str, at: usize) -> u32 {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    let breaks = before.iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(breaks).unwrap_or(u32::MAX).saturating_add(1)
}

const SHOWN_CHARACTERS: usize = 60;

#[cfg(test)]
mod tests;
