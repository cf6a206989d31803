//! `jibek-msglog`: reading a log that somebody wrote into, and opening it again.

use jibek_msglog::{
    MessageLog,
    fs::{Access, SimFs},
    fsck,
};
use std::{io::IoSlice, path::Path};

#[allow(dead_code, unused_imports, reason = "a part of it is used")]
#[path = "../../../security-server/msglog/tests/support/mod.rs"]
mod support;

const DIR: &str = "/log";
const SEGMENT: &str = "/log/0000000000000001.segment";

pub fn segment(data: &[u8]) {
    let disk = SimFs::new();
    let fs = disk.process();
    fs.create_dir(Path::new(DIR)).expect("a folder");
    fs.create_dir(Path::new("/log/bodies")).expect("a folder");
    let file = fs.create(Path::new(SEGMENT)).expect("a file");
    file.write_at(0, &mut [IoSlice::new(data)])
        .expect("a write");
    let _ = fsck(Path::new(DIR), &*fs);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        if let Ok((log, _)) = MessageLog::open(support::small(DIR), fs.clone()) {
            log.close().await;
        }
    });
}

pub fn segment_seeds() -> Vec<Vec<u8>> {
    let disk = SimFs::new();
    let fs = disk.process();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (log, _) = MessageLog::open(support::small(DIR), fs.clone()).expect("a log");
        for number in 0..3 {
            let sample = support::Sample::with_bodies(number, &[40]);
            sample.commit(&log).await.expect("a record");
        }
        log.close().await;
    });
    let mut seeds = Vec::new();
    for name in fs.list(Path::new(DIR)).expect("a folder") {
        if let Ok(file) = fs.open(&Path::new(DIR).join(name), Access::Read) {
            let mut bytes = vec![0; 32_768];
            let read = file.read_at(0, &mut bytes).unwrap_or_default();
            bytes.truncate(read);
            seeds.push(bytes);
        }
    }
    seeds
}
