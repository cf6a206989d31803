//! The format of a segment, version 2. All numbers are little-endian.
//!
//! | bytes of the header | |
//! |---|---|
//! | 0–7 | `JBKSEG\r\n` |
//! | 8–11 | format version |
//! | 16–23 | number of the segment, as in its name |
//! | 24–31 | salt of its checksums |
//! | 32–39 | first record id that may stand in it |
//! | 60–63 | CRC-32C of bytes 0–59 |
//!
//! Frames follow, one after the other, then zeros to the end of what was reserved:
//!
//! | bytes of a frame | |
//! |---|---|
//! | 0–3 | length of the payload |
//! | 4 | [`FrameKind`] |
//! | 5–7 | zero |
//! | 8–11 | CRC-32C of the payload |
//! | 12–15 | CRC-32C of salt, segment number, offset of the frame and bytes 0–11 |
//! | 16– | payload |
//!
//! The checksum of the header knows where it stands, so a frame found anywhere else is not one. A batch begins with a
//! frame of its own kind; the committer writes it only after everything before it was synced. So a bad frame with a
//! batch after it is damage, and one without is the torn end of what nobody was told of.

use std::io::{self, IoSlice};
use std::ops::Range;

use bytes::Bytes;
use jibek_protocol::copied;

use crate::fs::{self, FsFile};
use crate::num::{narrow, short, wide};

/// Newest format version, the one written.
pub(crate) const VERSION: u32 = 3;
/// Length of a segment's header in bytes.
pub(crate) const HEADER_BYTES: u64 = 64;
/// Length of a frame's header in bytes.
pub(crate) const FRAME_HEADER_BYTES: u64 = 16;
/// Longest payload of a frame, 256 MiB: bounds what a reader allocates for a length it has not checked yet.
pub(crate) const MAX_PAYLOAD: u64 = 256 << 20;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// Start of a batch: its number within the segment.
    Batch,
    /// A body that is small enough to stand in the segment.
    Body,
    /// A record: what is known of it, where its parts are, and the bytes of those that stand nowhere else.
    Commit,
    /// A record whose bodies are not kept.
    Drop,
    /// Nothing follows in this segment.
    Seal,
    /// Bytes that several records have in common.
    Shared,
    /// A stamp: token, hash chain result, where the chains are.
    Stamp,
    /// Hash chains of some of a stamp's records.
    StampChains,
}

impl FrameKind {
    fn code(self) -> u8 {
        match self {
            Self::Batch => 1,
            Self::Shared => 2,
            Self::Body => 3,
            Self::Commit => 4,
            Self::StampChains => 5,
            Self::Stamp => 6,
            Self::Drop => 7,
            Self::Seal => 8,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Batch,
            2 => Self::Shared,
            3 => Self::Body,
            4 => Self::Commit,
            5 => Self::StampChains,
            6 => Self::Stamp,
            7 => Self::Drop,
            8 => Self::Seal,
            _ => return None,
        })
    }

    /// Whether everything before it was synced when it was written.
    pub(crate) fn is_landmark(self) -> bool {
        matches!(self, Self::Batch | Self::Seal)
    }

    /// Whether it closes what was written before it.
    pub(crate) fn commits(self) -> bool {
        matches!(self, Self::Commit | Self::Drop | Self::Seal | Self::Stamp)
    }
}

/// What a segment's checksums depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentKey {
    pub(crate) number: u64,
    pub(crate) salt: u64,
}

/// Header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) key: SegmentKey,
    pub(crate) first_id: u64,
}

