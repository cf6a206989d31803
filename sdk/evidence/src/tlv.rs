//! Places of elements in BER, of definite and indefinite length. For finding places, not for judging: `jibek-certs` reads.

use std::ops::Range;

/// One element: its tag's first byte, its content, and where the next one begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element {
    pub(crate) tag: u8,
    start: usize,
    end: usize,
    next: usize,
}

impl Element {
    /// The content's bytes.
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// The first element of `bytes` with its header, without what follows it; `None` when it does not end in `bytes`.
pub(crate) fn first(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..read(bytes, 0)?.next)
}

/// The element at `at`; one of indefinite length ends where its own elements do.
pub(crate) fn read(bytes: &[u8], at: usize) -> Option<Element> {
    nested(bytes, at, 0)
}

/// The elements inside `parent`.
pub(crate) fn children(bytes: &[u8], parent: &Element) -> Option<Vec<Element>> {
    let mut children = Vec::new();
    let mut at = parent.start;
    while at < parent.end {
        let child = read(bytes, at)?;
        at = child.next;
        children.push(child);
    }
    Some(children)
}

fn nested(bytes: &[u8], at: usize, depth: usize) -> Option<Element> {
    let tag = *bytes.get(at)?;
    let first = *bytes.get(at.checked_add(1)?)?;
    let mut start = at.checked_add(2)?;
    let (end, next) = match first {
        0x80 => {
            if depth >= DEEPEST {
                return None;
            }
            let mut end = start;
            while bytes.get(end..end.checked_add(2)?)? != [0, 0] {
                end = nested(bytes, end, depth.checked_add(1)?)?.next;
            }
            (end, end.checked_add(2)?)
        }
        short @ 0..=0x7f => {
            let end = start.checked_add(usize::from(short))?;
            (end, end)
        }
        long => {
            let mut length = 0_usize;
            for _ in 0..long & 0x7f {
                length = length
                    .checked_mul(256)?
                    .checked_add(usize::from(*bytes.get(start)?))?;
                start = start.checked_add(1)?;
            }
            let end = start.checked_add(length)?;
            (end, end)
        }
    };
    (next <= bytes.len()).then_some(Element {
        tag,
        start,
        end,
        next,
    })
}

/// Tokens nest ten deep.
const DEEPEST: usize = 32;
