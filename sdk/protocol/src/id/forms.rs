//! Text forms that follow from an identifier's type and parts: header, display, serde.

use std::fmt;
use std::str::FromStr;

use super::{
    ClientId, GlobalGroupId, IdError, LocalGroupId, MemberId, ServerId, ServiceId, SubsystemId,
    text,
};

/// Gives an identifier type its type name, parts and the forms that follow from them.
macro_rules! identifier_forms {
    ($type:ty, $expected:literal, $from_display:expr) => {
        impl $type {
            /// Writes the header form: percent-encoded parts joined with `/`, absent ones left out.
            #[must_use]
            pub fn to_header(&self) -> String {
                text::join(self.parts().map(|(_, value)| value))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                text::write_display(
                    formatter,
                    self.object_type(),
                    self.parts().map(|(_, value)| value),
                )
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }

        impl FromStr for $type {
            type Err = IdError;

            /// Reads the display form. It has no escaping, so parts with `/` do not come back.
            fn from_str(display: &str) -> Result<Self, IdError> {
                let wrong = IdError::WrongType {
                    expected: $expected,
                };
                let (object_type, rest) = display.split_once(':').ok_or(wrong.clone())?;
                let parts: Vec<String> = rest.split('/').map(str::to_owned).collect();
                let read: fn(&str, &[String]) -> Option<Result<Self, IdError>> = $from_display;
                read(object_type, &parts).unwrap_or(Err(wrong))
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.to_serde())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::from_header(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! serde_is_header {
    ($($type:ty),+) => { $(impl $type {
        fn to_serde(&self) -> String {
            self.to_header()
        }
    })+ };
}

serde_is_header!(
    MemberId,
    SubsystemId,
    ClientId,
    ServerId,
    GlobalGroupId,
    LocalGroupId
);

impl ServiceId {
    /// The header form, but with an empty subsystem where it would be ambiguous: a member's service with version.
    fn to_serde(&self) -> String {
        match (&self.provider, self.version()) {
            (ClientId::Member(member), Some(version)) => text::join([
                member.instance(),
                member.class(),
                member.code(),
                "",
                self.code(),
                version,
            ]),
            _ => self.to_header(),
        }
    }
}

identifier_forms!(
    MemberId,
    "MEMBER:",
    |object_type, parts| match (object_type, parts) {
        ("MEMBER", [instance, class, code]) => Some(Self::new(instance, class, code)),
        ("MEMBER", other) => Some(Err(IdError::PartCount {
            expected: "3",
            found: other.len()
        })),
        _ => None,
    }
);
identifier_forms!(
    SubsystemId,
    "SUBSYSTEM:",
    |object_type, parts| match (object_type, parts) {
        ("SUBSYSTEM", [instance, class, code, subsystem]) => {
            Some(
                MemberId::new(instance, class, code)
                    .and_then(|member| Self::new(member, subsystem)),
            )
        }
        ("SUBSYSTEM", other) => Some(Err(IdError::PartCount {
            expected: "4",
            found: other.len()
        })),
        _ => None,
    }
);
identifier_forms!(
    ClientId,
    "MEMBER: or SUBSYSTEM:",
    |object_type, parts| match (object_type, parts) {
        ("MEMBER", [instance, class, code]) => Some(Self::new(instance, class, code, None)),
        ("SUBSYSTEM", [instance, class, code, subsystem]) =>
            Some(Self::new(instance, class, code, Some(subsystem))),
        ("MEMBER", other) => Some(Err(IdError::PartCount {
            expected: "3",
            found: other.len()
        })),
        ("SUBSYSTEM", other) => Some(Err(IdError::PartCount {
            expected: "4",
            found: other.len()
        })),
        _ => None,
    }
);
identifier_forms!(
    ServiceId,
    "SERVICE:",
    |object_type, parts| match object_type {
        "SERVICE" => Some(Self::from_parts(parts)),
        _ => None,
    }
);
identifier_forms!(
    ServerId,
    "SERVER:",
    |object_type, parts| match (object_type, parts) {
        ("SERVER", [instance, class, code, server]) => {
            Some(MemberId::new(instance, class, code).and_then(|owner| Self::new(owner, server)))
        }
        ("SERVER", other) => Some(Err(IdError::PartCount {
            expected: "4",
            found: other.len()
        })),
        _ => None,
    }
);
identifier_forms!(
    GlobalGroupId,
    "GLOBALGROUP:",
    |object_type, parts| match (object_type, parts) {
        ("GLOBALGROUP", [instance, code]) => Some(Self::new(instance, code)),
        ("GLOBALGROUP", other) => Some(Err(IdError::PartCount {
            expected: "2",
            found: other.len()
        })),
        _ => None,
    }
);
identifier_forms!(
    LocalGroupId,
    "LOCALGROUP:",
    |object_type, parts| match (object_type, parts) {
        ("LOCALGROUP", [code]) => Some(Self::new(code)),
        ("LOCALGROUP", other) => Some(Err(IdError::PartCount {
            expected: "1",
            found: other.len()
        })),
        _ => None,
    }
);
