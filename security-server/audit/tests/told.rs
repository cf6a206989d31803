//! What the program tells people: explanations, extracted parts, pages.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may panic, their helpers too"
)]

use bytes::Bytes;
use jibek_evidence::container::{Container, ContainerLimits, ContainerParts, write_container};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use time::OffsetDateTime;

const CONF: &str = "globalconf/globalconf_good2_v3";

fn fixtures(test: &str) -> Option<PathBuf> {
    let root = std::env::var_os("JIBEK_XROAD_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/xroad"),
        PathBuf::from,
    );
    if !root.is_dir() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "no fixtures at {}",
            root.display()
        );
        println!("SKIPPED {test}: fixtures absent");
        return None;
    }
    Some(root.canonicalize().unwrap())
}

/// Runs the program in the fixtures' directory: exit status, output, errors.
fn program(root: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_jibek-audit"))
        .current_dir(root)
        .env_remove("LC_ALL")
        .env_remove("LC_MESSAGES")
        .env("LANG", "C.UTF-8")
        .args(arguments)
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// An explanation with its lines joined again.
fn explained(root: &Path, arguments: &[&str]) -> (i32, String) {
    let (status, out, error) = program(root, &[&["explain"], arguments].concat());
    assert!(error.is_empty(), "{arguments:?}: {error}");
    (status, unwrapped(&out))
}

fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Language, file, status, sentences that are there, sentences that are not.
type Told = (
    &'static str,
    &'static str,
    i32,
    &'static [&'static str],
    &'static [&'static str],
);

