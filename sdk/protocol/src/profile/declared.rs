//! Profiles that are declared as data.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use super::{
    Profile, ProfileError, Subject, last_part,
    pattern::{Field, Pattern},
};
use crate::id::MemberId;

/// A declaration as it stands in a file: `[[certificate_profile]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RawProfile {
    /// The class name as the global configuration has it; only the part after the last dot counts.
    pub class: String,
    /// Tried in order; the first that fits decides.
    pub rule: Vec<RawRule>,
}

/// One rule of a declaration: `[[certificate_profile.rule]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RawRule {
    /// Attributes that the subject must have, each with a pattern for its value: `CN = "{code..}"`.
    pub subject: BTreeMap<String, String>,
    /// Attributes that it must not have.
    #[serde(default)]
    pub absent: Vec<String>,
    /// The instance, when it is always the same. Without it, and without `{instance}` in a pattern, it is the sender's.
    pub instance: Option<String>,
    /// The member class, when it is always the same.
    pub member_class: Option<String>,
    /// The member code, when it is always the same.
    pub member_code: Option<String>,
}

/// Why a declaration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate profile {class:?}: {reason}")]
#[non_exhaustive]
pub struct DeclarationError {
    /// The class name given.
    pub class: String,
    /// What is wrong.
    pub reason: String,
}

/// The declared profiles of a server or a registry, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profiles(Arc<Vec<(String, String)>>);

/// A profile declared as data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Declared {
    class: String,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rule {
    subject: Vec<(String, Pattern)>,
    absent: Vec<String>,
    instance: Option<String>,
    class: Option<String>,
    code: Option<String>,
}

impl Profiles {
    /// Checks declarations.
    ///
    /// # Errors
    /// [`DeclarationError`] for one that says too little, contradicts itself, is there twice, or bears the name of one of X-Road's.
    pub fn new(raw: &[RawProfile]) -> Result<Self, DeclarationError> {
        let mut known: Vec<(String, String)> = Vec::new();
        for one in raw {
            let declared = Declared::new(one)?;
            let name = declared.class.clone();
            if known.iter().any(|(other, _)| *other == name) {
                return Err(error(one, "is declared twice"));
            }
            known.push((name, line(one)));
        }
        if known.len() > MOST_PROFILES {
            let class = String::new();
            let reason = format!("more than {MOST_PROFILES} are declared");
            return Err(DeclarationError { class, reason });
        }
        Ok(Self(Arc::new(known)))
    }

    /// Whether nothing is declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What to give [`Profile::from_class_name`] for a class name of the configuration: where the name is declared, the
    /// declaration in a form that cannot occur in XML; any other name as it is.
    #[must_use]
    pub fn resolve<'n>(&self, class_name: &'n str) -> Cow<'n, str> {
        let name = last_part(class_name);
        match self.0.iter().find(|(known, _)| known == name) {
            Some((_, declared)) => Cow::Owned(declared.clone()),
            None => Cow::Borrowed(class_name),
        }
    }

    /// Whether this class name is declared.
    #[must_use]
    pub fn declares(&self, class_name: &str) -> bool {
        let name = last_part(class_name);
        self.0.iter().any(|(known, _)| known == name)
    }
}

impl Declared {
    /// Checks one declaration.
    ///
    /// # Errors
    /// [`DeclarationError`].
    pub fn new(raw: &RawProfile) -> Result<Self, DeclarationError> {
        let class = last_part(&raw.class).to_owned();
        if class.is_empty() || class.len() > LONGEST || class.contains(char::is_control) {
            return Err(error(raw, "is no class name"));
        }
        if Profile::from_class_name(&class).is_some() {
            return Err(error(raw, "is X-Road's own and cannot be declared"));
        }
        if raw.rule.is_empty() || raw.rule.len() > MOST_RULES {
            return Err(error(raw, format!("needs 1 to {MOST_RULES} rules")));
        }
        let rules = raw.rule.iter().zip(1..).map(|(rule, number)| {
            Rule::new(rule).map_err(|reason| error(raw, format!("rule {number} {reason}")))
        });
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
            class,
        })
    }

    /// The profile's name.
    #[must_use]
    pub fn class(&self) -> &str {
        &self.class
    }

    pub(super) fn member(
        &self,
        subject: Subject<'_>,
        context_instance: &str,
    ) -> Result<MemberId, ProfileError> {
        let found = self.rules.iter().find_map(|rule| rule.read(subject));
        let (instance, class, code) = found.ok_or_else(|| self.no_rule())?;
        MemberId::new(instance.unwrap_or(context_instance), class, code)
            .map_err(ProfileError::Identifier)
    }

    pub(super) fn no_rule(&self) -> ProfileError {
        ProfileError::NoRule {
            class: self.class.clone(),
        }
    }

    /// Reads what [`line`] wrote; `None` for any other text.
    pub(super) fn from_line(line: &str) -> Option<Self> {
        let content = line.strip_prefix(MARK)?;
        let mut records = content.split(RECORD);
        let mut raw = RawProfile {
            class: records.next()?.to_owned(),
            rule: Vec::new(),
        };
        for record in records {
            let mut rule = RawRule::default();
            for field in record.split(FIELD).filter(|field| !field.is_empty()) {
                let mut characters = field.chars();
                let kind = characters.next()?;
                let value = characters.as_str();
                match kind {
                    's' => {
                        let (attribute, pattern) = value.split_once('=')?;
                        rule.subject
                            .insert(attribute.to_owned(), pattern.to_owned());
                    }
                    'a' => rule.absent.push(value.to_owned()),
                    'i' => rule.instance = Some(value.to_owned()),
                    'c' => rule.member_class = Some(value.to_owned()),
                    'm' => rule.member_code = Some(value.to_owned()),
                    _ => return None,
                }
            }
            raw.rule.push(rule);
        }
        Self::new(&raw).ok()
    }
}

