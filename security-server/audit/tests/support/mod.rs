//! What the tests of the program have in common: fixtures, and running it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests may panic, print, and write files that need not last"
)]

use bytes::Bytes;
use jibek_evidence::container::{Container, ContainerLimits};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The fixtures, unless they are absent here.
pub fn fixtures(test: &str) -> Option<PathBuf> {
    let root = std::env::var_os("JIBEK_XROAD_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/xroad"),
        PathBuf::from,
    );
    if !root.is_dir() {
        absent(test, "fixtures absent");
        return None;
    }
    Some(root)
}

/// Whether a program is here; says so if not.
pub fn has_program(test: &str, program: &str, arguments: &[&str]) -> bool {
    let found = Command::new(program)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        absent(
            test,
            &format!("no {program} that takes {}", arguments.join(" ")),
        );
    }
    found
}

fn absent(test: &str, why: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{why}"
    );
    println!("SKIPPED {test}: {why}");
}

/// What the program printed and with which status it left.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub out: String,
    pub error: String,
}

impl Ran {
    pub fn of(output: &Output) -> Self {
        Self {
            status: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            error: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    pub fn objects(&self) -> Vec<serde_json::Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Runs `jibek-audit verify`.
pub fn verify(conf: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jibek-audit"));
    command.arg("verify").arg("--conf").arg(conf);
    Ran::of(&command.args(arguments).output().unwrap())
}

/// The `.asice` entries of an archive, in the order of its `linkinginfo`.
pub fn archived(archive: &Path) -> Vec<(String, Bytes)> {
    let bytes = std::fs::read(archive).unwrap();
    let archive = Container::read(&bytes, &ContainerLimits::default()).unwrap();
    let links = std::str::from_utf8(archive.entry("linkinginfo").unwrap()).unwrap();
    links
        .lines()
        .skip(1)
        .map(|line| {
            let (_, name) = line.split_once(' ').unwrap();
            (name.to_owned(), archive.entry(name).unwrap().clone())
        })
        .collect()
}

/// Writes a file, and the directories above it.
pub fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}
