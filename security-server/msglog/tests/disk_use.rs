//! What an exchange costs of disk: records as they are with 128 messages at once, a signature for each batch, real
//! shapes of hash chains, a stamp over a thousand.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use bytes::Bytes;
use futures_util::future::join_all;
use jibek_msglog::fs::SimFs;
use jibek_msglog::{
    Direction, Kind, LogConfig, MessageLog, RecordHead, RecordId, RecordParts, Side, StampBatch,
};
use jibek_protocol::id::{ClientId, ServiceId};
use support::{Random, runtime};

const AT_ONCE: usize = 128;
const BATCHES: usize = 16;

/// Base64 of `length` characters that nothing else has.
fn base64(random: &mut Random, length: usize) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |_| char::from(letters[usize::try_from(random.below(64)).unwrap()]);
    (0..length).map(letter).collect()
}

/// SHA-512 in base64: its last character before the padding has no bits beyond the last byte.
fn digest(random: &mut Random) -> String {
    base64(random, 85) + "Q=="
}

fn uuid(random: &mut Random) -> String {
    format!("{:016x}-4f6a-{:016x}", random.next(), random.next())
}

/// The chains of a tree, as X-Road and we write them (`signatures-and-log.md` 2.4).
fn chains(random: &mut Random, leaves: usize, name: &str) -> Vec<String> {
    let mut levels = vec![(0..leaves).map(|_| digest(random)).collect::<Vec<_>>()];
    while levels.last().unwrap().len() > 1 {
        let nodes = levels.last().unwrap().len().div_ceil(2);
        levels.push((0..nodes).map(|_| digest(random)).collect());
    }
    let chain = |leaf: usize| {
        let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<ns2:HashChain xmlns=\"http://www.w3.org/2000/09/xmldsig#\" xmlns:ns2=\"http://cyber.ee/hashchain\">\n    <ns2:DefaultDigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha512\"/>\n".to_owned();
        let siblings: Vec<(usize, &String)> = (0..levels.len() - 1)
            .rev()
            .filter_map(|level| Some((leaf >> level, levels[level].get((leaf >> level) ^ 1)?)))
            .collect();
        for (step, (own, sibling)) in siblings.iter().enumerate() {
            text += &format!("    <ns2:HashStep id=\"STEP{step}\">\n");
            let value = format!(
                "        <ns2:HashValue>\n            <DigestValue>{sibling}</DigestValue>\n        </ns2:HashValue>\n"
            );
            let next = if step + 1 == siblings.len() {
                format!(
                    "        <ns2:DataRef URI=\"{name}\">\n            <DigestValue>{}</DigestValue>\n        </ns2:DataRef>\n",
                    levels[0][leaf]
                )
            } else {
                format!("        <ns2:StepRef URI=\"#STEP{}\"/>\n", step + 1)
            };
            text += &if own % 2 == 1 {
                value + &next
            } else {
                next + &value
            };
            text += "    </ns2:HashStep>\n";
        }
        text + "</ns2:HashChain>\n"
    };
    (0..leaves).map(chain).collect()
}

/// What all signatures of a key have in common.
struct Key {
    certificate: String,
    ocsp: String,
}

