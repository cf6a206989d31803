//! What another security server sends and must not, byte by byte, on both TLS stacks.

use std::net::SocketAddr;

use bytes::Bytes;
use jibek_certs::{DigestAlgorithm, digest::digest};
use jibek_conformance::{
    country::{Allow, Net},
    peer::{Message, Peer, Tls},
    world::{CONSUMER, HAND_MADE, World, WorldBuilder},
};
use jibek_evidence::seal::PartDigests;
use jibek_protocol::header as names;
use tokio::io::AsyncWriteExt;

use crate::support::{echo, still_up};

const STACKS: [Tls; 2] = [Tls::Legacy, Tls::Modern];

struct Setup {
    world: World,
    peer: Peer,
    to: SocketAddr,
}

impl Setup {
    async fn new() -> Self {
        Self::with(World::builder()).await
    }

    async fn with(builder: WorldBuilder) -> Self {
        let world = builder.build(echo).await;
        let server = &world.running.prepared().plan().servers[2];
        let peer = Peer::of(&world, &server.id).await;
        let to = SocketAddr::new(
            world.running.prepared().plan().net.server(1),
            Net::PEER_PORT,
        );
        Self { world, peer, to }
    }

    fn message(&self, body: Option<&'static str>) -> Message {
        let body = body.map(|body| Bytes::from_static(body.as_bytes()));
        self.peer.rest(
            HAND_MADE,
            "POST",
            "/r1/TEST/GOV/2002/provider/rest/x",
            body,
            self.world.now(),
        )
    }

    /// The code of the fault that this message gets, or `accepted`.
    async fn judge(&self, tls: Tls, message: &Message) -> String {
        match self.peer.call(self.to, tls, message).await {
            Ok(answer) => answer.fault_code().unwrap_or_else(|| {
                assert!(
                    answer.text().contains("application/x-road-rest-response"),
                    "{}",
                    answer.text()
                );
                "accepted".to_owned()
            }),
            Err(error) => panic!("{tls:?}: {error}"),
        }
    }

    async fn refuses(&self, what: &str, message: &Message) -> String {
        let mut codes = Vec::new();
        for tls in STACKS {
            codes.push(self.judge(tls, message).await);
        }
        println!("{what}: {}", codes[0]);
        assert_eq!(codes[0], codes[1], "{what}");
        assert_ne!(codes[0], "accepted", "{what}");
        assert!(
            self.world.system.calls().is_empty(),
            "{what} reached the service"
        );
        codes.remove(0)
    }
}

fn sha512(bytes: &[u8]) -> jibek_certs::Digest {
    digest(DigestAlgorithm::Sha512, bytes)
}

#[tokio::test]
async fn a_message_as_it_should_be_is_accepted() {
    let setup = Setup::new().await;
    for tls in STACKS {
        for body in [None, Some("a body")] {
            assert_eq!(setup.judge(tls, &setup.message(body)).await, "accepted");
        }
    }
    assert_eq!(setup.world.system.calls().len(), 4);
    setup.world.finish().await;
}

#[tokio::test]
async fn changed_messages_are_refused() {
    let setup = Setup::new().await;
    let good = || setup.message(Some("a body"));
    let verification = "server.serverproxy.signature_verification.";

    let mut changed = good();
    *changed.part_mut(names::REST_BODY) = Bytes::from_static(b"a bodY");
    let code = setup.refuses("changed body", &changed).await;
    assert!(code.starts_with(verification), "{code}");

    let mut changed = good();
    let block = String::from_utf8(changed.part_mut(names::REST_REQUEST).to_vec()).unwrap();
    *changed.part_mut(names::REST_REQUEST) = Bytes::from(block.replace("hand-made", "hand-madE"));
    let code = setup.refuses("changed header", &changed).await;
    assert!(code.starts_with(verification), "{code}");

    let mut changed = good();
    let added = changed.message_without_body();
    setup.refuses("body taken out", &added).await;

    let mut added = setup.message(None);
    let at = added
        .parts
        .iter()
        .position(|(kind, _)| kind == names::REST_REQUEST)
        .unwrap();
    added.parts.insert(
        at + 1,
        (
            names::REST_BODY.to_owned(),
            Bytes::from_static(b"not signed"),
        ),
    );
    // The digest of the body is in no reference: the message leaves it uncovered.
    let code = setup.refuses("body that is not covered", &added).await;
    assert!(code.starts_with(verification), "{code}");

    changed = good();
    changed.sealed(&setup.peer.seal(
        PartDigests {
            message: sha512(b"something else"),
            attachments: vec![sha512(b"a body")],
        },
        setup.world.now(),
    ));
    let code = setup
        .refuses("signature over another message", &changed)
        .await;
    assert!(code.starts_with(verification), "{code}");
    setup.world.finish().await;
}

