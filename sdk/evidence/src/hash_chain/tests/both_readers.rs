//! The short reader and the walk must not differ: what the one takes, the other finds right, with the same data.

use super::super::{verify::walk, written};
use super::*;

fn parts(name: &str) -> Input<'static> {
    match name {
        "/message.xml" => Input::Data(b"message-B"),
        "/attachment1" => Input::Digest(sha512(b"attachment-B1")),
        "/attachment2" => Input::OnTrust,
        _ => Input::Unknown,
    }
}

fn same(result: &[u8], chain: &[u8]) -> bool {
    let short = written::verify(result, names::SIGNATURE_CHAIN, chain, &parts);
    let Some(short) = short else { return false };
    let long = walk(result, names::SIGNATURE_CHAIN, chain, &parts, &[]).unwrap();
    assert_eq!(short, long.references());
    true
}

/// Among `leaves` messages, number `own` is the one with two attachments.
fn batch(leaves: usize, own: usize) -> Chains {
    let leaf = |number: usize| match number == own {
        true => worked_example()[1].clone(),
        false => Leaf::single(sha512(&number.to_be_bytes())),
    };
    let leaves: Vec<_> = (0..leaves).map(leaf).collect();
    build(&leaves, ChainNames::Signature).unwrap()
}

#[test]
fn every_place_in_every_tree_is_read_shortly() {
    for leaves in 1..=17 {
        for own in 0..leaves {
            let chains = batch(leaves, own);
            assert!(
                same(&chains.result, &chains.chains[own]),
                "{own} of {leaves}"
            );
        }
    }
}

#[test]
fn a_changed_byte_is_never_taken_shortly_and_refused_at_length() {
    let chains = batch(5, 2);
    let (result, chain) = (chains.result.to_vec(), chains.chains[2].to_vec());
    let mut taken = 0;
    for (document, other) in [(&result, &chain), (&chain, &result)] {
        for place in 0..document.len() {
            for byte in [
                document[place] ^ 1,
                document[place] ^ 0x20,
                b' ',
                b'0',
                b'"',
            ] {
                if byte == document[place] {
                    continue;
                }
                let mut changed = document.clone();
                changed[place] = byte;
                taken += usize::from(match document == &result {
                    true => same(&changed, other),
                    false => same(other, &changed),
                });
            }
        }
    }
    // Only the digest that the chain states for a part whose own digest we know does not count.
    assert!(taken < 64 * 2 * 5, "{taken}");
}

#[test]
fn other_spellings_are_left_to_the_walk() {
    let chains = batch(5, 2);
    let chain = String::from_utf8(chains.chains[2].to_vec()).unwrap();
    let spellings = [
        chain.replace("ns2:", "h:").replace("xmlns:ns2", "xmlns:h"),
        chain.replace("\"/>\n", "\" />\n"),
        chain.replace('\n', "\r\n"),
        chain.replace("STEP1", "STEP01"),
    ];
    for spelling in spellings {
        assert_ne!(spelling, chain);
        let short = written::verify(
            &chains.result,
            names::SIGNATURE_CHAIN,
            spelling.as_bytes(),
            &parts,
        );
        assert_eq!(short, None, "{spelling}");
        let result = verify(
            &chains.result,
            names::SIGNATURE_CHAIN,
            spelling.as_bytes(),
            &parts,
            &[names::MESSAGE.to_owned()],
        );
        assert!(result.is_ok(), "{result:?}");
    }
}

#[test]
fn a_message_of_another_batch_is_refused_by_both() {
    let (one, other) = (batch(5, 2), batch(6, 2));
    assert!(!same(&one.result, &other.chains[2]));
    let error = verify(
        &one.result,
        names::SIGNATURE_CHAIN,
        &other.chains[2],
        &parts,
        &[],
    )
    .unwrap_err();
    assert_eq!(error.code(), "invalid_hash_chain");
}
