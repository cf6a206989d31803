//! Random histories of a log whose process dies and whose power is cut, with what must hold after each.
//!
//! The same histories show that no sync is superfluous: with any one kind left out, one of them loses something.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use std::path::Path;

use jibek_msglog::fs::{SimFs, SyncSite};
use jibek_msglog::{MessageLog, fsck};
use support::model::{Expected, count, events, retire};
use support::{Random, runtime, small};

#[test]
fn no_history_loses_what_was_acknowledged() {
    for seed in OLD_SEEDS.into_iter().chain(0..histories()) {
        if let Err(what) = history(seed, None) {
            panic!("history {seed}: {what}");
        }
    }
}

#[test]
fn each_sync_is_needed() {
    let mut shown = Vec::new();
    for site in SyncSite::ALL {
        let failing = (0..histories().max(400))
            .find_map(|seed| Some((seed, history(seed, Some(site)).err()?)));
        let Some((seed, what)) = failing else {
            panic!("nothing is lost without {site:?}")
        };
        println!("without {site:?}, history {seed}: {what}");
        shown.push(site);
    }
    assert_eq!(shown, SyncSite::ALL);
}

fn history(seed: u64, ignored: Option<SyncSite>) -> Result<(), String> {
    let fs = SimFs::new();
    ignored.into_iter().for_each(|site| fs.ignore(site));
    let mut random = Random::new(seed);
    let mut removals = Random::new(!seed);
    let mut expected = Expected::default();
    let runtime = runtime();
    for round in 0..ROUNDS {
        if random.below(3) == 0 {
            fs.die_after(random.below(if round == 0 { 12 } else { 40 }));
        }
        let opened = MessageLog::open(small("/log"), fs.process());
        match opened {
            Ok((log, report)) => {
                if fs.is_dead() {
                    runtime.block_on(log.close());
                } else {
                    if !report.damage.is_empty() {
                        return Err(format!("round {round}: damage {:?}", report.damage));
                    }
                    expected
                        .check(&log, report.records)
                        .map_err(|what| format!("round {round}: {what}"))?;
                    runtime.block_on(events(&log, &fs, &mut random, &mut expected))?;
                    if removals.below(3) == 0 && !fs.is_dead() {
                        runtime.block_on(retire(&log, &fs, &mut removals, &mut expected, true))?;
                    }
                    if random.below(3) == 0 {
                        runtime.block_on(log.close());
                    }
                }
            }
            Err(_) if fs.is_dead() => {}
            Err(error) => {
                return Err(format!(
                    "round {round}: does not open: {error}: {:?}",
                    std::error::Error::source(&error)
                ));
            }
        }
        // A log that was not closed loses its file system here, as its process would.
        if random.below(3) == 0 {
            fs.kill();
        } else {
            fs.power_cut(random.next());
        }
    }
    let (log, report) = MessageLog::open(small("/log"), fs.process())
        .map_err(|error| format!("at last: {error}"))?;
    expected
        .check(&log, report.records)
        .map_err(|what| format!("at last: {what}"))?;
    runtime.block_on(log.close());
    let report =
        fsck(Path::new("/log"), fs.process().as_ref()).map_err(|error| format!("fsck: {error}"))?;
    if !report.is_clean()
        || !report.notes.is_empty()
        || report.records != count(expected.records.len())
    {
        return Err(format!("fsck: {report}"));
    }
    Ok(())
}

#[test]
fn the_simulation_loses_what_is_not_synced_and_keeps_what_is() {
    let (mut lost, mut torn, mut kept) = (0, 0, 0);
    for seed in 0..60 {
        let machine = SimFs::new();
        let fs = machine.process();
        let file = fs.create(Path::new("/a")).unwrap();
        file.write_at(0, &mut [std::io::IoSlice::new(&[1; 4096])])
            .unwrap();
        file.sync_data(SyncSite::Batch).unwrap();
        fs.sync_dir(Path::new("/"), SyncSite::SegmentDir).unwrap();
        file.write_at(0, &mut [std::io::IoSlice::new(&[2; 4096])])
            .unwrap();
        let unnamed = fs.create(Path::new("/b")).unwrap();
        unnamed.sync_data(SyncSite::Batch).unwrap();
        machine.power_cut(seed);
        assert!(
            file.length().is_err(),
            "handles of the old process are dead"
        );
        let bytes = machine.contents(Path::new("/a")).unwrap();
        let new = bytes.iter().filter(|it| **it == 2).count();
        assert!(
            bytes.len() == 4096 && bytes.iter().all(|it| [1, 2].contains(it)) && new % 512 == 0
        );
        match new {
            0 => lost += 1,
            4096 => kept += 1,
            _ => torn += 1,
        }
        lost += i32::from(machine.contents(Path::new("/b")).is_err());
    }
    assert!(lost > 10 && torn > 10 && kept > 5, "{lost} {torn} {kept}");
}

/// Histories of each run; more of them with `JIBEK_HISTORIES=2000`.
fn histories() -> u64 {
    let wanted = std::env::var_os("JIBEK_HISTORIES").and_then(|it| it.to_str()?.parse().ok());
    wanted.unwrap_or(120)
}

/// Histories that once found a fault, beyond those.
const OLD_SEEDS: [u64; 2] = [46, 223];
const ROUNDS: u64 = 7;
