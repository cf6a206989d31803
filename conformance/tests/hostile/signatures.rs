//! A registered server signs what it should not, or does not sign what it should.

use std::time::Duration;

use bytes::Bytes;
use jibek_certs::{DigestAlgorithm, digest::digest};
use jibek_conformance::{
    peer::{Message, Peer},
    world::{CONSUMER, PROVIDER, World},
};
use jibek_dev_pki::Fault;
use jibek_evidence::seal::PartDigests;

use crate::{
    forge::{between, edit, resign, without_reference},
    scene::{READING, SIGNATURE, STACKS, Scene},
};

const BODY: &[u8] = b"the body that was meant";
const SIGNATURE_PART: &str = "signature/bdoc-1.0/ts";
const BLOCK: &str = "application/x-road-rest-request";
const REST_BODY: &str = "application/x-road-rest-body";
const OCSP: &str = "application/ocsp-response";

fn sha512(bytes: &[u8]) -> jibek_certs::digest::Digest {
    digest(DigestAlgorithm::Sha512, bytes)
}

/// Replaces the signature part.
fn signed(mut message: Message, change: impl FnOnce(&Bytes) -> Bytes) -> Message {
    let part = message.part_mut(SIGNATURE_PART);
    *part = change(part);
    message
}

fn changed(mut message: Message, part: &str, from: &str, to: &str) -> Message {
    let bytes = message.part_mut(part);
    *bytes = edit(bytes, from, to);
    message
}

fn without(mut message: Message, part: &str) -> Message {
    message
        .parts
        .retain(|(content_type, _)| content_type != part);
    message
}

