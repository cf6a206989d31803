//! The arrows between crates, and who may use which outside crate, read from `cargo metadata` and `deny.toml`.
//!
//! A new arrow fails here. If it is meant, it goes into `MAY_DEPEND_ON` and into ARCHITECTURE.md in the same change.

#![expect(clippy::unwrap_used, reason = "what cannot be read fails the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What each crate may depend on. Direction: certs, sdk, central-registry, security-server, conformance.
const MAY_DEPEND_ON: [(&str, &[&str]); 11] = [
    ("jibek-certs", &[]),
    ("jibek-dev-pki", &["jibek-certs"]),
    ("jibek-protocol", &[]),
    ("jibek-evidence", &["jibek-certs", "jibek-protocol"]),
    (
        "jibek-sdk",
        &["jibek-certs", "jibek-evidence", "jibek-protocol"],
    ),
    ("jibek-conf", &["jibek-certs", "jibek-protocol"]),
    (
        "jibek-registry",
        &["jibek-certs", "jibek-conf", "jibek-protocol"],
    ),
    ("jibek-msglog", &["jibek-protocol"]),
    (
        "jibek-audit",
        &[
            "jibek-certs",
            "jibek-conf",
            "jibek-evidence",
            "jibek-msglog",
            "jibek-protocol",
        ],
    ),
    (
        "jibek-server",
        &[
            "jibek-certs",
            "jibek-conf",
            "jibek-evidence",
            "jibek-msglog",
            "jibek-protocol",
        ],
    ),
    (
        "jibek-conformance",
        &[
            "jibek-audit",
            "jibek-certs",
            "jibek-conf",
            "jibek-dev-pki",
            "jibek-evidence",
            "jibek-msglog",
            "jibek-protocol",
            "jibek-registry",
            "jibek-sdk",
            "jibek-server",
        ],
    ),
];

/// What a crate's tests may use beyond that: the PKI for tests knows certificates only, and its faults.
const TESTS_MAY_ALSO_USE: [&str; 1] = ["jibek-dev-pki"];

/// Outside crates that mean sockets, clocks or files, which these crates must stay free of.
const FREE_OF_IO: [&str; 2] = ["jibek-protocol", "jibek-evidence"];
const IO_CRATES: [&str; 9] = [
    "axum",
    "hyper",
    "hyper-util",
    "openssl",
    "rustix",
    "rustls",
    "sled",
    "tokio",
    "tokio-rustls",
];

