//! Options that several commands have.

use anyhow::Context;
use clap::Args;
use jibek_audit::{
    Configuration, Decryptor, KeptHistory, fetch_configuration, read_configuration, read_profiles,
};
use jibek_certs::time::{Clock, SystemClock};
use jibek_conf::snapshot::Snapshot;
use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
};
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
    /// File that declares certificate profiles which X-Road does not bring along; a security server's own file will do.
    #[arg(long, value_name = "FILE")]
    profiles: Option<PathBuf>,
}

impl ConfigurationOptions {
    /// What containers are judged by, each by that of its time where there is a choice.
    pub(super) fn configuration(&self) -> anyhow::Result<Configuration> {
        Ok(Configuration::fixed(self.load()?))
    }

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
            writeln!(io::stderr(), "jibek-audit: {warning}").context("cannot write")?;
        }
        Ok(configuration)
    }
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
