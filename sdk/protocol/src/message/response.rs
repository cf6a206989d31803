//! The response block, part `application/x-road-rest-response` (`message-path.md` 3.2, 3.4).

use bytes::Bytes;

use super::lines::{Lines, Writer, check_header};
use super::request::{at, check_message_id};
use super::{HeaderLine, Mismatch, RestBlockError, RestRequestBlock};
use crate::header;
use crate::id::{ClientId, ServiceId};

/// A response block with what it says.
#[derive(Clone, Debug)]
pub struct RestResponseBlock {
    lines: Lines,
    status: u16,
    client: ClientId,
    service: ServiceId,
}

impl RestResponseBlock {
    /// Writes the block for a provider's HTTP answer: headers of one hop and the provider's own `x-road-id`,
    /// `x-road-client`, `x-road-request-id` and `x-road-request-hash` are left out; the five lines of X-Road come last.
    /// `request_id_header` is the transport request's HTTP header. Of a body that was decompressed the caller leaves
    /// out `Content-Encoding`.
    ///
    /// # Errors
    /// [`RestBlockError`] when the answer cannot be carried.
    pub fn seal<'a>(
        status: u16,
        reason: &str,
        provider_headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        request: &RestRequestBlock,
        request_id_header: &str,
        request_hash_base64: &str,
    ) -> Result<Self, RestBlockError> {
        let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
        let mut writer = Writer::new(&status.to_string(), &reason);
        for (name, value) in provider_headers {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if header::DROPPED.into_iter().chain(REPLACED).any(is) {
                continue;
            }
            writer.push_http(name, value)?;
        }
        for (name, value) in [
            (header::X_ROAD_ID, request.message_id()),
            (header::X_ROAD_CLIENT, &request.client().to_header()),
            (
                header::X_ROAD_SERVICE,
                &request.target().service().to_header(),
            ),
            (header::X_ROAD_REQUEST_ID, request_id_header),
            (header::X_ROAD_REQUEST_HASH, request_hash_base64),
        ] {
            check_header(name, value, 0)?;
            writer.push(name, value);
        }
        Self::parse(writer.finish())
    }

    /// Reads a block that a provider's server sent.
    ///
    /// # Errors
    /// [`RestBlockError`] for whatever a block may not be.
    pub fn parse(bytes: Bytes) -> Result<Self, RestBlockError> {
        let lines = Lines::parse(bytes)?;
        let status = parse_status(lines.first()).ok_or(RestBlockError::Status)?;
        let need = |name| {
            lines
                .header(name)
                .ok_or(RestBlockError::MissingHeader { name })
        };
        let client = ClientId::from_header(need(header::X_ROAD_CLIENT)?)
            .map_err(at(header::X_ROAD_CLIENT))?;
        let service = ServiceId::parse_service_header(need(header::X_ROAD_SERVICE)?)
            .map_err(at(header::X_ROAD_SERVICE))?;
        check_message_id(lines.header(header::X_ROAD_ID))?;
        if need(header::X_ROAD_REQUEST_HASH)?.is_empty() {
            return Err(RestBlockError::MissingHeader {
                name: header::X_ROAD_REQUEST_HASH,
            });
        }
        Ok(Self {
            lines,
            status,
            client,
            service,
        })
    }

    /// The bytes of the part, which are hashed, signed and logged.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        self.lines.bytes()
    }

    /// HTTP status of the provider.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Reason phrase of the provider, may be empty.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.lines.second()
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

    /// Who asked.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// Who answers.
    #[must_use]
    pub fn service(&self) -> &ServiceId {
        &self.service
    }

    /// Message id of the request, never empty.
    #[must_use]
    pub fn message_id(&self) -> &str {
        self.lines.header(header::X_ROAD_ID).unwrap_or_default()
    }

    /// UUID of the exchange.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.lines.header(header::X_ROAD_REQUEST_ID)
    }

    /// Hash of the request, base64.
    #[must_use]
    pub fn request_hash(&self) -> &str {
        self.lines
            .header(header::X_ROAD_REQUEST_HASH)
            .unwrap_or_default()
    }

    /// Checks that this answers `request`, whose hash is `request_hash` in base64 (`message-path.md` 3.4).
    ///
    /// # Errors
    /// [`Mismatch`] with the first field that differs.
    pub fn check_answers(
        &self,
        request: &RestRequestBlock,
        request_hash: &str,
    ) -> Result<(), Mismatch> {
        let (client, service) = (request.client(), request.target().service());
        if self.client != *client {
            Mismatch::check(
                "client",
                Some(&client.to_string()),
                Some(&self.client.to_string()),
            )?;
        }
        Mismatch::check(
            "message id",
            Some(request.message_id()),
            Some(self.message_id()),
        )?;
        if self.service != *service {
            Mismatch::check(
                "service",
                Some(&service.to_string()),
                Some(&self.service.to_string()),
            )?;
        }
        Mismatch::check("request id", request.request_id(), self.request_id())?;
        Mismatch::check(
            "request hash",
            Some(request_hash),
            Some(self.request_hash()),
        )
    }
}

/// A bare number of three digits.
fn parse_status(line: &str) -> Option<u16> {
    let digits = line.len() == 3 && line.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| line.parse().ok())
        .flatten()
        .filter(|status| *status >= 100)
}

const REPLACED: [&str; 4] = [
    header::X_ROAD_ID,
    header::X_ROAD_CLIENT,
    header::X_ROAD_REQUEST_ID,
    header::X_ROAD_REQUEST_HASH,
];
