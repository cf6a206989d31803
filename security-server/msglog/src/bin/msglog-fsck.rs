//! `msglog-fsck DIR`: checks a message log without changing it.
//!
//! Exit status: 0 clean, 1 something acknowledged is damaged, 2 something could not be read.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use jibek_msglog::fs::OsFs;

/// Checks a message log: every frame, body and index, and whether they fit together. Changes nothing, and may run
/// beside the server. Exit status: 0 clean, 1 damaged, 2 unreadable.
#[derive(Debug, Parser)]
#[command(name = "msglog-fsck", version)]
struct Arguments {
    /// Directory of the log.
    dir: PathBuf,
    /// Say nothing but damage.
    #[arg(short, long)]
    quiet: bool,
}

fn main() -> ExitCode {
    let Arguments { dir, quiet } = Arguments::parse();
    let (text, code) = match jibek_msglog::fsck(&dir, OsFs::shared().as_ref()) {
        Ok(report) if report.is_clean() => ((!quiet).then(|| report.to_string()), 0),
        Ok(report) => (Some(report.to_string()), 1),
        Err(error) => (Some(format!("{:#}", anyhow::Error::new(error))), 2),
    };
    // Whoever closed our output does not want to know.
    let _ = text.map(|text| writeln!(std::io::stdout(), "{text}"));
    ExitCode::from(code)
}
