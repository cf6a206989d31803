//! The writer: framing bytes between which the caller puts the parts.

use bytes::{BufMut, Bytes, BytesMut};

/// Gives the bytes before each part and at the end, exactly as X-Road writes them.
#[derive(Clone, Debug)]
pub struct MultipartWriter {
    boundary: String,
    first: bool,
}

impl MultipartWriter {
    /// A writer with this boundary, for example from [`boundary`].
    #[must_use]
    pub fn new(boundary: impl Into<String>) -> Self {
        Self {
            boundary: boundary.into(),
            first: true,
        }
    }

    /// The boundary without hyphens.
    #[must_use]
    pub fn boundary(&self) -> &str {
        &self.boundary
    }

    /// Value of the `Content-Type` that announces this multipart between servers.
    #[must_use]
    pub fn content_type(&self) -> String {
        format!("multipart/mixed; charset=UTF-8; boundary={}", self.boundary)
    }

    /// What stands before the bytes of the next part. The content type comes first, then `headers` in order; nothing
    /// is escaped, so they must come from a reader that refuses line breaks, as [`PartHeaders`](super::PartHeaders) do.
    #[must_use]
    pub fn part<'a>(
        &mut self,
        content_type: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Bytes {
        let mut out = BytesMut::with_capacity(PART_BYTES);
        if !self.first {
            out.put_slice(b"\r\n");
        }
        self.first = false;
        out.put_slice(b"--");
        out.put_slice(self.boundary.as_bytes());
        out.put_slice(b"\r\ncontent-type: ");
        out.put_slice(content_type.as_bytes());
        out.put_slice(b"\r\n");
        for (name, value) in headers {
            out.put_slice(name.as_bytes());
            out.put_slice(b": ");
            out.put_slice(value);
            out.put_slice(b"\r\n");
        }
        out.put_slice(b"\r\n");
        out.freeze()
    }

    /// The closing boundary.
    #[must_use]
    pub fn close(self) -> Bytes {
        format!("\r\n--{}--\r\n", self.boundary).into()
    }
}

/// Makes a boundary: the prefix (`xtop` for messages, `xatt` for nested attachments) and 30 letters from 30 random bytes.
#[must_use]
pub fn boundary(prefix: &str, random: &[u8; 30]) -> String {
    let letters = random.iter().map(|byte| match byte % 52 {
        lower @ 0..26 => char::from(b'a' + lower),
        upper => char::from(b'A' + upper - 26),
    });
    prefix.chars().chain(letters).collect()
}

const PART_BYTES: usize = 128;
