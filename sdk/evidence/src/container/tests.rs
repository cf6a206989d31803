use super::*;

mod hostile;

#[test]
fn names_are_java_s() {
    assert_eq!(
        container_name(
            "3a2a743f-56da-4085-b643-79e335341eb3",
            Direction::Request,
            1
        ),
        "3a2a743f-56da-4085-b643-79e335341eb3-request-1.asice"
    );
    assert_eq!(
        container_name("a b/ü*", Direction::Response, 35),
        "a+b%2F%C3%BC*-response-13.asice"
    );
    assert_eq!(
        container_name(&"/".repeat(100), Direction::Request, u64::MAX).len(),
        226 + "-request-fvvvvvvvvvvvv.asice".len()
    );
    assert_eq!(base32(0), "0");
}

use bytes::Bytes;
use std::io::Write;
use time::macros::datetime;

fn parts() -> ContainerParts {
    ContainerParts {
        message: Bytes::from_static(b"message"),
        signature: Bytes::from_static(b"signature"),
        hash_chain_result: Some(Bytes::from_static(b"result")),
        hash_chain: Some(Bytes::from_static(b"chain")),
        ts_token: Some(Bytes::from_static(b"token")),
        ts_hash_chain_result: Some(Bytes::from_static(b"stamped")),
        ts_hash_chain: Some(Bytes::from_static(b"stamp chain")),
        attachments: vec![Bytes::from_static(b"body")],
        time: datetime!(2026-11-23 03:15:04 UTC),
    }
}

#[test]
fn what_is_written_is_read() {
    let file = write_container(&parts()).unwrap();
    let container = Container::read(&file, &ContainerLimits::default()).unwrap();
    for (name, content) in [
        ("mimetype", "application/vnd.etsi.asic-e+zip"),
        ("message.xml", "message"),
        ("META-INF/signatures.xml", "signature"),
        ("sig-hashchainresult.xml", "result"),
        ("sig-hashchain.xml", "chain"),
        ("ts-hashchainresult.xml", "stamped"),
        ("ts-hashchain.xml", "stamp chain"),
        ("META-INF/timestamp.tst", "token"),
        ("attachment1", "body"),
    ] {
        assert_eq!(container.entry(name).unwrap(), content.as_bytes(), "{name}");
    }
    assert_eq!(container.entries().count(), 11);
    // ASiC: `mimetype` comes first, stored, without extra field, so that its text stands at byte 38.
    assert_eq!(&file[30..69], b"mimetypeapplication/vnd.etsi.asic-e+zip");
    // Java's stream reader: no descriptors, sizes in the local headers.
    assert_eq!(file[6] & 0x08, 0);
    assert_eq!(file[22..26], [31, 0, 0, 0]);
    // Equal parts give equal files.
    assert_eq!(file, write_container(&parts()).unwrap());
}

#[test]
fn streamed_bodies_are_numbered_through() {
    let bodies = [vec![1; 100_000], vec![]];
    let file = write_container_to(Vec::new(), &parts(), bodies.iter().map(Vec::as_slice)).unwrap();
    let container = Container::read(&file, &ContainerLimits::default()).unwrap();
    assert_eq!(container.entry("attachment2").unwrap(), &bodies[0]);
    assert!(container.entry("attachment3").unwrap().is_empty());
    assert!(
        String::from_utf8_lossy(container.entry("META-INF/manifest.xml").unwrap())
            .contains("full-path=\"attachment3\"")
    );
}

#[test]
fn halves_are_refused() {
    for parts in [
        ContainerParts {
            hash_chain: None,
            ..parts()
        },
        ContainerParts {
            hash_chain_result: None,
            ..parts()
        },
        ContainerParts {
            ts_token: None,
            ..parts()
        },
        ContainerParts {
            ts_hash_chain: None,
            ..parts()
        },
    ] {
        assert!(matches!(
            write_container(&parts),
            Err(WriteError::Incomplete(_))
        ));
    }
}

/// What unzip and Python make of it, where they are installed, is what we wrote.
#[test]
fn other_programs_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.asice");
    let streamed = streamed(&[b"two"]);
    std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(&path)
        .unwrap()
        .write_all(&streamed)
        .unwrap();
    let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\nprint(z.infolist()[0].filename, z.read('attachment2').decode(), z.infolist()[0].date_time, z.comment.decode())";
    let Ok(python) = std::process::Command::new("python3")
        .arg("-c")
        .arg(script)
        .arg(&path)
        .output()
    else {
        println!("SKIPPED other_programs_read_it: no python3");
        return;
    };
    let said = String::from_utf8_lossy(&python.stdout).into_owned();
    assert_eq!(
        said.trim(),
        "mimetype two (2026, 11, 23, 3, 15, 4) mimetype=application/vnd.etsi.asic-e+zip"
    );
}

fn streamed(bodies: &[&[u8]]) -> Vec<u8> {
    write_container_to(Vec::new(), &parts(), bodies.iter().copied()).unwrap()
}

