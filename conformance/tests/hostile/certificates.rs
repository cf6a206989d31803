//! Certificates that are over, not yet valid, or of an authority that nobody approved, in both roles and on both stacks.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    time::Duration,
};

use jibek_certs::{Certificate, KeyKind, SoftKey};
use jibek_conformance::{
    country::Timing,
    peer::{AuthIdentity, Message, Peer, SignIdentity, Tls, ocsp_answers},
    world::{HAND_MADE, PROVIDER, World, WorldBuilder},
};
use jibek_dev_pki::{DevPki, Fault, Validity};
use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    hash::MessageDigest,
    pkey::PKey,
    x509::{
        X509, X509Name,
        extension::{ExtendedKeyUsage, KeyUsage},
    },
};
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt;

use crate::{
    liar::{OWN, answer_of, call, code, http, listen, next, read_request},
    scene::{READING, SIGNATURE, STACKS, Scene},
};

const HOUR: time::Duration = time::Duration::HOUR;
const LONG: Duration = Duration::from_secs(86_400);
const SUBJECT: &[(&str, &str)] = &[
    ("C", "KG"),
    ("O", "Hand-made"),
    ("businessCategory", "GOV"),
    ("CN", "hand"),
    ("serialNumber", "3003"),
];

/// An authority that looks like the country's, and has other keys.
struct Namesake {
    pki: DevPki,
    _dir: tempfile::TempDir,
}

impl Namesake {
    fn new(now: OffsetDateTime) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = DevPki::create(dir.path(), KeyKind::EcP256, now).unwrap();
        Self { pki, _dir: dir }
    }
}

fn validity(from: OffsetDateTime, to: OffsetDateTime) -> Validity {
    Validity {
        not_before: from,
        not_after: to,
    }
}

