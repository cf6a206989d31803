//! The request block, part `application/x-road-rest-request` (`message-path.md` 3.2, 3.3).

use bytes::Bytes;

use super::lines::{Lines, Writer, check_header};
use super::{HeaderLine, RestBlockError, RestMethod, RestTarget};
use crate::header;
use crate::id::{ClientId, IdError, RepresentedParty, ServerId};
use crate::limits;

/// A request block with what it says.
#[derive(Clone, Debug)]
pub struct RestRequestBlock {
    lines: Lines,
    method: RestMethod,
    target: RestTarget,
    client: ClientId,
    target_server: Option<ServerId>,
    represented_party: Option<RepresentedParty>,
}

impl RestRequestBlock {
    /// Writes the block for a consumer's HTTP request: headers of one hop and the consumer's own `x-road-request-id`
    /// and `x-road-request-hash` are left out, values go from Latin-1 to UTF-8; at the end come `x-road-request-id` and,
    /// if the consumer sent no message id, `x-road-id` from `fallback_id` (by custom `<instance>-<uuid>`).
    ///
    /// # Errors
    /// [`RestBlockError`] when the request cannot be carried.
    pub fn seal<'a>(
        method: &str,
        path_and_query: &str,
        headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        request_id: &str,
        fallback_id: impl FnOnce() -> String,
    ) -> Result<Self, RestBlockError> {
        RestMethod::parse(method).ok_or(RestBlockError::Method)?;
        RestTarget::parse_path_and_query(path_and_query)?;
        let mut writer = Writer::new(method, path_and_query);
        let mut has_id = false;
        for (name, value) in headers {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let dropped = header::DROPPED.into_iter().any(is);
            if dropped || is(header::X_ROAD_REQUEST_ID) || is(header::X_ROAD_REQUEST_HASH) {
                continue;
            }
            if is(header::X_ROAD_ID) {
                // the last one wins, so an empty last one needs ours after it
                has_id = !value.trim_ascii().is_empty();
            }
            writer.push_http(name, value)?;
        }
        check_header(header::X_ROAD_REQUEST_ID, request_id, 0)?;
        writer.push(header::X_ROAD_REQUEST_ID, request_id);
        if !has_id {
            let id = fallback_id();
            check_header(header::X_ROAD_ID, &id, 0)?;
            writer.push(header::X_ROAD_ID, &id);
        }
        Self::parse(writer.finish())
    }

    /// Reads a block that a consumer's server sent.
    ///
    /// # Errors
    /// [`RestBlockError`] for whatever a block may not be; a block without a message id is refused here, before
    /// anything is done (`message-path.md` 7.5).
    pub fn parse(bytes: Bytes) -> Result<Self, RestBlockError> {
        let lines = Lines::parse(bytes)?;
        let method = RestMethod::parse(lines.first()).ok_or(RestBlockError::Method)?;
        let target = RestTarget::parse_path_and_query(lines.second())?;
        let client = lines
            .header(header::X_ROAD_CLIENT)
            .ok_or(RestBlockError::MissingClient)?;
        let client = ClientId::from_header(client).map_err(at(header::X_ROAD_CLIENT))?;
        let target_server = lines
            .header(header::X_ROAD_SECURITY_SERVER)
            .map(ServerId::from_header)
            .transpose()
            .map_err(at(header::X_ROAD_SECURITY_SERVER))?;
        let represented_party = lines
            .header(header::X_ROAD_REPRESENTED_PARTY)
            .map(RepresentedParty::from_header)
            .transpose()
            .map_err(at(header::X_ROAD_REPRESENTED_PARTY))?;
        check_message_id(lines.header(header::X_ROAD_ID))?;
        Ok(Self {
            lines,
            method,
            target,
            client,
            target_server,
            represented_party,
        })
    }

    /// The bytes of the part, which are hashed, signed and logged.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        self.lines.bytes()
    }

    /// The block written anew, over which the request hash of the answer is computed. Equal to [`Self::bytes`] if
    /// every line ends with CRLF.
    #[must_use]
    pub fn canonical(&self) -> Bytes {
        self.lines.canonical()
    }

    /// HTTP method.
    #[must_use]
    pub fn method(&self) -> RestMethod {
        self.method
    }

    /// Service, path and query.
    #[must_use]
    pub fn target(&self) -> &RestTarget {
        &self.target
    }

    /// The second line: raw path and query.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        self.lines.second()
    }

    /// Who asks; the last `X-Road-Client` counts.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// Message id, never empty.
    #[must_use]
    pub fn message_id(&self) -> &str {
        self.lines.header(header::X_ROAD_ID).unwrap_or_default()
    }

    /// UUID of the exchange as the block has it.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.lines.header(header::X_ROAD_REQUEST_ID)
    }

    /// All headers in order.
    pub fn headers(&self) -> impl DoubleEndedIterator<Item = HeaderLine<'_>> {
        self.lines.headers()
    }

    /// Value of a header, by name in any case; the last one wins.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.lines.header(name)
    }

    /// `X-Road-UserId`.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.lines.header(header::X_ROAD_USER_ID)
    }

    /// `X-Road-Issue`.
    #[must_use]
    pub fn issue(&self) -> Option<&str> {
        self.lines.header(header::X_ROAD_ISSUE)
    }

    /// `X-Road-Represented-Party`.
    #[must_use]
    pub fn represented_party(&self) -> Option<&RepresentedParty> {
        self.represented_party.as_ref()
    }

    /// `X-Road-Security-Server`: the server that should answer.
    #[must_use]
    pub fn target_server(&self) -> Option<&ServerId> {
        self.target_server.as_ref()
    }
}

pub(super) fn at(place: &'static str) -> impl Fn(IdError) -> RestBlockError {
    move |source| RestBlockError::Identifier { place, source }
}

pub(super) fn check_message_id(id: Option<&str>) -> Result<(), RestBlockError> {
    match id {
        None | Some("") => Err(RestBlockError::MissingId),
        Some(id) if id.len() > limits::MESSAGE_ID_BYTES => {
            Err(RestBlockError::TooLongId { length: id.len() })
        }
        Some(_) => Ok(()),
    }
}
