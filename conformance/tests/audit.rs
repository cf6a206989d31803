//! The auditor at the log of a server that is at work, and at a copy taken meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it met by failing, its helpers too"
)]

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::Response;
use jibek_audit::{Configuration, Counts, Line, VerifyOptions, verify};
use jibek_conf::snapshot::Snapshot;
use jibek_conformance::world::World;

/// What the auditor says of some directories, with the lines that are not plainly valid.
fn audit(dirs: &[PathBuf], snapshot: &Snapshot) -> (Counts, Vec<String>) {
    let configuration = Configuration::fixed(snapshot.clone());
    let (mut counts, mut odd) = (Counts::default(), Vec::new());
    verify(dirs, &VerifyOptions::default(), &configuration, |line| {
        counts.add(&line, true);
        if line.standing(true).exit_code() != 0 && !is_unstamped(&line) {
            odd.push(format!("{line:?}"));
        }
        Ok(())
    })
    .unwrap();
    (counts, odd)
}

/// Whether a record only waits for its stamp.
fn is_unstamped(line: &Line) -> bool {
    format!("{line:?}").contains("no time-stamp yet")
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else if let Err(error) = std::fs::copy(entry.path(), &target) {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_logs_and_copies_taken_mid_write_are_judged() {
    let world = World::builder()
        .build(|call| Response::new(call.body.clone()))
        .await;
    let logs = [0, 1].map(|server| world.server_dir(server).join("log"));
    let snapshot = world.running.server(0).inside.configuration();
    let done = Arc::new(AtomicBool::new(false));
    let auditor = std::thread::spawn({
        let (done, logs, snapshot) = (Arc::clone(&done), logs.clone(), Arc::clone(&snapshot));
        move || {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) || looks == 0 {
                let mut dirs = logs.to_vec();
                let copies = logs.each_ref().map(|log| {
                    let target = tempfile::tempdir().unwrap();
                    copy(log, target.path());
                    target
                });
                dirs.extend(copies.iter().map(|it| it.path().to_owned()));
                let (_, odd) = audit(&dirs, &snapshot);
                assert!(odd.is_empty(), "{odd:#?}");
                looks += 1;
            }
            looks
        }
    });
    let mut exchanges = 0;
    for round in 0..4 {
        for body in [0, 1_000, 400_000] {
            let request = world
                .rest("POST", "/echo")
                .header("X-Road-Id", format!("{round}-{body}"));
            let answer = world.send(request, vec![7; body]).await;
            assert_eq!(answer.status(), 200);
            exchanges += 1;
        }
        world.stamp().await;
    }
    done.store(true, Ordering::Relaxed);
    let looks = tokio::task::spawn_blocking(|| auditor.join().unwrap())
        .await
        .unwrap();
    let (counts, odd) = audit(&logs, &snapshot);
    assert!(odd.is_empty(), "{odd:#?}");
    // request and answer, at both servers
    assert_eq!((counts.valid, counts.cannot_judge), (exchanges * 4, 0));
    assert_eq!(counts.whole_valid, 2);
    assert!(looks > 0);
    world.finish().await;
}