/// Of a valid, a tampered and an unjudgeable container, in three languages: the sentences that matter, and none that must not be there.
#[test]
fn the_sentences_that_matter() {
    let Some(root) = fixtures("the_sentences_that_matter") else {
        return;
    };
    let (valid, tampered, old) = (
        "asic/valid-batch-ts.asice",
        "asic/wrong-message.asice",
        "asic-core/valid-signed-message.asice",
    );
    let cases: [Told; 9] = [
        (
            "en",
            valid,
            0,
            &[
                "Verdict: VALID.",
                "Asked by: member “Test client” (DEV/COM/4321), information system “TestClient”.",
                "Asked of: member “Test member” (DEV/COM/1234), information system “TestService”.",
                "Service: getRandom, version v1.",
                "time-stamping authority: 5 December 2024, 07:34:14 UTC (13:34:14 UTC+06:00).",
                "certificate issued to: C=FI, O=Test client, CN=4321, serialNumber=DEV/ss2/COM.",
                "under the name “Test CA”",
                "made on 5 December 2024, 07:26:51 UTC (13:26:51 UTC+06:00) and signed by: O=Test, CN=Test OCSP.",
                "this response was 7 minutes old; the configuration allows 60 minutes",
                "certified by: O=Test, CN=Test TSA. The configuration approves this authority under the name “Test TSA”",
                "What is proved 1. The message in this file (1204 bytes) is exactly the one that was signed.",
                "What is not proved 1. Which person acted.",
                "That the request was received, or what was answered.",
                "Nothing else was found.",
                "f4d0c86661cce94c074b61e9112cd29f1eda74b9fd84f0d5f685283a0b010335350d32a6af73885a9aabc821386fdde80ed191d27c9b6b599b8f9210a70fc34a",
            ],
            &["is not proved.", "Technical reason"],
        ),
        (
            "ru",
            valid,
            0,
            &[
                "Заключение: ДЕЙСТВИТЕЛЕН.",
                "Запрос направил: участник «Test client» (DEV/COM/4321), информационная система «TestClient».",
                "службой меток времени: 5 декабря 2024 года, 07:34:14 UTC (13:34:14 UTC+06:00).",
                "с составления этого ответа прошло 7 минут; конфигурация допускает 60 минут.",
                "Что доказано 1. Сообщение, содержащееся в файле (1204 байта), является в точности тем",
                "Что не доказано 1. Какое физическое лицо действовало.",
            ],
            &["не доказаны", "Техническая причина"],
        ),
        (
            "ky",
            valid,
            0,
            &[
                "Корутунду: ЖАРАКТУУ.",
                "Суроо-талапты жөнөткөн: катышуучу «Test client» (DEV/COM/4321), маалымат системасы «TestClient».",
                "күбөлөндүргөн убакыт: 2024-жылдын 5-декабры, 07:34:14 UTC (13:34:14 UTC+06:00).",
                "бери 7 мүнөт өткөн; конфигурация 60 мүнөткө чейин уруксат берет.",
                "Эмне далилденди 1. Файлдагы билдирүү (1204 байт) кол коюлган билдирүүнүн так өзү.",
                "Эмне далилденген жок 1. Кайсы адам аракет кылганы.",
            ],
            &["далилденген эмес", "Техникалык себеби"],
        ),
        (
            "en",
            tampered,
            1,
            &[
                "Verdict: INVALID.",
                "What was signed is not what stands in the file",
                "invalid_signature_value: /message.xml has another digest",
                "It does not mean that somebody has forged it",
                "Obtain the container again from the other party",
                "The following is what the file says of itself. It is not proved.",
                "The certificate in the file was issued to: C=FI, O=Test client",
            ],
            &["What is proved", "Verdict: VALID", "certified by"],
        ),
        (
            "ru",
            tampered,
            1,
            &[
                "Заключение: НЕДЕЙСТВИТЕЛЕН.",
                "Подписано было не то, что находится в файле",
                "Эти сведения не доказаны.",
            ],
            &["Что доказано", "ключом, сертификат которого"],
        ),
        (
            "ky",
            tampered,
            1,
            &[
                "Корутунду: ЖАРАКСЫЗ.",
                "Кол коюлган нерсе файлдагыдан башка",
                "Бул маалымат далилденген эмес.",
            ],
            &["Эмне далилденди"],
        ),
        (
            "en",
            old,
            2,
            &[
                "Verdict: CANNOT BE JUDGED.",
                "The authority that certified the time (CN=timestamp1) is not in the configuration.",
                "name it with --conf or --conf-history, and run the program again",
            ],
            &["What is proved", "VALID"],
        ),
        (
            "ru",
            old,
            2,
            &[
                "Заключение: ОЦЕНИТЬ НЕВОЗМОЖНО.",
                "Службы, удостоверившей время (CN=timestamp1), в конфигурации нет.",
            ],
            &["Что доказано"],
        ),
        (
            "ky",
            old,
            2,
            &[
                "Корутунду: БААЛОО МҮМКҮН ЭМЕС.",
                "Убакытты күбөлөндүргөн кызмат (CN=timestamp1) конфигурацияда жок.",
            ],
            &["Эмне далилденди"],
        ),
    ];
    for (language, file, status, present, absent) in cases {
        let arguments = [
            "--lang", language, "--offset", "+06:00", "--conf", CONF, file,
        ];
        let (found, text) = explained(&root, &arguments);
        assert_eq!(found, status, "{language} {file}");
        for sentence in present {
            assert!(
                text.contains(sentence),
                "{language} {file}: {sentence}\n{text}"
            );
        }
        for sentence in absent {
            assert!(
                !text.contains(sentence),
                "{language} {file}: {sentence}\n{text}"
            );
        }
    }
}

/// Of a kept history the configuration of the stamp's time is taken, and said; where there is none, that is said, too.
#[test]
fn the_configuration_of_the_time_is_told() {
    let Some(root) = fixtures("the_configuration_of_the_time_is_told") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let history = |kept: &[(&str, &str)]| {
        let history = folder.path().join(format!("{}", kept.len()));
        for (time, configuration) in kept {
            let from = root.join("globalconf").join(configuration);
            let to = history.join(time);
            std::fs::create_dir_all(&history).unwrap();
            let copied = Command::new("cp").arg("-r").args([&from, &to]).status();
            assert!(copied.unwrap().success());
        }
        history.to_str().unwrap().to_owned()
    };
    let file = "asic/valid-batch-ts.asice";
    let both = history(&[
        ("20240101T000000.000000000Z", "globalconf_good2_v3"),
        ("20250101T000000.000000000Z", "globalconf_cs"),
    ]);
    let (status, text) = explained(&root, &["--conf-history", &both, file]);
    assert_eq!(status, 0, "{text}");
    let since = "This configuration had been in force since 1 January 2024, 00:00:00 UTC.";
    assert!(text.contains(since), "{text}");
    let page = folder.path().join("page.html");
    let page = page.to_str().unwrap();
    let (status, _, error) = program(
        &root,
        &["report", "--conf-history", &both, "-o", page, file],
    );
    assert_eq!((status, error.as_str()), (0, ""));
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("<th scope=\"row\">In force since</th><td>1 January 2024"));
    // too young a history
    let young = history(&[("20250101T000000.000000000Z", "globalconf_good2_v3")]);
    let (status, text) = explained(&root, &["--conf-history", &young, file]);
    assert_eq!(status, 2, "{text}");
    let none = "holds no configuration for the time of the time-stamp";
    assert!(text.contains(none), "{text}");
}

