//! A log that is only looked at: nothing is written, not even beside its server, and nothing that it tells is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use jibek_msglog::fs::{Access, Fs, FsFile, OsFs, SyncSite};
use jibek_msglog::{LogReader, MessageLog, RecordId, StampBatch};
use support::{Sample, read_all, runtime, small};

/// Files that can be read; whoever tries more fails the test.
#[derive(Debug)]
struct ReadOnly(Arc<dyn Fs>);

impl Fs for ReadOnly {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        panic!("makes {}", path.display())
    }
    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        panic!("locks {}", path.display())
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        panic!("makes {}", path.display())
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn FsFile>> {
        assert_eq!(access, Access::Read, "{}", path.display());
        self.0.open(path, access)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(path)
    }
    fn rename(&self, from: &Path, _to: &Path) -> io::Result<()> {
        panic!("renames {}", from.display())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        panic!("removes {}", path.display())
    }
    fn sync_dir(&self, path: &Path, _site: SyncSite) -> io::Result<()> {
        panic!("syncs {}", path.display())
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.0.free_bytes(path)
    }
    fn salt(&self) -> u64 {
        panic!("draws a number")
    }
}

fn read_only() -> Arc<dyn Fs> {
    Arc::new(ReadOnly(OsFs::shared()))
}

fn check(reader: &LogReader, id: RecordId, sample: &Sample, kept: bool) {
    let record = reader.read(id).unwrap().unwrap();
    assert_eq!(
        (record.id, &record.head, &record.parts),
        (id, &sample.head(), &sample.parts())
    );
    for (index, info) in record.bodies.iter().enumerate() {
        assert_eq!(info.kept, kept);
        let body = reader.body(id, info.index).unwrap().map(read_all);
        assert_eq!(
            body.transpose().unwrap(),
            kept.then(|| sample.body(index)),
            "body {index} of {id}"
        );
    }
}

/// Writes samples with small and large bodies, stamps the first half, drops the bodies of every tenth.
async fn fill(log: &MessageLog, count: u64) -> Vec<(RecordId, Sample, bool)> {
    let mut written = Vec::new();
    for number in 0..count {
        let sample = Sample::with_bodies(number, &[400, 4000]);
        let id = sample.commit(log).await.unwrap().id();
        let kept = !number.is_multiple_of(10);
        if !kept {
            log.drop_bodies(id).await.unwrap();
        }
        written.push((id, sample, kept));
    }
    let half = usize::try_from(count / 2).unwrap();
    for batch in written[..half].chunks(7) {
        log.stamp(StampBatch {
            token: Bytes::from_static(b"token"),
            hash_chain_result: Bytes::from_static(b"result"),
            chains: batch
                .iter()
                .map(|(id, ..)| (*id, Bytes::from(format!("chain of {id}"))))
                .collect(),
        })
        .await
        .unwrap();
    }
    written
}

#[test]
fn sees_what_the_log_holds_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (log, _) = MessageLog::open(small(dir.path()), OsFs::shared()).unwrap();
        let written = fill(&log, 60).await;
        // its server has it open
        assert!(LogReader::is_log(dir.path(), read_only().as_ref()).unwrap());
        let (reader, report) = LogReader::open(dir.path(), read_only()).unwrap();
        assert!(report.segments > 3, "{report:?}");
        assert_eq!(
            (report.records, report.unstamped, report.unfinished),
            (60, 30, false),
            "{report:?}"
        );
        assert!(report.damage.is_empty(), "{report:?}");
        let ids: Vec<RecordId> = reader.ids().map(Result::unwrap).collect();
        assert_eq!(ids, written.iter().map(|it| it.0).collect::<Vec<_>>());
        for (number, (id, sample, kept)) in written.iter().enumerate() {
            check(&reader, *id, sample, *kept);
            let stamp = reader.read(*id).unwrap().unwrap().stamp;
            let chain = stamp.map(|stamp| stamp.hash_chain);
            let expected = (number < 30).then(|| Bytes::from(format!("chain of {id}")));
            assert_eq!(chain, expected);
        }
        // a drop since then is found when the body is asked for
        let (id, ..) = written[58];
        log.drop_bodies(id).await.unwrap();
        log.close().await;
        assert!(reader.body(id, 1).unwrap().is_none());
        assert!(reader.body(id, 2).unwrap().is_none());
        assert!(reader.read(RecordId::new(1 << 40)).unwrap().is_none());
        // without indexes the segments tell the same
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "index") {
                std::fs::remove_file(path).unwrap();
            }
        }
        let (again, found) = LogReader::open(dir.path(), read_only()).unwrap();
        assert_eq!(found, report);
        assert_eq!(again.ids().map(Result::unwrap).collect::<Vec<_>>(), ids);
        check(&again, written[7].0, &written[7].1, true);
        check(&again, id, &written[58].1, false);
    });
}

