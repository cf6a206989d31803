//! The one-bit test: change any bit of what a verdict rests on, and the container is not valid any more.
//!
//! Some thousand bits in every run, all of them with `JIBEK_ALL_FLIPS` set (hours). Bits of signed XML that leave its canonical form
//! as it is (white space in a tag) change nothing that is said: they are counted apart, and must verify, unless the document is under
//! a batch's stamp, which covers every byte of it.

use bytes::Bytes;
use jibek_certs::{
    parse::Certificate,
    trust::{ApprovedCa, Authorities, Trust},
};
use std::time::Duration;

use crate::{
    container::{Container, ContainerLimits, write_container},
    court::{Court, REQUEST},
    fixtures,
    verify::{
        CoveredKind, CoveredPart, Exhibits, Outcome, Verdict, covered, signed_form,
        verify_container,
    },
    xml,
};

/// The configuration of a fixture, as far as a verdict needs it.
pub(crate) struct FixtureTrust {
    instance: String,
    authorities: Authorities,
    stamps: Vec<Certificate>,
}

impl FixtureTrust {
    /// Of a file `shared-params.xml`.
    pub(crate) fn read(test: &str, path: &str) -> Option<Self> {
        let bytes = fixtures::read(test, path)?;
        let tree = xml::parse(&bytes).unwrap();
        let named = |node: roxmltree::Node<'_, '_>, name: &str| -> Vec<String> {
            node.descendants()
                .filter(|node| node.has_tag_name(name))
                .map(|node| node.text().unwrap_or_default().trim().to_owned())
                .collect()
        };
        let certificates = |node: roxmltree::Node<'_, '_>| -> Vec<Certificate> {
            node.descendants()
                .filter(|node| node.has_tag_name("cert"))
                .map(|node| Certificate::from_der_or_pem(&xml::base64(node).unwrap()).unwrap())
                .collect()
        };
        let root = tree.root_element();
        let authorities = root
            .children()
            .filter(|node| node.has_tag_name("approvedCA"))
            .map(|ca| {
                let mut certificates = certificates(ca);
                let profile = named(ca, "certificateProfileInfo").remove(0);
                let mut approved = ApprovedCa::new(certificates.remove(0), true, profile);
                approved.ocsp_responders = certificates;
                approved
            })
            .collect();
        let stamps = root
            .children()
            .filter(|node| node.has_tag_name("approvedTSA"))
            .flat_map(certificates)
            .collect();
        Some(Self {
            instance: named(root, "instanceIdentifier").remove(0),
            authorities: Authorities::new(authorities),
            stamps,
        })
    }
}

impl Trust for FixtureTrust {
    fn own_instance(&self) -> &str {
        &self.instance
    }

    fn authorities(&self, instance: &str) -> Option<&Authorities> {
        (instance == self.instance).then_some(&self.authorities)
    }

    fn all_authorities(&self) -> Vec<&Authorities> {
        vec![&self.authorities]
    }

    fn timestamp_certificates(&self) -> &[Certificate] {
        &self.stamps
    }

    fn ocsp_freshness(&self) -> Duration {
        Duration::from_secs(3600)
    }

    fn verify_next_update(&self) -> bool {
        true
    }
}

/// What a run comes to.
#[derive(Debug, Default)]
struct Tally {
    containers: usize,
    tried: usize,
    /// Valid, and should not be.
    accepted: Vec<String>,
    /// Signed XML whose canonical form is as it was: valid, as they must be.
    equal: usize,
    /// Bodies behind a hash chain, where X-Road's verdict stands and the difference is told.
    told: usize,
    /// Flips of raw bytes of the file.
    raw: usize,
    /// Of these, how many touched nothing that is covered.
    raw_beside: usize,
}

struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap() % bound
    }
}

