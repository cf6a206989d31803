use super::*;
use crate::{snapshot::ConfExpired, testing::fixtures};
use jibek_certs::trust::Trust;
use time::macros::datetime;

fn read(root: &Path, name: &str) -> Result<Snapshot, FilesError> {
    ConfDir::new(root.join(name)).read()
}

#[test]
fn directories_of_every_version_are_read() {
    let Some(root) = fixtures("directories_of_every_version_are_read") else {
        return;
    };
    for version in 3..=6u8 {
        let snapshot = read(&root, &format!("globalconf/globalconf_good_v{version}")).unwrap();
        assert_eq!(snapshot.own_instance(), "EE");
        assert_eq!(snapshot.version("EE"), Some(version));
        assert_eq!(snapshot.version("bar"), Some(3));
        assert!(
            !snapshot.knows_instance("foo_v2"),
            "version 2 beside version {version}"
        );
        assert!(
            snapshot
                .warnings()
                .iter()
                .any(|text| text.contains("foo_v2")),
            "{:?}",
            snapshot.warnings()
        );
        assert!(snapshot.private().is_some());
        assert_eq!(
            snapshot.expires_at(),
            Some(datetime!(2124-05-20 17:42:55 UTC))
        );
        assert!(
            snapshot
                .all_authorities()
                .iter()
                .all(|authorities| !authorities.all().is_empty())
        );
    }
}

#[test]
fn version_2_is_read_where_it_is_the_own_version() {
    let Some(root) = fixtures("version_2_is_read_where_it_is_the_own_version") else {
        return;
    };
    let snapshot = read(&root, "globalconf/globalconf_good_v2").unwrap();
    assert_eq!(snapshot.version("EE"), Some(2));
    assert!(snapshot.knows_instance("foo"));
}

#[test]
fn a_recorded_countrys_configuration_is_read() {
    let Some(root) = fixtures("a_recorded_countrys_configuration_is_read") else {
        return;
    };
    let snapshot = read(&root, "wire/conf/globalconf").unwrap();
    assert_eq!(snapshot.own_instance(), "DEV");
    assert!(snapshot.warnings().is_empty(), "{:?}", snapshot.warnings());
    snapshot
        .check_valid(datetime!(2026-11-23 03:15 UTC))
        .unwrap();
    assert_eq!(snapshot.servers().count(), 2);
    assert_eq!(snapshot.authorities("DEV").unwrap().all().len(), 1);
}

#[test]
fn the_layout_of_verificationconf_is_read() {
    let Some(root) = fixtures("the_layout_of_verificationconf_is_read") else {
        return;
    };
    for (name, instance, version) in [
        ("globalconf_good2_v3", "DEV", 3),
        ("globalconf_cs", "CS", 4),
    ] {
        let snapshot = read(&root, &format!("globalconf/{name}")).unwrap();
        assert_eq!(
            (snapshot.own_instance(), snapshot.version(instance)),
            (instance, Some(version))
        );
        assert_eq!(snapshot.expires_at(), None);
        assert!(!snapshot.tsa_urls().is_empty());
        assert!(snapshot.warnings().is_empty(), "{:?}", snapshot.warnings());
        let written = tempfile::tempdir().unwrap();
        let directory = ConfDir::new(written.path().join("verificationconf"));
        directory.store_verification(&snapshot).unwrap();
        let again = directory.read().unwrap();
        assert_eq!(again.content_id(), snapshot.content_id());
        let path = format!("globalconf/{name}/{instance}/shared-params.xml.metadata");
        let metadata = fs::read(root.join(path)).unwrap();
        let copied = fs::read(
            directory
                .path()
                .join(instance)
                .join("shared-params.xml.metadata"),
        )
        .unwrap();
        assert_eq!(metadata, copied, "X-Road's own bytes");
    }
}

#[test]
fn what_makes_no_configuration_is_refused() {
    let Some(root) = fixtures("what_makes_no_configuration_is_refused") else {
        return;
    };
    for name in [
        "globalconf_empty",
        "globalconf_malformed",
        "globalconf_missing_identifier",
        "no_such_directory",
    ] {
        assert!(
            read(&root, &format!("globalconf/{name}")).is_err(),
            "{name}"
        );
    }
}

#[test]
fn what_is_stored_is_read_and_the_rest_removed() {
    let Some(root) = fixtures("what_is_stored_is_read_and_the_rest_removed") else {
        return;
    };
    let source = root.join("wire/conf/globalconf/DEV");
    let expires = datetime!(2026-11-23 04:00:00.5 UTC);
    let part = |identifier: &str, name: &str| {
        let bytes = Bytes::from(fs::read(source.join(name)).unwrap());
        let mut part = StoredPart::new(Some(identifier.to_owned()), name, 6, bytes);
        part.expires = Some(expires);
        part
    };
    let mut parts = vec![
        part(part::SHARED_PARAMETERS, SHARED_FILE),
        part(part::PRIVATE_PARAMETERS, PRIVATE_FILE),
    ];
    let next_update = fs::read(root.join("globalconf/valid-nextupdate-params.xml")).unwrap();
    parts.push(StoredPart::new(
        Some(part::NEXT_UPDATE.to_owned()),
        "nextupdate-params.xml",
        6,
        next_update.into(),
    ));
    let temporary = tempfile::tempdir().unwrap();
    let directory = ConfDir::new(temporary.path().join("a/b"));
    directory
        .store("DEV", &[StoredInstance::new("DEV", parts.clone())])
        .unwrap();
    let snapshot = directory.read().unwrap();
    assert_eq!(snapshot.expires_at(), Some(expires));
    assert!(!snapshot.verify_next_update());
    assert!(snapshot.check_valid(expires).is_ok());
    let late = expires + time::Duration::milliseconds(1);
    assert_eq!(
        snapshot.check_valid(late).unwrap_err(),
        ConfExpired::Expired {
            part: part::SHARED_PARAMETERS.to_owned(),
            expired_at: expires,
            now: late
        }
    );

    parts.pop();
    directory
        .store("DEV", &[StoredInstance::new("DEV", parts)])
        .unwrap();
    assert!(directory.read().unwrap().verify_next_update());
    assert!(!directory.path().join("DEV/nextupdate-params.xml").exists());
    assert!(
        !directory
            .path()
            .join("DEV/nextupdate-params.xml.metadata")
            .exists()
    );
    let names: Vec<_> = fs::read_dir(directory.path().join("DEV"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn names_stay_inside_their_directory() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = ConfDir::new(temporary.path().join("conf"));
    for instance in ["..", ".", "", ".hidden"] {
        let outcome = directory.store("A", &[StoredInstance::new(instance, Vec::new())]);
        assert!(
            matches!(outcome, Err(FilesError::Name { .. })),
            "{instance:?}"
        );
    }
    for name in ["../x", "a/b", "", "..", "a\\b", "a\0b"] {
        let part = StoredPart::new(None, name, 6, Bytes::new());
        let outcome = directory.store("A", &[StoredInstance::new("A", vec![part])]);
        assert!(matches!(outcome, Err(FilesError::Name { .. })), "{name:?}");
    }
    assert_eq!(directory_name("a b/ä"), "a+b%2F%C3%A4");
}

#[test]
fn a_replaced_file_leaves_no_other_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("file");
    atomic_write(&path, b"one").unwrap();
    atomic_write(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
    assert!(atomic_write(temporary.path().join("no/such/file"), b"x").is_err());
}