/// Every way in which what is signed and what is sent may differ.
#[tokio::test(flavor = "multi_thread")]
async fn a_signature_covers_everything_or_nothing_happens() {
    let scene = Scene::new(World::builder()).await;
    let hand = &scene.hand;
    let now = scene.world.now();
    let only_message = |message: &Message| {
        let mut copy = message.clone();
        hand.seal(
            PartDigests {
                message: sha512(copy.part_mut(BLOCK)),
                attachments: Vec::new(),
            },
            now,
        )
    };
    let (get, post) = (scene.get(), scene.post(BODY));

    // The forger's tools make signatures that are taken: a refusal below is about what was forged.
    for tls in STACKS {
        let again = signed(scene.get(), |old| resign(hand, old, str::to_owned));
        scene.accepted("signed again", tls, &again).await;
        scene
            .accepted("as it should be", tls, &scene.post(BODY))
            .await;
    }

    let malformed = format!("{SIGNATURE}.malformed_signature");
    let value = format!("{SIGNATURE}.invalid_signature_value");
    let signer = format!("{SIGNATURE}.incorrect_certificate");
    let chain = format!("{SIGNATURE}.malformed_signature.invalid_hash_chain");
    let missing = "server.serverproxy.missing_signature".to_owned();
    let mut cases: Vec<(&str, Message, String)> = Vec::new();

    // Who signs.
    let foreign = {
        let mut message = get.clone();
        let block = sha512(message.part_mut(BLOCK));
        message.sealed(&scene.other.seal(
            PartDigests {
                message: block,
                attachments: Vec::new(),
            },
            now,
        ));
        message
    };
    cases.push(("signed by another member", foreign, signer.clone()));
    cases.push((
        "another member's key under the signer's certificate",
        signed(get.clone(), |old| resign(&scene.other, old, str::to_owned)),
        value.clone(),
    ));
    let auth = openssl::base64::encode_block(hand.auth.certificate().der());
    let own = openssl::base64::encode_block(hand.sign.certificate().der());
    cases.push((
        "a certificate that is not for signing",
        signed(get.clone(), |old| edit(old, &own, &auth)),
        malformed.clone(),
    ));

    // What is signed (weaknesses 1, 2 and 3).
    cases.push((
        "signed properties alone",
        signed(get.clone(), |old| {
            resign(hand, old, |info| without_reference(info, 0))
        }),
        malformed.clone(),
    ));
    cases.push((
        "no signed properties",
        signed(get.clone(), |old| {
            resign(hand, old, |info| without_reference(info, 1))
        }),
        malformed.clone(),
    ));
    cases.push((
        "nothing at all",
        signed(get.clone(), |old| {
            resign(hand, old, |info| {
                without_reference(&without_reference(info, 0), 1)
            })
        }),
        malformed.clone(),
    ));
    cases.push((
        "signed properties alone, with a body",
        signed(post.clone(), |old| {
            resign(hand, old, |info| without_reference(info, 0))
        }),
        malformed.clone(),
    ));
    cases.push((
        "no signed properties, with a body",
        signed(post.clone(), |old| {
            resign(hand, old, |info| without_reference(info, 1))
        }),
        malformed.clone(),
    ));
    let mut uncovered = post.clone();
    uncovered.sealed(&only_message(&post));
    cases.push(("body beside what is signed", uncovered, malformed.clone()));
    let mut uncovered = post.clone();
    let chainless = post
        .parts
        .iter()
        .filter(|(name, _)| name.contains("hash-chain"));
    let chainless: Vec<_> = chainless.cloned().collect();
    uncovered.sealed(&only_message(&post));
    let at = uncovered.parts.len() - 1;
    for part in chainless.into_iter().rev() {
        uncovered.parts.insert(at, part);
    }
    cases.push((
        "body beside what is signed, an idle hash chain with it",
        uncovered,
        malformed.clone(),
    ));
    let mut left_out = post.clone();
    let block = sha512(left_out.part_mut(BLOCK));
    left_out.sealed(&hand.seal(
        PartDigests {
            message: block,
            attachments: vec![sha512(b"another body")],
        },
        now,
    ));
    cases.push(("another body signed", left_out, chain.clone()));
    let mut two = post.clone();
    let body = sha512(BODY);
    two.sealed(&hand.seal(
        PartDigests {
            message: sha512(b"another message"),
            attachments: vec![body],
        },
        now,
    ));
    cases.push(("another message signed", two, chain.clone()));
    cases.push((
        "body signed and not sent",
        without(post.clone(), REST_BODY),
        format!("{SIGNATURE}.malformed_signature.invalid_reference"),
    ));
    let mut added = get.clone();
    added.parts.insert(
        added.parts.len() - 1,
        (REST_BODY.to_owned(), Bytes::from_static(BODY)),
    );
    cases.push(("body sent and not signed", added, malformed.clone()));

    // Changed on the way.
    cases.push((
        "changed body",
        changed(post.clone(), REST_BODY, "meant", "faked"),
        chain.clone(),
    ));
    cases.push((
        "changed line of the block",
        changed(get.clone(), BLOCK, "/hostile", "/changed"),
        value.clone(),
    ));
    cases.push((
        "changed line of a block with body",
        changed(post.clone(), BLOCK, "/hostile", "/changed"),
        chain.clone(),
    ));
    cases.push((
        "a header added to the block",
        changed(
            get.clone(),
            BLOCK,
            "x-road-client:",
            "x-a:b\r\nx-road-client:",
        ),
        value.clone(),
    ));
    cases.push((
        "changed signing time",
        signed(get.clone(), |old| {
            edit(old, "<xades:SigningTime>20", "<xades:SigningTime>19")
        }),
        value.clone(),
    ));
    cases.push((
        "changed hash chain",
        changed(
            post.clone(),
            "application/hash-chain",
            "/attachment1",
            "/attachment2",
        ),
        format!("{SIGNATURE}.malformed_signature.invalid_reference"),
    ));
    cases.push((
        "hash chain without its result",
        without(post.clone(), "application/hash-chain-result"),
        value.clone(),
    ));
    cases.push((
        "hash chain result without its chain",
        without(post.clone(), "application/hash-chain"),
        value.clone(),
    ));

    // XML that reads in two ways.
    let genuine = std::str::from_utf8(get.clone().part_mut(SIGNATURE_PART))
        .unwrap()
        .to_owned();
    let element = format!(
        "<ds:Signature{}</ds:Signature>",
        between(&genuine, "<ds:Signature", "</ds:Signature>")
    );
    let not_xml = format!("{SIGNATURE}.invalid_xml");
    let xml: [(&str, String, &str); 9] = [
        (
            "DOCTYPE",
            genuine.replacen("?>", "?><!DOCTYPE a [<!ENTITY b \"c\">]>", 1),
            &malformed,
        ),
        (
            "two signatures",
            genuine.replacen(&element, &format!("{element}{element}"), 1),
            &malformed,
        ),
        (
            "signed properties twice",
            genuine.replacen(
                "</xades:QualifyingProperties>",
                "<xades:SignedProperties Id=\"signed-properties\"></xades:SignedProperties></xades:QualifyingProperties>",
                1,
            ),
            &malformed,
        ),
        (
            "a bare signature",
            genuine[genuine.find("<ds:Signature ").unwrap()..]
                .replace("</asic:XAdESSignatures>", ""),
            &not_xml,
        ),
        (
            "the value of nothing",
            genuine.replacen(
                between(&genuine, "<ds:SignatureValue Id=\"signature-value\">", "</ds:SignatureValue>"),
                "AAAA",
                1,
            ),
            &value,
        ),
        ("empty", String::new(), &not_xml),
        ("no XML", "signature".to_owned(), &not_xml),
        (
            "deep",
            format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000))[..500_000].to_owned(),
            &malformed,
        ),
        (
            "many namespaces",
            format!(
                "<a {}></a>",
                (0..5000)
                    .map(|number| format!("xmlns:a{number}=\"b\" "))
                    .collect::<String>()
            ),
            &malformed,
        ),
    ];
    for (name, text, code) in xml {
        let message = signed(get.clone(), |_| text.into());
        cases.push((name, message, code.to_owned()));
    }
    for (name, from, to) in [
        ("MD5", "ecdsa-sha512", "ecdsa-md5"),
        ("no such algorithm", "ecdsa-sha512", "hmac-sha512"),
        (
            "a reference to a file",
            "URI=\"/message.xml\"",
            "URI=\"file:///etc/hostname\"",
        ),
        (
            "an attachment that is not there",
            "URI=\"/message.xml\"",
            "URI=\"/attachment1\"",
        ),
    ] {
        let message = signed(get.clone(), |old| {
            resign(hand, old, |info| info.replacen(from, to, 1))
        });
        cases.push((name, message, malformed.clone()));
    }
    // An algorithm that can be told is one with which the value does not fit.
    cases.push((
        "SHA-1",
        signed(get.clone(), |old| {
            resign(hand, old, |info| {
                info.replacen("ecdsa-sha512", "ecdsa-sha1", 1)
            })
        }),
        value.clone(),
    ));
    cases.push((
        "larger than any signature",
        signed(get.clone(), |_| vec![b' '; 600 * 1024].into()),
        "server.serverproxy.mime_parsing_failed".to_owned(),
    ));
    cases.push((
        "no signature",
        without(get.clone(), SIGNATURE_PART),
        missing,
    ));

    run(&scene, cases).await;
}

