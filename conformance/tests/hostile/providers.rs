//! The provider's server is the attacker: registered, with a good certificate, and answering what it likes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jibek_certs::{DigestAlgorithm, digest::digest};
use jibek_conformance::{
    peer::{Peer, Tls},
    world::{World, WorldBuilder},
};
use jibek_evidence::seal::PartDigests;
use jibek_protocol::fault::Fault;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{forge::edit, liar::*, scene::Scene};

async fn world(builder: WorldBuilder) -> Arc<Scene> {
    Arc::new(Scene::new(builder).await)
}

type Forged = Box<dyn Fn(&Scene, &Asked) -> Vec<u8> + Send + Sync>;

fn forged(make: impl Fn(&Scene, &Asked) -> Vec<u8> + Send + Sync + 'static) -> Forged {
    Box::new(make)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_whole_signed_answer_to_the_request_is_told() {
    forgeries(Tls::Modern).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_whole_signed_answer_is_told_over_legacy_tls() {
    forgeries(Tls::Legacy).await;
}

/// An answer that is another one's, not signed, half, or none: the consumer gets a fault, and no such answer is recorded.
///
/// Each stack in a country of its own: what a server has learnt about a peer's TLS it does not forget for a weaker one.
async fn forgeries(tls: Tls) {
    let scene = world(World::builder().setting("peers", "answer_timeout_seconds = 2")).await;
    let fault = "server.serverproxy.service_failed.of_its_own";
    let signature = format!("{OWN}.signature_verification");
    let inconsistent = format!("{OWN}.inconsistent_response");
    let missing = format!("{OWN}.missing_signature");
    let wrong_type = format!("{OWN}.service_failed.invalid_content_type");
    let broken = format!("{OWN}.io_error");
    let mut cases: Vec<(String, String, Forged)> = Vec::new();
    let mut case = |name: &str, code: &str, make: Forged| {
        cases.push((name.to_owned(), code.to_owned(), make));
    };
    let same = |text: String| text;

    // Signatures.
    case(
        "no signature",
        &missing,
        forged(move |scene, asked| {
            let mut message = answer(scene, asked, same);
            message.parts.retain(|(name, _)| name != SIGNATURE_PART);
            http(&message)
        }),
    );
    case(
        "another member's signature",
        &format!("{signature}.incorrect_certificate"),
        forged(move |scene, asked| {
            let mut message = answer(scene, asked, same);
            let sha512 = |bytes: &[u8]| digest(DigestAlgorithm::Sha512, bytes);
            let digests = PartDigests {
                message: sha512(&message.part_mut(BLOCK).clone()),
                attachments: vec![sha512(&message.part_mut(REST_BODY).clone())],
            };
            message.sealed(&scene.other.seal(digests, scene.world.now()));
            http(&message)
        }),
    );
    case(
        "body uncovered",
        &format!("{signature}.malformed_signature"),
        forged(move |scene, asked| {
            let mut message = answer(scene, asked, same);
            let digests = PartDigests {
                message: digest(DigestAlgorithm::Sha512, &message.part_mut(BLOCK).clone()),
                attachments: Vec::new(),
            };
            message.sealed(&scene.hand.seal(digests, scene.world.now()));
            http(&message)
        }),
    );
    case(
        "changed body",
        &format!("{signature}.malformed_signature.invalid_hash_chain"),
        forged(move |scene, asked| {
            let mut message = answer(scene, asked, same);
            let part = message.part_mut(REST_BODY);
            *part = edit(part, "attacker", "attackee");
            http(&message)
        }),
    );
    case(
        "changed status",
        &format!("{signature}.malformed_signature.invalid_hash_chain"),
        forged(move |scene, asked| {
            let mut message = answer(scene, asked, same);
            let part = message.part_mut(BLOCK);
            *part = edit(part, "200", "201");
            http(&message)
        }),
    );

    // The answer to something else, signed well.
    for (name, from, to) in [
        ("another message id", "x-road-id:", "x-road-id:x"),
        (
            "another client",
            "x-road-client:TEST/GOV/1001/consumer",
            "x-road-client:TEST/GOV/1001/stranger",
        ),
        ("another service", "/service/any", "/service/other"),
        (
            "another request id",
            "x-road-request-id:",
            "x-road-request-id:x",
        ),
        (
            "another request hash",
            "x-road-request-hash:",
            "x-road-request-hash:x",
        ),
        ("no request id", "x-road-request-id:", "x-not:"),
    ] {
        case(
            name,
            &inconsistent,
            forged(move |scene, asked| {
                http(&answer(scene, asked, |text| {
                    assert!(text.contains(from), "{text}");
                    text.replacen(from, to, 1)
                }))
            }),
        );
    }

    // Blocks that are none, and what would be another answer to the consumer's HTTP.
    for (name, from, to) in [
        ("no message id", "x-road-id:", "x-not:"),
        (
            "a length of its own",
            "content-type:text/plain",
            "Content-Length:3",
        ),
        (
            "a transfer coding of its own",
            "content-type:text/plain",
            "Transfer-Encoding:chunked",
        ),
        ("a status that is none", "200", "20000"),
        ("a status of one hop", "200", "099"),
        ("a header without name", "content-type:", ":"),
        ("an empty line", "content-type:text/plain", "\r\n\r\n"),
    ] {
        case(
            name,
            &format!("{OWN}.service_failed.internal_error"),
            forged(move |scene, asked| {
                http(&answer(scene, asked, |text| text.replacen(from, to, 1)))
            }),
        );
    }

    // Half an answer.
    case(
        "no closing boundary",
        &missing,
        forged(move |scene, asked| {
            let mut message = answer(scene, asked, same);
            message.closed = false;
            http(&message)
        }),
    );
    for keep in 0..4_usize {
        let wanted = match keep {
            0 | 1 => format!("{OWN}.service_failed.mime_parsing_failed"),
            _ => missing.clone(),
        };
        case(
            &format!("{keep} parts"),
            &wanted,
            forged(move |scene, asked| {
                let mut message = answer(scene, asked, same);
                message.parts.truncate(keep);
                message.closed = false;
                http(&message)
            }),
        );
        let wanted = match keep {
            0 | 1 => format!("{OWN}.service_failed.io_error"),
            _ => broken.clone(),
        };
        case(
            &format!("{keep} parts, then the connection ends"),
            &wanted,
            forged(move |scene, asked| {
                let mut message = answer(scene, asked, same);
                let whole = message.body().len();
                message.parts.truncate(keep);
                message.closed = false;
                let mut all = head(&message, whole).into_bytes();
                all.extend(message.body());
                all
            }),
        );
    }
    case(
        "a part after the signature",
        &wrong_type,
        forged(move |scene, asked| {
            let mut message = answer(scene, asked, same);
            message
                .parts
                .push((REST_BODY.to_owned(), Bytes::from_static(b"more")));
            http(&message)
        }),
    );
    case(
        "SHA-256",
        &format!("{OWN}.internal_error"),
        forged(move |scene, asked| {
            let mut message = answer(scene, asked, same);
            "SHA-256".clone_into(&mut message.headers[0].1);
            http(&message)
        }),
    );

    // Something else.
    let own_fault = Fault::new(fault, "of its own", "detail").to_soap();
    let document = String::from_utf8(own_fault.to_vec()).unwrap();
    let text = document.clone();
    case(
        "a bare fault",
        fault,
        forged(move |_, _| plain("200 OK", "text/xml;charset=utf-8", &text)),
    );
    let text = document.clone();
    case(
        "a bare fault with status 500",
        fault,
        forged(move |_, _| plain("500 No", "text/xml", &text)),
    );
    let bytes = Bytes::from(document.clone());
    case(
        "a fault as the only part",
        fault,
        forged(move |scene, asked| {
            let mut message = answer(scene, asked, same);
            message.parts = vec![("text/xml".to_owned(), bytes.clone())];
            http(&message)
        }),
    );
    let bytes = Bytes::from(document.clone());
    case(
        "a fault in the place of the signature",
        fault,
        forged(move |scene, asked| {
            let mut message = answer(scene, asked, same);
            message.parts.truncate(2);
            message.parts.push(("text/xml".to_owned(), bytes.clone()));
            http(&message)
        }),
    );
    case(
        "XML that is no fault",
        &wrong_type,
        forged(|_, _| plain("200 OK", "text/xml", "<a/>")),
    );
    case(
        "XML without end",
        &wrong_type,
        forged(|_, _| plain("200 OK", "text/xml", &"<a>".repeat(20_000))),
    );
    case(
        "a web page",
        &wrong_type,
        forged(|_, _| plain("200 OK", "text/html", "<p>")),
    );
    case(
        "404",
        &format!("{OWN}.http_error"),
        forged(|_, _| plain("404 No", "text/html", "<p>")),
    );
    case(
        "302",
        &format!("{OWN}.http_error"),
        forged(|_, _| plain("302 No\r\nLocation: http://127.0.0.1/", "text/html", "<p>")),
    );
    case(
        "no HTTP",
        &broken,
        forged(|_, _| b"hello, world\r\n\r\n".to_vec()),
    );
    case("nothing", &broken, forged(|_, _| Vec::new()));
    case(
        "headers without end",
        &broken,
        forged(|_, _| [b"HTTP/1.1 200 OK\r\na: ".to_vec(), vec![b'x'; 1 << 20]].concat()),
    );

    let mut wrong = Vec::new();
    {
        let listening = listen(&scene, &scene.hand, tls).await;
        // The attacker can answer well: a refusal below is about what was forged.
        let mut called = call(&scene, "question");
        let mut stream = next(&listening, &mut called).await;
        let asked = read_request(&mut stream).await;
        stream
            .write_all(&http(&answer(&scene, &asked, same)))
            .await
            .unwrap();
        let answered = called.await.unwrap();
        assert_eq!(
            answered.body(),
            "the attacker's answer",
            "{tls:?}: {answered:?}"
        );
        drop(stream);
        for (index, (name, wanted, make)) in cases.iter().enumerate() {
            if tls == Tls::Legacy && index % 3 != 0 {
                continue; // what is said does not depend on the stack
            }
            let before = scene.traces();
            let mut called = call(&scene, "question");
            let mut stream = next(&listening, &mut called).await;
            let asked = read_request(&mut stream).await;
            let bytes = make(&scene, &asked);
            let _ = stream.write_all(&bytes).await;
            let _ = timeout(Duration::from_secs(1), stream.shutdown()).await;
            drop(stream);
            let found = code(&called.await.unwrap());
            if found != *wanted {
                wrong.push(format!("{name} ({tls:?}): wanted {wanted}, got {found}"));
            }
            // The question is recorded, such an answer is not.
            let after = scene.traces();
            if after != (before.0, before.1 + 1, before.2) {
                wrong.push(format!("{name} ({tls:?}): {before:?} became {after:?}"));
            }
        }
        // Silence has its end.
        let mut called = call(&scene, "question");
        let mut stream = next(&listening, &mut called).await;
        let _ = read_request(&mut stream).await;
        assert_eq!(code(&called.await.unwrap()), broken);
        drop(stream);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    scene.works("a hostile provider").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_fault_reaches_the_consumer_of_a_large_upload() {
    early(Tls::Modern).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_fault_reaches_the_consumer_over_legacy_tls() {
    early(Tls::Legacy).await;
}

/// The peer answers before it has the request, and reads no more.
async fn early(tls: Tls) {
    let scene = world(World::builder().setting("limits", "body_stall_seconds = 5")).await;
    let fault = "server.serverproxy.access_denied";
    let document = Fault::new(fault, "no", "detail").to_soap();
    let document = String::from_utf8(document.to_vec()).unwrap();
    {
        let listening = listen(&scene, &scene.hand, tls).await;
        for keep_open in [true, false] {
            let before = scene.traces();
            let mut called = call(&scene, vec![b'x'; 8 << 20]);
            let mut stream = next(&listening, &mut called).await;
            let mut buffer = vec![0; 4096];
            assert_ne!(stream.read(&mut buffer).await.unwrap(), 0);
            let answer = plain("200 OK", "text/xml;charset=utf-8", &document);
            stream.write_all(&answer).await.unwrap();
            stream.flush().await.unwrap();
            if keep_open {
                let answered = timeout(PATIENCE, called).await.unwrap().unwrap();
                assert_eq!(code(&answered), fault, "{tls:?}");
            } else {
                // It closes with our bytes unread, so that its last words may be lost: then it is asked again.
                drop(stream);
                let answered = loop {
                    tokio::select! {
                        answered = &mut called => break answered.unwrap(),
                        accepted = listening.accept() => {
                            let Ok(mut stream) = accepted else { continue };
                            let _ = stream.read(&mut buffer).await;
                            let _ = stream.write_all(&answer).await;
                            let _ = stream.flush().await;
                        }
                    }
                };
                let found = code(&answered);
                assert!(
                    found == fault || found == format!("{OWN}.io_error"),
                    "{tls:?}: {found}"
                );
            }
            assert_eq!(scene.traces(), before, "{tls:?}: recorded");
        }
        // It talks before it has listened, and does not say no: that is no answer to anything.
        let mut called = call(&scene, vec![b'x'; 8 << 20]);
        let mut stream = next(&listening, &mut called).await;
        let mut chatter = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=b\r\nConnection: close\r\n\r\n--b\r\ncontent-type: application/x-road-rest-response\r\n\r\n".to_vec();
        chatter.extend(vec![b'x'; 1 << 20]);
        let _ = timeout(Duration::from_secs(10), stream.write_all(&chatter)).await;
        let answered = timeout(PATIENCE, called).await.unwrap().unwrap();
        assert!(
            code(&answered).starts_with(&format!("{OWN}.")),
            "{tls:?}: {}",
            code(&answered)
        );
        drop(stream);
        // It reads nothing and says nothing.
        let mut called = call(&scene, vec![b'x'; 32 << 20]);
        let stream = next(&listening, &mut called).await;
        let answered = timeout(PATIENCE, called).await.unwrap().unwrap();
        assert_eq!(code(&answered), format!("{OWN}.io_error"), "{tls:?}");
        drop(stream);
    }
    scene.works("early answers").await;
}

/// A lost message is asked again for half a minute, and before that its last words are waited for.
const PATIENCE: Duration = Duration::from_secs(180);

/// No TLS, half of it, no OCSP answers or wrong ones: nothing is sent there.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_a_peer_that_does_not_prove_itself() {
    let builder = World::builder()
        .setting("peers", "handshake_timeout_seconds = 1")
        .setting("peers", "ocsp_timeout_seconds = 1");
    let scene = world(builder).await;
    let before = scene.traces();
    // Nobody is there.
    let found = code(&call(&scene, "question").await.unwrap());
    assert_eq!(found, format!("{OWN}.network_error"));
    // OCSP answers first: a good one is kept.
    let tls_failed = format!("{OWN}.ssl_authentication_failed");
    let bad = |auth_ocsp: Vec<Bytes>| Peer {
        auth: Arc::clone(&scene.hand.auth),
        sign: Arc::clone(&scene.hand.sign),
        auth_ocsp,
        sign_ocsp: scene.hand.sign_ocsp.clone(),
    };
    let mut reversed = scene.hand.auth_ocsp.clone();
    reversed.reverse();
    for (name, answers) in [
        ("none", Vec::new()),
        ("garbage", vec![Bytes::from_static(b"garbage"); 3]),
        ("of another server", scene.other.auth_ocsp.clone()),
        ("of the sign key", scene.hand.sign_ocsp.clone()),
        ("in the wrong order", reversed),
    ] {
        let listening = listen(&scene, &bad(answers), Tls::Modern).await;
        let called = call(&scene, "question");
        let _stream = listening.accept().await;
        let found = code(&called.await.unwrap());
        assert!(
            found.starts_with(&tls_failed),
            "OCSP answers {name}: {found}"
        );
    }
    let mut listening = listen(&scene, &scene.hand, Tls::Modern).await;
    listening.stop_ocsp().await;
    let called = call(&scene, "question");
    let stream = listening.accept().await;
    let found = code(&called.await.unwrap());
    assert!(found.starts_with(&tls_failed), "no OCSP port: {found}");
    drop((stream, listening));
    // Another server's certificate, which is registered, but for another.
    let other = Peer {
        auth: Arc::clone(&scene.other.auth),
        sign: Arc::clone(&scene.other.sign),
        auth_ocsp: scene.other.auth_ocsp.clone(),
        sign_ocsp: scene.other.sign_ocsp.clone(),
    };
    let listening = listen(&scene, &other, Tls::Modern).await;
    let called = call(&scene, "question");
    let stream = listening.accept().await;
    let found = code(&called.await.unwrap());
    assert!(found.starts_with(&tls_failed), "another server: {found}");
    drop((stream, listening));
    // TLS that is none.
    let listening = listen(&scene, &scene.hand, Tls::Modern).await;
    for (name, words) in [
        ("silence, then the end", &b""[..]),
        ("HTTP", b"HTTP/1.1 400 Bad\r\n\r\n"),
        ("an alert", b"\x15\x03\x03\x00\x02\x02\x28"),
        ("silence", b"-"),
    ] {
        let called = call(&scene, "question");
        let serve = async {
            loop {
                let Ok(mut plain) = listening.accept_plain().await else {
                    break;
                };
                if words == b"-" {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                } else {
                    let _ = plain.write_all(words).await;
                }
            }
        };
        let answered = tokio::select! {
            answered = called => answered.unwrap(),
            () = serve => panic!("nobody called"),
        };
        let found = code(&answered);
        assert!(found.starts_with(&format!("{OWN}.")), "{name}: {found}");
    }
    assert_eq!(scene.traces(), before, "acted on or recorded");
    // The same peer, proved.
    let mut called = call(&scene, "question");
    let mut stream = next(&listening, &mut called).await;
    let asked = read_request(&mut stream).await;
    let good = http(&answer(&scene, &asked, |text| text));
    stream.write_all(&good).await.unwrap();
    assert_eq!(called.await.unwrap().body(), "the attacker's answer");
    scene.works("peers without proof").await;
}
