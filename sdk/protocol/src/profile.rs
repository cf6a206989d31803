//! Certificate profiles: how a certificate's subject names a member (`signatures-and-log.md` 6.1).
//!
//! A configuration names a profile by the Java class that X-Road loads; an unknown name does not reject the
//! configuration, it makes certificates of that authority unusable.

use crate::id::{IdError, MemberId};

/// How subjects of one authority name members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// Business category is the class, serial number the code, the instance comes from the context.
    Basic,
    /// Country is the instance, organization the class, common name the code.
    Ejbca,
    /// Serial number is `instance/server/class`, common name the code; with two older shapes.
    FiVrk,
}

/// Why a subject names no member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The country is not the profile's.
    #[error("country of the subject is {found:?}, not {expected}")]
    Country {
        /// The profile's country.
        expected: &'static str,
        /// The subject's.
        found: String,
    },
    /// A value is not fit for an identifier.
    #[error("subject does not give an identifier")]
    Identifier(#[source] IdError),
    /// An attribute is missing.
    #[error("subject has no {attribute}")]
    Missing {
        /// Name of the attribute.
        attribute: &'static str,
    },
    /// The serial number does not have three parts.
    #[error("serial number of the subject has {found} parts, not 3")]
    SerialNumber {
        /// How many it has.
        found: usize,
    },
}

impl Profile {
    /// The profile of a `certificateProfileInfo` class name; only the part after the last dot counts.
    #[must_use]
    pub fn from_class_name(class_name: &str) -> Option<Self> {
        match class_name.trim().rsplit('.').next()? {
            "BasicCertificateProfileInfoProvider" | "BasicACMECertificateProfileInfoProvider" => {
                Some(Self::Basic)
            }
            "EjbcaCertificateProfileInfoProvider" => Some(Self::Ejbca),
            "FiVRKCertificateProfileInfoProvider" => Some(Self::FiVrk),
            _ => None,
        }
    }

    /// The member that a subject names. `attributes` are pairs of dotted object identifier and value in the order of the
    /// encoding; of several with one type the last counts. `context_instance` is the sender's instance, for profiles whose
    /// subjects have none.
    ///
    /// # Errors
    /// [`ProfileError`] when the subject does not have the shape of the profile.
    pub fn member(
        self,
        attributes: &[(String, String)],
        context_instance: &str,
    ) -> Result<MemberId, ProfileError> {
        let subject = Subject(attributes);
        let (instance, class, code) = match self {
            Self::Basic => (
                context_instance,
                subject.need(BUSINESS_CATEGORY)?,
                subject.need(SERIAL_NUMBER)?,
            ),
            Self::Ejbca => subject.ejbca()?,
            Self::FiVrk => subject.fivrk()?,
        };
        MemberId::new(instance, class, code).map_err(ProfileError::Identifier)
    }
}

struct Subject<'a>(&'a [(String, String)]);

type Parts<'a> = (&'a str, &'a str, &'a str);