/// The certificates' own proofs are missing, old, about others, or say no.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_believed_without_a_good_certificate() {
    let scene = Scene::new(World::builder()).await;
    let get = scene.get();
    let peer = format!("{READING}.ssl_authentication_failed");
    let stale = format!("{SIGNATURE}.invalid_cert_path.incorrect_validation_info");
    let invalid = format!("{SIGNATURE}.invalid_cert_path.cert_validation");
    let mut cases: Vec<(String, Message, String)> = vec![(
        "no OCSP parts".to_owned(),
        without(get.clone(), OCSP),
        peer.clone(),
    )];
    let mut others = get.clone();
    for (part, other) in others
        .parts
        .iter_mut()
        .filter(|(name, _)| name == OCSP)
        .zip(&scene.other.auth_ocsp)
    {
        part.1 = other.clone();
    }
    cases.push((
        "OCSP parts of another server".to_owned(),
        others,
        peer.clone(),
    ));
    let mut many = get.clone();
    for _ in 0..10 {
        many.parts.insert(0, many.parts[0].clone());
    }
    cases.push((
        "more OCSP parts than any chain has".to_owned(),
        many,
        format!("{READING}.invalid_content_type"),
    ));
    let mut garbage = get.clone();
    garbage
        .part_mut(OCSP)
        .clone_from(&Bytes::from_static(b"0\x80garbage"));
    garbage
        .parts
        .iter_mut()
        .filter(|(name, _)| name == OCSP)
        .for_each(|part| part.1 = Bytes::from_static(b"0\x80garbage"));
    cases.push(("garbage as OCSP parts".to_owned(), garbage, peer.clone()));

    let hour = Duration::from_secs(3600);
    for (fault, code) in [
        (Fault::Stale(3 * hour), &stale),
        (Fault::Revoked, &invalid),
        (Fault::Unknown, &invalid),
        (Fault::Unsigned, &stale),
        (Fault::WrongCertificate, &invalid),
    ] {
        scene.world.running.faults().set_ocsp(fault);
        let bad = Peer::of(&scene.world, scene_server(&scene)).await;
        scene.world.running.faults().set_ocsp(Fault::None);
        let path = format!("/r1/{PROVIDER}/rest/hostile");
        let now = scene.world.now();
        let client = jibek_conformance::world::HAND_MADE;
        let all = bad.rest(client, "GET", &path, None, now);
        // The proof of the connection is judged first, then the signature's own.
        let mut in_signature = all.clone();
        let good: Vec<_> = get
            .parts
            .iter()
            .filter(|(name, _)| name == OCSP)
            .cloned()
            .collect();
        in_signature.parts.retain(|(name, _)| name != OCSP);
        in_signature.parts.splice(0..0, good);
        cases.push((format!("{fault:?}, connection"), all, peer.clone()));
        cases.push((format!("{fault:?}, signature"), in_signature, code.clone()));
    }

    // A server that is registered, but not for this client.
    let path = format!("/r1/{PROVIDER}/rest/hostile");
    let stranger = scene
        .hand
        .rest(CONSUMER, "GET", &path, None, scene.world.now());
    cases.push(("a client of another server".to_owned(), stranger, peer));
    run(&scene, cases).await;
}

fn scene_server(scene: &Scene) -> &jibek_protocol::id::ServerId {
    &scene.world.running.prepared().plan().servers[2].id
}

async fn run<N: AsRef<str>>(scene: &Scene, cases: Vec<(N, Message, String)>) {
    let cases = cases
        .into_iter()
        .map(|(name, message, code)| (name, message.to_http(), code));
    scene.run(cases.collect()).await;
}
