//! What a registry says about itself.

use jibek_conf::model::AnchorContent;
use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    config::Config,
    keys::{Keys, Kind},
};

/// How a registry is doing.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The instance.
    pub instance: String,
    /// Generation in force.
    pub stamp: String,
    /// When it was last signed.
    #[serde(with = "time::serde::rfc3339")]
    pub published_at: OffsetDateTime,
    /// Until when it is valid.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// Why the present file is refused; what it said before is in force.
    pub config_error: Option<String>,
    /// Why the last publication failed.
    pub publish_error: Option<String>,
    /// Addresses that publish this instance, ours among them.
    pub sources: Vec<String>,
    /// Federation partners whose anchor servers of this instance are given.
    pub partners: Vec<PartnerStatus>,
    /// Signing keys.
    pub keys: Vec<KeyStatus>,
    /// Displayed hash of the internal anchor.
    pub internal_anchor_hash: String,
    /// Displayed hash of the external anchor.
    pub external_anchor_hash: String,
}

/// A federation partner.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PartnerStatus {
    /// Its instance.
    pub instance: String,
    /// Where its configuration is published.
    pub urls: Vec<String>,
}

/// A signing key.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct KeyStatus {
    /// `internal` or `external`.
    pub kind: &'static str,
    /// Its number among those.
    pub number: u16,
    /// Whether it signs.
    pub signs: bool,
    /// Since when publications carry its certificate.
    #[serde(with = "time::serde::rfc3339::option")]
    pub announced: Option<OffsetDateTime>,
    /// Since when it signs or signed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub activated: Option<OffsetDateTime>,
}

pub(crate) fn key_status(keys: &Keys) -> Vec<KeyStatus> {
    let of = |kind: Kind| {
        let active = keys.of(kind).number();
        let all = keys.all(kind).into_iter();
        all.map(move |key| KeyStatus {
            kind: kind.name(),
            number: key.number(),
            signs: key.number() == active,
            announced: key.announced(),
            activated: key.activated(),
        })
    };
    of(Kind::Internal).chain(of(Kind::External)).collect()
}

pub(crate) fn partners(config: &Config) -> Vec<PartnerStatus> {
    let anchors = config.private().anchors.iter();
    let partner = |anchor: &AnchorContent| PartnerStatus {
        instance: anchor.instance.clone(),
        urls: anchor.sources.iter().map(|one| one.url.clone()).collect(),
    };
    anchors.map(partner).collect()
}

pub(crate) fn sources(config: &Config) -> Vec<String> {
    let sources = config.sources(&[], &[]).into_iter();
    sources.map(|source| source.address).collect()
}
