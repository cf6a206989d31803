//! The bytes on the disk of format version 2. A change here is a new version, which must still read this one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use std::path::Path;

use bytes::Bytes;
use jibek_msglog::fs::SimFs;
use jibek_msglog::{Keep, MessageLog, StampBatch, StampChains};
use support::{Sample, runtime, small};

#[test]
fn version_3_stays_as_it_is() {
    let machine = SimFs::new();
    let (log, _) = MessageLog::open(small("/log"), machine.process()).unwrap();
    runtime().block_on(async {
        for number in 0..12 {
            let mut sample = Sample::with_bodies(number, &[900, 3000]);
            sample.keep = match number {
                4 => Keep::Digest,
                5 => Keep::UpTo(1000),
                _ => Keep::All,
            };
            sample.batch = (number > 5).then_some(7);
            let id = sample.commit(&log).await.unwrap().id();
            if number == 2 {
                log.drop_bodies(id).await.unwrap();
                let chains = StampChains::from_iter([(id, "<chain/>")]);
                let (token, hash_chain_result) = (
                    Bytes::from_static(b"token"),
                    Bytes::from_static(b"<result/>"),
                );
                log.stamp(StampBatch {
                    token,
                    hash_chain_result,
                    chains,
                })
                .await
                .unwrap();
            }
        }
        log.close().await;
    });
    let sum = |name: &str| {
        let bytes = machine.contents(&Path::new("/log").join(name)).unwrap();
        format!("{name} {} {:08x}", bytes.len(), crc32c::crc32c(&bytes))
    };
    let names = [
        "0000000000000001.segment",
        "0000000000000001.index",
        "0000000000000002.segment",
    ];
    assert_eq!(names.map(sum), VERSION_3);
}

const VERSION_3: [&str; 3] = [
    "0000000000000001.segment 8215 54afe5f6",
    "0000000000000001.index 844 aaab0bc4",
    "0000000000000002.segment 6444 f15ba5d4",
];
