//! Prints which of the known traps a test covers, and fails on a trap without an entry and on a test that is not there.
//!
//! `traps.toml` has one entry a number: the tests that cover it (`file::function`), or why it cannot occur yet, or
//! both when a part is left.

#![expect(clippy::unwrap_used, reason = "what cannot be read fails the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// The lists, and how many entries each has.
const LISTS: [(&str, u32); 4] = [
    ("message-path", 27),
    ("signatures-and-log", 20),
    ("registry-and-globalconf", 28),
    ("bad-input", 30),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Traps {
    trap: Vec<Trap>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trap {
    list: String,
    number: u32,
    title: String,
    #[serde(default)]
    tests: Vec<String>,
    #[serde(default)]
    not_yet: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Divergences {
    divergence: Vec<Divergence>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Divergence {
    id: String,
    what: String,
    reason: String,
    #[serde(default)]
    tests: Vec<String>,
}

#[test]
fn every_trap_has_a_test_or_a_reason() {
    let traps: Traps = toml::from_str(&read("conformance/traps.toml")).unwrap();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    let mut table = String::from("\ntraps: list, number, what covers it\n");
    let mut sums: BTreeMap<&str, (u32, u32, u32)> = BTreeMap::new();
    for trap in &traps.trap {
        let name = format!("{} {}", trap.list, trap.number);
        if !seen.insert((trap.list.as_str(), trap.number)) {
            wrong.push(format!("{name} stands there twice"));
        }
        wrong.extend(
            trap.tests
                .iter()
                .filter_map(|test| missing(test))
                .map(|why| format!("{name}: {why}")),
        );
        let sum = sums.entry(trap.list.as_str()).or_default();
        let state = match (trap.tests.is_empty(), trap.not_yet.as_deref()) {
            (true, None) => {
                wrong.push(format!("{name} has neither a test nor a reason"));
                continue;
            }
            (true, Some(reason)) => {
                sum.2 += 1;
                format!("not yet   {reason}")
            }
            (false, None) => {
                sum.0 += 1;
                format!("covered   {}", functions(&trap.tests))
            }
            (false, Some(reason)) => {
                sum.1 += 1;
                format!("in part   {}; not yet: {reason}", functions(&trap.tests))
            }
        };
        writeln!(
            table,
            "  {:<24} {:>2}  {:<58} {state}",
            trap.list,
            trap.number,
            shorten(&trap.title, 58)
        )
        .unwrap();
    }
    for (list, count) in LISTS {
        wrong.extend(
            (1..=count)
                .filter(|number| !seen.contains(&(list, *number)))
                .map(|number| format!("{list} {number} is missing")),
        );
        wrong.extend(
            seen.iter()
                .filter(|(name, number)| *name == list && !(1..=count).contains(number))
                .map(|(_, number)| format!("{list} has no number {number}")),
        );
        let (covered, part, not_yet) = sums.get(list).copied().unwrap_or_default();
        writeln!(
            table,
            "{list}: {covered} covered, {part} in part, {not_yet} not yet"
        )
        .unwrap();
    }
    wrong.extend(
        seen.iter()
            .filter(|(list, _)| !LISTS.iter().any(|(name, _)| name == list))
            .map(|(list, _)| format!("there is no list {list}")),
    );
    println!("{table}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_divergence_has_a_reason() {
    let divergences: Divergences = toml::from_str(&read("conformance/divergences.toml")).unwrap();
    let mut seen = BTreeSet::new();
    for divergence in &divergences.divergence {
        assert!(
            seen.insert(divergence.id.as_str()),
            "{} stands there twice",
            divergence.id
        );
        assert!(
            divergence.what.len() > 10 && divergence.reason.len() > 10,
            "{} says nothing",
            divergence.id
        );
        for test in &divergence.tests {
            assert_eq!(missing(test), None, "{}", divergence.id);
        }
    }
}

#[test]
fn a_name_that_does_not_exist_is_noticed() {
    assert_eq!(
        missing("conformance/tests/traps.rs::a_name_that_does_not_exist_is_noticed"),
        None
    );
    assert!(
        missing("conformance/tests/traps.rs::nobody")
            .unwrap()
            .contains("nobody")
    );
    assert!(
        missing("conformance/tests/nowhere.rs::nobody")
            .unwrap()
            .contains("nowhere.rs")
    );
    // A helper is not a test.
    assert!(
        missing("conformance/tests/traps.rs::shorten")
            .unwrap()
            .contains("shorten")
    );
    assert!(missing("only_a_name").is_some());
}

/// Says why `test` does not name a test; nothing if it does.
fn missing(test: &str) -> Option<String> {
    let Some((file, function)) = test.split_once("::") else {
        // A case as data.
        let is_case = test.starts_with("conformance/cases/") && root().join(test).is_file();
        return (!is_case).then(|| format!("{test} is neither file::function nor a case"));
    };
    let Ok(source) = std::fs::read_to_string(root().join(file)) else {
        return Some(format!("{file} does not exist"));
    };
    let lines: Vec<_> = source.lines().map(str::trim_start).collect();
    let is_test = lines.iter().enumerate().any(|(at, line)| {
        let named = ["fn ", "async fn "].iter().any(|start| {
            line.strip_prefix(start)
                .and_then(|rest| rest.strip_prefix(function))
                .is_some_and(|rest| rest.starts_with('('))
        });
        // The attribute stands above, perhaps with others in between; a property test has it inside a macro.
        named
            && lines[at.saturating_sub(6)..at]
                .iter()
                .any(|above| above.starts_with("#[test") || above.starts_with("#[tokio::test"))
    });
    (!is_test).then(|| format!("{file} has no test {function}"))
}

fn functions(tests: &[String]) -> String {
    tests
        .iter()
        .map(|test| test.rsplit("::").next().unwrap_or(test))
        .collect::<Vec<_>>()
        .join(", ")
}

fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        text.to_owned()
    } else {
        text.chars().take(most - 1).chain(['…']).collect()
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
