//! `jibek-evidence`: signatures, chains, containers, archives.

use bytes::Bytes;
use jibek_certs::{
    digest::{Digest, DigestAlgorithm, digest},
    trust::Trust,
};
use jibek_conf::{ConfDir, Snapshot};
use jibek_evidence::{
    archive::{Archive, ArchiveLimits, join, kind},
    c14n::{Canonicalization, canonical_document},
    container::{Container, ContainerLimits},
    hash_chain::{self, Input},
    open::{self, SignedParts},
    verify::{Exhibits, covered, signed_form, stamp_time, verify_container},
};
use jibek_protocol::id::ClientId;
use std::{io::Cursor, sync::OnceLock};
use time::macros::datetime;

use crate::seeds;

/// The configuration by which the fixtures' containers are valid; `None` without fixtures.
fn trust() -> Option<&'static Snapshot> {
    static TRUST: OnceLock<Option<Snapshot>> = OnceLock::new();
    TRUST
        .get_or_init(|| {
            let folder = seeds::root()?.join("globalconf/globalconf_good2_v3");
            ConfDir::new(folder).read().ok()
        })
        .as_ref()
}

pub fn archive(data: &[u8]) {
    let _ = kind(Cursor::new(data));
    if let Ok(archive) = Archive::open(Cursor::new(data), &ArchiveLimits::default())
        && let Ok(archive) = archive.finish()
    {
        let twice = [("a".to_owned(), archive.clone()), ("b".to_owned(), archive)];
        assert_eq!(join(&twice).chains().len(), 1);
    }
}

pub fn archive_seeds() -> Vec<Vec<u8>> {
    seeds::files("archives", &["0.zip"])
}

pub fn c14n(data: &[u8]) {
    for form in [
        Canonicalization::Inclusive,
        Canonicalization::Exclusive {
            inclusive_prefixes: Vec::new(),
        },
    ] {
        if let Ok(once) = canonical_document(data, &form) {
            let twice = canonical_document(&once, &form).expect("a canonical document is one");
            assert_eq!(once, twice);
        }
    }
}

pub fn container(data: &[u8]) {
    let Ok(container) = Container::read(data, &ContainerLimits::default()) else {
        return;
    };
    judge(&container);
}

fn judge(container: &Container) {
    if let Some(trust) = trust() {
        let _ = verify_container(container, trust);
    }
    let _ = (covered(container).len(), stamp_time(container));
    let _ = Exhibits::of(container);
}

pub fn container_seeds() -> Vec<Vec<u8>> {
    seeds::containers()
}

/// First the result, then the chain, parted by a zero byte.
pub fn hash_chain(data: &[u8]) {
    let place = data
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(data.len());
    let (result, chain) = data.split_at(place);
    let chain = chain.get(1..).unwrap_or_default();
    let inputs = |name: &str| match name {
        "/message.xml" => Input::Data(b"message"),
        "/attachment1" => Input::OnTrust,
        _ => Input::Unknown,
    };
    let required = ["/message.xml".to_owned()];
    let _ = hash_chain::verify(result, "/sig-hashchain.xml", chain, &inputs, &required);
}

pub fn hash_chain_seeds() -> Vec<Vec<u8>> {
    let pair = |result: &str, chain: &str| {
        let chains = seeds::entries(chain);
        seeds::entries(result)
            .into_iter()
            .zip(chains)
            .map(|(result, chain)| [result, chain].join(&0))
            .collect::<Vec<_>>()
    };
    [
        pair("sig-hashchainresult.xml", "sig-hashchain.xml"),
        pair("ts-hashchainresult.xml", "ts-hashchain.xml"),
    ]
    .concat()
}

pub fn open(data: &[u8]) {
    let Some(trust) = trust() else { return };
    let message = digest(DigestAlgorithm::Sha512, b"message");
    let signature = Bytes::copy_from_slice(data);
    let attachments: [Digest; 0] = [];
    let parts = SignedParts {
        signature: &signature,
        hash_chain_result: None,
        hash_chain: None,
        message: &message,
        attachments: &attachments,
    };
    let signer = ClientId::new("DEV", "COM", "4321", Some("TestClient")).expect("an identifier");
    let trust: &dyn Trust = trust;
    // nobody signed "message"
    assert!(open::open(&parts, &signer, trust, datetime!(2024-12-05 08:00 UTC)).is_err());
}

pub fn signature_seeds() -> Vec<Vec<u8>> {
    seeds::entries("META-INF/signatures.xml")
}

/// A signature document in a container that is whole otherwise.
pub fn verdict(data: &[u8]) {
    let _ = signed_form(data);
    static REST: OnceLock<Vec<(String, Bytes)>> = OnceLock::new();
    let rest = REST.get_or_init(|| {
        let good = seeds::files("asic", &["valid-signed-hashchain.asice"]);
        let container = good
            .first()
            .and_then(|file| Container::read(file, &ContainerLimits::default()).ok())
            .unwrap_or_default();
        container
            .entries()
            .filter(|(name, _)| *name != "META-INF/signatures.xml")
            .map(|(name, content)| (name.to_owned(), content.clone()))
            .collect()
    });
    let document = (
        "META-INF/signatures.xml".to_owned(),
        Bytes::copy_from_slice(data),
    );
    if let Ok(container) = Container::from_entries(rest.iter().cloned().chain([document])) {
        judge(&container);
    }
}