/// Java's stream reader, with which X-Road reads, goes by the local headers alone: sizes there, or in their ZIP64 field.
#[test]
fn stream_readers_see_the_same() {
    let file = streamed(&[b"two", b""]);
    let container = read(&file).unwrap();
    let number = |place: usize, bytes: usize| {
        file[place..place + bytes]
            .iter()
            .rev()
            .fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let mut place = 0;
    let mut names = Vec::new();
    while file[place..place + 4] == *b"PK\x03\x04" {
        assert_eq!(number(place + 6, 2) & 0x08, 0, "no descriptor");
        assert_eq!(number(place + 8, 2), 0, "stored");
        let (name_bytes, extra_bytes) = (number(place + 26, 2), number(place + 28, 2));
        let name = std::str::from_utf8(&file[place + 30..place + 30 + name_bytes]).unwrap();
        let extra = place + 30 + name_bytes;
        let size = match number(place + 22, 4) {
            0xffff_ffff => {
                assert_eq!(
                    (number(extra, 2), number(extra + 2, 2)),
                    (1, 16),
                    "ZIP64 with both sizes"
                );
                assert_eq!(number(extra + 4, 8), number(extra + 12, 8));
                number(extra + 4, 8)
            }
            size => size,
        };
        let data = extra + extra_bytes;
        assert_eq!(
            container.entry(name).unwrap(),
            &file[data..data + size],
            "{name}"
        );
        names.push(name);
        place = data + size;
    }
    assert_eq!(
        file[place..place + 4],
        *b"PK\x01\x02",
        "the directory follows"
    );
    assert_eq!(
        (names.len(), names[0]),
        (container.entries().count(), "mimetype")
    );
}

fn read(file: &[u8]) -> Result<Container, ReadError> {
    Container::read(file, &ContainerLimits::default())
}

fn replaced(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let places: Vec<usize> = file
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from)
        .map(|(place, _)| place)
        .collect();
    assert!(!places.is_empty());
    for place in places {
        file[place..place + to.len()].copy_from_slice(to);
    }
    file
}

#[test]
fn ambiguous_files_are_refused() {
    let good = write_container(&parts()).unwrap().to_vec();
    let first = |from: &[u8], to: &[u8]| {
        let mut file = good.clone();
        let place = file
            .windows(from.len())
            .position(|window| window == from)
            .unwrap();
        file[place..place + to.len()].copy_from_slice(to);
        file
    };
    let with_end = |bytes: &[u8]| [good.as_slice(), bytes].concat();
    for (what, file, code) in [
        (
            "two of one name",
            replaced(&good, b"sig-hashchain.xml", b"sig-hashchain.xml").to_vec(),
            None,
        ),
        (
            "equal names",
            replaced(
                &replaced(&good, b"ts-hashchain.xml", b"xx-hashchain.xml"),
                b"attachment1",
                b"message.xml",
            ),
            Some("container_entry_twice"),
        ),
        (
            "a local name of its own",
            first(b"message.xml", b"massage.xml"),
            Some("container_ambiguous"),
        ),
        (
            "another content",
            first(b"message.xmlmessage", b"message.xmlMESSAGE"),
            Some("container_damaged"),
        ),
        (
            "bytes in front",
            [b"junk".as_slice(), &good].concat(),
            Some("asic_mime_type_not_found"),
        ),
        ("bytes behind", with_end(b"junk"), None),
        ("cut off", good[..good.len() - 10].to_vec(), None),
        ("nothing", vec![], Some("asic_mime_type_not_found")),
    ] {
        assert_eq!(read(&file).err().map(|error| error.code()), code, "{what}");
    }
}

#[test]
fn bombs_are_refused() {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(
        "message.xml",
        zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated),
    )
    .unwrap();
    zip.write_all(&vec![0; 20 << 20]).unwrap();
    let file = zip.finish().unwrap().into_inner();
    assert!(file.len() < 100_000);
    assert_eq!(read(&file).unwrap_err().code(), "container_too_large");
    let tight = ContainerLimits {
        entries: 3,
        ..ContainerLimits::default()
    };
    assert_eq!(
        Container::read(&write_container(&parts()).unwrap(), &tight).unwrap_err(),
        ReadError::Limit("too many entries")
    );
    let tight = ContainerLimits {
        total_bytes: 10,
        ..ContainerLimits::default()
    };
    assert_eq!(
        Container::read(&write_container(&parts()).unwrap(), &tight).unwrap_err(),
        ReadError::Limit("too many bytes")
    );
}

#[test]
fn real_containers_are_read() {
    for name in [
        "asic/valid-signed-message",
        "asic/valid-batch-ts",
        "asic/valid-non-batch-rest",
        "asic/attachments",
        "asic-core/valid-signed-message",
    ] {
        let Some(file) =
            crate::fixtures::read("real_containers_are_read", &format!("{name}.asice"))
        else {
            return;
        };
        assert!(
            read(&file)
                .unwrap()
                .entry("META-INF/signatures.xml")
                .is_some(),
            "{name}"
        );
    }
    let text =
        crate::fixtures::read("real_containers_are_read", "asic-core/not-asic.asice").unwrap();
    assert_eq!(read(&text).unwrap_err(), ReadError::NotZip);
}
