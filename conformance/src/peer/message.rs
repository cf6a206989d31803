//! What goes over the wire: a transport message for a test to spoil, and an answer as it came.

use bytes::Bytes;
use jibek_evidence::seal::Sealed;
use jibek_protocol::{
    header as names,
    multipart::{MultipartEvent, MultipartLimits, MultipartReader, MultipartWriter},
};

/// A transport message, for a test to spoil.
#[derive(Clone, Debug)]
pub struct Message {
    /// HTTP headers, without `Content-Type` and framing.
    pub headers: Vec<(String, String)>,
    /// Parts: content type and bytes.
    pub parts: Vec<(String, Bytes)>,
    /// Whether the closing boundary is written.
    pub closed: bool,
}

impl Message {
    pub(super) fn new() -> Self {
        Self {
            headers: Vec::new(),
            parts: Vec::new(),
            closed: true,
        }
    }

    pub(super) fn header(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn part(&mut self, content_type: &str, bytes: Bytes) {
        self.parts.push((content_type.to_owned(), bytes));
    }

    /// Replaces the signature and its hash chain.
    pub fn sealed(&mut self, sealed: &Sealed) {
        let signature_parts = [
            names::HASH_CHAIN_RESULT,
            names::HASH_CHAIN,
            names::SIGNATURE,
        ];
        self.parts
            .retain(|(content_type, _)| !signature_parts.contains(&content_type.as_str()));
        if let Some(result) = &sealed.hash_chain_result {
            self.part(names::HASH_CHAIN_RESULT, result.clone());
        }
        if let Some(chain) = &sealed.hash_chain {
            self.part(names::HASH_CHAIN, chain.clone());
        }
        self.part(names::SIGNATURE, sealed.signature.clone());
    }

    /// Its `x-road-request-id`.
    #[must_use]
    pub fn request_id(&self) -> &str {
        let found = self
            .headers
            .iter()
            .find(|(name, _)| name == names::X_ROAD_REQUEST_ID);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The part with this content type.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn part_mut(&mut self, content_type: &str) -> &mut Bytes {
        match self
            .parts
            .iter_mut()
            .find(|(found, _)| found == content_type)
        {
            Some((_, bytes)) => bytes,
            #[expect(clippy::panic, reason = "a test fails here")]
            None => panic!("no part {content_type}"),
        }
    }

    /// The multipart body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut writer = MultipartWriter::new("xtophandmadehandmadehandmadehandma");
        let mut body = Vec::new();
        for (content_type, bytes) in &self.parts {
            body.extend_from_slice(&writer.part(content_type, []));
            body.extend_from_slice(bytes);
        }
        if self.closed {
            body.extend_from_slice(&writer.close());
        }
        body
    }

    /// The HTTP head for a body of this length.
    #[must_use]
    pub fn head(&self, length: usize) -> String {
        let mut head = "POST / HTTP/1.1\r\nHost: peer\r\n".to_owned();
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let boundary = "xtophandmadehandmadehandmadehandma";
        head.push_str(&format!(
            "Content-Type: multipart/mixed; charset=UTF-8; boundary={boundary}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        ));
        head
    }

    /// The whole HTTP request.
    #[must_use]
    pub fn to_http(&self) -> Vec<u8> {
        let body = self.body();
        let mut all = self.head(body.len()).into_bytes();
        all.extend_from_slice(&body);
        all
    }
}

/// An HTTP answer as it came, after its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Head and body, as they came; chunked framing is left in.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// Everything as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The parts of the multipart in it, content type and bytes, up to where it breaks off.
    #[must_use]
    pub fn parts(&self) -> Vec<(String, Bytes)> {
        let Some(end) = self.bytes.windows(4).position(|it| it == b"\r\n\r\n") else {
            return Vec::new();
        };
        let (head, body) = self.bytes.split_at(end + 4);
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let text = self.text();
        let boundary = text
            .split_once("boundary=")
            .and_then(|(_, rest)| rest.split(['\r', ';']).next())
            .unwrap_or_default();
        let body = if head.contains("transfer-encoding: chunked") {
            unchunked(body)
        } else {
            body.to_vec()
        };
        let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
        let Ok(mut reader) = MultipartReader::new(boundary.as_bytes(), MultipartLimits::default())
        else {
            return Vec::new();
        };
        let _ = reader.push(body.into());
        while let Some(event) = reader.poll_event() {
            match event {
                MultipartEvent::PartStart(headers) => {
                    let content_type = headers.content_type().unwrap_or_default();
                    parts.push((content_type.to_owned(), Vec::new()));
                }
                MultipartEvent::Data(data) => {
                    if let Some((_, bytes)) = parts.last_mut() {
                        bytes.extend_from_slice(&data);
                    }
                }
                _ => {}
            }
        }
        parts
            .into_iter()
            .map(|(content_type, bytes)| (content_type, bytes.into()))
            .collect()
    }

    /// The code of the fault in it, if it is one.
    #[must_use]
    pub fn fault_code(&self) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once("<faultcode>")?;
        rest.split_once("</faultcode>")
            .map(|(code, _)| code.to_owned())
    }
}

/// Takes the framing of HTTP off, up to where it breaks off.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = bytes.windows(2).position(|it| it == b"\r\n") {
        let size = std::str::from_utf8(bytes.get(..end).unwrap_or_default()).unwrap_or_default();
        let Ok(size) = usize::from_str_radix(size, 16) else {
            break;
        };
        let rest = bytes.get(end + 2..).unwrap_or_default();
        whole.extend_from_slice(rest.get(..size.min(rest.len())).unwrap_or_default());
        if size == 0 {
            break;
        }
        bytes = rest.get(size + 2..).unwrap_or_default();
    }
    whole
}
