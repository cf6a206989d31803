use jibek_certs::digest::Digest;

use crate::{
    container::{Container, ContainerLimits},
    fixtures,
    hash_chain::{ChainError, Input, VerifiedChain, verify},
    names,
};

/// Edits of a real chain that change no digest, each with what X-Road's own verifier said of the container (7.8.1, tried one by one).
const EDITS: &[(&str, &str, &str, bool)] = &[
    (
        "a comment",
        STEP,
        "<!-- c --><ns2:HashStep id=\"STEP0\">",
        true,
    ),
    (
        "an instruction",
        STEP,
        "<?p i?><ns2:HashStep id=\"STEP0\">",
        true,
    ),
    (
        "white space as CDATA",
        STEP,
        "<![CDATA[ ]]><ns2:HashStep id=\"STEP0\">",
        true,
    ),
    (
        "white space as a reference",
        STEP,
        "&#32;<ns2:HashStep id=\"STEP0\">",
        true,
    ),
    (
        "another namespace",
        STEP,
        "<ns2:HashStep xmlns:q=\"urn:q\" id=\"STEP0\">",
        true,
    ),
    (
        "white space around an id",
        STEP,
        "<ns2:HashStep id=\" STEP0 \">",
        true,
    ),
    (
        "where the schema is",
        STEP,
        "<ns2:HashStep id=\"STEP0\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:schemaLocation=\"a b\">",
        true,
    ),
    (
        "text in the chain",
        STEP,
        "x<ns2:HashStep id=\"STEP0\">",
        false,
    ),
    (
        "text in a step",
        DATA,
        "x<ns2:DataRef URI=\"/message.xml\">",
        false,
    ),
    ("text in an entry", VALUE, "x<DigestValue>", false),
    (
        "a no-break space",
        DATA,
        "\u{a0}<ns2:DataRef URI=\"/message.xml\">",
        false,
    ),
    (
        "an attribute",
        STEP,
        "<ns2:HashStep id=\"STEP0\" x=\"y\">",
        false,
    ),
    (
        "a language",
        STEP,
        "<ns2:HashStep id=\"STEP0\" xml:lang=\"ky\">",
        false,
    ),
    (
        "an xml:id",
        STEP,
        "<ns2:HashStep id=\"STEP0\" xml:id=\"a\">",
        false,
    ),
    (
        "a type",
        STEP,
        "<ns2:HashStep id=\"STEP0\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"q\">",
        false,
    ),
    (
        "nil",
        STEP,
        "<ns2:HashStep id=\"STEP0\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:nil=\"false\">",
        false,
    ),
    (
        "an attribute of a value",
        VALUE,
        "<DigestValue Id=\"a\">",
        false,
    ),
    (
        "white space around a URI",
        DATA,
        "<ns2:DataRef URI=\" /message.xml\">",
        false,
    ),
    (
        "a URI without slash",
        DATA,
        "<ns2:DataRef URI=\"message.xml\">",
        false,
    ),
    ("a value in lines", VALUE, "<DigestValue>\r\n ", true),
    (
        "a value with references",
        VALUE,
        "<DigestValue>&#13;&#9;",
        true,
    ),
    (
        "a value with a comment",
        VALUE,
        "<DigestValue><!-- c -->",
        true,
    ),
    (
        "a value with a no-break space",
        VALUE,
        "<DigestValue>\u{a0}",
        false,
    ),
    ("a value with a star", VALUE, "<DigestValue>*", false),
    (
        "a value without padding",
        "==</DigestValue>",
        "</DigestValue>",
        false,
    ),
    (
        "a value with too much padding",
        "==</DigestValue>",
        "====</DigestValue>",
        false,
    ),
    ("a method of its own", VALUE, OWN_METHOD, true),
    (
        "a method with text",
        VALUE,
        "<DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha512\">x</DigestMethod><DigestValue>",
        true,
    ),
    (
        "a method behind the value",
        "</DigestValue>",
        "</DigestValue><DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha512\"/>",
        false,
    ),
    (
        "no transforms in Transforms",
        VALUE,
        "<Transforms/><DigestValue>",
        false,
    ),
    (
        "an unused empty step",
        END,
        "<ns2:HashStep id=\"OTHER\"/></ns2:HashChain>",
        true,
    ),
    (
        "an unused step without id",
        END,
        "<ns2:HashStep/></ns2:HashChain>",
        true,
    ),
    (
        "an unused foreign entry",
        END,
        "<ns2:HashStep><a/></ns2:HashStep></ns2:HashChain>",
        false,
    ),
    (
        "an unused reference without URI",
        END,
        "<ns2:HashStep><ns2:StepRef/></ns2:HashStep></ns2:HashChain>",
        false,
    ),
    (
        "an unused value without value",
        END,
        "<ns2:HashStep><ns2:HashValue/></ns2:HashStep></ns2:HashChain>",
        false,
    ),
    (
        "two steps of one id",
        END,
        "<ns2:HashStep id=\"STEP0\"/></ns2:HashChain>",
        false,
    ),
    (
        "two default methods",
        STEP,
        "<ns2:DefaultDigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha512\"/><ns2:HashStep id=\"STEP0\">",
        false,
    ),
];

