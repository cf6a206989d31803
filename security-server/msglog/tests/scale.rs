//! What opening and looking up cost in a log of many segments: counted in files and bytes, not in time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jibek_msglog::fs::{Access, Fs, FsFile, OsFs, SyncSite};
use jibek_msglog::{LogConfig, MessageLog, Query};
use support::{Sample, small};

/// Counts what is opened and read.
#[derive(Clone, Debug, Default)]
struct Counting {
    opened: Arc<AtomicU64>,
    read: Arc<AtomicU64>,
}

impl Counting {
    /// Files opened and bytes read since the last time.
    fn take(&self) -> (u64, u64) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        (take(&self.opened), take(&self.read))
    }
}

#[derive(Debug)]
struct Counted {
    file: Arc<dyn FsFile>,
    read: Arc<AtomicU64>,
}

impl Fs for Counting {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsFs::default().create_dir(path)
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        OsFs::default().lock_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        OsFs::default().create(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn FsFile>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let file = OsFs::default().open(path, access)?;
        let read = Arc::clone(&self.read);
        Ok(Arc::new(Counted { file, read }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        OsFs::default().list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsFs::default().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsFs::default().remove(path)
    }

    fn sync_dir(&self, path: &Path, site: SyncSite) -> io::Result<()> {
        OsFs::default().sync_dir(path, site)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        OsFs::default().free_bytes(path)
    }

    fn salt(&self) -> u64 {
        OsFs::default().salt()
    }
}

impl FsFile for Counted {
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.file.write_at(offset, slices)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(offset, buffer)?;
        let wide = u64::try_from(count).unwrap();
        self.read.fetch_add(wide, Ordering::Relaxed);
        Ok(count)
    }

    fn sync_data(&self, site: SyncSite) -> io::Result<()> {
        self.file.sync_data(site)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.file.punch(offset, length)
    }

    fn data_end(&self) -> io::Result<u64> {
        self.file.data_end()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn start_writing(&self, offset: u64, length: u64) {
        self.file.start_writing(offset, length);
    }
}

/// A log of `records`, closed in order; in small segments.
async fn written(dir: &Path, records: u64) -> LogConfig {
    let config = LogConfig {
        segment_bytes: 48 << 10,
        ..small(dir)
    };
    let (log, _) = MessageLog::open(config.clone(), OsFs::shared()).unwrap();
    for from in (0..records).step_by(100) {
        let mut commits = Vec::new();
        for number in from..from + 100 {
            let log = log.clone();
            commits.push(tokio::spawn(async move {
                Sample::new(number).commit(&log).await.unwrap();
            }));
        }
        for commit in commits {
            commit.await.unwrap();
        }
    }
    log.close().await;
    config
}

#[tokio::test]
async fn opening_reads_of_each_full_segment_but_its_heads() {
    let mut each = Vec::new();
    for records in [500, 3000] {
        let dir = tempfile::tempdir().unwrap();
        let config = written(dir.path(), records).await;
        let fs = Counting::default();
        let (log, report) = MessageLog::open(config, Arc::new(fs.clone())).unwrap();
        assert_eq!((report.records, report.indexes_rebuilt), (records, 0));
        let (opened, read) = fs.take();
        each.push((report.segments, opened, read));
        log.close().await;
    }
    let [(few, opened_few, read_few), (many, opened_many, read_many)] = each[..] else {
        panic!("two logs")
    };
    assert!(many >= few + 20, "{few} and {many} segments");
    let more = many - few;
    // Segment and index. The active segment is read whole, in whichever log: it has at most 48 KiB, and a batch more.
    assert_eq!(opened_many - opened_few, 2 * more);
    assert!(read_few < (200 << 10) + few * 1024, "{read_few} of {few}");
    assert!(
        read_many < (200 << 10) + many * 1024,
        "{read_many} of {many}"
    );
}

#[tokio::test]
async fn what_was_reserved_and_never_written_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        segment_bytes: 64 << 20,
        ..small(dir.path())
    };
    let (log, _) = MessageLog::open(config.clone(), OsFs::shared()).unwrap();
    Sample::new(1).commit(&log).await.unwrap();
    log.close().await;
    let fs = Counting::default();
    let (log, report) = MessageLog::open(config, Arc::new(fs.clone())).unwrap();
    assert_eq!((report.records, report.torn), (1, false));
    let (_, read) = fs.take();
    assert!(read < 4 << 20, "{read} bytes of a segment with one record");
    log.close().await;
}

#[tokio::test]
async fn a_look_up_reads_a_few_bytes_of_each_segment_that_does_not_hold_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = written(dir.path(), 3000).await;
    let fs = Counting::default();
    let (log, report) = MessageLog::open(config, Arc::new(fs.clone())).unwrap();
    let segments = report.segments;
    fs.take();
    log.find(&Query::message_id("nobody")).unwrap();
    let (opened, read) = fs.take();
    assert!(opened < segments, "{opened} files of {segments} segments");
    assert!(read < segments * 300, "{read} bytes of {segments} filters");
    let mut wrong = 0;
    for number in 0..200 {
        let id = Sample::new(number * 15).message_id();
        let found = log.find(&Query::message_id(&id)).unwrap();
        assert_eq!(found.len(), 1, "{id}");
        let (opened, read) = fs.take();
        // One index each, and the segment that holds it. A filter is wrong once in a hundred times.
        assert!(
            opened <= segments + 4,
            "{opened} files of {segments} segments"
        );
        wrong += u64::from(read > segments * 64 + 24_000);
        let (id, before) = (found[0], fs.take());
        assert_eq!(before, (0, 0));
        log.read(id).unwrap().unwrap();
        let (opened, _) = fs.take();
        assert!(
            opened <= 4,
            "by its number only where it stands: {opened} files"
        );
    }
    assert!(
        wrong < 20,
        "{wrong} of 200 look-ups read more than the filters"
    );
    log.close().await;
}
