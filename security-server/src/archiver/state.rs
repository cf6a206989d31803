//! How far archiving has come, as it is kept in a file.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Grouping;

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// Version of this format.
    pub(super) format: u32,
    /// What is done.
    pub(super) progress: Progress,
    /// An archive that is complete under another name and is to get its own; then this is what is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<Pending>,
}

/// What is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    /// Every record up to this one is in an archive, or among the unreadable.
    pub(super) archived: u64,
    /// The records behind that which are being archived now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<Window>,
    /// The last archive of each group; of all records together under the empty name.
    #[serde(default)]
    pub(super) last: BTreeMap<String, Last>,
    /// Records that did not read. Their segments stay in the log.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) unreadable: BTreeSet<u64>,
}

/// Records that are archived group by group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    /// The last of them.
    pub(super) through: u64,
    /// How they are grouped, whatever the configuration says meanwhile.
    pub(super) grouping: Grouping,
    /// The group and record up to which they are archived, in this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) done: Option<(String, u64)>,
}

/// The archive that the next one of its group follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Last {
    /// Its last link.
    pub(super) digest: String,
    /// Its file name.
    pub(super) name: String,
}

/// An archive that is to get its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pending {
    /// The name that it has.
    pub(super) draft: String,
    /// The name that it gets.
    pub(super) name: String,
    /// What is done then.
    pub(super) after: Progress,
}

impl Default for State {
    fn default() -> Self {
        Self {
            format: FORMAT,
            progress: Progress::default(),
            pending: None,
        }
    }
}

impl State {
    pub(super) fn encode(&self) -> Vec<u8> {
        // A map with text keys always renders.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let state: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if state.format != FORMAT {
            return Err(format!("it has format {}, not {FORMAT}", state.format));
        }
        Ok(state)
    }
}

const FORMAT: u32 = 1;
