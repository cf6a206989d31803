//! Chains of every legal shape, and those made to cost more than they are worth.

use super::*;

fn url(algorithm: DigestAlgorithm) -> String {
    format!("<DigestMethod Algorithm=\"{}\"/>", algorithm.uri())
}

fn value(digest: &Digest) -> String {
    format!("<DigestValue>{}</DigestValue>", digest.to_base64())
}

fn hash_value(digest: &Digest) -> String {
    format!("<ns2:HashValue>{}</ns2:HashValue>", value(digest))
}

fn data_ref(name: &str, digest: &Digest) -> String {
    format!(
        "<ns2:DataRef URI=\"{name}\">{}</ns2:DataRef>",
        value(digest)
    )
}

fn step(id: &str, entries: &[String]) -> String {
    format!(
        "<ns2:HashStep id=\"{id}\">{}</ns2:HashStep>",
        entries.concat()
    )
}

fn step_ref(uri: &str) -> String {
    format!("<ns2:StepRef URI=\"{uri}\"/>")
}

fn sha256(data: &[u8]) -> Digest {
    digest(DigestAlgorithm::Sha256, data)
}

const SHA512: DigestAlgorithm = DigestAlgorithm::Sha512;

/// Verifies with `/message.xml` as data and further documents by name; the code when it fails.
fn walk(
    result: &str,
    chain: &str,
    others: &[(&str, &str)],
) -> Result<Vec<(String, Trust)>, &'static str> {
    let inputs = |name: &str| match name {
        "/message.xml" => Input::Data(b"message"),
        "/trusted" => Input::OnTrust,
        name => others
            .iter()
            .find(|(other, _)| *other == name)
            .map_or(Input::Unknown, |(_, content)| {
                Input::Data(content.as_bytes())
            }),
    };
    let required = ["/message.xml".to_owned()];
    match verify(
        result.as_bytes(),
        "/sig-hashchain.xml",
        chain.as_bytes(),
        &inputs,
        &required,
    ) {
        Ok(chain) => Ok(chain
            .references()
            .iter()
            .map(|reference| (reference.name.clone(), reference.trust))
            .collect()),
        Err(error) => Err(error.code()),
    }
}

fn message() -> Vec<(String, Trust)> {
    vec![("/message.xml".to_owned(), Trust::Checked)]
}

#[test]
fn every_kind_of_entry_counts() {
    let own = sha512(b"message");
    let other = sha512(b"other");
    // one step, three kinds, the reference before and behind
    let lower = step_digest(SHA512, &[own, other]);
    let chain = chain_of(
        &[
            step(
                "STEP0",
                &[
                    hash_value(&other),
                    step_ref("#LOW"),
                    data_ref("/trusted", &other),
                ],
            ),
            step("LOW", &[data_ref("/message.xml", &own), hash_value(&other)]),
        ]
        .concat(),
    );
    let top = step_digest(SHA512, &[other, lower, other]);
    let expected = [message(), vec![("/trusted".to_owned(), Trust::OnTrust)]].concat();
    assert_eq!(walk(&result_of(&top), &chain, &[]), Ok(expected));
    // a step that is needed twice, and one that nothing leads to
    let chain = chain_of(
        &[
            step("UNUSED", &[step_ref("#NOWHERE")]),
            step("STEP0", &[step_ref("#LOW"), step_ref("#LOW")]),
            step("LOW", &[data_ref("/message.xml", &own)]),
        ]
        .concat(),
    );
    let lower = step_digest(SHA512, &[own]);
    assert_eq!(
        walk(
            &result_of(&step_digest(SHA512, &[lower, lower])),
            &chain,
            &[]
        ),
        Ok(message())
    );
}

