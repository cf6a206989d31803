//! Messages that were signed together: one signature value, each message's own way to it.

use jibek_certs::digest::{Digest, digest};
use jibek_evidence::seal::{PartDigests, Sealed, SealingIdentity, seal};

use super::*;

/// A batch signed by the owner of the server, and the digests of its messages.
fn batch(scene: &Scene, messages: u8) -> Vec<(Digest, Sealed)> {
    let keys = scene.server.ring.current();
    let key = keys.sign_for(signer().member()).unwrap();
    let pki = &scene.country.pki;
    let request = jibek_certs::ocsp::request_der(key.certificate(), pki.issuing_ca());
    let answer = pki.answer_ocsp(&request, scene.country.clock.now(), Fault::None);
    let identity = SealingIdentity::new(
        key.certificate().clone(),
        Vec::new(),
        vec![answer.into()],
        key.signer(),
    )
    .unwrap();
    let messages: Vec<_> = (0..messages)
        .map(|number| digest(DigestAlgorithm::Sha512, &[number]))
        .collect();
    let parts: Vec<_> = messages
        .iter()
        .map(|message| PartDigests {
            message: *message,
            attachments: Vec::new(),
        })
        .collect();
    let sealed = seal(&identity, &parts, scene.country.clock.now()).unwrap();
    messages.into_iter().zip(sealed).collect()
}

fn signer() -> ClientId {
    ClientId::from_header("KG/GOV/1").unwrap()
}

impl Scene {
    fn open(&self, conf: &Snapshot, message: &Digest, sealed: &Sealed) -> Result<(), OpenError> {
        let parts = SignedParts {
            signature: &sealed.signature,
            hash_chain_result: sealed.hash_chain_result.as_ref(),
            hash_chain: sealed.hash_chain.as_ref(),
            message,
            attachments: &[],
        };
        let now = self.country.clock.now();
        self.certificates.open(&parts, &signer(), conf, now)
    }

    /// Signature values computed and remembered so far.
    fn values(&self) -> [u32; 2] {
        let page = self.metrics.render();
        ["computed", "remembered"].map(|result| {
            let name = format!("jibek_verifications_total{{result=\"{result}\"}} ");
            page.lines()
                .find_map(|line| line.strip_prefix(&name)?.parse().ok())
                .unwrap_or_default()
        })
    }
}

#[tokio::test]
async fn the_value_of_a_batch_is_computed_once() {
    let scene = Scene::new().await;
    let conf = scene.country.snapshot(&[&scene.server]).load_full();
    for (message, sealed) in batch(&scene, 5) {
        scene.open(&conf, &message, &sealed).unwrap();
    }
    assert_eq!(scene.values(), [1, 4]);
    // One message alone has a document of its own.
    for (message, sealed) in batch(&scene, 1) {
        scene.open(&conf, &message, &sealed).unwrap();
        scene.open(&conf, &message, &sealed).unwrap();
    }
    assert_eq!(scene.values(), [3, 4]);
}

#[tokio::test]
async fn a_known_document_covers_no_other_message() {
    let scene = Scene::new().await;
    let conf = scene.country.snapshot(&[&scene.server]).load_full();
    let known = batch(&scene, 4);
    for (message, sealed) in &known {
        scene.open(&conf, message, sealed).unwrap();
    }
    let other = batch(&scene, 3);
    let (message, sealed) = &known[0];
    // Another message in this one's place.
    let refused = scene.open(&conf, &known[1].0, sealed).unwrap_err();
    assert_eq!(refused.code(), "malformed_signature.invalid_hash_chain");
    let stranger = digest(DigestAlgorithm::Sha512, b"stranger");
    scene.open(&conf, &stranger, sealed).unwrap_err();
    // Another batch's tree, whole, under this one's signature.
    let moved = Sealed {
        signature: sealed.signature.clone(),
        ..other[0].1.clone()
    };
    let refused = scene.open(&conf, &other[0].0, &moved).unwrap_err();
    assert_eq!(refused.code(), "invalid_signature_value");
    // No chain at all.
    let bare = Sealed {
        hash_chain: None,
        hash_chain_result: None,
        ..sealed.clone()
    };
    let refused = scene.open(&conf, message, &bare).unwrap_err();
    assert_eq!(refused.code(), "invalid_signature_value");
}

#[tokio::test]
async fn a_document_is_judged_anew_when_anything_it_rests_on_ends() {
    let scene = Scene::new().await;
    let conf = scene.country.snapshot(&[&scene.server]).load_full();
    let batch = batch(&scene, 9);
    let open = |place: usize, conf: &Snapshot| {
        let (message, sealed) = &batch[place];
        scene.open(conf, message, sealed)
    };
    open(0, &conf).unwrap();
    open(1, &conf).unwrap();
    assert_eq!(scene.values(), [1, 1]);
    // Another configuration.
    let newer = scene.country.snapshot(&[&scene.server, &scene.other]);
    open(2, &newer.load_full()).unwrap();
    assert_eq!(scene.values(), [2, 1]);
    // Another signer than the document's.
    let (message, sealed) = &batch[3];
    let parts = SignedParts {
        signature: &sealed.signature,
        hash_chain_result: sealed.hash_chain_result.as_ref(),
        hash_chain: sealed.hash_chain.as_ref(),
        message,
        attachments: &[],
    };
    let other = ClientId::from_header("KG/GOV/2").unwrap();
    let now = scene.country.clock.now();
    let refused = scene.certificates.open(&parts, &other, &conf, now);
    assert_eq!(refused.unwrap_err().code(), "incorrect_certificate");
    // OCSP answers are fresh for an hour.
    scene.country.clock.advance(Duration::from_secs(3500));
    open(4, &conf).unwrap();
    assert_eq!(scene.values(), [2, 2]);
    scene.country.clock.advance(Duration::from_secs(101));
    assert!(matches!(open(5, &conf), Err(OpenError::Certificate(_))));
}

#[tokio::test]
async fn documents_are_kept_within_bounds() {
    let scene = Scene::new().await;
    let conf = scene.country.snapshot(&[&scene.server]).load_full();
    let batch = batch(&scene, 2);
    let (message, sealed) = &batch[0];
    let parts = SignedParts {
        signature: &sealed.signature,
        hash_chain_result: sealed.hash_chain_result.as_ref(),
        hash_chain: sealed.hash_chain.as_ref(),
        message,
        attachments: &[],
    };
    let now = scene.country.clock.now();
    let verified = jibek_evidence::open::open(&parts, &signer(), &*conf, now).unwrap();
    let (documents, signer) = (&scene.certificates.documents, signer());
    for number in 0..3 * u16::try_from(documents::HALF).unwrap() {
        let bytes = Bytes::from(number.to_be_bytes().to_vec());
        let question = Document {
            content: conf.content_id(),
            signer: signer.member(),
            bytes: &bytes,
        };
        documents.remember(&question, verified.clone(), now);
        assert!(documents.with(&question, now, |_| ()).is_some());
        assert!(documents.len() <= 2 * documents::HALF);
    }
}
