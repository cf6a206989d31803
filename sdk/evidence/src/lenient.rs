//! Base64 as the readers under X-Road's verifier take it: with more than the alphabet in it, as evidence may come.
//!
//! Signature values, certificates and digests go through a MIME reader, OCSP responses and tokens through an XML binding; both
//! skip what is no letter of theirs. A verdict that should equal X-Road's has to read what they read.

/// What a MIME reader gives: letters outside the alphabet are skipped, padding may be absent, unused bits are not looked at;
/// `None` for a lone letter at the end, for half a padding, and for letters after it.
pub(crate) fn mime(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut group = Group::default();
    let mut letters = text.bytes();
    while let Some(letter) = letters.next() {
        if letter == b'=' {
            match group.letters {
                0 => return None,
                2 if letters.next() != Some(b'=') => return None,
                _ => break,
            }
        }
        if let Some(value) = value(letter) {
            group.push(value, &mut out);
        }
    }
    if letters.any(|letter| value(letter).is_some()) {
        return None;
    }
    match group.letters {
        1 => return None,
        2 => group.flush(1, &mut out),
        3 => group.flush(2, &mut out),
        _ => {}
    }
    Some(out)
}

/// What an XML binding gives: groups of four letters, padding counted as one; a group that is not full at the end is dropped.
/// `None` for letters beyond ASCII, for nothing at all, and for more than the room that it guesses from the length and the padding.
pub(crate) fn binding(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.is_ascii() {
        return None;
    }
    let room = guessed(text);
    let mut out = Vec::with_capacity(room);
    let mut group = Group::default();
    let mut padded = 0;
    for letter in text.bytes() {
        let value = match value(letter) {
            Some(value) => value,
            None if letter == b'=' => {
                padded += 1;
                0
            }
            None => continue,
        };
        group.letters += 1;
        group.bits = group.bits << 6 | value;
        if group.letters == 4 {
            group.flush(3_usize.saturating_sub(padded), &mut out);
            padded = 0;
        }
    }
    (out.len() <= room).then_some(out)
}

/// How many bytes the binding makes room for: it trusts padding at the very end, one or two letters of it.
fn guessed(text: &str) -> usize {
    let most = text.len() / 4 * 3;
    let tight = text.trim_end_matches('=');
    let padding = text.len().saturating_sub(tight.len());
    let is_tight = tight
        .bytes()
        .last()
        .is_none_or(|last| value(last).is_some());
    if is_tight && padding <= 2 {
        most.saturating_sub(padding)
    } else {
        most
    }
}

/// Up to four letters.
#[derive(Default)]
struct Group {
    bits: u32,
    letters: u32,
}

impl Group {
    fn push(&mut self, value: u32, out: &mut Vec<u8>) {
        self.bits = self.bits << 6 | value;
        self.letters += 1;
        if self.letters == 4 {
            self.flush(3, out);
        }
    }

    /// Writes the first `bytes` of the group and starts anew.
    fn flush(&mut self, bytes: usize, out: &mut Vec<u8>) {
        let missing = 4_u32.saturating_sub(self.letters);
        let whole = self.bits << (6 * missing);
        out.extend(whole.to_be_bytes().into_iter().skip(1).take(bytes));
        *self = Self::default();
    }
}

fn value(letter: u8) -> Option<u32> {
    let value = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_well_formed_reads_as_anywhere() {
        use base64::{Engine, engine::general_purpose::STANDARD};
        for length in 0..70_u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
            let text = STANDARD.encode(&bytes);
            assert_eq!(mime(&text), Some(bytes.clone()));
            if length > 0 {
                assert_eq!(binding(&text), Some(bytes));
            }
        }
    }

    /// As `java.util.Base64.getMimeDecoder` and JAXB's `parseBase64Binary` answer.
    #[test]
    fn what_is_not_reads_as_java_reads_it() {
        for (text, expected) in [
            ("A*B\u{e9}C\r\nD", Some(&[0, 0x10, 0x83][..])),
            ("AB", Some(&[0][..])),
            ("ABC", Some(&[0, 0x10][..])),
            ("AB==", Some(&[0][..])),
            ("AB==\n*", Some(&[0][..])),
            ("AP==", Some(&[0][..])),
            ("ABC===", Some(&[0, 0x10][..])),
            ("AB=", None),
            ("AB=\n=", None),
            ("A", None),
            ("A===", None),
            ("=", None),
            ("ABCD=", None),
            ("AB==CDEF", None),
        ] {
            assert_eq!(mime(text).as_deref(), expected, "{text:?}");
        }
        for (text, expected) in [
            ("A*BCD", Some(&[0, 0x10, 0x83][..])),
            ("ABCDE", Some(&[0, 0x10, 0x83])),
            ("AB==ABCD", Some(&[0, 0, 0x10, 0x83])),
            ("AB===", Some(&[0])),
            ("AB==\n", Some(&[0])),
            ("ABCD=", None),
            ("ABC==", None),
            ("AB\u{a0}CD", None),
            ("", None),
        ] {
            assert_eq!(binding(text).as_deref(), expected, "{text:?}");
        }
    }
}