#[test]
fn each_entry_may_have_its_own_digest() {
    let other = digest(DigestAlgorithm::Sha1, b"other");
    let entries = [
        format!(
            "<ns2:HashValue>{}{}</ns2:HashValue>",
            url(DigestAlgorithm::Sha1),
            value(&other)
        ),
        format!(
            "<ns2:DataRef URI=\"/message.xml\">{}{}</ns2:DataRef>",
            url(DigestAlgorithm::Sha256),
            value(&sha256(b"message"))
        ),
        format!(
            "<ns2:StepRef URI=\"#LOW\">{}</ns2:StepRef>",
            url(DigestAlgorithm::Sha384)
        ),
    ];
    let low = sha512(b"low");
    let chain = chain_of(&[step("STEP0", &entries), step("LOW", &[hash_value(&low)])].concat());
    let lower = step_digest(DigestAlgorithm::Sha384, &[low]);
    let top = step_digest(DigestAlgorithm::Sha256, &[other, sha256(b"message"), lower]);
    let result = result_of(&top).replace(SHA512.uri(), DigestAlgorithm::Sha256.uri());
    assert_eq!(walk(&result, &chain, &[]), Ok(message()));
    // without a default each must have one
    let start = chain.find("<ns2:DefaultDigestMethod").unwrap();
    let end = chain[start..].find("/>").unwrap() + start + 2;
    let bare = [&chain[..start], &chain[end..]].concat();
    assert_eq!(walk(&result, &bare, &[]), Err("malformed_hash_chain"));
    let full = bare.replace(
        "<ns2:HashValue><DigestValue>",
        &format!("<ns2:HashValue>{}<DigestValue>", url(SHA512)),
    );
    assert_eq!(walk(&result, &full, &[]), Ok(message()));
}

#[test]
fn steps_may_lie_in_other_documents() {
    let own = sha512(b"message");
    let low = chain_of(
        &[
            step("A", &[step_ref("#B")]),
            step("B", &[step_ref("/sig-hashchain.xml#END")]),
        ]
        .concat(),
    );
    let main = |base: &str| {
        chain_of(
            &[
                step("STEP0", &[step_ref(&format!("{base}#A"))]),
                step("END", &[data_ref("/message.xml", &own)]),
            ]
            .concat(),
        )
    };
    let top = (0..4).fold(own, |digest, _| step_digest(SHA512, &[digest]));
    let result = result_of(&top);
    let others = [("/low.xml", low.as_str()), ("/text", "no chain")];
    assert_eq!(walk(&result, &main("/low.xml"), &others), Ok(message()));
    assert_eq!(
        walk(&result, &main("/none.xml"), &others),
        Err("invalid_reference")
    );
    assert_eq!(
        walk(&result, &main("/trusted"), &others),
        Err("invalid_reference")
    );
    assert_eq!(
        walk(&result, &main("/text"), &others),
        Err("malformed_hash_chain")
    );
    assert_eq!(
        walk(&result, &main("/../low.xml"), &others),
        Err("invalid_reference")
    );
    // a document that no step on the way leads to need not be there
    let aside = main("/low.xml").replace(
        "</ns2:HashChain>",
        &format!(
            "{}</ns2:HashChain>",
            step("ASIDE", &[step_ref("/none.xml#X")])
        ),
    );
    assert_eq!(walk(&result, &aside, &others), Ok(message()));
    // the result itself may start in another
    let elsewhere = result.replace("/sig-hashchain.xml#STEP0", "/low.xml#A");
    let top = (0..3).fold(own, |digest, _| step_digest(SHA512, &[digest]));
    let elsewhere = elsewhere.replace(
        &(0..4)
            .fold(own, |digest, _| step_digest(SHA512, &[digest]))
            .to_base64(),
        &top.to_base64(),
    );
    assert_eq!(walk(&elsewhere, &main("/low.xml"), &others), Ok(message()));
    // documents that refer to each other in a circle, and too many of them
    let circle = chain_of(&step("A", &[step_ref("/sig-hashchain.xml#STEP0")]));
    assert_eq!(
        walk(&result, &main("/low.xml"), &[("/low.xml", &circle)]),
        Err("malformed_hash_chain")
    );
    let many: Vec<String> = (0..20)
        .map(|number| step_ref(&format!("/{number}#A")))
        .collect();
    assert_eq!(
        walk(&result, &chain_of(&step("STEP0", &many)), &[]),
        Err("malformed_hash_chain")
    );
}