/// Over, to come, and ending in an hour.
fn periods(now: OffsetDateTime) -> [(&'static str, Validity); 3] {
    [
        ("over", validity(now - 3 * HOUR, now - HOUR)),
        ("to come", validity(now + 2 * HOUR, now + 20 * HOUR)),
        ("an hour", validity(now - HOUR, now + HOUR)),
    ]
}

/// A certificate of an authority whose very name nobody knows; its key.
fn of_nobody(authentication: bool) -> (SoftKey, Certificate) {
    let key = SoftKey::generate(KeyKind::EcP256).unwrap();
    let pkey = PKey::private_key_from_pkcs8(&key.to_pkcs8_der()).unwrap();
    let name = |parts: &[(&str, &str)]| {
        let mut name = X509Name::builder().unwrap();
        for (kind, value) in parts {
            name.append_entry_by_text(kind, value).unwrap();
        }
        name.build()
    };
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(77).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&name(SUBJECT)).unwrap();
    builder
        .set_issuer_name(&name(&[("CN", "Nobody's Authority")]))
        .unwrap();
    builder
        .set_not_before(&Asn1Time::from_unix(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(365).unwrap())
        .unwrap();
    builder.set_pubkey(&pkey).unwrap();
    let mut usage = KeyUsage::new();
    if authentication {
        usage.digital_signature().key_encipherment();
        let purpose = ExtendedKeyUsage::new()
            .client_auth()
            .server_auth()
            .build()
            .unwrap();
        builder.append_extension(purpose).unwrap();
    } else {
        usage.non_repudiation();
    }
    builder.append_extension(usage.build().unwrap()).unwrap();
    builder.sign(&pkey, MessageDigest::sha256()).unwrap();
    let der = builder.build().to_der().unwrap();
    (key, Certificate::from_der(der).unwrap())
}

/// Periods under which nothing ends but what a test is about.
fn calm() -> WorldBuilder {
    World::builder().timing(Timing {
        validity: LONG,
        ocsp_freshness: LONG,
        acceptable_failure: LONG,
        ..Timing::default()
    })
}

/// A country in which the attacker's server has these authentication certificates registered, too, by name.
struct Odd {
    scene: Arc<Scene>,
    peers: HashMap<&'static str, Peer>,
}

impl Odd {
    async fn new(builder: WorldBuilder) -> Self {
        let (send, received) = mpsc::channel();
        let builder = builder.before(move |prepared, now| {
            let server = prepared.plan().servers[2].clone();
            let namesake = Namesake::new(now);
            let mut all: Vec<(&'static str, AuthIdentity)> = periods(now)
                .into_iter()
                .map(|(name, validity)| {
                    let issued = AuthIdentity::issued(SUBJECT, prepared.pki(), validity);
                    (name, issued.unwrap())
                })
                .collect();
            let years = Validity::from_now(now);
            let issued = AuthIdentity::issued(SUBJECT, &namesake.pki, years);
            all.push(("namesake", issued.unwrap()));
            let (key, certificate) = of_nobody(true);
            all.push(("nobody", AuthIdentity::new(certificate, Vec::new(), key)));
            for (index, (_, identity)) in all.iter().enumerate() {
                let name = format!("odd-{index}");
                prepared
                    .register(&server, &name, identity.certificate())
                    .unwrap();
            }
            send.send((all, namesake)).unwrap();
        });
        let scene = Scene::new(builder).await;
        let (all, namesake) = received.recv().unwrap();
        let pki = scene.world.running.prepared().pki();
        let now = scene.world.now();
        let mut peers = HashMap::new();
        for (name, identity) in all {
            let by = if name == "namesake" {
                &namesake.pki
            } else {
                pki
            };
            peers.insert(name, scene.hand.with_auth(identity, by, now));
        }
        Self {
            scene: Arc::new(scene),
            peers,
        }
    }
}

/// Peers whose sign certificate is odd, by name, and the code of the fault behind `signature_verification`.
fn odd_signers(scene: &Scene) -> Vec<(&'static str, Peer, &'static str)> {
    let pki = scene.world.running.prepared().pki();
    let now = scene.world.now();
    let hand = &scene.hand;
    let namesake = Namesake::new(now);
    let [over, to_come, _] = periods(now).map(|(_, validity)| validity);
    let years = Validity::from_now(now);
    let (key, certificate) = of_nobody(false);
    let mut nobody = hand.clone();
    nobody.sign = Arc::new(SignIdentity::new(certificate, Vec::new(), Arc::new(key)));
    let path = "cannot_create_cert_path";
    vec![
        ("over", hand.with_sign(pki, over, now).unwrap(), path),
        ("to come", hand.with_sign(pki, to_come, now).unwrap(), path),
        (
            "of a namesake",
            hand.with_sign(&namesake.pki, years, now).unwrap(),
            path,
        ),
        ("of nobody", nobody, "incorrect_certificate"),
    ]
}

fn request(peer: &Peer, scene: &Scene) -> Message {
    let path = format!("/r1/{PROVIDER}/rest/hostile");
    peer.rest(HAND_MADE, "GET", &path, None, scene.world.now())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_with_an_odd_certificate_is_refused() {
    let odd = Odd::new(calm()).await;
    let scene = &odd.scene;
    let refused = format!("{READING}.ssl_authentication_failed");
    let mut wrong = Vec::new();
    for tls in STACKS {
        for name in ["over", "to come", "namesake", "nobody"] {
            let peer = &odd.peers[name];
            let message = request(peer, scene).to_http();
            if let Err(why) = scene.refused_by(peer, tls, &message, &refused).await {
                wrong.push(format!("authentication, {name} ({tls:?}): {why}"));
            }
        }
        // The same kind of certificate, valid, is as good as the first one.
        let valid = &odd.peers["an hour"];
        scene.accepted_of(valid, tls, &request(valid, scene)).await;
        for (name, peer, code) in odd_signers(scene) {
            let message = request(&peer, scene).to_http();
            let code = format!("{SIGNATURE}.{code}");
            if let Err(why) = scene.refused(tls, &message, &code).await {
                wrong.push(format!("signature, {name} ({tls:?}): {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    scene.works("odd certificates").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_an_odd_certificate_is_refused() {
    answers(Tls::Modern).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_an_odd_certificate_is_refused_over_legacy_tls() {
    answers(Tls::Legacy).await;
}

/// The provider's server is the attacker.
async fn answers(tls: Tls) {
    let odd = Odd::new(calm().setting("peers", "ocsp_timeout_seconds = 2")).await;
    let scene = &odd.scene;
    let refused = format!("{OWN}.ssl_authentication_failed");
    for name in ["over", "to come", "namesake", "nobody"] {
        let before = scene.traces();
        let listening = listen(scene, &odd.peers[name], tls).await;
        let mut called = call(scene, "question");
        let answered = loop {
            tokio::select! {
                // The handshake may succeed: what is shown in it is judged before anything is sent.
                _ = listening.accept() => {}
                answered = &mut called => break answered.unwrap(),
            }
        };
        let found = code(&answered);
        assert!(found.starts_with(&refused), "{name} ({tls:?}): {found}");
        assert_eq!(scene.traces(), before, "{name} ({tls:?}): sent or recorded");
    }
    let listening = listen(scene, &scene.hand, tls).await;
    for (name, peer, wanted) in odd_signers(scene) {
        let before = scene.traces();
        let mut called = call(scene, "question");
        let mut stream = next(&listening, &mut called).await;
        let asked = read_request(&mut stream).await;
        let answer = answer_of(&peer, scene, &asked, |text| text);
        stream.write_all(&http(&answer)).await.unwrap();
        let found = code(&called.await.unwrap());
        let wanted = format!("{OWN}.signature_verification.{wanted}");
        assert_eq!(found, wanted, "{name} ({tls:?})");
        // The question is recorded, such an answer is not.
        let after = (before.0, before.1 + 1, before.2);
        assert_eq!(scene.traces(), after, "{name} ({tls:?})");
    }
    drop(listening);
    scene.works("odd certificates").await;
}

/// What was good when a connection was opened, and ends while it is open.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_end_are_refused_from_then_on() {
    let odd = Odd::new(calm()).await;
    let scene = &odd.scene;
    let pki = scene.world.running.prepared().pki();
    let now = scene.world.now();
    let [_, _, (_, hour)] = periods(now);
    let signer = scene.hand.with_sign(pki, hour, now).unwrap();
    let caller = &odd.peers["an hour"];
    let listening = listen(scene, caller, Tls::Modern).await;
    for tls in STACKS {
        for peer in [caller, &signer] {
            scene.accepted_of(peer, tls, &request(peer, scene)).await;
        }
    }
    // Our server keeps this connection to the attacker's.
    let mut called = call(scene, "question");
    let mut stream = next(&listening, &mut called).await;
    for _ in 0..2 {
        let asked = read_request(&mut stream).await;
        let answer = http(&answer_of(&signer, scene, &asked, |text| text));
        let answer = String::from_utf8(answer).unwrap();
        let answer = answer.replacen("Connection: close\r\n", "", 1);
        stream.write_all(answer.as_bytes()).await.unwrap();
        let answered = called.await.unwrap();
        assert_eq!(answered.body(), "the attacker's answer", "{answered:?}");
        called = call(scene, "question");
    }
    let asked = read_request(&mut stream).await;
    // The sign certificate ends while the answer is on its way; then the authentication certificate has ended, too.
    scene.world.clock.advance(Duration::from_secs(2 * 3600));
    let answer = answer_of(&signer, scene, &asked, |text| text);
    let answer = String::from_utf8(http(&answer)).unwrap();
    let answer = answer.replacen("Connection: close\r\n", "", 1);
    stream.write_all(answer.as_bytes()).await.unwrap();
    let found = code(&called.await.unwrap());
    let path = "signature_verification.cannot_create_cert_path";
    assert_eq!(found, format!("{OWN}.{path}"));

    let before = scene.traces();
    let mut called = call(scene, "question");
    let answered = loop {
        tokio::select! {
            _ = listening.accept() => {}
            answered = &mut called => break answered.unwrap(),
        }
    };
    let found = code(&answered);
    let refused = format!("{OWN}.ssl_authentication_failed");
    assert!(found.starts_with(&refused), "{found}");
    assert_eq!(scene.traces(), before, "sent or recorded");
    for tls in STACKS {
        let refused = format!("{READING}.ssl_authentication_failed");
        let message = request(caller, scene).to_http();
        let refusal = scene.refused_by(caller, tls, &message, &refused).await;
        assert_eq!(refusal, Ok(()), "{tls:?}");
        let message = request(&signer, scene).to_http();
        let refused = format!("{SIGNATURE}.cannot_create_cert_path");
        assert_eq!(scene.refused(tls, &message, &refused).await, Ok(()));
    }
    scene.works("certificates that ended").await;
}

/// What was found good is found bad with the first answer that says so, however often it was good before.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_counts_with_the_first_answer_that_tells() {
    let odd = Odd::new(calm()).await;
    let scene = &odd.scene;
    let pki = scene.world.running.prepared().pki();
    let now = scene.world.now();
    let caller = odd.peers["an hour"].clone();
    let signer = scene.hand.with_sign(pki, Validity::from_now(now), now);
    let signer = signer.unwrap();
    for _ in 0..3 {
        for peer in [&caller, &signer] {
            scene
                .accepted_of(peer, Tls::Modern, &request(peer, scene))
                .await;
        }
    }
    let serial = |certificate: &Certificate| certificate.serial_decimal().parse().unwrap();
    pki.revoke(serial(caller.auth.certificate()), now).unwrap();
    pki.revoke(serial(signer.sign.certificate()), now).unwrap();
    // The old answers are still fresh, and say what they said.
    scene
        .accepted_of(&caller, Tls::Modern, &request(&caller, scene))
        .await;
    let answers = |leaf: &Certificate, chain: &[Certificate]| {
        ocsp_answers(pki, leaf, chain, now, Fault::None)
    };
    let mut told = caller.clone();
    told.auth_ocsp = answers(caller.auth.certificate(), caller.auth.chain());
    let refused = format!("{READING}.ssl_authentication_failed");
    let message = request(&told, scene).to_http();
    assert_eq!(
        scene
            .refused_by(&told, Tls::Modern, &message, &refused)
            .await,
        Ok(())
    );
    let mut told = signer.clone();
    told.sign_ocsp = answers(signer.sign.certificate(), signer.sign.chain());
    let refused = format!("{SIGNATURE}.invalid_cert_path.cert_validation");
    let message = request(&told, scene).to_http();
    assert_eq!(scene.refused(Tls::Modern, &message, &refused).await, Ok(()));
    scene.works("revocations").await;
}

/// Chains end in different places on the two sides (`message-path.md` 5.3, 5.5): a provider's server takes the issuer of the
/// last certificate shown for the anchor and wants OCSP answers up to it; a consumer's server the issuer of the leaf.
#[tokio::test(flavor = "multi_thread")]
async fn chains_end_where_each_side_looks_for_their_end() {
    let scene = Arc::new(Scene::new(World::builder()).await);
    let pki = Arc::clone(scene.world.running.prepared().pki());
    let now = scene.world.now();
    let (issuing, root) = (pki.issuing_ca().clone(), pki.root_ca().clone());
    let with = |chain: Vec<Certificate>, answers: usize| {
        let auth = scene.hand.auth.showing(chain).unwrap();
        let mut peer = scene.hand.with_auth(auth, &pki, now);
        assert!(peer.auth_ocsp.len() >= answers);
        peer.auth_ocsp.truncate(answers);
        peer
    };
    let refused = format!("{READING}.ssl_authentication_failed");
    for tls in STACKS {
        for (name, chain, answers, good) in [
            ("leaf", vec![], 1, true),
            ("leaf and intermediate", vec![issuing.clone()], 2, true),
            (
                "intermediate without answer",
                vec![issuing.clone()],
                1,
                false,
            ),
            ("to the top", vec![issuing.clone(), root.clone()], 2, true),
            ("top without intermediate", vec![root.clone()], 1, false),
        ] {
            let peer = with(chain, answers);
            let message = request(&peer, &scene);
            if good {
                scene.accepted_of(&peer, tls, &message).await;
            } else {
                let message = message.to_http();
                let refusal = scene.refused_by(&peer, tls, &message, &refused).await;
                assert_eq!(refusal, Ok(()), "{name} ({tls:?})");
            }
        }
    }
    for (name, chain) in [
        ("leaf", vec![]),
        ("leaf and intermediate", vec![issuing.clone()]),
        ("to the top", vec![issuing, root.clone()]),
        ("top without intermediate", vec![root]),
    ] {
        // The leaf's answer is enough: approved authorities are not asked about.
        let peer = with(chain, 1);
        let listening = listen(&scene, &peer, Tls::Modern).await;
        let mut called = call(&scene, "question");
        let mut stream = next(&listening, &mut called).await;
        let asked = read_request(&mut stream).await;
        let answer = http(&answer_of(&peer, &scene, &asked, |text| text));
        stream.write_all(&answer).await.unwrap();
        let answered = called.await.unwrap();
        assert_eq!(answered.body(), "the attacker's answer", "{name}");
    }
    scene.works("chains").await;
}