impl Tally {
    /// Flips `samples` bits of each covered part, or all, and as many of the file.
    fn try_container(
        &mut self,
        name: &str,
        file: &[u8],
        trust: &dyn Trust,
        samples: Option<usize>,
    ) {
        let container = read(file).unwrap();
        let verdict = verify_container(&container, trust);
        assert!(is_valid(&verdict), "{name}: {verdict:?}");
        self.containers += 1;
        let parts = covered(&container);
        let kinds: Vec<CoveredKind> = parts.iter().map(CoveredPart::kind).collect();
        for kind in [
            CoveredKind::Message,
            CoveredKind::SignedInfo,
            CoveredKind::SignedProperties,
            CoveredKind::SignatureValue,
            CoveredKind::TimeStamp,
        ] {
            assert!(kinds.contains(&kind), "{name} has no {kind:?}");
        }
        let mut draw = Draw(0x9e37_79b9_7f4a_7c15 ^ u64::try_from(file.len()).unwrap());
        for part in &parts {
            let bits = part.bits();
            assert!(bits > 0, "{name}: {:?} is empty", part.kind());
            match samples {
                Some(samples) => {
                    for _ in 0..samples {
                        self.flip(name, &container, part, draw.below(bits), trust);
                    }
                }
                None => (0..bits).for_each(|bit| self.flip(name, &container, part, bit, trust)),
            }
        }
        let bits = file.len() * 8;
        match samples {
            Some(samples) => {
                for _ in 0..samples {
                    self.flip_raw(name, file, &container, draw.below(bits), trust);
                }
            }
            None => (0..bits).for_each(|bit| self.flip_raw(name, file, &container, bit, trust)),
        }
    }

    fn flip(
        &mut self,
        name: &str,
        container: &Container,
        part: &CoveredPart,
        bit: usize,
        trust: &dyn Trust,
    ) {
        let content = container.entry(part.entry()).unwrap();
        let changed = Bytes::from(part.flipped(content, bit).unwrap());
        assert_ne!(*content, changed);
        self.tried += 1;
        let verdict = verify_container(&with(container, part.entry(), &changed), trust);
        let place = || format!("{name}: bit {bit} of {:?} in {}", part.kind(), part.entry());
        match part.kind() {
            CoveredKind::SignedInfo | CoveredKind::SignedProperties
                if signed_form(&changed) == signed_form(content) =>
            {
                self.equal += 1;
                assert_eq!(
                    is_valid(&verdict),
                    !container.has("ts-hashchainresult.xml"),
                    "{} changes nothing: {verdict:?}",
                    place()
                );
            }
            CoveredKind::AttachmentOnTrust => {
                self.told += 1;
                let ids: Vec<&str> = verdict
                    .findings
                    .iter()
                    .map(|finding| finding.id())
                    .collect();
                assert!(ids.contains(&"attachment_differs"), "{}: {ids:?}", place());
            }
            _ if is_valid(&verdict) => self.accepted.push(place()),
            _ => {}
        }
    }

    /// Whatever bit of the file: it is refused, or what is covered is there unchanged.
    fn flip_raw(
        &mut self,
        name: &str,
        file: &[u8],
        original: &Container,
        bit: usize,
        trust: &dyn Trust,
    ) {
        self.raw += 1;
        let mut changed = file.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        let Ok(container) = read(&changed) else {
            return;
        };
        if !is_valid(&verify_container(&container, trust)) {
            return;
        }
        self.raw_beside += 1;
        if !says_the_same(original, &container) {
            self.accepted.push(format!("{name}: bit {bit} of the file"));
        }
    }
}

fn read(file: &[u8]) -> Result<Container, crate::container::ReadError> {
    Container::read(file, &ContainerLimits::default())
}

fn is_valid(verdict: &Verdict) -> bool {
    matches!(verdict.outcome, Outcome::Valid(_))
}

/// The container with another content of one entry.
pub(crate) fn with(container: &Container, name: &str, content: &Bytes) -> Container {
    let entries = container.entries().map(|(entry, bytes)| {
        let bytes = if entry == name { content } else { bytes };
        (entry.to_owned(), bytes.clone())
    });
    Container::from_entries(entries).unwrap()
}

