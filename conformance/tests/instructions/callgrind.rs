//! Reading what callgrind wrote.

use serde::Deserialize;

/// What was counted.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counted {
    /// Instructions of functions that Rust compiled.
    pub(crate) instructions: u64,
    /// Calls for memory.
    pub(crate) allocations: u64,
}

/// The work that a dump was written at the end of.
pub(crate) fn ended(dump: &str) -> Option<String> {
    let trigger = dump
        .lines()
        .find_map(|line| line.strip_prefix("desc: Trigger: "))?;
    let (_, work) = trigger.split_once("ended_")?;
    Some(work.chars().take_while(char::is_ascii_alphabetic).collect())
}

impl Counted {
    /// Sums up a dump without compressed names: lines `fn=` and `cfn=` name functions, `calls=` precedes a line with what the callee
    /// cost, every other line of numbers is a place and what it cost itself.
    pub(crate) fn read(dump: &str) -> Self {
        let mut counted = Self::default();
        let (mut is_rust, mut allocates, mut is_call) = (false, false, false);
        for line in dump.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                is_rust = name.contains("::");
            } else if let Some(name) = line.strip_prefix("cfn=") {
                let name = name.split('\'').next().unwrap_or(name);
                allocates = matches!(name, "malloc" | "calloc" | "realloc" | "posix_memalign");
            } else if let Some(calls) = line.strip_prefix("calls=") {
                is_call = true;
                if allocates && is_rust {
                    counted.allocations += first_number(calls);
                }
            } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
                if !is_call && is_rust {
                    let cost = line.split_ascii_whitespace().nth(1);
                    counted.instructions += cost.map_or(0, first_number);
                }
                is_call = false;
            }
        }
        counted
    }
}

fn first_number(text: &str) -> u64 {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|it| it.parse().ok()).unwrap_or_default()
}
