//! Options that several commands have.

use anyhow::Context;
use clap::Args;
use jibek_audit::{fetch_configuration, read_configuration, read_profiles};
use jibek_certs::time::{Clock, SystemClock};
use jibek_conf::snapshot::Snapshot;
use std::{io::Write, path::PathBuf};

/// Which configuration to judge by.
#[derive(Debug, Args)]
pub(super) struct ConfigurationOptions {
    /// Directory with the configuration to judge by, as unpacked from a security server's /verificationconf.
    #[arg(long, value_name = "DIR", default_value = "verificationconf")]
    conf: PathBuf,
    /// Configuration anchor whose sources give the configuration of today instead.
    #[arg(long, value_name = "FILE", conflicts_with = "conf")]
    anchor: Option<PathBuf>,
    /// File that declares certificate profiles which X-Road does not bring along; a security server's own file will do.
    #[arg(long, value_name = "FILE")]
    profiles: Option<PathBuf>,
}

impl ConfigurationOptions {
    /// Reads or fetches it, and warns on stderr of what is odd about it.
    pub(super) fn load(&self) -> anyhow::Result<Snapshot> {
        let configuration = match &self.anchor {
            None => read_configuration(&self.conf)?,
            Some(anchor) => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .context("cannot start")?;
                runtime.block_on(fetch_configuration(anchor, SystemClock.now()))?
            }
        };
        let configuration = match &self.profiles {
            None => configuration,
            Some(path) => configuration.with_profiles(&read_profiles(path)?),
        };
        for warning in configuration.warnings() {
            writeln!(std::io::stderr(), "jibek-audit: {warning}").context("cannot write")?;
        }
        Ok(configuration)
    }
}
