//! Words for people, in three languages. The sentences stand in `locales/`, one file a language, and are compiled in.

mod moment;
mod tame;

pub use moment::Moments;
pub use tame::tame;

use fluent::{FluentArgs, FluentBundle, FluentResource, FluentValue};
use unic_langid::LanguageIdentifier;

/// A language that the program speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Language {
    /// English.
    English,
    /// Kyrgyz.
    Kyrgyz,
    /// Russian.
    Russian,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 3] = [Self::English, Self::Kyrgyz, Self::Russian];

    /// Its tag, as in `lang="ky"`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Kyrgyz => "ky",
            Self::Russian => "ru",
        }
    }

    /// The language of a tag or of a locale's name, as `ky_KG.UTF-8`.
    pub fn from_locale(locale: &str) -> Option<Self> {
        let tag = locale.split(['_', '-', '.', '@']).next()?;
        Self::ALL
            .into_iter()
            .find(|language| language.tag().eq_ignore_ascii_case(tag))
    }

    /// Its sentences, as fluent writes them.
    pub fn sentences(self) -> &'static str {
        match self {
            Self::English => include_str!("../locales/en.ftl"),
            Self::Kyrgyz => include_str!("../locales/ky.ftl"),
            Self::Russian => include_str!("../locales/ru.ftl"),
        }
    }
}

/// Sentences of one language.
pub struct Speech {
    language: Language,
    bundle: FluentBundle<FluentResource>,
}

impl std::fmt::Debug for Speech {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Speech({})", self.language.tag())
    }
}

/// What fills the gaps of a sentence: name and value.
pub type Gap<'a> = (&'static str, FluentValue<'a>);

/// A gap filled by text.
pub fn text<'a>(name: &'static str, value: impl Into<std::borrow::Cow<'a, str>>) -> Gap<'a> {
    (name, FluentValue::String(value.into()))
}

/// A gap filled by a number, which chooses the plural.
pub fn number(name: &'static str, value: u64) -> Gap<'static> {
    (name, FluentValue::from(value))
}

impl Speech {
    /// Reads the sentences of a language.
    pub fn new(language: Language) -> Self {
        let (Ok(resource) | Err((resource, _))) =
            FluentResource::try_new(language.sentences().to_owned());
        let identifier: LanguageIdentifier = language.tag().parse().unwrap_or_default();
        let mut bundle = FluentBundle::new(vec![identifier]);
        // names from containers are tamed before they come here; the marks would stand in files and on terminals
        bundle.set_use_isolating(false);
        // the files are ours: a key that stands there twice is found by a test
        let _ = bundle.add_resource(resource);
        Self { language, bundle }
    }

    /// Which language it is.
    pub fn language(&self) -> Language {
        self.language
    }

    /// Whether there is such a sentence.
    pub fn knows(&self, key: &str) -> bool {
        self.bundle.has_message(key)
    }

    /// A sentence without gaps.
    pub fn say(&self, key: &str) -> String {
        self.tell(key, [])
    }

    /// A sentence with its gaps filled. A key that is not there is said itself.
    pub fn tell<'a>(&self, key: &str, gaps: impl IntoIterator<Item = Gap<'a>>) -> String {
        let mut filled = FluentArgs::new();
        for (name, value) in gaps {
            filled.set(name, value);
        }
        let Some(pattern) = self
            .bundle
            .get_message(key)
            .and_then(|message| message.value())
        else {
            return key.to_owned();
        };
        let mut errors = Vec::new();
        self.bundle
            .format_pattern(pattern, Some(&filled), &mut errors)
            .into_owned()
    }
}
