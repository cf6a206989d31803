//! The payload of a commit frame, layout 1, and of the smaller frames beside it.
//!
//! A commit frame's payload is the length of the description (4 bytes), the description, then the record's own bytes.
//! Message, signature and chains are each a list of pieces: the next so many of the own bytes, or a whole
//! [`Shared`](crate::segment::FrameKind::Shared) frame of the same segment.

use bytes::Bytes;
use jibek_protocol::id::{ClientId, ServiceId};

use crate::codec::{Reader, put_optional_text, put_text};
use crate::record::{Direction, Kind, RecordHead, Side};

/// A record's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) id: u64,
    pub(crate) head: RecordHead,
    pub(crate) message_sha512: [u8; 64],
    pub(crate) message: Vec<Piece>,
    pub(crate) signature: Vec<Piece>,
    pub(crate) hash_chain_result: Option<Vec<Piece>>,
    pub(crate) hash_chain: Option<Vec<Piece>>,
    pub(crate) bodies: Vec<Body>,
}

/// A run of a part's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The next `length` of the record's own bytes.
    Own { length: u32 },
    /// The payload of the shared frame at `offset`.
    Shared { offset: u64, length: u32 },
}

/// A body's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) index: u32,
    pub(crate) length: u64,
    pub(crate) sha512: [u8; 64],
    pub(crate) crc: u32,
    pub(crate) place: Place,
}

/// Where a body's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file of its own with this number.
    File { number: u64 },
    /// In a body frame of the same segment.
    Frame { offset: u64 },
    /// Nowhere: only its digest is kept.
    Nowhere,
}

impl Commit {
    /// The description with its length in front.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 4];
        out.push(LAYOUT);
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.head.time_ms.to_le_bytes());
        out.push(flags(&self.head));
        out.push(u8::from(self.head.status.is_some()));
        out.extend_from_slice(&self.head.status.unwrap_or_default().to_le_bytes());
        put_text(&mut out, &self.head.message_id);
        put_text(&mut out, &self.head.request_id);
        put_client(&mut out, &self.head.client);
        put_service(&mut out, &self.head.service);
        put_client(&mut out, &self.head.local_party);
        out.extend_from_slice(&self.message_sha512);
        put_pieces(&mut out, Some(&self.message));
        put_pieces(&mut out, Some(&self.signature));
        put_pieces(&mut out, self.hash_chain_result.as_deref());
        put_pieces(&mut out, self.hash_chain.as_deref());
        out.extend_from_slice(&crate::num::short(self.bodies.len()).to_le_bytes());
        for body in &self.bodies {
            out.extend_from_slice(&body.index.to_le_bytes());
            out.extend_from_slice(&body.length.to_le_bytes());
            out.extend_from_slice(&body.sha512);
            out.extend_from_slice(&body.crc.to_le_bytes());
            let (tag, value) = match body.place {
                Place::Frame { offset } => (0, offset),
                Place::File { number } => (1, number),
                Place::Nowhere => (2, 0),
            };
            out.push(tag);
            out.extend_from_slice(&value.to_le_bytes());
        }
        let length = crate::num::short(out.len().saturating_sub(4)).to_le_bytes();
        out.iter_mut()
            .zip(length)
            .for_each(|(place, byte)| *place = byte);
        out
    }

    /// Reads a commit frame's payload: the description and the record's own bytes.
    pub(crate) fn decode(payload: &[u8]) -> Option<(Self, &[u8])> {
        let mut frame = Reader::new(payload);
        let length = crate::num::narrow(frame.u32()?.into());
        let mut fields = Reader::new(frame.bytes(length)?);
        let own = payload.get(length.checked_add(4)?..)?;
        if fields.u8()? != LAYOUT {
            return None;
        }
        let id = fields.u64()?;
        let time_ms = fields.i64()?;
        let flags = fields.u8()?;
        let (has_status, status) = (fields.u8()?, fields.u16()?);
        let head = RecordHead {
            time_ms,
            side: if flags & PROVIDER == 0 {
                Side::Consumer
            } else {
                Side::Provider
            },
            direction: if flags & RESPONSE == 0 {
                Direction::Request
            } else {
                Direction::Response
            },
            kind: if flags & SOAP == 0 {
                Kind::Rest
            } else {
                Kind::Soap
            },
            message_id: fields.text()?.to_owned(),
            request_id: fields.text()?.to_owned(),
            client: client(&mut fields)?,
            service: service(&mut fields)?,
            local_party: client(&mut fields)?,
            status: (has_status == 1).then_some(status),
        };
        let message_sha512 = fields.array()?;
        let message = pieces(&mut fields)??;
        let signature = pieces(&mut fields)??;
        let hash_chain_result = pieces(&mut fields)?;
        let hash_chain = pieces(&mut fields)?;
        let mut bodies = Vec::new();
        for _ in 0..fields.u32()? {
            bodies.push(Body {
                index: fields.u32()?,
                length: fields.u64()?,
                sha512: fields.array()?,
                crc: fields.u32()?,
                place: match (fields.u8()?, fields.u64()?) {
                    (0, offset) => Place::Frame { offset },
                    (1, number) => Place::File { number },
                    (2, 0) => Place::Nowhere,
                    _ => return None,
                },
            });
        }
        let commit = Self {
            id,
            head,
            message_sha512,
            message,
            signature,
            hash_chain_result,
            hash_chain,
            bodies,
        };
        fields.is_empty().then_some((commit, own))
    }

    /// All pieces, in the order in which they use up the own bytes.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        let chains = [&self.hash_chain_result, &self.hash_chain];
        self.message
            .iter()
            .chain(&self.signature)
            .chain(chains.into_iter().flatten().flatten())
    }
}

