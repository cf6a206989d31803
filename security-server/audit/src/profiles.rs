//! Declared certificate profiles from a file (`central-registry/PROFILES.md`).

use jibek_conf::files::{FilesError, read_bounded};
use jibek_protocol::profile::{DeclarationError, Profiles, RawProfile};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Why there are no declared profiles.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfilesError {
    /// A declaration cannot be used.
    #[error("{} declares a profile that cannot be used", path.display())]
    Declaration {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DeclarationError,
    },
    /// It declares none.
    #[error("{} has no [[certificate_profile]]", path.display())]
    None {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: FilesError,
    },
    /// It is no TOML.
    #[error("{} is no TOML", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
}

/// Reads the tables `[[certificate_profile]]` of a file. What else stands there does not matter, so a server's own file will do.
///
/// # Errors
/// [`ProfilesError`].
pub fn read_profiles(path: &Path) -> Result<Profiles, ProfilesError> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        certificate_profile: Vec<RawProfile>,
    }

    let path = || path.to_owned();
    let bytes = read_bounded(&path()).map_err(|source| ProfilesError::Read {
        path: path(),
        source,
    })?;
    let file: File = toml::from_slice(&bytes).map_err(|source| ProfilesError::Syntax {
        path: path(),
        source: Box::new(source),
    })?;
    if file.certificate_profile.is_empty() {
        return Err(ProfilesError::None { path: path() });
    }
    Profiles::new(&file.certificate_profile).map_err(|source| ProfilesError::Declaration {
        path: path(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_from_any_file_that_declares_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profiles.toml");
        let read = |text: &str| {
            jibek_conf::atomic_write(&path, text.as_bytes()).unwrap();
            read_profiles(&path)
        };
        let declared = "[[certificate_profile]]\nclass = 'KgSkKlass3CertificateProfileInfoProvider'\n\
            [[certificate_profile.rule]]\nsubject = { CN = '{code..}' }\nmember_class = 'GOV'\n";
        let server = format!("server = 'KG/GOV/1/s'\n{declared}");
        for text in [declared, &server] {
            let profiles = read(text).unwrap();
            assert!(profiles.declares("kg.KgSkKlass3CertificateProfileInfoProvider"));
        }
        assert!(matches!(
            read("server = 'KG/GOV/1/s'"),
            Err(ProfilesError::None { .. })
        ));
        assert!(matches!(read("[["), Err(ProfilesError::Syntax { .. })));
        let twice = format!("{declared}{declared}");
        assert!(matches!(
            read(&twice),
            Err(ProfilesError::Declaration { .. })
        ));
        let missing = read_profiles(&folder.path().join("missing"));
        assert!(matches!(missing, Err(ProfilesError::Read { .. })));
    }
}
