use super::*;
use crate::{files::ConfDir, testing::fixtures};
use time::macros::datetime;

fn dev(test: &str) -> Option<(std::path::PathBuf, Snapshot)> {
    let root = fixtures(test)?;
    let snapshot = ConfDir::new(root.join("wire/conf/globalconf"))
        .read()
        .unwrap();
    Some((root, snapshot))
}

fn client(code: &str, subsystem: Option<&str>) -> ClientId {
    ClientId::new("DEV", "COM", code, subsystem).unwrap()
}

#[test]
fn recorded_servers_are_found_by_their_certificate() {
    let Some((root, snapshot)) = dev("recorded_servers_are_found_by_their_certificate") else {
        return;
    };
    let pem = std::fs::read(root.join("wire/conf/ss1-auth.pem")).unwrap();
    let certificate = Certificate::from_pem(&pem).unwrap();
    let server = snapshot.server_by_auth_certificate(&certificate).unwrap();
    assert_eq!(server.id().to_string(), "SERVER:DEV/COM/1111/ss1");
    assert_eq!(
        snapshot
            .server_by_auth_cert(&certificate.sha256())
            .unwrap()
            .id(),
        server.id()
    );
    assert!(
        snapshot
            .auth_cert_serves(&certificate, &client("1111", Some("Consumer")))
            .is_ok()
    );
    assert!(
        snapshot
            .auth_cert_serves(&certificate, &client("1111", None))
            .is_ok(),
        "the owner is a client"
    );
    let error = snapshot
        .auth_cert_serves(&certificate, &client("2222", Some("Provider")))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Client 'SUBSYSTEM:DEV/COM/2222/Provider' is not registered at security server SERVER:DEV/COM/1111/ss1"
    );
    let signing =
        Certificate::from_pem(&std::fs::read(root.join("wire/conf/ss1-sign.pem")).unwrap())
            .unwrap();
    let error = snapshot
        .auth_cert_serves(&signing, &client("1111", None))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("is not associated with any security server"),
        "{error}"
    );
}

#[test]
fn providers_are_found_by_their_exact_identifier() {
    let Some((_, snapshot)) = dev("providers_are_found_by_their_exact_identifier") else {
        return;
    };
    let addresses = |provider: &ClientId| -> Vec<_> {
        snapshot
            .servers_of(provider)
            .iter()
            .map(|one| one.address.clone())
            .collect()
    };
    assert_eq!(addresses(&client("2222", Some("Provider"))), ["127.0.0.3"]);
    assert_eq!(addresses(&client("2222", None)), ["127.0.0.3"]);
    assert!(addresses(&client("2222", Some("provider"))).is_empty());
    assert!(snapshot.knows_client(&client("1111", Some("Consumer"))));
    assert!(!snapshot.knows_client(&client("1111", Some("Nobody"))));
    assert_eq!(
        snapshot.member_name(client("1111", None).member()),
        Some("Org 1111")
    );
    assert_eq!(
        snapshot.peer_addresses().collect::<Vec<_>>(),
        ["127.0.0.2", "127.0.0.3"]
    );
    assert_eq!(snapshot.timestamping_interval(), Duration::from_secs(60));
    assert_eq!(snapshot.ocsp_fetch_interval(), Duration::from_secs(1200));
    assert_eq!(snapshot.ocsp_freshness(), Duration::from_secs(3600));
    assert!(snapshot.verify_next_update());
}

#[test]
fn groups_and_maintenance_are_indexed() {
    let Some(root) = fixtures("groups_and_maintenance_are_indexed") else {
        return;
    };
    let snapshot = ConfDir::new(root.join("globalconf/globalconf_good_v6"))
        .read()
        .unwrap();
    let shared = snapshot.shared("EE").unwrap();
    let group = shared
        .groups
        .iter()
        .find(|group| !group.members.is_empty())
        .unwrap();
    let id = GlobalGroupId::new("EE", &group.code).unwrap();
    assert!(snapshot.in_global_group(&id, &group.members[0]));
    assert!(!snapshot.in_global_group(
        &GlobalGroupId::new("elsewhere", &group.code).unwrap(),
        &group.members[0]
    ));
    assert!(
        snapshot
            .servers()
            .any(|server| server.maintenance().is_some())
    );
    // Another instance of version 3 has none.
    assert!(
        snapshot
            .shared("baz_v3")
            .unwrap()
            .servers
            .iter()
            .all(|server| server.maintenance.is_none())
    );
}

