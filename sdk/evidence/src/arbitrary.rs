//! Whatever bytes come: an answer, never a panic, and never a good one for what was changed.

use proptest::{collection::vec, prelude::*};
use std::io::Cursor;

use crate::{
    archive::{Archive, ArchiveLimits, Bundle, kind},
    container::{Container, ContainerLimits},
    fixtures,
    hash_chain::{self, Input},
    verify::{Exhibits, covered, stamp_time},
};

fn read_all(bytes: &[u8]) {
    if let Ok(container) = Container::read(bytes, &ContainerLimits::default()) {
        let _ = (
            covered(&container).len(),
            stamp_time(&container),
            Exhibits::of(&container),
        );
    }
    let _ = kind(Cursor::new(bytes));
    if let Ok(archive) = Archive::open(Cursor::new(bytes), &ArchiveLimits::default()) {
        let _ = archive.finish();
    }
    if let Ok(mut bundle) = Bundle::open(Cursor::new(bytes), &ArchiveLimits::default()) {
        while bundle.next_container().is_some() {}
    }
}

fn walk(result: &[u8], chain: &[u8]) {
    let inputs = |name: &str| match name {
        "/message.xml" => Input::Data(b"message"),
        "/attachment1" => Input::OnTrust,
        _ => Input::Unknown,
    };
    let required = ["/message.xml".to_owned()];
    let name = "/sig-hashchain.xml";
    assert!(hash_chain::verify(result, name, chain, &inputs, &required).is_err());
}

/// Some bytes of `file` changed, moved or taken away.
fn mangled(file: &[u8], edits: &[(usize, usize, u8)]) -> Vec<u8> {
    let mut file = file.to_vec();
    for (place, other, how) in edits {
        let length = file.len();
        if length < 64 {
            return file;
        }
        let (place, other) = (place % (length - 32), other % (length - 32));
        match how % 4 {
            0 => file[place] ^= 1 << (how >> 5),
            1 => file.copy_within(place..place + 32, other),
            2 => drop(file.drain(place..place + usize::from(how >> 3))),
            _ => file[place] = [0, 0xff, b'<', b'"', b'#', b'&', b'=', 0x80][usize::from(how >> 5)],
        }
    }
    file
}

fn edits() -> impl Strategy<Value = Vec<(usize, usize, u8)>> {
    vec((any::<usize>(), any::<usize>(), any::<u8>()), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_have_an_answer(bytes in vec(any::<u8>(), 0..600), other in vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
        read_all(&[b"PK\x03\x04".as_slice(), &bytes].concat());
        read_all(&[&bytes, b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x2e\0\0\0\0\0\0\0\0\0".as_slice()].concat());
        walk(&bytes, &other);
    }

    #[test]
    fn mangled_containers_have_an_answer(which in 0..3_usize, edits in edits()) {
        let names = ["valid-batch-ts", "valid-signed-hashchain", "valid-non-batch-rest"];
        let path = format!("asic/{}.asice", names[which]);
        if let Some(file) = fixtures::read("mangled_containers_have_an_answer", &path) {
            read_all(&mangled(&file, &edits));
        }
    }

    #[test]
    fn mangled_archives_are_broken_or_the_same(edits in edits()) {
        let test = "mangled_archives_are_broken_or_the_same";
        if let Some(file) = fixtures::read(test, "archives/message-archive-0.zip") {
            let read = |bytes: &[u8]| Archive::open(Cursor::new(bytes), &ArchiveLimits::default()).ok()?.finish().ok();
            if let Some(archive) = read(&mangled(&file, &edits)) {
                let whole = read(&file).unwrap();
                prop_assert_eq!(archive.containers(), whole.containers());
            }
        }
    }

    #[test]
    fn mangled_chains_have_an_answer(edits in edits(), others in edits()) {
        let path = "asic/valid-signed-hashchain.asice";
        if let Some(file) = fixtures::read("mangled_chains_have_an_answer", path) {
            let container = Container::read(&file, &ContainerLimits::default()).unwrap();
            let entry = |name: &str| container.entry(name).unwrap();
            walk(
                &mangled(entry("sig-hashchainresult.xml"), &others),
                &mangled(entry("sig-hashchain.xml"), &edits),
            );
        }
    }
}
