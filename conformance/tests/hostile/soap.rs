//! SOAP answers that are another one's: what a consumer's server compares (`message-path.md` 2.5).

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use jibek_certs::{DigestAlgorithm, digest::digest};
use jibek_conformance::{
    envelope,
    peer::{Message, Tls},
    world::{CONSUMER, HAND_MADE_SERVICE, World},
};
use jibek_evidence::seal::PartDigests;
use jibek_protocol::{fault::Fault, limits::Limits, soap};
use openssl::{
    base64::encode_block,
    sha::{sha256, sha512},
};
use tokio::io::AsyncWriteExt;

use crate::{
    liar::{Called, OWN, http, listen, next, plain, read_parts},
    scene::{Scene, fault_code},
};

/// The attacker's answer: this envelope, signed well.
fn signed(scene: &Scene, envelope: Bytes) -> Message {
    let mut message = scene.get();
    message.headers = vec![
        ("x-hash-algorithm".to_owned(), "SHA-512".to_owned()),
        (
            "x-original-content-type".to_owned(),
            "text/xml;charset=utf-8".to_owned(),
        ),
    ];
    message.parts.clear();
    let digests = PartDigests {
        message: digest(DigestAlgorithm::Sha512, &envelope),
        attachments: Vec::new(),
    };
    message
        .parts
        .push(("text/xml;charset=utf-8".to_owned(), envelope));
    message.sealed(&scene.hand.seal(digests, scene.world.now()));
    message
}

fn code_in(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<faultcode>")?;
    Some(rest.split_once("</faultcode>")?.0.to_owned())
}

/// Sends a SOAP request of the consumer to the attacker in a task of its own.
fn ask(scene: &Arc<Scene>, id: &str) -> (String, Called) {
    let sent = envelope::request(CONSUMER, HAND_MADE_SERVICE, "any", id, "<in/>");
    let (scene, body) = (Arc::clone(scene), sent.clone());
    let called = tokio::spawn(async move {
        let request = Request::post(scene.world.running.server(0).url())
            .header("Content-Type", "text/xml; charset=UTF-8");
        scene.world.send(request, body).await
    });
    (sent, called)
}

