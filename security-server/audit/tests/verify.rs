//! `jibek-audit verify` as its users run it: what it finds, prints and leaves with.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests may panic, print, and write files that need not last"
)]

mod support;

use jibek_audit::SCHEMA;
use std::{
    ffi::OsString,
    os::unix::{ffi::OsStringExt, fs::symlink},
    path::{Path, PathBuf},
    process::Command,
};
use support::{archived, fixtures, has_program, put, verify};

fn good(root: &Path) -> PathBuf {
    root.join("globalconf/globalconf_good2_v3")
}

/// Every container of the table, run one by one and all together (`signatures-and-log.md` 7.1).
#[test]
fn each_container_gives_its_exit_status() {
    let Some(root) = fixtures("each_container_gives_its_exit_status") else {
        return;
    };
    let statuses = [
        ("asic/valid-signed-message", 0, ""),
        ("asic/valid-signed-hashchain", 0, ""),
        ("asic/valid-batch-ts", 0, ""),
        ("asic/valid-non-batch-rest", 0, ""),
        ("asic/valid-non-batch-soap-attachments", 0, ""),
        ("asic/invalid-not-signed-hashchain", 0, ""),
        ("asic/wrong-message", 1, "invalid_signature_value"),
        ("asic/invalid-digest", 1, "invalid_signature_value"),
        (
            "asic/invalid-signed-hashchain",
            1,
            "malformed_signature.invalid_hash_chain_ref",
        ),
        (
            "asic/invalid-hashchain-modified-message",
            1,
            "malformed_signature.hashchain_unused_inputs",
        ),
        (
            "asic/invalid-incorrect-references",
            1,
            "malformed_signature",
        ),
        ("asic/invalid-ts-hashchainresult", 1, "malformed_signature"),
        ("asic/attachments", 1, "asic_message_not_found"),
        ("asic-core/valid-signed-message", 2, ""),
        ("asic-core/valid-signed-message-with-attachments", 0, ""),
        ("asic-core/no-mimetype", 1, "asic_mime_type_not_found"),
        ("asic-core/no-message", 1, "asic_message_not_found"),
        ("asic-core/no-signature", 1, "asic_signature_not_found"),
        ("asic-core/not-asic", 1, "asic_mime_type_not_found"),
    ];
    let path = |file: &str| root.join(format!("{file}.asice"));
    for (file, status, code) in statuses {
        let ran = verify(&good(&root), [path(file)]);
        assert_eq!(ran.status, status, "{file}: {ran:?}");
        assert!(ran.out.contains(code), "{file}: {ran:?}");
        assert_eq!(ran.out.lines().count(), 1, "{file}");
    }
    let all: Vec<PathBuf> = statuses.iter().map(|(file, ..)| path(file)).collect();
    let ran = verify(&good(&root), &all);
    assert_eq!(ran.status, 1);
    let last = ran.out.lines().last().unwrap();
    assert_eq!(
        last,
        "invalid: 19 containers: 7 valid, 11 invalid, 1 cannot be judged"
    );
    // in the order given, however many judge
    for jobs in ["1", "7"] {
        let again = verify(
            &good(&root),
            [OsString::from("--jobs"), jobs.into()]
                .into_iter()
                .chain(all.iter().map(OsString::from)),
        );
        assert_eq!(again.out, ran.out, "{jobs} jobs");
    }
    println!("VECTORS fixtures 19 tried, 0 left out");
}

