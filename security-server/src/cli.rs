//! The command line of `jibek-server`: run the server, or bring one up by hand under any X-Road CA.
//!
//! ```text
//! jibek-server key new --usage auth --kind rsa2048
//! jibek-server csr 0123456789abcdef --subject C=KG,O=GOV,CN=ss1 --out auth.csr
//! jibek-server import auth.crt
//! jibek-server run
//! ```

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jibek_certs::{Certificate, KeyKind};

use crate::{
    config::{Config, ConfigError},
    keys::{KeyEntry, KeyId, KeyUsage, PinError, Token, TokenError},
};

/// The security server: signs, time-stamps and logs messages between information systems.
#[derive(Debug, Parser)]
#[command(name = "jibek-server", version, about)]
#[expect(clippy::exhaustive_structs, reason = "made by clap alone")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `jibek-server` can do.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Make a certificate request (PKCS#10) for a key.
    Csr(CsrArgs),
    /// Keep a certificate (PEM or DER) beside the key it belongs to.
    Import(ImportArgs),
    /// Make and list keys of the software token.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Run the server.
    Run(ConfigArgs),
}

/// Where the configuration is.
#[derive(Debug, Args)]
#[expect(clippy::exhaustive_structs, reason = "made by clap alone")]
pub struct ConfigArgs {
    /// The server's file.
    #[arg(long, default_value = "jibek-server.toml")]
    pub config: PathBuf,
}

/// Commands about keys.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum KeyCommand {
    /// List the keys and their certificates.
    List(ConfigArgs),
    /// Make a key. The first one makes the token, under the PIN that is given then.
    New(NewKeyArgs),
}

/// Arguments of `key new`.
#[derive(Debug, Args)]
#[expect(clippy::exhaustive_structs, reason = "made by clap alone")]
pub struct NewKeyArgs {
    /// What the key is for: TLS with other servers, or signing a member's messages.
    #[arg(long)]
    pub usage: Usage,
    /// Its kind.
    #[arg(long, default_value = "rsa2048")]
    pub kind: Kind,
    /// Where the configuration is.
    #[command(flatten)]
    pub place: ConfigArgs,
}

