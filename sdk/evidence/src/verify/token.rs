//! Where in a time-stamp token's bytes that lies which its signature is over. Read by hand: what is wanted is places, and tokens
//! are BER with indefinite lengths at times (`dependencies.md` 6).

use std::ops::Range;

/// The bytes of the TSTInfo, of the signed attributes and of the signature value; none when it is no token.
pub(super) fn signed_ranges(token: &[u8]) -> Vec<Range<usize>> {
    ranges(token).unwrap_or_default()
}

fn ranges(token: &[u8]) -> Option<Vec<Range<usize>>> {
    let info = read(token, 0, 0)?;
    let wrapped = *children(token, &info)?.get(1)?;
    let data = *children(token, &wrapped)?.first()?;
    let data = children(token, &data)?;
    let mut found = Vec::new();
    let content = *children(token, data.get(2)?)?.get(1)?;
    strings(token, children(token, &content)?.first()?, &mut found)?;
    let signers = data.iter().rev().find(|child| child.tag == SET)?;
    let signer = *children(token, signers)?.first()?;
    let signer = children(token, &signer)?;
    found.push(signer.iter().find(|child| child.tag == ATTRIBUTES)?.range());
    found.push(
        signer
            .iter()
            .rev()
            .find(|child| child.tag == OCTET_STRING)?
            .range(),
    );
    Some(found)
}

/// The primitive pieces of an octet string.
fn strings(bytes: &[u8], string: &Element, found: &mut Vec<Range<usize>>) -> Option<()> {
    match string.tag {
        OCTET_STRING => found.push(string.range()),
        PIECES => {
            for piece in children(bytes, string)? {
                found.push(piece.range());
            }
        }
        _ => return None,
    }
    Some(())
}

#[derive(Clone, Copy)]
struct Element {
    tag: u8,
    start: usize,
    end: usize,
    next: usize,
}

impl Element {
    fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

fn children(bytes: &[u8], parent: &Element) -> Option<Vec<Element>> {
    let mut children = Vec::new();
    let mut at = parent.start;
    while at < parent.end {
        let child = read(bytes, at, 0)?;
        at = child.next;
        children.push(child);
    }
    Some(children)
}

/// The element at `at`; one of indefinite length ends where its own elements do.
fn read(bytes: &[u8], at: usize, depth: usize) -> Option<Element> {
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
                end = read(bytes, end, depth.checked_add(1)?)?.next;
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
    (end <= bytes.len()).then_some(Element {
        tag,
        start,
        end,
        next,
    })
}

const SET: u8 = 0x31;
const OCTET_STRING: u8 = 0x04;
const PIECES: u8 = 0x24;
const ATTRIBUTES: u8 = 0xa0;
/// Tokens nest ten deep.
const DEEPEST: usize = 32;
