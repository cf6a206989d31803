//! A country's own certificate profile, declared: without the declaration a container cannot be judged, with it, it is valid.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic, their helpers too"
)]

use jibek_conf::atomic_write;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The fixtures' root, or `None` (said aloud) when they are absent; absent in CI is a failure.
fn fixtures(test: &str) -> Option<PathBuf> {
    let root = std::env::var_os("JIBEK_XROAD_FIXTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/xroad"),
        PathBuf::from,
    );
    if root.is_dir() {
        return Some(root);
    }
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{test}: no fixtures at {}",
        root.display()
    );
    println!("SKIPPED {test}: fixtures absent");
    None
}

/// The mapping is this test's own: what the certificate of the fixture has, under the name that Kyrgyzstan's profile has.
const DECLARATION: &str = r#"
[[certificate_profile]]
class = "KgSkKlass3CertificateProfileInfoProvider"

[[certificate_profile.rule]]
subject = { C = "FI", O = "{*..}", serialNumber = "{instance}/{*}/{class}", CN = "{code..}" }
"#;

#[test]
fn a_declared_profile_makes_a_container_judgeable() {
    let Some(root) = fixtures("a_declared_profile_makes_a_container_judgeable") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("conf");
    let original = root.join("globalconf/globalconf_good2_v3");
    for name in [
        "instance-identifier",
        "DEV/shared-params.xml",
        "DEV/shared-params.xml.metadata",
    ] {
        let text = fs::read_to_string(original.join(name)).unwrap();
        let renamed = text.replace("FiVRKCertificateProfile", "KgSkKlass3CertificateProfile");
        assert_eq!(renamed != text, name.ends_with(".xml"), "{name}");
        let path = conf.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        atomic_write(&path, renamed.as_bytes()).unwrap();
    }
    let container = root.join("asic/valid-signed-message.asice");
    let verify = |declaration: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jibek-audit"));
        command.arg("verify").arg("--conf").arg(&conf);
        if let Some(text) = declaration {
            let path = folder.path().join("profiles.toml");
            atomic_write(&path, text.as_bytes()).unwrap();
            command.arg("--profiles").arg(&path);
        }
        let output = command.arg(&container).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    let (status, text) = verify(None);
    assert_eq!(status, Some(2), "{text}");
    let (status, text) = verify(Some(DECLARATION));
    assert_eq!(status, Some(0), "{text}");
    // One that reads another member out of the same subject is not X-Road's sender.
    let (status, text) = verify(Some(
        &DECLARATION
            .replace("{*..}", "{code..}")
            .replace("CN = \"{code..}\"", "CN = \"{*..}\""),
    ));
    assert_eq!(status, Some(1), "{text}");
    let (status, text) = verify(Some("x = 1"));
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("has no [[certificate_profile]]"), "{text}");
}
