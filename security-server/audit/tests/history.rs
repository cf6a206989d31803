//! Judged by the configuration of the time, from what a registry kept.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests may panic, and write files that need not last"
)]

mod support;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};
use support::{Ran, fixtures, put};

/// Puts a configuration of the fixtures where a registry would have kept it.
fn keep(root: &Path, history: &Path, time: &str, configuration: &str) {
    copy(
        &root.join("globalconf").join(configuration),
        &history.join(time),
    );
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            put(&target, std::fs::read(entry.path()).unwrap());
        }
    }
}

fn verify(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jibek-audit"));
    command
        .arg("verify")
        .args(arguments.iter().map(|it| it.as_ref()));
    Ran::of(&command.output().unwrap())
}

#[test]
fn each_container_is_judged_by_the_configuration_of_its_time() {
    let Some(root) = fixtures("each_container_is_judged_by_the_configuration_of_its_time") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    // the archives are of October 2023, the containers of the table of December 2024
    keep(&root, &one, "20230101T000000.000000000Z", "globalconf_cs");
    keep(
        &root,
        &one,
        "20240601T000000.000000000Z",
        "globalconf_good2_v3",
    );
    put(
        &one.join("20240701T000000.000000000Z.tmp/instance-identifier"),
        "X",
    );
    put(&one.join("signed/20240701T000000.000000000Z/V3"), "");
    let archives = root.join("archives");
    let container = root.join("asic/valid-batch-ts.asice");
    let history = OsString::from("--conf-history");
    let ran = verify(&[&history, &one, &"--json", &archives, &container]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let objects = ran.objects();
    let since: Vec<&str> = objects
        .iter()
        .filter_map(|it| it["configuration_since"].as_str())
        .collect();
    assert_eq!(since.len(), 22);
    assert!(since[..21].iter().all(|it| *it == "2023-01-01T00:00:00Z"));
    assert_eq!(since[21], "2024-06-01T00:00:00Z");

    // by that of a moment
    for (moment, status) in [
        ("2024-06-01T00:00:00Z", 0),
        ("2030-01-01T05:00:00+06:00", 0),
        ("2024-05-31T23:59:59Z", 2),
        ("2022-12-31T23:59:59Z", 2),
        ("yesterday", 64),
    ] {
        let ran = verify(&[&history, &one, &"--conf-at", &moment, &container]);
        assert_eq!(ran.status, status, "{moment}: {ran:?}");
    }
    let ran = verify(&[&"--conf-at", &"2024-06-01T00:00:00Z", &container]);
    assert_eq!(ran.status, 64, "{ran:?}");

    // before the first
    keep(
        &root,
        &other,
        "20240101T000000.000000000Z",
        "globalconf_good2_v3",
    );
    let ran = verify(&[&history, &other, &archives]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(
        ran.out.contains("no configuration of 2023-10-23T12:13:27Z was kept: the first is of 2024-01-01T00:00:00Z"),
        "{ran:?}"
    );
    // two registries: the one that changed last counts
    let ran = verify(&[&history, &one, &history, &other, &archives, &container]);
    assert_eq!(ran.status, 0, "{ran:?}");
    keep(&root, &other, "20241101T000000.000000000Z", "globalconf_cs");
    let ran = verify(&[&history, &one, &history, &other, &container]);
    assert_eq!(ran.status, 2, "{ran:?}");
}

#[test]
fn a_history_that_cannot_be_read_judges_nothing() {
    let Some(root) = fixtures("a_history_that_cannot_be_read_judges_nothing") else {
        return;
    };
    let container = root.join("asic/valid-batch-ts.asice");
    let folder = tempfile::tempdir().unwrap();
    let history = OsString::from("--conf-history");
    let empty: PathBuf = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    put(
        &folder
            .path()
            .join("broken/20240101T000000.000000000Z/instance-identifier"),
        "DEV",
    );
    for (dir, words) in [
        ("none", ""),
        ("empty", "no configuration was kept"),
        ("broken", "is not usable"),
    ] {
        let ran = verify(&[&history, &folder.path().join(dir), &container]);
        assert_eq!(ran.status, 2, "{dir}: {ran:?}");
        assert!(ran.out.contains(words), "{dir}: {ran:?}");
    }
}
