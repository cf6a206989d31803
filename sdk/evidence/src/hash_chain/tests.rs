use jibek_certs::digest::{Digest, DigestAlgorithm, digest};
use proptest::prelude::*;

use super::*;

mod both_readers;
mod shapes;
use crate::{
    container::{Container, ContainerLimits},
    fixtures, names,
    timestamp::batch_imprint,
};

fn sha512(data: &[u8]) -> Digest {
    digest(DigestAlgorithm::Sha512, data)
}

/// `signatures-and-log.md` 2.7: three requests in one round, the second with two attachments.
fn worked_example() -> Vec<Leaf> {
    vec![
        Leaf::single(sha512(b"message-A")),
        Leaf::parts(
            sha512(b"message-B"),
            &[sha512(b"attachment-B1"), sha512(b"attachment-B2")],
        ),
        Leaf::single(sha512(b"message-C")),
    ]
}

#[test]
fn worked_example_has_the_written_top() {
    let chains = build(&worked_example(), ChainNames::Signature).unwrap();
    let result = String::from_utf8(chains.result.to_vec()).unwrap();
    assert!(result.contains(
        "<DigestValue>1uXjjSWen50HrtgfEDhJdkfZzcAV+NC1bdp7fMZpeZPPFj0cUBY940HuP5pAxUnF7/qY+YFJobCScd1C5u+RlA==</DigestValue>"
    ));
    let steps: Vec<usize> = chains
        .chains
        .iter()
        .map(|chain| {
            String::from_utf8_lossy(chain)
                .matches("<ns2:HashStep ")
                .count()
        })
        .collect();
    assert_eq!(steps, [2, 3, 1]);
}

#[test]
fn steps_of_other_digests_are_encoded_as_written() {
    let digests = [
        digest(DigestAlgorithm::Sha256, b"message-A"),
        digest(DigestAlgorithm::Sha256, b"attachment-A1"),
    ];
    assert_eq!(
        step_digest(DigestAlgorithm::Sha256, &digests).to_hex(),
        "1603b0251288c68f6cbab76ff12a043e9d3f6c2e71ec3a2e5465f8cc845eb6f4"
    );
}

#[test]
fn lengths_take_as_many_bytes_as_they_need() {
    for (length, header) in [
        (0, &[0x30, 0][..]),
        (127, &[0x30, 127]),
        (128, &[0x30, 0x81, 128]),
        (256, &[0x30, 0x82, 1, 0]),
        (65_536, &[0x30, 0x83, 1, 0, 0]),
    ] {
        let mut out = Vec::new();
        push_header(SEQUENCE, length, &mut out);
        assert_eq!(out, header);
    }
}

#[test]
fn real_signature_chain_is_rebuilt_byte_for_byte() {
    let Some(file) = fixtures::read(
        "real_signature_chain_is_rebuilt_byte_for_byte",
        "asic/valid-signed-hashchain.asice",
    ) else {
        return;
    };
    let container = Container::read(&file, &ContainerLimits::default()).unwrap();
    let chain = container.entry("sig-hashchain.xml").unwrap();
    let attachment = base64_after(chain, "/attachment1");
    let leaf = Leaf::parts(container.digest("message.xml").unwrap(), &[attachment]);
    let built = build(&[leaf], ChainNames::Signature).unwrap();
    assert_eq!(
        built.result,
        container.entry("sig-hashchainresult.xml").unwrap()
    );
    assert_eq!(&built.chains[0], chain);
}