#[test]
fn inputs_that_are_missing_wrong_or_unused_have_their_codes() {
    let own = sha512(b"message");
    let other = sha512(b"other");
    let single = |entry: String| chain_of(&step("STEP0", &[entry]));
    let result = |digest: Digest| result_of(&step_digest(SHA512, &[digest]));
    for (what, result, chain, code) in [
        (
            "unused",
            result(other),
            single(hash_value(&other)),
            "hashchain_unused_inputs",
        ),
        (
            "the message as a value",
            result(own),
            single(hash_value(&own)),
            "hashchain_unused_inputs",
        ),
        (
            "another message",
            result(other),
            single(data_ref("/message.xml", &other)),
            "invalid_hash_chain_ref",
        ),
        (
            "missing",
            result(own),
            single(data_ref("/message2.xml", &own)),
            "invalid_reference",
        ),
        (
            "another top",
            result(other),
            single(data_ref("/message.xml", &own)),
            "invalid_hash_chain",
        ),
        (
            "only in a step that nothing leads to",
            result(other),
            chain_of(
                &[
                    step("STEP0", &[hash_value(&other)]),
                    step("X", &[data_ref("/message.xml", &own)]),
                ]
                .concat(),
            ),
            "hashchain_unused_inputs",
        ),
        (
            "a URI without step",
            result(own),
            single(step_ref("/sig-hashchain.xml")),
            "malformed_hash_chain",
        ),
        (
            "a URI with an empty step",
            result(own),
            single(step_ref("#")),
            "malformed_hash_chain",
        ),
        (
            "a result without document",
            result(own).replace("/sig-hashchain.xml#", "#"),
            single(data_ref("/message.xml", &own)),
            "malformed_hash_chain",
        ),
        (
            "a digest of another length",
            result(own),
            single(data_ref("/message.xml", &sha256(b"message"))),
            "malformed_hash_chain",
        ),
    ] {
        assert_eq!(walk(&result, &chain, &[]), Err(code), "{what}");
    }
}

/// Depth costs no stack, repetition no time, size is refused before it costs anything.
#[test]
fn endless_chains_cost_little() {
    let own = sha512(b"message");
    let deep = |depth: usize| -> String {
        let steps: String = (0..depth)
            .map(|number| {
                step(
                    &format!("STEP{number}"),
                    &[step_ref(&format!("#STEP{}", number + 1))],
                )
            })
            .collect();
        chain_of(&format!(
            "{steps}{}",
            step(&format!("STEP{depth}"), &[data_ref("/message.xml", &own)])
        ))
    };
    let top = (0..=4000).fold(own, |digest, _| step_digest(SHA512, &[digest]));
    assert_eq!(walk(&result_of(&top), &deep(4000), &[]), Ok(message()));
    assert_eq!(
        walk(&result_of(&top), &deep(MAX_STEPS), &[]),
        Err("malformed_hash_chain")
    );
    let million = deep(1_000_000);
    assert_eq!(
        walk(&result_of(&top), &million, &[]),
        Err("malformed_hash_chain")
    );
    // each step leads to the next from a hundred entries: a hundred to the fortieth ways
    let fan: String = (0..40)
        .map(|number| {
            step(
                &format!("STEP{number}"),
                &vec![step_ref(&format!("#STEP{}", number + 1)); 100],
            )
        })
        .collect();
    let fan = chain_of(&format!(
        "{fan}{}",
        step("STEP40", &[data_ref("/message.xml", &own)])
    ));
    assert_eq!(walk(&result_of(&top), &fan, &[]), Err("invalid_hash_chain"));
    // names of a megabyte
    let name = format!("/{}", "x".repeat(1 << 20));
    let long = chain_of(&step("STEP0", &[data_ref(&name, &own)]));
    assert_eq!(
        walk(&result_of(&top), &long, &[]),
        Err("malformed_hash_chain")
    );
    let long = chain_of(&step(&name[1..], &[data_ref("/message.xml", &own)]));
    assert_eq!(
        walk(&result_of(&top), &long, &[]),
        Err("malformed_hash_chain")
    );
    // ten thousand attachments, as X-Road carries them
    let many: Vec<String> = (1..=10_000).map(|_| data_ref("/trusted", &own)).collect();
    let chain = chain_of(&step(
        "STEP0",
        &[vec![data_ref("/message.xml", &own)], many].concat(),
    ));
    let top = step_digest(SHA512, &vec![own; 10_001]);
    assert_eq!(
        walk(&result_of(&top), &chain, &[]).map(|references| references.len()),
        Ok(2)
    );
}
