//! Text that says little is kept short.
//!
//! A hash chain is two kilobytes of which two digests are its own: the others stand in its neighbours' chains, the rest is
//! the same in all. The header lines of REST messages mostly come again and again. So such texts are kept line by line: a
//! line that every chain has as one byte; a digest in base64 as its 64 bytes; a digest or line that stands earlier in the
//! segment as the place where it stands. A checksum over the whole text tells whether it came back.
//!
//! | bytes of a packed text | |
//! |---|---|
//! | 0–3 | CRC-32C of the text |
//! | 4–7 | its length |
//! | then for each line | |
//! | below `0x80` | the line of that number among the known ones |
//! | `0x80` | a line with a digest, whose 64 bytes follow |
//! | `0x81` | a line with a digest that stands at the offset in the next 4 bytes |
//! | `0x82` | a line of the length in the next byte that stands at the offset in the 4 bytes after it |
//! | `0x83` | bytes, as many as the next 2 bytes say |
//!
//! Offsets are of the segment's file.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::OnceLock;

use crate::codec::Reader;
use crate::num::{narrow, short, wide};

/// Where digests and lines stand in the active segment. Bounded in number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packer {
    places: HashMap<Box<[u8]>, u32>,
    order: VecDeque<Box<[u8]>>,
}

/// What a packed text holds that others may refer to: where it stands in it.
pub(crate) type Fresh = Vec<(usize, Box<[u8]>)>;

impl Packer {
    /// Forgets everything: a new segment has begun, or what was written is not there after all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Packs a text; `None` if that neither makes it shorter nor, at the cost of a few bytes, later ones.
    pub(crate) fn pack(&self, text: &[u8]) -> Option<(Vec<u8>, Fresh)> {
        let known = known();
        let mut fresh = Fresh::new();
        let mut out = Vec::with_capacity(text.len().min(1024));
        out.extend_from_slice(&crc32c::crc32c(text).to_le_bytes());
        out.extend_from_slice(&short(text.len()).to_le_bytes());
        let mut plain = Plain::default();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if out.len() > text.len().saturating_add(SLACK_BYTES) {
                return None;
            }
            if let Some(number) = known.numbers.get(line) {
                plain.end(&mut out);
                out.push(*number);
            } else if let Some(digest) = digest_of(line) {
                plain.end(&mut out);
                match self.places.get(digest.as_slice()) {
                    Some(place) => {
                        out.push(DIGEST_AT);
                        out.extend_from_slice(&place.to_le_bytes());
                    }
                    None => {
                        out.push(DIGEST);
                        fresh.push((out.len(), digest.as_slice().into()));
                        out.extend_from_slice(&digest);
                    }
                }
            } else if let (Some(place), Ok(length)) =
                (self.places.get(line), u8::try_from(line.len()))
            {
                plain.end(&mut out);
                out.push(LINE_AT);
                out.push(length);
                out.extend_from_slice(&place.to_le_bytes());
            } else {
                let at = plain.put(&mut out, line);
                if line.len() >= LINE_BYTES && u8::try_from(line.len()).is_ok() {
                    fresh.push((at, line.into()));
                }
            }
        }
        plain.end(&mut out);
        let most = if fresh.is_empty() {
            text.len().saturating_sub(1)
        } else {
            text.len().saturating_add(SLACK_BYTES)
        };
        (out.len() <= most && !text.is_empty()).then_some((out, fresh))
    }

    /// Takes up what stands in a packed text that begins at `start` of the segment's file.
    pub(crate) fn remember(&mut self, fresh: Fresh, start: u64) {
        for (at, bytes) in fresh {
            let Ok(place) = u32::try_from(start.saturating_add(wide(at))) else {
                continue;
            };
            if self.places.insert(bytes.clone(), place).is_none() {
                self.order.push_back(bytes);
            }
            if self.order.len() > MOST_PLACES
                && let Some(oldest) = self.order.pop_front()
            {
                self.places.remove(&oldest);
            }
        }
    }
}