/// Why a header does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Not a segment, or its header is torn.
    Checksum,
    /// Written by a newer program.
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(narrow(HEADER_BYTES));
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.key.number.to_le_bytes());
        out.extend_from_slice(&self.key.salt.to_le_bytes());
        out.extend_from_slice(&self.first_id.to_le_bytes());
        out.resize(60, 0);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let (body, checksum) = bytes.split_at_checked(60).ok_or(BadHeader::Checksum)?;
        if !body.starts_with(MAGIC) || checksum != crc32c::crc32c(body).to_le_bytes() {
            return Err(BadHeader::Checksum);
        }
        let mut fields = crate::codec::Reader::new(body.get(8..).unwrap_or_default());
        let (version, _) = fields.u32().zip(fields.u32()).ok_or(BadHeader::Checksum)?;
        if version != VERSION {
            return Err(BadHeader::Version(version));
        }
        let (number, salt) = fields.u64().zip(fields.u64()).ok_or(BadHeader::Checksum)?;
        let first_id = fields.u64().ok_or(BadHeader::Checksum)?;
        Ok(Self {
            key: SegmentKey { number, salt },
            first_id,
        })
    }
}

/// A frame's header, checked against its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    pub(crate) length: u32,
    payload_crc: u32,
}

impl FrameHeader {
    fn encode(&self, key: SegmentKey, offset: u64) -> [u8; 16] {
        let mut out = [0; 16];
        let fields = self
            .length
            .to_le_bytes()
            .into_iter()
            .chain([self.kind.code(), 0, 0, 0]);
        let fields = fields.chain(self.payload_crc.to_le_bytes());
        out.iter_mut()
            .zip(fields)
            .for_each(|(place, byte)| *place = byte);
        let checksum = header_crc(key, offset, out.get(..12).unwrap_or_default());
        out.iter_mut()
            .skip(12)
            .zip(checksum.to_le_bytes())
            .for_each(|(place, byte)| *place = byte);
        out
    }

    pub(crate) fn decode(key: SegmentKey, offset: u64, bytes: &[u8]) -> Option<Self> {
        let (fields, checksum) = bytes.split_at_checked(12)?;
        let mut reader = crate::codec::Reader::new(fields);
        let (length, code) = (reader.u32()?, reader.u32()?);
        let kind = FrameKind::from_code(u8::try_from(code).ok()?)?;
        if u64::from(length) > MAX_PAYLOAD {
            return None;
        }
        let payload_crc = reader.u32()?;
        let matches = header_crc(key, offset, fields).to_le_bytes() == checksum;
        matches.then_some(Self {
            kind,
            length,
            payload_crc,
        })
    }

    pub(crate) fn payload_is(&self, payload: &[u8]) -> bool {
        crc32c::crc32c(payload) == self.payload_crc
    }

    /// Length of header and payload.
    pub(crate) fn total(&self) -> u64 {
        FRAME_HEADER_BYTES.saturating_add(u64::from(self.length))
    }
}

fn header_crc(key: SegmentKey, offset: u64, fields: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&key.salt.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &key.number.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &offset.to_le_bytes());
    crc32c::crc32c_append(crc, fields)
}

/// Reads one frame and checks it; `None` if there is none of that kind or its bytes are not what was written.
pub(crate) fn read_frame(
    file: &dyn FsFile,
    key: SegmentKey,
    offset: u64,
    kind: FrameKind,
) -> io::Result<Option<Bytes>> {
    let header = fs::read_bytes_at(file, offset, narrow(FRAME_HEADER_BYTES))?;
    match FrameHeader::decode(key, offset, &header) {
        Some(header) if header.kind == kind => {
            let payload = fs::read_bytes_at(
                file,
                offset.saturating_add(FRAME_HEADER_BYTES),
                narrow(header.length.into()),
            )?;
            Ok(header.payload_is(&payload).then_some(payload))
        }
        _ => Ok(None),
    }
}

/// Like [`read_frame`] for one whose length is known, in one read.
pub(crate) fn read_known_frame(
    file: &dyn FsFile,
    key: SegmentKey,
    offset: u64,
    kind: FrameKind,
    length: u32,
) -> io::Result<Option<Bytes>> {
    let header_bytes = narrow(FRAME_HEADER_BYTES);
    let mut frame = fs::read_bytes_at(
        file,
        offset,
        header_bytes.saturating_add(narrow(length.into())),
    )?;
    let payload = frame.split_off(header_bytes.min(frame.len()));
    let header = FrameHeader::decode(key, offset, &frame);
    let right =
        header.is_some_and(|it| it.kind == kind && it.length == length && it.payload_is(&payload));
    Ok(right.then_some(payload))
}

