//! What is counted: a server's daily work, with everything about it made beforehand.

use std::{hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use jibek_certs::{
    Certificate, KeyKind, SoftKey,
    digest::{Digest, DigestAlgorithm, digest},
    ocsp::request_der,
    trust::{ApprovedCa, Authorities, Trust},
    tsp::{TimestampRequest, TimestampToken},
};
use jibek_dev_pki::{DevPki, Fault, Subject};
use jibek_evidence::{
    container::Container,
    names::CONTAINER_TYPE,
    open::{SignedParts, open},
    seal::{PartDigests, Sealed, SealingIdentity, seal},
    timestamp::batch_imprint,
    verify::{Memory, Outcome, verify_container_with},
};
use jibek_msglog::{
    Direction, Kind, LogConfig, MessageLog, RecordHead, RecordParts, Side, fs::OsFs,
};
use jibek_protocol::id::{ClientId, ServiceId};
use time::{OffsetDateTime, macros::datetime};

/// Messages of one batch.
const BATCH: usize = 16;
const BATCHES: usize = 8;
pub(crate) const SEALED: u64 = 128;
pub(crate) const OPENED: u64 = 128;
pub(crate) const VERIFIED: u64 = 128;
pub(crate) const APPENDED: u64 = 128;
const NOW: OffsetDateTime = datetime!(2026-11-23 03:15 UTC);
const INSTANCE: &str = "DEV";
const PROFILE: &str = "FiVRKCertificateProfileInfoProvider";

/// Does each work once to warm up, and once to be counted.
pub(crate) fn all() {
    let scene = Scene::new();
    scene.seal();
    counted_seal(&scene);
    ended_seal();
    let sealed = scene.seal();
    scene.open(&sealed[..1]);
    counted_open(&scene, &sealed);
    ended_open();
    let containers = scene.contain(&sealed);
    let memory = Memory::default();
    scene.verify(&containers[..BATCH], &memory);
    counted_verify(&scene, &containers, &memory);
    ended_verify();
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (log, _) = MessageLog::open(LogConfig::new(folder.path()), OsFs::shared()).unwrap();
    let records: Vec<RecordParts> = sealed.iter().flatten().map(parts).collect();
    let head = scene.head();
    runtime.block_on(append(&log, &head, &records[..BATCH]));
    counted_append(&runtime, &log, &head, &records);
    ended_append();
    runtime.block_on(log.close());
}

#[inline(never)]
fn counted_seal(scene: &Scene) {
    black_box(scene.seal());
}

#[inline(never)]
fn counted_open(scene: &Scene, sealed: &[Vec<Sealed>]) {
    scene.open(sealed);
}

#[inline(never)]
fn counted_verify(scene: &Scene, containers: &[Container], memory: &Memory) {
    scene.verify(containers, memory);
}

#[inline(never)]
fn counted_append(
    runtime: &tokio::runtime::Runtime,
    log: &MessageLog,
    head: &RecordHead,
    records: &[RecordParts],
) {
    runtime.block_on(append(log, head, records));
}

// Functions whose begin tells callgrind that the work before is done.

#[inline(never)]
fn ended_seal() {
    black_box("seal");
}

#[inline(never)]
fn ended_open() {
    black_box("open");
}

#[inline(never)]
fn ended_verify() {
    black_box("verify");
}

#[inline(never)]
fn ended_append() {
    black_box("append");
}

/// A member that signs, an authority that stamps, and who trusts them.
struct Scene {
    /// The authority's files.
    _folder: tempfile::TempDir,
    pki: DevPki,
    identity: SealingIdentity,
    trust: Known,
    sender: ClientId,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = DevPki::create(folder.path(), KeyKind::EcP256, NOW).unwrap();
        let key = SoftKey::generate(KeyKind::EcP256).unwrap();
        let subject = Subject::fivrk_sign(INSTANCE, "server", "GOV", "Agency", "1234");
        let request = key.csr_der(&subject.attributes()).unwrap();
        let certificate = pki.issue_sign(&request, None, NOW).unwrap();
        let ocsp = pki.answer_ocsp(
            &request_der(&certificate, pki.issuing_ca()),
            NOW,
            Fault::None,
        );
        let identity =
            SealingIdentity::new(certificate, vec![], vec![ocsp.into()], Arc::new(key)).unwrap();
        let mut approved = ApprovedCa::new(pki.issuing_ca().clone(), true, PROFILE);
        approved.ocsp_responders = vec![pki.ocsp_certificate().clone()];
        let trust = Known {
            authorities: Authorities::new(vec![approved]),
            stamps: vec![pki.tsa_certificate().clone()],
        };
        Self {
            _folder: folder,
            pki,
            identity,
            trust,
            sender: ClientId::new(INSTANCE, "GOV", "1234", Some("sub")).unwrap(),
        }
    }

    fn seal(&self) -> Vec<Vec<Sealed>> {
        let batch = vec![
            PartDigests {
                message: sha512(MESSAGE.as_bytes()),
                attachments: vec![sha512(BODY)],
            };
            BATCH
        ];
        (0..BATCHES)
            .map(|_| seal(&self.identity, &batch, NOW).unwrap())
            .collect()
    }

    fn open(&self, sealed: &[Vec<Sealed>]) {
        for sealed in sealed.iter().flatten() {
            let parts = SignedParts {
                signature: &sealed.signature,
                hash_chain_result: sealed.hash_chain_result.as_ref(),
                hash_chain: sealed.hash_chain.as_ref(),
                message: &sha512(MESSAGE.as_bytes()),
                attachments: &[sha512(BODY)],
            };
            black_box(open(&parts, &self.sender, &self.trust, NOW).unwrap());
        }
    }

    /// The containers of all, stamped together.
    fn contain(&self, sealed: &[Vec<Sealed>]) -> Vec<Container> {
        let documents: Vec<Digest> = sealed
            .iter()
            .flatten()
            .map(|sealed| sha512(&sealed.signature))
            .collect();
        let plan = batch_imprint(&documents).unwrap();
        let request = TimestampRequest::new(&plan.imprint(), None);
        let answer = self.pki.answer_tsa(&request.der(), NOW, Fault::None);
        let token = TimestampToken::from_response(&answer, &request).unwrap();
        let all = sealed.iter().flatten().zip(plan.chains());
        all.map(|(sealed, chain)| {
            let entries = [
                ("mimetype", Bytes::from_static(CONTAINER_TYPE.as_bytes())),
                ("message.xml", Bytes::from_static(MESSAGE.as_bytes())),
                ("attachment1", Bytes::from_static(BODY)),
                ("META-INF/signatures.xml", sealed.signature.clone()),
                (
                    "sig-hashchainresult.xml",
                    sealed.hash_chain_result.clone().unwrap(),
                ),
                ("sig-hashchain.xml", sealed.hash_chain.clone().unwrap()),
                ("ts-hashchainresult.xml", plan.imprint_data.clone()),
                ("ts-hashchain.xml", chain.clone()),
                ("META-INF/timestamp.tst", token.der().clone()),
            ];
            let entries = entries.map(|(name, bytes)| (name.to_owned(), bytes));
            Container::from_entries(entries).unwrap()
        })
        .collect()
    }

    fn verify(&self, containers: &[Container], memory: &Memory) {
        for container in containers {
            let verdict = verify_container_with(container, &self.trust, memory);
            assert!(
                matches!(verdict.outcome, Outcome::Valid(_)) && verdict.findings.is_empty(),
                "{verdict:?}"
            );
        }
    }

    fn head(&self) -> RecordHead {
        let provider = ClientId::new(INSTANCE, "GOV", "5678", Some("land")).unwrap();
        RecordHead {
            time_ms: 1_700_000_000_000,
            side: Side::Consumer,
            direction: Direction::Request,
            kind: Kind::Rest,
            message_id: "one".to_owned(),
            request_id: "two".to_owned(),
            client: self.sender.clone(),
            service: ServiceId::new(provider, "parcels", None).unwrap(),
            local_party: self.sender.clone(),
            status: None,
        }
    }
}

