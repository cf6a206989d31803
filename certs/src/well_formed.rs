//! Whether bytes are well-formed BER all through, also where no signature covers them.
//!
//! X-Road's library reads a whole time-stamp token or OCSP response before anything is verified, so a token with broken bytes among
//! its unsigned certificates is refused there although its signature is right. A court must not get two answers, so we walk it first.
//! The rules are those of X.690, with the universal types that this library knows.

/// Something that is not BER, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not well-formed BER at byte {at}: {why}")]
#[non_exhaustive]
pub struct NotWellFormed {
    /// Offset of the element that is wrong, from 0.
    pub at: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Checks that `ber` is exactly one element, and everything in it an element as far down as constructed ones go.
///
/// What stands inside a primitive octet or bit string is not looked at.
///
/// # Errors
/// [`NotWellFormed`] for the first thing that is wrong.
pub fn well_formed(ber: &[u8]) -> Result<(), NotWellFormed> {
    let mut walk = Walk { ber, at: 0 };
    walk.element(ber.len(), 0)?;
    if walk.at == ber.len() {
        Ok(())
    } else {
        Err(walk.wrong("bytes behind the end"))
    }
}

struct Walk<'a> {
    ber: &'a [u8],
    at: usize,
}

/// An element's tag and length.
struct Header {
    class: u8,
    constructed: bool,
    number: u32,
    /// `None` when it ends with end-of-contents.
    length: Option<usize>,
}

impl Header {
    /// The type of the pieces that a string is made of.
    fn pieces(&self) -> Option<u32> {
        let string = matches!(self.number, BIT_STRING | OCTET_STRING);
        (self.class == UNIVERSAL && self.constructed && string).then_some(self.number)
    }
}

impl Walk<'_> {
    fn wrong(&self, why: &'static str) -> NotWellFormed {
        NotWellFormed { at: self.at, why }
    }

    fn byte(&mut self, end: usize) -> Result<u8, NotWellFormed> {
        let byte = self.ber.get(..end).and_then(|ber| ber.get(self.at));
        let byte = *byte.ok_or_else(|| self.wrong("it ends too early"))?;
        self.at = self.at.saturating_add(1);
        Ok(byte)
    }

    /// One element that ends before `end`.
    fn element(&mut self, end: usize, depth: usize) -> Result<(), NotWellFormed> {
        if depth > MAX_DEPTH {
            return Err(self.wrong("nested too deep"));
        }
        let start = self.at;
        let header = self.header(end)?;
        if header.class == UNIVERSAL && header.number == END_OF_CONTENTS {
            self.at = start;
            return Err(self.wrong("an end of contents where none can be"));
        }
        if header.constructed && header.class == UNIVERSAL && !CONSTRUCTED.contains(&header.number)
        {
            self.at = start;
            return Err(self.wrong("a constructed element of a type that has no parts"));
        }
        let pieces = header.pieces();
        let Some(length) = header.length else {
            return self.until_end_of_contents(end, pieces, depth);
        };
        let end = self
            .at
            .checked_add(length)
            .filter(|stop| *stop <= end)
            .ok_or_else(|| self.wrong("longer than what it stands in"))?;
        if header.constructed {
            while self.at < end {
                self.part(end, pieces, depth)?;
            }
            return Ok(());
        }
        let content = self.ber.get(self.at..end).unwrap_or_default();
        if header.class == UNIVERSAL && !is_value(header.number, content) {
            self.at = start;
            return Err(self.wrong("not a value of its type"));
        }
        self.at = end;
        Ok(())
    }

    /// An element within another. A string in pieces has only pieces of its own type.
    fn part(&mut self, end: usize, pieces: Option<u32>, depth: usize) -> Result<(), NotWellFormed> {
        let tag = self.ber.get(self.at).copied().map(u32::from);
        let other = |kind| tag.is_none_or(|tag| tag & !u32::from(IS_CONSTRUCTED) != kind);
        if pieces.is_some_and(other) {
            return Err(self.wrong("a string with a piece of another type"));
        }
        self.element(end, depth.saturating_add(1))
    }

    fn until_end_of_contents(
        &mut self,
        end: usize,
        pieces: Option<u32>,
        depth: usize,
    ) -> Result<(), NotWellFormed> {
        loop {
            let rest = self.ber.get(self.at..end).unwrap_or_default();
            if rest.starts_with(&[0, 0]) {
                self.at = self.at.saturating_add(2);
                return Ok(());
            }
            self.part(end, pieces, depth)?;
        }
    }

    fn header(&mut self, end: usize) -> Result<Header, NotWellFormed> {
        let first = self.byte(end)?;
        let number = match u32::from(first & NUMBER) {
            31 => self.long_number(end)?,
            short => short,
        };
        let constructed = first & IS_CONSTRUCTED != 0;
        let length = match self.byte(end)? {
            short @ ..0x80 => Some(usize::from(short)),
            0x80 if constructed => None,
            0x80 => return Err(self.wrong("a primitive element without length")),
            long => {
                let mut length = 0_usize;
                for place in 0..long & 0x7f {
                    if place >= LONGEST_LENGTH {
                        return Err(self.wrong("a length of too many bytes"));
                    }
                    length = length << 8 | usize::from(self.byte(end)?);
                }
                Some(length)
            }
        };
        Ok(Header {
            class: first >> 6,
            constructed,
            number,
            length,
        })
    }

    fn long_number(&mut self, end: usize) -> Result<u32, NotWellFormed> {
        let mut number = 0_u32;
        for place in 0..LONGEST_NUMBER {
            let byte = self.byte(end)?;
            if place == 0 && byte & 0x7f == 0 {
                return Err(self.wrong("a tag number with leading zeros"));
            }
            number = number << 7 | u32::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return if number < 31 {
                    Err(self.wrong("a small tag number in the long form"))
                } else {
                    Ok(number)
                };
            }
        }
        Err(self.wrong("a tag number of too many bytes"))
    }
}

