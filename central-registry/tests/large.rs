//! A configuration of 10,000 members is understood and indexed; `cargo run --release -p jibek-registry --example large` prints
//! time and memory.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/large.rs"]
mod large;

use jibek_conf::{
    Snapshot,
    part::{render_private, render_shared},
    snapshot::InstanceParts,
};
use jibek_protocol::id::{ClientId, GlobalGroupId};
use large::{SUBSYSTEMS, auth_hash, member, private, shared, subsystem};

#[test]
fn a_configuration_of_10_000_members_is_indexed_whole() {
    let (members, servers) = (10_000, 2_000);
    let described = shared(members, servers);
    let xml = render_shared(&described, 6).unwrap();
    let mut parts = InstanceParts::new("KG", 6, xml);
    parts.private = Some(render_private(&private()).into());
    let snapshot = Snapshot::from_parts("KG", vec![parts]).unwrap();
    let read = snapshot.shared("KG").unwrap();
    assert_eq!(*read, described);
    assert_eq!(
        (read.members.len(), snapshot.servers().count()),
        (members, servers)
    );
    let group = GlobalGroupId::new("KG", "all").unwrap();
    for number in 0..members {
        let owner = ClientId::from(member(number));
        assert!(snapshot.knows_client(&owner) && snapshot.in_global_group(&group, &owner));
        for which in 0..SUBSYSTEMS {
            let [server] = snapshot.servers_of(&subsystem(number, which)) else {
                panic!("{number}")
            };
            assert_eq!(server.address, format!("ss{}.example.kg", number / 5));
        }
    }
    for number in 0..servers {
        let hash: [u8; 32] = auth_hash(number).as_ref().try_into().unwrap();
        let server = snapshot.server_by_auth_cert(&hash).unwrap();
        assert_eq!(server.clients().len(), 5 * SUBSYSTEMS);
        assert!(
            server.serves(&ClientId::from(member(number * 5))),
            "the owner"
        );
    }
}