#[test]
fn only_the_expiry_changes_when_the_content_stays() {
    let Some((_, snapshot)) = dev("only_the_expiry_changes_when_the_content_stays") else {
        return;
    };
    let later = snapshot.with_expiry(
        Some(datetime!(2030-01-01 0:00 UTC)),
        Some(datetime!(2029-01-01 0:00 UTC)),
    );
    assert_eq!(later.content_id(), snapshot.content_id());
    assert_eq!(later.expires_at(), Some(datetime!(2029-01-01 0:00 UTC)));
    let now = datetime!(2031-01-01 0:00 UTC);
    assert_eq!(
        later.check_valid(now),
        Err(ConfExpired::Expired {
            part: part::PRIVATE_PARAMETERS.to_owned(),
            expired_at: datetime!(2029-01-01 0:00 UTC),
            now
        })
    );
}

#[test]
fn defects_are_refused_or_left_out() {
    let Some(root) = fixtures("defects_are_refused_or_left_out") else {
        return;
    };
    let text =
        std::fs::read_to_string(root.join("wire/conf/globalconf/DEV/shared-params.xml")).unwrap();
    let read = |text: String| Snapshot::from_parts("DEV", vec![InstanceParts::new("DEV", 6, text)]);
    assert!(read(text.clone()).is_ok());
    let unknown_profile = text.replace("CertificateProfileInfoProvider", "NobodyKnows");
    assert_ne!(unknown_profile, text);
    assert!(
        read(unknown_profile).unwrap().warnings().is_empty(),
        "an unknown profile rejects nothing"
    );

    // Declared, it is read as declared, and nothing else changes.
    let declaration = "class = 'KgSkKlass3CertificateProfileInfoProvider'\n\
        rule = [{ subject = { C = '{instance..}', O = '{class..}', CN = '{code..}' } }]";
    let profiles = Profiles::new(&[toml::from_str(declaration).unwrap()]).unwrap();
    let own = text.replace("FiVRKCertificateProfile", "KgSkKlass3CertificateProfile");
    assert_ne!(own, text);
    let undeclared = read(own).unwrap();
    let declared = undeclared.clone().with_profiles(&profiles);
    assert_eq!(declared.content_id(), undeclared.content_id());
    let ca = undeclared.authorities("DEV").unwrap().all()[0]
        .certificate
        .clone();
    let class = undeclared.profile_class("DEV", &ca).unwrap().to_owned();
    assert!(
        class.ends_with(".KgSkKlass3CertificateProfileInfoProvider"),
        "{class}"
    );
    assert_eq!(
        undeclared.profile_of("DEV", &ca),
        Err(UnknownProfile { class })
    );
    let subject = [
        ("2.5.4.6", "KG"),
        ("2.5.4.10", "GOV"),
        ("2.5.4.3", "70000001"),
    ]
    .map(|(oid, value)| (oid.to_owned(), value.to_owned()));
    let member = declared
        .profile_of("DEV", &ca)
        .unwrap()
        .member(&subject, "DEV")
        .unwrap();
    assert_eq!(member.to_string(), "MEMBER:KG/GOV/70000001");
    let other = read(text.clone()).unwrap().with_profiles(&profiles);
    assert_eq!(other.profile_of("DEV", &ca), Ok(Profile::FiVrk));

    let without_ca = read(text.replacen("<topCA><cert>MII", "<topCA><cert>MIA", 1)).unwrap();
    assert_eq!(
        without_ca.warnings().len(),
        1,
        "{:?}",
        without_ca.warnings()
    );
    assert!(without_ca.authorities("DEV").unwrap().all().is_empty());

    assert!(matches!(
        Snapshot::from_parts("XX", vec![InstanceParts::new("DEV", 6, text.clone())]),
        Err(SnapshotError::OwnInstanceMissing { .. })
    ));
    assert!(matches!(
        Snapshot::from_parts("XX", vec![InstanceParts::new("XX", 6, text.clone())]),
        Err(SnapshotError::OtherInstance { .. })
    ));
    for (from, to) in [
        ("<owner>id1111</owner>", "<owner>nobody</owner>"),
        ("<owner>id1111</owner>", "<owner>id1111s</owner>"),
        ("<client>id1111s</client>", "<client>dangling</client>"),
        ("<member id=\"id2222\">", "<member id=\"id1111\">"),
        ("<memberCode>1111</memberCode>", "<memberCode></memberCode>"),
        ("<serverCode>ss1</serverCode>", ""),
        (
            "<serverCode>ss1</serverCode>",
            "<serverCode>ss1</serverCode><surprise/>",
        ),
        ("<source><address>127.0.0.1</address></source>", ""),
        (
            "<ocspFreshnessSeconds>3600",
            "<ocspFreshnessSeconds>an hour",
        ),
        ("<ns4:conf ", "<!DOCTYPE x [<!ENTITY a 'b'>]><ns4:conf "),
        ("</ns4:conf>", ""),
        ("http://x-road.eu/xsd/xroad.xsd", "http://example.org/other"),
    ] {
        assert!(text.contains(from), "{from}");
        let changed = text.replacen(from, to, 1);
        assert!(
            matches!(read(changed), Err(SnapshotError::Part { .. })),
            "{from} -> {to}"
        );
    }
    assert!(read(text.replace("</ns4:conf>", "<anything xmlns='urn:x'/></ns4:conf>")).is_ok());
}

