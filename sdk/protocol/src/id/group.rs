//! Groups of clients, and the represented party.

use std::sync::Arc;

use super::{GROUP_CODE, INSTANCE, IdError, PARTY_CLASS, PARTY_CODE, part, text};

/// A group of clients that the registry keeps for the whole instance.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GlobalGroupId {
    instance: Arc<str>,
    code: Arc<str>,
}

impl GlobalGroupId {
    /// Makes an identifier of its parts.
    ///
    /// # Errors
    /// [`IdError::Blank`] or [`IdError::TooLong`] for an unfit part.
    pub fn new(instance: &str, code: &str) -> Result<Self, IdError> {
        Ok(Self {
            instance: part(INSTANCE, instance)?.into(),
            code: part(GROUP_CODE, code)?.into(),
        })
    }

    /// Instance.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Group code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Reads the header form: exactly two parts.
    ///
    /// # Errors
    /// [`IdError`] for a wrong number of parts or an unfit part.
    pub fn from_header(value: &str) -> Result<Self, IdError> {
        match text::decode_parts(value)?.as_slice() {
            [instance, code] => Self::new(instance, code),
            other => Err(IdError::PartCount {
                expected: "2",
                found: other.len(),
            }),
        }
    }
}

/// A group of clients that one provider keeps on its own server.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalGroupId {
    code: Arc<str>,
}

impl LocalGroupId {
    /// Makes an identifier of its code.
    ///
    /// # Errors
    /// [`IdError::Blank`] or [`IdError::TooLong`] for an unfit code.
    pub fn new(code: &str) -> Result<Self, IdError> {
        Ok(Self {
            code: part(GROUP_CODE, code)?.into(),
        })
    }

    /// Group code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Reads the header form: exactly one part.
    ///
    /// # Errors
    /// [`IdError`] for a wrong number of parts or an unfit part.
    pub fn from_header(value: &str) -> Result<Self, IdError> {
        match text::decode_parts(value)?.as_slice() {
            [code] => Self::new(code),
            other => Err(IdError::PartCount {
                expected: "1",
                found: other.len(),
            }),
        }
    }
}

/// Whom a consumer represents (`message-path.md` 2.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepresentedParty {
    class: Option<Arc<str>>,
    code: Arc<str>,
}

impl RepresentedParty {
    /// Makes a party of its parts.
    ///
    /// # Errors
    /// [`IdError::Blank`] or [`IdError::TooLong`] for an unfit part.
    pub fn new(class: Option<&str>, code: &str) -> Result<Self, IdError> {
        let class = class
            .map(|class| part(PARTY_CLASS, class))
            .transpose()?
            .map(Arc::from);
        Ok(Self {
            class,
            code: part(PARTY_CODE, code)?.into(),
        })
    }

    /// Class of the party, if given.
    #[must_use]
    pub fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    /// Code of the party.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Reads the value of `X-Road-Represented-Party`: `code` or `class/code`.
    ///
    /// # Errors
    /// [`IdError`] for a wrong number of parts or an unfit part.
    pub fn from_header(value: &str) -> Result<Self, IdError> {
        match text::decode_parts(value)?.as_slice() {
            [code] => Self::new(None, code),
            [class, code] => Self::new(Some(class), code),
            other => Err(IdError::PartCount {
                expected: "1 or 2",
                found: other.len(),
            }),
        }
    }

    /// Writes the value of `X-Road-Represented-Party`.
    #[must_use]
    pub fn to_header(&self) -> String {
        text::join(self.class().into_iter().chain([self.code()]))
    }
}
