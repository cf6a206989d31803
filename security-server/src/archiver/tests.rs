use std::{
    collections::BTreeMap,
    io::Cursor,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bytes::Bytes;
use jibek_certs::time::TestClock;
use jibek_evidence::archive::{Archive, ArchiveLimits, VerifiedArchive, join};
use jibek_msglog::{
    Direction, Kind, LogConfig, RecordHead, RecordParts, Side, StampBatch,
    fs::{OsFs, SimFs, SyncSite},
};
use jibek_protocol::id::{ClientId, ServiceId};
use time::macros::datetime;

use super::*;

const NOW: Timestamp = datetime!(2026-11-23 12:00 UTC);

fn client(number: u64) -> ClientId {
    let subsystem = format!("sub system{}", number % 2);
    let code = format!("7000{}", number % 3);
    ClientId::new("KG", "GOV", &code, Some(&subsystem)).unwrap()
}

/// One record, a second after the one before, some with a body.
async fn record(log: &MessageLog, number: u64, time: Timestamp) -> RecordId {
    let mut draft = log.begin();
    if number.is_multiple_of(3) {
        let body =
            Bytes::from(format!("body {number} ").repeat(if number == 6 { 400 } else { 10 }));
        draft.append_body(1, body).await.unwrap();
        draft.finish_body(1, [7; 64]).unwrap();
    }
    let number_ms = i64::try_from(number).unwrap() * 1000;
    let head = RecordHead {
        time_ms: millis(time) + number_ms,
        side: Side::Consumer,
        direction: if number.is_multiple_of(2) {
            Direction::Request
        } else {
            Direction::Response
        },
        kind: Kind::Rest,
        message_id: format!("message/{number} a"),
        request_id: format!("request-{}", number / 2),
        client: client(number),
        service: ServiceId::new(client(9), "service", None).unwrap(),
        local_party: client(number),
        status: None,
    };
    let parts = RecordParts {
        message: Bytes::from(format!("GET /{number} HTTP/1.1\r\n")),
        message_sha512: [1; 64],
        signature: Bytes::from(format!(
            "<signature>{number}{}</signature>",
            "s".repeat(700)
        )),
        hash_chain_result: None,
        hash_chain: None,
    };
    draft.commit(head, parts).await.unwrap().id()
}

async fn stamp(log: &MessageLog) {
    let ids: Vec<RecordId> = log
        .unstamped(usize::MAX)
        .unwrap()
        .iter()
        .map(|it| it.id)
        .collect();
    let chains = ids
        .iter()
        .map(|id| (*id, Bytes::from(format!("<chain>{id}</chain>"))))
        .collect();
    log.stamp(StampBatch {
        token: Bytes::from_static(b"token"),
        hash_chain_result: Bytes::from_static(b"<result/>"),
        chains,
    })
    .await
    .unwrap();
}

fn config(dir: &Path) -> LogConfig {
    LogConfig {
        segment_bytes: 8 << 10,
        inline_body_bytes: 1000,
        min_free_bytes: 0,
        chores_thread: false,
        ..LogConfig::new(dir)
    }
}

/// A machine with a log of `count` stamped records.
async fn machine(count: u64) -> SimFs {
    let machine = SimFs::new();
    let disk = machine.process();
    disk.create_dir(Path::new("/state")).unwrap();
    disk.sync_dir(Path::new("/"), SyncSite::Archive).unwrap();
    let (log, _) = MessageLog::open(config(Path::new("/log")), disk).unwrap();
    for number in 1..=count {
        record(&log, number, NOW).await;
    }
    stamp(&log).await;
    log.close().await;
    machine
}

fn settings(root: &Path) -> ArchiveSettings {
    ArchiveSettings {
        max_file_bytes: 6000,
        window: 5,
        keep: None,
        ..ArchiveSettings::new(Some(root.join("archive")), root.join("state"))
    }
}

fn archiver(log: &MessageLog, disk: Arc<dyn Fs>, settings: ArchiveSettings) -> Arc<Archiver> {
    let clock = Arc::new(TestClock::new(NOW));
    Archiver::new(log.clone(), disk, settings, clock, &Metrics::new())
}

/// The server's next life: opens the log, archives, closes.
async fn archive(machine: &SimFs, settings: ArchiveSettings) -> Result<(), ArchiveError> {
    let disk = machine.process();
    let (log, _) = MessageLog::open(config(Path::new("/log")), Arc::clone(&disk)).unwrap();
    let result = archiver(&log, disk, settings).run_once().await;
    log.close().await;
    result
}

/// Names of the files in the archive's directory, and what the archives among them hold.
fn archives(machine: &SimFs) -> Vec<(String, VerifiedArchive)> {
    let names = machine.process().list(Path::new("/archive")).unwrap();
    let verified = names.into_iter().map(|name| {
        assert!(
            name.starts_with("mlog-") && name.ends_with(".zip"),
            "{name}"
        );
        let bytes = machine
            .contents(&Path::new("/archive").join(&name))
            .unwrap();
        (name, verified(&bytes))
    });
    verified.collect()
}

fn verified(zip: &[u8]) -> VerifiedArchive {
    let archive = Archive::open(Cursor::new(zip), &ArchiveLimits::default()).unwrap();
    archive
        .finish()
        .unwrap_or_else(|error| panic!("{error}: {:?}", error.faults()))
}

/// One chain for each group without a fault, and the numbers of the records in it in the order of its links.
fn records(archives: &[(String, VerifiedArchive)]) -> BTreeMap<String, Vec<u64>> {
    let history = join(archives);
    assert!(history.faults().is_empty(), "{:?}", history.faults());
    let mut groups = BTreeMap::new();
    for chain in history.chains() {
        let mut numbers = Vec::new();
        let mut group = String::new();
        for index in chain.archives() {
            let (name, archive) = &archives[*index];
            let parsed = jibek_evidence::archive::ArchiveName::parse(name).unwrap();
            group = parsed.group().unwrap_or_default().to_owned();
            for line in archive.containers() {
                let (_, number) = line
                    .name()
                    .strip_suffix(".asice")
                    .unwrap()
                    .rsplit_once('-')
                    .unwrap();
                numbers.push(u64::from_str_radix(number, 32).unwrap());
            }
        }
        assert!(groups.insert(group, numbers).is_none(), "one chain a group");
    }
    groups
}

#[tokio::test]
async fn every_stamped_record_is_archived_once_in_one_chain() {
    let machine = machine(17).await;
    archive(&machine, settings(Path::new("/"))).await.unwrap();
    let first = archives(&machine);
    assert!(first.len() > 4, "{first:?}");
    assert_eq!(records(&first)[""], (1..=17).collect::<Vec<_>>());
    // Nothing new: nothing is written. One more, unstamped: it waits. Stamped: one more link.
    let disk = machine.process();
    let (log, _) = MessageLog::open(config(Path::new("/log")), Arc::clone(&disk)).unwrap();
    let archiver = archiver(&log, disk, settings(Path::new("/")));
    archiver.run_once().await.unwrap();
    record(&log, 18, NOW).await;
    archiver.run_once().await.unwrap();
    assert_eq!(archives(&machine).len(), first.len());
    assert_eq!(
        archiver.status().oldest_waiting_ms,
        Some(millis(NOW) + 18_000)
    );
    stamp(&log).await;
    archiver.run_once().await.unwrap();
    let all = archives(&machine);
    assert_eq!(all.len(), first.len() + 1);
    // The stamp took number 18.
    let numbers = records(&all)[""].clone();
    assert_eq!((numbers.len(), numbers[17]), (18, 19));
    let status = archiver.status();
    assert_eq!((status.files, status.records, status.failures), (1, 1, 0));
    assert_eq!(status.oldest_waiting_ms, None);
}

#[tokio::test]
async fn members_and_subsystems_have_chains_of_their_own() {
    for (grouping, group, count) in [
        (Grouping::Member, "KG_GOV_70001", 3),
        (Grouping::Subsystem, "KG_GOV_70001_sub_system0", 6),
    ] {
        let machine = machine(24).await;
        let settings = ArchiveSettings {
            grouping,
            ..settings(Path::new("/"))
        };
        archive(&machine, settings).await.unwrap();
        let groups = records(&archives(&machine));
        assert_eq!(groups.len(), count, "{groups:?}");
        let expected: Vec<u64> = (1..=24)
            .filter(|it| it % 3 == 1 && (grouping == Grouping::Member || it % 2 == 0))
            .collect();
        assert_eq!(groups[group], expected);
    }
}

/// The process dies at each of its changes in turn, by itself or with the power; the next one goes on.
#[tokio::test]
async fn archiving_goes_on_where_it_was_cut_off() {
    for (grouping, power) in [(Grouping::None, false), (Grouping::Member, true)] {
        let mut cut = 0;
        for steps in 0.. {
            let machine = machine(11).await;
            let settings = ArchiveSettings {
                grouping,
                ..settings(Path::new("/"))
            };
            let disk = machine.process();
            let (log, _) = MessageLog::open(config(Path::new("/log")), Arc::clone(&disk)).unwrap();
            machine.die_after(steps);
            let ended = archiver(&log, disk, settings.clone())
                .run_once()
                .await
                .is_ok();
            cut += i32::from(!ended);
            drop(log);
            if power {
                machine.power_cut(steps);
            } else {
                machine.kill();
            }
            archive(&machine, settings).await.unwrap();
            let mut all: Vec<u64> = records(&archives(&machine))
                .into_values()
                .flatten()
                .collect();
            if grouping == Grouping::None {
                assert!(all.is_sorted(), "step {steps}: {all:?}");
            }
            all.sort_unstable();
            assert_eq!(all, (1..=11).collect::<Vec<_>>(), "step {steps}");
            if ended {
                break;
            }
        }
        assert!(cut > 40, "{cut}");
    }
}

/// An archive that was taken away between its name and the note of it is not written again.
#[tokio::test]
async fn archives_may_be_taken_away_at_once() {
    let mut taken_early = 0;
    for steps in 0.. {
        let machine = machine(4).await;
        let disk = machine.process();
        let (log, _) = MessageLog::open(config(Path::new("/log")), Arc::clone(&disk)).unwrap();
        machine.die_after(steps);
        let ended = archiver(&log, disk, settings(Path::new("/")))
            .run_once()
            .await
            .is_ok();
        drop(log);
        machine.kill();
        let disk = machine.process();
        let mut taken = Vec::new();
        for name in disk.list(Path::new("/archive")).unwrap_or_default() {
            if name.starts_with("mlog-") {
                let path = Path::new("/archive").join(&name);
                taken.push((name, verified(&machine.contents(&path).unwrap())));
                disk.remove(&path).unwrap();
            }
        }
        taken_early += usize::from(!ended && !taken.is_empty());
        archive(&machine, settings(Path::new("/"))).await.unwrap();
        taken.extend(archives(&machine));
        assert_eq!(records(&taken)[""], [1, 2, 3, 4], "step {steps}");
        if ended {
            break;
        }
    }
    assert!(taken_early > 5, "{taken_early}");
}

#[tokio::test]
async fn a_full_disk_stops_archiving_until_there_is_room() {
    let machine = machine(12).await;
    let disk = machine.process();
    let (log, _) = MessageLog::open(config(Path::new("/log")), Arc::clone(&disk)).unwrap();
    let archiver = archiver(&log, disk, settings(Path::new("/")));
    machine.set_capacity(Some(30_000));
    let error = archiver.run_once().await.unwrap_err();
    assert!(matches!(error, ArchiveError::Full { .. }), "{error:?}");
    let status = archiver.status();
    assert_eq!(status.failures, 1);
    assert!(status.problem.unwrap().contains("no space left"));
    machine.set_capacity(None);
    archiver.run_once().await.unwrap();
    assert_eq!(archiver.status().problem, None);
    assert_eq!(
        records(&archives(&machine))[""],
        (1..=12).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn what_does_not_read_is_told_and_stays_in_the_log() {
    let machine = machine(20).await;
    // A byte of the third record's signature in the first segment, and the end of a body's file.
    let segment = Path::new("/log/0000000000000001.segment");
    let bytes = machine.contents(segment).unwrap();
    let at = bytes
        .windows(12)
        .position(|it| it == b"3sssssssssss")
        .unwrap();
    machine.damage(segment, u64::try_from(at).unwrap()).unwrap();
    let disk = machine.process();
    let (log, _) = MessageLog::open(config(Path::new("/log")), Arc::clone(&disk)).unwrap();
    let body = Path::new("/log/bodies/0000000000000001.body");
    disk.open(body, jibek_msglog::fs::Access::ReadWrite)
        .unwrap()
        .set_len(50)
        .unwrap();
    let settings = ArchiveSettings {
        keep: Some(Duration::from_secs(1)),
        ..settings(Path::new("/"))
    };
    let clock = Arc::new(TestClock::new(NOW + time::Duration::days(2)));
    let archiver = Archiver::new(log.clone(), disk, settings, clock, &Metrics::new());
    archiver.run_once().await.unwrap();
    let expected: Vec<u64> = (1..=20).filter(|it| ![3, 6].contains(it)).collect();
    assert_eq!(records(&archives(&machine))[""], expected);
    assert_eq!(archiver.status().unreadable, 2);
    assert!(
        log.starts_at() <= RecordId::new(3),
        "its segment stays: {}",
        log.starts_at()
    );
    // Later runs do not stumble again.
    archiver.run_once().await.unwrap();
    assert_eq!(archiver.status().failures, 0);
}

#[tokio::test]
async fn records_leave_when_they_are_old_and_archived() {
    let machine = machine(20).await;
    let disk = machine.process();
    let (log, _) = MessageLog::open(config(Path::new("/log")), Arc::clone(&disk)).unwrap();
    let clock = TestClock::new(NOW + time::Duration::days(29));
    let settings = ArchiveSettings {
        keep: Some(Duration::from_secs(30 * 86_400)),
        ..settings(Path::new("/"))
    };
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let archiver = Archiver::new(
        log.clone(),
        Arc::clone(&disk),
        settings.clone(),
        Arc::clone(&shared),
        &Metrics::new(),
    );
    archiver.run_once().await.unwrap();
    assert!(log.starts_at().get() <= 1, "too young");
    clock.advance(Duration::from_secs(2 * 86_400));
    // The segment that was being written was ended, too: the next record lets all others leave.
    let young = record(&log, 21, clock.now()).await;
    archiver.run_once().await.unwrap();
    assert!(log.starts_at() > RecordId::new(20) && log.starts_at() <= young);
    assert_eq!(archiver.status().removed, 20);
    assert_eq!(
        records(&archives(&machine))[""],
        (1..=20).collect::<Vec<_>>()
    );
    stamp(&log).await;

    // Without archives they stay, unless the operator does without.
    for (remove_unarchived, left) in [(false, false), (true, true)] {
        clock.advance(Duration::from_secs(40 * 86_400));
        let settings = ArchiveSettings {
            directory: None,
            remove_unarchived,
            ..settings.clone()
        };
        let archiver = Archiver::new(
            log.clone(),
            Arc::clone(&disk),
            settings,
            Arc::clone(&shared),
            &Metrics::new(),
        );
        archiver.run_once().await.unwrap();
        record(&log, 22, clock.now()).await;
        stamp(&log).await;
        archiver.run_once().await.unwrap();
        assert_eq!(log.starts_at() > young, left);
    }
}

/// A log that ends before what was archived is another one: all of it is archived, after the last link.
#[tokio::test]
async fn a_new_log_continues_the_chain() {
    let machine = machine(9).await;
    archive(&machine, settings(Path::new("/"))).await.unwrap();
    let disk = machine.process();
    let (log, _) = MessageLog::open(config(Path::new("/other")), Arc::clone(&disk)).unwrap();
    let archiver = archiver(&log, disk, settings(Path::new("/")));
    archiver.look().await.unwrap();
    for number in 1..20 {
        record(&log, number, NOW).await;
    }
    stamp(&log).await;
    archiver.run_once().await.unwrap();
    let lines = archives(&machine)
        .iter()
        .map(|it| it.1.containers().len())
        .sum::<usize>();
    assert_eq!(lines, 9 + 19);
}

#[tokio::test]
async fn it_runs_on_schedule_until_the_drain() {
    let machine = machine(4).await;
    let disk = machine.process();
    let (log, _) = MessageLog::open(config(Path::new("/log")), Arc::clone(&disk)).unwrap();
    let clock = TestClock::new(NOW + time::Duration::minutes(1));
    let metrics = Metrics::new();
    let archiver = Archiver::new(
        log.clone(),
        disk,
        settings(Path::new("/")),
        Arc::new(clock.clone()),
        &metrics,
    );
    assert_eq!(archiver.scheduled(NOW), datetime!(2026-11-23 18:00 UTC));
    let drain = Drain::new();
    let running = tokio::spawn(Arc::clone(&archiver).run(drain.clone()));
    let until = |done: fn(&ArchiveStatus) -> bool| {
        let archiver = Arc::clone(&archiver);
        async move {
            let waited = tokio::time::timeout(Duration::from_secs(60), async {
                while !done(&archiver.status()) {
                    task::yield_now().await;
                }
            });
            waited.await.unwrap();
        }
    };
    until(|it| it.oldest_waiting_ms.is_some()).await;
    assert_eq!(archiver.status().files, 0);
    let page = metrics.render();
    assert!(
        page.contains("jibek_archive_waiting_seconds 59.0"),
        "{page}"
    );
    assert!(page.contains("jibek_archived_records_total 0"), "{page}");
    clock.advance(Duration::from_secs(6 * 3600));
    until(|it| it.last_run_ms.is_some()).await;
    assert!(metrics.render().contains("jibek_archived_records_total 4"));
    assert!(!metrics.render().contains("jibek_archive_waiting_seconds"));
    drain.begin();
    running.await.unwrap();
    assert!(
        matches!(archiver.run_once().await, Err(ArchiveError::Stopped))
            || log.stamped_through() == log.last_id()
    );
}

fn gpg(home: &Path, arguments: &[&str], input: Stdio) -> Option<std::process::Output> {
    let mut gpg = Command::new("gpg");
    gpg.arg("--homedir")
        .arg(home)
        .args(["--batch", "--quiet", "--no-tty"]);
    gpg.args([
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
        "--trust-model",
        "always",
    ]);
    gpg.args(arguments).stdin(input).output().ok()
}

/// `gpg --decrypt` gives the archive back; the chain is over what it holds.
#[tokio::test]
async fn archives_are_encrypted_for_their_recipients() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("auditor");
    for dir in [&home, &root.path().join("state")] {
        std::fs::create_dir(dir).unwrap();
    }
    let Some(made) = gpg(
        &home,
        &[
            "--quick-generate-key",
            "auditor@example.kg",
            "future-default",
            "default",
            "never",
        ],
        Stdio::null(),
    ) else {
        println!("SKIPPED archives_are_encrypted_for_their_recipients: no gpg");
        return;
    };
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let key = root.path().join("auditor.asc");
    let exported = gpg(
        &home,
        &["--armor", "--output", key.to_str().unwrap(), "--export"],
        Stdio::null(),
    );
    assert!(exported.unwrap().status.success());

    let disk = OsFs::shared();
    let (log, _) = MessageLog::open(config(&root.path().join("log")), Arc::clone(&disk)).unwrap();
    for number in 1..=7 {
        record(&log, number, NOW).await;
    }
    stamp(&log).await;
    let with = |recipients: Vec<PathBuf>| ArchiveSettings {
        recipients,
        ..settings(root.path())
    };
    let missing = with(vec![root.path().join("nobody.asc")]);
    let error = archiver(&log, Arc::clone(&disk), missing)
        .run_once()
        .await
        .unwrap_err();
    let text = outbound::chain(&error);
    assert!(text.contains("nobody.asc"), "{text}");
    let directory = root.path().join("archive");
    assert_eq!(disk.list(&directory).unwrap(), Vec::<String>::new());

    archiver(&log, Arc::clone(&disk), with(vec![key]))
        .run_once()
        .await
        .unwrap();
    let mut archives = Vec::new();
    for name in disk.list(&directory).unwrap() {
        assert!(name.ends_with(".zip.gpg"), "{name}");
        let path = directory.join(&name);
        let encrypted = std::fs::read(&path).unwrap();
        assert!(
            !encrypted.windows(4).any(|it| it == b"PK\x03\x04"),
            "{name}"
        );
        let file = std::fs::File::open(&path).unwrap();
        let opened = gpg(&home, &["--decrypt"], file.into()).unwrap();
        assert!(
            opened.status.success(),
            "{}",
            String::from_utf8_lossy(&opened.stderr)
        );
        archives.push((name, verified(&opened.stdout)));
    }
    assert!(archives.len() > 1);
    assert_eq!(records(&archives)[""], (1..=7).collect::<Vec<_>>());
    log.close().await;
    let _ended = Command::new("gpgconf")
        .arg("--homedir")
        .arg(&home)
        .args(["--kill", "all"])
        .status();
}
