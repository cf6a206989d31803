//! The sentences of the three languages, against each other and against their uses.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests may panic, their helpers too"
)]

use jibek_audit::speech::{Language, Moments, Speech, number, text};
use jibek_evidence::verify::FindingKind;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use time::{UtcOffset, macros::datetime};

/// Keys with the names of their arguments; a key that stands there twice panics.
fn keys(language: Language) -> BTreeMap<String, BTreeSet<String>> {
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in language.sentences().lines() {
        let starts = line.chars().next().is_some_and(|c| c.is_ascii_lowercase());
        if starts && let Some((key, _)) = line.split_once(" = ") {
            current = key.to_owned();
            let earlier = keys.insert(current.clone(), BTreeSet::new());
            assert!(earlier.is_none(), "{language:?} has {current} twice");
        }
        for gap in line.split('$').skip(1) {
            let name = gap.chars().take_while(char::is_ascii_alphanumeric);
            keys.get_mut(&current).unwrap().insert(name.collect());
        }
    }
    keys
}

#[test]
fn every_sentence_stands_in_all_languages() {
    let english = keys(Language::English);
    assert!(english.len() > 150);
    for language in Language::ALL {
        assert_eq!(keys(language), english, "{language:?}");
        let speech = Speech::new(language);
        for (key, gaps) in &english {
            // fluent itself finds the key, and fills every gap by text and by number
            assert!(speech.knows(key), "{language:?} cannot read {key}");
            for count in [0, 1, 2, 5, 11, 12, 21, 100] {
                let gaps = gaps.iter().map(|name| {
                    let name: &'static str = name.clone().leak();
                    match name {
                        "count" | "minutes" | "allowed" | "bytes" | "day" | "month" => {
                            number(name, count)
                        }
                        _ => text(name, "X"),
                    }
                });
                let told = speech.tell(key, gaps);
                assert!(
                    !told.contains(['{', '}', '$']),
                    "{language:?} {key}: {told}"
                );
                assert!(!told.contains("  "), "{language:?} {key}: {told}");
            }
        }
    }
}

/// The sentences differ from language to language: nothing was forgotten in English.
#[test]
fn nothing_is_left_in_english() {
    let lines = |language: Language| -> BTreeMap<String, String> {
        language
            .sentences()
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
            .filter_map(|line| line.split_once(" = "))
            .filter(|(_, sentence)| sentence.chars().filter(|c| c.is_alphabetic()).count() > 12)
            .map(|(key, sentence)| (key.to_owned(), sentence.to_owned()))
            .collect()
    };
    let english = lines(Language::English);
    for language in [Language::Kyrgyz, Language::Russian] {
        for (key, sentence) in lines(language) {
            let same = ["finding-detail", "moment-with-offset", "date"].contains(&key.as_str());
            assert!(same || english.get(&key) != Some(&sentence), "{key}");
            assert!(
                same || sentence
                    .chars()
                    .any(|c| ('\u{400}'..='\u{4ff}').contains(&c)),
                "{language:?} {key}"
            );
        }
    }
}

/// Every key that the program asks for is there, and every key that is there is asked for.
#[test]
fn keys_and_their_uses_agree() {
    fn collect(folder: &Path, out: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, out);
            } else {
                out.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut source = String::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut source,
    );
    let keys = keys(Language::English);
    for key in keys.keys() {
        let is_made = key.starts_with("finding-") || key.starts_with("heading-");
        assert!(
            is_made || source.contains(&format!("\"{key}\"")),
            "nobody says {key}"
        );
    }
    for call in [".say(\"", ".tell(\""] {
        for used in source.split(call).skip(1) {
            let key = used.split('"').next().unwrap();
            assert!(keys.contains_key(key), "{key} is said and stands nowhere");
        }
    }
    for used in source.split(".section(\"").skip(1) {
        let id = used.split('"').next().unwrap();
        assert!(keys.contains_key(&format!("heading-{id}")), "{id}");
    }
}

#[test]
fn every_finding_has_a_sentence() {
    let keys = keys(Language::English);
    for kind in FindingKind::ALL {
        assert!(
            keys.contains_key(&format!("finding-{}", kind.id())),
            "{}",
            kind.id()
        );
    }
}

#[test]
fn plurals_are_those_of_the_language() {
    let attachments = |language, count| {
        Speech::new(language).tell(
            "proved-attachments",
            [number("count", count), text("names", "/attachment1")],
        )
    };
    for (count, expected) in [
        (1, "подписано и не изменено 1 вложение:"),
        (3, "подписаны и не изменены 3 вложения:"),
        (5, "подписано и не изменено 5 вложений:"),
        (11, "подписано и не изменено 11 вложений:"),
        (21, "подписано и не изменено 21 вложение:"),
        (112, "подписано и не изменено 112 вложений:"),
    ] {
        let told = attachments(Language::Russian, count);
        assert!(told.contains(expected), "{told}");
    }
    assert!(attachments(Language::English, 1).starts_with("1 attachment was"));
    assert!(attachments(Language::English, 2).starts_with("2 attachments were"));
    assert!(attachments(Language::Kyrgyz, 1).contains("1 тиркемеге кол коюлган жана ал "));
    assert!(attachments(Language::Kyrgyz, 2).contains("2 тиркемеге кол коюлган жана алар "));
}

#[test]
fn moments_are_written_as_people_do() {
    let moment = datetime!(2024-12-05 20:04:09 UTC);
    let write = |language, offset| Moments::new(offset).write(&Speech::new(language), moment);
    let east = UtcOffset::from_hms(6, 0, 0).ok();
    for (language, offset, expected) in [
        (Language::English, None, "5 December 2024, 20:04:09 UTC"),
        (Language::Russian, None, "5 декабря 2024 года, 20:04:09 UTC"),
        (
            Language::Kyrgyz,
            None,
            "2024-жылдын 5-декабры, 20:04:09 UTC",
        ),
        (
            Language::Russian,
            east,
            "5 декабря 2024 года, 20:04:09 UTC (6 декабря 2024 года, 02:04:09 UTC+06:00)",
        ),
        (
            Language::Kyrgyz,
            UtcOffset::from_hms(-3, -30, 0).ok(),
            "2024-жылдын 5-декабры, 20:04:09 UTC (16:34:09 UTC-03:30)",
        ),
        (
            Language::English,
            Some(UtcOffset::UTC),
            "5 December 2024, 20:04:09 UTC",
        ),
    ] {
        assert_eq!(write(language, offset), expected);
    }
}

#[test]
fn offsets_are_read() {
    for (text, seconds) in [
        ("+06:00", Some(21_600)),
        ("+6", Some(21_600)),
        ("-0330", Some(-12_600)),
        ("+00:00", Some(0)),
        ("06:00", None),
        ("+6:00", None),
        ("+25:00", None),
        ("+05:99", None),
        ("+", None),
        ("", None),
        ("+0x10", None),
    ] {
        let found = Moments::parse_offset(text).map(|offset| offset.whole_seconds());
        assert_eq!(found, seconds, "{text}");
    }
}

#[test]
fn languages_are_found_by_locale() {
    assert_eq!(Language::from_locale("ky_KG.UTF-8"), Some(Language::Kyrgyz));
    assert_eq!(Language::from_locale("RU"), Some(Language::Russian));
    assert_eq!(Language::from_locale("en-GB"), Some(Language::English));
    assert_eq!(Language::from_locale("C.UTF-8"), None);
    assert_eq!(Language::from_locale(""), None);
}