/// The README shows what the program says, to the letter.
#[test]
fn the_readme_shows_what_the_program_says() {
    let Some(root) = fixtures("the_readme_shows_what_the_program_says") else {
        return;
    };
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let file = "asic/valid-batch-ts.asice";
    let arguments = [
        "explain", "--lang", "en", "--offset", "+06:00", "--conf", CONF, file,
    ];
    let (_, out, _) = program(&root, &arguments);
    let block: String = out
        .lines()
        .map(|line| match line {
            "" => "\n".to_owned(),
            line => format!("    {line}\n"),
        })
        .collect();
    assert!(readme.contains(&block), "the README should say:\n{block}");
}

/// Every fixture of the dossier's table is told in every language, also by a configuration that cannot judge it.
#[test]
fn everything_can_be_told() {
    let Some(root) = fixtures("everything_can_be_told") else {
        return;
    };
    let mut files: Vec<String> = ["asic", "asic-core"]
        .iter()
        .flat_map(|folder| {
            let found = std::fs::read_dir(root.join(folder)).unwrap();
            found.map(move |entry| {
                format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy())
            })
        })
        .filter(|file| file.ends_with(".asice"))
        .collect();
    assert_eq!(files.len(), 19);
    files.push("no/such.asice".to_owned());
    for (language, label) in [
        ("en", "Verdict:"),
        ("ru", "Заключение:"),
        ("ky", "Корутунду:"),
    ] {
        for conf in [CONF, "globalconf/globalconf_cs"] {
            let mut arguments = vec!["--lang", language, "--conf", conf];
            arguments.extend(files.iter().map(String::as_str));
            let (status, text) = explained(&root, &arguments);
            assert_eq!(status, 1);
            assert_eq!(text.matches(label).count(), 20, "{language} {conf}");
        }
    }
}