/// Whether `content` can be a primitive value of the universal type `number`.
fn is_value(number: u32, content: &[u8]) -> bool {
    match number {
        BOOLEAN => content.len() == 1,
        INTEGER | ENUMERATED => match content {
            [] => false,
            [_] => true,
            // minimal: the first nine bits are not all alike
            [first, second, ..] => {
                (*first != 0 || second >> 7 != 0) && (*first != 0xff || second >> 7 != 1)
            }
        },
        BIT_STRING => match content {
            [] => false,
            [unused] => *unused == 0,
            [unused, ..] => *unused < 8,
        },
        NULL => content.is_empty(),
        OBJECT_IDENTIFIER | RELATIVE_OID => is_oid(content),
        BMP_STRING => content.len().is_multiple_of(2),
        UTC_TIME => content.len() >= 2 && content.iter().take(2).all(u8::is_ascii_digit),
        GENERALIZED_TIME => content.len() >= 4 && content.iter().take(4).all(u8::is_ascii_digit),
        other => OTHER_PRIMITIVES.contains(&other),
    }
}

/// Numbers of seven bits a byte, none with leading zeros, the last complete.
fn is_oid(content: &[u8]) -> bool {
    let mut starts = true;
    for byte in content {
        if starts && *byte == 0x80 {
            return false;
        }
        starts = byte & 0x80 == 0;
    }
    !content.is_empty() && starts
}

const UNIVERSAL: u8 = 0;
const NUMBER: u8 = 0x1f;
const IS_CONSTRUCTED: u8 = 0x20;
const END_OF_CONTENTS: u32 = 0;
const BOOLEAN: u32 = 1;
const INTEGER: u32 = 2;
const BIT_STRING: u32 = 3;
const OCTET_STRING: u32 = 4;
const NULL: u32 = 5;
const OBJECT_IDENTIFIER: u32 = 6;
const EXTERNAL: u32 = 8;
const ENUMERATED: u32 = 10;
const RELATIVE_OID: u32 = 13;
const SEQUENCE: u32 = 16;
const SET: u32 = 17;
const UTC_TIME: u32 = 23;
const GENERALIZED_TIME: u32 = 24;
const BMP_STRING: u32 = 30;
/// Universal types that may have parts.
const CONSTRUCTED: [u32; 5] = [BIT_STRING, OCTET_STRING, EXTERNAL, SEQUENCE, SET];
/// Octet strings and strings of characters, object descriptors among them: any bytes.
const OTHER_PRIMITIVES: [u32; 12] = [OCTET_STRING, 7, 12, 18, 19, 20, 21, 22, 25, 26, 27, 28];
/// Real tokens have 12 levels.
const MAX_DEPTH: usize = 64;
/// Bytes of a length: 4 GB is more than is ever read.
const LONGEST_LENGTH: u8 = 4;
const LONGEST_NUMBER: usize = 4;

#[cfg(test)]
mod tests;
