use std::io::{self, Cursor, Write};
use time::macros::datetime;

use super::super::{Archive, ArchiveLimits, ArchiveName, LinkDigest, Start, VerifiedArchive, join};
use super::{ArchiveWriter, Previous, WrittenArchive};
use crate::fixtures;

/// An archive of these containers, all but the first a second later than the one before.
fn written(previous: Option<&Previous>, containers: &[(&str, &[u8])]) -> (Vec<u8>, WrittenArchive) {
    let mut archive = ArchiveWriter::new(Vec::new(), previous);
    let mut time = datetime!(2026-11-23 12:00:01 UTC);
    for (name, bytes) in containers {
        archive
            .add(name, time, 0, |entry| entry.write_all(bytes))
            .unwrap();
        time += time::Duration::SECOND;
    }
    assert_eq!(archive.containers(), containers.len());
    archive.finish().unwrap().unwrap()
}

fn verified(file: &[u8]) -> VerifiedArchive {
    let archive = Archive::open(Cursor::new(file), &ArchiveLimits::default()).unwrap();
    assert_eq!(archive.other_entries().count(), 0);
    archive.finish().unwrap()
}

fn linking_info(file: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipArchive::new(Cursor::new(file)).unwrap();
    let mut info = Vec::new();
    io::copy(&mut zip.by_name("linkinginfo").unwrap(), &mut info).unwrap();
    info
}

#[test]
fn archives_are_read_and_joined() {
    let large = vec![7; 200_000];
    let (first, ended) = written(None, &[("a.asice", b"one"), ("b.asice", &large)]);
    let name = ended.name(None, false);
    assert_eq!(
        name,
        format!(
            "mlog-20261123120001-20261123120002-{}.zip",
            &ended.last.as_str()[..16]
        )
    );
    let previous = Previous {
        digest: ended.last.clone(),
        name: name.clone(),
    };
    let (second, ended) = written(Some(&previous), &[("c.asice", b"")]);
    let second_name = ended.name(None, true);
    assert!(second_name.ends_with(".zip.gpg"));
    assert_eq!(verified(&second).last(), &ended.last);
    let history = join(&[(second_name, verified(&second)), (name, verified(&first))]);
    assert!(history.faults().is_empty(), "{:?}", history.faults());
    let [chain] = history.chains() else { panic!() };
    assert_eq!(
        (chain.archives(), chain.start()),
        (&[1, 0][..], &Start::First)
    );
    // Nothing in it is nothing.
    assert!(
        ArchiveWriter::new(Vec::new(), None)
            .finish()
            .unwrap()
            .is_none()
    );
}

/// The containers of X-Road's own archives, written by us: `linkinginfo` is X-Road's, byte for byte.
#[test]
fn linking_info_is_x_road_s() {
    for (name, containers) in [("message-archive-0", 1), ("message-archive-1", 20)] {
        let path = format!("archives/{name}.zip");
        let Some(file) = fixtures::read("linking_info_is_x_road_s", &path) else {
            return;
        };
        let mut archive =
            Archive::open(Cursor::new(file.as_slice()), &ArchiveLimits::default()).unwrap();
        let info = archive.linking_info();
        let previous = info.previous().map(|digest| Previous {
            digest: digest.clone(),
            name: info.previous_archive().unwrap().to_owned(),
        });
        let mut contents = Vec::new();
        while let Some(container) = archive.next_container() {
            contents.push((
                container.name().to_owned(),
                container.bytes().unwrap().clone(),
            ));
        }
        assert_eq!(contents.len(), containers);
        let contents: Vec<(&str, &[u8])> = contents
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_ref()))
            .collect();
        let (ours, _) = written(previous.as_ref(), &contents);
        assert_eq!(
            String::from_utf8(linking_info(&ours)).unwrap(),
            String::from_utf8(linking_info(&file)).unwrap()
        );
        // Level 0 of deflate, as X-Road's: method 8 with a descriptor, in both.
        for file in [&ours, &file.to_vec()] {
            assert_eq!((file[6] & 8, file[8]), (8, 8), "{name}");
        }
    }
}

#[test]
fn names_fit_file_systems_and_linking_info() {
    let last: LinkDigest = "0123456789abcdef".repeat(8).parse().unwrap();
    let written = WrittenArchive {
        last,
        start: datetime!(2026-11-23 23:59:59 +06:00),
        end: datetime!(2027-01-02 03:04:05 UTC),
        containers: 1,
    };
    let name = written.name(Some("KG/GOV/7000 1/a:b\\c"), false);
    assert_eq!(
        name,
        "mlog-KG_GOV_7000_1_a_b_c-20261123175959-20270102030405-0123456789abcdef.zip"
    );
    let parsed = ArchiveName::parse(&name).unwrap();
    assert_eq!(parsed.group(), Some("KG_GOV_7000_1_a_b_c"));
    let long = written.name(Some(&"ы".repeat(300)), true);
    assert!(
        long.len() <= 255 && ArchiveName::parse(&long).is_some(),
        "{long}"
    );
}

/// Entries that are announced to exceed 4 GiB have 64-bit sizes; every reader takes them, `unzip` and Python, too.
#[test]
fn other_programs_read_it() {
    let mut archive = ArchiveWriter::new(Vec::new(), None);
    let time = datetime!(2026-11-23 12:00:00 UTC);
    for (name, announced) in [("a.asice", 0), ("b.asice", 5 << 30), ("c.asice", 1)] {
        let content = name.repeat(10_000);
        archive
            .add(name, time, announced, |entry| {
                entry.write_all(content.as_bytes())
            })
            .unwrap();
    }
    assert_eq!(archive.container_bytes(), 210_000);
    let (file, _) = archive.finish().unwrap().unwrap();
    assert_eq!(verified(&file).containers().len(), 3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.zip");
    std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(&path)
        .unwrap()
        .write_all(&file)
        .unwrap();
    let python = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\nassert z.read('b.asice') == b'b.asice' * 10000\nassert z.infolist()[1].date_time == (2026, 11, 23, 12, 0, 0)";
    let programs: [(&str, &[&str]); 2] = [("unzip", &["-tq"]), ("python3", &["-c", python])];
    for (program, arguments) in programs {
        let Ok(output) = std::process::Command::new(program)
            .args(arguments)
            .arg(&path)
            .output()
        else {
            println!("SKIPPED other_programs_read_it: no {program}");
            continue;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {said}");
    }
}

/// A container that cannot be written, or a target that is full, ends the archive with the writer's own error.
#[test]
fn errors_are_handed_on() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let time = datetime!(2026-11-23 12:00:00 UTC);
    let mut archive = ArchiveWriter::new(Full(100_000), None);
    let error = archive
        .add("a.asice", time, 0, |entry| {
            entry.write_all(&vec![0; 200_000])
        })
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let mut archive = ArchiveWriter::new(Vec::new(), None);
    let error = archive.add("a.asice", time, 0, |_| Err(io::Error::other("mine")));
    assert_eq!(error.unwrap_err().to_string(), "mine");
}