/// The messages of one batch: one signature document, and for each its REST block, its chain and perhaps a body of 1 KB.
fn batch(
    random: &mut Random,
    key: &Key,
    direction: Direction,
) -> Vec<(RecordHead, RecordParts, Option<Bytes>)> {
    let client = ClientId::new("KG", "GOV", "70000004", Some("portal")).unwrap();
    let provider = ClientId::new("KG", "GOV", "70000001", Some("population")).unwrap();
    let service = ServiceId::new(provider, "population", None).unwrap();
    let signature = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>{}<ds:SignatureValue>{}</ds:SignatureValue><ds:X509Certificate>{}</ds:X509Certificate><xades:EncapsulatedOCSPValue>{}</xades:EncapsulatedOCSPValue>{}",
        "<ds:Reference URI=\"/sig-hashchainresult.xml\"/>".repeat(40),
        base64(random, 344),
        key.certificate,
        key.ocsp,
        digest(random),
    );
    let (signature, result) = (
        Bytes::from(signature),
        Bytes::from(digest(random).repeat(5)),
    );
    let chains = chains(random, AT_ONCE, "/message.xml");
    let message = |chain: String| {
        let (id, request_id) = (uuid(random), uuid(random));
        let common = format!(
            "x-road-id:{id}\r\nx-road-client:KG/GOV/70000004/portal\r\nx-road-service:KG/GOV/70000001/population/population\r\nx-road-request-id:{request_id}\r\n"
        );
        let (block, body) = match direction {
            Direction::Request => (
                format!(
                    "GET\r\n/r1/KG/GOV/70000001/population/population/persons/{}\r\n{common}host:127.0.0.1:8080\r\naccept:*/*\r\nuser-agent:curl/8.5.0\r\n",
                    random.below(1 << 40)
                ),
                None,
            ),
            Direction::Response => (
                format!(
                    "200\r\nOK\r\n{common}x-road-request-hash:{}\r\ncontent-type:application/json\r\ncontent-length:1024\r\ndate:Mon, 23 Nov 2026 12:34:56 GMT\r\n",
                    digest(random)
                ),
                Some(Bytes::from(base64(random, 1024))),
            ),
        };
        let head = RecordHead {
            time_ms: 1_795_000_000_000,
            side: Side::Consumer,
            direction,
            kind: Kind::Rest,
            message_id: id,
            request_id,
            client: client.clone(),
            service: service.clone(),
            local_party: client.clone(),
            status: None,
        };
        let parts = RecordParts {
            message: block.into(),
            message_sha512: [7; 64],
            signature: signature.clone(),
            hash_chain_result: Some(result.clone()),
            hash_chain: Some(chain.into()),
        };
        (head, parts, body)
    };
    chains.into_iter().map(message).collect()
}

#[test]
fn an_exchange_of_1_kb_costs_what_it_says() {
    let machine = SimFs::new();
    let mut random = Random::new(5);
    let [requests, responses] = [0, 1].map(|_| Key {
        certificate: base64(&mut random, 1900),
        ocsp: base64(&mut random, 2300),
    });
    let config = LogConfig {
        chores_thread: false,
        min_free_bytes: 0,
        ..LogConfig::new("/log")
    };
    let (log, _) = MessageLog::open(config, machine.process()).unwrap();
    let runtime = runtime();
    let mut written: Vec<(RecordId, RecordParts)> = Vec::new();
    for _ in 0..BATCHES {
        for (key, direction) in [
            (&requests, Direction::Request),
            (&responses, Direction::Response),
        ] {
            let commits =
                batch(&mut random, key, direction)
                    .into_iter()
                    .map(|(head, parts, body)| {
                        let log = &log;
                        async move {
                            let mut draft = log.begin();
                            if let Some(body) = body {
                                draft.append_body(1, body).await.unwrap();
                                draft.finish_body(1, [9; 64]).unwrap();
                            }
                            (draft.commit(head, parts.clone()).await.unwrap().id(), parts)
                        }
                    });
            written.extend(runtime.block_on(join_all(commits)));
        }
    }
    written.sort_by_key(|(id, _)| *id);
    let messages = log.stats().bytes;
    for ids in written.chunks(1024) {
        let chains = chains(&mut random, ids.len(), "/META-INF/signatures.xml");
        let chains = ids
            .iter()
            .zip(chains)
            .map(|((id, _), chain)| (*id, Bytes::from(chain)))
            .collect();
        let (token, hash_chain_result) = (
            Bytes::from(base64(&mut random, 6000)),
            Bytes::from(digest(&mut random)),
        );
        runtime
            .block_on(log.stamp(StampBatch {
                token,
                hash_chain_result,
                chains,
            }))
            .unwrap();
    }
    let stamps = log.stats().bytes - messages;
    runtime.block_on(log.seal()).unwrap();
    let index = log.stats().bytes - messages - stamps;
    for (id, parts) in &written {
        assert_eq!(&log.read(*id).unwrap().unwrap().parts, parts);
    }
    let exchanges = u64::try_from(written.len() / 2).unwrap();
    let [messages, stamps, index] = [messages, stamps, index].map(|it| it / exchanges);
    println!(
        "bytes an exchange: {messages} for messages with 1 KB of body, {stamps} for stamps, {index} for the index"
    );
    assert!(messages < MOST_FOR_MESSAGES, "{messages}");
}

/// Two records, one of them with 1 KB of body.
const MOST_FOR_MESSAGES: u64 = 3100;
