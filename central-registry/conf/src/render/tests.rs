use super::*;
use crate::{
    part::{parse_private, parse_shared},
    testing::fixtures,
};
use std::{path::Path, process::Command};

/// Shared parameters with everything that version 6 has.
fn fullest(root: &Path) -> SharedParameters {
    let path = root.join("globalconf/globalconf_good_v6/EE/shared-params.xml");
    parse_shared(&std::fs::read(path).unwrap(), 6).unwrap()
}

/// Validates with X-Road's schema; `false` after saying so when there is no xmllint.
fn valid(test: &str, root: &Path, schema: &str, document: &str) -> bool {
    let file = tempfile::NamedTempFile::new().unwrap();
    crate::atomic_write(file.path(), document.as_bytes()).unwrap();
    let schema = root.join("xsd/globalconf").join(schema);
    let outcome = Command::new("xmllint")
        .arg("--noout")
        .arg("--nonet")
        .arg("--schema")
        .arg(schema)
        .arg(file.path())
        .output();
    match outcome {
        Ok(output) => {
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            true
        }
        Err(_) => {
            println!("SKIPPED {test}: xmllint absent");
            false
        }
    }
}

#[test]
fn each_versions_shared_parameters_follow_its_schema() {
    const NAME: &str = "each_versions_shared_parameters_follow_its_schema";
    let Some(root) = fixtures(NAME) else { return };
    let shared = fullest(&root);
    assert!(
        shared
            .servers
            .iter()
            .any(|server| server.maintenance.is_some())
    );
    for version in 3..=6u8 {
        let document = render_shared(&shared, version).unwrap();
        if !valid(
            NAME,
            &root,
            &format!("v{version}/shared-parameters.xsd"),
            &document,
        ) {
            return;
        }
    }
}

#[test]
fn private_parameters_follow_their_schema() {
    const NAME: &str = "private_parameters_follow_their_schema";
    let Some(root) = fixtures(NAME) else { return };
    for file in [
        "globalconf/globalconf_good_v6/EE/private-params.xml",
        "wire/conf/globalconf/DEV/private-params.xml",
    ] {
        let private = parse_private(&std::fs::read(root.join(file)).unwrap()).unwrap();
        let document = render_private(&private);
        assert_eq!(parse_private(document.as_bytes()).unwrap(), private);
        if !valid(NAME, &root, "v3/private-parameters.xsd", &document) {
            return;
        }
    }
}

#[test]
fn version_6_loses_nothing() {
    let Some(root) = fixtures("version_6_loses_nothing") else {
        return;
    };
    let shared = fullest(&root);
    let document = render_shared(&shared, 6).unwrap();
    assert_eq!(parse_shared(document.as_bytes(), 6).unwrap(), shared);
    assert_eq!(
        render_shared(&shared, 6).unwrap(),
        document,
        "the same bytes each time"
    );
    assert!(document.contains("<member id=\"id0\">"));
}

#[test]
fn before_version_5_a_server_in_maintenance_loses_its_subsystems() {
    let Some(root) = fixtures("before_version_5_a_server_in_maintenance_loses_its_subsystems")
    else {
        return;
    };
    let mut shared = fullest(&root);
    let server = shared
        .servers
        .iter_mut()
        .find(|server| server.clients.iter().any(|one| one.subsystem().is_some()))
        .unwrap();
    server.maintenance = Some(crate::model::Maintenance {
        message: Some("back at noon".to_owned()),
    });
    let id = server.id.clone();
    let clients_in = |version: u8| {
        let read =
            parse_shared(render_shared(&shared, version).unwrap().as_bytes(), version).unwrap();
        read.servers
            .into_iter()
            .find(|server| server.id == id)
            .unwrap()
    };
    assert!(
        clients_in(4)
            .clients
            .iter()
            .all(|client| client.subsystem().is_none())
    );
    assert!(clients_in(4).maintenance.is_none());
    assert!(
        clients_in(5)
            .clients
            .iter()
            .any(|client| client.subsystem().is_some())
    );
    assert!(clients_in(5).maintenance.is_some());
}

#[test]
fn what_would_be_rejected_by_peers_is_not_written() {
    let Some(root) = fixtures("what_would_be_rejected_by_peers_is_not_written") else {
        return;
    };
    let shared = fullest(&root);
    for version in [0, 2, 7] {
        assert_eq!(
            render_shared(&shared, version),
            Err(RenderError::Version { version })
        );
    }
    let mut without_source = shared.clone();
    without_source.sources.clear();
    assert_eq!(
        render_shared(&without_source, 6),
        Err(RenderError::NoSource)
    );
    let mut dangling = shared;
    dangling.members.clear();
    assert!(matches!(
        render_shared(&dangling, 6),
        Err(RenderError::UnknownClient { .. })
    ));
}

#[test]
fn text_is_escaped() {
    let mut shared = SharedParameters::new("A<&>\"'");
    shared.sources.push(crate::model::SourceAddress {
        address: "cs]]>".to_owned(),
        internal_certificates: Vec::new(),
        external_certificates: Vec::new(),
    });
    let read = parse_shared(render_shared(&shared, 6).unwrap().as_bytes(), 6).unwrap();
    assert_eq!(read, shared);
}

proptest::proptest! {
    /// What is written is read back the same, whatever the texts; a version only loses what it has no place for.
    #[test]
    fn texts_survive_in_every_version(
        name in "\\PC{1,20}",
        codes in proptest::collection::btree_set("[A-Za-z0-9 '()+,.=?äж-]{1,8}[a-z]", 1..5),
        version in 3..=6_u8,
    ) {
        let mut shared = SharedParameters::new("KG");
        shared.sources.push(crate::model::SourceAddress {
            address: "cs".to_owned(),
            internal_certificates: vec![Bytes::from_static(b"\x30\x00")],
            external_certificates: Vec::new(),
        });
        for code in codes {
            let id = jibek_protocol::id::MemberId::new("KG", "GOV", &code).unwrap();
            let subsystems = vec![crate::model::Subsystem { code: code.clone(), name: None }];
            shared.members.push(Member { id, class_description: name.clone(), name: name.clone(), subsystems });
        }
        let read = parse_shared(render_shared(&shared, version).unwrap().as_bytes(), version).unwrap();
        proptest::prop_assert_eq!(read, shared);
    }
}
