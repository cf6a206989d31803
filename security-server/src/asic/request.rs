//! What a request for containers asks.

use axum::extract::Query;
use http::Uri;
use jibek_msglog::Direction;
use jibek_protocol::id::ClientId;

use super::EvidenceError;

/// A request for containers, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AsicRequest {
    /// The local party whose records are meant.
    pub client: ClientId,
    /// The message id.
    pub query_id: String,
    /// Only requests or only responses.
    pub direction: Option<Direction>,
    /// One container instead of a zip of containers.
    pub unique: bool,
    /// Stamp first what has no stamp.
    pub force: bool,
}

/// The parameters as they came.
#[derive(Debug)]
pub(super) struct Parameters {
    pairs: Vec<(String, String)>,
}

impl Parameters {
    pub(super) fn parse(uri: &Uri) -> Self {
        // The decoder takes everything: wrong escapes stay as they are.
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map(|query| query.0)
            .unwrap_or_default();
        Self { pairs }
    }

    /// Returns the client, of which class, code and subsystem name the local party of the records.
    pub(super) fn client(&self) -> Result<ClientId, EvidenceError> {
        let instance = self.required("xRoadInstance")?;
        let class = self.required("memberClass")?;
        let code = self.required("memberCode")?;
        let subsystem = self.first("subsystemCode");
        ClientId::new(instance, class, code, subsystem).map_err(|error| EvidenceError::Identifier {
            reason: error.to_string(),
        })
    }

    pub(super) fn wanted(&self, client: ClientId) -> Result<AsicRequest, EvidenceError> {
        let query_id = self.required("queryId")?.to_owned();
        let direction = match (self.has("requestOnly"), self.has("responseOnly")) {
            (true, true) => return Err(EvidenceError::BothOnly),
            (true, false) => Some(Direction::Request),
            (false, true) => Some(Direction::Response),
            (false, false) => None,
        };
        Ok(AsicRequest {
            client,
            query_id,
            direction,
            unique: self.has("unique"),
            force: self.has("force"),
        })
    }

    fn required(&self, name: &'static str) -> Result<&str, EvidenceError> {
        self.first(name).ok_or(EvidenceError::Missing { name })
    }

    fn first(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }
}