impl Rule {
    fn new(raw: &RawRule) -> Result<Self, String> {
        if raw.subject.is_empty() {
            return Err("names no attribute of the subject".to_owned());
        }
        let mut subject: Vec<(String, Pattern)> = Vec::new();
        for (name, pattern) in &raw.subject {
            let oid =
                attribute(name).ok_or_else(|| format!("has an unknown attribute {name:?}"))?;
            let pattern = Pattern::parse(pattern)
                .map_err(|reason| format!("has a pattern for {name} that {reason}"))?;
            if subject.iter().any(|(known, _)| *known == oid) {
                return Err(format!("has the attribute {name} twice"));
            }
            subject.push((oid, pattern));
        }
        let mut absent = Vec::new();
        for name in &raw.absent {
            let oid =
                attribute(name).ok_or_else(|| format!("has an unknown attribute {name:?}"))?;
            if subject.iter().any(|(known, _)| *known == oid) {
                return Err(format!("wants {name} present and absent"));
            }
            absent.push(oid);
        }
        let of = |wanted: Field| {
            let fields = subject.iter().flat_map(|(_, pattern)| pattern.fields());
            fields.filter(|field| *field == wanted).count()
        };
        for (field, fixed, name, needed) in [
            (Field::Instance, &raw.instance, "instance", false),
            (Field::Class, &raw.member_class, "member class", true),
            (Field::Code, &raw.member_code, "member code", true),
        ] {
            match of(field).saturating_add(usize::from(fixed.is_some())) {
                0 if needed => return Err(format!("does not tell the {name}")),
                0 | 1 => {}
                _ => return Err(format!("tells the {name} twice")),
            }
            if fixed.as_ref().is_some_and(|value| {
                value.is_empty() || value.len() > LONGEST || value.contains(char::is_control)
            }) {
                return Err(format!("has an unfit {name}"));
            }
        }
        Ok(Self {
            subject,
            absent,
            instance: raw.instance.clone(),
            class: raw.member_class.clone(),
            code: raw.member_code.clone(),
        })
    }

    /// Instance, class and code, when the subject fits.
    fn read<'r>(&'r self, subject: Subject<'r>) -> Option<(Option<&'r str>, &'r str, &'r str)> {
        if self.absent.iter().any(|oid| subject.get(oid).is_some()) {
            return None;
        }
        let mut instance = self.instance.as_deref();
        let mut class = self.class.as_deref();
        let mut code = self.code.as_deref();
        for (oid, pattern) in &self.subject {
            let fits = pattern.matches(subject.get(oid)?, |field, value| match field {
                Field::Instance => instance = Some(value),
                Field::Class => class = Some(value),
                Field::Code => code = Some(value),
                Field::Ignored => {}
            });
            if !fits {
                return None;
            }
        }
        Some((instance, class?, code?))
    }
}

/// A declaration in one line, which stands where a class name stands. Its marks are characters that XML cannot have, so that no
/// configuration can bring one in.
fn line(raw: &RawProfile) -> String {
    let mut line = format!("{MARK}{}", raw.class);
    for rule in &raw.rule {
        line.push(RECORD);
        let mut field = |kind: char, value: &str| {
            line.push(FIELD);
            line.push(kind);
            line.push_str(value);
        };
        for (name, pattern) in &rule.subject {
            field('s', &format!("{name}={pattern}"));
        }
        for name in &rule.absent {
            field('a', name);
        }
        for (kind, value) in [
            ('i', &rule.instance),
            ('c', &rule.member_class),
            ('m', &rule.member_code),
        ] {
            if let Some(value) = value {
                field(kind, value);
            }
        }
    }
    line
}

fn error(raw: &RawProfile, reason: impl Into<String>) -> DeclarationError {
    DeclarationError {
        class: raw
            .class
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect(),
        reason: reason.into(),
    }
}

/// The dotted identifier of an attribute that is named, or given as such.
fn attribute(name: &str) -> Option<String> {
    let known = match name {
        "CN" => "2.5.4.3",
        "serialNumber" => "2.5.4.5",
        "C" => "2.5.4.6",
        "L" => "2.5.4.7",
        "ST" => "2.5.4.8",
        "street" => "2.5.4.9",
        "O" => "2.5.4.10",
        "OU" => "2.5.4.11",
        "title" => "2.5.4.12",
        "businessCategory" => "2.5.4.15",
        "postalCode" => "2.5.4.17",
        "organizationIdentifier" => "2.5.4.97",
        "UID" => "0.9.2342.19200300.100.1.1",
        "DC" => "0.9.2342.19200300.100.1.25",
        dotted => {
            let arcs = dotted.split('.');
            let fits = dotted.contains('.')
                && dotted.len() <= 100
                && arcs.clone().all(|arc| arc.parse::<u64>().is_ok());
            return fits.then(|| dotted.to_owned());
        }
    };
    Some(known.to_owned())
}

const MARK: char = '\u{1d}';
const RECORD: char = '\u{1e}';
const FIELD: char = '\u{1f}';
/// Of one file.
const MOST_PROFILES: usize = 64;
/// Of one profile.
const MOST_RULES: usize = 32;
/// Bytes of a name or a fixed value.
const LONGEST: usize = 256;
