//! Places at which a process meets a fault that its environment chose. Only in builds with the feature `fault-points`.
//!
//! `JIBEK_FAULT` names them: `NAME=ACTION[@PASS][xTIMES]`, several separated by commas. At the `PASS`th time (from 1) that
//! the process comes to the place, and `TIMES` times in a row (once), `ACTION` happens:
//!
//! | action | what |
//! |---|---|
//! | `kill` | the process ends before the step, as by `kill -9` |
//! | `kill-after` | the step is done, then the process ends; only at operations on files |
//! | `torn` | half of a write is done, then the process ends |
//! | `io`, `full` | the operation fails with EIO or ENOSPC, a write with half of it done; the process goes on |
//!
//! Operations on files are places by themselves: `write:segment`, `write:header`, `write:index`, `write:body`,
//! `create:…`, `reserve:…`, `end:…`, `punch:…`, `remove:…`, `rename:index`, and `sync:` with the name of each
//! [`SyncSite`](crate::fs::SyncSite). The steps of a message are places by [`fault_point!`](crate::fault_point).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What happens at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Full,
    Io,
    Kill,
    KillAfter,
    Torn,
}

#[derive(Debug)]
struct Planned {
    name: String,
    action: Action,
    first: u64,
    times: u64,
    passed: AtomicU64,
}

/// Comes to the place `name`. May not return.
pub fn pass(name: &str) {
    if due(name).is_some() {
        die();
    }
}

/// What is to happen now at `name`, told in the program's log.
pub(crate) fn due(name: &str) -> Option<Action> {
    static PLAN: OnceLock<Vec<Planned>> = OnceLock::new();
    let planned = PLAN.get_or_init(plan).iter().find(|it| it.name == name)?;
    let pass = planned
        .passed
        .fetch_add(1, Ordering::SeqCst)
        .saturating_add(1);
    let due = pass >= planned.first && pass < planned.first.saturating_add(planned.times);
    if due {
        tracing::error!(place = name, action = ?planned.action, pass, "{REACHED}");
    }
    due.then_some(planned.action)
}

/// Ends the process at once: nothing is flushed, closed or unwound.
pub(crate) fn die() -> ! {
    std::process::abort()
}

/// Length of a segment, when the environment wants short ones so that many begin and end.
pub(crate) fn segment_bytes() -> Option<u64> {
    std::env::var_os("JIBEK_SEGMENT_BYTES")?
        .to_str()?
        .parse()
        .ok()
}

fn plan() -> Vec<Planned> {
    let text = std::env::var_os("JIBEK_FAULT").unwrap_or_default();
    let text = text.to_string_lossy();
    let planned: Vec<_> = text.split(',').filter_map(planned).collect();
    // A plan that is not understood must not pass for one that was carried out.
    if planned.len() != text.split(',').filter(|it| !it.is_empty()).count() {
        tracing::error!(%text, "JIBEK_FAULT is not understood");
        die();
    }
    planned
}

fn planned(text: &str) -> Option<Planned> {
    let (name, rest) = text.split_once('=')?;
    let (rest, times) = rest.split_once('x').unwrap_or((rest, "1"));
    let (action, first) = rest.split_once('@').unwrap_or((rest, "1"));
    let action = match action {
        "full" => Action::Full,
        "io" => Action::Io,
        "kill" => Action::Kill,
        "kill-after" => Action::KillAfter,
        "torn" => Action::Torn,
        _ => return None,
    };
    Some(Planned {
        name: name.to_owned(),
        action,
        first: first.parse().ok()?,
        times: times.parse().ok()?,
        passed: AtomicU64::new(0),
    })
}

/// What the log of a program says where a fault happened.
const REACHED: &str = "fault point";
