use jibek_certs::digest::{Digest, DigestAlgorithm, digest};

use super::verify;
use crate::{
    container::{Container, ContainerLimits},
    fixtures,
    hash_chain::{ChainNames, Input, Leaf, build, verify::walk},
    names,
};

fn sha512(text: &str) -> Digest {
    digest(DigestAlgorithm::Sha512, text.as_bytes())
}

/// Data by their names: every second one by its bytes alone.
fn inputs(name: &str) -> Input<'static> {
    let known = [names::MESSAGE, "/attachment1", "/attachment2"];
    let known = known.into_iter().enumerate();
    match known.into_iter().find(|(_, known)| *known == name) {
        Some((1, name)) => Input::Hashed(name.as_bytes(), sha512(name)),
        Some((_, name)) => Input::Data(name.as_bytes()),
        None => Input::OnTrust,
    }
}

/// A yes must be the walk's yes; tells whether it was one.
fn agree(result: &[u8], chain: &[u8]) -> bool {
    let Some(plain) = verify(result, names::SIGNATURE_CHAIN, chain, &inputs) else {
        return false;
    };
    let walked = walk(result, names::SIGNATURE_CHAIN, chain, &inputs, &[]);
    let walked = walked.unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(chain));
    });
    assert_eq!(plain, walked.references());
    true
}

fn message(attachments: usize) -> Leaf {
    let others: Vec<Digest> = (1..=attachments)
        .map(|number| sha512(&names::attachment(number)))
        .collect();
    Leaf::parts(sha512(names::MESSAGE), &others)
}

#[test]
fn what_we_write_is_read_in_one_pass_and_as_the_walk_reads_it() {
    for count in 1..35_usize {
        let leaves: Vec<Leaf> = (0..count).map(|number| message(number % 3)).collect();
        let built = build(&leaves, ChainNames::Signature).unwrap();
        for (number, chain) in built.chains.iter().enumerate() {
            assert!(agree(&built.result, chain), "{number} of {count}");
        }
    }
}

/// Every bit flipped, every byte taken out, put there twice or changed for a letter that means something.
#[test]
fn no_change_is_taken_that_the_walk_refuses() {
    let leaves = [message(2), message(0), message(0)];
    let built = build(&leaves, ChainNames::Signature).unwrap();
    let mut taken = 0_usize;
    for chain in &built.chains[..2] {
        for (what, whole) in [(0, chain), (1, &built.result)] {
            for at in 0..whole.len() {
                for mutant in mutants(whole, at) {
                    let held = match what {
                        0 => agree(&built.result, &mutant),
                        _ => agree(&mutant, chain),
                    };
                    taken += usize::from(held);
                }
            }
        }
    }
    // what is taken on trust may have any name
    assert!((1..2000).contains(&taken), "{taken}");
}

fn mutants(whole: &[u8], at: usize) -> Vec<Vec<u8>> {
    let with = |byte: u8| {
        let mut mutant = whole.to_vec();
        mutant[at] = byte;
        mutant
    };
    let between = |bytes: &[u8]| [&whole[..at], bytes, &whole[at..]].concat();
    let mut mutants: Vec<Vec<u8>> = (0..8).map(|bit| with(whole[at] ^ (1 << bit))).collect();
    mutants.extend(b" \n<>\"=&;0A/".iter().map(|byte| with(*byte)));
    mutants.push([&whole[..at], &whole[at + 1..]].concat());
    for more in [
        &whole[at..=at],
        b" ",
        b"\n",
        b"\r\n",
        b"<!---->",
        b"&#32;",
        b"x",
    ] {
        mutants.push(between(more));
    }
    mutants
}

/// Whole elements gone, twice, or elsewhere.
#[test]
fn no_other_order_of_lines_is_taken_that_the_walk_refuses() {
    let built = build(&[message(2), message(0), message(1)], ChainNames::Signature).unwrap();
    for chain in &built.chains {
        let lines: Vec<&str> = std::str::from_utf8(chain).unwrap().lines().collect();
        for from in 0..lines.len() {
            for to in from..=lines.len() {
                let (first, rest) = lines.split_at(from);
                let (middle, last) = rest.split_at(to - from);
                let line = |lines: &[&str]| lines.join("\n");
                agree(&built.result, line(&[first, last].concat()).as_bytes());
                let twice = line(&[first, middle, middle, last].concat());
                agree(&built.result, twice.as_bytes());
                let moved = line(&[first, last, middle].concat());
                agree(&built.result, moved.as_bytes());
            }
        }
    }
}

#[test]
fn data_that_are_not_what_the_chain_says_are_for_the_walk() {
    let built = build(&[message(1), message(0)], ChainNames::Signature).unwrap();
    let verify_with = |input: &dyn Fn(&str) -> Input<'static>| {
        let chain = &built.chains[0];
        verify(&built.result, names::SIGNATURE_CHAIN, chain, input).is_some()
    };
    let other = sha512("other");
    assert!(verify_with(&|_| Input::OnTrust));
    assert!(!verify_with(&|_| Input::Unknown));
    assert!(!verify_with(&|_| Input::Data(b"other")));
    assert!(!verify_with(&|_| Input::Digest(other)));
    assert!(!verify_with(&|_| Input::Hashed(b"other", other)));
    assert!(verify_with(&|name| Input::Digest(sha512(name))));
    assert!(!verify_with(&|name| {
        Input::Digest(digest(DigestAlgorithm::Sha256, name.as_bytes()))
    }));
}

/// Chains of X-Road's own containers are read in one pass, with the walk's answer.
#[test]
fn chains_of_x_road_are_read_in_one_pass() {
    let test = "chains_of_x_road_are_read_in_one_pass";
    for (file, kind, chain_name) in [
        ("valid-signed-hashchain", "sig", names::SIGNATURE_CHAIN),
        ("valid-batch-ts", "ts", names::STAMP_CHAIN),
    ] {
        let Some(bytes) = fixtures::read(test, &format!("asic/{file}.asice")) else {
            return;
        };
        let container = Container::read(&bytes, &ContainerLimits::default()).unwrap();
        let entry = |what: &str| container.entry(&format!("{kind}-hashchain{what}.xml"));
        let (result, chain) = (entry("result").unwrap(), entry("").unwrap());
        let plain = verify(result, chain_name, chain, &|_| Input::OnTrust);
        let walked = walk(result, chain_name, chain, &|_| Input::OnTrust, &[]);
        assert_eq!(plain.expect(file), walked.expect(file).references());
    }
}
