//! Options that several commands have.

use anyhow::Context;
use clap::Args;
use jibek_audit::{
    Configuration, Decryptor, KeptHistory, fetch_configuration, read_configuration, read_profiles,
};
use jibek_certs::time::{Clock, SystemClock};
use jibek_conf::snapshot::Snapshot;
use jibek_protocol::profile::Profiles;
use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

/// Which configuration to judge by.
#[derive(Debug, Args)]
pub(super) struct ConfigurationOptions {
    /// Directory with the configuration to judge by, as unpacked from a security server's /verificationconf.
    #[arg(long, value_name = "DIR", default_value = "verificationconf")]
    conf: PathBuf,
    /// Configuration anchor whose sources give the configuration of today instead.
    #[arg(long, value_name = "FILE", conflicts_with = "conf")]
    anchor: Option<PathBuf>,
    /// Directory with the configurations that a registry kept: each container is judged by the one that was in force when it
    /// was stamped. May be repeated, for several registries of an instance.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["conf", "anchor"])]
    conf_history: Vec<PathBuf>,
    /// Judge everything by the configuration that was in force at a moment, as 2026-11-23T08:00:00Z.
    #[arg(long, value_name = "TIME", requires = "conf_history", value_parser = moment)]
    conf_at: Option<OffsetDateTime>,
    /// File that declares certificate profiles which X-Road does not bring along; a security server's own file will do.
    #[arg(long, value_name = "FILE")]
    profiles: Option<PathBuf>,
}

impl ConfigurationOptions {
    /// What containers are judged by, each by that of its time where there is a choice.
    pub(super) fn configuration(&self) -> anyhow::Result<Configuration> {
        match self.conf_at {
            None if !self.conf_history.is_empty() => Ok(Configuration::Kept(self.history()?)),
            _ => Ok(Configuration::fixed(self.load()?)),
        }
    }

    /// Reads or fetches one configuration for everything, and warns on stderr of what is odd about it. Of kept ones it is that
    /// of the moment that was asked for, else the newest.
    pub(super) fn load(&self) -> anyhow::Result<Snapshot> {
        let configuration = match &self.anchor {
            _ if !self.conf_history.is_empty() => {
                let moment = self.conf_at.unwrap_or_else(|| SystemClock.now());
                let found = self.history()?.at(moment);
                found.map_err(anyhow::Error::msg)?.0
            }
            None => read_configuration(&self.conf)?.with_profiles(&self.profiles()?),
            Some(anchor) => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .context("cannot start")?;
                let fetched = fetch_configuration(anchor, SystemClock.now());
                runtime.block_on(fetched)?.with_profiles(&self.profiles()?)
            }
        };
        for warning in configuration.warnings() {
            writeln!(io::stderr(), "jibek-audit: {warning}").context("cannot write")?;
        }
        Ok(configuration)
    }

    fn history(&self) -> anyhow::Result<KeptHistory> {
        Ok(KeptHistory::open(&self.conf_history, self.profiles()?)?)
    }

    fn profiles(&self) -> anyhow::Result<Profiles> {
        match &self.profiles {
            None => Ok(Profiles::default()),
            Some(path) => Ok(read_profiles(path)?),
        }
    }
}

fn moment(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "a time with its offset, such as 2026-11-23T08:00:00Z".to_owned())
}

/// Keys for encrypted archives.
#[derive(Debug, Args)]
pub(super) struct PgpOptions {
    /// OpenPGP key: secret, to decrypt archives with, or public, to know who signed them. May be repeated.
    #[arg(long, value_name = "FILE")]
    pgp_key: Vec<PathBuf>,
    /// File with the pass phrase of the secret keys. Else the environment's JIBEK_AUDIT_PGP_PASSPHRASE counts, else it is
    /// asked for on a terminal.
    #[arg(long, value_name = "FILE", requires = "pgp_key")]
    pgp_passphrase_file: Option<PathBuf>,
}

impl PgpOptions {
    /// What decrypts with these keys, if there are any.
    pub(super) fn decryptor(&self) -> anyhow::Result<Option<Arc<Decryptor>>> {
        if self.pgp_key.is_empty() {
            return Ok(None);
        }
        let decryptor = Decryptor::new(&self.pgp_key, self.pass_phrase()?)?;
        Ok(Some(Arc::new(decryptor)))
    }

    fn pass_phrase(&self) -> anyhow::Result<Zeroizing<String>> {
        if let Some(file) = &self.pgp_passphrase_file {
            let text = std::fs::read_to_string(file)
                .map(Zeroizing::new)
                .with_context(|| format!("cannot read {}", file.display()))?;
            return Ok(Zeroizing::new(
                text.lines().next().unwrap_or_default().to_owned(),
            ));
        }
        if let Some(set) = std::env::var_os(PASS_PHRASE) {
            let text = set.into_string().map(Zeroizing::new);
            return text.map_err(|_| anyhow::anyhow!("{PASS_PHRASE} is not UTF-8"));
        }
        if io::stdin().is_terminal() {
            return rpassword::prompt_password(
                "Pass phrase of the OpenPGP keys (empty for none): ",
            )
            .map(Zeroizing::new)
            .context("cannot ask for the pass phrase");
        }
        Ok(Zeroizing::default())
    }
}

const PASS_PHRASE: &str = "JIBEK_AUDIT_PGP_PASSPHRASE";
