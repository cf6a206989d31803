//! Seeds out of the fixtures.

use jibek_evidence::container::{Container, ContainerLimits};
use std::path::{Path, PathBuf};

/// The fixtures' root, if there is one.
pub fn root() -> Option<PathBuf> {
    std::env::var_os("JIBEK_XROAD_FIXTURES").map(PathBuf::from)
}

/// Contents of all files below the folder `under` whose names end as one of `ends`.
pub fn files(under: &str, ends: &[&str]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    if let Some(root) = root() {
        walk(&root.join(under), ends, &mut found);
    }
    found
}

fn walk(folder: &Path, ends: &[&str], found: &mut Vec<Vec<u8>>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.to_string_lossy().into_owned();
        if path.is_dir() {
            walk(&path, ends, found);
        } else if ends.iter().any(|end| name.ends_with(end)) {
            found.extend(
                std::fs::read(&path)
                    .ok()
                    .filter(|bytes| bytes.len() < 65_536),
            );
        }
    }
}

/// All containers.
pub fn containers() -> Vec<Vec<u8>> {
    [files("asic", &[".asice"]), files("asic-core", &[".asice"])].concat()
}

/// An entry of every container that has it.
pub fn entries(name: &str) -> Vec<Vec<u8>> {
    containers()
        .iter()
        .filter_map(|file| Container::read(file, &ContainerLimits::default()).ok())
        .filter_map(|container| container.entry(name).map(|entry| entry.to_vec()))
        .collect()
}

/// What stands in a recorded exchange behind its HTTP head.
pub fn bodies() -> Vec<Vec<u8>> {
    files("wire", &[".req", ".resp", ".from-consumer", ".to-consumer"])
        .iter()
        .filter_map(|file| {
            let end = file.windows(4).position(|window| window == b"\r\n\r\n")?;
            Some(file[end + 4..].to_vec())
        })
        .collect()
}
