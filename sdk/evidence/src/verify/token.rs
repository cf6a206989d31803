//! Where in a time-stamp token's bytes that lies which its signature is over. Read by hand: what is wanted is places, and tokens
//! are BER with indefinite lengths at times (`dependencies.md` 6).

use std::ops::Range;

use crate::tlv::{Element, children, read};

/// The bytes of the TSTInfo, of the signed attributes and of the signature value; none when it is no token.
pub(super) fn signed_ranges(token: &[u8]) -> Vec<Range<usize>> {
    ranges(token).unwrap_or_default()
}

fn ranges(token: &[u8]) -> Option<Vec<Range<usize>>> {
    let info = read(token, 0)?;
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
    let value = signer
        .iter()
        .rev()
        .find(|child| child.tag == OCTET_STRING)?;
    found.push(value.range());
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

const SET: u8 = 0x31;
const OCTET_STRING: u8 = 0x04;
const PIECES: u8 = 0x24;
const ATTRIBUTES: u8 = 0xa0;
