use std::collections::HashMap;

use proptest::prelude::*;

use super::{Packer, put_base64, unpack};

fn chain(steps: u8, digests: &[[u8; 64]]) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<ns2:HashChain xmlns=\"http://www.w3.org/2000/09/xmldsig#\" xmlns:ns2=\"http://cyber.ee/hashchain\">\n    <ns2:DefaultDigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha512\"/>\n".to_owned();
    for (step, digest) in (0..steps).zip(digests) {
        let mut base64 = Vec::new();
        put_base64(&mut base64, digest);
        let base64 = String::from_utf8(base64).unwrap();
        text += &format!(
            "    <ns2:HashStep id=\"STEP{step}\">\n        <ns2:HashValue>\n            <DigestValue>{base64}</DigestValue>\n        </ns2:HashValue>\n        <ns2:StepRef URI=\"#STEP{}\"/>\n    </ns2:HashStep>\n",
            step + 1
        );
    }
    text + "</ns2:HashChain>\n"
}

/// A segment that holds what was packed, one text behind the other.
#[derive(Default)]
struct Segment {
    packer: Packer,
    bytes: Vec<u8>,
}

impl Segment {
    /// Packs a text, keeps it, and reads it back.
    fn take(&mut self, text: &[u8]) -> Option<usize> {
        let (packed, fresh) = self.packer.pack(text)?;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&packed);
        self.packer.remember(fresh, u64::try_from(start).unwrap());
        assert_eq!(self.read(&packed).as_deref(), Some(text));
        Some(packed.len())
    }

    fn read(&self, packed: &[u8]) -> Option<Vec<u8>> {
        unpack(packed, |offset, into| {
            let from = usize::try_from(offset).unwrap();
            let bytes = self.bytes.get(from..from + into.len());
            into.copy_from_slice(bytes.ok_or(std::io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
        .ok()
        .flatten()
    }
}

#[test]
fn a_chain_costs_little_more_than_its_own_digests() {
    let mut segment = Segment::default();
    let digests: Vec<[u8; 64]> = (0..8).map(|it| [it * 31; 64]).collect();
    let text = chain(7, &digests);
    assert!(text.len() > 1900, "{}", text.len());
    let first = segment.take(text.as_bytes()).unwrap();
    assert!(first < 7 * 64 + 60, "{first}");
    // Its neighbour: one digest of its own, six that stand there already.
    let mut others = digests.clone();
    others[6] = [99; 64];
    let second = segment.take(chain(7, &others).as_bytes()).unwrap();
    assert!(second < 64 + 7 * 10 + 20, "{second}");
    // After a roll nothing is known any more.
    segment.packer.clear();
    assert_eq!(segment.take(text.as_bytes()), Some(first));
}

#[test]
fn header_lines_come_again() {
    let request = |id: u32| {
        format!(
            "GET\r\n/r1/KG/GOV/70000003/registry/person?id=7\r\nx-road-client:KG/GOV/70000004/portal\r\nx-road-id:d41d8cd9-8f00-b204-e980-0998ec{id:06}\r\naccept:application/json\r\n"
        )
    };
    let mut segment = Segment::default();
    segment.take(request(1).as_bytes());
    let length = segment.take(request(2).as_bytes()).unwrap();
    assert!(length < 90, "{length} of {}", request(2).len());
}

#[test]
fn what_gains_nothing_is_left_alone() {
    let packer = Packer::default();
    for text in ["", "x", "<a>b</a>", &"y".repeat(100_000)] {
        assert!(packer.pack(text.as_bytes()).is_none(), "{text:.20}");
    }
}

/// A line that looks like a digest and is not written as we write digests comes back as it was.
#[test]
fn odd_digests_come_back_byte_for_byte() {
    let mut segment = Segment::default();
    let digest =
        |base64: &str| format!("            <DigestValue>{base64}</DigestValue>\n").repeat(3);
    let odd = [
        "A".repeat(86) + "==",
        // bits beyond the last byte
        "A".repeat(85) + "B==",
        "A".repeat(88),
        "A".repeat(87) + "=",
        "A".repeat(85) + "?==",
        String::new(),
    ];
    for base64 in odd {
        segment.take(digest(&base64).as_bytes());
    }
}

#[test]
fn damage_is_seen() {
    let mut segment = Segment::default();
    let text = chain(5, &[[1; 64], [2; 64], [3; 64], [4; 64], [5; 64]]);
    segment.take(text.as_bytes()).unwrap();
    let (packed, _) = segment.packer.pack(text.as_bytes()).unwrap();
    assert!(packed.len() < 90);
    for at in 0..packed.len() {
        for bit in 0..8 {
            let mut flipped = packed.clone();
            flipped[at] ^= 1 << bit;
            // The same line may stand in another place, too; another text is never read.
            let read = segment.read(&flipped);
            let right = read.is_none() || read.as_deref() == Some(text.as_bytes());
            assert!(right, "byte {at} bit {bit}");
        }
        assert_eq!(segment.read(&packed[..at]), None);
    }
    // And where it refers to.
    let place = segment
        .bytes
        .windows(64)
        .position(|it| it == [4; 64])
        .unwrap();
    segment.bytes[place] ^= 1;
    assert_eq!(segment.read(&packed), None);
}

proptest! {
    #[test]
    fn any_text_comes_back(lines in prop::collection::vec(prop_oneof![
        "[a-z<>/=\"\r ]{0,60}",
        Just("        <ns2:HashValue>".to_owned()),
        Just("x-road-client:KG/GOV/70000004/portal".to_owned()),
        Just(format!("            <DigestValue>{}==</DigestValue>", "Q".repeat(86))),
        Just(format!("            <DigestValue>{}A==</DigestValue>", "R".repeat(85))),
        "[a-z]{250,300}",
    ], 0..30), ended in any::<bool>()) {
        let mut text = lines.join("\n");
        if ended { text.push('\n'); }
        let mut segment = Segment::default();
        for _ in 0..2 {
            segment.take(text.as_bytes());
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(packed in prop::collection::vec(any::<u8>(), 0..200)) {
        let segment = Segment { bytes: vec![7; 1000], ..Segment::default() };
        let _ = segment.read(&packed);
    }

    #[test]
    fn base64_is_the_standard(digest in prop::collection::vec(any::<u8>(), 64)) {
        let digest: [u8; 64] = digest.try_into().unwrap();
        let mut text = Vec::new();
        put_base64(&mut text, &digest);
        prop_assert_eq!(text.len(), 88);
        prop_assert_eq!(super::from_base64(&text), Some(digest));
    }
}

/// Old places are forgotten; what is forgotten is written again.
#[test]
fn memory_is_bounded() {
    let mut segment = Segment::default();
    for number in 0..20_000_u32 {
        let line = format!("header-{number}: value\n").repeat(2);
        segment.take(line.as_bytes());
    }
    assert!(segment.packer.places.len() <= super::MOST_PLACES + 1);
    let known: HashMap<_, _> = segment.packer.places.iter().collect();
    assert!(known.len() >= super::MOST_PLACES / 2);
}
