use jibek_certs::digest::{DigestAlgorithm, digest};
use std::io::{Cursor, Write};

use super::*;
use crate::fixtures;

/// An archive as X-Road writes it, of `containers`, after `previous` (its last link and its name).
fn written(
    previous: Option<(&LinkDigest, &str)>,
    algorithm: DigestAlgorithm,
    containers: &[(&str, &[u8])],
) -> Vec<u8> {
    let (digest_before, name_before) = previous.map_or(("-".to_owned(), "-"), |(link, name)| {
        (link.to_string(), name)
    });
    let mut info = format!("{digest_before} {name_before} {algorithm}\n");
    let mut link = previous.map(|(link, _)| link.clone());
    for (name, bytes) in containers {
        let next = LinkDigest::follow(link.as_ref(), &digest(algorithm, bytes));
        info.push_str(&format!("{next} {name}\n"));
        link = Some(next);
    }
    zipped(containers, &info)
}

fn zipped(containers: &[(&str, &[u8])], info: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in containers.iter().chain([&("linkinginfo", info.as_bytes())]) {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn open(bytes: &[u8]) -> Result<Archive<Cursor<&[u8]>>, ArchiveError> {
    Archive::open(Cursor::new(bytes), &ArchiveLimits::default())
}

fn whole(bytes: &[u8]) -> VerifiedArchive {
    open(bytes).unwrap().finish().unwrap()
}

fn faults(bytes: &[u8]) -> Vec<(&'static str, String)> {
    let broken = open(bytes).unwrap().finish().unwrap_err();
    assert_eq!(broken.fault_count(), broken.faults().len());
    broken
        .faults()
        .iter()
        .map(|fault| (fault.code(), fault.name().unwrap_or_default().to_owned()))
        .collect()
}

/// `signatures-and-log.md` 4.7.
#[test]
fn links_are_as_written() {
    let archive = whole(&written(
        None,
        DigestAlgorithm::Sha512,
        &[("a.asice", b"asic-bytes-1"), ("b.asice", b"asic-bytes-2")],
    ));
    let links: Vec<&str> = archive
        .containers()
        .iter()
        .map(|line| &line.link().as_str()[..32])
        .collect();
    assert_eq!(
        links,
        [
            "9b41b73fc25325eab8c9026282f0f839",
            "b6ca8b40996b23e672177afdcf5ecc4c"
        ]
    );
    assert_eq!(archive.last(), archive.containers()[1].link());
}

#[test]
fn real_archives_are_whole_and_joined() {
    let read = |number: usize| {
        fixtures::read(
            "real_archives_are_whole_and_joined",
            &format!("archives/message-archive-{number}.zip"),
        )
    };
    let (Some(first), Some(second)) = (read(0), read(1)) else {
        return;
    };
    assert_eq!(kind(Cursor::new(&first)), FileKind::Archive);
    let (first, second) = (whole(&first), whole(&second));
    assert_eq!(
        (first.containers().len(), second.containers().len()),
        (1, 20)
    );
    assert_eq!(first.previous(), None);
    assert!(first.last().as_str().starts_with("9011ab557706b505"));
    assert_eq!(second.previous(), Some(first.last()));
    assert_eq!(
        second.previous_archive(),
        Some("mlog-20231023121255-20231023121255-9011ab557706b505.zip.gpg")
    );
    assert!(second.last().as_str().starts_with("1bdf9efbf998d9c1"));
    let given = [("1.zip".to_owned(), second), ("0.zip".to_owned(), first)];
    let history = join(&given);
    assert_eq!(history.faults(), []);
    assert_eq!(history.chains().len(), 1);
    assert_eq!(history.chains()[0].archives(), [1, 0]);
    assert_eq!(history.chains()[0].start(), &Start::First);
    // by itself the second starts in the middle, which is nobody's fault
    let history = join(&given[..1]);
    assert_eq!(history.faults(), []);
    assert!(
        matches!(history.chains()[0].start(), Start::After { archive: Some(name), .. }
        if name.ends_with("9011ab557706b505.zip.gpg"))
    );
    println!("VECTORS fixtures 23 tried, 0 left out");
}

#[test]
fn every_container_of_a_real_archive_counts() {
    let Some(file) = fixtures::read(
        "every_container_of_a_real_archive_counts",
        "archives/message-archive-1.zip",
    ) else {
        return;
    };
    let mut archive = open(&file).unwrap();
    assert_eq!(archive.containers(), 20);
    assert_eq!(archive.other_entries().count(), 0);
    let info = String::from_utf8({
        let mut zip = zip::ZipArchive::new(Cursor::new(&file)).unwrap();
        let mut entry = zip.by_name("linkinginfo").unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        bytes
    })
    .unwrap();
    let mut containers: Vec<(String, Vec<u8>)> = Vec::new();
    while let Some(container) = archive.next_container() {
        assert_eq!(container.fault(), None);
        containers.push((
            container.name().to_owned(),
            container.bytes().unwrap().to_vec(),
        ));
    }
    let zipped = |containers: &[(String, Vec<u8>)], info: &str| {
        let borrowed: Vec<(&str, &[u8])> = containers
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        zipped(&borrowed, info)
    };
    assert!(open(&zipped(&containers, &info)).unwrap().finish().is_ok());
    for number in 0..containers.len() {
        let name = containers[number].0.clone();
        let mut changed = containers.clone();
        let middle = changed[number].1.len() / 2;
        changed[number].1[middle] ^= 1;
        assert_eq!(
            faults(&zipped(&changed, &info)),
            [("archive_link", name.clone())]
        );
        let mut removed = containers.clone();
        removed.remove(number);
        assert_eq!(
            faults(&zipped(&removed, &info)),
            [("archive_container_missing", name.clone())]
        );
        // removed from both: the next one tells, or the next archive when it was the last
        let line = info.lines().find(|line| line.ends_with(&name)).unwrap();
        let without = info.replace(&format!("{line}\n"), "");
        let shortened = zipped(&removed, &without);
        match removed.get(number) {
            Some((next, _)) => assert_eq!(faults(&shortened), [("archive_link", next.clone())]),
            None => assert_ne!(whole(&shortened).last(), whole(&file).last()),
        }
    }
}

#[test]
fn what_was_done_to_an_archive_is_said() {
    let algorithm = DigestAlgorithm::Sha256;
    let three: [(&str, &[u8]); 3] = [("a.asice", b"A"), ("b.asice", b"B"), ("c.asice", b"C")];
    let good = written(None, algorithm, &three);
    let info = info_of(&good);
    assert!(open(&good).unwrap().finish().is_ok());
    let [a, b, c] = three;
    let replaced: (&str, &[u8]) = ("b.asice", b"X");
    let link = |name: &str| ("archive_link", name.to_owned());
    for (what, bytes, expected) in [
        (
            "replaced",
            zipped(&[a, replaced, c], &info),
            vec![link("b.asice")],
        ),
        (
            "contents exchanged",
            zipped(&[a, ("b.asice", b"C"), ("c.asice", b"B")], &info),
            vec![link("b.asice"), link("c.asice")],
        ),
        (
            "order of the entries changed",
            zipped(&[a, c, b], &info),
            vec![
                ("archive_order", "c.asice".to_owned()),
                ("archive_order", "b.asice".to_owned()),
            ],
        ),
        (
            "one added",
            zipped(&[a, ("x.asice", b"X"), b, c], &info),
            vec![("archive_container_unlisted", "x.asice".to_owned())],
        ),
        (
            "first removed",
            zipped(&[b, c], &info),
            vec![("archive_container_missing", "a.asice".to_owned())],
        ),
        (
            "nothing left",
            zipped(&[], "- - SHA-256\n"),
            vec![("archive_empty", String::new())],
        ),
        (
            "another algorithm",
            zipped(&three, &info.replace("SHA-256", "SHA-512")),
            vec![link("a.asice"), link("b.asice"), link("c.asice")],
        ),
        (
            "said to begin elsewhere",
            zipped(
                &three,
                &info.replace("- - ", &format!("{} x.zip ", "0".repeat(64))),
            ),
            vec![link("a.asice")],
        ),
        (
            "said to begin the log",
            zipped(
                &three,
                &info_of(&written(
                    Some((whole(&good).last(), "x.zip")),
                    algorithm,
                    &three,
                ))
                .replace(whole(&good).last().as_str(), "-"),
            ),
            vec![link("a.asice")],
        ),
    ] {
        assert_eq!(faults(&bytes), expected, "{what}");
    }
    // The order of the lines is nobody's business: X-Road's verifier goes by the directory.
    let mut lines: Vec<&str> = info.lines().collect();
    lines[1..].reverse();
    let shuffled = zipped(&three, &lines.join("\r\n"));
    assert_eq!(whole(&shuffled).last(), whole(&good).last());
}

fn info_of(archive: &[u8]) -> String {
    let mut zip = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut entry = zip.by_name("linkinginfo").unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
    text
}

#[test]
fn a_fault_does_not_end_the_reading() {
    let containers: [(&str, &[u8]); 3] = [
        ("a.asice", b"AAAA"),
        ("b.asice", b"BBBB"),
        ("c.asice", b"C"),
    ];
    let mut file = written(None, DigestAlgorithm::Sha512, &containers);
    let place = file
        .windows(4)
        .position(|window| window == b"AAAA")
        .unwrap();
    file[place] = b'X';
    let mut archive = open(&file).unwrap();
    let mut seen = Vec::new();
    while let Some(container) = archive.next_container() {
        seen.push((
            container.name().to_owned(),
            container.bytes().is_some(),
            container.fault().map(ArchiveFault::code),
        ));
    }
    let row = |name: &str, is_there, fault| (name.to_owned(), is_there, fault);
    assert_eq!(
        seen,
        [
            row("a.asice", false, Some("archive_container_damaged")),
            row("b.asice", true, None),
            row("c.asice", true, None)
        ]
    );
    let tight = ArchiveLimits {
        container_bytes: 3,
        ..ArchiveLimits::default()
    };
    let broken = Archive::open(Cursor::new(&file), &tight)
        .unwrap()
        .finish()
        .unwrap_err();
    assert_eq!(broken.fault_count(), 2);
    assert_eq!(broken.faults()[0].code(), "archive_container_too_large");
    let tight = ArchiveLimits {
        containers: 2,
        ..ArchiveLimits::default()
    };
    assert_eq!(
        Archive::open(Cursor::new(&file), &tight)
            .unwrap_err()
            .code(),
        "archive_malformed_linking_info"
    );
}

#[test]
fn lines_that_are_none_are_refused() {
    let digest = "0".repeat(128);
    for (info, line) in [
        (String::new(), 1),
        ("- -".to_owned(), 1),
        ("- - MD5\n".to_owned(), 1),
        ("- - SHA-1\n".to_owned(), 1),
        ("x - SHA-512\n".to_owned(), 1),
        (format!("{} - SHA-512\n", "A".repeat(128)), 1),
        (format!("- - SHA-512\n{digest}\n"), 2),
        (format!("- - SHA-512\n{digest} a b\n"), 2),
        (format!("- - SHA-512\n{digest}0 a\n"), 2),
        (format!("- - SHA-512\n{digest} a\n\n{digest} b\n"), 3),
        (format!("- - SHA-512\n{digest} a\n{digest} a\n"), 3),
    ] {
        let error = open(&zipped(&[("a.asice", b"A")], &info)).unwrap_err();
        assert!(
            matches!(error, ArchiveError::Line { line: found, .. } if found == line),
            "{info}: {error}"
        );
    }
    let no_info = {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("a.asice", zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.finish().unwrap().into_inner()
    };
    assert_eq!(open(&no_info).unwrap_err(), ArchiveError::NoLinkingInfo);
    assert_eq!(kind(Cursor::new(&no_info)), FileKind::Bundle);
    assert_eq!(open(b"text").unwrap_err().code(), "archive_not_zip");
    assert_eq!(kind(Cursor::new(b"text")), FileKind::Other);
}

/// A log of five archives, two containers each, as `mlog-` files.
fn log(records: std::ops::Range<u64>, group: &str) -> Vec<(String, VerifiedArchive)> {
    let mut archives: Vec<(String, VerifiedArchive)> = Vec::new();
    for record in records {
        let previous = archives
            .last()
            .map(|(name, archive)| (archive.last().clone(), name.clone()));
        archives.push(one(previous.as_ref(), record, group));
    }
    archives
}

fn one(
    previous: Option<&(LinkDigest, String)>,
    record: u64,
    group: &str,
) -> (String, VerifiedArchive) {
    let names = [
        format!("q-request-{record}.asice"),
        format!("q-response-{}.asice", record + 10),
    ];
    let bytes = format!("{group}{record}");
    let archive = whole(&written(
        previous.map(|(link, name)| (link, name.as_str())),
        DigestAlgorithm::Sha512,
        &[(&names[0], bytes.as_bytes()), (&names[1], b"same")],
    ));
    let digest = archive.last().as_str().get(..16).unwrap();
    let time = format!("2026112300000{record}");
    (format!("mlog-{group}{time}-{time}-{digest}.zip"), archive)
}

fn codes(history: &History) -> Vec<&'static str> {
    history.faults().iter().map(JoinFault::code).collect()
}

fn orders(history: &History) -> Vec<&[usize]> {
    history.chains().iter().map(Chain::archives).collect()
}

#[test]
fn archives_are_joined_in_any_order() {
    let log = log(1..6, "");
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]] {
        let given: Vec<(String, VerifiedArchive)> =
            order.iter().map(|index| log[*index].clone()).collect();
        let history = join(&given);
        assert_eq!(codes(&history), Vec::<&str>::new());
        let found: Vec<usize> = orders(&history)[0]
            .iter()
            .map(|index| order[*index])
            .collect();
        assert_eq!(found, [0, 1, 2, 3, 4]);
    }
    assert_eq!(join(&[]).chains(), []);
}