/// What is a fault is passed on from wherever it stands; what is neither that nor an answer becomes one.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_become_faults() {
    let scene = Arc::new(Scene::new(World::builder()).await);
    let listening = listen(&scene, &scene.hand, Tls::Modern).await;
    let theirs = "server.serverproxy.of_its_own";
    let fault = Fault::new(theirs, "because", "detail").to_soap();
    let fault = String::from_utf8(fault.to_vec()).unwrap();
    let multipart = |parts: &[(&str, &str)], closed: bool| {
        let mut body = String::new();
        for (kind, content) in parts {
            body.push_str(&format!("--b\r\ncontent-type:{kind}\r\n\r\n{content}\r\n"));
        }
        if closed {
            body.push_str("--b--\r\n");
        }
        plain("200 OK", "multipart/mixed; boundary=b", &body)
    };
    let xml = ("text/xml", "<a/>");
    let signature = ("signature/bdoc-1.0/ts", "<a/>");
    let reading = format!("{OWN}.service_failed");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "a bare fault",
            plain("200 OK", "text/xml;charset=utf-8", &fault),
            theirs,
        ),
        (
            "a fault as the only part",
            multipart(&[("text/xml", &fault)], true),
            theirs,
        ),
        (
            "a fault in the place of the signature",
            multipart(&[xml, ("text/xml", &fault)], true),
            theirs,
        ),
        (
            "a fault behind a part of no known type",
            multipart(
                &[("application/x-road-unknown", "x"), ("text/xml", &fault)],
                true,
            ),
            &reading,
        ),
        ("nothing", Vec::new(), OWN),
        ("no HTTP", b"220 mail.example.org\r\n".to_vec(), OWN),
        (
            "a head cut off",
            b"HTTP/1.1 200 OK\r\nContent-".to_vec(),
            OWN,
        ),
        ("another status", plain("503 Busy", "text/plain", ""), OWN),
        (
            "another type",
            plain("200 OK", "text/html", "<html/>"),
            &reading,
        ),
        (
            "no multipart",
            plain("200 OK", "multipart/mixed; boundary=b", "nothing"),
            OWN,
        ),
        ("no parts", multipart(&[], true), OWN),
        ("no signature", multipart(&[xml], true), OWN),
        (
            "a message cut off",
            multipart(&[("text/xml", "<a")], false),
            OWN,
        ),
        (
            "no closing boundary",
            multipart(&[xml, signature], false),
            OWN,
        ),
        (
            "nonsense for a signature",
            multipart(&[xml, signature], true),
            OWN,
        ),
    ];
    for (index, (name, bytes, wanted)) in cases.into_iter().enumerate() {
        let before = scene.traces();
        let (_, mut called) = ask(&scene, &format!("none-{index}"));
        let mut stream = next(&listening, &mut called).await;
        read_parts(&mut stream).await;
        stream.write_all(&bytes).await.unwrap();
        let _ = stream.shutdown().await;
        drop(stream);
        let found = fault_code(&called.await.unwrap());
        assert!(found.starts_with(wanted), "{name}: {found}");
        // The question is recorded, such an answer is not.
        let after = (before.0, before.1 + 1, before.2);
        assert_eq!(scene.traces(), after, "{name}");
    }
    drop(listening);
    scene.works("answers that are none").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_answer_with_the_hash_of_the_request_is_told() {
    let scene = Arc::new(Scene::new(World::builder()).await);
    let listening = listen(&scene, &scene.hand, Tls::Modern).await;
    let inconsistent = format!("{OWN}.inconsistent_response");
    let hash = |bytes: &[u8]| encode_block(&sha512(bytes));
    type Change = fn(&str) -> String;
    let same: Change = str::to_owned;
    // How the hash is made, what is changed in the answer beside it, and the code of the fault.
    type Hash = Box<dyn Fn(&[u8]) -> Option<String>>;
    let cases: Vec<(&str, Hash, Change, Option<&str>)> = vec![
        (
            "as it should be",
            Box::new(move |sent| Some(hash(sent))),
            same,
            None,
        ),
        ("no hash", Box::new(|_| None), same, Some(&inconsistent)),
        (
            "the hash of another request",
            Box::new(move |_| Some(hash(b"another"))),
            same,
            Some(&inconsistent),
        ),
        (
            "another digest",
            Box::new(|sent| Some(encode_block(&sha256(sent)))),
            same,
            Some(&inconsistent),
        ),
        (
            "another message id",
            Box::new(move |sent| Some(hash(sent))),
            |text| text.replace(":id>soap-", ":id>other-"),
            Some(&inconsistent),
        ),
        (
            "another client",
            Box::new(move |sent| Some(hash(sent))),
            |text| text.replace(">consumer<", ">stranger<"),
            Some(&inconsistent),
        ),
        (
            "another user",
            Box::new(move |sent| Some(hash(sent))),
            |text| text.replace("KG1234567890", "KG0987654321"),
            Some(&inconsistent),
        ),
    ];
    for (index, (name, make, change, wanted)) in cases.iter().enumerate() {
        let before = scene.traces();
        let id = format!("soap-{index}");
        let (sent, mut called) = ask(&scene, &id);
        let mut stream = next(&listening, &mut called).await;
        let parts = read_parts(&mut stream).await;
        let (_, asked) = parts
            .iter()
            .find(|(head, _)| head.contains("text/xml"))
            .unwrap();
        assert_eq!(asked, sent.as_bytes(), "{name}");
        let answer = Bytes::from(change(&envelope::answer(&sent, "any")));
        let answer = match make(asked) {
            Some(hash) => {
                let scanned = soap::scan(&answer, &Limits::default()).unwrap();
                soap::with_request_hash(&answer, &scanned, &hash).unwrap()
            }
            None => answer,
        };
        let message = http(&signed(&scene, answer.clone()));
        stream.write_all(&message).await.unwrap();
        let answered = called.await.unwrap();
        let text = String::from_utf8(answered.body().to_vec()).unwrap();
        assert_eq!(code_in(&text).as_deref(), *wanted, "{name}: {text}");
        let told = u64::from(wanted.is_none());
        if wanted.is_none() {
            assert_eq!(text.as_bytes(), answer, "{name}: byte for byte");
        }
        let after = (before.0, before.1 + 1 + told, before.2);
        assert_eq!(scene.traces(), after, "{name}");
    }
    drop(listening);
    scene.works("answers of others").await;
}
