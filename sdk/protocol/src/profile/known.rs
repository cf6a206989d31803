//! X-Road's own profiles (`signatures-and-log.md` 6.1, `security-server-admin.md` 3.4).

use super::{Parts, Profile, ProfileError, Subject};

/// What a subject says by one of X-Road's own profiles.
pub(super) fn parts<'a>(
    profile: &Profile,
    subject: Subject<'a>,
) -> Result<Parts<'a>, ProfileError> {
    match profile {
        Profile::Basic => Ok(Parts {
            instance: None,
            class: subject.need(BUSINESS_CATEGORY)?,
            code: subject.need(SERIAL_NUMBER)?,
        }),
        Profile::Ejbca => subject.ejbca(),
        Profile::FiVrk => subject.fivrk(),
        Profile::Fo => subject.island("FO"),
        Profile::Is => {
            if subject.has(SERIAL_NUMBER) || subject.has(ORGANIZATIONAL_UNIT) {
                subject.island("IS")
            } else {
                subject.ejbca()
            }
        }
        Profile::SkEsteId => Ok(Parts {
            instance: None,
            class: PERSON,
            code: subject.need(SERIAL_NUMBER)?,
        }),
        Profile::SkKlass3 => subject.klass3(),
        Profile::Declared(declared) => Err(declared.no_rule()),
    }
}

impl<'a> Subject<'a> {
    fn find(&self, attribute: Attribute) -> Option<&'a str> {
        self.get(attribute.oid)
    }

    fn has(&self, attribute: Attribute) -> bool {
        self.find(attribute).is_some()
    }

    fn need(&self, attribute: Attribute) -> Result<&'a str, ProfileError> {
        self.find(attribute).ok_or(ProfileError::Missing {
            attribute: attribute.name,
        })
    }

    fn need_country(&self, expected: &'static str) -> Result<(), ProfileError> {
        let found = self.need(COUNTRY)?;
        if found == expected {
            return Ok(());
        }
        Err(ProfileError::Country {
            expected,
            found: found.to_owned(),
        })
    }

    fn ejbca(&self) -> Result<Parts<'a>, ProfileError> {
        Ok(Parts {
            instance: Some(self.need(COUNTRY)?),
            class: self.need(ORGANIZATION)?,
            code: self.need(COMMON_NAME)?,
        })
    }

    fn fivrk(&self) -> Result<Parts<'a>, ProfileError> {
        let serial_number = self.find(SERIAL_NUMBER);
        if serial_number.is_none() && !self.has(ORGANIZATIONAL_UNIT) {
            return self.ejbca();
        }
        self.need_country("FI")?;
        let organization = self.need(ORGANIZATION)?;
        let Some(serial_number) = serial_number else {
            return Ok(Parts {
                instance: Some(organization),
                class: self.need(ORGANIZATIONAL_UNIT)?,
                code: self.need(COMMON_NAME)?,
            });
        };
        let code = self.need(COMMON_NAME)?;
        // Java's split drops empty parts at the end.
        let parts: Vec<&str> = serial_number.trim_end_matches('/').split('/').collect();
        match parts.as_slice() {
            [instance, _server, class] => Ok(Parts {
                instance: Some(instance),
                class,
                code,
            }),
            other => Err(ProfileError::SerialNumber { found: other.len() }),
        }
    }

    fn island(&self, country: &'static str) -> Result<Parts<'a>, ProfileError> {
        self.need_country(country)?;
        let parts = Parts {
            instance: Some(self.need(ORGANIZATION)?),
            class: self.need(ORGANIZATIONAL_UNIT)?,
            code: self.need(COMMON_NAME)?,
        };
        self.need(SERIAL_NUMBER)?;
        Ok(parts)
    }

    fn klass3(&self) -> Result<Parts<'a>, ProfileError> {
        let of = |class, code| Parts {
            instance: None,
            class,
            code,
        };
        if let Some(organization) = self
            .find(ORGANIZATION_IDENTIFIER)
            .filter(|value| !value.is_empty())
        {
            let registers = [("NTREE-", "COM"), ("GO:EE-", "GOV"), ("NP:EE-", "NGO")];
            let registered = registers.into_iter().find_map(|(prefix, class)| {
                let code = organization.strip_prefix(prefix)?;
                Some(of(class, code))
            });
            return Ok(registered.unwrap_or_else(|| of("NEE", organization)));
        }
        let code = self.need(SERIAL_NUMBER)?;
        let digits = code.len() == REGISTER_CODE && code.bytes().all(|byte| byte.is_ascii_digit());
        match code.as_bytes().first() {
            Some(b'1'..=b'6') if digits => Ok(of("COM", code)),
            Some(b'7') if digits => Ok(of("GOV", code)),
            Some(b'8' | b'9') if digits => Ok(of("NGO", code)),
            _ => Err(ProfileError::RegisterCode),
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
const ORGANIZATION_IDENTIFIER: Attribute = Attribute {
    oid: "2.5.4.97",
    name: "organization identifier",
};
const PERSON: &str = "PERSON";
/// Digits of an Estonian register code.
const REGISTER_CODE: usize = 8;