/// Arguments of `csr`.
#[derive(Debug, Args)]
#[expect(clippy::exhaustive_structs, reason = "made by clap alone")]
pub struct CsrArgs {
    /// The key, as `key list` names it.
    pub key: String,
    /// The subject in the order wanted, as `C=KG,O=GOV,CN=ss1`; a comma within a value is written `\,`.
    #[arg(long)]
    pub subject: String,
    /// The file to write (PEM); standard output when absent.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Where the configuration is.
    #[command(flatten)]
    pub place: ConfigArgs,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
#[expect(clippy::exhaustive_structs, reason = "made by clap alone")]
pub struct ImportArgs {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// Where the configuration is.
    #[command(flatten)]
    pub place: ConfigArgs,
}

/// What a key is for, on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[expect(clippy::exhaustive_enums, reason = "made by clap alone")]
pub enum Usage {
    /// TLS with other servers.
    Auth,
    /// Signing a member's messages.
    Sign,
}

/// A kind of key, on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[expect(clippy::exhaustive_enums, reason = "made by clap alone")]
pub enum Kind {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file could not be read or written.
    #[error("cannot {what} {path}: {reason}", path = path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The key's name is malformed.
    #[error("`{0}` is no key's name: 16 hexadecimal digits, as `jibek-server key list` shows them")]
    KeyName(String),
    /// There is no token yet.
    #[error("there is no token in {path} yet; `jibek-server key new` makes it", path = .0.display())]
    NoToken(PathBuf),
    /// This command is not carried out here.
    #[error("the server is run by its main program")]
    NotHere,
    /// Standard output is gone.
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
    /// There is no PIN.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The subject is malformed.
    #[error("`{0}` is no subject: write it as C=KG,O=GOV,CN=ss1")]
    Subject(String),
    /// The token refused.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Carries out every command but `run`, and writes what it has to say to `out`.
///
/// # Errors
/// [`CliError`]; nothing was changed then.
pub fn run(command: &Command, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        Command::Csr(args) => csr(args, out),
        Command::Import(args) => import(args, out),
        Command::Key(KeyCommand::List(place)) => list(place, out),
        Command::Key(KeyCommand::New(args)) => new_key(args, out),
        Command::Run(_) => Err(CliError::NotHere),
    }
}

/// Returns the folder of the token under a server's state.
pub fn token_directory(config: &Config) -> PathBuf {
    config.state_dir.join("token")
}

fn new_key(args: &NewKeyArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let config = Config::load(&args.place.config)?;
    let directory = token_directory(&config);
    let pin = config.token.pin.read()?;
    let token = if Token::exists(&directory) {
        Token::open(&directory, &pin)?
    } else {
        Token::create(&directory, &pin)?
    };
    let usage = match args.usage {
        Usage::Auth => KeyUsage::Auth,
        Usage::Sign => KeyUsage::Sign,
    };
    let kind = match args.kind {
        Kind::P256 => KeyKind::EcP256,
        Kind::P384 => KeyKind::EcP384,
        Kind::P521 => KeyKind::EcP521,
        Kind::Rsa2048 => KeyKind::Rsa2048,
        Kind::Rsa3072 => KeyKind::Rsa3072,
        Kind::Rsa4096 => KeyKind::Rsa4096,
    };
    let id = token.generate(usage, kind)?;
    writeln!(out, "{id}").map_err(CliError::Output)
}

fn list(place: &ConfigArgs, out: &mut dyn Write) -> Result<(), CliError> {
    for entry in open(&place.config)?.entries() {
        write_entry(&entry, out).map_err(CliError::Output)?;
    }
    Ok(())
}

fn write_entry(entry: &KeyEntry, out: &mut dyn Write) -> io::Result<()> {
    let usage = match entry.usage {
        KeyUsage::Auth => "auth",
        KeyUsage::Sign => "sign",
    };
    writeln!(out, "{}  {usage}  {}", entry.id, entry.kind.name())?;
    for certificate in &entry.certificates {
        let subject = certificate.subject().rfc2253();
        writeln!(
            out,
            "    {subject}, {} to {}",
            certificate.not_before().date(),
            certificate.not_after().date()
        )?;
    }
    if entry.certificates.is_empty() {
        writeln!(
            out,
            "    no certificate yet: jibek-server csr {} --subject …",
            entry.id
        )?;
    }
    Ok(())
}

fn csr(args: &CsrArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let id = KeyId::parse(&args.key).ok_or_else(|| CliError::KeyName(args.key.clone()))?;
    let subject = subject(&args.subject).ok_or_else(|| CliError::Subject(args.subject.clone()))?;
    let pairs: Vec<(&str, &str)> = subject
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let pem = open(&args.place.config)?.csr_pem(&id, &pairs)?;
    match &args.out {
        Some(path) => {
            jibek_conf::files::atomic_write(path, pem.as_bytes()).map_err(|error| CliError::File {
                what: "write",
                path: path.clone(),
                reason: crate::outbound::chain(&error),
            })
        }
        None => out.write_all(pem.as_bytes()).map_err(CliError::Output),
    }
}

fn import(args: &ImportArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let failed = |reason: String| CliError::File {
        what: "read",
        path: args.certificate.clone(),
        reason,
    };
    let bytes = std::fs::read(&args.certificate).map_err(|error| failed(error.to_string()))?;
    let certificate =
        Certificate::from_der_or_pem(&bytes).map_err(|error| failed(error.to_string()))?;
    let id = open(&args.place.config)?.import(&certificate)?;
    writeln!(out, "{id}").map_err(CliError::Output)
}

fn open(config: &Path) -> Result<Token, CliError> {
    let config = Config::load(config)?;
    let directory = token_directory(&config);
    if !Token::exists(&directory) {
        return Err(CliError::NoToken(directory));
    }
    let pin = config.token.pin.read()?;
    Ok(Token::open(&directory, &pin)?)
}

/// `C=KG,O=GOV,CN=ss1` as pairs.
fn subject(text: &str) -> Option<Vec<(String, String)>> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let literal = match character {
            ',' => {
                parts.push(String::new());
                continue;
            }
            '\\' => characters.next()?,
            other => other,
        };
        parts.last_mut()?.push(literal);
    }
    let pair = |part: &String| {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        (!name.is_empty() && !value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    };
    parts.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use jibek_conf::files::atomic_write;

    use super::*;

    fn told(arguments: &[&str], config: &str) -> Result<String, CliError> {
        let place = ["--config", config];
        let line = ["jibek-server"].iter().chain(arguments).chain(&place);
        let cli = Cli::try_parse_from(line).unwrap();
        let mut out = Vec::new();
        run(&cli.command, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_server_is_brought_up_by_hand() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let config = path("jibek-server.toml");
        let text = "server = \"KG/GOV/1/ss1\"\n[token]\npin_file = \"pin\"\n";
        atomic_write(&config, text.as_bytes()).unwrap();
        atomic_write(path("pin"), b"1234\n").unwrap();
        std::fs::set_permissions(path("pin"), Permissions::from_mode(0o600)).unwrap();
        let config = config.to_str().unwrap();

        assert!(matches!(
            told(&["key", "list"], config),
            Err(CliError::NoToken(_))
        ));
        let id = told(&["key", "new", "--usage", "auth", "--kind", "p256"], config).unwrap();
        let id = id.trim();
        assert!(
            told(&["key", "list"], config)
                .unwrap()
                .contains("no certificate yet")
        );
        let (csr, certificate) = (path("auth.csr"), path("auth.crt"));
        told(
            &[
                "csr",
                id,
                "--subject",
                "C=KG,O=GOV,CN=ss1",
                "--out",
                csr.to_str().unwrap(),
            ],
            config,
        )
        .unwrap();
        assert!(matches!(
            told(&["csr", "x", "--subject", "CN=a"], config),
            Err(CliError::KeyName(_))
        ));
        assert!(matches!(
            told(&["csr", id, "--subject", "nothing"], config),
            Err(CliError::Subject(_))
        ));

        let openssl = |arguments: &[&str]| {
            let run = std::process::Command::new("openssl")
                .current_dir(&directory)
                .args(arguments)
                .output()
                .unwrap();
            assert!(
                run.status.success(),
                "{}",
                String::from_utf8_lossy(&run.stderr)
            );
        };
        openssl(&[
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
            "-subj", "/CN=CA",
        ]);
        atomic_write(path("auth.ext"), b"extendedKeyUsage=clientAuth\n").unwrap();
        openssl(&[
            "x509",
            "-req",
            "-in",
            "auth.csr",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "auth.ext",
            "-out",
            "auth.crt",
        ]);
        assert_eq!(
            told(&["import", certificate.to_str().unwrap()], config)
                .unwrap()
                .trim(),
            id
        );
        assert!(
            told(&["key", "list"], config)
                .unwrap()
                .contains("CN=ss1,O=GOV,C=KG")
        );
        let foreign = told(&["import", path("ca.crt").to_str().unwrap()], config).unwrap_err();
        assert!(
            foreign.to_string().contains("no key of this token"),
            "{foreign}"
        );
    }

    #[test]
    fn subjects_are_read_in_order() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            subject("C=KG, O=A\\, B,CN=x=y").unwrap(),
            [pair("C", "KG"), pair("O", "A, B"), pair("CN", "x=y")]
        );
        for wrong in ["", "C", "C=", "=KG", "C=KG,", "C=KG,,CN=a"] {
            assert_eq!(subject(wrong), None, "{wrong}");
        }
    }
}
