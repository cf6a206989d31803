//! The configuration on disk in X-Road's layout (`registry-and-globalconf.md` 1.7), and durable replacement of files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use jibek_protocol::profile::Profiles;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

mod durable;

pub use durable::{
    FILE_BYTES, atomic_write, atomic_write_private, create_dir_durably, link_or_write,
    read_bounded, rename_durably, sync_directory,
};

use crate::{
    part,
    snapshot::{InstanceParts, Snapshot, SnapshotError},
};

/// Why the configuration on disk cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The metadata beside a part are not what X-Road writes.
    #[error("{} cannot be understood", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// An expiry date in metadata is not a date.
    #[error("{} has the expiry date {value:?}", path.display())]
    MetadataDate {
        /// The file.
        path: PathBuf,
        /// What it says.
        value: String,
    },
    /// A name cannot be a file or directory of its own.
    #[error("{name:?} cannot be the name of a file")]
    Name {
        /// The name.
        name: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Os {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files do not make a configuration.
    #[error("the configuration in {} is not usable", path.display())]
    Snapshot {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: Box<SnapshotError>,
    },
    /// A file is larger than any configuration.
    #[error("{} is larger than {max_bytes} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        max_bytes: usize,
    },
}

/// A directory that holds a configuration.
#[derive(Clone, Debug)]
pub struct ConfDir {
    path: PathBuf,
    profiles: Profiles,
}

/// A part to be stored, with what its `.metadata` file says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredPart {
    /// Content identifier; absent for a part that the directory named without one.
    pub content_identifier: Option<String>,
    /// Name of the file, without folders.
    pub file_name: String,
    /// Where it was fetched, relative to the directory.
    pub location: String,
    /// When it expires.
    pub expires: Option<OffsetDateTime>,
    /// Version of the configuration format.
    pub version: u8,
    /// The part, byte for byte.
    pub bytes: Bytes,
}

impl StoredPart {
    /// A part with its file name and bytes; set what else is known.
    pub fn new(
        content_identifier: Option<String>,
        file_name: impl Into<String>,
        version: u8,
        bytes: Bytes,
    ) -> Self {
        let (file_name, location) = (file_name.into(), String::new());
        Self {
            content_identifier,
            file_name,
            location,
            expires: None,
            version,
            bytes,
        }
    }
}

/// All parts of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredInstance {
    /// The instance.
    pub instance: String,
    /// Its parts.
    pub parts: Vec<StoredPart>,
}

impl StoredInstance {
    /// An instance with its parts.
    pub fn new(instance: impl Into<String>, parts: Vec<StoredPart>) -> Self {
        Self {
            instance: instance.into(),
            parts,
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_identifier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_identifier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_file_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration_version: Option<String>,
}

impl ConfDir {
    /// Names a directory; nothing is touched yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            profiles: Profiles::default(),
        }
    }

