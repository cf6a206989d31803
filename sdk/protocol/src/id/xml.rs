//! XML form of identifiers (`message-path.md` 1.3).
//!
//! Children are named as the parts; `objectType` is an attribute in the namespace of the identifiers. Nothing checks
//! that type and parts agree: an identifier is built from the parts that are there, as X-Road's own reader does.

use super::*;

/// An identifier that has an XML form: its `objectType` and its parts in order.
pub trait Identifier {
    /// Value of `objectType`, for example `SUBSYSTEM`.
    fn object_type(&self) -> &'static str;

    /// Parts as XML name and value, absent ones left out.
    fn xml_parts(&self) -> Vec<(&'static str, &str)>;

    /// Tells whether a part holds [`suspicious_characters`]: worth a warning, no reason to refuse a message.
    fn is_suspicious(&self) -> bool {
        self.xml_parts()
            .iter()
            .any(|(_, value)| suspicious_characters(value))
    }
}

/// Appends `<element objectType="..">..</element>` to `out`. `element` is the qualified name, `prefix` the prefix that is
/// bound to the namespace of identifiers in the surrounding document.
pub fn write_identifier_xml(out: &mut String, element: &str, prefix: &str, id: &dyn Identifier) {
    out.push('<');
    out.push_str(element);
    out.push(' ');
    out.push_str(prefix);
    out.push_str(":objectType=\"");
    out.push_str(id.object_type());
    out.push_str("\">");
    for (name, value) in id.xml_parts() {
        out.push_str(&format!("<{prefix}:{name}>"));
        push_escaped(out, value);
        out.push_str(&format!("</{prefix}:{name}>"));
    }
    out.push_str("</");
    out.push_str(element);
    out.push('>');
}

/// Appends text escaped for XML 1.0 element content or attribute values. Characters that XML 1.0 cannot hold are left
/// out; carriage returns are written as references, so that they survive.
pub fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\r' => out.push_str("&#13;"),
            '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            other => out.push(other),
        }
    }
}

/// Parts of an identifier as they are found in XML, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XmlParts {
    values: Vec<(&'static str, String)>,
}

impl XmlParts {
    /// An empty collection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the text of a child element. Unknown names are ignored.
    ///
    /// # Errors
    /// [`DuplicatePart`] if the part is already there.
    pub fn set(&mut self, name: &str, value: String) -> Result<(), DuplicatePart> {
        let Some(known) = KNOWN.into_iter().find(|known| *known == name) else {
            return Ok(());
        };
        if self.get(known).is_some() {
            return Err(DuplicatePart { part: known });
        }
        self.values.push((known, value));
        Ok(())
    }

    /// The text of a part.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// A member or subsystem of these parts.
    ///
    /// # Errors
    /// [`IdError::Blank`] for a part that is missing or blank.
    pub fn client(&self) -> Result<ClientId, IdError> {
        ClientId::new(
            self.need(INSTANCE)?,
            self.need(MEMBER_CLASS)?,
            self.need(MEMBER_CODE)?,
            self.get(SUBSYSTEM_CODE),
        )
    }

    /// A service of these parts.
    ///
    /// # Errors
    /// [`IdError::Blank`] for a part that is missing or blank.
    pub fn service(&self) -> Result<ServiceId, IdError> {
        ServiceId::new(
            self.client()?,
            self.need(SERVICE_CODE)?,
            self.get(SERVICE_VERSION),
        )
    }

    /// A server of these parts.
    ///
    /// # Errors
    /// [`IdError::Blank`] for a part that is missing or blank.
    pub fn server(&self) -> Result<ServerId, IdError> {
        let owner = MemberId::new(
            self.need(INSTANCE)?,
            self.need(MEMBER_CLASS)?,
            self.need(MEMBER_CODE)?,
        )?;
        ServerId::new(owner, self.need(SERVER_CODE)?)
    }

    /// A global group of these parts.
    ///
    /// # Errors
    /// [`IdError::Blank`] for a part that is missing or blank.
    pub fn global_group(&self) -> Result<GlobalGroupId, IdError> {
        GlobalGroupId::new(self.need(INSTANCE)?, self.need(GROUP_CODE)?)
    }

    fn need(&self, name: &'static str) -> Result<&str, IdError> {
        self.get(name).ok_or(IdError::Blank { part: name })
    }
}

/// A part of an identifier occurs twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} occurs twice in an identifier")]
pub struct DuplicatePart {
    /// Name of the part.
    pub part: &'static str,
}

macro_rules! identifier {
    ($($type:ty),+) => { $(impl Identifier for $type {
        fn object_type(&self) -> &'static str {
            <$type>::object_type(self)
        }

        fn xml_parts(&self) -> Vec<(&'static str, &str)> {
            self.parts().collect()
        }
    })+ };
}

identifier!(
    MemberId,
    SubsystemId,
    ClientId,
    ServiceId,
    ServerId,
    GlobalGroupId,
    LocalGroupId
);

type Part<'a> = (&'static str, &'a str);

impl MemberId {
    pub(super) fn object_type(&self) -> &'static str {
        "MEMBER"
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        [
            (INSTANCE, self.instance()),
            (MEMBER_CLASS, self.class()),
            (MEMBER_CODE, self.code()),
        ]
        .into_iter()
    }
}

impl SubsystemId {
    pub(super) fn object_type(&self) -> &'static str {
        "SUBSYSTEM"
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.member().parts().chain([(SUBSYSTEM_CODE, self.code())])
    }
}

impl ClientId {
    pub(super) fn object_type(&self) -> &'static str {
        match self {
            Self::Member(member) => member.object_type(),
            Self::Subsystem(subsystem) => subsystem.object_type(),
        }
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.member()
            .parts()
            .chain(self.subsystem().map(|code| (SUBSYSTEM_CODE, code)))
    }
}

impl ServiceId {
    pub(super) fn object_type(&self) -> &'static str {
        "SERVICE"
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.provider()
            .parts()
            .chain([(SERVICE_CODE, self.code())])
            .chain(self.version().map(|version| (SERVICE_VERSION, version)))
    }
}

impl ServerId {
    pub(super) fn object_type(&self) -> &'static str {
        "SERVER"
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.owner().parts().chain([(SERVER_CODE, self.code())])
    }
}

impl GlobalGroupId {
    pub(super) fn object_type(&self) -> &'static str {
        "GLOBALGROUP"
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        [(INSTANCE, self.instance()), (GROUP_CODE, self.code())].into_iter()
    }
}

impl LocalGroupId {
    pub(super) fn object_type(&self) -> &'static str {
        "LOCALGROUP"
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        [(GROUP_CODE, self.code())].into_iter()
    }
}

const KNOWN: [&str; 8] = [
    INSTANCE,
    MEMBER_CLASS,
    MEMBER_CODE,
    SUBSYSTEM_CODE,
    SERVICE_CODE,
    SERVICE_VERSION,
    SERVER_CODE,
    GROUP_CODE,
];
