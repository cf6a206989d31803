//! A member, an authority that stamps, and containers of what they make, for tests.

use bytes::Bytes;
use jibek_certs::{
    digest::{DigestAlgorithm, digest},
    signer::KeyKind,
};
use std::{
    collections::BTreeMap,
    io::{Cursor, Write},
};
use time::{Duration, OffsetDateTime};

use crate::{
    container::{Container, ContainerLimits, ContainerParts, write_container},
    scene::{Scene, sha512},
    seal::{PartDigests, seal},
    testpki::Tsa,
    timestamp::batch_imprint,
    verify::{Finding, Outcome, Verdict, verify_container},
};

/// A REST request of the member.
pub(crate) const REQUEST: &str = "GET\r\n/r1/DEV/GOV/5678/land/parcels/17\r\nX-Road-Client:DEV/GOV/1234/sub\r\nX-Road-Id:one\r\nx-road-request-id:two\r\n";

/// A member, an authority that stamps, and what they make of messages.
pub(crate) struct Court {
    pub(crate) scene: Scene,
    pub(crate) tsa: Tsa,
}

impl Court {
    pub(crate) fn new() -> Self {
        let mut scene = Scene::new(KeyKind::EcP256);
        let tsa = Tsa::new();
        scene.trust.stamps = vec![tsa.certificate().clone()];
        Self { scene, tsa }
    }

    /// Messages with bodies, signed in one batch, stamped in one batch.
    pub(crate) fn contain(&self, messages: &[(&str, Option<&'static str>)]) -> Vec<ContainerParts> {
        let digests: Vec<PartDigests> = messages
            .iter()
            .map(|(message, body)| PartDigests {
                message: sha512(message.as_bytes()),
                attachments: body.iter().map(|body| sha512(body.as_bytes())).collect(),
            })
            .collect();
        let sealed = seal(&self.scene.identity, &digests, self.scene.now).unwrap();
        let plan = batch_imprint(
            &sealed
                .iter()
                .map(|sealed| sha512(&sealed.signature))
                .collect::<Vec<_>>(),
        )
        .unwrap();
        let token = self
            .tsa
            .stamp(&plan.imprint(), self.scene.now + Duration::MINUTE);
        messages
            .iter()
            .zip(sealed)
            .zip(plan.chains())
            .map(|(((message, body), sealed), chain)| ContainerParts {
                message: Bytes::copy_from_slice(message.as_bytes()),
                signature: sealed.signature,
                hash_chain_result: sealed.hash_chain_result,
                hash_chain: sealed.hash_chain,
                ts_token: Some(token.clone()),
                ts_hash_chain_result: Some(plan.imprint_data.clone()),
                ts_hash_chain: Some(chain),
                attachments: body
                    .iter()
                    .map(|body| Bytes::from_static(body.as_bytes()))
                    .collect(),
                time: self.scene.now,
            })
            .collect()
    }

    /// One message whose signature is made by hand, stamped at `time`.
    pub(crate) fn contain_signature(
        &self,
        signature: Bytes,
        time: OffsetDateTime,
        algorithm: DigestAlgorithm,
    ) -> ContainerParts {
        let plan = batch_imprint(&[sha512(&signature)]).unwrap();
        ContainerParts {
            message: Bytes::from_static(REQUEST.as_bytes()),
            signature,
            hash_chain_result: None,
            hash_chain: None,
            ts_token: Some(self.tsa.stamp(&digest(algorithm, &plan.imprint_data), time)),
            ts_hash_chain_result: Some(plan.imprint_data.clone()),
            ts_hash_chain: plan.chains().next(),
            attachments: vec![],
            time,
        }
    }

    pub(crate) fn judge(&self, parts: &ContainerParts) -> Verdict {
        let container = Container::read(
            &write_container(parts).unwrap(),
            &ContainerLimits::default(),
        )
        .unwrap();
        verify_container(&container, &self.scene.trust)
    }
}

/// A container whose entries were changed, put together anew.
pub(crate) fn rezipped(
    parts: &ContainerParts,
    change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>),
) -> Container {
    let container = Container::read(
        &write_container(parts).unwrap(),
        &ContainerLimits::default(),
    )
    .unwrap();
    let mut entries: BTreeMap<String, Vec<u8>> = container
        .entries()
        .map(|(name, content)| (name.to_owned(), content.to_vec()))
        .collect();
    change(&mut entries);
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in entries {
        writer.start_file(name, options).unwrap();
        writer.write_all(&content).unwrap();
    }
    let file = writer.finish().unwrap().into_inner();
    Container::read(&file, &ContainerLimits::default()).unwrap()
}

/// The verdict in a word.
pub(crate) fn code(verdict: &Verdict) -> &str {
    match &verdict.outcome {
        Outcome::Valid(_) => "valid",
        Outcome::Invalid { code, .. } => code,
        Outcome::CannotJudge { .. } => "cannot judge",
    }
}

/// The ids of what stands beside it.
pub(crate) fn findings(verdict: &Verdict) -> Vec<&'static str> {
    verdict.findings.iter().map(Finding::id).collect()
}
