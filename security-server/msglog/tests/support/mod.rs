//! What the tests of the log have in common.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

pub mod model;

use std::io::Read;
use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::StreamExt;
use jibek_msglog::{
    BodySource, Committed, Direction, Keep, Kind, LogConfig, LogError, MessageLog, RecordHead,
    RecordParts, Side,
};
use jibek_protocol::id::{ClientId, ServiceId};

/// What records have in common, made once.
static CERTIFICATE: LazyLock<String> = LazyLock::new(|| filler(1, 1800));
static RESULT: LazyLock<String> = LazyLock::new(|| filler(7, 700));

/// A record that a test knows how to make and to recognise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub number: u64,
    pub bodies: Vec<usize>,
    /// Records of one batch share signature and chain result.
    pub batch: Option<u64>,
    /// What is to stay of the bodies.
    pub keep: Keep,
}

impl Sample {
    pub fn new(number: u64) -> Self {
        Self {
            number,
            bodies: Vec::new(),
            batch: None,
            keep: Keep::All,
        }
    }

    pub fn with_bodies(number: u64, bodies: &[usize]) -> Self {
        Self {
            number,
            bodies: bodies.to_vec(),
            batch: None,
            keep: Keep::All,
        }
    }

    pub fn head(&self) -> RecordHead {
        let client = ClientId::new(
            "KG",
            "GOV",
            "7000",
            Some(&format!("consumer{}", self.number % 3)),
        )
        .unwrap();
        let provider = ClientId::new("KG", "GOV", "8000", Some("provider")).unwrap();
        let version = self.number.is_multiple_of(2).then_some("v1");
        RecordHead {
            time_ms: 1_700_000_000_000 + i64::try_from(self.number).unwrap() * 10,
            side: if self.number.is_multiple_of(2) {
                Side::Consumer
            } else {
                Side::Provider
            },
            direction: if self.number.is_multiple_of(4) {
                Direction::Request
            } else {
                Direction::Response
            },
            kind: if self.number.is_multiple_of(5) {
                Kind::Soap
            } else {
                Kind::Rest
            },
            message_id: self.message_id(),
            request_id: format!("request-{}", self.number / 2),
            local_party: client.clone(),
            client,
            service: ServiceId::new(provider, &format!("service{}", self.number % 4), version)
                .unwrap(),
            status: (!self.number.is_multiple_of(3)).then_some(200),
        }
    }

    pub fn message_id(&self) -> String {
        format!("message-{}", self.number)
    }

    pub fn parts(&self) -> RecordParts {
        let chain = self
            .batch
            .map(|_| Bytes::from(format!("<chain>{}</chain>", self.number)));
        let (signed, result) = match self.batch {
            Some(batch) => (
                batch,
                Some(Bytes::from(format!("<result>{batch}{}</result>", *RESULT))),
            ),
            None => (self.number, None),
        };
        RecordParts {
            message: Bytes::from(format!(
                "GET /service HTTP/1.1\nX-Road-Id: {}\n\n",
                self.message_id()
            )),
            message_sha512: [u8::try_from(self.number % 251).unwrap(); 64],
            signature: Bytes::from(format!(
                "<signature><value>{}</value><certificate>{}</certificate><value>{signed}</value></signature>",
                signed, *CERTIFICATE
            )),
            hash_chain_result: result,
            hash_chain: chain,
        }
    }

    pub fn body(&self, index: usize) -> Vec<u8> {
        body(
            self.number * 31 + u64::try_from(index).unwrap(),
            self.bodies[index],
        )
    }

    pub fn digest(&self, index: usize) -> [u8; 64] {
        [u8::try_from((self.number + u64::try_from(index).unwrap()) % 251).unwrap(); 64]
    }

    /// Writes it, bodies in chunks of odd sizes.
    pub async fn commit(&self, log: &MessageLog) -> Result<Committed, LogError> {
        let mut draft = log.begin().keeping(self.keep);
        for index in 0..self.bodies.len() {
            let number = u32::try_from(index + 1).unwrap();
            for chunk in self.body(index).chunks(997) {
                draft
                    .append_body(number, Bytes::from(chunk.to_vec()))
                    .await?;
            }
            draft.finish_body(number, self.digest(index))?;
        }
        draft.commit(self.head(), self.parts()).await
    }

    /// Panics unless the record reads back as it was written.
    pub fn check(
        &self,
        log: &MessageLog,
        id: jibek_msglog::RecordId,
        kept: bool,
    ) -> Result<(), String> {
        let record = log
            .read(id)
            .map_err(|error| format!("record {id}: {error}"))?;
        let record = record.ok_or_else(|| format!("record {id} is gone"))?;
        let same = record.id == id && record.head == self.head() && record.parts == self.parts();
        if !same {
            return Err(format!("record {id} reads as {record:?}"));
        }
        if record.bodies.len() != self.bodies.len() {
            return Err(format!("record {id} has {} bodies", record.bodies.len()));
        }
        for (index, info) in record.bodies.iter().enumerate() {
            let stays = self.keep.keeps(info.len);
            if info.digest_only == stays {
                return Err(format!("body {index} of record {id}: {info:?}"));
            }
            let kept = kept && stays;
            let source = log
                .body(id, info.index)
                .map_err(|error| format!("body of {id}: {error}"))?;
            if info.kept != kept || source.is_some() != kept || info.sha512 != self.digest(index) {
                return Err(format!(
                    "body {index} of record {id}: {info:?}, found {}",
                    source.is_some()
                ));
            }
            if let Some(source) = source {
                let bytes = read_all(source)
                    .map_err(|error| format!("body {index} of record {id}: {error}"))?;
                if bytes != self.body(index) {
                    return Err(format!("body {index} of record {id} has other bytes"));
                }
            }
        }
        Ok(())
    }
}

/// Small limits, so that a few records fill segments and spill bodies.
pub fn small(dir: impl Into<std::path::PathBuf>) -> LogConfig {
    LogConfig {
        segment_bytes: 12 << 10,
        inline_body_bytes: 2000,
        min_free_bytes: 0,
        chores_thread: false,
        ..LogConfig::new(dir)
    }
}

pub fn read_all(source: BodySource) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.into_reader().read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub async fn stream_all(source: BodySource) -> Vec<u8> {
    let mut stream = source.into_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    bytes
}

pub fn filler(seed: u64, length: usize) -> String {
    body(seed, length)
        .iter()
        .map(|byte| char::from(b'A' + byte % 26))
        .collect()
}

/// Bytes that depend on all of the seed and look random.
pub fn body(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..length).map(|_| random.byte()).collect()
}

/// A small generator of numbers (splitmix64), the same on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.next() >> 56).unwrap()
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