/// Frames to be written at once, held by reference until then.
#[derive(Debug)]
pub(crate) struct Group {
    key: SegmentKey,
    start: u64,
    length: u64,
    scratch: Vec<u8>,
    items: Vec<Item>,
}

#[derive(Debug)]
enum Item {
    Scratch(Range<usize>),
    Bytes(Bytes),
}

impl Group {
    /// An empty group that will stand at `start`.
    pub(crate) fn new(key: SegmentKey, start: u64) -> Self {
        Self {
            key,
            start,
            length: 0,
            scratch: Vec::new(),
            items: Vec::new(),
        }
    }

    /// Where the next frame will stand.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Adds a frame whose payload is `head` followed by `chunks`; tells its offset and the length of its payload.
    pub(crate) fn frame(&mut self, kind: FrameKind, head: &[u8], chunks: &[Bytes]) -> (u64, u32) {
        let crc = chunks.iter().fold(crc32c::crc32c(head), |crc, chunk| {
            crc32c::crc32c_append(crc, chunk)
        });
        self.summed_frame(kind, head, chunks, crc)
    }

    /// Like [`Group::frame`] where the checksum of the payload is known already.
    pub(crate) fn summed_frame(
        &mut self,
        kind: FrameKind,
        head: &[u8],
        chunks: &[Bytes],
        payload_crc: u32,
    ) -> (u64, u32) {
        let offset = self.end();
        let length = chunks
            .iter()
            .fold(head.len(), |sum, chunk| sum.saturating_add(chunk.len()));
        let header = FrameHeader {
            kind,
            length: short(length),
            payload_crc,
        };
        self.copy(&header.encode(self.key, offset));
        self.copy(head);
        // Of a body all is copied or nothing, however the network cut it: so it can be counted on.
        let is_body = kind == FrameKind::Body;
        for chunk in chunks {
            let short = if is_body { length } else { chunk.len() };
            if short < COPY_BELOW {
                if is_body {
                    copied::count(chunk.len());
                }
                self.copy(chunk);
            } else {
                self.items.push(Item::Bytes(chunk.clone()));
            }
        }
        self.length = self.length.saturating_add(header.total());
        (offset, header.length)
    }

    /// Writes all of it with as few calls as the system allows.
    pub(crate) fn write(&self, file: &dyn FsFile) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = self
            .items
            .iter()
            .map(|item| match item {
                Item::Scratch(range) => {
                    IoSlice::new(self.scratch.get(range.clone()).unwrap_or_default())
                }
                Item::Bytes(bytes) => IoSlice::new(bytes),
            })
            .collect();
        file.write_at(self.start, &mut slices)
    }

    fn copy(&mut self, bytes: &[u8]) {
        let start = self.scratch.len();
        self.scratch.extend_from_slice(bytes);
        let end = self.scratch.len();
        match self.items.last_mut() {
            Some(Item::Scratch(range)) if range.end == start => range.end = end,
            _ => self.items.push(Item::Scratch(start..end)),
        }
    }
}

/// What a scan comes upon.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A body whose bytes are not what was written, by damage or because they were dropped.
    BadBody { offset: u64 },
    /// Bytes that are no frames; reading goes on behind them.
    Damage { offset: u64 },
    /// A whole frame.
    Frame {
        offset: u64,
        kind: FrameKind,
        payload: &'a [u8],
    },
}

/// How the frames of a segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With zeros or the end of the file.
    Clean(u64),
    /// With bytes that are no frame and were never acknowledged.
    Torn(u64),
}

