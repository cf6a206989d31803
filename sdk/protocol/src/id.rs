//! Identifiers of members, subsystems, services, servers and groups (`message-path.md` 1).
//!
//! An identifier parses or does not exist: every part is present and not blank. Comparison is byte for byte and
//! case-sensitive, without normalisation. Forms: *display* (`SUBSYSTEM:EE/GOV/123/sub`, for people and logs),
//! *header* (`EE/GOV/123/sub` percent-encoded, for REST headers and paths, also what serde writes) and *XML*
//! ([`xml`]).

use std::sync::Arc;

mod forms;
mod group;
pub mod text;
pub mod xml;

pub use group::{GlobalGroupId, LocalGroupId, RepresentedParty};
pub use text::{decode_part, encode_part, suspicious_characters};

use crate::limits;

/// Why a text is not an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// A percent sign is not followed by two hexadecimal digits.
    #[error("a percent sign in an identifier is not followed by two hexadecimal digits")]
    BadEscape,
    /// A part is empty or only white space.
    #[error("{part} is blank")]
    Blank {
        /// Name of the part as in XML, for example `memberCode`.
        part: &'static str,
    },
    /// A character must be percent-encoded and is not.
    #[error("character {character:?} is not allowed unescaped in an identifier")]
    NotAllowed {
        /// The character.
        character: char,
    },
    /// The number of parts is wrong.
    #[error("{found} parts where {expected} are expected")]
    PartCount {
        /// What is expected, in words.
        expected: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A part is longer than [`limits::ID_PART_BYTES`].
    #[error("{part} has {length} bytes, more than {max}", max = limits::ID_PART_BYTES)]
    TooLong {
        /// Name of the part as in XML.
        part: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// The type before the colon of a display form is missing or another one.
    #[error("identifier does not start with {expected}")]
    WrongType {
        /// The types that would do.
        expected: &'static str,
    },
}

/// A member: instance, class and code.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(Arc<MemberParts>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct MemberParts {
    instance: Box<str>,
    class: Box<str>,
    code: Box<str>,
}

impl MemberId {
    /// Makes an identifier of its parts.
    ///
    /// # Errors
    /// [`IdError::Blank`] or [`IdError::TooLong`] for an unfit part.
    pub fn new(instance: &str, class: &str, code: &str) -> Result<Self, IdError> {
        Ok(Self(Arc::new(MemberParts {
            instance: part(INSTANCE, instance)?,
            class: part(MEMBER_CLASS, class)?,
            code: part(MEMBER_CODE, code)?,
        })))
    }

    /// Instance, `xRoadInstance` in XML.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// Member class.
    #[must_use]
    pub fn class(&self) -> &str {
        &self.0.class
    }

    /// Member code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// Reads the header form: exactly three parts.
    ///
    /// # Errors
    /// [`IdError`] for a wrong number of parts or an unfit part.
    pub fn from_header(value: &str) -> Result<Self, IdError> {
        match text::decode_parts(value)?.as_slice() {
            [instance, class, code] => Self::new(instance, class, code),
            other => Err(IdError::PartCount {
                expected: "3",
                found: other.len(),
            }),
        }
    }
}

/// A subsystem of a member.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubsystemId {
    member: MemberId,
    code: Arc<str>,
}

impl SubsystemId {
    /// Makes an identifier of its parts.
    ///
    /// # Errors
    /// [`IdError::Blank`] or [`IdError::TooLong`] for an unfit code.
    pub fn new(member: MemberId, code: &str) -> Result<Self, IdError> {
        Ok(Self {
            member,
            code: part(SUBSYSTEM_CODE, code)?.into(),
        })
    }

    /// The member it belongs to.
    #[must_use]
    pub fn member(&self) -> &MemberId {
        &self.member
    }