    pub(crate) fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// What is read is then understood with these declared certificate profiles ([`Snapshot::with_profiles`]).
    #[must_use]
    pub fn with_profiles(mut self, profiles: Profiles) -> Self {
        self.profiles = profiles;
        self
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The own instance as the file `instance-identifier` says.
    ///
    /// # Errors
    /// [`FilesError::Os`] when there is no such file.
    pub fn own_instance(&self) -> Result<String, FilesError> {
        let bytes = read_bounded(&self.path.join(INSTANCE_IDENTIFIER))?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Reads the configuration: the layout of a running server, or the smaller one of `/verificationconf`.
    ///
    /// A foreign instance that cannot be read, and one of version 2 beside a newer own one, is left out and named in
    /// [`Snapshot::warnings`].
    ///
    /// # Errors
    /// [`FilesError`] when the own instance cannot be read.
    pub fn read(&self) -> Result<Snapshot, FilesError> {
        let own = self.own_instance()?;
        let mut warnings = Vec::new();
        let mut instances = Vec::new();
        for directory in self.instance_directories()? {
            match self.read_instance(&directory) {
                Ok(Some(parts)) => instances.push(parts),
                Ok(None) => {}
                Err(error)
                    if directory.file_name().and_then(|name| name.to_str())
                        == Some(&directory_name(&own)) =>
                {
                    return Err(error);
                }
                Err(error) => warnings.push(format!(
                    "{}: left out: {}",
                    directory.display(),
                    chain(&error)
                )),
            }
        }
        let own_version = instances
            .iter()
            .find(|parts| parts.instance == own)
            .map_or(0, |parts| parts.version);
        instances.retain(|parts| {
            let wanted = parts.version > 2 || own_version <= 2;
            if !wanted {
                warnings.push(format!(
                    "{}: left out: configuration version 2 is no longer supported",
                    parts.instance
                ));
            }
            wanted
        });
        let snapshot =
            Snapshot::from_parts(&own, instances).map_err(|source| FilesError::Snapshot {
                path: self.path.clone(),
                source: Box::new(source),
            })?;
        Ok(snapshot
            .with_profiles(&self.profiles)
            .with_warnings(warnings))
    }

    /// Writes the parts of instances, each file atomically, and removes what is no longer part of the configuration.
    ///
    /// Durable when it returns. A crash in between leaves a mixture of old and new files, each of them whole.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn store(
        &self,
        own_instance: &str,
        instances: &[StoredInstance],
    ) -> Result<(), FilesError> {
        self.store_over(own_instance, instances, &[])
    }

    /// [`ConfDir::store`], when this process has stored `before` last: parts that are the same piece of memory are not
    /// compared with the files again.
    pub(crate) fn store_over(
        &self,
        own_instance: &str,
        instances: &[StoredInstance],
        before: &[StoredInstance],
    ) -> Result<(), FilesError> {
        create_dir_durably(&self.path)?;
        write_if_changed(
            &self.path.join(INSTANCE_IDENTIFIER),
            own_instance.as_bytes(),
        )?;
        let mut directories = Vec::new();
        for instance in instances {
            let directory = self.path.join(checked_directory_name(&instance.instance)?);
            create_dir_durably(&directory)?;
            let mut kept = Vec::new();
            let before = before.iter().find(|it| it.instance == instance.instance);
            let before = before.map_or(&[][..], |before| &before.parts);
            for part in &instance.parts {
                let name = checked_file_name(&part.file_name)?;
                let metadata = Metadata {
                    content_identifier: part.content_identifier.clone(),
                    instance_identifier: Some(instance.instance.clone()),
                    expiration_date: part.expires.and_then(format_date),
                    content_file_name: Some(name.to_owned()),
                    content_location: Some(part.location.clone()),
                    configuration_version: Some(part.version.to_string()),
                };
                let metadata_name = format!("{name}{METADATA_SUFFIX}");
                let path = directory.join(&metadata_name);
                let json =
                    serde_json::to_vec(&metadata).map_err(|source| FilesError::Metadata {
                        path: path.clone(),
                        source,
                    })?;
                let file = directory.join(name);
                let known = before.iter().any(|known| {
                    known.file_name == part.file_name && is_one(&known.bytes, &part.bytes)
                });
                if !known || !has_length(&file, part.bytes.len()) {
                    write_if_changed(&file, &part.bytes)?;
                }
                write_if_changed(&path, &json)?;
                kept.extend([name.to_owned(), metadata_name]);
            }
            remove_others(&directory, &kept)?;
            directories.push(directory);
        }
        for directory in self.instance_directories()? {
            if !directories.contains(&directory) {
                fs::remove_dir_all(&directory)
                    .map_err(|source| os("remove", &directory, source))?;
            }
        }
        sync_directory(&self.path)
    }

    /// Writes what a verifier needs, in the layout of `/verificationconf` (`signatures-and-log.md` 5.4).
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn store_verification(&self, snapshot: &Snapshot) -> Result<(), FilesError> {
        create_dir_durably(&self.path)?;
        for (name, bytes) in snapshot.verification_files() {
            let path = self.path.join(&name);
            if let Some(directory) = path.parent() {
                create_dir_durably(directory)?;
            }
            write_if_changed(&path, &bytes)?;
        }
        Ok(())
    }

    fn instance_directories(&self) -> Result<Vec<PathBuf>, FilesError> {
        let entries = fs::read_dir(&self.path).map_err(|source| os("list", &self.path, source))?;
        let mut directories = Vec::new();
        for entry in entries {
            let path = entry
                .map_err(|source| os("list", &self.path, source))?
                .path();
            if path.is_dir() && path.join(SHARED_FILE).is_file() {
                directories.push(path);
            }
        }
        directories.sort();
        Ok(directories)
    }

    /// Reads one instance as bytes; `None` without shared parameters.
    fn read_instance(&self, directory: &Path) -> Result<Option<InstanceParts>, FilesError> {
        let path = directory.join(SHARED_FILE);
        let shared = Bytes::from(read_bounded(&path)?);
        let metadata = read_metadata(&path)?;
        let version = match metadata.configuration_version.as_deref() {
            None => 2,
            Some(text) => text.trim().parse().unwrap_or(0), // refused as an unsupported version
        };
        let parsed = part::parse_shared(&shared, version).map_err(|source| {
            let instance = directory
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            FilesError::Snapshot {
                path: directory.to_owned(),
                source: Box::new(SnapshotError::Part {
                    instance,
                    part: "shared",
                    source,
                }),
            }
        })?;
        let mut parts = InstanceParts::new(parsed.instance, version, shared);
        parts.shared_expires = expiry(&path, &metadata)?;
        let private = directory.join(PRIVATE_FILE);
        if private.is_file() {
            parts.private = Some(Bytes::from(read_bounded(&private)?));
            parts.private_expires = expiry(&private, &read_metadata(&private)?)?;
        }
        parts.optional = optional_parts(directory)?;
        Ok(Some(parts))
    }
}

/// What else lies in an instance's directory, by content identifier: from the metadata, else from the well-known name.
/// A file of neither kind is no part.
fn optional_parts(directory: &Path) -> Result<Vec<(String, Bytes)>, FilesError> {
    let entries = fs::read_dir(directory).map_err(|source| os("list", directory, source))?;
    let mut found = Vec::new();
    for entry in entries.take(DIRECTORY_ENTRIES) {
        let path = entry
            .map_err(|source| os("list", directory, source))?
            .path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.filter(|name| !name.ends_with(METADATA_SUFFIX)) else {
            continue;
        };
        if [SHARED_FILE, PRIVATE_FILE].contains(&name) || name.starts_with('.') || !path.is_file() {
            continue;
        }
        let known = OPTIONAL_FILES.iter().find(|(known, _)| *known == name);
        let identifier = match known {
            Some((_, identifier)) => Some((*identifier).to_owned()),
            None => read_metadata(&path)?.content_identifier,
        };
        if let Some(identifier) = identifier {
            found.push((identifier, Bytes::from(read_bounded(&path)?)));
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(found)
}

/// Name of an instance's directory: the instance encoded like a value of an HTML form in UTF-8.
#[must_use]
pub fn directory_name(instance: &str) -> String {
    let mut name = String::with_capacity(instance.len());
    for byte in instance.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => {
                name.push(char::from(byte))
            }
            b' ' => name.push('+'),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    name
}

/// The name of an instance's directory, when it is a harmless one that nothing else has.
pub(crate) fn checked_directory_name(instance: &str) -> Result<String, FilesError> {
    let name = directory_name(instance);
    checked_file_name(&name)?;
    if [INSTANCE_IDENTIFIER, "files"].contains(&name.as_str()) {
        return Err(FilesError::Name { name });
    }
    Ok(name)
}

/// A name that stays inside its directory.
pub(crate) fn checked_file_name(name: &str) -> Result<&str, FilesError> {
    let harmless = !name.is_empty()
        && name.len() <= FILE_NAME_BYTES
        && !name.starts_with('.')
        && !name.contains(['/', '\\', '\0'])
        && !name.chars().any(char::is_control);
    if harmless {
        Ok(name)
    } else {
        Err(FilesError::Name {
            name: name.to_owned(),
        })
    }
}

fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<(), FilesError> {
    if has_length(path, bytes.len()) && read_bounded(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    atomic_write(path, bytes)
}

fn has_length(path: &Path, length: usize) -> bool {
    fs::metadata(path).is_ok_and(|known| usize::try_from(known.len()) == Ok(length))
}

/// Whether both are one piece of memory.
fn is_one(one: &Bytes, other: &Bytes) -> bool {
    one.as_ptr() == other.as_ptr() && one.len() == other.len()
}

fn remove_others(directory: &Path, kept: &[String]) -> Result<(), FilesError> {
    let entries = fs::read_dir(directory).map_err(|source| os("list", directory, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| os("list", directory, source))?;
        let name = entry.file_name();
        if entry.path().is_file() && !kept.iter().any(|kept| name == kept.as_str()) {
            let path = entry.path();
            fs::remove_file(&path).map_err(|source| os("remove", &path, source))?;
        }
    }
    sync_directory(directory)
}

fn read_metadata(part: &Path) -> Result<Metadata, FilesError> {
    let mut path = part.as_os_str().to_owned();
    path.push(METADATA_SUFFIX);
    let path = PathBuf::from(path);
    if !path.is_file() {
        return Ok(Metadata::default());
    }
    let bytes = read_bounded(&path)?;
    serde_json::from_slice(&bytes).map_err(|source| FilesError::Metadata { path, source })
}

fn expiry(path: &Path, metadata: &Metadata) -> Result<Option<OffsetDateTime>, FilesError> {
    let Some(text) = &metadata.expiration_date else {
        return Ok(None);
    };
    match part::parse_date_time(text.trim()) {
        Some(date) => Ok(Some(date)),
        None => Err(FilesError::MetadataDate {
            path: path.to_owned(),
            value: text.clone(),
        }),
    }
}

fn format_date(date: OffsetDateTime) -> Option<String> {
    date.to_offset(UtcOffset::UTC).format(&Rfc3339).ok()
}

fn os(action: &'static str, path: &Path, source: io::Error) -> FilesError {
    FilesError::Os {
        action,
        path: path.to_owned(),
        source,
    }
}

/// An error with what caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// File of the shared parameters.
pub const SHARED_FILE: &str = "shared-params.xml";
/// File of the private parameters.
pub const PRIVATE_FILE: &str = "private-params.xml";
const INSTANCE_IDENTIFIER: &str = "instance-identifier";
const METADATA_SUFFIX: &str = ".metadata";
const OPTIONAL_FILES: [(&str, &str); 3] = [
    ("fetchinterval-params.xml", part::FETCH_INTERVAL),
    ("monitoring-params.xml", part::MONITORING),
    ("nextupdate-params.xml", part::NEXT_UPDATE),
];
const FILE_NAME_BYTES: usize = 200;
/// Twice the parts that a directory may name, each with its metadata.
const DIRECTORY_ENTRIES: usize = 1000;

#[cfg(test)]
mod tests;