#[test]
fn directories_are_looked_into() {
    let Some(root) = fixtures("directories_are_looked_into") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| {
        put(
            &dir.path().join(to),
            std::fs::read(root.join(from)).unwrap(),
        );
    };
    copy("asic/valid-batch-ts.asice", "b/second.asice");
    copy("asic/valid-batch-ts.asice", "a/deep/er/first");
    copy("asic-core/not-asic.asice", "c/third.asice");
    put(&dir.path().join("b/notes.txt"), "nothing");
    symlink("..", dir.path().join("b/round")).unwrap();
    symlink("/etc/passwd", dir.path().join("c/elsewhere.asice")).unwrap();
    let ran = verify(&good(&root), [dir.path()]);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!((ran.status, lines.len()), (1, 4), "{ran:?}");
    assert!(lines[0].contains("a/deep/er/first: valid: "), "{ran:?}");
    assert!(lines[1].contains("b/second.asice: valid: "), "{ran:?}");
    assert!(lines[2].contains("c/third.asice: invalid: asic_mime_type_not_found"));
    assert_eq!(
        lines[3],
        "invalid: 3 containers: 2 valid, 1 invalid, 0 cannot be judged; 3 other files passed over"
    );
    // nothing found is no proof of anything
    let empty = tempfile::tempdir().unwrap();
    put(&empty.path().join("notes.txt"), "nothing");
    let ran = verify(&good(&root), [empty.path()]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.out.contains("1 other files passed over"), "{ran:?}");
}

#[test]
fn what_cannot_be_read_cannot_be_judged() {
    let Some(root) = fixtures("what_cannot_be_read_cannot_be_judged") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    symlink("nowhere", dir.path().join("dangling.asice")).unwrap();
    let pipe = dir.path().join("pipe.asice");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let mut deep = dir.path().join("deep");
    for _ in 0..70 {
        deep.push("d");
    }
    put(&deep.join("x.asice"), "PK");
    let valid = root.join("asic/valid-batch-ts.asice");
    for file in [
        dir.path().join("none.asice"),
        dir.path().join("dangling.asice"),
        pipe,
        dir.path().join("deep"),
    ] {
        let ran = verify(&good(&root), [&file, &valid]);
        assert_eq!((ran.status, ran.out.lines().count()), (2, 3), "{ran:?}");
        assert!(
            ran.out.lines().next().unwrap().contains("cannot be judged"),
            "{ran:?}"
        );
        let wrong = root.join("asic/wrong-message.asice");
        assert_eq!(verify(&good(&root), [&file, &wrong]).status, 1);
    }
}

/// Names and contents of a stranger's files must not forge lines, colours or markup.
#[test]
fn hostile_names_stay_on_their_line() {
    let Some(root) = fixtures("hostile_names_stay_on_their_line") else {
        return;
    };
    let valid = std::fs::read(root.join("asic/valid-batch-ts.asice")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let names: [&[u8]; 7] = [
        b"a\nforged.asice: valid",
        b"b\x1b[2K\x1b[1Gforged.asice",
        b"c\rforged.asice",
        "d\u{202e}ecisa.asice".as_bytes(),
        b"e\xff\xfe.asice",
        b"f<&\"'>]]>.asice",
        "g\u{2028}\u{85}.asice".as_bytes(),
    ];
    for name in names {
        put(
            &dir.path().join(OsString::from_vec(name.to_vec())),
            if name[0] == b'f' { b"no" } else { &*valid },
        );
    }
    let junit = dir.path().join("report.xml");
    let ran = verify(
        &good(&root),
        [
            dir.path().into(),
            OsString::from("--junit"),
            junit.clone().into(),
        ],
    );
    assert_eq!((ran.status, ran.out.lines().count()), (1, 8), "{ran:?}");
    assert!(
        !ran.out
            .chars()
            .any(|c| (c.is_control() && c != '\n') || ('\u{2028}'..='\u{202e}').contains(&c)),
        "{ran:?}"
    );
    let objects = verify(&good(&root), [dir.path().into(), OsString::from("--json")]);
    assert_eq!(objects.out.lines().count(), 8);
    assert!(
        objects.objects()[0]["file"]
            .as_str()
            .unwrap()
            .ends_with("a\nforged.asice: valid")
    );
    let report = std::fs::read_to_string(&junit).unwrap();
    assert!(report.contains("tests=\"7\" failures=\"1\" errors=\"0\""));
    if has_program(
        "hostile_names_stay_on_their_line",
        "xmllint",
        &["--version"],
    ) {
        let counted = Command::new("xmllint")
            .args(["--xpath", "count(//testcase)*10+count(//failure)"])
            .arg(&junit)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(counted.stdout).unwrap().trim(), "71");
    }
}

