//! Evidence as a client fetches it: one container, and what lies in it.

use bytes::Bytes;
use jibek_evidence::container::{Container, ContainerLimits};
use jibek_protocol::id::{ClientId, encode_part};

use crate::http::Http;

/// Which half of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// What the consumer asked.
    Request,
    /// What the provider answered.
    Response,
}

impl Half {
    fn parameter(self) -> &'static str {
        match self {
            Self::Request => "requestOnly",
            Self::Response => "responseOnly",
        }
    }
}

/// Fetches the container of one half of an exchange from a server, stamped now if it was not yet. `client` is the
/// server's own party of the exchange.
///
/// # Errors
///
/// What the server answered instead, in words.
pub async fn fetch(
    http: &Http,
    server: &str,
    client: &ClientId,
    message_id: &str,
    half: Half,
) -> Result<Container, String> {
    let url = format!(
        "{server}/asic?queryId={}&xRoadInstance={}&memberClass={}&memberCode={}&subsystemCode={}&{}&unique&force",
        encode_part(message_id),
        client.instance(),
        client.member().class(),
        client.member().code(),
        client.subsystem().unwrap_or_default(),
        half.parameter(),
    );
    let answer = http.get(&url).await?;
    if answer.status() != 200 {
        return Err(format!(
            "{} {}",
            answer.status(),
            String::from_utf8_lossy(answer.body())
        ));
    }
    Container::read(answer.body(), &ContainerLimits::default()).map_err(|error| error.to_string())
}

/// The body of a REST message in its container.
#[must_use]
pub fn body(container: &Container) -> Option<&Bytes> {
    container.entry("attachment1")
}