/// Reads all frames in order. A bad frame with a landmark after it is skipped as damage; one without ends the scan.
pub(crate) fn scan(
    file: &dyn FsFile,
    key: SegmentKey,
    mut visit: impl FnMut(Found<'_>),
) -> io::Result<End> {
    let length = file.data_end()?;
    let mut window = Window::new(file, length);
    let mut offset = HEADER_BYTES;
    loop {
        let header = FrameHeader::decode(key, offset, window.at(offset, FRAME_HEADER_BYTES)?);
        let Some(header) = header.filter(|it| offset.saturating_add(it.total()) <= length) else {
            if window.zeros_from(offset)? {
                return Ok(End::Clean(offset));
            }
            let Some(next) = window.landmark_after(key, offset)? else {
                return Ok(End::Torn(offset));
            };
            visit(Found::Damage { offset });
            offset = next;
            continue;
        };
        let after = offset.saturating_add(header.total());
        let payload = window.at(
            offset.saturating_add(FRAME_HEADER_BYTES),
            header.length.into(),
        )?;
        if header.payload_is(payload) {
            visit(Found::Frame {
                offset,
                kind: header.kind,
                payload,
            });
        } else if window.landmark_after(key, offset)?.is_none() {
            return Ok(End::Torn(offset));
        } else if header.kind == FrameKind::Body {
            visit(Found::BadBody { offset });
        } else {
            visit(Found::Damage { offset });
        }
        offset = after;
    }
}

/// A sliding view of a file, so that a scan needs flat memory.
struct Window<'a> {
    file: &'a dyn FsFile,
    length: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(file: &'a dyn FsFile, length: u64) -> Self {
        Self {
            file,
            length,
            start: 0,
            buffer: Vec::new(),
        }
    }

    /// Up to `count` bytes at `offset`; fewer only at the end of the file.
    fn at(&mut self, offset: u64, count: u64) -> io::Result<&[u8]> {
        let end = offset.saturating_add(count).min(self.length);
        let held = self.start.saturating_add(wide(self.buffer.len()));
        if offset < self.start || end > held {
            let want = count
                .max(WINDOW_BYTES)
                .min(self.length.saturating_sub(offset));
            self.buffer.clear();
            self.buffer.resize(narrow(want), 0);
            self.start = offset;
            fs::read_exact_at(self.file, offset, &mut self.buffer)?;
        }
        let from = narrow(offset.saturating_sub(self.start));
        let to = narrow(end.saturating_sub(self.start));
        Ok(self.buffer.get(from..to).unwrap_or_default())
    }

    fn zeros_from(&mut self, mut offset: u64) -> io::Result<bool> {
        while offset < self.length {
            let bytes = self.at(offset, WINDOW_BYTES)?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            offset = offset.saturating_add(wide(bytes.len()));
        }
        Ok(true)
    }

    /// The next place after `offset` where a batch or a seal stands.
    fn landmark_after(&mut self, key: SegmentKey, offset: u64) -> io::Result<Option<u64>> {
        let mut at = offset.saturating_add(1);
        while at.saturating_add(LANDMARK_BYTES) <= self.length {
            let bytes = self.at(at, WINDOW_BYTES)?;
            let mut steps = 0;
            for candidate in bytes.windows(narrow(LANDMARK_BYTES)) {
                if let Some((header, payload)) =
                    candidate.split_at_checked(narrow(FRAME_HEADER_BYTES))
                    && header.starts_with(&LANDMARK_LENGTH)
                    && let Some(frame) = FrameHeader::decode(key, at.saturating_add(steps), header)
                    && frame.kind.is_landmark()
                    && frame.payload_is(payload)
                {
                    return Ok(Some(at.saturating_add(steps)));
                }
                steps = steps.saturating_add(1);
            }
            at = at.saturating_add(steps.max(1));
        }
        Ok(None)
    }
}

const MAGIC: &[u8; 8] = b"JBKSEG\r\n";
/// Chunks, and bodies, below this are copied next to their headers: a slice of its own costs the system more.
const COPY_BELOW: usize = 1024;
const WINDOW_BYTES: u64 = 1 << 20;
/// Batches and seals have eight bytes of payload.
const LANDMARK_LENGTH: [u8; 4] = 8_u32.to_le_bytes();
const LANDMARK_BYTES: u64 = FRAME_HEADER_BYTES + 8;
