//! What sealing, opening, logging and verifying a message costs, in instructions and allocations: times are noise here, counts are not.
//!
//! The program runs itself under valgrind's callgrind, which counts. Only functions of Rust count: the cryptographic library and libc
//! choose their code by the processor. What was counted is compared with `instructions.toml`; more is a failure, and so is much less,
//! which belongs written down. `JIBEK_PIN=1 cargo test -p jibek-conformance --test instructions` writes it anew.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it met by failing, its helpers too"
)]

#[path = "instructions/callgrind.rs"]
mod callgrind;
#[path = "instructions/work.rs"]
mod work;

use std::{collections::BTreeMap, path::Path, process::Command};

use callgrind::Counted;
use jibek_conf::files::atomic_write;

/// What is counted, and for how many messages each is done.
const WORKS: [(&str, u64); 4] = [
    ("seal", work::SEALED),
    ("open", work::OPENED),
    ("append", work::APPENDED),
    ("verify", work::VERIFIED),
];

#[test]
fn counts_are_those_that_were_pinned() {
    let name = "counts_are_those_that_were_pinned";
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("SKIPPED {name}: no valgrind");
        return;
    }
    let counted = count();
    let pins = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/instructions/instructions.toml");
    for (work, found) in &counted {
        println!(
            "COUNTED {work} {} instructions {} allocations a message",
            found.instructions, found.allocations
        );
    }
    if std::env::var_os("JIBEK_PIN").is_some() {
        atomic_write(&pins, pinned(&counted).as_bytes()).unwrap();
        return;
    }
    let text = std::fs::read_to_string(&pins).unwrap();
    let expected: BTreeMap<String, Counted> = toml::from_str(&text).unwrap();
    assert_eq!(expected.len(), counted.len());
    let mut wrong = Vec::new();
    for (work, found) in &counted {
        let expected = &expected[work];
        for (what, found, expected) in [
            ("instructions", found.instructions, expected.instructions),
            ("allocations", found.allocations, expected.allocations),
        ] {
            // one more where there are few
            let room = (expected * TOLERANCE_PERCENT).div_ceil(100);
            if found.abs_diff(expected) > room {
                wrong.push(format!("{work}: {found} {what}, pinned are {expected}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nfind out why; if it should be so, JIBEK_PIN=1 cargo test -p jibek-conformance --test instructions",
        wrong.join("\n")
    );
}

/// Runs the work under callgrind, and takes from each dump what the work cost.
fn count() -> BTreeMap<String, Counted> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("callgrind.out");
    let ran = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--compress-strings=no",
            "--compress-pos=no",
        ])
        .arg("--dump-before=*work::counted_*")
        .arg("--dump-before=*work::ended_*")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_work", "--nocapture", "--test-threads=1"])
        .env("JIBEK_COUNTED", "1")
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    let mut counted = BTreeMap::new();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let text = std::fs::read(file.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&text);
        let Some(work) = callgrind::ended(&text) else {
            continue;
        };
        let (_, messages) = WORKS.iter().find(|(name, _)| *name == work).unwrap();
        let all = Counted::read(&text);
        let each = Counted {
            instructions: all.instructions / messages,
            allocations: all.allocations / messages,
        };
        assert!(counted.insert(work, each).is_none());
    }
    assert_eq!(counted.len(), WORKS.len(), "{counted:?}");
    counted
}

fn pinned(counted: &BTreeMap<String, Counted>) -> String {
    let mut text = "# What a message costs: instructions of Rust code, and allocations that Rust code asks for, in the profile of the tests.\n# JIBEK_PIN=1 cargo test -p jibek-conformance --test instructions\n".to_owned();
    for (work, counted) in counted {
        text.push_str(&format!(
            "\n[{work}]\ninstructions = {}\nallocations = {}\n",
            counted.instructions, counted.allocations
        ));
    }
    text
}

/// What is counted; without callgrind it does nothing.
#[test]
fn the_work() {
    if std::env::var_os("JIBEK_COUNTED").is_some() {
        work::all();
    }
}

/// How far counts may be from what was pinned. Keys, times and the seeds of hash tables differ from run to run.
const TOLERANCE_PERCENT: u64 = 4;
