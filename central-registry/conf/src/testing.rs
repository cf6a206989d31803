//! What tests share.

use std::path::PathBuf;

/// The folder of X-Road's test data, or `None` after saying so. On a build server it must be there.
pub(crate) fn fixtures(test: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("JIBEK_XROAD_FIXTURES") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../shared/fixtures/xroad"
        )),
    };
    if root.is_dir() {
        return Some(root);
    }
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "fixtures absent"
    );
    println!("SKIPPED {test}: fixtures absent");
    None
}