    /// Subsystem code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Reads the header form: exactly four parts.
    ///
    /// # Errors
    /// [`IdError`] for a wrong number of parts or an unfit part.
    pub fn from_header(value: &str) -> Result<Self, IdError> {
        match text::decode_parts(value)?.as_slice() {
            [instance, class, code, subsystem] => {
                Self::new(MemberId::new(instance, class, code)?, subsystem)
            }
            other => Err(IdError::PartCount {
                expected: "4",
                found: other.len(),
            }),
        }
    }
}

/// Who sends or provides: a member itself or one of its subsystems.
///
/// A right for a member does not cover its subsystems, nor the reverse.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the protocol knows exactly these two"
)]
pub enum ClientId {
    /// The member itself.
    Member(MemberId),
    /// A subsystem.
    Subsystem(SubsystemId),
}

impl ClientId {
    /// Makes an identifier of its parts; with a subsystem code it is a subsystem, else a member.
    ///
    /// # Errors
    /// [`IdError::Blank`] or [`IdError::TooLong`] for an unfit part.
    pub fn new(
        instance: &str,
        class: &str,
        code: &str,
        subsystem: Option<&str>,
    ) -> Result<Self, IdError> {
        let member = MemberId::new(instance, class, code)?;
        Ok(match subsystem {
            None => Self::Member(member),
            Some(subsystem) => Self::Subsystem(SubsystemId::new(member, subsystem)?),
        })
    }

    /// The member, whose signature counts for all its subsystems.
    #[must_use]
    pub fn member(&self) -> &MemberId {
        match self {
            Self::Member(member) => member,
            Self::Subsystem(subsystem) => &subsystem.member,
        }
    }

    /// Instance of the member.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.member().instance()
    }

    /// Subsystem code, if it is a subsystem.
    #[must_use]
    pub fn subsystem(&self) -> Option<&str> {
        match self {
            Self::Member(_) => None,
            Self::Subsystem(subsystem) => Some(&subsystem.code),
        }
    }

    /// Reads the header form (`X-Road-Client`): three or four parts.
    ///
    /// # Errors
    /// [`IdError`] for a wrong number of parts or an unfit part.
    pub fn from_header(value: &str) -> Result<Self, IdError> {
        match text::decode_parts(value)?.as_slice() {
            [instance, class, code] => Self::new(instance, class, code, None),
            [instance, class, code, subsystem] => Self::new(instance, class, code, Some(subsystem)),
            other => Err(IdError::PartCount {
                expected: "3 or 4",
                found: other.len(),
            }),
        }
    }
}

impl From<MemberId> for ClientId {
    fn from(member: MemberId) -> Self {
        Self::Member(member)
    }
}

impl From<SubsystemId> for ClientId {
    fn from(subsystem: SubsystemId) -> Self {
        Self::Subsystem(subsystem)
    }
}

/// A service of a member or subsystem, in SOAP with an optional version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    provider: ClientId,
    code: Arc<str>,
    version: Option<Arc<str>>,
}

impl ServiceId {
    /// Makes an identifier of its parts. An empty version is not the same as none.
    ///
    /// # Errors
    /// [`IdError::Blank`] or [`IdError::TooLong`] for an unfit part.
    pub fn new(provider: ClientId, code: &str, version: Option<&str>) -> Result<Self, IdError> {
        if let Some(version) = version {
            bounded(SERVICE_VERSION, version)?;
        }
        Ok(Self {
            provider,
            code: part(SERVICE_CODE, code)?.into(),
            version: version.map(Arc::from),
        })
    }

    /// Who provides it.
    #[must_use]
    pub fn provider(&self) -> &ClientId {
        &self.provider
    }

