//! Stamps that were moved, and tokens as authorities encode them.

use bytes::Bytes;

use crate::{
    archive::{Archive, ArchiveLimits},
    container::{Container, ContainerLimits, ContainerParts},
    court::{Court, REQUEST, code, findings},
    fixtures,
    flips::{FixtureTrust, with},
    verify::{CoveredKind, covered, verify_container},
};

/// The DER value `der` with constructed values of the outer `levels` in indefinite length, and what follows it.
fn indefinite(der: &[u8], levels: usize) -> (Vec<u8>, &[u8]) {
    let (length, header) = match der[1] {
        short if short < 0x80 => (usize::from(short), 2),
        long => {
            let bytes = usize::from(long & 0x7f);
            let length = der[2..2 + bytes]
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, 2 + bytes)
        }
    };
    let (value, rest) = der.split_at(header + length);
    if levels == 0 || der[0] & 0x20 == 0 {
        return (value.to_vec(), rest);
    }
    let mut written = vec![der[0], 0x80];
    let mut inside = &value[header..];
    while !inside.is_empty() {
        let (element, others) = indefinite(inside, levels - 1);
        written.extend(element);
        inside = others;
    }
    written.extend([0, 0]);
    (written, rest)
}

#[test]
fn tokens_of_indefinite_length_are_taken() {
    let court = Court::new();
    let parts = court.contain(&[(REQUEST, None)]).remove(0);
    let token = parts.ts_token.clone().unwrap();
    for levels in 1..=4 {
        let (encoded, rest) = indefinite(&token, levels);
        assert!(rest.is_empty() && encoded != token);
        let parts = ContainerParts {
            ts_token: Some(encoded.clone().into()),
            ..parts.clone()
        };
        let verdict = court.judge(&parts);
        assert_eq!(
            (code(&verdict), findings(&verdict)),
            ("valid", vec![]),
            "{levels}"
        );
        // what the token's signature is over is found in it all the same, and each byte of it counts
        let file = crate::container::write_container(&parts).unwrap();
        let container = Container::read(&file, &ContainerLimits::default()).unwrap();
        let stamp = covered(&container);
        let stamp = stamp
            .iter()
            .find(|part| part.kind() == CoveredKind::TimeStamp)
            .unwrap();
        for bit in (3..stamp.bits()).step_by(8) {
            let changed = Bytes::from(stamp.flipped(&encoded, bit).unwrap());
            let changed = with(&container, "META-INF/timestamp.tst", &changed);
            let verdict = verify_container(&changed, &court.scene.trust);
            assert_ne!(code(&verdict), "valid", "{levels}, {bit}");
        }
        // an end that is missing, one too many, bytes behind
        for damaged in [
            encoded[..encoded.len() - 2].to_vec(),
            [encoded.as_slice(), &[0, 0]].concat(),
            [encoded.as_slice(), &[5]].concat(),
        ] {
            let parts = ContainerParts {
                ts_token: Some(damaged.into()),
                ..parts.clone()
            };
            assert_eq!(code(&court.judge(&parts)), "malformed_signature");
        }
    }
}

/// Of one server's log, of one batch even: a stamp belongs to the signature that its chain leads to.
#[test]
fn stamps_cannot_be_moved() {
    let court = Court::new();
    let batch = court.contain(&[(REQUEST, None), (REQUEST, Some("body")), (REQUEST, None)]);
    let alone = court.contain(&[(REQUEST, None)]).remove(0);
    let other = Court::new();
    let foreign = other.contain(&[(REQUEST, None)]).remove(0);
    let stamp_of = |parts: &ContainerParts, stamp: &ContainerParts| ContainerParts {
        ts_token: stamp.ts_token.clone(),
        ts_hash_chain: stamp.ts_hash_chain.clone(),
        ts_hash_chain_result: stamp.ts_hash_chain_result.clone(),
        ..parts.clone()
    };
    for (what, parts, expected) in [
        ("its own", stamp_of(&alone, &alone), "valid"),
        // messages signed in one batch share their signature, so their stamps are of the same document
        (
            "of the same signature",
            stamp_of(&batch[0], &batch[2]),
            "valid",
        ),
        (
            "of another signature",
            stamp_of(&alone, &batch[0]),
            "malformed_signature",
        ),
        (
            "of another server",
            stamp_of(&alone, &foreign),
            "malformed_signature",
        ),
        (
            "the token of another stamp",
            ContainerParts {
                ts_token: batch[0].ts_token.clone(),
                ..alone.clone()
            },
            "malformed_signature",
        ),
        (
            "the chain of another stamp",
            ContainerParts {
                ts_hash_chain: batch[0].ts_hash_chain.clone(),
                ..alone.clone()
            },
            "malformed_signature",
        ),
        (
            "the result of another stamp",
            ContainerParts {
                ts_hash_chain_result: batch[0].ts_hash_chain_result.clone(),
                ..alone.clone()
            },
            "malformed_signature",
        ),
    ] {
        assert_eq!(code(&court.judge(&parts)), expected, "{what}");
    }
}

const STAMP: [&str; 3] = [
    "META-INF/timestamp.tst",
    "ts-hashchain.xml",
    "ts-hashchainresult.xml",
];

/// Containers of a real log, two batches: whatever is taken from one record and put into another is found out.
#[test]
fn real_records_cannot_be_mixed() {
    let test = "real_records_cannot_be_mixed";
    let Some(trust) = FixtureTrust::read(test, "globalconf/globalconf_cs/CS/shared-params.xml")
    else {
        return;
    };
    let mut records: Vec<(String, Container)> = Vec::new();
    for path in [
        "archives/message-archive-0.zip",
        "archives/message-archive-1.zip",
    ] {
        let file = fixtures::read(test, path).unwrap();
        let source = std::io::Cursor::new(file);
        let mut archive = Archive::open(source, &ArchiveLimits::default()).unwrap();
        while let Some(container) = archive.next_container() {
            let bytes = container.bytes().unwrap();
            let read = Container::read(bytes, &ContainerLimits::default()).unwrap();
            records.push((container.name().to_owned(), read));
        }
    }
    assert_eq!(records.len(), 21);
    let judge = |container: &Container| verify_container(container, &trust);
    let mut tried = 0;
    for (name, one) in &records {
        assert_eq!(code(&judge(one)), "valid", "{name}");
        for (other_name, other) in records.iter().step_by(4).filter(|(other, _)| other != name) {
            // the provider's and the consumer's record of one message: their stamps are of one signature
            if one.entry("META-INF/signatures.xml") == other.entry("META-INF/signatures.xml") {
                continue;
            }
            let take = |names: &[&str]| {
                let kept = one.entries().filter(|(name, _)| !names.contains(name));
                let taken = other.entries().filter(|(name, _)| names.contains(name));
                let all = kept.chain(taken);
                let owned = all.map(|(name, content)| (name.to_owned(), content.clone()));
                Container::from_entries(owned).unwrap()
            };
            for entries in [&["message.xml"][..], &["META-INF/signatures.xml"], &STAMP] {
                // equal on both sides: the provider's and the consumer's record of one message
                if entries
                    .iter()
                    .all(|entry| one.entry(entry) == other.entry(entry))
                {
                    continue;
                }
                tried += 1;
                let verdict = judge(&take(entries));
                assert_ne!(
                    code(&verdict),
                    "valid",
                    "{entries:?} of {other_name} in {name}"
                );
            }
        }
    }
    println!("VECTORS fixtures {tried} tried, 0 left out");
}