#[test]
fn the_environment_chooses_the_language() {
    let Some(root) = fixtures("the_environment_chooses_the_language") else {
        return;
    };
    let run = |variables: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_jibek-audit"))
            .current_dir(&root)
            .env_remove("LC_ALL")
            .env_remove("LC_MESSAGES")
            .env_remove("LANG")
            .envs(variables.iter().copied())
            .args(["explain", "--conf", CONF, "asic-core/not-asic.asice"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run(&[]).starts_with("File: "));
    assert!(run(&[("LANG", "ru_RU.UTF-8")]).starts_with("Файл: "));
    assert!(run(&[("LANG", "ru_RU.UTF-8"), ("LC_ALL", "ky_KG.UTF-8")]).contains("Корутунду: "));
    assert!(run(&[("LC_ALL", ""), ("LC_MESSAGES", "ky")]).contains("Корутунду: "));
    assert!(run(&[("LANG", "de_DE.UTF-8")]).starts_with("File: "));
}

#[test]
fn wrong_options_are_refused() {
    let Some(root) = fixtures("wrong_options_are_refused") else {
        return;
    };
    let file = "asic/valid-batch-ts.asice";
    for (arguments, status) in [
        (vec!["explain", "--lang", "de", "--conf", CONF, file], 64),
        (vec!["explain", "--offset", "6", "--conf", CONF, file], 64),
        (vec!["explain", "--conf", CONF], 64),
        (vec!["explain", "--conf", "no/such", file], 2),
        (vec!["extract", "--conf", CONF, file], 64),
        (
            vec!["extract", "--list", "--to", "x", "--conf", CONF, file],
            64,
        ),
        (
            vec!["extract", "--list", "--conf", CONF, "no/such.asice"],
            2,
        ),
    ] {
        let (found, out, error) = program(&root, &arguments);
        assert_eq!(found, status, "{arguments:?}: {out}{error}");
        assert!(out.is_empty() && !error.is_empty(), "{arguments:?}");
    }
}

/// The file `message.xml` of a container that an attacker wrote: every word of it acts where it is not made harmless.
fn hostile(root: &Path) -> Vec<u8> {
    let bytes = std::fs::read(root.join("asic/valid-signed-message.asice")).unwrap();
    let container = Container::read(&bytes, &ContainerLimits::default()).unwrap();
    let message = String::from_utf8(container.entry("message.xml").unwrap().to_vec()).unwrap();
    let message = message
        .replace("TestClient", "&lt;script&gt;alert(1)&lt;/script&gt;")
        .replace("TestService", "\u{202e}DILAV &lt;b onclick='x'&gt;")
        .replace(
            "</xroad:id>",
            "\r\nVERDICT: VALID &amp;amp; &lt;img src=x&gt;\u{9b}31m</xroad:id>\
             <xroad:userId>EE1&lt;svg onload=x&gt;</xroad:userId>",
        );
    let parts = ContainerParts {
        message: Bytes::from(message),
        signature: container.entry("META-INF/signatures.xml").unwrap().clone(),
        hash_chain_result: None,
        hash_chain: None,
        ts_token: None,
        ts_hash_chain_result: None,
        ts_hash_chain: None,
        attachments: Vec::new(),
        time: OffsetDateTime::UNIX_EPOCH,
    };
    write_container(&parts).unwrap().to_vec()
}

#[test]
fn hostile_names_do_not_act_on_a_terminal() {
    let Some(root) = fixtures("hostile_names_do_not_act_on_a_terminal") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a\u{1b}[2J\u{202e}.asice");
    let container = hostile(&root);
    std::fs::write(&file, &container).unwrap();
    let file = file.to_str().unwrap();
    for language in ["en", "ru", "ky"] {
        for command in ["explain", "extract"] {
            let mut arguments = vec![command, "--lang", language, "--conf", CONF, file];
            arguments.extend((command == "extract").then_some("--list"));
            let (status, out, _) = program(&root, &arguments);
            assert_eq!(status, 1, "{out}");
            let is_calm = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
            assert!(out.chars().all(is_calm), "{language} {command}: {out:?}");
            // no line is forged
            assert!(
                !out.lines().any(|line| line.starts_with("VERDICT")),
                "{out}"
            );
            assert!(
                command == "extract" || out.contains("<script>alert(1)</script>"),
                "{out}"
            );
        }
    }
}

#[test]
fn parts_are_extracted_under_names_of_ours() {
    let Some(root) = fixtures("parts_are_extracted_under_names_of_ours") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("new/parts");
    let to = to.to_str().unwrap();
    let file = "asic/valid-non-batch-rest.asice";
    let list = ["extract", "--list", "--conf", CONF, file];
    let (status, listed, _) = program(&root, &list);
    assert_eq!(status, 0);
    assert!(!Path::new(to).exists());
    let extract = ["extract", "--to", to, "--conf", CONF, file];
    let (status, out, error) = program(&root, &extract);
    assert_eq!((status, error.as_str()), (0, ""));
    assert_eq!(out, format!("Extracted to {to}:\n{listed}"));
    for line in [
        "message.txt, 418 bytes (in the file: message.xml): signed and verified",
        "attachment-1.bin, 84 bytes (in the file: attachment1): signed and verified",
        "signatures.xml, 7547 bytes (in the file: META-INF/signatures.xml): part of the proof",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    for line in [
        ("issuer.pem", "from the configuration"),
        ("tsa.pem", "from the configuration"),
        ("signer.pem", "part of the proof"),
        ("ocsp-1.der", "part of the proof"),
        ("timestamp.tst", "part of the proof"),
        ("SHA512SUMS", "digests of the files above"),
    ] {
        let found = out.lines().find(|found| found.starts_with(line.0));
        assert!(
            found.is_some_and(|found| found.ends_with(line.1)),
            "{line:?}\n{out}"
        );
    }
    // another program finds the same bytes
    let sums = Command::new("sha512sum")
        .args(["--check", "--strict", "SHA512SUMS"])
        .current_dir(to)
        .output()
        .unwrap();
    assert!(sums.status.success(), "{sums:?}");
    let bytes = std::fs::read(root.join(file)).unwrap();
    let container = Container::read(&bytes, &ContainerLimits::default()).unwrap();
    let message = std::fs::read(Path::new(to).join("message.txt")).unwrap();
    assert_eq!(container.entry("message.xml").unwrap(), &message);
    // nothing is overwritten, and nothing is written beside it
    let (status, out, error) = program(&root, &extract);
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(
        error.contains("exists already; nothing was written"),
        "{error}"
    );
}

/// Entries whose names lead elsewhere stay where they are told to.
#[test]
fn no_path_of_a_container_is_followed() {
    let Some(root) = fixtures("no_path_of_a_container_is_followed") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let original = std::fs::read(root.join("asic/valid-signed-message.asice")).unwrap();
    let container = Container::read(&original, &ContainerLimits::default()).unwrap();
    let file = folder.path().join("x.asice");
    let to = folder.path().join("to");
    let extract = |names: &[&str]| {
        let mut zip = ZipWriter::default();
        for (name, content) in container.entries() {
            zip.add(name, content);
        }
        for name in names {
            zip.add(name, b"hostile");
        }
        std::fs::write(&file, zip.finish()).unwrap();
        let arguments = [
            "extract",
            "--to",
            to.to_str().unwrap(),
            "--conf",
            CONF,
            file.to_str().unwrap(),
        ];
        program(&root, &arguments)
    };
    let hostile = [
        "../outside",
        "/tmp/jibek-outside",
        "a/../../outside",
        "-rf",
        "signer.pem",
        "SHA512SUMS",
    ];
    let (status, out, error) = extract(&[&hostile[..], &["attachment1"]].concat());
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    let mut inside: Vec<String> = std::fs::read_dir(&to)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    inside.sort();
    let is_ours = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    assert!(
        inside.iter().all(|name| name.bytes().all(is_ours)),
        "{inside:?}"
    );
    let others = inside.iter().filter(|name| name.starts_with("other-"));
    assert_eq!(others.count(), hostile.len());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    for line in [
        "(in the file: ../outside): signed by nobody",
        "attachment-1.bin, 7 bytes (in the file: attachment1): signed by nobody",
    ] {
        assert!(out.contains(line), "{out}");
    }
    let signer = std::fs::read_to_string(to.join("signer.pem")).unwrap();
    assert!(signer.starts_with("-----BEGIN CERTIFICATE-----"));
}

/// Thousands of findings are counted, not told.
#[test]
fn many_findings_stay_readable() {
    let Some(root) = fixtures("many_findings_stay_readable") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let original = std::fs::read(root.join("asic/valid-signed-message.asice")).unwrap();
    let container = Container::read(&original, &ContainerLimits::default()).unwrap();
    let mut zip = ZipWriter::default();
    for (name, content) in container.entries() {
        zip.add(name, content);
    }
    for number in 0..2000 {
        zip.add(&format!("other{number}"), b"hostile");
    }
    let file = folder.path().join("x.asice");
    std::fs::write(&file, zip.finish()).unwrap();
    let file = file.to_str().unwrap();
    for (language, more) in [
        ("en", "1950 more notes are left out here."),
        ("ru", "Здесь опущено ещё 1950 замечаний."),
        ("ky", "Бул жерде дагы 1950 эскертүү келтирилген жок."),
    ] {
        let (status, text) = explained(&root, &["--lang", language, "--conf", CONF, file]);
        assert_eq!(status, 0);
        assert!(text.contains(more), "{text}");
        assert!(text.len() < 40_000);
    }
}

fn report(root: &Path, page: &Path, arguments: &[&str]) -> (i32, String) {
    let start = ["report", "--conf", CONF, "-o", page.to_str().unwrap()];
    let (status, out, error) = program(root, &[&start, arguments].concat());
    assert!(error.is_empty(), "{error}");
    assert_eq!(out.trim_end(), page.to_str().unwrap());
    (status, std::fs::read_to_string(page).unwrap())
}

/// What stands between two marks, wherever they stand.
fn between<'t>(text: &'t str, start: &str, end: &str) -> Vec<&'t str> {
    text.split(start)
        .skip(1)
        .filter_map(|rest| rest.split(end).next())
        .collect()
}

#[test]
fn the_page_stands_alone_and_says_it_all() {
    let Some(root) = fixtures("the_page_stands_alone_and_says_it_all") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (valid, tampered, old) = (
        "asic/valid-signed-hashchain.asice",
        "asic/wrong-message.asice",
        "asic-core/valid-signed-message.asice",
    );
    for (language, verdicts, sentence) in [
        (
            "en",
            ["VALID", "INVALID", "CANNOT BE JUDGED"],
            "What exactly it proves",
        ),
        (
            "ru",
            ["ДЕЙСТВИТЕЛЕН", "НЕДЕЙСТВИТЕЛЕН", "ОЦЕНИТЬ НЕВОЗМОЖНО"],
            "охватывается подписью, но в файле отсутствует",
        ),
        (
            "ky",
            ["ЖАРАКТУУ", "ЖАРАКСЫЗ", "БААЛОО МҮМКҮН ЭМЕС"],
            "Кол тамга жеке адамга эмес, уюмга таандык.",
        ),
    ] {
        let page = folder.path().join(format!("{language}.html"));
        let (status, html) = report(&root, &page, &["--lang", language, valid, tampered, old]);
        assert_eq!(status, 1);
        assert!(html.starts_with(&format!("<!DOCTYPE html><html lang=\"{language}\">")));
        assert_eq!(between(&html, "<p class=\"word\">", "</p>"), verdicts);
        assert!(html.contains(sentence), "{sentence}");
        for file in 1..=3 {
            assert!(html.contains(&format!("href=\"#file-{file}\"")));
            assert!(html.contains(&format!("id=\"file-{file}\"")));
        }
        // nothing runs, nothing is loaded
        for outside in [
            "<script", " src=", "url(", "@import", "href=\"h", "<link", "<iframe", "<form",
        ] {
            assert!(!html.contains(outside), "{outside}");
        }
        for fact in [
            "6ca3f471c2896a0644625af1eb97a2e3b89dafa5eb5ed7a96e0ea383e6cacda176cfcdfa2097d3c0e179fed97dc5083ac59e05751a4f891710016d3277f4f50c",
            "SUBSYSTEM:DEV/COM/4321/TestClient",
            "C=FI, O=Test client, CN=4321, serialNumber=DEV/ss2/COM",
            "628676e9", // of the attachment, as signed
            "<td>DEV</td><td>3</td>",
            "jibek-audit 0.1.0",
        ] {
            assert!(html.contains(fact), "{language} {fact}");
        }
        // the elements close as they open
        for element in [
            "table", "section", "article", "ol", "li", "tr", "td", "p", "pre", "div",
        ] {
            let opened = html.matches(&format!("<{element}>")).count()
                + html.matches(&format!("<{element} ")).count();
            let closed = html.matches(&format!("</{element}>")).count();
            assert!(
                opened > 0 && opened == closed,
                "{element}: {opened} {closed}"
            );
        }
    }
    let page = folder.path().join("en.html");
    let again = [
        "report",
        "--conf",
        CONF,
        "-o",
        page.to_str().unwrap(),
        valid,
    ];
    let (status, _, error) = program(&root, &again);
    assert_eq!(status, 2);
    assert!(error.contains("exists already"), "{error}");
    // a single file needs no contents
    let (status, html) = report(&root, &folder.path().join("one.html"), &[valid]);
    assert_eq!((status, html.contains("<nav>")), (0, false));
}

#[test]
fn hostile_names_do_not_act_on_a_page() {
    let Some(root) = fixtures("hostile_names_do_not_act_on_a_page") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder
        .path()
        .join("a\"><img src=x onerror=alert(1)>'; $(id)\u{1b}.asice");
    std::fs::write(&file, hostile(&root)).unwrap();
    let page = folder.path().join("page.html");
    let (status, html) = report(&root, &page, &[file.to_str().unwrap()]);
    assert_eq!(status, 1);
    for acting in [
        "<script", "<img", "<svg", "<b ", "\u{1b}", "\u{202e}", "\u{9b}", "$(id)\"",
    ] {
        assert!(!html.contains(acting), "{acting}");
    }
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(html.contains("EE1&lt;svg onload=x&gt;"));
    // the name is not put before a shell
    for command in between(&html, "<pre class=\"command\">", "</pre>") {
        assert!(
            !command.contains("$(id)") && !command.contains("onerror"),
            "{command}"
        );
    }
    assert!(html.contains("sha512sum container.asice"));
}

/// The commands on the page do what the page says, in other people's programs; on a tampered container they show it.
#[test]
fn the_commands_on_the_page_work() {
    let test = "the_commands_on_the_page_work";
    let Some(root) = fixtures(test) else {
        return;
    };
    for tool in ["openssl", "unzip", "xmlsec1", "sha512sum"] {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {tool}")])
            .output();
        if !found.is_ok_and(|found| found.status.success()) {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "no {tool}"
            );
            println!("SKIPPED {test}: {tool} is not installed");
            return;
        }
    }
    let mut steps = 0;
    for (file, least) in [
        ("asic/valid-signed-message", 10),
        ("asic/valid-signed-hashchain", 11),
        ("asic/valid-batch-ts", 11),
        ("asic/valid-non-batch-rest", 12),
        ("asic/valid-non-batch-soap-attachments", 13),
        ("asic-core/valid-signed-message-with-attachments", 11),
        ("asic/wrong-message", 0),
    ] {
        let (failed, count) = by_hand(&root, file);
        if least == 0 {
            // the message is another: its digest, and all references at once
            assert_eq!(failed.len(), 2, "{file}: {failed:?}");
        } else {
            assert!(failed.is_empty(), "{file}: {failed:#?}");
            assert!(count >= least, "{file}: {count}");
            steps += count;
        }
    }
    println!("VECTORS openssl {steps} tried, 0 left out");
}

