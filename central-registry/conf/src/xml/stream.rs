//! Going through a document once.

use jibek_protocol::xml::{StartTag, XmlBudget, XmlError, XmlEvent, XmlReader};

use super::{Node, Tree, XROAD_NS, line_of, malformed, shown};
use crate::{files::FILE_BYTES, part::PartError};

/// A cursor over the children of the open element, in the schema's order. The root is open at first.
#[derive(Debug)]
pub(crate) struct Part<'input> {
    text: &'input str,
    reader: XmlReader<'input>,
    /// Name and place of the open elements.
    open: Vec<(&'input str, usize)>,
    /// The next child of the open element; none at its end.
    next: Option<StartTag<'input>>,
    tree: Tree<'input>,
}

impl<'input> Part<'input> {
    /// Begins with the root, which must be `name`.
    pub(crate) fn open(text: &'input str, name: &str) -> Result<Self, PartError> {
        let (reader, root) = start(text, name)?;
        let mut part = Self {
            text,
            reader,
            open: vec![(root.local, root.range.start)],
            next: None,
            tree: Tree::new(text),
        };
        part.advance()?;
        Ok(part)
    }

    /// The next child if it is `name` in no namespace.
    pub(crate) fn optional(&mut self, name: &str) -> Result<Option<Node<'_, 'input>>, PartError> {
        if self.is_next(name) {
            self.any()
        } else {
            Ok(None)
        }
    }

    /// The next child, whatever it is.
    pub(crate) fn any(&mut self) -> Result<Option<Node<'_, 'input>>, PartError> {
        match self.next.take() {
            Some(start) => self.whole(start).map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn required(&mut self, name: &'static str) -> Result<Node<'_, 'input>, PartError> {
        match self.next.take() {
            Some(start) if is(&start, name) => self.whole(start),
            other => {
                self.next = other;
                Err(self.missing(name))
            }
        }
    }

    /// Opens the next child if it is `name` in no namespace; its children come next, until [`Part::leave`].
    pub(crate) fn enter(&mut self, name: &str) -> Result<bool, PartError> {
        if !self.is_next(name) {
            return Ok(false);
        }
        if let Some(start) = self.next.take() {
            self.open.push((start.local, start.range.start));
        }
        self.advance()?;
        Ok(true)
    }

    /// [`Part::enter`] of a child that must be there.
    pub(crate) fn enter_required(&mut self, name: &'static str) -> Result<(), PartError> {
        if self.enter(name)? {
            Ok(())
        } else {
            Err(self.missing(name))
        }
    }

    /// Ends the element that was entered last; its siblings come next. Refuses children that are left.
    pub(crate) fn leave(&mut self) -> Result<(), PartError> {
        self.no_more()?;
        self.open.pop();
        self.advance()
    }

    /// Ends the document. Refuses what is left.
    pub(crate) fn finish(mut self) -> Result<(), PartError> {
        self.no_more()?;
        end(&mut self.reader)
    }

    /// The line of what comes next, or of the open element when nothing does.
    fn line(&self) -> u32 {
        let open = self.open.last().map_or(0, |(_, start)| *start);
        let at = self.next.as_ref().map_or(open, |next| next.range.start);
        line_of(self.text, at)
    }

    fn is_next(&self, name: &str) -> bool {
        self.next.as_ref().is_some_and(|next| is(next, name))
    }

    /// The element that began with `start`, and the cursor behind it.
    fn whole(&mut self, start: StartTag<'input>) -> Result<Node<'_, 'input>, PartError> {
        self.tree.fill(&mut self.reader, start)?;
        self.advance()?;
        self.tree.root().ok_or_else(|| no_root(""))
    }

    fn advance(&mut self) -> Result<(), PartError> {
        loop {
            match self.reader.next_event().map_err(malformed)? {
                Some(XmlEvent::Start(tag)) => {
                    self.next = Some(tag);
                    return Ok(());
                }
                Some(XmlEvent::Text(_) | XmlEvent::Reference(_)) => {}
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn no_more(&self) -> Result<(), PartError> {
        match &self.next {
            None => Ok(()),
            Some(extra) => Err(PartError::Unexpected {
                element: shown(extra.local),
                within: shown(self.within()),
                line: self.line(),
            }),
        }
    }

    fn missing(&self, element: &'static str) -> PartError {
        PartError::Missing {
            element,
            within: shown(self.within()),
            line: self.line(),
        }
    }

    fn within(&self) -> &'input str {
        self.open.last().map_or("", |(name, _)| name)
    }
}

/// A reader behind the start of the root, which must be `name`.
pub(super) fn start<'input>(
    text: &'input str,
    name: &str,
) -> Result<(XmlReader<'input>, StartTag<'input>), PartError> {
    if text.len() > FILE_BYTES {
        let what = "bytes";
        return Err(malformed(XmlError::Budget {
            what,
            max: FILE_BYTES,
        }));
    }
    let mut reader = XmlReader::new(text, XmlBudget::default());
    match reader.next_event().map_err(malformed)? {
        Some(XmlEvent::Start(root)) if root.is(XROAD_NS, name) => Ok((reader, root)),
        Some(XmlEvent::Start(root)) => Err(no_root(root.local)),
        _ => Err(no_root("")),
    }
}

fn is(start: &StartTag<'_>, name: &str) -> bool {
    start.local == name && start.namespace.is_none()
}

pub(super) fn no_root(found: &str) -> PartError {
    PartError::WrongRoot {
        found: shown(found),
    }
}

/// Reads what may follow the root: nothing but comments.
pub(super) fn end(reader: &mut XmlReader<'_>) -> Result<(), PartError> {
    while reader.next_event().map_err(malformed)?.is_some() {}
    Ok(())
}
