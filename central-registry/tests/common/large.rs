//! A country of any size, as shared and private parameters.
#![allow(dead_code, reason = "each user takes a part")]

use bytes::Bytes;
use jibek_certs::digest::{DigestAlgorithm, digest};
use jibek_conf::model::{
    GlobalGroup, ManagementService, Member, MemberClass, PrivateParameters, SecurityServer,
    SharedParameters, SourceAddress, Subsystem,
};
use jibek_protocol::id::{ClientId, MemberId, ServerId};

/// Subsystems of each member.
pub(crate) const SUBSYSTEMS: usize = 3;

pub(crate) fn member(number: usize) -> MemberId {
    MemberId::new("KG", "GOV", &format!("{number:08}")).unwrap()
}

pub(crate) fn subsystem(number: usize, which: usize) -> ClientId {
    let code = format!("system-{which}");
    ClientId::new("KG", "GOV", &format!("{number:08}"), Some(&code)).unwrap()
}

/// What stands for a server's authentication certificate.
pub(crate) fn auth_hash(server: usize) -> Bytes {
    let hash = digest(
        DigestAlgorithm::Sha256,
        format!("certificate {server}").as_bytes(),
    );
    Bytes::copy_from_slice(hash.as_bytes())
}

/// Each server is owned by one member and serves the subsystems of its neighbours.
pub(crate) fn shared(members: usize, servers: usize) -> SharedParameters {
    let mut shared = SharedParameters::new("KG");
    shared.sources.push(SourceAddress {
        address: "registry.example.kg".to_owned(),
        internal_certificates: Vec::new(),
        external_certificates: Vec::new(),
    });
    shared.member_classes.push(MemberClass {
        code: "GOV".to_owned(),
        description: "Government".to_owned(),
    });
    for number in 0..members {
        shared.members.push(Member {
            id: member(number),
            class_description: "Government".to_owned(),
            name: format!("Agency number {number}"),
            subsystems: (0..SUBSYSTEMS)
                .map(|which| Subsystem {
                    code: format!("system-{which}"),
                    name: Some(format!("System {which} of agency {number}")),
                })
                .collect(),
        });
    }
    let each = members / servers.max(1);
    for number in 0..servers {
        let first = number * each;
        shared.servers.push(SecurityServer {
            id: ServerId::new(member(first), "ss1").unwrap(),
            address: Some(format!("ss{number}.example.kg")),
            auth_certificate_hashes: vec![auth_hash(number)],
            clients: (first..first + each)
                .flat_map(|member| (0..SUBSYSTEMS).map(move |which| subsystem(member, which)))
                .collect(),
            maintenance: None,
        });
    }
    shared.groups.push(GlobalGroup {
        code: "all".to_owned(),
        description: "All".to_owned(),
        members: (0..members)
            .map(|number| ClientId::from(member(number)))
            .collect(),
    });
    shared
}

pub(crate) fn private() -> PrivateParameters {
    PrivateParameters::new(
        "KG",
        ManagementService {
            registration_url: "https://registry.example.kg:4001/managementservice/".to_owned(),
            registration_certificate: None,
            provider: ClientId::from(member(0)),
        },
    )
}