/// Runs the commands of a container's page in one shell: those whose output is not the expected, and how many there were.
fn by_hand(root: &Path, file: &str) -> (Vec<String>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("{file}.asice");
    let name = Path::new(&file).file_name().unwrap();
    std::fs::copy(root.join(&file), folder.path().join(name)).unwrap();
    let (_, html) = report(root, &folder.path().join("page.html"), &[&file]);
    std::os::unix::fs::symlink(root.join(CONF), folder.path().join("verificationconf")).unwrap();
    let plain = |html: &str| {
        html.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&amp;", "&")
    };
    let steps: Vec<(String, Vec<String>)> = between(&html, "<li class=\"step\">", "</li>")
        .into_iter()
        .map(|step| {
            let command = between(step, "<pre class=\"command\">", "</pre>");
            let expected = between(step, "<code>", "</code>");
            let expected = expected.first().map(|text| plain(text)).unwrap_or_default();
            (
                plain(command.first().unwrap()),
                expected.split(" … ").map(str::to_owned).collect(),
            )
        })
        .collect();
    let script: String = steps
        .iter()
        .map(|(command, _)| format!("{command}\necho @@\n"))
        .collect();
    let program = Path::new(env!("CARGO_BIN_EXE_jibek-audit"))
        .parent()
        .unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let paths = std::iter::once(program.to_owned()).chain(std::env::split_paths(&path));
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("PATH", std::env::join_paths(paths).unwrap())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let printed: Vec<&str> = output.split("@@\n").collect();
    assert_eq!(printed.len(), steps.len() + 1, "{output}");
    let count = steps.len();
    let failed = steps
        .into_iter()
        .zip(printed)
        .filter(|((_, expected), printed)| !expected.iter().all(|line| printed.contains(line)))
        .map(|((command, expected), printed)| format!("{command}: {expected:?}: {printed}"))
        .collect();
    (failed, count)
}