#[test]
fn no_crate_depends_on_what_it_must_not_know() {
    let allowed: BTreeMap<_, _> = MAY_DEPEND_ON.into_iter().collect();
    let packages = packages();
    let names: BTreeSet<_> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(
        names,
        allowed.keys().copied().collect(),
        "a crate is missing in MAY_DEPEND_ON, or gone"
    );
    let mut wrong = Vec::new();
    for package in &packages {
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| names.contains(dependency.name.as_str()))
        {
            let may = allowed[package.name.as_str()].contains(&dependency.name.as_str())
                || (dependency.kind == "dev"
                    && TESTS_MAY_ALSO_USE.contains(&dependency.name.as_str()));
            if !may {
                wrong.push(format!(
                    "{} -> {} ({})",
                    package.name, dependency.name, dependency.kind
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "new arrows: {wrong:#?}");
}

#[test]
fn nothing_depends_in_a_circle() {
    let packages = packages();
    let arrows: BTreeMap<&str, Vec<&str>> = packages
        .iter()
        .map(|package| {
            let to = package
                .dependencies
                .iter()
                .filter(|one| one.kind != "dev")
                .map(|one| one.name.as_str());
            (package.name.as_str(), to.collect())
        })
        .collect();
    // Take away what depends on nothing that is left, until nothing is left.
    let mut left: BTreeSet<&str> = arrows.keys().copied().collect();
    while !left.is_empty() {
        let free: Vec<_> = left
            .iter()
            .copied()
            .filter(|name| !arrows[name].iter().any(|to| left.contains(to)))
            .collect();
        assert!(!free.is_empty(), "a circle among {left:?}");
        for name in free {
            left.remove(name);
        }
    }
}

#[test]
fn protocol_and_evidence_stay_free_of_sockets_and_files() {
    for package in packages()
        .iter()
        .filter(|package| FREE_OF_IO.contains(&package.name.as_str()))
    {
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == "normal")
        {
            assert!(
                !IO_CRATES.contains(&dependency.name.as_str()),
                "{} depends on {}",
                package.name,
                dependency.name
            );
        }
    }
}

#[test]
fn outside_crates_are_used_only_where_deny_toml_lets_them() {
    let mut banned_outright = Vec::new();
    for ban in bans() {
        if ban.wrappers.is_empty() {
            banned_outright.push(ban.name.clone());
        }
        for package in packages() {
            let uses = package
                .dependencies
                .iter()
                .any(|dependency| dependency.name == ban.name);
            assert!(
                !uses || ban.wrappers.contains(&package.name),
                "{} depends on {}: {}",
                package.name,
                ban.name,
                ban.reason
            );
        }
    }
    assert!(
        banned_outright.contains(&"ring".to_owned()),
        "{banned_outright:?}"
    );
    // What is banned outright is not compiled for anybody, through whatever it would come.
    for name in banned_outright {
        let output = Command::new(env!("CARGO"))
            .current_dir(root())
            .args([
                "tree",
                "--workspace",
                "--locked",
                "--offline",
                "--all-features",
                "--edges",
                "normal,build,dev",
            ])
            .args(["--prefix", "none", "--invert", &name])
            .output()
            .unwrap();
        let tree = String::from_utf8_lossy(&output.stdout);
        assert!(tree.trim().is_empty(), "{name} is in the tree:\n{tree}");
    }
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    for package in packages() {
        let manifest: toml::Table = std::fs::read_to_string(&package.manifest)
            .unwrap()
            .parse()
            .unwrap();
        let lints = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        assert_eq!(lints, Some(true), "{}", package.manifest.display());
    }
}

#[test]
fn no_file_is_named_mod_rs_and_none_grows_beyond_the_bound() {
    let mut long = Vec::new();
    for file in sources(&root()) {
        // Tests may share a `common/mod.rs`: cargo would take `common.rs` for a test of its own.
        let in_tests = file.components().any(|part| part.as_os_str() == "tests");
        assert!(in_tests || !file.ends_with("mod.rs"), "{}", file.display());
        let is_test = in_tests || file.file_stem().is_some_and(|stem| stem == "tests");
        let source = std::fs::read_to_string(&file).unwrap();
        // Tests at the end of a file do not count; long ones move to a file of their own by themselves.
        let lines = source
            .split("\n#[cfg(test)]\nmod tests {")
            .next()
            .unwrap()
            .lines()
            .count();
        if lines > MOST_LINES && !is_test {
            long.push(format!("{} has {lines} lines", file.display()));
        }
    }
    assert!(long.is_empty(), "split these: {long:#?}");
}

/// Longest source file without its tests. Files are split by 600; beyond this it is no longer a matter of taste.
const MOST_LINES: usize = 800;

#[derive(Debug)]
struct Package {
    name: String,
    manifest: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Debug)]
struct Dependency {
    name: String,
    kind: String,
}

#[derive(Debug)]
struct Ban {
    name: String,
    wrappers: Vec<String>,
    reason: String,
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| Package {
            name: text(&package["name"]),
            manifest: text(&package["manifest_path"]).into(),
            dependencies: package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .map(|dependency| Dependency {
                    name: text(&dependency["name"]),
                    kind: dependency["kind"].as_str().unwrap_or("normal").to_owned(),
                })
                .collect(),
        })
        .collect()
}

fn bans() -> Vec<Ban> {
    let deny: toml::Table = std::fs::read_to_string(root().join("deny.toml"))
        .unwrap()
        .parse()
        .unwrap();
    deny["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ban| Ban {
            name: ban["crate"].as_str().unwrap().to_owned(),
            wrappers: ban
                .get("wrappers")
                .and_then(toml::Value::as_array)
                .map_or_else(Vec::new, |wrappers| {
                    wrappers
                        .iter()
                        .map(|wrapper| wrapper.as_str().unwrap().to_owned())
                        .collect()
                }),
            reason: ban["reason"].as_str().unwrap().to_owned(),
        })
        .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && name != "target" && name != "state" && !name.starts_with('.') {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