/// Bytes that are kept as they are, one run after the other.
#[derive(Debug, Default)]
struct Plain {
    /// Where the length of the run stands that is being written.
    length_at: Option<usize>,
    length: u16,
}

impl Plain {
    /// Adds a line and tells where it stands.
    fn put(&mut self, out: &mut Vec<u8>, line: &[u8]) -> usize {
        let mut first = out.len().saturating_add(3);
        for piece in line.chunks(PLAIN_BYTES) {
            let more = u16::try_from(piece.len()).unwrap_or(u16::MAX);
            if self.length_at.is_none() || self.length.checked_add(more).is_none() {
                self.end(out);
                out.push(PLAIN);
                self.length_at = Some(out.len());
                out.extend_from_slice(&[0; 2]);
            }
            if piece.len() == line.len() {
                first = out.len();
            }
            self.length = self.length.saturating_add(more);
            out.extend_from_slice(piece);
        }
        first
    }

    fn end(&mut self, out: &mut [u8]) {
        if let Some(at) = self.length_at.take()
            && let Some(place) = out.get_mut(at..at.saturating_add(2))
        {
            place.copy_from_slice(&self.length.to_le_bytes());
        }
        self.length = 0;
    }
}

/// Unpacks a text; `read` fills its second argument with the bytes at an offset of the segment's file. `None` if what
/// comes out is not what was packed.
pub(crate) fn unpack(
    packed: &[u8],
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Option<Vec<u8>>> {
    let mut fields = Reader::new(packed);
    let (Some(crc), Some(length)) = (fields.u32(), fields.u32()) else {
        return Ok(None);
    };
    let length = narrow(length.into());
    let mut text = Vec::with_capacity(length.min(MOST_AHEAD));
    while !fields.is_empty() {
        if text.len() > length {
            return Ok(None);
        }
        let Some(kind) = fields.u8() else {
            return Ok(None);
        };
        let done = match kind {
            DIGEST => fields
                .array::<64>()
                .map(|digest| put_digest(&mut text, &digest)),
            DIGEST_AT => match fields.u32() {
                Some(place) => {
                    let mut digest = [0; 64];
                    read(place.into(), &mut digest)?;
                    put_digest(&mut text, &digest);
                    Some(())
                }
                None => None,
            },
            LINE_AT => match fields.u8().zip(fields.u32()) {
                Some((length, place)) => {
                    let mut line = [0; 255];
                    let line = line.get_mut(..usize::from(length)).unwrap_or_default();
                    read(place.into(), line)?;
                    text.extend_from_slice(line);
                    Some(())
                }
                None => None,
            },
            PLAIN => {
                let bytes = fields.u16().and_then(|length| fields.bytes(length.into()));
                bytes.map(|bytes| text.extend_from_slice(bytes))
            }
            number => known()
                .lines
                .get(usize::from(number))
                .map(|line| text.extend_from_slice(line)),
        };
        if done.is_none() {
            return Ok(None);
        }
    }
    Ok((text.len() == length && crc32c::crc32c(&text) == crc).then_some(text))
}

/// The digest in a line of a hash chain, if the line is written as X-Road and we do.
fn digest_of(line: &[u8]) -> Option<[u8; 64]> {
    let base64 = line.strip_prefix(DIGEST_START)?.strip_suffix(DIGEST_END)?;
    let digest = from_base64(base64)?;
    // It must come back byte for byte.
    let mut again = Vec::with_capacity(base64.len());
    put_base64(&mut again, &digest);
    (again == base64).then_some(digest)
}

fn put_digest(text: &mut Vec<u8>, digest: &[u8; 64]) {
    text.extend_from_slice(DIGEST_START);
    put_base64(text, digest);
    text.extend_from_slice(DIGEST_END);
}

fn from_base64(text: &[u8]) -> Option<[u8; 64]> {
    let text = text.strip_suffix(b"==").filter(|it| it.len() == 86)?;
    let mut digest = [0; 64];
    let mut bytes = digest.iter_mut();
    let (mut held, mut bits) = (0_u32, 0_u32);
    for character in text {
        let value = match character {
            b'A'..=b'Z' => character.wrapping_sub(b'A'),
            b'a'..=b'z' => character.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => character.wrapping_sub(b'0').wrapping_add(52),
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(value);
        bits = bits.saturating_add(6);
        if bits >= 8 {
            bits = bits.saturating_sub(8);
            if let Some(byte) = bytes.next() {
                *byte = low_byte(held >> bits);
            }
            held &= (1 << bits) - 1;
        }
    }
    Some(digest)
}

fn put_base64(text: &mut Vec<u8>, digest: &[u8; 64]) {
    let character = |value: u32| {
        let value = low_byte(value & 63);
        match value {
            0..26 => value.wrapping_add(b'A'),
            26..52 => value.wrapping_sub(26).wrapping_add(b'a'),
            52..62 => value.wrapping_sub(52).wrapping_add(b'0'),
            62 => b'+',
            _ => b'/',
        }
    };
    for three in digest.chunks(3) {
        let mut padded = [0; 3];
        padded
            .iter_mut()
            .zip(three)
            .for_each(|(to, from)| *to = *from);
        let [first, second, third] = padded.map(u32::from);
        let all = first << 16 | second << 8 | third;
        let characters = [all >> 18, all >> 12, all >> 6, all].map(character);
        let count = three.len().saturating_add(1);
        text.extend_from_slice(characters.get(..count).unwrap_or_default());
        text.extend(std::iter::repeat_n(
            b'=',
            characters.len().saturating_sub(count),
        ));
    }
}

fn low_byte(value: u32) -> u8 {
    let [low, ..] = value.to_le_bytes();
    low
}

/// The lines that hash chains have in common; their order is part of the format.
struct Known {
    lines: Vec<Vec<u8>>,
    numbers: HashMap<Vec<u8>, u8>,
}

fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let mut lines: Vec<Vec<u8>> = LINES.iter().map(|line| line.as_bytes().to_vec()).collect();
        for step in 0..STEPS {
            lines.push(format!("    <ns2:HashStep id=\"STEP{step}\">\n").into_bytes());
            lines.push(format!("        <ns2:StepRef URI=\"#STEP{step}\"/>\n").into_bytes());
        }
        let numbers = lines.iter().cloned().zip(0..).collect();
        Known { lines, numbers }
    })
}

