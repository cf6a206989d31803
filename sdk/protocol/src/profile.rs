//! Certificate profiles: how the subject of a signing certificate names a member (`signatures-and-log.md` 6.1).
//!
//! A configuration names a profile by the Java class that X-Road loads; an unknown name does not reject the configuration, it makes
//! certificates of that authority unusable. X-Road's own eight are known here; any other is [`Declared`] as data.
//!
//! Only signing certificates are read so. Whose server an authentication certificate belongs to, the configuration says by its hash.

mod declared;
mod known;
mod pattern;

pub use declared::{DeclarationError, Declared, Profiles, RawProfile, RawRule};

use crate::id::{IdError, MemberId};

/// How subjects of one authority name members.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// Business category is the class, serial number the code, the instance comes from the context.
    Basic,
    /// Not one of X-Road's: declared by who runs the server.
    Declared(Declared),
    /// Country is the instance, organization the class, common name the code.
    Ejbca,
    /// Serial number is `instance/server/class`, common name the code; with two older shapes. Finland's.
    FiVrk,
    /// Organization is the instance, organizational unit the class, common name the code. The Faroe Islands'.
    Fo,
    /// The same, or as [`Profile::Ejbca`]. Iceland's.
    Is,
    /// Serial number is the code of a person. Estonia's, for identity cards.
    SkEsteId,
    /// Organization identifier or serial number tell class and code. Estonia's.
    SkKlass3,
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
    /// A value has a character that X-Road reads with a backslash before it, so that no member fits.
    #[error("the subject's value {value:?} has a character that X-Road reads escaped")]
    Escaped {
        /// The value.
        value: String,
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
    /// No rule of a declared profile fits.
    #[error("subject fits no rule of the declared profile {class}")]
    NoRule {
        /// The profile's name.
        class: String,
    },
    /// The serial number does not have three parts.
    #[error("serial number of the subject has {found} parts, not 3")]
    SerialNumber {
        /// How many it has.
        found: usize,
    },
    /// The serial number is not eight digits, or its first digit stands for no class.
    #[error("serial number of the subject is no register code of eight digits from 1 to 9")]
    RegisterCode,
}

impl Profile {
    /// The profile of a `certificateProfileInfo` class name; only the part after the last dot counts. What
    /// [`Profiles::resolve`] put in the place of a class name is understood, too.
    #[must_use]
    pub fn from_class_name(class_name: &str) -> Option<Self> {
        if let Some(declared) = Declared::from_line(class_name) {
            return Some(Self::Declared(declared));
        }
        match last_part(class_name) {
            "BasicCertificateProfileInfoProvider" | "BasicACMECertificateProfileInfoProvider" => {
                Some(Self::Basic)
            }
            "EjbcaCertificateProfileInfoProvider" => Some(Self::Ejbca),
            "FiVRKCertificateProfileInfoProvider" => Some(Self::FiVrk),
            "FoCertificateProfileInfoProvider" => Some(Self::Fo),
            "IsCertificateProfileInfoProvider" => Some(Self::Is),
            "SkEsteIdCertificateProfileInfoProvider" => Some(Self::SkEsteId),
            "SkKlass3CertificateProfileInfoProvider" => Some(Self::SkKlass3),
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
        &self,
        attributes: &[(String, String)],
        context_instance: &str,
    ) -> Result<MemberId, ProfileError> {
        let subject = Subject(attributes);
        if let Self::Declared(declared) = self {
            return declared.member(subject, context_instance);
        }
        let parts = known::parts(self, subject)?;
        for value in parts.values() {
            if is_escaped(value) {
                return Err(ProfileError::Escaped {
                    value: value.to_owned(),
                });
            }
        }
        let instance = parts.instance.unwrap_or(context_instance);
        MemberId::new(instance, parts.class, parts.code).map_err(ProfileError::Identifier)
    }
}

/// What a subject says; without instance it is the context's.
#[derive(Clone, Copy)]
struct Parts<'a> {
    instance: Option<&'a str>,
    class: &'a str,
    code: &'a str,
}

impl<'a> Parts<'a> {
    fn values(&self) -> impl Iterator<Item = &'a str> {
        [self.instance, Some(self.class), Some(self.code)]
            .into_iter()
            .flatten()
    }
}

/// The attributes of a subject, in the order of the encoding.
#[derive(Clone, Copy)]
struct Subject<'a>(&'a [(String, String)]);

impl<'a> Subject<'a> {
    fn get(&self, oid: &str) -> Option<&'a str> {
        self.0
            .iter()
            .rev()
            .find(|(found, _)| found == oid)
            .map(|(_, value)| value.as_str())
    }
}

/// X-Road compares values in their RFC 4514 form, where these characters have a backslash before them.
fn is_escaped(value: &str) -> bool {
    value.starts_with([' ', '#'])
        || value.ends_with(' ')
        || value.contains([',', '"', '\\', '+', '=', '<', '>', ';'])
}

/// The class name without its package.
fn last_part(class_name: &str) -> &str {
    let trimmed = class_name.trim();
    trimmed.rsplit('.').next().unwrap_or(trimmed)
}

#[cfg(test)]
mod tests;