/// A message without its body part, otherwise unchanged.
trait WithoutBody {
    fn message_without_body(&self) -> Message;
}

impl WithoutBody for Message {
    fn message_without_body(&self) -> Message {
        let mut message = self.clone();
        message.parts.retain(|(kind, _)| kind != names::REST_BODY);
        message
    }
}

#[tokio::test]
async fn signatures_of_somebody_else_are_refused() {
    let setup = Setup::new().await;
    // Signed by the owner of server three, sent as the client of server one: not its server, not its signature.
    let stolen = setup.peer.rest(
        "TEST/GOV/1001/consumer",
        "GET",
        "/r1/TEST/GOV/2002/provider/rest/x",
        None,
        setup.world.now(),
    );
    setup
        .refuses("a message in another member's name", &stolen)
        .await;
    let nobody = setup.peer.rest(
        "TEST/GOV/9999/x",
        "GET",
        "/r1/TEST/GOV/2002/provider/rest/x",
        None,
        setup.world.now(),
    );
    setup.refuses("a message in nobody's name", &nobody).await;

    let mut value = setup.message(None);
    let text = String::from_utf8(value.part_mut(names::SIGNATURE).to_vec()).unwrap();
    let start = text.find("<ds:SignatureValue").unwrap();
    let at = start + text[start..].find('>').unwrap() + 1;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    *value.part_mut(names::SIGNATURE) =
        Bytes::from(format!("{}{other}{}", &text[..at], &text[at + 1..]));
    setup.refuses("a changed signature value", &value).await;
    setup.world.finish().await;
}

#[tokio::test]
async fn request_ids_that_differ_are_refused() {
    let setup = Setup::new().await;
    let mut message = setup.message(None);
    for (name, value) in &mut message.headers {
        if name.eq_ignore_ascii_case(names::X_ROAD_REQUEST_ID) {
            "00000000-0000-4000-8000-000000000000".clone_into(value);
        }
    }
    setup
        .refuses("another id in the HTTP header", &message)
        .await;
    setup.world.finish().await;
}

#[tokio::test]
async fn malformed_transports_are_refused() {
    let setup = Setup::new().await;
    let mut cases: Vec<(&str, Message)> = Vec::new();
    let mut message = setup.message(None);
    message
        .parts
        .retain(|(kind, _)| kind != names::OCSP_RESPONSE);
    cases.push(("no OCSP answers", message));
    let mut message = setup.message(None);
    message.parts.retain(|(kind, _)| kind != names::SIGNATURE);
    cases.push(("no signature", message));
    let mut message = setup.message(None);
    message
        .parts
        .retain(|(kind, _)| kind != names::REST_REQUEST);
    cases.push(("no message", message));
    let mut message = setup.message(None);
    message.parts.reverse();
    cases.push(("parts in another order", message));
    let mut message = setup.message(None);
    message
        .parts
        .push(("text/plain".to_owned(), Bytes::from_static(b"more")));
    cases.push(("a part after the signature", message));
    let mut message = setup.message(None);
    message
        .headers
        .retain(|(name, _)| !name.eq_ignore_ascii_case(names::X_HASH_ALGORITHM));
    cases.push(("no hash algorithm", message));
    let mut message = setup.message(None);
    *message.part_mut(names::REST_REQUEST) = Bytes::from_static(b"GET\r\n/x\r\n");
    cases.push(("a block that is none", message));
    let mut message = setup.message(None);
    *message.part_mut(names::SIGNATURE) = Bytes::from_static(b"<!DOCTYPE a><a/>");
    cases.push(("a signature with a DOCTYPE", message));
    let mut message = setup.message(None);
    *message.part_mut(names::SIGNATURE) = Bytes::from("<a>".repeat(100_000));
    cases.push(("a deep signature", message));
    let mut message = setup.message(Some("a body"));
    message.closed = false;
    cases.push(("no closing boundary", message));
    for (what, message) in cases {
        let code = setup.refuses(what, &message).await;
        assert!(code.starts_with("server.serverproxy."), "{what}: {code}");
    }
    still_up(&setup.world).await;
    setup.world.finish().await;
}