/// Side, direction and protocol as bits.
pub(crate) fn flags(head: &RecordHead) -> u8 {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    bit(head.side == Side::Provider, PROVIDER)
        | bit(head.direction == Direction::Response, RESPONSE)
        | bit(head.kind == Kind::Soap, SOAP)
}

/// A client as bytes, for storing and for hashing.
pub(crate) fn put_client(out: &mut Vec<u8>, client: &ClientId) {
    put_text(out, client.member().instance());
    put_text(out, client.member().class());
    put_text(out, client.member().code());
    put_optional_text(out, client.subsystem());
}

/// A service as bytes, for storing and for hashing.
pub(crate) fn put_service(out: &mut Vec<u8>, service: &ServiceId) {
    put_client(out, service.provider());
    put_text(out, service.code());
    put_optional_text(out, service.version());
}

fn client(fields: &mut Reader<'_>) -> Option<ClientId> {
    let (instance, class, code) = (fields.text()?, fields.text()?, fields.text()?);
    ClientId::new(instance, class, code, fields.optional_text()?).ok()
}

fn service(fields: &mut Reader<'_>) -> Option<ServiceId> {
    let provider = client(fields)?;
    let code = fields.text()?;
    ServiceId::new(provider, code, fields.optional_text()?).ok()
}

fn put_pieces(out: &mut Vec<u8>, pieces: Option<&[Piece]>) {
    out.push(u8::from(pieces.is_some()));
    let Some(pieces) = pieces else { return };
    out.extend_from_slice(&crate::num::short(pieces.len()).to_le_bytes());
    for piece in pieces {
        let (offset, length) = match *piece {
            Piece::Own { length } => (0, length),
            Piece::Shared { offset, length } => (offset, length),
        };
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
    }
}

fn pieces(fields: &mut Reader<'_>) -> Option<Option<Vec<Piece>>> {
    match fields.u8()? {
        0 => Some(None),
        1 => {
            let mut pieces = Vec::new();
            for _ in 0..fields.u32()? {
                pieces.push(match (fields.u64()?, fields.u32()?) {
                    (0, length) => Piece::Own { length },
                    (offset, length) => Piece::Shared { offset, length },
                });
            }
            Some(Some(pieces))
        }
        _ => None,
    }
}

/// The payload of a stamp frame: everything of a stamp but the chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StampFrame {
    pub(crate) id: u64,
    pub(crate) token: Bytes,
    pub(crate) hash_chain_result: Bytes,
    pub(crate) chains: Vec<ChainsAt>,
}

/// A frame of chains: where it stands and the first and last record in it, in the order of record ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChainsAt {
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl StampFrame {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![LAYOUT];
        out.extend_from_slice(&self.id.to_le_bytes());
        for part in [&self.token, &self.hash_chain_result] {
            out.extend_from_slice(&crate::num::short(part.len()).to_le_bytes());
            out.extend_from_slice(part);
        }
        out.extend_from_slice(&crate::num::short(self.chains.len()).to_le_bytes());
        for at in &self.chains {
            out.extend_from_slice(&at.offset.to_le_bytes());
            out.extend_from_slice(&at.length.to_le_bytes());
            out.extend_from_slice(&at.first.to_le_bytes());
            out.extend_from_slice(&at.last.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(payload);
        if fields.u8()? != LAYOUT {
            return None;
        }
        let id = fields.u64()?;
        let token = blob(&mut fields)?;
        let hash_chain_result = blob(&mut fields)?;
        let mut chains = Vec::new();
        for _ in 0..fields.u32()? {
            chains.push(ChainsAt {
                offset: fields.u64()?,
                length: fields.u32()?,
                first: fields.u64()?,
                last: fields.u64()?,
            });
        }
        fields.is_empty().then_some(Self {
            id,
            token,
            hash_chain_result,
            chains,
        })
    }
}

/// The payload of a drop frame: the record, then the numbers of its body files.
pub(crate) fn encode_drop(id: u64, files: &[u64]) -> Vec<u8> {
    std::iter::once(&id)
        .chain(files)
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

/// Reads the payload of a drop frame.
pub(crate) fn decode_drop(payload: &[u8]) -> Option<(u64, Vec<u64>)> {
    let mut fields = Reader::new(payload);
    let id = fields.u64()?;
    let mut files = Vec::new();
    while !fields.is_empty() {
        files.push(fields.u64()?);
    }
    Some((id, files))
}

/// Reads the payload of a frame that is one number: batch, seal.
pub(crate) fn number(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_le_bytes)
}

fn blob(fields: &mut Reader<'_>) -> Option<Bytes> {
    let length = crate::num::narrow(fields.u32()?.into());
    fields.bytes(length).map(|it| Bytes::from(it.to_vec()))
}

pub(crate) const PROVIDER: u8 = 1;
pub(crate) const RESPONSE: u8 = 2;
pub(crate) const SOAP: u8 = 4;
const LAYOUT: u8 = 1;