#[test]
fn edits_fare_as_with_x_roads_verifier() {
    let Some(file) = fixtures::read(
        "edits_fare_as_with_x_roads_verifier",
        "asic/valid-signed-hashchain.asice",
    ) else {
        return;
    };
    let container = Container::read(&file, &ContainerLimits::default()).unwrap();
    let result = container.entry("sig-hashchainresult.xml").unwrap();
    let chain = std::str::from_utf8(container.entry("sig-hashchain.xml").unwrap()).unwrap();
    let message = container.digest("message.xml").unwrap();
    assert!(judge(result, chain, message).is_ok());
    for (what, from, to, accepted) in EDITS {
        assert!(chain.contains(from), "{what}");
        let judged = judge(result, &chain.replacen(from, to, 1), message);
        assert_eq!(judged.is_ok(), *accepted, "{what}: {judged:?}");
    }
}

/// A step may be named with the file it is in.
#[test]
fn a_step_may_be_named_with_its_file() {
    let Some(file) = fixtures::read(
        "a_step_may_be_named_with_its_file",
        "asic/valid-non-batch-rest.asice",
    ) else {
        return;
    };
    let container = Container::read(&file, &ContainerLimits::default()).unwrap();
    let result = container.entry("ts-hashchainresult.xml").unwrap();
    let chain = std::str::from_utf8(container.entry("ts-hashchain.xml").unwrap()).unwrap();
    let document = container.entry("META-INF/signatures.xml").unwrap();
    let named = chain.replace("URI=\"#STEP", "URI=\"/ts-hashchain.xml#STEP");
    assert_ne!(named, chain);
    let inputs = |_: &str| Input::Data(document);
    for chain in [chain, &named] {
        let judged = verify(
            result,
            names::STAMP_CHAIN,
            chain.as_bytes(),
            &inputs,
            &[names::SIGNATURES.to_owned()],
        );
        assert!(judged.is_ok(), "{judged:?}");
    }
}

fn judge(result: &[u8], chain: &str, message: Digest) -> Result<VerifiedChain, ChainError> {
    let inputs = |name: &str| {
        if name == names::MESSAGE {
            Input::Digest(message)
        } else {
            Input::OnTrust
        }
    };
    verify(
        result,
        names::SIGNATURE_CHAIN,
        chain.as_bytes(),
        &inputs,
        &[names::MESSAGE.to_owned()],
    )
}

const STEP: &str = "<ns2:HashStep id=\"STEP0\">";
const DATA: &str = "<ns2:DataRef URI=\"/message.xml\">";
const VALUE: &str = "<DigestValue>";
const END: &str = "</ns2:HashChain>";
const OWN_METHOD: &str =
    "<DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha512\"/><DigestValue>";