#[test]
fn what_does_not_fit_is_said() {
    let five = log(1..6, "");
    let pick = |indices: &[usize]| -> Vec<(String, VerifiedArchive)> {
        indices.iter().map(|index| five[*index].clone()).collect()
    };
    // one is missing
    let history = join(&pick(&[0, 1, 3, 4]));
    assert_eq!(orders(&history), [&[0, 1][..], &[2, 3]]);
    let [
        JoinFault::Gap {
            archive: 2,
            missing: Some(missing),
            ..
        },
    ] = history.faults()
    else {
        panic!("{:?}", history.faults());
    };
    assert_eq!(*missing, five[2].0);
    assert!(!history.faults()[0].is_contradiction());
    // one is there twice
    let history = join(&pick(&[0, 1, 1, 2]));
    assert_eq!(codes(&history), ["archives_same"]);
    assert_eq!(orders(&history), [&[0, 1, 3][..]]);
    // rolled back to the second, and gone on from there
    let back = one(Some(&(five[1].1.last().clone(), five[1].0.clone())), 7, "");
    let history = join(&[pick(&[0, 1, 2, 3]), vec![back]].concat());
    assert_eq!(codes(&history), ["archives_fork"]);
    assert!(history.faults()[0].is_contradiction());
    assert_eq!(history.faults()[0].archives(), [2, 4]);
    assert_eq!(orders(&history), [&[0, 1, 2, 3][..], &[4]]);
    assert!(
        history.faults()[0]
            .to_string()
            .contains("differ after 0 containers")
    );
    // rolled back into the middle of an archive
    let middle = five[2].1.containers()[0].link().clone();
    let back = one(Some(&(middle, "x.zip".to_owned())), 7, "");
    let history = join(&[pick(&[0, 1, 2, 3]), vec![back]].concat());
    assert_eq!(codes(&history), ["archives_fork", "archives_gap"]);
    // begun anew
    let history = join(&[pick(&[0, 1, 2]), log(7..8, "")].concat());
    assert_eq!(codes(&history), ["archives_second_beginning"]);
    // by group it is no fault
    let history = join(
        &[
            pick(&[0, 1]),
            log(1..3, "DEV_COM_1-"),
            log(1..3, "DEV_COM_2-"),
        ]
        .concat(),
    );
    assert_eq!(codes(&history), Vec::<&str>::new());
    assert_eq!(orders(&history).len(), 3);
    // a name that is another's
    let mut renamed = pick(&[0, 1]);
    renamed[1].0 = renamed[1].0.replace("0002", "0003");
    assert_eq!(codes(&join(&renamed)), Vec::<&str>::new());
    renamed[0].0 = five[2].0.clone();
    assert_eq!(
        codes(&join(&renamed)),
        ["archive_misnamed", "archive_previous_name"]
    );
    // a later link of an earlier time
    let mut early = pick(&[0, 1]);
    early[1].0 = early[1]
        .0
        .replace("mlog-2026112300000200", "mlog-2026112300000000");
    early[1].0 = early[1].0.replace("20261123000002", "20251123000002");
    assert_eq!(codes(&join(&early)), ["archives_time"]);
    // a record's number again
    let again = one(Some(&(five[1].1.last().clone(), five[1].0.clone())), 1, "");
    let history = join(&[pick(&[0, 1]), vec![again]].concat());
    assert!(
        codes(&history).contains(&"archives_record_twice"),
        "{history:?}"
    );
    // two servers' logs: nothing of one follows the other's
    let other = log(1..4, "other-");
    let swapped = [five[0].clone(), other[1].clone(), five[2].clone()];
    assert_eq!(orders(&join(&swapped)).len(), 3);
}