#[test]
fn deep_and_wide_documents_do_no_harm() {
    let head = "<a:conf xmlns:a=\"http://x-road.eu/xsd/xroad.xsd\">";
    let deep = "<b>".repeat(300_000);
    let wide = format!(
        "<b {}/>",
        (0..100_000)
            .map(|at| format!("c{at}='' "))
            .collect::<String>()
    );
    let prefixes = format!(
        "<b {}/>",
        (0..100_000)
            .map(|at| format!("xmlns:c{at}='urn:{at}' "))
            .collect::<String>()
    );
    for body in [deep, wide, prefixes] {
        let document = format!("{head}{body}</a:conf>");
        assert!(part::parse_shared(document.as_bytes(), 6).is_err());
    }
}

/// Tells which thread let go of it.
struct Told {
    bytes: Vec<u8>,
    by: std::sync::mpsc::Sender<std::thread::ThreadId>,
}

impl AsRef<[u8]> for Told {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.by.send(std::thread::current().id()).unwrap();
    }
}

#[test]
fn a_large_configuration_is_let_go_where_nobody_waits() {
    let dropped_by = |members: usize| {
        let mut shared = SharedParameters::new("KG");
        shared.sources.push(crate::model::SourceAddress {
            address: "registry.example.kg".to_owned(),
            internal_certificates: Vec::new(),
            external_certificates: Vec::new(),
        });
        shared.members = (0..members)
            .map(|number| crate::model::Member {
                id: MemberId::new("KG", "GOV", &number.to_string()).unwrap(),
                class_description: String::new(),
                name: String::new(),
                subsystems: Vec::new(),
            })
            .collect();
        let bytes = part::render_shared(&shared, 6).unwrap().into_bytes();
        let (by, told) = std::sync::mpsc::channel();
        let bytes = Bytes::from_owner(Told { bytes, by });
        let parts = vec![InstanceParts::new("KG", 6, bytes)];
        let snapshot = Snapshot::from_parts("KG", parts).unwrap();
        let held = snapshot.clone();
        drop(snapshot);
        assert!(told.try_recv().is_err(), "it is still held");
        drop(held);
        told.recv_timeout(Duration::from_secs(60)).unwrap()
    };
    let here = std::thread::current().id();
    assert_ne!(dropped_by(SMALL + 1), here);
    assert_eq!(dropped_by(SMALL), here, "a small one is not worth a thread");
}

#[test]
fn clients_of_the_same_servers_share_their_list_of_addresses() {
    let member = |number: usize| MemberId::new("KG", "GOV", &number.to_string()).unwrap();
    let server = |code: &str, clients: &[usize]| crate::model::SecurityServer {
        id: ServerId::new(member(0), code).unwrap(),
        address: Some(format!("{code}.example.kg")),
        auth_certificate_hashes: Vec::new(),
        clients: clients.iter().map(|at| member(*at).into()).collect(),
        maintenance: None,
    };
    let mut shared = SharedParameters::new("KG");
    shared.sources.push(crate::model::SourceAddress {
        address: "registry.example.kg".to_owned(),
        internal_certificates: Vec::new(),
        external_certificates: Vec::new(),
    });
    shared.members = (0..6)
        .map(|number| crate::model::Member {
            id: member(number),
            class_description: String::new(),
            name: format!("number {number}"),
            subsystems: Vec::new(),
        })
        .collect();
    shared.servers = vec![
        server("a", &[1, 2, 3, 4]),
        server("b", &[2, 3]),
        server("c", &[2, 3, 4]),
    ];
    let bytes = part::render_shared(&shared, 6).unwrap();
    let snapshot = Snapshot::from_parts("KG", vec![InstanceParts::new("KG", 6, bytes)]).unwrap();
    let list = |number: usize| snapshot.servers_of(&member(number).into());
    let codes = |number: usize| -> String {
        let codes = list(number).iter().map(|it| it.server.code());
        codes.collect()
    };
    // The owner of all three is a client of each without being listed.
    assert_eq!(
        (0..6).map(codes).collect::<Vec<_>>(),
        ["abc", "a", "abc", "abc", "ac", ""]
    );
    assert_eq!(list(2).as_ptr(), list(3).as_ptr());
    assert_eq!(list(0).as_ptr(), list(2).as_ptr());
    assert_eq!(snapshot.member_name(&member(5)), Some("number 5"));
}