fn zipped(container: &Container) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in container.entries() {
        zip.start_file(name, options).unwrap();
        std::io::Write::write_all(&mut zip, content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Whether all that is covered is in both alike.
fn says_the_same(one: &Container, other: &Container) -> bool {
    let whole = covered(one).iter().all(|part| match part.kind() {
        CoveredKind::Message | CoveredKind::Attachment | CoveredKind::ChainResult => {
            one.entry(part.entry()) == other.entry(part.entry())
        }
        _ => true,
    });
    let signatures = |container: &Container| {
        let document = container.entry("META-INF/signatures.xml").unwrap();
        let exhibits = Exhibits::of(container);
        let value = exhibits
            .signature()
            .map(|signature| signature.value().clone());
        let token = exhibits
            .token()
            .map(|token| (token.imprint().to_hex(), token.gen_time()));
        (signed_form(document), value, token)
    };
    whole && signatures(one) == signatures(other)
}

const FIXTURES: [&str; 6] = [
    "asic/valid-signed-message.asice",
    "asic/valid-signed-hashchain.asice",
    "asic/valid-batch-ts.asice",
    "asic/valid-non-batch-rest.asice",
    "asic/valid-non-batch-soap-attachments.asice",
    "asic-core/valid-signed-message-with-attachments.asice",
];

#[test]
fn one_flipped_bit_is_never_valid() {
    let all = std::env::var_os("JIBEK_ALL_FLIPS").is_some();
    let samples = (!all).then_some(40);
    let mut tally = Tally::default();
    // ours: alone, with a body behind a chain, one of a batch
    let court = Court::new();
    let made = [
        court.contain(&[(REQUEST, None)]).remove(0),
        court.contain(&[(REQUEST, Some("body"))]).remove(0),
        court
            .contain(&[(REQUEST, Some("body")), (REQUEST, None), (REQUEST, None)])
            .remove(1),
    ];
    for (number, parts) in made.iter().enumerate() {
        let file = write_container(parts).unwrap();
        tally.try_container(
            &format!("ours {number}"),
            &file,
            &court.scene.trust,
            samples,
        );
    }
    let configuration = "globalconf/globalconf_good2_v3/DEV/shared-params.xml";
    if let Some(trust) = FixtureTrust::read("one_flipped_bit_is_never_valid", configuration) {
        for path in FIXTURES {
            let file = fixtures::read("one_flipped_bit_is_never_valid", path).unwrap();
            tally.try_container(path, &file, &trust, samples);
        }
        // the same with white space in a tag, of which one bit makes other white space
        let file = fixtures::read("one_flipped_bit_is_never_valid", FIXTURES[0]).unwrap();
        let container = read(&file).unwrap();
        let name = "META-INF/signatures.xml";
        let document = String::from_utf8(container.entry(name).unwrap().to_vec()).unwrap();
        let tag = format!("<ds:SignedInfo{}>", "\t".repeat(2000));
        let document = Bytes::from(document.replace("<ds:SignedInfo>", &tag));
        let file = zipped(&with(&container, name, &document));
        let before = tally.equal;
        tally.try_container("white space", &file, &trust, samples);
        assert!(tally.equal > before);
    }
    let configuration = "globalconf/globalconf_cs/CS/shared-params.xml";
    if let Some(trust) = FixtureTrust::read("one_flipped_bit_is_never_valid", configuration) {
        let file = fixtures::read(
            "one_flipped_bit_is_never_valid",
            "archives/message-archive-1.zip",
        );
        let archive = crate::archive::Archive::open(
            std::io::Cursor::new(file.unwrap()),
            &crate::archive::ArchiveLimits::default(),
        );
        let mut archive = archive.unwrap();
        let mut number = 0;
        while let Some(container) = archive.next_container() {
            // a request, a response, a multi-part one among them; all of them when asked
            if all || number % 7 == 2 {
                let bytes = container.bytes().unwrap();
                tally.try_container(container.name(), bytes, &trust, samples);
            }
            number += 1;
        }
    }
    println!(
        "FLIPS {} bits of what is covered in {} containers: {} accepted, {} canonically equal, {} in bodies behind a \
         hash chain (told); {} bits of the files: {} beside what is covered",
        tally.tried,
        tally.containers,
        tally.accepted.len(),
        tally.equal,
        tally.told,
        tally.raw,
        tally.raw_beside
    );
    assert_eq!(tally.accepted, Vec::<String>::new());
    assert!(tally.tried > 500 && tally.equal < tally.tried / 4);
}
