//! Power cuts and failing disks at every change of the disk in turn, and at random moments of random traffic.
//!
//! `JIBEK_MOMENTS=10000` is the long form (`make torture`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail by panicking and tells what it did"
)]

mod support;

use std::io::ErrorKind;
use std::path::Path;

use jibek_msglog::fs::SimFs;
use jibek_msglog::{MessageLog, fsck};
use support::model::{Expected, count, retire, traffic};
use support::{Random, runtime, small};

/// What happens at the chosen change.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The process is killed; what it wrote stays.
    Kill,
    /// The power is cut, with this seed for what survives.
    PowerCut(u64),
    /// The change fails, the process lives on, and later the power is cut.
    Fails(ErrorKind),
}

#[test]
fn at_every_change_in_turn() {
    let mut faults = 0;
    let undisturbed = SimFs::new();
    in_turn(&undisturbed, None, 0).unwrap();
    let total = undisturbed.changes();
    assert!(total > 150, "{total} changes are too few to say anything");
    for at in 0..total {
        // Each fault at each change in the long form, one of them in the short one.
        let turn = usize::try_from(at).unwrap() % FAULTS.len();
        let chosen = if wanted().is_some() { FAULTS.len() } else { 1 };
        for fault in FAULTS.into_iter().cycle().skip(turn).take(chosen) {
            let fs = SimFs::new();
            if let Err(what) = in_turn(&fs, Some(fault), at) {
                panic!("{fault:?} at change {at} of {total}: {what}");
            }
            faults += 1;
        }
    }
    println!(
        "MOMENTS in turn: {faults} power cuts, kills and failures at each of {total} changes, 0 lost"
    );
}

/// Two lives of one process with a fixed run of traffic, the fault at change `at` of it, and what is found afterwards.
fn in_turn(fs: &SimFs, fault: Option<Fault>, at: u64) -> Result<(), String> {
    let mut expected = Expected::default();
    let mut random = Random::new(TRAFFIC);
    match fault {
        Some(Fault::Kill | Fault::PowerCut(_)) => fs.die_after(at),
        Some(Fault::Fails(kind)) => {
            fs.fail_after(at, kind);
            expected.fails_at = Some(at);
        }
        None => {}
    }
    for acts in [16, 9] {
        life(fs, &mut random, &mut expected, acts)?;
    }
    end(fs, fault, at);
    // Recovery is cut off, too, at one change or other.
    fs.die_after(at % 7);
    let again = life(fs, &mut random, &mut expected, 0);
    if !fs.is_dead() {
        again?;
    }
    end(fs, fault, at.wrapping_mul(31));
    expected.fails_at = None;
    recovered(fs, &mut random, &mut expected)
}

fn end(fs: &SimFs, fault: Option<Fault>, at: u64) {
    match fault {
        Some(Fault::Kill) => fs.kill(),
        Some(Fault::PowerCut(seed)) => fs.power_cut(seed.wrapping_add(at)),
        Some(Fault::Fails(_)) | None => fs.power_cut(at),
    }
}

/// Opens, compares, does `acts`, closes. A process that dies on the way is no error, and neither is a disk that lets
/// nobody open the log.
fn life(fs: &SimFs, random: &mut Random, expected: &mut Expected, acts: u64) -> Result<(), String> {
    let runtime = runtime();
    let (log, report) = match MessageLog::open(small("/log"), fs.process()) {
        Ok(opened) => opened,
        Err(_) if fs.is_dead() || expected.fails_at.is_some() => return Ok(()),
        Err(error) => return Err(format!("does not open: {error}")),
    };
    if !report.damage.is_empty() {
        return Err(format!("damage {:?}", report.damage));
    }
    runtime.block_on(async {
        let done = async {
            if !fs.is_dead() {
                expected.check(&log, report.records)?;
                traffic(&log, fs, random, expected, acts).await?;
                if acts > 0 && !fs.is_dead() {
                    retire(&log, fs, random, expected, false).await?;
                }
            }
            if expected.fails_at.is_some_and(|at| fs.changes() > at) {
                // However one change failed, the log goes on.
                let _ = log.writable().await;
                let sample = expected.sample(random);
                let committed = sample.commit(&log).await;
                let committed = committed.map_err(|error| format!("goes not on: {error}"))?;
                expected.committed(sample, Ok(committed.id()), fs)?;
            }
            Ok(())
        };
        let done = done.await;
        log.close().await;
        if fs.is_dead() { Ok(()) } else { done }
    })
}

/// Whole, clean, and fit for more.
fn recovered(fs: &SimFs, random: &mut Random, expected: &mut Expected) -> Result<(), String> {
    life(fs, random, expected, 5)?;
    let report =
        fsck(Path::new("/log"), fs.process().as_ref()).map_err(|error| format!("fsck: {error}"))?;
    if report.is_clean() && report.notes.is_empty() && report.records == expected.left() {
        Ok(())
    } else {
        Err(format!("fsck: {report}"))
    }
}

#[test]
fn at_random_moments_of_random_traffic() {
    for seed in SEEDS {
        let mut told = Tally::default();
        let mut random = Random::new(seed);
        while told.moments < wanted().unwrap_or(SHORT) {
            let machine = random.next();
            if let Err(what) = machine_life(machine, &mut told) {
                panic!("seed {seed}, machine {machine}: {what}");
            }
        }
        println!(
            "MOMENTS seed {seed}: {} power cuts and kills, {} of them while recovering, {} records acknowledged, 0 lost",
            told.moments, told.recovering, told.records
        );
        assert!(told.records > told.moments, "{told:?}");
    }
}

/// Moments of each seed in the long form.
fn wanted() -> Option<u64> {
    std::env::var_os("JIBEK_MOMENTS").and_then(|it| it.to_str()?.parse().ok())
}

#[derive(Debug, Default)]
struct Tally {
    moments: u64,
    recovering: u64,
    records: u64,
}

/// One disk and the processes on it, each of which dies at some moment.
fn machine_life(seed: u64, told: &mut Tally) -> Result<(), String> {
    let fs = SimFs::new();
    let mut random = Random::new(seed);
    let mut expected = Expected::default();
    for _ in 0..LIVES {
        if random.below(4) == 0 {
            fs.die_after(random.below(14));
            life(&fs, &mut random, &mut expected, 0)?;
            told.recovering += u64::from(fs.is_dead());
        } else {
            // All that is there must be whole before more comes.
            recovered(&fs, &mut random, &mut expected)?;
            fs.die_after(random.below(70));
            life(&fs, &mut random, &mut expected, 40)?;
        }
        told.moments += u64::from(fs.is_dead());
        if random.below(4) == 0 {
            fs.kill();
        } else {
            fs.power_cut(random.next());
        }
    }
    recovered(&fs, &mut random, &mut expected)?;
    told.records += count(expected.records.len() + expected.removed.len());
    Ok(())
}

const FAULTS: [Fault; 6] = [
    Fault::Kill,
    Fault::PowerCut(1),
    Fault::PowerCut(2),
    Fault::PowerCut(3),
    Fault::Fails(ErrorKind::Other),
    Fault::Fails(ErrorKind::StorageFull),
];
/// A run of traffic with bodies of both kinds, stamps, drops and several segments.
const TRAFFIC: u64 = 7;
const SEEDS: [u64; 2] = [1, 2];
/// Moments of each seed without `JIBEK_MOMENTS`.
const SHORT: u64 = 100;
const LIVES: u64 = 8;