    /// Service code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Service version; REST services have none.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Instance of the provider.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.provider.instance()
    }

    /// Reads the value of `X-Road-Service`: exactly five parts, provider a subsystem, no version.
    ///
    /// # Errors
    /// [`IdError`] for a wrong number of parts or an unfit part.
    pub fn parse_service_header(value: &str) -> Result<Self, IdError> {
        match text::decode_parts(value)?.as_slice() {
            [instance, class, member, subsystem, code] => Self::new(
                ClientId::new(instance, class, member, Some(subsystem))?,
                code,
                None,
            ),
            other => Err(IdError::PartCount {
                expected: "5",
                found: other.len(),
            }),
        }
    }

    /// Reads the header form in its general shape: four parts (a member's service), five (a subsystem's) or six (with
    /// version). In six parts an empty subsystem means a member's service.
    ///
    /// # Errors
    /// [`IdError`] for a wrong number of parts or an unfit part.
    pub fn from_header(value: &str) -> Result<Self, IdError> {
        Self::from_parts(&text::decode_parts(value)?)
    }

    fn from_parts(parts: &[String]) -> Result<Self, IdError> {
        match parts {
            [instance, class, member, code] => {
                Self::new(ClientId::new(instance, class, member, None)?, code, None)
            }
            [instance, class, member, subsystem, code] => Self::new(
                ClientId::new(instance, class, member, Some(subsystem))?,
                code,
                None,
            ),
            [instance, class, member, subsystem, code, version] => {
                let subsystem = (!subsystem.is_empty()).then_some(subsystem.as_str());
                Self::new(
                    ClientId::new(instance, class, member, subsystem)?,
                    code,
                    Some(version),
                )
            }
            other => Err(IdError::PartCount {
                expected: "4 to 6",
                found: other.len(),
            }),
        }
    }
}

/// A security server of a member.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId {
    owner: MemberId,
    code: Arc<str>,
}

impl ServerId {
    /// Makes an identifier of its parts.
    ///
    /// # Errors
    /// [`IdError::Blank`] or [`IdError::TooLong`] for an unfit code.
    pub fn new(owner: MemberId, code: &str) -> Result<Self, IdError> {
        Ok(Self {
            owner,
            code: part(SERVER_CODE, code)?.into(),
        })
    }

    /// The member that owns it.
    #[must_use]
    pub fn owner(&self) -> &MemberId {
        &self.owner
    }

    /// Instance of the owner.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.owner.instance()
    }

    /// Server code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Reads the header form (`X-Road-Security-Server`): exactly four parts.
    ///
    /// # Errors
    /// [`IdError`] for a wrong number of parts or an unfit part.
    pub fn from_header(value: &str) -> Result<Self, IdError> {
        match text::decode_parts(value)?.as_slice() {
            [instance, class, member, code] => {
                Self::new(MemberId::new(instance, class, member)?, code)
            }
            other => Err(IdError::PartCount {
                expected: "4",
                found: other.len(),
            }),
        }
    }
}

fn part(name: &'static str, value: &str) -> Result<Box<str>, IdError> {
    if value.trim().is_empty() {
        return Err(IdError::Blank { part: name });
    }
    bounded(name, value)?;
    Ok(value.into())
}

fn bounded(name: &'static str, value: &str) -> Result<(), IdError> {
    if value.len() > limits::ID_PART_BYTES {
        return Err(IdError::TooLong {
            part: name,
            length: value.len(),
        });
    }
    Ok(())
}

pub(crate) const INSTANCE: &str = "xRoadInstance";
pub(crate) const MEMBER_CLASS: &str = "memberClass";
pub(crate) const MEMBER_CODE: &str = "memberCode";
pub(crate) const SUBSYSTEM_CODE: &str = "subsystemCode";
pub(crate) const SERVICE_CODE: &str = "serviceCode";
pub(crate) const SERVICE_VERSION: &str = "serviceVersion";
pub(crate) const SERVER_CODE: &str = "serverCode";
pub(crate) const GROUP_CODE: &str = "groupCode";
pub(crate) const PARTY_CLASS: &str = "partyClass";
pub(crate) const PARTY_CODE: &str = "partyCode";

#[cfg(test)]
mod tests;
