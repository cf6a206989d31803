//! Subjects as people write them.

use std::str::FromStr;

/// A subject: attributes with their names (`C`, `O`, `OU`, `CN`, `serialNumber`, `businessCategory`, … or a dotted identifier) in
/// the order that the certificate will have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject(Vec<(String, String)>);

/// A text is no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form name=value")]
pub struct SubjectError(String);

impl Subject {
    /// A subject of these attributes.
    pub fn new<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(
            attributes
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// The subject of an authentication certificate by the FiVRK profile: `C=FI, O, serialNumber=instance/serverCode/class, CN`
    /// with the server's address as common name (`signatures-and-log.md` 6.1).
    pub fn fivrk_auth(
        instance: &str,
        server_code: &str,
        member_class: &str,
        organisation: &str,
        address: &str,
    ) -> Self {
        let serial = format!("{instance}/{server_code}/{member_class}");
        Self::new([
            ("C", "FI"),
            ("O", organisation),
            ("serialNumber", serial.as_str()),
            ("CN", address),
        ])
    }

    /// The subject of a signing certificate by the FiVRK profile: as above with the member's code as common name.
    pub fn fivrk_sign(
        instance: &str,
        server_code: &str,
        member_class: &str,
        organisation: &str,
        member_code: &str,
    ) -> Self {
        Self::fivrk_auth(
            instance,
            server_code,
            member_class,
            organisation,
            member_code,
        )
    }

    /// The attributes, for [`jibek_certs::SoftKey::csr_der`].
    pub fn attributes(&self) -> Vec<(&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    /// Reads `C=FI,O=Org,serialNumber=DEV/ss1/COM,CN=1111`; a comma within a value is written `\,`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = vec![String::new()];
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            match (c, parts.last_mut()) {
                (',', _) => parts.push(String::new()),
                ('\\', Some(part)) => part.extend(characters.next()),
                (c, Some(part)) => part.push(c),
                (_, None) => {}
            }
        }
        let attributes = parts.into_iter().map(|part| match part.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            }
            _ => Err(SubjectError(part)),
        });
        attributes.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_read() {
        let read: Subject = r"C=FI, O=Acme\, Inc,serialNumber=DEV/ss1/COM,CN=a=b"
            .parse()
            .unwrap();
        let expected = Subject::new([
            ("C", "FI"),
            ("O", "Acme, Inc"),
            ("serialNumber", "DEV/ss1/COM"),
            ("CN", "a=b"),
        ]);
        assert_eq!(read, expected);
        assert_eq!(
            Subject::fivrk_auth("DEV", "ss1", "COM", "Acme, Inc", "a=b"),
            expected
        );
        for bad in ["", "C", "C=FI,", "=x", "C="] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }
}
