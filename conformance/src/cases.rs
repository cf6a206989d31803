//! Cases as data: one file a case, with the clause that it checks.
//!
//! A case is a request of an information system and what must come of it. `conformance/cases/*.toml` are run against a
//! [`World`](crate::world::World); nothing in them is special to it, so they will run against any server.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// One case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Name: the file's, without its ending.
    #[serde(skip)]
    pub name: String,
    /// The clause that says so.
    pub clause: String,
    /// What is sent.
    pub request: CaseRequest,
    /// What must come of it.
    pub expect: Expectation,
}

/// What a consumer sends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseRequest {
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Body.
    #[serde(default)]
    pub body: String,
}

/// What must come of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// HTTP status.
    pub status: u16,
    /// Fault code, in the header `X-Road-Error` or the SOAP fault.
    pub code: Option<String>,
    /// What the body must contain.
    pub contains: Option<String>,
    /// Headers that must be there with this value.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Path and query with which the provider's system must have been called; absent, it must not have been called.
    pub called: Option<String>,
}

/// Why a case could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct CaseError {
    path: PathBuf,
    reason: String,
}

/// Reads all cases of a directory, in the order of their names.
///
/// # Errors
///
/// [`CaseError`] names the file and what is wrong with it.
pub fn read(dir: &Path) -> Result<Vec<Case>, CaseError> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| CaseError {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let entries = std::fs::read_dir(dir).map_err(|error| failed(dir, &error))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed(dir, &error))?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).map_err(|error| failed(path, &error))?;
            let mut case: Case = toml::from_str(&text).map_err(|error| failed(path, &error))?;
            case.name = path
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default();
            Ok(case)
        })
        .collect()
}