#[test]
fn names_of_files_are_read() {
    let name = ArchiveName::parse(
        "mlog-DEV_GOV_12-34_a-20231023121255-20231023121301-9011ab557706b505.zip.gpg",
    )
    .unwrap();
    assert_eq!(name.group(), Some("DEV_GOV_12-34_a"));
    assert_eq!(name.start().to_string(), "2023-10-23 12:12:55.0");
    assert_eq!(name.end().to_string(), "2023-10-23 12:13:01.0");
    assert_eq!(
        (name.digest(), name.is_encrypted()),
        ("9011ab557706b505", true)
    );
    let name =
        ArchiveName::parse("mlog-20231023121255-20231023121255-9011ab557706b505.zip").unwrap();
    assert_eq!((name.group(), name.is_encrypted()), (None, false));
    for bad in [
        "message-archive-0.zip",
        "mlog-20231023121255-9011ab557706b505.zip",
        "mlog-20231323121255-20231023121255-9011ab557706b505.zip",
        "mlog-20231023121255-20231023121255-9011ab557706b50.zip",
        "mlog-20231023121255-20231023121255-9011ab557706b505.tar",
        "mlog-+0231023121255-20231023121255-9011ab557706b505.zip",
    ] {
        assert_eq!(ArchiveName::parse(bad), None, "{bad}");
    }
}
