use super::*;
use crate::{
    model::{
        GlobalGroup, Maintenance, Member, MemberClass, SourceAddress, Subsystem,
        TimestampingService,
    },
    part::render_shared,
    snapshot::InstanceParts,
};
use jibek_protocol::id::{ClientId, MemberId, ServerId};

fn base() -> SharedParameters {
    let id = MemberId::new("KG", "GOV", "1").unwrap();
    let mut shared = SharedParameters::new("KG");
    shared.sources.push(SourceAddress {
        address: "a.example.kg".to_owned(),
        internal_certificates: vec![Bytes::from_static(b"one")],
        external_certificates: Vec::new(),
    });
    shared.member_classes.push(MemberClass {
        code: "GOV".to_owned(),
        description: "Government".to_owned(),
    });
    shared.members.push(Member {
        id: id.clone(),
        class_description: "Government".to_owned(),
        name: "Tunduk".to_owned(),
        subsystems: vec![Subsystem {
            code: "a".to_owned(),
            name: None,
        }],
    });
    shared.servers.push(SecurityServer {
        id: ServerId::new(id.clone(), "ss1").unwrap(),
        address: Some("192.0.2.1".to_owned()),
        auth_certificate_hashes: vec![Bytes::from_static(&[0xab; 32])],
        clients: vec![ClientId::new("KG", "GOV", "1", Some("a")).unwrap()],
        maintenance: None,
    });
    shared.groups.push(GlobalGroup {
        code: "courts".to_owned(),
        description: "Courts".to_owned(),
        members: vec![ClientId::from(id)],
    });
    shared.timestamping_services.push(TimestampingService {
        name: "TSA".to_owned(),
        url: "http://tsa".to_owned(),
        certificate: Bytes::from_static(b"0tsa"),
        cost: None,
    });
    shared
}

fn snapshot(shared: &SharedParameters) -> Snapshot {
    let xml = render_shared(shared, 6).unwrap();
    Snapshot::from_parts("KG", vec![InstanceParts::new("KG", 6, xml)]).unwrap()
}

fn words(change: impl Fn(&mut SharedParameters)) -> Vec<String> {
    let (before, mut after) = (base(), base());
    change(&mut after);
    let changes = diff(&snapshot(&before), &snapshot(&after));
    changes.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_changed_is_nothing_said() {
    assert!(words(|_| {}).is_empty());
}

/// A change, and the lines that tell it.
type Case<'a> = (&'a dyn Fn(&mut SharedParameters), Vec<String>);

#[test]
fn each_change_is_one_line() {
    let server = "KG: server SERVER:KG/GOV/1/ss1";
    let cases: [Case<'_>; 9] = [
        (
            &|shared| shared.servers[0].address = Some("192.0.2.9".to_owned()),
            vec![format!(
                "{server}: address changed from \"192.0.2.1\" to \"192.0.2.9\""
            )],
        ),
        (
            &|shared| shared.servers[0].auth_certificate_hashes.clear(),
            vec![format!(
                "{server}: authentication certificate {} removed",
                "ab".repeat(32)
            )],
        ),
        (
            &|shared| shared.servers[0].maintenance = Some(Maintenance::default()),
            vec![format!(
                "{server}: maintenance changed from nothing to \"on\""
            )],
        ),
        (
            &|shared| shared.servers.clear(),
            vec![format!("{server} removed")],
        ),
        (
            &|shared| {
                shared.members[0].name = "Түндүк".to_owned();
                shared.members[0].subsystems.push(Subsystem {
                    code: "b".to_owned(),
                    name: Some("B".to_owned()),
                });
            },
            vec![
                "KG: member MEMBER:KG/GOV/1: name changed from \"Tunduk\" to \"Түндүк\"".to_owned(),
                "KG: subsystem SUBSYSTEM:KG/GOV/1/b added".to_owned(),
            ],
        ),
        (
            &|shared| shared.groups[0].members.clear(),
            vec!["KG: global group courts: member MEMBER:KG/GOV/1 removed".to_owned()],
        ),
        (
            &|shared| shared.timestamping_services[0].url = "http://other".to_owned(),
            vec![
                "KG: time-stamping service http://other added".to_owned(),
                "KG: time-stamping service http://tsa removed".to_owned(),
            ],
        ),
        (
            &|shared| shared.ocsp_freshness = std::time::Duration::from_secs(60),
            vec![
                "KG: settings of all: OCSP freshness changed from \"3600 s\" to \"60 s\""
                    .to_owned(),
            ],
        ),
        (
            &|shared| {
                let keys = &mut shared.sources[0].internal_certificates;
                keys.push(Bytes::from_static(b"two"));
            },
            vec![format!(
                "KG: source a.example.kg: internal key {} added",
                hash(&Bytes::from_static(b"two"))
            )],
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(words(change), expected);
    }
}

#[test]
fn certificates_are_named_by_subject_and_digest() {
    let Some(root) = crate::testing::fixtures("certificates_are_named_by_subject_and_digest")
    else {
        return;
    };
    let read = |name: &str| {
        crate::ConfDir::new(root.join("globalconf").join(name))
            .read()
            .unwrap()
    };
    let good = read("globalconf_good_v6");
    assert!(diff(&good, &good).is_empty());
    let lines: Vec<String> = diff(&read("globalconf_good_v5"), &good)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        lines.contains(&"quux_v5: instance quux_v5 added".to_owned()),
        "{lines:#?}"
    );
    let lines: Vec<String> = diff(&read("globalconf_good2_v3"), &read("globalconf_cs"))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        lines,
        ["CS: instance CS added", "DEV: instance DEV removed"]
    );
}
