//! Putting the request hash into an answer without touching its other bytes (`message-path.md` 2.5).

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{ScannedSoap, SoapError};
use crate::copied;
use crate::xml::StartTag;

/// Where the request hash goes and which old ones leave, as bytes of the message.
#[derive(Clone, Debug)]
pub(super) struct HashPlace {
    /// End of the `id` element.
    insert_at: usize,
    /// White space before the `id` element, then the element's start up to its name's place.
    before: Vec<u8>,
    /// Qualified name of the new element.
    name: Vec<u8>,
    /// Namespace declarations of the `id` element, which its prefix may need.
    declarations: Vec<u8>,
    removed: Vec<Range<usize>>,
}

impl HashPlace {
    pub(super) fn new(source: &str, id: &StartTag<'_>, end: usize, indent: &str) -> Self {
        let indent_is_blank = indent.trim_ascii().is_empty()
            && source
                .get(..id.range.start)
                .is_some_and(|before| before.ends_with(indent));
        let name = match id.prefix {
            Some(prefix) => format!("{prefix}:requestHash"),
            None => "requestHash".to_owned(),
        };
        let mut declarations = String::new();
        for attribute in id
            .attributes
            .iter()
            .filter(|attribute| is_declaration(attribute.name))
        {
            let quote = if attribute.raw_value.contains('"') {
                '\''
            } else {
                '"'
            };
            declarations.push_str(&format!(
                " {}={quote}{}{quote}",
                attribute.name, attribute.raw_value
            ));
        }
        Self {
            insert_at: end,
            before: if indent_is_blank {
                indent.as_bytes().to_vec()
            } else {
                Vec::new()
            },
            name: name.into_bytes(),
            declarations: declarations.into_bytes(),
            removed: Vec::new(),
        }
    }

    pub(super) fn remove(&mut self, old: Vec<Range<usize>>) {
        self.removed = old;
    }

    /// Turns places in the transcoded text into places in the original bytes.
    pub(super) fn transcode_to_latin1(&mut self, text: &str) {
        let place = |at: usize| text.get(..at).map_or(at, |before| before.chars().count());
        self.insert_at = place(self.insert_at);
        for range in &mut self.removed {
            *range = place(range.start)..place(range.end);
        }
        for bytes in [&mut self.before, &mut self.name, &mut self.declarations] {
            *bytes = String::from_utf8_lossy(bytes)
                .chars()
                .map(|c| u8::try_from(c).unwrap_or(b'?'))
                .collect();
        }
    }
}

/// Puts the request hash after the `id` of an answer, with its prefix and indentation; hashes that are there already
/// leave. All other bytes stay. `scanned` must come from a scan of these bytes.
///
/// # Errors
/// [`SoapError::MissingHeader`] for a fault, which has no place for it, and [`SoapError::Hash`] when the hash is not base64.
pub fn with_request_hash(
    response: &Bytes,
    scanned: &ScannedSoap,
    hash_base64: &str,
) -> Result<Bytes, SoapError> {
    let place = scanned
        .hash_place
        .as_ref()
        .ok_or(SoapError::MissingHeader)?;
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    if hash_base64.is_empty() || !hash_base64.bytes().all(is_base64) {
        return Err(SoapError::Hash);
    }
    let mut edits: Vec<(Range<usize>, bool)> = place
        .removed
        .iter()
        .map(|range| (range.clone(), false))
        .collect();
    edits.push((place.insert_at..place.insert_at, true));
    edits.sort_by_key(|(range, _)| (range.start, range.end));

    let mut out = BytesMut::with_capacity(response.len() + ELEMENT_BYTES);
    let mut done = 0;
    for (range, insert) in edits {
        copied::append(
            &mut out,
            response.get(done..range.start).unwrap_or_default(),
        );
        done = range.end;
        if insert {
            for piece in [
                place.before.as_slice(),
                b"<",
                &place.name,
                &place.declarations,
                b" algorithmId=\"http://www.w3.org/2001/04/xmlenc#sha512\">",
                hash_base64.as_bytes(),
                b"</",
                &place.name,
                b">",
            ] {
                copied::append(&mut out, piece);
            }
        }
    }
    copied::append(&mut out, response.get(done..).unwrap_or_default());
    Ok(out.freeze())
}

fn is_declaration(name: &str) -> bool {
    name == "xmlns" || name.starts_with("xmlns:")
}

const ELEMENT_BYTES: usize = 256;