/// A validator of JSON schemas that is not ours.
const VALIDATOR: &str = "
import json, sys
from jsonschema import Draft202012Validator
schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
lines = 0
for line in sys.stdin:
    for error in validator.iter_errors(json.loads(line)):
        sys.exit(f'{line}: {error}')
    lines += 1
print(lines)
";

/// Debian's own, for which its package python3-jsonschema is; another one that comes first in the path may lack it.
const PYTHON: &str = "/usr/bin/python3";

/// Validates lines by the published schema; `None` where there is no validator.
fn validated(test: &str, out: &str) -> Option<Result<usize, String>> {
    if !has_program(test, PYTHON, &["-c", "import jsonschema"]) {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    put(&dir.path().join("schema.json"), SCHEMA);
    put(&dir.path().join("lines"), out);
    let output = Command::new(PYTHON)
        .args(["-c", VALIDATOR])
        .arg(dir.path().join("schema.json"))
        .stdin(std::fs::File::open(dir.path().join("lines")).unwrap())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Some(match output.status.success() {
        true => Ok(text(&output.stdout).parse().unwrap()),
        false => Err(text(&output.stderr)),
    })
}

#[test]
fn json_is_as_its_schema_says() {
    let test = "json_is_as_its_schema_says";
    let Some(root) = fixtures(test) else {
        return;
    };
    let printed = Command::new(env!("CARGO_BIN_EXE_jibek-audit"))
        .args(["verify", "--json-schema"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), SCHEMA);
    let ran = verify(
        &good(&root),
        [
            root.join("asic").into(),
            root.join("asic-core").into(),
            root.join("archives").into(),
            root.join("none").into(),
            OsString::from("--json"),
        ],
    );
    let lines = ran.out.lines().count();
    assert!(lines > 20, "{ran:?}");
    if let Some(valid) = validated(test, &ran.out) {
        assert_eq!(valid, Ok(lines));
        // it would say so otherwise
        let other = ran
            .out
            .replacen("\"verdict\":\"invalid\"", "\"verdict\":\"wrong\"", 1);
        assert!(validated(test, &other).unwrap().is_err());
        let more = ran.out.replacen("\"type\":", "\"more\":1,\"type\":", 1);
        assert!(validated(test, &more).unwrap().is_err());
    }
    let summary = ran.objects().pop().unwrap();
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["containers"]["valid"], 7);
}

#[test]
fn colours_are_for_who_wants_them() {
    let Some(root) = fixtures("colours_are_for_who_wants_them") else {
        return;
    };
    let valid = root.join("asic/valid-batch-ts.asice");
    for (colour, painted) in [("auto", false), ("never", false), ("always", true)] {
        let ran = verify(
            &good(&root),
            [
                OsString::from("--color"),
                colour.into(),
                valid.clone().into(),
            ],
        );
        assert_eq!(ran.out.contains("\u{1b}[1;32mvalid\u{1b}[0m"), painted);
        assert!(ran.error.is_empty());
    }
}

#[test]
fn containers_of_the_archives_are_valid_one_by_one() {
    let Some(root) = fixtures("containers_of_the_archives_are_valid_one_by_one") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for archive in ["message-archive-0.zip", "message-archive-1.zip"] {
        for (name, bytes) in archived(&root.join("archives").join(archive)) {
            put(&dir.path().join(archive).join(name), bytes);
        }
    }
    for (conf, status, last) in [
        (
            "globalconf_cs",
            0,
            "valid: 21 containers: 21 valid, 0 invalid, 0 cannot be judged",
        ),
        (
            "globalconf_good2_v3",
            2,
            "cannot be judged: 21 containers: 0 valid, 0 invalid, 21 cannot be judged",
        ),
    ] {
        let ran = verify(&root.join("globalconf").join(conf), [dir.path()]);
        assert_eq!(
            (ran.status, ran.out.lines().last().unwrap()),
            (status, last),
            "{ran:?}"
        );
    }
}