/// The twenty containers of archive 1 share one stamp (`signatures-and-log.md` 7.3).
#[test]
fn real_stamp_batch_is_rebuilt_byte_for_byte() {
    let Some(file) = fixtures::read(
        "real_stamp_batch_is_rebuilt_byte_for_byte",
        "archives/message-archive-1.zip",
    ) else {
        return;
    };
    let archive = Container::read(&file, &ContainerLimits::default()).unwrap();
    let mut containers: Vec<(u64, Container)> = archive
        .entries()
        .filter_map(|(name, content)| {
            let record = name.strip_suffix(".asice")?.rsplit_once('-')?.1;
            Some((
                u64::from_str_radix(record, 32).unwrap(),
                Container::read(content, &ContainerLimits::default()).unwrap(),
            ))
        })
        .collect();
    containers.sort_by_key(|(record, _)| *record);
    assert_eq!(containers.len(), 20);
    let digests: Vec<Digest> = containers
        .iter()
        .map(|(_, container)| container.digest("META-INF/signatures.xml").unwrap())
        .collect();
    let plan = batch_imprint(&digests).unwrap();
    for ((record, container), chain) in containers.iter().zip(plan.chains()) {
        assert_eq!(
            &plan.imprint_data,
            container.entry("ts-hashchainresult.xml").unwrap(),
            "record {record}"
        );
        assert_eq!(
            &chain,
            container.entry("ts-hashchain.xml").unwrap(),
            "record {record}"
        );
    }
}

