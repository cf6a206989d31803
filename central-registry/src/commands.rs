//! What an operator can tell the registry on the command line.

use std::{
    fmt::Display,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use jibek_certs::time::{Clock, SystemClock};
use jibek_conf::{
    Anchor, ConfDir, FetchOptions, Fetcher, History, Snapshot, diff::diff as differences,
    fetch::PrivatePart, files::read_bounded,
};
use jibek_registry::{
    Config,
    keys::{self, Keys, Kind},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Which signing key: `internal 2`.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Whose directory it signs.
    kind: KindName,
    /// Its number, from `keys list`.
    number: u16,
    /// The registry's file.
    #[arg(long)]
    config: PathBuf,
    /// Do it now, although servers may lose their configuration until they have the new anchor.
    #[arg(long)]
    now: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KindName {
    /// For federation partners.
    External,
    /// For servers of the own instance.
    Internal,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Lets a key sign from the next publication on; one validity period after it was first announced.
    Activate(Which),
    /// Makes a further key. It is announced with the next publication, and does not sign yet.
    Add {
        /// Whose directory it will sign.
        kind: KindName,
        /// The registry's file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Prints the certificates of all keys of a kind, for the `[[registry]]` of another registry of this instance.
    Export {
        /// Whose directory they sign.
        kind: KindName,
        /// The registry's file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Lists the keys: which signs, and since when the others are announced.
    List {
        /// The registry's file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Removes a key that does not sign; one validity period after another one began to.
    Remove(Which),
}

#[derive(Debug, Subcommand)]
pub(crate) enum AnchorCommand {
    /// Prints what an anchor says, with the hash that operators compare.
    Show {
        /// The anchor.
        file: PathBuf,
    },
    /// Fetches what an anchor of a partner leads to, as servers will, and says whether it may stand under `[[partner]]`.
    Try {
        /// The anchor.
        file: PathBuf,
        /// Ask only the plain HTTP addresses.
        #[arg(long)]
        no_https: bool,
    },
}

impl From<KindName> for Kind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::External => Self::External,
            KindName::Internal => Self::Internal,
        }
    }
}

pub(crate) fn keys(command: &KeysCommand) -> anyhow::Result<()> {
    match command {
        KeysCommand::Activate(which) => {
            let config = Config::read(&which.config)?;
            let when = (SystemClock.now(), config.validity);
            let key = (which.kind.into(), which.number);
            keys::activate(&config.keys_dir(), key, config.key, when, which.now)?;
            say(format_args!(
                "the {} key {} signs from the next publication on",
                Kind::from(which.kind).name(),
                which.number
            ))
        }
        KeysCommand::Add { kind, config } => {
            let config = Config::read(config)?;
            let number = keys::add(&config.keys_dir(), (*kind).into(), config.key)?;
            say(format_args!(
                "the {} key {number} is announced with the next publication; it can be activated {} s after that",
                Kind::from(*kind).name(),
                config.validity.as_secs()
            ))
        }
        KeysCommand::Export { kind, config } => {
            let config = Config::read(config)?;
            let keys = Keys::open(&config.keys_dir(), config.key)?;
            let mut out = std::io::stdout();
            for key in keys.all((*kind).into()) {
                write!(out, "{}", key.certificate().to_pem())?;
            }
            Ok(())
        }
        KeysCommand::List { config } => {
            let config = Config::read(config)?;
            let keys = Keys::open(&config.keys_dir(), config.key)?;
            for kind in [Kind::Internal, Kind::External] {
                for key in keys.all(kind) {
                    let signs = keys.of(kind).number() == key.number();
                    say(format_args!(
                        "{}",
                        key_line(kind, key, signs, config.validity)
                    ))?;
                }
            }
            Ok(())
        }
        KeysCommand::Remove(which) => {
            let config = Config::read(&which.config)?;
            let when = (SystemClock.now(), config.validity);
            let key = (which.kind.into(), which.number);
            keys::remove(&config.keys_dir(), key, config.key, when, which.now)?;
            say(
                "removed; hand out the new anchor: servers that were off since before the new key was announced need it",
            )
        }
    }
}

fn key_line(kind: Kind, key: &keys::SigningKey, signs: bool, validity: Duration) -> String {
    let moment = |at: Option<OffsetDateTime>| {
        at.and_then(|at| at.format(&Rfc3339).ok())
            .unwrap_or_else(|| "never yet".to_owned())
    };
    let state = match (signs, key.announced()) {
        (true, _) => format!("signs, since {}", moment(key.activated())),
        (false, None) => "to be announced with the next publication".to_owned(),
        (false, announced) => format!(
            "announced since {}, may sign after {}",
            moment(announced),
            moment(announced.map(|at| at + validity))
        ),
    };
    let digest: String = key
        .certificate()
        .sha256()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{} {}  {digest}  {state}", kind.name(), key.number())
}

pub(crate) fn anchor(command: &AnchorCommand) -> anyhow::Result<()> {
    let (file, trial) = match command {
        AnchorCommand::Show { file } => (file, None),
        AnchorCommand::Try { file, no_https } => (file, Some(*no_https)),
    };
    let anchor = Anchor::parse(read_bounded(file)?)
        .with_context(|| format!("{} is not usable", file.display()))?;
    say(format_args!("instance {}", anchor.instance()))?;
    say(format_args!("hash     {}", anchor.hash()))?;
    for source in anchor.sources() {
        say(format_args!(
            "source   {} ({} keys)",
            source.url,
            source.certificates.len()
        ))?;
    }
    trial.map_or(Ok(()), |no_https| try_out(anchor, no_https))
}

/// What X-Road asks of a partner's anchor: its configuration can be fetched, and it is the external one.
fn try_out(anchor: Anchor, no_https: bool) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("jibek-registry-try-{}", std::process::id()));
    let mut options = FetchOptions::default();
    options.private = PrivatePart::Optional;
    if no_https {
        options.https = jibek_conf::fetch::HttpsUse::Never;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut fetcher = Fetcher::new(anchor, ConfDir::new(&folder), options)?;
    let fetched = runtime.block_on(fetcher.refresh(SystemClock.now()));
    let _ = std::fs::remove_dir_all(&folder);
    let snapshot = fetched?;
    if snapshot.private().is_some() {
        bail!(
            "this is the anchor of an internal configuration; ask the partner for the external one"
        );
    }
    say(format_args!(
        "fetched  version {}, {} servers; it may stand under [[partner]]",
        snapshot
            .version(snapshot.own_instance())
            .unwrap_or_default(),
        snapshot.servers().count()
    ))
}

/// Whether anything differs; says what.
pub(crate) fn diff(
    a: &str,
    b: &str,
    config: Option<&Path>,
    history: Option<PathBuf>,
) -> anyhow::Result<bool> {
    let history = match (config, history) {
        (Some(config), _) => Some(Config::read(config)?.history_dir()),
        (None, history) => history,
    };
    let (before, after) = (
        configuration(a, history.as_deref())?,
        configuration(b, history.as_deref())?,
    );
    let changes = differences(&before, &after);
    for change in &changes {
        say(change)?;
    }
    Ok(!changes.is_empty())
}

fn configuration(named: &str, history: Option<&Path>) -> anyhow::Result<Snapshot> {
    if Path::new(named).is_dir() {
        return Ok(ConfDir::new(named).read()?);
    }
    let Ok(moment) = OffsetDateTime::parse(named, &Rfc3339) else {
        bail!("{named} is neither a folder nor a time such as 2026-11-23T08:00:00Z");
    };
    let Some(history) = history else {
        bail!("{named} is a time: say --config or --history, too");
    };
    let history = History::open(history)?;
    let Some((_, directory)) = history.at(moment) else {
        match history.changes().first() {
            Some(first) => bail!("the history begins at {first}"),
            None => bail!("there is no history in {}", history.path().display()),
        }
    };
    Ok(directory.read()?)
}

fn say(what: impl Display) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{what}")?;
    Ok(())
}