impl<'a> Subject<'a> {
    fn get(&self, attribute: Attribute) -> Option<&'a str> {
        self.0
            .iter()
            .rev()
            .find(|(oid, _)| *oid == attribute.oid)
            .map(|(_, value)| value.as_str())
    }

    fn need(&self, attribute: Attribute) -> Result<&'a str, ProfileError> {
        self.get(attribute).ok_or(ProfileError::Missing {
            attribute: attribute.name,
        })
    }

    fn ejbca(&self) -> Result<Parts<'a>, ProfileError> {
        Ok((
            self.need(COUNTRY)?,
            self.need(ORGANIZATION)?,
            self.need(COMMON_NAME)?,
        ))
    }

    fn fivrk(&self) -> Result<Parts<'a>, ProfileError> {
        let (serial_number, unit) = (self.get(SERIAL_NUMBER), self.get(ORGANIZATIONAL_UNIT));
        if serial_number.is_none() && unit.is_none() {
            return self.ejbca();
        }
        let country = self.need(COUNTRY)?;
        if country != FINLAND {
            return Err(ProfileError::Country {
                expected: FINLAND,
                found: country.to_owned(),
            });
        }
        let organization = self.need(ORGANIZATION)?;
        let code = self.need(COMMON_NAME)?;
        match (serial_number, unit) {
            (Some(serial_number), _) => {
                let parts: Vec<&str> = serial_number.split('/').collect();
                match parts.as_slice() {
                    [instance, _server, class] => Ok((instance, class, code)),
                    other => Err(ProfileError::SerialNumber { found: other.len() }),
                }
            }
            (None, unit) => {
                let class = unit.ok_or(ProfileError::Missing {
                    attribute: ORGANIZATIONAL_UNIT.name,
                })?;
                Ok((organization, class, code))
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Attribute {
    oid: &'static str,
    name: &'static str,
}

const COMMON_NAME: Attribute = Attribute {
    oid: "2.5.4.3",
    name: "common name",
};
const SERIAL_NUMBER: Attribute = Attribute {
    oid: "2.5.4.5",
    name: "serial number",
};
const COUNTRY: Attribute = Attribute {
    oid: "2.5.4.6",
    name: "country",
};
const ORGANIZATION: Attribute = Attribute {
    oid: "2.5.4.10",
    name: "organization",
};
const ORGANIZATIONAL_UNIT: Attribute = Attribute {
    oid: "2.5.4.11",
    name: "organizational unit",
};
const BUSINESS_CATEGORY: Attribute = Attribute {
    oid: "2.5.4.15",
    name: "business category",
};
const FINLAND: &str = "FI";

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(attributes: &[(&str, &str)]) -> Vec<(String, String)> {
        attributes
            .iter()
            .map(|(oid, value)| ((*oid).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn profiles_are_known_by_class_name() {
        let package = "ee.ria.xroad.common.certificateprofile.impl.";
        for (name, profile) in [
            ("BasicCertificateProfileInfoProvider", Some(Profile::Basic)),
            (
                "BasicACMECertificateProfileInfoProvider",
                Some(Profile::Basic),
            ),
            ("EjbcaCertificateProfileInfoProvider", Some(Profile::Ejbca)),
            ("FiVRKCertificateProfileInfoProvider", Some(Profile::FiVrk)),
            ("SkKlass3CertificateProfileInfoProvider", None),
            ("", None),
        ] {
            assert_eq!(
                Profile::from_class_name(&format!("{package}{name}")),
                profile
            );
        }
    }

    #[test]
    fn subjects_name_members() {
        let serial = subject(&[
            ("2.5.4.6", "FI"),
            ("2.5.4.10", "Jibek"),
            ("2.5.4.5", "DEV/ss1/COM"),
            ("2.5.4.3", "1111"),
        ]);
        let unit = subject(&[
            ("2.5.4.6", "FI"),
            ("2.5.4.10", "DEV"),
            ("2.5.4.11", "COM"),
            ("2.5.4.3", "1111"),
        ]);
        let plain = subject(&[("2.5.4.6", "DEV"), ("2.5.4.10", "COM"), ("2.5.4.3", "1111")]);
        let category = subject(&[("2.5.4.15", "COM"), ("2.5.4.5", "1111")]);
        let two = subject(&[
            ("2.5.4.6", "DEV"),
            ("2.5.4.10", "COM"),
            ("2.5.4.3", "first"),
            ("2.5.4.3", "1111"),
        ]);
        for (profile, attributes) in [
            (Profile::FiVrk, &serial),
            (Profile::FiVrk, &unit),
            (Profile::FiVrk, &plain),
            (Profile::Ejbca, &plain),
            (Profile::Ejbca, &two),
            (Profile::Basic, &category),
        ] {
            assert_eq!(
                profile.member(attributes, "DEV").unwrap().to_string(),
                "MEMBER:DEV/COM/1111"
            );
        }
    }

    #[test]
    fn other_subjects_are_refused() {
        use ProfileError::*;
        let refused = |profile: Profile, attributes: &[(&str, &str)]| {
            profile.member(&subject(attributes), "DEV").unwrap_err()
        };
        assert_eq!(
            refused(
                Profile::FiVrk,
                &[
                    ("2.5.4.6", "EE"),
                    ("2.5.4.10", "x"),
                    ("2.5.4.5", "a/b/c"),
                    ("2.5.4.3", "1")
                ]
            ),
            Country {
                expected: "FI",
                found: "EE".to_owned()
            }
        );
        assert_eq!(
            refused(
                Profile::FiVrk,
                &[
                    ("2.5.4.6", "FI"),
                    ("2.5.4.10", "x"),
                    ("2.5.4.5", "a/b/c/d"),
                    ("2.5.4.3", "1")
                ]
            ),
            SerialNumber { found: 4 }
        );
        assert_eq!(
            refused(Profile::Basic, &[("2.5.4.5", "1")]),
            Missing {
                attribute: "business category"
            }
        );
        assert_eq!(
            refused(Profile::Ejbca, &[]),
            Missing {
                attribute: "country"
            }
        );
        assert!(matches!(
            refused(
                Profile::Ejbca,
                &[("2.5.4.6", "DEV"), ("2.5.4.10", " "), ("2.5.4.3", "1")]
            ),
            Identifier(IdError::Blank { .. })
        ));
    }
}
