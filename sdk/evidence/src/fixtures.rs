//! Data of real security servers for tests.

use std::path::PathBuf;

/// Reads a file below the fixtures' root; `None`, with a line that says so, when there are none. On the build server that is an error.
pub(crate) fn read(test: &str, path: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("JIBEK_XROAD_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/xroad"),
        PathBuf::from,
    );
    if !root.is_dir() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "no fixtures at {}",
            root.display()
        );
        println!("SKIPPED {test}: fixtures absent");
        return None;
    }
    Some(std::fs::read(root.join(path)).unwrap())
}