#[test]
fn what_is_no_log_is_none() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!LogReader::is_log(dir.path(), read_only().as_ref()).unwrap());
    let file = dir.path().join("0000000000000001.segment");
    std::fs::File::create_new(&file).unwrap();
    assert!(!LogReader::is_log(&file, read_only().as_ref()).unwrap());
    assert!(LogReader::is_log(&dir.path().join("none"), read_only().as_ref()).is_err());
    // a segment that was about to be made holds nothing, yet
    let (reader, report) = LogReader::open(dir.path(), read_only()).unwrap();
    assert!(report.unfinished && report.damage.is_empty());
    assert_eq!(reader.ids().count(), 0);
}

#[test]
fn missing_foreign_and_damaged_segments_are_told() {
    let damage = |change: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let (log, _) = MessageLog::open(small(dir.path()), OsFs::shared()).unwrap();
            fill(&log, 60).await;
            log.close().await;
        });
        change(dir.path());
        let (reader, report) = LogReader::open(dir.path(), read_only()).unwrap();
        let reads = reader
            .ids()
            .filter(|id| reader.read(*id.as_ref().unwrap()).is_ok())
            .count();
        let mut what: Vec<&str> = report.damage.iter().map(|it| it.what).collect();
        what.dedup();
        (what.join("; "), reads)
    };
    let segment = |dir: &Path, number: u64| dir.join(format!("{number:016}.segment"));
    let index = |dir: &Path, number: u64| dir.join(format!("{number:016}.index"));

    assert_eq!(damage(&|_| {}), (String::new(), 60));
    let (what, reads) = damage(&|dir| {
        std::fs::remove_file(segment(dir, 2)).unwrap();
    });
    assert_eq!(
        what,
        "a segment is missing; a stamp covers a record that is not there"
    );
    assert!((40..60).contains(&reads), "{reads}");
    let (what, _) = damage(&|dir| {
        std::fs::copy(segment(dir, 3), segment(dir, 2)).unwrap();
    });
    assert!(
        what.starts_with("the segment has another number than its name"),
        "{what}"
    );
    // a bit in the middle of a segment: told, and the rest reads
    let flip = |dir: &Path| {
        let mut bytes = std::fs::read(segment(dir, 2)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let path = segment(dir, 2);
        std::fs::remove_file(&path).unwrap();
        io::Write::write_all(&mut std::fs::File::create_new(&path).unwrap(), &bytes).unwrap();
    };
    let (what, reads) = damage(&|dir| {
        flip(dir);
        std::fs::remove_file(index(dir, 2)).unwrap();
    });
    assert!(!what.is_empty());
    assert!((50..=60).contains(&reads), "{reads}");
    // with its index the segment is not read at opening, and the damage is met where it stands
    let (what, reads) = damage(&flip);
    assert!(what.is_empty(), "{what}");
    assert!((50..=60).contains(&reads), "{reads}");
    // cut off in the middle and not the last
    let (what, _) = damage(&|dir| {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(segment(dir, 2))
            .unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    });
    assert!(
        what.starts_with("the end of the segment is missing"),
        "{what}"
    );
    // one of another log under the same name: its records have the numbers of others
    let other = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (log, _) = MessageLog::open(small(other.path()), OsFs::shared()).unwrap();
        for number in 0..200 {
            Sample::new(number).commit(&log).await.unwrap();
        }
        log.close().await;
    });
    let (what, _) = damage(&|dir| {
        std::fs::copy(segment(other.path(), 2), segment(dir, 2)).unwrap();
    });
    assert!(
        what.contains("a record's number is not larger than those before"),
        "{what}"
    );
}

/// A reader, and a copy file by file, beside a server that writes: every record that is seen is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn beside_its_server_and_copied_mid_write_no_record_is_half() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = MessageLog::open(small(dir.path()), OsFs::shared()).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let looker = std::thread::spawn({
        let (done, dir) = (Arc::clone(&done), dir.path().to_path_buf());
        move || {
            let (mut looks, mut seen) = (0, 0);
            loop {
                let last = done.load(Ordering::Relaxed);
                let copy = tempfile::tempdir().unwrap();
                copy_tree(&dir, copy.path());
                for dir in [dir.as_path(), copy.path()] {
                    let (reader, report) = LogReader::open(dir, read_only()).unwrap();
                    assert!(report.damage.is_empty(), "{report:?}");
                    for id in reader.ids() {
                        let record = reader.read(id.unwrap()).unwrap().unwrap();
                        let number = record.head.message_id.strip_prefix("message-").unwrap();
                        let sample = Sample::with_bodies(number.parse().unwrap(), &[400, 4000]);
                        assert_eq!(record.parts, sample.parts());
                        seen += 1;
                    }
                }
                looks += 1;
                if last {
                    return (looks, seen);
                }
            }
        }
    });
    fill(&log, 150).await;
    done.store(true, Ordering::Relaxed);
    let (looks, seen) = looker.join().unwrap();
    assert!(looks > 1 && seen >= 300, "{looks} looks, {seen} records");
    log.close().await;
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else if let Err(error) = std::fs::copy(entry.path(), &target) {
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        }
    }
}
