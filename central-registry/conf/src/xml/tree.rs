//! One element with all that is in it, as a flat list that is used again for the next.

use std::{borrow::Cow, ops::Range};

use jibek_protocol::xml::{Attribute, StartTag, XmlError, XmlEvent, XmlReader};

use super::{line_of, malformed};
use crate::part::PartError;

/// Elements in the order of the document, the outermost first.
#[derive(Debug)]
pub(crate) struct Tree<'input> {
    text: &'input str,
    elements: Vec<Element<'input>>,
    /// While it is filled: the open elements, each with its last child so far.
    open: Vec<(usize, usize)>,
}

#[derive(Debug)]
struct Element<'input> {
    namespace: Option<Cow<'input, str>>,
    name: &'input str,
    attributes: Vec<Attribute<'input>>,
    text: Cow<'input, str>,
    range: Range<usize>,
    /// Numbers of elements; 0, the outermost, is nobody's child and stands for none.
    first_child: usize,
    next_sibling: usize,
}

impl<'input> Tree<'input> {
    pub(super) fn new(text: &'input str) -> Self {
        Self {
            text,
            elements: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Takes the element that began with `start`, to its end, in place of what was here.
    pub(super) fn fill(
        &mut self,
        reader: &mut XmlReader<'input>,
        start: StartTag<'input>,
    ) -> Result<(), PartError> {
        self.elements.clear();
        self.open.clear();
        self.begin(start)?;
        while !self.open.is_empty() {
            match reader.next_event().map_err(malformed)? {
                Some(XmlEvent::Start(tag)) => self.begin(tag)?,
                Some(XmlEvent::Text(text)) => self.append(text),
                Some(XmlEvent::Reference(c)) => {
                    if let Some(top) = self.top() {
                        top.text.to_mut().push(c);
                    }
                }
                Some(XmlEvent::End { range }) => {
                    if let Some(top) = self.top() {
                        top.range.end = range.end;
                    }
                    self.open.pop();
                }
                // The reader refuses a document that ends within an element.
                Some(_) | None => break,
            }
        }
        Ok(())
    }

    /// The outermost element.
    pub(crate) fn root(&self) -> Option<Node<'_, 'input>> {
        self.node(0)
    }

    fn node(&self, number: usize) -> Option<Node<'_, 'input>> {
        let element = self.elements.get(number)?;
        Some(Node {
            tree: self,
            element,
        })
    }

    fn top(&mut self) -> Option<&mut Element<'input>> {
        let (number, _) = self.open.last()?;
        self.elements.get_mut(*number)
    }

    fn begin(&mut self, tag: StartTag<'input>) -> Result<(), PartError> {
        let number = self.elements.len();
        if number >= ELEMENTS_MAX {
            return Err(malformed(XmlError::Budget {
                what: "elements in one of a kind that has few",
                max: ELEMENTS_MAX,
            }));
        }
        if let Some((parent, last)) = self.open.last_mut() {
            let before = std::mem::replace(last, number);
            if before == 0 {
                if let Some(parent) = self.elements.get_mut(*parent) {
                    parent.first_child = number;
                }
            } else if let Some(before) = self.elements.get_mut(before) {
                before.next_sibling = number;
            }
        }
        self.elements.push(Element {
            namespace: tag.namespace,
            name: tag.local,
            attributes: tag.attributes,
            text: Cow::Borrowed(""),
            range: tag.range,
            first_child: 0,
            next_sibling: 0,
        });
        self.open.push((number, 0));
        Ok(())
    }

    /// Appends text with its line ends made line feeds, as a reader of XML sees it.
    fn append(&mut self, piece: &'input str) {
        let Some(top) = self.top() else { return };
        if piece.contains('\r') {
            let piece = piece.replace("\r\n", "\n").replace('\r', "\n");
            top.text.to_mut().push_str(&piece);
        } else if top.text.is_empty() {
            top.text = Cow::Borrowed(piece);
        } else {
            top.text.to_mut().push_str(piece);
        }
    }
}

/// An element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'a, 'input> {
    tree: &'a Tree<'input>,
    element: &'a Element<'input>,
}

impl<'a, 'input> Node<'a, 'input> {
    /// Local name.
    pub(crate) fn name(self) -> &'input str {
        self.element.name
    }

    pub(crate) fn namespace(self) -> Option<&'a str> {
        self.element.namespace.as_deref()
    }

    /// All text directly inside; comments and processing instructions do not interrupt it.
    pub(crate) fn text(self) -> &'a str {
        &self.element.text
    }

    /// The value of an attribute without namespace.
    pub(crate) fn attribute(self, name: &str) -> Option<&'a str> {
        let mut attributes = self.element.attributes.iter();
        attributes
            .find(|attribute| attribute.namespace.is_none() && attribute.local == name)
            .map(|attribute| &*attribute.value)
    }

    pub(crate) fn first_child(self) -> Option<Self> {
        self.child(self.element.first_child)
    }

    pub(crate) fn next_sibling(self) -> Option<Self> {
        self.child(self.element.next_sibling)
    }

    pub(crate) fn children(self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.first_child(), |child| child.next_sibling())
    }

    /// The element as it stands in the document.
    pub(crate) fn source(self) -> &'input str {
        let range = self.element.range.clone();
        self.tree.text.get(range).unwrap_or_default()
    }

    pub(crate) fn line(self) -> u32 {
        line_of(self.tree.text, self.element.range.start)
    }

    fn child(self, number: usize) -> Option<Self> {
        (number > 0).then(|| self.tree.node(number)).flatten()
    }
}

/// A member with its subsystems is the largest; what may have more is read piece by piece.
const ELEMENTS_MAX: usize = 1_000_000;
