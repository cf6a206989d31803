//! The registry's file as it is written, before anything is checked. Unknown keys are errors.

use std::path::PathBuf;

use jibek_protocol::profile::RawProfile;
use serde::Deserialize;
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawConfig {
    pub(crate) instance: Spanned<String>,
    pub(crate) listen: Spanned<String>,
    pub(crate) address: Spanned<String>,
    pub(crate) state_dir: PathBuf,
    #[serde(default = "sixty")]
    pub(crate) publish_interval_seconds: u32,
    pub(crate) validity_seconds: Option<Spanned<u32>>,
    pub(crate) key: Option<Spanned<String>>,
    #[serde(default = "hour")]
    pub(crate) ocsp_freshness_seconds: u32,
    pub(crate) timestamping_interval_seconds: Option<Spanned<u32>>,
    pub(crate) history_days: Option<Spanned<u32>>,
    #[serde(default)]
    pub(crate) registry: Vec<RawRegistry>,
    #[serde(default)]
    pub(crate) partner: Vec<RawPartner>,
    #[serde(default)]
    pub(crate) member_class: Vec<RawMemberClass>,
    #[serde(default)]
    pub(crate) member: Vec<RawMember>,
    #[serde(default)]
    pub(crate) server: Vec<RawServer>,
    #[serde(default)]
    pub(crate) ca: Vec<RawCa>,
    #[serde(default)]
    pub(crate) tsa: Vec<RawTsa>,
    #[serde(default)]
    pub(crate) group: Vec<RawGroup>,
    #[serde(default)]
    pub(crate) certificate_profile: Vec<RawProfile>,
    pub(crate) management: RawManagement,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMemberClass {
    pub(crate) code: Spanned<String>,
    #[serde(default)]
    pub(crate) description: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMember {
    pub(crate) class: Spanned<String>,
    pub(crate) code: Spanned<String>,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) subsystems: Vec<RawSubsystem>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSubsystem {
    pub(crate) code: Spanned<String>,
    pub(crate) name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawServer {
    pub(crate) owner: Spanned<String>,
    pub(crate) code: Spanned<String>,
    pub(crate) address: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) auth_certificates: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) clients: Vec<Spanned<String>>,
    pub(crate) maintenance: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCa {
    pub(crate) name: Option<String>,
    pub(crate) certificate: Spanned<String>,
    pub(crate) profile: Spanned<String>,
    #[serde(default)]
    pub(crate) authentication_only: bool,
    #[serde(default)]
    pub(crate) ocsp: Vec<RawOcsp>,
    #[serde(default)]
    pub(crate) intermediates: Vec<RawIntermediate>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIntermediate {
    pub(crate) certificate: Spanned<String>,
    #[serde(default)]
    pub(crate) ocsp: Vec<RawOcsp>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawOcsp {
    pub(crate) url: Spanned<String>,
    pub(crate) certificate: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTsa {
    pub(crate) name: Option<String>,
    pub(crate) url: Spanned<String>,
    pub(crate) certificate: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawGroup {
    pub(crate) code: Spanned<String>,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) members: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawManagement {
    pub(crate) provider: Spanned<String>,
    pub(crate) registration_url: Option<String>,
    pub(crate) certificate: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRegistry {
    pub(crate) address: Spanned<String>,
    pub(crate) internal_certificates: Spanned<Vec<Spanned<String>>>,
    pub(crate) external_certificates: Spanned<Vec<Spanned<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPartner {
    pub(crate) anchor: Spanned<String>,
    pub(crate) hash: Spanned<String>,
}

fn sixty() -> u32 {
    60
}

fn hour() -> u32 {
    3600
}