const LINES: [&str; 12] = [
    "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n",
    "<ns2:HashChain xmlns=\"http://www.w3.org/2000/09/xmldsig#\" xmlns:ns2=\"http://cyber.ee/hashchain\">\n",
    "    <ns2:DefaultDigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha512\"/>\n",
    "        <ns2:HashValue>\n",
    "        </ns2:HashValue>\n",
    "        <ns2:DataRef URI=\"/message.xml\">\n",
    "        <ns2:DataRef URI=\"/attachment1\">\n",
    "        <ns2:DataRef URI=\"/META-INF/signatures.xml\">\n",
    "        </ns2:DataRef>\n",
    "    </ns2:HashStep>\n",
    "</ns2:HashChain>\n",
    "\r\n",
];
/// Steps of a chain whose lines are known: trees of a million leaves.
const STEPS: u8 = 21;
const DIGEST_START: &[u8] = b"            <DigestValue>";
const DIGEST_END: &[u8] = b"</DigestValue>\n";
const DIGEST: u8 = 0x80;
const DIGEST_AT: u8 = 0x81;
const LINE_AT: u8 = 0x82;
const PLAIN: u8 = 0x83;
/// Shorter lines are not worth the place where they stand.
const LINE_BYTES: usize = 12;
const PLAIN_BYTES: usize = 32 << 10;
/// What the first text of its kind may cost more, so that the next ones cost less: lengths and a checksum.
const SLACK_BYTES: usize = 16;
/// Digests and lines that can be referred to: those of some thousand records.
const MOST_PLACES: usize = 8192;
/// Memory taken ahead for what a length says that is not checked yet.
const MOST_AHEAD: usize = 64 << 10;

#[cfg(test)]
mod tests;