/// Enough of a ZIP writer for entries of any name.
#[derive(Default)]
struct ZipWriter {
    local: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

impl ZipWriter {
    fn add(&mut self, name: &str, content: &[u8]) {
        let length = u32::try_from(content.len()).unwrap().to_le_bytes();
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        common.extend(crc32(content).to_le_bytes());
        common.extend(length);
        common.extend(length);
        common.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        common.extend([0, 0]);
        let offset = u32::try_from(self.local.len()).unwrap().to_le_bytes();
        self.local.extend(b"PK\x03\x04");
        self.local.extend(&common);
        self.local.extend(name.as_bytes());
        self.local.extend(content);
        self.directory.extend(b"PK\x01\x02\x14\x00");
        self.directory.extend(&common);
        self.directory.extend([0; 10]);
        self.directory.extend(offset);
        self.directory.extend(name.as_bytes());
        self.count += 1;
    }

    fn finish(mut self) -> Vec<u8> {
        let offset = u32::try_from(self.local.len()).unwrap().to_le_bytes();
        let length = u32::try_from(self.directory.len()).unwrap().to_le_bytes();
        self.local.append(&mut self.directory);
        self.local.extend(b"PK\x05\x06\0\0\0\0");
        self.local.extend(self.count.to_le_bytes());
        self.local.extend(self.count.to_le_bytes());
        self.local.extend(length);
        self.local.extend(offset);
        self.local.extend([0, 0]);
        self.local
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