#[tokio::test]
async fn a_message_cut_off_anywhere_is_lost_alone() {
    let setup = Setup::new().await;
    let whole = setup.message(Some("a body")).to_http();
    for tls in STACKS {
        for tenth in 0..10 {
            let mut stream = setup.peer.connect(setup.to, tls).await.unwrap();
            let cut = whole.len() * tenth / 10;
            stream.write_all(&whole[..cut]).await.unwrap();
            if tenth % 2 == 0 {
                // With an orderly end of TLS, and without.
                let _closed = stream.shutdown().await;
            }
            drop(stream);
        }
    }
    still_up(&setup.world).await;
    let calls = setup.world.system.calls();
    assert_eq!(
        calls.len(),
        1,
        "only the whole message reached the service: {calls:?}"
    );
    setup.world.finish().await;
}

#[tokio::test]
async fn a_peer_that_writes_a_megabyte_before_it_reads_sees_the_fault() {
    let only_consumer = Allow {
        subject: CONSUMER.to_owned(),
        method: "*".to_owned(),
        path: "**".to_owned(),
    };
    let setup = Setup::with(World::builder().rights(vec![only_consumer])).await;
    let body = Bytes::from(vec![b'x'; 1_500_000]);
    let message = setup.peer.rest(
        HAND_MADE,
        "POST",
        "/r1/TEST/GOV/2002/provider/rest/x",
        Some(body),
        setup.world.now(),
    );
    let code = setup
        .refuses("a large message without a right", &message)
        .await;
    assert_eq!(code, "server.serverproxy.access_denied");
    setup.world.finish().await;
}

/// Takes one `ds:Reference` out of a signature and signs what is left anew.
fn without_reference(setup: &Setup, message: &mut Message, which: &str) {
    let signature = message.part_mut(names::SIGNATURE);
    let text = String::from_utf8(signature.to_vec()).unwrap();
    let info_start = text.find("<ds:SignedInfo>").unwrap();
    let end_tag = "</ds:SignedInfo>";
    let info_end = text.find(end_tag).unwrap() + end_tag.len();
    let info = &text[info_start..info_end];
    // Canonical: the declarations in scope stand at the element itself.
    let root = &text[text.find("<asic:").unwrap()..info_start];
    let mut declarations: Vec<_> = root
        .split(['<', '>', ' '])
        .filter(|word| word.starts_with("xmlns:"))
        .collect();
    declarations.sort_unstable();
    declarations.dedup();
    let canonical = |info: &str| {
        info.replacen(
            "<ds:SignedInfo>",
            &format!("<ds:SignedInfo {}>", declarations.join(" ")),
            1,
        )
    };
    let value_start = text.find("<ds:SignatureValue").unwrap();
    let value_start = value_start + text[value_start..].find('>').unwrap() + 1;
    let value_end = value_start + text[value_start..].find('<').unwrap();
    let signer = setup.peer.sign.signer();
    let good = base64(&text[value_start..value_end]);
    setup
        .peer
        .sign
        .certificate()
        .verify(signer.algorithm(), canonical(info).as_bytes(), &good)
        .expect("this is how it was signed");

    let at = info.find(which).unwrap();
    let start = info[..at].rfind("<ds:Reference").unwrap();
    let end = at + info[at..].find("</ds:Reference>").unwrap() + "</ds:Reference>".len();
    let less = format!("{}{}", &info[..start], &info[end..]);
    let value = signer.sign(canonical(&less).as_bytes()).unwrap();
    let changed = format!(
        "{}{less}{}{}{}",
        &text[..info_start],
        &text[info_end..value_start],
        encode(&value),
        &text[value_end..]
    );
    *signature = Bytes::from(changed);
}

fn base64(text: &str) -> Vec<u8> {
    openssl::base64::decode_block(&text.split_whitespace().collect::<String>()).unwrap()
}

fn encode(bytes: &[u8]) -> String {
    openssl::base64::encode_block(bytes)
}

#[tokio::test]
async fn signatures_that_leave_something_uncovered_are_refused() {
    let setup = Setup::new().await;
    for (what, which, body) in [
        (
            "the message of a direct signature",
            "URI=\"/message.xml\"",
            None,
        ),
        ("the signed properties", "SignedProperties\"", None),
        (
            "the chain of a message with a body",
            "URI=\"/sig-hashchainresult.xml\"",
            Some("a body"),
        ),
        (
            "the signed properties of a message with a body",
            "SignedProperties\"",
            Some("a body"),
        ),
    ] {
        let mut message = setup.message(body);
        without_reference(&setup, &mut message, which);
        let code = setup.refuses(what, &message).await;
        assert!(
            code.starts_with("server.serverproxy.signature_verification."),
            "{what}: {code}"
        );
    }
    setup.world.finish().await;
}
