//! Time and memory of a configuration with 10,000 members and 2,000 servers, from the bytes on the wire to the indexes.
//!
//! `cargo run --release -p jibek-registry --example large [MEMBERS SERVERS]`
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement says what it met by failing"
)]

#[path = "../tests/common/large.rs"]
mod large;

use std::{hint::black_box, time::Duration};

use bytes::Bytes;
use jibek_certs::{
    digest::{DigestAlgorithm, digest},
    signer::KeyKind,
    time::{Clock, SystemClock},
};
use jibek_conf::{
    ConfDir, Snapshot,
    files::{SHARED_FILE, StoredInstance, StoredPart},
    part::{SHARED_PARAMETERS, render_shared},
    snapshot::InstanceParts,
    verify::verify_directory,
};
use jibek_registry::{
    directory::{self, Boundaries, Entry},
    keys::{Keys, Kind},
};
use large::{auth_hash, shared, subsystem};
use tokio::time::Instant;

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .map(|text| text.parse().unwrap())
        .collect();
    let (members, servers) = match numbers.as_slice() {
        [members, servers] => (*members, *servers),
        _ => (10_000, 2_000),
    };
    if cfg!(debug_assertions) {
        println!("a debug build: times say little; use --release");
    }
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(folder.path(), KeyKind::Rsa2048).unwrap();
    let now = SystemClock.now();
    let described = shared(members, servers);
    let (xml, rendered) = timed(|| Bytes::from(render_shared(&described, 6).unwrap()));
    println!(
        "{members} members, {servers} servers, {} bytes of shared parameters",
        xml.len()
    );
    println!("rendered           {rendered:>10.1?}");

    let entry = Entry::new(
        SHARED_PARAMETERS,
        "/V6/1/shared-params.xml".to_owned(),
        digest(DigestAlgorithm::Sha512, &xml),
    );
    let boundaries = Boundaries::new(&std::array::from_fn(|at| u8::try_from(at).unwrap()));
    let expires = now + Duration::from_secs(600);
    let raw = directory::signed(
        "KG",
        6,
        expires,
        &[entry],
        keys.of(Kind::External),
        &boundaries,
    )
    .unwrap();
    let certificates = [keys.of(Kind::External).certificate().clone()];
    let (verified, verifying) = timed(|| {
        let directory = verify_directory(&raw, &certificates, now).unwrap();
        assert_eq!(
            directory.parts()[0].digest,
            digest(DigestAlgorithm::Sha512, &xml)
        );
        directory
    });
    println!(
        "verified           {verifying:>10.1?}  directory and digest of {} part",
        verified.parts().len()
    );

    drop(described);
    let before = memory("VmRSS");
    let parts = || vec![InstanceParts::new("KG", 6, xml.clone())];
    let (snapshot, indexing) = timed(|| Snapshot::from_parts("KG", parts()).unwrap());
    println!("parsed and indexed {indexing:>10.1?}");
    assert_eq!(snapshot.shared("KG").unwrap().members.len(), members);
    assert_eq!(snapshot.servers().count(), servers);
    println!(
        "memory             {:>7.1} MB more with the snapshot, {:.1} MB at the highest, rendering included",
        (memory("VmRSS") - before) / 1024.0,
        memory("VmHWM") / 1024.0
    );

    let dir = ConfDir::new(folder.path().join("globalconf"));
    let part = StoredPart::new(
        Some(SHARED_PARAMETERS.to_owned()),
        SHARED_FILE,
        6,
        xml.clone(),
    );
    let stored = StoredInstance::new("KG", vec![part]);
    let ((), writing) = timed(|| dir.store("KG", std::slice::from_ref(&stored)).unwrap());
    let (read, reading) = timed(|| dir.read().unwrap());
    assert_eq!(read.content_id(), snapshot.content_id());
    println!("kept on disk       {writing:>10.1?}, read from it {reading:.1?}");

    for (name, size, of) in [("small", 100, 20), ("this one", members, servers)] {
        let of_size = render_shared(&shared(size, of), 6).unwrap();
        let snapshot =
            Snapshot::from_parts("KG", vec![InstanceParts::new("KG", 6, of_size)]).unwrap();
        let providers: Vec<_> = (0..1000).map(|at| subsystem(at * 7919 % size, 1)).collect();
        let hashes: Vec<[u8; 32]> = (0..1000)
            .map(|at| auth_hash(at * 7919 % of).as_ref().try_into().unwrap())
            .collect();
        let rounds = 100;
        let ((), by_provider) = timed(|| {
            for provider in providers.iter().cycle().take(1000 * rounds) {
                assert_eq!(black_box(snapshot.servers_of(provider)).len(), 1);
            }
        });
        let ((), by_hash) = timed(|| {
            for hash in hashes.iter().cycle().take(1000 * rounds) {
                assert!(black_box(snapshot.server_by_auth_cert(hash)).is_some());
            }
        });
        let each = |total: Duration| total.as_nanos() / 100_000;
        println!(
            "lookups, {name:<9} {:>6} ns by provider, {} ns by certificate ({size} members, {of} servers)",
            each(by_provider),
            each(by_hash)
        );
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}

/// Kilobytes, as the kernel counts them; 0 where there is no such kernel.
fn memory(what: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let number = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0.0)
}