#[test]
fn archived_signature_chains_are_rebuilt_byte_for_byte() {
    let Some(file) = fixtures::read(
        "archived_signature_chains_are_rebuilt_byte_for_byte",
        "archives/message-archive-1.zip",
    ) else {
        return;
    };
    let archive = Container::read(&file, &ContainerLimits::default()).unwrap();
    let mut seen = 0;
    for (_, content) in archive
        .entries()
        .filter(|(name, _)| name.ends_with(".asice"))
    {
        let container = Container::read(content, &ContainerLimits::default()).unwrap();
        let (Some(chain), Some(result)) = (
            container.entry("sig-hashchain.xml"),
            container.entry("sig-hashchainresult.xml"),
        ) else {
            continue;
        };
        let leaf = Leaf::parts(
            container.digest("message.xml").unwrap(),
            &[base64_after(chain, "/attachment1")],
        );
        let built = build(&[leaf], ChainNames::Signature).unwrap();
        assert_eq!(&built.result, result);
        assert_eq!(&built.chains[0], chain);
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn nothing_and_weak_digests_are_refused() {
    assert_eq!(
        build(&[], ChainNames::Signature).unwrap_err(),
        BuildError::Empty
    );
    let weak = Leaf::single(digest(DigestAlgorithm::Sha256, b""));
    assert_eq!(
        build(&[weak], ChainNames::Signature).unwrap_err(),
        BuildError::NotSha512(DigestAlgorithm::Sha256)
    );
}

fn required(parts: usize) -> Vec<String> {
    (0..parts)
        .map(|part| {
            if part == 0 {
                names::MESSAGE.to_owned()
            } else {
                names::attachment(part)
            }
        })
        .collect()
}

fn check(result: &[u8], chain: &[u8], parts: &[Digest]) -> Result<VerifiedChain, ChainError> {
    let required = required(parts.len());
    let inputs = |name: &str| match required.iter().position(|part| part == name) {
        Some(part) => Input::Digest(parts[part]),
        None => Input::Unknown,
    };
    verify(result, names::SIGNATURE_CHAIN, chain, &inputs, &required)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Every leaf's chain leads to the result, and to no other.
    #[test]
    fn every_leaf_finds_its_way(sizes in proptest::collection::vec(1_usize..5, 1..40), other: u8) {
        prop_assume!(sizes.len() > 1 || sizes[0] > 1);
        let parts: Vec<Vec<Digest>> = sizes
            .iter()
            .enumerate()
            .map(|(leaf, size)| (0..*size).map(|part| sha512(format!("{leaf}/{part}").as_bytes())).collect())
            .collect();
        let leaves: Vec<Leaf> = parts.iter().map(|parts| Leaf::parts(parts[0], &parts[1..])).collect();
        let built = build(&leaves, ChainNames::Signature).unwrap();
        for (parts, chain) in parts.iter().zip(&built.chains) {
            let verified = check(&built.result, chain, parts).unwrap();
            prop_assert_eq!(verified.references().len(), parts.len());
            let mut changed = parts.clone();
            let at = usize::from(other) % changed.len();
            changed[at] = sha512(b"another");
            prop_assert_eq!(check(&built.result, chain, &changed).unwrap_err().code(), "invalid_hash_chain");
        }
    }
}

const RESULT: &str = "<ns2:HashChainResult URI=\"/sig-hashchain.xml#STEP0\" xmlns=\"http://www.w3.org/2000/09/xmldsig#\" \
    xmlns:ns2=\"http://cyber.ee/hashchain\"><DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha512\"/><DigestValue>VALUE</DigestValue></ns2:HashChainResult>";

fn chain_of(steps: &str) -> String {
    format!(
        "<ns2:HashChain xmlns=\"http://www.w3.org/2000/09/xmldsig#\" xmlns:ns2=\"http://cyber.ee/hashchain\">\
         <ns2:DefaultDigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha512\"/>{steps}</ns2:HashChain>"
    )
}

fn result_of(top: &Digest) -> String {
    RESULT.replace("VALUE", &top.to_base64())
}

#[test]
fn hostile_chains_are_refused() {
    let part = sha512(b"part");
    let result = result_of(&part);
    let data = format!(
        "<ns2:DataRef URI=\"/message.xml\"><DigestValue>{}</DigestValue></ns2:DataRef>",
        part.to_base64()
    );
    let deep: String = (0..4000)
        .map(|step| {
            format!(
                "<ns2:HashStep id=\"STEP{step}\"><ns2:StepRef URI=\"#STEP{}\"/></ns2:HashStep>",
                step + 1
            )
        })
        .collect();
    let wide: String = (0..5000)
        .map(|step| format!("<ns2:HashStep id=\"STEP{step}\"/>"))
        .collect();
    // Two references to each next step: 2^60 ways to the bottom unless each step is walked once.
    let fan: String = (0..60)
        .map(|step| format!("<ns2:HashStep id=\"STEP{step}\"><ns2:StepRef URI=\"#STEP{0}\"/><ns2:StepRef URI=\"#STEP{0}\"/></ns2:HashStep>", step + 1))
        .chain([format!("<ns2:HashStep id=\"STEP60\">{data}</ns2:HashStep>")])
        .collect();
    for (what, steps, code) in [
        ("a cycle", "<ns2:HashStep id=\"STEP0\"><ns2:StepRef URI=\"#STEP1\"/></ns2:HashStep><ns2:HashStep id=\"STEP1\"><ns2:StepRef URI=\"#STEP0\"/></ns2:HashStep>".to_owned(), "malformed_hash_chain"),
        ("a step in itself", "<ns2:HashStep id=\"STEP0\"><ns2:StepRef URI=\"#STEP0\"/></ns2:HashStep>".to_owned(), "malformed_hash_chain"),
        ("depth", deep, "malformed_hash_chain"),
        ("many steps", wide, "malformed_hash_chain"),
        ("a fan", fan, "invalid_hash_chain"),
        ("an empty step", "<ns2:HashStep id=\"STEP0\"/>".to_owned(), "malformed_hash_chain"),
        ("two steps of one id", format!("<ns2:HashStep id=\"STEP0\">{data}</ns2:HashStep>").repeat(2), "malformed_hash_chain"),
        ("no such step", format!("<ns2:HashStep id=\"OTHER\">{data}</ns2:HashStep>"), "malformed_hash_chain"),
        ("another file", "<ns2:HashStep id=\"STEP0\"><ns2:StepRef URI=\"/other.xml#STEP0\"/></ns2:HashStep>".to_owned(), "invalid_reference"),
        ("an unknown part", format!("<ns2:HashStep id=\"STEP0\">{}</ns2:HashStep>", data.replace("message.xml", "attachment9")), "invalid_reference"),
        ("a path", format!("<ns2:HashStep id=\"STEP0\">{}</ns2:HashStep>", data.replace("/message.xml", "/../../etc/passwd")), "invalid_reference"),
        ("a foreign element", format!("<ns2:HashStep id=\"STEP0\">{data}</ns2:HashStep><x/>"), "malformed_hash_chain"),
        ("a short digest", "<ns2:HashStep id=\"STEP0\"><ns2:HashValue><DigestValue>AAAA</DigestValue></ns2:HashValue></ns2:HashStep>".to_owned(), "malformed_hash_chain"),
        ("transforms", format!("<ns2:HashStep id=\"STEP0\">{}</ns2:HashStep>", data.replace("<DigestValue", "<Transforms><Transform Algorithm=\"x\"/></Transforms><DigestValue")), "malformed_hash_chain"),
        ("another top", format!("<ns2:HashStep id=\"STEP0\">{data}</ns2:HashStep>"), "invalid_hash_chain"),
    ] {
        let error = check(result.as_bytes(), chain_of(&steps).as_bytes(), &[part]).unwrap_err();
        assert_eq!(error.code(), code, "{what}: {error}");
    }
}

#[test]
fn hostile_results_are_refused() {
    let part = sha512(b"part");
    let chain = chain_of(&format!(
        "<ns2:HashStep id=\"STEP0\"><ns2:DataRef URI=\"/message.xml\"><DigestValue>{}</DigestValue></ns2:DataRef></ns2:HashStep>",
        part.to_base64()
    ));
    let good = result_of(&step_digest(DigestAlgorithm::Sha512, &[part]));
    assert!(check(good.as_bytes(), chain.as_bytes(), &[part]).is_ok());
    for (what, result, code) in [
        ("text", "foobar".to_owned(), "malformed_hash_chain"),
        (
            "no fragment",
            good.replace("#STEP0", ""),
            "malformed_hash_chain",
        ),
        (
            "an empty fragment",
            good.replace("#STEP0", "#"),
            "malformed_hash_chain",
        ),
        (
            "another file",
            good.replace("/sig-hashchain.xml", "/other.xml"),
            "invalid_reference",
        ),
        (
            "a DOCTYPE",
            format!("<!DOCTYPE x []>{good}"),
            "malformed_hash_chain",
        ),
        (
            "an unknown method",
            good.replace("xmlenc#sha512", "xmlenc#md5"),
            "malformed_hash_chain",
        ),
        (
            "another root",
            good.replace("HashChainResult", "HashChain"),
            "malformed_hash_chain",
        ),
    ] {
        let error = check(result.as_bytes(), chain.as_bytes(), &[part]).unwrap_err();
        assert_eq!(error.code(), code, "{what}: {error}");
    }
}

/// `observed.md` 3: a part missing from the chain is refused; the value written beside a known part is not looked at.
#[test]
fn parts_left_out_are_refused() {
    let parts = [sha512(b"message"), sha512(b"body")];
    let alone = build(&[Leaf::single(parts[0])], ChainNames::Signature).unwrap();
    let error = check(&alone.result, &alone.chains[0], &parts).unwrap_err();
    assert_eq!(error.code(), "hashchain_unused_inputs");
    let both = build(&[Leaf::parts(parts[0], &parts[1..])], ChainNames::Signature).unwrap();
    let other = String::from_utf8_lossy(&both.chains[0])
        .replace(&parts[1].to_base64(), &sha512(b"other").to_base64());
    assert!(check(&both.result, other.as_bytes(), &parts).is_ok());
}

#[test]
fn prefixes_do_not_matter() {
    let built = build(&worked_example(), ChainNames::Signature).unwrap();
    let swap = |xml: &[u8]| {
        String::from_utf8_lossy(xml)
            .replace("<Digest", "<ds:Digest")
            .replace("</Digest", "</ds:Digest")
            .replace("xmlns=", "xmlns:ds=")
            .replace("xmlns:ns2=", "xmlns=")
            .replace("<ns2:", "<")
            .replace("</ns2:", "</")
    };
    check(
        swap(&built.result).as_bytes(),
        swap(&built.chains[2]).as_bytes(),
        &[sha512(b"message-C")],
    )
    .unwrap();
}

/// The digest in the first `DigestValue` behind `mark`.
fn base64_after(xml: &[u8], mark: &str) -> Digest {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = std::str::from_utf8(xml).unwrap();
    let behind = text.split_once(mark).unwrap().1;
    let value = behind
        .split_once("<DigestValue>")
        .unwrap()
        .1
        .split_once('<')
        .unwrap()
        .0;
    Digest::from_bytes(DigestAlgorithm::Sha512, &STANDARD.decode(value).unwrap()).unwrap()
}