fn parts(sealed: &Sealed) -> RecordParts {
    RecordParts {
        message: Bytes::from_static(MESSAGE.as_bytes()),
        message_sha512: fixed(&sha512(MESSAGE.as_bytes())),
        signature: sealed.signature.clone(),
        hash_chain_result: sealed.hash_chain_result.clone(),
        hash_chain: sealed.hash_chain.clone(),
    }
}

async fn append(log: &MessageLog, head: &RecordHead, records: &[RecordParts]) {
    let body = Bytes::from_static(BODY);
    let sha512 = fixed(&sha512(BODY));
    for parts in records {
        let mut draft = log.begin();
        draft.append_body(1, body.clone()).await.unwrap();
        draft.finish_body(1, sha512).unwrap();
        black_box(draft.commit(head.clone(), parts.clone()).await.unwrap());
    }
}

fn sha512(bytes: &[u8]) -> Digest {
    digest(DigestAlgorithm::Sha512, bytes)
}

fn fixed(digest: &Digest) -> [u8; 64] {
    digest.as_bytes().try_into().unwrap()
}

/// A configuration of one instance.
struct Known {
    authorities: Authorities,
    stamps: Vec<Certificate>,
}

impl Trust for Known {
    fn own_instance(&self) -> &str {
        INSTANCE
    }

    fn authorities(&self, instance: &str) -> Option<&Authorities> {
        (instance == INSTANCE).then_some(&self.authorities)
    }

    fn all_authorities(&self) -> Vec<&Authorities> {
        vec![&self.authorities]
    }

    fn timestamp_certificates(&self) -> &[Certificate] {
        &self.stamps
    }

    fn ocsp_freshness(&self) -> Duration {
        Duration::from_secs(3600)
    }

    fn verify_next_update(&self) -> bool {
        true
    }
}

const MESSAGE: &str = "GET\r\n/r1/DEV/GOV/5678/land/parcels/17\r\nX-Road-Client:DEV/GOV/1234/sub\r\nX-Road-Id:one\r\nx-road-request-id:two\r\n";
const BODY: &[u8] = &[b'x'; 1024];
